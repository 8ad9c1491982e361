package rollup

import (
	"math/bits"
	"slices"
)

// limits say which values of a dimension stay, in buckets that have too many: those that
// are larger than the limit of their bucket, or of their cell.
type limits struct {
	buckets []*bucketLimit // nil: all values of the bucket stay
	cells   []*cellLimit   // nil: all values of the cell stay
}

// bucketLimit is the largest measures of a bucket but so many.
type bucketLimit struct {
	limit     Sums
	selectors [3]selector // of each measure
}

// cellLimit is the same of a cell, and the remainder of its values that do not stay.
type cellLimit struct {
	bucket *bucketLimit
	// largest are the largest of each measure, descending, as many as stay and one more.
	largest   [3][]uint64
	limit     Sums
	remainder remainder
}

func (l *cellLimit) stays(sums *Sums) bool {
	b, c := &l.bucket.limit, &l.limit
	return sums[0] > b[0] || sums[1] > b[1] || sums[2] > b[2] || sums[0] > c[0] || sums[1] > c[1] || sums[2] > c[2]
}

// drop adds a value to the remainder.
func (l *cellLimit) drop(sums *Sums) {
	l.remainder.sums.Add(sums)
	l.remainder.maxDropped.raise(sums)
}

// offer takes v into the n largest of a measure, if it is one of them.
func (l *cellLimit) offer(measure int, v uint64, n int) {
	list := l.largest[measure]
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
	l.largest[measure] = list
}

// limits returns the limits of a dimension, nil when no bucket has too many values.
func (a *adder) limits(d Dimension, values []slot) *limits {
	if d == DimTotal || len(values) <= a.limit {
		return nil
	}
	counts := make([]int, len(a.buckets))
	for i := range values {
		counts[a.cellBucket[values[i].cell()]]++
	}
	if slices.Max(counts) <= a.limit {
		return nil
	}
	l := &limits{make([]*bucketLimit, len(a.buckets)), make([]*cellLimit, len(a.cells))}
	for b, n := range counts {
		if n > a.limit {
			l.buckets[b] = new(bucketLimit)
		}
	}
	for c, b := range a.cellBucket {
		if l.buckets[b] != nil {
			l.cells[c] = &cellLimit{bucket: l.buckets[b]}
		}
	}
	l.limitCells(values, a.perCell)
	l.limitBuckets(values, a.limit)
	return l
}

// limitCells finds, of each cell, the largest measures but perCell. On the way it counts
// the values of each bucket by size class.
func (l *limits) limitCells(values []slot, perCell int) {
	for i := range values {
		v := &values[i]
		c := l.cells[v.cell()]
		if c == nil {
			continue
		}
		for m := range 3 {
			n := v.measure(m)
			c.bucket.selectors[m].counts[sizeClass(n)]++
			c.offer(m, n, perCell+1)
		}
	}
	for _, c := range l.cells {
		if c == nil {
			continue
		}
		for m, list := range c.largest {
			if len(list) == perCell+1 { // else all of them stay
				c.limit[m] = list[perCell]
			}
		}
	}
}

// limitBuckets finds, of each bucket, the largest measures but n.
func (l *limits) limitBuckets(values []slot, n int) {
	for _, b := range l.buckets {
		if b != nil {
			for m := range b.selectors {
				b.selectors[m].choose(n)
			}
		}
	}
	for i := range values {
		v := &values[i]
		c := l.cells[v.cell()]
		if c == nil {
			continue
		}
		for m := range 3 {
			if s := &c.bucket.selectors[m]; s.class >= exactClasses && sizeClass(v.measure(m)) == s.class {
				s.members = append(s.members, v.measure(m))
			}
		}
	}
	for _, b := range l.buckets {
		if b == nil {
			continue
		}
		for m := range b.selectors {
			if s := &b.selectors[m]; s.class < exactClasses {
				b.limit[m] = uint64(s.class)
			} else {
				b.limit[m], _ = nthLargest(s.members, s.n)
			}
		}
	}
}

// selector finds the largest value but n in two passes: the first counts the values of
// each size class, the second collects those of the class that the value is in.
type selector struct {
	counts  [sizeClasses]uint32
	class   int      // that the value is in
	n       int      // how many of the class are larger
	members []uint64 // of the class
}

func (s *selector) choose(n int) {
	for class := sizeClasses - 1; class >= 0; class-- {
		c := int(s.counts[class])
		if n < c {
			s.class, s.n = class, n
			return
		}
		n -= c
	}
}

const (
	// sizeClasses is how many classes sizeClass knows.
	sizeClasses = 64 + 64*58
	// exactClasses is how many of them, from 0 on, have one value: the class itself.
	exactClasses = 128
)

// sizeClass returns the class of values that have the same seven leading binary digits.
// A larger value has no smaller class.
func sizeClass(v uint64) int {
	if v < 64 {
		return int(v)
	}
	n := bits.Len64(v) - 7
	return 64*n + int(v>>n)
}
