package flow

import (
	"slices"
	"strconv"
	"strings"
)

// Field is one thing that a flow record can say: an information element of IPFIX
// (RFC 7012), or what the collector and the store add to it. Fields lists them.
type Field struct {
	// Name identifies the field: src_addr. It is the column of the view flows when
	// SQL is set, and the member of an answer that is ranked by Key.
	Name string
	// Label is what people call it, short enough for a heading: "source address".
	Label string
	// What is the sentence that documentation and the database have of a column,
	// without its elements; empty where Label says it all.
	What string
	// Unit is what its values are counted in: bytes, packets, milliseconds, seconds;
	// empty where they are not counted.
	Unit string

	// Elements are the information elements that say it, the usual ones first.
	// Kin are others from which the decoder takes the same value.
	Elements, Kin []Element

	// Kind says what its values are, Max is the largest number it can have.
	Kind Kind
	Max  uint64
	// PerExporter says that the values are the exporter's own numbers, which mean
	// nothing without it: interfaces, routing instances.
	PerExporter bool

	// Number returns the value as the column has it; ok is false where the column
	// is null. It is nil for fields that are no number, or not of a Record.
	Number func(*Record) (n uint64, ok bool)
	// Addr returns the address and its IP version: 4, 6, or 0 where the column is
	// null. It is nil for fields that are no address, or not of a Record.
	Addr func(*Record) (a Addr, version uint8)
	// Extra says that the field is not in a Record's own fields but a member of its
	// Extra, under the name of the first of Elements that is there.
	Extra bool
	// Zero says that 0 is a value of a field of Extra; of others 0 is what exporters
	// send that have nothing to say, and is left out.
	Zero bool

	// ValueName returns what people call a value, "" for one without a name; it is nil
	// where the values of the Kind are read as such.
	ValueName func(n uint64) string

	// SQL is the type of the column in the view flows, empty without a column, and
	// Stored that of the column of parts.flows, empty where the view computes it.
	SQL, Stored SQLType
	// Null says that the column can be null.
	Null bool
	// From are the other stored columns from which the view computes this one.
	From []string

	// Word is what the filter language calls it, Aliases are its other words for
	// it; Word is empty where the language has none of its own.
	Word    string
	Aliases []string

	// Key is the name of the ranking by it, empty where flows are not ranked by it.
	Key string
}

// Element is an information element: its number and name in IANA's registry, or
// in that of an Enterprise. Those of Cisco's ASA in v9 have numbers above IANA's.
type Element struct {
	ID         uint16
	Name       string
	Enterprise uint32
}

// Kind says what the values of a field are, and so how they are written.
type Kind uint8

// The kinds. Values of those up to KindMarks are numbers.
const (
	// KindNumber is any number.
	KindNumber Kind = iota
	// KindCount is a number of packets or bytes, which adds up over flows.
	KindCount
	// KindTime is a Time.
	KindTime
	// KindPort is a transport port.
	KindPort
	// KindProtocol is an IP protocol number.
	KindProtocol
	// KindTOS is a type of service or traffic class.
	KindTOS
	// KindAS is the number of an autonomous system.
	KindAS
	// KindInterface is an ifIndex.
	KindInterface
	// KindFlags is a set of TCP flags.
	KindFlags
	// KindMarks is a set of Marks.
	KindMarks
	// KindAddr is an IP address.
	KindAddr
	// KindMAC is a MAC address.
	KindMAC
	// KindText is text.
	KindText
	// KindExporter is the name of an exporter, its address when it has none.
	KindExporter
	// KindBytes is uninterpreted bytes, written in hexadecimal.
	KindBytes
	// KindJSON is a JSON object.
	KindJSON
)

// SQLType is a type of PostgreSQL, by the name that pg_type has for it.
type SQLType string

// The types that columns of flows have.
const (
	Int2        SQLType = "int2"
	Int4        SQLType = "int4"
	Int8        SQLType = "int8"
	Inet        SQLType = "inet"
	Text        SQLType = "text"
	Timestamptz SQLType = "timestamptz"
	JSONB       SQLType = "jsonb"
)

// String returns the type by the name that people write: smallint, int, bigint.
func (t SQLType) String() string {
	switch t {
	case Int2:
		return "smallint"
	case Int4:
		return "int"
	case Int8:
		return "bigint"
	}
	return string(t)
}

// IsNumber reports whether the values are numbers.
func (k Kind) IsNumber() bool { return k <= KindMarks }

// IsColumn reports whether the view flows has a column of the field.
func (f *Field) IsColumn() bool { return f.SQL != "" }

// Comment returns what documentation and the database say of the field: the
// sentence and its elements.
func (f *Field) Comment() string {
	what := f.What
	if what == "" {
		what = f.Label
	}
	for i, e := range f.Elements {
		if i == 0 {
			what += "; " + e.String()
		} else {
			what += ", " + e.String()
		}
	}
	return what
}

// String returns the name and the number: sourceTransportPort (7).
func (e Element) String() string { return e.Name + " (" + strconv.Itoa(int(e.ID)) + ")" }

// Members returns the names under which Extra has the field, in the order in
// which they are looked for.
func (f *Field) Members() []string {
	if !f.Extra {
		return nil
	}
	names := make([]string, len(f.Elements))
	for i, e := range f.Elements {
		names[i] = e.Name
	}
	return names
}

// Expression returns the SQL expression of the field over the view flows: its
// column, or what the column extra has of it. A member that is not of the
// field's kind, such as a number of more than 18 digits, gives null.
func (f *Field) Expression() string {
	if f.IsColumn() {
		return f.Name
	}
	text := "extra ->> '" + strings.Join(f.Members(), "', extra ->> '") + "'"
	if len(f.Elements) > 1 {
		text = "coalesce(" + text + ")"
	}
	switch {
	case f.Kind.IsNumber():
		return "substring(" + text + " from '^[0-9]{1,18}$')::bigint"
	case f.Kind == KindAddr:
		return "substring(" + text + " from '^[0-9a-f]{0,4}[.:][0-9a-f.:]+$')::inet"
	}
	return "(" + text + ")"
}

// FieldNamed returns the field of a name, nil when there is none.
func FieldNamed(name string) *Field { return find(func(f *Field) bool { return f.Name == name }) }

// FieldOfKey returns the field that a key ranks by, nil when there is none, as
// for the keys of Pairs.
func FieldOfKey(key string) *Field {
	return find(func(f *Field) bool { return f.Key == key && key != "" })
}

func find(is func(*Field) bool) *Field {
	for i := range Fields {
		if is(&Fields[i]) {
			return &Fields[i]
		}
	}
	return nil
}

// Pair is two fields of the two sides of a flow, either of which may be meant.
type Pair struct {
	// Name identifies the pair as Field.Name does: addr.
	Name string
	// Label is what people call it.
	Label string
	// Src and Dst are the names of the fields.
	Src, Dst string
	// Word, Aliases and Key are as those of Field: what is of either side.
	Word    string
	Aliases []string
	Key     string
}

// PairOfKey returns the pair that a key ranks by, nil when there is none.
func PairOfKey(key string) *Pair {
	i := slices.IndexFunc(Pairs, func(p Pair) bool { return p.Key == key && key != "" })
	if i < 0 {
		return nil
	}
	return &Pairs[i]
}
