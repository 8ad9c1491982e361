package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// juniperCookies are the link types of Juniper's routers, and how many bytes each
// kind of interface card says about a packet behind the header that they have in
// common.
var juniperCookies = map[uint32]int{
	130: 2, // MLPPP
	131: 2, // MLFR
	132: 0, // ES
	133: 8, // GGSN
	134: 4, // MFR
	135: 8, // ATM2
	136: 8, // services
	137: 4, // ATM1
	164: 8, // monitor
	167: 0, // PPPoE
	168: 0, // PPPoE over ATM
	178: 0, // Ethernet
	179: 0, // PPP
	180: 0, // frame relay
	181: 0, // Cisco's HDLC
}

// juniperLayer returns the layer of a link type of juniperCookies.
func juniperLayer(link uint32) gopacket.LayerType { return 1800 + gopacket.LayerType(link) }

// juniperHeader reads the header in front of every packet: a magic, flags, and
// extensions where the flags say so.
func juniperHeader(data []byte) (flags byte, length int, err error) {
	const extended = 0x80
	if len(data) < 4 {
		return 0, 0, ErrTruncated
	}
	if data[0] != 'M' || data[1] != 'G' || data[2] != 'C' {
		return 0, 0, ErrMalformed
	}
	flags, length = data[3], 4
	if flags&extended != 0 {
		if len(data) < 6 {
			return 0, 0, ErrTruncated
		}
		length = 6 + int(binary.BigEndian.Uint16(data[4:]))
	}
	if len(data) < length {
		return 0, 0, ErrTruncated
	}
	return flags, length, nil
}

// juniper returns the stripper of a link type.
func juniper(link uint32) stripper {
	return func(data []byte) ([]byte, gopacket.LayerType, error) {
		const inbound, noLink = 0x01, 0x02
		flags, n, err := juniperHeader(data)
		if err != nil {
			return nil, 0, err
		}
		data = data[n:]
		if flags&noLink != 0 { // an address family, and no header of the link's
			return juniperIP(data, 4)
		}
		cookie := data
		n = juniperCookies[link]
		if n > 0 && len(data) > 0 {
			const services, link = 0x47, 0x54
			switch data[0] {
			case services:
				n = 8
			case link:
				n += 2
			}
		}
		switch {
		case link == 130 && len(data) >= 2 && data[0] == 0xff && data[1] == 0x03, link == 134 && len(data) > 0 && data[0]&0xc0 == 0xc0:
			n = 0 // of a link of a bundle nothing is said
		}
		if len(data) < n {
			return nil, 0, ErrTruncated
		}
		data = data[n:]
		switch link {
		case 130:
			if n == 8 {
				return juniperIP(data, 0)
			}
			return data, layers.LayerTypePPP, nil
		case 131, 134:
			if n == 8 {
				return juniperIP(data, 0)
			}
			if len(data) > 0 && data[0] != 3 {
				return nil, 0, ErrNotIP
			}
			return multiprotocol(data)
		case 132:
			const typ, least, most = 3, 3, 5 // those with a header of 16 bytes
			if len(data) <= typ {
				return nil, 0, ErrTruncated
			}
			if data[typ] < least || data[typ] > most {
				return nil, 0, ErrNotIP
			}
			return juniperIP(data, 16)
		case 135, 137:
			const gap = 0x3f
			ethernet := link == 135 && flags&inbound == 0 && cookie[3]&gap != 0
			return juniperATM(data, ethernet)
		case 167, 178:
			return data, layers.LayerTypeEthernet, nil
		case 168:
			return tagThenType(data, 0)
		case 179:
			return data, layers.LayerTypePPP, nil
		case 180:
			return data, typeFrameRelay, nil
		case 181:
			return data, typeCHDLC, nil
		}
		return juniperIP(data, 0)
	}
}

// juniperATM tells what is in an ATM cell's packet by how it begins.
func juniperATM(data []byte, ethernet bool) ([]byte, gopacket.LayerType, error) {
	switch {
	case len(data) < 3:
		return nil, 0, ErrTruncated
	case data[0] == 0xaa && data[1] == 0xaa && data[2] == 3:
		return data, layers.LayerTypeLLC, nil
	case data[0] == 0xfe && data[1] == 0xfe && data[2] == 3:
		return multiprotocol(data[2:])
	case ethernet:
		return data, layers.LayerTypeEthernet, nil
	case data[0] == 3:
		return multiprotocol(data)
	case data[0] == 0 && (data[1] == 0x21 || data[1] == 0x57):
		return data, layers.LayerTypePPP, nil
	}
	return juniperIP(data, 0)
}

// juniperIP is an IP packet n bytes further on, if it is one: nothing says so.
func juniperIP(data []byte, n int) ([]byte, gopacket.LayerType, error) {
	if len(data) <= n {
		return nil, 0, ErrTruncated
	}
	if v := data[n] >> 4; v != 4 && v != 6 {
		return nil, 0, ErrNotIP
	}
	return data[n:], typeRawIP, nil
}
