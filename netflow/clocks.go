package netflow

import (
	"math"

	"flowtally/flow"
)

// clocks is how a message states times.
type clocks struct {
	export flow.Time
	uptime uint32 // v9: at export
	init   flow.Time
}

// since returns the time at which an uptime clock in 32 bits of milliseconds
// showed v when it shows uptime at export. A flow may have ended up to an hour
// after that; otherwise it was before, by up to 49 days.
func since(export flow.Time, uptime, v uint32) flow.Time {
	d := uptime - v
	if ahead := -d; ahead <= uint32(flow.Hour) {
		return export + flow.Time(ahead)
	}
	return export - flow.Time(d)
}

// doubtful returns before which time the end of a record is one that repair has to
// look at.
func (c *clocks) doubtful() flow.Time {
	switch {
	case c.uptime == 0:
		return math.MaxInt64
	case c.uptime > uint32(flow.Hour):
		return c.export - min(flow.Time(c.uptime)-1, flow.MaxDuration)
	}
	return c.export - flow.MaxDuration
}

// repair mends the times of a record whose uptimes cannot be. A clock that shows 0 is
// not running: what it says is how long the flow was, and it was exported when it had
// ended. Of one that has run for long, a flow at 0 has no times, and nothing ended
// longer ago than a flow may last.
func (c *clocks) repair(r *flow.Record) {
	boot, oldest := c.export-flow.Time(c.uptime), c.export-flow.MaxDuration
	switch {
	case c.uptime == 0:
		if r.Start != c.export || r.End != c.export {
			r.Start, r.End = c.export-min(flow.Time(uint32(r.End-r.Start)), flow.MaxDuration), c.export
			r.Marks |= flow.MarkTimeRepaired
		}
	case r.Start == boot && r.End == boot, r.End < oldest:
		r.Start, r.End = 0, 0 // RepairTime makes that the time of receipt
	}
}

// seconds returns v seconds since 1970; what cannot be a date is "not said".
func seconds(v uint64) flow.Time {
	if v >= 1<<40 {
		return 0
	}
	return flow.Time(v) * flow.Second
}

// milliseconds returns v milliseconds since 1970; see seconds.
func milliseconds(v uint64) flow.Time {
	if v >= 1<<50 {
		return 0
	}
	return flow.Time(v)
}

// ntp returns the time of an NTP timestamp: seconds since 1900 and a fraction,
// 32 bits each (RFC 7011 §6.1.9 and §6.1.10). Seconds without the high bit are
// of the era that begins in 2036.
func ntp(v uint64) flow.Time {
	if v == 0 {
		return 0
	}
	sec := int64(v >> 32)
	if sec < 1<<31 {
		sec += 1 << 32
	}
	const epoch = 2208988800 // 1970 in seconds since 1900
	return flow.Time(sec-epoch)*flow.Second + flow.Time(v&0xffffffff*1000>>32)
}

// delta returns the time v microseconds before export (RFC 7011's
// flowStartDeltaMicroseconds).
func (c *clocks) delta(v uint64) flow.Time { return c.export - flow.Time(v/1000) }

// sinceInit returns the time of an uptime that counts from c.init (IPFIX, where
// the header has no uptime), and "not said" when that is not known.
func (c *clocks) sinceInit(v uint32) flow.Time {
	if c.init <= 0 {
		return 0
	}
	return since(c.export, uint32(c.export-c.init), v)
}
