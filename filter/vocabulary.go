package filter

import (
	"maps"
	"net/netip"
	"slices"

	"flowtally/flow"
)

// fieldOf makes a word of the language of a field of the table, which says the
// words, the bounds, the expression in SQL and what is read of a record.
func fieldOf(d *flow.Field) *field {
	f := &field{name: d.Word, aliases: d.Aliases, what: d.Label, kind: kinds[d.Kind], of: d.Kind, max: d.Max, large: d.Kind == flow.KindCount,
		column: d.Expression(), columns: []string{"extra"}}
	if d.IsColumn() {
		f.columns = []string{d.Name}
	}
	switch {
	case d.Number != nil:
		num := d.Number
		f.num = func(r *flow.Record, _ Names) (uint64, bool) { return num(r) }
	case d.Addr != nil:
		addr := d.Addr
		f.addr = func(r *flow.Record, _ Names) (flow.Addr, family) { return addr(r) }
	case !d.Extra:
	case d.Kind == flow.KindBytes:
	case d.Kind.IsNumber():
		f.num = extraNumber(d.Members())
	case d.Kind == flow.KindAddr:
		f.addr = extraAddr(d.Members())
	default:
		f.str = extraText(d.Members())
	}
	switch d.Kind {
	case flow.KindPort:
		f.names, f.known = servicePort, services
	case flow.KindProtocol:
		f.names, f.nameOf, f.known = protocolNumber, protocolName, protocolNames
	}
	return f
}

// explained is what the language adds to what fields are.
var explained = map[string]string{
	"icmp_type":         "; implies one of these",
	"icmp_code":         "; implies one of these",
	"tcp_flags":         ": all of the letters; =S exactly these; implies TCP",
	"direction":         ": 0 ingress, 1 egress",
	"end_reason":        ": idle, active, end, forced, resources, or a number",
	"marks":             ": repaired, clamped, duplicate, moved, borrowed",
	"forwarding_status": ": unknown, forwarded, dropped, consumed, a reason, or a number",
}

// valueNames are the names of values of fields that have a few.
var valueNames = map[string]map[string]uint64{
	"direction":  {"ingress": 0, "egress": 1},
	"end_reason": {"idle": 1, "active": 2, "end": 3, "forced": 4, "resources": 5},
	// RFC 8158 §4.3, by nfdump's names; add and delete are those of before.
	"nat_event": {
		"invalid": 0, "add": 1, "create": 1, "delete": 2, "exhaust": 3, "add44": 4, "del44": 5, "add64": 6, "del64": 7,
		"add44bib": 8, "del44bib": 9, "add64bib": 10, "del64bib": 11, "pexhaust": 12, "quotaexh": 13,
		"addaddr": 14, "deladdr": 15, "addpblk": 16, "delpblk": 17, "threshld": 18,
	},
	"firewall_event": {"ignore": 0, "create": 1, "delete": 2, "teardown": 2, "deny": 3, "denied": 3, "alert": 4, "update": 5},
	// Cisco's, by nfdump's names.
	"firewall_extended_event": {"ignore": 0, "ingress": 1001, "i-acl": 1001, "egress": 1002, "e-acl": 1002, "access": 1003, "interface": 1003, "deny": 1003, "nosyn": 1004},
}

// table is the language's vocabulary.
var table = buildTable()

// buildTable makes the vocabulary: the words that have no value, those of
// flow.Fields and flow.Pairs, those that the language computes or takes apart, and
// those that it refuses.
func buildTable() []*field {
	out := []*field{
		{name: "any", what: "every flow", column: "true", test: func(*flow.Record, Names) bool { return true }},
		versionField("ipv4", 4, "inet", "inet4"),
		versionField("ipv6", 6, "inet6"),
	}
	named := make(map[string]*field)
	for i := range flow.Fields {
		d := &flow.Fields[i]
		f := fieldOf(d)
		f.what += explained[d.Name]
		if names := valueNames[d.Name]; names != nil {
			f.withNames(names)
		}
		special(d, f)
		named[d.Name] = f
		if f.name != "" {
			out = append(out, f)
		}
	}
	for _, p := range flow.Pairs {
		sides := []*field{named[p.Src], named[p.Dst]}
		if p.Name == "any_vlan" {
			sides = append(sides, named["second_vlan"], named["customer_vlan"])
		}
		out = append(out, either(p.Word, p.Label, sides, p.Aliases...))
	}
	out = append(out, computedFields()...)
	out = append(out, engineFields(named["observation_domain"])...)
	out = append(out, macFields(named["src_mac"], named["dst_mac"], named["post_src_mac"], named["post_dst_mac"])...)
	out = append(out, ttlFields(named["min_ttl"], named["max_ttl"], named["ttl"])...)
	out = append(out, mplsFields()...)
	return append(out, refusedFields()...)
}

// special makes of a field what it is to the language alone: what stands in no
// record but is known of its exporter, what has a value where the record has none,
// and what is only a part of the element.
func special(d *flow.Field, f *field) {
	switch d.Name {
	case "exporter", "exporter_addr":
		f.addr = func(r *flow.Record, n Names) (flow.Addr, family) {
			if n == nil {
				return flow.Addr{}, 0
			}
			_, a := n.Exporter(r.Exporter)
			return flowAddr(a)
		}
	case "observation_domain":
		f.num = func(r *flow.Record, n Names) (uint64, bool) {
			d, ok := n.(Domains)
			if !ok {
				return 0, false
			}
			v, ok := d.Domain(r.Exporter)
			return uint64(v), ok
		}
	case "forwarding_status":
		f.names = func(s string) (span, bool) { n, ok := forwarding[s]; return n, ok }
		f.known = func() []string { return slices.Sorted(maps.Keys(forwarding)) }
	case "flow_count":
		said := f.num
		f.num = func(r *flow.Record, n Names) (uint64, bool) {
			if v, ok := said(r, n); ok {
				return v, true
			}
			return 1, true
		}
		f.column = "coalesce(" + f.column + ", 1)"
	case "ingress_acl", "egress_acl":
		for _, shape := range aclShapes {
			f.sides = append(f.sides, extraHex(f.name, f.what, f.max, shape, d.Members()[0]))
		}
		f.column, f.num = f.sides[0].column, f.sides[0].num
	}
}

func versionField(name string, v family, aliases ...string) *field {
	version := flow.FieldNamed("src_addr").Addr
	return &field{name: name, aliases: aliases, what: "the addresses are of IPv" + string('0'+v),
		column: "family(src_addr) = " + string('0'+v), columns: []string{"src_addr"},
		test: func(r *flow.Record, _ Names) bool { _, is := version(r); return is == v }}
}

// macFields mean either of the MAC addresses before and after the router.
func macFields(inSrc, inDst, outSrc, outDst *field) []*field {
	return []*field{
		either("src mac", "source MAC address", []*field{inSrc, outSrc}),
		either("dst mac", "destination MAC address", []*field{inDst, outDst}),
		either("out mac", "MAC address as the flow left", []*field{outSrc, outDst}),
		either("mac", "any MAC address", []*field{inSrc, outDst, inDst, outSrc}),
	}
}

func ttlFields(least, most, one *field) []*field {
	return []*field{
		either("ttl", "least or greatest time to live or hop limit", []*field{least, most, one}),
		{name: "ttl equal", what: "all packets had the same time to live", column: least.column + " = " + most.column, columns: []string{"extra"},
			test: func(r *flow.Record, n Names) bool {
				a, ok := least.num(r, n)
				b, ok2 := most.num(r, n)
				return ok && ok2 && a == b
			}},
	}
}

// refusedFields are words of nfdump's that ask for what is not kept.
func refusedFields() []*field {
	var out []*field
	for _, l := range [][]*field{
		refused("where an address is on the map is not kept: write its networks", "geo", "src geo", "dst geo", "nat geo", "src nat geo", "dst nat geo", "tun geo", "src tun geo", "dst tun geo"),
		refused("the contents of packets are not kept", "payload", "src payload", "dst payload"),
		refused("what TLS clients and servers say is not kept", "tls", "ssl", "ja3", "ja3s", "ja4", "ja4s"),
		refused("what DNS servers say is not kept", "dns"),
		refused("applications are not recognised by NBAR; application \"name\" asks what the exporter named", "nbar"),
		refused("latencies are not measured", "client latency", "server latency", "app latency", "latency"),
		refused("records of pf's log are not kept", "pf"),
		refused("whose exits are Tor's is not kept: list the addresses", "tor"),
		refused("nfdump's name of a data source; here each record says who sent it: exporter \"name\"", "ident"),
		refused("the number of a record in nfdump's file; here there are no such numbers", "count"),
		refused("nfdump's own number of an exporter; here it is exporter id, or exporter \"name\"", "exporter sysid", "router sysid", "sysid"),
		refused("a port is not compared with the block of its own record; nat pblock start, end, step and size ask for the block", "pblock"),
	} {
		out = append(out, l...)
	}
	return out
}

func flowAddr(a netip.Addr) (flow.Addr, family) {
	switch {
	case !a.IsValid():
		return flow.Addr{}, 0
	case a.Is4():
		return flow.AddrFrom(a), 4
	}
	return flow.AddrFrom(a), 6
}

// forwarding are the four statuses that the upper bits of forwardingStatus say, and
// their reasons by nfdump's names and IANA's numbers.
var forwarding = map[string]span{
	"unknown": {0, 63}, "unkn": {0, 63}, "ukwn": {0, 63}, "forwarded": {64, 127}, "forward": {64, 127}, "forw": {64, 127},
	"dropped": {128, 191}, "drop": {128, 191}, "consumed": {192, 255}, "cons": {192, 255}, "term": {192, 255},
	"frag": {65, 65}, "dacld": {129, 129}, "daclp": {130, 130}, "noroute": {131, 131}, "dadj": {132, 132}, "dfrag": {133, 133},
	"dbadh": {134, 134}, "dbadtlen": {135, 135}, "dbadhlen": {136, 136}, "dbadttl": {137, 137}, "dpolicy": {138, 138}, "dwred": {139, 139},
	"drpf": {140, 140}, "dforus": {141, 141}, "dbadof": {142, 142}, "dhw": {143, 143}, "tadj": {193, 193}, "tincadj": {194, 194}, "tforus": {195, 195},
}

func refused(why string, names ...string) []*field {
	out := make([]*field, len(names))
	for i, n := range names {
		out[i] = &field{name: n, refuse: why}
	}
	return out
}
