// Package ingest stores what a collector received: a Writer encodes batches, sends them by
// COPY into the partition of their hour, spools what the database cannot store at once, and
// keeps the state of sequence numbers, losses and exporters with them. A batch that is sent
// twice is stored once.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
)

const (
	// DefaultPatience is how long the database may take for a batch before it
	// goes to the spool, unless told otherwise. Together with the second that a
	// batch may take to fill, it is how much a crash can lose.
	DefaultPatience = time.Second

	// firstPause and lastPause are the pauses between attempts.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// quickTries is how often a batch that conflicted with others is sent again at
	// once, when there is a spool.
	quickTries = 3
)

// WriterConfig configures a Writer. The zero value works.
type WriterConfig struct {
	// Logger hears of outages and of exporters that collide; nil is silence.
	Logger *slog.Logger
	// Registerer takes the metrics, flowtally_store_…; nil leaves them out.
	Registerer prometheus.Registerer
	// MaxPartitions is how many partitions there may be, store.DefaultMaxPartitions when 0.
	MaxPartitions int
	// Spool is the directory for what the database cannot store at once; empty for
	// none. One Writer at a time uses it. DefaultSpool suggests one.
	Spool string
	// SpoolBytes is how many bytes Spool may hold; DefaultSpoolBytes when 0. When it
	// is full, the oldest batch is dropped and counted as lost. What the database
	// refuses may take an eighth as much besides.
	SpoolBytes int64
	// Patience is how long the database may take for a batch before that goes to
	// the spool; DefaultPatience when 0.
	Patience time.Duration
	// Handoff carries what is stored to a Keeper of the same process; with nil the
	// Keeper reads it back.
	Handoff *rollup.Handoff
}

// Writer stores what a collector received. It is safe for concurrent use: each
// Write has a connection of its own.
//
// With a spool, Run has to run beside: it stores what went there. A Writer ends in
// this order: the last Write returns, Run's context ends, Close. What is in the
// spool then is stored by the next Writer with the same directory.
type Writer struct {
	db         *store.DB
	log        *slog.Logger
	metrics    *metrics
	partitions *store.Partitions
	eventDays  store.EventDays
	batches    sync.Pool
	patience   time.Duration
	handoff    *rollup.Handoff

	// spool is nil without one; spoolErr is why it could not be opened.
	spool    *spool
	spoolErr error
	// offline is set while batches go to the spool without the database being asked;
	// running, while Run is there to find out when the database is back.
	offline, running atomic.Bool
	// blind says that the database did not answer when it was asked for sequence
	// numbers.
	blind atomic.Bool
	// direct is how many batches are on their way into the database without the
	// spool.
	direct atomic.Int32

	ids       lease
	outage    outage
	exporters identities
	turns     turns
	past      pastTimes
	state     reportedState
	// noAhead says that the partitions of this hour and the next could not be made.
	noAhead atomic.Bool

	// beforeCommit lets a test act between a batch and its commit.
	beforeCommit func(conn *pgx.Conn)
}

// NewWriter returns a Writer. It does nothing until it is given something, except that it
// opens the spool; when that fails, Run returns the error and the Writer works as one
// without.
func NewWriter(db *store.DB, c WriterConfig) *Writer {
	w := &Writer{db: db, log: c.Logger, partitions: store.NewPartitions(c.MaxPartitions, c.Logger), patience: c.Patience, handoff: c.Handoff}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.patience <= 0 {
		w.patience = DefaultPatience
	}
	w.metrics = newMetrics(c.Registerer, w)
	w.past.log = w.log
	w.outage.log = w.log
	w.batches.New = func() any { return newBatch() }
	if c.Spool != "" {
		w.spool, w.spoolErr = openSpool(c.Spool, c.SpoolBytes, w.log, w.metrics)
	}
	return w
}

// Close releases the spool's directory. Nothing may be written afterwards.
func (w *Writer) Close() {
	if w.spool != nil {
		w.spool.close()
	}
}

// Write stores the batch. When Write returns nil, the batch is durable: in the database,
// or in the spool when the database is offline, slow, out of room, or busy with another
// batch while more are waiting than it keeps up with (Pressed). However often a batch
// has to be sent, its rows are stored once. Write does not change received, and does not
// use it afterwards.
//
// With a spool, records of hours that are past and have no partition go there, and are
// stored apart from the others: nobody else waits for their partitions. An exporter that sends too many such hours gets the time of receipt for the
// flows beyond.
//
// Rows that the database refuses because of their values go to the spool's quarantine and
// are counted in the loss table; the others are stored.
//
// Without a spool, or when the spool cannot store the batch either, Write waits and
// tries again until the context ends; the error is then the context's. Without a
// spool a refused row takes its batch with it, and the error is ErrRefused.
func (w *Writer) Write(ctx context.Context, received flow.Batch) error {
	if len(received.Records) == 0 && len(received.Events) == 0 && len(received.Sequences) == 0 && len(received.Loss) == 0 {
		return nil
	}
	turn, done := w.turns.take()
	defer done()
	b := w.batches.Get().(*batch)
	defer w.batches.Put(b)
	now := time.Now()
	b.encode(w.ids.take(), received.Records, flow.TimeOf(now), w.handoff.Empty(), w.past.fates(w.partitions, now, w.spool != nil && w.running.Load()))
	if len(b.apart) > 0 && !w.putApart(b, received.Records) {
		b.encode(b.id, received.Records, flow.TimeOf(now), w.handoff.Empty(), w.past.fates(w.partitions, now, false))
	}
	if b.noRoom > 0 {
		w.past.report(now)
	}
	b.addEvents(received.Events, flow.TimeOf(now))
	b.sequences = append(b.sequences, received.Sequences...)
	b.loss = append(b.loss, received.Loss...)
	if b.records == 0 && b.events == 0 && len(b.sequences) == 0 && len(b.loss) == 0 {
		return nil
	}
	if w.spool != nil && w.running.Load() && (w.offline.Load() || received.Pressed && w.direct.Load() > 0) {
		if w.put(b, turn) == nil {
			return nil
		}
	}
	w.direct.Add(1)
	defer w.direct.Add(-1)
	return w.send(ctx, b, turn)
}

// putApart puts the records that b leaves out into the spool, in a batch of their own, and
// reports whether it could. They are stored from there; whoever is stored meanwhile does not
// wait for their partitions.
func (w *Writer) putApart(b *batch, received []flow.Record) bool {
	recs := make([]flow.Record, len(b.apart))
	for i, at := range b.apart {
		recs[i] = received[at]
	}
	past := w.batches.Get().(*batch)
	defer w.batches.Put(past)
	past.encode(w.ids.take(), recs, flow.TimeOf(time.Now()), w.handoff.Empty(), nil)
	past.past = true
	return w.put(past, nil) == nil
}

// send stores an encoded batch, in the database or in the spool, in as many attempts as
// that takes.
func (w *Writer) send(ctx context.Context, b *batch, turn <-chan struct{}) error {
	start := time.Now()
	quick, mode := 0, copyWhole
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := w.attemptPatiently(ctx, b, turn, mode)
		passing := false // an error that the next attempt may not meet
		switch {
		case err == nil:
			w.outage.end()
			w.metrics.wrote(b, time.Since(start))
			return nil
		case isRefusal(err):
			if w.spool == nil {
				w.metrics.refusedBatches.Inc()
				w.metrics.refusedRecords.Add(float64(b.records))
				return &RefusedError{Batch: b.id, Records: b.records, Err: err}
			}
			if mode == copyWhole {
				mode = copyBisected
				continue
			}
		case errors.Is(err, errTurn):
			passing, quick = true, quickTries
		case w.repair(err, b):
			passing = true
		case w.spool == nil && ctx.Err() != nil:
			return fmt.Errorf("store: write %d records: %w", b.records, context.Cause(ctx))
		}
		w.metrics.retries.Inc()
		if quick++; w.spool != nil && passing && quick < quickTries && time.Since(start) < w.patience {
			continue
		}
		if w.spool == nil || !passing || isOffline(err) {
			w.outage.begin(err)
		}
		if w.spool != nil {
			if isOffline(err) {
				w.offline.Store(true)
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

// attemptPatiently tries to store the batch once. When there is a spool, the database has
// as long as the Writer is patient.
func (w *Writer) attemptPatiently(ctx context.Context, b *batch, turn <-chan struct{}, mode copyMode) error {
	if w.spool != nil {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, w.patience)
		defer cancel()
	}
	return w.attempt(ctx, b, turn, mode, nil)
}

// put writes the batch to the spool. It is stored from there when all earlier ones are
// durable.
func (w *Writer) put(b *batch, turn <-chan struct{}) error {
	err := w.spool.put(b, turn)
	if err != nil {
		w.metrics.spoolErrors.Inc()
		w.log.Error("cannot write a batch to the spool", "directory", w.spool.dir, "records", b.records, "error", err)
	} else {
		w.handOver(b)
	}
	return err
}

// handOver gives the Keeper of this process the flows of a batch that is about to be
// stored, under its identifier and key: if another batch is stored in the end, or none,
// nobody will ask for them.
func (w *Writer) handOver(b *batch) {
	if b.parcel == nil || b.id == 0 {
		return
	}
	b.parcel.ID, b.parcel.Key = b.id, b.key
	w.handoff.Put(b.parcel, time.Now())
	b.parcel = nil
}
