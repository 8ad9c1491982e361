package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"flowtally/query"
)

const mediaCSV = "text/csv"

// The forms of CSV that an answer has. What programs read is one: times with their zone, no
// mark before the first name. The other is what people open in a spreadsheet, which takes
// neither: there the mark says that it is UTF-8, times (UTC) have no zone, which LibreOffice
// would not read as times, and text that it would take for a number stays text.
const (
	typeCSV         = mediaCSV + "; charset=utf-8; header=present"
	typeSpreadsheet = typeCSV + "; profile=spreadsheet"
)

// csvHeaders returns the content type and the disposition of a download.
func (in Formatted) csvHeaders(question string, keys []query.Key, from, to time.Time) (contentType, disposition string) {
	const stamp = "20060102T150405Z"
	name := "flowtally-" + question
	for _, k := range keys {
		name += "-" + strings.ReplaceAll(string(k), "/", "-") // words of ours: nothing else to escape
	}
	contentType = typeCSV
	if in.Format == formatSpreadsheet {
		contentType = typeSpreadsheet
	}
	return contentType,
		fmt.Sprintf("attachment; filename=\"%s-%s-%s.csv\"", name, from.UTC().Format(stamp), to.UTC().Format(stamp))
}

// WriteCSV writes an answer in the API's words, as programs read it: NewTop, NewSeries,
// NewFlows, NewEvents or NewShare made it. The first line has the SQL names of the columns.
func WriteCSV(w io.Writer, answer any) error { return marshalCSV(w, answer) }

// WriteSpreadsheet writes the same as people open it in a spreadsheet.
func WriteSpreadsheet(w io.Writer, answer any) error { return marshalSpreadsheet(w, answer) }

func marshalCSV(w io.Writer, v any) error { return writeTable(w, v, false) }

func marshalSpreadsheet(w io.Writer, v any) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return err
	}
	return writeTable(w, v, true)
}

// writeTable writes an answer as RFC 4180 has it.
func writeTable(w io.Writer, v any, spreadsheet bool) error {
	c := table{csv.NewWriter(w), spreadsheet}
	c.UseCRLF = true
	switch a := v.(type) {
	case Top:
		a.writeCSV(c)
	case Series:
		a.writeCSV(c)
	case Flows:
		a.writeCSV(c)
	case Events:
		a.writeCSV(c)
	case Share:
		a.writeCSV(c)
	case Summary:
		a.writeCSV(c)
	case SQLAnswer:
		a.writeCSV(c)
	default:
		return fmt.Errorf("web: %T has no form in CSV", v)
	}
	c.Flush()
	return c.Error()
}

// table is a file of CSV that is being written. It keeps the first error it meets; writeTable
// asks for it.
type table struct {
	*csv.Writer
	spreadsheet bool
}

// count is a number of which the first digits matter: it stays a number in a spreadsheet, which
// keeps 15 digits. A sum that is no number any more would be left out of every sum of its column.
// Whole numbers of other kinds are names: all their digits are kept, as text.
type count int64

// maxDigits is how many digits of a number a spreadsheet keeps.
const maxDigits = 15

func (t table) head(names ...string) {
	record := make([]string, len(names))
	for i, name := range names {
		record[i] = t.text(name)
	}
	_ = t.Write(record)
}

func (t table) row(cells ...any) {
	record := make([]string, len(cells))
	for i, v := range cells {
		record[i] = t.cell(v)
	}
	_ = t.Write(record)
}

// cell writes one value; absent is empty.
func (t table) cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case count:
		return number(int64(v))
	case int64:
		if n := number(v); t.spreadsheet && len(strings.TrimPrefix(n, "-")) > maxDigits {
			return literal(n)
		}
		return number(v)
	case string:
		return t.text(v)
	case *float64:
		if v == nil {
			return ""
		}
		return decimal(*v)
	case time.Time:
		if t.spreadsheet {
			return v.UTC().Format("2006-01-02T15:04:05.999999999")
		}
		return v.Format(time.RFC3339Nano)
	case json.RawMessage:
		return string(v)
	case digits:
		if t.spreadsheet {
			return literal(string(v))
		}
		return string(v)
	case float64:
		return decimal(v)
	}
	return fmt.Sprint(v)
}

// text writes words that others chose, maybe names of exporters. What begins as a formula gets
// an apostrophe in front, so that no spreadsheet runs it.
func (t table) text(s string) string {
	switch {
	case s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])):
		return "'" + s
	case t.spreadsheet && numberLike.MatchString(s) && !isName(s):
		return literal(s)
	}
	return s
}

// numberLike is text that a spreadsheet may take for a number, a date, a time or a truth.
var numberLike = regexp.MustCompile(`^(?i:[\s0-9.,:/+%$()e-]*[0-9][\s0-9.,:/+%$()e-]*|\s*(true|false)\s*)$`)

// isName reports whether text is an address, of a host, a network or a machine, which no
// spreadsheet takes for something else.
func isName(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	_, err := net.ParseMAC(s)
	return err == nil
}

// literal is the only way to say in CSV that a cell is text.
func literal(s string) string { return `="` + s + `"` }

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func number(n int64) string { return strconv.FormatInt(n, 10) }

func (a *Top) writeCSV(t table) {
	// What it is ranked by is a column, also when that is no sum.
	head := append(append([]string{}, a.columns...), "flows", "packets", "bytes")
	var rate func(topRow) any
	switch a.By {
	case "pps":
		head, rate = append(head, "pps"), func(r topRow) any { return r.PPS }
	case "bps":
		head, rate = append(head, "bps"), func(r topRow) any { return r.BPS }
	case "bpp":
		head, rate = append(head, "bpp"), func(r topRow) any { return r.BPP }
	case "duration":
		head, rate = append(head, "duration_ms"), func(r topRow) any { return r.DurationMS }
	}
	t.head(head...)
	for _, row := range a.Rows {
		cells := append(group(nil, a.columns, row.Values), count(row.Flows), count(row.Packets), count(row.Bytes))
		if rate != nil {
			cells = append(cells, rate(row))
		}
		t.row(cells...)
	}
}

func (a *Flows) writeCSV(t table) {
	t.head(a.columns...)
	for _, row := range a.Rows {
		t.row(group(nil, a.columns, values(row))...)
	}
}

func (a *Events) writeCSV(t table) {
	t.head(a.columns...)
	for _, row := range a.Rows {
		t.row(group(nil, a.columns, values(row))...)
	}
}

func (a *Share) writeCSV(t table) {
	t.head("bucket", "addr", "share", "host_flows", "flows")
	for i, start := range a.Starts {
		t.row(start, a.Host[i], a.Share[i], count(a.HostFlows[i]), count(a.Flows[i]))
	}
}

func (a *Summary) writeCSV(t table) {
	t.head("class", "flows", "packets", "bytes", "flows_per_s", "pps", "bps")
	for _, r := range a.Rows {
		t.row(r.Class, count(r.Flows), count(r.Packets), count(r.Bytes), r.FlowsPerSecond, r.PPS, r.BPS)
	}
}

func (a *SQLAnswer) writeCSV(t table) {
	names := make([]string, len(a.Columns))
	for i, column := range a.Columns {
		names[i] = column.Name
	}
	t.head(names...)
	for _, row := range a.Rows {
		cells := make([]any, len(row))
		for i, v := range row {
			cells[i] = v
			text, ok := v.(string)
			if !ok {
				continue
			}
			// Text is what JSON has no better form for; the column says what it was.
			switch a.Columns[i].Type {
			case "timestamptz", "timestamp with time zone":
				if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
					cells[i] = at
				}
			case "int8", "bigint", "numeric":
				if _, err := strconv.ParseFloat(text, 64); err == nil {
					cells[i] = digits(text)
				}
			}
		}
		t.row(cells...)
	}
}

// digits is a number with more digits than JSON's numbers have.
type digits string

func (a *Series) writeCSV(t table) {
	t.head(append(append([]string{"bucket"}, a.columns...), "flows", "packets", "bytes")...)
	lines := a.Lines
	if len(a.columns) == 0 {
		lines = []line{{Flows: a.Total.Flows, Packets: a.Total.Packets, Bytes: a.Total.Bytes}}
	}
	for i, start := range a.Starts {
		for _, l := range lines {
			t.row(append(group([]any{start}, a.columns, l.Values), at(l.Flows, i), at(l.Packets, i), at(l.Bytes, i))...)
		}
	}
}

// group appends a group's values in the order of its columns.
func group(cells []any, columns []string, vs values) []any {
	for _, name := range columns {
		v := vs[name]
		if n, ok := v.(int64); ok && slices.Contains([]string{"flows", "packets", "bytes"}, name) {
			v = count(n)
		}
		cells = append(cells, v)
	}
	return cells
}

func at(n []int64, i int) any {
	if i >= len(n) {
		return nil
	}
	return count(n[i])
}
