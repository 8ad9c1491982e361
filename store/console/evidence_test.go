package console_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/console"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// TestStatusIsStoredWhole: every field of a status comes back, and interfaces do.
func TestStatusIsStoredWhole(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	now := flow.TimeOf(time.Now())
	e := flow.Exporter{Addr: flow.Addr4([4]byte{10, 0, 0, 1})}
	s := flow.ExporterStatus{
		Exporter: e, Version: 9, FirstSeen: now - 10, LastSeen: now, ClockOffset: -5, SamplingRate: 100, ConfiguredRate: 200, SamplingOverride: true,
		Datagrams: 1, Records: 2, Packets: 3, Bytes: 4, Templates: 5, NoTemplate: 6, Malformed: 7, OverLimit: 8, Held: 9, Recovered: 10,
		RateLimited: 11, MissingRecords: 12, MissingDatagrams: 13, Duplicates: 14, Restarts: 15, NotSent: 16, Ignored: 17, Dropped: 18, TimeRepaired: 19,
		LastStart: now - 100, LastEnd: now - 50, LastError: "what", LastErrorAt: now - 1, SourcePorts: 20, Senders: 21, Gateway: true,
		Unexplained: 22, Numbering: flow.NumberingFlowsAfter, NumberingShared: true, SamplingAt: now - 2, SamplingProvisional: true, MeteringToldAt: now - 3, SendingToldAt: now - 4,
	}
	face := []flow.Interface{{Exporter: e.ID(), Index: 4294967295, Speed: 1e9, Name: "eth0\x00\xff", Description: "up"}}
	for range 2 {
		if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{s}, Interfaces: face}); err != nil {
			t.Fatal(err)
		}
		face[0].Speed, face[0].Description = 0, "" // said later without: stays
	}
	d, err := console.New(db).Diagnosis(ctx, e.ID())
	if err != nil {
		t.Fatal(err)
	}
	x := d.Status
	if x == nil || x.Records != 2 || x.Senders != 21 || x.LastError != "what" || !x.Gateway || *x.SamplingRate != 100 || *x.ConfiguredRate != 200 ||
		x.LastErrorAt.UnixMilli() != int64(now-1) || x.TimeRepaired != 19 || x.Dropped != 18 || x.Unexplained != 22 || x.Numbering != "flows_after" || !x.NumberingShared ||
		x.SamplingAt.UnixMilli() != int64(now-2) || !x.SamplingProvisional ||
		x.MeteringToldAt.UnixMilli() != int64(now-3) || x.SendingToldAt.UnixMilli() != int64(now-4) {
		t.Errorf("status %+v", x)
	}
	s.LastError, s.LastErrorAt = "", 0 // a new run of the collector
	if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{s}}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select last_error from exporter_status"); got != "what" {
		t.Errorf("the last error of an earlier run is now %q", got)
	}
	if got := storetest.Get[string](t, conn, "select format('%s %s %s %s', if_index, speed, name, description) from interfaces"); got != "4294967295 1000000000 eth0\uFFFD up" {
		t.Errorf("interface %q", got)
	}
}

// Who sends what cannot be read is stored, and shown with the collector.
func TestUnreadableIsShown(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	now := flow.TimeOf(time.Now())
	x := flow.Unreadable{Addr: flow.Addr4([4]byte{192, 0, 2, 9}), FirstSeen: now - 10, LastSeen: now, Datagrams: 2, First: []byte{0, 0, 0, 5}, Guess: "sFlow v5", Error: "byte\x00 4"}
	for range 2 {
		if err := w.Report(ctx, flow.Report{Unreadable: []flow.Unreadable{x}}); err != nil {
			t.Fatal(err)
		}
		x.Datagrams, x.Error = 3, ""
	}
	old := flow.Unreadable{Addr: flow.Addr4([4]byte{192, 0, 2, 10}), FirstSeen: now, LastSeen: now - 8*flow.Day, Guess: "text"}
	if err := w.Report(ctx, flow.Report{Unreadable: []flow.Unreadable{old}}); err != nil {
		t.Fatal(err)
	}
	d, err := console.New(db).Diagnosis(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(d.Findings, func(f console.Finding) bool { return f.Code == console.UnreadableSender })
	if i < 0 {
		t.Fatalf("not shown: %+v", d.Findings)
	}
	if f := d.Findings[i]; f.Addr.String() != "192.0.2.9" || f.Datagrams != 3 || f.First != "00000005" || f.Guess != "sFlow v5" || f.LastError == "" {
		t.Errorf("%+v", f)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from unreadable"); n != 1 {
		t.Errorf("%d rows, those of last week too", n)
	}
}

// A diagnosis is made from what the database has of the collector and of the exporter
// asked for.
func TestDiagnosisReadsTheDatabase(t *testing.T) {
	db, _, _ := storetest.Open(t)
	ctx := context.Background()
	c := console.New(db)
	find := func(id flow.ExporterID, code console.Code) console.Finding {
		t.Helper()
		d, err := c.Diagnosis(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(d.Findings, func(f console.Finding) bool { return f.Code == code })
		if i < 0 {
			t.Fatalf("%+v has no %s", d.Findings, code)
		}
		return d.Findings[i]
	}
	find(0, console.NoExporters)
	if _, err := c.Diagnosis(ctx, 5); !errors.As(err, new(*query.Error)) {
		t.Errorf("an unknown exporter gives %v", err)
	}

	now := flow.TimeOf(time.Now())
	e := flow.Exporter{Addr: flow.Addr4([4]byte{10, 0, 0, 1}), Domain: 7}
	r := flow.Report{
		Status: []flow.ExporterStatus{{Exporter: e, Version: 9, FirstSeen: now, LastSeen: now, Datagrams: 100, Records: 2000, Templates: 2, Senders: 2,
			MissingDatagrams: 9, LastStart: now - flow.Day - flow.Minute, LastEnd: now - flow.Day}},
		Loss: []flow.Loss{
			{Minute: now, Exporter: e.ID(), Stage: "store", Cause: "refused", Unit: "record", Count: 3},
			{Minute: now, Exporter: e.ID(), Stage: "way", Cause: "missing", Unit: "datagram", Count: 9},
			{Minute: now, Stage: "receive", Cause: "kernel_buffer", Unit: "datagram", Count: 4},
			{Minute: now, Stage: "decode", Cause: "version", Unit: "datagram", Count: 5},
		},
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Report(ctx, r); err != nil {
		t.Fatal(err)
	}
	if f := find(0, console.ExportersSend); f.Exporters != 1 || f.Active != 1 {
		t.Errorf("%+v", f)
	}
	find(0, console.NothingStored)
	if f := find(0, console.BufferOverflowed); f.Loss.Count != 4 {
		t.Errorf("%+v", f)
	}
	if f := find(0, console.UnattributedLoss); f.Loss != (console.LossTotal{Stage: "decode", Cause: "version", Unit: "datagram", Count: 5}) {
		t.Errorf("%+v", f)
	}
	if f := find(e.ID(), console.MissingAndDropped); f.Loss.Count != 9 || f.KernelDropped != 4 {
		t.Errorf("%+v", f)
	}
	if f := find(e.ID(), console.RecordsNotStored); !slices.Equal(f.Losses, []console.LossTotal{{Stage: "store", Cause: "refused", Unit: "record", Count: 3}}) {
		t.Errorf("%+v", f)
	}
	if f := find(e.ID(), console.SendersAlike); f.Domain != 7 || f.Addr.String() != "10.0.0.1" {
		t.Errorf("%+v", f)
	}
	if f := find(e.ID(), console.TimesFarOff); f.To == nil || f.To.UnixMilli() != int64(now-flow.Day) {
		t.Errorf("%+v", f)
	}
	// What people say about an exporter is read too.
	if err := c.SetExporter(ctx, e.ID(), console.ExporterWords{Name: "edge", SamplingRate: new(int64(64))}); err != nil {
		t.Fatal(err)
	}
	if f := find(e.ID(), console.SamplingSet); f.Rate != 64 {
		t.Errorf("%+v", f)
	}
	if d, err := c.Diagnosis(ctx, e.ID()); err != nil || d.Label != "edge" || d.Status == nil {
		t.Errorf("%+v, %v", d, err)
	}
}
