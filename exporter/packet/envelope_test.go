package packet

import (
	"fmt"
	"testing"

	"flowtally/flow"
)

// What stands in front of an IP packet on rings, behind port extenders and switch
// chips, on wires where frames interrupt each other, in the air, and in captures of
// Juniper's routers and Solaris is looked through.
func TestEnvelopes(t *testing.T) {
	const (
		ether, dot11, prism, tap = 1, 105, 119, 127
		llc                      = "aaaa03 000000 0800\n"
		data                     = "0802 0000 020000000009 020000000008 020000000007 0000\n"
		qos                      = "8802 0000 020000000009 020000000008 020000000007 0000"
		magic, in, raw           = "4d4743", " 01", " 02"
	)
	for _, tt := range []struct {
		name  string
		link  uint32
		front string
		vlan  uint16
		err   error
	}{
		{"hsr", ether, macs + "892f 1034 0005 0800\n", 0, nil},
		{"hsr_vlan", ether, macs + "892f 1034 0005 8100 0007 0800\n", 7, nil},
		{"e_tag", ether, macs + "893f 0001 0002 0000 0800\n", 0, nil},
		{"tpid_9300", ether, macs + "9300 0007 0800\n", 7, nil},
		{"edsa", ether, macs + "dada 0000 c010 0539 0800\n", 0, nil},
		{"edsa_tagged", ether, macs + "dada 0000 e010 0539 0800\n", 0x539, nil},
		{"edsa_link_type", 285, macs + "dada 0000 4000 0000 0800\n", 0, nil},
		{"dsa", 284, macs + "c010 0539 0800\n", 0, nil},
		{"dsa_tagged", 284, macs + "e010 a539 0800\n", 0x539, nil},
		{"dsa_arp", 284, macs + "c010 0539 0806\n", 0, ErrNotIP},
		{"broadcom", 281, macs + "2c00 0080 0800\n", 0, nil},
		{"broadcom_in_front", 282, "2c00 0080" + macs + "0800\n", 0, nil},
		{"mpls", 219, "00010140\n", 0, nil},
		{"mpls_stack", 219, "00020040 00010140\n", 0, nil},
		{"ipnet", 226, "01 02 0001 00000028 00000005 00000006 00000007 00000008\n", 0, nil},
		{"ipnet_of_another_family", 226, "01 03 0001 00000028 00000005 00000006 00000007 00000008\n", 0, ErrNotIP},
		{"mpacket_express", 274, "55555555555555 d5" + macs + "0800\n", 0, nil},
		{"mpacket_short_preamble", 274, "5555 d5" + macs + "0800\n", 0, nil},
		{"mpacket_first_fragment", 274, "55555555555555 4c" + macs + "0800\n", 0, nil},
		{"mpacket_later_fragment", 274, "555555555555 61 e6" + macs + "0800\n", 0, ErrNotIP},
		{"mpacket_verify", 274, "55555555555555 07\n", 0, ErrNotIP},
		{"mpacket_express_of_vlan", 274, "55555555555555 d5" + macs + "8100 0007 0800\n", 7, nil},

		{"dot11", dot11, data + llc, 0, nil},
		{"radiotap", tap, "0000 0900 02000000 00" + data + llc, 0, nil},
		{"radiotap_padded_qos", tap, "0000 0900 02000000 20" + qos + "0000 0000" + llc, 0, nil},
		{"radiotap_padded_and_nothing_to_pad", tap, "0000 0900 02000000 20" + data + llc, 0, nil},
		{"radiotap_padding_behind_a_time", tap, "0000 1100 03000000 0000000000000000 20" + qos + "0000 0000" + llc, 0, nil},
		{"radiotap_padding_behind_two_words", tap, "0000 1900 03000080 00000000 00000000 0000000000000000 20" + qos + "0000 0000" + llc, 0, nil},
		{"radiotap_flags_cut", tap, "0000 0800 02000000" + data + llc, 0, nil},
		{"a_msdu", dot11, qos + "8000 020000000005 020000000006 0030" + llc, 0, nil},
		{"prism", prism, "44000000 90000000" + fmt.Sprintf("%0272x", 0) + data + llc, 0, nil},
		{"prism_that_is_avs", prism, "80211001 00000010 0000000000000000" + data + llc, 0, nil},
		{"prism_that_is_radiotap", prism, "0000 0800 00000000" + data + llc, 0, nil},

		{"juniper_ethernet", 178, magic + in + macs + "0800\n", 0, nil},
		{"juniper_extensions", 178, magic + "81 0006 010104 020105" + macs + "8100 0007 0800\n", 7, nil},
		{"juniper_extensions_cut", 178, magic + "81 0080 010104 020105" + macs + "0800\n", 0, ErrTruncated},
		{"juniper_without_link", 178, magic + raw + "02000000\n", 0, nil},
		{"juniper_without_magic", 178, "4d4744 00" + macs + "0800\n", 0, ErrMalformed},
		{"juniper_ppp", 179, magic + in + "ff03 0021\n", 0, nil},
		{"juniper_relay", 180, magic + in + "1841 03 cc\n", 0, nil},
		{"juniper_hdlc", 181, magic + in + "0f00 0800\n", 0, nil},
		{"juniper_pppoe", 167, magic + in + macs + "8864 1100 0001 002a 0021\n", 0, nil},
		{"juniper_pppoe_atm", 168, magic + in + "8864 1100 0001 002a 0021\n", 0, nil},
		{"juniper_mlppp", 130, magic + in + "0005 0021\n", 0, nil},
		{"juniper_mlppp_of_one_link", 130, magic + in + "ff03 0021\n", 0, nil},
		{"juniper_mlppp_services", 130, magic + in + "4700000000000000\n", 0, nil},
		{"juniper_mlfr", 131, magic + in + "0005 03 cc\n", 0, nil},
		{"juniper_mfr", 134, magic + in + "00000005 03 cc\n", 0, nil},
		{"juniper_atm1", 137, magic + in + "00000000 aaaa03 000000 0800\n", 0, nil},
		{"juniper_atm2_nlpid", 135, magic + in + "0000000000000000 fefe03 cc\n", 0, nil},
		{"juniper_atm2_ethernet", 135, magic + "00 0000000100000000" + macs + "0800\n", 0, nil},
		{"juniper_atm2_ip", 135, magic + in + "0000000000000000\n", 0, nil},
		{"juniper_services", 136, magic + in + "0000000000000000\n", 0, nil},
		{"juniper_ggsn", 133, magic + in + "0000020000010000\n", 0, nil},
		{"juniper_monitor", 164, magic + in + "0000000000000000\n", 0, nil},
		{"juniper_es", 132, magic + in + "0001 40 03 00000001 0a000009 0a000008\n", 0, nil},
		{"juniper_es_encrypted", 132, magic + in + "0001 40 01 00000001 0a000009 0a000008\n", 0, ErrNotIP},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDecoder(Config{Details: true}, true)
			front := unhex(tt.front)
			frame := append(front, unhex(ip4+tcp)...)
			var p Packet
			if err := d.Decode(&p, tt.link, frame); err != tt.err {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if tt.err != nil {
				return
			}
			if p.SrcAddr != src4 || p.DstPort != 443 || p.Length != 40 || p.Offset != uint32(len(front)) || p.VLAN != tt.vlan {
				t.Errorf("%+v of a header of %d bytes, VLAN %d", p, len(front), tt.vlan)
			}
			for cut := range front {
				if err := d.Decode(&p, tt.link, frame[:cut:cut]); err == nil {
					t.Errorf("cut at %d of %d: a packet", cut, len(front))
				}
			}
		})
	}
}

// A frame of the air with several packets gives each, with an error where one is none
// of IP, and nothing of a frame before.
func TestSeveralInOneFrame(t *testing.T) {
	const (
		qos   = "0000 0800 00000000 8802 0000 020000000009 020000000008 020000000007 0000 8000\n"
		first = "020000000005 020000000006 0030 aaaa03 000000 0800\n"
		arp   = "020000000005 020000000006 0009 aaaa03 000000 0806 00 00\n" // padded
		last  = "020000000005 020000000006 0024 aaaa03 000000 0800\n"
	)
	ip, short := ip4+tcp+"0000\n", "4500 001c 0001 0000 40 11 0000 c0000201 c6336402"+udp // 62 bytes are padded to 64
	for _, tunnels := range []Tunnels{Outer, Inner, Both} {
		d := newDecoder(Config{Tunnels: tunnels}, true)
		frame := unhex(qos + first + ip + arp + last + short)
		var p Packet
		if err := d.Decode(&p, 127, frame); err != nil || p.Protocol != flow.TCP || p.Offset != 56 {
			t.Fatalf("%v: %v, %+v", tunnels, err, p)
		}
		if more, err := d.More(&p); !more || err != ErrNotIP {
			t.Errorf("%v: the second: %v, %v", tunnels, more, err)
		}
		p = Packet{}
		if more, err := d.More(&p); !more || err != nil || p.Protocol != flow.UDP || p.Length != 28 || frame[p.Offset] != 0x45 || int(p.Offset) != len(frame)-28 {
			t.Errorf("%v: the third: %v, %v, %+v", tunnels, more, err, p)
		}
		if more, _ := d.More(&p); more {
			t.Errorf("%v: a fourth", tunnels)
		}
		if err := d.Decode(&p, 127, frame); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(&p, 1, unhex(macs+"0800"+ip4+tcp)); err != nil {
			t.Fatal(err)
		}
		if more, _ := d.More(&p); more {
			t.Errorf("%v: one of the frame before", tunnels)
		}
		for cut := range frame {
			if d.Decode(&p, 127, frame[:cut:cut]) == nil {
				for more := true; more; more, _ = d.More(&p) {
				}
			}
		}
	}
}
