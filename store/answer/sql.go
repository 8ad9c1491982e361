package answer

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"flowtally/filter"
	"flowtally/flow"
)

// Statements are built of typed parts and rendered once, in one of two forms of the same
// SQL: with parameters, to be executed, or with literals, for people to read and to run.
// docs/adr/0008-sql-through-a-builder.md says why.

// A statement returns rows: a selection, a union or a with.
type statement interface {
	render(w *sqlWriter, indent string)
}

// expression is SQL in the order in which it is written: a string is text, a value becomes
// a parameter or a literal, forms is one of two, an expression is its parts.
type expression []any

// sql makes an expression of its parts.
func sql(parts ...any) expression { return parts }

// value is a value in a statement: a flow.Time, an int, or what a filter compares with.
type value struct{ of any }

// forms is SQL that differs for who executes it now and who runs it later. The later one
// must not rely on anything that was known when it was written.
type forms struct{ now, later expression }

// selection is one select.
type selection struct {
	columns []column
	from    relation
	where   []expression // joined by and
	groupBy []string
	orderBy []string
	limit   expression // nil: all
	offset  expression
}

// column is a column of a selection; as is its name, empty where the expression has one.
type column struct {
	of expression
	as string
}

// columnsOf are columns by their names alone.
func columnsOf(names ...string) []column {
	list := make([]column, len(names))
	for i, name := range names {
		list[i] = column{of: sql(name)}
	}
	return list
}

// named is a column of SQL text; without a name where the text is the name.
func named(text, as string) column {
	if text == as {
		as = ""
	}
	return column{sql(text), as}
}

// relation is what a selection reads.
type relation interface {
	renderFrom(w *sqlWriter, indent string)
}

// table is a table, a view or a part of a with, by its name.
type table string

// derived is a statement that is read like a table.
type derived struct {
	of statement
	as string
}

// joined is a relation beside another.
type joined struct {
	left  relation
	how   string // join or left join
	right relation
	on    expression // a using clause begins with "using"
}

// values are rows that are written out, with the names of their columns.
type values struct {
	rows    []expression
	as      string
	columns []string
}

// union is the rows of all of its statements (union all).
type union []statement

// with gives names to statements for another one to read.
type with struct {
	parts []part
	body  statement
}

// part is a statement of a with, or rows that are written out.
type part struct {
	name    string
	columns []string
	how     string // materialized or not materialized; empty leaves it to PostgreSQL
	of      statement
}

// rowsOf makes rows that are written out a statement, for a part of a with.
type rowsOf struct{ rows []expression }

// sqlWriter renders a statement.
type sqlWriter struct {
	b strings.Builder
	// literal: values are written out, and of forms the later one.
	literal bool
	args    []any
	places  map[any]string // of args that can be compared
	err     error
}

// executable renders a statement with parameters.
func executable(s statement) (text string, args []any, err error) {
	w := &sqlWriter{places: make(map[any]string)}
	s.render(w, "")
	return w.String(), w.args, w.err
}

// readable renders a statement with literals.
func readable(s statement) (string, error) {
	w := &sqlWriter{literal: true}
	s.render(w, "")
	return w.String(), w.err
}

func (w *sqlWriter) String() string { return strings.TrimSuffix(w.b.String(), "\n") }

func (w *sqlWriter) text(s string) { w.b.WriteString(s) }

func (w *sqlWriter) line(indent string, parts ...string) {
	w.b.WriteString(indent)
	for _, p := range parts {
		w.b.WriteString(p)
	}
	w.b.WriteByte('\n')
}

// expression renders on the line that is being written.
func (w *sqlWriter) expression(e expression) string {
	var b strings.Builder
	for _, p := range e {
		switch p := p.(type) {
		case string:
			b.WriteString(p)
		case value:
			b.WriteString(w.value(p.of))
		case expression:
			b.WriteString(w.expression(p))
		case forms:
			if w.literal {
				b.WriteString(w.expression(p.later))
			} else {
				b.WriteString(w.expression(p.now))
			}
		default:
			w.fail(fmt.Errorf("a %T is no part of an expression", p))
		}
	}
	return b.String()
}

func (w *sqlWriter) expressions(list []expression) []string {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = w.expression(e)
	}
	return texts
}

// value returns what stands for v; equal values share one parameter.
func (w *sqlWriter) value(v any) string {
	if w.literal {
		text, err := literal(v)
		w.fail(err)
		return text
	}
	if t, ok := v.(flow.Time); ok {
		v = t.Time()
	}
	if isList(v) { // each has its own
		return w.argument(v)
	}
	p, ok := w.places[v]
	if !ok {
		p = w.argument(v)
		w.places[v] = p
	}
	return p
}

func (w *sqlWriter) argument(v any) string {
	w.args = append(w.args, v)
	return "$" + strconv.Itoa(len(w.args))
}

func isList(v any) bool {
	switch v.(type) {
	case []int64, []int32, []netip.Addr, []netip.Prefix, []string:
		return true
	}
	return false
}

// fail keeps the first error.
func (w *sqlWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// wide is how long a line of columns may become.
const wide = 110

// list writes words joined by commas behind a first word, in several lines when it is
// long.
func (w *sqlWriter) list(indent, first string, words []string) {
	line, empty := indent+first, true
	for i, word := range words {
		comma := ","
		if i == len(words)-1 {
			comma = ""
		}
		if !empty && len(line)+1+len(word) > wide {
			w.line("", line)
			line = indent + "  "
		} else if !strings.HasSuffix(line, " ") {
			line += " "
		}
		line += word + comma
		empty = false
	}
	w.line("", line)
}

func (s *selection) render(w *sqlWriter, indent string) {
	columns := make([]string, len(s.columns))
	for i, c := range s.columns {
		if columns[i] = w.expression(c.of); c.as != "" {
			columns[i] += " as " + c.as
		}
	}
	w.list(indent, "select", columns)
	if s.from != nil {
		w.text(indent + "from ")
		s.from.renderFrom(w, indent)
	}
	word := "where "
	for _, e := range s.where {
		w.line(indent, word, w.expression(e))
		word = "  and "
	}
	if len(s.groupBy) > 0 {
		w.line(indent, "group by ", strings.Join(s.groupBy, ", "))
	}
	if len(s.orderBy) > 0 {
		w.line(indent, "order by ", strings.Join(s.orderBy, ", "))
	}
	if s.limit != nil {
		offset := ""
		if s.offset != nil {
			offset = " offset " + w.expression(s.offset)
		}
		w.line(indent, "limit ", w.expression(s.limit), offset)
	}
}

func (u union) render(w *sqlWriter, indent string) {
	for i, s := range u {
		if i > 0 {
			w.line(indent, "union all")
		}
		// Its order and limit are its own, not the union's.
		if one, ok := s.(*selection); ok && (one.limit != nil || one.orderBy != nil) {
			w.line(indent, "(")
			s.render(w, indent+"  ")
			w.line(indent, ")")
			continue
		}
		s.render(w, indent)
	}
}

func (r rowsOf) render(w *sqlWriter, indent string) {
	w.line(indent, "values")
	for i, row := range r.rows {
		comma := ","
		if i == len(r.rows)-1 {
			comma = ""
		}
		w.line(indent+"  ", "(", w.expression(row), ")", comma)
	}
}

func (s with) render(w *sqlWriter, indent string) {
	for i, p := range s.parts {
		head := p.name
		if len(p.columns) > 0 {
			head += " (" + strings.Join(p.columns, ", ") + ")"
		}
		head += " as "
		if p.how != "" {
			head += p.how + " "
		}
		if i == 0 {
			w.text(indent + "with ")
		} else {
			w.text(", ")
		}
		w.line("", head, "(")
		p.of.render(w, indent+"  ")
		w.text(indent + ")")
	}
	w.text("\n")
	s.body.render(w, indent)
}

func (t table) renderFrom(w *sqlWriter, _ string) { w.line("", string(t)) }

func (d derived) renderFrom(w *sqlWriter, indent string) {
	w.line("", "(")
	d.of.render(w, indent+"  ")
	w.line(indent, ") ", d.as)
}

func (j joined) renderFrom(w *sqlWriter, indent string) {
	j.left.renderFrom(w, indent)
	w.text(indent + j.how + " ")
	j.right.renderFrom(w, indent)
	on := w.expression(j.on)
	if !strings.HasPrefix(on, "using ") {
		on = "on " + on
	}
	w.line(indent, "  ", on)
}

func (v values) renderFrom(w *sqlWriter, indent string) {
	w.list(indent, "(values", func() []string {
		rows := w.expressions(v.rows)
		for i := range rows {
			rows[i] = "(" + rows[i] + ")"
		}
		return rows
	}())
	w.line(indent, ") ", v.as, " (", strings.Join(v.columns, ", "), ")")
}

// parameter is one of a filter's text.
var parameter = regexp.MustCompile(`\$[0-9]+`)

// condition is a filter, with its values.
func condition(f *filter.Filter) expression {
	text, args := f.SQL(nil)
	e := sql("(")
	for {
		at := parameter.FindStringIndex(text)
		if at == nil {
			return append(e, text, ")")
		}
		n, _ := strconv.Atoi(text[at[0]+1 : at[1]])
		e = append(e, text[:at[0]], value{args[n-1]})
		text = text[at[1]:]
	}
}

// literal writes a value.
func literal(v any) (string, error) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	list := func(n int, item func(int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item(i)
		}
		return quote("{" + strings.Join(items, ",") + "}")
	}
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case time.Time:
		return "'" + v.UTC().Format("2006-01-02 15:04:05.999999") + "+00'", nil
	case flow.Time:
		return literal(v.Time())
	case netip.Addr:
		return quote(v.String()), nil
	case netip.Prefix:
		return quote(v.String()), nil
	case string:
		return quote(v), nil
	case []int32:
		return list(len(v), func(i int) string { return strconv.Itoa(int(v[i])) }), nil
	case []int64:
		return list(len(v), func(i int) string { return strconv.FormatInt(v[i], 10) }), nil
	case []netip.Addr:
		return list(len(v), func(i int) string { return v[i].String() }), nil
	case []netip.Prefix:
		return list(len(v), func(i int) string { return v[i].String() }), nil
	case []string:
		return list(len(v), func(i int) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v[i]) + `"` }), nil
	}
	return "", fmt.Errorf("there is no literal of a %T", v)
}

// and joins conditions; nil when there are none.
func and(list []string) string { return strings.Join(list, " and ") }

// all are columns together.
func all(lists ...[]column) []column { return slices.Concat(lists...) }

// joinComma joins what is written in a list.
func joinComma(list []string) string { return strings.Join(list, ", ") }

// ordered is a union in an order.
type ordered struct {
	of      union
	orderBy []string
}

func (o ordered) render(w *sqlWriter, indent string) {
	o.of.render(w, indent)
	w.line(indent, "order by ", joinComma(o.orderBy))
}
