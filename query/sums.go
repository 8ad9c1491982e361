package query

import (
	"math"
)

// Plus is a sum that stays at the largest int64.
func (s Sums) Plus(o Sums) Sums {
	add := func(a, b int64) int64 {
		if b > 0 && a > math.MaxInt64-b {
			return math.MaxInt64
		}
		return a + b
	}
	return Sums{add(s.Flows, o.Flows), add(s.Packets, o.Packets), add(s.Bytes, o.Bytes)}
}

// Minus takes off what is a part.
func (s Sums) Minus(o Sums) Sums {
	return Sums{max(0, s.Flows-o.Flows), max(0, s.Packets-o.Packets), max(0, s.Bytes-o.Bytes)}
}

// Sums are the three measures of a set of flows. A sum that no int64 can hold
// is the largest one.
type Sums struct {
	Flows, Packets, Bytes int64
}

// Saturated reports whether one of the sums is the largest that there is.
func (s Sums) Saturated() bool { return max(s.Flows, s.Packets, s.Bytes) == math.MaxInt64 }

// By returns the measure m.
func (s Sums) By(m Measure) int64 {
	switch m {
	case ByPackets:
		return s.Packets
	case ByBytes:
		return s.Bytes
	}
	return s.Flows
}

// Measures are the columns of Sums, in their order.
var Measures = []string{"flows", "packets", "bytes"}
