package pcapfilter

import (
	"slices"

	"golang.org/x/net/bpf"
)

// A tree of nodes says when a packet is accepted. It is and, or, not, a test,
// or a constant.
type (
	both     struct{ a, b node }
	either   struct{ a, b node }
	negation struct{ a node }
	constant bool
	// test runs code, which leaves a value in A, and compares it: with val or,
	// when x is set, with X.
	test struct {
		code []bpf.Instruction
		cond bpf.JumpTest
		val  uint32
		x    bool
	}
	node any
)

func allOf(nodes ...node) node {
	n := nodes[0]
	for _, m := range nodes[1:] {
		n = both{n, m}
	}
	return n
}

func anyOf(nodes ...node) node {
	n := nodes[0]
	for _, m := range nodes[1:] {
		n = either{n, m}
	}
	return n
}

// equal tests size octets at off.
func equal(off uint32, size int, val uint32) node {
	return test{code: []bpf.Instruction{bpf.LoadAbsolute{Off: off, Size: size}}, cond: bpf.JumpEqual, val: val}
}

// masked tests size octets at off under a mask.
func masked(off uint32, size int, mask, val uint32) node {
	switch {
	case mask == 0:
		return constant(val == 0)
	case size == 4 && mask == 0xffffffff:
		return equal(off, size, val)
	}
	return test{code: []bpf.Instruction{
		bpf.LoadAbsolute{Off: off, Size: size},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask},
	}, cond: bpf.JumpEqual, val: val}
}

// generator writes a program from its end to its begin, because BPF jumps only
// forward: so every target is known when a jump to it is written. A label counts
// instructions from the end.
type generator struct {
	reversed []bpf.Instruction
}

type label int

// here is the label of the instruction that was written last.
func (g *generator) here() label { return label(len(g.reversed)) }

func (g *generator) emit(i bpf.Instruction) label {
	g.reversed = append(g.reversed, i)
	return g.here()
}

// skip is how many instructions lie between the next one to be written and to.
func (g *generator) skip(to label) int { return int(g.here() - to) }

func (g *generator) jumpTo(to label) label {
	return g.emit(bpf.Jump{Skip: uint32(g.skip(to))})
}

// node writes n, which goes on at t or f, and returns where it begins.
func (g *generator) node(n node, t, f label) label {
	switch n := n.(type) {
	case both:
		b := g.node(n.b, t, f)
		return g.node(n.a, b, f)
	case either:
		b := g.node(n.b, t, f)
		return g.node(n.a, t, b)
	case negation:
		return g.node(n.a, f, t)
	case constant:
		if n {
			return t
		}
		return f
	}
	c := n.(test)
	// A conditional jump reaches 255 instructions: a long one goes by a stop. The
	// second stop lies one further from what the first one is for.
	if g.skip(t) > 250 {
		t = g.jumpTo(t)
	}
	if g.skip(f) > 250 {
		f = g.jumpTo(f)
	}
	onTrue, onFalse := uint8(g.skip(t)), uint8(g.skip(f))
	if c.x {
		g.emit(bpf.JumpIfX{Cond: c.cond, SkipTrue: onTrue, SkipFalse: onFalse})
	} else {
		g.emit(bpf.JumpIf{Cond: c.cond, Val: c.val, SkipTrue: onTrue, SkipFalse: onFalse})
	}
	for _, i := range slices.Backward(c.code) {
		g.emit(i)
	}
	return g.here()
}

func (g *generator) program() []bpf.Instruction {
	prog := slices.Clone(g.reversed)
	slices.Reverse(prog)
	return prog
}
