package answer

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"flowtally/filter"
	"flowtally/flow"
)

// statement is SQL under construction, in one of two forms of the same text:
// with parameters, to be executed, or with literals, to be read and run by
// people.
type statement struct {
	b       strings.Builder
	literal bool
	args    []any
	places  map[any]string
}

// line adds a line.
func (s *statement) line(parts ...string) {
	for _, p := range parts {
		s.b.WriteString(p)
	}
	s.b.WriteByte('\n')
}

func (s *statement) String() string { return strings.TrimSuffix(s.b.String(), "\n") }

// argument returns what stands for v; equal values share one parameter.
func (s *statement) argument(v any, literal string) string {
	if s.literal {
		return literal
	}
	if p, ok := s.places[v]; ok {
		return p
	}
	s.args = append(s.args, v)
	p := "$" + strconv.Itoa(len(s.args))
	if s.places == nil {
		s.places = make(map[any]string)
	}
	s.places[v] = p
	return p
}

func (s *statement) time(t flow.Time) string {
	return s.argument(t.Time(), "'"+t.Time().Format("2006-01-02 15:04:05.999999")+"+00'")
}

// parameter is one of a filter's text.
var parameter = regexp.MustCompile(`\$[0-9]+`)

// condition is a filter in SQL.
func (s *statement) condition(f *filter.Filter) string {
	if !s.literal {
		var text string
		text, s.args = f.SQL(s.args)
		return text
	}
	text, args := f.SQL(nil)
	return parameter.ReplaceAllStringFunc(text, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		return literal(args[n-1])
	})
}

// literal writes a value of a filter.
func literal(v any) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	list := func(n int, item func(int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item(i)
		}
		return quote("{" + strings.Join(items, ",") + "}")
	}
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return "'" + v.UTC().Format("2006-01-02 15:04:05.999999") + "+00'"
	case netip.Addr:
		return quote(v.String())
	case netip.Prefix:
		return quote(v.String())
	case string:
		return quote(v)
	case []int64:
		return list(len(v), func(i int) string { return strconv.FormatInt(v[i], 10) })
	case []netip.Addr:
		return list(len(v), func(i int) string { return v[i].String() })
	case []netip.Prefix:
		return list(len(v), func(i int) string { return v[i].String() })
	case []string:
		return list(len(v), func(i int) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v[i]) + `"` })
	}
	return "null"
}

func (s *statement) int(n int) string { return s.argument(n, strconv.Itoa(n)) }
