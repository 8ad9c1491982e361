package command

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"flowtally/query"
	"flowtally/web"
)

// csvFiles prints an answer as CSV (RFC 4180), under the names that SQL has.
type csvFiles struct{}

func (csvFiles) top(w io.Writer, t *query.Top) error { return web.WriteTopCSV(w, t) }

func (csvFiles) series(w io.Writer, s *query.Series) error { return web.WriteSeriesCSV(w, s) }

func (csvFiles) share(w io.Writer, r *query.Share) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	_ = c.Write([]string{"bucket", "addr", "share", "host_flows", "flows"})
	for i, t := range r.Start {
		_ = c.Write([]string{stamp(t), host(r.Host[i]), strconv.FormatFloat(r.Share[i], 'f', 6, 64), strconv.FormatInt(r.HostFlows[i], 10), strconv.FormatInt(r.Flows[i], 10)})
	}
	c.Flush()
	return c.Error()
}

func (csvFiles) flows(w io.Writer, r *query.Flows) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	_ = c.Write(r.Columns)
	for _, row := range r.Rows {
		record := make([]string, len(row))
		for i, v := range row {
			if record[i] = text(v); r.Columns[i] == "exporter" && strings.HasPrefix(record[i], "=") {
				record[i] = "'" + record[i] // no formula
			}
		}
		_ = c.Write(record)
	}
	c.Flush()
	return c.Error()
}
