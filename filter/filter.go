// Package filter is the language in which people select flows: nfdump's, with a
// few words more (docs/filter.md has the grammar).
//
// A text is parsed once into a tree. The tree has two back ends that always
// agree: Match, over a flow.Record, and SQL, over the columns of the view flows.
// The words for what a record says come from flow.Fields and flow.Pairs.
// The logic has two values: a field that a record does not carry makes a
// primitive false, and so its negation true.
//
// The package is pure. Resolve looks names of hosts up through the function that it
// is given, Match names of exporters and interfaces through the Names.
package filter

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"flowtally/flow"
)

const (
	// MaxLength is how many bytes a filter's text may have.
	MaxLength = 10_240
	// MaxDepth is how deep parentheses and not may be nested.
	MaxDepth = 100
	// MaxList is how many values a list may have.
	MaxList = 5_000
	// MaxHosts is how many host names a filter may have looked up, and MaxAnswers
	// how many addresses of one are taken.
	MaxHosts, MaxAnswers = 16, 64
)

// Filter is a parsed filter. It is immutable, and safe for concurrent use.
type Filter struct {
	root     *expr // nil matches everything
	events   bool  // of events, not of flows
	resolved map[string][]netip.Addr
	match    matcher
}

// Names returns what exporters and interfaces are called. An absent name is "",
// an absent address the zero value.
type Names interface {
	// Exporter returns what the column exporter has, the exporter's label, and its
	// address.
	Exporter(id flow.ExporterID) (name string, addr netip.Addr)
	// Interface returns the name of an interface by its ifIndex.
	Interface(id flow.ExporterID, index uint32) string
}

// Domains may be implemented by Names besides; without it no record carries an
// observation domain.
type Domains interface {
	// Domain returns the observation domain of an exporter.
	Domain(id flow.ExporterID) (domain uint32, ok bool)
}

// Resolver looks up the addresses of a host.
type Resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// Error says what is wrong with a text, and where.
type Error struct {
	// Offset and End enclose the bytes of the text that are wrong; both are the
	// length of the text where something is missing at its end.
	Offset, End int
	// Msg says what is wrong, in lower case and without the position.
	Msg string
	// Suggest are words that may have been meant, the likeliest first.
	Suggest []string

	column int      // in characters, from 1
	want   []expect // what could have stood at the end of the text
}

// Error returns what is wrong, at which character, counted from 1, and the
// suggestions.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "filter: character %d: %s", e.column, e.Msg)
	for i, s := range e.Suggest {
		switch {
		case i == 0:
			b.WriteString("; did you mean ")
		case i == len(e.Suggest)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(s))
	}
	if len(e.Suggest) > 0 {
		b.WriteByte('?')
	}
	return b.String()
}

// Column returns the position of what is wrong, in characters from 1.
func (e *Error) Column() int { return e.column }

// Parse parses a filter. The empty text matches everything. An error is an
// *Error.
func Parse(text string) (*Filter, error) { return ParseAt(text, time.Time{}) }

// ParseAt parses a filter whose times are seen from now: what is written without a zone is
// in now's, and -6h is six hours before (calendar.Parse). The zero time is that of Parse:
// then the zone is UTC, and nothing is relative.
func ParseAt(text string, now time.Time) (*Filter, error) { return parseWith(text, now, root) }

// parseWith parses a filter with the words of a vocabulary.
func parseWith(text string, now time.Time, words *trie) (*Filter, error) {
	p := parser{text: text, now: now, root: words}
	root, err := p.parse()
	if err != nil {
		err.column = 1 + len([]rune(text[:err.Offset]))
		return nil, err
	}
	return newFilter(root, nil, words == eventRoot), nil
}

func newFilter(root *expr, resolved map[string][]netip.Addr, events bool) *Filter {
	f := &Filter{root: root, resolved: resolved, events: events}
	if !events {
		f.match = f.compile(root)
	}
	return f
}

// Match reports whether r matches. names may be nil; then no exporter and no
// interface has a name, and an exporter no address.
func (f *Filter) Match(r *flow.Record, names Names) bool { return f.match(r, names) }

// Any reports whether the filter is empty and so matches everything.
func (f *Filter) Any() bool { return f.root == nil }

// Hosts returns the names of hosts that have yet to be looked up, sorted. Until
// then they have no address and match nothing: call Resolve before Match or SQL.
func (f *Filter) Hosts() []string {
	var names []string
	f.root.walk(func(p *prim) {
		if p.f.kind != kindAddr {
			return
		}
		for _, w := range p.words {
			if _, ok := f.resolved[w]; !ok {
				names = append(names, w)
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Resolve returns the filter with those of its hosts looked up that were not yet:
// once, so that each row is compared with the same addresses. A host with several
// addresses means any of them. ctx limits the time.
func (f *Filter) Resolve(ctx context.Context, look Resolver) (*Filter, error) {
	hosts := f.Hosts()
	if len(hosts) == 0 {
		return f, nil
	}
	resolved := maps.Clone(f.resolved)
	if resolved == nil {
		resolved = make(map[string][]netip.Addr, len(hosts))
	}
	for _, h := range hosts {
		addrs, err := look(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("filter: host %q: %w", h, err)
		}
		if len(addrs) == 0 {
			return nil, fmt.Errorf("filter: host %q has no address", h)
		}
		if len(addrs) > MaxAnswers {
			return nil, fmt.Errorf("filter: host %q has %d addresses, more than %d: write a network instead", h, len(addrs), MaxAnswers)
		}
		clean := make([]netip.Addr, len(addrs))
		for i, a := range addrs {
			if !a.IsValid() {
				return nil, fmt.Errorf("filter: host %q: an answer is no address", h)
			}
			clean[i] = a.Unmap().WithZone("")
		}
		slices.SortFunc(clean, netip.Addr.Compare)
		resolved[h] = slices.Compact(clean)
	}
	return newFilter(f.root, resolved, f.events), nil
}

// Resolved returns the addresses that were found for the hosts of the filter.
func (f *Filter) Resolved() map[string][]netip.Addr {
	out := make(map[string][]netip.Addr, len(f.resolved))
	for h, a := range f.resolved {
		out[h] = slices.Clone(a)
	}
	return out
}

// String returns the filter in its canonical form, which parses to the same
// tree; "" for the empty filter.
func (f *Filter) String() string {
	var b strings.Builder
	f.root.print(&b, 0)
	return b.String()
}

// Term is one of the conditions that a flow must meet, all of them.
type Term struct {
	// Field is the canonical name of the field, "" when the term is not a single
	// primitive: then only Columns and Text are set.
	Field string
	// Columns are those of the view flows that the term reads; of a field that
	// means either side, both.
	Columns []string
	// Negated says that the condition must not hold.
	Negated bool
	// Ranges, Prefixes and Words are the values: the term holds when one of them
	// does. Words are names of exporters or interfaces, or texts; Mask are bits
	// that are all set (flags, marks).
	Ranges   []Range
	Prefixes []netip.Prefix
	Words    []string
	Mask     uint64
	// Text is the term as a filter of its own.
	Text string
}

// Range is a closed range of numbers; of times in milliseconds since 1970.
type Range struct{ From, To uint64 }

// Conjuncts returns the conditions that are joined by and at the top of the
// filter, none for the empty filter. Addresses of hosts that have
// been looked up are among the Prefixes.
func (f *Filter) Conjuncts() []Term {
	if f.root == nil {
		return nil
	}
	kids := []*expr{f.root}
	if f.root.op == opAnd {
		kids = f.root.kids
	}
	terms := make([]Term, 0, len(kids))
	for _, e := range kids {
		t := Term{Columns: e.columns()}
		var b strings.Builder
		e.print(&b, 0)
		t.Text = b.String()
		single := e
		if e.op == opNot && e.kids[0].op == opPrim {
			single, t.Negated = e.kids[0], true
		}
		if single.op == opPrim {
			p := single.prim
			t.Field, t.Mask = p.f.name, p.mask
			for _, s := range p.nums {
				t.Ranges = append(t.Ranges, Range{s.lo, s.hi})
			}
			t.Prefixes, t.Words = f.addresses(p)
			t.Prefixes = slices.Clone(t.Prefixes)
			t.Words = slices.Clone(t.Words)
		}
		terms = append(terms, t)
	}
	return terms
}

// Columns returns the columns of the view flows that the filter reads, sorted.
func (f *Filter) Columns() []string { return f.root.columns() }

// addresses returns the networks of a primitive, those of its hosts among them,
// and the names that are left.
func (f *Filter) addresses(p *prim) ([]netip.Prefix, []string) {
	if p.f.kind != kindAddr || len(p.words) == 0 {
		return p.nets, p.words
	}
	nets := slices.Clone(p.nets)
	var left []string
	for _, w := range p.words {
		addrs, ok := f.resolved[w]
		if !ok {
			left = append(left, w)
		}
		for _, a := range addrs {
			nets = append(nets, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return uniteNets(nets), left
}
