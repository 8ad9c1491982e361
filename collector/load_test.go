package collector

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/netflow"
)

// message makes an IPFIX message of domain 7 with the sets given.
func message(seq uint32, sets ...[]byte) []byte {
	b := make([]byte, 16)
	for _, s := range sets {
		b = append(b, s...)
	}
	binary.BigEndian.PutUint16(b, 10)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[4:], uint32(time.Now().Unix()))
	binary.BigEndian.PutUint32(b[8:], seq)
	binary.BigEndian.PutUint32(b[12:], 7)
	return b
}

// template256 has one field, octetDeltaCount of four octets.
var template256 = []byte{0, 2, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4}

// data256 is a set of n records of it.
func data256(n int) []byte {
	b := []byte{1, 0, 0, byte(4 + 4*n)}
	for range n {
		b = append(b, 0, 0, 0, 100)
	}
	return b
}

func dial(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// TestLostDatagramsAreMissing: what a session's numbers pass over is in the
// ledger, and what only came late is not.
func TestLostDatagramsAreMissing(t *testing.T) {
	sink := &memory{}
	addr, stop := start(t, Config{Sink: sink})
	conn := dial(t, addr)
	write(t, conn, message(0, template256, data256(10)))
	write(t, conn, message(10, data256(10)))
	write(t, conn, message(45, data256(5))) // 20 to 44 did not come
	write(t, conn, message(30, data256(5))) // but 30 to 34 are late
	write(t, conn, message(50, data256(5)))
	stop()
	if got := sink.loss["way/missing/record"]; got != 20 {
		t.Errorf("loss %v, want 20 records missing", sink.loss)
	}
	s := sink.status[flow.Exporter{Addr: flow.Addr4([4]byte{127, 0, 0, 1}), Domain: 7}]
	if s.MissingRecords != 20 || s.Records != 35 || s.SourcePorts != 1 {
		t.Errorf("status %+v", s)
	}
}

// TestSetsWithoutTemplateAreNotMissing: they are held, and given up at the stop.
func TestSetsWithoutTemplateAreNotMissing(t *testing.T) {
	sink := &memory{}
	addr, stop := start(t, Config{Sink: sink})
	conn := dial(t, addr)
	for i := range uint32(5) {
		write(t, conn, message(i*10, data256(10)))
	}
	stop()
	if got := sink.loss["decode/no_template/set"]; got != 5 || len(sink.loss) != 1 {
		t.Errorf("loss %v, want 5 sets without a template and nothing else", sink.loss)
	}
	s := sink.status[flow.Exporter{Addr: flow.Addr4([4]byte{127, 0, 0, 1}), Domain: 7}]
	if s.Held != 5 || s.NoTemplate != 5 || s.Datagrams != 5 {
		t.Errorf("an exporter without templates is not seen: %+v", s)
	}
}

// remembering is a Sink that knows where sessions stood.
type remembering struct {
	memory
	stood []flow.Sequence
}

func (s *remembering) Sequences(context.Context) ([]flow.Sequence, error) { return s.stood, nil }

func (s *remembering) Write(ctx context.Context, b flow.Batch) error {
	if err := s.memory.Write(ctx, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stood = append(s.stood, b.Sequences...)
	return nil
}

// TestGapWhileNobodyListened: what was sent between two runs of a collector is
// missing in the second.
func TestGapWhileNobodyListened(t *testing.T) {
	first := &remembering{}
	addr, stop := start(t, Config{Sink: first})
	conn := dial(t, addr)
	write(t, conn, message(0, template256, data256(10)))
	write(t, conn, message(10, data256(10)))
	stop()
	if n := len(first.stood); n == 0 || first.stood[n-1].Next != 20 || first.stood[n-1].Version != 10 {
		t.Fatalf("with the batch went %+v", first.stood)
	}
	second := &remembering{stood: first.stood[len(first.stood)-1:]}
	addr, stop = start(t, Config{Sink: second})
	local := conn.LocalAddr().(*net.UDPAddr)
	conn.Close()
	again, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Skipf("the port of the first run is taken: %v", err)
	}
	defer again.Close()
	write(t, again, message(50, template256, data256(10)))
	stop()
	if got := second.loss["way/missing/record"]; got != 30 {
		t.Errorf("loss %v, want the 30 records that nobody received", second.loss)
	}
}

// TestTemplatesOutliveTheCollector: they are there before the exporter repeats
// them.
func TestTemplatesOutliveTheCollector(t *testing.T) {
	dir := t.TempDir()
	var local *net.UDPAddr // the exporter's port is part of its identity
	for run := range 2 {
		sink := &memory{}
		addr, stop := start(t, Config{Sink: sink, StateDir: dir, Listen: []string{"127.0.0.1:0"}})
		conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(addr))
		if err != nil {
			t.Skipf("the port of the first run is taken: %v", err)
		}
		local = conn.LocalAddr().(*net.UDPAddr)
		if run == 0 {
			write(t, conn, message(0, template256))
		}
		write(t, conn, message(0, data256(3)))
		stop()
		conn.Close()
		if len(sink.recs) != 3 {
			t.Errorf("run %d: %d records of 3", run, len(sink.recs))
		}
	}
}

func TestAllowList(t *testing.T) {
	for _, c := range []struct {
		allow string
		want  int
	}{{"127.0.0.0/8", 10}, {"10.0.0.0/8", 0}} {
		sink := &memory{}
		reg := prometheus.NewRegistry()
		addr, stop := start(t, Config{Sink: sink, Registerer: reg, Allow: []netip.Prefix{netip.MustParsePrefix(c.allow)}})
		send(t, addr, netflow.IPFIX, 0, records(10))
		stop()
		refused := metric(t, reg, "flowtally_collector_refused_datagrams_total")
		if len(sink.recs) != c.want || (refused == 0) != (c.want > 0) {
			t.Errorf("allowing %s: %d records, %v datagrams refused", c.allow, len(sink.recs), refused)
		}
		if got := sink.loss["receive/not_allowed/datagram"]; float64(got) != refused {
			t.Errorf("the ledger has %v, the metric %v", sink.loss, refused)
		}
	}
}

// TestRateLimit: received = stored + dropped at the limit.
func TestRateLimit(t *testing.T) {
	sink := &memory{}
	addr, stop := start(t, Config{Sink: sink, RateLimit: 200})
	send(t, addr, netflow.IPFIX, 0, records(2000))
	stop()
	dropped := sink.loss["decode/rate_limit/record"]
	if dropped == 0 || uint64(len(sink.recs))+dropped != 2000 {
		t.Errorf("%d stored and %d dropped of 2000", len(sink.recs), dropped)
	}
	if sink.loss["way/missing/record"] != 0 {
		t.Errorf("what was dropped here is missing on the way: %v", sink.loss)
	}
}

// TestSilentExportersGiveWay: a full house makes room for whoever comes, but not
// at the expense of those that send.
func TestSilentExportersGiveWay(t *testing.T) {
	l := newLedger(3)
	now := flow.Time(1_800_000_000_000)
	come := func(domain uint32, at flow.Time) string {
		m := netflow.Message{Version: netflow.IPFIX, Records: 1, DataRecords: 1, Exporter: flow.Exporter{Domain: domain}}
		return l.datagram(&source{}, &receipt{m: &m, now: at, records: 1})
	}
	for d := range uint32(3) {
		come(d, now)
	}
	if got := come(3, now+flow.Minute); got != causeTooManyExporters {
		t.Errorf("a fourth of three: %q", got)
	}
	come(0, now+silentTime)
	if got := come(3, now+silentTime+1); got != "" {
		t.Errorf("silent ones do not give way: %q", got)
	}
	if len(l.exporters) != 3 || l.exporters[flow.Exporter{Domain: 0}] == nil {
		t.Errorf("%d exporters", len(l.exporters))
	}
}

// TestSessionsAreBounded: a stranger who changes ports makes no memory.
func TestSessionsAreBounded(t *testing.T) {
	l := newLedger(10)
	m := netflow.Message{Version: netflow.IPFIX, Records: 1, DataRecords: 1}
	for port := range uint16(5000) {
		m.Sequence = uint32(port) * 100
		l.datagram(&source{}, &receipt{m: &m, port: port, now: flow.Time(port), records: 1})
	}
	e := l.exporters[flow.Exporter{}]
	if len(e.sessions) > maxPorts || l.sessions != len(e.sessions) {
		t.Errorf("%d sessions, counted as %d", len(e.sessions), l.sessions)
	}
	if loss := l.take(1, true).Loss; len(loss) != 0 {
		t.Errorf("loss %v", loss)
	}
}

// TestTemplatesFromAnotherPort: a device that numbers two ports as one loses
// nothing.
func TestTemplatesFromAnotherPort(t *testing.T) {
	l := newLedger(10)
	src := source{}
	m := netflow.Message{Version: netflow.V9, Templates: 1}
	for i := range uint32(400) {
		m.Sequence, m.Records = i, 10
		port := uint16(2)
		if i%20 == 0 {
			port, m.Records = 1, 0
		}
		m.DataRecords = m.Records
		l.datagram(&src, &receipt{m: &m, port: port, now: flow.Time(i)*100 + 1, records: uint64(m.Records)})
	}
	r := l.take(100_000, true)
	if len(r.Loss) != 0 || r.Status[0].Senders != 1 {
		t.Errorf("loss %v, status %+v", r.Loss, r.Status)
	}
}

// TestSendersBehindOneAddress are told apart by their ports.
func TestSendersBehindOneAddress(t *testing.T) {
	l := newLedger(10)
	m := netflow.Message{Version: netflow.IPFIX}
	for i := range uint32(30) {
		for port := range uint32(3) {
			m.Sequence, m.Records, m.DataRecords = i*10+port*100_000, 10, 10
			l.datagram(&source{}, &receipt{m: &m, port: uint16(port), now: flow.Time(i) + 1, records: 10})
		}
	}
	r := l.take(1000, true)
	if s := r.Status[0]; s.Senders != 3 || s.SourcePorts != 3 || len(r.Loss) != 0 {
		t.Errorf("status %+v, loss %v", s, r.Loss)
	}
}

// TestSendersAfterEachOther are one that was started again.
func TestSendersAfterEachOther(t *testing.T) {
	l := newLedger(10)
	m := netflow.Message{Version: netflow.IPFIX}
	now := flow.Time(0)
	for port := range uint16(4) {
		for i := range uint32(10) {
			now += flow.Second
			m.Sequence, m.Records, m.DataRecords = i*10, 10, 10
			l.datagram(&source{}, &receipt{m: &m, port: port, now: now, records: 10})
		}
	}
	if s := l.take(now, false).Status[0]; s.Senders != 1 || s.SourcePorts != 4 {
		t.Errorf("status %+v", s)
	}
	// And a second beside the last is another.
	for i := range uint32(10) {
		for port := range uint16(2) {
			now += flow.Second
			m.Sequence, m.Records, m.DataRecords = (10-uint32(port)*10+i)*10, 10, 10
			l.datagram(&source{}, &receipt{m: &m, port: 3 + port, now: now, records: 10})
		}
	}
	if s := l.take(now, true).Status[0]; s.Senders != 2 {
		t.Errorf("status %+v", s)
	}
}

// TestExportersOwnWord: what an exporter says it did not send, and in v9 how many
// records were in what is missing.
func TestExportersOwnWord(t *testing.T) {
	l := newLedger(10)
	said := func(records, notSent, dropped uint64) []netflow.ProcessStats {
		return []netflow.ProcessStats{{Said: netflow.TotalRecords | netflow.TotalNotSentFlows | netflow.TotalDroppedPackets,
			Records: records, NotSentFlows: notSent, DroppedPackets: dropped}}
	}
	seq := uint32(0)
	come := func(n int, stats []netflow.ProcessStats) {
		m := netflow.Message{Version: netflow.V9, Sequence: seq, Records: n, DataRecords: n, OptionRecords: len(stats), Stats: stats}
		l.datagram(&source{}, &receipt{m: &m, port: 1, now: flow.Time(seq) + 1, records: uint64(n)})
		seq++
	}
	come(10, nil)
	come(10, said(20, 3, 100))
	seq += 2 // two datagrams of 12 and 13 records are lost
	come(10, nil)
	come(0, said(55, 5, 100))
	come(0, said(55, 5, 150))
	sums := map[string]uint64{}
	for _, x := range l.take(10_000, true).Loss {
		sums[x.Stage+"/"+x.Cause+"/"+x.Unit] += x.Count
	}
	for k, want := range map[string]uint64{"exporter/not_sent/record": 5, "exporter/dropped/packet": 150, "way/missing/record": 25, "way/missing/datagram": 2} {
		if sums[k] != want {
			t.Errorf("%s is %d, want %d", k, sums[k], want)
		}
	}
}

// TestReceivingDoesNotAllocate: from the socket to the batch, with the template
// known.
func TestReceivingDoesNotAllocate(t *testing.T) {
	p, l := reader(t, Config{})
	conn := dial(t, l.addr)
	rx := l.rx
	if atOnce == 1 {
		t.Skip("this system reads one datagram at a time, with an allocation for its address")
	}
	p.open(&l.filler, l.dec)
	turn := receiveTurn(t, p, l, rx, conn)
	turn()
	if n := testing.AllocsPerRun(100, turn); n > 0 {
		t.Errorf("%v allocations for a datagram", n)
	}
}

// receiveTurn returns a function that sends a datagram of 26 records and takes it.
func receiveTurn(t testing.TB, p *process, l *listener, rx *receiver, conn net.Conn) func() {
	t.Helper()
	now := flow.TimeOf(time.Now())
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: 7, Boot: now})
	if err != nil {
		t.Fatal(err)
	}
	recs := records(20)
	first, _ := enc.Append(nil, now, recs)
	msg, n := enc.Append(nil, now, recs)
	var seq uint32
	turn := func(b []byte, n int) {
		binary.BigEndian.PutUint32(b[8:], seq)
		seq += uint32(n)
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		got, err := rx.receive()
		if err != nil || got != 1 {
			t.Fatalf("%d datagrams, %v", got, err)
		}
		d, from := rx.datagram(0)
		before := len(l.batch)
		p.decode(&l.filler, from, now, d)
		if len(l.batch) == before {
			t.Fatal("nothing decoded")
		}
		if l.full(p.BatchRecords) {
			l.batch = l.batch[:0]
		}
	}
	turn(first, n)
	return func() { turn(msg, n) }
}

// BenchmarkReceive is the way of a datagram from the socket into the batch, with
// its sending.
func BenchmarkReceive(b *testing.B) {
	c := Config{}.withDefaults()
	c.Sockets = 1
	ls, err := listen("127.0.0.1:0", c)
	if err != nil {
		b.Fatal(err)
	}
	defer ls[0].rx.close()
	ls[0].dec = netflow.NewDecoder(c.Limits)
	p := newProcess(c)
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(ls[0].addr))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	rx := ls[0].rx
	p.open(&ls[0].filler, ls[0].dec)
	turn := receiveTurn(b, p, ls[0], rx, conn)
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20, "ns/record")
}

// counting is a Sink that only counts.
type counting struct {
	memory
	n atomic.Int64
}

func (s *counting) Write(_ context.Context, b flow.Batch) error {
	s.n.Add(int64(len(b.Records)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book(b.Loss)
	return nil
}

// TestSumBalances: sent = stored + missing, and what is missing is what the
// kernel dropped, under a load that makes it drop.
func TestSumBalances(t *testing.T) {
	sink := &counting{}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, Registerer: reg, ReceiveBuffer: 32 << 10, Sockets: 1})
	conn := dial(t, addr)
	write(t, conn, message(0, template256, data256(10)))
	eventually(t, "the first is received", func() bool { return metric(t, reg, "flowtally_collector_records_total") == 10 })
	const datagrams = 20_000
	for i := range uint32(datagrams) {
		write(t, conn, message(10+i*50, data256(50)))
	}
	// The last that comes says what is missing before it.
	end := uint32(10 + datagrams*50)
	eventually(t, "the buffer is empty again", func() bool {
		write(t, conn, message(end, data256(50)))
		end += 50
		time.Sleep(5 * time.Millisecond)
		return metric(t, reg, "flowtally_collector_kernel_dropped_datagrams_total")+metric(t, reg, "flowtally_collector_datagrams_total") == float64(1+end/50)
	})
	received := metric(t, reg, "flowtally_collector_datagrams_total")
	write(t, conn, message(end, data256(50))) // those before may have been dropped to the last
	end += 50
	eventually(t, "the last is received", func() bool { return metric(t, reg, "flowtally_collector_datagrams_total") == received+1 })
	stop()
	missing, dropped := sink.loss["way/missing/record"], sink.loss["receive/kernel_buffer/datagram"]
	t.Logf("%d datagrams dropped by the kernel", dropped)
	if got := uint64(sink.n.Load()) + missing; got != uint64(end) || missing != dropped*50 {
		t.Errorf("sent %d, stored %d, missing %d, dropped by the kernel %d datagrams of 50", end, sink.n.Load(), missing, dropped)
	}
}
