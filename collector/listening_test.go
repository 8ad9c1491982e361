package collector

import (
	"net/netip"
	"slices"
	"testing"
)

// Who listens everywhere is reached at all addresses of the machine, of IPv4 alone when bound
// to 0.0.0.0; who listens on one address, there and nowhere else.
func TestReachable(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.0.2.5"), netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")}
	for at, want := range map[string][]netip.Addr{
		"::": own, "0.0.0.0": own[:2], "::ffff:0.0.0.0": own[:2], "10.0.0.5": own[1:2], "127.0.0.1": {netip.MustParseAddr("127.0.0.1")},
	} {
		if got := reachable(netip.MustParseAddr(at), own); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	}
	for _, a := range ownAddresses() {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() {
			t.Errorf("others are told to send to %v", a)
		}
	}
	list := listening([]bound{{"udp", netip.MustParseAddrPort("[::]:2055")}}, "flows.example.net:9995")
	if len(list) != 1 || list[0].Protocol != "udp" || list[0].Addr.Port() != 2055 || list[0].Announced != "flows.example.net:9995" || list[0].Collector == "" {
		t.Errorf("%+v", list)
	}
}
