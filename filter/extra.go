package filter

import (
	"encoding/json"
	"net/netip"
	"strconv"

	"flowtally/flow"
)

// Fields without a column stand in the JSON object of the record, by IANA name.

// extraValue returns the text of the first of the elements that extra has a
// member of.
func extraValue(extra []byte, elements []string) ([]byte, bool) {
	if len(extra) == 0 {
		return nil, false
	}
	for _, e := range elements {
		if v, ok := member(extra, e); ok {
			return v, true
		}
	}
	return nil, false
}

// extraNumber reads a number as flow.Field's Expression does: up to eighteen
// digits.
func extraNumber(elements []string) func(*flow.Record, Names) (uint64, bool) {
	return func(r *flow.Record, _ Names) (uint64, bool) {
		v, ok := extraValue(r.Extra, elements)
		if !ok || len(v) == 0 || len(v) > 18 {
			return 0, false
		}
		var n uint64
		for _, c := range v {
			if c < '0' || c > '9' {
				return 0, false
			}
			n = n*10 + uint64(c-'0')
		}
		return n, true
	}
}

func extraAddr(elements []string) func(*flow.Record, Names) (flow.Addr, family) {
	return func(r *flow.Record, _ Names) (flow.Addr, family) {
		v, ok := extraValue(r.Extra, elements)
		if !ok {
			return flow.Addr{}, 0
		}
		var buf [48]byte
		if len(v) > len(buf) {
			return flow.Addr{}, 0
		}
		a, err := netip.ParseAddr(string(append(buf[:0], v...)))
		if err != nil || a.Zone() != "" {
			return flow.Addr{}, 0
		}
		return flowAddr(a)
	}
}

func extraText(elements []string) func(*flow.Record, Names) ([]byte, bool) {
	return func(r *flow.Record, _ Names) ([]byte, bool) { return extraValue(r.Extra, elements) }
}

// hexShape is where the digits of a number stand in a value of hexadecimal
// digits: how many there are at the front, and what must follow.
type hexShape struct {
	digits  int
	lengths []int // the value's possible lengths
	odd     bool  // the digit behind must be odd
	one     bool  // the number is in one digit, shifted by one
	at      int   // where they begin
}

func (h hexShape) number(v []byte) (uint64, bool) {
	ok := false
	for _, l := range h.lengths {
		ok = ok || len(v) == l
	}
	if !ok {
		return 0, false
	}
	for _, c := range v {
		if hexDigit(c) > 15 {
			return 0, false
		}
	}
	if h.odd && hexDigit(v[h.at+h.digits])&1 == 0 {
		return 0, false
	}
	if h.one {
		return uint64(hexDigit(v[h.at]) >> 1), true
	}
	var n uint64
	for _, c := range v[h.at:][:h.digits] {
		n = n<<4 | uint64(hexDigit(c))
	}
	return n, true
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// aclShapes take the three numbers of an access list apart: its own, that of the
// entry, and that of the entry's object group. Some send the first alone.
var aclShapes = [...]string{
	"^([0-9a-f]{8})([0-9a-f]{16})?$", "^[0-9a-f]{8}([0-9a-f]{8})[0-9a-f]{8}$", "^[0-9a-f]{16}([0-9a-f]{8})$",
}

// shapes are the hexadecimal values by the regular expression that takes them
// apart in SQL.
var shapes = map[string]hexShape{
	aclShapes[0]:                {digits: 8, lengths: []int{8, 24}},
	aclShapes[1]:                {digits: 8, lengths: []int{24}, at: 8},
	aclShapes[2]:                {digits: 8, lengths: []int{24}, at: 16},
	"^([0-9a-f]{5})[0-9a-f]$":   {digits: 5, lengths: []int{6}},
	"^([0-9a-f]{5})[13579bdf]$": {digits: 5, lengths: []int{6}, odd: true},
	"^[0-9a-f]{5}([0-9a-f])$":   {lengths: []int{6}, one: true, at: 5},
}

// extraHex is a number that is a part of a hexadecimal value.
func extraHex(name, what string, most uint64, shape, element string) *field {
	h := shapes[shape]
	sql := "('x' || lpad(substring(extra ->> '" + element + "' from '" + shape + "'), 16, '0'))::bit(64)::bigint"
	if h.one {
		sql += " / 2"
	}
	return &field{name: name, what: what, kind: kindNumber, max: most, columns: []string{"extra"}, column: "(" + sql + ")",
		num: func(r *flow.Record, _ Names) (uint64, bool) {
			v, ok := member(r.Extra, element)
			if !ok {
				return 0, false
			}
			return h.number(v)
		}}
}

// mplsFields are the label stack's: entries of three bytes, a label of twenty
// bits, a traffic class of three, and the bit of the bottom of the stack.
func mplsFields() []*field {
	var out, labels, bottoms []*field
	for i := 1; i <= 10; i++ {
		n, element := strconv.Itoa(i), "mplsLabelStackSection"+strconv.Itoa(i)
		if i == 1 {
			element = "mplsTopLabelStackSection"
		}
		label := extraHex("mpls label"+n, "MPLS label "+n+", the outermost is 1", 1<<20-1, "^([0-9a-f]{5})[0-9a-f]$", element)
		class := extraHex("mpls exp"+n, "traffic class of MPLS label "+n, 7, "^[0-9a-f]{5}([0-9a-f])$", element)
		out = append(out, label, class)
		labels = append(labels, label)
		bottoms = append(bottoms, extraHex("", "", 1<<20-1, "^([0-9a-f]{5})[13579bdf]$", element))
	}
	return append(out, either("mpls any", "any MPLS label", labels), either("mpls eos", "the MPLS label at the bottom of the stack", bottoms))
}

// member returns the text of a member of a JSON object as PostgreSQL's ->> does:
// of a string its characters, of anything else its bytes; nothing for null. Of
// several of the name the last counts. What is not JSON has no members. It
// allocates only for escapes.
func member(object []byte, name string) (value []byte, ok bool) {
	i := blank(object, 0)
	if i >= len(object) || object[i] != '{' {
		return nil, false
	}
	i = blank(object, i+1)
	for i < len(object) && object[i] == '"' {
		end := skipString(object, i)
		if end < 0 {
			return nil, false
		}
		key := object[i+1 : end-1]
		i = blank(object, end)
		if i >= len(object) || object[i] != ':' {
			return nil, false
		}
		i = blank(object, i+1)
		if end = skipValue(object, i); end < 0 {
			return nil, false
		}
		if string(key) == name || escaped(key) && string(unescape(key)) == name {
			value, ok = object[i:end], true
		}
		if i = blank(object, end); i < len(object) && object[i] == ',' {
			i = blank(object, i+1)
		}
	}
	if !ok || string(value) == "null" {
		return nil, false
	}
	if value[0] == '"' {
		value = value[1 : len(value)-1]
		if escaped(value) {
			value = unescape(value)
		}
	}
	return value, true
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns where the string that begins at i ends, -1 when it does not.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue returns where the value that begins at i ends.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	if b[i] == '"' {
		return skipString(b, i)
	}
	from, depth := i, 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				if i == from {
					return -1
				}
				return i
			}
			if b[i] == '}' || b[i] == ']' {
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		i++
	}
	return -1
}

func escaped(b []byte) bool {
	for _, c := range b {
		if c == '\\' {
			return true
		}
	}
	return false
}

// unescape returns what the inside of a JSON string stands for.
func unescape(b []byte) []byte {
	var s string
	quoted := append(append([]byte{'"'}, b...), '"')
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return []byte(s)
}
