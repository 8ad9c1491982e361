package filter

import (
	"slices"
	"strconv"
	"strings"

	"flowtally/flow"
)

// protocols are IANA's keywords, and what people write instead.
var protocols = func() map[string]flow.Protocol {
	m := map[string]flow.Protocol{"icmp6": flow.ICMPv6, "icmpv6": flow.ICMPv6, "udp-lite": flow.UDPLite, "ipencap": 4, "ip-in-ip": 4, "hop-by-hop": 0}
	for n := range 256 {
		if s := flow.Protocol(n).String(); s != strconv.Itoa(n) {
			m[s] = flow.Protocol(n)
		}
	}
	return m
}()

// ParseProtocol returns the protocol of a name, as IANA's keywords have it and as
// people write it.
func ParseProtocol(name string) (flow.Protocol, bool) {
	p, ok := protocols[strings.ToLower(name)]
	return p, ok
}

func protocolNumber(name string) (span, bool) {
	n, ok := protocols[name]
	return span{uint64(n), uint64(n)}, ok
}

// protocolName is the name of a protocol that has one.
func protocolName(n uint64) string {
	if s := flow.Protocol(n).String(); s != strconv.Itoa(int(n)) {
		return s
	}
	return ""
}

func protocolNames() []string {
	var out []string
	for s := range protocols {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
