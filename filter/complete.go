package filter

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Completion is a text that could be inserted at a position of a filter.
type Completion struct {
	// Start and End enclose the bytes of the filter that Text replaces: the word at
	// the position.
	Start, End int
	// Text is what to insert, "" for a placeholder: a value that depends on the
	// data, such as the name of an exporter.
	Text string
	// Kind is keyword, field, operator or value; for a placeholder it is the kind
	// of value, as in Field.Kind.
	Kind string
	// Detail says what the word means.
	Detail string
}

// maxCompletions is the most that Complete returns.
const maxCompletions = 100

// Complete returns what could stand at an offset of a text, in bytes: the words
// that continue what is there, and placeholders for values. It is empty where the
// text before the offset is not the beginning of a filter.
func Complete(text string, offset int) []Completion {
	if len(text) > MaxLength {
		return nil
	}
	offset = max(0, min(offset, len(text)))
	for offset > 0 && offset < len(text) && !utf8.RuneStart(text[offset]) {
		offset--
	}
	start, end := offset, offset
	for start > 0 {
		r, n := utf8.DecodeLastRuneInString(text[:start])
		if !isWordRune(r) {
			break
		}
		start -= n
	}
	for end < len(text) {
		r, n := utf8.DecodeRuneInString(text[end:])
		if !isWordRune(r) {
			break
		}
		end += n
	}
	word := text[start:offset]
	if _, err := lex(text[:offset]); err != nil {
		// Inside of quotes everything from the quote on is the word.
		if q := err.Offset; q < offset && (text[q] == '"' || text[q] == '\'') {
			start, word = q, text[q+1:offset]
			if end < len(text) && text[end] == text[q] {
				end++
			}
		} else {
			return nil
		}
	}
	if at := strings.LastIndexByte(text[:start], '\n') + 1; strings.Contains(text[at:start], "#") {
		if tokens, err := lex(text[:start]); err == nil && (len(tokens) == 1 || tokens[len(tokens)-2].end <= strings.LastIndexByte(text[:start], '#')) {
			return nil // in a comment
		}
	}

	c := completer{word: strings.ToLower(word), start: start, end: end}
	// Any now will do: what a time means changes nothing of what may follow.
	p := parser{text: text[:start], now: time.Unix(1<<32, 0).UTC()}
	parsed, err := p.parse()
	switch {
	case err == nil && parsed == nil:
		c.words(root, starters())
	case err == nil:
		if p.alone != nil {
			c.words(p.alone, p.alone.words())
		}
		c.words(root, []string{"and", "or"})
	default:
		for _, w := range err.want {
			at := w.after
			if at == nil {
				at = root
			}
			c.words(at, w.words)
			if w.field != nil {
				c.values(w.field, w.first)
			}
		}
	}
	return c.out
}

type completer struct {
	word       string
	start, end int
	out        []Completion
}

func (c *completer) add(text, kind, detail string) {
	if len(c.out) < maxCompletions && strings.HasPrefix(strings.ToLower(text), c.word) {
		c.out = append(c.out, Completion{c.start, c.end, text, kind, detail})
	}
}

// usual are the words that people mean most often, the likeliest first: they
// stand before the others that begin alike.
var usual = []string{
	"src", "dst", "ip", "port", "proto", "net", "host", "exporter", "in", "out", "if", "as", "bytes", "packets", "flags", "not",
	"tcp", "udp", "icmp", "icmp6", "https", "http", "domain", "ssh", "smtp", "microsoft-ds", "ms-wbt-server", "ntp", "snmp", "ldap", "imaps", "postgresql",
	"any", "ipv4", "ipv6", "vlan", "duration", "bps", "pps",
}

// usualFirst returns the words with the usual ones in front, the others in their
// order.
func usualFirst(words []string) []string {
	rank := func(w string) int {
		if i := slices.Index(usual, w); i >= 0 {
			return i
		}
		return len(usual)
	}
	words = slices.Clone(words)
	slices.SortStableFunc(words, func(a, b string) int { return rank(a) - rank(b) })
	return words
}

// refused reports whether all that begins with the word is refused.
func (t *trie) refused() bool {
	if t.f != nil && t.f.refuse == "" {
		return false
	}
	for _, k := range t.kids {
		if !k.refused() {
			return false
		}
	}
	return true
}

// words adds words of the language that may follow those of at.
func (c *completer) words(at *trie, words []string) {
	for _, w := range usualFirst(words) {
		switch w {
		case "and", "or", "not", "(", ")", "]", "[":
			c.add(w, "keyword", "")
			continue
		}
		detail := ""
		if t := at.kids[w]; t != nil {
			if t.refused() {
				continue
			}
			if t.f != nil {
				detail = t.f.what
			}
		}
		c.add(w, "field", detail)
	}
}

// values adds what a field can be compared with; first says that a comparator
// may still come.
func (c *completer) values(f *field, first bool) {
	if first && c.word == "" {
		c.add("!=", "operator", "is not")
		if f.ordered() {
			for _, o := range []string{">", ">=", "<", "<="} {
				c.add(o, "operator", "")
			}
		}
	}
	if first && f.kind != kindTime {
		c.add("in", "operator", "any of a list in brackets")
	}
	c.out = append(c.out, Completion{Start: c.start, End: c.end, Kind: f.kindName(), Detail: f.wants()})
	if f.known != nil {
		for _, n := range usualFirst(f.known()) {
			c.add(n, "value", "")
		}
	}
	if f.kind == kindMarks {
		for _, n := range markNames {
			c.add(n, "value", "")
		}
	}
}
