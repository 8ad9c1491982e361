package pcapfilter

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	end      tokenKind = iota
	word               // a name: tcp, https, tcp-syn, 1000-2000
	number             // 80, 0x50, 0120
	dotted             // 10, 10.1, 10.1.2, 10.1.2.3: one to four octets; one is a number
	addr6              // fe80::1
	mac                // 00:11:22:33:44:55
	operator           // ( ) [ ] ! and the like
)

type token struct {
	kind       tokenKind
	text       string // lower case for words
	start, end int
	value      uint32     // of a number; of dotted: the octets, left-aligned
	octets     int        // of dotted
	addr       netip.Addr // of addr6
	hw         [6]byte    // of mac
	quoted     bool       // a word behind a backslash: no keyword
}

// maxWord is how many octets of a word are looked at.
const maxWord = 256

var (
	macPattern    = regexp.MustCompile(`^(?:(?:[0-9A-Fa-f]{1,2}[:.-]){5}[0-9A-Fa-f]{1,2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})`)
	colonsPattern = regexp.MustCompile(`^[0-9A-Fa-f:.]+`)
	wordPattern   = regexp.MustCompile(`^[A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])?`)
	dottedPattern = regexp.MustCompile(`^[0-9]+(?:\.[0-9]+){1,3}$`)
	operators     = []string{"&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "[", "]", "!", "<", ">", "=", "+", "-", "*", "/", "%", "&", "|", "^", ":"}
)

// lex cuts the text into tokens, with one of kind end behind them.
func (p *parser) lex() error {
	s := p.text
	for i := 0; i < len(s); {
		if strings.IndexByte(" \t\r\n", s[i]) >= 0 {
			i++
			continue
		}
		t := token{start: i}
		if s[i] == '\\' {
			t.quoted = true
			i++
		}
		// No word is longer than a line, so that a text of one word costs no more.
		rest := s[i:min(i+maxWord, len(s))]
		run := colonsPattern.FindString(rest)
		var n int
		switch {
		case macPattern.MatchString(rest) && boundary(rest, len(macPattern.FindString(rest))):
			n = len(macPattern.FindString(rest))
			t.kind = mac
			t.hw = hardware(rest[:n])
		case strings.Count(run, ":") >= 2 && validAddr6(run, &t.addr):
			n = len(run)
			t.kind = addr6
		case wordPattern.MatchString(rest):
			n = len(wordPattern.FindString(rest))
			t.text = strings.ToLower(rest[:n])
			t.kind = word
			switch v, err := strconv.ParseUint(t.text, 0, 32); {
			case err == nil:
				t.kind, t.value = number, uint32(v)
			case dottedPattern.MatchString(t.text):
				t.kind = dotted
				for part := range strings.SplitSeq(t.text, ".") {
					o, err := strconv.ParseUint(part, 10, 8)
					if err != nil {
						t.end = i + n
						return p.errorAt(t, "%s is more than 255", part)
					}
					t.value = t.value<<8 | uint32(o)
					t.octets++
				}
				t.value <<= 8 * (4 - t.octets)
			case t.text[0] >= '0' && t.text[0] <= '9' && strings.Trim(t.text, "0123456789") == "":
				t.end = i + n
				return p.errorAt(t, "no number can be so large")
			}
		default:
			k := slices.IndexFunc(operators, func(o string) bool { return strings.HasPrefix(rest, o) })
			if k < 0 || t.quoted {
				t.end = min(i+1, len(s))
				return p.errorAt(t, "this means nothing here")
			}
			n = len(operators[k])
			t.kind, t.text = operator, operators[k]
		}
		t.end = i + n
		i += n
		p.tokens = append(p.tokens, t)
	}
	p.tokens = append(p.tokens, token{kind: end, start: len(s), end: len(s)})
	return nil
}

// boundary reports whether a word could end at n.
func boundary(s string, n int) bool {
	return n == len(s) || strings.IndexByte(":.-_", s[n]) < 0 && !('0' <= s[n] && s[n] <= '9' || 'a' <= s[n]|0x20 && s[n]|0x20 <= 'z')
}

func validAddr6(s string, a *netip.Addr) bool {
	v, err := netip.ParseAddr(s)
	*a = v
	return err == nil && v.Is6()
}

func hardware(s string) (hw [6]byte) {
	if strings.Count(s, ".") == 2 { // 0011.2233.4455
		s = strings.ReplaceAll(s, ".", "")
		for i := range hw {
			v, _ := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
			hw[i] = byte(v)
		}
		return hw
	}
	for i, part := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(":.-", r) }) {
		v, _ := strconv.ParseUint(part, 16, 8)
		hw[i] = byte(v)
	}
	return hw
}
