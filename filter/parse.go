package filter

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"flowtally/calendar"
)

// parser is a Pratt parser: each binary operator has a power with which it binds.
type parser struct {
	text   string
	now    time.Time // what times are seen from, and their zone
	tokens []token
	pos    int
	depth  int
	hosts  map[string]bool // the names of hosts so far

	alone    *trie // the word at the end that is a protocol, and the beginning of fields
	after    *trie // what the words before afterPos were
	afterPos int
}

// expect is what could have stood where the text ended: words, or a value of a
// kind.
type expect struct {
	words []string
	after *trie  // the words that these follow, nil at the beginning of a condition
	field *field // when a value of it could stand here
	first bool   // and a comparator before it
}

func (p *parser) parse() (*expr, *Error) {
	if len(p.text) > MaxLength {
		return nil, &Error{Offset: 0, End: len(p.text), Msg: fmt.Sprintf("the filter has %d bytes, more than %d", len(p.text), MaxLength)}
	}
	var err *Error
	if p.tokens, err = lex(p.text); err != nil {
		return nil, err
	}
	if p.peek().kind == tokEnd {
		return nil, nil
	}
	e, err := p.expr(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokEnd {
		switch {
		case t.is(")"):
			return nil, p.fail(t, "a parenthesis closes that none opened")
		case t.kind == tokWord && lookup(strings.ToLower(t.text)) != nil, t.is("("), t.is("!"), t.is("not"):
			return nil, p.fail(t, `two conditions side by side: put "and" or "or" between them`, "and", "or")
		}
		return nil, p.fail(t, fmt.Sprintf("%q is not expected here, but and, or, or the end", t.text), near(t.text, []string{"and", "or"})...)
	}
	return e, nil
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

// take consumes the next token when it is s.
func (p *parser) take(s string) bool {
	if p.peek().is(s) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) fail(t token, msg string, suggest ...string) *Error {
	return &Error{Offset: t.at, End: t.end, Msg: msg, Suggest: suggest}
}

// missing returns the error that something is expected at the next token: at the
// end of the text, or in place of what stands there.
func (p *parser) missing(what string, want expect) *Error {
	t := p.peek()
	if t.kind == tokEnd {
		return &Error{Offset: t.at, End: t.end, Msg: "the text ends where " + what + " is expected", want: []expect{want}}
	}
	return p.fail(t, fmt.Sprintf("%q stands where %s is expected", p.text[t.at:t.end], what), near(t.text, want.words)...)
}

// powers with which the operators bind.
const (
	powerOr  = 1
	powerAnd = 2
)

func (p *parser) expr(least int) (*expr, *Error) {
	if p.depth++; p.depth > MaxDepth {
		return nil, p.fail(p.peek(), fmt.Sprintf("nested deeper than %d", MaxDepth))
	}
	defer func() { p.depth-- }()
	left, err := p.prefix()
	if err != nil {
		return nil, err
	}
	// What a chain joins is collected and joined once: a long one is not copied
	// for each of its parts.
	for {
		t := p.peek()
		o, power := opOr, powerOr
		switch {
		case t.is("and"):
			o, power = opAnd, powerAnd
		case t.is("or"):
		default:
			return left, nil
		}
		if power <= least {
			return left, nil
		}
		kids := []*expr{left}
		for {
			u := p.peek()
			if !(u.is("and") && o == opAnd || u.is("or") && o == opOr) {
				break
			}
			p.pos++
			right, err := p.expr(power)
			if err != nil {
				return nil, err
			}
			kids = append(kids, right)
		}
		left = join(o, kids)
	}
}

func (p *parser) prefix() (*expr, *Error) {
	switch {
	case p.take("!") || p.take("not"):
		if p.depth++; p.depth > MaxDepth {
			return nil, p.fail(p.peek(), fmt.Sprintf("nested deeper than %d", MaxDepth))
		}
		defer func() { p.depth-- }()
		e, err := p.prefix()
		if err != nil {
			return nil, err
		}
		return negate(e), nil
	case p.peek().is("("):
		open := p.next()
		e, err := p.expr(0)
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			if p.peek().kind == tokEnd {
				err := p.fail(open, "the parenthesis is not closed")
				err.want = []expect{{words: []string{"and", "or", ")"}}}
				return nil, err
			}
			return nil, p.missing(`")", and, or or`, expect{words: []string{"and", "or", ")"}})
		}
		return e, nil
	}
	return p.primitive()
}

// primitive parses a field's words and its values.
func (p *parser) primitive() (*expr, *Error) {
	first := p.peek()
	if e := p.protocol(); e != nil {
		return e, nil
	}
	f, err := p.field()
	if err != nil {
		return nil, err
	}
	if f.refuse != "" {
		return nil, &Error{Offset: first.at, End: p.tokens[p.pos-1].end, Msg: f.refuse}
	}
	pr := &prim{f: f}
	e := &expr{op: opPrim, prim: pr}
	if f.kind == kindNone {
		return e, nil
	}

	if p.peek().is("in") {
		p.pos++
		if t := p.peek(); t.is("nat") {
			return nil, p.fail(t, lookup("pblock").f.refuse)
		}
		if err := p.list(pr); err != nil {
			return nil, err
		}
		pr.unite()
		return e, nil
	}
	comp := "="
	t := p.peek()
	if t.kind == tokComp {
		comp = p.next().text
	}
	not := comp == "!="
	if not || comp == "=" {
		exact := t.kind == tokComp
		if exact && p.peek().is("[") || p.peek().is("[") {
			if err := p.list(pr); err != nil {
				return nil, err
			}
		} else if err := p.values(pr, exact); err != nil {
			return nil, err
		}
		pr.unite()
		if not {
			return negate(e), nil
		}
		return e, nil
	}
	if !f.ordered() {
		return nil, p.fail(t, fmt.Sprintf("%s has no order: compare it by = or !=", f.name))
	}
	at := p.peek()
	s, err := p.span(f, false)
	if err != nil {
		return nil, err
	}
	if s.lo != s.hi {
		return nil, p.fail(at, "a range has no order: compare it by = or !=")
	}
	n := s.lo
	switch {
	case comp == ">" && n < f.max:
		pr.nums = []span{{n + 1, f.max}}
	case comp == ">=" && n <= f.max:
		pr.nums = []span{{n, f.max}}
	case comp == "<" && n > 0:
		pr.nums = []span{{0, min(n-1, f.max)}}
	case comp == "<=":
		pr.nums = []span{{0, min(n, f.max)}}
	}
	return e, nil
}

// protocol reads the name of a protocol that stands for proto and itself, nil when
// there is none: one that is no other word of the language, or that nothing follows
// which belongs to it.
func (p *parser) protocol() *expr {
	t := p.peek()
	n, ok := protocols[strings.ToLower(t.text)]
	if !ok || t.kind != tokWord {
		return nil
	}
	if node := lookup(strings.ToLower(t.text)); node != nil {
		after := p.tokens[p.pos+1]
		if node.f != nil || after.kind == tokWord && node.kids[strings.ToLower(after.text)] != nil || after.kind == tokComp {
			return nil
		}
		if after.kind == tokWord && !after.is("and") && !after.is("or") {
			return nil // a word of its own that is written wrong
		}
	}
	p.pos++
	if p.peek().kind == tokEnd {
		p.alone = lookup(strings.ToLower(t.text))
	}
	return &expr{op: opPrim, prim: &prim{f: lookup("proto").f, nums: []span{{uint64(n), uint64(n)}}}}
}

// field reads the longest run of words that is a field.
func (p *parser) field() (*field, *Error) {
	t := p.peek()
	if t.kind == tokEnd {
		return nil, p.missing("a condition", expect{words: starters()})
	}
	if t.kind != tokWord {
		return nil, p.fail(t, fmt.Sprintf("%q stands where a condition is expected", p.text[t.at:t.end]))
	}
	node, last, lastPos, from := root, (*trie)(nil), 0, p.pos
	shorter, shorterPos := (*trie)(nil), 0
	for {
		u := p.peek()
		var child *trie
		if u.kind == tokWord {
			child = node.kids[strings.ToLower(u.text)]
		}
		if child == nil {
			break
		}
		p.pos++
		node = child
		if node.f != nil {
			shorter, shorterPos = last, lastPos
			last, lastPos = node, p.pos
		}
	}
	// The last word may be a value of a field of fewer words: asa event denied.
	if shorter != nil && last.f.kind != kindNone && shorter.f.names != nil && shorterPos == lastPos-1 {
		t := p.tokens[lastPos]
		if _, known := shorter.f.names(strings.ToLower(p.tokens[shorterPos].text)); known &&
			(t.kind == tokEnd || t.kind == tokPunct && !t.is("[") || t.is("and") || t.is("or")) {
			last, lastPos, node = shorter, shorterPos, shorter
		}
	}
	if last != nil && (node == last || p.peek().kind != tokEnd) {
		p.pos = lastPos
		p.after, p.afterPos = last, lastPos
		return last.f, nil
	}
	if p.pos == from {
		word := strings.ToLower(t.text)
		if _, err := netip.ParsePrefix(t.text); err == nil {
			return nil, p.fail(t, "a network stands where a condition is expected", "net "+word)
		}
		if _, err := netip.ParseAddr(t.text); err == nil {
			return nil, p.fail(t, "an address stands where a condition is expected", "ip "+word)
		}
		if words := meant(word); words != nil {
			return nil, p.fail(t, fmt.Sprintf("%q is not a field", t.text), words...)
		}
		return nil, p.fail(t, fmt.Sprintf("%q is not a field", t.text), near(word, starters())...)
	}
	words := node.words()
	said := p.text[t.at:p.tokens[p.pos-1].end]
	u := p.peek()
	if u.kind == tokEnd {
		return nil, p.missing("the rest of "+said, expect{words: words, after: node})
	}
	return nil, p.fail(u, fmt.Sprintf("%q does not go with %q", p.text[u.at:u.end], said), near(u.text, words)...)
}

// list reads [ … ], with blanks or commas between.
func (p *parser) list(pr *prim) *Error {
	open := p.peek()
	if !p.take("[") {
		return p.missing(`"["`, expect{words: []string{"["}})
	}
	n := 0
	for !p.take("]") {
		if n > 0 && p.take(",") {
			continue
		}
		if p.peek().kind == tokEnd {
			err := p.fail(open, "the list is not closed")
			err.want = []expect{{words: []string{"]"}, field: pr.f}}
			return err
		}
		if n++; n > MaxList {
			return p.fail(open, fmt.Sprintf("a list of more than %d values", MaxList))
		}
		if pr.f.kind == kindTime {
			return p.fail(open, "a time has no list: compare it by > and <")
		}
		if err := p.value(pr, true, false); err != nil {
			return err
		}
	}
	if n == 0 {
		return p.fail(open, "the list is empty")
	}
	return nil
}

// values reads a value, and with commas between more of them, without the brackets
// of a list.
func (p *parser) values(pr *prim, exact bool) *Error {
	if err := p.value(pr, exact, true); err != nil {
		return err
	}
	for n := 2; p.peek().is(","); n++ {
		comma := p.next()
		switch {
		case pr.f.kind == kindTime:
			return p.fail(comma, "a time has no list: compare it by > and <")
		case pr.mask != 0:
			return p.fail(comma, "a list of numbers, not of letters")
		case n > MaxList:
			return p.fail(comma, fmt.Sprintf("a list of more than %d values", MaxList))
		}
		if err := p.value(pr, true, false); err != nil {
			return err
		}
	}
	return nil
}

// value reads one value and adds it to the primitive. alone says that it does
// not stand in a list, exact that a comparator stands before it.
func (p *parser) value(pr *prim, exact, alone bool) *Error {
	f := pr.f
	t := p.peek()
	if t.kind != tokWord && t.kind != tokQuoted {
		want := expect{field: f}
		if p.after != nil && p.pos == p.afterPos {
			want.first, want.words, want.after = true, p.after.words(), p.after
		}
		return p.missing(f.wants(), want)
	}
	switch f.kind {
	case kindAddr, kindExporter:
		p.pos++
		if nets, ok := parseNet(t.text); ok {
			if u := p.peek(); alone && u.kind == tokWord && !strings.Contains(t.text, "/") {
				if bits, ok := maskBits(u.text); ok && nets.Addr().Is4() {
					p.pos++
					nets, _ = nets.Addr().Prefix(bits)
				}
			}
			pr.nets = append(pr.nets, nets)
			return nil
		}
		if f.kind == kindExporter {
			pr.words = append(pr.words, t.text)
			return nil
		}
		if !isHost(t.text) {
			return p.fail(t, fmt.Sprintf("%q is neither an address, a network nor the name of a host", t.text))
		}
		if strings.EqualFold(t.text, "tor") && t.kind == tokWord {
			return p.fail(t, "which hosts are exits of Tor is not kept: list their addresses")
		}
		host := strings.TrimSuffix(strings.ToLower(t.text), ".")
		pr.words = append(pr.words, host)
		if p.hosts == nil {
			p.hosts = make(map[string]bool)
		}
		if p.hosts[host] = true; len(p.hosts) > MaxHosts {
			return p.fail(t, fmt.Sprintf("more than %d names of hosts to look up: write addresses", MaxHosts))
		}
		return nil
	case kindText:
		p.pos++
		pr.words = append(pr.words, t.text)
		return nil
	case kindInterface:
		if _, err := strconv.ParseUint(strings.SplitN(t.text, "-", 2)[0], 0, 64); err != nil || t.kind == tokQuoted {
			p.pos++
			pr.words = append(pr.words, t.text)
			return nil
		}
	case kindMAC:
		p.pos++
		addr, ok := parseMAC(t.text)
		if !ok {
			return p.fail(t, fmt.Sprintf("%q is not a MAC address of six bytes, as in 00:00:5e:00:53:01", t.text))
		}
		pr.words = append(pr.words, addr)
		return nil
	case kindFlags, kindMarks:
		if mask, ok := f.bits(t.text); ok {
			p.pos++
			switch {
			case f.kind == kindFlags && exact:
				pr.nums = append(pr.nums, span{mask, mask})
			case !alone:
				return p.fail(t, "a list of numbers, not of letters")
			default:
				pr.mask = mask
			}
			return nil
		}
	}
	s, err := p.span(f, true)
	if err != nil {
		return err
	}
	pr.nums = append(pr.nums, s)
	return nil
}

// span reads a number, a name that stands for numbers, or a range. within says
// that the field must be able to have it.
func (p *parser) span(f *field, within bool) (span, *Error) {
	t := p.peek()
	if t.kind != tokWord && t.kind != tokQuoted {
		return span{}, p.missing(f.wants(), expect{field: f})
	}
	p.pos++
	if f.kind == kindTime {
		n, err := p.time(t)
		return span{n, n}, err
	}
	if f.names != nil {
		if s, ok := f.names(strings.ToLower(t.text)); ok {
			return s, nil
		}
	}
	number := parseNumber
	if f.duration {
		number = parseDuration
	}
	n, ok := number(t.text)
	s := span{n, n}
	if !ok {
		lo, hi, found := strings.Cut(t.text, "-")
		var ok1, ok2 bool
		s.lo, ok1 = number(lo)
		s.hi, ok2 = number(hi)
		if !found || !ok1 || !ok2 {
			var known []string
			if f.known != nil {
				known = near(strings.ToLower(t.text), f.known())
			}
			return span{}, p.fail(t, fmt.Sprintf("%q is not %s", t.text, f.wants()), known...)
		}
		if s.lo > s.hi {
			return span{}, p.fail(t, "the range ends before it begins", hi+"-"+lo)
		}
	}
	if within && s.hi > f.max || s.hi > math.MaxInt64 {
		return span{}, p.fail(t, fmt.Sprintf("%s is at most %d", f.name, f.max))
	}
	return s, nil
}

func (p *prim) unite() {
	p.nums = uniteSpans(p.nums)
	p.nets = uniteNets(p.nets)
	slices.Sort(p.words)
	p.words = slices.Compact(p.words)
}

// parseNumber reads a decimal or hexadecimal number with a decimal suffix.
func parseNumber(s string) (uint64, bool) {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		n, err := strconv.ParseUint(s[2:], 16, 64)
		return n, err == nil
	}
	of := uint64(1)
	if len(s) > 1 {
		for _, u := range suffixes {
			if s[len(s)-1]|0x20 == u.letter[0] {
				of, s = u.of, s[:len(s)-1]
				break
			}
		}
	}
	return multiple(s, of)
}

// parseDuration reads a number of milliseconds, also in greater units. m is a million
// as everywhere, so that minutes are min.
func parseDuration(s string) (uint64, bool) {
	for _, u := range durations {
		if len(s) > len(u.unit) && strings.EqualFold(s[len(s)-len(u.unit):], u.unit) {
			if n, ok := multiple(s[:len(s)-len(u.unit)], u.of); ok {
				return n, true
			}
		}
	}
	return parseNumber(s)
}

var durations = []struct {
	unit string
	of   uint64
}{{"ms", 1}, {"min", 60_000}, {"s", 1000}, {"h", 3_600_000}, {"d", 86_400_000}}

// multiple returns a decimal number times of, which has to be whole: 1.5 × 1000.
func multiple(s string, of uint64) (uint64, bool) {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || whole[0] == '+' || point && fraction == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || n > math.MaxUint64/of {
		return 0, false
	}
	n *= of
	for _, c := range fraction {
		if c < '0' || c > '9' || of%10 != 0 && c != '0' {
			return 0, false
		}
		of /= 10
		part := uint64(c-'0') * of
		if n > math.MaxUint64-part {
			return 0, false
		}
		n += part
	}
	return n, true
}

// parseNet reads an address or a network; of a network, the bytes that are left
// out at the end are 0.
func parseNet(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	addr, length, ok := strings.Cut(s, "/")
	if !ok {
		return netip.Prefix{}, false
	}
	if !strings.Contains(addr, ":") {
		if n := strings.Count(addr, "."); n < 3 {
			addr += strings.Repeat(".0", 3-n)
		}
		if bits, ok := maskBits(length); ok {
			length = strconv.Itoa(bits)
		}
	}
	n, err := netip.ParsePrefix(addr + "/" + length)
	if err != nil {
		return netip.Prefix{}, false
	}
	if n.Addr().Is4In6() {
		if n.Bits() < 96 {
			return netip.Prefix{}, false
		}
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n.Masked(), true
}

// maskBits reads a network mask such as 255.255.240.0.
func maskBits(s string) (int, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := 0
	for ; m&(1<<31) != 0; m <<= 1 {
		n++
	}
	return n, m == 0
}

// isHost reports whether s can be the name of a host (RFC 1123 §2.1), with
// underscores and letters of any script.
func isHost(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 || strings.ContainsAny(s, ":/%+ ") {
		return false
	}
	digits := true
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !isWordRune(r) }) {
			return false
		}
		digits = strings.Trim(label, "0123456789") == ""
	}
	return !digits // the last label of a name is never a number
}

// parseMAC returns a MAC address as encoding it makes it: lower case, colons.
func parseMAC(s string) (string, bool) {
	const hexDigits = "0123456789abcdef"
	digits := make([]byte, 0, 12)
	groups := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == ':' || r == '-' || r == '.' })
	for _, g := range groups {
		if len(groups) == 6 && len(g) == 1 {
			g = "0" + g
		}
		digits = append(digits, g...)
	}
	if len(digits) != 12 || len(groups) != 6 && len(groups) != 3 && len(groups) != 1 {
		return "", false
	}
	out := make([]byte, 0, 17)
	for i, c := range digits {
		if strings.IndexByte(hexDigits, c) < 0 {
			return "", false
		}
		if i > 0 && i%2 == 0 {
			out = append(out, ':')
		}
		out = append(out, c)
	}
	return string(out), true
}

// time reads a time, in milliseconds since 1970.
func (p *parser) time(t token) (uint64, *Error) {
	at, err := calendar.Parse(t.text, p.now)
	if err != nil {
		how := "write 2026-11-21T09:30, and as much of it as you like; it is UTC without another zone"
		if !p.now.IsZero() {
			how = "write 2026-11-21T09:30, and as much of it as you like, an age such as -6h, or today or yesterdayT14:00"
		}
		return 0, p.fail(t, fmt.Sprintf("%q %v: %s", t.text, err, how))
	}
	ms := at.UnixMilli()
	if ms < 0 || ms > maxTime {
		return 0, p.fail(t, fmt.Sprintf("%q is outside of the years 1970 to 9999", t.text))
	}
	return uint64(ms), nil
}

// near returns up to three of the words, those most similar to what was written.
func near(said string, words []string) []string {
	said = strings.ToLower(said)
	if len(said) > 40 {
		return nil
	}
	type scored struct {
		word string
		far  int
	}
	var all []scored
	for _, w := range words {
		d := distance(said, w)
		if len(said) >= 2 && strings.HasPrefix(w, said) {
			d = min(d, 1)
		}
		if limit := 1 + max(len(said), len(w))/4; d <= limit && d < max(len(said), len(w)) {
			all = append(all, scored{w, d})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.word, b.word)
	})
	var out []string
	for i := 0; i < len(all) && i < 3; i++ {
		out = append(out, all[i].word)
	}
	return out
}

// distance is how many letters must be inserted, removed, replaced or swapped with
// their neighbour to turn a into b.
func distance(a, b string) int {
	var before, prev []int
	cur := make([]int, len(b)+1)
	for j := range cur {
		cur[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, cur = prev, cur, make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return cur[len(b)]
}
