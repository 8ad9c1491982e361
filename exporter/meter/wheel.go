package meter

import (
	"math/bits"

	"flowtally/flow"
)

const (
	slots  = 1024
	inHeap = slots // entry.slot of a flow in the heap
)

// wheel finds the flow that is due first. It is a timing wheel with one heap in
// front: flows are filed by due time into slots of a few milliseconds, as wide as
// the longest timeout needs, and a slot that is opened pours its flows into the
// heap, which puts those few into exact order.
//
// A flow may be filed earlier than it is due, never later. So a packet that
// prolongs a flow touches nothing here, and the flow is filed again when its turn
// comes: at the cost of no cache miss a packet, where lists in the order of the
// last packet need three.
type wheel struct {
	shift uint // a slot is 1<<shift milliseconds
	pos   flow.Time
	// pos is the first slot, counted from time 0, that is not open yet. The
	// slots from pos to pos+slots-1 hold flows, modulo slots; the heap holds the
	// flows that are due before them.
	heads    [slots]uint32
	occupied [slots / 64]uint64
	heap     []dueFlow

	// soon is a time before which no flow is due, as of when it was last asked
	// for, and as of every flow filed since.
	soon flow.Time
}

// dueFlow is a flow in the heap and the time it is filed under.
type dueFlow struct {
	due  flow.Time
	flow uint32
}

// init makes w a wheel without flows, for due times at most horizon ahead.
func (w *wheel) init(horizon flow.Time) {
	for horizon>>w.shift > slots-2 {
		w.shift++
	}
	for i := range w.heads {
		w.heads[i] = none
	}
	w.heap = make([]dueFlow, 0, slots)
}

// file puts flow i, which must not be filed, under due.
func (w *wheel) file(c *cache, i uint32, due flow.Time) {
	e := &c.entries[i]
	n := due >> w.shift
	w.soon = min(w.soon, due)
	if n < w.pos {
		e.slot = inHeap
		w.heap = append(w.heap, dueFlow{due, i})
		w.up(c, len(w.heap)-1)
		return
	}
	n = min(n, w.pos+slots-1)
	s := uint16(n % slots)
	head := w.heads[s]
	e.slot = s
	c.links[i] = link{next: head, prev: none}
	if head != none {
		c.links[head].prev = i
	}
	w.heads[s] = i
	w.occupied[s/64] |= 1 << (s % 64)
}

// advance files flow i anew if due lies before what it is filed under.
func (w *wheel) advance(c *cache, i uint32, due flow.Time) {
	e := &c.entries[i]
	if e.slot == inHeap {
		if at := int(c.links[i].prev); due < w.heap[at].due {
			w.heap[at].due = due
			w.soon = min(w.soon, due)
			w.up(c, at)
		}
		return
	}
	if ahead := (flow.Time(e.slot) - w.pos%slots + slots) % slots; due>>w.shift < w.pos+ahead {
		w.remove(c, i)
		w.file(c, i, due)
	}
}

// remove takes flow i out.
func (w *wheel) remove(c *cache, i uint32) {
	e := &c.entries[i]
	if e.slot == inHeap {
		at, last := int(c.links[i].prev), len(w.heap)-1
		moved := w.heap[last]
		w.heap = w.heap[:last]
		if at != last {
			w.heap[at] = moved
			w.up(c, at)
			w.down(c, int(c.links[moved.flow].prev))
		}
		return
	}
	l := c.links[i]
	if l.next != none {
		c.links[l.next].prev = l.prev
	}
	if l.prev != none {
		c.links[l.prev].next = l.next
		return
	}
	w.heads[e.slot] = l.next
	if l.next == none {
		w.occupied[e.slot/64] &^= 1 << (e.slot % 64)
	}
}

// next returns a time before which no flow is due; some flow must be filed.
func (w *wheel) next() flow.Time {
	if len(w.heap) > 0 {
		return w.heap[0].due
	}
	return (w.pos + w.gap()) << w.shift
}

// gap returns how many slots from pos on are empty, slots if all are.
func (w *wheel) gap() flow.Time {
	start := uint(w.pos % slots)
	word, bit := start/64, start%64
	set := w.occupied[word] >> bit << bit
	for n := uint(0); ; n++ {
		if set != 0 {
			at := (word+n)%(slots/64)*64 + uint(bits.TrailingZeros64(set))
			return flow.Time((at - start) % slots)
		}
		if n == slots/64 {
			return slots
		}
		set = w.occupied[(word+n+1)%(slots/64)]
	}
}

// open opens the first slot that holds flows if it begins at limit or before
// and returns its chain, which is filed nowhere any more; else none. The heap
// must be empty.
func (w *wheel) open(limit flow.Time) uint32 {
	gap := w.gap()
	if gap == slots {
		return none
	}
	if (w.pos+gap)<<w.shift > limit {
		w.pos = max(w.pos, limit>>w.shift)
		return none
	}
	w.pos += gap
	s := w.pos % slots
	w.pos++
	chain := w.heads[s]
	w.heads[s] = none
	w.occupied[s/64] &^= 1 << (s % 64)
	return chain
}

// take fills some with flows, in no order, which are filed nowhere any more, and
// returns how many there were.
func (w *wheel) take(c *cache, some []uint32) (n int) {
	for ; n < len(some) && len(w.heap) > 0; n++ {
		last := len(w.heap) - 1
		some[n] = w.heap[last].flow
		w.heap = w.heap[:last]
	}
	for n < len(some) {
		gap := w.gap()
		if gap == slots {
			break
		}
		s := (w.pos + gap) % slots
		i := w.heads[s]
		for ; i != none && n < len(some); n++ {
			some[n] = i
			i = c.links[i].next
		}
		if w.heads[s] = i; i == none {
			w.occupied[s/64] &^= 1 << (s % 64)
		} else {
			c.links[i].prev = none
		}
	}
	return n
}

// turn moves pos ahead to slot and returns the chains of all slots, none where a
// slot was empty; they are filed nowhere any more.
func (w *wheel) turn(slot flow.Time) [slots]uint32 {
	chains := w.heads
	for i := range w.heads {
		w.heads[i] = none
	}
	clear(w.occupied[:])
	w.pos = slot
	return chains
}

// up and down restore the order of the heap around position at.
func (w *wheel) up(c *cache, at int) {
	item := w.heap[at]
	for at > 0 {
		parent := (at - 1) / 2
		if w.heap[parent].due <= item.due {
			break
		}
		w.heap[at] = w.heap[parent]
		c.links[w.heap[at].flow].prev = uint32(at)
		at = parent
	}
	w.heap[at] = item
	c.links[item.flow].prev = uint32(at)
}

func (w *wheel) down(c *cache, at int) {
	item := w.heap[at]
	for {
		child := 2*at + 1
		if child >= len(w.heap) {
			break
		}
		if child+1 < len(w.heap) && w.heap[child+1].due < w.heap[child].due {
			child++
		}
		if item.due <= w.heap[child].due {
			break
		}
		w.heap[at] = w.heap[child]
		c.links[w.heap[at].flow].prev = uint32(at)
		at = child
	}
	w.heap[at] = item
	c.links[item.flow].prev = uint32(at)
}
