// Package packet reads the headers of one packet: what a flow key and a meter
// need of them, and no more.
//
// The outermost IP header counts. What lies in front of it (VLAN tags, MPLS
// labels, PPPoE, a capture's pseudo header) is looked through. Frames as nearly
// all are take a short way of a few nanoseconds; a Decoder walks the layers of
// the others with gopacket's DecodingLayerParser. It allocates nothing per packet
// and keeps nothing of the octets it was given.
//
// # Tunnels
//
// A packet may carry another: IP in IP, 6in4, GRE (with Ethernet, ERSPAN I, II
// and III, PPTP), EtherIP, MPLS in IP and UDP, Ethernet in SRv6, VXLAN and its
// generic extension, Geneve, GTP-U, GRE in UDP, TZSP, in one another up to eight
// deep. Config.Tunnels says which packet counts. Where both do, Decode gives the
// outermost, and Inner then the innermost, when there is one:
//
//	d := packet.Config{Tunnels: packet.Both, Details: true}.Decoder()
//	if err := d.Decode(&p, link, data); err != nil { … }
//	observe(&p)
//	if d.Inner(&p) {
//		observe(&p)
//	}
//
// With Inner, Decode alone does, and NewDecoder's knows nothing of tunnels. Of a
// packet that came in a tunnel, Details names the tunnel that is next to it.
//
// A tunnel is known by its IP protocol or its UDP destination port and entered
// when its header and the packet inside are sound. Of a tunnel's packet that is
// in fragments, the first is entered; the others, which do not say what they
// carry, are the tunnel's own packets.
package packet

import (
	"errors"

	"flowtally/flow"
)

// Packet is what was read of one packet. Its Key is complete but for InIf and
// OutIf, which only the capture's owner knows.
//
// Ports are zero, as is TCPFlags, where the packet does not carry them: in a
// fragment that is not the first, in a protocol without, and in a frame cut
// before them.
type Packet struct {
	flow.Key

	// Length is the packet's length in octets as its header states it, also
	// where the capture holds less: IPv4 total length (RFC 791 §3.1), 40 + IPv6
	// payload length (RFC 8200 §3).
	Length uint32
	// Present is how many octets of the packet the frame holds, trailing
	// padding of a short frame included. It says more than Length where IPv6 payload
	// length 0 stands before a large payload, as of a jumbogram (RFC 2675) or of what
	// the kernel put together.
	Present uint32
	// Offset is where the IP header begins in the frame.
	Offset uint32
	// TCPFlags are the flags of a TCP header, NS included.
	TCPFlags flow.TCPFlags
	// TTL is the IPv4 time to live or the IPv6 hop limit.
	TTL uint8

	// FragID is the identification of IPv4 (also of a whole packet) or of an
	// IPv6 Fragment header. FragOffset is in octets. A packet is a fragment
	// when FragOffset is not 0 or MoreFragments is set; the first one has
	// FragOffset 0 and carries the ports.
	FragID        uint32
	FragOffset    uint16
	MoreFragments bool

	// Overlay tells the tunnels apart that inner packets came in, by the addresses
	// of their ends, their kind and their VNI, key or TEID, one in another
	// included: equal addresses in two of them are two hosts, so packets belong to
	// one flow only if Key and Overlay are equal. It is 0 outside a tunnel, and
	// else a hash, seeded at random when the program starts: two tunnels have the
	// same once in four thousand million times, and nobody can choose it.
	Overlay uint32

	// Details is what else the frame says: the tunnel the packet came in, MAC
	// addresses, second VLAN, MPLS labels. It is nil unless the Decoder's Config
	// asks for it, the Decoder's own, and valid until its next call. The fields
	// that describe many packets (Copies, Min and Max) are the meter's.
	Details *flow.Details
}

// IsFragment reports whether the packet is a piece of a larger one.
func (p *Packet) IsFragment() bool { return p.MoreFragments || p.FragOffset != 0 }

// Why a frame gives no Packet. They are decisions, each one counter of the
// caller's: ErrNotIP is ordinary (ARP, LLC, …), the others are not.
var (
	// ErrNotIP: the frame is whole as far as we read it and holds no IP packet.
	ErrNotIP = errors.New("packet: not IP")
	// ErrTruncated: the frame ends before the IP header does.
	ErrTruncated = errors.New("packet: frame ends inside a header")
	// ErrMalformed: a header contradicts itself.
	ErrMalformed = errors.New("packet: malformed header")
	// ErrLinkType: frames of this link type are not understood.
	ErrLinkType = errors.New("packet: link type not supported")
)
