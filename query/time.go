package query

import (
	"fmt"
	"strings"
	"time"

	"flowtally/calendar"
)

// FirstTime and latest bound what a question may ask about: flow times start
// with the epoch, and nobody asks beyond the century.
var (
	FirstTime = time.Unix(0, 0).UTC()
	LastTime  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ParseTime reads a point in time as people write it: see calendar.Parse. What is written
// without a zone is read in now's, so a caller decides between UTC and another zone by that
// of the clock it hands over. The result is in now's zone, never before 1970. The error, an
// *Error, says what is accepted.
func ParseTime(s string, now time.Time) (time.Time, error) {
	t, err := calendar.Parse(s, now)
	if err != nil {
		return time.Time{}, &Error{Reason: fmt.Sprintf("%q %v: %s", s, err, calendar.Forms)}
	}
	if t.Before(FirstTime) || !t.Before(LastTime) {
		return time.Time{}, &Error{Reason: fmt.Sprintf("%q is outside of the years 1970 to 2199: %s", s, calendar.Forms)}
	}
	return t, nil
}

// ParseZone reads the name of a zone; empty is UTC. The error is an *Error.
func ParseZone(name string) (*time.Location, error) {
	zone, err := calendar.Zone(name)
	if err != nil {
		return nil, &Error{Parameter: "zone", Reason: err.Error()}
	}
	return zone, nil
}

// ParseRange reads the half-open range [from, to) with ParseTime; both are
// seen from the same now, and an empty to is now. A range without length, or
// with a negative one, is an error.
func ParseRange(from, to string, now time.Time) (since, until time.Time, err error) {
	since, err = ParseTime(from, now)
	if err != nil {
		return time.Time{}, time.Time{}, of("from", err)
	}
	if strings.TrimSpace(to) == "" {
		to = "now"
	}
	until, err = ParseTime(to, now)
	if err != nil {
		return time.Time{}, time.Time{}, of("to", err)
	}
	return since, until, CheckRange(since, until)
}

func CheckRange(from, to time.Time) error {
	if from.Before(to) {
		return nil
	}
	return &Error{Parameter: "from", Reason: fmt.Sprintf("the range must begin before it ends, but %s is not before %s",
		from.Format(time.RFC3339Nano), to.Format(time.RFC3339Nano))}
}
