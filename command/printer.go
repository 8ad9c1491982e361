package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"flowtally/query"
	"flowtally/web"
)

// printer prints an answer in one form. It knows the answer alone: no flags, no
// question and no database.
type printer interface {
	top(io.Writer, *query.Top) error
	series(io.Writer, *query.Series) error
	share(io.Writer, *query.Share) error
	flows(io.Writer, *query.Flows) error
	events(io.Writer, *query.Events) error
}

// printers are the words of --output. For people, times are those of a zone.
func printers(zone *time.Location) map[string]printer {
	return map[string]printer{"table": tables{zone: zone}, "json": jsonLines{}, "csv": csvFiles{web.WriteCSV}, "spreadsheet": csvFiles{web.WriteSpreadsheet}}
}

// explanations prints, instead of any answer, how it came about.
type explanations struct{}

func (explanations) top(w io.Writer, t *query.Top) error { return printExplanation(w, &t.Provenance) }

func (explanations) series(w io.Writer, s *query.Series) error {
	return printExplanation(w, &s.Provenance)
}

func (explanations) share(w io.Writer, s *query.Share) error {
	return printExplanation(w, &s.Provenance)
}

func (explanations) flows(w io.Writer, f *query.Flows) error {
	return printExplanation(w, &f.Provenance)
}

// printExplanation prints what was read, and the SQL.
func printExplanation(w io.Writer, p *query.Provenance) error {
	exact := "exact"
	if !p.Exact {
		exact = "not exact"
	}
	sql := p.SQL
	if line, rest, ok := strings.Cut(sql, "\n"); ok && strings.HasPrefix(line, "-- ") {
		sql = rest
	}
	_, err := fmt.Fprintf(w, "-- %s\n-- %s, %s, %s, %v\n%s;\n", p.Plan, p.Source, p.Resolution, exact, p.Took.Round(time.Millisecond), sql)
	return err
}

// host writes the address of a bucket's host, empty where there is none.
func host(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// text writes a value of a flow in a table or in CSV.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	case json.RawMessage:
		return string(v)
	}
	return fmt.Sprint(v)
}
