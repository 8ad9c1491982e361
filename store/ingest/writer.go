// Package ingest stores what a collector received: a Writer encodes batches, sends them by
// COPY into the partition of their hour, spools what the database cannot take at once, and
// keeps the state of sequence numbers, losses and exporters with them. A batch that is sent
// twice is stored once.
package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
	"flowtally/store/row"
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
	// errTurn: a batch before this one is not durable yet.
	errTurn = errors.New("a batch received earlier is not stored yet")
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
	// turnTimeout is how long a batch waits with its commit for those before it.
	turnTimeout = time.Second

	// DefaultPatience is how long the database may take for a batch before it
	// goes to the spool, unless told otherwise. Together with the second that a
	// batch may take to fill, it is how much a crash can lose.
	DefaultPatience = time.Second
	// quickTries is how often a batch with a spool is sent again at once, where
	// it was in the way of others or they were in its.
	quickTries = 3
)

// WriterConfig is what a Writer may be told. The zero value will do.
type WriterConfig struct {
	// Logger hears of outages and of exporters that collide; nil is silence.
	Logger *slog.Logger
	// Registerer takes the metrics, flowtally_store_…; nil leaves them out.
	Registerer prometheus.Registerer
	// MaxPartitions is how many hours there may be, DefaultMaxPartitions when 0.
	MaxPartitions int
	// Spool is the directory for what the database cannot take at once; empty for
	// none. One writer at a time uses it. DefaultSpool suggests one.
	Spool string
	// SpoolBytes is how much may be in Spool, in octets; DefaultSpoolBytes when 0.
	// When it is full the oldest batch gives way and is booked as lost. What the
	// database refuses may take an eighth as much besides.
	SpoolBytes int64
	// Patience is how long the database may take for a batch before that goes to
	// the spool; DefaultPatience when 0.
	Patience time.Duration
	// Handoff takes what is stored on to a Keeper of the same process; nil leaves the
	// Keeper to read it back.
	Handoff *rollup.Handoff
}

// Writer stores what a collector received. It is safe for concurrent use: each
// Write has a connection of its own.
//
// With a spool, Run has to run beside: it stores what went there. Life ends in
// this order: the last Write returns, Run's context ends, Close. What is in the
// spool then is stored by the next Writer with the same directory.
type Writer struct {
	db         *store.DB
	log        *slog.Logger
	metrics    *metrics
	partitions *store.Partitions
	batches    sync.Pool
	patience   time.Duration
	handoff    *rollup.Handoff

	// spool is nil without one; spoolErr is why it could not be opened.
	spool    *spool
	spoolErr error
	// away is set while batches go to the spool without the database being asked;
	// running, while there is somebody to find out when it is back.
	away, running atomic.Bool
	// blind: the database was away when it was asked for sequence numbers.
	blind atomic.Bool
	// direct is how many batches are on their way into the database without the
	// spool.
	direct atomic.Int32

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
	turns     turns

	// beforeCommit is a test's way to come between a batch and its commit.
	beforeCommit func(conn *pgx.Conn)
}

// NewWriter returns a Writer. It does nothing until it is given something, but
// for taking the spool's directory into use; when that fails, Run says so and the
// Writer works as one without.
func NewWriter(db *store.DB, c WriterConfig) *Writer {
	w := &Writer{db: db, log: c.Logger, partitions: store.NewPartitions(c.MaxPartitions), patience: c.Patience, handoff: c.Handoff}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.patience <= 0 {
		w.patience = DefaultPatience
	}
	w.metrics = newMetrics(c.Registerer, w)
	w.batches.New = func() any { return newBatch() }
	if c.Spool != "" {
		w.spool, w.spoolErr = openSpool(c.Spool, c.SpoolBytes, w.log, w.metrics)
	}
	return w
}

// Close gives the spool's directory free. Nothing may be written afterwards.
func (w *Writer) Close() {
	if w.spool != nil {
		w.spool.close()
	}
}

// Write stores the batch; it is durable when Write returns nil: in the database
// or, when that is away, slow, out of room or busy with another batch while more
// are waiting than it keeps up with (Pressed), in the spool. However often a batch
// has to be sent, its rows are stored once. received is not changed, and not used
// afterwards.
//
// Rows that the database refuses for what is in them go to the spool's
// quarantine, are booked in the ledger, and the others are stored.
//
// Without a spool, or when that cannot take the batch either, Write waits and
// tries again until the context ends; the error is then the context's. Without a
// spool a refused row takes its batch with it, and the error is ErrRefused.
func (w *Writer) Write(ctx context.Context, received flow.Batch) error {
	if len(received.Records) == 0 && len(received.Sequences) == 0 && len(received.Loss) == 0 {
		return nil
	}
	turn, done := w.turns.take()
	defer done()
	b := w.batches.Get().(*batch)
	defer w.batches.Put(b)
	b.encode(w.leased(), received.Records, flow.TimeOf(time.Now()), w.handoff.Empty())
	b.sequences = append(b.sequences, received.Sequences...)
	b.loss = append(b.loss, received.Loss...)
	if w.spool != nil && w.running.Load() && (w.away.Load() || received.Pressed && w.direct.Load() > 0) {
		if w.put(b, turn) == nil {
			return nil
		}
	}
	w.direct.Add(1)
	defer w.direct.Add(-1)
	start := time.Now()
	// The first attempts share what patience there is; those of a batch that the
	// spool did not take have as much each.
	attempt := func(c care) error {
		if w.spool == nil {
			return w.attempt(ctx, b, turn, c, nil)
		}
		bounded, cancel := context.WithTimeout(ctx, w.patience)
		defer cancel()
		return w.attempt(bounded, b, turn, c, nil)
	}
	quick, how := 0, trusting
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := attempt(how)
		passing := false
		switch {
		case err == nil:
			w.working()
			w.metrics.wrote(b, time.Since(start))
			return nil
		case refuses(err):
			if w.spool == nil {
				w.metrics.refusedBatches.Inc()
				w.metrics.refusedRecords.Add(float64(b.records))
				return &RefusedError{Batch: b.id, Records: b.records, Err: err}
			}
			if how == trusting {
				how = searching
				continue
			}
		case errors.Is(err, errTurn):
			passing, quick = true, quickTries
		case w.mend(err, b):
			passing = true
		case w.spool == nil && ctx.Err() != nil:
			return fmt.Errorf("store: write %d records: %w", b.records, context.Cause(ctx))
		}
		w.metrics.retries.Inc()
		if quick++; w.spool != nil && passing && quick < quickTries && time.Since(start) < w.patience {
			continue
		}
		if w.spool == nil || !passing {
			w.failing(err)
		}
		if w.spool != nil {
			if isAway(err) {
				w.away.Store(true)
			}
			if w.put(b, turn) == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("store: write %d records: %w (the database's last error: %w)", b.records, context.Cause(ctx), err)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// put writes the batch to the spool; it is stored from there when those before it
// are durable.
func (w *Writer) put(b *batch, turn <-chan struct{}) error {
	err := w.spool.put(b, turn)
	if err != nil {
		w.metrics.spoolErrors.Inc()
		w.log.Error("a batch could not be spooled", "records", b.records, "error", err)
	} else {
		w.handOn(b)
	}
	return err
}

// handOn gives the Keeper of this process what it needs of a batch that is about to
// be stored, under its identifier and key: if another batch is stored in the end,
// or none, nobody will ask.
func (w *Writer) handOn(b *batch) {
	if b.parcel == nil || b.id == 0 {
		return
	}
	b.parcel.ID, b.parcel.Key = b.id, b.key
	w.handoff.Put(b.parcel, time.Now())
	b.parcel = nil
}

// mend sets right what was wrong with what we know, and reports whether the
// batch should be sent again at once.
func (w *Writer) mend(err error, b *batch) bool {
	switch c := store.Code(err); {
	case errors.Is(err, errCollision):
		w.log.Error("batch identifier in use, taking another", "batch", b.id)
		w.dropLease()
		b.id = 0
		return true
	case errors.Is(err, errGone), c == "42P01", c == "42P07":
		// The set of partitions is not what we thought.
		w.partitions.Forget()
		return true
	default:
		return strings.HasPrefix(c, "40") || c == "55P03" // others were in the way
	}
}

// isAway reports whether the error says that the database cannot take anything
// now, as opposed to this batch: nobody answered, or not in time, or the server
// ends, starts, stands by, or has no room.
func isAway(err error) bool {
	if errors.Is(err, errCollision) || errors.Is(err, errGone) || errors.Is(err, row.ErrRows) || errors.Is(err, errStored) || errors.Is(err, errTurn) {
		return false
	}
	c := store.Code(err)
	if len(c) < 2 {
		// Also a schema that is not ours: somebody has to migrate, and all wait.
		return true
	}
	switch c[:2] {
	case "08", "53", "57", "58":
		return true
	}
	return c == "25006" // read only: a standby
}

// refuses reports whether the error is about what is in the batch.
func refuses(err error) bool {
	c := store.Code(err)
	return errors.As(err, new(*contentError)) && (strings.HasPrefix(c, "22") || strings.HasPrefix(c, "23"))
}

// contentError marks an error that came from storing the rows, not from the
// preparations.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }

func (e *contentError) Unwrap() error { return e.err }

// care is how a batch is sent: trusting that its rows are fine, or searching for
// those that are not.
type care bool

const trusting, searching care = false, true

// attempt tries to store the batch, once. A batch without identifier is given
// one, which assign, unless nil, is told before the batch is sent.
func (w *Writer) attempt(ctx context.Context, b *batch, turn <-chan struct{}, how care, assign func(id int32) error) error {
	if err := w.db.Ready(ctx); err != nil {
		return err
	}
	conn, err := w.db.Pool().Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if b.id == 0 {
		id, err := w.lease(ctx, conn.Conn())
		if err != nil {
			return err
		}
		if assign != nil {
			if err := assign(id); err != nil {
				return err
			}
		}
		if err := b.number(id); err != nil {
			return err
		}
	}
	if err := w.makeRoom(ctx, conn.Conn(), b); err != nil {
		return err
	}
	return w.store(ctx, conn.Conn(), b, turn, how)
}

// makeRoom sees to the partitions of a batch, and moves the rows of those hours
// that there is no room for.
func (w *Writer) makeRoom(ctx context.Context, conn *pgx.Conn, b *batch) error {
	for len(b.parts) > 0 {
		refused, err := w.partitions.Ensure(ctx, conn, b.times(),
			b.receivedFrom.Floor(flow.Hour), b.receivedTo.Floor(flow.Hour))
		if err != nil || len(refused) == 0 {
			return err
		}
		// What takes the place of the refused is an hour of receipt, and those
		// are let in: the next turn is the last.
		if err := b.move(refused); err != nil {
			return err
		}
	}
	return nil
}

// errStored: the server took another number of rows than it was sent.
var errStored = errors.New("not all rows were stored")

// store writes an encoded batch in one transaction.
func (w *Writer) store(ctx context.Context, conn *pgx.Conn, b *batch, turn <-chan struct{}, how care) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	// Also when ctx has ended, and after a commit, when it does nothing.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	// Where the same batch is being stored by a connection that we have lost,
	// this waits for its end.
	tag, err := tx.Exec(ctx, `insert into public.batches (id, key, received_from, received_to, min_end, max_end, records, packets, bytes)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (id) do nothing`,
		b.id, b.key, b.receivedFrom.Time(), b.receivedTo.Time(), b.minEnd.Time(), b.maxEnd.Time(), int32(b.records), int64(b.packets), int64(b.bytes))
	if err != nil {
		return &contentError{err}
	}
	if tag.RowsAffected() == 0 {
		return w.replayed(ctx, tx, b)
	}
	var found refusal
	for _, p := range b.parts {
		if how == searching {
			if err := w.search(ctx, conn, tx, b, p, &found); err != nil {
				return err
			}
			continue
		}
		if err := copyRows(ctx, conn, b, p, p.buf, p.rows); err != nil {
			return err
		}
	}
	loss := b.loss
	if found.rows > 0 {
		booked, err := w.quarantine(ctx, tx, b, &found)
		if err != nil {
			return err
		}
		loss = append(slices.Clone(loss), booked...)
	}
	// Batches end in the order in which they were received: the sequence numbers
	// that are stored with one say that all before it is stored, too.
	if turn != nil {
		late := time.NewTimer(turnTimeout)
		reached := false
		select {
		case <-turn:
			reached = true
		case <-late.C:
		case <-ctx.Done():
		}
		late.Stop()
		if !reached && w.spool != nil {
			return errTurn // in the spool it may wait
		}
	}
	if err := w.settle(ctx, tx, b); err != nil {
		return err
	}
	gaps, err := putSequences(ctx, tx, b.sequences, b.check)
	if err != nil {
		return fmt.Errorf("sequence: %w", err)
	}
	if err := addLoss(ctx, tx, slices.Concat(loss, gaps)); err != nil {
		return fmt.Errorf("loss: %w", err)
	}
	if found.rows > 0 {
		b.parcel = nil
	}
	w.handOn(b)
	if w.beforeCommit != nil {
		w.beforeCommit(conn)
	}
	commit, cancel := ctx, func() {}
	if w.spool == nil {
		// With a spool the batch can be asked for again, and is found.
		commit, cancel = context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	}
	defer cancel()
	if err := tx.Commit(commit); err != nil {
		return err
	}
	w.metrics.quarantinedRecords.Add(float64(found.kept))
	w.metrics.refusedRecords.Add(float64(found.rows))
	if found.rows > 0 {
		w.metrics.refusedBatches.Inc()
		w.log.Error("the database refuses rows for what is in them; the others of their batch are stored",
			"batch", b.id, "rows", found.rows, "quarantined", found.kept, "error", found.reason)
	}
	return nil
}

// copyRows sends rows, a whole binary COPY, to the partition of p.
func copyRows(ctx context.Context, conn *pgx.Conn, b *batch, p *part, buf []byte, rows int64) error {
	tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(buf),
		"copy parts."+store.PartitionName(p.hour)+" ("+b.statement+") from stdin binary")
	if err != nil {
		return &contentError{err}
	}
	if tag.RowsAffected() != rows {
		return fmt.Errorf("%w: %d sent, %d stored", errStored, rows, tag.RowsAffected())
	}
	return nil
}

// settle makes sure that the rows are where they will be found.
//
// Who removes a partition deletes its row before anything else. The rows went
// into a table that we have locked since; if its partition's row is still there,
// it cannot have been detached. What it says of min_start counts, not what we
// remember: it may have been removed and made again.
func (w *Writer) settle(ctx context.Context, tx pgx.Tx, b *batch) error {
	if len(b.parts) == 0 {
		return nil
	}
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
	return nil
}

// replayed tells whether the batch that has our identifier is ours: then its
// rows are stored and nothing is left to do.
func (w *Writer) replayed(ctx context.Context, tx pgx.Tx, b *batch) error {
	var key *int64
	if err := tx.QueryRow(ctx, "select key from public.batches where id = $1", b.id).Scan(&key); err != nil {
		return err
	}
	if key == nil || *key != b.key {
		return errCollision
	}
	w.metrics.replays.Inc()
	return nil
}

// leased returns a batch identifier, 0 when none is left of the block.
func (w *Writer) leased() int32 {
	w.ids.Lock()
	defer w.ids.Unlock()
	if w.ids.next == w.ids.end {
		return 0
	}
	id := w.ids.next
	w.ids.next++
	return id
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

// turns keeps an order among those who write at once.
type turns struct {
	mu   sync.Mutex
	last chan struct{}
}

// take returns a channel that is closed when all before are done, and what to
// call when this one is.
func (t *turns) take() (before <-chan struct{}, done func()) {
	mine := make(chan struct{})
	t.mu.Lock()
	prev := t.last
	t.last = mine
	t.mu.Unlock()
	if prev == nil {
		prev = make(chan struct{})
		close(prev)
	}
	return prev, func() {
		select {
		case <-prev:
			close(mine)
		default: // done before those before
			go func() {
				<-prev
				close(mine)
			}()
		}
	}
}
