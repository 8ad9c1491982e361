package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"flowtally/flow"
	"flowtally/spelling"
)

// Key is what flows are grouped by, in the words of the command line.
//
// KeyAddr, KeyPort, KeyInterface and "mac" mean either side of a flow: the group of an
// address holds the flows that have it as source or as destination, each flow
// once, also when both sides are the same. The shares of such groups are of all
// flows and may add up to more than one.
//
// Several keys make one group of their values. Two either-side keys speak of
// the same side: "addr,port" pairs the source address with the source port and
// the destination address with the destination port; with "interface", the
// source goes with the input interface and the destination with the output
// interface. An interface is one of an exporter: its groups are of both (Grouped). Any other key in the company of an either-side key is the flow's
// own: "addr,protocol", or "addr,dst-port" for the service a host used or
// offered. A key that names one side of what another key already names on
// either side ("addr,src-addr") is refused.
//
// Addresses can be grouped by networks: "src-addr/24", with IPv6 networks of 64
// bits unless "src-addr/24/48" says otherwise. Of an either-side key the flow is
// in one group when both sides are of the same network.
type Key string

// The keys, in the order in which they are listed to people; keyColumns has the
// fields of package flow that they rank by.
const (
	KeySrcAddr   Key = "src-addr"
	KeyDstAddr   Key = "dst-addr"
	KeyAddr      Key = "addr"
	KeySrcPort   Key = "src-port"
	KeyDstPort   Key = "dst-port"
	KeyPort      Key = "port"
	KeyProtocol  Key = "protocol"
	KeyExporter  Key = "exporter"
	KeyInIf      Key = "in-if"
	KeyOutIf     Key = "out-if"
	KeyInterface Key = "interface"
	KeySrcAS     Key = "src-as"
	KeyDstAS     Key = "dst-as"
	KeyNextHop   Key = "next-hop"
	KeyTOS       Key = "tos"
	KeyTCPFlags  Key = "tcp-flags"
	KeyVLAN      Key = "vlan"
)

// The kinds of keys that who answers treats apart.
const (
	KindAddr     = flow.KindAddr
	KindProtocol = flow.KindProtocol
	KindExporter = flow.KindExporter
	// KindInterface is the kind of keys whose values have names beside their numbers.
	KindInterface = flow.KindInterface
)

// KeyColumn is a key in the vocabulary of SQL.
type KeyColumn struct {
	key Key
	// Column is what the answer calls it: a column of the view flows, unless the key
	// means either side or what stands in extra.
	Column string
	// Expression is the SQL, over the view flows, that flows are grouped by: a column
	// of it, or what its column extra has. It is empty for an either-side key.
	Expression string
	// Src and Dst are the expressions of the two sides of an either-side key.
	Src, Dst string
	Kind     flow.Kind
	// V4 and V6 are the lengths of the networks that addresses are grouped by, 0
	// for the addresses themselves.
	V4, V6 int
	// PerExporter says that the values are numbers of each exporter's own.
	PerExporter bool

	// valueName returns what people call a number, nil where they read it as it is.
	valueName func(uint64) string
	sides     []Key
	opposite  Key
}

// EitherSide reports whether the key means either side of a flow.
func (c KeyColumn) EitherSide() bool { return c.Src != "" }

// Sides returns the keys of the two sides of an either-side key, nil for others.
func (c KeyColumn) Sides() []Key { return slices.Clone(c.sides) }

// Opposite returns the key of the other direction, "" for a key without one.
func (c KeyColumn) Opposite() Key { return c.opposite }

// Grouped is the name under which flows are grouped: an exporter's number stays
// when its name changes, and two exporters may share an address.
func (c KeyColumn) Grouped() string {
	if c.Kind == KindExporter {
		return "exporter_id"
	}
	return c.Column
}

// NameColumn is what an answer calls the names of the values, "" for a key whose values
// have none: in_if_name.
func (c KeyColumn) NameColumn() string {
	if c.Kind == KindInterface {
		return c.Column + "_name"
	}
	return ""
}

// Key is the key that the column is of.
func (c KeyColumn) Key() Key { return c.key }

// IsText reports whether the values are read and written as text, not as numbers.
func (c KeyColumn) IsText() bool { return !c.Kind.IsNumber() && c.Kind != KindExporter }

// SQLType is the type of Grouped's values, with all numbers the widest.
func (c KeyColumn) SQLType() string {
	switch {
	case c.Kind == KindAddr:
		return "inet"
	case c.IsText():
		return "text"
	}
	return "bigint"
}

// keyColumns are the keys: first those that people have always had, in their order,
// then the others of flow.Fields, a pair behind its two fields.
var keyColumns = func() []KeyColumn {
	keys := []Key{
		KeySrcAddr, KeyDstAddr, KeyAddr, KeySrcPort, KeyDstPort, KeyPort, KeyProtocol, KeyExporter, KeyInIf, KeyOutIf, KeyInterface,
		KeySrcAS, KeyDstAS, KeyNextHop, KeyTOS, KeyTCPFlags, KeyVLAN,
	}
	add := func(key string) {
		if key != "" && !slices.Contains(keys, Key(key)) {
			keys = append(keys, Key(key))
		}
	}
	for i := range flow.Fields {
		f := &flow.Fields[i]
		add(f.Key)
		for _, p := range flow.Pairs {
			if p.Dst == f.Name {
				add(p.Key)
			}
		}
	}
	columns := make([]KeyColumn, len(keys))
	for i, k := range keys {
		columns[i] = keyColumn(k)
	}
	return columns
}()

// keyColumn makes a key of the field or the pair of fields that it ranks by.
func keyColumn(k Key) KeyColumn {
	if p := flow.PairOfKey(string(k)); p != nil {
		src, dst := flow.FieldNamed(p.Src), flow.FieldNamed(p.Dst)
		return KeyColumn{key: k, Column: p.Name, Src: src.Expression(), Dst: dst.Expression(), Kind: src.Kind, valueName: src.ValueName,
			PerExporter: src.PerExporter, sides: []Key{Key(src.Key), Key(dst.Key)}}
	}
	f := flow.FieldOfKey(string(k))
	c := KeyColumn{key: k, Column: f.Name, Kind: f.Kind, valueName: f.ValueName, PerExporter: f.PerExporter}
	for _, p := range flow.Pairs {
		switch f.Name {
		case p.Src:
			c.opposite = Key(flow.FieldNamed(p.Dst).Key)
		case p.Dst:
			c.opposite = Key(flow.FieldNamed(p.Src).Key)
		}
	}
	if c.Expression = f.Expression(); c.Kind == KindExporter {
		c.Expression = c.Grouped()
	}
	return c
}

// otherNames lead from what people know from nfdump, the wire and SQL to ours.
var otherNames = map[string]Key{
	"srcip": KeySrcAddr, "dstip": KeyDstAddr, "ip": KeyAddr, "host": KeyAddr, "address": KeyAddr,
	"src": KeySrcAddr, "dst": KeyDstAddr, "source": KeySrcAddr, "destination": KeyDstAddr,
	"srchost": KeySrcAddr, "dsthost": KeyDstAddr, "sport": KeySrcPort, "dport": KeyDstPort,
	"service": KeyDstPort, "proto": KeyProtocol, "router": KeyExporter, "sensor": KeyExporter,
	"if": KeyInterface, "iface": KeyInterface, "as": KeySrcAS, "asn": KeySrcAS,
	"nhip": KeyNextHop, "nexthop": KeyNextHop, "nextip": KeyNextHop, "dscp": KeyTOS, "flags": KeyTCPFlags,
	"smk": "src-mask", "dmk": "dst-mask", "srcmac": "src-mac", "dstmac": "dst-mac", "flowdir": "direction", "dir": "direction",
	"app": "application", "vni": "tunnel-id", "tunid": "tunnel-id", "reason": "end-reason", "icmp": "icmp-type",
}

// Keys lists all keys.
func Keys() []Key {
	keys := make([]Key, len(keyColumns))
	for i, c := range keyColumns {
		keys[i] = c.key
	}
	return keys
}

// ParseKeys reads keys joined by commas, "src-addr" or "src-addr,dst-addr". The
// empty string has no keys. The error, a *QuestionError, suggests the nearest
// key.
func ParseKeys(s string) ([]Key, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var keys []Key
	for name := range strings.SplitSeq(s, ",") {
		keys = append(keys, Key(strings.ToLower(strings.TrimSpace(name))))
	}
	if _, err := Columns(keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// JoinKeys is the inverse of ParseKeys.
func JoinKeys(keys []Key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = string(k)
	}
	return strings.Join(names, ",")
}

// Columns returns the columns of keys, or the *QuestionError that says why
// they make no question.
func Columns(keys []Key) ([]KeyColumn, error) {
	columns := make([]KeyColumn, 0, len(keys))
	for _, k := range keys {
		c, ok := lookupKey(k)
		if !ok {
			return nil, unknownKey(k)
		}
		columns = append(columns, c)
	}
	for i, c := range columns {
		for j, d := range columns {
			switch {
			case i == j:
			case c.Column == d.Column:
				return nil, &Error{Parameter: "key", Reason: fmt.Sprintf("%s is named twice", c.key)}
			case c.EitherSide() && (c.Src == d.Expression || c.Dst == d.Expression):
				return nil, &Error{Parameter: "key", Reason: fmt.Sprintf("%s already means either side, so %s cannot go with it: ask for %s alone, or for the pair of both sides", c.key, d.key, c.key)}
			}
		}
	}
	return columns, nil
}

// Grouped returns the columns that flows are grouped by for keys: those of Columns, and
// the exporter in front of the first whose values are numbers of each exporter's own,
// unless it is one of them. An ifIndex without its exporter means nothing: the interfaces
// 3 of two routers are two interfaces.
func Grouped(keys []Key) ([]KeyColumn, error) {
	columns, err := Columns(keys)
	if err != nil {
		return nil, err
	}
	first := slices.IndexFunc(columns, func(c KeyColumn) bool { return c.PerExporter })
	if first < 0 || slices.Contains(keys, KeyExporter) {
		return columns, nil
	}
	return slices.Insert(columns, first, keyColumn(KeyExporter)), nil
}

// lookupKey finds a key, which may have the lengths of IPv4 and IPv6 networks
// behind it: src-addr/24, or src-addr/24/64.
func lookupKey(k Key) (KeyColumn, bool) {
	name, lengths, prefix := strings.Cut(string(k), "/")
	for _, c := range keyColumns {
		if string(c.key) != name {
			continue
		}
		if !prefix {
			return c, true
		}
		a, b, both := strings.Cut(lengths, "/")
		var ok1, ok2 bool
		if c.V4, ok1 = prefixLength(a, 32); !ok1 || c.Kind != KindAddr {
			return c, false
		}
		if c.V6 = 64; both {
			if c.V6, ok2 = prefixLength(b, 128); !ok2 {
				return c, false
			}
		}
		c.key = k
		return c, true
	}
	return KeyColumn{}, false
}

func prefixLength(s string, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil && n >= 1 && n <= uint64(most) && s[0] != '0'
}

func unknownKey(k Key) error {
	if k == "" {
		return &Error{Parameter: "key", Reason: "a key is empty, join keys by single commas; keys are " + strings.ReplaceAll(JoinKeys(Keys()), ",", ", ")}
	}
	if name, _, prefix := strings.Cut(string(k), "/"); prefix {
		if c, ok := lookupKey(Key(name)); ok {
			reason := "only addresses have networks"
			if c.Kind == KindAddr {
				reason = "write the length of the network, 1 to 32 for IPv4 and 1 to 128 for IPv6, as in " + name + "/24 or " + name + "/24/64"
			}
			return &Error{Parameter: "key", Reason: fmt.Sprintf("%q: %s", string(k), reason)}
		}
	}
	plain := strings.NewReplacer("-", "", "_", "", " ", "").Replace(string(k))
	nearest, distance := otherNames[plain], 0
	if nearest == "" {
		distance = 3
		for _, c := range keyColumns {
			if d := spelling.Distance(plain, strings.ReplaceAll(string(c.key), "-", "")); d < distance {
				nearest, distance = c.key, d
			}
		}
	}
	reason := fmt.Sprintf("there is no key %q", string(k))
	if nearest != "" {
		reason += fmt.Sprintf(", did you mean %s?", nearest)
	} else {
		reason += ";"
	}
	return &Error{Parameter: "key", Reason: reason + " keys are " + strings.ReplaceAll(JoinKeys(Keys()), ",", ", ")}
}
