// Package query says what can be asked about flows, and what an answer is: the range and
// its times, keys, measures, conditions on groups, steps, and the types of answers. It is
// pure: it knows no database and no clock. Package store/answer answers.
package query

import (
	"errors"
	"time"

	"flowtally/filter"
)

// DefaultLimit is how many groups are listed when a question does not say.
const DefaultLimit = 10

// MaxLimit is the most groups a Top lists.
const MaxLimit = 10_000

// MaxLines is the most lines a Series has beside the rest and the total.
const MaxLines = 100

// DefaultBuckets is how many buckets a Series with an automatic step has at
// most, MaxBuckets how many any has.
const DefaultBuckets = 300

const MaxBuckets = 1_500

// MaxLayOver is how many earlier periods a Series has beside it at most.
const MaxLayOver = 8

// Question asks about the flows of the half-open range [From, To).
//
// A flow contributes to the range the share of its packets and bytes that lies
// inside, pro rata over its life (flow.Share), and counts as one flow where it
// starts. So the answers of adjoining ranges add up to the answer of the whole.
type Question struct {
	// From and To are cut to milliseconds.
	From, To time.Time
	// Keys is what to group by: at least one for a Top; without one a Series
	// has only its total.
	Keys []Key
	// By ranks the groups; empty is ByFlows.
	By Measure
	// Limit is how many groups to list, 1 to MaxLimit (a Series: MaxLines);
	// 0 is DefaultLimit.
	Limit int
	// Exporter restricts the question to the exporters of this name, address
	// or number; empty is all of them.
	Exporter string
	// Filter restricts the question to the flows that match; nil is all of
	// them. Names of hosts in it are looked up when the question is asked.
	Filter *filter.Filter
	// Having restricts the groups that a Top lists to those whose sums meet it;
	// the others go on to count in Other. nil is all of them.
	Having *Having
	// Whole books whole flows where they end, as nfdump does.
	Whole bool
	// Scaled multiplies packets and bytes by the rate of packet sampling, by 1
	// where that is not known. Flows are never multiplied.
	Scaled bool
	// Raw has the flows themselves read, also where the roll-ups could answer:
	// slower, and exact where these would have to estimate.
	Raw bool
	// Step is the length of a Series' buckets in whole milliseconds; 0 takes
	// the smallest step of a ladder (1 s to 1 week) that makes no more than
	// MaxBuckets buckets, 0 being DefaultBuckets.
	//
	// StepMonths in its place makes buckets of so many months. Days, weeks and months are
	// those of Zone: from midnight, Monday or the first of January on. Shorter buckets are
	// counted from the midnight of the zone, as its clock is at From.
	Step       time.Duration
	StepMonths int
	MaxBuckets int
	// Zone is whose days, weeks and months are meant; nil is UTC.
	Zone *time.Location
	// LayOver is how many earlier periods a Series has beside it, 0 to
	// MaxLayOver, each Period, or so many months, before the other; without either it
	// is the range's length, rounded up to whole days or to whole buckets of months. Days
	// and months of it go by the clock of Zone.
	LayOver      int
	Period       time.Duration
	PeriodMonths int
	// Timeout is how long the database may work on it; 0 is DefaultTimeout.
	Timeout time.Duration
}

// Error says what is wrong with a question, so that whoever asked can
// ask better: it is their error, not the store's.
type Error struct {
	// Parameter is from, to, key, by, limit, step or exporter; empty when only
	// the caller knows.
	Parameter string
	Reason    string
	// Offset and End are the part of the parameter's text that is meant, in
	// bytes; equal where something is missing, and both 0 when nobody knows.
	Offset, End int
}

// Error returns the reason behind the parameter's name.
func (e *Error) Error() string {
	if e.Parameter == "" {
		return e.Reason
	}
	return e.Parameter + ": " + e.Reason
}

// of names the parameter that a QuestionError is about.
func of(parameter string, err error) error {
	if q, ok := errors.AsType[*Error](err); ok {
		return &Error{Parameter: parameter, Reason: q.Reason}
	}
	return err
}
