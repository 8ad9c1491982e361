package rollup

import "slices"

// Compact keeps of each dimension the values that are among the largest n by one of the
// measures, and those among the largest perCell of their cell, and drops the others into
// the remainders. A value that is no larger than the largest one dropped does not stay
// for that measure: it would prove nothing. Dimension total stays whole.
func (s *Summary) Compact(n, perCell int) {
	stays, all := s.largest(n, perCell)
	if all {
		return
	}
	entries, old := s.entries, Summary{bounds: s.bounds}
	s.entries, s.bounds, s.indexStale = s.entries[:0], nil, true
	dropped := make([]remainder, len(s.cells)*int(DimensionCount))
	for i := range entries {
		e := &entries[i]
		bound := old.bound(int32(i))
		if stays[i] {
			s.addBound(int32(len(s.entries)), bound)
			s.entries = append(s.entries, *e) // never beyond e
			continue
		}
		r := &dropped[int(e.cell)*int(DimensionCount)+int(e.dimension)]
		r.sums.Add(&e.sums)
		most := e.sums
		most.Add(&bound)
		r.maxDropped.raise(&most)
	}
	for i := range dropped {
		if r := &dropped[i]; r.sums != (Sums{}) {
			k := remainderKey{uint32(i / int(DimensionCount)), Dimension(i % int(DimensionCount))}
			ours := s.remainders[k]
			ours.sums.Add(&r.sums)
			ours.maxDropped.raise(&r.maxDropped)
			s.remainders[k] = ours
		}
	}
}

// largest marks the entries that Compact keeps; all says that it keeps every one.
func (s *Summary) largest(n, perCell int) (stays []bool, all bool) {
	var byDimension [DimensionCount][]int32
	for i := range s.entries {
		d := s.entries[i].dimension
		byDimension[d] = append(byDimension[d], int32(i))
	}
	stays, all = make([]bool, len(s.entries)), true
	var (
		measures []uint64
		byCell   [][]int32
	)
	mark := func(list []int32, n int) {
		for m := range 3 {
			measures = measures[:0]
			for _, i := range list {
				measures = append(measures, s.entries[i].sums[m])
			}
			limit, everyOne := nthLargest(measures, n)
			for _, i := range list {
				if everyOne || s.entries[i].sums[m] > limit {
					stays[i] = true
				}
			}
		}
	}
	for d, list := range byDimension {
		if Dimension(d) == DimTotal || len(list) <= n {
			for _, i := range list {
				stays[i] = true
			}
			continue
		}
		all = false
		mark(list, n)
		byCell = slices.Grow(byCell[:0], len(s.cells))[:len(s.cells)]
		for i := range byCell {
			byCell[i] = byCell[i][:0]
		}
		for _, i := range list {
			c := s.entries[i].cell
			byCell[c] = append(byCell[c], i)
		}
		for _, list := range byCell {
			mark(list, perCell)
		}
	}
	return stays, all
}

// nthLargest returns the largest value but n; all reports that there is none. It changes
// the order of v.
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
