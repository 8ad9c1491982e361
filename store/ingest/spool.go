package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"flowtally/flow"
)

// The spool is a directory with a file for each batch that the database could not store,
// named by the time it was made, so that their names are in order:
//
//	1763726400123456789.batch      waits to be stored
//	1763726400123456789.batch.bad  could not be read, kept for a person to see
//	quarantine/….batch             rows that the database refuses
//	lock                           held by the collector that uses the directory
const (
	batchSuffix = ".batch"
	badSuffix   = ".bad"

	// DefaultSpoolBytes is how many bytes a spool holds at most unless told otherwise.
	DefaultSpoolBytes = 4 << 30
	// spoolBlock is how many bytes the smallest file takes on disk.
	spoolBlock = 4096
)

var (
	// ErrSpool reports a spool directory that cannot be used.
	ErrSpool = errors.New("the spool cannot be used")
	// errFull: there is no room, and nothing to drop.
	errFull = errors.New("the spool is full")
)

// spool is a directory of batches. It is safe for concurrent use.
type spool struct {
	dir   string
	limit int64
	log   *slog.Logger
	m     *metrics
	lock  *os.File
	// wake tells Run that there is a new file, wakePast that there is one whose rows are past.
	wake, wakePast chan struct{}

	mu      sync.Mutex
	entries []*spoolFile // by number
	bytes   int64        // of all files, unreadable ones included, rounded up
	bad     []string     // names of unreadable files, oldest first
	last    int64        // the number given last

	quarantined int64 // bytes in quarantine
}

// spoolFile is a file that waits to be stored.
type spoolFile struct {
	number   int64
	bytes    int64
	header   spoolHeader     // without what is only needed to store it
	busy     bool            // being stored or dropped
	gone     bool            // removed
	lossOnly bool            // has no rows: they were dropped
	turn     <-chan struct{} // closed when all earlier batches are durable; nil of a former run
	failed   int             // how often the database refused it for reasons of its own
	// failure is the last error, and failedSince when it first failed.
	failure     error
	failedSince time.Time
}

// name returns the file's name.
func (e *spoolFile) name() string { return fmt.Sprintf("%019d%s", e.number, batchSuffix) }

// openSpool makes a directory, locks it, and lists the files that are in it.
func openSpool(dir string, limit int64, log *slog.Logger, m *metrics) (*spool, error) {
	if limit <= 0 {
		limit = DefaultSpoolBytes
	}
	s := &spool{dir: dir, limit: limit, log: log, m: m, wake: make(chan struct{}, 1), wakePast: make(chan struct{}, 1)}
	if err := os.MkdirAll(filepath.Join(dir, "quarantine"), 0o700); err != nil {
		return nil, spoolError(dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, spoolError(dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("store: %w: %s: another collector uses it; give each a directory of its own with --spool", ErrSpool, dir)
	}
	s.lock = lock
	if err := s.scan(); err != nil {
		s.close()
		return nil, spoolError(dir, err)
	}
	return s, nil
}

// spoolError names a spool that cannot be used, and says what to do.
func spoolError(dir string, err error) error {
	advice := "give another directory with --spool, or none"
	if errors.Is(err, fs.ErrPermission) {
		advice = fmt.Sprintf("this process is user %d; make the directory and all in it that user's, or %s", os.Geteuid(), advice)
	}
	return fmt.Errorf("store: %w: %s: %w: %s", ErrSpool, dir, err, advice)
}

// close releases the directory.
func (s *spool) close() { _ = s.lock.Close() }

// scan lists the files of former runs.
func (s *spool) scan() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := f.Name()
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		switch {
		case strings.HasSuffix(name, ".tmp"):
			_ = os.Remove(filepath.Join(s.dir, name)) // never finished: nobody was told that it exists
		case strings.HasSuffix(name, badSuffix):
			s.bad = append(s.bad, name)
			s.bytes += diskSize(info.Size())
		case strings.HasSuffix(name, batchSuffix):
			number, err := strconv.ParseInt(strings.TrimSuffix(name, batchSuffix), 10, 64)
			if err != nil || number <= 0 {
				continue
			}
			e := &spoolFile{number: number, bytes: diskSize(info.Size())}
			if e.name() != name {
				continue
			}
			s.entries = append(s.entries, e)
			s.bytes += e.bytes
			s.last = max(s.last, number)
		}
	}
	slices.SortFunc(s.entries, func(a, b *spoolFile) int { return cmp.Compare(a.number, b.number) })
	// The headers say what is lost when a batch is dropped.
	for _, e := range slices.Clone(s.entries) {
		h, err := readSpoolHeader(filepath.Join(s.dir, e.name()))
		if err != nil {
			s.setBad(e, err)
			continue
		}
		e.remember(h)
	}
	refused, err := os.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil {
		return err
	}
	for _, f := range refused {
		if info, err := f.Info(); err == nil {
			s.quarantined += diskSize(info.Size())
		}
	}
	return nil
}

// remember keeps of a header what is needed while its file waits.
func (e *spoolFile) remember(h *spoolHeader) {
	e.header = *h
	e.lossOnly = len(h.Parts) == 0 && h.Events == nil
	e.header.Columns, e.header.Parts, e.header.Loss = nil, nil, nil
	if h.Events != nil {
		e.header.Events = &spoolEvents{Count: h.Events.Count, Exporters: h.Events.Exporters}
	}
}

// diskSize rounds a size up to whole blocks, and to one at least.
func diskSize(size int64) int64 { return (max(size, 1) + spoolBlock - 1) / spoolBlock * spoolBlock }

// waiting returns how many files wait, how many bytes the directory holds and
// the age of the oldest file.
func (s *spool) waiting() (files int, bytes int64, age time.Duration) {
	if s == nil {
		return 0, 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) > 0 {
		age = max(0, time.Since(time.Unix(0, s.entries[0].number)))
	}
	return len(s.entries), s.bytes, age
}

// next returns the oldest file whose number is larger than after, nil when there
// is none, of those whose rows are past, or of the others. It belongs to the caller until
// release or remove.
func (s *spool) next(after int64, past bool) *spoolFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.number > after && e.header.Past == past && !e.busy && e.due() {
			e.busy = true
			return e
		}
	}
	return nil
}

// due reports whether all earlier batches are durable: the sequence numbers that are
// stored with a batch say that they are.
func (e *spoolFile) due() bool {
	if e.turn == nil {
		return true
	}
	select {
	case <-e.turn:
		return true
	default:
		return false
	}
}

// early reports whether a file waits for earlier batches.
func (s *spool) early() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.entries, func(e *spoolFile) bool { return !e.due() })
}

// release returns a file that was not stored, because of an error, to the list.
func (s *spool) release(e *spoolFile, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.failed == 0 {
		e.failedSince = time.Now()
	}
	e.failed, e.failure = e.failed+1, err
	e.busy = false
}

// remove deletes a file.
func (s *spool) remove(e *spoolFile) {
	err := os.Remove(filepath.Join(s.dir, e.name()))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		// When the deletion does not survive a crash, the batch is sent once more
		// and found stored: no sync is needed.
		s.forget(e)
		return
	}
	// It stays on disk. The next run finds it, and the database has it stored already.
	s.log.Error("cannot remove a file of the spool", "file", e.name(), "error", err)
	s.forget(e)
}

// forget takes a file off the list.
func (s *spool) forget(e *spoolFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.gone {
		return
	}
	e.gone = true
	s.bytes -= e.bytes
	if i := slices.Index(s.entries, e); i >= 0 {
		s.entries = slices.Delete(s.entries, i, i+1)
	}
}

// setBad renames a file that cannot be read, and keeps it. In its place comes one without
// rows that says what was lost, as far as that can be told.
func (s *spool) setBad(e *spoolFile, why error) {
	s.m.badFiles.Inc()
	path := filepath.Join(s.dir, e.name())
	h := e.header
	var carried []flow.Loss
	if whole, err := readSpoolHeader(path); err == nil {
		h, carried = *whole, whole.Loss
	}
	s.log.Error("a file of the spool cannot be read; it is kept under another name", "file", path+badSuffix, "records", h.Records, "error", why)
	if err := os.Rename(path, path+badSuffix); err != nil {
		s.forget(e)
		return
	}
	s.forget(e)
	s.mu.Lock()
	s.bad = append(s.bad, e.name()+badSuffix)
	s.bytes += e.bytes
	s.mu.Unlock()
	if h.Records == 0 && h.Events == nil && len(h.Sequences) == 0 && len(carried) == 0 {
		// Nobody knows what was in it. The file was made at the time in its name.
		at := flow.Time(e.number / 1e6)
		h = spoolHeader{Key: e.number, ReceivedFrom: at, ReceivedTo: at, MinEnd: at, MaxEnd: at}
		carried = []flow.Loss{{Minute: at.Floor(flow.Minute), Stage: "store", Cause: "spool_damaged", Unit: "file", Count: 1}}
	}
	rest := h.withoutRows("spool_damaged", carried)
	if err := s.put(rest, e.turn); err != nil {
		s.log.Error("what was lost with a file of the spool is not counted in the loss table", "file", e.name(), "error", err)
	}
}

// load reads a batch into b.
func (s *spool) load(e *spoolFile, b *batch) error {
	f, err := os.Open(filepath.Join(s.dir, e.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	return readSpool(f, b)
}

// assign writes the batch's identifier into its file. When it returns nil, the identifier
// is durable and the batch may be sent under it.
func (s *spool) assign(e *spoolFile, id int32, key int64) error {
	f, err := os.OpenFile(filepath.Join(s.dir, e.name()), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer f.Close()
	var slot [8]byte
	putSpoolID(slot[:], id, key)
	if _, err := f.WriteAt(slot[:], spoolID); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return f.Close()
}
