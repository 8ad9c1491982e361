package command

import (
	"math"
	"strconv"
	"strings"
)

// sizes are numbers of bytes up to most, such as 4G; a number alone is of units of so many
// bytes.
func sizes[T int | int64](wants string, unit, least, most int64) kind[T] {
	return kind[T]{
		name: "size", wants: wants,
		read: func(text string) (T, error) {
			n, ok := readSize(text, unit)
			if !ok || n < least || n > most {
				return 0, errWanted
			}
			return T(n), nil
		},
		write: func(n T) string { return writeSize(int64(n)) },
	}
}

// writeSize writes what readSize reads.
func writeSize(n int64) string {
	const units = "KMGT"
	if n == 0 || n%1024 != 0 {
		return strconv.FormatInt(n, 10)
	}
	i := -1
	for n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i:i+1]
}

// readSize reads a number with K, M, G or T, which are powers of 1024 whether iB, B or
// nothing stands behind them; without any it is of the unit.
func readSize(text string, unit int64) (int64, bool) {
	digits := strings.ToUpper(strings.TrimSpace(text))
	digits, bytes := strings.CutSuffix(digits, "B")
	letters, shift := strings.TrimSuffix(digits, "I"), 0
	if n := len(letters); n > 0 {
		if i := strings.IndexByte("KMGT", letters[n-1]); i >= 0 {
			digits, shift = letters[:n-1], 10*(i+1)
		}
	}
	if shift > 0 || bytes {
		unit = 1 << shift
	}
	digits = strings.TrimSpace(digits)
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return n * unit, n >= 0 && n <= 1<<62/unit
	}
	// A fraction, of digits alone: no exponent, no infinity.
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || strings.Trim(digits, "0123456789.") != "" || f*float64(unit) > math.MaxInt64/2 {
		return 0, false
	}
	return int64(f * float64(unit)), true
}

// sizeForm is how a size is written.
const sizeForm = "a size such as 500M, 4G or 1T"
