package capture

import "encoding/binary"

// ListenGRE ends GRE tunnels (RFC 2784, RFC 2890), and ERSPAN's of types I to III
// in them, at an address of this host; an empty one or :: means all, of IPv4 and
// IPv6, and 0.0.0.0 those of IPv4. It needs CAP_NET_RAW.
//
// No tunnel device is needed, and any number of clients may send without being
// set up: each, which is an address and a key or an ERSPAN session, is an ingress
// interface (Describer) of a number that stays the same when it is opened again.
//
// Frames (gretap, NVGRE, ERSPAN) come as Ethernet, packets of plain GRE as raw
// IP. Where a device of the kernel ends the same tunnels, both get the packets.
func ListenGRE(addr string, c TunnelConfig) (Source, error) {
	name := "gre"
	if addr != "" {
		name += " on " + addr
	}
	return newEnded(name, c, unwrapGRE, listenGRE(addr))
}

// unwrapGRE reads a GRE header, and ERSPAN's behind it.
func unwrapGRE(b []byte) (in inner, err error) {
	const (
		checksum, routing, key, sequence, acknowledgment = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
	)
	if len(b) < 4 {
		return in, errTunnel
	}
	flags, typ := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	in = inner{kind: "gre", word: "key"}
	id := 0
	n := 4
	switch flags & 7 {
	case 0:
		if flags&routing != 0 { // abolished by RFC 2784
			return in, errForeign
		}
		if flags&checksum != 0 {
			n += 4
		}
		if flags&key != 0 {
			id, n = n, n+4
		}
	case 1: // PPTP (RFC 2637 §4.1): length and call
		id, n = n, n+4
		if flags&acknowledgment != 0 {
			n += 4
		}
	default:
		return in, errTunnel
	}
	if flags&sequence != 0 {
		n += 4
	}
	if len(b) < n {
		return in, errTunnel
	}
	if id != 0 {
		in.id, in.hasID = binary.BigEndian.Uint32(b[id:]), true
		if flags&7 == 1 {
			in.id, in.word = in.id&0xffff, "call"
		}
	}
	in.at = n
	switch {
	case n == len(b): // a keepalive's answer, or nothing
		return in, errForeign
	case typ == 0x88be && flags&sequence == 0: // ERSPAN type I has no header
		in.kind, in.link = "erspan", linkTypeEthernet
		return in, nil
	case typ == 0x88be || typ == 0x22eb:
		return in, in.erspan(b)
	}
	return in, in.carry(typ)
}

// erspan reads the header of ERSPAN type II or III
// (draft-foschiano-erspan-03 §4.2 and §4.3) behind the GRE header.
func (in *inner) erspan(b []byte) error {
	b = b[in.at:]
	n := 8
	if len(b) < n {
		return errTunnel
	}
	in.kind, in.word, in.link = "erspan", "session", linkTypeEthernet
	in.id, in.hasID = uint32(binary.BigEndian.Uint16(b[2:])&0x03ff), true
	switch b[0] >> 4 {
	case 1:
	case 2:
		if n = 12; len(b) < n {
			return errTunnel
		}
		if b[11]&1 != 0 { // an optional subheader
			n += 8
		}
		switch b[10] >> 2 & 0x1f { // the frame type
		case 0:
		case 2:
			in.link = linkTypeRaw
		default:
			return errForeign
		}
	default:
		return errTunnel
	}
	if len(b) < n {
		return errTunnel
	}
	in.at += n
	return nil
}
