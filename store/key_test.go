package store

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
			q, ok := errors.AsType[*QuestionError](err)
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

func TestLabels(t *testing.T) {
	for _, test := range []struct {
		name   string
		keys   []Key
		values []any
		want   string
	}{
		{"protocol_by_name", []Key{KeyProtocol}, []any{6}, "tcp"},
		{"protocol_without_name", []Key{KeyProtocol}, []any{250}, "250"},
		{"tcp_flags_in_letters", []Key{KeyTCPFlags}, []any{0x12}, "...A..S."},
		{"tcp_flags_above_the_letters", []Key{KeyTCPFlags}, []any{0x112}, "0x112"},
		{"autonomous_system", []Key{KeySrcAS}, []any{64500}, "AS64500"},
		{"tos_as_octet", []Key{KeyTOS}, []any{8}, "0x08"},
		{"icmp_has_no_port", []Key{KeyPort}, []any{nil}, "none"},
		{"from_source_to_destination", []Key{KeySrcAddr, KeyDstAddr}, []any{"10.0.0.1", "10.0.0.2"}, "10.0.0.1 → 10.0.0.2"},
		{"from_input_to_output", []Key{KeyInIf, KeyOutIf}, []any{1, nil}, "1 → none"},
		{"socket", []Key{KeyAddr, KeyPort}, []any{"10.0.0.1", 443}, "10.0.0.1:443"},
		{"ipv6_socket", []Key{KeyAddr, KeyPort}, []any{"2001:db8::1", 443}, "[2001:db8::1]:443"},
		{"socket_without_port", []Key{KeyAddr, KeyPort}, []any{"10.0.0.1", nil}, "10.0.0.1, none"},
		{"sockets", []Key{KeySrcAddr, KeySrcPort, KeyDstAddr, KeyDstPort}, []any{"10.0.0.1", 1024, "10.0.0.2", 80}, "10.0.0.1:1024 → 10.0.0.2:80"},
		{"port_of_the_other_side", []Key{KeySrcAddr, KeyDstPort}, []any{"10.0.0.1", 443}, "10.0.0.1 → 443"},
		{"unrelated", []Key{KeyProtocol, KeyDstPort}, []any{17, 53}, "udp, 53"},
	} {
		t.Run(test.name, func(t *testing.T) {
			columns, err := columnsOf(test.keys)
			if err != nil {
				t.Fatal(err)
			}
			c := &question{columns: columns}
			g, _ := c.newGroup()
			for i, v := range test.values {
				switch v := v.(type) {
				case int:
					n := int64(v)
					g.numbers[i] = &n
				case string:
					g.texts[i] = &v
				}
			}
			if _, got := c.values(g); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
