package query

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Having is a condition on the sums of a group: flows > 100 and bytes > 1m.
type Having struct{ root *havingNode }

// havingNode is either an operator (and, or, not) over kids, or a comparison.
type havingNode struct {
	op   string
	kids []*havingNode
	Comparison
}

// MaxHaving is how many comparisons a Having may have, and how deep it may be
// nested.
const MaxHaving = 50

// ParseHaving reads a condition: comparisons of flows, packets, bytes, pps, bps,
// bpp and duration (milliseconds, the average of the group's flows) with a
// number, joined by and, or, not and parentheses. Numbers may end in k, m, g or
// t: 10³ to 10¹². The empty text is nil. The error is a *QuestionError.
func ParseHaving(text string) (*Having, error) {
	p := &havingParser{words: havingWords(text), end: len(text)}
	if len(p.words) == 0 {
		return nil, nil
	}
	root, err := p.or(0)
	if err == nil && p.at < len(p.words) {
		err = p.fail("and or or")
	}
	if err != nil {
		return nil, err
	}
	return &Having{root}, nil
}

// havingWord is a word and where it begins, in bytes of the text.
type havingWord struct {
	text string
	at   int
}

// havingWords cuts a text into words, comparators and parentheses.
func havingWords(text string) []havingWord {
	var words []havingWord
	for i := 0; i < len(text); {
		c := text[i]
		end := i + 1
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case strings.IndexByte("<>=!&|", c) >= 0:
			for end < len(text) && strings.IndexByte("=&|", text[end]) >= 0 {
				end++
			}
		case strings.IndexByte("()", c) < 0:
			for end < len(text) && strings.IndexByte(" \t\r\n<>=!&|()", text[end]) < 0 {
				end++
			}
		}
		words = append(words, havingWord{text[i:end], i})
		i = end
	}
	return words
}

type havingParser struct {
	words []havingWord
	at    int
	end   int // of the text
	count int
}

// word returns the present word in lower case, "" at the end.
func (p *havingParser) word() string {
	if p.at >= len(p.words) {
		return ""
	}
	return strings.ToLower(p.words[p.at].text)
}

func (p *havingParser) fail(want string) error {
	have := "the end"
	e := &Error{Parameter: "having", Offset: p.end, End: p.end}
	if p.at < len(p.words) {
		w := p.words[p.at]
		have = strconv.Quote(p.word())
		e.Offset, e.End = w.at, w.at+len(w.text)
	}
	e.Reason = fmt.Sprintf("word %d: want %s, not %s, as in flows > 100 and bytes > 1m", p.at+1, want, have)
	return e
}

func (p *havingParser) take(words ...string) bool {
	if p.at < len(p.words) && slices.Contains(words, p.word()) {
		p.at++
		return true
	}
	return false
}

func (p *havingParser) or(depth int) (*havingNode, error) {
	return p.joined("or", []string{"or", "||", "|"}, func() (*havingNode, error) {
		return p.joined("and", []string{"and", "&&", "&"}, func() (*havingNode, error) { return p.not(depth) })
	})
}

func (p *havingParser) joined(op string, words []string, kid func() (*havingNode, error)) (*havingNode, error) {
	n, err := kid()
	if err != nil {
		return nil, err
	}
	kids := []*havingNode{n}
	for p.take(words...) {
		if n, err = kid(); err != nil {
			return nil, err
		}
		kids = append(kids, n)
	}
	if len(kids) == 1 {
		return kids[0], nil
	}
	return &havingNode{op: op, kids: kids}, nil
}

func (p *havingParser) not(depth int) (*havingNode, error) {
	if depth > MaxHaving {
		return nil, &Error{Parameter: "having", Reason: "it is nested too deep", End: p.end}
	}
	switch {
	case p.take("not", "!"):
		n, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return &havingNode{op: "not", kids: []*havingNode{n}}, nil
	case p.take("("):
		n, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, p.fail("a closing parenthesis")
		}
		return n, nil
	}
	return p.comparison()
}

var comparators = map[string]string{
	"=": "=", "==": "=", "eq": "=", "!=": "!=", "ne": "!=", ">": ">", "gt": ">", "<": "<", "lt": "<", ">=": ">=", "ge": ">=", "<=": "<=", "le": "<=",
}

func (p *havingParser) comparison() (*havingNode, error) {
	if p.count++; p.count > MaxHaving {
		return nil, &Error{Parameter: "having", Reason: fmt.Sprintf("more than %d comparisons", MaxHaving), End: p.end}
	}
	if p.at >= len(p.words) {
		return nil, p.fail("a measure")
	}
	m, err := ParseMeasure(p.word())
	if err != nil {
		return nil, p.fail(MeasureNames())
	}
	p.at++
	if comparators[p.word()] == "" {
		return nil, p.fail("a comparator")
	}
	op := comparators[p.word()]
	p.at++
	if p.at >= len(p.words) {
		return nil, p.fail("a number")
	}
	word := p.word()
	digits, scale := word, uint64(1)
	for i, unit := range []string{"k", "m", "g", "t"} {
		if d, ok := strings.CutSuffix(word, unit); ok {
			digits, scale = d, []uint64{1e3, 1e6, 1e9, 1e12}[i]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt64/scale {
		return nil, p.fail("a whole number")
	}
	p.at++
	return &havingNode{Comparison: Comparison{Measure: m, Op: op, Number: n * scale, text: word}}, nil
}

// String returns the condition in a form that parses to the same.
func (h *Having) String() string {
	if h == nil {
		return ""
	}
	return h.root.text(func(c Comparison) string { return fmt.Sprintf("%s %s %s", c.Measure, c.Op, c.text) })
}

// Comparison is one comparison of a Having: a measure, one of = != < > <= >=, and a
// number.
type Comparison struct {
	Measure Measure
	Op      string
	Number  uint64
	text    string // the number as it was written
}

// Render writes the condition with and, or, not and parentheses, each comparison as leaf
// writes it.
func (h *Having) Render(leaf func(Comparison) string) string { return h.root.text(leaf) }

func (n *havingNode) text(leaf func(Comparison) string) string {
	switch n.op {
	case "not":
		return "not (" + n.kids[0].text(leaf) + ")"
	case "and", "or":
		parts := make([]string, len(n.kids))
		for i, k := range n.kids {
			if parts[i] = k.text(leaf); len(k.kids) > 1 {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, " "+n.op+" ")
	}
	return leaf(n.Comparison)
}

// NeedsTimes reports whether the condition needs to know when a group was seen.
func (h *Having) NeedsTimes() bool {
	return h != nil && h.root.any(func(n *havingNode) bool { return n.op == "" && n.Measure.NeedsTimes() })
}

func (n *havingNode) any(f func(*havingNode) bool) bool {
	return f(n) || slices.ContainsFunc(n.kids, func(k *havingNode) bool { return k.any(f) })
}
