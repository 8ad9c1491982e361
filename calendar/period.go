package calendar

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Day is a day of 24 hours, which in a zone that changes its clock is not every day.
const Day = 24 * time.Hour

// Period is a length of time as people write it: months and days of a calendar, and an
// exact rest. A week is seven days.
type Period struct {
	Months, Days int
	Rest         time.Duration
}

// units are what a period is written in.
var units = []struct {
	name string
	of   Period
}{
	{"s", Period{Rest: time.Second}}, {"mo", Period{Months: 1}}, {"m", Period{Rest: time.Minute}}, {"h", Period{Rest: time.Hour}},
	{"d", Period{Days: 1}}, {"w", Period{Days: 7}},
}

// most is the longest period there is, in seconds: beyond any time that can be asked for.
const most = 250 * 366 * 24 * 60 * 60

// ParsePeriod reads numbers with units, "6h", "1d12h" or "1mo", as their sum.
func ParsePeriod(s string) (Period, error) {
	if s == "" {
		return Period{}, fmt.Errorf("lacks a number and a unit")
	}
	var sum Period
	for s != "" {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		if n == 0 {
			return Period{}, fmt.Errorf("lacks a number before %q", s)
		}
		if n == len(s) {
			return Period{}, fmt.Errorf("lacks a unit (s, m, h, d, w or mo) after %s", s)
		}
		count, err := strconv.ParseInt(s[:n], 10, 64)
		unit, rest, ok := cutUnit(s[n:])
		if !ok {
			return Period{}, fmt.Errorf("has an unknown unit %q (s, m, h, d, w and mo are known)", s[n:n+1])
		}
		if err != nil || count > most/unit.seconds() || sum.seconds()+count*unit.seconds() > most {
			return Period{}, fmt.Errorf("is too far away")
		}
		more := unit.Times(int(count))
		sum = Period{sum.Months + more.Months, sum.Days + more.Days, sum.Rest + more.Rest}
		s = rest
	}
	return sum, nil
}

func cutUnit(s string) (of Period, rest string, ok bool) {
	for _, u := range units {
		if rest, ok := strings.CutPrefix(s, u.name); ok {
			return u.of, rest, true
		}
	}
	return Period{}, s, false
}

// Times is the period n times.
func (p Period) Times(n int) Period {
	return Period{p.Months * n, p.Days * n, p.Rest * time.Duration(n)}
}

// seconds is about how long it is: a month has 30 days.
func (p Period) seconds() int64 {
	return int64(30*p.Months+p.Days)*int64(Day/time.Second) + int64(p.Rest/time.Second)
}

// After returns the time that lies a period after t, in t's zone: of months and days on its
// calendar and at the same hour of the clock, the rest exactly. Of a day that a month does
// not have it is the last that it has.
func (p Period) After(t time.Time) time.Time {
	if p.Months == 0 && p.Days == 0 {
		return t.Add(p.Rest)
	}
	wall, first, clock := p.month(t)
	day := min(wall.Day(), lastDay(first))
	return At(first.AddDate(0, 0, day-1+p.Days).Add(clock), t.Location()).Add(p.Rest)
}

// Before returns the time that lies a period before t, as After.
func (p Period) Before(t time.Time) time.Time { return p.Times(-1).After(t) }

// Shifted returns where a bound of a range or of a slot lies one period earlier: as Before,
// but of a day that the month does not have, and of a time that the clock skips, it is the
// begin of what comes next. So bounds keep their order, and nothing lies between those of
// a day that there was not.
func (p Period) Shifted(t time.Time) time.Time {
	if p.Months == 0 && p.Days == 0 {
		return t.Add(-p.Rest)
	}
	wall, first, clock := p.Times(-1).month(t)
	day := wall.Day()
	if n := lastDay(first); day > n {
		day, clock = n+1, 0
	}
	moved, exists := find(first.AddDate(0, 0, day-1-p.Days).Add(clock), t.Location())
	if !exists {
		if change, _ := moved.ZoneBounds(); !change.IsZero() {
			moved = change
		}
	}
	return moved.Add(-p.Rest).In(t.Location())
}

// month is the clock of t's zone at t, the begin of the month that lies the period's
// months later, and the time of day.
func (p Period) month(t time.Time) (wall, first time.Time, clock time.Duration) {
	wall = Wall(t, t.Location())
	year, month, _ := wall.Date()
	return wall, time.Date(year, month+time.Month(p.Months), 1, 0, 0, 0, 0, time.UTC), wall.Sub(wall.Truncate(Day))
}

// lastDay is how many days the month has that begins so.
func lastDay(first time.Time) int { return first.AddDate(0, 1, -1).Day() }
