package pcapfilter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/bpf"
)

// directed joins the tests of both sides as the direction says.
func directed(dir string, src, dst node) node {
	switch dir {
	case "src":
		return src
	case "dst":
		return dst
	case "src and dst":
		return both{src, dst}
	}
	return either{src, dst}
}

func (p *parser) host(q qualifiers, t token) (node, error) {
	switch {
	case t.kind == mac:
		if q.proto != "ether" {
			return nil, p.errorAt(t, "a hardware address wants ether before it: ether host %s", t.textOf(p))
		}
		if p.link.kind != kindEthernet {
			return nil, p.errorAt(t, "there are no hardware addresses in such packets")
		}
		at := func(off uint32) node {
			return both{equal(off+2, 4, binary.BigEndian.Uint32(t.hw[2:])), equal(off, 2, uint32(binary.BigEndian.Uint16(t.hw[:])))}
		}
		return directed(q.dir, at(6), at(0)), nil
	case q.proto == "ether":
		return nil, p.errorAt(t, "ether wants a hardware address, such as 00:11:22:33:44:55")
	case t.kind == dotted && t.octets == 4:
		return p.addr4(q, t, t.value, 0xffffffff)
	case t.kind == dotted, t.kind == number:
		return nil, p.errorAt(t, "a host has four numbers; %s is a net: write net before it", t.textOf(p))
	case t.kind == addr6:
		return p.addr6(q, t, netip.PrefixFrom(t.addr, 128))
	}
	return nil, p.errorAt(t, "names are not looked up: write the address")
}

func (t token) textOf(p *parser) string { return p.text[t.start:t.end] }

func (p *parser) network(q qualifiers, t token) (node, error) {
	bits := -1
	slash := func(most uint32) error {
		if !p.take("/") {
			return nil
		}
		v := p.next()
		if v.kind != number || v.value > most {
			return p.errorAt(v, "the length of a prefix is 0 to %d", most)
		}
		bits = int(v.value)
		return nil
	}
	switch t.kind {
	case addr6:
		if err := slash(128); err != nil {
			return nil, err
		}
		if bits < 0 {
			bits = 128
		}
		prefix := netip.PrefixFrom(t.addr, bits)
		if prefix.Masked().Addr() != t.addr {
			return nil, p.errorAt(t, "the address has bits behind the prefix of %d: did you mean %s?", bits, prefix.Masked())
		}
		return p.addr6(q, t, prefix)
	case number, dotted:
	default:
		return nil, p.errorAt(t, "names are not looked up: write the net, such as 10.0.0.0/8")
	}
	value, octets := t.value, t.octets
	if t.kind == number {
		if t.value > 255 {
			return nil, p.errorAt(t, "a net is written as 10, 10.1, 10.1.2 or 10.1.2.0/24")
		}
		value, octets = t.value<<24, 1
	}
	mask := uint32(0xffffffff) << (8 * (4 - octets))
	if p.take("mask") {
		m := p.next()
		if m.kind != dotted || m.octets != 4 {
			return nil, p.errorAt(m, "a mask is written as 255.255.255.0")
		}
		mask = m.value
	} else if err := slash(32); err != nil {
		return nil, err
	} else if bits >= 0 {
		mask = uint32(uint64(0xffffffff) << (32 - bits))
	}
	if value&^mask != 0 {
		a := make([]byte, 4)
		binary.BigEndian.PutUint32(a, value&mask)
		from, _ := netip.AddrFromSlice(a)
		return nil, p.errorAt(t, "the address has bits behind the mask: did you mean %s?", from)
	}
	return p.addr4(q, t, value, mask)
}

func (p *parser) addr4(q qualifiers, t token, value, mask uint32) (node, error) {
	l := p.link
	ip := both{l.is(etherIPv4), directed(q.dir, masked(l.net+12, 4, mask, value), masked(l.net+16, 4, mask, value))}
	arp := func(ether uint32) node {
		return both{l.is(ether), directed(q.dir, masked(l.net+14, 4, mask, value), masked(l.net+24, 4, mask, value))}
	}
	switch q.proto {
	case "ip":
		return ip, nil
	case "arp", "rarp":
		return arp(etherTypes[q.proto]), nil
	case "":
		if l.labels > 0 {
			return ip, nil
		}
		return anyOf(ip, arp(etherARP), arp(etherRARP)), nil
	}
	return nil, p.errorAt(t, "%s has no addresses: write %s and %s", q.proto, q.proto, strings.TrimSpace(q.dir+" "+q.typ+" "+t.textOf(p)))
}

func (p *parser) addr6(q qualifiers, t token, prefix netip.Prefix) (node, error) {
	if q.proto != "" && q.proto != "ip6" {
		return nil, p.errorAt(t, "%s has no IPv6 addresses", q.proto)
	}
	l := p.link
	a := prefix.Addr().As16()
	at := func(off uint32) node {
		var n node = constant(true)
		for i := range uint32(4) {
			bits := min(max(prefix.Bits()-int(32*i), 0), 32)
			mask := uint32(uint64(0xffffffff) << (32 - bits))
			if mask != 0 {
				n = both{n, masked(off+4*i, 4, mask, binary.BigEndian.Uint32(a[4*i:]))}
			}
		}
		return n
	}
	return both{l.is(etherIPv6), directed(q.dir, at(l.net+8), at(l.net+24))}, nil
}

// ports tests a port or a range of ports; a name may be one of TCP or UDP alone.
func (p *parser) ports(q qualifiers, t token) (node, error) {
	var transports []uint32
	switch q.proto {
	case "":
		transports = []uint32{protocols["tcp"], protocols["udp"], protocols["sctp"]}
	case "tcp", "udp", "sctp":
		transports = []uint32{protocols[q.proto]}
	default:
		return nil, p.errorAt(t, "%s has no ports", q.proto)
	}
	port := func(t token, text string) (int, error) {
		var v int
		if n, err := fmt.Sscanf(text, "%d", &v); n == 1 && err == nil && strings.Trim(text, "0123456789") == "" {
			if v > 65535 {
				return 0, p.errorAt(t, "a port is at most 65535")
			}
			return v, nil
		}
		s, ok := services()[text]
		switch {
		case !ok:
			return 0, p.errorAt(t, "there is no port of that name")
		case q.proto == "udp" && s.udp >= 0, q.proto == "" && s.tcp < 0:
			if q.proto == "" {
				transports = []uint32{protocols["udp"]}
			}
			return s.udp, nil
		case q.proto == "udp" || s.tcp < 0:
			return 0, p.errorAt(t, "%s has no port of that name", q.proto)
		case q.proto == "" && s.udp != s.tcp:
			transports = []uint32{protocols["tcp"]}
		}
		return s.tcp, nil
	}
	var from, to int
	var err error
	switch {
	case t.kind == number && t.value > 65535:
		return nil, p.errorAt(t, "a port is at most 65535")
	case t.kind == number:
		from, to = int(t.value), int(t.value)
	case t.kind != word:
		return nil, p.errorAt(t, "it is no port")
	case q.typ == "portrange":
		a, b, ok := strings.Cut(t.text, "-")
		if !ok {
			return nil, p.errorAt(t, "a range of ports is written as 1000-2000")
		}
		if from, err = port(t, a); err == nil {
			to, err = port(t, b)
		}
		from, to = min(from, to), max(from, to)
	default:
		if from, err = port(t, t.text); err != nil && strings.Contains(t.text, "-") && strings.Trim(t.text, "0123456789-") == "" {
			err = p.errorAt(t, "a range of ports wants portrange before it")
		}
		to = from
	}
	if err != nil {
		return nil, err
	}

	l := p.link
	// value tests one port, whose octets load puts into A.
	value := func(load ...bpf.Instruction) node {
		if from == to {
			return test{code: load, cond: bpf.JumpEqual, val: uint32(from)}
		}
		return both{
			test{code: load, cond: bpf.JumpGreaterOrEqual, val: uint32(from)},
			test{code: load, cond: bpf.JumpLessOrEqual, val: uint32(to)},
		}
	}
	transport := func(protocolAt uint32) node {
		var n node = constant(false)
		for _, x := range transports {
			n = either{n, equal(protocolAt, 1, x)}
		}
		return n
	}
	at4 := func(off uint32) node {
		return value(bpf.LoadMemShift{Off: l.net}, bpf.LoadIndirect{Off: l.net + off, Size: 2})
	}
	at6 := func(off uint32) node { return value(bpf.LoadAbsolute{Off: l.net + 40 + off, Size: 2}) }
	return either{
		allOf(l.is(etherIPv4), transport(l.net+9), l.notFragment(), directed(q.dir, at4(0), at4(2))),
		allOf(l.is(etherIPv6), transport(l.net+6), directed(q.dir, at6(0), at6(2))),
	}, nil
}

func (p *parser) protocol(q qualifiers, t token) (node, error) {
	if q.dir != "" {
		return nil, p.errorAt(t, "a protocol has no direction")
	}
	table := protocols
	if q.proto == "ether" {
		table = etherTypes
	}
	var v uint32
	switch t.kind {
	case number:
		v = t.value
	case word:
		known, ok := table[t.text]
		if !ok {
			return nil, p.errorAt(t, "there is no protocol of that name")
		}
		v = known
	default:
		return nil, p.errorAt(t, "it is no protocol")
	}
	switch q.proto {
	case "ether":
		if v > 65535 || v < 0x600 {
			return nil, p.errorAt(t, "an EtherType is 0x600 to 0xffff")
		}
		return p.link.is(v), nil
	case "ip", "ip6", "":
		if v > 255 {
			return nil, p.errorAt(t, "a protocol is at most 255")
		}
		switch q.proto {
		case "ip":
			return p.link.protocol4(v), nil
		case "ip6":
			return p.link.protocol6(v), nil
		}
		return either{p.link.protocol4(v), p.link.protocol6(v)}, nil
	}
	return nil, p.errorAt(t, "%s proto means nothing: write ip proto, ip6 proto or ether proto", q.proto)
}
