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
		if got, err := ParseStep(text); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0s", "-1h", "500ms", "1500ms", "5", "w", "1x", "week", "99999999w"} {
		if got, err := ParseStep(text); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
}

// What an answer says of a step can be asked for.
func TestParseStepReadsShortDuration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := flow.Time(rapid.Int64Range(1, 100_000).Draw(t, "seconds")) * rapid.SampledFrom([]flow.Time{flow.Second, flow.Minute, flow.Hour, flow.Day}).Draw(t, "unit")
		if got, err := ParseStep(ShortDuration(step)); err != nil || got != time.Duration(step)*time.Millisecond {
			t.Errorf("%s is %v, %v", ShortDuration(step), got, err)
		}
	})
}
