// Package rollup sums flows by minute, hour and day: a Summary keeps the heaviest values of
// each dimension and the sum of all others, and can be merged with others of the same
// bucket. A Parcel holds the flows of a batch until they are summed, a Handoff carries it
// from whoever stores flows to whoever sums them. It is pure but for the clock of Handoff.
package rollup

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sort"

	"flowtally/flow"
)

// Cell is what all values of a dimension are told apart by, beside themselves.
type Cell struct {
	Exporter, Rate int32 // Rate 0: not known
	Protocol       int16
}

// Form says what a value's octets are; kindNull that the flow did not say.
type Form uint8

const (
	Null Form = iota
	IPv4
	IPv6
	Number
)

// Value is a value of a dimension in a cell, as a key without pointers.
type Value struct {
	Cell        uint32 // an index
	Dimension   Dimension
	Form        Form
	Addr, Addr2 flow.Addr
}

// Sums are flows, packets and bytes; no sum goes beyond what a bigint holds.
type Sums [3]uint64

func (m *Sums) Add(o *Sums) {
	for i := range m {
		m[i] = flow.SaturatingAdd(m[i], o[i])
	}
}

// Entry is a value and its sums.
type Entry struct {
	Value
	Sums Sums
}

// remainder is what became of the values of a cell and dimension that are not
// kept one by one.
type remainder struct {
	Sums Sums
	// Cut is the most that any value which is not kept has of each measure.
	Cut Sums
}

type RemainderKey struct {
	Cell      uint32
	Dimension Dimension
}

// Summary is the traffic of one bucket: a set of values with their sums, and a
// remainder for each cell and dimension.
//
// What a value has in truth is at least its sums, and at most that and its
// slack; a value that is not in the summary has at most the cut of its cell and
// dimension. The sums of all values and the remainder together are exact.
//
// Summaries of the same bucket can be merged in any order.
type Summary struct {
	Cells   []Cell
	places  map[Cell]uint32
	Entries []Entry
	// index finds a value among the entries; moved says that it has to be made
	// anew.
	index valueIndex
	moved bool
	// bounds is how much more of each value the remainder can hold; those beyond its
	// end have none, as most.
	bounds     []Sums
	Remainders map[RemainderKey]remainder

	lastCell  Cell
	lastPlace uint32
}

func NewSummary() *Summary {
	return &Summary{places: make(map[Cell]uint32), Remainders: make(map[RemainderKey]remainder)}
}

func (s *Summary) CellIndex(c Cell) uint32 {
	if c == s.lastCell && len(s.Cells) > 0 {
		return s.lastPlace
	}
	i, ok := s.places[c]
	if !ok {
		i = uint32(len(s.Cells))
		s.places[c] = i
		s.Cells = append(s.Cells, c)
	}
	s.lastCell, s.lastPlace = c, i
	return i
}

// Add adds to a value and returns its place among the entries.
func (s *Summary) Add(v *Value, sums *Sums) int32 {
	if s.moved {
		s.index.rebuild(s.Entries)
		s.moved = false
	}
	i, added := s.index.place(v, &s.Entries)
	if added {
		s.Entries[i].Sums = *sums
	} else {
		s.Entries[i].Sums.Add(sums)
	}
	return i
}

// Flow is what the roll-ups want to know of a flow.
type Flow struct {
	Start, End flow.Time
	Received   flow.Time
	Sums       Sums // one flow, its packets and bytes
	Cell       Cell
	Family     Form // value4, value6 or valueNull
	Src, Dst   flow.Addr
	Numbers    [6]uint32 // src_port and dst_port plus 1, in_if to dst_as; 0: not said
	Batch      int32
	Page       uint32 // where in the table it is
}

// Merge adds the other summary of the same bucket to s. The other is not changed.
func (s *Summary) Merge(o *Summary) {
	cells := make([]uint32, len(o.Cells))
	for i, c := range o.Cells {
		cells[i] = s.CellIndex(c)
	}
	// Where one of the two has cut values, the other's have slack. Those of s are
	// looked for once, when all of the other's are known.
	var (
		there []bool
		cuts  = make(map[RemainderKey]Sums) // of the other, in our cells
	)
	for p, r := range o.Remainders {
		if r.Cut != (Sums{}) {
			cuts[RemainderKey{cells[p.Cell], p.Dimension}] = r.Cut
		}
	}
	before := int32(len(s.Entries))
	if len(cuts) > 0 {
		there = make([]bool, before)
	}
	for i := range o.Entries {
		e := o.Entries[i]
		e.Cell = cells[e.Cell]
		at := s.Add(&e.Value, &e.Sums)
		slack := o.Bound(int32(i))
		if at >= before && len(s.Remainders) > 0 {
			cut := s.Remainders[RemainderKey{e.Cell, e.Dimension}].Cut
			slack.Add(&cut)
		} else if at < before && there != nil {
			there[at] = true
		}
		s.AddBound(at, slack)
	}
	if len(cuts) > 0 {
		for i := range before {
			if !there[i] {
				s.AddBound(i, cuts[RemainderKey{s.Entries[i].Cell, s.Entries[i].Dimension}])
			}
		}
	}
	for p, r := range o.Remainders {
		at := RemainderKey{cells[p.Cell], p.Dimension}
		mine := s.Remainders[at]
		mine.Sums.Add(&r.Sums)
		mine.Cut.Add(&r.Cut)
		s.Remainders[at] = mine
	}
}

func (s *Summary) AddBound(i int32, m Sums) {
	if m == (Sums{}) {
		return
	}
	if n := int(i) + 1 - len(s.bounds); n > 0 {
		s.bounds = append(s.bounds, make([]Sums, n)...)
	}
	s.bounds[i].Add(&m)
}

func (s *Summary) Bound(i int32) Sums {
	if int(i) < len(s.bounds) {
		return s.bounds[i]
	}
	return Sums{}
}

// Compact keeps of each dimension the values that are among the keep largest by
// one of the measures, and those among the few largest of their cell; the others
// go into the remainders. A value that is no larger than the largest that goes
// does not stay for that measure: it would prove nothing. Dimension total stays
// whole.
func (s *Summary) Compact(keep, few int) {
	perDim := make([][]int32, DimensionCount)
	for i := range s.Entries {
		d := s.Entries[i].Dimension
		perDim[d] = append(perDim[d], int32(i))
	}
	stay := make([]bool, len(s.Entries))
	gone := false
	var (
		values []uint64
		cells  [][]int32
	)
	mark := func(list []int32, n int) {
		for m := range 3 {
			values = values[:0]
			for _, i := range list {
				values = append(values, s.Entries[i].Sums[m])
			}
			limit, all := nthLargest(values, n)
			for _, i := range list {
				if all || s.Entries[i].Sums[m] > limit {
					stay[i] = true
				}
			}
		}
	}
	for d, list := range perDim {
		if d == int(DimTotal) || len(list) <= keep {
			for _, i := range list {
				stay[i] = true
			}
			continue
		}
		gone = true
		mark(list, keep)
		cells = slices.Grow(cells[:0], len(s.Cells))[:len(s.Cells)]
		for i := range cells {
			cells[i] = cells[i][:0]
		}
		for _, i := range list {
			c := s.Entries[i].Cell
			cells[c] = append(cells[c], i)
		}
		for _, list := range cells {
			mark(list, few)
		}
	}
	if !gone {
		return
	}
	entries, old := s.Entries, Summary{bounds: s.bounds}
	s.Entries, s.bounds, s.moved = s.Entries[:0], nil, true
	rest := make([]remainder, len(s.Cells)*int(DimensionCount))
	for i := range entries {
		e := &entries[i]
		more := old.Bound(int32(i))
		if stay[i] {
			s.AddBound(int32(len(s.Entries)), more)
			s.Entries = append(s.Entries, *e) // never beyond e
			continue
		}
		r := &rest[int(e.Cell)*int(DimensionCount)+int(e.Dimension)]
		r.Sums.Add(&e.Sums)
		most := e.Sums
		most.Add(&more)
		for m := range most {
			r.Cut[m] = max(r.Cut[m], most[m])
		}
	}
	for i := range rest {
		if r := &rest[i]; r.Sums != (Sums{}) {
			at := RemainderKey{uint32(i / int(DimensionCount)), Dimension(i % int(DimensionCount))}
			mine := s.Remainders[at]
			mine.Sums.Add(&r.Sums)
			for m := range r.Cut {
				mine.Cut[m] = max(mine.Cut[m], r.Cut[m])
			}
			s.Remainders[at] = mine
		}
	}
}

// nthLargest returns the value after the n largest; all reports that there is
// none. It changes the order of v.
func nthLargest(v []uint64, n int) (limit uint64, all bool) {
	if len(v) <= n {
		return 0, true
	}
	// Quickselect, the larger first.
	lo, hi := 0, len(v)-1
	for lo < hi {
		pivot := v[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for v[i] > pivot {
				i++
			}
			for v[j] < pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			hi = j
		case n >= i:
			lo = i
		default:
			return v[n], false
		}
	}
	return v[n], false
}

// Count is how many values are kept one by one in the largest dimension.
func (s *Summary) Count() int {
	var n [DimensionCount]int
	for i := range s.Entries {
		n[s.Entries[i].Dimension]++
	}
	return slices.Max(n[:])
}

// sort puts the entries in the order of dimensions, so that what is asked for
// together lies together. The index is not valid afterwards.
func (s *Summary) Sorted() []int32 {
	order := make([]int32, len(s.Entries))
	for i := range order {
		order[i] = int32(i)
	}
	sort.SliceStable(order, func(i, j int) bool { return s.Entries[order[i]].Dimension < s.Entries[order[j]].Dimension })
	return order
}

// The form in which a summary waits to be settled: octet 1, then lists, each
// with its length: cells, values, remainders. Numbers are varints.

const summaryForm = 1

// AppendTo appends the summary's own form.
func (s *Summary) AppendTo(b []byte) []byte {
	b = append(b, summaryForm)
	b = binary.AppendUvarint(b, uint64(len(s.Cells)))
	for _, c := range s.Cells {
		b = binary.AppendVarint(b, int64(c.Exporter))
		b = binary.AppendUvarint(b, uint64(uint32(c.Rate)))
		b = binary.AppendVarint(b, int64(c.Protocol))
	}
	b = binary.AppendUvarint(b, uint64(len(s.Entries)))
	for i := range s.Entries {
		e := &s.Entries[i]
		slack := s.Bound(int32(i))
		has := slack != Sums{}
		tag := byte(e.Dimension)<<3 | byte(e.Form)<<1
		if has {
			tag |= 1
		}
		b = append(b, tag)
		b = binary.AppendUvarint(b, uint64(e.Cell))
		switch e.Form {
		case IPv4:
			b = append(b, e.Addr[12:]...)
			if e.Dimension == DimPair {
				b = append(b, e.Addr2[12:]...)
			}
		case IPv6:
			b = append(b, e.Addr[:]...)
			if e.Dimension == DimPair {
				b = append(b, e.Addr2[:]...)
			}
		case Number:
			b = binary.AppendUvarint(b, binary.BigEndian.Uint64(e.Addr[8:]))
		}
		b = e.Sums.appendTo(b)
		if has {
			b = slack.appendTo(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.Remainders)))
	for p, r := range s.Remainders {
		b = binary.AppendUvarint(b, uint64(p.Cell))
		b = append(b, byte(p.Dimension))
		b = r.Sums.appendTo(b)
		b = r.Cut.appendTo(b)
	}
	return b
}

func (m *Sums) appendTo(b []byte) []byte {
	for _, v := range m {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

var errSummary = errors.New("sums that were put aside cannot be read")

// summaryReader reads a summary; the first error stays.
type summaryReader struct {
	b   []byte
	bad bool
}

func (r *summaryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) octets(to []byte) {
	if len(r.b) < len(to) {
		r.bad, r.b = true, nil
		return
	}
	copy(to, r.b)
	r.b = r.b[len(to):]
}

func (r *summaryReader) octet() byte {
	var b [1]byte
	r.octets(b[:])
	return b[0]
}

// count reads how many things of at least size octets follow.
func (r *summaryReader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *summaryReader) measured() (m Sums) {
	for i := range m {
		m[i] = min(r.uvarint(), math.MaxInt64)
	}
	return m
}

// ParseSummary reads what appendTo wrote.
func ParseSummary(b []byte) (*Summary, error) {
	r := &summaryReader{b: b}
	if r.octet() != summaryForm {
		return nil, errSummary
	}
	s := NewSummary()
	for range r.count(3) {
		s.CellIndex(Cell{int32(r.varint()), int32(uint32(r.uvarint())), int16(r.varint())})
	}
	n := r.count(5)
	s.Entries, s.moved = make([]Entry, 0, n), true
	for range n {
		tag := r.octet()
		v := Value{Dimension: Dimension(tag >> 3), Form: Form(tag >> 1 & 3), Cell: uint32(r.uvarint())}
		if v.Dimension >= DimensionCount || int(v.Cell) >= len(s.Cells) {
			return nil, errSummary
		}
		switch v.Form {
		case IPv4:
			v.Addr = flow.Addr4([4]byte{})
			r.octets(v.Addr[12:])
			if v.Dimension == DimPair {
				v.Addr2 = flow.Addr4([4]byte{})
				r.octets(v.Addr2[12:])
			}
		case IPv6:
			r.octets(v.Addr[:])
			if v.Dimension == DimPair {
				r.octets(v.Addr2[:])
			}
		case Number:
			binary.BigEndian.PutUint64(v.Addr[8:], r.uvarint())
		}
		sums := r.measured()
		s.Entries = append(s.Entries, Entry{v, sums})
		if tag&1 != 0 {
			s.AddBound(int32(len(s.Entries)-1), r.measured())
		}
	}
	for range r.count(8) {
		p := RemainderKey{Cell: uint32(r.uvarint())}
		p.Dimension = Dimension(r.octet())
		if p.Dimension >= DimensionCount || int(p.Cell) >= len(s.Cells) {
			return nil, errSummary
		}
		s.Remainders[p] = remainder{r.measured(), r.measured()}
	}
	if r.bad || len(r.b) > 0 {
		return nil, errSummary
	}
	return s, nil
}
