package story

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// runs are the commands whose examples are run, and notRun are the others, of whose
// examples only the flags are read, and why.
var (
	runs   = []string{"top", "flows", "events", "series", "rollup"}
	notRun = map[string]string{
		"exporter":  "meters a file or an interface, and sends somewhere",
		"collector": "goes on listening", "web": "goes on listening", "lab": "goes on listening", "inspect": "goes on listening",
		"migrate": "wants an owner's password", "exporters": "forgets one",
		"completion": "writes for a shell", "man": "writes into a directory",
	}
)

// notAsked are the examples of the HTTP API that are not asked, and why.
var notAsked = map[string]string{
	"/api/v1/login":            "nobody logs in here",
	"/api/v1/logout":           "nobody logs in here",
	"/api/v1/tokens":           "nobody logs in here",
	"/api/v1/schema?table=…":   "an ellipsis",
	"/api/v1/names?addr=…":     "an ellipsis",
	"/api/v1/filter/complete?": "its text is left out",
}

// example is a line of a document or of a help text.
type example struct{ where, text string }

// fenced are the lines between the fences of a document, those that a backslash ends with
// the next one.
func fenced(t *testing.T, name string) (list []example) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split("\n"+string(text), "\n```") {
		if i%2 == 0 {
			continue
		}
		_, lines, _ := strings.Cut(part, "\n") // behind the name of the language
		for line := range strings.SplitSeq(strings.ReplaceAll(lines, "\\\n", " "), "\n") {
			list = append(list, example{name, line})
		}
	}
	return list
}

// documents are the documents that have examples.
func documents(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	list := []string{"README.md"}
	for _, name := range names {
		list = append(list, filepath.Join("docs", filepath.Base(name)))
	}
	return list
}

// called finds a command in a line: behind the prompt, sudo or a pipe, up to a comment
// (a # or four blanks) or to where the output goes.
var called = regexp.MustCompile(`(?:^|[\s/|])flowtally +([a-z]+)(.*)$`)

// words are the arguments of a line, as a shell would divide it.
func words(t *testing.T, e example) (args []string) {
	t.Helper()
	m := called.FindStringSubmatch(e.text)
	if m == nil || strings.ContainsAny(e.text, "─│▶") {
		return nil
	}
	args = []string{m[1]}
	var word strings.Builder
	var quote rune
	inside := false
	end := func() {
		if inside {
			args = append(args, word.String())
		}
		word.Reset()
		inside = false
	}
	rest, _, _ := strings.Cut(m[2], "    ")
	for _, r := range rest {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inside = r, true
		case r == ' ':
			end()
		case r == '#' && !inside, r == '>' && !inside, r == '<' && !inside, r == '|', r == '&', r == ';':
			end()
			return args
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	end()
	if quote != 0 {
		t.Errorf("%s: a quote is not closed in %s", e.where, e.text)
	}
	return args
}

// helps are the examples of all help texts.
func helps(t *testing.T) (list []example) {
	t.Helper()
	_, out, _ := flowtally(t, "--help")
	commands := [][]string{{"web", "user"}}
	_, table, _ := strings.Cut(out, "Available Commands:\n")
	for line := range strings.SplitSeq(table, "\n") {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		commands = append(commands, strings.Fields(line)[:1])
	}
	if len(commands) < 10 {
		t.Fatalf("%d commands: %s", len(commands), out)
	}
	for _, c := range commands {
		status, out, errs := flowtally(t, append(c, "--help")...)
		if status != 0 {
			t.Errorf("%v --help: %s", c, errs)
		}
		_, out, _ = strings.Cut(out, "Examples:\n")
		out, _, _ = strings.Cut(out, "\n\n")
		for line := range strings.SplitSeq(strings.ReplaceAll(out, "\\\n", " "), "\n") {
			list = append(list, example{strings.Join(c, " ") + " --help", line})
		}
	}
	return list
}

// inhabited is a house with flows of the last hours and days.
func inhabited(t *testing.T) *house {
	t.Helper()
	h := build(t)
	db, err := store.Open(context.Background(), h.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rnd := rand.New(rand.NewPCG(17, 7))
	recs := storetest.Flows(rnd, 300)
	now := flow.TimeOf(time.Now())
	for i := range recs {
		by := now - flow.Time(1+i%2*24)*flow.Hour - storetest.Noon
		recs[i].Start, recs[i].End, recs[i].Received = recs[i].Start+by, recs[i].End+by, recs[i].Received+by
	}
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 100)
	return h
}

// Every command line of README, docs and help texts is one that works.
func TestCommandExamples(t *testing.T) {
	h := inhabited(t)
	list := helps(t)
	for _, name := range documents(t) {
		list = append(list, fenced(t, name)...)
	}
	ran, read := 0, 0
	for _, e := range list {
		args := words(t, e)
		if args == nil {
			continue
		}
		answers := false
		for _, name := range runs {
			answers = answers || name == args[0]
		}
		switch {
		case answers:
			ran++
			if status, _, errs := flowtally(t, append(args, "--database", h.dsn)...); status != 0 {
				t.Errorf("%s: flowtally %q: status %d, %s", e.where, args, status, errs)
			}
		case notRun[args[0]] != "":
			read++
			if status, _, errs := flowtally(t, append(args, "--help")...); status != 0 {
				t.Errorf("%s: flowtally %q: %s", e.where, args, errs)
			}
		default:
			t.Errorf("%s: flowtally %q: say in this test whether its examples are run", e.where, args)
		}
	}
	if ran < 15 || read < 10 {
		t.Errorf("%d examples were run, %d read: where are the others?", ran, read)
	}
}

// Every filter among the examples of the language is one.
func TestFilterExamples(t *testing.T) {
	n, now := 0, time.Now().UTC()
	for _, e := range fenced(t, filepath.Join("docs", "filter.md")) {
		text, _, _ := strings.Cut(e.text, "    ")
		if grammar.MatchString(e.text) || strings.HasPrefix(e.text, " ") || text == "" {
			continue // of the grammar
		}
		n++
		if _, err := filter.ParseAt(text, now); err != nil {
			t.Errorf("%s: %s: %v", e.where, text, err)
		}
	}
	if n < 8 {
		t.Errorf("there are %d examples", n)
	}
}

// grammar are the first lines of the rules of the grammar.
var grammar = regexp.MustCompile(`^(filter|expr|condition|comparator|value) +=`)

// Every question of the HTTP API that its document asks, or that its description has as an
// example of a parameter, is answered.
func TestAPIExamples(t *testing.T) {
	h := inhabited(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	targets := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?:GET |https?://[^/\s']+)(/api/v1/[^\s'`+"`"+`]*)`).FindAllStringSubmatch(string(text), -1) {
		if !strings.ContainsAny(m[1], "{") {
			targets[m[1]] = "docs/api.md"
		}
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(fetch(t, h.web+"/openapi.json"), &doc); err != nil {
		t.Fatal(err)
	}
	for path, operations := range doc.Paths {
		var get struct {
			Parameters []struct {
				Name, In string
				Example  any
				Schema   struct{ Examples []any }
			}
		}
		if operations["get"] == nil {
			continue
		}
		if err := json.Unmarshal(operations["get"], &get); err != nil {
			t.Fatal(err)
		}
		at := path
		for _, p := range get.Parameters {
			if p.In == "path" {
				if s, ok := exampleOf(p.Example, p.Schema.Examples).(string); ok {
					at = strings.ReplaceAll(at, "{"+p.Name+"}", s)
				}
			}
		}
		if strings.Contains(at, "{") {
			continue
		}
		for _, p := range get.Parameters {
			if s, ok := exampleOf(p.Example, p.Schema.Examples).(string); ok && p.In == "query" {
				targets[at+"?"+p.Name+"="+url.QueryEscape(s)] = "openapi.json"
			}
		}
	}
	n := 0
	for target, where := range targets {
		skip := false
		for prefix := range notAsked {
			skip = skip || strings.HasPrefix(target, prefix)
		}
		if skip {
			continue
		}
		n++
		resp, err := http.Get(h.web + target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: GET %s: %s %s", where, target, resp.Status, body)
		}
	}
	if n < 30 {
		t.Errorf("%d questions were asked: where are the others?", n)
	}
}

func exampleOf(one any, list []any) any {
	if one == nil && len(list) > 0 {
		return list[0]
	}
	return one
}

func fetch(t *testing.T, target string) []byte {
	t.Helper()
	resp, err := http.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
