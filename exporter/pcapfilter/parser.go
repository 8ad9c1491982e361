package pcapfilter

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// parser turns tokens into a tree. link is where the packet's headers are for
// what is read now: vlan and its kin move it.
type parser struct {
	text   string
	tokens []token
	at     int
	link   link
	depth  int
	// last are the qualifiers that a bare address, net or port after "and" or
	// "or" takes.
	last qualifiers
}

// qualifiers stand in front of an identifier: tcp src port 80.
type qualifiers struct {
	proto string // "" when not said
	dir   string // "", src, dst, src or dst, src and dst
	typ   string // "", host, net, port, portrange, proto
}

func (p *parser) errorAt(t token, format string, args ...any) error {
	return &Error{Offset: t.start, End: t.end, Word: p.text[t.start:t.end], Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) peekAt(n int) token {
	return p.tokens[min(p.at+n, len(p.tokens)-1)]
}

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

// take goes past the next token when it is this word or operator.
func (p *parser) take(texts ...string) bool {
	t := p.peek()
	if (t.kind == word && !t.quoted || t.kind == operator) && slices.Contains(texts, t.text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(text, why string) error {
	if p.take(text) {
		return nil
	}
	return p.errorAt(p.peek(), "%q is missing here%s", text, why)
}

// parse reads the whole text.
func (p *parser) parse() (node, error) {
	if p.peek().kind == end {
		return constant(true), nil
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		if t.kind == operator && t.text == ")" {
			return nil, p.errorAt(t, "there is no parenthesis to close")
		}
		return nil, p.errorAt(t, "and or or is missing before it")
	}
	return n, nil
}

// expression reads terms joined by and and or, which bind equally, to the left.
func (p *parser) expression() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorAt(p.peek(), "more than %d parentheses and negations inside of each other", maxDepth)
	}
	defer func() { p.depth-- }()
	n, err := p.term()
	if err != nil {
		return nil, err
	}
	for {
		and := p.take("and", "&&")
		if !and && !p.take("or", "||") {
			return n, nil
		}
		m, err := p.continued()
		if err != nil {
			return nil, err
		}
		if and {
			n = both{n, m}
		} else {
			n = either{n, m}
		}
	}
}

// continued reads what follows and or or: a term, or an identifier that takes
// the qualifiers of the one before.
func (p *parser) continued() (node, error) {
	negate := false
	at := p.at
	for p.take("not", "!") {
		negate = !negate
	}
	if p.last != (qualifiers{}) && p.bareIdentifier() {
		n, err := p.identifier(p.last)
		if negate && err == nil {
			n = negation{n}
		}
		return n, err
	}
	p.at = at
	return p.term()
}

// bareIdentifier reports whether an identifier without qualifiers comes next, and
// not an arithmetic comparison.
func (p *parser) bareIdentifier() bool {
	t := p.peek()
	switch t.kind {
	case mac, addr6, dotted:
		return true
	case number:
		after := p.peekAt(1)
		if p.last.typ == "net" && after.kind == operator && after.text == "/" {
			return true
		}
		return after.kind != operator || after.text == ")" || after.text == "&&" || after.text == "||"
	case word:
		return t.quoted || !keywords[t.text]
	}
	return false
}

// keywords are no identifiers, unless quoted by a backslash.
var keywords = map[string]bool{
	"and": true, "or": true, "not": true, "src": true, "dst": true, "host": true, "net": true, "mask": true,
	"port": true, "portrange": true, "proto": true, "protochain": true, "gateway": true, "less": true, "greater": true,
	"len": true, "vlan": true, "mpls": true, "pppoes": true, "pppoed": true, "broadcast": true, "multicast": true,
	"ether": true, "link": true, "inbound": true, "outbound": true,
	"ip": true, "ip6": true, "arp": true, "rarp": true, "tcp": true, "udp": true, "sctp": true, "icmp": true, "icmp6": true,
	"igmp": true, "igrp": true, "pim": true, "vrrp": true, "carp": true, "ah": true, "esp": true,
}

func (p *parser) term() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorAt(p.peek(), "more than %d parentheses and negations inside of each other", maxDepth)
	}
	defer func() { p.depth-- }()
	if p.take("not", "!") {
		n, err := p.term()
		if err != nil {
			return nil, err
		}
		return negation{n}, nil
	}
	t := p.peek()
	if t.kind == operator && t.text == "(" && !p.arithmeticAhead() {
		p.next()
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expect(")", ""); err != nil {
			return nil, err
		}
		return n, nil
	}
	if p.arithmeticAhead() {
		return p.comparison()
	}
	if t.kind == word && !t.quoted {
		if n, ok, err := p.statement(); ok || err != nil {
			return n, err
		}
	}
	return p.qualified()
}

// arithmeticAhead reports whether a comparison of numbers comes next: what is up
// to the next and, or or the closing parenthesis has a comparator in it, outside
// of brackets, or begins like arithmetic.
func (p *parser) arithmeticAhead() bool {
	t := p.peek()
	switch {
	case t.kind == operator && (t.text == "-" || t.text == "("):
	case t.kind == number:
	case t.kind == word && !t.quoted && t.text == "len":
	case t.kind == word && !t.quoted && accessible(t.text) && p.peekAt(1).kind == operator && p.peekAt(1).text == "[":
		return true
	case t.kind == word && fieldName(t):
	default:
		return false
	}
	// The parenthesis may be one of arithmetic: then a comparator comes before the
	// next word that joins terms, at the depth of the beginning.
	depth, brackets := 0, 0
	for i := p.at; i < len(p.tokens); i++ {
		t := p.tokens[i]
		switch {
		case t.kind == end:
			return false
		case t.kind == word && !t.quoted && (t.text == "and" || t.text == "or" || t.text == "not"):
			return false
		case t.kind != operator:
			continue
		}
		switch t.text {
		case "(":
			depth++
		case ")":
			if depth--; depth < 0 {
				return false
			}
		case "[":
			brackets++
		case "]":
			brackets--
		case "&&", "||", "!":
			return false
		case "<", ">", "<=", ">=", "=", "==", "!=":
			if brackets == 0 {
				return depth == 0
			}
		}
	}
	return false
}

func fieldName(t token) bool {
	_, ok := fields[t.text]
	return ok && !t.quoted
}

// statement reads what stands for itself: vlan, less 100, broadcast.
func (p *parser) statement() (_ node, ok bool, err error) {
	t := p.peek()
	switch t.text {
	case "vlan", "mpls", "pppoes":
		p.next()
		n, err := p.encapsulation(t)
		return n, true, err
	case "less", "greater":
		p.next()
		v := p.next()
		if v.kind != number {
			return nil, true, p.errorAt(v, "%s wants a length in octets", t.text)
		}
		cond := bpf.JumpLessOrEqual
		if t.text == "greater" {
			cond = bpf.JumpGreaterOrEqual
		}
		return test{code: []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}, cond: cond, val: v.value}, true, nil
	case "broadcast", "multicast":
		p.next()
		n, err := p.group("ether", t)
		return n, true, err
	case "inbound", "outbound", "gateway", "protochain", "pppoed", "ifname", "on", "rnr", "rulenum", "reason", "rset", "ruleset", "srnr",
		"subrulenum", "action", "wlan", "type", "subtype", "geneve", "vxlan", "iso", "stp", "ipx", "netbeui", "decnet", "atalk", "aarp", "lat",
		"moprc", "mopdl", "clnp", "isis", "fddi", "tr", "llc":
		return nil, true, p.errorAt(t, "%s is not supported here; a program compiled elsewhere (tcpdump -ddd) can be given instead", t.text)
	}
	return nil, false, nil
}

// encapsulation reads vlan, mpls and pppoes, and moves what follows behind them.
func (p *parser) encapsulation(t token) (node, error) {
	if p.link.kind != kindEthernet || p.link.labels > 0 && t.text != "mpls" || p.link.session && t.text != "mpls" {
		return nil, p.errorAt(t, "there is no %s in such packets", t.text)
	}
	var id *token
	if v := p.peek(); v.kind == number && !p.arithmeticAhead() {
		v = p.next()
		id = &v
	}
	limit := map[string]uint32{"vlan": 0xfff, "mpls": 0xfffff, "pppoes": 0xffff}[t.text]
	if id != nil && id.value > limit {
		return nil, p.errorAt(*id, "%s is at most %d", t.text, limit)
	}
	l := &p.link
	var n node
	switch t.text {
	case "vlan":
		n = anyOf(l.is(etherVLAN), l.is(etherQinQ), l.is(etherQinQ91))
		if id != nil {
			n = both{n, masked(l.net, 2, 0xfff, id.value)}
		}
		l.typ, l.net = l.typ+4, l.net+4
	case "mpls":
		if l.labels > 0 {
			n = masked(l.net-2, 1, 1, 0)
		} else {
			n = l.is(etherMPLS)
		}
		if id != nil {
			n = both{n, masked(l.net, 4, 0xfffff000, id.value<<12)}
		}
		l.labels, l.net = l.labels+1, l.net+4
	case "pppoes":
		n = l.is(etherPPPoES)
		if id != nil {
			n = both{n, masked(l.net, 4, 0xffff, id.value)}
		}
		l.session, l.typ, l.net = true, l.net+6, l.net+8
	}
	p.last = qualifiers{}
	return n, nil
}

// group is broadcast or multicast of a protocol.
func (p *parser) group(proto string, t token) (node, error) {
	switch {
	case proto == "ether" && p.link.kind == kindEthernet:
		if t.text == "multicast" {
			return test{code: []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 1}}, cond: bpf.JumpBitsSet, val: 1}, nil
		}
		return both{equal(2, 4, 0xffffffff), equal(0, 2, 0xffff)}, nil
	case proto == "ip" && t.text == "multicast":
		return both{p.link.is(etherIPv4), test{code: []bpf.Instruction{bpf.LoadAbsolute{Off: p.link.net + 16, Size: 1}}, cond: bpf.JumpGreaterOrEqual, val: 224}}, nil
	case proto == "ip6" && t.text == "multicast":
		return both{p.link.is(etherIPv6), equal(p.link.net+24, 1, 255)}, nil
	case proto == "ip":
		return nil, p.errorAt(t, "ip broadcast needs the netmask of the interface, which is not known here: name the address with dst host")
	}
	return nil, p.errorAt(t, "there is no %s %s in such packets", proto, t.text)
}

// qualified reads qualifiers and what they stand in front of.
func (p *parser) qualified() (node, error) {
	var q qualifiers
	first := p.peek()
	if t := first; t.kind == word && !t.quoted {
		switch t.text {
		case "ether", "link":
			q.proto = "ether"
			p.next()
		case "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "igrp", "pim", "vrrp", "carp", "ah", "esp":
			q.proto = t.text
			p.next()
		}
	}
	for {
		t := p.peek()
		if t.kind != word || t.quoted {
			break
		}
		if q.dir == "" && (t.text == "src" || t.text == "dst") {
			p.next()
			q.dir = t.text
			other := map[string]string{"src": "dst", "dst": "src"}[t.text]
			for _, join := range []string{"or", "and"} {
				if a, b := p.peek(), p.peekAt(1); a.kind == word && a.text == join && b.kind == word && b.text == other {
					p.at += 2
					q.dir = "src " + join + " dst"
				}
			}
			continue
		}
		if q.typ == "" && slices.Contains([]string{"host", "net", "port", "portrange", "proto"}, t.text) {
			p.next()
			q.typ = t.text
		}
		break
	}
	t := p.peek()
	if q.dir == "" && q.typ == "" && q.proto != "" {
		if t.kind == word && !t.quoted && (t.text == "broadcast" || t.text == "multicast") {
			p.next()
			return p.group(q.proto, t)
		}
		if q.proto == "ether" {
			return nil, p.errorAt(t, "ether wants host, src, dst, proto, broadcast or multicast")
		}
		if !p.identifierAhead() {
			p.last = qualifiers{}
			return p.abbreviation(first)
		}
	}
	if q == (qualifiers{}) && t.kind == word && !t.quoted {
		return nil, p.errorAt(t, "%s", unknownWord(t.text))
	}
	if q == (qualifiers{}) && t.kind != dotted && t.kind != addr6 {
		what := "it stands where host, net, port or a protocol is expected"
		if t.kind == end {
			what = "host, net, port or a protocol is missing"
		}
		return nil, p.errorAt(t, "%s", what)
	}
	if q.typ == "" {
		q.typ = "host"
	}
	p.last = q
	if t.kind == operator && t.text == "(" {
		p.next()
		n, err := p.identifiers(q)
		if err != nil {
			return nil, err
		}
		return n, p.expect(")", "")
	}
	return p.identifier(q)
}

// identifierAhead reports whether an address follows a protocol directly, as in
// "ip 10.0.0.1".
func (p *parser) identifierAhead() bool {
	switch p.peek().kind {
	case dotted, addr6, mac:
		return true
	}
	return false
}

// identifiers reads a parenthesis of them: port (80 or 443).
func (p *parser) identifiers(q qualifiers) (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorAt(p.peek(), "more than %d parentheses and negations inside of each other", maxDepth)
	}
	defer func() { p.depth-- }()
	one := func() (node, error) {
		negate := false
		for p.take("not", "!") {
			negate = !negate
		}
		var n node
		var err error
		if p.take("(") {
			if n, err = p.identifiers(q); err == nil {
				err = p.expect(")", "")
			}
		} else {
			n, err = p.identifier(q)
		}
		if err == nil && negate {
			n = negation{n}
		}
		return n, err
	}
	n, err := one()
	for err == nil {
		and := p.take("and", "&&")
		if !and && !p.take("or", "||") {
			return n, nil
		}
		var m node
		if m, err = one(); and {
			n = both{n, m}
		} else {
			n = either{n, m}
		}
	}
	return nil, err
}

// abbreviation is a protocol that stands for itself.
func (p *parser) abbreviation(t token) (node, error) {
	l := p.link
	switch t.text {
	case "ip", "ip6", "arp", "rarp":
		return l.is(etherTypes[t.text]), nil
	case "icmp6":
		return l.protocol6(protocols["icmp6"]), nil
	case "icmp", "igmp", "igrp", "vrrp", "carp":
		return l.protocol4(protocols[t.text]), nil
	}
	return either{l.protocol4(protocols[t.text]), l.protocol6(protocols[t.text])}, nil
}

// identifier reads an address, net, port or protocol and makes the test of it.
func (p *parser) identifier(q qualifiers) (node, error) {
	t := p.next()
	if t.kind == end {
		return nil, p.errorAt(t, "what %s is meant is missing", q.typ)
	}
	if t.kind == operator || t.kind == word && !t.quoted && keywords[t.text] {
		return nil, p.errorAt(t, "it stands where what %s is meant is expected", q.typ)
	}
	switch q.typ {
	case "port", "portrange":
		return p.ports(q, t)
	case "proto":
		return p.protocol(q, t)
	case "net":
		return p.network(q, t)
	}
	return p.host(q, t)
}
