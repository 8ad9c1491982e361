package console_test

import (
	"context"
	"errors"
	"strings"
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
		for _, x := range l.Totals {
			if x.Text == "" {
				t.Errorf("no words for %+v", x)
			}
		}
	}
	if _, err := console.New(db).Loss(ctx, time.Now(), time.Now().Add(-time.Hour), ""); !errors.As(err, new(*query.Error)) {
		t.Errorf("a range that ends before it begins gives %v", err)
	}
}

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
		x.LastErrorAt.UnixMilli() != int64(now-1) || x.TimeRepaired != 19 || x.Dropped != 18 {
		t.Errorf("status %+v", x)
	}
	if got := storetest.Get[string](t, conn, "select format('%s %s %s %s', if_index, speed, name, description) from interfaces"); got != "4294967295 1000000000 eth0\uFFFD up" {
		t.Errorf("interface %q", got)
	}
}

// TestDiagnosisSaysWhatToChange: each state has its finding and an advice.
func TestDiagnosisSaysWhatToChange(t *testing.T) {
	db, _, _ := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	now := flow.TimeOf(time.Now())
	if d, err := console.New(db).Diagnosis(ctx, 0); err != nil || d.OK || !strings.Contains(d.Headline, "9995") {
		t.Errorf("with no exporter: %+v %v", d, err)
	}
	if _, err := console.New(db).Diagnosis(ctx, 5); !errors.As(err, new(*query.Error)) {
		t.Errorf("an unknown exporter gives %v", err)
	}
	healthy := flow.ExporterStatus{Version: 9, FirstSeen: now, LastSeen: now, Datagrams: 100, Records: 2000, Templates: 2, SourcePorts: 1, Senders: 1,
		LastStart: now - flow.Minute, LastEnd: now}
	for i, c := range []struct {
		name, check, words string
		change             func(*flow.ExporterStatus)
	}{
		{"healthy", "", "", func(*flow.ExporterStatus) {}},
		{"silent", "traffic", "ago", func(s *flow.ExporterStatus) { s.LastSeen = now - flow.Hour; s.LastEnd = s.LastSeen }},
		{"no_template", "templates", "template", func(s *flow.ExporterStatus) { s.Templates, s.Records, s.NoTemplate, s.LastEnd = 0, 0, 50, 0 }},
		{"held_for_a_template", "templates", "no template", func(s *flow.ExporterStatus) { s.Templates, s.Records, s.Held, s.LastEnd = 0, 0, 50, 0 }},
		{"malformed", "decoding", "octet 20", func(s *flow.ExporterStatus) { s.Malformed, s.LastError = 3, "set 256: octet 20" }},
		{"wrong_clock", "clock", "behind", func(s *flow.ExporterStatus) { s.ClockOffset = -flow.Hour }},
		{"old_capture", "times", "2014", func(s *flow.ExporterStatus) {
			s.LastStart, s.LastEnd = flow.TimeOf(time.Date(2014, 1, 1, 0, 0, 0, 0, time.UTC)), flow.TimeOf(time.Date(2014, 1, 1, 0, 5, 0, 0, time.UTC))
		}},
		{"impossible_times", "times", "impossible", func(s *flow.ExporterStatus) { s.TimeRepaired = 1000 }},
		{"missing", "loss", "did not arrive", func(s *flow.ExporterStatus) { s.MissingDatagrams = 9 }},
		{"dropped_by_its_own_word", "loss", "own word", func(s *flow.ExporterStatus) { s.Dropped = 9 }},
		{"rate_limited", "limits", "rate limit", func(s *flow.ExporterStatus) { s.RateLimited = 9 }},
		{"several_behind_nat", "identity", "senders", func(s *flow.ExporterStatus) { s.Senders, s.Gateway = 3, true }},
		{"behind_a_gateway", "identity", "gateway", func(s *flow.ExporterStatus) { s.Gateway = true }},
		{"two_of_one_address", "identity", "share", func(s *flow.ExporterStatus) { s.Senders = 2 }},
		{"restarts", "restarts", "anew", func(s *flow.ExporterStatus) { s.Restarts = 30 }},
	} {
		s := healthy
		s.Exporter = flow.Exporter{Addr: flow.Addr4([4]byte{10, 0, 0, byte(i + 1)})}
		c.change(&s)
		if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{s}}); err != nil {
			t.Fatal(err)
		}
		d, err := console.New(db).Diagnosis(ctx, s.Exporter.ID())
		if err != nil {
			t.Fatal(err)
		}
		var found *console.Check
		for i := range d.Checks {
			if !d.Checks[i].OK {
				found = &d.Checks[i]
				break
			}
		}
		switch {
		case c.check == "" && (found != nil || !d.OK):
			t.Errorf("%s: %+v", c.name, found)
		case c.check == "":
		case found == nil || found.Name != c.check || !strings.Contains(found.Text, c.words) || found.Advice == "":
			t.Errorf("%s: %+v, want a finding of %s with %q and an advice", c.name, found, c.check, c.words)
		case d.OK || !strings.Contains(d.Headline, found.Text):
			t.Errorf("%s: headline %q", c.name, d.Headline)
		}
	}
}
