package flow

import (
	"math/bits"
	"time"
)

// Time is an instant in milliseconds since 1970-01-01 UTC: the resolution that
// NetFlow v5, v9 and the default IPFIX times share, and the one in which shares
// are computed. The zero value means "not said".
type Time int64

const (
	// Millisecond to Day are lengths in the unit of Time.
	Millisecond Time = 1
	Second           = 1000 * Millisecond
	Minute           = 60 * Second
	Hour             = 60 * Minute
	Day              = 24 * Hour

	// MaxDuration is the longest a flow may last; longer ones are repaired.
	// Its square fits 63 bits, which Share needs.
	MaxDuration = 35 * Day
	// MaxAhead is how far a flow may end after it was received before its
	// exporter's clock is taken to be wrong.
	MaxAhead = Hour
	// MinTime is the year 1996, in which NetFlow began: what is before is the time of
	// a clock that nobody has set, which shows 1970, 1980 or, as Cisco's do, 1993.
	MinTime Time = 820_454_400_000
)

// TimeOf returns t cut to milliseconds (towards the past).
func TimeOf(t time.Time) Time {
	return Time(t.Unix())*Second + Time(t.Nanosecond()/int(time.Millisecond))
}

// Time returns t as a time.Time in UTC.
func (t Time) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// Floor returns the last multiple of step at or before t; step is positive.
func (t Time) Floor(step Time) Time {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

// String returns the time in RFC 3339 with milliseconds.
func (t Time) String() string { return t.Time().Format("2006-01-02T15:04:05.000Z07:00") }

// RepairTime makes the times of r possible and reports whether it had to; it
// then sets MarkTimeRepaired. Received must be set. Impossible are: a missing time, one before MinTime, an end before the start, an end more
// than MaxAhead after receipt, a duration above MaxDuration.
//
// A missing time takes the other's value, or the time of receipt, and so does one
// before MinTime; an end before its start is moved to the start's place and the
// start with it; a flow from the future, or all of it from before MinTime, is
// moved, whole, to end at receipt; too long a flow keeps its end.
func (r *Record) RepairTime() bool {
	if r.Start >= MinTime && r.Start <= r.End && r.End <= r.Received+MaxAhead && r.End-r.Start <= MaxDuration {
		return false
	}
	start, end := r.Start, r.End
	if start > 0 && start < MinTime && end >= MinTime {
		start = 0
	}
	if end > 0 && end < MinTime && start >= MinTime {
		end = 0
	}
	if start <= 0 {
		start = end
	}
	if end <= 0 {
		end = start
	}
	if end <= 0 {
		start, end = r.Received, r.Received
	}
	if start > end {
		start = end
	}
	if end > r.Received+MaxAhead || end < MinTime {
		start, end = start-(end-r.Received), r.Received
	}
	if end-start > MaxDuration {
		start = end - MaxDuration
	}
	start = max(start, 1)
	if start == r.Start && end == r.End {
		return false
	}
	r.Start, r.End = start, end
	r.Marks |= MarkTimeRepaired
	return true
}

// Share returns the part of value, spread evenly over [start, end), that lies
// inside [from, to). A flow without duration lies where it starts. The shares
// of adjoining ranges add up to value exactly, whatever the cuts; that is why
// each is the difference of two running totals, rounded down. RepairTime prevents
// durations above MaxDuration. The SQL function flow_share computes the same.
func Share(value uint64, start, end, from, to Time) uint64 {
	if end <= start {
		if from <= start && start < to {
			return value
		}
		return 0
	}
	return upTo(value, start, end, to) - upTo(value, start, end, from)
}

// upTo returns how much of value has passed at t.
func upTo(value uint64, start, end, t Time) uint64 {
	if t <= start {
		return 0
	}
	if t >= end {
		return value
	}
	hi, lo := bits.Mul64(value, uint64(t-start))
	q, _ := bits.Div64(hi, lo, uint64(end-start))
	return q
}
