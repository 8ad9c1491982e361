package filter

import (
	"net/netip"

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
	"marks":             ": repaired, clamped, duplicate, moved",
	"forwarding_status": ": unknown, forwarded, dropped, consumed, or a number",
}

// valueNames are the names of values of fields that have a few.
var valueNames = map[string]map[string]uint64{
	"direction":      {"ingress": 0, "egress": 1},
	"end_reason":     {"idle": 1, "active": 2, "end": 3, "forced": 4, "resources": 5},
	"nat_event":      {"add": 1, "create": 1, "delete": 2},
	"firewall_event": {"ignore": 0, "create": 1, "delete": 2, "teardown": 2, "deny": 3, "denied": 3, "alert": 4, "update": 5},
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
		out = append(out, either(p.Word, p.Label, []*field{named[p.Src], named[p.Dst]}, p.Aliases...))
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
		f.known = func() []string { return []string{"consumed", "dropped", "forwarded", "unknown"} }
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
		h := extraHex("", "", f.max, "^([0-9a-f]{8})([0-9a-f]{16})?$", d.Members()[0])
		f.column, f.num = h.column, h.num
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

func refused(why string, names ...string) []*field {
	out := make([]*field, len(names))
	for i, n := range names {
		out[i] = &field{name: n, refuse: why}
	}
	return out
}
