package flow

import "math"

// SaturatingAdd returns a + b, or the largest int64 where that is less: the most
// that a bigint of PostgreSQL holds. a must not be larger itself.
func SaturatingAdd(a, b uint64) uint64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}
