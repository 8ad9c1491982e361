package packet

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"flowtally/flow"
)

// oracle decodes with nothing but gopacket's layers, which say the truth of
// frames that hold nothing unusual.
type oracle struct {
	eth     layers.Ethernet
	tag     layers.Dot1Q
	ip4     layers.IPv4
	ip6     layers.IPv6
	tcp     layers.TCP
	udp     layers.UDP
	icmp4   layers.ICMPv4
	icmp6   layers.ICMPv6
	sctp    layers.SCTP
	parser  *gopacket.DecodingLayerParser
	decoded []gopacket.LayerType
}

func newOracle() *oracle {
	o := &oracle{}
	o.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet,
		&o.eth, &o.tag, &o.ip4, &o.ip6, &o.tcp, &o.udp, &o.icmp4, &o.icmp6, &o.sctp)
	o.parser.IgnoreUnsupported = true
	return o
}

// decode returns what gopacket reads of an Ethernet frame, up to the first
// transport header, and whether that is all there is and sound.
func (o *oracle) decode(frame []byte) (p Packet, ok bool) {
	if o.parser.DecodeLayers(frame, &o.decoded) != nil || o.parser.Truncated {
		return p, false
	}
	network := false
	for _, typ := range o.decoded {
		switch typ {
		case layers.LayerTypeDot1Q:
			if len(o.decoded) > 1 && o.decoded[1] == typ && p.VLAN == 0 {
				p.VLAN = o.tag.VLANIdentifier
			}
		case layers.LayerTypeIPv4:
			if network || o.ip4.Version != 4 { // a tunnel; the version it does not check
				return p, false
			}
			network = true
			p.IPVersion, p.Protocol, p.TOS = 4, flow.Protocol(o.ip4.Protocol), o.ip4.TOS
			p.SrcAddr, p.DstAddr = flow.Addr4([4]byte(o.ip4.SrcIP)), flow.Addr4([4]byte(o.ip4.DstIP))
			p.Length, p.TTL = uint32(o.ip4.Length), o.ip4.TTL
			p.FragID, p.FragOffset = uint32(o.ip4.Id), o.ip4.FragOffset*8
			p.MoreFragments = o.ip4.Flags&layers.IPv4MoreFragments != 0
		case layers.LayerTypeIPv6:
			if network || o.ip6.Version != 6 || o.ip6.HopByHop != nil {
				return p, false
			}
			network = true
			p.IPVersion, p.Protocol, p.TOS = 6, flow.Protocol(o.ip6.NextHeader), o.ip6.TrafficClass
			p.SrcAddr, p.DstAddr = flow.Addr(o.ip6.SrcIP), flow.Addr(o.ip6.DstIP)
			p.Length, p.TTL = uint32(o.ip6.Length)+40, o.ip6.HopLimit
		case layers.LayerTypeTCP:
			p.SrcPort, p.DstPort = uint16(o.tcp.SrcPort), uint16(o.tcp.DstPort)
			for i, set := range []bool{o.tcp.FIN, o.tcp.SYN, o.tcp.RST, o.tcp.PSH, o.tcp.ACK, o.tcp.URG, o.tcp.ECE, o.tcp.CWR, o.tcp.NS} {
				if set {
					p.TCPFlags |= 1 << i
				}
			}
			return p, network
		case layers.LayerTypeUDP:
			p.SrcPort, p.DstPort = uint16(o.udp.SrcPort), uint16(o.udp.DstPort)
			return p, network
		case layers.LayerTypeSCTP:
			p.SrcPort, p.DstPort = uint16(o.sctp.SrcPort), uint16(o.sctp.DstPort)
			return p, network
		case layers.LayerTypeICMPv4:
			p.DstPort = uint16(o.icmp4.TypeCode)
			return p, network
		case layers.LayerTypeICMPv6:
			p.DstPort = uint16(o.icmp6.TypeCode)
			return p, network
		}
	}
	return p, false
}

// Where gopacket's own layers read a frame to its transport header without a
// complaint, we read the same.
func TestAgreesWithGopacket(t *testing.T) {
	o, d := newOracle(), newDecoder(Config{}, true)
	compared, differ := 0, 0
	frames(t, func(name string, link uint32, frame []byte) {
		if link != 1 {
			return
		}
		want, ok := o.decode(frame)
		if !ok {
			return
		}
		// A zero total length gopacket replaces.
		var got Packet
		err := d.Decode(&got, link, frame)
		if got.IPVersion == 4 && got.Length == 0 {
			return
		}
		compared++
		if len(o.decoded) > 2 && o.decoded[1] == layers.LayerTypeDot1Q && o.decoded[2] == layers.LayerTypeDot1Q {
			want.VLAN = got.VLAN // gopacket's parser keeps the innermost
		}
		want.Present, want.Offset = got.Present, got.Offset
		if err != nil || got != want {
			if differ++; differ < 10 {
				t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
			}
		}
	})
	if compared < 10000 {
		t.Errorf("only %d frames compared", compared)
	}
	t.Logf("%d frames compared, %d differ", compared, differ)
}
