package command

import (
	"fmt"
	"strconv"
	"strings"
)

// size is a flag for numbers of bytes, such as 4G.
type size int64

func (s *size) Type() string { return "size" }

func (s *size) String() string {
	n, units := int64(*s), "KMGT"
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

// Set reads a number with K, M, G or T, which are powers of 1024.
func (s *size) Set(text string) error {
	digits, shift := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(text, "B"), "i")), 0
	if n := len(digits); n > 0 {
		if i := strings.IndexByte("KMGT", digits[n-1]); i >= 0 {
			digits, shift = digits[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return fmt.Errorf("want a size such as 500M, 4G or 1T")
	}
	*s = size(n << shift)
	return nil
}
