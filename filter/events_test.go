package filter

import (
	"errors"
	"strings"
	"testing"
)

// What filters of events mean, as SQL; and that they print to what parses again.
func TestEventFilters(t *testing.T) {
	for _, c := range []struct{ text, sql string }{
		{"", "true"},
		{"any", "true"},
		{"asa event create", "firewall_event = $1"},
		{"asa event denied", "firewall_event = $1"},
		{"asa denied nosyn", "substring(extra ->> 'asaExtendedEvent' from '^[0-9]{1,18}$')::bigint = $1"},
		{"asa event denied ingress", "substring(extra ->> 'asaExtendedEvent' from '^[0-9]{1,18}$')::bigint = $1"},
		{"asa event nothing", ""},
		{"tcp and asa user alice", "protocol = $1 and user_name = $2"},
		{"asa event deny", "firewall_event = $1"},
		{"asa event ignore", "firewall_event = $1"},
		{"asa xevent 1001", "substring(extra ->> 'asaExtendedEvent' from '^[0-9]{1,18}$')::bigint = $1"},
		{"nat event add44", "nat_event = $1"},
		{"nat event in [4, 5]", "(nat_event >= $1 and nat_event <= $2)"},
		{`kind "nat44 create"`, "kind = $1"},
		{"kind teardown and not user alice", "kind = $1 and ((user_name = $2) is not true)"},
		{"src nat ip 198.51.100.7 and src nat port 41022", "nat_src_addr = $1 and nat_src_port = $2"},
		{"nat ip 198.51.100.7", "(nat_src_addr = $1 or nat_dst_addr = $1)"},
		{"nat pblock start <= 2000 and nat pblock end >= 2000", "block_first <= $1 and block_last >= $2"},
		{"time > 2026-11-21T10:00", "time >= $1"},
		{"src ip 10.0.0.1 and dst port 443 and proto tcp", "src_addr = $1 and dst_port = $2 and protocol = $3"},
		{"exporter 192.0.2.1", "exporter_addr = $1"},
	} {
		f, err := ParseEvents(c.text)
		if c.sql == "" {
			if err == nil {
				t.Errorf("%q is taken", c.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if sql, _ := f.SQL(nil); sql != c.sql {
			t.Errorf("%q is %s, want %s", c.text, sql, c.sql)
		}
		again, err := ParseEvents(f.String())
		if err != nil || again.String() != f.String() {
			t.Errorf("%q prints %q, which is not parsed again: %v", c.text, f, err)
		}
	}
}

// A word that only the other relation has is refused, and the other is named.
func TestWordsOfTheOther(t *testing.T) {
	for _, c := range []struct {
		parse      func(string) (*Filter, error)
		text, says string
	}{
		{Parse, "asa event create", "view events"},
		{Parse, "src ip 10.0.0.1 and nat event add", "flowtally events"},
		{Parse, "asa xevent 1001", "flowtally events"},
		{ParseEvents, "bytes > 1k", "flowtally flows"},
		{ParseEvents, "flags S", "view flows"},
		{ParseEvents, "duration > 5", "flowtally flows"},
		{ParseEvents, "vlan 10", "flowtally flows"},
	} {
		_, err := c.parse(c.text)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, c.says) {
			t.Errorf("%q: %v, want a sentence with %q", c.text, err, c.says)
		}
	}
	for _, c := range CompleteEvents("asa ", 4) {
		if c.Text != "event" && c.Text != "xevent" && c.Text != "denied" && c.Text != "user" {
			t.Errorf("asa goes on with %q", c.Text)
		}
	}
	if len(EventFields()) < 30 {
		t.Errorf("%d words of events", len(EventFields()))
	}
}
