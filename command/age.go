package command

import (
	"strconv"
	"strings"
	"time"

	"flowtally/store/keeper"
)

// ages are long times, such as 15d; negative is for ever.
var ages = kind[time.Duration]{
	name: "age", wants: "an age such as 12h, 15d, 2w, 1y or forever",
	read: func(text string) (time.Duration, error) {
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "forever" {
			return keeper.ForEver, nil
		}
		// A number alone is refused: here it could be of days as well as of seconds.
		if text == "" || text[len(text)-1] <= '9' {
			return 0, errWanted
		}
		if years, ok := strings.CutSuffix(text, "y"); ok {
			n, err := strconv.ParseUint(years, 10, 8)
			if err != nil || n == 0 {
				return 0, errWanted
			}
			return time.Duration(n) * 366 * 24 * time.Hour, nil
		}
		d, ok := readDuration(text)
		if !ok || d < time.Minute || d >= 100_000*24*time.Hour {
			return 0, errWanted
		}
		return d, nil
	},
	write: func(d time.Duration) string {
		switch {
		case d < 0:
			return "forever"
		case d > 0 && d%(24*time.Hour) == 0:
			return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
		}
		return d.String()
	},
}
