package query

import (
	"slices"
	"time"
)

// Series is how the measures of the largest groups went over time.
type Series struct {
	// From and To are the range as answered, in UTC.
	From, To time.Time
	// Step is the length of a bucket; of days, weeks and months that are not all as long
	// the usual one: a bucket ends where the next one starts.
	Step time.Duration
	// StepMonths is how many months a bucket has, 0 when it is no month.
	StepMonths int
	Keys       []Key
	By         Measure
	// Start is where the buckets begin, on multiples of Step in the question's zone (weeks
	// on Mondays, months on their first day). The first bucket may begin before From and the last end after
	// To; what they hold is of the range alone.
	Start []time.Time
	// Lines are the groups that Top lists for the same question.
	Lines []Line
	// Other is the groups that are not listed, nil when all are or when there
	// are no keys.
	Other *Line
	// Total is all flows, each once.
	Total Line
	// Previous are the earlier periods that were asked for, the latest first.
	Previous []Previous
	Provenance
}

// Previous is an earlier period of a Series: the same buckets, so much earlier on the clock
// of the question's zone. A bucket of an hour that the clock skipped then has nothing, one of
// an hour that came twice then has both; of an hour that comes twice now the second has
// what was then. A day that the month before does not have has nothing.
type Previous struct {
	// Offset is how much earlier, on the clock, it begins.
	Offset time.Duration
	// Lines are those of the Series' groups, in their order.
	Lines []Line
	Total Line
	// Cut is as in Provenance.
	Cut *Cut
}

// Line has one sum of each measure for each bucket.
type Line struct {
	Values                []Value
	Label                 string
	Flows, Packets, Bytes []int64
}

func NewLine(label string, buckets int) Line {
	return Line{Label: label, Flows: make([]int64, buckets), Packets: make([]int64, buckets), Bytes: make([]int64, buckets)}
}

// Empty reports whether it has neither flows nor packets.
func (l *Line) Empty() bool {
	some := func(n int64) bool { return n != 0 }
	return !slices.ContainsFunc(l.Flows, some) && !slices.ContainsFunc(l.Packets, some)
}

func (l *Line) Set(bucket int, s Sums) {
	l.Flows[bucket], l.Packets[bucket], l.Bytes[bucket] = s.Flows, s.Packets, s.Bytes
}

// By returns one measure of a line.
func (l *Line) By(m Measure) []int64 {
	switch m {
	case ByPackets:
		return l.Packets
	case ByBytes:
		return l.Bytes
	}
	return l.Flows
}
