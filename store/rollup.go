package store

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sort"

	"flowtally/flow"
)

// dimension is what a roll-up's row is a sum over. The order is that of the type
// traffic_dimension.
type dimension uint8

const (
	dimTotal dimension = iota
	dimSrcAddr
	dimDstAddr
	dimPair
	dimSrcPort
	dimDstPort
	dimInIf
	dimOutIf
	dimSrcAS
	dimDstAS
	// Of flows whose two sides are equal, also when neither is said: who asks about
	// either side takes them off once.
	dimSameAddr
	dimSamePort
	dimSameIf
	dimSameAS
	dimensions
)

var dimensionNames = [dimensions]string{"total", "src_addr", "dst_addr", "pair", "src_port", "dst_port", "in_if", "out_if", "src_as", "dst_as",
	"same_addr", "same_port", "same_if", "same_as"}

// cell is what all values of a dimension are told apart by, beside themselves.
type cell struct {
	exporter, rate int32 // rate 0: not known
	protocol       int16
}

// valueForm says what a value's octets are; kindNull that the flow did not say.
type valueForm uint8

const (
	valueNull valueForm = iota
	value4
	value6
	valueNumber
)

// value is a value of a dimension in a cell, as a key without pointers.
type value struct {
	cell uint32 // an index
	dim  dimension
	kind valueForm
	a, b flow.Addr
}

// measured are flows, packets and bytes; no sum goes beyond what a bigint holds.
type measured [3]uint64

func (m *measured) add(o *measured) {
	for i := range m {
		m[i] = flow.SaturatingAdd(m[i], o[i])
	}
}

// entry is a value and its sums.
type entry struct {
	value
	sums measured
}

// remainder is what became of the values of a cell and dimension that are not
// kept one by one.
type remainder struct {
	sums measured
	// cut is the most that any value which is not kept has of each measure.
	cut measured
}

type place struct {
	cell uint32
	dim  dimension
}

// summary is the traffic of one bucket: a set of values with their sums, and a
// remainder for each cell and dimension.
//
// What a value has in truth is at least its sums, and at most that and its
// slack; a value that is not in the summary has at most the cut of its cell and
// dimension. The sums of all values and the remainder together are exact.
//
// Summaries of the same bucket can be merged in any order.
type summary struct {
	cells   []cell
	places  map[cell]uint32
	entries []entry
	// index finds a value among the entries; moved says that it has to be made
	// anew.
	index valueIndex
	moved bool
	// slack is how much more of each value the remainder can hold; those beyond its
	// end have none, as most.
	slack []measured
	rest  map[place]remainder

	lastCell  cell
	lastPlace uint32
}

func newSummary() *summary {
	return &summary{places: make(map[cell]uint32), rest: make(map[place]remainder)}
}

func (s *summary) cellIndex(c cell) uint32 {
	if c == s.lastCell && len(s.cells) > 0 {
		return s.lastPlace
	}
	i, ok := s.places[c]
	if !ok {
		i = uint32(len(s.cells))
		s.places[c] = i
		s.cells = append(s.cells, c)
	}
	s.lastCell, s.lastPlace = c, i
	return i
}

// add adds to a value and returns its place among the entries.
func (s *summary) add(v *value, sums *measured) int32 {
	if s.moved {
		s.index.rebuild(s.entries)
		s.moved = false
	}
	i, added := s.index.place(v, &s.entries)
	if added {
		s.entries[i].sums = *sums
	} else {
		s.entries[i].sums.add(sums)
	}
	return i
}

// rawFlow is what the roll-ups want to know of a flow.
type rawFlow struct {
	start, end flow.Time
	received   flow.Time
	sums       measured // one flow, its packets and bytes
	cell       cell
	family     valueForm // value4, value6 or valueNull
	src, dst   flow.Addr
	numbers    [6]uint32 // src_port and dst_port plus 1, in_if to dst_as; 0: not said
	batch      int32
	page       uint32 // where in the table it is
}

// merge adds the other summary of the same bucket to s. The other is not changed.
func (s *summary) merge(o *summary) {
	cells := make([]uint32, len(o.cells))
	for i, c := range o.cells {
		cells[i] = s.cellIndex(c)
	}
	// Where one of the two has cut values, the other's have slack. Those of s are
	// looked for once, when all of the other's are known.
	var (
		there []bool
		cuts  = make(map[place]measured) // of the other, in our cells
	)
	for p, r := range o.rest {
		if r.cut != (measured{}) {
			cuts[place{cells[p.cell], p.dim}] = r.cut
		}
	}
	before := int32(len(s.entries))
	if len(cuts) > 0 {
		there = make([]bool, before)
	}
	for i := range o.entries {
		e := o.entries[i]
		e.cell = cells[e.cell]
		at := s.add(&e.value, &e.sums)
		slack := o.slackOf(int32(i))
		if at >= before && len(s.rest) > 0 {
			cut := s.rest[place{e.cell, e.dim}].cut
			slack.add(&cut)
		} else if at < before && there != nil {
			there[at] = true
		}
		s.addSlack(at, slack)
	}
	if len(cuts) > 0 {
		for i := range before {
			if !there[i] {
				s.addSlack(i, cuts[place{s.entries[i].cell, s.entries[i].dim}])
			}
		}
	}
	for p, r := range o.rest {
		at := place{cells[p.cell], p.dim}
		mine := s.rest[at]
		mine.sums.add(&r.sums)
		mine.cut.add(&r.cut)
		s.rest[at] = mine
	}
}

func (s *summary) addSlack(i int32, m measured) {
	if m == (measured{}) {
		return
	}
	if n := int(i) + 1 - len(s.slack); n > 0 {
		s.slack = append(s.slack, make([]measured, n)...)
	}
	s.slack[i].add(&m)
}

func (s *summary) slackOf(i int32) measured {
	if int(i) < len(s.slack) {
		return s.slack[i]
	}
	return measured{}
}

// compact keeps of each dimension the values that are among the keep largest by
// one of the measures, and those among the few largest of their cell; the others
// go into the remainders. A value that is no larger than the largest that goes
// does not stay for that measure: it would prove nothing. Dimension total stays
// whole.
func (s *summary) compact(keep, few int) {
	perDim := make([][]int32, dimensions)
	for i := range s.entries {
		d := s.entries[i].dim
		perDim[d] = append(perDim[d], int32(i))
	}
	stay := make([]bool, len(s.entries))
	gone := false
	var (
		values []uint64
		cells  [][]int32
	)
	mark := func(list []int32, n int) {
		for m := range 3 {
			values = values[:0]
			for _, i := range list {
				values = append(values, s.entries[i].sums[m])
			}
			limit, all := nthLargest(values, n)
			for _, i := range list {
				if all || s.entries[i].sums[m] > limit {
					stay[i] = true
				}
			}
		}
	}
	for d, list := range perDim {
		if d == int(dimTotal) || len(list) <= keep {
			for _, i := range list {
				stay[i] = true
			}
			continue
		}
		gone = true
		mark(list, keep)
		cells = slices.Grow(cells[:0], len(s.cells))[:len(s.cells)]
		for i := range cells {
			cells[i] = cells[i][:0]
		}
		for _, i := range list {
			c := s.entries[i].cell
			cells[c] = append(cells[c], i)
		}
		for _, list := range cells {
			mark(list, few)
		}
	}
	if !gone {
		return
	}
	entries, old := s.entries, summary{slack: s.slack}
	s.entries, s.slack, s.moved = s.entries[:0], nil, true
	rest := make([]remainder, len(s.cells)*int(dimensions))
	for i := range entries {
		e := &entries[i]
		more := old.slackOf(int32(i))
		if stay[i] {
			s.addSlack(int32(len(s.entries)), more)
			s.entries = append(s.entries, *e) // never beyond e
			continue
		}
		r := &rest[int(e.cell)*int(dimensions)+int(e.dim)]
		r.sums.add(&e.sums)
		most := e.sums
		most.add(&more)
		for m := range most {
			r.cut[m] = max(r.cut[m], most[m])
		}
	}
	for i := range rest {
		if r := &rest[i]; r.sums != (measured{}) {
			at := place{uint32(i / int(dimensions)), dimension(i % int(dimensions))}
			mine := s.rest[at]
			mine.sums.add(&r.sums)
			for m := range r.cut {
				mine.cut[m] = max(mine.cut[m], r.cut[m])
			}
			s.rest[at] = mine
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

// count is how many values are kept one by one in the largest dimension.
func (s *summary) count() int {
	var n [dimensions]int
	for i := range s.entries {
		n[s.entries[i].dim]++
	}
	return slices.Max(n[:])
}

// sort puts the entries in the order of dimensions, so that what is asked for
// together lies together. The index is not valid afterwards.
func (s *summary) sorted() []int32 {
	order := make([]int32, len(s.entries))
	for i := range order {
		order[i] = int32(i)
	}
	sort.SliceStable(order, func(i, j int) bool { return s.entries[order[i]].dim < s.entries[order[j]].dim })
	return order
}

// The form in which a summary waits to be settled: octet 1, then lists, each
// with its length: cells, values, remainders. Numbers are varints.

const summaryForm = 1

// appendTo appends the summary's own form.
func (s *summary) appendTo(b []byte) []byte {
	b = append(b, summaryForm)
	b = binary.AppendUvarint(b, uint64(len(s.cells)))
	for _, c := range s.cells {
		b = binary.AppendVarint(b, int64(c.exporter))
		b = binary.AppendUvarint(b, uint64(uint32(c.rate)))
		b = binary.AppendVarint(b, int64(c.protocol))
	}
	b = binary.AppendUvarint(b, uint64(len(s.entries)))
	for i := range s.entries {
		e := &s.entries[i]
		slack := s.slackOf(int32(i))
		has := slack != measured{}
		tag := byte(e.dim)<<3 | byte(e.kind)<<1
		if has {
			tag |= 1
		}
		b = append(b, tag)
		b = binary.AppendUvarint(b, uint64(e.cell))
		switch e.kind {
		case value4:
			b = append(b, e.a[12:]...)
			if e.dim == dimPair {
				b = append(b, e.b[12:]...)
			}
		case value6:
			b = append(b, e.a[:]...)
			if e.dim == dimPair {
				b = append(b, e.b[:]...)
			}
		case valueNumber:
			b = binary.AppendUvarint(b, binary.BigEndian.Uint64(e.a[8:]))
		}
		b = e.sums.appendTo(b)
		if has {
			b = slack.appendTo(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.rest)))
	for p, r := range s.rest {
		b = binary.AppendUvarint(b, uint64(p.cell))
		b = append(b, byte(p.dim))
		b = r.sums.appendTo(b)
		b = r.cut.appendTo(b)
	}
	return b
}

func (m *measured) appendTo(b []byte) []byte {
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

func (r *summaryReader) measured() (m measured) {
	for i := range m {
		m[i] = min(r.uvarint(), math.MaxInt64)
	}
	return m
}

// parseSummary reads what appendTo wrote.
func parseSummary(b []byte) (*summary, error) {
	r := &summaryReader{b: b}
	if r.octet() != summaryForm {
		return nil, errSummary
	}
	s := newSummary()
	for range r.count(3) {
		s.cellIndex(cell{int32(r.varint()), int32(uint32(r.uvarint())), int16(r.varint())})
	}
	n := r.count(5)
	s.entries, s.moved = make([]entry, 0, n), true
	for range n {
		tag := r.octet()
		v := value{dim: dimension(tag >> 3), kind: valueForm(tag >> 1 & 3), cell: uint32(r.uvarint())}
		if v.dim >= dimensions || int(v.cell) >= len(s.cells) {
			return nil, errSummary
		}
		switch v.kind {
		case value4:
			v.a = flow.Addr4([4]byte{})
			r.octets(v.a[12:])
			if v.dim == dimPair {
				v.b = flow.Addr4([4]byte{})
				r.octets(v.b[12:])
			}
		case value6:
			r.octets(v.a[:])
			if v.dim == dimPair {
				r.octets(v.b[:])
			}
		case valueNumber:
			binary.BigEndian.PutUint64(v.a[8:], r.uvarint())
		}
		sums := r.measured()
		s.entries = append(s.entries, entry{v, sums})
		if tag&1 != 0 {
			s.addSlack(int32(len(s.entries)-1), r.measured())
		}
	}
	for range r.count(8) {
		p := place{cell: uint32(r.uvarint())}
		p.dim = dimension(r.octet())
		if p.dim >= dimensions || int(p.cell) >= len(s.cells) {
			return nil, errSummary
		}
		s.rest[p] = remainder{r.measured(), r.measured()}
	}
	if r.bad || len(r.b) > 0 {
		return nil, errSummary
	}
	return s, nil
}
