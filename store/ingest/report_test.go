package ingest_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// Status is replaced, loss is added, and the partitions of now are there.
func TestReport(t *testing.T) {
	db, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	status := flow.ExporterStatus{
		Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 7}), Domain: math.MaxUint32}, Version: 10,
		FirstSeen: storetest.Noon, LastSeen: storetest.Noon + flow.Second, ClockOffset: -1500, SamplingRate: 0,
		Datagrams: 1, Records: 2, Packets: 3, Bytes: math.MaxUint64, Templates: 4,
	}
	six := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("2001:db8::1"))}, Version: 5, FirstSeen: storetest.Noon, LastSeen: storetest.Noon, SamplingRate: 100}
	cell := flow.Loss{Minute: storetest.Noon + 5, Exporter: status.Exporter.ID(), Stage: "decode", Cause: "no template", Unit: "set", Count: 2}
	huge := flow.Loss{Minute: storetest.Noon, Stage: "way", Cause: "missing", Unit: "record", Count: math.MaxUint64}
	for range 2 {
		if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{status, six}, Loss: []flow.Loss{cell, cell, huge}}); err != nil {
			t.Fatal(err)
		}
		status.Datagrams = 10
	}
	if got := storetest.Get[string](t, conn, `select concat_ws(' ', e.label, e.addr, e.observation_domain, s.version, s.datagrams, s.records, s.packets, s.bytes, s.templates, s.clock_offset_ms, s.sampling_rate is null)
		from exporters e join exporter_status s on s.exporter_id = e.id where e.id = $1`, int32(status.Exporter.ID())); got != "192.0.2.7 192.0.2.7 4294967295 10 10 2 3 9223372036854775807 4 -1500 t" {
		t.Errorf("status: %s", got)
	}
	if got := storetest.Get[string](t, conn, "select string_agg(concat_ws(' ', minute at time zone 'UTC', stage, cause, unit, count), '; ' order by stage) from loss"); got != "2025-11-21 12:30:00 decode no template set 8; 2025-11-21 12:30:00 way missing record 9223372036854775807" {
		t.Errorf("loss: %s", got)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition where hour in (date_trunc('hour', now()), date_trunc('hour', now()) + interval '1 hour')"); n != 2 {
		t.Errorf("%d of the partitions of this hour and the next are made", n)
	}

	// The name that people give is the flow's exporter from then on.
	r := storetest.Record(storetest.Noon)
	r.Exporter = status.Exporter.ID()
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{r}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sql, want string }{
		{"select", "192.0.2.7"},
		{"insert into console.exporters (id, name) values ($1, 'core')", "core"},
		{"update console.exporters set name = 'edge' where id = $1", "edge"},
		{"update console.exporters set name = '' where id = $1", "192.0.2.7"},
		{"update console.exporters set name = 'x' where id = $1", "x"},
		{"delete from console.exporters where id = $1", "192.0.2.7"},
	} {
		if c.sql != "select" {
			if _, err := conn.Exec(ctx, c.sql, int32(r.Exporter)); err != nil {
				t.Fatal(err)
			}
		}
		if n := storetest.Get[int](t, conn, "select count(*) from flows where exporter = $1", c.want); n != 1 {
			t.Errorf("after %q: %d flows of exporter %q", c.sql, n, c.want)
		}
	}

	// The answer to a commit is lost: nothing is added twice.
	admin := storetest.Connect(t, dsn)
	for _, committed := range []bool{true, false} {
		ingest.OnCommit(w, func(c *pgx.Conn) {
			if committed {
				if _, err := c.Exec(ctx, "commit"); err != nil {
					t.Error(err)
				}
			}
			if _, err := admin.Exec(ctx, "select pg_terminate_backend($1)", c.PgConn().PID()); err != nil {
				t.Error(err)
			}
			ingest.OnCommit(w, nil)
		})
		if err := w.Report(ctx, flow.Report{Loss: []flow.Loss{cell}}); (err == nil) != committed {
			t.Errorf("committed %v, reported %v", committed, err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count from loss where stage = 'decode'"); n != 10 {
		t.Errorf("loss is %d, want 10", n)
	}
}

// Two exporters with one identifier are never taken for one: the second is
// refused by name.
func TestIdentifierOfAnotherExporter(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	late := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 7}), Domain: 3}, Version: 9, FirstSeen: storetest.Noon, LastSeen: storetest.Noon}
	other := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 8})}, Version: 9, FirstSeen: storetest.Noon, LastSeen: storetest.Noon}
	if _, err := conn.Exec(ctx, "insert into parts.exporter (id, addr, observation_domain, first_seen) values ($1, '203.0.113.1', 9, now())", int32(late.Exporter.ID())); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w := ingest.NewWriter(db, ingest.WriterConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{late, other}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from exporter_status where exporter_id = $1", int32(late.Exporter.ID())); n != 0 {
		t.Error("the status of the refused exporter is stored under another's name")
	}
	if n := storetest.Get[int](t, conn, "select count(*) from exporter_status"); n != 1 {
		t.Errorf("%d exporters have a status, want 1", n)
	}
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "192.0.2.7") || !strings.Contains(s, "203.0.113.1") {
		t.Errorf("the log does not name both, once:\n%s", s)
	}
}
