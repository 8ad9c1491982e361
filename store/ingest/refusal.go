package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/row"
)

// ErrRefused reports that the database refuses a batch because of a value in it, however
// often it is sent: the SQLSTATE's class is 22 (data) or 23 (integrity). The error is a
// *RefusedError.
var ErrRefused = errors.New("the database refuses the batch")

// RefusedError says which batch was refused and why.
type RefusedError struct {
	// Batch is the batch's identifier; nothing was stored under it.
	Batch int32
	// Records is how many records the batch has.
	Records int
	// Err is the database's error.
	Err error
}

// Error says which batch was refused and why, in one line.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("store: batch %d of %d records: %v: %v", e.Batch, e.Records, ErrRefused, e.Err)
}

// Unwrap returns ErrRefused and the database's error.
func (e *RefusedError) Unwrap() []error { return []error{ErrRefused, e.Err} }

// contentError marks an error that came from storing the rows, not from the
// preparations.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }

func (e *contentError) Unwrap() error { return e.err }

// isRefusal reports whether the error is about a value in the batch.
func isRefusal(err error) bool {
	c := store.Code(err)
	return errors.As(err, new(*contentError)) && (strings.HasPrefix(c, "22") || strings.HasPrefix(c, "23"))
}

// maxSingleRefusals is how many refused rows of a batch are found one by one. When there
// are more, the rest is refused in larger ranges.
const maxSingleRefusals = 64

// refusal is what the database refused of a batch.
type refusal struct {
	parts       []*part // the rows, as whole COPYs
	rows        int64
	quarantined int64 // of these, in the spool's quarantine
	ranges      int   // how many ranges of rows these are
	reason      error
}

// copyAccepted stores the rows of a share that the database accepts, and adds the others to
// refused.
func (w *Writer) copyAccepted(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, b *batch, s *share, refused *refusal) error {
	for _, p := range s.parts {
		if err := w.copyAcceptedOf(ctx, conn, tx, b, s.table, p, refused); err != nil {
			return err
		}
	}
	return nil
}

// copyAcceptedOf does so for a part.
func (w *Writer) copyAcceptedOf(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, b *batch, table string, p *part, refused *refusal) error {
	ends := make([]int, 0, p.rows+1) // of the rows, in the body
	at := 0
	if err := p.each(b.columns, func(r []byte) {
		ends = append(ends, at)
		at += len(r)
	}); err != nil {
		return err
	}
	s := &bisection{
		conn: conn, tx: tx, b: b, table: table, p: p, ends: append(ends, at), all: refused, buf: make([]byte, 0, len(p.buf)),
		refused: &part{hour: p.hour, minStart: p.minStart, buf: []byte(row.CopyHeader)},
	}
	if err := s.copy(ctx, 0, int(p.rows)); err != nil {
		return err
	}
	if s.refused.rows > 0 {
		s.refused.buf = append(s.refused.buf, row.CopyTrailer...)
		refused.parts = append(refused.parts, s.refused)
	}
	return nil
}

// bisection finds the refused rows of a part by halves.
type bisection struct {
	conn    *pgx.Conn
	tx      pgx.Tx
	b       *batch
	table   string
	p       *part
	ends    []int // the offset of each row in the part's body, and the body's length
	refused *part // of p
	all     *refusal
	buf     []byte
}

// copy stores the rows from to to of the part, to excluded, and halves them when the
// database refuses one of them.
func (s *bisection) copy(ctx context.Context, from, to int) error {
	rows := s.p.body()[s.ends[from]:s.ends[to]]
	s.buf = append(append(append(s.buf[:0], row.CopyHeader...), rows...), row.CopyTrailer...)
	if _, err := s.tx.Exec(ctx, "savepoint rows"); err != nil {
		return err
	}
	err := copyRows(ctx, s.conn, s.b, s.table, s.buf, int64(to-from))
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
	s.all.reason = err
	if to-from > 1 && s.all.ranges < maxSingleRefusals {
		middle := from + (to-from)/2
		if err := s.copy(ctx, from, middle); err != nil {
			return err
		}
		return s.copy(ctx, middle, to)
	}
	s.all.ranges++
	s.all.rows += int64(to - from)
	s.refused.rows += int64(to - from)
	s.refused.buf = append(s.refused.buf, rows...)
	return nil
}

// quarantine keeps the refused rows in the spool, takes them off the batch's totals in the
// database, and returns what has to be counted as lost.
func (w *Writer) quarantine(ctx context.Context, tx pgx.Tx, b *batch, refused *refusal) ([]flow.Loss, error) {
	// Its key is another, so that the file can be put back into the spool once
	// the database accepts the rows.
	bad := &batch{
		key: b.key + 1, columns: b.columns, parts: refused.parts, records: int(refused.rows),
		receivedFrom: b.receivedFrom, receivedTo: b.receivedTo, minEnd: b.minEnd, maxEnd: b.maxEnd,
	}
	counts := make(map[flow.ExporterID]uint64)
	for _, p := range bad.parts {
		if err := p.each(b.columns, func(r []byte) {
			bad.packets = flow.SaturatingAdd(bad.packets, row.Packets(r))
			bad.bytes = flow.SaturatingAdd(bad.bytes, row.Bytes(r))
			counts[row.Exporter(r)]++
			row.SetBatch(r, 0)
		}); err != nil {
			return nil, err
		}
	}
	kept, err := w.spool.quarantine(bad, refused.reason)
	if err != nil {
		return nil, err
	}
	cause := "refused"
	if kept {
		cause, refused.quarantined = "quarantined", refused.rows
	}
	if _, err := tx.Exec(ctx, "update public.batches set records = records - $2, packets = packets - $3, bytes = bytes - $4 where id = $1",
		b.id, int32(refused.rows), int64(min(bad.packets, b.packets)), int64(min(bad.bytes, b.bytes))); err != nil {
		return nil, err
	}
	h := spoolHeader{ReceivedTo: b.receivedTo, Exporters: counts}
	return h.lost(cause), nil
}

// reportRefusal counts and logs what was refused of a batch that is stored now.
func (w *Writer) reportRefusal(b *batch, refused *refusal) {
	w.metrics.quarantinedRecords.Add(float64(refused.quarantined))
	w.metrics.refusedRecords.Add(float64(refused.rows))
	w.metrics.refusedBatches.Inc()
	w.log.Error("the database refuses rows because of their values; it stored the others of their batch",
		"batch", b.id, "rows", refused.rows, "quarantined", refused.quarantined, "error", refused.reason)
}
