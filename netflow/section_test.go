package netflow

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/lab/truth"
)

func TestASampledPacketIsAFlow(t *testing.T) {
	const (
		macs  = `020000000001 020000000002 `
		ipv4  = `45 08 0064 0000 4000 40 06 0000 0a000001 0a000002 `
		tcp   = `04d2 0050 00000001 00000002 5012 ffff 0000 0000`
		frag  = `45 00 0064 0000 0010 40 11 0000 0a000001 0a000002 01020304`
		icmp  = `45 00 0054 0000 0000 40 01 0000 0a000001 0a000002 08 00 0000`
		udp   = `14e9 14e9 0028 0000`
		v6udp = `600000000028 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 ` + udp
	)
	for _, c := range []struct {
		name, data string
		element    int
		want       string
	}{
		{"ethernet", macs + `0800` + ipv4 + tcp, 315, "4 10.0.0.1 10.0.0.2 tcp 1234 80 tos 8 flags .. vlan 0: 1 100"},
		{"vlan_in_vlan", macs + `88a8 0064 8100 00c8 0800` + ipv4 + tcp, 315, "4 10.0.0.1 10.0.0.2 tcp 1234 80 tos 8 flags .. vlan 100: 1 100"},
		{"layer2packetSectionData", macs + `0800` + ipv4 + tcp, 104, "4 10.0.0.1 10.0.0.2 tcp 1234 80 tos 8 flags .. vlan 0: 1 100"},
		{"mpls", macs + `8847 00064040 000c8140 ` + ipv4 + tcp, 315, "4 10.0.0.1 10.0.0.2 tcp 1234 80 tos 8 flags .. vlan 0: 1 100"},
		{"pppoe", macs + `8864 1100 0001 0066 0057 ` + v6udp, 315, "6 2001:db8::1 2001:db8::2 udp 5353 5353 tos 0 flags .. vlan 0: 1 80"},
		{"ip_header", ipv4 + tcp, 313, "4 10.0.0.1 10.0.0.2 tcp 1234 80 tos 8 flags .. vlan 0: 1 100"},
		{"cut_in_the_ports", ipv4 + `04d2 00`, 313, "4 10.0.0.1 10.0.0.2 tcp 0 0 tos 8 flags .. vlan 0: 1 100"},
		{"later_fragment", frag, 313, "4 10.0.0.1 10.0.0.2 udp 0 0 tos 0 flags .. vlan 0: 1 100"},
		{"icmp", icmp, 313, "4 10.0.0.1 10.0.0.2 icmp 0 2048 tos 0 flags .. vlan 0: 1 84"},
		{"ipv6_extension_headers", `60000000 0030 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002 2c 00 0000 0000 0000  11 00 0000 00000001 ` + udp, 313,
			"6 2001:db8::1 2001:db8::2 udp 5353 5353 tos 0 flags .. vlan 0: 1 88"},
		{"not_ip", macs + `0806 0001 0800`, 315, "0   hopopt 0 0 tos 0 flags .. vlan 0: 0 0"},
		{"cut_in_the_ethernet_header", macs, 315, "0   hopopt 0 0 tos 0 flags .. vlan 0: 0 0"},
		{"endless_tags", macs + strings.Repeat(`8100 0001 `, 30), 315, "0   hopopt 0 0 tos 0 flags .. vlan 0: 0 0"},
	} {
		for _, variable := range []bool{false, true} {
			data := octets(t, c.data)
			tpl, content := fmt.Sprintf("0100 0001 %04x %04x", c.element, len(data)), hex.EncodeToString(data)
			if variable {
				tpl, content = fmt.Sprintf("0100 0001 %04x ffff", c.element), fmt.Sprintf("%02x", len(data))+content
			}
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 2, tpl), set(t, 256, content)))
			if err != nil || len(recs) != 1 {
				t.Fatal(c.name, recs, err)
			}
			r := recs[0]
			got := fmt.Sprintf("%d %v %v %v %d %d tos %d flags .. vlan %d: %d %d", r.IPVersion, r.SrcAddr, r.DstAddr, r.Protocol, r.SrcPort, r.DstPort, r.TOS, r.VLAN, r.Packets, r.Bytes)
			if got != c.want {
				t.Errorf("%s, variable %v:\n got %s\nwant %s", c.name, variable, got, c.want)
			}
			if strings.Contains(c.data, "5012") && r.TCPFlags != flow.SYN|flow.ACK {
				t.Errorf("%s: flags %v", c.name, r.TCPFlags)
			}
		}
	}
}

// TestASampledFrameOfTheWire: the capture of a router that exports frames, with
// the values that its source states.
func TestASampledFrameOfTheWire(t *testing.T) {
	data := truth.Data(t)
	files := [][2]string{{"wire/ak_datalink/01_datalink-template.pcap", "pcap"}, {"wire/ak_datalink/02_datalink-data.pcap", "pcap"}}
	_, recs := replay(t, data, files, Limits{})
	if len(recs) != 1 {
		t.Fatal(len(recs), "records")
	}
	r := recs[0]
	got := fmt.Sprintf("%v %v %v %d %d vlan %d in %d: %d %d", r.SrcAddr, r.DstAddr, r.Protocol, r.SrcPort, r.DstPort, r.VLAN, r.InIf, r.Packets, r.Bytes)
	if want := "51.51.51.51 52.52.52.52 udp 55501 11777 vlan 231 in 582: 1 96"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// FuzzSection: no octets make the parser of sampled packets panic or hang, and
// what it reads it read from them.
func FuzzSection(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x54\x00\x00\x00\x00\x40\x01\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x08\x00"))
	f.Add(append(make([]byte, 12), 0x81, 0, 0, 1, 0x88, 0x47, 0, 0, 1, 0, 0x60))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, q sampled
		if p.frame(b) && p.version != 4 && p.version != 6 {
			t.Errorf("version %d", p.version)
		}
		if q.ip(b) && len(b) < 20 {
			t.Errorf("an IP header in %d octets", len(b))
		}
	})
}
