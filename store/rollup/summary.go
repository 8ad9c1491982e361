// Package rollup sums flows by minute, hour and day: a Summary keeps the heaviest values of
// each dimension and the sum of all others, and can be merged with others of the same
// bucket. A Parcel holds the flows of a batch until they are summed, a Handoff carries it
// from whoever stores flows to whoever sums them. The package does no input or output, and
// reads no clock.
package rollup

import (
	"cmp"
	"slices"
)

// Summary is the traffic of one bucket: a set of values with their sums, and a
// remainder for each cell and dimension.
//
// What a value has in truth is at least its sums, and at most its sums and its error
// bound. A value without an entry has at most the largest value that was dropped in its
// cell and dimension. The sums of all values and the remainder together are exact.
//
// Summaries of the same bucket can be merged in any order.
type Summary struct {
	cells      []Cell
	cellIndex  map[Cell]uint32
	entries    []entry
	remainders map[remainderKey]remainder
	// bounds are the error bounds of the entries: how much more of each the
	// remainder can hold. Entries beyond its end have none, as most.
	bounds []Sums
	// index finds a value among the entries; it is made anew when it is stale.
	index      valueIndex
	indexStale bool

	lastCell      Cell // the last argument of cell, and its result
	lastCellIndex uint32
}

// NewSummary returns a Summary of no traffic.
func NewSummary() *Summary {
	return &Summary{cellIndex: make(map[Cell]uint32), remainders: make(map[remainderKey]remainder)}
}

// cell returns the index of a cell, and adds the cell when it is new.
func (s *Summary) cell(c Cell) uint32 {
	if c == s.lastCell && len(s.cells) > 0 {
		return s.lastCellIndex
	}
	i, ok := s.cellIndex[c]
	if !ok {
		i = uint32(len(s.cells))
		s.cellIndex[c] = i
		s.cells = append(s.cells, c)
	}
	s.lastCell, s.lastCellIndex = c, i
	return i
}

// add adds to a value and returns the index of its entry.
func (s *Summary) add(v *value, sums *Sums) int32 {
	if s.indexStale {
		s.index.rebuild(s.entries)
		s.indexStale = false
	}
	i, added := s.index.findOrAdd(v, &s.entries)
	if added {
		s.entries[i].sums = *sums
	} else {
		s.entries[i].sums.Add(sums)
	}
	return i
}

// bound returns the error bound of the i-th entry.
func (s *Summary) bound(i int32) Sums {
	if int(i) < len(s.bounds) {
		return s.bounds[i]
	}
	return Sums{}
}

// addBound widens the error bound of the i-th entry.
func (s *Summary) addBound(i int32, m Sums) {
	if m == (Sums{}) {
		return
	}
	if n := int(i) + 1 - len(s.bounds); n > 0 {
		s.bounds = append(s.bounds, make([]Sums, n)...)
	}
	s.bounds[i].Add(&m)
}

// Merge adds the other summary of the same bucket to s. The other is not changed.
func (s *Summary) Merge(o *Summary) {
	cells := make([]uint32, len(o.cells)) // of each cell of the other, our index
	for i, c := range o.cells {
		cells[i] = s.cell(c)
	}
	// Where one of the two has dropped values, those of the other may lack a part, and
	// their error bounds grow. Our entries get theirs at the end, when it is known which
	// of them the other has too.
	dropped := make(map[remainderKey]Sums) // by the other, in our cells
	for k, r := range o.remainders {
		if r.maxDropped != (Sums{}) {
			dropped[remainderKey{cells[k.cell], k.dimension}] = r.maxDropped
		}
	}
	before := int32(len(s.entries))
	var inBoth []bool // of our entries
	if len(dropped) > 0 {
		inBoth = make([]bool, before)
	}
	for i := range o.entries {
		e := o.entries[i]
		e.cell = cells[e.cell]
		at := s.add(&e.value, &e.sums)
		bound := o.bound(int32(i))
		if at >= before && len(s.remainders) > 0 {
			ours := s.remainders[remainderKey{e.cell, e.dimension}].maxDropped
			bound.Add(&ours)
		} else if at < before && inBoth != nil {
			inBoth[at] = true
		}
		s.addBound(at, bound)
	}
	if len(dropped) > 0 {
		for i := range before {
			if !inBoth[i] {
				s.addBound(i, dropped[remainderKey{s.entries[i].cell, s.entries[i].dimension}])
			}
		}
	}
	for k, r := range o.remainders {
		s.addRemainder(remainderKey{cells[k.cell], k.dimension}, &r)
	}
}

// addRemainder adds the remainder of other traffic: a value that both dropped has at
// most the sum of the two largest.
func (s *Summary) addRemainder(k remainderKey, r *remainder) {
	ours := s.remainders[k]
	ours.sums.Add(&r.sums)
	ours.maxDropped.Add(&r.maxDropped)
	s.remainders[k] = ours
}

// Len returns how many values the summary keeps one by one.
func (s *Summary) Len() int { return len(s.entries) }

// LargestDimension returns how many values the summary keeps one by one in the dimension
// that has most.
func (s *Summary) LargestDimension() int {
	var n [DimensionCount]int
	for i := range s.entries {
		n[s.entries[i].dimension]++
	}
	return slices.Max(n[:])
}

// byDimension returns the indices of the entries in the order of their dimensions, so
// that what is read together lies together.
func (s *Summary) byDimension() []int32 {
	order := make([]int32, len(s.entries))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(i, j int32) int { return cmp.Compare(s.entries[i].dimension, s.entries[j].dimension) })
	return order
}
