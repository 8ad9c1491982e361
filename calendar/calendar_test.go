package calendar

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Berlin: 2026-03-29 02:00 is skipped, 2026-10-25 02:00 comes twice.
func TestParse(t *testing.T) {
	for _, test := range []struct{ zone, now, in, want string }{
		{"UTC", "2026-11-21T01:30:15Z", "2026-11-20 10:00", "2026-11-20T10:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-11-20 10:00", "2026-11-20T09:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-07-20 10:00", "2026-07-20T08:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-11-20T10", "2026-11-20T09:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-11-20T10Z", "2026-11-20T10:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-11-20T10:00+0530", "2026-11-20T04:30:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-11", "2026-10-31T23:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026", "2025-12-31T23:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "1795255200", "2026-11-21T10:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "1795255200.25", "2026-11-21T10:00:00.25Z"},
		{"UTC", "2026-11-21T01:30:15Z", "yesterday 14:00", "2026-11-20T14:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "yesterday 14:00", "2026-11-20T13:00:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "YesterdayT14:00:30.5", "2026-11-20T13:00:30.5Z"},
		{"UTC", "2026-11-21T01:30:15Z", "14:00", "2026-11-21T14:00:00Z"},
		{"Europe/Berlin", "2026-11-20T23:30:15Z", "0:15", "2026-11-20T23:15:00Z"},
		{"Europe/Berlin", "2026-11-20T23:30:15Z", "00:15:30.5", "2026-11-20T23:15:30.5Z"},
		{"Europe/Berlin", "2026-11-20T23:30:15Z", "today", "2026-11-20T23:00:00Z"},
		{"UTC", "2026-11-20T23:30:15Z", "today", "2026-11-20T00:00:00Z"},
		// The day after the clock went back had begun an hour of 25 ago.
		{"Europe/Berlin", "2026-10-26T12:00:00Z", "yesterday", "2026-10-24T22:00:00Z"},
		{"Europe/Berlin", "2026-10-26T12:00:00Z", "-1d", "2026-10-25T12:00:00Z"},
		{"Europe/Berlin", "2026-10-25T12:00:00Z", "-1d", "2026-10-24T11:00:00Z"},
		{"Europe/Berlin", "2026-10-25T12:00:00Z", "-24h", "2026-10-24T12:00:00Z"},
		{"Europe/Berlin", "2026-10-25T12:00:00Z", "-1w", "2026-10-18T11:00:00Z"},
		{"UTC", "2026-10-25T12:00:00Z", "-1w", "2026-10-18T12:00:00Z"},
		{"UTC", "2026-03-31T12:00:10Z", "-1mo", "2026-02-28T12:00:00Z"},
		{"UTC", "2024-03-31T12:00:00Z", "now-1mo1d", "2024-02-28T12:00:00Z"},
		{"Europe/Berlin", "2026-04-10T12:00:00Z", "-1mo", "2026-03-10T13:00:00Z"},
		{"UTC", "2026-11-21T12:00:00Z", "this-month", "2026-11-01T00:00:00Z"},
		{"America/New_York", "2026-11-21T12:00:00Z", "this month", "2026-11-01T04:00:00Z"},
		{"UTC", "2026-01-21T12:00:00Z", "last-month", "2025-12-01T00:00:00Z"},
		{"UTC", "2026-11-22T12:00:00Z", "this-week", "2026-11-16T00:00:00Z"}, // a Sunday
		{"UTC", "2026-11-23T12:00:00Z", "this-week", "2026-11-23T00:00:00Z"},
		{"Europe/Berlin", "2026-11-22T23:30:00Z", "last-week", "2026-11-15T23:00:00Z"},
		// What the clock skips is after the change; what comes twice is the first.
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-03-29 02:30", "2026-03-29T01:30:00Z"},
		{"Europe/Berlin", "2026-11-21T01:30:15Z", "2026-10-25 02:30", "2026-10-25T00:30:00Z"},
		{"America/New_York", "2026-11-21T01:30:15Z", "2026-11-01 01:30", "2026-11-01T05:30:00Z"},
		// A day that begins at one o'clock, and one that there was not.
		{"America/Santiago", "2026-11-21T01:30:15Z", "2026-09-06", "2026-09-06T04:00:00Z"},
		{"Pacific/Apia", "2026-11-21T01:30:15Z", "2011-12-30", "2011-12-30T10:00:00Z"},
		{"Pacific/Apia", "2026-11-21T01:30:15Z", "2011-12-31", "2011-12-30T10:00:00Z"},
	} {
		got, err := Parse(test.in, at(t, test.now).In(zone(t, test.zone)))
		if err != nil || !got.Equal(at(t, test.want)) {
			t.Errorf("%s in %s, now %s: %v, %v, want %s", test.in, test.zone, test.now, got.UTC(), err, test.want)
		}
	}
}

// Who does not know when now is reads what needs no now.
func TestParseWithoutNow(t *testing.T) {
	if got, err := Parse("2026-11-20 10:00", time.Time{}); err != nil || !got.Equal(at(t, "2026-11-20T10:00:00Z")) {
		t.Error(got, err)
	}
	for _, text := range []string{"now", "today", "-6h", "yesterday 14:00", "14:00", "this-month"} {
		if got, err := Parse(text, time.Time{}); err == nil || !strings.Contains(err.Error(), "relative to now") {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
}

func TestZone(t *testing.T) {
	for _, name := range []string{"", "UTC", "utc", "Europe/Berlin", "Asia/Kolkata", "Etc/GMT+1", "America/Argentina/Buenos_Aires"} {
		if _, err := Zone(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"local", "Local", "Europe", "Europe/Nowhere", "../etc/passwd", "/etc/localtime", "CEST", "+02:00"} {
		if z, err := Zone(name); err == nil || !strings.Contains(err.Error(), "Europe/Berlin") {
			t.Errorf("%q is %v, %v", name, z, err)
		}
	}
}

func TestShifted(t *testing.T) {
	day, month := Period{Days: 7}, Period{Months: 1}
	for _, test := range []struct {
		zone string
		p    Period
		of   string
		want string
	}{
		{"UTC", day, "2026-03-30T00:00:00Z", "2026-03-23T00:00:00Z"},
		{"Europe/Berlin", day, "2026-03-29T22:00:00Z", "2026-03-22T23:00:00Z"},
		{"Europe/Berlin", Period{Rest: 168 * time.Hour}, "2026-03-29T22:00:00Z", "2026-03-22T22:00:00Z"},
		{"Europe/Berlin", day, "2026-04-05T00:30:00Z", "2026-03-29T01:00:00Z"}, // 02:30 was skipped: the change
		{"Europe/Berlin", day, "2026-11-01T01:30:00Z", "2026-10-25T00:30:00Z"}, // 02:30 came twice: the first
		{"UTC", month, "2026-03-28T12:00:00Z", "2026-02-28T12:00:00Z"},
		{"UTC", month, "2026-03-29T12:00:00Z", "2026-03-01T00:00:00Z"},
		{"UTC", month, "2026-03-31T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"UTC", month, "2026-04-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"UTC", Period{Months: 12}, "2024-02-29T00:00:00Z", "2023-03-01T00:00:00Z"},
		{"Europe/Berlin", month, "2026-03-31T22:00:00Z", "2026-02-28T23:00:00Z"},
	} {
		if got := test.p.Shifted(at(t, test.of).In(zone(t, test.zone))); !got.Equal(at(t, test.want)) {
			t.Errorf("%s less %+v in %s: %v, want %s", test.of, test.p, test.zone, got.UTC(), test.want)
		}
	}
}

// The laws: what a clock shows it is At; At only misses what the clock skips; periods are
// undone but for days that months do not have; bounds keep their order.
func TestLaws(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "America/Santiago", "Pacific/Apia", "Asia/Gaza"}
	rapid.Check(t, func(r *rapid.T) {
		z := zone(t, rapid.SampledFrom(zones).Draw(r, "zone"))
		begin := time.Unix(rapid.Int64Range(0, 7_000_000_000).Draw(r, "at"), 0).In(z)
		wall := Wall(begin, z)
		if got := At(wall, z); !Wall(got, z).Equal(wall) || got.After(begin) {
			r.Errorf("%v is shown at %v, and At says %v", wall, begin, got)
		}
		p := Period{Days: rapid.IntRange(0, 800).Draw(r, "days"), Months: rapid.IntRange(0, 30).Draw(r, "months")}
		later := begin.Add(time.Duration(rapid.Int64Range(0, int64(100*Day)).Draw(r, "later")))
		// But where an hour comes twice the clock itself goes back.
		if !Wall(later, z).Before(wall) && p.Shifted(later).Before(p.Shifted(begin)) {
			r.Errorf("%v is before %v, but not %v before", begin, later, p)
		}
		if got := Wall(Period{Days: p.Days}.Before(begin), z); !got.Equal(wall.AddDate(0, 0, -p.Days)) && got.Sub(wall.AddDate(0, 0, -p.Days)).Abs() > 24*time.Hour {
			r.Errorf("%v less %d days is %v on the clock", wall, p.Days, got)
		}
	})
}

// The law: Parse never panics, and what it gives is in now's zone.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"now", "yesterday 14:00", "-1mo", "this-week", "1795255200.5", "2026-11-21T10+01", "now-", "today ", "+1mo1mo1mo", "-9223372036854775807mo"} {
		f.Add(s)
	}
	now := time.Date(2026, 10, 25, 1, 30, 0, 0, zone(f, "Europe/Berlin"))
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := Parse(s, now); err == nil && at.Location() != now.Location() {
			t.Errorf("%q gives %v", s, at)
		}
		_, _ = Parse(s, time.Time{})
	})
}
