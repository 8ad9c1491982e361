package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"flowtally/query"
)

const mediaCSV = "text/csv"

// csvHeaders returns the content type and the disposition of a download.
func csvHeaders(question string, keys []query.Key, from, to time.Time) (contentType, disposition string) {
	const stamp = "20060102T150405Z"
	name := "flowtally-" + question
	for _, k := range keys {
		name += "-" + strings.ReplaceAll(string(k), "/", "-") // words of ours: nothing else to escape
	}
	return mediaCSV + "; charset=utf-8; header=present",
		fmt.Sprintf("attachment; filename=\"%s-%s-%s.csv\"", name, from.UTC().Format(stamp), to.UTC().Format(stamp))
}

// WriteTopCSV writes the listed groups of a ranking as the API does.
func WriteTopCSV(w io.Writer, t *query.Top) error { return marshalCSV(w, NewTop(t)) }

// WriteSeriesCSV writes a series as the API does: one row for each bucket and
// listed group; without keys, for each bucket.
func WriteSeriesCSV(w io.Writer, t *query.Series) error { return marshalCSV(w, NewSeries(t)) }

// marshalCSV writes an answer as RFC 4180 has it, the first line holding the
// SQL names of the columns.
func marshalCSV(w io.Writer, v any) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	switch a := v.(type) {
	case Top:
		a.writeCSV(c)
	case Series:
		a.writeCSV(c)
	case Flows:
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

// The writers keep the first error they meet; marshalCSV asks for it.

func (a *Top) writeCSV(c *csv.Writer) {
	// What it is ranked by is a column, also when that is no sum.
	head := append(append([]string{}, a.columns...), "flows", "packets", "bytes")
	var rate func(topRow) any
	switch a.By {
	case "pps":
		head, rate = append(head, "pps"), func(r topRow) any { return known(r.PPS) }
	case "bps":
		head, rate = append(head, "bps"), func(r topRow) any { return known(r.BPS) }
	case "bpp":
		head, rate = append(head, "bpp"), func(r topRow) any { return known(r.BPP) }
	case "duration":
		head, rate = append(head, "duration_ms"), func(r topRow) any { return known(r.DurationMS) }
	}
	_ = c.Write(head)
	for _, row := range a.Rows {
		record := cells(nil, a.columns, row.Values)
		record = append(record, number(row.Flows), number(row.Packets), number(row.Bytes))
		if rate != nil {
			record = append(record, cell(rate(row)))
		}
		_ = c.Write(record)
	}
}

// known is a number that may not be known as a cell: nil, or itself.
func known(n *float64) any {
	if n == nil {
		return nil
	}
	return *n
}

func (a *Flows) writeCSV(c *csv.Writer) {
	_ = c.Write(a.columns)
	for _, row := range a.Rows {
		_ = c.Write(cells(nil, a.columns, values(row)))
	}
}

func (a *Share) writeCSV(c *csv.Writer) {
	_ = c.Write([]string{"bucket", "addr", "share", "host_flows", "flows"})
	for i, start := range a.Starts {
		_ = c.Write([]string{start.Format(time.RFC3339), a.Host[i], decimal(a.Share[i]), number(a.HostFlows[i]), number(a.Flows[i])})
	}
}

func (a *Summary) writeCSV(c *csv.Writer) {
	_ = c.Write([]string{"class", "flows", "packets", "bytes", "flows_per_s", "pps", "bps"})
	for _, r := range a.Rows {
		_ = c.Write([]string{r.Class, number(r.Flows), number(r.Packets), number(r.Bytes), decimal(r.FlowsPerSecond), decimal(r.PPS), decimal(r.BPS)})
	}
}

func (a *SQLAnswer) writeCSV(c *csv.Writer) {
	record := make([]string, len(a.Columns))
	for i, column := range a.Columns {
		record[i] = harmless(column.Name)
	}
	_ = c.Write(record)
	for _, row := range a.Rows {
		for i, v := range row {
			record[i] = cell(v)
		}
		_ = c.Write(record)
	}
}

// cell writes one value; absent is empty.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return harmless(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case json.RawMessage:
		return string(v)
	case float64:
		return decimal(v)
	}
	return fmt.Sprint(v)
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func (a *Series) writeCSV(c *csv.Writer) {
	_ = c.Write(append(append([]string{"bucket"}, a.columns...), "flows", "packets", "bytes"))
	lines := a.Lines
	if len(a.columns) == 0 {
		lines = []line{{Flows: a.Total.Flows, Packets: a.Total.Packets, Bytes: a.Total.Bytes}}
	}
	for i, start := range a.Starts {
		for _, l := range lines {
			record := cells([]string{start.Format(time.RFC3339)}, a.columns, l.Values)
			_ = c.Write(append(record, at(l.Flows, i), at(l.Packets, i), at(l.Bytes, i)))
		}
	}
}

// cells appends a group's values in the order of its columns; absent is empty.
func cells(record, columns []string, vs values) []string {
	for _, name := range columns {
		record = append(record, cell(vs[name]))
	}
	return record
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func at(n []int64, i int) string {
	if i >= len(n) {
		return ""
	}
	return number(n[i])
}

// harmless keeps a spreadsheet from taking text for a formula: names of
// exporters are people's, and one may begin with an equals sign.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}
