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
		{Minute: now, Exporter: 0, Stage: "receive", Cause: "kernel_buffer", Unit: "datagram", Count: 2},
	}
	status := []flow.ExporterStatus{{Exporter: e, Version: 10, FirstSeen: now, LastSeen: now, Records: 10}}
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
		if n := len(l.Totals); who == "" && n != len(loss) || who != "" && n != len(loss)-1 {
			t.Errorf("%q: %d totals", who, n)
		}
	}
	if _, err := console.New(db).Loss(ctx, time.Now(), time.Now().Add(-time.Hour), ""); !errors.As(err, new(*query.Error)) {
		t.Errorf("a range that ends before it begins gives %v", err)
	}
}
