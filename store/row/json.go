package row

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// maxExtra is the most bytes of JSON that a row keeps.
	maxExtra = 64 << 10
	// maxExtraDepth is how deep objects and lists of that JSON may be nested.
	maxExtraDepth = 64
)

// cleanJSON returns b when jsonb takes it as it is, as it does everything that our own
// decoder makes. Otherwise it changes b into what jsonb takes, or returns nil when there is
// no such thing: jsonb has no NUL, no half of a surrogate pair and no number beyond its
// numeric, and nests only as deep as its stack.
func cleanJSON(b []byte) (_ []byte, changed bool) {
	if storable(b) {
		return b, false
	}
	if len(b) > maxExtra || deep(b) {
		return nil, true
	}
	d := json.NewDecoder(bytes.NewReader(bytes.ToValidUTF8(b, []byte("\uFFFD"))))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil || object == nil || d.More() {
		return nil, true
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(clean(object)); err != nil {
		return nil, true
	}
	if cleaned := bytes.TrimSpace(out.Bytes()); storable(cleaned) {
		return cleaned, true
	}
	return nil, true
}

// storable reports whether jsonb certainly takes b. It returns false for some JSON that
// jsonb would take.
func storable(b []byte) bool {
	if len(b) < 2 || b[0] != '{' || len(b) > maxExtra || !utf8.Valid(b) || !json.Valid(b) {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			if i++; b[i] == 'u' { // valid JSON has a byte there, and four digits behind
				// A NUL and the halves of surrogate pairs are not for jsonb.
				if n, err := strconv.ParseUint(string(b[i+1:i+5]), 16, 16); err != nil || n == 0 || utf16.IsSurrogate(rune(n)) {
					return false
				}
				i += 4
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxExtraDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		case c == 'E':
			return false
		case c == 'e' && i > 0 && '0' <= b[i-1] && b[i-1] <= '9':
			return false // the exponent of a number, not the end of true or false
		}
	}
	return true
}

// deep reports whether b may be nested too deep, also when b is no JSON.
func deep(b []byte) bool {
	depth := 0
	for _, c := range b {
		switch c {
		case '{', '[':
			if depth++; depth > maxExtraDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// clean returns a decoded value without NULs, and with numbers spelled out.
func clean(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case json.Number:
		if !strings.ContainsAny(string(v), "eE") {
			return v
		}
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return string(v)
		}
		return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[strings.ReplaceAll(k, "\x00", "")] = clean(e)
		}
		return out
	case []any:
		for i := range v {
			v[i] = clean(v[i])
		}
		return v
	}
	return v
}
