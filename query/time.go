package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// timeForms is what an error about a time tells people to write.
const timeForms = `write a time like 2026-11-21T10:00:00Z, 2026-11-21 10:00, 2026-11-21, now, today, yesterday, or relative to now like -30m, -6h, -7d, -2w`

// layouts are the written forms of an instant, the ones with a zone first.
// Parsing accepts a fraction of a second after the seconds of any of them.
var layouts = []string{
	time.RFC3339,
	"2006-01-02T15:04Z07:00",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04Z07:00",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04",
	"2006-01-02 15:04:05",
	"2006-01-02 15:04",
	"2006-01-02",
}

var timeUnits = map[byte]time.Duration{
	's': time.Second,
	'm': time.Minute,
	'h': time.Hour,
	'd': 24 * time.Hour,
	'w': 7 * 24 * time.Hour,
}

// toTheMinute is how long ago a time has to be for its age to mean its minute.
const toTheMinute = 10 * time.Minute

// FirstTime and latest bound what a question may ask about: flow times start
// with the epoch, and nobody asks beyond the century.
var (
	FirstTime = time.Unix(0, 0).UTC()
	LastTime  = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ParseTime reads a point in time as people write it. It accepts RFC 3339, a
// date with or without a time of day, "now", "today" and "yesterday" (their
// first instant), and an offset from now of seconds, minutes, hours, days of 24
// hours and weeks: "-6h", "-1d12h", "now-30m", "+1h". More than ten whole minutes
// ago is the begin of that minute: nobody who says "-6h" means the millisecond, and
// of whole minutes the roll-ups can tell.
//
// What is written without a zone is read in now's, so a caller decides between
// UTC and local time by the zone of the clock it hands over. The result is in
// now's zone, never before 1970. The error, a *QuestionError, says what is
// accepted.
func ParseTime(s string, now time.Time) (time.Time, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	t, err := parseTime(text, now)
	if err != nil {
		return time.Time{}, &Error{Reason: fmt.Sprintf("%q %v: %s", s, err, timeForms)}
	}
	if t.Before(FirstTime) || !t.Before(LastTime) {
		return time.Time{}, &Error{Reason: fmt.Sprintf("%q is outside of the years 1970 to 2199: %s", s, timeForms)}
	}
	return t, nil
}

func parseTime(text string, now time.Time) (time.Time, error) {
	midnight := func(daysAgo int) time.Time {
		y, m, d := now.Date()
		return time.Date(y, m, d-daysAgo, 0, 0, 0, 0, now.Location())
	}
	switch text {
	case "":
		return time.Time{}, fmt.Errorf("is empty")
	case "now":
		return now, nil
	case "today":
		return midnight(0), nil
	case "yesterday":
		return midnight(1), nil
	}
	if offset := strings.TrimPrefix(text, "now"); offset[0] == '-' || offset[0] == '+' {
		d, err := parseOffset(offset[1:])
		if err != nil {
			return time.Time{}, err
		}
		if offset[0] == '+' {
			return now.Add(d), nil
		}
		t := now.Add(-d)
		if d > toTheMinute && d%time.Minute == 0 {
			t = t.Truncate(time.Minute)
		}
		return t, nil
	}
	upper := strings.ToUpper(text)
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, upper, now.Location()); err == nil {
			return t.In(now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("is not a time")
}

// parseOffset reads numbers with units, "6h" or "1d12h", as their sum.
func parseOffset(s string) (time.Duration, error) {
	if s == "" {
		return 0, fmt.Errorf("lacks a number and a unit")
	}
	var sum time.Duration
	for s != "" {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		if n == 0 {
			return 0, fmt.Errorf("lacks a number before %q", s)
		}
		if n == len(s) {
			return 0, fmt.Errorf("lacks a unit (s, m, h, d or w) after %s", s)
		}
		count, err := strconv.ParseInt(s[:n], 10, 64)
		unit, ok := timeUnits[s[n]]
		if !ok {
			return 0, fmt.Errorf("has an unknown unit %q (s, m, h, d and w are known)", s[n:n+1])
		}
		const most = 250 * 366 * 24 * time.Hour
		if err != nil || count > int64(most/unit) || sum+time.Duration(count)*unit > most {
			return 0, fmt.Errorf("is too far away")
		}
		sum += time.Duration(count) * unit
		s = s[n+1:]
	}
	return sum, nil
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
