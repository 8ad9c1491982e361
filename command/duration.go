package command

import (
	"strings"
	"time"

	"flowtally/flow"
	"flowtally/query"
)

// durations are lengths of time from least on: 300, which is seconds, 90s, 5m, 1h30m, 2d.
func durations(wants string, least time.Duration) kind[time.Duration] {
	return kind[time.Duration]{
		name: "duration", wants: wants,
		read: func(text string) (time.Duration, error) {
			d, ok := readDuration(text)
			if !ok || d < least {
				return 0, errWanted
			}
			return d, nil
		},
		write: func(d time.Duration) string { return query.ShortDuration(flow.Time(d.Milliseconds())) },
	}
}

// A duration is a sum of numbers with one of these units.
var durationUnits = map[string]time.Duration{
	"": time.Second, "ms": time.Millisecond, "s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "h": time.Hour, "hr": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// readDuration reads a length of time; a number alone is of seconds.
func readDuration(text string) (time.Duration, bool) {
	text = strings.ToLower(strings.ReplaceAll(text, " ", ""))
	var sum time.Duration
	for rest := text; rest != "" || text == ""; {
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		number, after := rest[:n], rest[n:]
		m := len(after) - len(strings.TrimLeft(after, "abcdefghijklmnopqrstuvwxyz"))
		name := after[:m]
		unit, ok := durationUnits[name]
		if !ok {
			unit, ok = durationUnits[strings.TrimSuffix(name, "s")]
		}
		// A number alone stands alone: what it would mean behind others nobody knows.
		if !ok || number == "" || name == "" && number != text {
			return 0, false
		}
		one, err := time.ParseDuration(number + "s")
		if err != nil || one > 0 && unit > time.Second && one > (1<<62-sum)/(unit/time.Second) {
			return 0, false
		}
		switch {
		case unit >= time.Second:
			one *= unit / time.Second
		default:
			one /= time.Second / unit
		}
		if sum += one; sum < 0 {
			return 0, false
		}
		rest = after[m:]
	}
	return sum, true
}

// times are lengths of time that are not nothing.
var times = durations("a time such as 30, which is seconds, 90s or 5m", time.Millisecond)
