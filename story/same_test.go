package story

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"flowtally/netflow"
)

// sameQuestions are those the page asks, one for each widget and tab, with what
// narrows and bends them.
var sameQuestions = []string{
	"top?key=src-addr&by=flows&limit=2",
	"top?key=src-addr,dst-addr&by=packets&limit=1",
	"top?key=dst-port&by=bytes&limit=10&filter=proto+tcp+or+proto+udp",
	"top?key=src-addr/24&by=bytes&limit=10",
	"top?key=src-addr/16/48&by=flows&limit=10&filter=not+port+4500",
	"top?key=addr&by=flows&limit=2",
	"top?key=interface&by=flows&limit=10",
	"top?key=src-addr&having=flows+%3E+1+and+bytes+%3E+1k&limit=10",
	"top?key=protocol&by=bytes&scaled=true&limit=256",
	"top?key=protocol&by=duration&whole=true&limit=3",
	"top?key=exporter&by=bytes&exporter=127.0.0.1&limit=10",
	"top?key=src-addr&by=bps&raw=true&limit=10",
	"series?step=60s",
	"series?key=protocol&by=bytes&limit=2&step=60s",
	"series?key=src-addr/24&by=flows&limit=1&step=10s&filter=dst+net+10.0.0.0%2F8",
	"series?key=src-addr&by=flows&limit=2&step=60s&scaled=true&exporter=127.0.0.1",
	"series?key=protocol&limit=3&step=60s&lay_over=2&period=1h",
	"series?step=1d&zone=Europe/Berlin&lay_over=1&period=1w",
	"series?key=protocol&limit=3&step=1mo&zone=America/New_York",
	"share?step=1h&zone=Asia/Kolkata&filter=first+seen+>=+2026-03-02",
	"share?step=60s",
	"share?step=300s&filter=proto+tcp&whole=true",
	"flows?limit=3",
	"flows?limit=5&sort=bytes&order=asc&filter=dst+port+1521",
	"flows?limit=50&sort=duration&exporter=127.0.0.1",
	"summary?",
	"summary?filter=not+proto+icmp&scaled=true",
	"heatmap?by=bytes",
	"heatmap?by=flows&filter=host+10.1.4.7",
	"address/10.1.1.5?",
}

// TestSameElsewhere: what an answer says of how it is had in SQL and on the
// command line is run, and gives the numbers of the answer.
func TestSameElsewhere(t *testing.T) {
	h := build(t)
	if _, err := h.export(t, storyCapture(t), netflow.V9, 0); err != nil {
		t.Fatal(err)
	}
	h.stop()
	conn, err := pgx.Connect(t.Context(), h.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "set role flow_reader"); err != nil {
		t.Fatal(err)
	}
	for _, question := range sameQuestions {
		name, _, _ := strings.Cut(question, "?")
		t.Run(question, func(t *testing.T) {
			answer := h.ask(t, question)
			said := runCommand(t, h, answer["command"].(string))
			rows := runSQL(t, conn, answer["sql"].(string))
			switch name {
			case "top":
				same(t, "command", answer, said)
				want := list(answer["rows"])
				if other := answer["other"]; other != nil {
					want = append(want, other)
				}
				same(t, "SQL", measures(append(want, answer["total"])), measures(without(rows, len(want)+1)))
			case "series":
				same(t, "command", answer, said)
				want := map[string]string{}
				total := answer["total"].(map[string]any)
				for i, start := range list(answer["starts"]) {
					want[fmt.Sprint(start)] = fmt.Sprint(list(total["flows"])[i], " ", list(total["packets"])[i], " ", list(total["bytes"])[i])
				}
				got := map[string]string{}
				for start := range want {
					got[start] = "0 0 0"
				}
				for _, r := range rows {
					if r["line"] == "total" {
						got[fmt.Sprint(r["bucket"])] = fmt.Sprint(r["flows"], " ", r["packets"], " ", r["bytes"])
					}
				}
				same(t, "SQL", want, got)
			case "share":
				same(t, "command", answer, said)
				hosts := map[string]string{}
				for _, r := range rows {
					hosts[fmt.Sprint(r["bucket"])] = fmt.Sprint(r["addr"], " ", r["flows"])
				}
				for i, start := range list(answer["starts"]) {
					if host := list(answer["host"])[i]; host != "" {
						same(t, "SQL", fmt.Sprint(host, " ", list(answer["host_flows"])[i]), hosts[fmt.Sprint(start)])
					}
				}
			case "flows":
				same(t, "command", answer, said)
				same(t, "SQL", measures(list(answer["rows"])), measures(rows2list(rows)))
				if len(rows) == 0 {
					t.Error("nothing to compare")
				}
			case "summary":
				all := list(answer["rows"])[0]
				same(t, "command", measures([]any{all}), measures([]any{said["total"]}))
				same(t, "SQL", measures([]any{all}), measures(without(rows, 1)))
				for class, protocol := range map[string]string{"tcp": "6", "udp": "17"} {
					of := func(rows []any, is func(map[string]any) bool) []any {
						return slices.DeleteFunc(slices.Clone(rows), func(r any) bool { return !is(r.(map[string]any)) })
					}
					want := of(list(answer["rows"]), func(r map[string]any) bool { return r["class"] == class })
					same(t, class, measures(want), measures(of(list(said["rows"]), func(r map[string]any) bool {
						return fmt.Sprint(r["values"].(map[string]any)["protocol"]) == protocol
					})))
				}
			case "heatmap":
				by := answer["by"].(string)
				var cells, hours, sql int64
				for _, day := range list(answer["cells"]) {
					for _, cell := range list(day) {
						if cell != nil {
							cells += number(cell)
						}
					}
				}
				for _, n := range list(said["total"].(map[string]any)[by]) {
					hours += number(n)
				}
				for _, r := range rows {
					sql += number(r[by])
				}
				if cells == 0 || cells != hours || cells != sql {
					t.Errorf("the cells have %d, the command %d, SQL %d", cells, hours, sql)
				}
			default: // an address
				var totals []any
				for _, r := range rows {
					if r["line"] == "total" && r["part"] != "destination ports" {
						totals = append(totals, r)
					}
				}
				same(t, "SQL", measures([]any{answer["in"], answer["out"]}), measures(totals))
				if n := number(answer["in"].(map[string]any)["flows"]) + number(answer["out"].(map[string]any)["flows"]); n == 0 || n != number(said["summary"].(map[string]any)["flows"]) {
					t.Errorf("%d flows, the command says %v", n, said["summary"])
				}
			}
		})
	}
}

// ask returns an answer of the API.
func (h *house) ask(t *testing.T, question string) map[string]any {
	t.Helper()
	r, err := http.Get(h.web + "/api/v1/" + question + "&from=2026-03-02T09:40:00Z&to=2026-03-02T09:43:00Z")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var answer map[string]any
	d := json.NewDecoder(r.Body)
	d.UseNumber()
	if err := d.Decode(&answer); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%d %v %v", r.StatusCode, answer, err)
	}
	return answer
}

// runCommand runs a command line as a shell would and returns its JSON.
func runCommand(t *testing.T, h *house, line string) map[string]any {
	t.Helper()
	words, err := exec.Command("sh", "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	args := append(strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")[1:], "--output", "json", "--database", h.dsn)
	status, stdout, stderr := flowtally(t, args...)
	if status != 0 {
		t.Fatalf("%s: status %d: %s", line, status, stderr)
	}
	var said map[string]any
	d := json.NewDecoder(strings.NewReader(stdout))
	d.UseNumber()
	if err := d.Decode(&said); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	return said
}

// runSQL runs a statement and returns its rows as JSON has them.
func runSQL(t *testing.T, conn *pgx.Conn, sql string) []map[string]any {
	t.Helper()
	// A statement may begin with a comment.
	rows, err := conn.Query(t.Context(), "select to_jsonb(answer)::text from (\n"+strings.TrimRight(sql, ";\n ")+"\n) answer")
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	var out []map[string]any
	for _, text := range texts {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			t.Fatal(err)
		}
		if at, ok := row["bucket"].(string); ok { // as the API writes it
			row["bucket"] = strings.Replace(at, "+00:00", "Z", 1)
		}
		out = append(out, row)
	}
	return out
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	for _, v := range []any{want, got} {
		if m, ok := v.(map[string]any); ok {
			delete(m, "took_ms")
			delete(m, "growing_from") // goes with the clock
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-answer +%s)\n%s", what, what, diff)
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func number(v any) int64 {
	n, _ := v.(json.Number).Int64()
	return n
}

// measures are the sums of rows, in no order.
func measures(rows []any) []string {
	var out []string
	for _, r := range rows {
		m := r.(map[string]any)
		out = append(out, fmt.Sprint(m["flows"], " ", m["packets"], " ", m["bytes"]))
	}
	slices.Sort(out)
	return out
}

func rows2list(rows []map[string]any) []any {
	out := make([]any, len(rows))
	for i, r := range rows {
		out[i] = r
	}
	return out
}

// without returns the last n rows that are no empty rest.
func without(rows []map[string]any, n int) []any {
	var out []any
	for _, r := range rows {
		if r["line"] != "other" || number(r["groups"]) > 0 {
			out = append(out, r)
		}
	}
	return out[max(0, len(out)-n):]
}
