package collector

import (
	"context"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
)

// auditor stands before the Sink of every collector that a test starts, and holds
// its sums against each other when it has stopped.
type auditor struct {
	Sink
	mu      sync.Mutex
	stored  uint64
	loss    map[string]uint64
	records map[flow.Exporter]uint64 // by status
	known   map[flow.Exporter]bool
	failed  bool // the last report
}

func (a *auditor) Write(ctx context.Context, b flow.Batch) error {
	n := len(b.Records)
	loss := append([]flow.Loss(nil), b.Loss...)
	err := a.Sink.Write(ctx, b)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.stored += uint64(n)
		a.book(loss)
	}
	return err
}

func (a *auditor) Report(ctx context.Context, r flow.Report) error {
	err := a.Sink.Report(ctx, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed = err != nil; a.failed {
		return err
	}
	a.book(r.Loss)
	for _, s := range r.Status {
		if s.FirstSeen == s.LastSeen && a.known[s.Exporter] {
			a.failed = true // it gave way and came again: its sums began anew
		}
		a.known[s.Exporter] = true
		a.records[s.Exporter] = s.Records
	}
	return nil
}

func (a *auditor) Sequences(ctx context.Context) ([]flow.Sequence, error) {
	if r, ok := a.Sink.(Recaller); ok {
		return r.Sequences(ctx)
	}
	return nil, nil
}

func (a *auditor) book(loss []flow.Loss) {
	for _, x := range loss {
		if x.Count == 0 {
			continue
		}
		a.loss[x.Stage+"/"+x.Cause] += x.Count
	}
}

// audited puts an auditor before the Sink of c. balance is to be called when the
// collector has stopped:
//
//	decoded = stored + lost in the store, by cause
//	decoded, and events, = what the exporters' status say
//	dropped, by the metrics = dropped, by the ledger
func audited(t *testing.T, c *Config) (balance func()) {
	t.Helper()
	a := &auditor{Sink: c.Sink, loss: map[string]uint64{}, records: map[flow.Exporter]uint64{}, known: map[flow.Exporter]bool{}}
	c.Sink = a
	reg, ok := c.Registerer.(*prometheus.Registry)
	if !ok {
		reg = prometheus.NewRegistry()
		c.Registerer = reg
	}
	return func() {
		t.Helper()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.failed {
			return
		}
		var lost, status uint64
		for _, cause := range []string{causeQueueFull, causeRefused, causeStopped} {
			lost += a.loss[stageStore+"/"+cause]
		}
		for _, n := range a.records {
			status += n
		}
		decoded := uint64(metric(t, reg, "flowtally_collector_records_total"))
		if decoded != a.stored+lost {
			t.Errorf("decoded %d ≠ stored %d + lost %d: %v", decoded, a.stored, lost, a.loss)
		}
		events := uint64(metric(t, reg, "flowtally_collector_events_total"))
		if kept := uint64(metric(t, reg, "flowtally_collector_stored_events_total") + metric(t, reg, "flowtally_collector_dropped_events_total")); kept != events {
			t.Errorf("%d events decoded ≠ %d stored or dropped", events, kept)
		}
		if decoded+events != status {
			t.Errorf("decoded %d and %d events ≠ %d in the exporters' status", decoded, events, status)
		}
		lost += a.loss[stageDecode+"/"+causeRateLimit] + a.loss[stageDecode+"/"+causeTooManyExporters]
		if dropped := uint64(metric(t, reg, "flowtally_collector_dropped_records_total")); dropped != lost {
			t.Errorf("the metrics have %d records dropped, the ledger %d: %v", dropped, lost, a.loss)
		}
		if kernel := uint64(metric(t, reg, "flowtally_collector_kernel_dropped_datagrams_total")); kernel != a.loss[stageReceive+"/"+causeKernel] {
			t.Errorf("the kernel dropped %d datagrams, the ledger has %v", kernel, a.loss)
		}
	}
}
