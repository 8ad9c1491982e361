// Package flow says what a flow is: a Record, one direction of a conversation
// as an exporter reports it (RFC 7011 §2, "Flow Record").
//
// Record is the only type that both sides of the wire share: the Metering Process
// fills it, netflow encodes and decodes it, the store makes rows of it. Fields is
// the table of what a record says, and of what each thing is called elsewhere.
// The package imports nothing of ours and touches neither clock nor network;
// its values are plain data, safe to copy and to share for reading.
package flow

// Record is one flow record: who talked to whom, when, how much.
//
// A field that the record does not carry is zero; HasPorts, ICMP and IPVersion
// tell an absent value from a zero one where that matters. Packets and Bytes
// are as sent, never multiplied by a sampling rate.
type Record struct {
	// Start and End are the times of the first and the last packet.
	Start, End Time
	// Packets and Bytes count what the flow carried; Bytes are IP bytes,
	// headers included (IANA octetDeltaCount).
	Packets, Bytes uint64

	// Key is what makes the flow this flow and not another.
	Key

	// TCPFlags is the union of the flags of all packets.
	TCPFlags TCPFlags
	// EndReason says why the flow ended (IANA flowEndReason).
	EndReason EndReason
	// Direction is IANA flowDirection plus one: 0 not said, 1 ingress, 2 egress.
	Direction uint8
	// SrcMask and DstMask are the prefix lengths of the addresses' routes.
	SrcMask, DstMask uint8
	// Absent says what the record did not carry, of the values that may be zero.
	Absent Absent
	// NextHop is the router's next hop, zero when not said.
	NextHop Addr
	// SrcAS and DstAS are autonomous system numbers, 0 when not said.
	SrcAS, DstAS uint32

	// Received is when the collector got the record; zero in the exporter.
	Received Time
	// Exporter is the identifier of who sent it; zero in the exporter.
	Exporter ExporterID
	// SamplingRate is N of 1:N sampling, 0 when it is not known.
	SamplingRate uint32
	// Marks say what was done to the record on its way into the store.
	Marks Marks
	// Extra holds what has no field here, as one JSON object by IANA name,
	// nil for nearly all records.
	Extra []byte
	// Details hold what an exporter is configured to send besides; they are nil as
	// a rule, and always in a collector.
	Details *Details
}

// Key is the flow key: packets with an equal Key belong to the same flow. It is
// comparable and holds no pointer, so that it can be hashed and compared as
// bytes.
type Key struct {
	SrcAddr, DstAddr Addr
	// InIf and OutIf are the exporter's interface indexes (ifIndex), 0 unknown.
	InIf, OutIf uint32
	// SrcPort and DstPort are transport ports; for ICMP and ICMPv6 SrcPort is 0
	// and DstPort is type*256+code, as v5 and v9 exporters send it.
	SrcPort, DstPort uint16
	// VLAN is the outermost 802.1Q identifier, 0 when untagged.
	VLAN uint16
	// IPVersion is 4 or 6, and 0 when the record carries no addresses.
	IPVersion uint8
	Protocol  Protocol
	// TOS is the IPv4 type of service or the IPv6 traffic class byte.
	TOS uint8
	_   [3]uint8
}

// Absent is a set of values that a record does not carry although its protocol has
// them. It is of what a collector receives; an exporter's records carry all.
type Absent uint8

const (
	// AbsentSrcPort and AbsentDstPort: no port, of a protocol that has ports.
	AbsentSrcPort Absent = 1 << iota
	AbsentDstPort
	// AbsentICMP: no type and code, of ICMP or ICMPv6.
	AbsentICMP
	// AbsentTCPFlags: no flags, of TCP.
	AbsentTCPFlags
)

// Family returns the IP version of the record's addresses: 4, also where both are
// IPv4 in the mapped form of IPv6; 6; or 0 when it carries none.
func (r *Record) Family() uint8 {
	switch {
	case r.IPVersion == 0 || r.IPVersion == 4:
		return r.IPVersion
	case r.SrcAddr.Is4() && r.DstAddr.Is4():
		return 4
	}
	return 6
}

// HasSrcPort reports whether the record says its source port.
func (r *Record) HasSrcPort() bool { return r.HasPorts() && r.Absent&AbsentSrcPort == 0 }

// HasDstPort reports whether the record says its destination port.
func (r *Record) HasDstPort() bool { return r.HasPorts() && r.Absent&AbsentDstPort == 0 }

// HasTCPFlags reports whether the record says its TCP flags.
func (r *Record) HasTCPFlags() bool { return r.Protocol == TCP && r.Absent&AbsentTCPFlags == 0 }

// ICMP returns type and code of an ICMP or ICMPv6 flow that says them.
func (r *Record) ICMP() (typ, code uint8, ok bool) {
	if r.Absent&AbsentICMP != 0 {
		return 0, 0, false
	}
	return r.Key.ICMP()
}

// HasPorts reports whether SrcPort and DstPort are ports: the protocol has
// them. A non-first fragment of such a protocol has ports 0.
func (k *Key) HasPorts() bool { return k.Protocol.HasPorts() }

// ICMP returns type and code of an ICMP or ICMPv6 flow.
func (k *Key) ICMP() (typ, code uint8, ok bool) {
	if k.Protocol != ICMP && k.Protocol != ICMPv6 {
		return 0, 0, false
	}
	return uint8(k.DstPort >> 8), uint8(k.DstPort), true
}

// Marks is a set of remarks about a record, stored in the column of that name.
type Marks uint16

const (
	// MarkTimeRepaired: the times were impossible and RepairTime changed them.
	MarkTimeRepaired Marks = 1 << iota
	// MarkClamped: a value was too large for its column and was clamped, or a
	// counter had arrived as the largest that its field can say.
	MarkClamped
	// MarkDuplicate: the exporter saw copies of packets that it had counted.
	MarkDuplicate
	// MarkPartitionLimit: the store had no room for the flow's hour, so its
	// times were set to the time of receipt.
	MarkPartitionLimit
	// MarkBorrowed: the record was read by a template that came from another port
	// of the exporter's address, because none came from its own.
	MarkBorrowed
)
