package ingest_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// Strangers whose times are anywhere hold up nobody, make few partitions, and are named:
// the flows of the exporter beside them are there when Write returns.
func TestScatteredTimes(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{})
	stranger := flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("192.0.2.66"))}
	report := func() {
		t.Helper()
		if err := s.Report(ctx, flow.Report{Status: []flow.ExporterStatus{{Exporter: stranger, Version: 10, FirstSeen: 1, LastSeen: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	report()
	const batches, each = 6, 1500
	rnd := rand.New(rand.NewPCG(3, 4))
	var slowest time.Duration
	for i := range batches {
		now := flow.TimeOf(time.Now())
		recs := make([]flow.Record, each)
		for j := range recs {
			recs[j] = storetest.Record(now - flow.Time(rnd.Int64N(400_000))*flow.Hour)
			recs[j].Exporter, recs[j].Received = stranger.ID(), now
		}
		honest := storetest.Record(now)
		honest.Exporter, honest.Received = 1, now
		recs[i] = honest
		began := time.Now()
		if err := s.Write(ctx, flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
		if n := storetest.Get[int](t, conn, "select count(*) from flows where exporter_id = 1"); n != i+1 {
			t.Errorf("%d flows of the honest exporter are there, want %d", n, i+1)
		}
	}
	if slowest > 5*time.Second {
		t.Errorf("a batch took %v", slowest)
	}
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	report()
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != batches*each {
		t.Errorf("%d flows are stored, want %d", n, batches*each)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition"); n > 130 {
		t.Errorf("%d partitions", n)
	}
	// It has the hours of its account, and the others are marked and counted for it.
	moved := storetest.Get[int](t, conn, "select count(*) from flows where marks & 8 <> 0 and flow_end = received_at")
	if kept := batches*each - batches - moved; kept < 2000 || kept > 2500 {
		t.Errorf("%d flows have their own times, want some 2,048", kept)
	}
	if n := storetest.Get[int](t, conn, "select records::int from parts.moved where exporter_id = $1", int32(stranger.ID())); n != moved {
		t.Errorf("%d flows are counted as moved, want %d", n, moved)
	}
	s.stop()
	if text := s.log.String(); strings.Count(text, "too many hours") != 1 || !strings.Contains(text, "exporter=192.0.2.66") {
		t.Errorf("log:\n%s", text)
	}
}

// The sums of scattered flows make few partitions, too, and are complete.
func TestScatteredSums(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	now := flow.TimeOf(time.Now())
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	rnd := rand.New(rand.NewPCG(5, 6))
	ages := []flow.Time{2 * flow.Day, 40 * flow.Day, 700 * flow.Day, 16_000 * flow.Day}
	recs := make([]flow.Record, 400)
	for i := range recs {
		recs[i] = storetest.Record(now - flow.Time(rnd.Int64N(int64(ages[i%len(ages)]))))
		recs[i].Start, recs[i].Received = recs[i].End, now
	}
	if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	if err := keeper.New(db, keeper.Config{}).Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"flows", "traffic_1m where dimension = 'total'"} {
		column := "count(*)"
		if table != "flows" {
			column = "sum(flows)"
		}
		if n := storetest.Get[int](t, conn, "select "+column+"::int from "+table); n != len(recs) {
			t.Errorf("%s has %d flows, want %d", table, n, len(recs))
		}
	}
	if n := storetest.Get[int](t, conn, "select sum(records)::int from parts.hour"); n != len(recs) {
		t.Errorf("parts.hour has %d flows, want %d", n, len(recs))
	}
	if n := storetest.Get[int](t, conn, "select count(*) from pg_class where relispartition and relkind = 'r'"); n > 300 {
		t.Errorf("%d partitions in all", n)
	}
	// Read back, they are the same: the partitions of a batch are found by their ends.
	storetest.Apply(t, conn, "truncate parts.traffic_1m, parts.traffic_1h, parts.traffic_1d, parts.pending, parts.settled; update batches set summed_at = null")
	if err := keeper.New(db, keeper.Config{}).Sum(ctx); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select sum(flows)::int from traffic_1m where dimension = 'total'"); n != len(recs) {
		t.Errorf("read back, %d flows are summed, want %d", n, len(recs))
	}
	// A question about an old day reads what is there of it.
	for _, r := range recs[:40] {
		if n := storetest.Get[int](t, conn, "select count(*) from flows where flow_start >= $1 and flow_end >= $1 and flow_end < (select flows_until($2)) and flow_start < $2",
			r.Start.Floor(flow.Hour).Time(), (r.Start.Floor(flow.Hour) + flow.Hour).Time()); n == 0 {
			t.Errorf("the hour of %v has no flow", r.Start)
		}
	}
}

// An hour that is dense in its batch has a partition of its own, however old it is, and
// leaves the rest of its period to others.
func TestOldCapture(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	now := flow.TimeOf(time.Now())
	capture := flow.TimeOf(time.Date(2014, 5, 13, 16, 30, 0, 0, time.UTC))
	var recs []flow.Record
	for i := range 300 {
		for _, end := range []flow.Time{capture, capture + flow.Hour} {
			r := storetest.Record(end)
			r.Received = now
			if end == capture || i < 5 {
				recs = append(recs, r)
			}
		}
	}
	if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	const list = "select string_agg(concat_ws(' ', name, to_char(until, 'YYYY-MM-DD HH24')), ', ' order by hour) from parts.partition"
	if got, want := storetest.Get[string](t, conn, list), "flows_2014051316 2014-05-13 17, flows_2014051317 2020-01-01 00"; got != want {
		t.Errorf("partitions %s, want %s", got, want)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where marks = 0"); n != 305 {
		t.Errorf("%d flows are as they were", n)
	}
}

// Tables that somebody drops or detaches by hand are made anew, and nothing waits for ever.
func TestTableDroppedByHand(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{})
	name := "parts." + store.PartitionName(storetest.Noon.Floor(flow.Hour))
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	k := keeper.New(db, keeper.Config{})
	for i, sql := range []string{
		"", "drop table " + name, "alter table parts.flows detach partition " + name, "delete from parts.partition",
		"drop table parts.traffic_1m_20251101", "drop table " + name + ", parts.traffic_1h_202511",
	} {
		if sql != "" {
			storetest.Apply(t, conn, sql)
		}
		for range 2 {
			if err := s.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, sql+": stored", func() bool {
			return len(files(t, s.dir)) == 0 && storetest.Get[int](t, conn, "select count(*) from flows") >= 2
		})
		if err := s.Health(); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
		if err := k.Sum(ctx); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
		if n := storetest.Get[int](t, conn, "select count(*) from batches where summed_at is null"); n != 0 {
			t.Errorf("case %d: %d batches are not summed", i, n)
		}
	}
	s.stop()
	if !strings.Contains(s.log.String(), "dropped or detached by hand") {
		t.Errorf("log:\n%s", s.log)
	}
}

// A database that is made anew under a running collector is noticed: it says that the schema
// is missing, and then stores flows and exporters.
func TestDatabaseMadeAnew(t *testing.T) {
	dsn := pgtest.Empty(t)
	ctx := context.Background()
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{Registerer: reg})
	exporter := flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("192.0.2.1")), Domain: 3}
	both := func() error {
		if err := s.Write(ctx, flow.Batch{Records: numbered(0, 5)}); err != nil {
			t.Fatal(err)
		}
		return s.Report(ctx, flow.Report{Status: []flow.ExporterStatus{{Exporter: exporter, Version: 9, FirstSeen: 1, LastSeen: 1}}})
	}
	if err := both(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stored", func() bool { return len(files(t, s.dir)) == 0 })
	server, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(server.Path, "/")
	server.Path = "/postgres"
	admin := storetest.Connect(t, server.String())
	for _, sql := range []string{"drop database " + name + " with (force)", "create database " + name} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := both(); err == nil {
		t.Error("the report is stored in no schema")
	}
	eventually(t, "it says what is wrong", func() bool {
		err := s.Health()
		return err != nil && strings.Contains(err.Error(), "run flowtally migrate") && up(t, reg) == 0
	})
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
	if err := both(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is well", func() bool { return s.Health() == nil && up(t, reg) == 1 && len(files(t, s.dir)) == 0 })
	conn := storetest.Connect(t, dsn)
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 10 {
		t.Errorf("%d flows, want the 10 since", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from exporters"); n != 1 {
		t.Errorf("%d exporters, want 1", n)
	}
}

// up returns flowtally_store_up.
func up(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "flowtally_store_up" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no flowtally_store_up")
	return 0
}

// What the page says of a store that is stopped is in the database, as long as that can be
// written.
func TestStoppedStoreIsReported(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	storetest.Apply(t, conn, "create function hold() returns trigger language plpgsql as $$ begin raise exception 'not this one' using errcode = '42501'; end $$; create trigger hold before insert on batches for each row execute function hold()")
	s := spooling(t, dsn, t.TempDir(), ingest.WriterConfig{})
	if err := s.Write(ctx, flow.Batch{Records: numbered(0, 5)}); err != nil {
		t.Fatal(err)
	}
	report := func() {
		t.Helper()
		if err := s.Report(ctx, flow.Report{Loss: []flow.Loss{{Minute: 0, Stage: "way", Cause: "missing", Unit: "record", Count: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it cannot store", func() bool { return s.Health() != nil })
	report()
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', waiting, stopped_since is not null, reason) from parts.writer"); !strings.HasPrefix(got, "1 t ERROR: not this one") {
		t.Errorf("the database has %q", got)
	}
	storetest.Apply(t, conn, "drop trigger hold on batches")
	eventually(t, "it can", func() bool { return s.Health() == nil })
	report()
	if got := storetest.Get[string](t, conn, "select concat_ws(' ', waiting, stopped_since is not null, reason) from parts.writer"); got != "0 f" {
		t.Errorf("the database has %q", got)
	}
}
