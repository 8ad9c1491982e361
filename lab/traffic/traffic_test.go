package traffic

import (
	"bytes"
	"encoding/binary"
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

// side is one direction of a TCP conversation.
type side struct {
	packets, payload int
	flags            byte // of all packets
	next             uint32
}

// TestConversations: whoever hears a TCP conversation from its start hears it shake
// hands, sees data both ways and no octet missing, and most of them say good-bye.
func TestConversations(t *testing.T) {
	type pair struct{ client, server side }
	begin := wednesday.Add(9 * time.Hour)
	all, last := map[flow.Key]*pair{}, map[flow.Key]time.Time{}
	d := packet.NewDecoder()
	var p packet.Packet
	s := New(Config{Start: begin, End: begin.Add(10 * time.Minute), Seed: 1})
	read(t, s, func(data []byte, ci gopacket.CaptureInfo) {
		if err := d.Decode(&p, s.LinkType(), data); err != nil {
			t.Fatal(err)
		}
		if p.Protocol != tcp {
			return
		}
		h, header := data[34:], 20
		if data[12] == 0x86 {
			h, header = data[54:], 40
		}
		flags, seq, acked := h[13], binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
		payload := int(p.Length) - header - int(h[12]>>4)*4
		key, reverse := p.Key, p.Key
		reverse.SrcAddr, reverse.DstAddr, reverse.SrcPort, reverse.DstPort = key.DstAddr, key.SrcAddr, key.DstPort, key.SrcPort
		if flags&(syn|ack) == syn && all[key] == nil {
			all[key] = &pair{}
		}
		c, fromClient := all[key], true
		if c == nil {
			if c, fromClient = all[reverse], false; c == nil {
				return // a stream, or began before we listened
			}
			key = reverse
		}
		mine, theirs := &c.client, &c.server
		if !fromClient {
			mine, theirs = theirs, mine
		}
		if mine.packets == 0 {
			if flags&syn == 0 || payload != 0 {
				t.Fatalf("%v: begins with flags %#x and %d octets", key, flags, payload)
			}
		} else if seq != mine.next {
			t.Fatalf("%v: sequence number %d, want %d", key, seq, mine.next)
		}
		if flags&ack != 0 && acked != theirs.next || (flags&ack == 0) != (fromClient && mine.packets == 0) {
			t.Fatalf("%v: flags %#x acknowledge %d, want %d", key, flags, acked, theirs.next)
		}
		mine.packets++
		mine.payload += payload
		mine.flags |= flags
		mine.next = seq + uint32(payload)
		if flags&(syn|fin) != 0 {
			mine.next++
		}
		last[key] = ci.Timestamp
	})
	ended, byes, resets := 0, 0, 0
	for key, c := range all {
		if begin.Add(9 * time.Minute).Before(last[key]) {
			continue // may still go on
		}
		ended++
		switch {
		case c.client.flags&rst != 0:
			resets++
		case c.client.flags&c.server.flags&fin != 0:
			byes++
		default:
			t.Errorf("%v: neither good-bye nor reset: %+v", key, *c)
		}
		if c.client.payload == 0 || c.server.payload == 0 {
			t.Errorf("%v: no data: %+v", key, *c)
		}
	}
	t.Logf("%d conversations, %d good-byes, %d resets", ended, byes, resets)
	if ended < 1000 || byes < ended*9/10 || resets == 0 {
		t.Errorf("of %d conversations %d say good-bye and %d are reset", ended, byes, resets)
	}
}

// TestSizes: packets are as large as their kind's are on a network.
func TestSizes(t *testing.T) {
	kinds := []struct {
		name             string
		protocol         flow.Protocol
		lo, hi           uint16 // ports
		least, most      uint32 // octets of IP
		meanLow, meanTop int
	}{
		{"report lookups", udp, 4070, 4070, 36, 44, 36, 44},
		{"name lookups", udp, 53, 53, 60, 300, 90, 180},
		{"time", udp, 123, 123, 76, 96, 76, 82},
		{"pings", icmp4, 0, 0xffff, 84, 84, 84, 84},
		{"IPv6 pings", icmp6, 0, 0xffff, 104, 104, 104, 104},
		{"market data", udp, 30001, 30008, 100, 600, 300, 400},
		{"orders", tcp, 5200, 5200, 40, 360, 120, 260},
		{"web with its acknowledgements", tcp, 443, 443, 40, 1500, 700, 1100},
		{"backups with their acknowledgements", tcp, 873, 873, 40, 1500, 1000, 1300},
		{"snapshots with their acknowledgements", tcp, 7789, 7789, 40, 1500, 1200, 1450},
	}
	packets, octets := make([]int, len(kinds)), make([]int, len(kinds))
	see := func(p *packet.Packet) {
		for i, k := range kinds {
			if p.Protocol != k.protocol || !(k.lo <= p.SrcPort && p.SrcPort <= k.hi || k.lo <= p.DstPort && p.DstPort <= k.hi) {
				continue
			}
			if p.Length < k.least || p.Length > k.most {
				t.Errorf("%s: a packet of %d octets, want %d to %d", k.name, p.Length, k.least, k.most)
			}
			packets[i]++
			octets[i] += int(p.Length)
		}
	}
	burst := time.Unix(0, burstIn(1, floorDiv(wednesday.UnixNano(), int64(burstEvery)))).UTC()
	for _, at := range []time.Time{burst, wednesday.Add(time.Hour), wednesday.Add(9 * time.Hour)} {
		d := packet.NewDecoder()
		var p packet.Packet
		read(t, New(Config{Start: at, End: at.Add(8 * time.Minute), Seed: 1}), func(data []byte, ci gopacket.CaptureInfo) {
			if err := d.Decode(&p, linkEthernet, data); err != nil {
				t.Fatal(err)
			}
			see(&p)
		})
	}
	for i, k := range kinds {
		if packets[i] == 0 {
			t.Errorf("%s: no packet", k.name)
		} else if mean := octets[i] / packets[i]; mean < k.meanLow || mean > k.meanTop {
			t.Errorf("%s: %d octets a packet, want %d to %d", k.name, mean, k.meanLow, k.meanTop)
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
	packets map[int64]int
}

func count(t *testing.T, from, to time.Time) *tally {
	c := &tally{map[flow.Key]int64{}, map[int64]int{}, map[int64]int{}, map[int64]int{}, map[int64]int{}, map[int64]int{}}
	d := packet.NewDecoder()
	var p packet.Packet
	reporter := flow.Addr4(hosts[reports.first].v4)
	read(t, New(Config{Start: from, End: to, Seed: 1}), func(data []byte, ci gopacket.CaptureInfo) {
		if err := d.Decode(&p, linkEthernet, data); err != nil {
			t.Fatal(err)
		}
		now := ci.Timestamp.UnixNano()
		m := floorDiv(now, int64(time.Minute))
		if p.Length > mtu {
			t.Fatalf("a packet of %d octets at %v", p.Length, ci.Timestamp)
		}
		c.packets[m]++
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

// sums are what an hour has, flows without the report generator's.
type sums struct{ packets, octets, flows int }

// typical returns about what an hour of a day has, from eight of its minutes. The
// snapshots' last is one of them: one in eight, where the hour has seven in sixty.
func typical(t *testing.T, day time.Time, hour int) (s sums) {
	const minutes = 8
	at := day.Add(time.Duration(hour)*time.Hour + (hourlyAt+hourlyMinutes-1)*time.Minute)
	c := count(t, at.Add(-2*time.Minute), at.Add(minutes*time.Minute))
	for m := at.Unix() / 60; m < at.Unix()/60+minutes; m++ {
		s.packets += c.packets[m]
		s.octets += c.bytes[m]
		s.flows += c.flows[m] - c.reports[m]
	}
	return sums{s.packets * 60 / minutes, s.octets * 60 / minutes, s.flows * 60 / minutes}
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

// TestTheDay: nights are quiet, the bell rings, people eat, weekends are emptier; in
// flows and, by the hour, in bytes.
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

	volume := func(day time.Time, hour int) int { return typical(t, day, hour).octets }
	night, bell, morning, lunch = volume(wednesday, 4), volume(wednesday, 9), volume(wednesday, 11), volume(wednesday, 13)
	saturday = volume(wednesday.AddDate(0, 0, 3), 11)
	t.Logf("about MB in an hour: night %d, bell %d, morning %d, lunch %d, Saturday %d", night/1e6, bell/1e6, morning/1e6, lunch/1e6, saturday/1e6)
	if !(night*2 < lunch && lunch*10 < morning*9 && morning < bell && saturday*3 < morning*2) {
		t.Error("the day has no rhythm in bytes")
	}
}

// TestADay: the demo's backfill is about a million flows, a reader can live through it
// in seconds, and nobody wonders at the sizes of its packets.
func TestADay(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole day of packets: left out by -short")
	}
	packets, octets, flows := 0, 0, 0
	for hour := range 24 {
		s := typical(t, wednesday, hour)
		packets += s.packets
		octets += s.octets
		flows += s.flows
	}
	mean := octets / packets
	t.Logf("a day: about %d packets, %d MB, %d octets a packet, %d flows without bursts", packets, octets/1e6, mean, flows)
	if flows < 700_000 || flows > 1_100_000 || packets > 20_000_000 || mean < 300 || mean > 1100 {
		t.Errorf("a day is %d packets of %d octets and %d flows", packets, mean, flows)
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
