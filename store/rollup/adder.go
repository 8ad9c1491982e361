package rollup

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"flowtally/flow"
)

// adder makes summaries of the rows of parcels: one dimension after the other, so
// that what it works on stays in the processor's caches. What is cut early is
// never made an entry of a summary.
type adder struct {
	keep, few int // as in summary.compact

	// spots are the minutes and cells of all parcels; of says which are those of a
	// parcel's places.
	spots  []spot
	bySpot map[spot]uint32
	of     [][]uint32
	// totals are the sums by parcel and place.
	totals [][]Sums
	addrs  []flow.Addr // of IPv6, each once
	byAddr map[flow.Addr]uint32

	buckets []flow.Time // ascending
	sums    []*Summary  // of each
	bucket  []uint32    // of each spot, which
	cells   []uint32    // of each spot, its cell's place in the summary

	table  slotTable
	sorted []slot
	values []slot
}

type spot struct {
	bucket flow.Time
	cell   Cell
}

// slot is a value, known by a key and by its spot and form, and its sums.
type slot struct {
	key            uint64
	spot           uint32 // plus 1, times 4, plus the form; 0 is a free slot
	flows          uint32
	packets, bytes uint64
}

func (s *slot) measure(m int) uint64 {
	switch m {
	case 0:
		return uint64(s.flows)
	case 1:
		return s.packets
	}
	return s.bytes
}

func slotHash(key uint64, spot uint32) uint64 {
	hi, lo := bits.Mul64(key^hashSeed[0], uint64(spot)*0x9e37_79b9_7f4a_7c15^hashSeed[1])
	return hi ^ lo
}

// slotTable is a hash table with open addressing, without pointers.
type slotTable struct {
	slots []slot
	n     int
}

// reset empties the table and gives it room for n values without growing.
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

func (t *slotTable) add(key uint64, spot, flows uint32, packets, octets uint64) {
	mask := uint64(len(t.slots) - 1)
	for i := slotHash(key, spot); ; i++ {
		s := &t.slots[i&mask]
		if s.spot == 0 {
			if 2*t.n >= len(t.slots) {
				t.grow()
				t.add(key, spot, flows, packets, octets)
				return
			}
			t.n++
			*s = slot{key, spot, flows, packets, octets}
			return
		}
		if s.key == key && s.spot == spot {
			s.flows += flows
			s.packets = flow.SaturatingAdd(s.packets, packets)
			s.bytes = flow.SaturatingAdd(s.bytes, octets)
			return
		}
	}
}

func (t *slotTable) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint64(len(t.slots) - 1)
	for i := range old {
		if old[i].spot == 0 {
			continue
		}
		at := slotHash(old[i].key, old[i].spot)
		for t.slots[at&mask].spot != 0 {
			at++
		}
		t.slots[at&mask] = old[i]
	}
}

// appendTo appends the values.
func (t *slotTable) appendTo(list []slot) []slot {
	list = slices.Grow(list, t.n)
	for i := range t.slots {
		if t.slots[i].spot != 0 {
			list = append(list, t.slots[i])
		}
	}
	return list
}

// SumParcels returns the sums of the parcels by minute. Of each dimension of a
// minute the values are kept that summary.compact(keep, few) keeps.
func SumParcels(parcels []*Parcel, keep, few int) map[flow.Time]*Summary {
	a := &adder{keep: keep, few: few, bySpot: make(map[spot]uint32), byAddr: make(map[flow.Addr]uint32)}
	for _, p := range parcels {
		of := make([]uint32, len(p.Places))
		for i, at := range p.Places {
			k := spot{at.bucket, at.cell}
			n, ok := a.bySpot[k]
			if !ok {
				n = uint32(len(a.spots))
				a.bySpot[k] = n
				a.spots = append(a.spots, k)
			}
			of[i] = (n + 1) << 2
		}
		a.of = append(a.of, of)
		totals := make([]Sums, len(p.Places))
		for i, at := range p.place {
			t := &totals[at>>1]
			t[0] += uint64(at & 1)
			t[1] = flow.SaturatingAdd(t[1], p.packets[i])
			t[2] = flow.SaturatingAdd(t[2], p.bytes[i])
		}
		a.totals = append(a.totals, totals)
	}
	result := make(map[flow.Time]*Summary)
	for _, s := range a.spots {
		if result[s.bucket] == nil {
			result[s.bucket] = NewSummary()
			a.buckets = append(a.buckets, s.bucket)
		}
	}
	slices.Sort(a.buckets)
	for _, b := range a.buckets {
		a.sums = append(a.sums, result[b])
	}
	for _, s := range a.spots {
		i, _ := slices.BinarySearch(a.buckets, s.bucket)
		a.bucket = append(a.bucket, uint32(i))
		a.cells = append(a.cells, a.sums[i].CellIndex(s.cell))
	}

	a.table.reset(len(a.spots))
	for i, totals := range a.totals {
		for j, t := range totals {
			a.table.add(0, a.of[i][j], uint32(t[0]), t[1], t[2])
		}
	}
	a.emit(DimTotal, a.table.appendTo(nil))

	keys := a.addressKeys(parcels)
	a.addresses(DimSrcAddr, parcels, func(i int) []uint32 { return keys[i].src })
	a.addresses(DimDstAddr, parcels, func(i int) []uint32 { return keys[i].dst })
	a.pairs(parcels, keys)
	for i := range 6 {
		a.numbers(i, parcels)
	}
	a.sameAddress(parcels, keys)
	for i := range 3 {
		a.sameNumber(i, parcels)
	}
	for _, s := range a.sums {
		s.moved = true
	}
	return result
}

type addressKeys struct{ src, dst []uint32 }

// addressKeys returns the addresses of the parcels as numbers: of IPv4 as they
// are, of IPv6 their places among all.
func (a *adder) addressKeys(parcels []*Parcel) []addressKeys {
	keys := make([]addressKeys, len(parcels))
	for i, p := range parcels {
		keys[i] = addressKeys{p.src, p.dst}
		if len(p.addrs) == 0 {
			continue
		}
		at := make([]uint32, len(p.addrs))
		for j, addr := range p.addrs {
			n, ok := a.byAddr[addr]
			if !ok {
				n = uint32(len(a.addrs))
				a.byAddr[addr] = n
				a.addrs = append(a.addrs, addr)
			}
			at[j] = n
		}
		k := addressKeys{slices.Clone(p.src), slices.Clone(p.dst)}
		for j, place := range p.place {
			if p.Places[place>>1].family == IPv6 {
				k.src[j], k.dst[j] = at[k.src[j]], at[k.dst[j]]
			}
		}
		keys[i] = k
	}
	return keys
}

// families returns the spots of a parcel's places with the form of its addresses.
func (a *adder) families(i int, p *Parcel) []uint32 {
	list := slices.Clone(a.of[i])
	for j := range list {
		list[j] |= uint32(p.Places[j].family)
	}
	return list
}

func (a *adder) addresses(d Dimension, parcels []*Parcel, keys func(i int) []uint32) {
	a.table.reset(1024)
	for i, p := range parcels {
		of, key := a.families(i, p), keys(i)
		for j, at := range p.place {
			a.table.add(uint64(key[j]), of[at>>1], at&1, p.packets[j], p.bytes[j])
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(d, a.values)
}

// pairSorts is how many heaps the pairs are sorted into by their hash, so that the
// values of each fit the cache.
const pairSorts = 64

// pairs are nearly as many as there are flows.
func (a *adder) pairs(parcels []*Parcel, keys []addressKeys) {
	rows := 0
	for _, p := range parcels {
		rows += p.Rows()
	}
	var ends [pairSorts + 1]int
	heap := make([]uint8, rows)
	n := 0
	for i, p := range parcels {
		src, dst := keys[i].src, keys[i].dst
		of := a.families(i, p)
		for j, at := range p.place {
			h := uint8(slotHash(uint64(src[j])<<32|uint64(dst[j]), of[at>>1]) >> 58)
			heap[n] = h
			ends[h+1]++
			n++
		}
	}
	for i := range pairSorts {
		ends[i+1] += ends[i]
	}
	a.sorted = slices.Grow(a.sorted[:0], rows)[:rows]
	next := ends
	n = 0
	for i, p := range parcels {
		src, dst := keys[i].src, keys[i].dst
		of := a.families(i, p)
		for j, at := range p.place {
			to := &next[heap[n]]
			a.sorted[*to] = slot{uint64(src[j])<<32 | uint64(dst[j]), of[at>>1], at & 1, p.packets[j], p.bytes[j]}
			*to++
			n++
		}
	}
	a.values = a.values[:0]
	for i := range pairSorts {
		part := a.sorted[ends[i]:ends[i+1]]
		a.table.reset(len(part))
		for j := range part {
			s := &part[j]
			a.table.add(s.key, s.spot, s.flows, s.packets, s.bytes)
		}
		a.values = a.table.appendTo(a.values)
	}
	a.emit(DimPair, a.values)
}

func (a *adder) numbers(i int, parcels []*Parcel) {
	a.table.reset(1024)
	for k, p := range parcels {
		of, column := a.of[k], p.numbers[i]
		if p.even[i] {
			for j, t := range a.totals[k] {
				a.number(i, column[0], of[j], uint32(t[0]), t[1], t[2])
			}
			continue
		}
		for j, at := range p.place {
			a.number(i, column[j], of[at>>1], at&1, p.packets[j], p.bytes[j])
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(DimSrcPort+Dimension(i), a.values)
}

// number adds to a value of the i-th of a parcel's numbers.
func (a *adder) number(i int, n, spot, flows uint32, packets, octets uint64) {
	switch {
	case n == 0:
		a.table.add(0, spot|uint32(Null), flows, packets, octets)
	case i < 2:
		a.table.add(uint64(n-1), spot|uint32(Number), flows, packets, octets)
	default:
		a.table.add(uint64(n), spot|uint32(Number), flows, packets, octets)
	}
}

// sameAddress sums the flows from an address to itself.
func (a *adder) sameAddress(parcels []*Parcel, keys []addressKeys) {
	a.table.reset(1024)
	for i, p := range parcels {
		of, src, dst := a.families(i, p), keys[i].src, keys[i].dst
		for j, at := range p.place {
			if src[j] == dst[j] {
				a.table.add(uint64(src[j]), of[at>>1], at&1, p.packets[j], p.bytes[j])
			}
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(DimSameAddr, a.values)
}

// sameNumber sums the flows whose source and destination have the same port, as
// the first of three kinds, interface or AS.
func (a *adder) sameNumber(kind int, parcels []*Parcel) {
	a.table.reset(1024)
	i := 2 * kind
	for k, p := range parcels {
		of, src, dst := a.of[k], p.numbers[i], p.numbers[i+1]
		if p.even[i] && p.even[i+1] {
			if len(src) > 0 && src[0] == dst[0] {
				for j, t := range a.totals[k] {
					a.number(i, src[0], of[j], uint32(t[0]), t[1], t[2])
				}
			}
			continue
		}
		for j, at := range p.place {
			if src[j] == dst[j] {
				a.number(i, src[j], of[at>>1], at&1, p.packets[j], p.bytes[j])
			}
		}
	}
	a.values = a.table.appendTo(a.values[:0])
	a.emit(DimSamePort+Dimension(kind), a.values)
}

// emit adds the values of a dimension to the summaries of their minutes.
func (a *adder) emit(d Dimension, values []slot) {
	limits := a.limits(d, values)
	for i := range values {
		v := &values[i]
		at := v.spot>>2 - 1
		sums := Sums{uint64(v.flows), v.packets, v.bytes}
		if limits != nil {
			if l := limits.spots[at]; l != nil && !l.stays(&sums) {
				l.rest.Sums.Add(&sums)
				for m := range sums {
					l.rest.Cut[m] = max(l.rest.Cut[m], sums[m])
				}
				continue
			}
		}
		e := Entry{Sums: sums, Value: Value{Cell: a.cells[at], Dimension: d, Form: Form(v.spot & 3)}}
		switch {
		case d == DimTotal:
		case d == DimPair:
			e.Addr, e.Addr2 = a.addr(e.Form, uint32(v.key>>32)), a.addr(e.Form, uint32(v.key))
		case d < DimPair, d == DimSameAddr:
			e.Addr = a.addr(e.Form, uint32(v.key))
		default:
			binary.BigEndian.PutUint64(e.Addr[8:], v.key)
		}
		s := a.sums[a.bucket[at]]
		s.Entries = append(s.Entries, e)
	}
	if limits == nil {
		return
	}
	for at, l := range limits.spots {
		if l != nil && l.rest != (remainder{}) {
			a.sums[a.bucket[at]].Remainders[RemainderKey{a.cells[at], d}] = l.rest
		}
	}
}

func (a *adder) addr(kind Form, key uint32) (addr flow.Addr) {
	switch kind {
	case IPv4:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], key)
		addr = flow.Addr4(b)
	case IPv6:
		addr = a.addrs[key]
	}
	return addr
}

// limits say which values of a dimension stay in minutes that have too many: those
// that are larger than their minute's limits, or than their cell's.
type limits struct {
	buckets []*bucketLimit // nil: all stay
	spots   []*spotLimit
}

type bucketLimit struct {
	of Sums
	// pick counts the values by size, and then holds those of the size that the
	// limit is of.
	pick [3]picker
}

type spotLimit struct {
	minute *bucketLimit
	// list are the largest of each measure, descending, few and one more.
	list [3][]uint64
	of   Sums
	rest remainder
}

func (l *spotLimit) stays(sums *Sums) bool {
	m := &l.minute.of
	return sums[0] > m[0] || sums[1] > m[1] || sums[2] > m[2] || sums[0] > l.of[0] || sums[1] > l.of[1] || sums[2] > l.of[2]
}

// add takes the value in where it is among the n largest.
func (l *spotLimit) add(m int, v uint64, n int) {
	list := l.list[m]
	if len(list) == n {
		if v <= list[n-1] {
			return
		}
	} else {
		list = append(list, 0)
	}
	i := len(list) - 1
	for ; i > 0 && list[i-1] < v; i-- {
		list[i] = list[i-1]
	}
	list[i] = v
	l.list[m] = list
}

// limits returns nil when no minute has too many values.
func (a *adder) limits(d Dimension, values []slot) *limits {
	if d == DimTotal || len(values) <= a.keep {
		return nil
	}
	counts := make([]int, len(a.buckets))
	for i := range values {
		counts[a.bucket[values[i].spot>>2-1]]++
	}
	if slices.Max(counts) <= a.keep {
		return nil
	}
	l := &limits{make([]*bucketLimit, len(a.buckets)), make([]*spotLimit, len(a.spots))}
	for b, n := range counts {
		if n > a.keep {
			l.buckets[b] = new(bucketLimit)
		}
	}
	for at, b := range a.bucket {
		if l.buckets[b] != nil {
			l.spots[at] = &spotLimit{minute: l.buckets[b]}
		}
	}
	for i := range values {
		v := &values[i]
		s := l.spots[v.spot>>2-1]
		if s == nil {
			continue
		}
		for m := range 3 {
			of := v.measure(m)
			s.minute.pick[m].counts[sizeOf(of)]++
			s.add(m, of, a.few+1)
		}
	}
	for _, b := range l.buckets {
		if b != nil {
			for m := range b.pick {
				b.pick[m].choose(a.keep)
			}
		}
	}
	for i := range values {
		v := &values[i]
		s := l.spots[v.spot>>2-1]
		if s == nil {
			continue
		}
		for m := range 3 {
			// Of a small size there is only one value.
			if p := &s.minute.pick[m]; p.size >= 128 && sizeOf(v.measure(m)) == p.size {
				p.some = append(p.some, v.measure(m))
			}
		}
	}
	for _, b := range l.buckets {
		if b == nil {
			continue
		}
		for m := range b.pick {
			if p := &b.pick[m]; p.size < 128 {
				b.of[m] = uint64(p.size)
			} else {
				b.of[m], _ = nthLargest(p.some, p.nth)
			}
		}
	}
	for _, s := range l.spots {
		if s == nil {
			continue
		}
		for m, list := range s.list {
			if len(list) == a.few+1 { // else all are among the few
				s.of[m] = list[a.few]
			}
		}
	}
	return l
}

// sizes is how many sizes sizeOf tells apart.
const sizes = 64 + 64*58

// sizeOf is a value to six binary digits: larger ones have no smaller size.
func sizeOf(v uint64) int {
	if v < 64 {
		return int(v)
	}
	n := bits.Len64(v) - 7
	return 64*n + int(v>>n)
}

// picker finds the value after the n largest, in two turns.
type picker struct {
	counts [sizes]uint32
	size   int // that the value is of
	nth    int // it is after so many of these
	some   []uint64
}

func (p *picker) choose(n int) {
	for size := sizes - 1; size >= 0; size-- {
		c := int(p.counts[size])
		if n < c {
			p.size, p.nth = size, n
			return
		}
		n -= c
	}
}
