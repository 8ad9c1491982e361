package console_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/console"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// TestWaterfallBalances: each step has what the next has and what was lost
// between them.
func TestWaterfallBalances(t *testing.T) {
	db, _, _ := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	now := flow.TimeOf(time.Now())
	e := flow.Exporter{Addr: flow.Addr4([4]byte{10, 0, 0, 1}), Domain: 7}
	recs := make([]flow.Record, 10)
	for i := range recs {
		recs[i] = storetest.Record(now - flow.Minute)
		recs[i].Exporter, recs[i].Received = e.ID(), now
	}
	if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	loss := []flow.Loss{
		{Minute: now, Exporter: e.ID(), Stage: "store", Cause: "queue_full", Unit: "record", Count: 5},
		{Minute: now, Exporter: e.ID(), Stage: "decode", Cause: "rate_limit", Unit: "record", Count: 7},
		{Minute: now, Exporter: e.ID(), Stage: "way", Cause: "missing", Unit: "record", Count: 11},
		{Minute: now, Exporter: e.ID(), Stage: "exporter", Cause: "not_sent", Unit: "record", Count: 13},
		{Minute: now, Exporter: e.ID(), Stage: "exporter", Cause: "dropped", Unit: "packet", Count: 17},
		{Minute: now, Exporter: e.ID(), Stage: "exporter", Cause: "ignored", Unit: "packet", Count: 19},
		{Minute: now, Exporter: 0, Stage: "decode", Cause: "version", Unit: "datagram", Count: 23},
		{Minute: now, Exporter: 0, Stage: "receive", Cause: "kernel_buffer", Unit: "datagram", Count: 2},
	}
	status := []flow.ExporterStatus{{Exporter: e, Version: 10, FirstSeen: now, LastSeen: now, Records: 10, Numbering: flow.NumberingRecords}}
	if err := w.Report(ctx, flow.Report{Status: status, Loss: loss}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"", "10.0.0.1"} {
		l, err := console.New(db).Loss(ctx, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), who)
		if err != nil {
			t.Fatal(err)
		}
		want := []struct {
			name string
			n    int64
		}{{"seen", -1}, {"metered", 46}, {"sent", 33}, {"received", 22}, {"decoded", 15}, {"stored", 10}}
		for i, x := range want {
			s := l.Steps[i]
			if s.Name != x.name || (s.Records == nil) != (x.n < 0) || s.Records != nil && *s.Records != x.n {
				t.Errorf("%q: step %d is %+v, want %v", who, i, s, x)
			}
		}
		// A stranger's junk is on nobody's way, and what is left out by design lowers no graph.
		if n := len(l.Steps[4].Lost); n != 1 {
			t.Errorf("%q: %d losses before they are decoded: %+v", who, n, l.Steps[4].Lost)
		}
		for _, r := range l.Rows {
			want := console.OwnerExporter
			switch r.Cause {
			case "version":
				want = console.OwnerStranger
			case "kernel_buffer":
				want = console.OwnerCollector
			}
			if r.Owner != want || r.Drawn != (r.Cause != "version" && r.Cause != "ignored") {
				t.Errorf("%q: %+v", who, r)
			}
		}
		// It never spoke of itself: of what it lost, and of what it saw, nothing is known.
		for i, told := range []int{0, 0, 0, 1, 1, 1} {
			if s := l.Steps[i]; s.Of != 1 || s.ToldBy != told {
				t.Errorf("%q: %s is told by %d of %d", who, s.Name, s.ToldBy, s.Of)
			}
		}
		if n := len(l.Totals); who == "" && n != len(loss) || who != "" && n != len(loss)-2 {
			t.Errorf("%q: %d totals", who, n)
		}
	}
	// Once it tells, what it saw is what was metered and what was not.
	status[0].MeteringToldAt, status[0].SendingToldAt = now, now
	if err := w.Report(ctx, flow.Report{Status: status}); err != nil {
		t.Fatal(err)
	}
	l, err := console.New(db).Loss(ctx, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), "")
	if err != nil {
		t.Fatal(err)
	}
	packets := int64(17 + 19)
	for _, r := range recs {
		packets += int64(r.Packets)
	}
	if s := l.Steps[0]; s.Records == nil || *s.Records != packets || s.ToldBy != 1 || s.Exact {
		t.Errorf("seen is %+v, want %d packets at least", s, packets)
	}
	// An exporter of which no flow was ever read, and one that is left out, lower no graph but
	// their own.
	junk := flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 66})}
	if err := w.Report(ctx, flow.Report{
		Status: []flow.ExporterStatus{{Exporter: junk, Version: 9, FirstSeen: now, LastSeen: now, NoTemplate: 5}},
		Loss:   []flow.Loss{{Minute: now, Exporter: junk.ID(), Stage: "decode", Cause: "no_template", Unit: "set", Count: 5}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := console.New(db).LeaveOut(ctx, e.ID(), true); err != nil {
		t.Fatal(err)
	}
	for who, drawn := range map[string]int{"": 1, "10.0.0.1": 5, "192.0.2.66": 1} {
		l, err := console.New(db).Loss(ctx, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), who)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range l.Rows {
			if r.Drawn {
				n++
			}
		}
		if n != drawn {
			t.Errorf("%q: %d are drawn, want %d: %+v", who, n, drawn, l.Rows)
		}
	}
	if _, err := console.New(db).Loss(ctx, time.Now(), time.Now().Add(-time.Hour), ""); !errors.As(err, new(*query.Error)) {
		t.Errorf("a range that ends before it begins gives %v", err)
	}
}
