package packet

import "encoding/binary"

// common reads the frames that nearly all are: Ethernet with up to two VLAN tags,
// Linux cooked or nothing in front of IP. It is a third of what the layers cost,
// which read everything else, and these frames too if asked: both say the same.
// It returns the IP packet's payload and reports whether it could; if not, p is
// as it was.
func common(p *Packet, link uint32, data []byte) (payload []byte, ok bool) {
	var (
		vlan uint16
		at   int    // where the IP header begins
		typ  uint16 // its Ethernet type, 0 for what the version says
	)
	switch link {
	case 1:
		if len(data) < 14+20 {
			return nil, false
		}
		at, typ = 14, binary.BigEndian.Uint16(data[12:])
		if typ == 0x8100 || typ == 0x88a8 {
			// The shortest IP header makes sure of the first tag and the second.
			vlan = binary.BigEndian.Uint16(data[14:]) & 0x0fff
			at, typ = 18, binary.BigEndian.Uint16(data[16:])
			if typ == 0x8100 {
				at, typ = 22, binary.BigEndian.Uint16(data[20:])
			}
		}
	case 113, 276:
		if at, typ = cookedType(link, data); at == 0 {
			return nil, false
		}
	case 101, 228, 229:
		if len(data) == 0 {
			return nil, false
		}
		// The parser knows which version 228 and 229 do not hold.
		if v := data[0] >> 4; v == 4 && link != 229 {
			typ = 0x0800
		} else if v == 6 && link != 228 {
			typ = 0x86dd
		}
	}
	var err error
	switch typ {
	case 0x0800:
		payload, err = readIPv4(p, data[at:], uint32(at))
	case 0x86dd:
		payload, err = readIPv6(p, data[at:], uint32(at))
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	p.VLAN = vlan
	return payload, true
}

// cookedType returns where the packet of a Linux cooked frame begins and its
// protocol, or 0 when the frame is too short or of a device whose protocols are
// not Ethernet types.
func cookedType(link uint32, data []byte) (at int, typ uint16) {
	if len(data) < 20 {
		return 0, 0
	}
	at, device, typ := 16, binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint16(data[14:])
	if link == 276 {
		at, device, typ = 20, binary.BigEndian.Uint16(data[8:]), binary.BigEndian.Uint16(data)
	}
	if device == netlink {
		return 0, 0
	}
	return at, typ
}
