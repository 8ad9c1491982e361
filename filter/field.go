package filter

import (
	"slices"
	"strings"

	"flowtally/flow"
)

// kind says what values a field is compared with.
type kind uint8

const (
	kindNone      kind = iota // no value: the word alone is the condition
	kindNumber                // a number, a name for one, a range
	kindTime                  // milliseconds since 1970
	kindAddr                  // an address, a network, the name of a host
	kindFlags                 // letters of TCP flags, or a number
	kindMarks                 // names of marks, or a number
	kindText                  // a text, compared as it is
	kindMAC                   // a MAC address
	kindExporter              // the name of an exporter, or its address
	kindInterface             // an ifIndex, or the name of an interface
)

// kinds are the language's kinds of values by those of the table of fields.
var kinds = map[flow.Kind]kind{
	flow.KindTime: kindTime, flow.KindAddr: kindAddr, flow.KindFlags: kindFlags, flow.KindMarks: kindMarks,
	flow.KindText: kindText, flow.KindMAC: kindMAC, flow.KindExporter: kindExporter, flow.KindInterface: kindInterface,
	flow.KindNumber: kindNumber, flow.KindCount: kindNumber, flow.KindPort: kindNumber, flow.KindProtocol: kindNumber,
	flow.KindTOS: kindNumber, flow.KindAS: kindNumber, flow.KindBytes: kindNumber,
}

// field is a word of the language: what a record or a row of the view has under a
// name. Exactly one of num, addr, str and test is set where there is a value,
// unless sides says that either of two or more fields is meant.
type field struct {
	name    string // canonical, and how it is printed
	aliases []string
	what    string // for people
	kind    kind
	of      flow.Kind // what the kind does not tell: ports and protocols
	max     uint64
	large   bool // printed with suffixes
	// duration says that its numbers may have units of time.
	duration bool

	column  string   // its expression in SQL
	columns []string // of the view, that the expression reads
	num     func(*flow.Record, Names) (uint64, bool)
	addr    func(*flow.Record, Names) (flow.Addr, family)
	str     func(*flow.Record, Names) ([]byte, bool)
	test    matcher // of kindNone

	names  func(string) (span, bool)
	nameOf func(uint64) string
	known  func() []string

	sides  []*field
	refuse string
}

// family is the IP version of an address: 4 or 6, 0 when there is no address.
type family = uint8

func (f *field) either() []*field {
	if f.sides != nil {
		return f.sides
	}
	return []*field{f}
}

// ordered reports whether values can be compared by < and >.
func (f *field) ordered() bool {
	switch f.kind {
	case kindNumber, kindTime, kindFlags, kindMarks, kindInterface:
		return true
	}
	return false
}

// wants says what a value looks like.
func (f *field) wants() string {
	switch f.kind {
	case kindAddr:
		return "an address, a network or the name of a host"
	case kindTime:
		return "a time such as 2026-11-21T09:30"
	case kindFlags:
		return "flags (letters of FSRPAUECN, X for the first six) or a number"
	case kindMarks:
		return "a mark (repaired, clamped, duplicate, moved, borrowed) or a number"
	case kindText:
		return "a text"
	case kindMAC:
		return "a MAC address"
	case kindExporter:
		return "the name or the address of an exporter"
	case kindInterface:
		return "an ifIndex or the name of an interface"
	}
	if f.known != nil {
		return "a number or a name of " + f.name
	}
	return "a number"
}

const flagLetters = "FSRPAUECN"

var markNames = []string{"repaired", "clamped", "duplicate", "moved", "borrowed"}

// bits reads flags or a mark.
func (f *field) bits(s string) (mask uint64, ok bool) {
	if f.kind == kindMarks {
		i := slices.Index(markNames, strings.ToLower(s))
		return 1 << max(i, 0), i >= 0
	}
	for _, r := range strings.ToUpper(s) {
		if r == 'X' {
			mask |= 0x3f
			continue
		}
		i := strings.IndexRune(flagLetters, r)
		if i < 0 {
			return 0, false
		}
		mask |= 1 << i
	}
	return mask, mask != 0
}

// bitText writes what bits reads.
func (f *field) bitText(mask uint64) string {
	if f.kind == kindMarks {
		for i, n := range markNames {
			if mask == 1<<i {
				return n
			}
		}
	}
	var b strings.Builder
	for i := range flagLetters {
		if mask&(1<<i) != 0 {
			b.WriteByte(flagLetters[i])
		}
	}
	return b.String()
}

// either is a field that means any of others.
func either(name, what string, sides []*field, aliases ...string) *field {
	f := *sides[0]
	f.name, f.what, f.aliases, f.sides = name, what, aliases, nil
	for _, s := range sides {
		f.sides = append(f.sides, s.either()...)
	}
	return &f
}

func (f *field) withNames(names map[string]uint64) *field {
	f.names = func(s string) (span, bool) {
		n, ok := names[s]
		return span{n, n}, ok
	}
	f.known = func() []string {
		var out []string
		for s := range names {
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	return f
}

// Field is a word of the language that people can ask for.
type Field struct {
	// Name is the canonical name, Aliases are others for the same.
	Name    string
	Aliases []string
	// What says what it is.
	What string
	// Kind says what its values are: none, number, time, address, flags, marks,
	// text, mac, exporter, interface, port, protocol.
	Kind string
	// Columns are those of the view flows that it reads.
	Columns []string
	// Values are the names that its numbers have, if these are few.
	Values []string
}

// Directions returns the pairs of words that stand in front of others and name the
// two directions of a flow: in their place each other, they turn a condition round.
func Directions() [][2]string { return [][2]string{{"src", "dst"}, {"in", "out"}} }

// Fields returns the vocabulary: the words that have no value, those of flow.Fields
// and flow.Pairs in their order, then those that only the language has.
func Fields() []Field {
	var out []Field
	for _, f := range table {
		if f.refuse != "" {
			continue
		}
		g := Field{Name: f.name, Aliases: slices.Clone(f.aliases), What: f.what, Kind: f.kindName()}
		for _, s := range f.either() {
			g.Columns = append(g.Columns, s.columns...)
		}
		slices.Sort(g.Columns)
		g.Columns = slices.Compact(g.Columns)
		if f.known != nil {
			if v := f.known(); len(v) <= 16 {
				g.Values = v
			}
		}
		if f.kind == kindMarks {
			g.Values = slices.Clone(markNames)
		}
		out = append(out, g)
	}
	return out
}

func (f *field) kindName() string {
	switch f.kind {
	case kindNone:
		return "none"
	case kindTime:
		return "time"
	case kindAddr:
		return "address"
	case kindFlags:
		return "flags"
	case kindMarks:
		return "marks"
	case kindText:
		return "text"
	case kindMAC:
		return "mac"
	case kindExporter:
		return "exporter"
	case kindInterface:
		return "interface"
	}
	switch f.of {
	case flow.KindPort:
		return "port"
	case flow.KindProtocol:
		return "protocol"
	}
	return "number"
}
