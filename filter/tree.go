package filter

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"flowtally/flow"
)

// op is what a node of the tree does.
type op uint8

const (
	opPrim op = iota
	opNot
	opAnd
	opOr
)

// expr is a node of the tree. Nodes of and and or are flat: no child is of the same
// operator; no not has a not below it. So few trees mean the same, and the printed
// form parses to the tree that it was printed from.
type expr struct {
	op   op
	kids []*expr
	prim *prim
}

// span is a closed range of numbers.
type span struct{ lo, hi uint64 }

// prim is a primitive: a field and a set of values, one of which it must have.
// Every comparison is one: > 5 is the values from 6 on.
type prim struct {
	f     *field
	nums  []span         // sorted, disjoint, not adjoining
	nets  []netip.Prefix // sorted, disjoint
	words []string       // sorted
	mask  uint64         // bits that are all set; then there is nothing else
}

// join joins two or more by and or or.
func join(o op, kids []*expr) *expr {
	e := &expr{op: o}
	for _, k := range kids {
		if k.op == o {
			e.kids = append(e.kids, k.kids...)
		} else {
			e.kids = append(e.kids, k)
		}
	}
	return e
}

func negate(e *expr) *expr {
	if e.op == opNot {
		return e.kids[0]
	}
	return &expr{op: opNot, kids: []*expr{e}}
}

// walk calls f for each primitive.
func (e *expr) walk(f func(*prim)) {
	if e == nil {
		return
	}
	if e.op == opPrim {
		f(e.prim)
	}
	for _, k := range e.kids {
		k.walk(f)
	}
}

// columns returns the columns that the primitives below read, sorted.
func (e *expr) columns() []string {
	var all []string
	e.walk(func(p *prim) {
		for _, f := range p.f.either() {
			all = append(all, f.columns...)
		}
		if p.f.kind == kindExporter || p.f.kind == kindInterface {
			all = append(all, "exporter_id")
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// print writes the canonical form; around is the operator that encloses it.
func (e *expr) print(b *strings.Builder, around op) {
	if e == nil {
		return
	}
	switch e.op {
	case opPrim:
		e.prim.print(b)
	case opNot:
		b.WriteString("not ")
		if k := e.kids[0]; k.op == opPrim {
			k.print(b, 0)
		} else {
			b.WriteByte('(')
			k.print(b, 0)
			b.WriteByte(')')
		}
	case opAnd, opOr:
		word := " and "
		if e.op == opOr {
			word = " or "
		}
		if around == opAnd {
			b.WriteByte('(')
		}
		for i, k := range e.kids {
			if i > 0 {
				b.WriteString(word)
			}
			k.print(b, e.op)
		}
		if around == opAnd {
			b.WriteByte(')')
		}
	}
}

func (p *prim) print(b *strings.Builder) {
	b.WriteString(p.f.name)
	if p.f.kind == kindNone {
		return
	}
	b.WriteByte(' ')
	if p.mask != 0 {
		b.WriteString(p.f.bitText(p.mask))
		return
	}
	if n := len(p.nums) + len(p.nets) + len(p.words); n == 0 {
		b.WriteString("< 0")
		return
	} else if n == 1 && len(p.nums) == 1 {
		s := p.nums[0]
		switch {
		case s.lo == s.hi && p.f.kind == kindFlags && s.lo > 0 && s.lo < 512:
			b.WriteString("=" + p.f.bitText(s.lo))
		case s.lo == s.hi:
			b.WriteString(p.f.text(s.lo))
		case s.hi == p.f.max:
			b.WriteString(">= " + p.f.text(s.lo))
		case s.lo == 0:
			b.WriteString("<= " + p.f.text(s.hi))
		default:
			b.WriteString(p.f.digits(s.lo) + "-" + p.f.digits(s.hi))
		}
		return
	} else if n > 1 {
		b.WriteString("in [")
		defer b.WriteByte(']')
	}
	sep := ""
	for _, s := range p.nums {
		if s.hi > s.lo {
			b.WriteString(sep + p.f.digits(s.lo) + "-" + p.f.digits(s.hi))
		} else {
			b.WriteString(sep + p.f.text(s.lo))
		}
		sep = ", "
	}
	for _, n := range p.nets {
		b.WriteString(sep)
		if n.IsSingleIP() {
			b.WriteString(n.Addr().String())
		} else {
			b.WriteString(n.String())
		}
		sep = ", "
	}
	for _, w := range p.words {
		if p.f.kind == kindMAC || p.f.kind == kindAddr {
			b.WriteString(sep + w)
		} else {
			b.WriteString(sep + quote(w))
		}
		sep = ", "
	}
}

// Quote returns a name as a filter writes it, between quotes; ok is false for
// the few that cannot be written: empty ones, those with both kinds of quotes,
// with control characters, or that are not UTF-8.
func Quote(name string) (text string, ok bool) {
	if name == "" || strings.Contains(name, `"`) && strings.Contains(name, "'") ||
		strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		return "", false
	}
	return quote(name), true
}

// quote puts a word between quotes that it does not contain.
func quote(s string) string {
	if strings.Contains(s, `"`) {
		return "'" + s + "'"
	}
	return `"` + s + `"`
}

// text returns a number as the field writes it.
func (f *field) text(n uint64) string {
	if f.kind == kindTime {
		return flow.Time(n).Time().Format("2006-01-02T15:04:05.000Z")
	}
	if f.nameOf != nil {
		if s := f.nameOf(n); s != "" {
			return s
		}
	}
	return f.digits(n)
}

// digits returns a number in digits, which is how a range has its ends.
func (f *field) digits(n uint64) string {
	if f.large && n > 0 {
		for _, u := range suffixes {
			if n%u.of == 0 {
				return strconv.FormatUint(n/u.of, 10) + u.letter
			}
		}
	}
	return strconv.FormatUint(n, 10)
}

var suffixes = []struct {
	letter string
	of     uint64
}{{"t", 1e12}, {"g", 1e9}, {"m", 1e6}, {"k", 1e3}}

// uniteSpans sorts, and joins what overlaps or adjoins.
func uniteSpans(s []span) []span {
	slices.SortFunc(s, func(a, b span) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		}
		return 0
	})
	out := s[:0]
	for _, n := range s {
		if k := len(out); k > 0 && (n.lo <= out[k-1].hi || n.lo == out[k-1].hi+1) {
			out[k-1].hi = max(out[k-1].hi, n.hi)
			continue
		}
		out = append(out, n)
	}
	return out
}

// uniteNets sorts, and leaves out what lies in another.
func uniteNets(nets []netip.Prefix) []netip.Prefix {
	slices.SortFunc(nets, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	out := nets[:0]
	for _, n := range nets {
		if k := len(out); k > 0 && out[k-1].Contains(n.Addr()) && out[k-1].Bits() <= n.Bits() {
			continue
		}
		out = append(out, n)
	}
	return out
}
