package ingest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/row"
)

// Events travel with the flows of their batch: in the same transaction and the same file
// of the spool.

// eventPart is a batch's share of the events of a day.
type eventPart struct {
	day          flow.Time
	lastReceived flow.Time
	rows         int64
	buf          []byte // a whole binary COPY once closed
}

func (p *eventPart) body() []byte {
	return p.buf[len(row.CopyHeader) : len(p.buf)-len(row.CopyTrailer)]
}

// each calls f for every row, in order, and may change it.
func (p *eventPart) each(f func(r []byte)) error {
	var r []byte
	rest, ok := p.body(), true
	for range p.rows {
		if r, rest, ok = row.NextEvent(rest); !ok {
			return row.ErrRows
		}
		f(r)
	}
	if len(rest) != 0 {
		return row.ErrRows
	}
	return nil
}

// eventStatement is the list of the columns of events.
var eventStatement = strings.Join(row.EventColumns(), ", ")

// addEvents makes the rows of events, which belong to a batch that is encoded.
func (b *batch) addEvents(events []flow.Event, now flow.Time) {
	for i := range events {
		e := &events[i]
		if !row.EventTimePossible(e) {
			c := *e
			if c.Received <= 0 || c.Received > row.MaxTime {
				c.Received = now
			}
			c.RepairTime()
			e = &c
		}
		p := b.eventDay(e.Time.Floor(flow.Day))
		p.buf, _ = row.AppendEvent(p.buf, e, b.id)
		p.rows++
		p.lastReceived = max(p.lastReceived, e.Received)
		if i == 0 && b.records == 0 {
			b.receivedFrom, b.receivedTo = e.Received, e.Received
		}
		b.receivedFrom, b.receivedTo = min(b.receivedFrom, e.Received), max(b.receivedTo, e.Received)
	}
	b.events = len(events)
	b.closeEvents()
}

// eventDay returns the part of a day, and adds it when there is none.
func (b *batch) eventDay(day flow.Time) *eventPart {
	for i := len(b.eventParts) - 1; i >= 0; i-- {
		if b.eventParts[i].day == day {
			return b.eventParts[i]
		}
	}
	p := &eventPart{day: day, buf: slices.Clone([]byte(row.CopyHeader))}
	if n := len(b.spareEvents); n > 0 {
		p.buf, b.spareEvents = append(b.spareEvents[n-1][:0], row.CopyHeader...), b.spareEvents[:n-1]
	}
	b.eventParts = append(b.eventParts, p)
	return p
}

// closeEvents ends the parts and sorts them, so that two Writers lock rows of
// parts.event_day in the same order.
func (b *batch) closeEvents() {
	slices.SortFunc(b.eventParts, func(x, y *eventPart) int { return cmp.Compare(x.day, y.day) })
	for _, p := range b.eventParts {
		p.buf = append(p.buf, row.CopyTrailer...)
		p.lastReceived = p.lastReceived.Floor(flow.Minute)
	}
}

// resetEvents forgets the events, and keeps a few of their buffers.
func (b *batch) resetEvents() {
	for _, p := range b.eventParts {
		if cap(p.buf) <= spareRoom && len(b.spareEvents) < 2 {
			b.spareEvents = append(b.spareEvents, p.buf)
		}
	}
	b.eventParts = b.eventParts[:0]
}

// setEventID gives the events another batch's identifier.
func (b *batch) setEventID(id int32) error {
	for _, p := range b.eventParts {
		if err := p.each(func(r []byte) { row.SetEventBatch(r, id) }); err != nil {
			return err
		}
	}
	return nil
}

// moveEvents gives the events of some days their time of receipt instead, because these
// days get no partition.
func (b *batch) moveEvents(days []flow.Time) error {
	old := slices.Clone(b.eventParts)
	b.eventParts = b.eventParts[:0]
	var bad []*eventPart
	for _, p := range old {
		if slices.Contains(days, p.day) {
			bad = append(bad, p)
			continue
		}
		p.buf = p.buf[:len(p.buf)-len(row.CopyTrailer)]
		b.eventParts = append(b.eventParts, p)
	}
	for _, p := range bad {
		if err := p.each(func(r []byte) {
			received := row.EventReceived(r)
			row.MoveEventToReceipt(r)
			to := b.eventDay(received.Floor(flow.Day))
			to.buf = append(to.buf, r...)
			to.rows++
			to.lastReceived = max(to.lastReceived, received)
		}); err != nil {
			return err
		}
	}
	b.closeEvents()
	return nil
}

// eventExporters counts the events by exporter.
func (b *batch) eventExporters() (map[flow.ExporterID]uint64, error) {
	if len(b.eventParts) == 0 {
		return nil, nil
	}
	counts := make(map[flow.ExporterID]uint64)
	for _, p := range b.eventParts {
		if err := p.each(func(r []byte) { counts[row.EventExporter(r)]++ }); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// eventsLost returns what the loss table says when events are lost.
func eventsLost(minute flow.Time, counts map[flow.ExporterID]uint64, cause string) []flow.Loss {
	var loss []flow.Loss
	for id, n := range counts {
		loss = append(loss, flow.Loss{Minute: minute.Floor(flow.Minute), Exporter: id, Stage: "store", Cause: cause, Unit: "event", Count: n})
	}
	slices.SortFunc(loss, func(a, b flow.Loss) int { return cmp.Compare(a.Exporter, b.Exporter) })
	return loss
}

// ensureEventDays makes the partitions of a batch's events, and moves the rows of days for
// which there may be no more.
func (w *Writer) ensureEventDays(ctx context.Context, conn *pgx.Conn, b *batch) error {
	for len(b.eventParts) > 0 {
		days := make([]flow.Time, len(b.eventParts))
		for i, p := range b.eventParts {
			days[i] = p.day
		}
		refused, err := w.eventDays.Ensure(ctx, conn, days, b.receivedFrom.Floor(flow.Day), b.receivedTo.Floor(flow.Day))
		if err != nil || len(refused) == 0 {
			return err
		}
		if err := b.moveEvents(refused); err != nil {
			return err
		}
	}
	return nil
}

// storeEvents sends the events of a batch. In bisected mode it passes over those that the
// database refuses, and returns them by exporter.
func (w *Writer) storeEvents(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, b *batch, mode copyMode) (refused map[flow.ExporterID]uint64, reason, err error) {
	for _, p := range b.eventParts {
		if mode == copyWhole {
			if err := copyEvents(ctx, conn, p.day, p.buf, p.rows); err != nil {
				return nil, nil, err
			}
			continue
		}
		var rows [][]byte
		if err := p.each(func(r []byte) { rows = append(rows, r) }); err != nil {
			return nil, nil, err
		}
		s := eventBisection{conn: conn, tx: tx, day: p.day, refused: make(map[flow.ExporterID]uint64)}
		if err := s.copy(ctx, rows); err != nil {
			return nil, nil, err
		}
		for id, n := range s.refused {
			if refused == nil {
				refused = make(map[flow.ExporterID]uint64)
			}
			refused[id] += n
			reason = s.reason
		}
	}
	return refused, reason, nil
}

// eventBisection finds the events that the database refuses by halves.
type eventBisection struct {
	conn    *pgx.Conn
	tx      pgx.Tx
	day     flow.Time
	refused map[flow.ExporterID]uint64
	ranges  int
	reason  error
}

func (s *eventBisection) copy(ctx context.Context, rows [][]byte) error {
	buf := append([]byte(row.CopyHeader), slices.Concat(rows...)...)
	buf = append(buf, row.CopyTrailer...)
	if _, err := s.tx.Exec(ctx, "savepoint rows"); err != nil {
		return err
	}
	err := copyEvents(ctx, s.conn, s.day, buf, int64(len(rows)))
	if err == nil {
		_, err := s.tx.Exec(ctx, "release savepoint rows")
		return err
	}
	if !isRefusal(err) {
		return err
	}
	if _, err := s.tx.Exec(ctx, "rollback to savepoint rows"); err != nil {
		return err
	}
	s.reason = err
	if len(rows) > 1 && s.ranges < maxSingleRefusals {
		if err := s.copy(ctx, rows[:len(rows)/2]); err != nil {
			return err
		}
		return s.copy(ctx, rows[len(rows)/2:])
	}
	s.ranges++
	for _, r := range rows {
		s.refused[row.EventExporter(r)]++
	}
	return nil
}

// copyEvents sends rows, a whole binary COPY, to the partition of a day.
func copyEvents(ctx context.Context, conn *pgx.Conn, day flow.Time, buf []byte, rows int64) error {
	tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(buf), "copy parts."+store.EventDayName(day)+" ("+eventStatement+") from stdin binary")
	if err != nil {
		return &contentError{err}
	}
	if tag.RowsAffected() != rows {
		return fmt.Errorf("%w: %d events sent, %d stored", errIncomplete, rows, tag.RowsAffected())
	}
	return nil
}

// confirmEventDays checks that the partitions of a batch's events still belong to the
// table, as confirmPartitions does for flows, and notes when they were last written to.
func confirmEventDays(ctx context.Context, tx pgx.Tx, b *batch) error {
	if len(b.eventParts) == 0 {
		return nil
	}
	days := make([]time.Time, len(b.eventParts))
	for i, p := range b.eventParts {
		days[i] = p.day.Time()
	}
	rows, err := tx.Query(ctx, `select day, last_received from parts.event_day where day = any($1)
		and exists (select from pg_inherits where inhrelid = to_regclass('parts.' || name) and not inhdetachpending)`, days)
	if err != nil {
		return err
	}
	var day, last time.Time
	lasts := make(map[flow.Time]flow.Time, len(days))
	if _, err := pgx.ForEachRow(rows, []any{&day, &last}, func() error {
		lasts[flow.TimeOf(day)] = flow.TimeOf(last)
		return nil
	}); err != nil {
		return err
	}
	if len(lasts) != len(days) {
		return errPartitionRemoved
	}
	for _, p := range b.eventParts {
		if p.lastReceived <= lasts[p.day] {
			continue
		}
		if _, err := tx.Exec(ctx, "update parts.event_day set last_received = $2 where day = $1 and last_received < $2", p.day.Time(), p.lastReceived.Time()); err != nil {
			return err
		}
	}
	return nil
}

// refuseEvents takes events that the database refused off the batch's count, and returns
// what has to be counted as lost. They are not kept: nothing that a decoder makes is
// refused.
func (w *Writer) refuseEvents(ctx context.Context, tx pgx.Tx, b *batch, counts map[flow.ExporterID]uint64, reason error) ([]flow.Loss, error) {
	if len(counts) == 0 {
		return nil, nil
	}
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if _, err := tx.Exec(ctx, "update public.batches set events = events - $2 where id = $1", b.id, int32(total)); err != nil {
		return nil, err
	}
	w.log.Error("the database refuses events because of their values; it stored the others of their batch", "batch", b.id, "events", total, "error", reason)
	return eventsLost(b.receivedTo, counts, "refused"), nil
}

// spoolEvents describes the events of a file: they follow the flows.
type spoolEvents struct {
	Count int              `json:"count"`
	Parts []spoolEventPart `json:"parts"`
	// Columns are those of the rows.
	Columns   []string                   `json:"columns"`
	Exporters map[flow.ExporterID]uint64 `json:"exporters,omitempty"`
}

// count returns how many events there are, also of a file that has none.
func (e *spoolEvents) count() int {
	if e == nil {
		return 0
	}
	return e.Count
}

// spoolEventPart describes the events of one day.
type spoolEventPart struct {
	Day          flow.Time `json:"day"`
	LastReceived flow.Time `json:"last_received"`
	Rows         int64     `json:"rows"`
	Bytes        int       `json:"octets"`
}

// eventHeader returns what a file's header says of the batch's events, nil when it has
// none.
func (b *batch) eventHeader() (*spoolEvents, error) {
	if len(b.eventParts) == 0 {
		return nil, nil
	}
	counts, err := b.eventExporters()
	if err != nil {
		return nil, err
	}
	h := &spoolEvents{Count: b.events, Columns: row.EventColumns(), Exporters: counts}
	for _, p := range b.eventParts {
		h.Parts = append(h.Parts, spoolEventPart{Day: p.day, LastReceived: p.lastReceived, Rows: p.rows, Bytes: len(p.body())})
	}
	return h, nil
}

// readSpoolEvents reads the events of a file into b, and goes on with the checksum and the length of its
// rows.
func readSpoolEvents(r io.Reader, h *spoolEvents, b *batch, crc uint32, length uint64) (uint32, uint64, error) {
	if h == nil {
		return crc, length, nil
	}
	if !slices.Equal(h.Columns, row.EventColumns()) {
		return 0, 0, fmt.Errorf("columns of events: %w", errCorrupt)
	}
	rows, last := int64(0), flow.Time(math.MinInt64)
	for _, sp := range h.Parts {
		if sp.Bytes < 0 || sp.Bytes > maxSpoolFile || sp.Rows <= 0 || sp.Day <= last || sp.Day%flow.Day != 0 {
			return 0, 0, fmt.Errorf("parts of events: %w", errCorrupt)
		}
		last = sp.Day
		p := b.eventDay(sp.Day)
		p.lastReceived, p.rows = sp.LastReceived, sp.Rows
		for at := len(p.buf); at < len(row.CopyHeader)+sp.Bytes; at = len(p.buf) {
			n := min(len(row.CopyHeader)+sp.Bytes-at, 1<<20)
			p.buf = slices.Grow(p.buf, n)[:at+n]
			if _, err := io.ReadFull(r, p.buf[at:]); err != nil {
				return 0, 0, fmt.Errorf("events: %w: %w", errCorrupt, err)
			}
		}
		crc = crc32.Update(crc, castagnoli, p.buf[len(row.CopyHeader):])
		length += uint64(sp.Bytes)
		rows += sp.Rows
		p.buf = append(p.buf, row.CopyTrailer...)
	}
	if rows != int64(h.Count) {
		return 0, 0, fmt.Errorf("events: %w", errCorrupt)
	}
	b.events = h.Count
	for _, p := range b.eventParts {
		if err := p.each(func([]byte) {}); err != nil {
			return 0, 0, fmt.Errorf("events: %w: %w", errCorrupt, err)
		}
	}
	return crc, length, nil
}

// spoolVersionOf is the version of a file: an earlier flowtally cannot read one that has
// events, and says so by its version.
func spoolVersionOf(b *batch) uint32 {
	if len(b.eventParts) > 0 {
		return spoolVersionEvents
	}
	return spoolVersion
}
