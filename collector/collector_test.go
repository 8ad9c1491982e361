package collector

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"flowtally/flow"
	"flowtally/netflow"
)

// memory is a Sink that remembers. When hold is not nil, writes wait for it.
type memory struct {
	mu     sync.Mutex
	recs   []flow.Record
	events []flow.Event
	writes int
	status map[flow.Exporter]flow.ExporterStatus
	loss   map[string]uint64
	hold   chan struct{}
	fail   error
	failed int // reports to fail
}

func (s *memory) Write(ctx context.Context, b flow.Batch) error {
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.writes++
	s.recs = append(s.recs, b.Records...)
	s.events = append(s.events, b.Events...)
	s.book(b.Loss)
	return nil
}

// book adds to the ledger; the caller holds the lock.
func (s *memory) book(loss []flow.Loss) {
	if s.loss == nil {
		s.loss = map[string]uint64{}
	}
	for _, x := range loss {
		s.loss[x.Stage+"/"+x.Cause+"/"+x.Unit] += x.Count
	}
}

func (s *memory) Report(_ context.Context, r flow.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed > 0 {
		s.failed--
		return errors.New("away")
	}
	if s.status == nil {
		s.status = map[flow.Exporter]flow.ExporterStatus{}
	}
	for _, x := range r.Status {
		s.status[x.Exporter] = x
	}
	s.book(r.Loss)
	return nil
}

func (s *memory) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.recs)
}

// start runs a collector on a free port and returns its address and how to
// stop it, which waits for Run to return.
func start(t *testing.T, c Config) (netip.AddrPort, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan []netip.AddrPort, 1)
	c.Ready = func(a []netip.AddrPort) { ready <- a }
	if c.Listen == nil && c.ListenTCP == nil && c.ListenTLS == nil {
		c.Listen = []string{"127.0.0.1:0"}
	}
	c.Logger = slog.New(slog.DiscardHandler)
	balance := audited(t, &c)
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		balance()
	})
	t.Cleanup(stop)
	select {
	case a := <-ready:
		return a[0], stop
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
		return netip.AddrPort{}, nil
	}
}

// eventually waits for what becomes true by itself.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

// records makes n records that every version can express.
func records(n int) []flow.Record {
	now := flow.TimeOf(time.Now())
	recs := make([]flow.Record, n)
	for i := range recs {
		recs[i] = flow.Record{
			Start: now - 2000, End: now - 1000 + flow.Time(i%500), Packets: uint64(i%7 + 1), Bytes: uint64(40 * (i + 1)),
			Key: flow.Key{SrcAddr: flow.Addr4([4]byte{10, 0, byte(i >> 8), byte(i)}), DstAddr: flow.Addr4([4]byte{10, 1, 1, 1}),
				SrcPort: uint16(i), DstPort: 443, IPVersion: 4, Protocol: flow.TCP},
			TCPFlags: flow.SYN | flow.ACK,
		}
	}
	return recs
}

// send encodes the records and sends them from one socket.
func send(t *testing.T, to netip.AddrPort, v netflow.Version, domain uint32, recs []flow.Record) {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	now := flow.TimeOf(time.Now())
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: v, Domain: domain, Boot: (now - flow.Hour).Floor(flow.Second)})
	if err != nil {
		t.Fatal(err)
	}
	for len(recs) > 0 {
		msg, n := enc.Append(nil, now, recs)
		if n == 0 {
			t.Fatal("the encoder took no record")
		}
		recs = recs[n:]
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Microsecond) // default receive buffers are small
	}
}

func TestEveryVersionArrivesOnce(t *testing.T) {
	for _, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
		t.Run(v.String(), func(t *testing.T) {
			sink := &memory{}
			addr, stop := start(t, Config{Sink: sink, BatchRecords: 100})
			want := records(1000)
			send(t, addr, v, 7, want)
			eventually(t, "all records stored", func() bool { return sink.count() == len(want) })
			stop()
			ports := map[uint16]int{}
			var bytes, packets uint64
			for _, r := range sink.recs {
				ports[r.SrcPort]++
				bytes += r.Bytes
				packets += r.Packets
				if r.Received == 0 || r.Exporter == 0 {
					t.Fatalf("record without time of receipt or exporter: %+v", r)
				}
			}
			for _, r := range want {
				if ports[r.SrcPort] != 1 {
					t.Errorf("record %d arrived %d times", r.SrcPort, ports[r.SrcPort])
				}
			}
			e := flow.Exporter{Addr: flow.Addr4([4]byte{127, 0, 0, 1}), Domain: 7}
			s, ok := sink.status[e]
			if !ok || s.Records != 1000 || s.Bytes != bytes || s.Packets != packets || s.Version != uint16(v) {
				t.Errorf("status %+v of %v", s, sink.status)
			}
			if len(sink.loss) != 0 {
				t.Errorf("loss %v", sink.loss)
			}
		})
	}
}

// TestOldBatchGoes: a lone record does not wait for company.
func TestOldBatchGoes(t *testing.T) {
	sink := &memory{}
	addr, _ := start(t, Config{Sink: sink, BatchAge: 10 * time.Millisecond})
	for i := 1; i <= 3; i++ {
		send(t, addr, netflow.V5, 0, records(1))
		eventually(t, "the record is stored", func() bool { return sink.count() == i })
	}
}

// TestStopFlushes: what was sent before the stop is stored, whatever the age of
// the batch.
func TestStopFlushes(t *testing.T) {
	sink := &memory{}
	addr, stop := start(t, Config{Sink: sink, BatchAge: time.Hour})
	send(t, addr, netflow.IPFIX, 0, records(500))
	stop()
	if n := sink.count(); n != 500 {
		t.Errorf("%d of 500 records stored", n)
	}
}

// TestSlowSink: a sink that stands still stops neither the reading nor the
// sum: received = stored + dropped.
func TestSlowSink(t *testing.T) {
	sink := &memory{hold: make(chan struct{})}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, BatchRecords: 50, Queue: 2, Writers: 1, Registerer: reg})
	want := records(2000)
	send(t, addr, netflow.V9, 0, want)
	received := func() float64 { return metric(t, reg, "flowtally_collector_records_total") }
	eventually(t, "all are received though none is stored", func() bool { return received() == 2000 })
	close(sink.hold)
	stop()
	dropped := metric(t, reg, "flowtally_collector_dropped_records_total")
	if dropped == 0 {
		t.Error("nothing was dropped: the queue is not bounded")
	}
	if got := float64(sink.count()) + dropped; got != received() {
		t.Errorf("stored %d + dropped %v ≠ received %v", sink.count(), dropped, received())
	}
	if got := sink.loss["store/queue_full/record"]; float64(got) != dropped {
		t.Errorf("the ledger has %d dropped, the metric %v", got, dropped)
	}
}

// TestSinkNeverReturns: a stop ends although the sink does not, and says what
// was not stored.
func TestSinkNeverReturns(t *testing.T) {
	sink := &memory{hold: make(chan struct{})}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, Registerer: reg, StopTimeout: 50 * time.Millisecond})
	send(t, addr, netflow.V9, 0, records(100))
	eventually(t, "received", func() bool { return metric(t, reg, "flowtally_collector_records_total") == 100 })
	stop()
	if got := metric(t, reg, "flowtally_collector_dropped_records_total"); got != 100 {
		t.Errorf("%v dropped, want 100", got)
	}
}

func TestRefusedBatchIsCounted(t *testing.T) {
	sink := &memory{fail: errors.New("value out of range")}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, Registerer: reg})
	send(t, addr, netflow.V9, 0, records(10))
	eventually(t, "received", func() bool { return metric(t, reg, "flowtally_collector_records_total") == 10 })
	stop()
	if got := sink.loss["store/refused/record"]; got != 10 {
		t.Errorf("loss %v, want 10 refused", sink.loss)
	}
}

// TestReportIsKept: a report that cannot be delivered comes with the next one.
func TestReportIsKept(t *testing.T) {
	sink := &memory{failed: 1}
	addr, _ := start(t, Config{Sink: sink})
	send(t, addr, netflow.V9, 3, records(10))
	eventually(t, "the status arrives at the second attempt", func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return len(sink.status) == 1
	})
}

// TestGarbage: whatever a stranger sends is counted and stops nothing.
func TestGarbage(t *testing.T) {
	sink := &memory{}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, Registerer: reg, BatchAge: 10 * time.Millisecond})
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	garbage := [][]byte{
		{}, {0}, {0, 5}, {0, 9}, {0, 10}, {0, 11, 1, 2, 3}, []byte("GET / HTTP/1.1\r\n\r\n"),
		{0, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		make([]byte, 9000),
		append([]byte{0, 9, 0, 1}, make([]byte, 60)...),
	}
	for _, g := range garbage {
		if _, err := conn.Write(g); err != nil {
			t.Fatal(err)
		}
	}
	send(t, addr, netflow.IPFIX, 0, records(10))
	eventually(t, "good records arrive after the garbage", func() bool { return sink.count() == 10 })
	stop()
	if got := metric(t, reg, "flowtally_collector_datagrams_total"); got < float64(len(garbage)) {
		t.Errorf("%v datagrams counted, %d were sent", got, len(garbage))
	}
	if len(sink.status) != 1 {
		t.Errorf("garbage made exporters: %v", sink.status)
	}
	if len(sink.loss) == 0 {
		t.Error("the garbage is not in the ledger")
	}
}

// TestTooManyExporters: a stranger who invents exporters gets no further than
// the limit, and the first ones are served on.
func TestTooManyExporters(t *testing.T) {
	sink := &memory{}
	addr, stop := start(t, Config{Sink: sink, MaxExporters: 3, Sockets: 1})
	for domain := range uint32(10) {
		send(t, addr, netflow.IPFIX, domain, records(5))
	}
	send(t, addr, netflow.IPFIX, 0, records(5))
	stop()
	if n := sink.count(); n != 3*5+5 {
		t.Errorf("%d records stored, want those of 3 exporters and 5 more of the first", n)
	}
	if got := sink.loss["decode/too_many_exporters/record"]; got != 7*5 {
		t.Errorf("loss %v, want 35 records of exporters beyond the limit", sink.loss)
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = Run(context.Background(), Config{Sink: &memory{}, Listen: []string{taken.LocalAddr().String()}, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another program") {
		t.Errorf("a port in use gives %v", err)
	}
	// Neither may a second collector share the port of the first.
	addr, _ := start(t, Config{Sink: &memory{}})
	err = Run(context.Background(), Config{Sink: &memory{}, Listen: []string{addr.String()}, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another program") {
		t.Errorf("the port of a running collector gives %v", err)
	}
}

func TestBadAddress(t *testing.T) {
	for _, a := range []string{"nonsense", "127.0.0.1:99999", "999.1.1.1:9995"} {
		if err := Run(context.Background(), Config{Sink: &memory{}, Listen: []string{a}, Logger: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%s was listened on", a)
		}
	}
}

// TestImpossibleTimesAreRepaired: and marked, and counted.
func TestImpossibleTimesAreRepaired(t *testing.T) {
	sink := &memory{}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, Registerer: reg})
	r := records(1)
	r[0].Start, r[0].End = flow.TimeOf(time.Now())+2*flow.Day, flow.TimeOf(time.Now())+2*flow.Day
	send(t, addr, netflow.IPFIX, 0, r)
	stop()
	if len(sink.recs) != 1 || sink.recs[0].Marks&flow.MarkTimeRepaired == 0 || sink.recs[0].End != sink.recs[0].Received {
		t.Errorf("stored %+v", sink.recs)
	}
	if got := metric(t, reg, "flowtally_collector_time_repaired_records_total"); got != 1 {
		t.Errorf("%v repairs counted", got)
	}
}

// metric sums the series of one metric.
func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestMetricsAreSound(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestOverflowCountIsBounded(t *testing.T) {
	for n := range 64 {
		for _, b := range []byte{0, 1, 16, 20, 0xff} {
			oob := make([]byte, n)
			for i := range oob {
				oob[i] = b
			}
			overflowCount(oob) // must not panic or loop
		}
	}
	oob := make([]byte, 64)
	binary.NativeEndian.PutUint64(oob, 20)
	binary.NativeEndian.PutUint32(oob[8:], 1)   // SOL_SOCKET
	binary.NativeEndian.PutUint32(oob[12:], 40) // SO_RXQ_OVFL
	binary.NativeEndian.PutUint32(oob[16:], 1234)
	if got, ok := overflowCount(oob); reusePort && (!ok || got != 1234) {
		t.Errorf("overflow count %d %v", got, ok)
	}
}
