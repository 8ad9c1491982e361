package flow

import "math"

// This is the one table of what a flow record says. The filter's words are made
// from it; tests hold the decoder, the row, the view, the lists of the API and the
// documentation against it.
//
// To find one more information element by a word, and to rank flows by it: a row
// here with Extra set, its Word and its Key. Nothing else is needed: the
// decoder keeps every element that fills no field of a Record in Record.Extra.
//
// To give it a column:
//
//  1. flow/record.go: the field of Record;
//  2. flow/fields.go: its row, with an accessor that reads the field;
//  3. netflow/rules.go: a rule from the element to a slot and a setter, and the
//     setter, which fills the field;
//  4. store/row/row.go: the column, and how a value is written;
//  5. a migration: the column of parts.flows and of the view flows.
//
// The tests then name what docs/schema.md and docs/filter.md have to say, in the
// words of the table. CONTRIBUTING.md has more.

// own is the enterprise number of our own elements, netflow.EnterpriseNumber.
const own = 32473

// maxMember is the largest number that a member of Extra is read as: eighteen
// digits, which a bigint holds.
const maxMember = 999_999_999_999_999_999

// hostAliases are the words that mean the same as ip.
var hostAliases = []string{"host", "net", "addr", "address"}

// Fields are all fields: those with a column first, in the order of the view
// flows, then those that only Record.Extra has. Nobody changes it.
var Fields = []Field{
	// When, and who says so.
	{
		Name: "flow_start", Label: "time of the first packet", What: "time of the first packet, in whole milliseconds", Unit: "milliseconds",
		Elements: []Element{{ID: 152, Name: "flowStartMilliseconds"}},
		Kin: []Element{{ID: 22, Name: "flowStartSysUpTime"}, {ID: 150, Name: "flowStartSeconds"}, {ID: 154, Name: "flowStartMicroseconds"},
			{ID: 156, Name: "flowStartNanoseconds"}, {ID: 158, Name: "flowStartDeltaMicroseconds"}},
		Kind: KindTime, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return moment(r.Start) },
		SQL: Timestamptz, Stored: Timestamptz, Word: "first seen",
	},
	{
		Name: "flow_end", Label: "time of the last packet", What: "time of the last packet, in whole milliseconds", Unit: "milliseconds",
		Elements: []Element{{ID: 153, Name: "flowEndMilliseconds"}},
		Kin: []Element{{ID: 21, Name: "flowEndSysUpTime"}, {ID: 151, Name: "flowEndSeconds"}, {ID: 155, Name: "flowEndMicroseconds"},
			{ID: 157, Name: "flowEndNanoseconds"}, {ID: 159, Name: "flowEndDeltaMicroseconds"},
			{ID: 322, Name: "observationTimeSeconds"}, {ID: 323, Name: "observationTimeMilliseconds"},
			{ID: 324, Name: "observationTimeMicroseconds"}, {ID: 325, Name: "observationTimeNanoseconds"}},
		Kind: KindTime, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return moment(r.End) },
		SQL: Timestamptz, Stored: Timestamptz, Word: "last seen",
	},
	{
		Name: "received_at", Label: "when the collector received the record", What: "when the collector received the record, in whole milliseconds", Unit: "milliseconds",
		Kind: KindTime, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return moment(r.Received) },
		SQL: Timestamptz, Stored: Timestamptz, Word: "received",
	},
	{
		Name: "exporter", Label: "who sent the record, by name or address", What: "who sent the record: what it is called, as no other is: its name, else its address, with the observation domain where several share it; null until its first status is stored",
		Kind: KindExporter, SQL: Text, Null: true, From: []string{"exporter_id"},
		Word: "exporter", Aliases: []string{"router"}, Key: "exporter",
	},
	{
		Name: "exporter_id", Label: "identifier of the exporter", What: "who sent the record: exporters.id",
		Kind: KindNumber, Max: math.MaxInt32, Number: func(r *Record) (uint64, bool) { return uint64(max(r.Exporter, 0)), true },
		SQL: Int4, Stored: Int4, Word: "exporter id",
	},
	{
		Name: "exporter_addr", Label: "address of the exporter", What: "the source address of the exporter's packets; null until its first status is stored",
		Kind: KindAddr, SQL: Inet, Null: true, From: []string{"exporter_id"},
		Word: "exporter ip", Aliases: []string{"router ip", "exporter host", "router host"},
	},
	{
		Name: "observation_domain", Label: "observation domain or v9 source id", What: "observationDomainId (149) of the exporter; null until its first status is stored",
		Kind: KindNumber, Max: math.MaxUint32, PerExporter: true, SQL: Int8, Null: true, From: []string{"exporter_id"},
		Word: "observation domain", Aliases: []string{"observation domain id"},
	},

	// Between whom.
	{
		Name: "src_addr", Label: "source address", What: "source address, null when not said",
		Elements: []Element{{ID: 8, Name: "sourceIPv4Address"}, {ID: 27, Name: "sourceIPv6Address"}},
		Kin:      []Element{{ID: 44, Name: "sourceIPv4Prefix"}, {ID: 170, Name: "sourceIPv6Prefix"}},
		Kind:     KindAddr, Addr: func(r *Record) (Addr, uint8) { return r.SrcAddr, r.Family() },
		SQL: Inet, Stored: Inet, Null: true, Word: "src ip", Aliases: sided("src", hostAliases), Key: "src-addr",
	},
	{
		Name: "dst_addr", Label: "destination address", What: "destination address, null when not said",
		Elements: []Element{{ID: 12, Name: "destinationIPv4Address"}, {ID: 28, Name: "destinationIPv6Address"}},
		Kin:      []Element{{ID: 45, Name: "destinationIPv4Prefix"}, {ID: 169, Name: "destinationIPv6Prefix"}},
		Kind:     KindAddr, Addr: func(r *Record) (Addr, uint8) { return r.DstAddr, r.Family() },
		SQL: Inet, Stored: Inet, Null: true, Word: "dst ip", Aliases: sided("dst", hostAliases), Key: "dst-addr",
	},
	{
		Name: "src_port", Label: "source port", What: "source port, null when the protocol has none",
		Elements: []Element{{ID: 7, Name: "sourceTransportPort"}},
		Kin:      []Element{{ID: 180, Name: "udpSourcePort"}, {ID: 182, Name: "tcpSourcePort"}},
		Kind:     KindPort, Max: math.MaxUint16, Number: func(r *Record) (uint64, bool) { return uint64(r.SrcPort), r.HasSrcPort() },
		SQL: Int4, Stored: Int4, Null: true, Word: "src port", Key: "src-port",
	},
	{
		Name: "dst_port", Label: "destination port", What: "destination port, null when the protocol has none",
		Elements: []Element{{ID: 11, Name: "destinationTransportPort"}},
		Kin:      []Element{{ID: 181, Name: "udpDestinationPort"}, {ID: 183, Name: "tcpDestinationPort"}},
		Kind:     KindPort, Max: math.MaxUint16, Number: func(r *Record) (uint64, bool) { return uint64(r.DstPort), r.HasDstPort() },
		SQL: Int4, Stored: Int4, Null: true, Word: "dst port", Key: "dst-port",
	},
	{
		Name: "protocol", Label: "IP protocol", What: "IP protocol number",
		Elements: []Element{{ID: 4, Name: "protocolIdentifier"}}, Kin: []Element{{ID: 193, Name: "nextHeaderIPv6"}},
		Kind: KindProtocol, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { return uint64(r.Protocol), true },
		SQL: Int2, Stored: Int2, Word: "proto", Aliases: []string{"protocol"}, Key: "protocol",
	},
	{
		Name: "icmp_type", Label: "ICMP or ICMPv6 type", What: "ICMP or ICMPv6 type, null for other protocols",
		Elements: []Element{{ID: 32, Name: "icmpTypeCodeIPv4"}, {ID: 139, Name: "icmpTypeCodeIPv6"}},
		Kin:      []Element{{ID: 176, Name: "icmpTypeIPv4"}, {ID: 178, Name: "icmpTypeIPv6"}},
		Kind:     KindNumber, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { t, _, ok := r.ICMP(); return uint64(t), ok },
		SQL: Int2, Stored: Int2, Null: true, Word: "icmp type", Aliases: []string{"icmp-type"}, Key: "icmp-type",
	},
	{
		Name: "icmp_code", Label: "ICMP or ICMPv6 code", What: "ICMP or ICMPv6 code, null for other protocols",
		Elements: []Element{{ID: 32, Name: "icmpTypeCodeIPv4"}, {ID: 139, Name: "icmpTypeCodeIPv6"}},
		Kin:      []Element{{ID: 177, Name: "icmpCodeIPv4"}, {ID: 179, Name: "icmpCodeIPv6"}},
		Kind:     KindNumber, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { _, c, ok := r.ICMP(); return uint64(c), ok },
		SQL: Int2, Stored: Int2, Null: true, Word: "icmp code", Aliases: []string{"icmp-code"}, Key: "icmp-code",
	},
	{
		Name: "tcp_flags", Label: "TCP flags",
		What:     "union of the TCP flags of all packets: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR, 256 NS; null when not TCP",
		Elements: []Element{{ID: 6, Name: "tcpControlBits"}},
		Kind:     KindFlags, Max: math.MaxInt16, Number: func(r *Record) (uint64, bool) { return uint64(r.TCPFlags) & math.MaxInt16, r.HasTCPFlags() },
		SQL: Int2, Stored: Int2, Null: true, Word: "flags", Key: "tcp-flags",
	},
	{
		Name: "tos", Label: "type of service or traffic class", What: "IPv4 type of service or IPv6 traffic class byte",
		Elements: []Element{{ID: 5, Name: "ipClassOfService"}}, Kin: []Element{{ID: 195, Name: "ipDiffServCodePoint"}},
		Kind: KindTOS, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { return uint64(r.TOS), true },
		SQL: Int2, Stored: Int2, Word: "tos", Aliases: []string{"src tos"}, Key: "tos",
	},
	{
		Name: "vlan", Label: "802.1Q identifier as the flow came in", What: "outermost 802.1Q identifier, null when untagged or not said",
		Elements: []Element{{ID: 58, Name: "vlanId"}}, Kin: []Element{{ID: 243, Name: "dot1qVlanId"}},
		Kind: KindNumber, Max: math.MaxUint16, Number: func(r *Record) (uint64, bool) { return said(r.VLAN) },
		SQL: Int4, Stored: Int4, Null: true, Word: "src vlan", Aliases: []string{"in vlan"}, Key: "vlan",
	},

	// How much.
	{
		Name: "packets", Label: "packets as sent", What: "packets as sent, not multiplied by the sampling rate", Unit: "packets",
		Elements: []Element{{ID: 2, Name: "packetDeltaCount"}},
		Kin:      []Element{{ID: 86, Name: "packetTotalCount"}, {ID: 298, Name: "initiatorPackets"}, {ID: 24, Name: "postPacketDeltaCount"}},
		Kind:     KindCount, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return min(r.Packets, math.MaxInt64), true },
		SQL: Int8, Stored: Int8, Word: "packets", Aliases: []string{"in packets"},
	},
	{
		Name: "bytes", Label: "IP bytes as sent", What: "IP bytes with headers as sent, not multiplied by the sampling rate", Unit: "bytes",
		Elements: []Element{{ID: 1, Name: "octetDeltaCount"}},
		Kin:      []Element{{ID: 85, Name: "octetTotalCount"}, {ID: 231, Name: "initiatorOctets"}, {ID: 23, Name: "postOctetDeltaCount"}},
		Kind:     KindCount, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return min(r.Bytes, math.MaxInt64), true },
		SQL: Int8, Stored: Int8, Word: "bytes", Aliases: []string{"in bytes"},
	},
	{
		Name: "packets_scaled", Label: "packets, estimated", What: "packets multiplied by sampling_rate, by 1 when that is not known", Unit: "packets",
		Kind: KindCount, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return scaled(r, r.Packets) },
		SQL: Int8, From: []string{"packets", "sampling_rate", "exporter_id", "flow_start"},
	},
	{
		Name: "bytes_scaled", Label: "IP bytes, estimated", What: "bytes multiplied by sampling_rate, by 1 when that is not known", Unit: "bytes",
		Kind: KindCount, Max: math.MaxInt64, Number: func(r *Record) (uint64, bool) { return scaled(r, r.Bytes) },
		SQL: Int8, From: []string{"bytes", "sampling_rate", "exporter_id", "flow_start"},
	},
	{
		// A record has the rate that was announced; the view has the one that people say for
		// the exporter, where they do.
		Name: "sampling_rate", Label: "N of 1:N packet sampling",
		What:     "N of 1:N packet sampling that counts when the flow starts: as people say for the exporter, else as announced; null when not known",
		Elements: []Element{{ID: 34, Name: "samplingInterval"}, {ID: 305, Name: "samplingPacketInterval"}},
		Kin:      []Element{{ID: 50, Name: "samplerRandomInterval"}},
		Kind:     KindNumber, Max: math.MaxInt32, Number: func(r *Record) (uint64, bool) { return said(min(r.SamplingRate, math.MaxInt32)) },
		SQL: Int4, Stored: Int4, From: []string{"exporter_id", "flow_start"}, Null: true, Word: "sampling",
	},

	// Which way.
	{
		Name: "in_if", Label: "interface where the flow came in", What: "the exporter's ifIndex where the flow came in, null when not said",
		Elements: []Element{{ID: 10, Name: "ingressInterface"}}, Kin: []Element{{ID: 252, Name: "ingressPhysicalInterface"}},
		Kind: KindInterface, Max: math.MaxUint32, PerExporter: true, Number: func(r *Record) (uint64, bool) { return said(r.InIf) },
		SQL: Int8, Stored: Int4, Null: true, Word: "in if", Aliases: []string{"in interface"}, Key: "in-if",
	},
	{
		Name: "out_if", Label: "interface where the flow went out", What: "the exporter's ifIndex where the flow went out, null when not said",
		Elements: []Element{{ID: 14, Name: "egressInterface"}}, Kin: []Element{{ID: 253, Name: "egressPhysicalInterface"}},
		Kind: KindInterface, Max: math.MaxUint32, PerExporter: true, Number: func(r *Record) (uint64, bool) { return said(r.OutIf) },
		SQL: Int8, Stored: Int4, Null: true, Word: "out if", Aliases: []string{"out interface"}, Key: "out-if",
	},
	{
		Name: "src_as", Label: "autonomous system of the source", What: "autonomous system of the source, null when not said",
		Elements: []Element{{ID: 16, Name: "bgpSourceAsNumber"}},
		Kind:     KindAS, Max: math.MaxUint32, Number: func(r *Record) (uint64, bool) { return said(r.SrcAS) },
		SQL: Int8, Stored: Int4, Null: true, Word: "src as", Key: "src-as",
	},
	{
		Name: "dst_as", Label: "autonomous system of the destination", What: "autonomous system of the destination, null when not said",
		Elements: []Element{{ID: 17, Name: "bgpDestinationAsNumber"}},
		Kind:     KindAS, Max: math.MaxUint32, Number: func(r *Record) (uint64, bool) { return said(r.DstAS) },
		SQL: Int8, Stored: Int4, Null: true, Word: "dst as", Key: "dst-as",
	},
	{
		Name: "next_hop", Label: "next router", What: "next router, null when not said",
		Elements: []Element{{ID: 15, Name: "ipNextHopIPv4Address"}, {ID: 62, Name: "ipNextHopIPv6Address"}},
		Kind:     KindAddr, Addr: nextHop,
		SQL: Inet, Stored: Inet, Null: true, Word: "next ip", Aliases: []string{"next hop", "next host"}, Key: "next-hop",
	},
	{
		Name: "end_reason", Label: "why the flow ended",
		What:     "why the flow ended: 1 idle timeout, 2 active timeout, 3 end of flow, 4 forced end, 5 lack of resources, null not said",
		Elements: []Element{{ID: 136, Name: "flowEndReason"}},
		Kind:     KindNumber, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { return said(r.EndReason) },
		ValueName: func(n uint64) string { return EndReason(min(n, math.MaxUint8)).String() },
		SQL:       Int2, Stored: Int2, Null: true, Word: "end reason", Key: "end-reason",
	},
	{
		Name: "direction", Label: "direction", What: "0 ingress, 1 egress, null not said",
		Elements: []Element{{ID: 61, Name: "flowDirection"}},
		Kind:     KindNumber, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { return uint64(r.Direction) - 1, r.Direction != 0 },
		ValueName: directionName,
		SQL:       Int2, Stored: Int2, Null: true, Word: "flowdir", Aliases: []string{"direction"}, Key: "direction",
	},
	{
		Name: "src_mask", Label: "prefix length of the source's route", What: "prefix length of the source's route, null when not said",
		Elements: []Element{{ID: 9, Name: "sourceIPv4PrefixLength"}, {ID: 29, Name: "sourceIPv6PrefixLength"}},
		Kind:     KindNumber, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { return said(r.SrcMask) },
		SQL: Int2, Stored: Int2, Null: true, Word: "src mask", Key: "src-mask",
	},
	{
		Name: "dst_mask", Label: "prefix length of the destination's route", What: "prefix length of the destination's route, null when not said",
		Elements: []Element{{ID: 13, Name: "destinationIPv4PrefixLength"}, {ID: 30, Name: "destinationIPv6PrefixLength"}},
		Kind:     KindNumber, Max: math.MaxUint8, Number: func(r *Record) (uint64, bool) { return said(r.DstMask) },
		SQL: Int2, Stored: Int2, Null: true, Word: "dst mask", Key: "dst-mask",
	},

	// What a translator made of it.
	{
		Name: "nat_src_addr", Label: "source address after translation", What: "source address after translation",
		Elements: []Element{{ID: 225, Name: "postNATSourceIPv4Address"}, {ID: 281, Name: "postNATSourceIPv6Address"}},
		Kind:     KindAddr, Extra: true, SQL: Inet, Stored: Inet, Null: true,
		Word: "src nat ip", Aliases: []string{"src xlate ip", "src nat host", "src nat net"},
	},
	{
		Name: "nat_dst_addr", Label: "destination address after translation", What: "destination address after translation",
		Elements: []Element{{ID: 226, Name: "postNATDestinationIPv4Address"}, {ID: 282, Name: "postNATDestinationIPv6Address"}},
		Kind:     KindAddr, Extra: true, SQL: Inet, Stored: Inet, Null: true,
		Word: "dst nat ip", Aliases: []string{"dst xlate ip", "dst nat host", "dst nat net"},
	},
	{
		Name: "nat_src_port", Label: "source port after translation", What: "source port after translation",
		Elements: []Element{{ID: 227, Name: "postNAPTSourceTransportPort"}},
		Kind:     KindPort, Max: math.MaxUint16, Extra: true, SQL: Int4, Stored: Int4, Null: true,
		Word: "src nat port", Aliases: []string{"src xlate port"},
	},
	{
		Name: "nat_dst_port", Label: "destination port after translation", What: "destination port after translation",
		Elements: []Element{{ID: 228, Name: "postNAPTDestinationTransportPort"}},
		Kind:     KindPort, Max: math.MaxUint16, Extra: true, SQL: Int4, Stored: Int4, Null: true,
		Word: "dst nat port", Aliases: []string{"dst xlate port"},
	},

	// What else, and what was done to it.
	{
		Name: "extra", Label: "what has no column", What: "what the record said that has no column, by IANA name, null when nothing",
		Kind: KindJSON, SQL: JSONB, Stored: JSONB, Null: true,
	},
	{
		Name: "batch", Label: "batch", What: "the batch in which the row was stored: batches.id",
		Kind: KindNumber, Max: math.MaxInt32, SQL: Int4, Stored: Int4,
	},
	{
		Name: "marks", Label: "what was done to the record",
		What: "what was done to the record, a sum of: 1 times repaired, 2 a value clamped, 4 duplicates seen, 8 no room for its hour, so its times are those of receipt, 16 read by a template that came from another port of the address, 32 the rest of a total of which a part may have been counted before",
		Kind: KindMarks, Max: math.MaxInt16, Number: func(r *Record) (uint64, bool) { return uint64(r.Marks) & math.MaxInt16, true },
		SQL: Int2, Stored: Int2, Word: "marks",
	},

	// From here on members of Extra, without a column; first what left.
	{
		Name: "post_tos", Label: "type of service as the flow left", Elements: []Element{{ID: 55, Name: "postIpClassOfService"}},
		Kind: KindTOS, Max: math.MaxUint8, Extra: true, Zero: true, Word: "dst tos",
	},
	{
		Name: "post_packets", Label: "packets as the flow left", Unit: "packets",
		Elements: []Element{{ID: 24, Name: "postPacketDeltaCount"}, {ID: 172, Name: "postPacketTotalCount"}},
		Kind:     KindCount, Max: maxMember, Extra: true, Word: "out packets",
	},
	{
		Name: "post_bytes", Label: "bytes as the flow left", Unit: "bytes",
		Elements: []Element{{ID: 23, Name: "postOctetDeltaCount"}, {ID: 171, Name: "postOctetTotalCount"}},
		Kind:     KindCount, Max: maxMember, Extra: true, Word: "out bytes",
	},
	{
		Name: "post_vlan", Label: "802.1Q identifier as the flow left",
		Elements: []Element{{ID: 59, Name: "postVlanId"}, {ID: 254, Name: "postDot1qVlanId"}},
		Kind:     KindNumber, Max: math.MaxUint16, Extra: true, Word: "dst vlan", Aliases: []string{"out vlan"},
	},
	{
		Name: "second_vlan", Label: "802.1Q identifier beside vlanId", Elements: []Element{{ID: 243, Name: "dot1qVlanId"}},
		Kind: KindNumber, Max: math.MaxUint16, Extra: true, Word: "dot1q vlan",
	},
	{
		Name: "customer_vlan", Label: "802.1Q identifier of the inner of two tags", Elements: []Element{{ID: 245, Name: "dot1qCustomerVlanId"}},
		Kind: KindNumber, Max: math.MaxUint16, Extra: true, Word: "customer vlan", Aliases: []string{"inner vlan"},
	},
	{
		Name: "flow_count", Label: "how many flows the record is the sum of, 1 as a rule", Elements: []Element{{ID: 3, Name: "deltaFlowCount"}},
		Kind: KindNumber, Max: maxMember, Extra: true, Word: "flows",
	},

	// Ethernet.
	{
		Name: "src_mac", Label: "source MAC address as the flow came in", Elements: []Element{{ID: 56, Name: "sourceMacAddress"}},
		Kind: KindMAC, Extra: true, Word: "in src mac", Key: "src-mac",
	},
	{
		Name: "post_dst_mac", Label: "destination MAC address as the flow left", Elements: []Element{{ID: 57, Name: "postDestinationMacAddress"}},
		Kind: KindMAC, Extra: true, Word: "out dst mac",
	},
	{
		Name: "dst_mac", Label: "destination MAC address as the flow came in", Elements: []Element{{ID: 80, Name: "destinationMacAddress"}},
		Kind: KindMAC, Extra: true, Word: "in dst mac", Key: "dst-mac",
	},
	{
		Name: "post_src_mac", Label: "source MAC address as the flow left", Elements: []Element{{ID: 81, Name: "postSourceMacAddress"}},
		Kind: KindMAC, Extra: true, Word: "out src mac",
	},
	{
		Name: "ethertype", Label: "type of the Ethernet frame", Elements: []Element{{ID: 256, Name: "ethernetType"}},
		Kind: KindNumber, Max: math.MaxUint16, Extra: true, Word: "ethertype",
	},

	// Routing.
	{
		Name: "prev_as", Label: "autonomous system before", Elements: []Element{{ID: 129, Name: "bgpPrevAdjacentAsNumber"}},
		Kind: KindAS, Max: math.MaxUint32, Extra: true, Word: "prev as", Aliases: []string{"previous as"},
	},
	{
		Name: "next_as", Label: "autonomous system after", Elements: []Element{{ID: 128, Name: "bgpNextAdjacentAsNumber"}},
		Kind: KindAS, Max: math.MaxUint32, Extra: true, Word: "next as",
	},
	{
		Name: "bgp_next_hop", Label: "next router of BGP",
		Elements: []Element{{ID: 18, Name: "bgpNextHopIPv4Address"}, {ID: 63, Name: "bgpNextHopIPv6Address"}},
		Kind:     KindAddr, Extra: true, Word: "bgp next ip", Aliases: []string{"bgp next hop", "bgpnext ip"},
	},
	{
		Name: "ingress_vrf", Label: "routing instance where the flow came in", Elements: []Element{{ID: 234, Name: "ingressVRFID"}},
		Kind: KindNumber, Max: math.MaxUint32, PerExporter: true, Extra: true, Zero: true, Word: "ingress vrf",
	},
	{
		Name: "egress_vrf", Label: "routing instance where the flow went out", Elements: []Element{{ID: 235, Name: "egressVRFID"}},
		Kind: KindNumber, Max: math.MaxUint32, PerExporter: true, Extra: true, Zero: true, Word: "egress vrf",
	},
	{
		Name: "forwarding_status", Label: "what the router did with the flow", Elements: []Element{{ID: 89, Name: "forwardingStatus"}},
		Kind: KindNumber, Max: math.MaxUint8, Extra: true, Zero: true, Word: "fwdstat",
	},
	{
		Name: "observation_point", Label: "observation point", Elements: []Element{{ID: 138, Name: "observationPointId"}},
		Kind: KindNumber, Max: maxMember, PerExporter: true, Extra: true, Zero: true, Word: "observation point", Aliases: []string{"observation point id"},
	},
	{
		Name: "min_ttl", Label: "least time to live or hop limit", Elements: []Element{{ID: 52, Name: "minimumTTL"}},
		Kind: KindNumber, Max: math.MaxUint8, Extra: true, Zero: true, Word: "min ttl",
	},
	{
		Name: "max_ttl", Label: "greatest time to live or hop limit", Elements: []Element{{ID: 53, Name: "maximumTTL"}},
		Kind: KindNumber, Max: math.MaxUint8, Extra: true, Zero: true, Word: "max ttl",
	},
	{
		// The word ttl means this and the two above.
		Name: "ttl", Label: "time to live or hop limit", Elements: []Element{{ID: 192, Name: "ipTTL"}},
		Kind: KindNumber, Max: math.MaxUint8, Extra: true, Zero: true,
	},

	// Translators and firewalls.
	{
		Name: "nat_event", Label: "what a translator did (IANA natEvent)", Elements: []Element{{ID: 230, Name: "natEvent"}},
		Kind: KindNumber, Max: math.MaxUint8, Extra: true, Zero: true, Word: "nat event",
	},
	{
		Name: "firewall_event", Label: "what a firewall did (IANA firewallEvent)", Elements: []Element{{ID: 233, Name: "firewallEvent"}},
		Kind: KindNumber, Max: math.MaxUint8, Extra: true, Zero: true, Word: "asa event",
	},
	{
		Name: "firewall_extended_event", Label: "the firewall's extended event", Elements: []Element{{ID: 33002, Name: "asaExtendedEvent"}},
		Kind: KindNumber, Max: math.MaxUint16, Extra: true, Zero: true, Word: "asa xevent", Aliases: []string{"asa denied", "asa event denied"},
	},
	{
		Name: "ingress_acl", Label: "access list where the flow came in", Elements: []Element{{ID: 33000, Name: "asaIngressAcl"}},
		Kind: KindBytes, Max: math.MaxUint32, PerExporter: true, Extra: true, Word: "ingress acl",
	},
	{
		Name: "egress_acl", Label: "access list where the flow went out", Elements: []Element{{ID: 33001, Name: "asaEgressAcl"}},
		Kind: KindBytes, Max: math.MaxUint32, PerExporter: true, Extra: true, Word: "egress acl",
	},

	{
		Name: "user", Label: "name of the user", Elements: []Element{{ID: 371, Name: "userName"}},
		Kind: KindText, Extra: true, Word: "user", Aliases: []string{"asa user", "username"},
	},
	{
		Name: "port_block_start", Label: "first port of a translator's block", Elements: []Element{{ID: 361, Name: "portRangeStart"}},
		Kind: KindPort, Max: math.MaxUint16, Extra: true, Word: "nat pblock start",
	},
	{
		Name: "port_block_end", Label: "last port of a translator's block", Elements: []Element{{ID: 362, Name: "portRangeEnd"}},
		Kind: KindPort, Max: math.MaxUint16, Extra: true, Word: "nat pblock end",
	},
	{
		Name: "port_block_step", Label: "distance of the ports of a translator's block", Elements: []Element{{ID: 363, Name: "portRangeStepSize"}},
		Kind: KindNumber, Max: math.MaxUint16, Extra: true, Word: "nat pblock step",
	},
	{
		Name: "port_block_size", Label: "number of ports of a translator's block", Elements: []Element{{ID: 364, Name: "portRangeNumPorts"}},
		Kind: KindNumber, Max: math.MaxUint16, Extra: true, Word: "nat pblock size",
	},

	// Tunnels: elements of our own exporter, or the outer of two IP headers.
	{
		Name: "tunnel_src_addr", Label: "outer source address of a tunnel",
		Elements: []Element{{1, "outerSourceIPv4Address", own}, {3, "outerSourceIPv6Address", own}, {ID: 8, Name: "sourceIPv4Address"}, {ID: 27, Name: "sourceIPv6Address"}},
		Kind:     KindAddr, Extra: true, Word: "src tun ip", Aliases: []string{"src tun host", "src tun net"},
	},
	{
		Name: "tunnel_dst_addr", Label: "outer destination address of a tunnel",
		Elements: []Element{{2, "outerDestinationIPv4Address", own}, {4, "outerDestinationIPv6Address", own}, {ID: 12, Name: "destinationIPv4Address"}, {ID: 28, Name: "destinationIPv6Address"}},
		Kind:     KindAddr, Extra: true, Word: "dst tun ip", Aliases: []string{"dst tun host", "dst tun net"},
	},
	{
		Name: "tunnel_protocol", Label: "protocol of a tunnel's outer header",
		Elements: []Element{{6, "tunnelProtocolIdentifier", own}, {ID: 4, Name: "protocolIdentifier"}},
		Kind:     KindProtocol, Max: math.MaxUint8, Extra: true, Word: "tun proto",
	},
	{
		Name: "tunnel_port", Label: "destination port of a tunnel's outer header", Elements: []Element{{7, "tunnelTransportPort", own}},
		Kind: KindPort, Max: math.MaxUint16, Extra: true, Word: "tun port",
	},
	{
		Name: "tunnel_id", Label: "number of a tunnel: VNI, key, session", Elements: []Element{{5, "tunnelIdentifier", own}},
		Kind: KindNumber, Max: math.MaxUint32, Extra: true, Word: "tun id", Aliases: []string{"tun vni"}, Key: "tunnel-id",
	},
	{
		Name: "duplicates", Label: "packets of the flow that were copies of others", Unit: "packets",
		Elements: []Element{{8, "duplicatePacketDeltaCount", own}},
		Kind:     KindCount, Max: maxMember, Extra: true, Word: "duplicates",
	},
	{
		Name: "application", Label: "name of the application (applicationName)", Elements: []Element{{ID: 96, Name: "applicationName"}},
		Kind: KindText, Extra: true, Word: "application", Key: "application",
	},
}

// Pairs are the pairs of fields that have a word or a key for either of them.
var Pairs = []Pair{
	{Name: "addr", Label: "address of either side", Src: "src_addr", Dst: "dst_addr", Word: "ip", Aliases: hostAliases, Key: "addr"},
	{Name: "port", Label: "port of either side", Src: "src_port", Dst: "dst_port", Word: "port", Key: "port"},
	{Name: "interface", Label: "interface of either side, by ifIndex or name", Src: "in_if", Dst: "out_if", Word: "if", Aliases: []string{"interface"}, Key: "interface"},
	{Name: "mac", Label: "MAC address as the flow came in", Src: "src_mac", Dst: "dst_mac", Word: "in mac", Key: "mac"},
	{Name: "any_vlan", Label: "802.1Q identifier as the flow came or left", Src: "vlan", Dst: "post_vlan", Word: "vlan"},
	{Name: "mask", Label: "prefix length of either side's route", Src: "src_mask", Dst: "dst_mask", Word: "mask"},
	{Name: "as", Label: "autonomous system of either side", Src: "src_as", Dst: "dst_as", Word: "as"},
	{Name: "nat_addr", Label: "address of either side after translation", Src: "nat_src_addr", Dst: "nat_dst_addr", Word: "nat ip", Aliases: []string{"xlate ip", "nat host", "nat net"}},
	{Name: "nat_port", Label: "port of either side after translation", Src: "nat_src_port", Dst: "nat_dst_port", Word: "nat port", Aliases: []string{"xlate port"}},
	{Name: "vrf", Label: "routing instance of either side", Src: "ingress_vrf", Dst: "egress_vrf", Word: "vrf"},
	{Name: "acl", Label: "access list of either side (any of its three numbers)", Src: "ingress_acl", Dst: "egress_acl", Word: "acl"},
	{Name: "tunnel_addr", Label: "outer address of either side of a tunnel", Src: "tunnel_src_addr", Dst: "tunnel_dst_addr", Word: "tun ip", Aliases: []string{"tun host", "tun net"}},
}

// said returns a number of which 0 means that the record did not say it.
func said[T ~uint8 | ~uint16 | ~uint32](n T) (uint64, bool) { return uint64(n), n != 0 }

// moment returns a time as a number; RepairTime has seen to it that there is one.
func moment(t Time) (uint64, bool) { return uint64(max(t, 0)), true }

func nextHop(r *Record) (Addr, uint8) {
	switch {
	case r.NextHop.IsZero():
		return r.NextHop, 0
	case r.NextHop.Is4():
		return r.NextHop, 4
	}
	return r.NextHop, 6
}

// directionName is what people call a value of the column direction.
func directionName(n uint64) string {
	switch n {
	case 0:
		return "ingress"
	case 1:
		return "egress"
	}
	return ""
}

// scaled multiplies a count by the sampling rate. A product that does not fit a
// bigint stops at the largest multiple that does, as in the view.
func scaled(r *Record, n uint64) (uint64, bool) {
	n, rate := min(n, math.MaxInt64), uint64(min(r.SamplingRate, math.MaxInt32))
	if rate <= 1 {
		return n, true
	}
	return min(n, math.MaxInt64/rate) * rate, true
}

// sided returns the words with a side in front.
func sided(side string, words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = side + " " + w
	}
	return out
}
