package filter

import (
	"net/netip"
	"strconv"
	"strings"

	"flowtally/flow"
)

// SQL returns the filter as a condition on the columns of the view flows, with
// its values appended to args as parameters $n from len(args)+1 on: int64,
// string, netip.Addr, netip.Prefix, time.Time and slices of the first four.
//
// The condition is true for the rows that match, and only for these. For others
// it is false or null, which is the same to where, filter and case; who denies
// it has to write "(…) is not true", as the text itself does. It does without
// "is true" so that plain comparisons stay what indexes and partitions can be
// chosen by. The columns are not qualified.
func (f *Filter) SQL(args []any) (text string, _ []any) {
	if f.root == nil {
		return "true", args
	}
	w := writer{f: f, args: args}
	w.expr(f.root, false)
	return w.b.String(), w.args
}

type writer struct {
	f    *Filter
	b    strings.Builder
	args []any
}

// arg adds a parameter and returns its name.
func (w *writer) arg(v any) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args))
}

// expr writes e, in parentheses where what is around it needs them.
func (w *writer) expr(e *expr, inside bool) {
	switch e.op {
	case opPrim:
		w.prim(e.prim)
	case opNot:
		w.b.WriteString("(")
		w.expr(e.kids[0], false)
		w.b.WriteString(") is not true")
	case opAnd, opOr:
		word := " and "
		if e.op == opOr {
			word = " or "
		}
		if inside {
			w.b.WriteByte('(')
		}
		for i, k := range e.kids {
			if i > 0 {
				w.b.WriteString(word)
			}
			if k.op == opNot {
				w.b.WriteByte('(')
			}
			w.expr(k, true)
			if k.op == opNot {
				w.b.WriteByte(')')
			}
		}
		if inside {
			w.b.WriteByte(')')
		}
	}
}

// maxBlocks is up to how many networks are written as ranges, each for itself;
// more are compared as a list.
const maxBlocks = 8

// prim writes the alternatives of a primitive: of each side, of each kind of
// value. The parameters are the same for all sides.
func (w *writer) prim(p *prim) {
	nets, names := w.f.addresses(p)
	var of []func(f *field) string // each a way to be true
	if p.f.test == nil {
		of = w.conditions(p, nets, names)
	} else {
		of = append(of, func(f *field) string { return f.column })
	}
	var all []string
	for _, f := range p.f.either() {
		for _, c := range of {
			all = append(all, c(f))
		}
	}
	switch len(all) {
	case 0:
		w.b.WriteString("false")
	case 1:
		w.b.WriteString(all[0])
	default:
		w.b.WriteString("(" + strings.Join(all, " or ") + ")")
	}
}

func (w *writer) conditions(p *prim, nets []netip.Prefix, names []string) (of []func(f *field) string) {
	if p.mask != 0 {
		m := w.arg(int64(p.mask))
		of = append(of, func(f *field) string { return "(" + f.column + " & " + m + "::int) = " + m + "::int" })
	}
	var single []int64
	for _, s := range p.nums {
		switch {
		case s.lo == s.hi && p.f.kind != kindTime:
			single = append(single, int64(s.lo))
		case s.lo == s.hi:
			a := w.number(p.f, s.lo)
			of = append(of, func(f *field) string { return f.column + " = " + a })
		case s.lo == 0 && s.hi >= p.f.max:
			of = append(of, func(f *field) string { return f.column + " is not null" })
		case s.lo == 0:
			a := w.number(p.f, s.hi)
			of = append(of, func(f *field) string { return f.column + " <= " + a })
		case s.hi >= p.f.max:
			a := w.number(p.f, s.lo)
			of = append(of, func(f *field) string { return f.column + " >= " + a })
		default:
			a, b := w.number(p.f, s.lo), w.number(p.f, s.hi)
			of = append(of, func(f *field) string { return "(" + f.column + " >= " + a + " and " + f.column + " <= " + b + ")" })
		}
	}
	if len(single) == 1 {
		a := w.number(p.f, uint64(single[0]))
		of = append(of, func(f *field) string { return f.column + " = " + a })
	} else if len(single) > 1 {
		a := w.arg(single)
		of = append(of, func(f *field) string { return f.column + " = any(" + a + "::bigint[])" })
	}
	of = append(of, w.networks(p, nets)...)
	if len(names) == 0 || p.f.kind == kindAddr {
		return of
	}
	a := w.arg(names)
	switch p.f.kind {
	case kindInterface:
		of = append(of, func(f *field) string {
			return "(exporter_id, " + f.column + ") in (select i.exporter_id, i.if_index from interfaces i where i.name = any(" + a + "::text[]))"
		})
	default:
		if len(names) == 1 {
			w.args[len(w.args)-1] = names[0]
			of = append(of, func(f *field) string { return f.column + " = " + a })
		} else {
			of = append(of, func(f *field) string { return f.column + " = any(" + a + "::text[])" })
		}
	}
	return of
}

// number adds a parameter for a number of the field.
func (w *writer) number(f *field, n uint64) string {
	if f.kind == kindTime {
		return w.arg(flow.Time(min(n, maxTime)).Time())
	}
	return w.arg(int64(n))
}

// maxTime is the end of the year 9999.
const maxTime = 253_402_300_799_999

func (w *writer) networks(p *prim, nets []netip.Prefix) (of []func(f *field) string) {
	column := func(f *field) string {
		if f.kind == kindExporter {
			return "exporter_addr"
		}
		return f.column
	}
	var single []netip.Addr
	var blocks []netip.Prefix
	for _, n := range nets {
		if n.IsSingleIP() {
			single = append(single, n.Addr())
		} else {
			blocks = append(blocks, n)
		}
	}
	if len(single) == 1 {
		a := w.arg(single[0])
		of = append(of, func(f *field) string { return column(f) + " = " + a })
	} else if len(single) > 1 {
		a := w.arg(single)
		of = append(of, func(f *field) string { return column(f) + " = any(" + a + "::inet[])" })
	}
	if len(blocks) > maxBlocks {
		a := w.arg(blocks)
		return append(of, func(f *field) string { return column(f) + " <<= any(" + a + "::inet[])" })
	}
	for _, n := range blocks {
		from, to := bounds(n)
		a, b := w.arg(from), w.arg(to)
		of = append(of, func(f *field) string { return "(" + column(f) + " >= " + a + " and " + column(f) + " <= " + b + ")" })
	}
	return of
}
