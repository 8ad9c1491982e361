package command

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// counts are whole numbers from least to most: 100000, 100k, 1M or 1_000. The error says
// what they count.
func counts[T int | uint32 | int64](what string, least, most int64) kind[T] {
	wants := what
	switch {
	case most < math.MaxInt32:
		wants += fmt.Sprintf(", %d to %d", least, most)
	case least > 0:
		wants += fmt.Sprintf(", %d or more", least)
	}
	return kind[T]{
		name: "number", wants: wants,
		read: func(text string) (T, error) {
			n, ok := wholeNumber(text)
			if !ok || n < least || n > most {
				return 0, errWanted
			}
			return T(n), nil
		},
	}
}

// unlimited is the most of what has no bound of its own.
const unlimited = math.MaxInt32

// wholeNumber reads a number with k, M or G for thousands, millions and milliards.
func wholeNumber(text string) (int64, bool) {
	digits, times := strings.ReplaceAll(strings.TrimSpace(text), "_", ""), int64(1)
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("kmg", digits[n-1]|0x20); i >= 0 {
			digits = digits[:n-1]
			for range i + 1 {
				times *= 1000
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/times || n < math.MinInt64/times {
		return 0, false
	}
	return n * times, true
}

// oneIn are sampling rates, N or 1:N.
var oneIn = kind[uint32]{
	name: "1:N", wants: "N or 1:N for one packet in N, such as 1:1000, and 1 for all",
	read: func(text string) (uint32, error) {
		n, ok := rate(text)
		if !ok {
			return 0, errWanted
		}
		return n, nil
	},
}

// rate reads N, 1:N or 1/N, one packet in N.
func rate(text string) (uint32, bool) {
	text = strings.TrimSpace(text)
	for _, sign := range []string{":", "/"} {
		if before, after, ok := strings.Cut(text, sign); ok && strings.TrimSpace(before) == "1" {
			text = strings.TrimSpace(after)
			break
		}
	}
	n, ok := wholeNumber(text)
	return uint32(n), ok && n >= 1 && n <= math.MaxInt32
}
