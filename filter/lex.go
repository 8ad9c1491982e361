package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kindOfToken says what a token is.
type kindOfToken uint8

const (
	tokEnd    kindOfToken = iota
	tokWord               // a bare word: letters, digits, _ : . - / %
	tokQuoted             // a word between quotes, which is never a keyword
	tokComp               // = == != > < >= <= and their names
	tokPunct              // ( ) [ ] , ! && ||
)

// token is a piece of the text. text is what it means: a quoted word without
// its quotes, a comparator by its sign.
type token struct {
	kind    kindOfToken
	text    string
	at, end int
}

// is reports whether t is the keyword or sign.
func (t token) is(s string) bool {
	switch t.kind {
	case tokWord:
		return strings.EqualFold(t.text, s)
	case tokPunct, tokComp:
		return t.text == s
	}
	return false
}

func isWordRune(r rune) bool {
	switch r {
	case '_', ':', '.', '-', '/', '%', '+':
		return true
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// comparators by name; they are words, so that "eq" can be quoted.
var comparators = map[string]string{"eq": "=", "ne": "!=", "gt": ">", "lt": "<", "ge": ">=", "le": "<="}

// lex cuts the text into tokens; the last is tokEnd.
func lex(text string) ([]token, *Error) {
	var out []token
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		two := ""
		if i+2 <= len(text) {
			two = text[i : i+2]
		}
		switch {
		case r == utf8.RuneError && n <= 1:
			return nil, &Error{Offset: i, End: i + 1, Msg: "a byte that is not UTF-8"}
		case unicode.IsSpace(r):
			i += n
		case r == '#':
			if end := strings.IndexByte(text[i:], '\n'); end >= 0 {
				i += end
			} else {
				i = len(text)
			}
		case r == '"' || r == '\'':
			end := strings.IndexByte(text[i+1:], byte(r))
			if end < 0 {
				return nil, &Error{Offset: i, End: len(text), Msg: "the quote is not closed"}
			}
			word := text[i+1 : i+1+end]
			if strings.ContainsFunc(word, unicode.IsControl) || !utf8.ValidString(word) {
				return nil, &Error{Offset: i, End: i + end + 2, Msg: "a control character between quotes"}
			}
			if word == "" {
				return nil, &Error{Offset: i, End: i + 2, Msg: "nothing between the quotes"}
			}
			out = append(out, token{tokQuoted, word, i, i + end + 2})
			i += end + 2
		case two == "==":
			out = append(out, token{tokComp, "=", i, i + 2})
			i += 2
		case two == "!=" || two == ">=" || two == "<=":
			out = append(out, token{tokComp, two, i, i + 2})
			i += 2
		case two == "<>":
			out = append(out, token{tokComp, "!=", i, i + 2})
			i += 2
		case r == '=' || r == '<' || r == '>':
			out = append(out, token{tokComp, string(r), i, i + 1})
			i++
		case two == "&&" || two == "||":
			out = append(out, token{tokWord, map[string]string{"&&": "and", "||": "or"}[two], i, i + 2})
			i += 2
		case strings.ContainsRune("()[],!", r):
			out = append(out, token{tokPunct, string(r), i, i + 1})
			i++
		case r == '@':
			end := strings.IndexFunc(text[i+1:], func(r rune) bool { return !isWordRune(r) })
			if end < 0 {
				end = len(text) - i - 1
			}
			return nil, &Error{Offset: i, End: i + 1 + end,
				Msg: "files are not included: a filter is also asked of a server, whose files are not for reading; write the text here"}
		case isWordRune(r):
			at := i
			for i < len(text) {
				r, n := utf8.DecodeRuneInString(text[i:])
				if !isWordRune(r) || r == utf8.RuneError && n <= 1 {
					break
				}
				i += n
			}
			t := token{tokWord, text[at:i], at, i}
			if c, ok := comparators[strings.ToLower(t.text)]; ok {
				t.kind, t.text = tokComp, c
			}
			out = append(out, t)
		default:
			return nil, &Error{Offset: i, End: i + n, Msg: "a character that has no meaning here: put names between quotes"}
		}
	}
	return append(out, token{kind: tokEnd, at: len(text), end: len(text)}), nil
}
