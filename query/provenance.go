package query

import (
	"time"
)

// Provenance says where an answer comes from, and how much it can be trusted.
type Provenance struct {
	// Filter is the question's filter in its canonical form.
	Filter string
	// Scaled says that packets and bytes were multiplied by the sampling rate,
	// Sampling what is known of that of the exporters: none, known, unknown, or
	// mixed.
	Scaled   bool
	Sampling string
	// Source is what was read: flows, traffic_1m, traffic_1h, traffic_1d, several
	// of them joined by +. Resolution is how finely its times are known.
	Source, Resolution string
	// Exact reports that nothing was estimated. Totals never are.
	Exact bool
	// Saturated reports that a sum is the largest that there is, 2^63-1, and may be more in
	// truth: exporters sent counters that large, or larger.
	Saturated bool
	// Cut is not nil when retention has removed a part of the range.
	Cut *Cut
	// Growing is from when on flows may still be added to the answer: exporters report a
	// flow when it ends, or from time to time while it lasts. It is zero when the range
	// was over before.
	Growing time.Time
	// Stored is from when to when there are flows at all, of any kind; nil without any.
	Stored *Stored
	// Remainder is not nil when roll-ups gave the answer which do not tell
	// their smallest values apart.
	Remainder *Remainder
	// Plan says in a line which part of the range was read from what, and why.
	Plan string
	// SQL gives the same numbers in psql, Command on the command line.
	SQL, Command string
	// Took is how long the database worked.
	Took time.Duration
}

// Cut says that a range begins before what is kept.
type Cut struct {
	// From is where what is kept begins.
	From   time.Time
	Reason string
}

// Stored is the time that flows are kept of, in themselves or in roll-ups.
type Stored struct {
	// From is the begin of the hour, or of the day of roll-ups, that the first are of;
	// To is when the last one ended.
	From, To time.Time
}

// Remainder is what roll-ups know of their smallest values only as a sum.
type Remainder struct {
	// Share is the remainder's part of the total by the question's measure.
	Share float64
	// Error is the most that a group which is not listed may have beyond what it
	// was ranked with, in the question's measure.
	Error int64
}
