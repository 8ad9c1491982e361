package netflow

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"flowtally/flow"
)

// TestWhatIsThereIsDecoded: whatever length a header states, of the message or of a
// Set.
func TestWhatIsThereIsDecoded(t *testing.T) {
	tpl, one, two := set(t, 2, `0100 0001 0001 0004`), set(t, 256, `00000001`), set(t, 256, `00000002 00000003`)
	whole := message(IPFIX, tpl, one, two)
	for _, tt := range []struct {
		name      string
		length    int // of the header
		cut       int // octets at the end
		tail      string
		want      []uint64
		malformed int
	}{
		{"as it is", len(whole), 0, "", []uint64{1, 2, 3}, 0},
		{"header says less", len(whole) - 12, 0, "", []uint64{1, 2, 3}, 0},
		{"header says nothing", 0, 0, "", []uint64{1, 2, 3}, 0},
		{"header says more", len(whole) + 500, 0, "", []uint64{1, 2, 3}, 1},
		{"cut in a record", len(whole), 2, "", []uint64{1, 2}, 1},
		{"cut between records", len(whole), 4, "", []uint64{1, 2}, 1},
		{"cut in the first record of a set", len(whole), 6, "", []uint64{1}, 1},
		{"padding behind the end", len(whole), 0, "000000000000", []uint64{1, 2, 3}, 0},
		{"octets behind the end", len(whole), 0, "0100 0fff 00000004", []uint64{1, 2, 3}, 1},
	} {
		msg := append(slices.Clone(whole[:len(whole)-tt.cut]), octets(t, tt.tail)...)
		binary.BigEndian.PutUint16(msg[2:], uint16(tt.length))
		var m Message
		recs, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, msg)
		var got []uint64
		for _, r := range recs {
			got = append(got, r.Bytes)
		}
		if !slices.Equal(got, tt.want) || m.Malformed != tt.malformed || (err != nil) != (tt.malformed > 0) {
			t.Errorf("%s: %d, malformed %d: %v", tt.name, got, m.Malformed, err)
		}
	}
}

// TestAGoodTemplateBehindABadOneIsLearned: in one Set.
func TestAGoodTemplateBehindABadOneIsLearned(t *testing.T) {
	const good = `0101 0001 0001 0004`
	for _, tt := range []struct {
		name, bad string
		v         Version
		options   bool
	}{
		{"reserved identifier", `0007 0002 0001 0004 0002 0004`, V9, false},
		{"reserved identifier", `0007 0002 8001 0004 00001234 0002 0004`, IPFIX, false},
		{"two of them", `0007 0001 0001 0004 0008 0001 0001 0004`, IPFIX, false},
		{"no octets", `0100 0001 0001 0000`, V9, false},
		{"too many octets", `0100 0002 0001 fffe 0002 fffe`, IPFIX, false},
		{"no scope", `0100 0001 0000 0022 0004`, IPFIX, true},
		{"more scopes than fields", `0100 0001 0002 0022 0004`, IPFIX, true},
		{"scopes of half a field", `0100 0002 0006 0001 0004 0022 0004`, V9, true},
	} {
		content, kind := tt.bad+good, templateSet(tt.v)
		if tt.options {
			kind++
			content = tt.bad + map[Version]string{V9: `0101 0004 0004 0001 0004 0022 0004`, IPFIX: `0101 0002 0001 0095 0004 0022 0004`}[tt.v]
		}
		var m Message
		d := NewDecoder(Limits{})
		_, err := d.Decode(nil, &m, somebody, noon, message(tt.v, set(t, kind, content)))
		known, _ := d.store.exporters[flow.AddrFrom(somebody.Addr())], err
		if m.Templates != 1 || m.Malformed != 1 || known == nil || known.templates[templateKey{7, somebody.Port(), 257, tt.v}] == nil {
			t.Errorf("%s: %+v: %v", tt.name, m, err)
		}
	}
}

// TestTheOtherHalfOfABiflow: it carries what is its own, and where this half is empty
// it is the only flow.
func TestTheOtherHalfOfABiflow(t *testing.T) {
	key := []field{{8, 4, "0a010001", 0}, {12, 4, "0a020002", 0}, {7, 2, 40000, 0}, {11, 2, 443, 0}, {4, 1, 6, 0}}
	nat := []field{{225, 4, "c6336407", 0}, {226, 4, "0a020003", 0}, {227, 2, 50000, 0}, {228, 2, 8443, 0}, {148, 8, 77, 0}, {52, 1, 60, 0}}
	describe := func(recs []flow.Record) string {
		var out []string
		for _, r := range recs {
			out = append(out, fmt.Sprintf("%v:%d>%v:%d %d/%d %s", r.SrcAddr, r.SrcPort, r.DstAddr, r.DstPort, r.Bytes, r.Packets, r.Extra))
		}
		return strings.Join(out, "\n")
	}
	for _, tt := range []struct {
		name   string
		fields []field
		want   []string
	}{
		{"with NAT", append(nat, field{231, 8, 100, 0}, field{298, 8, 2, 0}, field{232, 8, 900, 0}, field{299, 8, 3, 0}), []string{
			`10.1.0.1:40000>10.2.0.2:443 100/2 {"postNATSourceIPv4Address":"198.51.100.7","postNATDestinationIPv4Address":"10.2.0.3","postNAPTSourceTransportPort":50000,"postNAPTDestinationTransportPort":8443,"flowId":77,"minimumTTL":60}`,
			`10.2.0.2:443>10.1.0.1:40000 900/3 {"postNATDestinationIPv4Address":"198.51.100.7","postNATSourceIPv4Address":"10.2.0.3","postNAPTDestinationTransportPort":50000,"postNAPTSourceTransportPort":8443,"flowId":77}`,
		}},
		{"an empty forward half", append(nat, field{231, 8, 0, 0}, field{298, 8, 0, 0}, field{232, 8, 900, 0}, field{299, 8, 3, 0}), []string{
			`10.2.0.2:443>10.1.0.1:40000 900/3 {"postNATDestinationIPv4Address":"198.51.100.7","postNATSourceIPv4Address":"10.2.0.3","postNAPTDestinationTransportPort":50000,"postNAPTSourceTransportPort":8443,"flowId":77,"minimumTTL":60}`,
		}},
		{"both empty", []field{{231, 8, 0, 0}, {298, 8, 0, 0}, {232, 8, 0, 0}, {299, 8, 0, 0}}, []string{`10.1.0.1:40000>10.2.0.2:443 0/0 `}},
		{"reverse egress counters", []field{{1, 8, 100, 0}, {2, 8, 2, 0}, {23, 8, 900, 29305}, {24, 8, 3, 29305}}, []string{
			`10.1.0.1:40000>10.2.0.2:443 100/2 `, `10.2.0.2:443>10.1.0.1:40000 900/3 `,
		}},
		{"egress counters of both", []field{{1, 8, 100, 0}, {2, 8, 2, 0}, {23, 8, 90, 0}, {1, 8, 800, 29305}, {2, 8, 4, 29305}, {23, 8, 900, 29305}}, []string{
			`10.1.0.1:40000>10.2.0.2:443 100/2 {"postOctetDeltaCount":90,"reversePostOctetDeltaCount":900}`, `10.2.0.2:443>10.1.0.1:40000 800/4 {"postOctetDeltaCount":900}`,
		}},
	} {
		for _, variable := range []bool{false, true} {
			fields := append(slices.Clone(key), tt.fields...)
			if variable {
				fields = append(fields, field{236, variableLength, "", 0})
			}
			if got := describe(decodeFields(t, IPFIX, fields)); got != strings.Join(tt.want, "\n") {
				t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, strings.Join(tt.want, "\n"))
			}
		}
	}
}

// TestInterfacesAreNamedByFlowRecords: once a message.
func TestInterfacesAreNamedByFlowRecords(t *testing.T) {
	name := func(s string) string { return fmt.Sprintf("%x", s) }
	for _, tt := range []struct {
		name   string
		fields []field
		want   string
	}{
		{"one", []field{{10, 4, 3, 0}, {82, 8, name("eth3\x00\x00\x00\x01"), 0}, {83, 6, name("uplink"), 0}, {14, 4, 4, 0}}, "3 eth3 uplink"},
		{"of the way out", []field{{10, 4, 3, 0}, {14, 4, 4, 0}, {61, 1, 1, 0}, {82, variableLength, name("eth4"), 0}}, "4 eth4 "},
		{"two", []field{{10, 4, 3, 0}, {82, variableLength, name("eth3"), 0}, {14, 4, 4, 0}, {82, variableLength, name("eth4\x00x"), 0}, {61, 1, 1, 0}}, "3 eth3 , 4 eth4 "},
		{"not of none", []field{{10, 4, 0, 0}, {82, 8, name("eth3"), 0}}, ""},
		{"not of nobody's", []field{{82, 8, name("eth3"), 0}}, ""},
	} {
		tpl, data := template256(t, IPFIX, tt.fields)
		var m Message
		recs, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, message(IPFIX, tpl, data, data))
		if err != nil || len(recs) != 2 {
			t.Fatalf("%s: %v: %v", tt.name, recs, err)
		}
		var got []string
		for _, x := range m.Interfaces {
			got = append(got, fmt.Sprint(x.Index, " ", x.Name, " ", x.Description))
			if x.Exporter != m.Exporter.ID() {
				t.Errorf("%s: %+v", tt.name, x)
			}
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, s, tt.want)
		}
	}
}
