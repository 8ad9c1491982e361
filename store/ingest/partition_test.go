package ingest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// Many writers that meet in partitions none of them has made store everything.
func TestWritersMakeTheSamePartitions(t *testing.T) {
	db, dsn, conn := storetest.Open(t)
	other, err := store.Open(context.Background(), dsn) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const writers, batches, hours = 6, 5, 7
	var group sync.WaitGroup
	shared := [2]*ingest.Writer{ingest.NewWriter(db, ingest.WriterConfig{}), ingest.NewWriter(other, ingest.WriterConfig{})}
	for i := range writers {
		group.Go(func() {
			for range batches {
				var recs []flow.Record
				for h := range hours {
					r := storetest.Record(storetest.Noon - flow.Time(h)*flow.Hour)
					r.Received = storetest.Noon
					recs = append(recs, r)
				}
				if err := shared[i%2].Write(context.Background(), flow.Batch{Records: recs}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != writers*batches*hours {
		t.Errorf("%d flows stored, want %d", n, writers*batches*hours)
	}
	if n := storetest.Get[int](t, conn, "select count(distinct batch) from flows"); n != writers*batches {
		t.Errorf("%d batches, want %d", n, writers*batches)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition p join pg_class c on c.relname = p.name and c.relispartition"); n != hours {
		t.Errorf("%d partitions, want %d", n, hours)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from batches where records = 7 and packets = 21 and bytes = 10500 and summed_at is null"); n != writers*batches {
		t.Errorf("%d batches with the right sums, want %d", n, writers*batches)
	}
}

// A question about one hour reads that hour's partition and those in which a
// flow of that hour ends; nobody who asks without the exporter pays for it.
func TestPruning(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	var recs []flow.Record
	for h := range flow.Time(10) {
		recs = append(recs, storetest.Record(storetest.Noon-h*flow.Hour))
	}
	long := storetest.Record(storetest.Noon) // starts three hours before it ends
	long.Start -= 3 * flow.Hour
	if err := w.Write(context.Background(), flow.Batch{Records: append(recs, long)}); err != nil {
		t.Fatal(err)
	}
	from := (storetest.Noon - 5*flow.Hour).Floor(flow.Hour)
	explain := func(sql string) string {
		rows, err := conn.Query(context.Background(), "explain (analyze, costs off, timing off, summary off) "+sql, pgx.QueryExecModeSimpleProtocol, from.Time(), (from + flow.Hour).Time())
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	touched := func(plan string) (n int) {
		for line := range strings.Lines(plan) {
			if strings.Contains(line, "Scan on flows_") && !strings.Contains(line, "never executed") {
				n++
			}
		}
		return n
	}
	plan := explain("select sum(bytes) from flows where flow_end >= $1 and flow_end < $2")
	if touched(plan) != 1 {
		t.Errorf("one hour of flow_end reads\n%s", plan)
	}
	if strings.Contains(plan, "exporter") {
		t.Errorf("a sum pays for the exporter's name:\n%s", plan)
	}
	// Hours -5 … -4 hold what starts in hour -5 as far as they know: every
	// partition's flows start in it, but for the last, where one starts at -3.
	plan = explain("select count(*) from flows where flow_end >= $1 and flow_end < (select flows_until($2))")
	if touched(plan) != 1 {
		t.Errorf("one hour with its long flows reads\n%s", plan)
	}
	from += 3 * flow.Hour // now the long flow matters: hours -2 … 0
	plan = explain("select count(*) from flows where flow_end >= $1 and flow_end < (select flows_until($2))")
	if touched(plan) != 3 {
		t.Errorf("an hour in which a long flow starts reads\n%s", plan)
	}
	for _, r := range append(recs, long) {
		until := storetest.Get[time.Time](t, conn, "select flows_until($1)", (r.Start + 1).Time())
		if !r.End.Time().Before(until) {
			t.Errorf("flow [%v, %v] ends after flows_until = %v", r.Start, r.End, until)
		}
	}
}

// Strange times make only so many partitions; what has no room is stored at its
// time of receipt and says so.
func TestPartitionLimit(t *testing.T) {
	db, _, conn := storetest.Open(t)
	reg := prometheus.NewRegistry()
	w := ingest.NewWriter(db, ingest.WriterConfig{MaxPartitions: 5, Registerer: reg})
	var recs []flow.Record
	for h := range flow.Time(20) {
		r := storetest.Record(storetest.Noon - (19-h)*flow.Hour)
		r.Received = storetest.Noon + flow.Minute
		recs = append(recs, r)
	}
	for range 2 { // the second time nobody asks the database for room
		if err := w.Write(context.Background(), flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 40 {
		t.Errorf("%d flows stored, want 40", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition"); n != 6 {
		t.Errorf("%d partitions, want 5 and that of receipt", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where marks & 8 <> 0 and flow_start = received_at and flow_end = received_at"); n != 28 {
		t.Errorf("%d flows moved to their time of receipt, want 28", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where marks = 0"); n != 12 {
		t.Errorf("%d flows stored as they are, want 12", n)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n == 0 {
		t.Error(n, err)
	}
}

// A partition that somebody removed in the meantime is made again.
func TestRemovedPartition(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	hour := storetest.Noon.Floor(flow.Hour)
	name := "parts." + store.PartitionName(hour)
	for i, how := range [][]string{
		{},
		{"delete from parts.partition", "alter table parts.flows detach partition " + name, "drop table " + name},
		// Detached but not dropped yet: rows in it would never be seen again.
		{"delete from parts.partition", "alter table parts.flows detach partition " + name, "alter table " + name + " rename to gone", "alter table parts.gone rename to " + store.PartitionName(hour-flow.Hour)},
	} {
		for _, sql := range how {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
			t.Fatal(err)
		}
		if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 1 {
			t.Errorf("case %d: %d flows to be seen, want 1", i, n)
		}
	}
	// Still attached in our eyes, detached in truth, its row deleted: the table is
	// renamed, with its rows, and another one made.
	for _, sql := range []string{"delete from parts.partition", "alter table parts.flows detach partition " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 1 {
		t.Errorf("%d flows to be seen, want 1", n)
	}
}

// An hour that was removed and made again by others has forgotten how early its
// flows may start; a writer that remembers says it again.
func TestPartitionMadeAgain(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	long := storetest.Record(storetest.Noon)
	long.Start = storetest.Noon - 5*flow.Hour
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{long}}); err != nil {
		t.Fatal(err)
	}
	name := "parts." + store.PartitionName(storetest.Noon.Floor(flow.Hour))
	for _, sql := range []string{"delete from parts.partition", "alter table parts.flows detach partition " + name, "drop table " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{long}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where flow_start < $1 and flow_end < (select flows_until($1))", (storetest.Noon - 4*flow.Hour).Time()); n != 1 {
		t.Errorf("a range that the long flow crosses has %d flows, want 1", n)
	}
}
