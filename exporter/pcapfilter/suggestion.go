package pcapfilter

import (
	"fmt"

	"flowtally/spelling"
)

// unknownWord says what may have been meant.
func unknownWord(w string) string {
	best, distance := "", 3
	if len(w) > 20 {
		w = w[:20]
	}
	for k := range keywords {
		if d := spelling.Distance(w, k); d < distance || d == distance && k < best {
			best, distance = k, d
		}
	}
	if best != "" && distance < len(w) {
		return fmt.Sprintf("there is no such word; did you mean %s?", best)
	}
	return "there is no such word (names of hosts are not looked up: write the address)"
}
