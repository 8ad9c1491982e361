package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// prism is what the drivers of Prism cards say about a frame, in 144 bytes. Some write
// AVS's header or radiotap's under that name.
func prism(data []byte) ([]byte, gopacket.LayerType, error) {
	const length, avsCookie, avsMask = 144, 0x80211000, 0xfffff000
	if len(data) < 8 {
		return nil, 0, ErrTruncated
	}
	if binary.BigEndian.Uint32(data)&avsMask == avsCookie {
		return avs(data)
	}
	if n := int(binary.LittleEndian.Uint16(data[2:])); data[0] == 0 && data[1] == 0 && n >= 8 && n <= len(data) {
		return radioTap(data)
	}
	return behind(data, length, layers.LayerTypeDot11)
}

// avs is what some wireless drivers say about a frame; its length is in it.
func avs(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 8 {
		return nil, 0, ErrTruncated
	}
	n := binary.BigEndian.Uint32(data[4:])
	if n < 8 || n > 1024 {
		return nil, 0, ErrMalformed
	}
	return behind(data, int(n), layers.LayerTypeDot11)
}

// radioTap is what a wireless card says about a frame; its length is in it. A flag
// says that the frame's header is padded to a multiple of four bytes.
func radioTap(data []byte) ([]byte, gopacket.LayerType, error) {
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
	if padded(data[:n]) {
		return data[n:], typeDot11Padded, nil
	}
	return data[n:], layers.LayerTypeDot11, nil
}

// padded reports whether a radiotap header's flags, its second field, have the one for
// padding. In front of it are the words that say which fields there are, each with a
// bit for a further one, and the first field, of eight bytes and aligned to them.
func padded(header []byte) bool {
	const tsft, flags, more, pad = 1, 2, 1 << 31, 0x20
	present := binary.LittleEndian.Uint32(header[4:])
	if present&flags == 0 {
		return false
	}
	at := 8
	for word := present; word&more != 0; at += 4 {
		if len(header) < at+4 {
			return false
		}
		word = binary.LittleEndian.Uint32(header[at:])
	}
	if present&tsft != 0 {
		at = (at+7)&^7 + 8
	}
	return at < len(header) && header[at]&pad != 0
}

// dot11 is an IEEE 802.11 header, and dot11Padded one that is padded to a multiple of
// four bytes. Only data frames in the clear hold LLC.
func dot11(data []byte) ([]byte, gopacket.LayerType, error) { return dataFrame(data, false) }

func dot11Padded(data []byte) ([]byte, gopacket.LayerType, error) { return dataFrame(data, true) }

func dataFrame(data []byte, padded bool) ([]byte, gopacket.LayerType, error) {
	if len(data) < 2 {
		return nil, 0, ErrTruncated
	}
	const (
		data11    = 0x08 // the type field: data
		noData    = 0x40 // of its subtypes: no data
		qos       = 0x80 // QoS control follows
		ds        = 0x03 // to and from the distribution system
		protected = 0x40
		order     = 0x80 // with QoS: HT control follows
		several   = 0x80 // of the QoS control: an A-MSDU
	)
	control, flags := data[0], data[1]
	if control&0x0f != data11 || control&noData != 0 || flags&protected != 0 {
		return nil, 0, ErrNotIP
	}
	n := 24
	if flags&ds == ds {
		n += 6
	}
	next := layers.LayerTypeLLC
	if control&qos != 0 {
		if len(data) > n && data[n]&several != 0 {
			next = typeAMSDU
		}
		n += 2
		if flags&order != 0 {
			n += 4
		}
	}
	if padded {
		n = (n + 3) &^ 3
	}
	return behind(data, n, next)
}

// aMSDU is the first of the packets that a frame has put together (IEEE 802.11
// §9.3.2.2): two addresses, a length, and LLC.
func aMSDU(data []byte) ([]byte, gopacket.LayerType, error) {
	const header = 14
	if len(data) < header {
		return nil, 0, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(data[12:]))
	data = data[header:]
	return data[:min(n, len(data))], layers.LayerTypeLLC, nil
}

// behindMSDU returns what lies behind the first packet of an A-MSDU, which is padded to
// a multiple of four bytes, nil when there is no further one.
func behindMSDU(data []byte) []byte {
	const header = 14
	if len(data) < header {
		return nil
	}
	n := (header + int(binary.BigEndian.Uint16(data[12:])) + 3) &^ 3
	if n+header > len(data) {
		return nil
	}
	return data[n:]
}
