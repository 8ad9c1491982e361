package packet

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"flowtally/flow"
)

// The tunnel's own addresses.
const (
	outer4 = "0a000001 0a000002"
	outer6 = "20010db8 00010000 00000000 00000001 20010db8 00010000 00000000 00000002"
)

// in4 puts a payload into an IPv4 packet of a protocol.
func in4(protocol int, payload string) string {
	return fmt.Sprintf("45 00 %04x 0001 0000 40 %02x 0000 %s\n%s", 20+len(unhex(payload)), protocol, outer4, payload)
}

// in6 is in4 for IPv6.
func in6(protocol int, payload string) string {
	return fmt.Sprintf("60000000 %04x %02x 40 %s\n%s", len(unhex(payload)), protocol, outer6, payload)
}

// inUDP puts a payload into a UDP datagram to a port, in IPv4.
func inUDP(port int, payload string) string {
	return in4(17, fmt.Sprintf("c000 %04x %04x 0000\n%s", port, 8+len(unhex(payload)), payload))
}

const (
	ether4 = macs + "0800\n" + ip4 + tcp
	whole4 = ip4 + tcp
	whole6 = ip6 + "0008 11 40" + addr6 + udp
)

var tunnelRows = []struct {
	name   string
	frame  string // of raw IP
	id     uint32
	tunnel uint32
	tagged bool // the inner frame has VLAN 100
	ipv6   bool // the inner packet is whole6
	stays  bool // nothing is entered
}{
	{name: "ip_in_ip", frame: in4(4, whole4), tunnel: 4 << 16},
	{name: "6in4", frame: in4(41, whole6), tunnel: 41 << 16, ipv6: true},
	{name: "4in6", frame: in6(4, whole4), tunnel: 4 << 16},
	{name: "6in6_behind_a_routing_header", frame: in6(43, "29 00 0000 00000000"+whole6), tunnel: 41 << 16, ipv6: true},
	{name: "ethernet_in_srv6", frame: in6(143, ether4), tunnel: 143 << 16},
	{name: "etherip", frame: in4(97, "3000"+ether4), tunnel: 97 << 16},
	{name: "mpls_in_ip", frame: in4(137, "0001 01 ff"+whole4), tunnel: 137 << 16},
	{name: "gre", frame: in4(47, "0000 0800"+whole4), tunnel: 47 << 16},
	{name: "gre_checksum_key_sequence", frame: in4(47, "b000 86dd 0000 0000 0000002a 00000007"+whole6), id: 42, tunnel: 47 << 16, ipv6: true},
	{name: "gre_source_routes", frame: in4(47, "4000 0800 0000 0000  0800 00 04 0a000003  0000 00 00"+whole4), tunnel: 47 << 16},
	{name: "gre_ethernet", frame: in4(47, "2000 6558 00002a00"+ether4), id: 0x2a00, tunnel: 47 << 16},
	{name: "gre_tagged", frame: in4(47, "0000 8100 0064 0800"+whole4), tunnel: 47 << 16, tagged: true},
	{name: "gre_mpls", frame: in4(47, "0000 8847 0001 01 ff"+whole4), tunnel: 47 << 16},
	{name: "gre_wccp_redirected", frame: in4(47, "0000 883e 01000000"+whole4), tunnel: 47 << 16},
	{name: "gre_security_group", frame: in4(47, "0000 8909 0101 0001 0007 0800"+whole4), tunnel: 47 << 16},
	{name: "gre_of_aruba", frame: in4(47, "0000 8200 8801 0000"+macs+"020000000003 0000 0000 aaaa03 000000 0800"+whole4), tunnel: 47 << 16},
	{name: "vxlan_reserved_bits", frame: inUDP(4789, "ff01d1f2 00002a00"+ether4), id: 42, tunnel: 17<<16 | 4789},
	{name: "pptp", frame: in4(47, "3081 880b 0030 0009 00000001 00000002 ff03 0021"+whole4), id: 9, tunnel: 47 << 16},
	{name: "erspan_i", frame: in4(47, "0000 88be"+ether4), tunnel: 47 << 16},
	{name: "erspan_ii", frame: in4(47, "1000 88be 00000001  1064 0c07 00000000"+ether4), id: 7, tunnel: 47 << 16},
	{name: "erspan_iii", frame: in4(47, "1000 22eb 00000001  2064 0007 00000000 0000 0000"+ether4), id: 7, tunnel: 47 << 16},
	{name: "erspan_iii_subheader", frame: in4(47, "1000 22eb 00000001  2064 0007 00000000 0000 0001 0000000000000000"+ether4), id: 7, tunnel: 47 << 16},
	{name: "erspan_iii_of_ip", frame: in4(47, "1000 22eb 00000001  2064 0007 00000000 0000 0800"+whole4), id: 7, tunnel: 47 << 16},
	{name: "vxlan", frame: inUDP(4789, "08000000 00002a00"+ether4), id: 42, tunnel: 17<<16 | 4789},
	{name: "vxlan_of_linux", frame: inUDP(8472, "08000000 00002a00"+macs+"8100 0064 0800"+whole4), id: 42, tunnel: 17<<16 | 8472, tagged: true},
	{name: "vxlan_group_policy", frame: inUDP(4789, "88000010 00002a00"+ether4), id: 42, tunnel: 17<<16 | 4789},
	{name: "vxlan_generic", frame: inUDP(4790, "0c000002 00002a00"+whole6), id: 42, tunnel: 17<<16 | 4790, ipv6: true},
	{name: "geneve_options", frame: inUDP(6081, "02 00 6558 00002a00 0102 80 01 00000000"+ether4), id: 42, tunnel: 17<<16 | 6081},
	{name: "geneve_ip", frame: inUDP(6081, "00 00 0800 00002a00"+whole4), id: 42, tunnel: 17<<16 | 6081},
	{name: "gtpu", frame: inUDP(2152, "30ff 0028 0000002a"+whole4), id: 42, tunnel: 17<<16 | 2152},
	{name: "gtpu_extension", frame: inUDP(2152, "34ff 0030 0000002a 0000 00 85 01 10 01 00"+whole4), id: 42, tunnel: 17<<16 | 2152},
	{name: "gre_in_udp", frame: inUDP(4754, "0000 0800"+whole4), tunnel: 17<<16 | 4754},
	{name: "mpls_in_udp", frame: inUDP(6635, "0001 01 ff"+whole4), tunnel: 17<<16 | 6635},
	{name: "tzsp", frame: inUDP(37008, "01 00 0001 00 0a 01 c0 01"+ether4), tunnel: 17<<16 | 37008},
	{name: "nsh_in_gre", frame: in4(47, "0000 894f 0fc2 01 03 00000000"+ether4), tunnel: 47 << 16},
	{name: "gtpu_in_vxlan", frame: inUDP(4789, "08000000 00000100"+macs+"0800"+inUDP(2152, "30ff 0028 0000002a"+whole4)), id: 42, tunnel: 17<<16 | 2152},

	// What stays the tunnel's own packet.
	{name: "vxlan_without_vni", frame: inUDP(4789, "00000000 00002a00"+ether4), stays: true},
	{name: "vxlan_of_arp", frame: inUDP(4789, "08000000 00002a00"+macs+"0806 0001"), stays: true},
	{name: "vxlan_to_another_port", frame: inUDP(4788, "08000000 00002a00"+ether4), stays: true},
	{name: "geneve_version_1", frame: inUDP(6081, "40 00 6558 00002a00"+ether4), stays: true},
	{name: "gtpu_echo", frame: inUDP(2152, "3001 0028 0000002a"+whole4), stays: true},
	{name: "gtpu_extension_of_length_0", frame: inUDP(2152, "34ff 0030 0000002a 0000 00 85 00 10 01 85"+whole4), stays: true},
	{name: "gre_version_2", frame: in4(47, "0002 0800"+whole4), stays: true},
	{name: "gre_isis", frame: in4(47, "0000 00fe 83"), stays: true},
	{name: "erspan_version_3", frame: in4(47, "1000 88be 00000001  3064 0c07 00000000"+ether4), stays: true},
	{name: "esp", frame: in4(50, whole4), stays: true},
	{name: "later_fragment", frame: "45 00 003c 0001 0010 40 04 0000" + outer4 + whole4, stays: true},
	{name: "cut_in_the_inner_header", frame: in4(4, "45 10 0028"), stays: true},
	{name: "icmp_that_quotes", frame: in4(1, "0301 0000 00000000"+whole4), stays: true},
}

func TestTunnels(t *testing.T) {
	outer, inner, both := newDecoder(Config{Details: true}, true), newDecoder(Config{Tunnels: Inner, Details: true}, true), newDecoder(Config{Tunnels: Both}, true)
	for _, tt := range tunnelRows {
		t.Run(tt.name, func(t *testing.T) {
			frame := unhex(tt.frame)
			var o, i, b Packet
			for _, err := range []error{outer.Decode(&o, 101, frame), inner.Decode(&i, 101, frame), both.Decode(&b, 101, frame)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			ignore := cmpopts.IgnoreFields(Packet{}, "Details")
			equal := func(what string, want, got *Packet) {
				t.Helper()
				if diff := cmp.Diff(want, got, ignore, cmpopts.IgnoreUnexported(flow.Key{})); diff != "" {
					t.Errorf("%s: -want +got:\n%s", what, diff)
				}
			}
			equal("both, first", &o, &b)
			if int(o.Length) != len(frame) && !strings.HasPrefix(tt.name, "gtpu_in") {
				t.Fatalf("the row's outer length is %d of %d", o.Length, len(frame))
			}
			b.InIf = 7
			entered := both.Inner(&b)
			if b.InIf != 7 {
				t.Errorf("the ingress interface is lost")
			}
			b.InIf = 0
			equal("both, second", &i, &b)
			if tt.stays {
				if entered {
					t.Error("entered")
				}
				equal("inner", &o, &i)
				if *i.Details != (flow.Details{}) {
					t.Errorf("details of no tunnel: %+v", i.Details)
				}
				return
			}
			want := tcp4(nil)
			if tt.ipv6 {
				want = udp6(nil)
			}
			want.Offset = uint32(len(frame)) - want.Length
			if tt.tagged {
				want.VLAN = 100
			}
			if want.Overlay = i.Overlay; i.Overlay == 0 {
				t.Error("no overlay")
			}
			equal("inner", want, &i)
			d := *i.Details
			if d.OuterSrc != flow.Addr4([4]byte{10, 0, 0, 1}) && d.OuterSrc != (flow.Addr{0x20, 1, 0x0d, 0xb8, 0, 1, 15: 1}) {
				t.Errorf("outer source %v", d.OuterSrc)
			}
			if d.TunnelID != tt.id || d.Tunnel != tt.tunnel {
				t.Errorf("tunnel %#x, id %d, want %#x, %d", d.Tunnel, d.TunnelID, tt.tunnel, tt.id)
			}
			if o.Details.Tunnel != 0 {
				t.Error("the outer packet came in a tunnel")
			}
		})
	}
}

// Details are of the frame that the packet is in.
func TestDetails(t *testing.T) {
	d := Config{Tunnels: Inner, Details: true}.Decoder()
	mac1, mac2 := [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	for _, tt := range []struct {
		name  string
		link  uint32
		frame string
		want  flow.Details
	}{
		{"untagged", 1, ether4, flow.Details{DstMAC: mac1, SrcMAC: mac2}},
		{"one_tag", 1, macs + "8100 0064 0800" + whole4, flow.Details{DstMAC: mac1, SrcMAC: mac2}},
		{"two_tags", 1, macs + "88a8 0007 8100 0064 0800" + whole4, flow.Details{DstMAC: mac1, SrcMAC: mac2, InnerVLAN: 100}},
		{"two_tags_in_layers", 1, macs + "9100 0007 9100 0064 0800" + whole4, flow.Details{DstMAC: mac1, SrcMAC: mac2, InnerVLAN: 100}},
		{"labels", 1, macs + "8847 0001 00 ff 0002 01 40" + whole4, flow.Details{DstMAC: mac1, SrcMAC: mac2, MPLS: [3]uint32{0x000100, 0x000201}}},
		{"no_frame", 101, whole4, flow.Details{}},
		{"the_inner_frames_addresses", 1, "0a0000000001 0a0000000002 8100 0007 8100 0008 0800" + inUDP(4789, "08000000 00002a00"+ether4),
			flow.Details{DstMAC: mac1, SrcMAC: mac2, Tunnel: 17<<16 | 4789, TunnelID: 42,
				OuterSrc: flow.Addr4([4]byte{10, 0, 0, 1}), OuterDst: flow.Addr4([4]byte{10, 0, 0, 2})}},
		{"the_outer_frames_when_the_inner_has_none", 1, macs + "0800" + in4(4, whole4),
			flow.Details{DstMAC: mac1, SrcMAC: mac2, Tunnel: 4 << 16,
				OuterSrc: flow.Addr4([4]byte{10, 0, 0, 1}), OuterDst: flow.Addr4([4]byte{10, 0, 0, 2})}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Packet
			if err := d.Decode(&p, tt.link, unhex(tt.frame)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *p.Details); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseTunnels(t *testing.T) {
	for _, want := range []Tunnels{Outer, Inner, Both} {
		if got, err := ParseTunnels(want.String()); err != nil || got != want {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	if _, err := ParseTunnels("none"); err == nil {
		t.Error("no error")
	}
}

// tunnelLaw holds what is true of every frame: the three ways agree, and an
// inner packet lies in the frame, behind its outer one.
type tunnelLaw struct{ outer, inner, both *Decoder }

func newTunnelLaw() tunnelLaw {
	return tunnelLaw{
		newDecoder(Config{}, true),
		newDecoder(Config{Tunnels: Inner, Details: true}, true),
		newDecoder(Config{Tunnels: Both, Details: true}, true),
	}
}

func (l tunnelLaw) check(t *testing.T, link uint32, frame []byte) (entered bool) {
	t.Helper()
	var o, i, b Packet
	err := l.outer.Decode(&o, link, frame)
	if e := l.inner.Decode(&i, link, frame); e != err {
		t.Fatalf("inner: %v, outer: %v", e, err)
	}
	if e := l.both.Decode(&b, link, frame); e != err {
		t.Fatalf("both: %v, outer: %v", e, err)
	}
	if err != nil {
		return false
	}
	first := b
	first.Details = nil
	if first != o {
		t.Fatalf("both begins with %+v, outer is %+v", first, o)
	}
	entered = l.both.Inner(&b)
	if *b.Details != *i.Details {
		t.Fatalf("both ends with details %+v, inner has %+v", b.Details, i.Details)
	}
	b.Details, i.Details = nil, nil
	if b != i {
		t.Fatalf("both ends with %+v, inner is %+v", b, i)
	}
	if !entered {
		if i != o {
			t.Fatalf("not entered, but inner is %+v, outer %+v", i, o)
		}
		return false
	}
	if i.Offset < o.Offset+20 || int(i.Offset)+int(i.Present) > len(frame) {
		t.Fatalf("inner packet of %d octets at %d in one at %d, frame of %d", i.Present, i.Offset, o.Offset, len(frame))
	}
	if frame[i.Offset]>>4 != i.IPVersion {
		t.Fatalf("version %d at %d", i.IPVersion, i.Offset)
	}
	if again := l.both.Inner(&b); again {
		t.Fatal("there is one more inside the innermost")
	}
	return true
}

// The law of tunnels on every capture, whole and cut; every frame at every length
// with FLOWTALLY_TORTURE set.
func TestTunnelLaw(t *testing.T) {
	l := newTunnelLaw()
	entered := map[string]int{}
	torture := os.Getenv("FLOWTALLY_TORTURE") != ""
	frames(t, func(name string, link uint32, frame []byte) {
		if torture {
			for length := range frame {
				l.check(t, link, frame[:length:length])
			}
		}
		if l.check(t, link, frame) {
			folder := strings.Split(name, "/")[1]
			if entered[folder]++; entered[folder] > 40 {
				return
			}
			for length := range min(len(frame), 200) {
				l.check(t, link, frame[:length:length])
			}
		}
	})
	t.Logf("entered: %v", entered)
	for _, folder := range []string{"vxlan", "gre", "erspan", "gtp", "ip_in_ip", "srv6"} {
		if entered[folder] == 0 {
			t.Errorf("no tunnel of %s was entered", folder)
		}
	}
}

func FuzzTunnels(f *testing.F) {
	for _, r := range tunnelRows {
		f.Add(uint32(101), unhex(r.frame))
		f.Add(uint32(1), unhex(macs+"0800"+r.frame))
	}
	l := newTunnelLaw()
	f.Fuzz(func(t *testing.T, link uint32, frame []byte) { l.check(t, link%300, frame) })
}

// Tunnels and details cost no allocation.
func TestTunnelAllocs(t *testing.T) {
	d := Config{Tunnels: Both, Details: true}.Decoder()
	var p Packet
	for _, r := range tunnelRows {
		frame := unhex(r.frame)
		if n := testing.AllocsPerRun(10, func() {
			d.Decode(&p, 101, frame)
			d.Inner(&p)
		}); n != 0 {
			t.Errorf("%s: %v allocations a packet", r.name, n)
		}
	}
}

func BenchmarkTunnels(b *testing.B) {
	frame := unhex(macs + "0800" + inUDP(4789, "08000000 00002a00"+ether4))
	for _, c := range []Config{{}, {Details: true}, {Tunnels: Inner}, {Tunnels: Inner, Details: true}} {
		b.Run(fmt.Sprintf("%v_details_%v", c.Tunnels, c.Details), func(b *testing.B) {
			d, p := c.Decoder(), Packet{}
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(&p, 1, frame)
			}
		})
	}
}
