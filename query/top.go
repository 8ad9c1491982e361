package query

import (
	"time"
)

// Top is the groups with most of a measure, and what remains.
type Top struct {
	// From and To are the range as answered, in UTC.
	From, To time.Time
	Keys     []Key
	By       Measure
	Limit    int
	// Rows are the groups with most of By, the larger first, equal ones by key.
	Rows []TopRow
	// Other is the groups that are not listed, nil when all are.
	Other *Other
	// Total is all flows of the range, each once.
	Total Sums
	Provenance
}

// TopRow is one group.
type TopRow struct {
	// Values has one value for each column that Grouped returns for the question's keys, in
	// their order.
	Values []Value
	Label  string
	Sums
	// Share is the group's part of the total by the question's measure, 0 to
	// 1; nil where the measure is no sum, or the total is 0. Groups of either-side keys
	// overlap: their shares may exceed 1 in sum.
	Share *float64
	// Error is by how much the group's measure may be wrong, 0 when it is exact:
	// what roll-ups know only as a part of their remainder.
	Error int64
	// FirstSeen and LastSeen are when the group's first flow began and its last
	// one ended, and Duration is how long its flows last on average. They are
	// zero unless flows were read for a measure, or a Having, that needs them.
	FirstSeen, LastSeen time.Time
	Duration            time.Duration
	// PPS and BPS are packets and bits a second between FirstSeen and LastSeen, as
	// nfdump has it; nil where these are not known, or the same. BPP is bytes a packet, nil
	// without packets.
	PPS, BPS, BPP *float64
}

// Other is the sum of the groups that are not listed. Where groups overlap, a
// flow counts in it once for each of its groups, as it does in the rows.
type Other struct {
	Groups int64
	Sums
}
