package filter

import (
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"flowtally/flow"
)

// kind says what values a field has.
type kind uint8

const (
	kindNone      kind = iota // no value: the word alone is the condition
	kindNumber                // a number, a name for one, a range
	kindTime                  // milliseconds since 1970
	kindAddr                  // an address, a network, the name of a host
	kindFlags                 // letters of TCP flags, or a number
	kindMarks                 // names of marks, or a number
	kindText                  // a text, compared as it is
	kindMAC                   // a MAC address
	kindExporter              // the name of an exporter, or its address
	kindInterface             // an ifIndex, or the name of an interface
)

// field is a row of the language: what a record or a row of the view has under a
// name. Exactly one of num, addr, str and test is set where there is a value,
// unless sides says that either of two or more fields is meant.
type field struct {
	name    string // canonical, and how it is printed
	aliases []string
	what    string // for people
	kind    kind
	max     uint64
	large   bool // printed with suffixes

	column  string   // its expression in SQL
	columns []string // of the view, that the expression reads
	num     func(*flow.Record, Names) (uint64, bool)
	addr    func(*flow.Record, Names) (flow.Addr, family)
	str     func(*flow.Record, Names) ([]byte, bool)
	test    matcher // of kindNone
	index   func(*flow.Record) uint32

	names  func(string) (span, bool)
	nameOf func(uint64) string
	known  func() []string

	sides  []*field
	refuse string
}

// family is 4 or 6, 0 when there is no address.
type family uint8

func (f *field) either() []*field {
	if f.sides != nil {
		return f.sides
	}
	return []*field{f}
}

// ordered reports whether values can be compared by < and >.
func (f *field) ordered() bool {
	switch f.kind {
	case kindNumber, kindTime, kindFlags, kindMarks, kindInterface:
		return true
	}
	return false
}

// wants says what a value looks like.
func (f *field) wants() string {
	switch f.kind {
	case kindAddr:
		return "an address, a network or the name of a host"
	case kindTime:
		return "a time such as 2026-11-21T09:30"
	case kindFlags:
		return "flags (letters of FSRPAUECN, X for the first six) or a number"
	case kindMarks:
		return "a mark (repaired, clamped, duplicate, moved) or a number"
	case kindText:
		return "a text"
	case kindMAC:
		return "a MAC address"
	case kindExporter:
		return "the name or the address of an exporter"
	case kindInterface:
		return "an ifIndex or the name of an interface"
	}
	if f.known != nil {
		return "a number or a name of " + f.name
	}
	return "a number"
}

const flagLetters = "FSRPAUECN"

var markNames = []string{"repaired", "clamped", "duplicate", "moved"}

// bits reads flags or a mark.
func (f *field) bits(s string) (mask uint64, ok bool) {
	if f.kind == kindMarks {
		i := slices.Index(markNames, strings.ToLower(s))
		return 1 << max(i, 0), i >= 0
	}
	for _, r := range strings.ToUpper(s) {
		if r == 'X' {
			mask |= 0x3f
			continue
		}
		i := strings.IndexRune(flagLetters, r)
		if i < 0 {
			return 0, false
		}
		mask |= 1 << i
	}
	return mask, mask != 0
}

// bitText writes what bits reads.
func (f *field) bitText(mask uint64) string {
	if f.kind == kindMarks {
		for i, n := range markNames {
			if mask == 1<<i {
				return n
			}
		}
	}
	var b strings.Builder
	for i := range flagLetters {
		if mask&(1<<i) != 0 {
			b.WriteByte(flagLetters[i])
		}
	}
	return b.String()
}

// Fields of plain columns.

func number(name, column, what string, most uint64, num func(*flow.Record) (uint64, bool), aliases ...string) *field {
	f := &field{name: name, aliases: aliases, what: what, kind: kindNumber, max: most, column: column, columns: []string{column}}
	f.num = func(r *flow.Record, _ Names) (uint64, bool) { return num(r) }
	return f
}

// notZero is a number of which 0 means that it was not said.
func notZero[T ~uint8 | ~uint16 | ~uint32](n T) (uint64, bool) { return uint64(n), n != 0 }

func address(name, column, what string, addr func(*flow.Record) (flow.Addr, family), aliases ...string) *field {
	return &field{name: name, aliases: aliases, what: what, kind: kindAddr, column: column, columns: []string{column},
		addr: func(r *flow.Record, _ Names) (flow.Addr, family) { return addr(r) }}
}

func versionOf(r *flow.Record) family {
	switch r.IPVersion {
	case 0:
		return 0
	case 4:
		return 4
	}
	return 6
}

// either is a field that means any of others.
func either(name, what string, sides []*field, aliases ...string) *field {
	f := *sides[0]
	f.name, f.what, f.aliases, f.sides = name, what, aliases, sides
	return &f
}

func (f *field) withNames(names map[string]uint64) *field {
	f.names = func(s string) (span, bool) {
		n, ok := names[s]
		return span{n, n}, ok
	}
	f.known = func() []string {
		var out []string
		for s := range names {
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	return f
}

func (f *field) big() *field { f.large = true; return f }

func refused(why string, names ...string) []*field {
	out := make([]*field, len(names))
	for i, n := range names {
		out[i] = &field{name: n, refuse: why}
	}
	return out
}

// duration is in milliseconds; a flow that ends before it starts has none.
func duration(r *flow.Record) uint64 {
	if r.End <= r.Start {
		return 0
	}
	return uint64(r.End - r.Start)
}

const durationSQL = "(flow_ms(flow_end) - flow_ms(flow_start))"

func atMost(n, most uint64) uint64 { return min(n, most) }

// rate is factor*n/ms, rounded down and 0 without duration. It is taken apart
// into quotient and remainder so that nothing overflows, and the quotient stops
// at maxRate; the SQL does the same.
func rate(n, factor, ms uint64) uint64 {
	if ms == 0 {
		return 0
	}
	n = atMost(n, math.MaxInt64)
	return factor*atMost(n/ms, maxRate) + factor*(n%ms)/ms
}

const maxRate = 1_000_000_000_000_000

func rateSQL(column, factor string) string {
	return "(case when flow_end > flow_start then " + factor + " * least(" + column + " / " + durationSQL + ", 1000000000000000) + " +
		factor + " * (" + column + " % " + durationSQL + ") / " + durationSQL + " else 0 end)"
}

// table is the language's vocabulary.
var table = buildTable()

func buildTable() []*field {
	const big = math.MaxInt64
	var out []*field
	add := func(f ...*field) *field {
		out = append(out, f...)
		return f[len(f)-1]
	}
	// pair adds a field of each side, and the one that means both.
	pair := func(name, what string, src, dst *field, aliases ...string) {
		add(src, dst)
		add(either(name, what, []*field{src, dst}, aliases...))
	}
	sided := func(prefix string, names ...string) []string {
		var out []string
		for _, n := range names {
			out = append(out, prefix+n)
		}
		return out
	}

	add(&field{name: "any", what: "every flow", column: "true", test: func(*flow.Record, Names) bool { return true }})
	add(&field{name: "ipv4", aliases: []string{"inet", "inet4"}, what: "the addresses are of IPv4",
		column: "family(src_addr) = 4", columns: []string{"src_addr"},
		test: func(r *flow.Record, _ Names) bool { return versionOf(r) == 4 }})
	add(&field{name: "ipv6", aliases: []string{"inet6"}, what: "the addresses are of IPv6",
		column: "family(src_addr) = 6", columns: []string{"src_addr"},
		test: func(r *flow.Record, _ Names) bool { return versionOf(r) == 6 }})

	hosts := []string{"host", "net", "addr", "address"}
	pair("ip", "address of either side",
		address("src ip", "src_addr", "source address", func(r *flow.Record) (flow.Addr, family) { return r.SrcAddr, versionOf(r) }, sided("src ", hosts...)...),
		address("dst ip", "dst_addr", "destination address", func(r *flow.Record) (flow.Addr, family) { return r.DstAddr, versionOf(r) }, sided("dst ", hosts...)...),
		hosts...)

	port := func(f *field) *field {
		f.names = func(s string) (span, bool) {
			n, ok := ServicePort(s)
			return span{uint64(n), uint64(n)}, ok
		}
		f.known = services
		return f
	}
	pair("port", "port of either side",
		port(number("src port", "src_port", "source port", math.MaxUint16, func(r *flow.Record) (uint64, bool) { return uint64(r.SrcPort), r.HasPorts() })),
		port(number("dst port", "dst_port", "destination port", math.MaxUint16, func(r *flow.Record) (uint64, bool) { return uint64(r.DstPort), r.HasPorts() })))

	proto := number("proto", "protocol", "IP protocol", math.MaxUint8, func(r *flow.Record) (uint64, bool) { return uint64(r.Protocol), true }, "protocol")
	proto.names = func(s string) (span, bool) {
		n, ok := protocols[s]
		return span{uint64(n), uint64(n)}, ok
	}
	proto.nameOf = func(n uint64) string {
		if s := flow.Protocol(n).String(); s != strconv.Itoa(int(n)) {
			return s
		}
		return ""
	}
	proto.known = protocolNames
	add(proto)

	add(number("icmp type", "icmp_type", "ICMP or ICMPv6 type; implies one of these", math.MaxUint8, func(r *flow.Record) (uint64, bool) {
		t, _, ok := r.ICMP()
		return uint64(t), ok
	}, "icmp-type"))
	add(number("icmp code", "icmp_code", "ICMP or ICMPv6 code; implies one of these", math.MaxUint8, func(r *flow.Record) (uint64, bool) {
		_, c, ok := r.ICMP()
		return uint64(c), ok
	}, "icmp-code"))
	flags := number("flags", "tcp_flags", "TCP flags: all of the letters; =S exactly these; implies TCP", math.MaxInt16,
		func(r *flow.Record) (uint64, bool) {
			return uint64(r.TCPFlags) & math.MaxInt16, r.Protocol == flow.TCP
		})
	flags.kind = kindFlags
	add(flags)

	add(number("tos", "tos", "type of service or traffic class octet", math.MaxUint8, func(r *flow.Record) (uint64, bool) { return uint64(r.TOS), true }, "src tos"))
	add(extraNumber("dst tos", "type of service as the flow left", math.MaxUint8, "postIpClassOfService"))
	add(number("packets", "packets", "packets as sent", big, func(r *flow.Record) (uint64, bool) { return atMost(r.Packets, big), true }, "in packets").big())
	add(number("bytes", "bytes", "IP octets as sent", big, func(r *flow.Record) (uint64, bool) { return atMost(r.Bytes, big), true }, "in bytes").big())
	add(extraNumber("out packets", "packets as the flow left", maxExtraNumber, "postPacketDeltaCount", "postPacketTotalCount").big())
	add(extraNumber("out bytes", "octets as the flow left", maxExtraNumber, "postOctetDeltaCount", "postOctetTotalCount").big())
	aggregated := extraNumber("flows", "how many flows the record is the sum of, 1 as a rule", maxExtraNumber, "deltaFlowCount")
	raw := aggregated.num
	aggregated.num = func(r *flow.Record, n Names) (uint64, bool) {
		if v, ok := raw(r, n); ok {
			return v, true
		}
		return 1, true
	}
	aggregated.column = "coalesce(" + aggregated.column + ", 1)"
	add(aggregated)

	computed := func(name, sql, what string, columns []string, num func(*flow.Record) uint64) *field {
		f := number(name, sql, what, big, func(r *flow.Record) (uint64, bool) { return num(r), true }).big()
		f.columns = columns
		return f
	}
	spanned := func(c string) []string { return []string{c, "flow_start", "flow_end"} }
	life := computed("duration", durationSQL, "length in milliseconds", []string{"flow_start", "flow_end"}, duration)
	life.large = false
	add(life)
	add(computed("pps", rateSQL("packets", "1000"), "packets a second, 0 without duration", spanned("packets"),
		func(r *flow.Record) uint64 { return rate(r.Packets, 1000, duration(r)) }))
	add(computed("bps", rateSQL("bytes", "8000"), "bits a second, 0 without duration", spanned("bytes"),
		func(r *flow.Record) uint64 { return rate(r.Bytes, 8000, duration(r)) }))
	add(computed("bpp", "(case when packets > 0 then bytes / packets else 0 end)", "octets a packet, rounded down", []string{"bytes", "packets"},
		func(r *flow.Record) uint64 {
			if r.Packets == 0 {
				return 0
			}
			return atMost(r.Bytes, big) / atMost(r.Packets, big)
		}))

	iface := func(name, column, what string, index func(*flow.Record) uint32, aliases ...string) *field {
		f := number(name, column, what, math.MaxUint32, func(r *flow.Record) (uint64, bool) { return notZero(index(r)) }, aliases...)
		f.kind, f.index = kindInterface, index
		return f
	}
	pair("if", "interface of either side, by ifIndex or name",
		iface("in if", "in_if", "interface where the flow came in", func(r *flow.Record) uint32 { return r.InIf }, "in interface"),
		iface("out if", "out_if", "interface where the flow went out", func(r *flow.Record) uint32 { return r.OutIf }, "out interface"),
		"interface")
	pair("vlan", "802.1Q identifier as the flow came or left",
		number("src vlan", "vlan", "802.1Q identifier as the flow came in", math.MaxUint16, func(r *flow.Record) (uint64, bool) { return notZero(r.VLAN) }, "in vlan"),
		extraNumber("dst vlan", "802.1Q identifier as the flow left", math.MaxUint16, "postVlanId", "postDot1qVlanId").or("out vlan"))
	pair("mask", "prefix length of either side's route",
		number("src mask", "src_mask", "prefix length of the source's route", math.MaxUint8, func(r *flow.Record) (uint64, bool) { return notZero(r.SrcMask) }),
		number("dst mask", "dst_mask", "prefix length of the destination's route", math.MaxUint8, func(r *flow.Record) (uint64, bool) { return notZero(r.DstMask) }))
	pair("as", "autonomous system of either side",
		number("src as", "src_as", "autonomous system of the source", math.MaxUint32, func(r *flow.Record) (uint64, bool) { return notZero(r.SrcAS) }),
		number("dst as", "dst_as", "autonomous system of the destination", math.MaxUint32, func(r *flow.Record) (uint64, bool) { return notZero(r.DstAS) }))
	add(extraNumber("prev as", "autonomous system before", math.MaxUint32, "bgpPrevAdjacentAsNumber"))
	add(extraNumber("next as", "autonomous system after", math.MaxUint32, "bgpNextAdjacentAsNumber"))

	inSrc := add(extraText("in src mac", kindMAC, "source MAC address as the flow came in", "sourceMacAddress"))
	outDst := add(extraText("out dst mac", kindMAC, "destination MAC address as the flow left", "postDestinationMacAddress"))
	inDst := add(extraText("in dst mac", kindMAC, "destination MAC address as the flow came in", "destinationMacAddress"))
	outSrc := add(extraText("out src mac", kindMAC, "source MAC address as the flow left", "postSourceMacAddress"))
	add(either("src mac", "source MAC address", []*field{inSrc, outSrc}))
	add(either("dst mac", "destination MAC address", []*field{inDst, outDst}))
	add(either("in mac", "MAC address as the flow came in", []*field{inSrc, inDst}))
	add(either("out mac", "MAC address as the flow left", []*field{outSrc, outDst}))
	add(either("mac", "any MAC address", []*field{inSrc, outDst, inDst, outSrc}))
	add(extraNumber("ethertype", "type of the Ethernet frame", math.MaxUint16, "ethernetType"))

	add(number("flowdir", "direction", "0 ingress, 1 egress", math.MaxUint8, func(r *flow.Record) (uint64, bool) {
		return uint64(r.Direction) - 1, r.Direction != 0
	}, "direction").withNames(map[string]uint64{"ingress": 0, "egress": 1}))
	status := extraNumber("fwdstat", "what the router did with the flow: unknown, forwarded, dropped, consumed, or a number", math.MaxUint8, "forwardingStatus")
	status.names = func(s string) (span, bool) { n, ok := forwarding[s]; return n, ok }
	status.known = func() []string { return []string{"consumed", "dropped", "forwarded", "unknown"} }
	add(status)

	moment := func(name, column, what string, t func(*flow.Record) flow.Time, aliases ...string) *field {
		f := number(name, column, what, big, func(r *flow.Record) (uint64, bool) { return uint64(max(t(r), 0)), true }, aliases...)
		f.kind = kindTime
		return f
	}
	add(moment("first seen", "flow_start", "time of the first packet", func(r *flow.Record) flow.Time { return r.Start }))
	add(moment("last seen", "flow_end", "time of the last packet", func(r *flow.Record) flow.Time { return r.End }))
	add(moment("received", "received_at", "when the collector received the record", func(r *flow.Record) flow.Time { return r.Received }))

	add(address("next ip", "next_hop", "next router", func(r *flow.Record) (flow.Addr, family) {
		switch {
		case r.NextHop.IsZero():
			return r.NextHop, 0
		case r.NextHop.Is4():
			return r.NextHop, 4
		}
		return r.NextHop, 6
	}, "next hop", "next host"))
	add(extraAddr("bgp next ip", "next router of BGP", "bgpNextHopIPv4Address", "bgpNextHopIPv6Address").or("bgp next hop"))
	router := address("exporter ip", "exporter_addr", "address of the exporter", nil, "router ip", "exporter host", "router host")
	router.addr = func(r *flow.Record, n Names) (flow.Addr, family) {
		if n == nil {
			return flow.Addr{}, 0
		}
		_, a := n.Exporter(r.Exporter)
		return flowAddr(a)
	}
	add(router)
	add(&field{name: "exporter", aliases: []string{"router"}, what: "who sent the record, by name or address", kind: kindExporter,
		column: "exporter", columns: []string{"exporter"}, addr: router.addr})
	add(number("exporter id", "exporter_id", "flows.exporter_id", math.MaxInt32, func(r *flow.Record) (uint64, bool) {
		return uint64(max(r.Exporter, 0)), true
	}))
	domain := number("observation domain", "observation_domain", "observation domain or v9 source id", math.MaxUint32, nil, "observation domain id")
	domain.num = func(r *flow.Record, n Names) (uint64, bool) {
		d, ok := n.(Domains)
		if !ok {
			return 0, false
		}
		v, ok := d.Domain(r.Exporter)
		return uint64(v), ok
	}
	add(domain)
	engine := func(name, what, sql string, shift uint) *field {
		f := number(name, sql, what, math.MaxUint8, nil)
		f.columns = domain.columns
		f.num = func(r *flow.Record, n Names) (uint64, bool) {
			v, ok := domain.num(r, n)
			return v >> shift & 0xff, ok && v < 1<<16
		}
		return f
	}
	add(engine("engine type", "v5 engine type: the upper octet of the observation domain",
		"(case when observation_domain < 65536 then observation_domain >> 8 end)", 8))
	add(engine("engine id", "v5 engine id: the lower octet of the observation domain",
		"(case when observation_domain < 65536 then observation_domain & 255 end)", 0))
	add(extraNumber("observation point", "observation point", maxExtraNumber, "observationPointId").or("observation point id"))

	minTTL := add(extraNumber("min ttl", "least time to live or hop limit", math.MaxUint8, "minimumTTL"))
	maxTTL := add(extraNumber("max ttl", "greatest time to live or hop limit", math.MaxUint8, "maximumTTL"))
	oneTTL := extraNumber("ttl", "time to live or hop limit", math.MaxUint8, "ipTTL")
	add(either("ttl", "least or greatest time to live or hop limit", []*field{minTTL, maxTTL, oneTTL}))
	add(&field{name: "ttl equal", what: "all packets had the same time to live", column: minTTL.column + " = " + maxTTL.column, columns: []string{"extra"},
		test: func(r *flow.Record, n Names) bool {
			least, ok := minTTL.num(r, n)
			most, ok2 := maxTTL.num(r, n)
			return ok && ok2 && least == most
		}})

	out = append(out, mplsFields()...)

	natIP := func(name, column, what string, elements ...string) *field {
		f := extraAddr(name, what, elements...)
		f.column, f.columns = column, []string{column}
		return f
	}
	pair("nat ip", "address of either side after translation",
		natIP("src nat ip", "nat_src_addr", "source address after translation", "postNATSourceIPv4Address", "postNATSourceIPv6Address").or("src xlate ip", "src nat host"),
		natIP("dst nat ip", "nat_dst_addr", "destination address after translation", "postNATDestinationIPv4Address", "postNATDestinationIPv6Address").or("dst xlate ip", "dst nat host"),
		"xlate ip", "nat host")
	natPort := func(name, column, what, element string) *field {
		f := port(extraNumber(name, what, math.MaxUint16, element))
		f.column, f.columns = column, []string{column}
		return f
	}
	pair("nat port", "port of either side after translation",
		natPort("src nat port", "nat_src_port", "source port after translation", "postNAPTSourceTransportPort").or("src xlate port"),
		natPort("dst nat port", "nat_dst_port", "destination port after translation", "postNAPTDestinationTransportPort").or("dst xlate port"),
		"xlate port")
	add(extraNumber("nat event", "what a translator did (IANA natEvent)", math.MaxUint8, "natEvent").withNames(map[string]uint64{"add": 1, "create": 1, "delete": 2}))
	add(extraNumber("asa event", "what a firewall did (IANA firewallEvent)", math.MaxUint8, "firewallEvent").
		withNames(map[string]uint64{"ignore": 0, "create": 1, "delete": 2, "teardown": 2, "deny": 3, "denied": 3, "alert": 4, "update": 5}))
	add(extraNumber("asa xevent", "the firewall's extended event", math.MaxUint16, "asaExtendedEvent").or("asa event denied"))
	pair("acl", "access list of either side (the first of its three numbers)",
		extraHex("ingress acl", "access list where the flow came in", math.MaxUint32, "^([0-9a-f]{8})([0-9a-f]{16})?$", "asaIngressAcl"),
		extraHex("egress acl", "access list where the flow went out", math.MaxUint32, "^([0-9a-f]{8})([0-9a-f]{16})?$", "asaEgressAcl"))
	pair("vrf", "routing instance of either side",
		extraNumber("ingress vrf", "routing instance where the flow came in", math.MaxUint32, "ingressVRFID"),
		extraNumber("egress vrf", "routing instance where the flow went out", math.MaxUint32, "egressVRFID"))
	pair("tun ip", "outer address of either side of a tunnel",
		extraAddr("src tun ip", "outer source address of a tunnel", "outerSourceIPv4Address", "outerSourceIPv6Address", "sourceIPv4Address", "sourceIPv6Address").or("src tun host"),
		extraAddr("dst tun ip", "outer destination address of a tunnel", "outerDestinationIPv4Address", "outerDestinationIPv6Address", "destinationIPv4Address", "destinationIPv6Address").or("dst tun host"),
		"tun host")
	tunnel := extraNumber("tun proto", "protocol of a tunnel's outer header", math.MaxUint8, "tunnelProtocolIdentifier", "protocolIdentifier")
	tunnel.names, tunnel.nameOf, tunnel.known = proto.names, proto.nameOf, proto.known
	add(tunnel)
	add(port(extraNumber("tun port", "destination port of a tunnel's outer header", math.MaxUint16, "tunnelTransportPort")))
	add(extraNumber("tun id", "number of a tunnel: VNI, key, session", math.MaxUint32, "tunnelIdentifier").or("tun vni"))
	add(extraNumber("duplicates", "packets of the flow that were copies of others", maxExtraNumber, "duplicatePacketDeltaCount").big())
	add(extraText("application", kindText, "name of the application (applicationName)", "applicationName"))

	add(number("sampling", "sampling_rate", "N of 1:N packet sampling", math.MaxInt32, func(r *flow.Record) (uint64, bool) {
		return uint64(min(r.SamplingRate, math.MaxInt32)), r.SamplingRate != 0
	}))
	add(number("end reason", "end_reason", "why the flow ended: idle, active, end, forced, resources, or a number", math.MaxUint8,
		func(r *flow.Record) (uint64, bool) { return notZero(r.EndReason) }).
		withNames(map[string]uint64{"idle": 1, "active": 2, "end": 3, "forced": 4, "resources": 5}))
	marks := number("marks", "marks", "what was done to the record: repaired, clamped, duplicate, moved", math.MaxInt16,
		func(r *flow.Record) (uint64, bool) { return uint64(r.Marks) & math.MaxInt16, true })
	marks.kind = kindMarks
	add(marks)

	for _, l := range [][]*field{
		refused("where an address is on the map is not kept: write its networks", "geo", "src geo", "dst geo"),
		refused("the contents of packets are not kept", "payload", "src payload", "dst payload"),
		refused("what TLS clients and servers say is not kept", "tls", "ssl", "ja3", "ja3s", "ja4", "ja4s"),
		refused("what DNS servers say is not kept", "dns"),
		refused("applications are not recognised by NBAR; application \"name\" asks what the exporter named", "nbar"),
		refused("latencies are not measured", "client latency", "server latency", "latency"),
		refused("records of pf's log are not kept", "pf"),
		refused("whose exits are Tor's is not kept: list the addresses", "tor"),
		refused("nfdump's name of a data source; here each record says who sent it: exporter \"name\"", "ident"),
		refused("the number of a record in nfdump's file; here there are no such numbers", "count"),
		refused("nfdump's own number of an exporter; here it is exporter id, or exporter \"name\"", "exporter sysid", "router sysid"),
		refused("blocks of translated ports are not kept", "pblock", "nat pblock"),
		refused("names of routing instances and users are not kept", "user", "username"),
	} {
		out = append(out, l...)
	}
	return out
}

// or gives a field further names.
func (f *field) or(aliases ...string) *field { f.aliases = append(f.aliases, aliases...); return f }

func flowAddr(a netip.Addr) (flow.Addr, family) {
	switch {
	case !a.IsValid():
		return flow.Addr{}, 0
	case a.Is4():
		return flow.AddrFrom(a), 4
	}
	return flow.AddrFrom(a), 6
}

// forwarding are the four statuses that the upper bits of forwardingStatus say.
var forwarding = map[string]span{
	"unknown": {0, 63}, "unkn": {0, 63}, "forwarded": {64, 127}, "forward": {64, 127}, "forw": {64, 127},
	"dropped": {128, 191}, "drop": {128, 191}, "consumed": {192, 255}, "cons": {192, 255},
}

// protocols are IANA's keywords, and what people write instead.
var protocols = func() map[string]flow.Protocol {
	m := map[string]flow.Protocol{"icmp6": flow.ICMPv6, "icmpv6": flow.ICMPv6, "udp-lite": flow.UDPLite, "ipencap": 4, "ip-in-ip": 4, "hop-by-hop": 0}
	for n := range 256 {
		if s := flow.Protocol(n).String(); s != strconv.Itoa(n) {
			m[s] = flow.Protocol(n)
		}
	}
	return m
}()

// ParseProtocol returns the protocol of a name, as IANA's keywords have it and as
// people write it.
func ParseProtocol(name string) (flow.Protocol, bool) {
	p, ok := protocols[strings.ToLower(name)]
	return p, ok
}

func protocolNames() []string {
	var out []string
	for s := range protocols {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// manyWords are mistakes that are no slip of the finger.
var manyWords = map[string][]string{
	"source": {"src"}, "destination": {"dst"}, "dest": {"dst"}, "from": {"src ip"}, "to": {"dst ip"}, "sport": {"src port"}, "dport": {"dst port"},
	"src_ip": {"src ip"}, "dst_ip": {"dst ip"}, "src_addr": {"src ip"}, "dst_addr": {"dst ip"}, "src_port": {"src port"}, "dst_port": {"dst port"},
	"src-addr": {"src ip"}, "dst-addr": {"dst ip"}, "src-port": {"src port"}, "dst-port": {"dst port"}, "in-if": {"in if"}, "out-if": {"out if"},
	"octets": {"bytes"}, "pkts": {"packets"}, "tcp-flags": {"flags"}, "ttl_equal": {"ttl equal"}, "asn": {"as"}, "start": {"first seen"}, "end": {"last seen", "end reason"},
}

// trie finds fields by their words.
type trie struct {
	kids map[string]*trie
	f    *field
}

var root = func() *trie {
	t := &trie{}
	for _, f := range table {
		for _, n := range append([]string{f.name}, f.aliases...) {
			at := t
			for _, w := range strings.Fields(n) {
				if at.kids == nil {
					at.kids = make(map[string]*trie)
				}
				if at.kids[w] == nil {
					at.kids[w] = &trie{}
				}
				at = at.kids[w]
			}
			if at.f != nil && at.f != f {
				panic("filter: two fields are called " + n)
			}
			at.f = f
		}
	}
	return t
}()

func (t *trie) words() []string {
	out := make([]string, 0, len(t.kids))
	for w := range t.kids {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

// lookup returns the node of a first word.
func lookup(word string) *trie { return root.kids[word] }

// starters are the words that a condition begins with.
func starters() []string { return append(root.words(), "not", "(") }

// Field is a word of the language that people can ask for.
type Field struct {
	// Name is the canonical name, Aliases are others for the same.
	Name    string
	Aliases []string
	// What says what it is.
	What string
	// Kind says what its values are: none, number, time, address, flags, marks,
	// text, mac, exporter, interface, port, protocol.
	Kind string
	// Columns are those of the view flows that it reads.
	Columns []string
	// Values are the names that its numbers have, if these are few.
	Values []string
}

// Fields returns the vocabulary in the order of the documentation.
func Fields() []Field {
	var out []Field
	for _, f := range table {
		if f.refuse != "" {
			continue
		}
		g := Field{Name: f.name, Aliases: slices.Clone(f.aliases), What: f.what, Kind: f.kindName()}
		for _, s := range f.either() {
			g.Columns = append(g.Columns, s.columns...)
		}
		slices.Sort(g.Columns)
		g.Columns = slices.Compact(g.Columns)
		if f.known != nil {
			if v := f.known(); len(v) <= 16 {
				g.Values = v
			}
		}
		if f.kind == kindMarks {
			g.Values = slices.Clone(markNames)
		}
		out = append(out, g)
	}
	return out
}

func (f *field) kindName() string {
	switch f.kind {
	case kindNone:
		return "none"
	case kindTime:
		return "time"
	case kindAddr:
		return "address"
	case kindFlags:
		return "flags"
	case kindMarks:
		return "marks"
	case kindText:
		return "text"
	case kindMAC:
		return "mac"
	case kindExporter:
		return "exporter"
	case kindInterface:
		return "interface"
	}
	switch {
	case strings.HasSuffix(f.name, "port"):
		return "port"
	case strings.HasSuffix(f.name, "proto"):
		return "protocol"
	}
	return "number"
}
