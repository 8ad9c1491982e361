package query

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"flowtally/flow"
)

func TestParseStep(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"auto": 0, "60s": time.Minute, "5m": 5 * time.Minute, "1h": time.Hour, "1d": 24 * time.Hour, "1w": 7 * 24 * time.Hour,
		"2w": 14 * 24 * time.Hour, "1h30m": 90 * time.Minute, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "1W": 7 * 24 * time.Hour,
	} {
		if got, months, err := ParseStep(text); err != nil || got != want || months != 0 {
			t.Errorf("%q is %v and %d months, %v, want %v", text, got, months, err, want)
		}
	}
	for text, want := range map[string]int{"1mo": 1, "3MO": 3, "1mo2mo": 3} {
		if got, months, err := ParseStep(text); err != nil || got != 0 || months != want {
			t.Errorf("%q is %v and %d months, %v, want %d", text, got, months, err, want)
		}
	}
	for _, text := range []string{"", "0s", "-1h", "500ms", "1500ms", "5", "w", "1x", "week", "99999999w", "1mo1d", "0mo", "1.5mo"} {
		if got, months, err := ParseStep(text); err == nil {
			t.Errorf("%q is %v and %d months, want an error", text, got, months)
		}
	}
}

// What an answer says of a step can be asked for.
func TestParseStepReadsShortDuration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := flow.Time(rapid.Int64Range(1, 100_000).Draw(t, "seconds")) * rapid.SampledFrom([]flow.Time{flow.Second, flow.Minute, flow.Hour, flow.Day}).Draw(t, "unit")
		if got, _, err := ParseStep(ShortDuration(step)); err != nil || got != time.Duration(step)*time.Millisecond {
			t.Errorf("%s is %v, %v", ShortDuration(step), got, err)
		}
	})
}
