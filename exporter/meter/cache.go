package meter

import (
	"hash/maphash"
	"math/bits"
	"unsafe"

	"flowtally/flow"
)

// none is no flow.
const none = ^uint32(0)

// entry is one live flow: 120 octets, no pointer. What a lookup reads lies at its
// front.
type entry struct {
	key     flow.Key
	hash    uint32
	flags   flow.TCPFlags
	slot    uint16 // of the wheel, or inHeap
	closing bool   // a FIN or RST was seen, at seen

	// next and prev chain the flows of a wheel's slot, next also the free
	// entries; in the heap prev is the position.
	next, prev uint32

	first, last    flow.Time // least and greatest timestamp
	packets, bytes uint64
	born, seen     flow.Time // the clock at the first and the last packet
}

// begin makes e a flow without packets that begins now.
func (e *entry) begin(now, clock flow.Time) {
	e.first, e.last = now, now
	e.packets, e.bytes = 0, 0
	e.born, e.seen = clock, clock
	e.flags, e.closing = 0, false
}

// cache holds the live flows: a slab of entries and an open-addressing hash
// table of their numbers (linear probing, half full at most).
//
// A word of the table is a flow's hash in its upper half and its number plus
// one in its lower; 0 is empty. The hash in the word makes a miss cost one cache
// line and lets a deletion close its gap without a look at the entries. Measured
// with half a million flows, against map[flow.Key]uint32: BenchmarkLookup.
type cache struct {
	entries []entry
	table   []uint64
	mask    uint32
	live    int
	used    uint32 // entries ever used; those above are fresh memory
	free    uint32 // first of the free ones below used
}

func (c *cache) init(maxFlows int) {
	c.entries = make([]entry, maxFlows)
	size := uint32(1) << bits.Len32(uint32(2*maxFlows-1))
	c.table = make([]uint64, size)
	c.mask = size - 1
	c.free = none
}

// hash returns the hash of key, seeded anew in each Process: who sends packets
// cannot choose addresses that meet in one place of the table.
func (p *Process) hash(key *flow.Key) uint32 {
	h := maphash.Bytes(p.seed, (*[keyOctets]byte)(unsafe.Pointer(key))[:])
	return uint32(h ^ h>>32)
}

// keyOctets is how many octets of a Key its fields take, without a gap; what
// follows is padding, which == does not compare and the hash must not see. As
// octets a Key is hashed in a quarter of the time that maphash.Comparable takes.
const keyOctets = 49

// The array has a negative length, which does not compile, when Key's fields
// have come to take more or fewer octets.
var (
	_ [keyOctets - unsafe.Offsetof(flow.Key{}.TOS) - 1]struct{}
	_ [unsafe.Offsetof(flow.Key{}.TOS) + 1 - keyOctets]struct{}
)

func (c *cache) full() bool { return c.live == len(c.entries) }

// find returns the flow with the given key, or none.
func (c *cache) find(hash uint32, key *flow.Key) uint32 {
	for at := hash & c.mask; ; at = (at + 1) & c.mask {
		word := c.table[at]
		if word == 0 {
			return none
		}
		if uint32(word>>32) == hash {
			if i := uint32(word) - 1; c.entries[i].key == *key {
				return i
			}
		}
	}
}

// insert takes an entry for key, which must not be there yet, and returns it;
// the cache must not be full.
func (c *cache) insert(hash uint32, key *flow.Key) uint32 {
	i := c.free
	if i != none {
		c.free = c.entries[i].next
	} else {
		i = c.used
		c.used++
	}
	e := &c.entries[i]
	e.key, e.hash = *key, hash
	at := hash & c.mask
	for c.table[at] != 0 {
		at = (at + 1) & c.mask
	}
	c.table[at] = uint64(hash)<<32 | uint64(i+1)
	c.live++
	return i
}

// remove gives entry i back.
func (c *cache) remove(i uint32) {
	e := &c.entries[i]
	gap := e.hash & c.mask
	for uint32(c.table[gap]) != i+1 {
		gap = (gap + 1) & c.mask
	}
	// Close the gap: a word further on moves into it unless that is before the
	// word's home.
	for at := gap; ; {
		at = (at + 1) & c.mask
		word := c.table[at]
		if word == 0 {
			break
		}
		if home := uint32(word>>32) & c.mask; (at-home)&c.mask >= (at-gap)&c.mask {
			c.table[gap] = word
			gap = at
		}
	}
	c.table[gap] = 0
	e.next = c.free
	c.free = i
	c.live--
}
