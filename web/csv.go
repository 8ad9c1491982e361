package web

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"flowtally/store"
)

const mediaCSV = "text/csv"

// csvHeaders returns the content type and the disposition of a download.
func csvHeaders(question string, keys []store.Key, from, to time.Time) (contentType, disposition string) {
	const stamp = "20060102T150405Z"
	name := "flowtally-" + question
	for _, k := range keys {
		name += "-" + string(k) // words of ours: nothing to escape
	}
	return mediaCSV + "; charset=utf-8; header=present",
		fmt.Sprintf("attachment; filename=\"%s-%s-%s.csv\"", name, from.UTC().Format(stamp), to.UTC().Format(stamp))
}

// WriteTopCSV writes the listed groups of a ranking as the API does.
func WriteTopCSV(w io.Writer, t *store.Top) error { return marshalCSV(w, NewTop(t)) }

// WriteSeriesCSV writes a series as the API does: one row for each bucket and
// listed group; without keys, for each bucket.
func WriteSeriesCSV(w io.Writer, t *store.Series) error { return marshalCSV(w, NewSeries(t)) }

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
	default:
		return fmt.Errorf("web: %T has no form in CSV", v)
	}
	c.Flush()
	return c.Error()
}

// The writers keep the first error they meet; marshalCSV asks for it.

func (a *Top) writeCSV(c *csv.Writer) {
	_ = c.Write(append(append([]string{}, a.columns...), "flows", "packets", "bytes"))
	for _, row := range a.Rows {
		record := cells(nil, a.columns, row.Values)
		_ = c.Write(append(record, number(row.Flows), number(row.Packets), number(row.Bytes)))
	}
}

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
		switch v := vs[name].(type) {
		case nil:
			record = append(record, "")
		case string:
			record = append(record, harmless(v))
		default:
			record = append(record, fmt.Sprint(v))
		}
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
