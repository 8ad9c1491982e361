package calendar

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Forms is what an error about a time tells people to write.
const Forms = `write a time like 2026-11-21T10:00:00Z, 2026-11-21 10:00, 2026-11-21, 1795255200 (seconds since 1970), 14:00 (of today), now, today, yesterday 14:00, this-week, last-month, or relative to now like -30m, -6h, -7d, -2w, -1mo`

// layouts are the written forms of an instant. Parsing accepts a fraction of a second
// after the seconds.
var layouts = []string{
	"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", "2006-01", "2006",
}

// zones are how a zone is written behind a time of day.
var zones = []string{"Z07:00", "Z0700", "Z07"}

// days are the words for the begin of a day, and how many days ago it was.
var days = []struct {
	name string
	ago  int
}{{"today", 0}, {"yesterday", 1}}

// toTheMinute is how long ago a time has to be for its age to mean its minute.
const toTheMinute = 10 * time.Minute

// Parse reads a point in time as people write it:
//
//   - RFC 3339, or as much of it as there is: 2026-11-21T10:00:00Z, 2026-11-21 10:00,
//     2026-11-21T10, 2026-11-21, 2026-11, 2026; the rest is zero;
//   - seconds since 1970, of nine digits and more, perhaps with a fraction: 1795255200;
//   - now; today and yesterday, their first instant or with a time of day behind:
//     "yesterday 14:00"; this-week (it begins on Monday), last-week, this-month and
//     last-month, their first instants; a time of day alone is today's: 14:00;
//   - a Period before now or, with a plus sign, after it: -6h, -1d12h, now-30m, -1mo. More
//     than ten whole minutes ago is the begin of that minute: nobody who says "-6h" means
//     the millisecond, and of whole minutes the roll-ups can tell.
//
// What is written without a zone is read in now's: so whoever asks decides by the zone of
// the clock that it hands over. Days, weeks and months are those of that zone. A blank and
// a T are the same between a day and a time of day. The result is in now's zone.
//
// Where now is zero nobody knows when now is: then the zone is UTC, and what is relative
// to now is an error. The error is the rest of a sentence about the text.
func Parse(text string, now time.Time) (time.Time, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return time.Time{}, fmt.Errorf("is empty")
	}
	zone := now.Location()
	if t, ok := parseInstant(text, zone); ok {
		return t.In(zone), nil
	}
	t, ok, err := parseRelative(text, now)
	switch {
	case err != nil:
		return time.Time{}, err
	case !ok:
		return time.Time{}, fmt.Errorf("is not a time")
	case now.IsZero():
		return time.Time{}, fmt.Errorf("is relative to now, which has no meaning here")
	}
	return t, nil
}

// parseInstant reads what means the same whenever it is read.
func parseInstant(text string, zone *time.Location) (time.Time, bool) {
	if t, ok := parseSeconds(text); ok {
		return t, true
	}
	text = strings.ToUpper(text)
	if len(text) > 10 && text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	for _, layout := range layouts {
		if wall, err := time.Parse(layout, text); err == nil {
			return At(wall, zone), true
		}
		if !strings.Contains(layout, "T") {
			continue
		}
		for _, z := range zones {
			if t, err := time.Parse(layout+z, text); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// parseSeconds reads seconds since 1970, of enough digits to be no year and no day.
func parseSeconds(text string) (time.Time, bool) {
	whole, fraction, dot := strings.Cut(text, ".")
	if len(whole) < 9 || strings.Trim(whole+fraction, "0123456789") != "" || dot && fraction == "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds > math.MaxInt32*1000 {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	return time.Unix(seconds, nanos), err == nil
}

// parseRelative reads what depends on when now is. ok is false when the text is nothing of
// the kind.
func parseRelative(text string, now time.Time) (t time.Time, ok bool, err error) {
	if text == "now" {
		return now, true, nil
	}
	if offset := strings.TrimPrefix(text, "now"); offset[0] == '-' || offset[0] == '+' {
		p, err := ParsePeriod(offset[1:])
		switch {
		case err != nil:
			return t, true, err
		case offset[0] == '+':
			return p.After(now), true, nil
		}
		t = p.Before(now)
		if now.Sub(t) > toTheMinute && p.Rest%time.Minute == 0 {
			t = t.Truncate(time.Minute)
		}
		return t, true, nil
	}
	wall := Wall(now, now.Location())
	midnight := wall.Truncate(Day)
	// A week begins on Monday.
	monday := midnight.AddDate(0, 0, -(int(wall.Weekday())+6)%7)
	month := midnight.AddDate(0, 0, 1-wall.Day())
	switch strings.ReplaceAll(text, " ", "-") {
	case "this-week":
		return At(monday, now.Location()), true, nil
	case "last-week":
		return At(monday.AddDate(0, 0, -7), now.Location()), true, nil
	case "this-month":
		return At(month, now.Location()), true, nil
	case "last-month":
		return At(month.AddDate(0, -1, 0), now.Location()), true, nil
	}
	if clock, ok := parseClock(" " + text); ok {
		return At(midnight.Add(clock), now.Location()), true, nil
	}
	for _, day := range days {
		rest, found := strings.CutPrefix(text, day.name)
		if !found {
			continue
		}
		clock, ok := parseClock(rest)
		return At(midnight.AddDate(0, 0, -day.ago).Add(clock), now.Location()), ok, nil
	}
	return t, false, nil
}

// parseClock reads a time of day behind a blank or a T; nothing is midnight.
func parseClock(text string) (time.Duration, bool) {
	if text == "" {
		return 0, true
	}
	if text[0] != ' ' && text[0] != 't' {
		return 0, false
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, strings.TrimSpace(text[1:])); err == nil {
			return t.Sub(t.Truncate(Day)), true
		}
	}
	return 0, false
}
