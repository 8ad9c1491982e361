package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"

	"flowtally/flow"
)

// ipv4 decodes an IPv4 header (RFC 791 §3.1) and the beginning of what it
// carries; it is the last layer of a frame.
type ipv4 struct {
	layer
	d *Decoder
}

func (l *ipv4) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) (err error) {
	p := &l.d.pkt
	vlan := p.VLAN
	if l.d.payload, err = readIPv4(p, data, l.d.offset(data)); err != nil {
		return err
	}
	p.VLAN = vlan
	l.d.found = true
	return nil
}

// readIPv4 sets p wholly from an IPv4 packet that lies at offset in its frame and
// returns its payload as far as it is there. When it fails it leaves p alone.
func readIPv4(p *Packet, data []byte, offset uint32) ([]byte, error) {
	if len(data) < 20 {
		if len(data) > 0 && (data[0]>>4 != 4 || data[0]&0x0f < 5) {
			return nil, ErrMalformed
		}
		return nil, ErrTruncated
	}
	header := int(data[0]&0x0f) * 4
	if data[0]>>4 != 4 || header < 20 {
		return nil, ErrMalformed
	}
	total := int(binary.BigEndian.Uint16(data[2:]))
	fragment := binary.BigEndian.Uint16(data[6:])
	*p = Packet{}
	p.IPVersion = 4
	p.TOS = data[1]
	p.Length = uint32(total)
	p.Present = uint32(len(data))
	p.Offset = offset
	p.FragID = uint32(binary.BigEndian.Uint16(data[4:]))
	p.FragOffset = fragment << 3
	p.MoreFragments = fragment&0x2000 != 0
	p.TTL = data[8]
	p.Protocol = flow.Protocol(data[9])
	p.SrcAddr[10], p.SrcAddr[11] = 0xff, 0xff
	*(*[4]byte)(p.SrcAddr[12:]) = [4]byte(data[12:])
	p.DstAddr[10], p.DstAddr[11] = 0xff, 0xff
	*(*[4]byte)(p.DstAddr[12:]) = [4]byte(data[16:])

	// A total length of 0 is a segmentation offload's: all that is there.
	if 0 < total && total < len(data) {
		data = data[:total]
	}
	if header >= len(data) || p.FragOffset != 0 {
		return nil, nil
	}
	data = data[header:]
	transport(p, data)
	return data, nil
}

// ipv6 decodes an IPv6 header (RFC 8200 §3), walks its extension headers and
// reads the beginning of what follows; it is the last layer of a frame.
type ipv6 struct {
	layer
	d *Decoder
}

func (l *ipv6) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) (err error) {
	p := &l.d.pkt
	vlan := p.VLAN
	if l.d.payload, err = readIPv6(p, data, l.d.offset(data)); err != nil {
		return err
	}
	p.VLAN = vlan
	l.d.found = true
	return nil
}

// readIPv6 is what readIPv4 is, for IPv6; the payload begins behind the extension
// headers.
func readIPv6(p *Packet, data []byte, offset uint32) ([]byte, error) {
	if len(data) < 40 {
		if len(data) > 0 && data[0]>>4 != 6 {
			return nil, ErrMalformed
		}
		return nil, ErrTruncated
	}
	if data[0]>>4 != 6 {
		return nil, ErrMalformed
	}
	payload := int(binary.BigEndian.Uint16(data[4:]))
	*p = Packet{}
	p.IPVersion = 6
	p.TOS = uint8(binary.BigEndian.Uint16(data) >> 4)
	p.Length = uint32(40 + payload)
	p.Present = uint32(len(data))
	p.Offset = offset
	p.TTL = data[7]
	p.Protocol = flow.Protocol(data[6])
	p.SrcAddr = flow.Addr(data[8:24])
	p.DstAddr = flow.Addr(data[24:40])

	// A payload length of 0 is a jumbogram's (RFC 2675) or a segmentation
	// offload's: all that is there.
	data = data[40:]
	if 0 < payload && payload < len(data) {
		data = data[:payload]
	}
	if p.Protocol != flow.TCP && p.Protocol != flow.UDP {
		if data = extensions(p, data); p.FragOffset != 0 {
			return nil, nil
		}
	}
	transport(p, data)
	return data, nil
}

// Extension headers that are walked. Others, known or not, are taken for the
// upper layer: ESP because nothing behind it can be read, unknown ones because
// their form is not known.
const (
	hopByHop = 0
	routing  = 43
	fragment = 44
	auth     = 51
	destOpts = 60
)

// extensions walks the extension headers (RFC 8200 §4) at the front of data, sets
// the packet's protocol to what comes behind them, and returns the rest. It stops
// in front of a header that is cut, and behind the Fragment header of a fragment
// that is not the first: what follows there is the middle of something.
func extensions(p *Packet, data []byte) []byte {
	for {
		if len(data) < 8 {
			return upper(p, data)
		}
		n := 8
		switch p.Protocol {
		case hopByHop, routing, destOpts:
			n += int(data[1]) * 8
		case auth: // in units of four octets, less two (RFC 4302 §2.2)
			n = (int(data[1]) + 2) * 4
		case fragment:
			field := binary.BigEndian.Uint16(data[2:])
			p.FragOffset = field &^ 7
			p.MoreFragments = field&1 != 0
			p.FragID = binary.BigEndian.Uint32(data[4:])
		default:
			return data
		}
		if n > len(data) {
			return nil
		}
		p.Protocol = flow.Protocol(data[0])
		data = data[n:]
		if p.FragOffset != 0 {
			return nil
		}
	}
}

// upper returns data, which is too short to hold an extension header, unless the
// protocol says it is one.
func upper(p *Packet, data []byte) []byte {
	switch p.Protocol {
	case hopByHop, routing, fragment, auth, destOpts:
		return nil
	}
	return data
}

// transport reads ports, ICMP type and code, and TCP flags from the front of an
// IP payload, as far as they are there.
func transport(p *Packet, data []byte) {
	switch p.Protocol {
	case flow.TCP:
		if len(data) >= 14 {
			p.TCPFlags = flow.TCPFlags(binary.BigEndian.Uint16(data[12:]) & 0x01ff)
		}
		fallthrough
	case flow.UDP, flow.SCTP, flow.DCCP, flow.UDPLite:
		if len(data) >= 4 {
			p.SrcPort = binary.BigEndian.Uint16(data)
			p.DstPort = binary.BigEndian.Uint16(data[2:])
		}
	case flow.ICMP, flow.ICMPv6:
		if len(data) >= 2 {
			p.DstPort = binary.BigEndian.Uint16(data)
		}
	}
}

// offset returns where data, a later part of the frame, begins in it.
func (d *Decoder) offset(data []byte) uint32 {
	// Layers cut at the end by length, never by capacity.
	return uint32(cap(d.frame) - cap(data))
}
