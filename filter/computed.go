package filter

import (
	"math"

	"flowtally/flow"
)

// number is a number that the language computes.
func number(name, sql, what string, most uint64, columns []string, num func(*flow.Record, Names) (uint64, bool)) *field {
	return &field{name: name, what: what, kind: kindNumber, max: most, column: sql, columns: columns, num: num}
}

// duration is in milliseconds; a flow that ends before it starts has none.
func duration(r *flow.Record) uint64 {
	if r.End <= r.Start {
		return 0
	}
	return uint64(r.End - r.Start)
}

const durationSQL = "(flow_ms(flow_end) - flow_ms(flow_start))"

func atMost(n, most uint64) uint64 { return min(n, most) }

// rate is factor*n/ms, rounded down and 0 without duration. It is taken apart
// into quotient and remainder so that nothing overflows, and the quotient stops
// at maxRate; the SQL does the same.
func rate(n, factor, ms uint64) uint64 {
	if ms == 0 {
		return 0
	}
	n = atMost(n, math.MaxInt64)
	return factor*atMost(n/ms, maxRate) + factor*(n%ms)/ms
}

const maxRate = 1_000_000_000_000_000

func rateSQL(column, factor string) string {
	return "(case when flow_end > flow_start then " + factor + " * least(" + column + " / " + durationSQL + ", 1000000000000000) + " +
		factor + " * (" + column + " % " + durationSQL + ") / " + durationSQL + " else 0 end)"
}

// computedFields are those that are computed of counts and times.
func computedFields() []*field {
	const most = math.MaxInt64
	plain := func(num func(*flow.Record) uint64) func(*flow.Record, Names) (uint64, bool) {
		return func(r *flow.Record, _ Names) (uint64, bool) { return num(r), true }
	}
	pps := number("pps", rateSQL("packets", "1000"), "packets a second, 0 without duration", most, []string{"packets", "flow_start", "flow_end"},
		plain(func(r *flow.Record) uint64 { return rate(r.Packets, 1000, duration(r)) }))
	bps := number("bps", rateSQL("bytes", "8000"), "bits a second, 0 without duration", most, []string{"bytes", "flow_start", "flow_end"},
		plain(func(r *flow.Record) uint64 { return rate(r.Bytes, 8000, duration(r)) }))
	bpp := number("bpp", "(case when packets > 0 then bytes / packets else 0 end)", "bytes a packet, rounded down", most, []string{"bytes", "packets"},
		plain(func(r *flow.Record) uint64 {
			if r.Packets == 0 {
				return 0
			}
			return atMost(r.Bytes, most) / atMost(r.Packets, most)
		}))
	pps.large, bps.large, bpp.large = true, true, true
	length := number("duration", durationSQL, "length in milliseconds, or with a unit: ms, s, min, h, d", most, []string{"flow_start", "flow_end"}, plain(duration))
	length.duration = true
	return []*field{length, pps, bps, bpp}
}

// engineFields are the two bytes of v5's observation domain.
func engineFields(domain *field) []*field {
	engine := func(name, what, sql string, shift uint) *field {
		return number(name, sql, what, math.MaxUint8, domain.columns, func(r *flow.Record, n Names) (uint64, bool) {
			v, ok := domain.num(r, n)
			return v >> shift & 0xff, ok && v < 1<<16
		})
	}
	fields := []*field{
		engine("engine type", "v5 engine type: the upper byte of the observation domain",
			"(case when observation_domain < 65536 then observation_domain >> 8 end)", 8),
		engine("engine id", "v5 engine id: the lower byte of the observation domain",
			"(case when observation_domain < 65536 then observation_domain & 255 end)", 0),
	}
	fields[0].aliases, fields[1].aliases = []string{"engine-type"}, []string{"engine-id"}
	return fields
}
