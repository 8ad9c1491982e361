package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// spooler is a writer with a spool, and what runs beside it.
type spooler struct {
	*ingest.Writer
	log  *bytes.Buffer
	dir  string
	stop func()
}

// spooling starts a writer with a spool on dir; it ends with the test or by stop.
func spooling(t *testing.T, dsn, dir string, c ingest.WriterConfig) *spooler {
	t.Helper()
	db, err := store.OpenOffline(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	s := &spooler{log: new(bytes.Buffer), dir: dir}
	c.Spool = dir
	c.Logger = slog.New(slog.NewTextHandler(&locked{w: s.log}, nil))
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	s.Writer = ingest.NewWriter(db, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
		db.Close()
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Log(s.log)
		}
	})
	return s
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// files returns what waits in a spool.
func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.batch"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("in vain: %s", what)
}

// numbered returns n records that carry numbers from first on.
func numbered(first, n int) []flow.Record {
	recs := make([]flow.Record, n)
	for i := range recs {
		recs[i] = storetest.Record(storetest.Noon + flow.Time(i%3-1)*flow.Hour)
		recs[i].Received = storetest.Noon + 2*flow.Hour
		recs[i].Bytes = uint64(first + i)
	}
	return recs
}

// once says what is wrong when not exactly the numbers below n are stored, each
// once.
func once(t *testing.T, conn *pgx.Conn, n int) {
	t.Helper()
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', count(*), count(distinct bytes), min(bytes), max(bytes)) from flows"); got != fmt.Sprint(n, n, 0, n-1) {
		t.Errorf("stored (rows, different ones, first, last) %s, want %d, each once", got, n)
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', sum(records), sum(bytes)) from batches"); got != fmt.Sprint(n, n*(n-1)/2) {
		t.Errorf("the batches claim records and bytes %s, want %d and %d", got, n, n*(n-1)/2)
	}
	if got := storetest.Get[int](t, conn, "select count(*) from (select batch, count(*) n from flows group by 1) f full join batches b on b.id = f.batch where n is distinct from b.records and b.records > 0"); got != 0 {
		t.Errorf("%d batches do not have the rows they claim", got)
	}
}

// While the database is away, before it was ever there, and when it is cut off at
// any point of a batch, batches go to the spool and are stored once afterwards.
func TestSpoolOutage(t *testing.T) {
	commit := []byte("commit\x00")
	for _, c := range []struct {
		name   string
		before bool // away before the writer begins
		filter func(data []byte) int
	}{
		{"away from the start", true, nil},
		{"away later", false, nil},
		{"cut in the middle of COPY", false, func(b []byte) int {
			if i := bytes.Index(b, []byte("PGCOPY")); i >= 0 {
				return min(len(b)-1, i+500)
			}
			return len(b)
		}},
		{"cut before COMMIT arrives", false, func(b []byte) int {
			if bytes.Contains(b, commit) {
				return 0
			}
			return len(b)
		}},
		{"COMMIT arrives, its answer does not", false, func(b []byte) int {
			if bytes.Contains(b, commit) {
				return -1
			}
			return len(b)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, dsn, conn := storetest.Open(t)
			line, far := newWire(t, dsn)
			if c.before {
				line.cut()
			}
			s := spooling(t, far, t.TempDir(), ingest.WriterConfig{})
			n := 0
			write := func(batches int) {
				t.Helper()
				for range batches {
					if err := s.Write(context.Background(), flow.Batch{Records: numbered(n, 40)}); err != nil {
						t.Fatal(err)
					}
					n += 40
				}
			}
			if !c.before {
				write(2)
			}
			switch {
			case c.filter == nil:
				line.cut()
			default:
				var hit atomic.Bool
				line.onSend(func(b []byte) int {
					if hit.Load() {
						return 0
					}
					pass := c.filter(b)
					if pass != len(b) {
						hit.Store(true)
					}
					return pass
				})
			}
			write(3)
			if len(files(t, s.dir)) == 0 {
				t.Error("nothing was spooled")
			}
			// Another process takes over what this one left.
			s.stop()
			line.cut()
			s = spooling(t, far, s.dir, ingest.WriterConfig{})
			write(80) // more than a block of identifiers
			line.mend()
			eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
			write(2)
			s.stop()
			if left := files(t, s.dir); len(left) != 0 {
				t.Errorf("left in the spool: %v", left)
			}
			once(t, conn, n)
		})
	}
}

// What came later is not stored sooner: the spool is emptied in order.
func TestSpoolKeepsOrder(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	line, far := newWire(t, dsn)
	line.cut()
	s := spooling(t, far, t.TempDir(), ingest.WriterConfig{})
	for i := range 20 {
		if err := s.Write(context.Background(), flow.Batch{Records: numbered(i, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	line.mend()
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	s.stop()
	once(t, conn, 20)
	if n := storetest.Get[int](t, conn, "select count(*) from flows f join flows g on f.batch < g.batch and f.bytes > g.bytes"); n != 0 {
		t.Errorf("%d pairs in the wrong order", n)
	}
}

// A database that takes too long does not hold up who writes, and what it took
// meanwhile is not stored again.
func TestSpoolSlowDatabase(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{Patience: 100 * time.Millisecond})
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "lock table batches"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := s.Write(ctx, flow.Batch{Records: numbered(10*i, 10)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, s.dir)); n != 10 {
		t.Errorf("%d batches in the spool, want 10", n)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	s.stop()
	once(t, conn, 100)
}

// While more waits than the database keeps up with, one batch at a time goes
// there directly and the others do not wait for it.
func TestSpoolUnderPressure(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{Patience: time.Minute})
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "lock table batches"); err != nil {
		t.Fatal(err)
	}
	var direct sync.WaitGroup
	direct.Go(func() {
		if err := s.Write(ctx, flow.Batch{Records: numbered(0, 10), Pressed: true}); err != nil {
			t.Error(err)
		}
	})
	other := storetest.Connect(t, dsn)
	eventually(t, "it is on its way", func() bool {
		return storetest.Get[bool](t, other, "select exists (select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database()))")
	})
	for i := range 5 {
		if err := s.Write(ctx, flow.Batch{Records: numbered(10+10*i, 10), Pressed: true}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, s.dir)); n != 5 {
		t.Errorf("%d batches in the spool, want 5", n)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	direct.Wait()
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	s.stop()
	once(t, conn, 60)
}

// A spool that is full loses its oldest batches, and the ledger says how many
// records of whom that were.
func TestSpoolFull(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	line, far := newWire(t, dsn)
	line.cut()
	const limit = 200_000
	s := spooling(t, far, t.TempDir(), ingest.WriterConfig{SpoolBytes: limit})
	const batches, size = 40, 100
	for i := range batches {
		recs := numbered(i*size, size)
		for j := range recs {
			recs[j].Exporter = flow.ExporterID(1 + j%2)
		}
		if err := s.Write(context.Background(), flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, f := range files(t, s.dir) {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			sum += info.Size()
		}
		if sum > limit {
			t.Fatalf("the spool holds %d bytes", sum)
		}
	}
	line.mend()
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	s.stop()
	stored := storetest.Get[int](t, conn, "select count(*) from flows")
	if stored == 0 || stored == batches*size {
		t.Errorf("%d rows stored", stored)
	}
	if lost := storetest.Get[int](t, conn, "select coalesce(sum(count), 0)::int from loss where stage = 'store' and cause = 'spool_full' and unit = 'record'"); lost != batches*size-stored {
		t.Errorf("%d of %d rows stored, %d counted as lost", stored, batches*size, lost)
	}
	if got := storetest.Get[string](t, conn, "select string_agg(distinct exporter_id::text, ' ') from loss"); got != "1 2" {
		t.Errorf("counted for exporters %q", got)
	}
	// The youngest are those that are there.
	if got := storetest.Get[int](t, conn, "select min(bytes)::int from flows"); got != batches*size-stored {
		t.Errorf("oldest row stored is number %d", got)
	}
}

// A file that is not what was written is kept apart, whatever happened to it, and
// holds up nobody.
func TestSpoolCorrupt(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	line, far := newWire(t, dsn)
	line.cut()
	s := spooling(t, far, t.TempDir(), ingest.WriterConfig{})
	for i := range 6 {
		if err := s.Write(context.Background(), flow.Batch{Records: numbered(10*i, 10)}); err != nil {
			t.Fatal(err)
		}
	}
	s.stop()
	names := files(t, s.dir)
	slices.Sort(names)
	for i, damage := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },                 // cut off
		func(b []byte) []byte { b[len(b)-20] ^= 4; return b },         // a bit in the rows
		func(b []byte) []byte { b[60] ^= 1; return b },                // a bit in the header
		func([]byte) []byte { return nil },                            // nothing left
		func(b []byte) []byte { return bytes.Repeat([]byte{0}, 500) }, // another's
	} {
		b, err := os.ReadFile(names[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(names[i], damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	line.mend()
	s = spooling(t, far, s.dir, ingest.WriterConfig{})
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	s.stop()
	if bad, _ := filepath.Glob(filepath.Join(s.dir, "*.bad")); len(bad) != 5 {
		t.Errorf("kept apart: %v", bad)
	}
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', count(*), min(bytes)) from flows"); got != "10 50" {
		t.Errorf("stored (rows, first) %s, want the last file's", got)
	}
	// Of files whose header can be read the ledger has the records, of the others the file.
	if got := storetest.Get[string](t, conn, "select string_agg(concat_ws(' ', unit, count), ', ' order by unit) from (select unit, sum(count) as count from loss where stage = 'store' and cause = 'spool_damaged' group by 1) l"); got != "file 3, record 20" {
		t.Errorf("the ledger has %s", got)
	}
}

// What the server cannot take for another reason waits without holding up the
// others.
func TestSpoolBatchThatIsNotTaken(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	for _, sql := range []string{
		"create function hold() returns trigger language plpgsql as $$ begin raise exception 'not this one' using errcode = '42501'; end $$",
		"create trigger hold before insert on batches for each row when (new.bytes = 45) execute function hold()",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{})
	for i := range 3 {
		if err := s.Write(ctx, flow.Batch{Records: numbered(10*i, 10)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one is left", func() bool { return len(files(t, s.dir)) == 1 })
	if n := storetest.Get[int](t, conn, "select count(*) from flows where bytes >= 10"); n != 20 {
		t.Errorf("%d rows of the others are stored, want 20", n)
	}
	if _, err := conn.Exec(ctx, "drop trigger hold on batches"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	s.stop()
	once(t, conn, 30)
}

// Two writers in one directory would store things twice.
func TestSpoolIsNotShared(t *testing.T) {
	db, dsn, _ := storetest.Open(t)
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{})
	other := ingest.NewWriter(db, ingest.WriterConfig{Spool: s.dir})
	defer other.Close()
	if err := other.Run(context.Background()); !errors.Is(err, ingest.ErrSpool) {
		t.Errorf("a second writer: %v", err)
	}
}

// Sequence numbers are as durable as the records they came with, and never go
// back.
func TestSequences(t *testing.T) {
	_, dsn, _ := storetest.Open(t)
	ctx := context.Background()
	line, far := newWire(t, dsn)
	s := spooling(t, far, t.TempDir(), ingest.WriterConfig{})
	now := flow.TimeOf(time.Now())
	at := func(port uint16, next uint32, t flow.Time) flow.Sequence {
		return flow.Sequence{Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 1}), Domain: 1 << 31}, Port: port, Version: 10, Next: next, At: t,
			Numbering: flow.NumberingFlowsAfter, Rate: 1<<32 - 1, Member: port == 2}
	}
	write := func(q ...flow.Sequence) {
		t.Helper()
		if err := s.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}, Sequences: q}); err != nil {
			t.Fatal(err)
		}
	}
	write(at(1, 10, now), at(2, 4_000_000_000, now), at(1, 11, now+1))
	write(at(1, 5, now-1))                // late
	write(at(3, 7, now-30*flow.Day))      // silent for long
	write(at(2, 4_000_000_100, now+1000)) // on
	line.cut()
	write(at(1, 20, now+2000))
	got, err := s.Sequences(ctx)
	if err == nil || len(got) != 1 || got[0].Next != 20 {
		t.Errorf("while the database is away: %v, %v", got, err)
	}
	line.mend()
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	got, err = s.Sequences(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := []flow.Sequence{at(1, 20, now+2000), at(2, 4_000_000_100, now+1000)}; cmp.Diff(got, want, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(flow.Sequence{}, "From")) != "" {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The directory that is suggested can be written to.
func TestDefaultSpool(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", dir+":/elsewhere")
	if got := ingest.DefaultSpool(); got != filepath.Join(dir, "spool") {
		t.Errorf("suggests %q", got)
	}
}
