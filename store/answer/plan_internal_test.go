package answer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/rollup"
)

// TestPlans holds the plans and statements of testdata/plans to what is written there. A
// file has blocks of a command, a line ---- and what comes of it:
//
//	state           what the database has, a line each; it holds for what follows
//	plan WORDS      the plan of a question in the words of the command line
//	sql WORDS       the statement that people get, behind its plan
//
// FLOWTALLY_UPDATE=1 writes down what comes now.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plans/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no plans to test", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			var s State
			for i, block := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n\n\n") {
				if i > 0 {
					out.WriteString("\n\n")
				}
				in, want, _ := strings.Cut(strings.TrimSpace(block), "\n----")
				want = strings.TrimPrefix(want, "\n")
				rest := in
				for strings.HasPrefix(rest, "#") {
					_, rest, _ = strings.Cut(rest, "\n")
				}
				command, words, _ := strings.Cut(rest, " ")
				got := ""
				switch {
				case strings.HasPrefix(rest, "state"):
					s = readState(t, strings.TrimPrefix(rest, "state"))
				case command == "plan":
					got = planOf(t, words, s).lines()
				case command == "sql":
					got = statementOf(t, words, s)
				default:
					t.Fatalf("%q is no command", rest)
				}
				got = strings.TrimSuffix(got, "\n")
				if got != want {
					t.Errorf("%s\n----\n%s\nwant\n%s", in, got, want)
				}
				out.WriteString(in + "\n----\n")
				if got != "" {
					out.WriteString(got + "\n")
				}
			}
			if os.Getenv("FLOWTALLY_UPDATE") != "" {
				if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// lines writes a plan, a segment a line.
func (p Plan) lines() string {
	var b strings.Builder
	for _, g := range p.Segments {
		fmt.Fprintf(&b, "%s %s to %s", sourceName(g.Source), g.From.Time().Format("02 15:04:05"), g.To.Time().Format("02 15:04:05"))
		if g.tail() {
			fmt.Fprintf(&b, ", batches %v that end from %s to %s", g.Batches, g.Since.Time().Format("02 15:04:05"), g.Until.Time().Format("02 15:04:05.000"))
		} else if g.ofFlows() {
			fmt.Fprintf(&b, ", ended by %s", g.Until.Time().Format("02 15:04:05"))
		}
		b.WriteString("\n")
	}
	for i, d := range p.dims {
		b.WriteString([]string{"of ", ", "}[min(i, 1)] + rollup.DimensionNames[d])
	}
	if p.same != 0 {
		b.WriteString(", less " + rollup.DimensionNames[p.same])
	}
	if len(p.dims) > 0 {
		b.WriteString("\n")
	}
	for _, f := range []struct {
		what string
		of   *filter.Filter
	}{{"rows", p.cell}, {"value", p.value}} {
		if f.of != nil && !f.of.Any() {
			fmt.Fprintf(&b, "%s: %s\n", f.what, f.of)
		}
	}
	if p.Widened > 0 {
		fmt.Fprintf(&b, "widened to %s\n", query.ShortDuration(p.Widened))
	}
	if p.Cut != nil {
		fmt.Fprintf(&b, "cut: %s\n", p.Cut.Reason)
	}
	if p.Why != "" {
		fmt.Fprintf(&b, "flows, because %s\n", p.Why)
	}
	return b.String()
}

// testDay is the day of all times in testdata/plans: they are written as 08:30, or with
// the day of its month as 19T08:30.
const testDay = "2026-11-20"

func testTime(t *testing.T, s string) flow.Time {
	t.Helper()
	day, clock, ok := strings.Cut(s, "T")
	if !ok {
		day, clock = testDay[8:], s
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999", "2006-01-02T15:04"} {
		if at, err := time.Parse(layout, testDay[:8]+day+"T"+clock); err == nil {
			return flow.TimeOf(at)
		}
	}
	t.Fatalf("%q is no time", s)
	return 0
}

// readState reads a state: "SOURCE since TIME" where a source begins, "SOURCE cut TIME"
// before which it was removed, "pending GRAIN HOUR", "unsummed ID FROM TO", "unsummed N
// batches", "last end TIME", "equal sides since TIME", "rate begins TIME", "ends TIME UNTIL".
func readState(t *testing.T, text string) State {
	t.Helper()
	s := State{Pending: map[rollup.Grain]map[flow.Time]bool{rollup.Minutes: {}, rollup.Hours: {}, rollup.Days: {}}, Sampling: "none"}
	source := func(name string) int {
		for i := range s.Reach {
			if sourceName(Source(i-1)) == name {
				return i
			}
		}
		t.Fatalf("%q is no source", name)
		return 0
	}
	for i := range s.Reach {
		s.Reach[i] = store.Reach{Source: sourceName(Source(i - 1))}
	}
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		switch {
		case len(w) == 0:
		case w[0] == "pending":
			s.Pending[Source(source(w[1])-1)][testTime(t, w[2])] = true
		case w[0] == "unsummed" && w[2] == "batches":
			var n int
			if _, err := fmt.Sscan(w[1], &n); err != nil {
				t.Fatal(err)
			}
			s.Unsummed = make([]Batch, n)
		case w[0] == "unsummed":
			var id int32
			if _, err := fmt.Sscan(w[1], &id); err != nil {
				t.Fatal(err)
			}
			s.Unsummed = append(s.Unsummed, Batch{id, testTime(t, w[2]), testTime(t, w[3])})
		case w[0] == "last":
			s.LastEnd = testTime(t, w[2])
		case w[0] == "rate":
			s.RatesBegin = append(s.RatesBegin, testTime(t, w[2]))
		case w[0] == "equal":
			s.EqualSidesSince = testTime(t, w[3])
		case w[0] == "ends":
			s.Ends = append(s.Ends, End{testTime(t, w[1]), testTime(t, w[2])})
		case w[1] == "since":
			s.Reach[source(w[0])].First = testTime(t, w[2]).Time()
		case w[1] == "cut":
			s.Reach[source(w[0])].CutBefore = testTime(t, w[2]).Time()
		default:
			t.Fatalf("%q says nothing of a state", line)
		}
	}
	return s
}

// requestOf reads a question: FROM TO, flags without their dashes, and the filter in
// parentheses.
func requestOf(t *testing.T, words string) request {
	t.Helper()
	words, text, _ := strings.Cut(words, "(")
	w := strings.Fields(words)
	q := query.Question{From: testTime(t, w[0]).Time(), To: testTime(t, w[1]).Time()}
	var step string
	for _, flag := range w[2:] {
		name, value, _ := strings.Cut(flag, "=")
		switch name {
		case "key":
			keys, err := query.ParseKeys(value)
			if err != nil {
				t.Fatal(err)
			}
			q.Keys = keys
		case "by":
			q.By = query.Measure(value)
		case "step":
			step = value
		case "whole":
			q.Whole = true
		case "raw":
			q.Raw = true
		case "scaled":
			q.Scaled = true
		default:
			t.Fatalf("%q is no flag", flag)
		}
	}
	var err error
	if q.Filter, err = filter.Parse(strings.TrimSuffix(text, ")")); err != nil {
		t.Fatal(err)
	}
	r, err := newRequest(q)
	if err != nil {
		t.Fatal(err)
	}
	if step != "" {
		length, months, err := query.ParseStep(step)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = r.inSlots(length, months, query.MaxBuckets); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func planOf(t *testing.T, words string, s State) Plan {
	t.Helper()
	return makePlan(requestOf(t, words), s)
}

func statementOf(t *testing.T, words string, s State) string {
	t.Helper()
	r := requestOf(t, words)
	of := reader{r, makePlan(r, s).forReaders()}
	statement := of.ranking()
	if r.slots.step > 0 {
		statement = of.seriesLines(nil)
	}
	text, err := readable(statement)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What is executed and what people read is the same SQL but for the forms that differ, and
// every value of one is in the other.
func TestUnknownLiteral(t *testing.T) {
	if _, err := readable(&selection{columns: []column{{of: sql(value{struct{}{}})}}}); err == nil {
		t.Error("a value that has no literal is no error")
	}
	if _, err := readable(&selection{columns: []column{{of: sql(3)}}}); err == nil {
		t.Error("a part that is no SQL is no error")
	}
}
