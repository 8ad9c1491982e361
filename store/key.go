package store

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"flowtally/flow"
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
	kindAddr
	kindProtocol
	kindFlags
	kindAS
	kindTOS
	kindExporter
)

// keyColumn is a key in the vocabulary of SQL.
type keyColumn struct {
	key    Key
	column string // of the view flows, and of the answer
	// src and dst are the columns of the two sides of an either-side key.
	src, dst string
	kind     valueKind
	// v4 and v6 are the lengths of the networks that addresses are grouped by, 0
	// for the addresses themselves.
	v4, v6 int
}

func (c keyColumn) eitherSide() bool { return c.src != "" }

// grouped is the column that flows are grouped by: an exporter's number stays
// when its name changes, and two exporters may share an address.
func (c keyColumn) grouped() string {
	if c.kind == kindExporter {
		return "exporter_id"
	}
	return c.column
}

var keyColumns = []keyColumn{
	{key: KeySrcAddr, column: "src_addr", kind: kindAddr},
	{key: KeyDstAddr, column: "dst_addr", kind: kindAddr},
	{key: KeyAddr, column: "addr", src: "src_addr", dst: "dst_addr", kind: kindAddr},
	{key: KeySrcPort, column: "src_port"},
	{key: KeyDstPort, column: "dst_port"},
	{key: KeyPort, column: "port", src: "src_port", dst: "dst_port"},
	{key: KeyProtocol, column: "protocol", kind: kindProtocol},
	{key: KeyExporter, column: "exporter", kind: kindExporter},
	{key: KeyInIf, column: "in_if"},
	{key: KeyOutIf, column: "out_if"},
	{key: KeyInterface, column: "interface", src: "in_if", dst: "out_if"},
	{key: KeySrcAS, column: "src_as", kind: kindAS},
	{key: KeyDstAS, column: "dst_as", kind: kindAS},
	{key: KeyNextHop, column: "next_hop", kind: kindAddr},
	{key: KeyTOS, column: "tos", kind: kindTOS},
	{key: KeyTCPFlags, column: "tcp_flags", kind: kindFlags},
	{key: KeyVLAN, column: "vlan"},
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
	if _, err := columnsOf(keys); err != nil {
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

// columnsOf returns the columns of keys, or the *QuestionError that says why
// they make no question.
func columnsOf(keys []Key) ([]keyColumn, error) {
	columns := make([]keyColumn, 0, len(keys))
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
			case c.column == d.column:
				return nil, &QuestionError{Parameter: "key", Reason: fmt.Sprintf("%s is named twice", c.key)}
			case c.eitherSide() && (c.src == d.column || c.dst == d.column):
				return nil, &QuestionError{Parameter: "key", Reason: fmt.Sprintf("%s already means either side, so %s cannot go with it: ask for %s alone, or for the pair of both sides", c.key, d.key, c.key)}
			}
		}
	}
	return columns, nil
}

// lookupKey finds a key, which may have the lengths of IPv4 and IPv6 networks
// behind it: src-addr/24, or src-addr/24/64.
func lookupKey(k Key) (keyColumn, bool) {
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
		if c.v4, ok1 = prefixLength(a, 32); !ok1 || c.kind != kindAddr {
			return c, false
		}
		if c.v6 = 64; both {
			if c.v6, ok2 = prefixLength(b, 128); !ok2 {
				return c, false
			}
		}
		c.key = k
		return c, true
	}
	return keyColumn{}, false
}

func prefixLength(s string, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil && n >= 1 && n <= uint64(most) && s[0] != '0'
}

func unknownKey(k Key) error {
	if k == "" {
		return &QuestionError{Parameter: "key", Reason: "a key is empty, join keys by single commas; keys are " + strings.ReplaceAll(JoinKeys(Keys()), ",", ", ")}
	}
	if name, _, prefix := strings.Cut(string(k), "/"); prefix {
		if c, ok := lookupKey(Key(name)); ok {
			reason := "only addresses have networks"
			if c.kind == kindAddr {
				reason = "write the length of the network, 1 to 32 for IPv4 and 1 to 128 for IPv6, as in " + name + "/24 or " + name + "/24/64"
			}
			return &QuestionError{Parameter: "key", Reason: fmt.Sprintf("%q: %s", string(k), reason)}
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
	return &QuestionError{Parameter: "key", Reason: reason + " keys are " + strings.ReplaceAll(JoinKeys(Keys()), ",", ", ")}
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

// Measure is what groups are ranked by and shares are of.
type Measure string

// The measures.
const (
	ByFlows   Measure = "flows"
	ByPackets Measure = "packets"
	ByBytes   Measure = "bytes"
	// ByPPS and ByBPS are packets and bits a second between a group's first and
	// last packet, ByBPP bytes a packet, ByDuration the average milliseconds of
	// its flows: what only the flows themselves tell, but for ByBPP.
	ByPPS      Measure = "pps"
	ByBPS      Measure = "bps"
	ByBPP      Measure = "bpp"
	ByDuration Measure = "duration"
)

// additive reports whether the measure is a sum: others have no shares.
func (m Measure) additive() bool { return m == ByFlows || m == ByPackets || m == ByBytes }

// seen reports whether the measure needs to know when a group was seen.
func (m Measure) seen() bool { return m == ByPPS || m == ByBPS || m == ByDuration }

// ParseMeasure reads a measure; the empty string is flows, nfdump's default and
// the one that finds what byte graphs hide.
func ParseMeasure(s string) (Measure, error) {
	switch m := Measure(strings.ToLower(strings.TrimSpace(s))); m {
	case "":
		return ByFlows, nil
	case ByFlows, ByPackets, ByBytes, ByPPS, ByBPS, ByBPP, ByDuration:
		return m, nil
	}
	return "", &QuestionError{Parameter: "by", Reason: fmt.Sprintf("%q is not a measure: use flows, packets, bytes, pps, bps, bpp or duration", s)}
}

// Value is what one key is in one group.
type Value struct {
	// Column is the key's name in SQL, JSON and CSV: src_addr.
	Column string
	// V is a string for addresses and exporters, an int64 for numbers, nil
	// when the flows of the group do not carry the value: ICMP has no ports.
	V any
	// Label is V as people read it: "tcp", "...AP.SF", "AS64500"; "none" for
	// what is absent.
	Label string
}

// absent is the label of a value that the flows do not carry.
const absent = "none"

// number and text turn a scanned column into the Value of a key; nil is NULL.
func (c keyColumn) number(n *int64) Value {
	if n == nil {
		return Value{Column: c.column, Label: absent}
	}
	v := Value{Column: c.column, V: *n}
	switch c.kind {
	case kindProtocol:
		v.Label = flow.Protocol(uint8(*n)).String()
		if *n < 0 || *n > 255 {
			v.Label = strconv.FormatInt(*n, 10)
		}
	case kindFlags:
		v.Label = flow.TCPFlags(uint16(*n)).String()
		if *n < 0 || *n > 0xff {
			// The letters stand for eight bits; two groups must not look alike.
			v.Label = fmt.Sprintf("0x%03x", *n)
		}
	case kindAS:
		v.Label = "AS" + strconv.FormatInt(*n, 10)
	case kindTOS:
		v.Label = fmt.Sprintf("0x%02x", *n)
	default:
		v.Label = strconv.FormatInt(*n, 10)
	}
	return v
}

func (c keyColumn) text(s *string) Value {
	if s == nil {
		return Value{Column: c.column, Label: absent}
	}
	text := *s
	if c.kind == kindAddr {
		// PostgreSQL and Go differ in how they write some IPv6 addresses.
		if a, err := netip.ParseAddr(text); err == nil {
			text = a.String()
		} else if p, err := netip.ParsePrefix(text); err == nil {
			text = p.String()
		}
	}
	return Value{Column: c.column, V: text, Label: text}
}

// joinLabels is the label of a group of several keys: an arrow from the source
// to the destination, address and port in their usual form, commas otherwise.
func joinLabels(columns []keyColumn, values []Value) string {
	var b strings.Builder
	for i := 0; i < len(values); i++ {
		if i > 0 {
			before, this := columns[i-1].column, columns[i].column
			if strings.HasPrefix(before, "src_") && strings.HasPrefix(this, "dst_") || before == "in_if" && this == "out_if" {
				b.WriteString(" → ")
			} else {
				b.WriteString(", ")
			}
		}
		if i+1 < len(values) {
			if socket, ok := socketLabel(columns[i], values[i], columns[i+1], values[i+1]); ok {
				b.WriteString(socket)
				i++
				continue
			}
		}
		b.WriteString(values[i].Label)
	}
	return b.String()
}

// socketLabel joins an address and a port of the same side.
func socketLabel(a keyColumn, av Value, p keyColumn, pv Value) (string, bool) {
	if a.kind != kindAddr || strings.Replace(a.column, "addr", "port", 1) != p.column || a.column == p.column {
		return "", false
	}
	text, ok := av.V.(string)
	port, ok2 := pv.V.(int64)
	if !ok || !ok2 || port < 0 || port > 65535 {
		return "", false
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return "", false
	}
	return netip.AddrPortFrom(addr, uint16(port)).String(), true
}
