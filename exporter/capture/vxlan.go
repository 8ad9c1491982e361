package capture

import "encoding/binary"

// ListenVXLAN ends VXLAN tunnels (RFC 7348) at a UDP port, such as ":4789": what
// comes in them, from any number of clients and with any VNI, are the Source's
// packets. Each client, which is an address and a VNI, is an ingress interface
// (Describer) of a number that stays the same when it is opened again.
//
// The tunnels' own packets, which an interface of this host carries too, are not
// among the Source's.
func ListenVXLAN(addr string, c TunnelConfig) (Source, error) {
	return newEnded("vxlan on "+addr, c, unwrapVXLAN, listenUDP(addr))
}

// ListenGENEVE ends Geneve tunnels (RFC 8926) as ListenVXLAN does VXLAN's; their
// port is 6081.
func ListenGENEVE(addr string, c TunnelConfig) (Source, error) {
	return newEnded("geneve on "+addr, c, unwrapGeneve, listenUDP(addr))
}

// ListenTZSP ends TZSP, in which access points and MikroTik routers send what
// they see, as ListenVXLAN does VXLAN; its port is 37008. A client is an address.
func ListenTZSP(addr string, c TunnelConfig) (Source, error) {
	return newEnded("tzsp on "+addr, c, unwrapTZSP, listenUDP(addr))
}

// unwrapVXLAN reads a VXLAN header (RFC 7348 §5). Its VNI must be valid; reserved
// bits are to be ignored.
func unwrapVXLAN(b []byte) (in inner, err error) {
	const valid = 0x08
	if len(b) < 8 || b[0]&valid == 0 {
		return in, errTunnel
	}
	return inner{
		kind: "vxlan", word: "vni", id: binary.BigEndian.Uint32(b[4:]) >> 8, hasID: true,
		link: linkTypeEthernet, at: 8,
	}, nil
}

// unwrapGeneve reads a Geneve header (RFC 8926 §3.4).
func unwrapGeneve(b []byte) (in inner, err error) {
	const control = 0x80
	if len(b) < 8 || b[0]>>6 != 0 {
		return in, errTunnel
	}
	n := 8 + int(b[0]&0x3f)*4
	if len(b) < n {
		return in, errTunnel
	}
	if b[1]&control != 0 {
		return in, errForeign
	}
	in = inner{kind: "geneve", word: "vni", id: binary.BigEndian.Uint32(b[4:]) >> 8, hasID: true, at: n}
	return in, in.carry(binary.BigEndian.Uint16(b[2:]))
}

// carry notes that what is of an Ethernet type follows.
func (in *inner) carry(typ uint16) error {
	switch typ {
	case 0x6558: // a frame
		in.link = linkTypeEthernet
	case 0x0800, 0x86dd:
		in.link = linkTypeRaw
	case 0x880b:
		in.link = linkTypePPP
	case 0x8100, 0x88a8, 0x9100, 0x9200, 0x8847, 0x8848, 0x8864, 0x894f, 0x88e7, 0x8909: // tags, labels, PPPoE, NSH, 802.1ah, Cisco's metadata
		in.link, in.etherType = linkTypeEthernet, typ
	default:
		if typ&^0x1f != 0x8200 { // Aruba's controllers: frames of the air
			return errForeign
		}
		in.link = linkTypeDot11
	}
	return nil
}

// unwrapTZSP reads a TZSP header and the tagged fields behind it.
func unwrapTZSP(b []byte) (in inner, err error) {
	const received, padding, end = 0, 0, 1
	if len(b) < 4 || b[0] != 1 {
		return in, errTunnel
	}
	if b[1] != received {
		return in, errForeign
	}
	in = inner{kind: "tzsp", at: 4}
	switch binary.BigEndian.Uint16(b[2:]) {
	case 1:
		in.link = linkTypeEthernet
	case 18:
		in.link = linkTypeDot11
	case 119:
		in.link = linkTypePrism
	case 127:
		in.link = linkTypeAVS
	default:
		return in, errForeign
	}
	for in.at < len(b) {
		switch tag := b[in.at]; {
		case tag == end:
			in.at++
			return in, nil
		case tag == padding:
			in.at++
		case in.at+1 >= len(b):
			return in, errTunnel
		default:
			in.at += 2 + int(b[in.at+1])
		}
	}
	return in, errTunnel
}
