package web

import (
	"encoding/csv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"flowtally/query"
)

func TestCSV(t *testing.T) {
	named := sampleTop()
	named.Keys = []query.Key{query.KeyExporter}
	named.Rows = []query.TopRow{
		{Values: []query.Value{{Column: "exporter", V: `=HYPERLINK("http://evil.example")`}}, Sums: query.Sums{Flows: 1}},
		{Values: []query.Value{{Column: "exporter", V: "@SUM(A1)"}}},
		{Values: []query.Value{{Column: "exporter", V: "core, \"east\"\r\nsecond line"}}},
	}
	empty := sampleTop()
	empty.Rows = nil
	ports := sampleTop()
	ports.Keys = []query.Key{query.KeyProtocol, query.KeyInIf}
	ports.Rows = []query.TopRow{{Values: interfaceValues(t, ports.Keys, 6, "edge-1", 23067, "10.0.0.31 vni 42"), Sums: query.Sums{Flows: 2}}}
	noPorts := sampleTop()
	noPorts.Keys, noPorts.Rows = ports.Keys, nil
	way := sampleSeries()
	way.Keys = []query.Key{query.KeyInterface}
	way.Lines = way.Lines[:1]
	way.Lines[0].Values = interfaceValues(t, way.Keys, "edge-1", 7, "")
	total := sampleSeries()
	total.Keys, total.Lines, total.Other = nil, nil, nil
	for _, row := range []struct {
		name, target, accept string
		db                   *fake
		file, want           string
	}{
		{"top", "/api/v1/top?format=csv", "", topOf(sampleTop()),
			"flowtally-top-src-addr-dst-port-20261121T100000Z-20261121T110000Z.csv",
			"src_addr,dst_port,flows,packets,bytes\r\n10.1.2.3,443,41,456,789\r\n2001:db8::1,,9,9,9007199254740993\r\n"},
		{"top_by_accept", "/api/v1/top", "text/csv", topOf(sampleTop()),
			"flowtally-top-src-addr-dst-port-20261121T100000Z-20261121T110000Z.csv",
			"src_addr,dst_port,flows,packets,bytes\r\n10.1.2.3,443,41,456,789\r\n2001:db8::1,,9,9,9007199254740993\r\n"},
		{"top_without_rows", "/api/v1/top?format=csv", "", topOf(empty),
			"flowtally-top-src-addr-dst-port-20261121T100000Z-20261121T110000Z.csv",
			"src_addr,dst_port,flows,packets,bytes\r\n"},
		{"names_that_look_like_formulas", "/api/v1/top?format=csv", "", topOf(named),
			"flowtally-top-exporter-20261121T100000Z-20261121T110000Z.csv",
			"exporter,flows,packets,bytes\r\n\"'=HYPERLINK(\"\"http://evil.example\"\")\",1,0,0\r\n'@SUM(A1),0,0,0\r\n\"core, \"\"east\"\"\r\nsecond line\",0,0,0\r\n"},
		{"interfaces_of_exporters", "/api/v1/top?format=csv", "", topOf(ports),
			"flowtally-top-protocol-in-if-20261121T100000Z-20261121T110000Z.csv",
			"protocol,exporter,in_if,in_if_name,flows,packets,bytes\r\n6,edge-1,23067,10.0.0.31 vni 42,2,0,0\r\n"},
		{"interfaces_without_rows", "/api/v1/top?format=csv", "", topOf(noPorts),
			"flowtally-top-protocol-in-if-20261121T100000Z-20261121T110000Z.csv",
			"protocol,exporter,in_if,in_if_name,flows,packets,bytes\r\n"},
		{"series_of_interfaces", "/api/v1/series?format=csv", "", seriesOf(way),
			"flowtally-series-interface-20261121T100000Z-20261121T100200Z.csv",
			"bucket,exporter,interface,interface_name,flows,packets,bytes\r\n2026-11-21T10:00:00Z,edge-1,7,,1,3,5\r\n2026-11-21T10:01:00Z,edge-1,7,,2,4,6\r\n"},
		{"series", "/api/v1/series?format=csv&key=protocol", "", seriesOf(sampleSeries()),
			"flowtally-series-protocol-20261121T100000Z-20261121T100200Z.csv",
			"bucket,protocol,flows,packets,bytes\r\n2026-11-21T10:00:00Z,6,1,3,5\r\n2026-11-21T10:01:00Z,6,2,4,6\r\n"},
		{"series_of_the_total", "/api/v1/series", "text/csv, application/json;q=0.5", seriesOf(total),
			"flowtally-series-20261121T100000Z-20261121T100200Z.csv",
			"bucket,flows,packets,bytes\r\n2026-11-21T10:00:00Z,1,3,5\r\n2026-11-21T10:01:00Z,3,5,7\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var headers []string
			if row.accept != "" {
				headers = []string{"Accept", row.accept}
			}
			w := get(newTestHandler(t, row.db), row.target, headers...)
			if w.Code != 200 || w.Body.String() != row.want {
				t.Errorf("%d\n%q, want\n%q", w.Code, w.Body, row.want)
			}
			if got := w.Header().Get("Content-Type"); got != "text/csv; charset=utf-8; header=present" {
				t.Errorf("content type %q", got)
			}
			if got, want := w.Header().Get("Content-Disposition"), `attachment; filename="`+row.file+`"`; got != want {
				t.Errorf("disposition %q, want %q", got, want)
			}
		})
	}
}

func TestWhoGetsCSV(t *testing.T) {
	for _, row := range []struct {
		name, target, accept string
		csv                  bool
	}{
		{"nobody_who_did_not_ask", "/api/v1/top", "", false},
		{"browser", "/api/v1/top", "text/html,application/xhtml+xml,*/*;q=0.8", false},
		{"curl", "/api/v1/top", "*/*", false},
		{"either", "/api/v1/top", "application/json, text/csv", false},
		{"rather_csv", "/api/v1/top", "application/json;q=0.9, text/csv", true},
		{"refused_csv", "/api/v1/top", "text/csv;q=0", false},
		{"parameter_before_header", "/api/v1/top?format=json", "text/csv", false},
		{"header_of_the_page_with_parameter", "/api/v1/top?format=csv", "text/html", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := get(newTestHandler(t, topOf(sampleTop())), row.target, "Accept", row.accept)
			if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/csv"); got != row.csv {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

// What is written is read back the same, but for the apostrophe before text
// that a spreadsheet would run; and no cell begins as a formula does.
func TestCSVReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringN(0, 12, -1).Draw(t, "name")
		cell := table{}.text(name)
		if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
			t.Fatalf("%q begins as a formula does", cell)
		}
		if cell != name && cell != "'"+name {
			t.Fatalf("%q became %q", name, cell)
		}
		if strings.Contains(name, "\r") {
			return // the reader of encoding/csv drops it before a line feed
		}
		var b strings.Builder
		a := Top{columns: []string{"exporter"}, Rows: []topRow{{Values: values{"exporter": name}}}}
		if err := marshalCSV(&b, a); err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil || len(records) != 2 || records[1][0] != cell {
			t.Fatalf("%q was read back as %q, %v", cell, records, err)
		}
	})
}

// interfaceValues are the values of a group by keys of which one is an interface: numbers
// and texts in the order of what flows are grouped by, the name of the interface last.
func interfaceValues(t *testing.T, keys []query.Key, values ...any) []query.Value {
	t.Helper()
	columns, err := query.Grouped(keys)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]query.Value, len(columns))
	for i, c := range columns {
		switch v := values[i].(type) {
		case int:
			n := int64(v)
			name := values[len(values)-1].(string)
			if list[i] = c.Number(&n); c.NameColumn() != "" {
				list[i] = c.Named(&n, &name)
			}
		case string:
			list[i] = c.Text(&v)
		}
	}
	return list
}
