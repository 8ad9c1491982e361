package query

import (
	"fmt"
	"strings"
	"time"

	"flowtally/calendar"
	"flowtally/flow"
)

// ParseStep reads the length of a bucket or of a period: numbers with the units of ParseTime,
// "60s", "5m", "1d", "1w" or "1h30m", or what time.ParseDuration reads; or whole months,
// "1mo" (a quarter is 3mo, a year 12mo), which no duration has: then length is 0. "auto" is
// neither, which leaves it to whoever answers. Anything else is whole seconds, one at least.
// The error is a *Error.
func ParseStep(s string) (length time.Duration, months int, err error) {
	if s == "auto" {
		return 0, 0, nil
	}
	const how = "write auto, or whole seconds as 60s, 5m, 1h, 1d or 1w, or whole months as 1mo"
	p, err := calendar.ParsePeriod(strings.ToLower(s))
	if err != nil {
		p = calendar.Period{}
		if p.Rest, err = time.ParseDuration(s); err != nil {
			return 0, 0, &Error{Reason: fmt.Sprintf("%q is not a duration; %s", s, how)}
		}
	}
	length = time.Duration(p.Days)*calendar.Day + p.Rest
	switch {
	case p.Months > 0 && length > 0:
		return 0, 0, &Error{Reason: fmt.Sprintf("%q has months and something else; %s", s, how)}
	case p.Months > 0:
		return 0, p.Months, nil
	case length < time.Second || length%time.Second != 0:
		return 0, 0, &Error{Reason: fmt.Sprintf("%q is not a number of whole seconds above zero; %s", s, how)}
	}
	return length, 0, nil
}

// FormatStep writes what ParseStep reads.
func FormatStep(length flow.Time, months int) string {
	if months > 0 {
		return fmt.Sprintf("%dmo", months)
	}
	return ShortDuration(length)
}

// FormatTime is RFC 3339 with as many digits as needed.
func FormatTime(t flow.Time) string { return t.Time().Format(time.RFC3339Nano) }

// ShortDuration writes "5m" where time.Duration writes "5m0s".
func ShortDuration(t flow.Time) string {
	switch {
	case t%flow.Hour == 0:
		return fmt.Sprintf("%dh", t/flow.Hour)
	case t%flow.Minute == 0:
		return fmt.Sprintf("%dm", t/flow.Minute)
	case t%flow.Second == 0:
		return fmt.Sprintf("%ds", t/flow.Second)
	}
	return fmt.Sprintf("%dms", t)
}

// Steps is the ladder of automatic steps.
var Steps = []flow.Time{
	flow.Second, 5 * flow.Second, 10 * flow.Second, 30 * flow.Second,
	flow.Minute, 5 * flow.Minute, 15 * flow.Minute, 30 * flow.Minute,
	flow.Hour, 3 * flow.Hour, 6 * flow.Hour, 12 * flow.Hour,
	flow.Day, Week,
}

const Week = 7 * flow.Day

// Origin is a time that buckets of this step begin at: the epoch, and its first
// Monday for weeks.
func Origin(step flow.Time) flow.Time {
	if step%Week == 0 {
		return 4 * flow.Day
	}
	return 0
}

// Buckets returns the first and the last bucket of a range, and how many
// there are.
func Buckets(from, to, step flow.Time) (first, last flow.Time, n int64) {
	o := Origin(step)
	first = (from - o).Floor(step) + o
	last = (to - 1 - o).Floor(step) + o
	return first, last, int64((last-first)/step) + 1
}

// AutoStep is the smallest step of the ladder that makes no more than so many
// buckets; beyond the ladder, whole weeks. One bucket becomes two when the range
// lies across a boundary of every step.
func AutoStep(from, to flow.Time, buckets int) flow.Time {
	for _, step := range Steps {
		if _, _, n := Buckets(from, to, step); n <= int64(buckets) {
			return step
		}
	}
	weeks := max(1, (to-from)/Week/flow.Time(buckets)) * Week
	for {
		if _, _, n := Buckets(from, to, weeks); n <= int64(max(2, buckets)) {
			return weeks
		}
		weeks += Week
	}
}

// FormatResolution is a step in words.
func FormatResolution(step flow.Time) string {
	if step%flow.Second == 0 {
		return fmt.Sprintf("%d s", step/flow.Second)
	}
	return fmt.Sprintf("%d ms", step)
}
