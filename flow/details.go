package flow

// Details are what an exporter sends of a flow beyond its Record, when it is
// configured to; no collector fills them. A zero field is not sent.
type Details struct {
	// OuterSrc and OuterDst are the addresses of the tunnel that the flow's
	// packets came in, TunnelID is its VNI, GRE key or TEID.
	OuterSrc, OuterDst Addr
	TunnelID           uint32
	// Tunnel is the IP protocol, and for UDP tunnels the port, of the tunnel:
	// protocol<<16 | port.
	Tunnel uint32
	// Copies is how many of the flow's packets were copies of another packet.
	Copies uint64
	// SrcMAC and DstMAC are those of the first packet.
	SrcMAC, DstMAC [6]byte
	// MPLS are the label stack entries (label, traffic class, bottom of stack)
	// of the first packet, the topmost first, without their TTL.
	MPLS [3]uint32
	// MinLength and MaxLength are IP packet lengths in bytes.
	MinLength, MaxLength uint32
	// MinTTL and MaxTTL are IPv4 times to live or IPv6 hop limits.
	MinTTL, MaxTTL uint8
	// InnerVLAN is the second 802.1Q identifier.
	InnerVLAN uint16
}
