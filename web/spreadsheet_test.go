package web

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/xml"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"flowtally/query"
	"flowtally/store/console"
)

// What a spreadsheet is given: times as they are written there, text that stays text, and every
// digit of what is a name.
func TestSpreadsheet(t *testing.T) {
	w := get(newTestHandler(t, topOf(sampleTop())), "/api/v1/top?format=spreadsheet")
	if want := "\ufeffsrc_addr,dst_port,flows,packets,bytes\r\n10.1.2.3,443,41,456,789\r\n2001:db8::1,,9,9,9007199254740993\r\n"; w.Body.String() != want {
		t.Errorf("%q, want %q", w.Body, want)
	}
	if got := w.Header().Get("Content-Type"); got != typeSpreadsheet || !strings.HasPrefix(got, mediaCSV+";") {
		t.Errorf("content type %q", got)
	}
	if got := w.Header().Get("Content-Disposition"); !strings.HasSuffix(got, `.csv"`) {
		t.Errorf("disposition %q", got)
	}
	at := time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC)
	for _, row := range []struct {
		v           any
		csv, spread string
	}{
		{nil, "", ""}, {at, "2026-11-21T10:00:00.123Z", "2026-11-21T10:00:00.123"}, {count(9007199254740993), "9007199254740993", "9007199254740993"},
		{int64(999999999999999), "999999999999999", "999999999999999"}, {int64(1000000000000000), "1000000000000000", `="1000000000000000"`},
		{int64(-1000000000000000), "-1000000000000000", `="-1000000000000000"`}, {digits("-9223372036854775808"), "-9223372036854775808", `="-9223372036854775808"`},
		{"10.1.2.3", "10.1.2.3", "10.1.2.3"}, {"10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"}, {"1:2::3", "1:2::3", "1:2::3"}, {"00:11:22:33:44:55", "00:11:22:33:44:55", "00:11:22:33:44:55"},
		{"007", "007", `="007"`}, {"1e5", "1e5", `="1e5"`}, {"3/4", "3/4", `="3/4"`}, {" 7", " 7", `=" 7"`}, {"2026-11-21", "2026-11-21", `="2026-11-21"`}, {"TRUE", "TRUE", `="TRUE"`},
		{"core", "core", "core"}, {"edge 1", "edge 1", "edge 1"}, {"=1+1", "'=1+1", "'=1+1"}, {"-1", "'-1", "'-1"}, {"+49", "'+49", "'+49"}, {"@x", "'@x", "'@x"}, {0.5, "0.5", "0.5"},
		{(*float64)(nil), "", ""}, {true, "true", "true"},
	} {
		if got := (table{}).cell(row.v); got != row.csv {
			t.Errorf("%v is %q in CSV, want %q", row.v, got, row.csv)
		}
		if got := (table{spreadsheet: true}).cell(row.v); got != row.spread {
			t.Errorf("%v is %q in a spreadsheet, want %q", row.v, got, row.spread)
		}
	}
}

// Whatever text comes, the only formulas that a spreadsheet is given are literals.
func TestSpreadsheetRunsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[=+@\t\r\n -]?[0-9.,:/+%$()eE "=-]{0,12}`)).Draw(t, "text")
		cell := (table{spreadsheet: true}).text(text)
		if cell == text || cell == "'"+text {
			if strings.ContainsAny(cell[:min(1, len(cell))], "=+-@\t\r\n") {
				t.Fatalf("%q begins as a formula does", cell)
			}
			return
		}
		inner, ok := strings.CutPrefix(cell, `="`)
		inner, ok2 := strings.CutSuffix(inner, `"`)
		if !ok || !ok2 || inner != text || strings.Contains(inner, `"`) {
			t.Fatalf("%q became %q", text, cell)
		}
	})
}

// sheetCell is a cell as LibreOffice has it.
type sheetCell struct{ kind, value, formula, text string }

// opened returns the cells that LibreOffice has when it opens a file, row by row.
func opened(t *testing.T, file []byte) [][]sheetCell {
	t.Helper()
	office, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("LibreOffice is not here, and is what this is about: apt-get install libreoffice-calc-nogui")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.csv"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// 76 is UTF-8, which the dialog takes from the mark that the file begins with; everything
	// else is what the dialog begins with: separated by commas, nothing more detected.
	cmd := exec.CommandContext(ctx, office, "-env:UserInstallation=file://"+filepath.Join(dir, "profile"), "--headless",
		"--infilter=CSV:44,34,76,1", "--convert-to", "fods", "--outdir", dir, filepath.Join(dir, "a.csv"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "a.fods"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Rows []struct {
			Cells []struct {
				Repeated int      `xml:"number-columns-repeated,attr"`
				Kind     string   `xml:"value-type,attr"`
				Value    string   `xml:"urn:oasis:names:tc:opendocument:xmlns:office:1.0 value,attr"`
				Date     string   `xml:"date-value,attr"`
				Formula  string   `xml:"formula,attr"`
				Text     []string `xml:"p"`
			} `xml:"table-cell"`
		} `xml:"body>spreadsheet>table>table-row"`
	}
	if err := xml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	var rows [][]sheetCell
	for _, r := range doc.Rows {
		var row []sheetCell
		for _, c := range r.Cells {
			for range max(1, min(c.Repeated, 20)) {
				row = append(row, sheetCell{c.Kind, c.Value + c.Date, c.Formula, strings.Join(c.Text, "\n")})
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// LibreOffice has of a file what it means: numbers are numbers, times are times, text is text,
// and nothing is a formula but what says that text is text.
func TestOpensInLibreOffice(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 123e6, time.UTC)
	names := []string{"core, \"east\"\nsecond line", `=HYPERLINK("http://evil.example")`, "+1+1", "-1", "@SUM(A1)", "\t=1+1", " =1+1", "äöü 網路 🙂", "007", "1e5", "3/4", "2026-11-21",
		"TRUE", "10:20", "12%", "1,5", "1.5", "edge-1", "'quoted'", "10.1.2.3", "00:11:22:33:44:55", `"="`}
	f := &query.Flows{Columns: []string{"flow_start", "src_addr", "tunnel_id", "packets", "bytes", "exporter", "extra"}}
	for _, name := range names {
		f.Rows = append(f.Rows, []any{at, "2001:db8::1", int64(9007199254740993), int64(12), int64(123456789012345), name, nil})
	}
	var file bytes.Buffer
	if err := WriteSpreadsheet(&file, NewFlows(f)); err != nil {
		t.Fatal(err)
	}
	rows := opened(t, file.Bytes())
	if len(rows) < len(names)+1 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, name := range f.Columns {
		if got := rows[0][i]; got.kind != "string" || got.text != name {
			t.Errorf("the name of column %d is %+v, want %q", i, got, name)
		}
	}
	for i, name := range names {
		row := rows[i+1]
		for j, want := range []sheetCell{
			{"date", "2026-11-21T10:00:00.12", "", "2026-11-21T10:00:00.123"}, {"string", "", "", "2001:db8::1"}, {"string", "", `of:="9007199254740993"`, "9007199254740993"},
			{"float", "12", "", "12"}, {"float", "123456789012345", "", "123456789012345"},
		} {
			if row[j] != want {
				t.Errorf("%s of row %d is %+v, want %+v", f.Columns[j], i, row[j], want)
			}
		}
		got := row[5]
		want := name
		if strings.ContainsAny(name[:1], "=+-@\t\r\n") {
			want = "'" + name
		}
		got.text = strings.ReplaceAll(got.text, "\u00a0", " ")
		// How spaces and tabs are written is the format's own.
		if squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }; got.kind != "string" || squeeze(got.text) != squeeze(want) {
			t.Errorf("%q is %+v", name, got)
		}
		if got.formula != "" && got.formula != `of:="`+name+`"` {
			t.Errorf("%q became the formula %s", name, got.formula)
		}
		if row[6].kind != "" {
			t.Errorf("what is absent is %+v", row[6])
		}
	}

	// SQL: what has no type in JSON has one there.
	db := &fake{sql: func(context.Context, console.SQLQuestion) (*console.SQLAnswer, error) {
		return &console.SQLAnswer{
			Columns: []console.SQLColumn{{Name: "minute", Type: "timestamptz"}, {Name: "flows", Type: "int8"}, {Name: "huge", Type: "numeric"}, {Name: "less", Type: "int8"}, {Name: "part", Type: "float8"}},
			Rows:    [][]any{{"2026-11-21T10:00:00Z", int64(7), "123456789012345678901234567890", "-9223372036854775808", 0.25}},
		}, nil
	}}
	w := request(newTestHandler(t, db), http.MethodPost, pathSQL, `{"sql":"select","format":"spreadsheet"}`, "Content-Type", "application/json")
	rows = opened(t, w.Body.Bytes())
	for j, want := range []sheetCell{
		{"date", "2026-11-21T10:00:00", "", "2026-11-21T10:00:00"}, {"float", "7", "", "7"}, {"string", "", `of:="123456789012345678901234567890"`, "123456789012345678901234567890"},
		{"string", "", `of:="-9223372036854775808"`, "-9223372036854775808"}, {"float", "0.25", "", "0.25"},
	} {
		if rows[1][j] != want {
			t.Errorf("column %d of SQL is %+v, want %+v", j, rows[1][j], want)
		}
	}
}

// What programs read has no mark, no literals and all digits as numbers, a negative one too.
func TestCSVOfSQLForPrograms(t *testing.T) {
	db := &fake{sql: func(context.Context, console.SQLQuestion) (*console.SQLAnswer, error) {
		return &console.SQLAnswer{
			Columns: []console.SQLColumn{{Name: "n", Type: "int8"}, {Name: "=x", Type: "numeric"}, {Name: "s", Type: "text"}, {Name: "at", Type: "timestamptz"}},
			Rows:    [][]any{{"-9223372036854775808", "-123456789012345678901.5", "-5", "2026-11-21T10:00:00.5Z"}},
		}, nil
	}}
	w := request(newTestHandler(t, db), http.MethodPost, pathSQL, `{"sql":"select","format":"csv"}`, "Content-Type", "application/json")
	records, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	if got := strings.Join(records[0], "|"); got != "n|'=x|s|at" {
		t.Errorf("the columns are %s", got)
	}
	if got := strings.Join(records[1], "|"); got != "-9223372036854775808|-123456789012345678901.5|'-5|2026-11-21T10:00:00.5Z" {
		t.Errorf("the row is %s", got)
	}
}
