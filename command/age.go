package command

import (
	"fmt"
	"strconv"
	"time"

	"flowtally/store/keeper"
)

// age is a flag for long times, such as 15d; negative is for ever.
type age time.Duration

func (a *age) Type() string { return "age" }

func (a *age) String() string {
	d := time.Duration(*a)
	switch {
	case d < 0:
		return "forever"
	case d > 0 && d%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return d.String()
}

// Set reads days (15d), weeks (2w), years (1y), what time.ParseDuration does, or
// forever.
func (a *age) Set(text string) error {
	if text == "forever" {
		*a = age(keeper.ForEver)
		return nil
	}
	if n := len(text); n > 1 {
		if days, ok := map[byte]int64{'d': 1, 'w': 7, 'y': 366}[text[n-1]]; ok {
			if v, err := strconv.ParseInt(text[:n-1], 10, 32); err == nil && v > 0 && v*days < 100_000 {
				*a = age(time.Duration(v*days) * 24 * time.Hour)
				return nil
			}
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Minute {
		return fmt.Errorf("want an age such as 12h, 15d, 1y or forever")
	}
	*a = age(d)
	return nil
}
