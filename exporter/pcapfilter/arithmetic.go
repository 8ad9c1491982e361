package pcapfilter

import (
	"slices"

	"golang.org/x/net/bpf"
)

// value is a number: a constant, or code that leaves it in A. guards must hold
// for it to be there at all: tcp[13] is only in a TCP segment.
type value struct {
	constant bool
	number   uint32
	code     []bpf.Instruction
	guards   []node
	// depth is how many cells of scratch memory code uses.
	depth int
}

// scratch is how many cells of scratch memory the machine has.
const scratch = 16

func (v value) load() []bpf.Instruction {
	if v.constant {
		return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: v.number}}
	}
	return v.code
}

// accessible reports whether a protocol's octets can be asked for.
func accessible(proto string) bool {
	switch proto {
	case "ether", "link", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "igrp", "pim", "vrrp", "carp":
		return true
	}
	return false
}

var comparators = map[string]bpf.JumpTest{
	"=": bpf.JumpEqual, "==": bpf.JumpEqual, "!=": bpf.JumpNotEqual,
	"<": bpf.JumpLessThan, "<=": bpf.JumpLessOrEqual, ">": bpf.JumpGreaterThan, ">=": bpf.JumpGreaterOrEqual,
}

// comparison reads two numbers and what compares them.
func (p *parser) comparison() (node, error) {
	p.last = qualifiers{}
	a, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	t := p.next()
	cond, ok := comparators[t.text]
	if t.kind != operator || !ok {
		return nil, p.errorAt(t, "a comparison is expected here: = != < <= > >=")
	}
	b, err := p.arithmetic(0)
	if err != nil {
		return nil, err
	}
	var n node
	if b.constant {
		n = test{code: a.load(), cond: cond, val: b.number}
	} else {
		code, _, ok := join(a, b)
		if !ok {
			return nil, p.errorAt(t, "the comparison needs more than %d intermediate results", scratch)
		}
		n = test{code: code, cond: cond, x: true}
	}
	for _, g := range slices.Backward(append(a.guards, b.guards...)) {
		n = both{g, n}
	}
	return n, nil
}

// join is code that leaves a in A and b in X.
func join(a, b value) (code []bpf.Instruction, depth int, ok bool) {
	if b.constant {
		return append(slices.Clone(a.load()), bpf.LoadConstant{Dst: bpf.RegX, Val: b.number}), a.depth, true
	}
	// b is computed while a waits in a cell that b does not use.
	cell := max(a.depth, b.depth)
	if cell >= scratch {
		return nil, 0, false
	}
	code = append(code, a.load()...)
	code = append(code, bpf.StoreScratch{Src: bpf.RegA, N: cell})
	code = append(code, b.load()...)
	code = append(code, bpf.TAX{}, bpf.LoadScratch{Dst: bpf.RegA, N: cell})
	return code, cell + 1, true
}

// levels are the operators by how tightly they bind, loosest first; libpcap's
// grammar has | and & on one level, ^ with the products.
var levels = [][]string{{"|", "&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "%", "^"}}

var aluOps = map[string]bpf.ALUOp{
	"|": bpf.ALUOpOr, "&": bpf.ALUOpAnd, "<<": bpf.ALUOpShiftLeft, ">>": bpf.ALUOpShiftRight,
	"+": bpf.ALUOpAdd, "-": bpf.ALUOpSub, "*": bpf.ALUOpMul, "/": bpf.ALUOpDiv, "%": bpf.ALUOpMod, "^": bpf.ALUOpXor,
}

func (p *parser) arithmetic(level int) (value, error) {
	if level == len(levels) {
		return p.operand()
	}
	a, err := p.arithmetic(level + 1)
	if err != nil {
		return a, err
	}
	for {
		t := p.peek()
		if t.kind != operator || !slices.Contains(levels[level], t.text) {
			return a, nil
		}
		p.next()
		b, err := p.arithmetic(level + 1)
		if err != nil {
			return a, err
		}
		if a, err = p.combine(t, a, b); err != nil {
			return a, err
		}
	}
}

func (p *parser) combine(t token, a, b value) (value, error) {
	switch {
	case b.constant && b.number == 0 && (t.text == "/" || t.text == "%"):
		return a, p.errorAt(t, "a division by zero")
	case b.constant && b.number > 31 && (t.text == "<<" || t.text == ">>"):
		return a, p.errorAt(t, "a shift by more than 31 bits")
	case a.constant && b.constant:
		x, y := a.number, b.number
		switch t.text {
		case "|":
			x |= y
		case "&":
			x &= y
		case "<<":
			x <<= y
		case ">>":
			x >>= y
		case "+":
			x += y
		case "-":
			x -= y
		case "*":
			x *= y
		case "/":
			x /= y
		case "%":
			x %= y
		case "^":
			x ^= y
		}
		return value{constant: true, number: x}, nil
	}
	out := value{guards: append(a.guards, b.guards...)}
	if b.constant {
		out.code = append(slices.Clone(a.load()), bpf.ALUOpConstant{Op: aluOps[t.text], Val: b.number})
		out.depth = a.depth
		return out, nil
	}
	code, depth, ok := join(a, b)
	if !ok {
		return a, p.errorAt(t, "the expression needs more than %d intermediate results", scratch)
	}
	out.code, out.depth = append(code, bpf.ALUOpX{Op: aluOps[t.text]}), depth
	return out, nil
}

func (p *parser) operand() (value, error) {
	if p.depth++; p.depth > maxDepth {
		return value{}, p.errorAt(p.peek(), "more than %d parentheses and negations inside of each other", maxDepth)
	}
	defer func() { p.depth-- }()
	t := p.next()
	switch {
	case t.kind == number:
		return value{constant: true, number: t.value}, nil
	case t.kind == operator && t.text == "(":
		v, err := p.arithmetic(0)
		if err != nil {
			return v, err
		}
		return v, p.expect(")", "")
	case t.kind == operator && t.text == "-":
		v, err := p.operand()
		if err != nil {
			return v, err
		}
		if v.constant {
			v.number = -v.number
			return v, nil
		}
		// x/net/bpf's machine does not know NegateA.
		v.code = append(slices.Clone(v.code), bpf.TAX{}, bpf.LoadConstant{Dst: bpf.RegA}, bpf.ALUOpX{Op: bpf.ALUOpSub})
		return v, nil
	case t.kind == word && t.text == "len" && !t.quoted:
		return value{code: []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}}, nil
	case t.kind == word && !t.quoted && accessible(t.text):
		return p.octets(t)
	case t.kind == word:
		if v, ok := fields[t.text]; ok && !t.quoted {
			return value{constant: true, number: v}, nil
		}
	}
	return value{}, p.errorAt(t, "a number, len or a protocol's octets, such as tcp[13], is expected here")
}

// octets reads proto[offset] and proto[offset:size].
func (p *parser) octets(t token) (value, error) {
	if err := p.expect("[", " (as in "+t.text+"[0])"); err != nil {
		return value{}, err
	}
	index, err := p.arithmetic(0)
	if err != nil {
		return value{}, err
	}
	size := 1
	if p.take(":") {
		s := p.next()
		if s.kind != number || s.value != 1 && s.value != 2 && s.value != 4 {
			return value{}, p.errorAt(s, "1, 2 or 4 octets can be read at once")
		}
		size = int(s.value)
	}
	if err := p.expect("]", ""); err != nil {
		return value{}, err
	}
	l := p.link
	v := value{guards: index.guards, depth: index.depth}
	base := l.net
	switch t.text {
	case "ether", "link":
		base = 0
	case "ip", "ip6", "arp", "rarp":
		v.guards = append(v.guards, l.is(etherTypes[t.text]))
	case "icmp6":
		v.guards = append(v.guards, both{l.is(etherIPv6), equal(l.net+6, 1, 58)})
		base = l.net + 40
	default:
		// Behind the IPv4 header, whose length X is to hold. IPv6 is left out, as
		// libpcap does.
		v.guards = append(v.guards, l.protocol4(protocols[t.text]), l.notFragment())
		if index.constant {
			v.code = []bpf.Instruction{bpf.LoadMemShift{Off: l.net}, bpf.LoadIndirect{Off: l.net + index.number, Size: size}}
			return v, nil
		}
		v.code = append(slices.Clone(index.load()), bpf.LoadMemShift{Off: l.net}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{}, bpf.LoadIndirect{Off: l.net, Size: size})
		return v, nil
	}
	if index.constant {
		v.code = []bpf.Instruction{bpf.LoadAbsolute{Off: base + index.number, Size: size}}
		return v, nil
	}
	v.code = append(slices.Clone(index.load()), bpf.TAX{}, bpf.LoadIndirect{Off: base, Size: size})
	return v, nil
}
