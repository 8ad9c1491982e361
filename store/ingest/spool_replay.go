package ingest

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"flowtally/store/row"
)

const (
	// replayTimeout is how long the database may take for a batch of the spool, at
	// first. The time doubles with each attempt, up to maxReplayTimeout.
	replayTimeout    = time.Minute
	maxReplayTimeout = 10 * time.Minute
	// replayPause is the longest pause between two attempts to empty the spool.
	replayPause = 2 * time.Second
)

// Run stores what is in the spool, oldest first, while Writes go on, until ctx
// ends. It has to run for as long as there are Writes, and finds out for them when
// the database is back. It returns an error at once when the spool could not be opened
// (ErrSpool). Without a spool it waits for ctx to end.
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
	if n, bytes, _ := w.spool.waiting(); n > 0 {
		w.log.Info("the spool holds batches of a former run", "batches", n, "bytes", bytes, "directory", w.spool.dir)
	}
	// What is past may need many partitions, and nobody else waits for them.
	var working sync.WaitGroup
	working.Go(func() { w.empty(ctx, true, w.spool.wakePast) })
	w.empty(ctx, false, w.spool.wake)
	working.Wait()
	return nil
}

// empty stores the files whose rows are past, or the others, until ctx ends.
func (w *Writer) empty(ctx context.Context, past bool, wake <-chan struct{}) {
	b := newBatch()
	for pause := firstPause; ; {
		err := w.drain(ctx, b, past)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			pause = firstPause
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
			continue
		}
		// A new file is no reason to try sooner.
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, replayPause)
	}
}

// drain stores every file that can be stored, of those whose rows are past or of the
// others. It returns the error of a file that could not, or nil when there is none left.
func (w *Writer) drain(ctx context.Context, b *batch, past bool) (failed error) {
	for after := int64(0); ctx.Err() == nil; {
		e := w.spool.next(after, past)
		if e == nil {
			break
		}
		after = e.number
		start := time.Now()
		err := w.replay(ctx, e, b)
		switch {
		case err == nil:
			w.outage.end()
			if time.Since(start) < w.patience {
				w.offline.Store(false)
			}
			continue
		case errors.Is(err, errCorrupt), errors.Is(err, row.ErrRows):
			w.spool.setBad(e, err)
			continue
		case errors.Is(err, fs.ErrNotExist):
			w.log.Error("somebody removed a file of the spool", "file", e.name())
			w.spool.forget(e)
			continue
		}
		w.spool.release(e, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = err
		w.metrics.retries.Inc()
		if isOffline(err) {
			w.offline.Store(true)
			w.outage.begin(err)
			// Connections from before the outage would each fail once.
			w.db.Pool().Reset()
			return err
		}
		// Only this batch fails, and not because of a value in it: the others need not
		// wait.
		if e.failed == 1 {
			w.log.Error("cannot store a batch of the spool; retrying later", "file", e.name(), "error", err)
		}
	}
	if past {
		return failed
	}
	if failed == nil && w.offline.Load() {
		// There is no batch to find out with whether the database is back.
		ask, cancel := context.WithTimeout(ctx, w.patience)
		defer cancel()
		if _, err := w.db.Pool().Exec(ask, "select 1"); err != nil {
			return err
		}
		w.offline.Store(false)
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
	ctx, cancel := context.WithTimeout(ctx, min(replayTimeout<<min(e.failed, 8), maxReplayTimeout))
	defer cancel()
	start, mode := time.Now(), copyWhole
	for try := 0; ; try++ {
		err := w.attempt(ctx, b, nil, mode, assign)
		switch {
		case err == nil:
			w.metrics.wrote(b, time.Since(start))
			w.metrics.drainedBatches.Inc()
			w.metrics.drainedRecords.Add(float64(b.records))
			w.spool.remove(e)
			return nil
		case isRefusal(err) && mode == copyWhole:
			mode = copyBisected
		case try >= quickTries || !w.repair(err, b):
			return err
		}
	}
}
