package flow

import "strconv"

// Protocol is an IP protocol number (IANA protocolIdentifier).
type Protocol uint8

// The protocols that the code itself tells apart.
const (
	ICMP    Protocol = 1
	TCP     Protocol = 6
	UDP     Protocol = 17
	DCCP    Protocol = 33
	ICMPv6  Protocol = 58
	SCTP    Protocol = 132
	UDPLite Protocol = 136
)

// HasPorts reports whether the protocol's header begins with two ports.
func (p Protocol) HasPorts() bool {
	switch p {
	case TCP, UDP, SCTP, DCCP, UDPLite:
		return true
	}
	return false
}

// protocolNames are IANA's keywords of the protocols seen in practice, in
// lower case.
var protocolNames = map[Protocol]string{
	0: "hopopt", 1: "icmp", 2: "igmp", 4: "ipv4", 6: "tcp", 8: "egp", 9: "igp",
	17: "udp", 33: "dccp", 41: "ipv6", 43: "ipv6-route", 44: "ipv6-frag",
	46: "rsvp", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp",
	59: "ipv6-nonxt", 60: "ipv6-opts", 88: "eigrp", 89: "ospf", 94: "ipip",
	97: "etherip", 103: "pim", 108: "ipcomp", 112: "vrrp", 115: "l2tp",
	124: "isis", 132: "sctp", 136: "udplite", 137: "mpls-in-ip",
}

// String returns IANA's keyword in lower case, or the number.
func (p Protocol) String() string {
	if s, ok := protocolNames[p]; ok {
		return s
	}
	return strconv.Itoa(int(p))
}
