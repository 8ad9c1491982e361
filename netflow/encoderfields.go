package netflow

import (
	"fmt"
	"slices"
	"strings"
)

// EnterpriseNumber is the private enterprise number of our own elements
// (ours). It is the one that RFC 5612 sets aside for examples, because nobody has
// registered one for us: no manufacturer's elements are ever taken for ours. v9
// has no enterprise elements and goes without.
const EnterpriseNumber = 32473

// The elements of EnterpriseNumber.
const (
	ownOuterSrc4 = 1 + iota
	ownOuterDst4
	ownOuterSrc6
	ownOuterDst6
	ownTunnelID
	ownTunnelProtocol
	ownTunnelPort
	ownCopies
	ownCopiesTotal
	ownEvictedTotal
)

// ours is the registry of EnterpriseNumber.
var ours = [...]element{
	ownOuterSrc4:      {"outerSourceIPv4Address", typeIPv4, 4},
	ownOuterDst4:      {"outerDestinationIPv4Address", typeIPv4, 4},
	ownOuterSrc6:      {"outerSourceIPv6Address", typeIPv6, 16},
	ownOuterDst6:      {"outerDestinationIPv6Address", typeIPv6, 16},
	ownTunnelID:       {"tunnelIdentifier", typeUnsigned32, 4},
	ownTunnelProtocol: {"tunnelProtocolIdentifier", typeUnsigned8, 1},
	ownTunnelPort:     {"tunnelTransportPort", typeUnsigned16, 2},
	ownCopies:         {"duplicatePacketDeltaCount", typeUnsigned64, 8},
	ownCopiesTotal:    {"duplicatePacketTotalCount", typeUnsigned64, 8},
	ownEvictedTotal:   {"evictedFlowTotalCount", typeUnsigned64, 8},
}

// Fields is a set of groups of fields that a template has besides those that it
// always has. They say what flow.Record.Details has.
type Fields uint16

// The groups. What of Tunnel and Duplicates has no element of IANA's is in IPFIX
// only (EnterpriseNumber).
const (
	// FieldFlags: tcpControlBits (6) of two bytes instead of one, with NS, in IPFIX.
	// There are collectors that do not read it: what names all groups does not name
	// this one.
	FieldFlags Fields = 1 << iota
	// FieldMAC: sourceMacAddress (56), destinationMacAddress (80).
	FieldMAC
	// FieldVLAN: dot1qCustomerVlanId (245), the inner of two tags; vlanId (58) is
	// always there.
	FieldVLAN
	// FieldMPLS: the first three label stack entries (70 to 72).
	FieldMPLS
	// FieldTTL: minimumTTL (52), maximumTTL (53).
	FieldTTL
	// FieldLength: minimumIpTotalLength (25), maximumIpTotalLength (26).
	FieldLength
	// FieldTunnel: the addresses around the flow's packets, the tunnel's protocol,
	// port and number; layer2SegmentId (351) in both dialects.
	FieldTunnel
	// FieldDuplicates: how many of the packets were copies.
	FieldDuplicates
)

var fieldNames = []string{"flags", "mac", "vlan", "mpls", "ttl", "length", "tunnel", "duplicates"}

// ParseFields returns the groups of the given names: flags, mac, vlan, mpls, ttl,
// length, tunnel, duplicates, all, which is all but flags.
func ParseFields(names ...string) (Fields, error) {
	var f Fields
	for _, name := range names {
		if name == "all" {
			f |= (1<<len(fieldNames) - 1) &^ FieldFlags
			continue
		}
		i := slices.Index(fieldNames, name)
		if i < 0 {
			return 0, fmt.Errorf("netflow: there is no group of fields %q: want %s or all", name, strings.Join(fieldNames, ", "))
		}
		f |= 1 << i
	}
	return f, nil
}

// String returns the names of the groups, divided by commas.
func (f Fields) String() string {
	var names []string
	for i, name := range fieldNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// groups are the fields of each group, in the order of fieldNames.
var groups = [...][]exportField{
	nil, // changes a field
	{
		{56, 56, 6, getSrcMAC, false}, // sourceMacAddress
		{80, 80, 6, getDstMAC, false}, // destinationMacAddress
	},
	{
		{245, 245, 2, getInnerVLAN, false}, // dot1qCustomerVlanId
	},
	{
		{70, 70, 3, getMPLS1, false}, // mplsTopLabelStackSection
		{71, 71, 3, getMPLS2, false},
		{72, 72, 3, getMPLS3, false},
	},
	{
		{52, 52, 1, getMinTTL, false}, // minimumTTL
		{53, 53, 1, getMaxTTL, false}, // maximumTTL
	},
	{
		{25, 0, 2, getMinLength, false}, // minimumIpTotalLength
		{26, 0, 2, getMaxLength, false},
		{0, 25, 8, getMinLength, false},
		{0, 26, 8, getMaxLength, false},
	},
	{
		{0, ownOuterSrc4, 4, getOuterSrc4, true},
		{0, ownOuterDst4, 4, getOuterDst4, true},
		{0, ownOuterSrc6, 16, getOuterSrc6, true},
		{0, ownOuterDst6, 16, getOuterDst6, true},
		{0, ownTunnelID, 4, getTunnelID, true},
		{0, ownTunnelPort, 2, getTunnelPort, true},
		{0, ownTunnelProtocol, 1, getTunnelProtocol, true},
		{351, 351, 8, getSegment, false}, // layer2SegmentId
	},
	{
		{0, ownCopies, 8, getCopies, true},
	},
}

// fields returns base and the fields of the groups.
func (f Fields) fields(base []exportField) []exportField {
	base = slices.Clone(base)
	if f&FieldFlags != 0 {
		i := slices.IndexFunc(base, func(f exportField) bool { return f.get == getTCPFlags })
		base[i].v9 = 0
		base = slices.Insert(base, i, exportField{0, 6, 2, getTCPFlags, false})
		base[i+1].v9, base[i+1].ipfix = 6, 0
	}
	for i, g := range groups {
		if f&(1<<i) != 0 {
			base = append(base, g...)
		}
	}
	return base
}
