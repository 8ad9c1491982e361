// Package tunnel reads the headers of tunnels that carry packets: GRE, ERSPAN,
// VXLAN, Geneve, GTP-U and TZSP. Whoever ends a tunnel and whoever looks into one
// that passes by ask the same functions.
//
// Each function is given what follows the IP or UDP header and says what follows
// the tunnel's. It allocates nothing and believes no length: Header.Length is
// never more than there is.
package tunnel

import (
	"encoding/binary"
	"errors"
)

// Why there is no Header. The errors are these themselves, so that they compare
// with ==.
var (
	// ErrHeader: the octets are not a header of the tunnel, or end inside it.
	ErrHeader = errors.New("tunnel: not a header of the tunnel")
	// ErrForeign: the header is sound, and what follows is neither a frame nor an
	// IP packet: a control message, a keepalive, another protocol.
	ErrForeign = errors.New("tunnel: neither a frame nor an IP packet follows")
)

// Kind is what tells tunnels of the same two ends apart, together with the ID.
type Kind uint8

// The kinds of tunnels.
const (
	KindGRE Kind = 1 + iota
	KindPPTP
	KindERSPAN1 // has no header, so that its ID is the GRE key
	KindERSPAN
	KindVXLAN
	KindGeneve
	KindGTPU
	KindTZSP
)

// kinds are the names of kinds, and what each calls its ID.
var kinds = [...]struct{ name, id string }{
	KindGRE: {"gre", "key"}, KindPPTP: {"gre", "call"}, KindERSPAN1: {"erspan", "key"}, KindERSPAN: {"erspan", "session"},
	KindVXLAN: {"vxlan", "vni"}, KindGeneve: {"geneve", "vni"}, KindGTPU: {"gtpu", "teid"}, KindTZSP: {"tzsp", "id"},
}

// String returns the kind in lower case; PPTP is gre, too.
func (k Kind) String() string { return kinds[k].name }

// IDName returns what tunnels of this kind call their ID: vni, key, session, …
func (k Kind) IDName() string { return kinds[k].id }

// LINKTYPE_ numbers of what tunnels carry
// (https://www.tcpdump.org/linktypes.html). LinkNone says that Header.EtherType
// tells what follows.
const (
	LinkNone     = 1<<16 - 1
	LinkEthernet = 1
	LinkPPP      = 9
	LinkRaw      = 101
	LinkDot11    = 105
	LinkPrism    = 119
	LinkAVS      = 163
	LinkIPv4     = 228
	LinkIPv6     = 229
)

// Ethernet types of what may follow a tunnel's header and is no frame of a link
// type.
const (
	EtherTypeMPLS  = 0x8847
	EtherTypePPPoE = 0x8864
	EtherTypeNSH   = 0x894f
	EtherTypePBB   = 0x88e7
)

// Header is what a tunnel's header says.
type Header struct {
	// Length is how many octets it takes; what it carries begins behind them.
	Length int
	// ID is the VNI, key, call, session or TEID where HasID says that there is
	// one.
	ID uint32
	// Link is the LINKTYPE_ number of what follows, or LinkNone. EtherType is then
	// its Ethernet type: a VLAN tag, a label, PPPoE, NSH, an 802.1ah tag.
	Link      uint32
	EtherType uint16
	Kind      Kind
	HasID     bool
}

// carry notes that what is of an Ethernet type follows.
func (h *Header) carry(typ uint16) error {
	switch typ {
	case 0x0800:
		h.Link = LinkIPv4
	case 0x86dd:
		h.Link = LinkIPv6
	case 0x6558: // transparent Ethernet bridging
		h.Link = LinkEthernet
	case 0x880b:
		h.Link = LinkPPP
	case 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300, EtherTypeMPLS, 0x8848, EtherTypePPPoE, EtherTypeNSH, EtherTypePBB:
		h.Link, h.EtherType = LinkNone, typ
	default:
		if typ&^0x1f != 0x8200 { // Aruba's controllers: frames of the air
			return ErrForeign
		}
		h.Link = LinkDot11
	}
	return nil
}

// GRE reads a GRE header of version 0 (RFC 2784, with RFC 2890's key and sequence
// and RFC 1701's routing) or of PPTP's version 1 (RFC 2637 §4.1), and ERSPAN's,
// WCCP's or Cisco's metadata behind it.
func GRE(b []byte) (h Header, err error) {
	const (
		checksum, routing, key, sequence, acknowledgment = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
	)
	if len(b) < 4 {
		return h, ErrHeader
	}
	flags, typ := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	n, id := 4, 0 // the header's length, and where in it the key is
	switch flags & 7 {
	case 0:
		h.Kind = KindGRE
		if flags&(checksum|routing) != 0 {
			n += 4
		}
		if flags&key != 0 {
			id, n = n, n+4
		}
	case 1: // the key's second half is the call
		h.Kind = KindPPTP
		id, n = n, n+4
		if flags&acknowledgment != 0 {
			n += 4
		}
	default:
		return h, ErrHeader
	}
	if flags&sequence != 0 {
		n += 4
	}
	if len(b) < n {
		return h, ErrHeader
	}
	if id != 0 {
		h.ID, h.HasID = binary.BigEndian.Uint32(b[id:]), true
		if h.Kind == KindPPTP {
			h.ID &= 0xffff
		}
	}
	// Source route entries: family, offset and length; family 0 ends them.
	for more := h.Kind == KindGRE && flags&routing != 0; more; {
		if len(b) < n+4 {
			return h, ErrHeader
		}
		entry := 4
		if more = binary.BigEndian.Uint16(b[n:]) != 0; more {
			entry += int(b[n+3])
		}
		if n += entry; len(b) < n {
			return h, ErrHeader
		}
	}
	h.Length = n
	switch {
	case len(b) == n: // a keepalive's answer, or nothing
		return h, ErrForeign
	case typ == 0x88be && flags&sequence == 0: // type I has no header
		h.Kind, h.Link = KindERSPAN1, LinkEthernet
		return h, nil
	case typ == 0x88be || typ == 0x22eb:
		return h, h.erspan(b[n:])
	case typ == 0x883e: // WCCP's redirect header may stand in front
		if len(b) >= n+4 && b[n]>>4 != 4 {
			h.Length += 4
		}
		typ = 0x0800
	case typ == 0x8909: // Cisco's metadata, a security group's tag
		if len(b) < n+8 {
			return h, ErrHeader
		}
		typ = binary.BigEndian.Uint16(b[n+6:])
		h.Length += 8
	}
	return h, h.carry(typ)
}

// erspan reads the header of ERSPAN type II or III
// (draft-foschiano-erspan-03 §4.2 and §4.3) behind the GRE header.
func (h *Header) erspan(b []byte) error {
	n := 8
	if len(b) < n {
		return ErrHeader
	}
	h.Kind, h.Link = KindERSPAN, LinkEthernet
	h.ID, h.HasID = uint32(binary.BigEndian.Uint16(b[2:])&0x03ff), true
	switch b[0] >> 4 {
	case 1:
	case 2:
		if n = 12; len(b) < n {
			return ErrHeader
		}
		if b[11]&1 != 0 { // an optional subheader
			n += 8
		}
		switch b[10] >> 2 & 0x1f { // the frame type
		case 0:
		case 2:
			h.Link = LinkRaw
		default:
			return ErrForeign
		}
	default:
		return ErrHeader
	}
	if len(b) < n {
		return ErrHeader
	}
	h.Length += n
	return nil
}

// VXLAN reads a VXLAN header (RFC 7348 §5). Its VNI must be valid; reserved bits
// are to be ignored.
func VXLAN(b []byte) (h Header, err error) {
	const valid = 0x08
	if len(b) < 8 || b[0]&valid == 0 {
		return h, ErrHeader
	}
	return Header{
		Kind: KindVXLAN, ID: binary.BigEndian.Uint32(b[4:]) >> 8, HasID: true,
		Link: LinkEthernet, Length: 8,
	}, nil
}

// VXLANGPE reads a header of VXLAN's generic extension, which says what follows
// (draft-ietf-nvo3-vxlan-gpe).
func VXLANGPE(b []byte) (h Header, err error) {
	const named = 0x04
	if h, err = VXLAN(b); err != nil || b[0]&named == 0 {
		return h, err
	}
	switch b[3] {
	case 1:
		h.Link = LinkIPv4
	case 2:
		h.Link = LinkIPv6
	case 3:
	case 4:
		h.Link, h.EtherType = LinkNone, EtherTypeNSH
	case 5:
		h.Link, h.EtherType = LinkNone, EtherTypeMPLS
	default:
		return h, ErrForeign
	}
	return h, nil
}

// Geneve reads a Geneve header (RFC 8926 §3.4). What follows a control message's
// is ErrForeign.
func Geneve(b []byte) (h Header, err error) {
	const control = 0x80
	if len(b) < 8 || b[0]>>6 != 0 {
		return h, ErrHeader
	}
	n := 8 + int(b[0]&0x3f)*4
	if len(b) < n {
		return h, ErrHeader
	}
	if b[1]&control != 0 {
		return h, ErrForeign
	}
	h = Header{Kind: KindGeneve, ID: binary.BigEndian.Uint32(b[4:]) >> 8, HasID: true, Length: n}
	return h, h.carry(binary.BigEndian.Uint16(b[2:]))
}

// GTPU reads a GTP-U header of version 1 (3GPP TS 29.281 §5.1) in front of a
// user's packet; in front of a message of the tunnel's own it is ErrForeign.
func GTPU(b []byte) (h Header, err error) {
	const userPacket = 255
	if len(b) < 8 || b[0]>>4 != 3 {
		return h, ErrHeader
	}
	if b[1] != userPacket {
		return h, ErrForeign
	}
	n := 8
	if b[0]&7 != 0 { // extension, sequence or N-PDU number: all three are there
		if n = 12; len(b) < n {
			return h, ErrHeader
		}
		if b[0]&4 != 0 {
			for next := b[11]; next != 0; {
				if len(b) < n+4 || b[n] == 0 {
					return h, ErrHeader
				}
				if n += int(b[n]) * 4; len(b) < n {
					return h, ErrHeader
				}
				next = b[n-1]
			}
		}
	}
	return Header{Kind: KindGTPU, ID: binary.BigEndian.Uint32(b[4:]), HasID: true, Link: LinkRaw, Length: n}, nil
}

// TZSP reads the header of TZSP, in which access points and MikroTik routers send
// what they see, and the tagged fields behind it.
func TZSP(b []byte) (h Header, err error) {
	const received, transmitted, padding, end = 0, 1, 0, 1
	if len(b) < 4 || b[0] != 1 {
		return h, ErrHeader
	}
	if b[1] != received && b[1] != transmitted {
		return h, ErrForeign
	}
	h = Header{Kind: KindTZSP}
	switch binary.BigEndian.Uint16(b[2:]) {
	case 1:
		h.Link = LinkEthernet
	case 18:
		h.Link = LinkDot11
	case 119:
		h.Link = LinkPrism
	case 127:
		h.Link = LinkAVS
	default:
		return h, ErrForeign
	}
	for n := 4; n < len(b); {
		switch tag := b[n]; {
		case tag == end:
			h.Length = n + 1
			return h, nil
		case tag == padding:
			n++
		case n+1 >= len(b):
			return h, ErrHeader
		default:
			n += 2 + int(b[n+1])
		}
	}
	return h, ErrHeader
}
