package ingest

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"flowtally/store"
	"flowtally/store/row"
)

// outage is a time during which nothing can be stored. The log has one line at its begin
// and one at its end.
type outage struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time // zero: there is none
	err   error     // the last that it gave
}

// begin notes that the database did not store a batch.
func (o *outage) begin(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	if !o.since.IsZero() {
		return
	}
	o.since = time.Now()
	o.log.Warn("cannot store batches; retrying", "error", err)
}

// end notes that it did.
func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return
	}
	o.log.Info("storing batches again", "after", time.Since(o.since).Round(time.Millisecond))
	o.since, o.err = time.Time{}, nil
}

// state returns since when nothing can be stored, and why; err is nil when there is no
// outage.
func (o *outage) state() (since time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.since, o.err
}

// isOffline reports whether the error says that the database can store nothing now, as
// opposed to this batch: no server answered, or not in time, or the server stops, starts,
// stands by, has no room or no such database or table, or we may not log in.
func isOffline(err error) bool {
	if errors.Is(err, errCollision) || errors.Is(err, errPartitionRemoved) || errors.Is(err, row.ErrRows) || errors.Is(err, errIncomplete) || errors.Is(err, errTurn) {
		return false
	}
	c := store.Code(err)
	if len(c) < 2 {
		// This includes a schema that is not ours: somebody has to migrate, and every
		// batch waits for that.
		return true
	}
	switch c[:2] {
	case "08", "28", "3D", "53", "57", "58":
		return true
	}
	// Read only: a standby. No such table or column: of another version, or dropped.
	return c == "25006" || c == "42P01" || c == "42703"
}
