package packet

import (
	"encoding/binary"
	"fmt"

	"flowtally/flow"
)

// Tunnels says which packet of a frame counts where one packet carries another.
type Tunnels uint8

const (
	// Outer is the packet that the network forwarded; what it carries is its
	// payload.
	Outer Tunnels = iota
	// Inner is the innermost packet that can be read: the tunnels' packets do
	// not count for themselves.
	Inner
	// Both gives the outermost and the innermost, as two packets.
	Both
)

// maxTunnels is how many tunnels in one another are entered.
const maxTunnels = 8

// ParseTunnels returns what outer, inner and both stand for.
func ParseTunnels(s string) (Tunnels, error) {
	for t := Outer; t <= Both; t++ {
		if s == t.String() {
			return t, nil
		}
	}
	return Outer, fmt.Errorf("packet: tunnels %q: want outer, inner or both", s)
}

// String returns outer, inner or both.
func (t Tunnels) String() string {
	switch t {
	case Outer:
		return "outer"
	case Inner:
		return "inner"
	case Both:
		return "both"
	}
	return fmt.Sprintf("Tunnels(%d)", uint8(t))
}

// Numbers for what no capture begins with but a tunnel may, beside the LINKTYPE_
// numbers, which have sixteen bits.
const (
	linkMPLS = 1<<16 + iota
	linkDot1Q
	linkNSH
	linkPBB

	linkNone = 1 << 17 // nothing that is understood
)

// carried is what a tunnel's header says: what kind of frame follows, a
// LINKTYPE_ number or one of the above, and the tunnel's VNI, key, session or
// TEID.
type carried struct {
	link uint32
	id   uint32
	rest []byte
}

// tunnel reads the tunnel header at the front of payload, which p carries. The
// tunnel's number for flow.Details is the IP protocol and, over UDP, the port.
func tunnel(p *Packet, payload []byte) (c carried, number uint32, ok bool) {
	number = uint32(p.Protocol) << 16
	switch p.Protocol {
	case 4: // IPv4 (RFC 2003)
		return carried{link: 228, rest: payload}, number, true
	case 41: // IPv6 (RFC 4213 §3)
		return carried{link: 229, rest: payload}, number, true
	case 47:
		c, ok = gre(payload)
		return c, number, ok
	case 97: // EtherIP (RFC 3378 §3)
		if len(payload) < 2 || payload[0]>>4 != 3 {
			return c, 0, false
		}
		return carried{link: 1, rest: payload[2:]}, number, true
	case 137: // MPLS (RFC 4023)
		return carried{link: linkMPLS, rest: payload}, number, true
	case 143: // Ethernet (RFC 8986 §4.9)
		return carried{link: 1, rest: payload}, number, true
	case flow.UDP:
		if len(payload) < 8 {
			return c, 0, false
		}
		if n := int(binary.BigEndian.Uint16(payload[4:])); 8 <= n && n < len(payload) {
			payload = payload[:n]
		}
		payload = payload[8:]
		number |= uint32(p.DstPort)
		switch p.DstPort {
		case 4789, 8472, 4790:
			c, ok = vxlan(payload, p.DstPort == 4790)
		case 6081:
			c, ok = geneve(payload)
		case 2152:
			c, ok = gtpu(payload)
		case 4754: // GRE in UDP (RFC 8086)
			c, ok = gre(payload)
		case 6635: // MPLS in UDP (RFC 7510)
			c, ok = carried{link: linkMPLS, rest: payload}, true
		case 37008:
			c, ok = tzsp(payload)
		}
		return c, number, ok
	}
	return c, 0, false
}

// linkOf returns what an Ethernet type in a tunnel's header says that follows.
func linkOf(typ uint16) uint32 {
	switch typ {
	case 0x0800:
		return 228
	case 0x86dd:
		return 229
	case 0x6558: // transparent Ethernet bridging
		return 1
	case 0x8847, 0x8848:
		return linkMPLS
	case 0x8100, 0x88a8, 0x9100, 0x9200:
		return linkDot1Q
	case 0x8864:
		return 51
	case 0x880b:
		return 9 // PPP
	case 0x894f:
		return linkNSH
	case 0x88e7:
		return linkPBB
	}
	if typ&^0x1f == 0x8200 { // Aruba's controllers: frames of the air
		return 105
	}
	return linkNone
}

// gre is a GRE header of version 0 (RFC 2784, with RFC 2890's key and sequence
// and RFC 1701's routing) or of PPTP's version 1 (RFC 2637 §4.1), and ERSPAN's
// behind it.
func gre(data []byte) (c carried, ok bool) {
	if len(data) < 4 {
		return c, false
	}
	const (
		checksum, routing, key, sequence, acknowledgment = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
	)
	flags, typ := binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	n, id := 4, 0 // the header's length, and where in it the key is
	switch flags & 7 {
	case 0:
		if flags&(checksum|routing) != 0 {
			n += 4
		}
		if flags&key != 0 {
			id, n = n, n+4
		}
	case 1: // the key's second half is the call
		id, n = n, n+4
		if flags&acknowledgment != 0 {
			n += 4
		}
	default:
		return c, false
	}
	if flags&sequence != 0 {
		n += 4
	}
	if len(data) < n {
		return c, false
	}
	if id != 0 {
		c.id = binary.BigEndian.Uint32(data[id:])
	}
	if flags&7 == 1 {
		c.id &= 0xffff
	}
	data = data[n:]
	// Source route entries: family, offset and length; family 0 ends them.
	for more := flags&7 == 0 && flags&routing != 0; more; {
		if len(data) < 4 {
			return c, false
		}
		more = binary.BigEndian.Uint16(data) != 0
		n := 4
		if more {
			n += int(data[3])
		}
		if len(data) < n {
			return c, false
		}
		data = data[n:]
	}
	switch typ {
	case 0x88be:
		if flags&sequence == 0 { // type I has no header
			c.link, c.rest = 1, data
			return c, true
		}
		return erspan(data)
	case 0x22eb:
		return erspan(data)
	case 0x883e: // WCCP's redirect header may stand in front
		if len(data) >= 4 && data[0]>>4 != 4 {
			data = data[4:]
		}
		typ = 0x0800
	case 0x8909: // Cisco's metadata, a security group's tag
		if len(data) < 8 {
			return c, false
		}
		typ, data = binary.BigEndian.Uint16(data[6:]), data[8:]
	}
	c.link, c.rest = linkOf(typ), data
	return c, c.link != linkNone
}

// erspan is the header of ERSPAN type II or III
// (draft-foschiano-erspan-03 §4.2 and §4.3).
func erspan(data []byte) (c carried, ok bool) {
	if len(data) < 8 {
		return c, false
	}
	n := 8
	c.link = 1
	c.id = uint32(binary.BigEndian.Uint16(data[2:]) & 0x03ff)
	switch data[0] >> 4 {
	case 1:
	case 2:
		if n = 12; len(data) < n {
			return c, false
		}
		if data[11]&1 != 0 { // an optional subheader
			n += 8
		}
		switch data[10] >> 2 & 0x1f { // the frame type
		case 0:
		case 2:
			c.link = 101
		default:
			return c, false
		}
	default:
		return c, false
	}
	if len(data) < n {
		return c, false
	}
	c.rest = data[n:]
	return c, true
}

// vxlan is a VXLAN header (RFC 7348 §5), or that of its extension, which says
// what follows (draft-ietf-nvo3-vxlan-gpe).
func vxlan(data []byte, generic bool) (c carried, ok bool) {
	const valid, next = 0x08, 0x04 // the VNI is, and a protocol is named; other bits are to be ignored
	if len(data) < 8 || data[0]&valid == 0 {
		return c, false
	}
	c.id = binary.BigEndian.Uint32(data[4:]) >> 8
	c.link, c.rest = 1, data[8:]
	if generic && data[0]&next != 0 {
		switch data[3] {
		case 1:
			c.link = 228
		case 2:
			c.link = 229
		case 3:
		case 4:
			c.link = linkNSH
		case 5:
			c.link = linkMPLS
		default:
			return c, false
		}
	}
	return c, true
}

// geneve is a Geneve header (RFC 8926 §3.4).
func geneve(data []byte) (c carried, ok bool) {
	if len(data) < 8 || data[0]>>6 != 0 {
		return c, false
	}
	n := 8 + int(data[0]&0x3f)*4
	if len(data) < n {
		return c, false
	}
	c.id = binary.BigEndian.Uint32(data[4:]) >> 8
	c.link, c.rest = linkOf(binary.BigEndian.Uint16(data[2:])), data[n:]
	return c, c.link != linkNone
}

// gtpu is a GTP-U header of version 1 (3GPP TS 29.281 §5.1) in front of a user's
// packet.
func gtpu(data []byte) (c carried, ok bool) {
	const userPacket = 255
	if len(data) < 8 || data[0]>>4 != 3 || data[1] != userPacket {
		return c, false
	}
	c.id = binary.BigEndian.Uint32(data[4:])
	n := 8
	if data[0]&7 != 0 { // extension, sequence or N-PDU number: all three are there
		if n = 12; len(data) < n {
			return c, false
		}
		if data[0]&4 != 0 {
			for next := data[11]; next != 0; {
				if len(data) < n+4 || data[n] == 0 {
					return c, false
				}
				length := int(data[n]) * 4
				if len(data) < n+length {
					return c, false
				}
				n += length
				next = data[n-1]
			}
		}
	}
	c.link, c.rest = 101, data[n:]
	return c, true
}

// tzsp is the header of TZSP, with its tagged fields, in front of a frame that
// was received.
func tzsp(data []byte) (c carried, ok bool) {
	const received, pad, end = 0, 0, 1
	if len(data) < 4 || data[0] != 1 || data[1] != received {
		return c, false
	}
	switch binary.BigEndian.Uint16(data[2:]) {
	case 1:
		c.link = 1
	case 18:
		c.link = 105
	case 119:
		c.link = 119
	case 127:
		c.link = 163
	default:
		return c, false
	}
	for data = data[4:]; len(data) > 0; {
		switch tag := data[0]; {
		case tag == end:
			c.rest = data[1:]
			return c, true
		case tag == pad:
			data = data[1:]
		case len(data) < 2 || len(data) < 2+int(data[1]):
			return c, false
		default:
			data = data[2+int(data[1]):]
		}
	}
	return c, false
}

// enter replaces p, the packet last read, with the one that it carries, if it
// carries one that can be read, and reports whether it did.
func (d *Decoder) enter(p *Packet) bool {
	c, number, ok := tunnel(p, d.payload)
	if !ok {
		return false
	}
	var q Packet
	before := d.details
	payload, ok := common(&q, c.link, c.rest)
	if ok {
		d.note(c.link, c.rest)
	} else {
		if d.layers(&q, c.link, c.rest) != nil {
			d.details = before
			return false
		}
		payload = d.payload
	}
	d.payload = payload
	// Slices are cut at the end by length, never by capacity.
	q.Offset += uint32(cap(d.whole) - cap(c.rest))
	q.InIf, q.OutIf = p.InIf, p.OutIf
	d.details.OuterSrc, d.details.OuterDst = p.SrcAddr, p.DstAddr
	d.details.Tunnel, d.details.TunnelID = number, c.id
	q.Details = p.Details
	*p = q
	return true
}

// Inner replaces p, which Decode just gave, with the innermost packet inside it,
// and reports whether there is one. It does so for a Decoder of Both only, and
// wants the frame's octets as they were. What the caller set of InIf and OutIf
// stays.
func (d *Decoder) Inner(p *Packet) bool {
	return d.config.Tunnels == Both && d.innermost(p)
}

// innermost enters all tunnels.
func (d *Decoder) innermost(p *Packet) (entered bool) {
	for range maxTunnels {
		if !d.enter(p) {
			break
		}
		entered = true
	}
	d.payload = nil
	return entered
}

// note takes the details of a frame that was read the short way: its addresses
// and its second tag.
func (d *Decoder) note(link uint32, frame []byte) {
	if !d.config.Details || link != 1 {
		return
	}
	d.details.DstMAC = [6]byte(frame)
	d.details.SrcMAC = [6]byte(frame[6:])
	d.details.InnerVLAN = 0
	if typ := binary.BigEndian.Uint16(frame[12:]); typ == 0x8100 || typ == 0x88a8 {
		if binary.BigEndian.Uint16(frame[16:]) == 0x8100 {
			d.details.InnerVLAN = binary.BigEndian.Uint16(frame[18:]) & 0x0fff
		}
	}
}
