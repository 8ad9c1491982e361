package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/netflow"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// frame is one packet of a scripted Source; without data it is what err says.
type frame struct {
	at   time.Time
	data []byte
	err  error
}

// script is a Source that reads frames and then ends; with live it is quiet
// instead, until it is closed.
type script struct {
	frames []frame
	live   bool
	closed chan struct{}
	once   sync.Once
	drops  uint64
	idle   func() // called when the script has run out
}

func newScript(frames ...frame) *script {
	return &script{frames: frames, closed: make(chan struct{})}
}

func (s *script) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if len(s.frames) == 0 {
		if !s.live {
			return nil, gopacket.CaptureInfo{}, io.EOF
		}
		if s.idle != nil {
			s.idle()
			s.idle = nil
		}
		select {
		case <-s.closed:
			return nil, gopacket.CaptureInfo{}, net.ErrClosed
		case <-time.After(10 * time.Millisecond):
			return nil, gopacket.CaptureInfo{}, capture.ErrTimeout
		}
	}
	f := s.frames[0]
	s.frames = s.frames[1:]
	return f.data, gopacket.CaptureInfo{Timestamp: f.at, CaptureLength: len(f.data), Length: len(f.data)}, f.err
}

func (s *script) LinkType() uint32     { return 1 }
func (s *script) Stats() capture.Stats { return capture.Stats{Drops: s.drops} }
func (s *script) Close() error         { s.once.Do(func() { close(s.closed) }); return nil }

// ethernet returns a frame of UDP or, with flags, TCP between two hosts.
func ethernet(src, dst string, sport, dport uint16, payload int) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	udp := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	var ip gopacket.SerializableLayer
	if s.Is4() {
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: s.AsSlice(), DstIP: d.AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(l)
		ip = l
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: s.AsSlice(), DstIP: d.AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(l)
		ip = l
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		eth, ip, udp, gopacket.Payload(make([]byte, payload)))
	if err != nil {
		panic(err)
	}
	return buf.Bytes()
}

var arp = append(append(make([]byte, 12), 0x08, 0x06), make([]byte, 46)...)

// collector is a socket on the loopback interface and what it received.
type collector struct {
	conn     *net.UDPConn
	done     chan struct{}
	mu       sync.Mutex
	messages []netflow.Message
	records  []flow.Record
	errs     []error
}

func listen(t testing.TB) *collector {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadBuffer(8 << 20)
	c := &collector{conn: conn, done: make(chan struct{})}
	decoder := netflow.NewDecoder(netflow.Limits{})
	go func() {
		defer close(c.done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			var m netflow.Message
			c.mu.Lock()
			var derr error
			c.records, derr = decoder.Decode(c.records, &m, from, flow.TimeOf(time.Now()), buf[:n])
			if derr != nil {
				c.errs = append(c.errs, derr)
			}
			c.messages = append(c.messages, m)
			c.mu.Unlock()
		}
	}()
	t.Cleanup(func() { conn.Close(); <-c.done })
	return c
}

func (c *collector) addr() string { return c.conn.LocalAddr().String() }

// wait waits until so many messages came, and returns the records of all.
func (c *collector) wait(t testing.TB, messages uint64) []flow.Record {
	t.Helper()
	for range 1000 {
		c.mu.Lock()
		n, recs, errs := len(c.messages), c.records, c.errs
		c.mu.Unlock()
		if uint64(n) >= messages {
			if len(errs) > 0 {
				t.Fatalf("decode: %v", errors.Join(errs...))
			}
			return recs
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d of %d messages came", len(c.messages), messages)
	return nil
}

func sum(recs []flow.Record) (packets, bytes uint64) {
	for _, r := range recs {
		packets += r.Packets
		bytes += r.Bytes
	}
	return packets, bytes
}

// balance fails unless the sums of a Summary do.
func balance(t testing.TB, s Summary) {
	t.Helper()
	if s.Seen+s.Inner != s.Packets+s.Ignored+s.DuplicatesDropped+s.SampledOut {
		t.Errorf("seen %d + inner %d ≠ packets %d + ignored %d + dropped %d + sampled out %d", s.Seen, s.Inner, s.Packets, s.Ignored, s.DuplicatesDropped, s.SampledOut)
	}
	if got := s.Records - s.Split + s.NotSentBy.NotExpressible + s.NotSentBy.TooLong; s.Flows != got {
		t.Errorf("flows %d ≠ %d = records %d - split %d + not expressible %d + too long %d",
			s.Flows, got, s.Records, s.Split, s.NotSentBy.NotExpressible, s.NotSentBy.TooLong)
	}
	for _, d := range s.Destinations {
		if s.Records != d.Records+d.NotSent {
			t.Errorf("%s: records %d ≠ sent %d + not sent %d", d.To, s.Records, d.Records, d.NotSent)
		}
	}
}

var t0 = time.Date(2014, 5, 1, 10, 0, 0, 250_000_000, time.UTC)

var small = meter.Config{MaxFlows: 1 << 12}

func TestRunEndToEnd(t *testing.T) {
	var frames []frame
	var packets4, bytes4, packets6, bytes6 uint64
	for i := range 3000 {
		at := t0.Add(time.Duration(i) * 100 * time.Millisecond)
		frames = append(frames,
			frame{at: at, data: ethernet("10.0.0.1", "10.0.0.2", uint16(1000+i%70), 53, i%900)},
			frame{at: at, data: ethernet("2001:db8::1", "2001:db8::2", uint16(1000+i%50), 53, i%900)})
		packets4, bytes4 = packets4+1, bytes4+28+uint64(i%900)
		packets6, bytes6 = packets6+1, bytes6+48+uint64(i%900)
	}
	frames = append(frames, frame{at: t0, data: arp}, frame{at: t0, data: make([]byte, 5)})

	for _, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
		t.Run(v.String(), func(t *testing.T) {
			first, second := listen(t), listen(t)
			s, err := Run(context.Background(), Config{
				Source: newScript(frames...), To: []string{first.addr(), second.addr()}, Version: v,
				Domain: 7, InIf: 3, Meter: small, Pace: 100_000,
			})
			if err != nil {
				t.Fatal(err)
			}
			balance(t, s)
			if s.Packets != packets4+packets6 || s.Bytes != bytes4+bytes6 || s.IgnoredBy != (Ignored{NotIP: 1, Truncated: 1}) {
				t.Errorf("metered %d packets, %d bytes, ignored %+v; want %d, %d", s.Packets, s.Bytes, s.IgnoredBy, packets4+packets6, bytes4+bytes6)
			}
			wantPackets, wantBytes := packets4+packets6, bytes4+bytes6
			if v == netflow.V5 {
				wantPackets, wantBytes = packets4, bytes4
				if s.NotSentBy.NotExpressible == 0 {
					t.Error("IPv6 in v5 is not counted")
				}
			}
			for _, c := range []*collector{first, second} {
				recs := c.wait(t, s.Messages)
				if p, b := sum(recs); p != wantPackets || b != wantBytes || uint64(len(recs)) != s.Records {
					t.Errorf("received %d records, %d packets, %d bytes; want %d, %d, %d",
						len(recs), p, b, s.Records, wantPackets, wantBytes)
				}
				for _, r := range recs {
					if r.Start < flow.TimeOf(t0) || r.End > flow.TimeOf(frames[5999].at) || r.InIf != 3 {
						t.Fatalf("a record from %v to %v, interface %d", r.Start, r.End, r.InIf)
					}
				}
				for _, m := range c.messages {
					if m.Exporter.Domain != 7 {
						t.Fatalf("domain %d", m.Exporter.Domain)
					}
				}
			}
		})
	}
}

// TestGapOfYears: messages are dated when their flows were due, and so the times
// are right also in dialects with 32 bits of uptime, where the capture pauses for
// years and where its clock jumps back.
func TestGapOfYears(t *testing.T) {
	year := 365 * 24 * time.Hour
	for _, tt := range []struct {
		name string
		at   []time.Duration
	}{
		{"forward", []time.Duration{0, time.Second, year, 10 * year, 10*year + time.Minute}},
		{"before_the_first", []time.Duration{0, -time.Hour, time.Second, -25 * 24 * time.Hour}},
		{"back", []time.Duration{0, 20 * year, time.Second, 20*year + time.Hour, time.Hour}},
	} {
		for _, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
			t.Run(tt.name+"/"+v.String(), func(t *testing.T) {
				var frames []frame
				want := map[flow.Time]bool{}
				for i, d := range tt.at {
					frames = append(frames, frame{at: t0.Add(d), data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
					want[flow.TimeOf(t0.Add(d))] = true
				}
				c := listen(t)
				s, err := Run(context.Background(), Config{
					Source: newScript(frames...), To: []string{c.addr()}, Version: v, Meter: small,
				})
				if err != nil {
					t.Fatal(err)
				}
				got := map[flow.Time]bool{}
				for _, r := range c.wait(t, s.Messages) {
					got[r.Start] = true
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("starts differ (-want +got):\n%s", diff)
				}
				if tt.name == "forward" {
					for _, m := range c.messages[:len(c.messages)-1] {
						if m.ExportTime%flow.Second == 0 && v == netflow.V5 {
							continue
						}
						near := false
						for _, d := range tt.at {
							if age := m.ExportTime - flow.TimeOf(t0.Add(d)); age > 0 && age < 2*flow.Minute {
								near = true
							}
						}
						if !near {
							t.Errorf("a message dated %v, far from any packet", m.ExportTime)
						}
					}
				}
			})
		}
	}
}

// TestLive: flows end by the clock while no packet comes, a record waits for no
// packet, and the end of the context sends what is left and is no error.
func TestLive(t *testing.T) {
	c := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	src := newScript(frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)})
	src.live = true
	src.drops = 5
	type result struct {
		Summary
		error
	}
	done := make(chan result)
	go func() {
		s, err := Run(ctx, Config{
			Source: src, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true,
			Meter: meter.Config{MaxFlows: 10, IdleTimeout: 100},
		})
		done <- result{s, err}
	}()
	recs := c.wait(t, 1)
	if len(recs) != 1 || recs[0].EndReason != flow.EndIdleTimeout {
		t.Errorf("while live: %+v", recs)
	}
	cancel()
	r := <-done
	if r.error != nil || r.Packets != 1 || r.KernelDrops != 5 {
		t.Errorf("summary %+v, %v", r.Summary, r.error)
	}

	src = newScript(frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)})
	src.live = true
	ctx, cancel = context.WithCancel(context.Background())
	src.idle = cancel
	s, err := Run(ctx, Config{Source: src, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Meter: small})
	if err != nil || s.Flows != 1 || s.Messages != 1 {
		t.Errorf("cancelled: summary %+v, %v", s, err)
	}
	if recs := c.wait(t, 2); len(recs) != 2 || recs[1].EndReason != flow.EndForced {
		t.Errorf("cancelled: %+v", recs)
	}
}

// TestSendingIsBehind: on a live interface flows that are due wait in the cache
// for sending to catch up; reading goes on, and nothing is lost.
func TestSendingIsBehind(t *testing.T) {
	const flows = batchRecords + 10
	full, empty := make(chan batch, 4), make(chan []flow.Record, 4)
	buffer := func() { empty <- make([]flow.Record, 0, batchRecords) }
	buffer()
	src := newScript()
	for i := range flows {
		src.frames = append(src.frames, frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
	}
	src.frames = append(src.frames, frame{err: io.EOF})
	c := Config{Source: src, Live: true}
	m := newMetering(&c, small, full, empty, &ledger{})
	lanes := []lane{newLane(m, true, false)}
	if err := newReading(&c, src, nil, meter.NewHash(), lanes, &ledger{}).run(context.Background(), new(atomic.Bool)); err != nil {
		t.Fatal(err)
	}

	later := m.clock + flow.Hour
	m.advance(later)
	m.advance(later)
	if live := m.meter.Stats().Live; live != flows-batchRecords || len(full) != 0 {
		t.Errorf("%d flows wait in the cache and %d batches went over while there was no room", live, len(full))
	}
	for range 4 {
		buffer()
	}
	m.advance(later)
	m.finish()
	close(full)
	records := 0
	for b := range full {
		records += len(b.records)
	}
	if live := m.meter.Stats().Live; live != 0 || records != flows {
		t.Errorf("%d flows are left, %d of %d records went over", live, records, flows)
	}
}

// TestTruncatedCapture: what was read is sent, and the error says that the
// capture breaks off.
func TestTruncatedCapture(t *testing.T) {
	c := listen(t)
	broken := fmt.Errorf("capture: %w", io.ErrUnexpectedEOF)
	s, err := Run(context.Background(), Config{
		Source: newScript(frame{at: t0, data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)}, frame{err: broken}),
		To:     []string{c.addr()}, Version: netflow.V9, Meter: small,
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || s.Packets != 1 || s.Messages != 1 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if recs := c.wait(t, 1); len(recs) != 1 {
		t.Errorf("%d records came", len(recs))
	}
}

// TestDuplicates: copies are counted, and left out only when that is asked for.
func TestDuplicates(t *testing.T) {
	c := listen(t)
	one := ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)
	one[14+4] = 1 // the identification, without which nothing is a copy
	for _, drop := range []bool{false, true} {
		s, err := Run(context.Background(), Config{
			Source: newScript(frame{at: t0, data: one}, frame{at: t0, data: one}, frame{at: t0, data: arp}),
			To:     []string{c.addr()}, Version: netflow.V9, Meter: small, DropDuplicates: drop,
		})
		if err != nil {
			t.Fatal(err)
		}
		balance(t, s)
		if want := uint64(btoi(drop)); s.Duplicates != 1 || s.DuplicatesDropped != want || s.Packets != 2-want {
			t.Errorf("drop %v: %+v", drop, s)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestLedgerBalances: what a destination did not take is records that were made,
// for whatever cause.
func TestLedgerBalances(t *testing.T) {
	for _, err := range []error{
		syscall.EMSGSIZE, syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENOBUFS, syscall.EPERM,
	} {
		var m meter.Stats
		m.Ended[flow.EndIdleTimeout] = 7
		d := &destination{name: "a"}
		d.counts.fail(err, 7)
		l := &ledger{}
		l.metered(l.meter(), &m)
		l.sent(&sendingCounts{messages: 1, records: 7}, []*destination{d})
		s := l.summary()
		balance(t, s)
		if s.NotSent != 7 {
			t.Errorf("%v: %d not sent, want 7", err, s.NotSent)
		}
	}
}

// TestNobodyListens: a destination that refuses is survived and counted, and does
// not keep another from being served.
func TestNobodyListens(t *testing.T) {
	gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.LocalAddr().String()
	gone.Close()

	var frames []frame
	for i := range 500 {
		frames = append(frames, frame{at: t0, data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
	}
	c := listen(t)
	s, err := Run(context.Background(), Config{
		Source: newScript(frames...), To: []string{nobody, c.addr()}, Version: netflow.IPFIX, Meter: small,
	})
	if err != nil {
		t.Fatal(err)
	}
	balance(t, s)
	if s.NotSentBy.Refused != s.Records || s.Destinations[0].Records != 0 || s.Destinations[1].Records != s.Records {
		t.Errorf("summary %+v", s)
	}
	if recs := c.wait(t, s.Messages); len(recs) != 500 {
		t.Errorf("%d records came", len(recs))
	}
}

// TestRecordCountsOnce: a record that several destinations refuse is one record that
// was not sent, and so is one that one of them refused.
func TestRecordCountsOnce(t *testing.T) {
	var nobody []string
	for range 3 {
		gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		nobody = append(nobody, gone.LocalAddr().String())
		gone.Close()
	}
	var frames []frame
	for i := range 500 {
		frames = append(frames, frame{at: t0, data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
	}
	var log bytes.Buffer
	s, err := Run(context.Background(), Config{
		Source: newScript(frames...), To: nobody[:1], Collectors: []Collector{{To: nobody[1]}, {To: nobody[2]}},
		Version: netflow.IPFIX, Meter: small, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	balance(t, s)
	if s.Records != 500 || s.NotSent != 500 || s.NotSentBy.Refused != 500 {
		t.Errorf("%+v", s)
	}
	for i, d := range s.Destinations {
		if d.NotSent != 500 || !strings.Contains(log.String(), nobody[i]) {
			t.Errorf("%+v; the log says %s", d, log.String())
		}
	}
	if want := "to=\"[" + strings.Join(nobody, " ") + "]\""; !strings.Contains(log.String(), want) {
		t.Errorf("the log says %s, not %s", log.String(), want)
	}
}

// TestLosses: what is lost is counted once, in whatever pieces and order it is said.
func TestLosses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l losses
		lost := map[uint64]bool{}
		settled := uint64(0)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "settle") == 0 {
				settled = max(settled, rapid.Uint64Range(0, 100).Draw(t, "below"))
				l.settle(settled)
			}
			from, n := settled+rapid.Uint64Range(0, 60).Draw(t, "from"), rapid.Uint64Range(0, 20).Draw(t, "n")
			for i := range n {
				lost[from+i] = true
			}
			l.fail(syscall.ECONNREFUSED, from, n)
			if l.notSent.Refused != uint64(len(lost)) {
				t.Fatalf("%d lost, want %d: %v", l.notSent.Refused, len(lost), l.spans)
			}
		}
	})
}

// TestCollectorComesBack: a refusal costs the datagram that was refused and none
// after it.
func TestCollectorComesBack(t *testing.T) {
	port, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := port.LocalAddr().(*net.UDPAddr)
	port.Close()
	d, err := dial(context.Background(), addr.String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer d.conn.Close()
	d.send([]byte("lost"), 3)
	if port, err = net.ListenUDP("udp", addr); err != nil {
		t.Skipf("the port was taken by somebody else: %v", err)
	}
	defer port.Close()
	d.send([]byte("came"), 5)
	d.settle()
	buf := make([]byte, 10)
	n, _, err := port.ReadFromUDP(buf)
	if err != nil || string(buf[:n]) != "came" {
		t.Errorf("received %q, %v", buf[:n], err)
	}
	want := deliveryCounts{messages: 1, records: 5, octets: 4, notSent: NotSent{Refused: 3}}
	if d.counts != want {
		t.Errorf("counted %+v, want %+v", d.counts, want)
	}
}

func TestConfigErrors(t *testing.T) {
	good := func() Config {
		return Config{Source: newScript(), To: []string{"127.0.0.1:9"}, Version: netflow.V9, Meter: small}
	}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no_source", func(c *Config) { c.Source = nil }, "no source"},
		{"no_destination", func(c *Config) { c.To = nil }, "no destination"},
		{"no_port", func(c *Config) { c.To = []string{"127.0.0.1"} }, `destination "127.0.0.1": want host:port`},
		{"port_0", func(c *Config) { c.To = []string{"127.0.0.1:0"} }, "port other than 0"},
		{"bad_port", func(c *Config) { c.To = []string{"127.0.0.1:many"} }, `destination "127.0.0.1:many"`},
		{"no_version", func(c *Config) { c.Version = 0 }, "version"},
		{"negative_pace", func(c *Config) { c.Pace = -1 }, "pace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(&c)
			_, err := Run(context.Background(), c)
			if err == nil || !strings.HasPrefix(err.Error(), "exporter: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := Run(context.Background(), good()); err != nil {
		t.Errorf("nothing to read: %v", err)
	}
}

// TestSummaryNames: scripts read the summary by these names.
func TestSummaryNames(t *testing.T) {
	b, err := json.Marshal(Summary{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"packets", "bytes", "ignored", "flows", "records", "messages", "duplicates", "evicted", "kernel_drops", "not_sent"} {
		if !strings.Contains(string(b), `"`+name+`":0`) {
			t.Errorf("%s is not a number in %s", name, b)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	src := newScript(frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)}, frame{at: time.Now(), data: arp})
	src.live = true
	got := map[string]float64{}
	src.idle = func() {
		defer cancel()
		families, err := reg.Gather()
		if err != nil {
			t.Error(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				name := f.GetName()
				for _, l := range m.Label {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	for range 2 { // registered anew each time
		if _, err := Run(ctx, Config{
			Source: src, To: []string{c.addr()}, Version: netflow.V9, Live: true, Meter: small, Registerer: reg,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"flowtally_exporter_packets_total", "flowtally_exporter_ignored_packets_total not_ip",
		"flowtally_exporter_flows_total idle", "flowtally_exporter_records_not_sent_total refused", "flowtally_exporter_live_flows",
	} {
		if _, ok := got[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
}

// TestPace: in no stretch of time go more records than the pace allows it, beyond
// one burst of 32 datagrams; and what fits into a burst waits for nothing.
func TestPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.IntRange(1, 5_000_000).Draw(t, "rate")
		n := rapid.IntRange(1, 40).Draw(t, "records")
		now, slept := time.Unix(1e9, 0), 0
		p := newPacer(rate, func() time.Time { return now }, func(d time.Duration) {
			slept++
			now = now.Add(d + time.Duration(rapid.IntRange(0, 2_000_000).Draw(t, "overslept")))
		})
		var sent []time.Time
		for range rapid.IntRange(1, 200).Draw(t, "datagrams") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "pause")))
			p.wait(n)
			sent = append(sent, now)
			if len(sent) <= burst && slept > 0 {
				t.Fatalf("datagram %d had to wait", len(sent))
			}
		}
		for i := range sent {
			for j := i + burst; j < len(sent); j++ {
				allowed := float64(burst*n) + sent[j].Sub(sent[i]).Seconds()*float64(rate)*1.001
				if float64((j-i+1)*n) > allowed+1 {
					t.Fatalf("%d records in %v, %v a second", (j-i+1)*n, sent[j].Sub(sent[i]), rate)
				}
			}
		}
	})
}
