package ingest

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/row"
)

const (
	// replayTimeout is how long the database may take for a batch of the spool,
	// at first; twice as long the next time, up to replayLongest.
	replayTimeout = time.Minute
	replayLongest = 10 * time.Minute
	// replayPause is the longest pause between two attempts to empty the spool.
	replayPause = 2 * time.Second
	// worstRows is how many rows of a batch are found one by one; when there are
	// more, what is left is refused in larger pieces.
	worstRows = 64
)

// Run stores what is in the spool, oldest first, while Writes go on, until ctx
// ends. It has to run for as long as there are Writes, and finds out for them when
// the database is back. The error is that the spool could not be opened
// (ErrSpool); then Run returns at once. Without a spool it waits for ctx.
func (w *Writer) Run(ctx context.Context) error {
	if w.spoolErr != nil {
		return w.spoolErr
	}
	if w.spool == nil {
		<-ctx.Done()
		return nil
	}
	w.running.Store(true)
	defer w.running.Store(false)
	if n, octets, _ := w.spool.waiting(); n > 0 {
		w.log.Info("the spool holds batches of a former run", "batches", n, "octets", octets, "directory", w.spool.dir)
	}
	b := newBatch()
	for pause := firstPause; ; {
		err := w.drain(ctx, b)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			pause = firstPause
			select {
			case <-ctx.Done():
				return nil
			case <-w.spool.wake:
			}
			continue
		}
		// A new file is no reason to ask sooner.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, replayPause)
	}
}

// drain stores every file that can be stored. The error is that of a file that
// could not, nil when the spool is empty.
func (w *Writer) drain(ctx context.Context, b *batch) (failed error) {
	for after := int64(0); ctx.Err() == nil; {
		e := w.spool.next(after)
		if e == nil {
			break
		}
		after = e.number
		start := time.Now()
		err := w.replay(ctx, e, b)
		switch {
		case err == nil:
			w.working()
			if time.Since(start) < w.patience {
				w.away.Store(false)
			}
			continue
		case errors.Is(err, errCorrupt), errors.Is(err, row.ErrRows):
			w.spool.setAside(e, err)
			continue
		case errors.Is(err, fs.ErrNotExist):
			w.log.Error("a file of the spool is gone", "file", e.name())
			w.spool.forget(e)
			continue
		}
		e.failed++
		w.spool.release(e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = err
		w.metrics.retries.Inc()
		if isAway(err) {
			w.away.Store(true)
			w.failing(err)
			// Connections from before the outage would each fail once.
			w.db.Pool().Reset()
			return err
		}
		// The database has something against this batch, and not for what is in
		// it: the others need not wait.
		if e.failed == 1 {
			w.log.Error("a spooled batch is not taken, trying again later", "file", e.name(), "error", err)
		}
	}
	if failed == nil && w.away.Load() {
		// Nothing to try with.
		ask, cancel := context.WithTimeout(ctx, w.patience)
		defer cancel()
		if _, err := w.db.Pool().Exec(ask, "select 1"); err != nil {
			return err
		}
		w.away.Store(false)
	}
	if failed == nil && w.spool.early() {
		return errTurn
	}
	return failed
}

// replay stores the batch of a file and removes it.
func (w *Writer) replay(ctx context.Context, e *spoolFile, b *batch) error {
	if err := w.spool.load(e, b); err != nil {
		return err
	}
	b.check = e.turn == nil && w.blind.Load()
	assign := func(id int32) error { return w.spool.assign(e, id, b.key) }
	ctx, cancel := context.WithTimeout(ctx, min(replayTimeout<<min(e.failed, 8), replayLongest))
	defer cancel()
	start, how := time.Now(), trusting
	for try := 0; ; try++ {
		err := w.attempt(ctx, b, nil, how, assign)
		switch {
		case err == nil:
			w.metrics.wrote(b, time.Since(start))
			w.metrics.drainedBatches.Inc()
			w.metrics.drainedRecords.Add(float64(b.records))
			w.spool.remove(e)
			return nil
		case refuses(err) && how == trusting:
			how = searching
		case try >= quickTries || !w.mend(err, b):
			return err
		}
	}
}

// refusal is what was found in a batch that the database does not take.
type refusal struct {
	parts  []*part // the rows, as whole COPYs
	rows   int64
	kept   int64 // of these, in quarantine
	tries  int
	reason error
}

// search stores the rows of p that the database takes, and finds the others by
// halves.
func (w *Writer) search(ctx context.Context, conn *pgx.Conn, tx pgx.Tx, b *batch, p *part, found *refusal) error {
	ends := make([]int, 0, p.rows+1) // of the rows, in the body
	at := 0
	if err := p.each(b.columns, func(r []byte) {
		ends = append(ends, at)
		at += len(r)
	}); err != nil {
		return err
	}
	ends = append(ends, at)
	bad := &part{hour: p.hour, minStart: p.minStart, buf: []byte(row.CopyHeader)}
	buf := make([]byte, 0, len(p.buf))
	var try func(from, to int) error
	try = func(from, to int) error {
		rows := p.body()[ends[from]:ends[to]]
		buf = append(append(append(buf[:0], row.CopyHeader...), rows...), row.CopyTrailer...)
		if _, err := tx.Exec(ctx, "savepoint rows"); err != nil {
			return err
		}
		err := copyRows(ctx, conn, b, p, buf, int64(to-from))
		if err == nil {
			_, err := tx.Exec(ctx, "release savepoint rows")
			return err
		}
		if !refuses(err) {
			return err
		}
		if _, err := tx.Exec(ctx, "rollback to savepoint rows"); err != nil {
			return err
		}
		found.reason = err
		if to-from > 1 && found.tries < worstRows {
			middle := from + (to-from)/2
			if err := try(from, middle); err != nil {
				return err
			}
			return try(middle, to)
		}
		found.tries++
		found.rows += int64(to - from)
		bad.rows += int64(to - from)
		bad.buf = append(bad.buf, rows...)
		return nil
	}
	if err := try(0, int(p.rows)); err != nil {
		return err
	}
	if bad.rows > 0 {
		bad.buf = append(bad.buf, row.CopyTrailer...)
		found.parts = append(found.parts, bad)
	}
	return nil
}

// quarantine keeps what was found, corrects what the batch says of itself, and
// returns what has to be booked.
func (w *Writer) quarantine(ctx context.Context, tx pgx.Tx, b *batch, found *refusal) ([]flow.Loss, error) {
	// Its key is another, so that the file can be put back into the spool once
	// the reason is gone.
	bad := &batch{
		key: b.key + 1, columns: b.columns, parts: found.parts, records: int(found.rows),
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
	kept, err := w.spool.quarantine(bad, found.reason)
	if err != nil {
		return nil, err
	}
	cause := "refused"
	if kept {
		cause, found.kept = "quarantined", found.rows
	}
	if _, err := tx.Exec(ctx, "update public.batches set records = records - $2, packets = packets - $3, bytes = bytes - $4 where id = $1",
		b.id, int32(found.rows), int64(min(bad.packets, b.packets)), int64(min(bad.bytes, b.bytes))); err != nil {
		return nil, err
	}
	h := spoolHeader{ReceivedTo: b.receivedTo, Exporters: counts}
	return h.lost(cause), nil
}
