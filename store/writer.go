package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
)

// ErrRefused reports that the database will not take a batch for what is in it,
// however often it is sent: the SQLSTATE's class is 22 (data) or 23 (integrity).
// The error is a *RefusedError.
var ErrRefused = errors.New("the database refuses the batch")

// RefusedError says which batch was refused and why.
type RefusedError struct {
	// Batch is the batch's identifier; nothing was stored under it.
	Batch int32
	// Records is how many records the batch has.
	Records int
	// Err is the database's own word.
	Err error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("store: batch %d of %d records: %v: %v", e.Batch, e.Records, ErrRefused, e.Err)
}

// Unwrap returns ErrRefused and the database's error.
func (e *RefusedError) Unwrap() []error { return []error{ErrRefused, e.Err} }

var (
	// errCollision: another batch has this one's identifier, as after a restore.
	errCollision = errors.New("another batch has the same identifier")
	// errGone: a partition was removed while we wrote to it.
	errGone = errors.New("a partition is gone")
)

const (
	// idBlock is how many batch identifiers are leased at once, the increment of
	// the sequence parts.batch_block.
	idBlock = 64
	// firstPause and lastPause are the pauses between attempts.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// commitTimeout is how long a commit may take. It does not end with the
	// caller's context: an answer that nobody waits for leaves open whether the
	// rows are there.
	commitTimeout = 30 * time.Second
)

// WriterConfig is what a Writer may be told. The zero value will do.
type WriterConfig struct {
	// Logger hears of outages and of exporters that collide; nil is silence.
	Logger *slog.Logger
	// Registerer takes the metrics, flowtally_store_…; nil leaves them out.
	Registerer prometheus.Registerer
	// MaxPartitions is how many hours there may be, DefaultMaxPartitions when 0.
	MaxPartitions int
}

// Writer stores what a collector received. It is safe for concurrent use: each
// Write has a connection of its own.
type Writer struct {
	db         *DB
	log        *slog.Logger
	metrics    *metrics
	partitions *partitions
	batches    sync.Pool

	ids struct {
		sync.Mutex
		next, end int32 // leased and not used: next to end, end excluded
	}
	// outage is since when, and why, nothing could be stored.
	outage struct {
		sync.Mutex
		since time.Time
	}
	exporters identities

	// beforeCommit is a test's way to come between a batch and its commit.
	beforeCommit func(conn *pgx.Conn)
}

// NewWriter returns a Writer. It does nothing until it is given something.
func NewWriter(db *DB, c WriterConfig) *Writer {
	w := &Writer{db: db, log: c.Logger, partitions: newPartitions(c.MaxPartitions)}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.metrics = newMetrics(c.Registerer, w.partitions.count)
	w.batches.New = func() any { return newBatch() }
	return w
}

// Write stores the records as one batch; they are durable when it returns nil.
// While the database is away it waits and tries again, until the context ends;
// the error is then the context's. The only other error is ErrRefused. However
// often a batch has to be sent, its rows are stored once. recs is not changed,
// and not used afterwards.
func (w *Writer) Write(ctx context.Context, received flow.Batch) error {
	recs := received.Records
	if len(recs) == 0 {
		return nil
	}
	b := w.batches.Get().(*batch)
	defer w.batches.Put(b)
	b.id = 0
	start := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := w.attempt(ctx, b, recs)
		switch {
		case err == nil:
			w.working()
			w.metrics.wrote(b, time.Since(start))
			return nil
		case refuses(err):
			w.metrics.refusedBatches.Inc()
			w.metrics.refusedRecords.Add(float64(len(recs)))
			return &RefusedError{Batch: b.id, Records: len(recs), Err: err}
		case errors.Is(err, errCollision):
			w.log.Error("batch identifier in use, taking another", "batch", b.id)
			w.dropLease()
			b.id = 0
		case errors.Is(err, errGone), code(err) == "42P01", code(err) == "42P07":
			// The set of partitions is not what we thought.
			w.partitions.forget()
		case ctx.Err() != nil:
			return fmt.Errorf("store: write %d records: %w", len(recs), context.Cause(ctx))
		}
		w.failing(err)
		w.metrics.retries.Inc()
		select {
		case <-ctx.Done():
			return fmt.Errorf("store: write %d records: %w (the database's last error: %w)", len(recs), context.Cause(ctx), err)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// refuses reports whether the error is about what is in the batch.
func refuses(err error) bool {
	c := code(err)
	return errors.As(err, new(*contentError)) && (strings.HasPrefix(c, "22") || strings.HasPrefix(c, "23"))
}

// contentError marks an error that came from storing the rows, not from the
// preparations.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// attempt tries to store the batch, once. A batch without identifier gets one
// and is encoded; with one it was tried before.
func (w *Writer) attempt(ctx context.Context, b *batch, recs []flow.Record) error {
	conn, err := w.db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if b.id == 0 {
		id, err := w.lease(ctx, conn.Conn())
		if err != nil {
			return err
		}
		b.id = id
		b.encode(recs, flow.TimeOf(time.Now()), nil)
	}
	if err := w.makeRoom(ctx, conn.Conn(), b, recs); err != nil {
		return err
	}
	return w.store(ctx, conn.Conn(), b)
}

// makeRoom sees to the partitions of a batch that is encoded, and encodes it
// again when there is no room for some hours.
func (w *Writer) makeRoom(ctx context.Context, conn *pgx.Conn, b *batch, recs []flow.Record) error {
	for {
		refused, err := w.partitions.ensure(ctx, conn, b.times(),
			b.receivedFrom.Floor(flow.Hour), b.receivedTo.Floor(flow.Hour))
		if err != nil || len(refused) == 0 {
			return err
		}
		// What takes the place of the refused is an hour of receipt, and those
		// are let in: the next turn is the last.
		b.encode(recs, flow.TimeOf(time.Now()), refused)
	}
}

// store writes an encoded batch in one transaction.
func (w *Writer) store(ctx context.Context, conn *pgx.Conn, b *batch) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	// Also when ctx has ended, and after a commit, when it does nothing.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	// Where the same batch is being stored by a connection that we have lost,
	// this waits for its end.
	tag, err := tx.Exec(ctx, `insert into public.batches (id, received_from, received_to, min_end, max_end, records, packets, bytes)
		values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing`,
		b.id, b.receivedFrom.Time(), b.receivedTo.Time(), b.minEnd.Time(), b.maxEnd.Time(), int32(b.records), int64(b.packets), int64(b.bytes))
	if err != nil {
		return &contentError{err}
	}
	if tag.RowsAffected() == 0 {
		return w.replayed(ctx, tx, b)
	}
	for _, p := range b.parts {
		tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(p.buf),
			"copy parts."+partitionName(p.hour)+" ("+copyColumns+") from stdin binary")
		if err != nil {
			return &contentError{err}
		}
		if tag.RowsAffected() != p.rows {
			return fmt.Errorf("%d rows sent, %d stored", p.rows, tag.RowsAffected())
		}
	}
	// Who removes a partition deletes its row before anything else. The rows went
	// into a table that we have locked since; if its partition's row is still
	// there, it cannot have been detached. What it says of min_start counts, not
	// what we remember: it may have been removed and made again.
	hours := make([]time.Time, len(b.parts))
	for i, p := range b.parts {
		hours[i] = p.hour.Time()
	}
	rows, err := tx.Query(ctx, "select hour, min_start from parts.partition where hour = any($1)", hours)
	if err != nil {
		return err
	}
	var hour, minStart time.Time
	there := make(map[flow.Time]flow.Time, len(b.parts))
	if _, err := pgx.ForEachRow(rows, []any{&hour, &minStart}, func() error {
		there[flow.TimeOf(hour)] = flow.TimeOf(minStart)
		return nil
	}); err != nil {
		return err
	}
	if len(there) != len(b.parts) {
		return errGone
	}
	for _, p := range b.parts {
		if p.minStart >= there[p.hour] {
			continue
		}
		if _, err := tx.Exec(ctx, "update parts.partition set min_start = $2 where hour = $1 and min_start > $2", p.hour.Time(), p.minStart.Time()); err != nil {
			return err
		}
	}
	if w.beforeCommit != nil {
		w.beforeCommit(conn)
	}
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	return tx.Commit(commit)
}

// replayed tells whether the batch that has our identifier is ours: then its
// rows are stored and nothing is left to do.
func (w *Writer) replayed(ctx context.Context, tx pgx.Tx, b *batch) error {
	var same bool
	err := tx.QueryRow(ctx, `select received_from = $2 and received_to = $3 and min_end = $4 and max_end = $5
		and records = $6 and packets = $7 and bytes = $8 from public.batches where id = $1`,
		b.id, b.receivedFrom.Time(), b.receivedTo.Time(), b.minEnd.Time(), b.maxEnd.Time(), int32(b.records), int64(b.packets), int64(b.bytes)).Scan(&same)
	if err != nil {
		return err
	}
	if !same {
		return errCollision
	}
	w.metrics.replays.Inc()
	return nil
}

// lease returns the next batch identifier.
func (w *Writer) lease(ctx context.Context, conn *pgx.Conn) (int32, error) {
	w.ids.Lock()
	defer w.ids.Unlock()
	if w.ids.next == w.ids.end {
		var first int32
		if err := conn.QueryRow(ctx, "select nextval('parts.batch_block')::int").Scan(&first); err != nil {
			return 0, fmt.Errorf("batch identifier: %w", err)
		}
		w.ids.next, w.ids.end = first, first+idBlock
	}
	id := w.ids.next
	w.ids.next++
	return id, nil
}

// dropLease gives up what is left of the block.
func (w *Writer) dropLease() {
	w.ids.Lock()
	defer w.ids.Unlock()
	w.ids.next = w.ids.end
}

// failing notes that the database did not take something. An outage is one line
// in the log at its begin and one at its end.
func (w *Writer) failing(err error) {
	w.outage.Lock()
	defer w.outage.Unlock()
	if !w.outage.since.IsZero() {
		return
	}
	w.outage.since = time.Now()
	w.metrics.up.Set(0)
	w.log.Warn("the database does not take records, trying on", "error", err)
}

// working notes that it does.
func (w *Writer) working() {
	w.outage.Lock()
	defer w.outage.Unlock()
	w.metrics.up.Set(1)
	if w.outage.since.IsZero() {
		return
	}
	w.log.Info("the database takes records again", "after", time.Since(w.outage.since).Round(time.Millisecond))
	w.outage.since = time.Time{}
}
