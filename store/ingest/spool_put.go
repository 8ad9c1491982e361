package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"flowtally/flow"
	"flowtally/store/row"
)

// put writes a batch; it is durable when put returns nil. When there is no room, put drops
// the oldest batches.
func (s *spool) put(b *batch, turn <-chan struct{}) error {
	h, err := b.header()
	if err != nil {
		return err
	}
	for {
		e, err := s.admit(h, b)
		if err != nil {
			return err
		}
		e.turn = turn
		err = s.write(filepath.Join(s.dir, e.name()), h, b)
		if err == nil {
			s.insert(e)
			s.m.spooledBatches.Inc()
			s.m.spooledRecords.Add(float64(b.records))
			wake := s.wake
			if h.Past {
				wake = s.wakePast
			}
			select {
			case wake <- struct{}{}:
			default:
			}
			return nil
		}
		s.mu.Lock()
		s.bytes -= e.bytes
		s.mu.Unlock()
		if !noSpace(err) || !s.dropOldest() {
			return fmt.Errorf("spool: %w", err)
		}
	}
}

// noSpace reports that a disk, or the user's quota of it, is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// admit reserves room and a number.
func (s *spool) admit(h *spoolHeader, b *batch) (*spoolFile, error) {
	size := int64(spoolPrefix + 4096)
	for _, p := range b.parts {
		size += int64(len(p.buf))
	}
	for _, p := range b.eventParts {
		size += int64(len(p.buf))
	}
	e := &spoolFile{bytes: diskSize(size)}
	e.remember(h)
	if e.bytes > s.limit {
		return nil, errFull
	}
	for {
		s.mu.Lock()
		if s.bytes+e.bytes <= s.limit {
			s.bytes += e.bytes
			s.last = max(s.last+1, time.Now().UnixNano())
			e.number = s.last
			s.mu.Unlock()
			return e, nil
		}
		s.mu.Unlock()
		if !s.dropOldest() {
			return nil, errFull
		}
	}
}

// insert adds a file that is written to those that wait.
func (s *spool) insert(e *spoolFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.entries, e.number, func(x *spoolFile, n int64) int { return cmp.Compare(x.number, n) })
	s.entries = slices.Insert(s.entries, i, e)
}

// dropOldest makes room: it removes the oldest unreadable file, or else the rows of the
// oldest batch, or else the oldest file. It returns false when there is nothing to remove.
func (s *spool) dropOldest() bool {
	if name := s.takeBad(); name != "" {
		path := filepath.Join(s.dir, name)
		if info, err := os.Stat(path); err == nil && os.Remove(path) == nil {
			s.mu.Lock()
			s.bytes -= diskSize(info.Size())
			s.mu.Unlock()
		}
		return true
	}
	e := s.takeOldest()
	switch {
	case e == nil:
		return false
	case e.lossOnly:
		s.remove(e) // the loss is in the metrics alone from now on
	default:
		s.dropRows(e)
	}
	return true
}

// takeBad takes the oldest unreadable file off the list and returns its name.
func (s *spool) takeBad() (name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bad) > 0 {
		name, s.bad = s.bad[0], s.bad[1:]
	}
	return name
}

// takeOldest returns the oldest file with rows, or else the oldest, and marks it busy; nil
// when all are busy.
func (s *spool) takeOldest() *spoolFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.entries, func(e *spoolFile) bool { return !e.busy && !e.lossOnly })
	if i < 0 {
		i = slices.IndexFunc(s.entries, func(e *spoolFile) bool { return !e.busy })
	}
	if i < 0 {
		return nil
	}
	s.entries[i].busy = true
	return s.entries[i]
}

// dropRows replaces a file by one without rows that says what was lost with them. It is
// stored in its turn, and so the loss is counted in the loss table.
func (s *spool) dropRows(e *spoolFile) {
	s.m.droppedBatches.Inc()
	s.m.droppedRecords.Add(float64(e.header.Records))
	s.log.Error("the spool is full: its oldest batch is lost", "file", e.name(), "records", e.header.Records, "events", e.header.Events.count(),
		"received", e.header.ReceivedFrom.Time().Format(time.RFC3339), "directory", s.dir, "limit_bytes", s.limit)
	path := filepath.Join(s.dir, e.name())
	var carried []flow.Loss // the losses before the batch
	if whole, err := readSpoolHeader(path); err == nil {
		carried = whole.Loss
	}
	rest := e.header.withoutRows("spool_full", carried)
	h, err := rest.header()
	if err == nil {
		err = s.write(path, h, rest)
		if err != nil && noSpace(err) {
			// A full disk has room once the old file has given it up.
			if err = os.Truncate(path, 0); err == nil {
				err = s.write(path, h, rest)
			}
		}
	}
	if err != nil {
		s.log.Error("a batch is lost and not counted in the loss table", "file", e.name(), "error", err)
		s.remove(e)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= e.bytes
	e.bytes = spoolBlock
	s.bytes += e.bytes
	e.remember(h)
	e.busy = false
}

// withoutRows returns the batch that a file becomes whose rows are lost. The sequence numbers
// stay, or the rows would be counted as missing, too.
func (h *spoolHeader) withoutRows(cause string, carried []flow.Loss) *batch {
	return &batch{
		key: h.Key ^ math.MinInt64, columns: row.Required, loss: append(h.lost(cause), carried...),
		receivedFrom: h.ReceivedFrom, receivedTo: h.ReceivedTo, minEnd: h.MinEnd, maxEnd: h.MaxEnd,
		sequences: h.sequences(),
	}
}

// lost returns what the loss table says when the batch is lost.
func (h *spoolHeader) lost(cause string) []flow.Loss {
	var loss []flow.Loss
	for id, n := range h.Exporters {
		loss = append(loss, flow.Loss{Minute: h.ReceivedTo.Floor(flow.Minute), Exporter: id, Stage: "store", Cause: cause, Unit: "record", Count: n})
	}
	slices.SortFunc(loss, func(a, b flow.Loss) int { return cmp.Compare(a.Exporter, b.Exporter) })
	if h.Events != nil {
		loss = append(loss, eventsLost(h.ReceivedTo, h.Events.Exporters, cause)...)
	}
	return loss
}
