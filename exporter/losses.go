package exporter

import "slices"

// losses are the records that did not leave for some destination. A record counts
// once, by the first cause, however many destinations did not take it: all get the
// same records in the same order, so that a record is its number.
type losses struct {
	spans   []span // disjoint, ascending
	notSent NotSent
}

// span is the records from one number up to but not including another.
type span struct{ from, to uint64 }

// fail counts the n records from a number on as not sent because of err.
func (l *losses) fail(err error, from, n uint64) {
	if l != nil {
		*l.notSent.of(err) += l.add(from, n)
	}
}

// unreachable counts them as given up.
func (l *losses) unreachable(from, n uint64) {
	if l != nil {
		l.notSent.Unreachable += l.add(from, n)
	}
}

// add takes n records in and returns how many of them were not in before.
func (l *losses) add(from, n uint64) (added uint64) {
	if n == 0 {
		return 0
	}
	in := span{from, from + n}
	added = n
	first := 0
	for first < len(l.spans) && l.spans[first].to < in.from {
		first++
	}
	last := first
	for ; last < len(l.spans) && l.spans[last].from <= from+n; last++ {
		s := l.spans[last]
		added -= min(s.to, from+n) - max(s.from, from)
		in = span{min(in.from, s.from), max(in.to, s.to)}
	}
	l.spans = slices.Replace(l.spans, first, last, in)
	return added
}

// settle forgets records below a number that no destination will lose any more.
func (l *losses) settle(below uint64) {
	n := 0
	for n < len(l.spans) && l.spans[n].to < below {
		n++
	}
	l.spans = slices.Delete(l.spans, 0, n)
}
