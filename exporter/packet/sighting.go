package packet

import "encoding/binary"

// Sighting is where a frame was seen, as its pseudo header says.
type Sighting struct {
	// InIf and OutIf are the ifIndex of the interface it came in by and of that which
	// it went out by, 0 where that is not said.
	InIf, OutIf uint32
	// Direction is that of flow.Record: 0 not said, 1 ingress, 2 egress.
	Direction uint8
}

// SightingOf returns where a frame of a link type was seen: Linux cooked captures,
// NFLOG, PKTAP, pflog, IPNET, Juniper's and PPP with a direction say so. Of all others
// nothing is said.
func SightingOf(link uint32, data []byte) (s Sighting) {
	const linuxOutgoing = 4
	directed := func(at int, out bool) Sighting {
		switch {
		case len(data) <= at:
			return Sighting{}
		case out:
			return Sighting{Direction: 2}
		}
		return Sighting{Direction: 1}
	}
	switch link {
	case 113: // Linux cooked: the packet type
		if len(data) >= 2 {
			return directed(1, binary.BigEndian.Uint16(data) == linuxOutgoing)
		}
	case 276: // version 2: the interface, and the packet type
		if len(data) < 11 {
			return s
		}
		s = directed(10, data[10] == linuxOutgoing)
		index := binary.BigEndian.Uint32(data[4:])
		if s.Direction == 2 {
			s.OutIf = index
		} else {
			s.InIf = index
		}
	case 204, 205, 206: // PPP, Cisco's HDLC and frame relay with a direction
		return directed(0, len(data) > 0 && data[0] != 0)
	case 166: // pppd's
		return directed(0, len(data) > 0 && data[0] == 1)
	case 117: // pflog
		const at, in, out = 60, 1, 2
		if len(data) > at && int(data[0]) > at && (data[at] == in || data[at] == out) {
			return directed(at, data[at] == out)
		}
	case 149, 258: // PKTAP
		const at, in, out = 36, 1, 2
		if len(data) >= at+4 {
			switch binary.LittleEndian.Uint32(data[at:]) & (in | out) {
			case in:
				return directed(at, false)
			case out:
				return directed(at, true)
			}
		}
	case 226: // Solaris' IP observability devices: the hook, and the interface
		const outbound = 1
		if len(data) >= 12 {
			s = directed(3, data[2] == 0 && data[3] == outbound)
			if index := binary.BigEndian.Uint32(data[8:]); s.Direction == 2 {
				s.OutIf = index
			} else {
				s.InIf = index
			}
		}
	case 239:
		return nflogSighting(data)
	default:
		if link < 130 || link > 181 {
			break
		}
		if _, ok := juniperCookies[link]; ok {
			if flags, _, err := juniperHeader(data); err == nil {
				return directed(3, flags&1 == 0)
			}
		}
	}
	return s
}

// nflogSighting reads the interfaces among the values in front of a logged packet: a
// packet that is forwarded has both.
func nflogSighting(data []byte) (s Sighting) {
	const in, out, payload = 4, 5, 9
	if len(data) < 4 || data[1] != 0 {
		return s
	}
	for data = data[4:]; len(data) >= 4; {
		n, typ := int(binary.LittleEndian.Uint16(data)), binary.LittleEndian.Uint16(data[2:])
		if typ&0xff == 0 && n&0xff == 0 { // the other byte order
			n, typ = n>>8, typ>>8
		}
		if n < 4 || n > len(data) || typ&0x7fff == payload {
			break
		}
		if n >= 8 {
			switch typ & 0x7fff {
			case in:
				s.InIf, s.Direction = binary.BigEndian.Uint32(data[4:]), 1
			case out:
				s.OutIf = binary.BigEndian.Uint32(data[4:])
			}
		}
		data = data[min(len(data), (n+3)&^3):]
	}
	if s.InIf == 0 && s.OutIf != 0 {
		s.Direction = 2
	}
	return s
}
