package packet

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"flowtally/exporter/tunnel"
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
	linkAMSDU
)

// carried is what a tunnel's header says: what kind of frame follows, a
// LINKTYPE_ number or one of the above, and the tunnel's VNI, key, session or
// TEID.
type carried struct {
	link uint32
	id   uint32
	rest []byte
}

// carries reads the tunnel header at the front of payload, which p carries. The
// tunnel's number for flow.Details is the IP protocol and, over UDP, the port.
func carries(p *Packet, payload []byte) (c carried, number uint32, ok bool) {
	number = uint32(p.Protocol) << 16
	var h tunnel.Header
	var err error
	switch p.Protocol {
	case 4: // IPv4 (RFC 2003)
		return carried{link: tunnel.LinkIPv4, rest: payload}, number, true
	case 41: // IPv6 (RFC 4213 §3)
		return carried{link: tunnel.LinkIPv6, rest: payload}, number, true
	case 47:
		h, err = tunnel.GRE(payload)
	case 97: // EtherIP (RFC 3378 §3)
		if len(payload) < 2 || payload[0]>>4 != 3 {
			return c, 0, false
		}
		return carried{link: tunnel.LinkEthernet, rest: payload[2:]}, number, true
	case 137: // MPLS (RFC 4023)
		return carried{link: linkMPLS, rest: payload}, number, true
	case 143: // Ethernet (RFC 8986 §4.9)
		return carried{link: tunnel.LinkEthernet, rest: payload}, number, true
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
		case 4789, 8472:
			h, err = tunnel.VXLAN(payload)
		case 4790:
			h, err = tunnel.VXLANGPE(payload)
		case 6081:
			h, err = tunnel.Geneve(payload)
		case 2152:
			h, err = tunnel.GTPU(payload)
		case 4754: // GRE in UDP (RFC 8086)
			h, err = tunnel.GRE(payload)
		case 6635: // MPLS in UDP (RFC 7510)
			return carried{link: linkMPLS, rest: payload}, number, true
		case 37008:
			h, err = tunnel.TZSP(payload)
		default:
			return c, 0, false
		}
	default:
		return c, 0, false
	}
	if err != nil {
		return c, 0, false
	}
	c = carried{link: h.Link, id: h.ID, rest: payload[h.Length:]}
	if c.link == tunnel.LinkNone {
		c.link = linkOf(h.EtherType)
	}
	return c, number, true
}

// linkOf returns what begins with what is of an Ethernet type that a tunnel's
// header names.
func linkOf(typ uint16) uint32 {
	switch typ {
	case tunnel.EtherTypePPPoE:
		return 51
	case tunnel.EtherTypeNSH:
		return linkNSH
	case tunnel.EtherTypePBB:
		return linkPBB
	case tunnel.EtherTypeMPLS, tunnel.EtherTypeMPLS + 1:
		return linkMPLS
	}
	return linkDot1Q
}

// enter replaces p, the packet last read, with the one that it carries, if it
// carries one that can be read, and reports whether it did.
func (d *Decoder) enter(p *Packet) bool {
	c, number, ok := carries(p, d.payload)
	if !ok {
		return false
	}
	var q Packet
	before := d.details
	payload, ok := common(&q, c.link, c.rest)
	if ok {
		d.note(c.link, c.rest)
	} else {
		more := d.more // is of the frame, and not of what a tunnel in it carries
		err := d.layers(&q, c.link, c.rest)
		if d.more = more; err != nil {
			d.details = before
			return false
		}
		payload = d.payload
	}
	d.payload = payload
	// Slices are cut at the end by length, never by capacity.
	q.Offset += uint32(cap(d.whole) - cap(c.rest))
	q.InIf, q.OutIf = p.InIf, p.OutIf
	q.Overlay = overlay(p, number, c.id)
	d.details.OuterSrc, d.details.OuterDst = p.SrcAddr, p.DstAddr
	d.details.Tunnel, d.details.TunnelID = number, c.id
	q.Details = p.Details
	*p = q
	return true
}

// overlaySeed is the seed of every Packet.Overlay, so that those of several
// Decoders compare.
var overlaySeed = maphash.MakeSeed()

// overlay returns Packet.Overlay of what p carries in such a tunnel.
func overlay(p *Packet, number, id uint32) uint32 {
	var b [44]byte
	copy(b[:], p.SrcAddr[:])
	copy(b[16:], p.DstAddr[:])
	binary.NativeEndian.PutUint32(b[32:], number)
	binary.NativeEndian.PutUint32(b[36:], id)
	binary.NativeEndian.PutUint32(b[40:], p.Overlay)
	h := maphash.Bytes(overlaySeed, b[:])
	return max(1, uint32(h^h>>32))
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
