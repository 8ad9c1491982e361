package query

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"flowtally/flow"
)

func TestParseKeys(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     []Key
	}{
		{"none", "", nil},
		{"one", "src-addr", []Key{KeySrcAddr}},
		{"pair", "src-addr,dst-addr", []Key{KeySrcAddr, KeyDstAddr}},
		{"spaces_and_capitals", " Addr , PORT ", []Key{KeyAddr, KeyPort}},
		{"either_side_with_the_flows_own", "addr,dst-port", []Key{KeyAddr, KeyDstPort}},
		{"all_either_sides", "addr,port,interface", []Key{KeyAddr, KeyPort, KeyInterface}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseKeys(test.in)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
	all, err := ParseKeys("src-addr,dst-addr,src-port,dst-port,protocol,exporter,in-if,out-if,src-as,dst-as,next-hop,tos,tcp-flags,vlan")
	if err != nil || len(all) != 14 {
		t.Errorf("all one-sided keys together: %v, %v", all, err)
	}
	for _, k := range Keys() {
		if got, err := ParseKeys(JoinKeys([]Key{k})); err != nil || !slices.Equal(got, []Key{k}) {
			t.Errorf("%s: got %v, %v", k, got, err)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	for _, test := range []struct{ name, in, says string }{
		{"typo", "src-adr", "did you mean src-addr?"},
		{"swapped_letters", "protcool", "did you mean protocol?"},
		{"sql_name", "dst_port", "did you mean dst-port?"},
		{"nfdump_name", "srcip", "did you mean src-addr?"},
		{"nfdump_short_name", "proto", "did you mean protocol?"},
		{"nothing_like_it", "quux", `there is no key "quux"; keys are`},
		{"lists_what_there_is", "quux", "src-addr, dst-addr, addr,"},
		{"empty_between_commas", "addr,,port", "a key is empty"},
		{"trailing_comma", "addr,", "a key is empty"},
		{"twice", "addr,port,addr", "addr is named twice"},
		{"either_side_with_a_side_of_it", "addr,src-addr", "src-addr cannot go with it"},
		{"side_before_either_side", "dst-port,port", "dst-port cannot go with it"},
		{"mac_with_a_side_of_it", "src-mac,mac", "src-mac cannot go with it"},
		{"no_network_of_a_mac", "src-mac/24", "only addresses have networks"},
		{"nfdump_name_of_a_new_key", "srcmac", "did you mean src-mac?"},
		{"interface_with_a_side_of_it", "interface,in-if", "in-if cannot go with it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseKeys(test.in)
			q, ok := errors.AsType[*Error](err)
			if !ok || q.Parameter != "key" {
				t.Fatalf("got %v, want a QuestionError about key", err)
			}
			if !strings.Contains(q.Reason, test.says) {
				t.Errorf("%q does not say %q", q.Reason, test.says)
			}
		})
	}
}

func TestParseMeasure(t *testing.T) {
	for in, want := range map[string]Measure{"": ByFlows, "flows": ByFlows, "Packets": ByPackets, "bytes": ByBytes} {
		if got, err := ParseMeasure(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", in, got, err, want)
		}
	}
	if _, err := ParseMeasure("bits"); err == nil || !strings.Contains(err.Error(), "flows, packets, bytes") {
		t.Errorf("bits: %v", err)
	}
}

// The first keys stay the first, in their order; every field and pair of the table
// that has a key is one, and what a key is grouped by is the table's.
func TestKeysAreTheTables(t *testing.T) {
	const first = "src-addr,dst-addr,addr,src-port,dst-port,port,protocol,exporter,in-if,out-if,interface,src-as,dst-as,next-hop,tos,tcp-flags,vlan"
	if got := JoinKeys(Keys()); !strings.HasPrefix(got, first+",") {
		t.Errorf("the keys are %s", got)
	}
	n := 0
	for i := range flow.Fields {
		f := &flow.Fields[i]
		if f.Key == "" {
			continue
		}
		n++
		c, err := Columns([]Key{Key(f.Key)})
		if err != nil {
			t.Error(err)
		} else if c[0].Column != f.Name || c[0].EitherSide() || c[0].Expression != f.Expression() && f.Key != "exporter" {
			t.Errorf("%s: %+v", f.Key, c[0])
		}
	}
	for _, p := range flow.Pairs {
		if p.Key == "" {
			continue
		}
		n++
		c, err := Columns([]Key{Key(p.Key)})
		if err != nil {
			t.Error(err)
		} else if c[0].Column != p.Name || c[0].Expression != "" || c[0].Src != flow.FieldNamed(p.Src).Expression() || len(c[0].Sides()) != 2 {
			t.Errorf("%s: %+v", p.Key, c[0])
		}
	}
	if n != len(Keys()) {
		t.Errorf("%d keys, the table has %d", len(Keys()), n)
	}
	for _, test := range []struct{ key, expression, sqlType string }{
		{"exporter", "exporter_id", "bigint"},
		{"end-reason", "end_reason", "bigint"},
		{"src-mac", "(extra ->> 'sourceMacAddress')", "text"},
		{"application", "(extra ->> 'applicationName')", "text"},
		{"tunnel-id", "substring(extra ->> 'tunnelIdentifier' from '^[0-9]{1,18}$')::bigint", "bigint"},
		{"next-hop", "next_hop", "inet"},
	} {
		c, err := Columns([]Key{Key(test.key)})
		if err != nil || c[0].Expression != test.expression || c[0].SQLType() != test.sqlType {
			t.Errorf("%s: %+v, %v", test.key, c, err)
		}
	}
}
