package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// sampled is what the headers of a sampled packet say of its flow.
type sampled struct {
	src, dst     flow.Addr
	version      uint8
	protocol     flow.Protocol
	tos          uint8
	flags        flow.TCPFlags
	sport, dport uint16
	vlan         uint16
	transported  bool   // what stands in ports and flags was there, or is of a later fragment
	length       uint32 // IP octets, as the header states
}

// maxHeaders bounds the tags, labels and extension headers that are looked
// behind.
const maxHeaders = 16

// frame reads an Ethernet frame, cut anywhere (dataLinkFrameSection 315,
// layer2packetSectionData 104), and reports whether there is an IP header
// behind VLAN tags, MPLS labels and PPPoE.
func (p *sampled) frame(b []byte) bool {
	if len(b) < 14 {
		return false
	}
	kind := binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	for range maxHeaders {
		switch kind {
		case 0x8100, 0x88a8, 0x9100, 0x9200: // 802.1Q, 802.1ad and before it
			if len(b) < 4 {
				return false
			}
			if p.vlan == 0 {
				p.vlan = binary.BigEndian.Uint16(b) & 0xfff
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case 0x8847, 0x8848: // MPLS
			if len(b) < 5 {
				return false
			}
			if bottom := b[2]&1 != 0; bottom {
				return p.ip(b[4:])
			}
			b = b[4:]
		case 0x8864: // PPPoE session
			if len(b) < 8 {
				return false
			}
			if ppp := binary.BigEndian.Uint16(b[6:]); ppp != 0x21 && ppp != 0x57 {
				return false
			}
			return p.ip(b[8:])
		case 0x0800, 0x86dd:
			return p.ip(b)
		default:
			return false
		}
	}
	return false
}

// ip reads a packet from its IP header on (ipHeaderPacketSection 313), cut
// anywhere behind it.
func (p *sampled) ip(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		header := int(b[0]&15) * 4
		if header < 20 || len(b) < 20 {
			return false
		}
		p.version, p.tos, p.protocol = 4, b[1], flow.Protocol(b[9])
		p.length = uint32(binary.BigEndian.Uint16(b[2:]))
		p.src, p.dst = flow.Addr4([4]byte(b[12:])), flow.Addr4([4]byte(b[16:]))
		if first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0; !first {
			p.transported = true
		} else if len(b) > header {
			p.transport(b[header:])
		}
		return true
	case 6:
		if len(b) < 40 {
			return false
		}
		p.version, p.tos = 6, uint8(binary.BigEndian.Uint16(b)>>4)
		p.length = 40 + uint32(binary.BigEndian.Uint16(b[4:]))
		p.src, p.dst = flow.Addr(b[8:24]), flow.Addr(b[24:40])
		p.protocol = flow.Protocol(b[6])
		p.behind(b[40:])
		return true
	}
	return false
}

// behind walks IPv6 extension headers to the transport header.
func (p *sampled) behind(b []byte) {
	for range maxHeaders {
		switch p.protocol {
		case 0, 43, 60, 44, 51: // hop by hop, routing, destination, fragment, AH
		default:
			p.transport(b)
			return
		}
		if len(b) < 8 {
			return
		}
		size := int(b[1])*8 + 8
		switch p.protocol {
		case 44:
			size = 8
			if binary.BigEndian.Uint16(b[2:])&^7 != 0 {
				p.protocol, p.transported = flow.Protocol(b[0]), true
				return // not the first: no transport header
			}
		case 51:
			size = int(b[1])*4 + 8
		}
		p.protocol = flow.Protocol(b[0])
		if len(b) < size {
			return
		}
		b = b[size:]
	}
}

// transport reads ports and flags, or ICMP's type and code.
func (p *sampled) transport(b []byte) {
	switch {
	case isICMP(p.protocol):
		if len(b) >= 2 {
			p.dport, p.transported = binary.BigEndian.Uint16(b), true
		}
	case p.protocol.HasPorts() && len(b) >= 4:
		p.sport, p.dport, p.transported = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
		if p.protocol == flow.TCP && len(b) >= 14 {
			p.flags = flow.TCPFlags(binary.BigEndian.Uint16(b[12:])) & flow.AllFlags
		}
	}
}

// fill gives the record what its template did not say: the key, one packet and
// its octets.
func (p *sampled) fill(r *flow.Record, packets, octets bool) {
	r.SrcAddr, r.DstAddr, r.IPVersion = p.src, p.dst, p.version
	r.Protocol, r.SrcPort, r.DstPort = p.protocol, p.sport, p.dport
	r.TOS, r.TCPFlags = p.tos, r.TCPFlags|p.flags
	r.Absent = 0
	if !p.transported {
		r.Absent = flow.AbsentSrcPort | flow.AbsentDstPort | flow.AbsentICMP | flow.AbsentTCPFlags
	}
	if r.VLAN == 0 {
		r.VLAN = p.vlan
	}
	if !packets || r.Packets == 0 {
		r.Packets = 1
	}
	if !octets || r.Bytes == 0 {
		r.Bytes = uint64(p.length)
	}
}
