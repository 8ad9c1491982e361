package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// ipoib is a Global Route Header and an Ethernet type with two reserved octets
// (RFC 4391 §6).
func ipoib(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 44 {
		return nil, 0, ErrTruncated
	}
	next, err := etherType(binary.BigEndian.Uint16(data[40:]))
	return data[44:], next, err
}

// ofLink returns the layer that a frame of a link type begins with, as headers
// name it that stand in front of frames of any; one of those is not in another.
func ofLink(link uint32) (gopacket.LayerType, error) {
	typ, ok := linkTypes[link]
	if !ok || link >= linkMPLS || typ == typePKTAP || typ == typePPI {
		return 0, ErrLinkType
	}
	return typ, nil
}

// pktap is what macOS puts in front of a frame: the length of it all, and the
// frame's link type.
func pktap(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 12 {
		return nil, 0, ErrTruncated
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if n < 12 {
		return nil, 0, ErrMalformed
	}
	if int64(len(data)) < n {
		return nil, 0, ErrTruncated
	}
	next, err := ofLink(binary.LittleEndian.Uint32(data[8:]))
	return data[n:], next, err
}

// ppi is per-packet information in front of a frame of a link type.
func ppi(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 8 {
		return nil, 0, ErrTruncated
	}
	n := int(binary.LittleEndian.Uint16(data[2:]))
	if n < 8 {
		return nil, 0, ErrMalformed
	}
	if len(data) < n {
		return nil, 0, ErrTruncated
	}
	next, err := ofLink(binary.LittleEndian.Uint32(data[4:]))
	return data[n:], next, err
}

// enc is OpenBSD's header of a packet that was in IPsec: address family, SPI and
// flags.
func enc(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 12 {
		return nil, 0, ErrTruncated
	}
	_, next, err := loopback(data)
	return data[12:], next, err
}

// sunATM is four octets on the cell; only what says it is LLC is looked at.
func sunATM(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 4 {
		return nil, 0, ErrTruncated
	}
	if data[0]&0x0f != 2 {
		return nil, 0, ErrNotIP
	}
	return data[4:], layers.LayerTypeLLC, nil
}

// fireWire is IP over IEEE 1394 as macOS shows it: two addresses of eight octets
// and an Ethernet type.
func fireWire(data []byte) ([]byte, gopacket.LayerType, error) { return tagThenType(data, 16) }

// tokenRing is access and frame control, two MAC addresses, and source routes
// where the source's first bit says so.
func tokenRing(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 14 {
		return nil, 0, ErrTruncated
	}
	if data[1]&0xc0 != 0x40 { // not LLC
		return nil, 0, ErrNotIP
	}
	n := 14
	if data[8]&0x80 != 0 {
		if len(data) < 15 {
			return nil, 0, ErrTruncated
		}
		n += max(2, int(data[14]&0x1f))
	}
	return behind(data, n, layers.LayerTypeLLC)
}

// nflog is what Linux netfilter logs: values, in the byte order of the machine,
// of which one is the packet.
func nflog(data []byte) ([]byte, gopacket.LayerType, error) {
	const payload = 9
	if len(data) < 4 {
		return nil, 0, ErrTruncated
	}
	if data[1] != 0 {
		return nil, 0, ErrMalformed
	}
	var next gopacket.LayerType
	switch data[0] {
	case 2:
		next = layers.LayerTypeIPv4
	case 10:
		next = layers.LayerTypeIPv6
	default:
		return nil, 0, ErrNotIP
	}
	for data = data[4:]; ; {
		if len(data) < 4 {
			return nil, 0, ErrTruncated
		}
		n, typ := int(binary.LittleEndian.Uint16(data)), binary.LittleEndian.Uint16(data[2:])
		if typ&0xff == 0 && n&0xff == 0 { // the other byte order
			n, typ = n>>8, typ>>8
		}
		if n < 4 {
			return nil, 0, ErrMalformed
		}
		if typ&0x7fff == payload {
			// Its length is that of the packet, which says its own.
			return data[4:], next, nil
		}
		if n = (n + 3) &^ 3; n > len(data) {
			return nil, 0, ErrTruncated
		}
		data = data[n:]
	}
}

// pflog is the header of a packet logged by pf: its length, which is padded to
// four octets, and the address family.
func pflog(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 2 {
		return nil, 0, ErrTruncated
	}
	n := (int(data[0]) + 3) &^ 3
	if n < 4 {
		return nil, 0, ErrMalformed
	}
	if len(data) < n {
		return nil, 0, ErrTruncated
	}
	switch data[1] {
	case 2:
		return data[n:], layers.LayerTypeIPv4, nil
	case 10, 24, 28, 30:
		return data[n:], layers.LayerTypeIPv6, nil
	}
	return nil, 0, ErrNotIP
}

// sll is the header of a Linux cooked capture (LINKTYPE_LINUX_SLL).
func sll(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 16 {
		return nil, 0, ErrTruncated
	}
	return cooked(data[16:], binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint16(data[14:]))
}

// sll2 is its second version (LINKTYPE_LINUX_SLL2), which "any" captures of
// tcpdump have.
func sll2(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 20 {
		return nil, 0, ErrTruncated
	}
	return cooked(data[20:], binary.BigEndian.Uint16(data[8:]), binary.BigEndian.Uint16(data))
}

// netlink is the device type of Netlink messages, whose protocols are not
// Ethernet types.
const netlink = 824

// cooked tells by device type (ARPHRD_) and protocol what is in a cooked frame.
// The protocol is an Ethernet type, but not of Netlink and the like, and 4 means
// an LLC header.
func cooked(rest []byte, device, protocol uint16) ([]byte, gopacket.LayerType, error) {
	if device == netlink || protocol < 0x0600 && protocol != 4 {
		return nil, 0, ErrNotIP
	}
	next, err := etherType(protocol)
	return rest, next, err
}

// loopback is BSD's null and loop header: the address family in four octets, in
// network order or in that of the machine that captured. AF_INET6 differs from
// system to system.
func loopback(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 4 {
		return nil, 0, ErrTruncated
	}
	family := binary.BigEndian.Uint32(data)
	if family >= 1<<16 {
		family = binary.LittleEndian.Uint32(data)
	}
	switch family {
	case 2:
		return data[4:], layers.LayerTypeIPv4, nil
	case 10, 24, 28, 30:
		return data[4:], layers.LayerTypeIPv6, nil
	}
	// Some systems write an Ethernet type into the last two octets.
	typ := binary.BigEndian.Uint16(data[2:])
	if typ < 0x0600 {
		return nil, 0, ErrNotIP
	}
	next, err := etherType(typ)
	return data[4:], next, err
}
