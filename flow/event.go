package flow

import "unsafe"

// Event is what a firewall or an address translator reports to have done: a
// connection created, torn down or denied, a translation added or deleted, a block of
// ports given to a subscriber. An event is no flow: it adds nothing to any sum.
//
// A field that the event does not carry is zero. Of an address that is :: or 0.0.0.0
// nobody is.
type Event struct {
	// Time is when it happened, by the exporter's clock; Received is when the
	// collector got it.
	Time, Received Time
	// The addresses, which may be of two versions: a NAT64 has an IPv6 source and an
	// IPv4 source after translation.
	SrcAddr, DstAddr, NATSrcAddr, NATDstAddr Addr
	// InIf and OutIf are the exporter's interface indexes.
	InIf, OutIf uint32
	// Exporter is the identifier of who sent it.
	Exporter ExporterID
	// SrcPort and DstPort are as in Key.
	SrcPort, DstPort, NATSrcPort, NATDstPort uint16
	// BlockFirst and BlockLast are the ports of a block that a subscriber was given.
	BlockFirst, BlockLast uint16
	// Marks are MarkTimeRepaired, MarkClamped and MarkPartitionLimit.
	Marks    Marks
	Protocol Protocol
	// Firewall is IANA firewallEvent plus one: 0 not said. NAT is IANA natEvent, 0
	// not said.
	Firewall FirewallEvent
	NAT      NATEvent
	// User is the user whose connection it is.
	User string
	// Extra holds what else the event says, as Record.Extra does.
	Extra []byte
}

// EventBytes is the size of an Event without User and Extra.
const EventBytes = int(unsafe.Sizeof(Event{}))

// FirewallEvent is IANA firewallEvent (233) plus one, 0 when none is said.
type FirewallEvent uint8

// The firewall events that mean something to who counts flows.
const (
	FirewallNone FirewallEvent = iota
	FirewallIgnore
	FirewallCreated
	FirewallDeleted
	FirewallDenied
	FirewallAlert
	FirewallUpdate
)

// NATEvent is IANA natEvent (230).
type NATEvent uint8

// FirewallKinds and NATKinds are the words for the events, as the column kind of the
// view events has them: of firewallEvent, and of natEvent (RFC 8158 §4.3), by number.
// Nobody changes them.
var (
	FirewallKinds = []string{"ignore", "create", "teardown", "denied", "alert", "update"}
	NATKinds      = []string{
		"", "nat create", "nat delete", "addresses exhausted", "nat44 create", "nat44 delete", "nat64 create", "nat64 delete",
		"nat44 bib create", "nat44 bib delete", "nat64 bib create", "nat64 bib delete", "ports exhausted", "quota exceeded",
		"address binding create", "address binding delete", "port block allocated", "port block released", "threshold reached",
	}
)

// What a record without an event's number is called, by what it has.
const (
	// KindTranslation is an event that names addresses or ports after translation.
	KindTranslation = "translation"
	// KindPortBlock is one that names a block of ports.
	KindPortBlock = "port block"
	// KindOther is one with a number that has no word.
	KindOther = "other"
)

// Kind returns the word for what happened.
func (e *Event) Kind() string {
	switch {
	case e.Firewall != 0:
		if n := int(e.Firewall - 1); n < len(FirewallKinds) {
			return FirewallKinds[n]
		}
		return KindOther
	case e.NAT != 0:
		if int(e.NAT) < len(NATKinds) {
			return NATKinds[e.NAT]
		}
		return KindOther
	case e.BlockFirst != 0 || e.BlockLast != 0:
		return KindPortBlock
	}
	return KindTranslation
}

// RepairTime makes the time of e possible, as it does that of a Record, and reports
// whether it had to.
func (e *Event) RepairTime() bool {
	r := Record{Start: e.Time, End: e.Time, Received: e.Received}
	if !r.RepairTime() {
		return false
	}
	e.Time = r.End
	e.Marks |= MarkTimeRepaired
	return true
}
