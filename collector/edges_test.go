package collector

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/netflow"
)

// reader makes a process with one socket whose goroutine is not running yet.
func reader(t testing.TB, c Config) (*process, *listener) {
	t.Helper()
	c.Sockets, c.Logger = 1, slog.New(slog.DiscardHandler)
	c = c.withDefaults()
	ls, err := listen("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ls[0].rx.close() })
	ls[0].dec = netflow.NewDecoder(c.Limits)
	return newProcess(c), ls[0]
}

// TestStopTakesWhatTheKernelHolds: however far the reading is behind when the
// stop comes.
func TestStopTakesWhatTheKernelHolds(t *testing.T) {
	p, l := reader(t, Config{BatchAge: time.Hour})
	send(t, l.addr, netflow.V9, 0, records(200))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	p.ledger.mu.Lock() // stops the reading at its first datagram
	go func() { p.read(ctx, l); close(done) }()
	cancel()
	time.Sleep(2 * drainTime)
	p.ledger.mu.Unlock()
	<-done
	close(p.queue)
	n := 0
	for b := range p.queue {
		n += len(b.recs)
	}
	if n != 200 {
		t.Errorf("%d of 200 records taken", n)
	}
}

// TestKernelDropsAtTheEndOfABurst: sent = received + dropped, also when nothing
// comes after the drop that could tell of it.
func TestKernelDropsAtTheEndOfABurst(t *testing.T) {
	reg := prometheus.NewRegistry()
	p, l := reader(t, Config{ReceiveBuffer: 16 << 10, Registerer: reg})
	if _, ok := l.rx.overflowNow(); !ok {
		t.Skip("this system does not say how many datagrams a socket dropped")
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const sent = 500
	for range sent {
		if _, err := conn.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.read(ctx, l)
	received, dropped := metric(t, reg, "flowtally_collector_datagrams_total"), metric(t, reg, "flowtally_collector_kernel_dropped_datagrams_total")
	if dropped == 0 || received+dropped != sent {
		t.Errorf("%v received and %v dropped of %d", received, dropped, sent)
	}
	loss := p.ledger.take(1, false).Loss
	if !slices.ContainsFunc(loss, func(x flow.Loss) bool { return x.Cause == causeKernel && float64(x.Count) == dropped }) {
		t.Errorf("the ledger has %v", loss)
	}
}

// stuck is a Sink that never writes, and reports only while it may.
type stuck struct{ memory }

func (s *stuck) Write(ctx context.Context, _ flow.Batch) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *stuck) Report(ctx context.Context, r flow.Report) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.memory.Report(ctx, r)
}

// TestRecordsGivenUpAreReported: what a stop could not write is in the last
// report, for which there is time although there was none to write it.
func TestRecordsGivenUpAreReported(t *testing.T) {
	sink := &stuck{}
	addr, stop := start(t, Config{Sink: sink, StopTimeout: 10 * time.Millisecond})
	send(t, addr, netflow.V9, 0, records(100))
	stop()
	if got := sink.loss["store/stopped/record"]; got != 100 {
		t.Errorf("loss %v, want 100 records stopped", sink.loss)
	}
}

// TestBatchOfExtrasIsFullByOctets: extras, which may be many times as large as
// the record they belong to, fill a batch as well.
func TestBatchOfExtrasIsFullByOctets(t *testing.T) {
	var largest atomic.Int64
	sink := &measure{largest: &largest}
	addr, stop := start(t, Config{Sink: sink, BatchAge: time.Hour, Sockets: 1})
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// One field of an enterprise, of 30,000 octets.
	const size = 30000
	msg := append([]byte{0, 10, 0, 0}, make([]byte, 12)...)
	msg = append(msg, 0, 2, 0, 16, 1, 0, 0, 1, 0x80, 1, size>>8, size&0xff, 0, 0, 0xff, 0xff)
	msg = append(msg, 1, 0, (size+4)>>8, (size+4)&0xff)
	for range size {
		msg = append(msg, 'x')
	}
	binary.BigEndian.PutUint16(msg[2:], uint16(len(msg)))
	for range 400 {
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond)
	}
	stop()
	if most := int64(32768*recordOctets + 3*size); largest.Load() > most || largest.Load() == 0 {
		t.Errorf("a batch has %d octets of extras, want at most %d", largest.Load(), most)
	}
}

// measure is a Sink that notes the most octets of extras in one batch.
type measure struct {
	memory
	largest *atomic.Int64
}

func (s *measure) Write(_ context.Context, b flow.Batch) error {
	recs, n := b.Records, 0
	for i := range recs {
		n += len(recs[i].Extra)
	}
	s.largest.Store(max(s.largest.Load(), int64(n)))
	return nil
}

// TestTemplatesThatGoAreCounted: by their own exporter's word or for want of
// room.
func TestTemplatesThatGoAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	p, l := reader(t, Config{Registerer: reg, Limits: netflow.Limits{Templates: 1}})
	from := l.addr
	for _, set := range [][]byte{
		{0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4}, // template 256
		{0, 2, 0, 12, 1, 1, 0, 1, 0, 1, 0, 4}, // template 257, for which it gives way
		{0, 2, 0, 8, 1, 1, 0, 0},              // its withdrawal
	} {
		msg := append([]byte{0, 10, 0, byte(16 + len(set))}, make([]byte, 12)...)
		p.decode(&l.filler, from, 1, append(msg, set...))
	}
	for name, want := range map[string]float64{"evicted_templates_total": 1, "template_withdrawals_total": 1} {
		if got := metric(t, reg, "flowtally_collector_"+name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
