package traffic

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/packet"
	"flowtally/flow"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// wednesday is an ordinary trading day, midnight where the floor stands.
var wednesday = time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC)

// read calls see for each packet until the source ends.
func read(t testing.TB, s *Source, see func(data []byte, ci gopacket.CaptureInfo)) {
	t.Helper()
	for {
		data, ci, err := s.ZeroCopyReadPacketData()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		see(data, ci)
	}
}

func TestSameSeedSamePackets(t *testing.T) {
	c := Config{Start: wednesday.Add(9 * time.Hour), End: wednesday.Add(9*time.Hour + 3*time.Minute), Seed: 7}
	a, b := New(c), New(c)
	n := 0
	read(t, a, func(data []byte, ci gopacket.CaptureInfo) {
		other, oci, err := b.ZeroCopyReadPacketData()
		if err != nil || !bytes.Equal(data, other) || !ci.Timestamp.Equal(oci.Timestamp) || ci.Length != oci.Length {
			t.Fatalf("packet %d differs: %v", n, err)
		}
		n++
	})
	if n < 10_000 || a.Stats().Packets != uint64(n) {
		t.Errorf("%d packets, stats say %d", n, a.Stats().Packets)
	}
	c.Seed = 8
	other, _, _ := New(c).ZeroCopyReadPacketData()
	first, _, _ := New(Config{Start: c.Start, End: c.End, Seed: 7}).ZeroCopyReadPacketData()
	if bytes.Equal(first, other) {
		t.Error("another seed gives the same first packet")
	}
}

// TestEveryPacketDecodes asks two decoders that do not know each other, and checks
// order, lengths and the checksums that a receiver would check.
func TestEveryPacketDecodes(t *testing.T) {
	start := time.Unix(0, burstIn(1, floorDiv(wednesday.UnixNano(), int64(burstEvery)))).UTC().Add(-time.Minute)
	for _, at := range []time.Time{start, wednesday.Add(time.Hour), wednesday.Add(9 * time.Hour)} {
		var (
			eth     layers.Ethernet
			ip4     layers.IPv4
			ip6     layers.IPv6
			tcpl    layers.TCP
			udpl    layers.UDP
			icmp4l  layers.ICMPv4
			icmp6l  layers.ICMPv6
			payload gopacket.Payload
			found   []gopacket.LayerType
			seen    = map[gopacket.LayerType]int{}
			last    time.Time
			p       packet.Packet
		)
		parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet,
			&eth, &ip4, &ip6, &tcpl, &udpl, &icmp4l, &icmp6l, &payload)
		parser.IgnoreUnsupported = true
		ours := packet.NewDecoder()
		s := New(Config{Start: at, End: at.Add(4 * time.Minute), Seed: 1})
		read(t, s, func(data []byte, ci gopacket.CaptureInfo) {
			if ci.Timestamp.Before(last) || ci.CaptureLength != len(data) || ci.Length < len(data) || ci.Length < 60 {
				t.Fatalf("at %v after %v: %d octets, capture length %d, length %d", ci.Timestamp, last, len(data), ci.CaptureLength, ci.Length)
			}
			last = ci.Timestamp
			if err := parser.DecodeLayers(data, &found); err != nil {
				t.Fatalf("gopacket: %v: %x", err, data)
			}
			for _, l := range found {
				seen[l]++
			}
			if err := ours.Decode(&p, s.LinkType(), data); err != nil {
				t.Fatalf("packet: %v: %x", err, data)
			}
			ip, length := data[14:34], int(ip4.Length)
			switch found[1] {
			case layers.LayerTypeIPv4:
				if fold(add(0, ip)) != 0 {
					t.Fatalf("IPv4 header checksum wrong: %x", ip)
				}
			case layers.LayerTypeIPv6:
				length = 40 + int(ip6.Length)
			default:
				t.Fatalf("no IP header: %x", data)
			}
			if int(p.Length) != length || ci.Length != max(14+length, 60) {
				t.Fatalf("length: IP header says %d, packet %d, frame %d", length, p.Length, ci.Length)
			}
			if sum, ok := transportSum(data); ok && sum != 0 {
				t.Fatalf("transport checksum is off by %x: %x", sum, data)
			}
		})
		for _, l := range []gopacket.LayerType{layers.LayerTypeIPv4, layers.LayerTypeIPv6, layers.LayerTypeTCP, layers.LayerTypeUDP, layers.LayerTypeICMPv4} {
			if seen[l] == 0 {
				t.Errorf("from %v: no packet with %v", at, l)
			}
		}
	}
}

// transportSum checks the checksum as a receiver does, the octets that were cut off
// being zeros.
func transportSum(data []byte) (uint16, bool) {
	var sum uint32
	var protocol byte
	var segment []byte
	var length int
	if data[12] == 0x08 {
		protocol, length = data[23], int(data[16])<<8|int(data[17])
		length -= 20
		sum, segment = add(0, data[26:34]), data[34:]
	} else {
		protocol, length = data[20], int(data[18])<<8|int(data[19])
		sum, segment = add(0, data[22:54]), data[54:]
	}
	if protocol == icmp4 {
		sum = 0
	} else {
		sum += uint32(protocol) + uint32(length)
	}
	segment = segment[:min(len(segment), length)]
	if len(segment)%2 == 1 {
		segment = append(bytes.Clone(segment), 0)
	}
	return fold(add(sum, segment)), true
}

// tally counts flows and bytes by minute as an exporter with the usual timeouts would
// begin them: a flow begins with a packet whose key was not seen for a minute.
type tally struct {
	last    map[flow.Key]int64
	flows   map[int64]int
	bytes   map[int64]int
	reports map[int64]int
	tiny    map[int64]int
	packets int
}

func count(t *testing.T, from, to time.Time) *tally {
	c := &tally{map[flow.Key]int64{}, map[int64]int{}, map[int64]int{}, map[int64]int{}, map[int64]int{}, 0}
	d := packet.NewDecoder()
	var p packet.Packet
	reporter := flow.Addr4(hosts[reports.first].v4)
	read(t, New(Config{Start: from, End: to, Seed: 1}), func(data []byte, ci gopacket.CaptureInfo) {
		if err := d.Decode(&p, linkEthernet, data); err != nil {
			t.Fatal(err)
		}
		now := ci.Timestamp.UnixNano()
		m := floorDiv(now, int64(time.Minute))
		c.packets++
		c.bytes[m] += int(p.Length)
		mine := p.SrcAddr == reporter
		if mine || p.DstAddr == reporter {
			c.tiny[m] += int(p.Length)
		}
		if before, known := c.last[p.Key]; !known || now-before > int64(time.Minute) {
			c.flows[m]++
			if mine {
				c.reports[m]++
			}
		}
		c.last[p.Key] = now
	})
	return c
}

// TestTheStory: in a burst's minutes the report generator owns most flows and next to
// no bytes, by day and by night, on a weekday and at the weekend.
func TestTheStory(t *testing.T) {
	for _, day := range []time.Time{wednesday, wednesday.AddDate(0, 0, 3)} {
		bursts := 0
		for n := floorDiv(day.UnixNano(), int64(burstEvery)); n*int64(burstEvery) < day.AddDate(0, 0, 1).UnixNano(); n++ {
			at := time.Unix(0, burstIn(1, n)).UTC()
			bursts++
			c := count(t, at.Add(-3*time.Minute), at.Add(burstLength))
			total := 0
			for m := at.Unix() / 60; m < at.Add(burstLength).Unix()/60; m++ {
				flows := float64(c.reports[m]) / float64(c.flows[m])
				share := float64(c.tiny[m]) / float64(c.bytes[m])
				if flows < 0.6 || share > 0.02 {
					t.Errorf("minute %v: %.1f %% of flows, %.2f %% of bytes", time.Unix(m*60, 0).UTC(), 100*flows, 100*share)
				}
				total += c.reports[m]
			}
			if total < 20_000 || total > 99_000 {
				t.Errorf("burst at %v: %d flows, want tens of thousands", at, total)
			}
			if before := at.Unix()/60 - 1; c.reports[before] > c.flows[before]/10 {
				t.Errorf("the minute before %v: %d flows of %d are the report generator's", at, c.reports[before], c.flows[before])
			}
		}
		if bursts < 3 || bursts > 8 {
			t.Errorf("%d bursts in a day, want a few", bursts)
		}
	}
}

// TestTheDay: nights are quiet, the bell rings, people eat, weekends are emptier.
func TestTheDay(t *testing.T) {
	flows := func(day time.Time, hour, minute int) (n int) {
		at := day.Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
		c := count(t, at.Add(-2*time.Minute), at.Add(6*time.Minute))
		for m, f := range c.flows {
			if m >= at.Unix()/60 {
				n += f - c.reports[m]
			}
		}
		return n
	}
	night, bell, morning, lunch := flows(wednesday, 4, 0), flows(wednesday, 9, 0), flows(wednesday, 11, 0), flows(wednesday, 13, 0)
	saturday := flows(wednesday.AddDate(0, 0, 3), 11, 0)
	t.Logf("flows in six minutes: night %d, bell %d, morning %d, lunch %d, Saturday %d", night, bell, morning, lunch, saturday)
	if !(night*3 < lunch && lunch*10 < morning*9 && morning < bell && saturday*3 < morning*2) {
		t.Error("the day has no rhythm")
	}
}

// TestADay: the demo's backfill is about a million flows, and a reader can live
// through it in seconds.
func TestADay(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole day of packets: left out by -short")
	}
	// Every twelfth stretch of five minutes stands for its hour.
	packets, flows := 0, 0
	for hour := range 24 {
		at := wednesday.Add(time.Duration(hour) * time.Hour)
		c := count(t, at.Add(26*time.Minute), at.Add(33*time.Minute))
		for m, f := range c.flows {
			if m >= at.Add(28*time.Minute).Unix()/60 {
				flows += 12 * (f - c.reports[m])
			}
		}
		packets += c.packets * 60 / 7
	}
	t.Logf("a day: about %d packets, %d flows without bursts", packets, flows)
	if flows < 500_000 || flows > 1_500_000 || packets > 25_000_000 {
		t.Errorf("a day is %d packets and %d flows", packets, flows)
	}
}

func TestLiveWaits(t *testing.T) {
	start := time.Now().Add(-time.Hour)
	s := New(Config{Start: start, Seed: 1})
	for {
		_, ci, err := s.ZeroCopyReadPacketData()
		if errors.Is(err, capture.ErrTimeout) {
			if s.Stats().Packets == 0 {
				t.Error("waits before it has caught up")
			}
			select {
			case <-s.Live():
			default:
				t.Error("waits, but is not live")
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ci.Timestamp.After(time.Now()) {
			t.Fatalf("a packet of %v came before its time", ci.Timestamp)
		}
		if time.Since(ci.Timestamp) < time.Second {
			s.Close()
		}
		if s.closed.Load() {
			if _, _, err := s.ZeroCopyReadPacketData(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			break
		}
	}
}

func TestNamesAreTheirOwn(t *testing.T) {
	name, addr := map[string]bool{}, map[string]bool{}
	for _, h := range Hosts() {
		if name[h.Name] || addr[h.Addr.String()] {
			t.Errorf("%s %s is there twice", h.Name, h.Addr)
		}
		name[h.Name], addr[h.Addr.String()] = true, true
	}
	if n := len(Hosts()); n < 50 || n > 90 {
		t.Errorf("%d hosts, want about 60", n)
	}
}

// next is the body that the benchmark and the law about allocations share.
func next(tb testing.TB, s *Source) {
	if _, _, err := s.ZeroCopyReadPacketData(); err != nil {
		tb.Fatal(err)
	}
}

func TestNoAllocation(t *testing.T) {
	s := New(Config{Start: wednesday.Add(9 * time.Hour), End: wednesday.AddDate(1, 0, 0), Seed: 1})
	if n := testing.AllocsPerRun(100_000, func() { next(t, s) }); n != 0 {
		t.Errorf("%v allocations a packet, want 0", n)
	}
}

func BenchmarkNext(b *testing.B) {
	s := New(Config{Start: wednesday, End: wednesday.AddDate(9, 0, 0), Seed: 1})
	b.ReportAllocs()
	for b.Loop() {
		next(b, s)
	}
}
