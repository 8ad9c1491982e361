package exporter

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"flowtally/exporter/capture"
	"flowtally/flow"
)

// cooked is a packet of a capture on all interfaces (SLL2), seen on one of them,
// leaving if out, so many milliseconds after the first.
func cooked(index uint32, out bool, ms int, ip []byte) capture.Packet {
	b := make([]byte, 20)
	b[0], b[9] = 0x08, 1
	if ip[0]>>4 == 6 {
		b[0], b[1] = 0x86, 0xdd
	}
	binary.BigEndian.PutUint32(b[4:], index)
	if out {
		b[10] = 4
	}
	return capture.Packet{Time: t0.UnixNano() + int64(ms)*1e6, Data: append(b, ip...)}
}

// hop returns ip as a router sends it on.
func hop(ip []byte) []byte {
	ip = slices.Clone(ip)
	if ip[0]>>4 == 6 {
		ip[7]--
	} else {
		ip[8]--
		ip[10]++
	}
	return ip
}

// TestPassages: a packet that a capture shows on each interface that it passes is
// one packet of one flow, which has the interface it left by; it may be equal to
// another, and have no identification.
func TestPassages(t *testing.T) {
	named := ipv4("10.0.0.1", "10.0.0.2", 77, 0, 17, udp(1, 2, make([]byte, 10)))
	nameless := ipv4("10.0.0.1", "10.0.0.2", 0, 0, 17, udp(1, 2, make([]byte, 10)))
	six := append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64, 0x20, 1, 15: 1, 39: 2}, 0, 1, 0, 2, 0, 0, 0, 9, 0, 0, 0, 8, 0x50, 16, 0, 0, 0, 0, 0, 0)
	type at struct {
		in, out   uint32
		packets   uint64
		direction uint8
	}
	for _, tt := range []struct {
		name    string
		packets func(ip []byte) []capture.Packet
		want    []at
		copies  uint64
	}{
		{"routed", func(ip []byte) []capture.Packet {
			return []capture.Packet{cooked(2, false, 0, ip), cooked(3, true, 1, hop(ip))}
		}, []at{{2, 3, 1, 1}}, 1},
		{"equal_packets_routed_together", func(ip []byte) []capture.Packet {
			return []capture.Packet{cooked(2, false, 0, ip), cooked(2, false, 0, ip), cooked(3, true, 1, hop(ip)), cooked(3, true, 1, hop(ip))}
		}, []at{{2, 3, 2, 1}}, 2},
		{"from_veth_to_veth", func(ip []byte) []capture.Packet {
			return []capture.Packet{cooked(4, true, 0, ip), cooked(5, false, 0, ip)}
		}, []at{{0, 4, 1, 2}}, 1},
		{"out_of_a_container", func(ip []byte) []capture.Packet {
			return []capture.Packet{cooked(5, false, 0, ip), cooked(6, false, 0, ip), cooked(2, true, 0, hop(ip))}
		}, []at{{5, 2, 1, 1}}, 2},
		{"over_the_loopback", func(ip []byte) []capture.Packet {
			return []capture.Packet{cooked(1, true, 0, ip), cooked(1, false, 0, ip)}
		}, []at{{0, 1, 1, 2}}, 1},
		{"too_late", func(ip []byte) []capture.Packet {
			return []capture.Packet{cooked(2, false, 0, ip), cooked(3, true, 600, hop(ip))}
		}, []at{{0, 3, 1, 2}, {2, 0, 1, 1}}, 0},
		{"another_packet", func(ip []byte) []capture.Packet {
			other := slices.Clone(ip)
			other[len(other)-1]++
			return []capture.Packet{cooked(2, false, 0, ip), cooked(3, true, 1, hop(other))}
		}, []at{{0, 3, 1, 2}, {2, 0, 1, 1}}, 0},
	} {
		for i, ip := range [][]byte{named, nameless, six} {
			for _, workers := range []int{1, 3} {
				src := newList(tt.packets(ip)...)
				for i := range src.packets {
					src.packets[i].Link = 276
				}
				all := uint64(len(src.packets))
				recs, l := recordsOf(t, src, Config{Meter: small}, workers, nil)
				var got []at
				for _, r := range recs {
					got = append(got, at{r.InIf, r.OutIf, r.Packets, r.Direction})
				}
				slices.SortFunc(got, func(a, b at) int { return int(a.in) - int(b.in) })
				s := l.summary()
				if name := fmt.Sprint(tt.name, " ", i, " ", workers); !slices.Equal(got, tt.want) {
					t.Errorf("%s: %v, want %v", name, got, tt.want)
				} else if s.DuplicatesDropped != tt.copies || s.Duplicates < tt.copies || s.Packets+s.DuplicatesDropped != all {
					t.Errorf("%s: %+v", name, s)
				}
			}
		}
	}
}

// TestOutgoing: what a host sends has the interface it went out by, also where only
// the configuration names it.
func TestOutgoing(t *testing.T) {
	p := capture.Packet{Data: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10), OutIf: 7, Direction: capture.Egress}
	q := capture.Packet{Data: ethernet("10.0.0.2", "10.0.0.1", 53, 1, 10), InIf: 7, Direction: capture.Ingress}
	for _, tt := range []struct {
		src  capture.Source
		want uint32
	}{{described{newList(p, q)}, 7}, {newList(p, q), 3}} {
		recs, _ := meterAll(t, tt.src, Config{InIf: 3})
		slices.SortFunc(recs, func(a, b flow.Record) int { return int(a.SrcPort) - int(b.SrcPort) })
		if len(recs) != 2 || recs[0].OutIf != tt.want || recs[0].InIf != 0 || recs[0].Direction != 2 ||
			recs[1].InIf != tt.want || recs[1].OutIf != 0 || recs[1].Direction != 1 {
			t.Errorf("%+v", recs)
		}
	}
}
