package filter

import (
	"strings"
	"testing"
	"time"
)

// Times are seen from now and its zone, and written back in UTC.
func TestTimesInAZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 30, 0, time.UTC)
	for text, want := range map[string][2]string{
		"2026-11-20T09":         {"2026-11-20T09:00:00.000Z", "2026-11-20T08:00:00.000Z"},
		"2026-07":               {"2026-07-01T00:00:00.000Z", "2026-06-30T22:00:00.000Z"},
		"2026-11-20T09:00Z":     {"2026-11-20T09:00:00.000Z", "2026-11-20T09:00:00.000Z"},
		"2026-11-20T09:00+01":   {"2026-11-20T08:00:00.000Z", "2026-11-20T08:00:00.000Z"},
		"1795255200":            {"2026-11-21T10:00:00.000Z", "2026-11-21T10:00:00.000Z"},
		"yesterdayT14:00":       {"2026-11-20T14:00:00.000Z", "2026-11-20T13:00:00.000Z"},
		`"yesterday 14:00"`:     {"2026-11-20T14:00:00.000Z", "2026-11-20T13:00:00.000Z"},
		"this-month":            {"2026-11-01T00:00:00.000Z", "2026-10-31T23:00:00.000Z"},
		"-6h":                   {"2026-11-21T06:00:00.000Z", "2026-11-21T06:00:00.000Z"},
		"-1mo":                  {"2026-10-21T12:00:00.000Z", "2026-10-21T11:00:00.000Z"},
		`"2026-11-20 09:30:15"`: {"2026-11-20T09:30:15.000Z", "2026-11-20T08:30:15.000Z"},
	} {
		for i, at := range []time.Time{now, now.In(berlin)} {
			f, err := ParseAt("last seen >= "+text+" and proto tcp", at)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if got := f.String(); !strings.Contains(got, "last seen >= "+want[i]) {
				t.Errorf("%s in %s: %s, want %s", text, at.Location(), got, want[i])
			}
			again, err := ParseAt(f.String(), now.AddDate(1, 2, 3).In(berlin))
			if err != nil || again.String() != f.String() {
				t.Errorf("%s is %s later and elsewhere, %v", f, again, err)
			}
		}
	}
	if len(Complete("last seen > -6h and pro", 23)) == 0 {
		t.Error("nothing is completed behind an age")
	}
}
