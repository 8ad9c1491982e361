package exporter

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/netflow"
)

// ipv4 returns an IPv4 packet.
func ipv4(src, dst string, id, fragment uint16, protocol byte, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], fragment)
	from, to := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	return append(b, payload...)
}

// udp returns a UDP header and what it carries.
func udp(from, to uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// framed puts an Ethernet header in front of an IPv4 packet.
func framed(p []byte) []byte { return append(append(make([]byte, 12), 0x08, 0x00), p...) }

// inVXLAN puts a frame into a tunnel.
func inVXLAN(src, dst string, vni uint32, f []byte) []byte {
	header := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, vni<<8)
	return framed(ipv4(src, dst, 0, 0, 17, udp(5000, 4789, append(header, f...))))
}

// TestOverlays: equal addresses in two tunnels are two flows, whatever the number
// of meters; in one tunnel they are one. Fragments have the ports of their own.
func TestOverlays(t *testing.T) {
	inside := func(sport uint16, id, fragment uint16) []byte {
		payload := udp(sport, 53, make([]byte, 16))
		if fragment&0x1fff != 0 {
			payload = make([]byte, 16)
		}
		return framed(ipv4("10.0.0.1", "10.0.0.2", id, fragment, 17, payload))
	}
	const first, second = 0x2000, 3
	packets := func() *list {
		return newList(
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 1, inside(7, 1, 0))},
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 2, inside(7, 2, 0))},
			capture.Packet{Data: inVXLAN("192.0.2.3", "192.0.2.9", 2, inside(7, 3, 0))},
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 1, inside(7, 4, 0))},
			capture.Packet{Data: inside(7, 5, 0)},
			// Fragments of two datagrams of the same identification.
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 1, inside(8, 6, first))},
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 2, inside(9, 6, first))},
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 1, inside(0, 6, second))},
			capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 2, inside(0, 6, second))},
		)
	}
	for _, workers := range []int{1, 3} {
		recs, l := records(t, packets(), Config{Tunnels: packet.Inner, Meter: small}, workers)
		var got []uint64
		for _, r := range recs {
			got = append(got, uint64(r.SrcPort)*100+r.Packets)
		}
		slices.Sort(got)
		if want := []uint64{701, 701, 701, 702, 802, 902}; !slices.Equal(got, want) {
			t.Errorf("%d workers: %v, want %v", workers, got, want)
		}
		if s := l.summary(); s.FragmentsUnknown != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// TestSampledTunnels: what is inside a packet is selected with it.
func TestSampledTunnels(t *testing.T) {
	var packets []capture.Packet
	for i := range uint16(100) {
		packets = append(packets, capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 1, framed(ipv4("10.0.0.1", "10.0.0.2", i, 0, 17, udp(7, 53, nil))))})
	}
	recs, s := meterAll(t, newList(packets...), Config{Tunnels: packet.Both, Sample: 2})
	if len(recs) != 2 || recs[0].Packets != 50 || recs[1].Packets != 50 || s.SampledOut != 100 {
		t.Errorf("%+v of %+v", s, recs)
	}
}

// TestSampledFragments: a fragment that is selected has the ports of a first one
// that is not.
func TestSampledFragments(t *testing.T) {
	recs, s := meterAll(t, newList(
		capture.Packet{Data: framed(ipv4("10.0.0.3", "10.0.0.2", 8, 0, 17, udp(1, 2, nil)))},
		capture.Packet{Data: framed(ipv4("10.0.0.1", "10.0.0.2", 9, 0x2000, 17, udp(7, 53, make([]byte, 16))))},
		capture.Packet{Data: framed(ipv4("10.0.0.1", "10.0.0.2", 9, 3, 17, make([]byte, 8)))},
	), Config{Sample: 2})
	if len(recs) != 2 || recs[1].DstPort != 53 && recs[0].DstPort != 53 || s.FragmentsUnknown != 0 {
		t.Errorf("%+v of %+v", s, recs)
	}
}

// TestOwnExportEverywhere: our own messages are known in fragments, and inside a
// tunnel that a mirror has put them into.
func TestOwnExportEverywhere(t *testing.T) {
	own := []stream{{flow.AddrFrom(netip.MustParseAddr("10.0.0.1")), flow.AddrFrom(netip.MustParseAddr("10.0.0.2")), 5555, 9995}}
	whole := framed(ipv4("10.0.0.1", "10.0.0.2", 1, 0, 17, udp(5555, 9995, make([]byte, 8))))
	src := newList(
		capture.Packet{Data: whole},
		capture.Packet{Data: framed(ipv4("10.0.0.1", "10.0.0.2", 2, 0x2000, 17, udp(5555, 9995, make([]byte, 16))))},
		capture.Packet{Data: framed(ipv4("10.0.0.1", "10.0.0.2", 2, 3, 17, make([]byte, 8)))},
		capture.Packet{Data: inVXLAN("192.0.2.1", "192.0.2.9", 1, whole)},
	)
	recs, l := recordsOf(t, src, Config{Tunnels: packet.Both, Live: true, Meter: small}, 1, own)
	if s := l.summary(); len(recs) != 1 || recs[0].DstPort != 4789 || s.IgnoredBy.OwnExport != 4 || s.Seen+s.Inner != s.Packets+s.Ignored {
		t.Errorf("%+v of %+v", s, recs)
	}
}

// TestAccounting: whatever comes, and whatever is asked for, each frame and each
// packet inside one is accounted for once, and the records have what was metered.
func TestAccounting(t *testing.T) {
	runs := uint64(150)
	if os.Getenv("FLOWTALLY_TORTURE") != "" {
		runs = 10_000
	}
	for seed := range runs {
		r := rand.New(rand.NewPCG(seed, 1))
		addr := func() string { return netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(3))}).String() }
		ip := func() []byte {
			id, fragment := uint16(r.IntN(4)), uint16(0)
			if r.IntN(4) == 0 {
				fragment = []uint16{0x2000, 3}[r.IntN(2)]
			}
			return ipv4(addr(), addr(), id, fragment, []byte{1, 6, 17}[r.IntN(3)], udp(uint16(r.IntN(3)), uint16(r.IntN(3)), make([]byte, 16)))
		}
		var packets []capture.Packet
		at := t0
		for range r.IntN(300) {
			at = at.Add(time.Duration(r.IntN(200)-20) * time.Millisecond)
			p := capture.Packet{Time: at.UnixNano()}
			switch r.IntN(8) {
			case 0:
				p.Data = arp
			case 1:
				p.Data = framed(ip())[:14+r.IntN(20)]
			case 2, 3:
				p.Data = inVXLAN(addr(), addr(), uint32(r.IntN(2)), framed(ip()))
			case 4:
				p.Data = inVXLAN(addr(), addr(), 1, arp)
			default:
				p.Data = framed(ip())
			}
			if r.IntN(5) == 0 {
				p.Segments, p.Headers = uint32(2+r.IntN(4)), 42
			}
			packets = append(packets, p)
			for r.IntN(4) == 0 {
				packets = append(packets, p)
			}
		}
		c := Config{
			Tunnels: packet.Tunnels(r.IntN(3)), Sample: uint32(r.IntN(4)), SampleRandom: r.IntN(2) == 0,
			DropDuplicates: r.IntN(2) == 0, Live: r.IntN(2) == 0,
			Meter: meter.Config{MaxFlows: 1 + r.IntN(64), Details: r.IntN(2) == 0, ActiveTimeout: flow.Time(1 + r.IntN(5000)), IdleTimeout: flow.Time(1 + r.IntN(2000))},
		}
		own := []stream{{flow.AddrFrom(netip.MustParseAddr("10.0.0.1")), flow.AddrFrom(netip.MustParseAddr("10.0.0.2")), 1, 2}}
		src := newList(packets...)
		src.few = 1 + r.IntN(70)
		var frames uint64
		for _, p := range packets {
			frames += uint64(max(1, p.Segments))
		}
		recs, l := recordsOf(t, src, c, 1+r.IntN(3), own)
		s := l.summary()
		var octets, count, copies uint64
		for i := range recs {
			count, octets = count+recs[i].Packets, octets+recs[i].Bytes
			if recs[i].Details != nil {
				copies += recs[i].Details.Copies
			}
		}
		switch {
		case s.Seen != frames,
			s.Seen+s.Inner != s.Packets+s.Ignored+s.DuplicatesDropped+s.SampledOut,
			count != s.Packets, octets != s.Bytes, uint64(len(recs)) != s.Flows,
			c.Tunnels != packet.Both && s.Inner != 0,
			!c.Live && s.IgnoredBy.OwnExport != 0,
			!c.DropDuplicates && s.DuplicatesDropped != 0, c.DropDuplicates && (s.DuplicatesDropped != s.Duplicates || copies != 0),
			c.Sample <= 1 && s.SampledOut != 0:
			t.Fatalf("seed %d, %+v: %d frames, %d records with %d packets and %d octets: %+v", seed, c, frames, len(recs), count, octets, s)
		}
	}
}

// recordsOf is records of an exporter that has sockets.
func recordsOf(t *testing.T, src capture.Source, c Config, workers int, own []stream) ([]flow.Record, *ledger) {
	t.Helper()
	c.Source, c.Workers = src, workers
	full, empty := make(chan batch, batches), make(chan []flow.Record, batches)
	for range workers + 1 {
		empty <- make([]flow.Record, 0, batchRecords)
	}
	l := &ledger{}
	done := make(chan struct{})
	var recs []flow.Record
	go func() {
		defer close(done)
		for b := range full {
			recs = append(recs, b.records...)
			empty <- b.records[:0]
		}
	}()
	_ = c.meter(context.Background(), own, full, empty, l)
	close(full)
	<-done
	return recs, l
}

// TestBeforeBoot: the times of packets that are older than the first one, as a
// capture of several processors has them, are what they are in every dialect.
func TestBeforeBoot(t *testing.T) {
	for _, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
		for _, live := range []bool{false, true} {
			c := listen(t)
			now := time.Now().Truncate(time.Second)
			src := newList(
				capture.Packet{Time: now.UnixNano(), Data: framed(ipv4("10.0.0.1", "10.0.0.2", 1, 0, 17, udp(1, 2, nil)))},
				capture.Packet{Time: now.Add(-1500 * time.Millisecond).UnixNano(), Data: framed(ipv4("10.0.0.1", "10.0.0.2", 1, 0, 17, udp(3, 4, nil)))},
			)
			s, err := Run(context.Background(), Config{Source: src, To: []string{c.addr()}, Version: v, Live: live, Meter: small})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range c.wait(t, s.Messages) {
				want := flow.TimeOf(now)
				if r.SrcPort == 3 {
					want -= 1500
				}
				if r.Start != want || r.End != want {
					t.Errorf("%v, live %v: from %v to %v, want %v", v, live, r.Start, r.End, want)
				}
			}
		}
	}
}
