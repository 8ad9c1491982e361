package meter

import (
	"hash/maphash"
	"math/bits"
	"unsafe"

	"flowtally/flow"
)

// none is no flow.
const none = ^uint32(0)

// entry is one live flow: 128 octets, two lines of a processor's cache, without a
// pointer. What a lookup reads lies in the first.
type entry struct {
	key     flow.Key
	hash    uint32
	packets uint64

	bytes       uint64
	first, last flow.Time // least and greatest timestamp
	born, seen  flow.Time // the clock at the first and the last packet
	copies      uint32    // packets that were copies of another
	overlay     uint32    // belongs to the key
	left        uint32    // the egress interface, where the key has none
	flags       flow.TCPFlags
	slot        uint16 // of the wheel, or inHeap
	state       state
	tos         uint8 // of the first packet
	direction   uint8 // likewise
	_           [5]uint8
}

// begin makes e a flow without packets that begins with o.
func (e *entry) begin(o *Observation, clock flow.Time) {
	e.first, e.last = o.At, o.At
	e.tos, e.direction, e.left = o.TOS, o.Direction, 0
	e.packets, e.bytes = 0, 0
	e.born, e.seen = clock, clock
	e.copies, e.flags, e.state = 0, 0, e.state.open()
}

// complete sets in r, which has e's key, what is not in the key.
func (e *entry) complete(r *flow.Record) {
	r.TOS, r.Direction = e.tos, e.direction
	if r.OutIf == 0 {
		r.OutIf = e.left
	}
}

// link chains the flows of a wheel's slot; next also the free entries, and in the
// heap prev is the position. Links lie beside the entries, where a chain is
// followed through a few megabytes instead of a hundred.
type link struct{ next, prev uint32 }

// cache holds the live flows: a slab of entries and an open-addressing hash
// table of their numbers (linear probing, half full at most).
//
// A word of the table is a flow's hash in its upper half and its number plus
// one in its lower; 0 is empty. The hash in the word makes a miss cost one cache
// line and lets a deletion close its gap without a look at the entries. Measured
// with half a million flows, against map[flow.Key]uint32: BenchmarkLookup.
type cache struct {
	entries []entry
	links   []link
	table   []uint64
	mask    uint32
	live    int
	used    uint32 // entries ever used; those above are fresh memory
	free    uint32 // first of the free ones below used
}

func (c *cache) init(maxFlows int) {
	c.entries = make([]entry, maxFlows)
	c.links = make([]link, maxFlows)
	size := tableSize(maxFlows)
	c.table = make([]uint64, size)
	c.mask = size - 1
	c.free = none
	advise(c.entries)
	advise(c.links)
	advise(c.table)
}

// tableSize returns how many words the table for so many flows has.
func tableSize(maxFlows int) uint32 { return uint32(1) << bits.Len32(uint32(2*maxFlows-1)) }

// lookahead is how many packets' flows are fetched at a time: enough for the
// waits to overlap, few enough for all to stay in the first cache.
const lookahead = 32

// fetch reads what the packets of obs, at most lookahead, will ask the cache for,
// so that the waits for memory overlap, which one after the other would take
// most of the time: BenchmarkObserve. It returns a number for no other purpose
// than that the compiler leaves the reads where they are.
func (c *cache) fetch(obs []Observation) (sum uint64) {
	var at [lookahead]uint32
	for i := range obs {
		sum += c.table[obs[i].Hash&c.mask]
	}
	for i := range obs {
		hash := obs[i].Hash
		for home := hash & c.mask; ; home = (home + 1) & c.mask {
			word := c.table[home]
			if uint32(word>>32) == hash || word == 0 {
				at[i] = max(uint32(word), 1) - 1
				break
			}
		}
	}
	for _, i := range at[:len(obs)] {
		e := &c.entries[i]
		sum += e.packets + e.bytes
	}
	return sum
}

// Hash makes hashes of flow keys, seeded at random: who sends packets cannot
// choose addresses that meet in one place of a table. A Hash is for any number of
// goroutines; NewHash makes one.
type Hash struct{ seed maphash.Seed }

// NewHash returns a Hash unlike all others.
func NewHash() Hash { return Hash{maphash.MakeSeed()} }

// Of returns the hash of key.
func (h Hash) Of(key *flow.Key) uint32 {
	v := maphash.Bytes(h.seed, (*[keyOctets]byte)(unsafe.Pointer(key))[:])
	return uint32(v ^ v>>32)
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

// find returns the flow with the given key and overlay, or none.
func (c *cache) find(hash uint32, key *flow.Key, overlay uint32) uint32 {
	for at := hash & c.mask; ; at = (at + 1) & c.mask {
		word := c.table[at]
		if word == 0 {
			return none
		}
		if uint32(word>>32) == hash {
			i := uint32(word) - 1
			if e := &c.entries[i]; e.key == *key && e.overlay == overlay {
				return i
			}
		}
	}
}

// insert takes an entry for key, which must not be there yet, and returns it;
// the cache must not be full.
func (c *cache) insert(hash uint32, key *flow.Key, overlay uint32) uint32 {
	i := c.free
	if i != none {
		c.free = c.links[i].next
	} else {
		i = c.used
		c.used++
	}
	e := &c.entries[i]
	e.key, e.overlay, e.hash = *key, overlay, hash
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
	e.packets = 0
	c.links[i].next = c.free
	c.free = i
	c.live--
}
