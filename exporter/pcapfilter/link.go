package pcapfilter

import "golang.org/x/net/bpf"

// link says where in a packet the protocol's number is and where the network
// header begins. vlan, mpls and pppoes move both for what follows them.
type link struct {
	kind linkKind
	// typ is where the protocol's number is, net where the network header is.
	typ, net uint32
	// labels is how many MPLS label stack entries were asked for.
	labels int
	// session is set behind pppoes.
	session bool
}

type linkKind int

const (
	kindEthernet linkKind = iota // an EtherType; MAC addresses in front
	kindCooked                   // an EtherType without MAC addresses: SLL, SLL2
	kindRaw                      // no number: the version in the IP header tells
	kindFamily                   // BSD's address family, four octets of either order
	kindPPP                      // a PPP protocol number
)

// links are the link types that programs can be compiled for.
var links = map[uint32]link{
	0:   {kind: kindFamily, typ: 0, net: 4}, // NULL
	1:   {kind: kindEthernet, typ: 12, net: 14},
	9:   {kind: kindPPP, typ: 2, net: 4}, // PPP
	12:  {kind: kindRaw},                 // RAW as OpenBSD numbers it
	14:  {kind: kindRaw},
	50:  {kind: kindPPP, typ: 2, net: 4}, // PPP_HDLC
	101: {kind: kindRaw},
	108: {kind: kindFamily, typ: 0, net: 4},   // LOOP
	113: {kind: kindCooked, typ: 14, net: 16}, // LINUX_SLL
	228: {kind: kindRaw},                      // IPV4
	229: {kind: kindRaw},                      // IPV6
	276: {kind: kindCooked, typ: 0, net: 20},  // LINUX_SLL2
}

const (
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherRARP   = 0x8035
	etherIPv6   = 0x86dd
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherQinQ91 = 0x9100
	etherMPLS   = 0x8847
	etherPPPoES = 0x8864
)

// familiesIPv6 are AF_INET6 on Linux, NetBSD and OpenBSD, FreeBSD, Darwin.
var familiesIPv6 = []uint32{10, 24, 28, 30}

// is tests whether the packet carries the protocol of an EtherType.
func (l link) is(ether uint32) node {
	if l.labels > 0 {
		// Behind the last label the first nibble tells.
		version, ok := nibble(ether)
		if !ok {
			return constant(false)
		}
		return both{masked(l.net-2, 1, 1, 1), masked(l.net, 1, 0xf0, version)}
	}
	if l.session || l.kind == kindPPP {
		switch ether {
		case etherIPv4:
			return equal(l.typ, 2, 0x0021)
		case etherIPv6:
			return equal(l.typ, 2, 0x0057)
		}
		if l.session {
			return equal(l.typ, 2, ether)
		}
		return constant(false)
	}
	switch l.kind {
	case kindRaw:
		version, ok := nibble(ether)
		if !ok {
			return constant(false)
		}
		return masked(l.net, 1, 0xf0, version)
	case kindFamily:
		families := []uint32{2}
		switch ether {
		case etherIPv4:
		case etherIPv6:
			families = familiesIPv6
		default:
			return constant(false)
		}
		var n node = constant(false)
		for _, f := range families {
			n = anyOf(n, equal(l.typ, 4, f), equal(l.typ, 4, f<<24))
		}
		return n
	}
	return equal(l.typ, 2, ether)
}

func nibble(ether uint32) (uint32, bool) {
	switch ether {
	case etherIPv4:
		return 0x40, true
	case etherIPv6:
		return 0x60, true
	}
	return 0, false
}

// protocol tests the IPv4 protocol, or IPv6's next header, also behind a
// Fragment header.
func (l link) protocol4(p uint32) node {
	return both{l.is(etherIPv4), equal(l.net+9, 1, p)}
}

func (l link) protocol6(p uint32) node {
	return both{l.is(etherIPv6), either{
		equal(l.net+6, 1, p),
		both{equal(l.net+6, 1, 44), equal(l.net+40, 1, p)},
	}}
}

// notFragment tests that an IPv4 packet is no fragment but the first.
func (l link) notFragment() node {
	return test{code: []bpf.Instruction{bpf.LoadAbsolute{Off: l.net + 6, Size: 2}}, cond: bpf.JumpBitsNotSet, val: 0x1fff}
}
