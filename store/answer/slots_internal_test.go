package answer

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"flowtally/calendar"
	"flowtally/flow"
	"flowtally/query"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := query.ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// What a slot was in an earlier period, on the clock.
func TestSlotsOfEarlierPeriods(t *testing.T) {
	berlin := zoneOf(t, "Europe/Berlin")
	for _, test := range []struct {
		name, from, to, step, period string
		want                         string // the hours that each slot has of the earlier period
	}{
		{"a_clock_change_between", "2026-03-30", "2026-03-31", "6h", "1w", "6h 6h 6h 6h"},
		{"the_day_before_has_23_hours", "2026-03-30", "2026-03-31", "1h", "1d", "1h 1h 0s 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h 1h"},
		{"this_one_has_23", "2026-03-29", "2026-03-30", "6h", "1d", "7h 6h 6h 6h"},
		{"this_one_has_23_by_hour", "2026-03-29", "2026-03-29 06:00", "1h", "1d", "1h 2h 1h 1h 1h"},
		{"the_day_before_has_25", "2026-10-26", "2026-10-26 06:00", "1h", "1d", "1h 1h 2h 1h 1h 1h"},
		{"this_one_has_25", "2026-10-25", "2026-10-25 06:00", "1h", "1d", "1h 1h 0s 1h 1h 1h 1h"},
		{"days", "2026-10-24", "2026-10-27", "1d", "1w", "24h 24h 24h"},
		{"days_of_25_hours", "2026-10-31", "2026-11-03", "1d", "1w", "24h 25h 24h"},
		{"a_month_without_29_to_31", "2026-03-27", "2026-04-02", "1d", "1mo", "24h 24h 0s 0s 0s 24h"},
		{"months", "2026-03-01", "2026-05-01", "1mo", "1mo", "672h 743h"},
		{"a_quarter", "2026-02-10", "2026-02-11", "3mo", "12mo", "2159h"},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := time.Date(2026, 11, 21, 0, 0, 0, 0, berlin)
			q := query.Question{Zone: berlin, Keys: []query.Key{query.KeyAddr}}
			var err error
			if q.From, q.To, err = query.ParseRange(test.from, test.to, now); err != nil {
				t.Fatal(err)
			}
			if q.Step, q.StepMonths, err = query.ParseStep(test.step); err != nil {
				t.Fatal(err)
			}
			length, months, err := query.ParseStep(test.period)
			if err != nil {
				t.Fatal(err)
			}
			r, err := newRequest(q)
			if err != nil {
				t.Fatal(err)
			}
			if r, err = r.inSlots(q.Step, q.StepMonths, 0); err != nil {
				t.Fatal(err)
			}
			period, err := r.checkPeriods(1, length, months)
			if err != nil {
				t.Fatal(err)
			}
			was := r.earlier(period)
			if was.slots.count() != r.slots.count() {
				t.Fatalf("%d slots, then %d", r.slots.count(), was.slots.count())
			}
			var got []string
			for i := range was.slots.count() {
				got = append(got, strings.NewReplacer("h0m0s", "h").Replace((time.Duration(was.slots.begin(i+1)-was.slots.begin(i)) * time.Millisecond).String()))
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("got  %s\nwant %s\n%v", s, test.want, was.slots)
			}
		})
	}
}

// The laws: slots tile the range without a gap, on the clock's days; those of an earlier
// period are as many, in order, and hold its range.
func TestSlotsTileRanges(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago", "Pacific/Apia", "Africa/Casablanca"}
	rapid.Check(t, func(r *rapid.T) {
		zone := zoneOf(t, rapid.SampledFrom(zones).Draw(r, "zone"))
		from := flow.Time(rapid.Int64Range(int64(4000*flow.Day), int64(60*365*flow.Day)).Draw(r, "from"))
		to := from + flow.Time(rapid.Int64Range(1, int64(400*flow.Day)).Draw(r, "length"))
		step := rapid.SampledFrom([]string{"1h", "6h", "7h", "12h", "1d", "2d", "1w", "2w", "1mo", "3mo"}).Draw(r, "step")
		length, months, err := query.ParseStep(step)
		if err != nil {
			t.Fatal(err)
		}
		s := newSlots(from, to, flow.Time(length/time.Millisecond), months, zone)
		n := s.count()
		if n < 1 || s.begin(0) > from || s.begin(1) <= from || s.begin(n) < to || s.begin(n-1) >= to {
			r.Fatalf("%d slots of %s from %v to %v do not cover %v to %v: %v", n, step, s.begin(0), s.begin(n), from, to, s)
		}
		for i := range n {
			begin, end := s.begin(i), s.begin(i+1)
			if begin >= end {
				r.Errorf("slot %d begins at %v and ends at %v", i, begin, end)
			}
			if j, ok := s.index(begin); !ok || j != i {
				r.Errorf("slot %d begins at %v, which is in %d", i, begin, j)
			}
			if j, ok := s.index(end - 1); !ok || j != i {
				r.Errorf("slot %d ends at %v, before which is %d", i, end, j)
			}
			wall := calendar.Wall(begin.Time(), zone)
			switch {
			case months > 0 && wall.Day() != 1, step == "1w" && wall.Weekday() != time.Monday:
				r.Errorf("a slot of %s begins at %v", step, wall)
			case (months > 0 || length >= calendar.Day) && wall.Hour() > 1:
				r.Errorf("a slot of %s begins at %v", step, wall)
			}
		}
		q := request{from: from, to: to, zone: zone, slots: s}
		period := calendar.Period{Days: rapid.IntRange(1, 40).Draw(r, "days")}
		if rapid.Bool().Draw(r, "by months") {
			period = calendar.Period{Months: rapid.IntRange(1, 14).Draw(r, "months")}
		}
		was := q.earlier(period)
		if was.slots.count() != n || was.from > was.to || was.from < was.slots.begin(0) || was.to > was.slots.begin(n) {
			r.Errorf("%v before: %v to %v in %v", period, was.from, was.to, was.slots)
		}
		for i := range n {
			if was.slots.begin(i) > was.slots.begin(i+1) {
				r.Errorf("%v before: slot %d begins after the next one", period, i)
			}
		}
	})
}
