package store

import (
	"math"
	"slices"

	"flowtally/flow"
)

// batch is what is committed at once: the records of one Write as rows, by the
// hour they end in. It is used again, and keeps its room.
type batch struct {
	id    int32
	parts []*part             // the hours, ascending once encoded
	spare []*part             // room of former hours
	hours map[flow.Time]*part // the same by hour
	last  *part               // the one used last: nearly always the next, too

	records, clamped, repaired, noRoom int
	packets, bytes                     uint64
	receivedFrom, receivedTo           flow.Time
	minEnd, maxEnd                     flow.Time
}

// part is a batch's share of one partition.
type part struct {
	hour     flow.Time
	minStart flow.Time // to the minute, downwards
	rows     int64
	buf      []byte // a whole binary COPY once encoded
}

// spareRoom is the largest buffer that is kept for the next batch.
const spareRoom = 16 << 20

func newBatch() *batch { return &batch{hours: make(map[flow.Time]*part)} }

func (b *batch) reset() {
	for _, p := range b.parts {
		if cap(p.buf) <= spareRoom && len(b.spare) < 8 {
			b.spare = append(b.spare, p)
		}
	}
	clear(b.hours)
	*b = batch{parts: b.parts[:0], spare: b.spare, hours: b.hours}
}

// encode makes the rows of recs, under the batch's id. Records that end in an
// hour of refused are given their time of receipt instead. Records without a
// time of receipt are received now. recs is not changed.
func (b *batch) encode(recs []flow.Record, now flow.Time, refused []flow.Time) {
	id := b.id
	b.reset()
	b.id = id
	b.records = len(recs)
	for i := range recs {
		r := &recs[i]
		if !possible(r) {
			c := *r
			if c.Received <= 0 || c.Received > maxTime {
				c.Received = now
			}
			if c.RepairTime() {
				b.repaired++
			}
			r = &c
		}
		hour := r.End.Floor(flow.Hour)
		if refused != nil && slices.Contains(refused, hour) {
			c := *r
			c.Start, c.End = c.Received, c.Received
			c.Marks |= flow.MarkPartitionLimit
			b.noRoom++
			r, hour = &c, c.End.Floor(flow.Hour)
		}
		p := b.part(hour)
		var clamped bool
		if p.buf, clamped = appendRow(p.buf, r, b.id); clamped {
			b.clamped++
		}
		p.rows++
		p.minStart = min(p.minStart, r.Start)
		b.packets = add(b.packets, r.Packets)
		b.bytes = add(b.bytes, r.Bytes)
		if i == 0 {
			b.receivedFrom, b.receivedTo, b.minEnd, b.maxEnd = r.Received, r.Received, r.End, r.End
			continue
		}
		b.receivedFrom, b.receivedTo = min(b.receivedFrom, r.Received), max(b.receivedTo, r.Received)
		b.minEnd, b.maxEnd = min(b.minEnd, r.End), max(b.maxEnd, r.End)
	}
	// In order of the hours, two writers lock the same rows in the same order.
	slices.SortFunc(b.parts, func(x, y *part) int { return int((x.hour - y.hour) / flow.Hour) })
	for _, p := range b.parts {
		p.buf = append(p.buf, copyTrailer...)
		p.minStart = p.minStart.Floor(flow.Minute)
	}
}

// part returns the part of an hour, a new one if need be.
func (b *batch) part(hour flow.Time) *part {
	if b.last != nil && b.last.hour == hour {
		return b.last
	}
	p := b.hours[hour]
	if p == nil {
		if n := len(b.spare); n > 0 {
			p, b.spare = b.spare[n-1], b.spare[:n-1]
		} else {
			p = new(part)
		}
		*p = part{hour: hour, minStart: math.MaxInt64, buf: append(p.buf[:0], copyHeader...)}
		b.hours[hour] = p
		b.parts = append(b.parts, p)
	}
	b.last = p
	return p
}

// times returns the hours of the parts.
func (b *batch) times() []flow.Time {
	hours := make([]flow.Time, len(b.parts))
	for i, p := range b.parts {
		hours[i] = p.hour
	}
	return hours
}

// add adds up to what a bigint holds.
func add(sum, v uint64) uint64 {
	if v > math.MaxInt64-sum { // sum is at most MaxInt64
		return math.MaxInt64
	}
	return sum + v
}
