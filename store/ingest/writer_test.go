package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// A batch whose commit was not answered is sent again, and is stored once,
// whether the commit had happened or not.
func TestLostAnswer(t *testing.T) {
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprintf("committed=%v", committed), func(t *testing.T) {
			db, dsn, conn := storetest.Open(t)
			ctx := context.Background()
			admin := storetest.Connect(t, dsn)
			reg := prometheus.NewRegistry()
			var log bytes.Buffer
			w := ingest.NewWriter(db, ingest.WriterConfig{Registerer: reg, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			times := 0
			ingest.OnCommit(w, func(c *pgx.Conn) {
				if times++; times > 1 {
					return
				}
				if committed {
					if _, err := c.Exec(ctx, "commit"); err != nil {
						t.Error(err)
					}
				}
				// From here on the writer hears nothing any more.
				if _, err := admin.Exec(ctx, "select pg_terminate_backend($1)", c.PgConn().PID()); err != nil {
					t.Error(err)
				}
			})
			recs := []flow.Record{storetest.Record(storetest.Noon), storetest.Record(storetest.Noon - flow.Hour)}
			if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
				t.Fatal(err)
			}
			if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 2 {
				t.Errorf("%d flows stored, want 2", n)
			}
			if n := storetest.Get[int](t, conn, "select count(*) from batches"); n != 1 {
				t.Errorf("%d batches, want 1", n)
			}
			// One line when it goes wrong, one when it works again.
			if n := strings.Count(log.String(), "\n"); n != 2 {
				t.Errorf("log of one outage has %d lines:\n%s", n, &log)
			}
		})
	}
}

// An identifier that another batch has, as after restoring an old copy of the
// database, does not make the store believe that the rows are there.
func TestIdentifierInUse(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	if _, err := conn.Exec(ctx, `insert into batches (id, received_from, received_to, min_end, max_end, records, packets, bytes)
		values (1, now(), now(), now(), now(), 1, 3, 1500)`); err != nil {
		t.Fatal(err)
	}
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if id := storetest.Get[int](t, conn, "select batch from flows"); id != 65 {
		t.Errorf("stored as batch %d, want the first of the next block", id)
	}
}

// A pool of one connection is enough to find out what became of a report.
func TestLostAnswerWithOneConnection(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("pool_max_conns", "1")
	u.RawQuery = q.Encode()
	db, err := store.Open(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	ingest.OnCommit(w, func(c *pgx.Conn) {
		for _, err := range []error{
			func() error { _, err := c.Exec(ctx, "commit"); return err }(),
			c.PgConn().Conn().Close(),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := w.Report(ctx, flow.Report{Loss: []flow.Loss{{Minute: storetest.Noon, Stage: "way", Cause: "missing", Unit: "record", Count: 2}}}); err != nil {
		t.Error(err)
	}
	if n := storetest.Get[int](t, conn, "select count from loss"); n != 2 {
		t.Errorf("loss is %d, want 2", n)
	}
}

// Write waits through a restart of the database, and what it was given before
// and during it is there afterwards, once.
func TestRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := postgres.Config{Dir: pgtest.Dir(t)}
	s := pgtest.Start(t, c)
	dsn := s.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	const writers = 3
	var group sync.WaitGroup
	stop := make(chan struct{})
	written := make([]int, writers)
	for i := range writers {
		group.Go(func() {
			for {
				if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon), storetest.Record(storetest.Noon - flow.Hour)}}); err != nil {
					t.Error(err)
					return
				}
				written[i] += 2
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Report(ctx, flow.Report{Loss: []flow.Loss{{Minute: storetest.Noon, Stage: "receive", Cause: "kernel", Unit: "datagram", Count: 1}}}); err == nil {
		t.Error("a report was stored while the database was away")
	}
	pgtest.Start(t, c)
	// Each writer comes through with the batch it was at.
	close(stop)
	group.Wait()
	sum := 0
	for _, n := range written {
		sum += n
	}
	conn := storetest.Connect(t, dsn)
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != sum {
		t.Errorf("%d flows stored, %d acknowledged", n, sum)
	}
}

// A Write whose context ends gives up and says so.
func TestWriteGivesUp(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(context.Background(), flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(context.Background(), "lock table batches"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Write gives %v", err)
	}
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 1 {
		t.Errorf("%d flows stored, want 1", n)
	}
}

// BenchmarkWrite is the rate at which batches of 10,000 records become durable,
// two connections at once, in a PostgreSQL with its ordinary safety.
func BenchmarkWrite(b *testing.B) {
	ctx := context.Background()
	s := pgtest.Start(b, postgres.Config{Dir: pgtest.Dir(b), Settings: map[string]string{"fsync": "on"}})
	dsn := s.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	recs := make([]flow.Record, 10_000)
	for i := range recs {
		recs[i] = storetest.Record(storetest.Noon + flow.Time(i))
		recs[i].SrcPort = uint16(i)
	}
	b.ReportAllocs()
	b.SetParallelism(1) // GOMAXPROCS connections
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)*float64(len(recs))/b.Elapsed().Seconds(), "rows/s")
}
