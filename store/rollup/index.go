package rollup

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// valueIndex finds a value among the entries of a summary. It is a hash table with open
// addressing: a slot holds half of the hash and the entry's index, so that growing reads
// no entry, and a search reads one that is very likely the right one. Go's map takes
// three times as long here, nearly all of it waiting for memory.
type valueIndex struct {
	slots []uint64 // upper half of the hash << 32 | index + 1; 0 is free
	n     int
}

// hashSeed keeps strangers from choosing addresses that collide.
var hashSeed = [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1}

func (v *value) hash() uint64 {
	mix := func(a, b uint64) uint64 {
		hi, lo := bits.Mul64(a, b)
		return hi ^ lo
	}
	h := mix(uint64(v.cell)<<16^uint64(v.dimension)<<8^uint64(v.form)^hashSeed[0], binary.LittleEndian.Uint64(v.addr[8:])^hashSeed[1])
	if v.form == IPv6 || v.dimension == DimPair {
		h = mix(h^binary.LittleEndian.Uint64(v.addr[:8]), hashSeed[0]^binary.LittleEndian.Uint64(v.addr2[8:]))
		h = mix(h^binary.LittleEndian.Uint64(v.addr2[:8]), hashSeed[1])
	}
	return h
}

// findOrAdd returns the index of the value's entry. It appends an entry without sums when
// there is none.
func (x *valueIndex) findOrAdd(v *value, entries *[]entry) (at int32, added bool) {
	if 4*(x.n+1) > 3*len(x.slots) {
		x.grow(max(64, 2*len(x.slots)))
	}
	h := v.hash()
	mask := uint64(len(x.slots) - 1)
	tag := h >> 32
	for i := tag; ; i++ {
		switch slot := x.slots[i&mask]; {
		case slot == 0:
			at = int32(len(*entries))
			*entries = append(*entries, entry{value: *v})
			x.slots[i&mask] = tag<<32 | uint64(at+1)
			x.n++
			return at, true
		case slot>>32 == tag && (*entries)[uint32(slot)-1].value == *v:
			return int32(uint32(slot)) - 1, false
		}
	}
}

func (x *valueIndex) grow(size int) {
	old := x.slots
	x.slots = make([]uint64, size)
	mask := uint64(size - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		i := slot >> 32
		for x.slots[i&mask] != 0 {
			i++
		}
		x.slots[i&mask] = slot
	}
}

// rebuild indexes entries whose order has changed.
func (x *valueIndex) rebuild(entries []entry) {
	size := 64
	for 3*size < 4*(len(entries)+1) {
		size *= 2
	}
	x.slots, x.n = make([]uint64, size), len(entries)
	mask := uint64(size - 1)
	for at := range entries {
		tag := entries[at].hash() >> 32
		i := tag
		for x.slots[i&mask] != 0 {
			i++
		}
		x.slots[i&mask] = tag<<32 | uint64(at+1)
	}
}
