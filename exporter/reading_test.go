package exporter

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/netflow"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/bpf"
)

// list is a Batcher that gives packets, a few at a time, and then ends.
type list struct {
	script
	packets []capture.Packet
	few     int
}

func newList(packets ...capture.Packet) *list {
	for i := range packets {
		p := &packets[i]
		p.Link, p.Length = 1, uint32(len(p.Data))
		if p.Time == 0 {
			p.Time = t0.UnixNano()
		}
	}
	return &list{script: *newScript(), packets: packets, few: 3}
}

func (l *list) ReadBatch(dst []capture.Packet) (int, error) {
	if len(l.packets) == 0 {
		return 0, io.EOF
	}
	n := copy(dst[:min(l.few, len(dst))], l.packets)
	l.packets = l.packets[n:]
	return n, nil
}

// described is a list whose packets came in by interfaces of their own.
type described struct{ *list }

func (described) Interfaces() []capture.Interface { return []capture.Interface{{Index: 7, Name: "a"}} }

// meterAll runs a Source through reading and one meter.
func meterAll(t *testing.T, src capture.Source, c Config) ([]flow.Record, Summary) {
	t.Helper()
	c.Meter.MaxFlows = 1 << 12
	recs, l := records(t, src, c, 1)
	s := l.summary()
	balance := s.Packets + s.Ignored + s.DuplicatesDropped + s.SampledOut
	if s.Seen+s.Inner != balance {
		t.Errorf("seen %d + inner %d, accounted for %d: %+v", s.Seen, s.Inner, balance, s)
	}
	packets, _ := sum(recs)
	if packets != s.Packets {
		t.Errorf("metered %d packets, the records have %d", s.Packets, packets)
	}
	return recs, s
}

// TestSampling: one packet in N is metered, the first or any; the others are
// counted, and frames without IP are no packets to select from.
func TestSampling(t *testing.T) {
	for _, random := range []bool{false, true} {
		var packets []capture.Packet
		for i := range 1000 {
			packets = append(packets,
				capture.Packet{Data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)},
				capture.Packet{Data: arp})
		}
		recs, s := meterAll(t, newList(packets...), Config{Sample: 10, SampleRandom: random})
		if len(recs) != 100 || s.SampledOut != 900 || s.Ignored != 1000 {
			t.Errorf("random %v: %d of 1000 packets were metered: %+v", random, len(recs), s)
		}
		inOrder, perTen := true, map[uint16]int{}
		for _, r := range recs {
			perTen[r.SrcPort/10]++
			inOrder = inOrder && r.SrcPort%10 == 0
		}
		if len(perTen) != 100 || inOrder == random {
			t.Errorf("random %v: %d groups of ten have one, the first of each: %v", random, len(perTen), inOrder)
		}
	}
}

// TestSegments: a frame that the kernel put together counts as the packets it was
// on the wire, with the headers that each of them had.
func TestSegments(t *testing.T) {
	frame := ethernet("10.0.0.1", "10.0.0.2", 1, 53, 3000)
	recs, s := meterAll(t, newList(
		capture.Packet{Data: frame, Segments: 3, Headers: 14 + 28},
		capture.Packet{Data: frame, Segments: 1},
	), Config{})
	want := uint64(3028 + 2*28 + 3028)
	if len(recs) != 1 || recs[0].Packets != 4 || recs[0].Bytes != want || s.Seen != 4 {
		t.Errorf("%+v, want 4 packets of %d octets together; %+v", recs, want, s)
	}
}

// TestIngressInterface: a Source that knows its interfaces says each packet's;
// for others it is configured.
func TestIngressInterface(t *testing.T) {
	p := capture.Packet{Data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10), InIf: 7}
	q := p
	q.InIf = 8
	recs, _ := meterAll(t, described{newList(p, q)}, Config{InIf: 3})
	if len(recs) != 2 || recs[0].InIf != 7 || recs[1].InIf != 8 {
		t.Errorf("described: %+v", recs)
	}
	recs, _ = meterAll(t, newList(p, q), Config{InIf: 3})
	if len(recs) != 1 || recs[0].InIf != 3 || recs[0].Packets != 2 {
		t.Errorf("not described: %+v", recs)
	}
}

// TestOwnExport: what our own socket sends is left out on a live interface, and
// nothing else: neither what goes the other way, nor another exporter's messages
// to the same collector, nor the like in a file.
func TestOwnExport(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := newSending(context.Background(), &Config{To: []string{conn.LocalAddr().String()}, Version: netflow.IPFIX})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	own := s.streams()
	from := s.to[0].conn.LocalAddr().(*net.UDPAddr).AddrPort()
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	frame := func(from, to netip.AddrPort) []byte {
		return ethernet(from.Addr().String(), to.Addr().String(), from.Port(), to.Port(), 100)
	}
	for _, live := range []bool{true, false} {
		src := newList(
			capture.Packet{Data: frame(from, to)},
			capture.Packet{Data: frame(to, from)},
			capture.Packet{Data: frame(netip.AddrPortFrom(from.Addr(), from.Port()-1), to)},
			capture.Packet{Data: frame(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), from.Port()), to)},
		)
		full, empty := make(chan batch, batches), make(chan []flow.Record, batches)
		for range batches {
			empty <- make([]flow.Record, 0, batchRecords)
		}
		l := &ledger{}
		c := Config{Source: src, Live: live, Meter: small}
		if err := c.meter(context.Background(), own, full, empty, l); err != nil {
			t.Fatal(err)
		}
		want := uint64(btoi(live))
		if s := l.summary(); s.IgnoredBy.OwnExport != want || s.Packets != 4-want || s.Flows != 4-want {
			t.Errorf("live %v: %+v", live, s)
		}
	}
}

// TestTunnels: of a packet in a packet, one counts, the other or both, each with
// its own octets.
func TestTunnels(t *testing.T) {
	inner := ethernet("192.0.2.1", "192.0.2.2", 7, 53, 100)[14:]
	frame := append(make([]byte, 12), 0x08, 0x00)
	header := make([]byte, 20)
	header[0], header[8], header[9] = 0x45, 64, 4
	binary.BigEndian.PutUint16(header[2:], uint16(20+len(inner)))
	copy(header[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	frame = append(append(frame, header...), inner...)

	for _, tt := range []struct {
		tunnels packet.Tunnels
		bytes   []uint64
	}{
		{packet.Outer, []uint64{148}},
		{packet.Inner, []uint64{128}},
		{packet.Both, []uint64{148, 128}},
	} {
		recs, s := meterAll(t, newList(capture.Packet{Data: frame}), Config{
			Tunnels: tt.tunnels, Meter: meter.Config{Details: true},
		})
		if len(recs) != len(tt.bytes) || s.Inner != uint64(len(tt.bytes)-1) {
			t.Fatalf("%v: %d records, %+v", tt.tunnels, len(recs), s)
		}
		for i, r := range recs {
			if r.Bytes != tt.bytes[i] {
				t.Errorf("%v: %d octets, want %d", tt.tunnels, r.Bytes, tt.bytes[i])
			}
			if inside := r.Protocol == flow.UDP; r.Details == nil || inside != (r.Details.OuterSrc == flow.Addr4([4]byte{10, 0, 0, 1})) {
				t.Errorf("%v: details %+v", tt.tunnels, r.Details)
			}
		}
	}
}

// TestDetails: a record says what its packets had in common, and how far they
// went apart.
func TestDetails(t *testing.T) {
	var packets []capture.Packet
	for i, ttl := range []byte{64, 60, 70} {
		p := ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10*i)
		p[5], p[11] = 2, 1
		p[14+8] = ttl
		p[14+4] = 1
		packets = append(packets, capture.Packet{Data: p})
	}
	packets = append(packets, packets[0]) // a copy
	recs, s := meterAll(t, newList(packets...), Config{Meter: meter.Config{Details: true}})
	want := flow.Details{
		SrcMAC: [6]byte{5: 1}, DstMAC: [6]byte{5: 2}, Copies: 1,
		MinLength: 28, MaxLength: 48, MinTTL: 60, MaxTTL: 70,
	}
	if len(recs) != 1 || s.Duplicates != 1 || recs[0].Marks != flow.MarkDuplicate || recs[0].Details == nil || *recs[0].Details != want {
		t.Errorf("%+v %+v, want %+v", recs, recs[0].Details, want)
	}
}

// ending is a list of what came by tunnels.
type ending struct{ *list }

func (ending) TunnelStats() capture.TunnelStats {
	return capture.TunnelStats{Packets: 9, Clients: 2, Others: 1, Unknown: 3, Malformed: 2, Foreign: 1, Cut: 4}
}

// TestTunnelsCounted: what a source that ends tunnels counts is in the summary and
// the metrics, also behind a filter; of others nothing is said.
func TestTunnelsCounted(t *testing.T) {
	src := newList(capture.Packet{Data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 1)})
	all, err := capture.Filtered(ending{src}, []bpf.RawInstruction{{Op: 6, K: 1 << 16}})
	if err != nil {
		t.Fatal(err)
	}
	_, l := records(t, all, Config{Meter: small}, 1)
	want := Tunnels{Datagrams: 9, Clients: 2, Others: 1, Unknown: 3, Malformed: 2, Foreign: 1, Cut: 4}
	if got := l.summary().Tunnels; got == nil || *got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(l)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sums[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"datagrams_total": 9, "clients": 2, "others_total": 1, "left_out_total": 6, "cut_total": 4,
	} {
		if got := sums["flowtally_exporter_tunnel_"+name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, l := records(t, newList(), Config{Meter: small}, 1); l.summary().Tunnels != nil {
		t.Error("a source without tunnels has some")
	}
}

// TestFanout: several Sources are metered together, the first that fails ends
// all, and so does the end of the context.
func TestFanout(t *testing.T) {
	c := listen(t)
	var sources []capture.Source
	for i := range 3 {
		var packets []capture.Packet
		for j := range 100 {
			packets = append(packets, capture.Packet{
				Data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), uint16(j), 10), Time: time.Now().UnixNano(),
			})
		}
		sources = append(sources, newList(packets...))
	}
	s, err := Run(context.Background(), Config{
		Source: sources[0], Fanout: sources[1:], To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Meter: small,
	})
	if err != nil || s.Packets != 300 || s.Flows != 300 {
		t.Errorf("%+v, %v", s, err)
	}
	if recs := c.wait(t, s.Messages); len(recs) != 300 {
		t.Errorf("%d records came", len(recs))
	}

	broken := newScript(frame{err: io.ErrUnexpectedEOF})
	quiet := newScript()
	quiet.live = true
	if _, err := Run(context.Background(), Config{
		Source: quiet, Fanout: []capture.Source{broken}, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Meter: small,
	}); err == nil {
		t.Error("a broken source is no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	one, other := newScript(), newScript()
	one.live, other.live = true, true
	var calls atomic.Int32
	both := func() {
		if calls.Add(1) == 2 {
			cancel()
		}
	}
	one.idle, other.idle = both, both
	if _, err := Run(ctx, Config{
		Source: one, Fanout: []capture.Source{other}, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Meter: small,
	}); err != nil {
		t.Error(err)
	}
}

// TestUnstatedLength: an IPv4 packet that states the length 0 has that of its frame,
// also where the snap length cut it; IPv6 counts as its header states it.
func TestUnstatedLength(t *testing.T) {
	frame := framed(ipv4("10.0.0.1", "10.0.0.2", 1, 0, 17, udp(1, 2, make([]byte, 3000))))
	frame[16], frame[17] = 0, 0
	tagged := append(append(append([]byte{}, frame[:12]...), 0x81, 0, 0, 7), frame[12:]...)
	six := append(append(make([]byte, 12), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17), make([]byte, 3000)...)
	for _, tt := range []struct {
		name     string
		data     []byte
		length   int
		want     uint64
		unstated uint64
	}{
		{"whole", frame, len(frame), 3028, 1},
		{"cut", frame[:64], len(frame), 3028, 1},
		{"tagged", tagged, len(tagged), 3028, 1},
		{"ipv6", six, len(six), 40, 0},
	} {
		src := newList(capture.Packet{Data: tt.data})
		src.packets[0].Length = uint32(tt.length)
		recs, s := meterAll(t, src, Config{})
		if len(recs) != 1 || recs[0].Bytes != tt.want || s.LengthsUnstated != tt.unstated {
			t.Errorf("%s: %d bytes, want %d: %+v", tt.name, s.Bytes, tt.want, s)
		}
	}
}
