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
	"flowtally/spelling"
)

// parser is a Pratt parser: each binary operator has a power with which it binds.
type parser struct {
	text   string
	now    time.Time // what times are seen from, and their zone
	tokens []token
	pos    int
	depth  int
	hosts  map[string]bool // the names of hosts so far
	root   *trie           // the words

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
		case t.kind == tokWord && p.lookup(strings.ToLower(t.text)) != nil, t.is("("), t.is("!"), t.is("not"):
			return nil, p.fail(t, `two conditions side by side: put "and" or "or" between them`, "and", "or")
		}
		return nil, p.fail(t, fmt.Sprintf("%q is not expected here, but and, or, or the end", t.text), spelling.Near(t.text, []string{"and", "or"})...)
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
	return p.fail(t, fmt.Sprintf("%q stands where %s is expected", p.text[t.at:t.end], what), spelling.Near(t.text, want.words)...)
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
			return nil, p.fail(t, p.lookup("pblock").f.refuse)
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
	if node := p.lookup(strings.ToLower(t.text)); node != nil {
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
		p.alone = p.lookup(strings.ToLower(t.text))
	}
	return &expr{op: opPrim, prim: &prim{f: p.lookup("proto").f, nums: []span{{uint64(n), uint64(n)}}}}
}

// field reads the longest run of words that is a field.
func (p *parser) field() (*field, *Error) {
	t := p.peek()
	if t.kind == tokEnd {
		return nil, p.missing("a condition", expect{words: p.starters()})
	}
	if t.kind != tokWord {
		return nil, p.fail(t, fmt.Sprintf("%q stands where a condition is expected", p.text[t.at:t.end]))
	}
	node, last, lastPos, from := p.root, (*trie)(nil), 0, p.pos
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
		return nil, p.fail(t, fmt.Sprintf("%q is not a field", t.text), spelling.Near(word, p.starters())...)
	}
	words := node.words()
	said := p.text[t.at:p.tokens[p.pos-1].end]
	u := p.peek()
	if u.kind == tokEnd {
		return nil, p.missing("the rest of "+said, expect{words: words, after: node})
	}
	return nil, p.fail(u, fmt.Sprintf("%q does not go with %q", p.text[u.at:u.end], said), spelling.Near(u.text, words)...)
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
				known = spelling.Near(strings.ToLower(t.text), f.known())
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
