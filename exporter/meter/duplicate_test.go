package meter

import (
	"encoding/binary"
	"testing"

	"flowtally/exporter/packet"
	"flowtally/flow"
)

// ip4 returns an IPv4 UDP packet, ip6 an IPv6 one of the given protocol, and its
// octets.
func ip4(id uint16, ttl uint8, payload byte) (*packet.Packet, []byte) {
	b := make([]byte, 200)
	b[0], b[8], b[9] = 0x45, ttl, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], id)
	b[10], b[11] = ^ttl, ttl // stands for the checksum, which the TTL changes
	b[27], b[40] = payload, payload
	return &packet.Packet{
		Key:    flow.Key{IPVersion: 4, Protocol: flow.UDP, SrcPort: 1, DstPort: 2},
		Length: 200, TTL: ttl, FragID: uint32(id),
	}, b
}

func ip6(hops uint8, p flow.Protocol, transport, data int) (*packet.Packet, []byte) {
	b := make([]byte, 40+transport+data)
	b[0], b[6], b[7] = 0x60, byte(p), hops
	if p == flow.TCP {
		b[52] = byte(transport/4) << 4
	}
	return &packet.Packet{Key: flow.Key{IPVersion: 6, Protocol: p}, Length: uint32(len(b)), TTL: hops}, b
}

func TestDuplicates(t *testing.T) {
	type seen struct {
		pkt  *packet.Packet
		ip   []byte
		at   flow.Time
		want bool
	}
	is := func(want bool, at flow.Time) func(p *packet.Packet, b []byte) seen {
		return func(p *packet.Packet, b []byte) seen { return seen{p, b, at, want} }
	}
	others := func(n int) (out []seen) {
		for i := range n {
			out = append(out, is(false, 0)(ip4(uint16(1000+i), 64, 1)))
		}
		return out
	}
	tests := []struct {
		name string
		seen []seen
	}{
		{"copy", []seen{is(false, 0)(ip4(7, 64, 1)), is(true, 0)(ip4(7, 64, 1)), is(true, 1)(ip4(7, 64, 1))}},
		{"routed_copy", []seen{is(false, 0)(ip4(7, 64, 1)), is(true, 0)(ip4(7, 63, 1))}},
		{"copy_stamped_earlier", []seen{is(false, 5)(ip4(7, 64, 1)), is(true, 4)(ip4(7, 64, 1))}},
		{"another_identification", []seen{is(false, 0)(ip4(7, 64, 1)), is(false, 0)(ip4(8, 64, 1))}},
		{"another_payload", []seen{is(false, 0)(ip4(7, 64, 1)), is(false, 0)(ip4(7, 64, 2))}},
		{"identification_0", []seen{is(false, 0)(ip4(0, 64, 1)), is(false, 0)(ip4(0, 64, 1))}},
		{"too_late", []seen{is(false, 0)(ip4(7, 64, 1)), is(false, 501)(ip4(7, 64, 1))}},
		{"seven_between", append(append([]seen{is(false, 0)(ip4(7, 64, 1))}, others(7)...), is(true, 0)(ip4(7, 64, 1)))},
		{"eight_between", append(append([]seen{is(false, 0)(ip4(7, 64, 1))}, others(8)...), is(false, 0)(ip4(7, 64, 1)))},
		{"ipv6_data", []seen{is(false, 0)(ip6(64, flow.TCP, 32, 1)), is(true, 0)(ip6(63, flow.TCP, 32, 1))}},
		{"ipv6_acknowledgement", []seen{is(false, 0)(ip6(64, flow.TCP, 32, 0)), is(false, 0)(ip6(64, flow.TCP, 32, 0))}},
		{"ipv6_empty_udp", []seen{is(false, 0)(ip6(64, flow.UDP, 8, 0)), is(false, 0)(ip6(64, flow.UDP, 8, 0))}},
		{"ipv6_without_next_header", []seen{is(false, 0)(ip6(64, 59, 0, 0)), is(false, 0)(ip6(64, 59, 0, 0))}},
		{"ipv6_routed_copy_late", []seen{is(false, 0)(ip6(64, flow.UDP, 8, 2)), is(true, 10)(ip6(63, flow.UDP, 8, 2))}},
		{"ipv6_said_again", []seen{is(false, 0)(ip6(64, flow.UDP, 8, 2)), is(false, 11)(ip6(64, flow.UDP, 8, 2))}},
		{"ipv6_udp_cut_before_the_checksum", []seen{
			is(false, 0)(cut(ip6(64, flow.UDP, 8, 9))), is(false, 0)(cut(ip6(64, flow.UDP, 8, 9)))}},
		{"ipv6_icmp_cut", []seen{
			is(false, 0)(cut(ip6(64, flow.ICMPv6, 8, 9))), is(false, 0)(cut(ip6(64, flow.ICMPv6, 8, 9)))}},
		{"ipv6_icmp_whole", []seen{
			is(false, 0)(ip6(64, flow.ICMPv6, 8, 9)), is(true, 0)(ip6(64, flow.ICMPv6, 8, 9))}},
		{"ipv6_cut_before_the_data_offset", []seen{
			is(false, 0)(cut(ip6(64, flow.TCP, 32, 9))), is(false, 0)(cut(ip6(64, flow.TCP, 32, 9)))}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d Duplicates
			for i, s := range tt.seen {
				if got := d.Seen(s.pkt, s.ip, at(0)+s.at); got != s.want {
					t.Fatalf("packet %d: copy %v, want %v", i, got, s.want)
				}
			}
		})
	}
}

func cut(p *packet.Packet, b []byte) (*packet.Packet, []byte) { return p, b[:45] }

func BenchmarkDuplicates(b *testing.B) {
	var d Duplicates
	p, octets := ip4(7, 64, 1)
	b.ReportAllocs()
	for b.Loop() {
		p.FragID++
		d.Seen(p, octets, at(0))
	}
}
