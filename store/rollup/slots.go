package rollup

import (
	"math/bits"
	"slices"

	"flowtally/flow"
)

// slot is a value of one dimension and its sums. The key is the value; the code is the
// index of its cell in adder.cells plus 1, times 4, plus the value's form. Code 0 marks a
// free slot of a table.
type slot struct {
	key            uint64
	code           uint32
	flows          uint32
	packets, bytes uint64
}

// codeOf returns the code of a cell without a form.
func codeOf(cell uint32) uint32 { return (cell + 1) << 2 }

func (s *slot) cell() uint32 { return s.code>>2 - 1 }

func (s *slot) form() Form { return Form(s.code & 3) }

func (s *slot) measure(m int) uint64 {
	switch m {
	case 0:
		return uint64(s.flows)
	case 1:
		return s.packets
	}
	return s.bytes
}

func slotHash(key uint64, code uint32) uint64 {
	hi, lo := bits.Mul64(key^hashSeed[0], uint64(code)*0x9e37_79b9_7f4a_7c15^hashSeed[1])
	return hi ^ lo
}

// slotTable is a hash table with open addressing, without pointers.
type slotTable struct {
	slots []slot
	n     int
}

// reset empties the table and makes room for n values without growing.
func (t *slotTable) reset(n int) {
	size := 1 << bits.Len(uint(max(2*n, 64)-1))
	if cap(t.slots) >= size {
		t.slots = t.slots[:size]
		clear(t.slots)
	} else {
		t.slots = make([]slot, size)
	}
	t.n = 0
}

func (t *slotTable) add(key uint64, code, flows uint32, packets, bytes uint64) {
	mask := uint64(len(t.slots) - 1)
	for i := slotHash(key, code); ; i++ {
		s := &t.slots[i&mask]
		if s.code == 0 {
			if 2*t.n >= len(t.slots) {
				t.grow()
				t.add(key, code, flows, packets, bytes)
				return
			}
			t.n++
			*s = slot{key, code, flows, packets, bytes}
			return
		}
		if s.key == key && s.code == code {
			s.flows += flows
			s.packets = flow.SaturatingAdd(s.packets, packets)
			s.bytes = flow.SaturatingAdd(s.bytes, bytes)
			return
		}
	}
}

func (t *slotTable) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for i := range old {
		if old[i].code == 0 {
			continue
		}
		at := slotHash(old[i].key, old[i].code)
		for t.slots[at&mask].code != 0 {
			at++
		}
		t.slots[at&mask] = old[i]
	}
}

// appendTo appends the values of the table to a list.
func (t *slotTable) appendTo(list []slot) []slot {
	list = slices.Grow(list, t.n)
	for i := range t.slots {
		if t.slots[i].code != 0 {
			list = append(list, t.slots[i])
		}
	}
	return list
}
