package packet

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"flowtally/flow"
)

// unhex returns the octets of annotated hex: what follows a # in a line is a
// remark.
func unhex(s string) []byte {
	var b []byte
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		part, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			panic(fmt.Sprintf("%s: %v", line, err))
		}
		b = append(b, part...)
	}
	return b
}

// Headers that the rows are put together from.
const (
	macs = "02 00 00 00 00 01  02 00 00 00 00 02\n"

	// ip4 is a header without options of a packet of 40 octets.
	ip4 = `45 10 0028          # version, header length, TOS, total length
	      ` + rest4
	rest4 = `beef 4000 40 06 0000 # id, DF, TTL, TCP, checksum
		     c0000201 c6336402    # 192.0.2.1 > 198.51.100.2
		    `
	tcp = `c001 01bb           # ports
		   00000001 00000000
		   51 12 ffff 0000 0000 # length 5, NS, SYN ACK
		  `
	// ip6 is a header with traffic class 0xb8 and no hop limit, whose payload
	// length and next header follow in the row.
	ip6   = "6b 80 00 00\n"
	addr6 = `20010db8 00000000 00000000 00000001
		     20010db8 00000000 00000000 00000002
		    `
	udp = "d000 0035 0008 0000\n"
)

var (
	src4 = flow.Addr4([4]byte{192, 0, 2, 1})
	dst4 = flow.Addr4([4]byte{198, 51, 100, 2})
	src6 = flow.Addr{0x20, 1, 0x0d, 0xb8, 15: 1}
	dst6 = flow.Addr{0x20, 1, 0x0d, 0xb8, 15: 2}
)

// tcp4 is what ip4 and tcp say.
func tcp4(change func(p *Packet)) *Packet {
	p := &Packet{
		Key: flow.Key{
			SrcAddr: src4, DstAddr: dst4, SrcPort: 0xc001, DstPort: 443,
			IPVersion: 4, Protocol: flow.TCP, TOS: 0x10,
		},
		Length: 40, Present: 40, TTL: 64, FragID: 0xbeef,
		TCPFlags: flow.SYN | flow.ACK | flow.NS,
	}
	if change != nil {
		change(p)
	}
	return p
}

// udp6 is what ip6, addr6 and udp say.
func udp6(change func(p *Packet)) *Packet {
	p := &Packet{
		Key: flow.Key{
			SrcAddr: src6, DstAddr: dst6, SrcPort: 0xd000, DstPort: 53,
			IPVersion: 6, Protocol: flow.UDP, TOS: 0xb8,
		},
		Length: 48, Present: 48, TTL: 64,
	}
	if change != nil {
		change(p)
	}
	return p
}

func at(offset uint32) *Packet { return tcp4(func(p *Packet) { p.Offset = offset }) }

func tagged(offset uint32, vlan uint16) *Packet {
	return tcp4(func(p *Packet) { p.Offset, p.VLAN = offset, vlan })
}

// noTransport is a packet of which no port is known.
func noTransport(p *Packet) { p.SrcPort, p.DstPort, p.TCPFlags = 0, 0, 0 }

func TestDecode(t *testing.T) {
	const (
		ether, raw, raw4, raw6 = 1, 101, 228, 229
	)
	tests := []struct {
		name  string
		link  uint32
		frame string
		want  *Packet
		err   error
	}{
		// Envelopes.
		{"ethernet", ether, macs + "0800\n" + ip4 + tcp, at(14), nil},
		{"ethernet_padding", ether, macs + "0800\n" + ip4 + tcp + "0000 0000 0000",
			tcp4(func(p *Packet) { p.Offset, p.Present = 14, 46 }), nil},
		{"ethernet_arp", ether, macs + "0806 0001 0800", nil, ErrNotIP},
		{"ethernet_cut_in_addresses", ether, "02 00 00 00", nil, ErrTruncated},
		{"ethernet_nothing_behind", ether, macs + "0800", nil, ErrTruncated},
		{"ethernet_empty", ether, "", nil, ErrTruncated},
		{"vlan", ether, macs + "8100 2064  0800\n" + ip4 + tcp, tagged(18, 100), nil},
		{"vlan_priority_tag_is_no_vlan", ether, macs + "8100 e000 0800\n" + ip4 + tcp, tagged(18, 0), nil},
		{"qinq_outermost_counts", ether, macs + "88a8 0007  8100 0064  0800\n" + ip4 + tcp, tagged(22, 7), nil},
		{"qinq_9100", ether, macs + "9100 0007  9100 0064  0800\n" + ip4 + tcp, tagged(22, 7), nil},
		{"vlan_cut", ether, macs + "8100 00", nil, ErrTruncated},
		{"llc_snap", ether, macs + "0030  aaaa03 000000 0800\n" + ip4 + tcp, at(22), nil},
		{"llc_snap_802_1h", ether, macs + "0030  aaaa03 0000f8 0800\n" + ip4 + tcp, at(22), nil},
		{"llc_spanning_tree", ether, macs + "0026  424203 0000", nil, ErrNotIP},
		{"llc_snap_of_cisco", ether, macs + "0026  aaaa03 00000c 2000", nil, ErrNotIP},
		{"llc_shorter_than_ip", ether, macs + "0008  aaaa03 000000 0800\n" + ip4 + tcp, nil, ErrTruncated},
		{"mpls_two_labels", ether, macs + "8847  0001 00 ff  0002 01 ff\n" + ip4 + tcp, at(22), nil},
		{"mpls_pseudowire_control_word", ether, macs + "8847  0001 01 ff  00000000" + macs + "0800\n" + ip4 + tcp, at(36), nil},
		{"mpls_pseudowire", ether, macs + "8847  0001 01 ff  " + macs + "0800\n" + ip4 + tcp, at(32), nil},
		{"mpls_no_bottom", ether, macs + "8847  0001 00 ff", nil, ErrTruncated},
		{"mpls_bottom_and_nothing", ether, macs + "8847  0001 01 ff", nil, ErrTruncated},
		{"pppoe", ether, macs + "8864  11 00 0001 002a  0021\n" + ip4 + tcp, at(22), nil},
		{"pppoe_length_ffff", ether, macs + "8864  11 00 0001 ffff  0021\n" + ip4 + tcp, at(22), nil},
		{"pppoe_lcp", ether, macs + "8864  11 00 0001 0008  c021 0901", nil, ErrNotIP},
		{"pppoe_discovery", ether, macs + "8863  11 09 0000 0000", nil, ErrNotIP},
		{"pppoe_terminate", ether, macs + "8864  11 a7 0001 0000", nil, ErrNotIP},
		{"pppoe_version_2", ether, macs + "8864  21 00 0001 002a  0021\n" + ip4 + tcp, nil, ErrMalformed},
		{"ppp_hdlc", 9, "ff03 0021\n" + ip4 + tcp, at(4), nil},
		{"ppp_compressed_protocol", 9, "21\n" + ip4 + tcp, at(1), nil},
		{"ppp_one_octet", 9, "00", nil, ErrTruncated},
		{"ppp_mpls", 9, "ff03 0281  0001 01 ff\n" + ip4 + tcp, at(8), nil},
		{"ppp_with_direction", 166, "00 03 0021\n" + ip4 + tcp, at(4), nil},
		{"cisco_hdlc", 104, "0f00 0800\n" + ip4 + tcp, at(4), nil},
		{"cisco_hdlc_under_ppp", 9, "0f00 0800\n" + ip4 + tcp, at(4), nil},
		{"frame_relay_rfc2427", 107, "1841 03 cc\n" + ip4 + tcp, at(4), nil},
		{"frame_relay_snap", 107, "1841 03 00 80 000000 0800\n" + ip4 + tcp, at(10), nil},
		{"frame_relay_cisco", 107, "1841 0800\n" + ip4 + tcp, at(4), nil},
		{"frame_relay_address_without_end", 107, "00 00 00 00 00", nil, ErrMalformed},
		{"sll", 113, "0000 0001 0006 020000000001 0000 0800\n" + ip4 + tcp, at(16), nil},
		{"sll_address_length_ffff", 113, "0000 0001 ffff 020000000001 0000 0800\n" + ip4 + tcp, at(16), nil},
		{"sll_netlink", 113, "0000 0338 0000 000000000000 0000 0800\n" + ip4 + tcp, nil, ErrNotIP},
		{"sll_llc", 113, "0000 0001 0006 020000000001 0000 0004 424203", nil, ErrNotIP},
		{"sll2_vlan", 276, "8100 0000 00000002 0001 00 06 0200000000010000 0064 0800\n" + ip4 + tcp, tagged(24, 100), nil},
		{"null_little_endian", 0, "02000000\n" + ip4 + tcp, at(4), nil},
		{"null_big_endian", 0, "00000002\n" + ip4 + tcp, at(4), nil},
		{"null_ethernet_type", 0, "0f000800\n" + ip4 + tcp, at(4), nil},
		{"null_unknown_family", 0, "07000000\n" + ip4 + tcp, nil, ErrNotIP},
		{"loop_ipv6_of_freebsd", 108, "0000001c\n" + ip6 + "0008 11 40" + addr6 + udp, udp6(func(p *Packet) { p.Offset = 4 }), nil},
		{"pflog", 117, "3d 02 00 00" + strings.Repeat("00", 60) + "\n" + ip4 + tcp, at(64), nil},
		{"fddi", 10, "50" + macs + "aaaa03 000000 0800\n" + ip4 + tcp, at(21), nil},
		{"raw", raw, ip4 + tcp, at(0), nil},
		{"raw_neither_version", raw, "50", nil, ErrMalformed},
		{"raw4_holds_ipv6", raw4, ip6 + "0008 11 40" + addr6 + udp, nil, ErrMalformed},
		{"radiotap_qos_data", 127, "00 00 0800 00000000   88 01 0000" + macs + "020000000003 0000  0000  aaaa03 000000 0800\n" + ip4 + tcp, at(42), nil},
		{"radiotap_longer_than_frame", 127, "00 00 ffff 00000000", nil, ErrTruncated},
		{"802_11_beacon", 105, "8000 0000" + macs + macs, nil, ErrNotIP},
		{"802_11_encrypted", 105, "0841 0000" + macs + macs, nil, ErrNotIP},
		{"pbb", ether, macs + "88e7 00000001" + macs + "88a8 0007 0800\n" + ip4 + tcp, tagged(36, 7), nil},
		{"vn_tag", ether, macs + "8926 00000000 0800\n" + ip4 + tcp, at(20), nil},
		{"macsec_in_the_clear", ether, macs + "88e5 00 00 00000001 0800\n" + ip4 + tcp, at(22), nil},
		{"macsec_with_identifier", ether, macs + "88e5 20 00 00000001 0000000000000001 0800\n" + ip4 + tcp, at(30), nil},
		{"macsec_encrypted", ether, macs + "88e5 2c 00 00000001 0000000000000001 0800\n" + ip4 + tcp, nil, ErrNotIP},
		{"nsh", ether, macs + "894f 0fc2 01 01 00000000" + ip4 + tcp, at(22), nil},
		{"nsh_length_1", ether, macs + "894f 0fc1 01 01 00000000" + ip4 + tcp, nil, ErrMalformed},
		{"fabric_path", ether, macs + "8903 0001" + macs + "0800\n" + ip4 + tcp, at(30), nil},
		{"security_group", ether, macs + "8909 0101 0001 0007 0800\n" + ip4 + tcp, at(22), nil},
		{"arista_time", ether, macs + "d28b 0001 0110 0000000000000000 0800\n" + ip4 + tcp, at(28), nil},
		{"sll_of_gretap", 113, "0000 0001 0006 020000000001 0000 6558\n" + macs + "0800" + ip4 + tcp, at(30), nil},
		{"infiniband", 242, strings.Repeat("00", 40) + "0800 0000\n" + ip4 + tcp, at(44), nil},
		{"pktap", 258, "0c000000 00000000 0c000000" + ip4 + tcp, at(12), nil},
		{"pktap_in_pktap", 258, "0c000000 00000000 02010000" + ip4 + tcp, nil, ErrLinkType},
		{"pktap_of_a_number_of_ours", 258, "0c000000 00000000 00000100" + ip4 + tcp, nil, ErrLinkType},
		{"ppi", 192, "0000 0800 01000000" + macs + "0800" + ip4 + tcp, at(22), nil},
		{"ipsec_of_openbsd", 109, "02000000 00000000 00000000" + ip4 + tcp, at(12), nil},
		{"atm_rfc1483", 100, "aaaa03 000000 0800" + ip4 + tcp, at(8), nil},
		{"atm_of_sun", 123, "02 00 0020 aaaa03 000000 0800" + ip4 + tcp, at(12), nil},
		{"firewire", 138, "0000000000000000 0000000000000000 0800" + ip4 + tcp, at(18), nil},
		{"ppp_behind_a_direction", 204, "01 ff03 0021" + ip4 + tcp, at(5), nil},
		{"cisco_hdlc_behind_a_direction", 205, "01 0f00 0800" + ip4 + tcp, at(5), nil},
		{"frame_relay_behind_a_direction", 206, "01 1841 0800" + ip4 + tcp, at(5), nil},
		{"token_ring_source_routed", 6, "10 40 020000000001 820000000002 0230 aaaa03 000000 0800" + ip4 + tcp, at(24), nil},
		{"nflog", 239, "02 00 0000 0800 0100 00000000 2c00 0900" + ip4 + tcp, at(16), nil},
		{"nflog_of_a_big_endian_machine", 239, "02 00 0000 0008 0001 00000000 002c 0009" + ip4 + tcp, at(16), nil},
		{"nflog_value_of_length_0", 239, "02 00 0000 0000 0100" + ip4 + tcp, nil, ErrMalformed},
		{"link_type_not_known", 147, ip4 + tcp, nil, ErrLinkType},
		{"link_type_257_is_not_1", 257, macs + "0800\n" + ip4 + tcp, nil, ErrLinkType},

		// IPv4.
		{"ipv4_cut_in_header", raw4, "45 10 0028 beef", nil, ErrTruncated},
		{"ipv4_header_length_4", raw4, "44 10 0028" + rest4 + tcp, nil, ErrMalformed},
		{"ipv4_cut_behind_header", raw4, ip4, tcp4(func(p *Packet) { noTransport(p); p.Present = 20 }), nil},
		{"ipv4_cut_in_ports", raw4, ip4 + "c001 01", tcp4(func(p *Packet) { noTransport(p); p.Present = 23 }), nil},
		{"ipv4_cut_behind_ports", raw4, ip4 + "c001 01bb", tcp4(func(p *Packet) { p.TCPFlags, p.Present = 0, 24 }), nil},
		{"ipv4_cut_behind_tcp_flags", raw4, ip4 + "c001 01bb 00000001 00000000 51 12", tcp4(func(p *Packet) { p.Present = 34 }), nil},
		{"ipv4_option_of_two_octets", raw4, "46 10 002c" + rest4 + "88 02 00 00" + tcp,
			tcp4(func(p *Packet) { p.Length, p.Present = 44, 44 }), nil},
		{"ipv4_options_cut", raw4, "4f 10 0064" + rest4 + "88 02",
			tcp4(func(p *Packet) { noTransport(p); p.Length, p.Present = 100, 22 }), nil},
		{"ipv4_total_length_0_of_an_offload", raw4, "45 10 0000" + rest4 + tcp,
			tcp4(func(p *Packet) { p.Length = 0 }), nil},
		{"ipv4_total_length_ends_before_ports", raw4, "45 10 0016" + rest4 + tcp,
			tcp4(func(p *Packet) { noTransport(p); p.Length = 22 }), nil},
		{"ipv4_first_fragment_has_ports", raw4, "45 10 0028 beef 2000 40 06 0000 c0000201 c6336402" + tcp,
			tcp4(func(p *Packet) { p.MoreFragments = true }), nil},
		{"ipv4_later_fragment_has_none", raw4, "45 10 0028 beef 00b9 40 06 0000 c0000201 c6336402" + tcp,
			tcp4(func(p *Packet) { noTransport(p); p.FragOffset = 1480 }), nil},
		{"ipv4_icmp", raw4, "45 10 001c beef 4000 40 01 0000 c0000201 c6336402 03 0d 0000 00000000",
			tcp4(func(p *Packet) {
				noTransport(p)
				p.Protocol, p.DstPort, p.Length, p.Present = flow.ICMP, 3*256+13, 28, 28
			}), nil},
		{"ipv4_in_ipv4_is_not_entered", raw4, "45 10 003c beef 4000 40 04 0000 c0000201 c6336402" + ip4 + tcp,
			tcp4(func(p *Packet) { noTransport(p); p.Protocol, p.Length, p.Present = 4, 60, 60 }), nil},

		// IPv6.
		{"ipv6", raw6, ip6 + "0008 11 40" + addr6 + udp, udp6(nil), nil},
		{"ipv6_cut_in_header", raw6, ip6 + "0008 11 40" + "20010db8 00000000", nil, ErrTruncated},
		{"ipv6_hop_by_hop_and_padding", raw6, ip6 + "0010 00 40" + addr6 + "11 00 0502 0000 0100" + udp + "00000000",
			udp6(func(p *Packet) { p.Length, p.Present = 56, 60 }), nil},
		{"ipv6_jumbo_length_0", raw6, ip6 + "0000 00 40" + addr6 + "11 00 c204 00010000" + udp,
			udp6(func(p *Packet) { p.Length, p.Present = 40, 56 }), nil},
		{"ipv6_routing_of_24_octets", raw6, ip6 + "0020 2b 40" + addr6 + "11 02 0001 00000000" + strings.Repeat("00", 16) + udp,
			udp6(func(p *Packet) { p.Length, p.Present = 72, 72 }), nil},
		{"ipv6_ah_in_units_of_four", raw6, ip6 + "0014 33 40" + addr6 + "11 01 0000 00000001 00000001" + udp,
			udp6(func(p *Packet) { p.Length, p.Present = 60, 60 }), nil},
		{"ipv6_esp_ends_the_walk", raw6, ip6 + "0008 32 40" + addr6 + udp,
			udp6(func(p *Packet) { noTransport(p); p.Protocol = 50 }), nil},
		{"ipv6_first_fragment_has_ports", raw6, ip6 + "0010 2c 40" + addr6 + "11 00 0001 cafebabe" + udp,
			udp6(func(p *Packet) { p.Length, p.Present, p.FragID, p.MoreFragments = 56, 56, 0xcafebabe, true }), nil},
		{"ipv6_later_fragment_is_not_tcp", raw6, ip6 + "0010 2c 40" + addr6 + "06 00 05a8 cafebabe" + udp,
			udp6(func(p *Packet) {
				noTransport(p)
				p.Protocol, p.Length, p.Present, p.FragID, p.FragOffset = flow.TCP, 56, 56, 0xcafebabe, 1448
			}), nil},
		{"ipv6_extension_longer_than_packet", raw6, ip6 + "0010 3c 40" + addr6 + "11 ff 0000 00000000" + udp,
			udp6(func(p *Packet) { noTransport(p); p.Protocol, p.Length, p.Present = 60, 56, 56 }), nil},
		{"ipv6_extension_cut", raw6, ip6 + "0010 3c 40" + addr6 + "11 00",
			udp6(func(p *Packet) { noTransport(p); p.Protocol, p.Length, p.Present = 60, 56, 42 }), nil},
		{"ipv6_no_next_header", raw6, ip6 + "0000 3b 40" + addr6,
			udp6(func(p *Packet) { noTransport(p); p.Protocol, p.Length, p.Present = 59, 40, 40 }), nil},
		{"ipv6_icmp", raw6, ip6 + "0008 3a 40" + addr6 + "88 00 0000 00000000",
			udp6(func(p *Packet) { noTransport(p); p.Protocol, p.DstPort = flow.ICMPv6, 136*256 }), nil},
	}
	d := newDecoder(Config{}, true)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := Packet{Length: 1}
			got := before
			err := d.Decode(&got, tt.link, unhex(tt.frame))
			if err != tt.err {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				tt.want = &before // left as it was
			}
			if diff := cmp.Diff(tt.want, &got, cmpopts.IgnoreUnexported(flow.Key{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if want := tt.want.MoreFragments || tt.want.FragOffset > 0; got.IsFragment() != want {
				t.Errorf("is a fragment: %v", got.IsFragment())
			}
		})
	}
}

// Every protocol with ports gives its ports, and no other.
func TestDecodePorts(t *testing.T) {
	d := newDecoder(Config{}, true)
	frame := unhex(ip4 + tcp)
	for protocol := range 256 {
		frame[9] = byte(protocol)
		var p Packet
		if err := d.Decode(&p, 228, frame); err != nil {
			t.Fatal(err)
		}
		var want [2]uint16
		switch proto := flow.Protocol(protocol); {
		case proto.HasPorts():
			want = [2]uint16{0xc001, 443}
		case proto == flow.ICMP || proto == flow.ICMPv6:
			want = [2]uint16{0, 0xc001}
		}
		if got := [2]uint16{p.SrcPort, p.DstPort}; got != want {
			t.Errorf("protocol %d: ports %v, want %v", protocol, got, want)
		}
	}
}

// benchFrames are the ordinary ones.
var benchFrames = []struct {
	name  string
	link  uint32
	frame []byte
}{
	{"tcp4", 1, unhex(macs + "0800\n" + ip4 + tcp)},
	{"udp6", 1, unhex(macs + "86dd\n" + ip6 + "0008 11 40" + addr6 + udp)},
	{"vlan", 1, unhex(macs + "8100 0064 0800\n" + ip4 + tcp)},
	{"qinq_mpls_udp6", 1, unhex(macs + "88a8 0001 8100 0064 8847  0001 01 ff\n" + ip6 + "0008 11 40" + addr6 + udp)},
	{"sll2", 276, unhex("0800 0000 00000002 0001 00 06 0200000000010000\n" + ip4 + tcp)},
	{"arp", 1, unhex(macs + "0806 0001 0800")},
	{"cut", 1, unhex(macs + "0800\n" + "45 10 0028 beef")},
}

// A packet costs no allocation, whatever becomes of it.
func TestDecodeAllocs(t *testing.T) {
	for _, f := range benchFrames {
		d, p := NewDecoder(), Packet{}
		if n := testing.AllocsPerRun(100, func() { d.Decode(&p, f.link, f.frame) }); n != 0 {
			t.Errorf("%s: %v allocations a packet", f.name, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, f := range benchFrames {
		b.Run(f.name, func(b *testing.B) {
			d, p := NewDecoder(), Packet{}
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(&p, f.link, f.frame)
			}
		})
	}
}
