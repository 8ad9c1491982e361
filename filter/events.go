package filter

import (
	"math"
	"slices"
	"time"

	"flowtally/flow"
)

// Events of firewalls and translators are a relation beside flows, with a vocabulary of
// its own: the words that both have mean the same, and one that only the other has is
// refused by a sentence that names the other.

// ParseEvents parses a filter of events. Its SQL is over the columns of the view events;
// it has no Match. An error is an *Error.
func ParseEvents(text string) (*Filter, error) { return ParseEventsAt(text, time.Time{}) }

// ParseEventsAt parses a filter of events whose times are seen from now, as ParseAt does.
func ParseEventsAt(text string, now time.Time) (*Filter, error) {
	return parseWith(text, now, eventRoot)
}

// CompleteEvents is Complete for filters of events.
func CompleteEvents(text string, offset int) []Completion { return complete(text, offset, eventRoot) }

// EventFields returns the vocabulary of filters of events.
func EventFields() []Field { return fieldsOf(eventTable) }

// ofEventsAlone are the fields whose words ask for events: flows of earlier versions have
// them in extra, events have them in columns.
var ofEventsAlone = []string{"nat_event", "firewall_event", "firewall_extended_event"}

// sharedFields and sharedPairs are what events have of what flows have.
var (
	sharedFields = []string{
		"received_at", "exporter", "exporter_id", "exporter_addr", "observation_domain", "src_addr", "dst_addr", "src_port", "dst_port",
		"protocol", "icmp_type", "icmp_code", "in_if", "out_if", "nat_src_addr", "nat_dst_addr", "nat_src_port", "nat_dst_port",
		"marks", "ingress_vrf", "egress_vrf", "ingress_acl", "egress_acl", "firewall_extended_event", "port_block_step", "port_block_size",
	}
	sharedPairs = []string{"addr", "port", "interface", "nat_addr", "nat_port", "vrf", "acl"}
)

// eventTable is the vocabulary of events.
var eventTable = buildEventTable()

// ofEvents are the words that events have and flows may lack.
func ofEvents() []*field {
	number := func(name, what, column string, most uint64, aliases ...string) *field {
		return &field{name: name, aliases: aliases, what: what, kind: kindNumber, max: most, column: column, columns: []string{column}}
	}
	word := func(name, what, column string, aliases ...string) *field {
		return &field{name: name, aliases: aliases, what: what, kind: kindText, column: column, columns: []string{column}}
	}
	kind := word("kind", `what happened, in words: create, teardown, denied, "nat44 create", "port block allocated", …`, "kind")
	kind.known = func() []string { return eventKinds }
	firewall := number("asa event", "what a firewall did (IANA firewallEvent)", "firewall_event", math.MaxUint8).withNames(valueNames["firewall_event"])
	nat := number("nat event", "what a translator did (IANA natEvent)", "nat_event", math.MaxUint8).withNames(valueNames["nat_event"])
	at := &field{name: "time", what: "when it happened", kind: kindTime, of: flow.KindTime, max: math.MaxInt64, column: "time", columns: []string{"time"}}
	out := []*field{
		{name: "any", what: "every event", column: "true", test: func(*flow.Record, Names) bool { return true }},
		versionField("ipv4", 4, "inet", "inet4"), versionField("ipv6", 6, "inet6"),
		at, kind, firewall, nat,
		word("user", "whose connection it is (userName)", "user_name", "username", "asa user"),
		number("nat pblock start", "the first port of a block that a subscriber was given", "block_first", math.MaxUint16),
		number("nat pblock end", "the last port of that block", "block_last", math.MaxUint16),
	}
	named := namedFields()
	for _, name := range sharedFields {
		out = append(out, named[name])
	}
	for _, p := range flow.Pairs {
		if slices.Contains(sharedPairs, p.Name) {
			out = append(out, either(p.Word, p.Label, []*field{named[p.Src], named[p.Dst]}, p.Aliases...))
		}
	}
	return out
}

func buildEventTable() []*field {
	out := ofEvents()
	own := newTrie(out)
	for _, f := range buildFlowTable(namedFields()) {
		if f.refuse != "" {
			if !own.has(f.name) {
				out = append(out, f)
			}
		} else {
			out = append(out, strange(own, f, " is of flows, not of events: ask for flows, by flowtally flows, the page Explore or the view flows")...)
		}
	}
	return out
}

// eventKinds are the words of the column kind.
var eventKinds = slices.Concat(flow.FirewallKinds, flow.NATKinds[1:], []string{flow.KindTranslation, flow.KindPortBlock, flow.KindOther})

// strange returns fields that refuse the words of f which a vocabulary lacks.
func strange(own *trie, f *field, why string) (out []*field) {
	for _, name := range append([]string{f.name}, f.aliases...) {
		if !own.has(name) {
			out = append(out, refused(name+why, name)...)
		}
	}
	return out
}
