package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"flowtally/flow"
	"flowtally/store/row"
)

// The spool is a directory with a file for each batch that the database could
// not take, named by the time it was made, so that their names are in order:
//
//	1763726400123456789.batch      waits for its turn
//	1763726400123456789.batch.bad  could not be read, kept for a person to see
//	quarantine/….batch             rows that the database refuses
//	lock                           held by the collector that uses the directory
//
// A file is a prefix of fixed length, a header in JSON and the rows, as COPY takes
// them. It is written under another name, synced and renamed, and the directory
// synced: it is there whole or not at all. Of a file that is there, only the
// batch's identifier ever changes, in place: it is leased when the batch is first
// sent, and has to be known to whoever sends it again.
const (
	spoolMagic   = "FLWBATCH"
	spoolVersion = 1
	// spoolPrefix: magic, version, length of the header, CRC-32C of the four
	// fields around it and the header, CRC-32C of the rows, length of the rows,
	// identifier, CRC-32C of the identifier and the key.
	spoolPrefix = 8 + 4 + 4 + 4 + 4 + 8 + 4 + 4
	spoolID     = spoolPrefix - 8
	// maxSpoolHeader and maxSpoolFile bound what is read from a file whose
	// lengths may be wrong.
	maxSpoolHeader = 64 << 20
	maxSpoolFile   = 2 << 30
	// spoolBlock is what the smallest file takes on disk.
	spoolBlock = 4096

	batchSuffix = ".batch"
	badSuffix   = ".bad"

	// DefaultSpoolBytes is how much a spool holds at most unless told otherwise.
	DefaultSpoolBytes = 4 << 30
	// quarantineShare of the spool's octets may be taken by what was refused.
	quarantineShare = 8
)

var (
	// ErrSpool reports a spool directory that cannot be used.
	ErrSpool = errors.New("the spool cannot be used")
	// errCorrupt: a file is not what was written.
	errCorrupt = errors.New("not what was written")
	// errFull: there is no room, and nothing that could give way.
	errFull = errors.New("the spool is full")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// DefaultSpool returns the directory for a spool that nobody named: spool under
// $STATE_DIRECTORY, where systemd gives one; else /var/lib/flowtally/spool, where
// that can be written; else flowtally/spool among the user's data
// ($XDG_DATA_HOME, ~/.local/share). It is made if need be; empty when there is
// none of these.
func DefaultSpool() string {
	var candidates []string
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		candidates = append(candidates, dir)
	}
	candidates = append(candidates, "/var/lib/flowtally")
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		candidates = append(candidates, filepath.Join(dir, "flowtally"))
	} else if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".local", "share", "flowtally"))
	}
	for _, dir := range candidates {
		dir = filepath.Join(dir, "spool")
		if os.MkdirAll(dir, 0o700) != nil {
			continue
		}
		f, err := os.CreateTemp(dir, "try-*.tmp")
		if err != nil {
			continue
		}
		_ = f.Close()
		_ = os.Remove(f.Name())
		return dir
	}
	return ""
}

// spool is a directory of batches. It is safe for concurrent use.
type spool struct {
	dir   string
	limit int64
	log   *slog.Logger
	m     *metrics
	lock  *os.File
	// wake tells the reader that there is something new.
	wake chan struct{}

	mu      sync.Mutex
	entries []*spoolFile // by number
	octets  int64        // of all files, also those set aside as bad, rounded up
	bad     []string     // names, oldest first
	last    int64        // the number given last

	quarantined int64 // octets in quarantine
}

// spoolFile is a file that waits.
type spoolFile struct {
	number int64
	octets int64
	header spoolHeader     // without what is only needed to store it
	busy   bool            // being replayed
	gone   bool            // removed
	empty  bool            // holds no rows: what is left of a batch that gave way
	turn   <-chan struct{} // closed when the batches before it are durable; nil of a former run
	failed int             // how often the database refused it for reasons of its own
}

// name returns the file's name.
func (e *spoolFile) name() string { return fmt.Sprintf("%019d%s", e.number, batchSuffix) }

// openSpool takes a directory into use: it makes it, locks it, and looks at what
// is there.
func openSpool(dir string, limit int64, log *slog.Logger, m *metrics) (*spool, error) {
	if limit <= 0 {
		limit = DefaultSpoolBytes
	}
	s := &spool{dir: dir, limit: limit, log: log, m: m, wake: make(chan struct{}, 1)}
	if err := os.MkdirAll(filepath.Join(dir, "quarantine"), 0o700); err != nil {
		return nil, fmt.Errorf("store: %w: %w", ErrSpool, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w: %w", ErrSpool, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("store: %w: another collector uses %s: give each a directory of its own", ErrSpool, dir)
	}
	s.lock = lock
	if err := s.scan(); err != nil {
		s.close()
		return nil, fmt.Errorf("store: %w: %w", ErrSpool, err)
	}
	return s, nil
}

// close gives the directory free.
func (s *spool) close() { _ = s.lock.Close() }

// scan finds the files of former runs.
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
			_ = os.Remove(filepath.Join(s.dir, name)) // never finished: nobody was told that it is there
		case strings.HasSuffix(name, badSuffix):
			s.bad = append(s.bad, name)
			s.octets += occupies(info.Size())
		case strings.HasSuffix(name, batchSuffix):
			number, err := strconv.ParseInt(strings.TrimSuffix(name, batchSuffix), 10, 64)
			if err != nil || number <= 0 {
				continue
			}
			e := &spoolFile{number: number, octets: occupies(info.Size())}
			if e.name() != name {
				continue
			}
			s.entries = append(s.entries, e)
			s.octets += e.octets
			s.last = max(s.last, number)
		}
	}
	slices.SortFunc(s.entries, func(a, b *spoolFile) int { return cmp.Compare(a.number, b.number) })
	// What the headers say is needed to book what gives way.
	for _, e := range slices.Clone(s.entries) {
		h, err := readSpoolHeader(filepath.Join(s.dir, e.name()))
		if err != nil {
			s.setAside(e, err)
			continue
		}
		e.keep(h)
	}
	refused, err := os.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil {
		return err
	}
	for _, f := range refused {
		if info, err := f.Info(); err == nil {
			s.quarantined += occupies(info.Size())
		}
	}
	return nil
}

// keep remembers of a header what is needed while its file waits.
func (e *spoolFile) keep(h *spoolHeader) {
	e.header = *h
	e.empty = len(h.Parts) == 0
	e.header.Columns, e.header.Parts, e.header.Loss = nil, nil, nil
}

// occupies rounds up to whole blocks, and to one at least.
func occupies(size int64) int64 { return (max(size, 1) + spoolBlock - 1) / spoolBlock * spoolBlock }

// waiting returns how many files wait, how many octets the directory holds and
// the age of the oldest file.
func (s *spool) waiting() (files int, octets int64, age time.Duration) {
	if s == nil {
		return 0, 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) > 0 {
		age = max(0, time.Since(time.Unix(0, s.entries[0].number)))
	}
	return len(s.entries), s.octets, age
}

// put writes a batch; it is durable when put returns nil. Where there is no room
// the oldest batches give way.
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
			select {
			case s.wake <- struct{}{}:
			default:
			}
			return nil
		}
		s.mu.Lock()
		s.octets -= e.octets
		s.mu.Unlock()
		if !noSpace(err) || !s.giveWay() {
			return fmt.Errorf("spool: %w", err)
		}
	}
}

// noSpace reports that a disk, or somebody's share of it, is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// admit reserves room and a number.
func (s *spool) admit(h *spoolHeader, b *batch) (*spoolFile, error) {
	size := int64(spoolPrefix + 4096)
	for _, p := range b.parts {
		size += int64(len(p.buf))
	}
	e := &spoolFile{octets: occupies(size)}
	e.keep(h)
	if e.octets > s.limit {
		return nil, errFull
	}
	for {
		s.mu.Lock()
		if s.octets+e.octets <= s.limit {
			s.octets += e.octets
			s.last = max(s.last+1, time.Now().UnixNano())
			e.number = s.last
			s.mu.Unlock()
			return e, nil
		}
		s.mu.Unlock()
		if !s.giveWay() {
			return nil, errFull
		}
	}
}

// insert puts a file that is written among those that wait.
func (s *spool) insert(e *spoolFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.entries, e.number, func(x *spoolFile, n int64) int { return cmp.Compare(x.number, n) })
	s.entries = slices.Insert(s.entries, i, e)
}

// giveWay makes the oldest batch give way: what stays of it is an account of what
// was lost, which is stored in its turn. False when there is nothing left.
func (s *spool) giveWay() bool {
	s.mu.Lock()
	if len(s.bad) > 0 {
		name := s.bad[0]
		s.bad = s.bad[1:]
		s.mu.Unlock()
		path := filepath.Join(s.dir, name)
		if info, err := os.Stat(path); err == nil && os.Remove(path) == nil {
			s.mu.Lock()
			s.octets -= occupies(info.Size())
			s.mu.Unlock()
		}
		return true
	}
	i := slices.IndexFunc(s.entries, func(e *spoolFile) bool { return !e.busy && !e.empty })
	if i < 0 {
		// Nothing but accounts: then an account, which is counted by metric alone.
		if i = slices.IndexFunc(s.entries, func(e *spoolFile) bool { return !e.busy }); i < 0 {
			s.mu.Unlock()
			return false
		}
	}
	e := s.entries[i]
	e.busy = true
	s.mu.Unlock()
	if e.empty {
		s.remove(e)
		return true
	}
	s.m.droppedBatches.Inc()
	s.m.droppedRecords.Add(float64(e.header.Records))
	s.log.Error("the spool is full: its oldest batch is lost", "file", e.name(), "records", e.header.Records,
		"received", e.header.ReceivedFrom.Time().Format(time.RFC3339), "directory", s.dir, "octets", s.limit)
	path := filepath.Join(s.dir, e.name())
	loss := e.header.lost("spool_full")
	if whole, err := readSpoolHeader(path); err == nil {
		loss = append(loss, whole.Loss...) // what it had to tell besides
	}
	account := &batch{
		key: e.header.Key ^ math.MinInt64, columns: row.Always, loss: loss,
		receivedFrom: e.header.ReceivedFrom, receivedTo: e.header.ReceivedTo, minEnd: e.header.MinEnd, maxEnd: e.header.MaxEnd,
		// What is booked as lost here must not show as a gap as well.
		sequences: e.header.sequences(),
	}
	h, err := account.header()
	if err == nil {
		// A disk that is full has to give the room first.
		if err = s.write(path, h, account); err != nil && noSpace(err) {
			err = os.Truncate(path, 0)
			if err == nil {
				err = s.write(path, h, account)
			}
		}
	}
	if err != nil {
		s.log.Error("no account could be left of a batch that was lost", "file", e.name(), "error", err)
		s.remove(e)
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.octets -= e.octets
	e.octets = spoolBlock
	s.octets += e.octets
	e.keep(h)
	e.busy = false
	return true
}

// sequences returns where sessions stood.
func (h *spoolHeader) sequences() (all []flow.Sequence) {
	for _, q := range h.Sequences {
		all = append(all, flow.Sequence{Exporter: flow.Exporter{Addr: q.Addr, Domain: q.Domain}, Port: q.Port, Version: q.Version, Next: q.Next, At: q.At,
			From: q.From, Holes: q.Holes, Epoch: q.Epoch, Base: q.Base, Blind: q.Blind,
			Numbering: q.Numbering, Rate: q.Rate, Member: q.Member})
	}
	return all
}

// lost says in the ledger's words that the batch was lost.
func (h *spoolHeader) lost(cause string) []flow.Loss {
	var loss []flow.Loss
	for id, n := range h.Exporters {
		loss = append(loss, flow.Loss{Minute: h.ReceivedTo.Floor(flow.Minute), Exporter: id, Stage: "store", Cause: cause, Unit: "record", Count: n})
	}
	slices.SortFunc(loss, func(a, b flow.Loss) int { return cmp.Compare(a.Exporter, b.Exporter) })
	return loss
}

// next returns the oldest file whose number is larger than after, nil when there
// is none. It is the caller's until release or remove.
func (s *spool) next(after int64) *spoolFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.number > after && !e.busy && e.due() {
			e.busy = true
			return e
		}
	}
	return nil
}

// due reports whether the batches before it are durable: what it says of sequence
// numbers says that they are.
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

// early reports whether a file waits for its turn.
func (s *spool) early() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.entries, func(e *spoolFile) bool { return !e.due() })
}

// release gives a file back that was not stored.
func (s *spool) release(e *spoolFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	// It stays on disk, is found at the next start, and then stored already.
	s.log.Error("a file of the spool could not be removed", "file", e.name(), "error", err)
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
	s.octets -= e.octets
	if i := slices.Index(s.entries, e); i >= 0 {
		s.entries = slices.Delete(s.entries, i, i+1)
	}
}

// setAside takes a file that cannot be read out of the way, and keeps it.
func (s *spool) setAside(e *spoolFile, why error) {
	s.m.badFiles.Inc()
	path := filepath.Join(s.dir, e.name())
	s.log.Error("a file of the spool cannot be read and is set aside", "file", path+badSuffix, "error", why)
	if err := os.Rename(path, path+badSuffix); err != nil {
		s.forget(e)
		return
	}
	s.forget(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, e.name()+badSuffix)
	s.octets += e.octets
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

// assign writes the batch's identifier into its file; it is there when assign
// returns nil, and the batch may be sent under it.
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

// quarantine keeps rows that the database refuses. It reports whether there was
// room for them.
func (s *spool) quarantine(b *batch, reason error) (bool, error) {
	h, err := b.header()
	if err != nil {
		return false, err
	}
	h.Reason = reason.Error()
	size := int64(spoolPrefix)
	for _, p := range b.parts {
		size += int64(len(p.buf))
	}
	s.mu.Lock()
	room := s.quarantined+occupies(size) <= s.limit/quarantineShare
	if room {
		s.quarantined += occupies(size)
	}
	s.mu.Unlock()
	if !room {
		return false, nil
	}
	// The name follows from the batch: a second attempt writes the same file.
	name := fmt.Sprintf("%013d-%016x%s", b.receivedFrom, uint64(b.key), batchSuffix)
	if err := s.write(filepath.Join(s.dir, "quarantine", name), h, b); err != nil {
		if noSpace(err) {
			return false, nil
		}
		return false, fmt.Errorf("quarantine: %w", err)
	}
	return true, nil
}
