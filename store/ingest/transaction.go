package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flowtally/flow"
	"flowtally/store"
)

var (
	// errCollision: another batch has this one's identifier, as after a restore.
	errCollision = errors.New("another batch has the same identifier")
	// errPartitionRemoved: a partition was removed while the batch was written to it.
	errPartitionRemoved = errors.New("a partition was removed")
	// errTurn: an earlier batch is not durable yet.
	errTurn = errors.New("a batch received earlier is not stored yet")
	// errIncomplete: the server stored another number of rows than it was sent.
	errIncomplete = errors.New("not all rows were stored")
)

const (
	// commitTimeout is how long a commit may take. It does not end with the
	// caller's context: an answer that nobody waits for leaves open whether the
	// rows are there.
	commitTimeout = 30 * time.Second
	// turnTimeout is how long a batch waits with its commit for earlier ones.
	turnTimeout = time.Second
)

// copyMode is how the rows of a batch are sent.
type copyMode bool

const (
	// copyWhole sends a part at once, and fails when the database refuses a row.
	copyWhole copyMode = false
	// copyBisected sends a part in smaller ranges until it has found the rows that the
	// database refuses.
	copyBisected copyMode = true
)

// attempt tries to store the batch once. A batch without identifier is given one; before
// the batch is sent, assign, unless nil, is told.
func (w *Writer) attempt(ctx context.Context, b *batch, turn <-chan struct{}, mode copyMode, assign func(id int32) error) error {
	if err := w.db.Ready(ctx); err != nil {
		return err
	}
	conn, err := w.db.Pool().Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if b.id == 0 {
		id, err := w.ids.takeOrReserve(ctx, conn.Conn())
		if err != nil {
			return err
		}
		if assign != nil {
			if err := assign(id); err != nil {
				return err
			}
		}
		if err := b.setID(id); err != nil {
			return err
		}
	}
	if err := w.ensurePartitions(ctx, conn.Conn(), b); err != nil {
		return err
	}
	if err := w.ensureEventDays(ctx, conn.Conn(), b); err != nil {
		return err
	}
	return w.store(ctx, conn.Conn(), b, turn, mode)
}

// ensurePartitions makes the partitions of a batch, and moves the rows of hours for which
// there may be no more.
func (w *Writer) ensurePartitions(ctx context.Context, conn *pgx.Conn, b *batch) error {
	for len(b.parts) > 0 {
		refused, err := w.partitions.Ensure(ctx, conn, b.wanted(),
			b.receivedFrom.Floor(flow.Hour), b.receivedTo.Floor(flow.Hour))
		if err != nil || len(refused) == 0 {
			return err
		}
		// The rows move to hours of receipt, and these always get a partition: the next
		// turn of the loop is the last.
		if err := b.move(refused); err != nil {
			return err
		}
		// The flows that were handed over, or are about to be, have the former times.
		b.parcel = nil
		if p := w.handoff.Take(b.id, &b.key, b.records); p != nil {
			w.handoff.Reuse(p)
		}
	}
	return nil
}

// store writes an encoded batch in one transaction.
func (w *Writer) store(ctx context.Context, conn *pgx.Conn, b *batch, turn <-chan struct{}, mode copyMode) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	// This also runs when ctx has ended, and after a commit, when it does nothing.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	// Where a connection that we have lost is storing the same batch, this waits for the
	// end of that.
	tag, err := tx.Exec(ctx, `insert into public.batches (id, key, received_from, received_to, min_end, max_end, records, packets, bytes, events)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (id) do nothing`,
		b.id, b.key, b.receivedFrom.Time(), b.receivedTo.Time(), b.minEnd.Time(), b.maxEnd.Time(), int32(b.records), int64(b.packets), int64(b.bytes), int32(b.events))
	if err != nil {
		return &contentError{err}
	}
	if tag.RowsAffected() == 0 {
		return w.confirmStored(ctx, tx, b)
	}
	var refused refusal
	shares, err := w.sharesOf(b)
	if err != nil {
		return err
	}
	for _, s := range shares {
		if mode == copyBisected {
			err = w.copyAccepted(ctx, conn, tx, b, s, &refused)
		} else {
			err = s.copy(ctx, conn, b)
		}
		if err != nil {
			return err
		}
	}
	refusedEvents, reason, err := w.storeEvents(ctx, conn, tx, b, mode)
	if err != nil {
		return err
	}
	lostEvents, err := w.refuseEvents(ctx, tx, b, refusedEvents, reason)
	if err != nil {
		return err
	}
	loss := slices.Concat(b.loss, lostEvents)
	if refused.rows > 0 {
		lost, err := w.quarantine(ctx, tx, b, &refused)
		if err != nil {
			return err
		}
		loss = append(slices.Clone(loss), lost...)
	}
	if err := w.awaitTurn(ctx, turn); err != nil {
		return err
	}
	if err := confirmPartitions(ctx, tx, shares); err != nil {
		return err
	}
	if err := confirmEventDays(ctx, tx, b); err != nil {
		return err
	}
	gaps, err := putSequences(ctx, tx, b.sequences, b.check)
	if err != nil {
		return fmt.Errorf("sequence: %w", err)
	}
	if err := addLoss(ctx, tx, slices.Concat(loss, gaps)); err != nil {
		return fmt.Errorf("loss: %w", err)
	}
	if refused.rows > 0 {
		b.parcel = nil // it has more rows than are stored
	}
	w.handOver(b)
	if w.beforeCommit != nil {
		w.beforeCommit(conn)
	}
	if err := w.commit(ctx, tx); err != nil {
		return err
	}
	if refused.rows > 0 {
		w.reportRefusal(b, &refused)
	}
	return nil
}

// awaitTurn waits until all earlier batches are durable: the sequence numbers that are
// stored with a batch say that they are. With a spool it does not wait for long, because
// the batch can wait there.
func (w *Writer) awaitTurn(ctx context.Context, turn <-chan struct{}) error {
	if turn == nil {
		return nil
	}
	late := time.NewTimer(turnTimeout)
	defer late.Stop()
	select {
	case <-turn:
		return nil
	case <-late.C:
	case <-ctx.Done():
	}
	if w.spool != nil {
		return errTurn
	}
	return nil
}

func (w *Writer) commit(ctx context.Context, tx pgx.Tx) error {
	if w.spool == nil {
		// With a spool the batch can be sent again, and is found stored.
		var cancel func()
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
	}
	return tx.Commit(ctx)
}

// copyRows sends rows, a whole binary COPY, to a table in schema parts.
func copyRows(ctx context.Context, conn *pgx.Conn, b *batch, table string, buf []byte, rows int64) error {
	tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(buf),
		"copy parts."+table+" ("+b.statement+") from stdin binary")
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23514" && pg.ConstraintName == "" {
		// There is no partition for a row, or not the one that we know of.
		return errPartitionRemoved
	}
	if err != nil {
		return &contentError{err}
	}
	if tag.RowsAffected() != rows {
		return fmt.Errorf("%w: %d sent, %d stored", errIncomplete, rows, tag.RowsAffected())
	}
	return nil
}

// confirmPartitions checks that the partitions of the batch still belong to the table, so
// that its rows will be found.
//
// Whoever removes a partition deletes its row in parts.partition first. The rows of the
// batch went into a table that is locked since then; if its row in parts.partition is still
// there, the table cannot have been detached, unless by somebody who does not know that: the
// catalog is asked as well. The min_start that counts is the one in
// that row, because the partition may have been removed and made again.
func confirmPartitions(ctx context.Context, tx pgx.Tx, shares []*share) error {
	starts := startsOf(shares)
	if len(starts) == 0 {
		return nil
	}
	hours := make([]time.Time, len(starts))
	for i, s := range starts {
		hours[i] = s.From.Time()
	}
	rows, err := tx.Query(ctx, `select hour, min_start from parts.partition where hour = any($1)
		and exists (select from pg_inherits where inhrelid = to_regclass('parts.' || name) and not inhdetachpending)`, hours)
	if err != nil {
		return err
	}
	var hour, minStart time.Time
	minStarts := make(map[flow.Time]flow.Time, len(starts))
	if _, err := pgx.ForEachRow(rows, []any{&hour, &minStart}, func() error {
		minStarts[flow.TimeOf(hour)] = flow.TimeOf(minStart)
		return nil
	}); err != nil {
		return err
	}
	if len(minStarts) != len(starts) {
		return errPartitionRemoved
	}
	for _, s := range starts {
		if s.minStart >= minStarts[s.From] {
			continue
		}
		if _, err := tx.Exec(ctx, "update parts.partition set min_start = $2 where hour = $1 and min_start > $2", s.From.Time(), s.minStart.Time()); err != nil {
			return err
		}
	}
	return nil
}

// confirmStored checks whether the batch that has our identifier is ours: then its rows
// are stored, and nothing is left to do.
func (w *Writer) confirmStored(ctx context.Context, tx pgx.Tx, b *batch) error {
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

// repair corrects what the Writer knew wrongly, and reports whether the batch should be
// sent again at once.
func (w *Writer) repair(err error, b *batch) bool {
	switch c := store.Code(err); {
	case errors.Is(err, errCollision):
		w.log.Error("another batch has the same identifier; taking a new one", "batch", b.id)
		w.ids.drop()
		b.id = 0
		return true
	case errors.Is(err, errPartitionRemoved), c == "42P01", c == "42P07":
		// The set of partitions is not what we thought.
		// Perhaps the whole database is another.
		w.partitions.Forget()
		w.eventDays.Forget()
		w.db.Recheck()
		return true
	default:
		return strings.HasPrefix(c, "40") || c == "55P03" // a conflict with other transactions
	}
}
