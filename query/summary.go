package query

import (
	"net/netip"
	"time"
)

// Summary is the totals and rates of a range by class of protocol.
type Summary struct {
	From, To time.Time
	// Rows are all, tcp, udp, icmp (and ICMPv6) and other, in this order.
	Rows []SummaryRow
	Provenance
}

// SummaryRow is one class of protocols.
type SummaryRow struct {
	Class string
	Sums
	// FlowsPerSecond, PPS and BPS are averages over the range.
	FlowsPerSecond, PPS, BPS float64
}

// SummaryClasses are the classes of a Summary.
var SummaryClasses = []string{"all", "tcp", "udp", "icmp", "other"}

// HeatMap is the traffic of each hour of each day.
type HeatMap struct {
	From, To time.Time
	By       Measure
	// Days are the days of the range in the question's zone, each as its midnight would be
	// in UTC; Cells has 24 numbers for each, nil
	// for the hours that the range does not touch.
	Days  []time.Time
	Cells [][]*int64
	Provenance
}

// AddressCard is what there is to know of an address in a range.
type AddressCard struct {
	From, To time.Time
	Addr     netip.Addr
	// FirstSeen and LastSeen are of its flows in the range, zero without any.
	FirstSeen, LastSeen time.Time
	// In is what it received, Out what it sent.
	In, Out Sums
	// Peers are the addresses it has most flows with, Ports the destination ports
	// that were used, at its side or at another.
	Peers, Ports []TopRow
	// SQL is that of the peers.
	Provenance
}
