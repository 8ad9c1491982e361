package ingest

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
	"flowtally/store/row"
)

// batch is what one transaction stores: the records of one Write as rows, by the hour in
// which they end, and the sequence numbers and losses of that Write. It is reused, and
// keeps its memory.
type batch struct {
	// id is the identifier in public.batches and in every row, 0 while there is none.
	// key is drawn at random when the batch is made, and distinguishes it from every
	// other batch, also from one that has its id.
	id  int32
	key int64
	// columns are those of the rows; statement is the list of their names.
	columns   row.Columns
	statement string

	parts []*part             // the hours, ascending once encoded
	spare []*part             // of former batches, for their buffers
	hours map[flow.Time]*part // the same by hour
	last  *part               // the one used last, which is nearly always the next, too

	// eventParts are the days of the events, ascending once closed; spareEvents are buffers
	// of former batches.
	eventParts  []*eventPart
	spareEvents [][]byte
	events      int

	records, clamped, repaired, noRoom int
	// apart are the indices of the records that encode left out, because they are past and
	// no partition is known that holds them: they are stored apart.
	apart []int
	// past says that the batch has nothing but such records of another.
	past                     bool
	packets, bytes           uint64
	receivedFrom, receivedTo flow.Time
	minEnd, maxEnd           flow.Time

	// parcel is what is handed over to the Keeper once the batch is stored; nil when no
	// Keeper is at work, or when the rows are no longer those of the parcel.
	parcel *rollup.Parcel

	// sequences and loss are stored together with the rows.
	sequences []flow.Sequence
	loss      []flow.Loss
	check     bool // compare the sequences with those in the database
}

// part is a batch's rows that end in one hour.
type part struct {
	hour     flow.Time
	minStart flow.Time // to the minute, downwards
	rows     int64
	buf      []byte // a whole binary COPY once encoded
}

// body returns the rows of a part that is encoded.
func (p *part) body() []byte { return p.buf[len(row.CopyHeader) : len(p.buf)-len(row.CopyTrailer)] }

// setBody replaces the rows of a part that is encoded.
func (p *part) setBody(rows []byte) {
	p.buf = slices.Concat([]byte(row.CopyHeader), rows, []byte(row.CopyTrailer))
}

// spareRoom is the size of the largest buffer that is kept for the next batch.
const spareRoom = 16 << 20

// ownHourRows is how many rows of an hour a batch has when the hour gets a partition of its
// own however old it is, so that the import of a capture makes the partitions that its
// flows would have had.
const ownHourRows = 256

func newBatch() *batch { return &batch{hours: make(map[flow.Time]*part)} }

func (b *batch) reset() {
	for _, p := range b.parts {
		if cap(p.buf) <= spareRoom && len(b.spare) < 8 {
			b.spare = append(b.spare, p)
		}
	}
	clear(b.hours)
	b.resetEvents()
	*b = batch{
		eventParts: b.eventParts, spareEvents: b.spareEvents,
		parts: b.parts[:0], spare: b.spare, hours: b.hours, columns: b.columns, statement: b.statement,
		sequences: b.sequences[:0], loss: b.loss[:0], apart: b.apart[:0],
	}
}

// encode makes the rows of recs, under the given id, which may be 0. Records
// without a time of receipt are received now. recs is not changed. A parcel that is not
// nil is filled with the same flows. past, unless nil, says what becomes of the records
// that ended longer ago than pastAfter.
func (b *batch) encode(id int32, recs []flow.Record, now flow.Time, parcel *rollup.Parcel, past func(e flow.ExporterID, hour flow.Time) fate) {
	b.reset()
	b.parcel = parcel
	var f rollup.Flow
	b.id, b.key = id, rand.Int64()
	b.setColumns(row.Needed(recs))
	// A batch without records still has sequence numbers or losses.
	b.receivedFrom, b.receivedTo, b.minEnd, b.maxEnd = now, now, now, now
	for i := range recs {
		r := &recs[i]
		if !row.TimesPossible(r) {
			c := *r
			if c.Received <= 0 || c.Received > row.MaxTime {
				c.Received = now
			}
			if c.RepairTime() {
				b.repaired++
			}
			r = &c
		}
		if r.Received-r.End > pastAfter && past != nil {
			switch past(r.Exporter, r.End.Floor(flow.Hour)) {
			case apart:
				b.apart = append(b.apart, i)
				continue
			case moved:
				c := *r
				c.Start, c.End = c.Received, c.Received
				c.Marks |= flow.MarkPartitionLimit
				b.noRoom++
				r = &c
			}
		}
		b.records++
		p := b.part(r.End.Floor(flow.Hour))
		var clamped bool
		if p.buf, clamped = row.Append(p.buf, r, id, b.columns); clamped {
			b.clamped++
		}
		p.rows++
		p.minStart = min(p.minStart, r.Start)
		if parcel != nil {
			parcel.AddRecord(&f, r)
		}
		b.packets = flow.SaturatingAdd(b.packets, r.Packets)
		b.bytes = flow.SaturatingAdd(b.bytes, r.Bytes)
		if b.records == 1 {
			b.receivedFrom, b.receivedTo, b.minEnd, b.maxEnd = r.Received, r.Received, r.End, r.End
			continue
		}
		b.receivedFrom, b.receivedTo = min(b.receivedFrom, r.Received), max(b.receivedTo, r.Received)
		b.minEnd, b.maxEnd = min(b.minEnd, r.End), max(b.maxEnd, r.End)
	}
	b.close()
	if parcel != nil {
		parcel.Close()
	}
}

// setColumns sets the columns of the rows.
func (b *batch) setColumns(c row.Columns) {
	if b.columns != c || b.statement == "" {
		b.columns, b.statement = c, strings.Join(c.Names(), ", ")
	}
}

// close ends the parts and sorts them by hour, so that two Writers lock rows of
// parts.partition in the same order.
func (b *batch) close() {
	slices.SortFunc(b.parts, func(x, y *part) int { return int((x.hour - y.hour) / flow.Hour) })
	for _, p := range b.parts {
		p.buf = append(p.buf, row.CopyTrailer...)
		p.minStart = p.minStart.Floor(flow.Minute)
	}
}

// part returns the part of an hour, and adds it when there is none.
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
		*p = part{hour: hour, minStart: math.MaxInt64, buf: append(p.buf[:0], row.CopyHeader...)}
		b.hours[hour] = p
		b.parts = append(b.parts, p)
	}
	b.last = p
	return p
}

// wanted returns the hours of the parts. Those that have many rows want a partition of
// their own.
func (b *batch) wanted() []store.Wanted {
	hours := make([]store.Wanted, len(b.parts))
	for i, p := range b.parts {
		hours[i] = store.Wanted{Hour: p.hour, Own: p.rows >= ownHourRows}
	}
	return hours
}

// each calls f for every row, in order, and may change it.
func (p *part) each(c row.Columns, f func(r []byte)) error {
	var r []byte
	rest, ok := p.body(), true
	for range p.rows {
		if r, rest, ok = row.Next(rest, c); !ok {
			return row.ErrRows
		}
		f(r)
	}
	if len(rest) != 0 {
		return row.ErrRows
	}
	return nil
}

// setID gives the batch another id.
func (b *batch) setID(id int32) error {
	for _, p := range b.parts {
		if err := p.each(b.columns, func(r []byte) {
			row.SetBatch(r, id)
		}); err != nil {
			return err
		}
	}
	if err := b.setEventID(id); err != nil {
		return err
	}
	b.id = id
	return nil
}

// move gives the rows that end in one of the hours their time of receipt instead, because
// these hours get no partition.
func (b *batch) move(hours []flow.Time) error {
	old := slices.Clone(b.parts)
	b.parts, b.last = b.parts[:0], nil
	clear(b.hours)
	var bad []*part
	for _, p := range old {
		if slices.Contains(hours, p.hour) {
			bad = append(bad, p)
			continue
		}
		p.buf = p.buf[:len(p.buf)-len(row.CopyTrailer)]
		b.parts = append(b.parts, p)
		b.hours[p.hour] = p
	}
	for _, p := range bad {
		if err := p.each(b.columns, func(r []byte) {
			received := row.Received(r)
			row.MoveToReceipt(r)
			to := b.part(received.Floor(flow.Hour))
			to.buf = append(to.buf, r...)
			to.rows++
			to.minStart = min(to.minStart, received)
			b.noRoom++
		}); err != nil {
			return err
		}
	}
	b.last = nil
	// The parts are closed again, and the ends are those of the rows as they are now.
	b.close()
	b.minEnd, b.maxEnd = math.MaxInt64, math.MinInt64
	for _, p := range b.parts {
		if err := p.each(b.columns, func(r []byte) {
			end := row.End(r)
			b.minEnd, b.maxEnd = min(b.minEnd, end), max(b.maxEnd, end)
		}); err != nil {
			return err
		}
	}
	return nil
}

// exporters counts the rows by exporter.
func (b *batch) exporters() (map[flow.ExporterID]uint64, error) {
	counts := make(map[flow.ExporterID]uint64)
	for _, p := range b.parts {
		if err := p.each(b.columns, func(r []byte) {
			counts[row.Exporter(r)]++
		}); err != nil {
			return nil, err
		}
	}
	return counts, nil
}
