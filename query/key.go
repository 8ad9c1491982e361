package query

import (
	"fmt"
	"strconv"
	"strings"
)

// Key is what flows are grouped by, in the words of the command line.
//
// KeyAddr, KeyPort and KeyInterface mean either side of a flow: the group of an
// address holds the flows that have it as source or as destination, each flow
// once, also when both sides are the same. The shares of such groups are of all
// flows and may add up to more than one.
//
// Several keys make one group of their values. Two either-side keys speak of
// the same side: "addr,port" pairs the source address with the source port and
// the destination address with the destination port; with "interface", the
// source goes with the input interface and the destination with the output
// interface. Any other key in the company of an either-side key is the flow's
// own: "addr,protocol", or "addr,dst-port" for the service a host used or
// offered. A key that names one side of what another key already names on
// either side ("addr,src-addr") is refused.
//
// Addresses can be grouped by networks: "src-addr/24", with IPv6 networks of 64
// bits unless "src-addr/24/48" says otherwise. Of an either-side key the flow is
// in one group when both sides are of the same network.
type Key string

// The keys, in the order in which they are listed to people.
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

// valueKind says how a key's values are read and shown.
type valueKind uint8

const (
	kindNumber valueKind = iota
	KindAddr
	KindProtocol
	kindFlags
	kindAS
	kindTOS
	KindExporter
)

// KeyColumn is a key in the vocabulary of SQL.
type KeyColumn struct {
	key    Key
	Column string // of the view flows, and of the answer
	// Src and dst are the columns of the two sides of an either-side key.
	Src, Dst string
	Kind     valueKind
	// V4 and v6 are the lengths of the networks that addresses are grouped by, 0
	// for the addresses themselves.
	V4, V6 int
}

func (c KeyColumn) EitherSide() bool { return c.Src != "" }

// Grouped is the column that flows are grouped by: an exporter's number stays
// when its name changes, and two exporters may share an address.
func (c KeyColumn) Grouped() string {
	if c.Kind == KindExporter {
		return "exporter_id"
	}
	return c.Column
}

var keyColumns = []KeyColumn{
	{key: KeySrcAddr, Column: "src_addr", Kind: KindAddr},
	{key: KeyDstAddr, Column: "dst_addr", Kind: KindAddr},
	{key: KeyAddr, Column: "addr", Src: "src_addr", Dst: "dst_addr", Kind: KindAddr},
	{key: KeySrcPort, Column: "src_port"},
	{key: KeyDstPort, Column: "dst_port"},
	{key: KeyPort, Column: "port", Src: "src_port", Dst: "dst_port"},
	{key: KeyProtocol, Column: "protocol", Kind: KindProtocol},
	{key: KeyExporter, Column: "exporter", Kind: KindExporter},
	{key: KeyInIf, Column: "in_if"},
	{key: KeyOutIf, Column: "out_if"},
	{key: KeyInterface, Column: "interface", Src: "in_if", Dst: "out_if"},
	{key: KeySrcAS, Column: "src_as", Kind: kindAS},
	{key: KeyDstAS, Column: "dst_as", Kind: kindAS},
	{key: KeyNextHop, Column: "next_hop", Kind: KindAddr},
	{key: KeyTOS, Column: "tos", Kind: kindTOS},
	{key: KeyTCPFlags, Column: "tcp_flags", Kind: kindFlags},
	{key: KeyVLAN, Column: "vlan"},
}

// otherNames lead from what people know from nfdump, the wire and SQL to ours.
var otherNames = map[string]Key{
	"srcip": KeySrcAddr, "dstip": KeyDstAddr, "ip": KeyAddr, "host": KeyAddr, "address": KeyAddr,
	"src": KeySrcAddr, "dst": KeyDstAddr, "source": KeySrcAddr, "destination": KeyDstAddr,
	"srchost": KeySrcAddr, "dsthost": KeyDstAddr, "sport": KeySrcPort, "dport": KeyDstPort,
	"service": KeyDstPort, "proto": KeyProtocol, "router": KeyExporter, "sensor": KeyExporter,
	"if": KeyInterface, "iface": KeyInterface, "as": KeySrcAS, "asn": KeySrcAS,
	"nhip": KeyNextHop, "nexthop": KeyNextHop, "nextip": KeyNextHop, "dscp": KeyTOS, "flags": KeyTCPFlags,
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
			case c.EitherSide() && (c.Src == d.Column || c.Dst == d.Column):
				return nil, &Error{Parameter: "key", Reason: fmt.Sprintf("%s already means either side, so %s cannot go with it: ask for %s alone, or for the pair of both sides", c.key, d.key, c.key)}
			}
		}
	}
	return columns, nil
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
			if d := editDistance(plain, strings.ReplaceAll(string(c.key), "-", "")); d < distance {
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

// editDistance is how many octets must be inserted, removed or replaced to
// make a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
