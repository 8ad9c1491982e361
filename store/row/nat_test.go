package row

import (
	"fmt"
	"testing"

	"flowtally/flow"
)

// A translation goes to columns of its own, and the rest of the extras stays as it is.
func TestTranslationsHaveColumns(t *testing.T) {
	for _, c := range []struct{ extra, nat, rest string }{
		{`{"applicationName":"ntp"}`, "  0 0", `{"applicationName":"ntp"}`},
		{`{"postNATSourceIPv4Address":"198.51.100.7","postNAPTSourceTransportPort":41022}`, "198.51.100.7  41022 0", ``},
		{`{ "a": [1, {"postNATSourceIPv4Address": "192.0.2.1"}], "postNATDestinationIPv6Address" : "2001:db8::1", "b": "x,}\"y", "postNAPTDestinationTransportPort": 443 }`,
			" 2001:db8::1 0 443", `{"a": [1, {"postNATSourceIPv4Address": "192.0.2.1"}],"b": "x,}\"y"}`},
		{`{"postNATSourceIPv4Address":"0102030405"}`, "  0 0", `{"postNATSourceIPv4Address":"0102030405"}`},
		{`{"postNATSourceIPv4Address":"192.0.2.1","postNATSourceIPv6Address":"2001:db8::1"}`, "192.0.2.1  0 0", `{"postNATSourceIPv6Address":"2001:db8::1"}`},
		{`{"postNAPTSourceTransportPort":70000,"postNAPTSourceTransportPort#2":9}`, "  0 0", `{"postNAPTSourceTransportPort":70000,"postNAPTSourceTransportPort#2":9}`},
	} {
		n, rest := splitNAT([]byte(c.extra))
		if got := fmt.Sprint(n.src, " ", n.dst, " ", n.srcPort, " ", n.dstPort); got != c.nat || string(rest) != c.rest {
			t.Errorf("%s:\n%s %s\nwant\n%s %s", c.extra, got, rest, c.nat, c.rest)
		}
		r := flow.Record{Start: 1, End: 1, Received: 1, Extra: []byte(c.extra)}
		columns := Needed([]flow.Record{r, {Start: 1, End: 1, Received: 1}})
		b, _ := Append(nil, &r, 1, columns)
		if row, rest, ok := Next(b, columns); !ok || len(row) != len(b) || len(rest) != 0 {
			t.Errorf("%s: not a row", c.extra)
		}
		if string(r.Extra) != c.extra {
			t.Errorf("the record was changed to %s", r.Extra)
		}
	}
}
