package ingest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// stuckAfter is how often a batch of the spool fails before that is an outage of its
	// own: the others are stored.
	stuckAfter = 3
	// stateEvery is how often a Writer that cannot store says so in the database.
	stateEvery = 10 * time.Second
)

// StoppedError says since when and why nothing, or not everything, is stored.
type StoppedError struct {
	Since time.Time
	// Waiting is how many batches wait in the spool.
	Waiting int
	Err     error
}

// Error says so in a sentence.
func (e *StoppedError) Error() string {
	return fmt.Sprintf("batches cannot be stored since %s, and %d wait in the spool: %v", e.Since.UTC().Format(time.RFC3339), e.Waiting, e.Err)
}

// Unwrap returns the database's error.
func (e *StoppedError) Unwrap() error { return e.Err }

// Health returns nil while the Writer stores what it is given, else a *StoppedError.
func (w *Writer) Health() error {
	since, err := w.outage.state()
	if err == nil && w.spool != nil {
		since, err = w.spool.stuck()
	}
	if err == nil {
		return nil
	}
	n, _, _ := w.spool.waiting()
	return &StoppedError{Since: since, Waiting: n, Err: err}
}

// stuck returns since when a batch of the spool cannot be stored, and why.
func (s *spool) stuck() (since time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.failed >= stuckAfter {
			return e.failedSince, e.failure
		}
	}
	return time.Time{}, nil
}

// reportedState is what the database was last told of this Writer.
type reportedState struct {
	sync.Mutex
	name string
	at   time.Time
	told bool // that it cannot store
}

// putState says in the database whether this Writer can store, for the page to say. Where
// that is why, this cannot be stored either, and /healthz alone says it.
func (w *Writer) putState(ctx context.Context, tx pgx.Tx) error {
	for id, n := range w.past.take() {
		if _, err := tx.Exec(ctx, `insert into parts.moved as m (exporter_id, records, last_at) values ($1, $2, now())
			on conflict (exporter_id) do update set records = m.records + excluded.records, last_at = excluded.last_at`, int32(id), bigint(n)); err != nil {
			return err
		}
	}
	s := &w.state
	s.Lock()
	defer s.Unlock()
	stopped, _ := w.Health().(*StoppedError)
	if stopped == nil && !s.told && !s.at.IsZero() || stopped != nil && time.Since(s.at) < stateEvery {
		return nil
	}
	if s.name == "" {
		s.name, _ = os.Hostname()
		if w.spool != nil {
			s.name += " " + w.spool.dir
		}
	}
	var (
		since   *time.Time
		reason  *string
		waiting int
	)
	if stopped != nil {
		text := stopped.Err.Error()
		since, reason, waiting = &stopped.Since, &text, stopped.Waiting
	}
	if _, err := tx.Exec(ctx, `insert into parts.writer (name, waiting, stopped_since, reason) values ($1, $2, $3, $4)
		on conflict (name) do update set reported_at = clock_timestamp(), waiting = excluded.waiting, stopped_since = excluded.stopped_since, reason = excluded.reason`,
		s.name, waiting, since, reason); err != nil {
		return err
	}
	s.at, s.told = time.Now(), stopped != nil
	return nil
}
