package query

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("east", 2*3600)
	now := time.Date(2026, 11, 21, 1, 30, 15, 250e6, zone)
	at := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, test := range []struct {
		name, in string
		want     time.Time
	}{
		{"rfc3339", "2026-11-20T23:00:00Z", at("2026-11-20T23:00:00Z")},
		{"rfc3339_offset", "2026-11-20T23:00:00-05:00", at("2026-11-20T23:00:00-05:00")},
		{"rfc3339_lower_case", "2026-11-20t23:00:00z", at("2026-11-20T23:00:00Z")},
		{"rfc3339_milliseconds", "2026-11-20T23:00:00.125Z", at("2026-11-20T23:00:00.125Z")},
		{"rfc3339_without_seconds", "2026-11-20T23:00Z", at("2026-11-20T23:00:00Z")},
		{"date_is_midnight_in_nows_zone", "2026-11-20", at("2026-11-20T00:00:00+02:00")},
		{"date_and_time_in_nows_zone", "2026-11-20 10:15", at("2026-11-20T10:15:00+02:00")},
		{"date_and_seconds", "2026-11-20 10:15:07.5", at("2026-11-20T10:15:07.5+02:00")},
		{"form_field_of_a_browser", "2026-11-20T10:15", at("2026-11-20T10:15:00+02:00")},
		{"space_before_time_with_zone", "2026-11-20 10:15Z", at("2026-11-20T10:15:00Z")},
		{"leap_day", "2024-02-29", at("2024-02-29T00:00:00+02:00")},
		{"now", "now", now},
		{"now_spaced_and_capital", " NOW ", now},
		{"time_of_day_is_todays", "10:00", at("2026-11-21T10:00:00+02:00")},
		{"today", "today", at("2026-11-21T00:00:00+02:00")},
		{"yesterday", "yesterday", at("2026-11-20T00:00:00+02:00")},
		{"seconds_ago", "-90s", now.Add(-90 * time.Second)},
		{"minutes_ago", "-10m", now.Add(-10 * time.Minute)},
		{"more_than_ten_minutes_ago", "-30m", at("2026-11-21T01:00:00+02:00")},
		{"seconds_are_meant", "-1800s1s", now.Add(-1801 * time.Second)},
		{"hours_ago", "-6h", at("2026-11-20T19:30:00+02:00")},
		{"days_are_24_hours", "-7d", at("2026-11-14T01:30:00+02:00")},
		{"weeks_ago", "-2w", at("2026-11-07T01:30:00+02:00")},
		{"sum_of_units", "-1d12h", at("2026-11-19T13:30:00+02:00")},
		{"now_less_an_offset", "now-6h", at("2026-11-20T19:30:00+02:00")},
		{"ahead", "+1h", now.Add(time.Hour)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseTime(test.in, now)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got.Location() != zone {
				t.Errorf("the zone is %v, not now's", got.Location())
			}
		})
	}
}

func TestParseTimeRefuses(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC)
	for _, test := range []struct{ name, in, says string }{
		{"nothing", "", "is empty"},
		{"only_spaces", "  ", "is empty"},
		{"a_word", "noon", "is not a time"},
		{"a_word_that_begins_with_now", "nowhere", "is not a time"},
		{"hour_that_is_none", "25:00", "is not a time"},
		{"month_13", "2026-13-01", "is not a time"},
		{"day_that_is_none", "2026-02-30", "is not a time"},
		{"bare_number", "6", "is not a time"},
		{"eight_digits", "20261121", "is not a time"},
		{"milliseconds_since_1970", "1795255200000", "outside"},
		{"hour_of_a_word_that_is_none", "yesterday 25:00", "is not a time"},
		{"hour_of_a_month", "this-month 10:00", "is not a time"},
		{"offset_without_sign", "6h", "is not a time"},
		{"sign_alone", "-", "lacks a number and a unit"},
		{"unit_missing", "-6", "lacks a unit"},
		{"number_missing", "-h", "lacks a number"},
		{"unknown_unit", "-6y", `unknown unit "y"`},
		{"fraction", "-1.5h", `unknown unit "."`},
		{"overflowing_number", "-99999999999999999999h", "too far"},
		{"overflowing_sum", "-9000000w9000000w", "too far"},
		{"before_the_epoch", "-100w100w3000w", "outside"},
		{"before_1970", "1969-12-31T23:59:59Z", "outside"},
		{"after_2199", "2200-01-01", "outside"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseTime(test.in, now)
			q, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want a QuestionError", err)
			}
			for _, part := range []string{test.says, "-6h", "2026-11-21T10:00:00Z"} {
				if !strings.Contains(q.Error(), part) {
					t.Errorf("%q does not say %q", q, part)
				}
			}
		})
	}
}

func TestParseRange(t *testing.T) {
	now := time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC)
	from, to, err := ParseRange("-6h", "", now)
	if err != nil || !from.Equal(now.Add(-6*time.Hour)) || !to.Equal(now) {
		t.Errorf("got %v, %v, %v", from, to, err)
	}
	for _, test := range []struct{ name, from, to, parameter string }{
		{"empty_range", "now", "now", "from"},
		{"backwards", "-1h", "-2h", "from"},
		{"bad_from", "then", "now", "from"},
		{"bad_to", "-1h", "then", "to"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := ParseRange(test.from, test.to, now)
			if q, ok := errors.AsType[*Error](err); !ok || q.Parameter != test.parameter {
				t.Errorf("got %v, want an error about %s", err, test.parameter)
			}
		})
	}
}

// The law: ParseTime never panics, and what it accepts is a time that can be
// asked about, in now's zone.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"now", "today", "-6h", "-1d12h", "now-2w", "2026-11-21", "2026-11-21T10:00:00.5+02:00", "+", "-9223372036854775807s", "2026-11-21T10:00Z"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 1, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseTime(s, now)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%q: %v is no QuestionError", s, err)
			}
			return
		}
		if at.Before(FirstTime) || !at.Before(LastTime) || at.Location() != now.Location() {
			t.Errorf("%q gives %v", s, at)
		}
	})
}
