package query

import (
	"errors"
	"slices"
	"strings"
	"testing"
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
