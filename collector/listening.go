package collector

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"flowtally/flow"
)

// listeningEvery is how often it is reported where the collector listens.
const listeningEvery = time.Minute

// bound is an address that is listened on.
type bound struct {
	protocol string
	addr     netip.AddrPort
}

// listening is where a collector listens, for those who ask where to send to.
func listening(list []bound, announced string) []flow.Listener {
	host, _ := os.Hostname()
	own := ownAddresses()
	all := make([]flow.Listener, len(list))
	for i, b := range list {
		all[i] = flow.Listener{Collector: host, Protocol: b.protocol, Addr: b.addr, Announced: announced, Container: inContainer(), Reachable: reachable(b.addr.Addr(), own)}
	}
	return all
}

// reachable are those addresses of a machine's own at which one that is bound is reached.
func reachable(at netip.Addr, own []netip.Addr) []netip.Addr {
	at = at.Unmap()
	if !at.IsUnspecified() {
		return []netip.Addr{at}
	}
	// Who listens on :: receives IPv4 as well, unless the system keeps the two apart; who
	// listens on 0.0.0.0 receives IPv4 alone.
	return slices.DeleteFunc(slices.Clone(own), func(a netip.Addr) bool { return at.Is4() && a.Is6() })
}

// ownAddresses are the addresses of this machine that others may reach, those of IPv4 first,
// and of those behind the default route first.
func ownAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, x := range list {
		p, err := netip.ParsePrefix(x.String())
		if a := p.Addr().Unmap(); err == nil && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() {
			own = append(own, a)
		}
	}
	way := wayOut()
	order := func(a netip.Addr) int {
		switch {
		case a == way:
			return 0
		case a.Is4():
			return 1
		}
		return 2
	}
	slices.SortStableFunc(own, func(a, b netip.Addr) int { return order(a) - order(b) })
	return own
}

// wayOut is the address that this machine has towards everybody else: a UDP socket that is
// connected has one, and sends nothing.
func wayOut() netip.Addr {
	c, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// inContainer reports whether this process runs in a container with a network of its own.
func inContainer() bool {
	for _, name := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}
