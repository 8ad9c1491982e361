package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
)

// A parameter of one name means one thing, wherever it is asked with; only where that differs
// by nature, it does, and here is where.
func TestParametersMeanTheSame(t *testing.T) {
	doc := readDocument(t)
	differ := map[string]bool{"limit": true, "key": true, "filter": true, "by": true, "order": true}
	said := map[string]string{}
	ranges := 0
	doc.each(func(op *operation, method, path, _, _ string, _ []string) {
		has := map[string]bool{}
		for _, p := range op.Parameters {
			if p.In != "query" {
				continue
			}
			has[p.Name] = true
			if p.Description == "" && p.Name != "text" && p.Name != "offset" {
				t.Errorf("%s %s: %s is not described", method, path, p.Name)
			}
			what := fmt.Sprintf("%v %s %s", p.Schema.Type, p.Schema.Format, p.Description)
			if p.Name == "limit" { // the same bounds; what is counted differs
				what = fmt.Sprintf("%v %s %v", p.Schema.Type, p.Schema.Format, *p.Schema.Minimum)
				if p.Schema.Default == nil || *p.Schema.Maximum != 100 && *p.Schema.Maximum != 10_000 {
					t.Errorf("%s %s: limit has the default %v and the maximum %v", method, path, p.Schema.Default, *p.Schema.Maximum)
				}
			}
			if before, ok := said[p.Name]; ok && before != what && (!differ[p.Name] || p.Name == "limit") {
				t.Errorf("%s %s: %s is %q, elsewhere %q", method, path, p.Name, what, before)
			}
			said[p.Name] = what
		}
		if has["from"] || has["to"] {
			ranges++
			for _, name := range []string{"from", "to", "zone", "exporter"} {
				if !has[name] {
					t.Errorf("%s %s: a range without %s", method, path, name)
				}
			}
		}
		if has["after"] {
			answer := op.Responses["200"]
			s := doc.Components.Schemas[strings.TrimPrefix(answer.Content["application/json"].Schema.Ref, "#/components/schemas/")]
			if !has["limit"] || s.Properties["next"] == nil || answer.Headers["Link"] == nil && answer.Content["text/csv"].Schema.Type != nil {
				t.Errorf("%s %s: pages without limit, next or Link", method, path)
			}
		}
	})
	if ranges < 8 {
		t.Errorf("only %d ranges", ranges)
	}
}

// What is beyond a limit is refused, everywhere in the same words; what is not, is taken.
func TestLimits(t *testing.T) {
	doc := readDocument(t)
	h := held(t, newTestHandler(t, &fake{}))
	n := 0
	try := func(what string, most int, ask func(limit int) (int, string)) {
		n++
		for _, row := range []struct {
			limit  int
			status int
			says   string
		}{{1, 200, ""}, {most, 200, ""}, {0, 422, "Parameter limit: expected number >= 1."}, {-1, 422, "Parameter limit: expected number >= 1."},
			{most + 1, 422, fmt.Sprintf("Parameter limit: expected number <= %d.", most)}} {
			status, body := ask(row.limit)
			var p struct{ Detail string }
			_ = json.Unmarshal([]byte(body), &p)
			if status != row.status || p.Detail != row.says {
				t.Errorf("%s, limit %d: %d %q, want %d %q", what, row.limit, status, p.Detail, row.status, row.says)
			}
		}
	}
	doc.each(func(op *operation, method, path, target, _ string, _ []string) {
		for _, p := range op.Parameters {
			if p.Name == "limit" {
				try(path, int(*p.Schema.Maximum), func(limit int) (int, string) {
					w := get(h, fmt.Sprintf("%s?limit=%d", target, limit))
					return w.Code, w.Body.String()
				})
			}
		}
	})
	try(pathSQL, 10_000, func(limit int) (int, string) {
		w := request(h, http.MethodPost, pathSQL, fmt.Sprintf(`{"sql":"select 1","limit":%d}`, limit), "Content-Type", "application/json")
		return w.Code, w.Body.String()
	})
	if n < 5 {
		t.Errorf("only %d limits", n)
	}
}

// The address of the next page leads through all of a list, as CSV too, and through a range
// that stands still although it was asked for as one up to now.
func TestPagesLeadOn(t *testing.T) {
	db := &fake{}
	var froms []string
	page := func(q query.Question, after string) string {
		froms = append(froms, q.From.String()+q.To.String())
		next := map[string]string{"": "b&=?", "b&=?": "c"}[after]
		return next
	}
	db.flows = func(_ context.Context, q query.FlowsQuestion) (*query.Flows, error) {
		return &query.Flows{From: q.From, To: q.To, Columns: query.FlowColumns, Next: page(q.Question, q.After)}, nil
	}
	db.events = func(q query.EventsQuestion) (*query.Events, error) {
		return &query.Events{From: q.From, To: q.To, Columns: query.EventColumns, Next: page(query.Question{From: q.From, To: q.To}, q.After)}, nil
	}
	c := &clock{testNow}
	h := newLoginHandler(t, c, func(c *Config) { c.DB = faked(db) })
	for _, row := range []struct{ target, accept string }{
		{pathFlows + "?from=-2h&limit=2&filter=port+80", ""}, {pathFlows + "?from=-2h&format=csv", ""}, {pathEvents, "text/csv"}, {pathEvents + "?zone=Europe/Berlin&from=-2d", ""},
	} {
		froms = nil
		pages := 0
		for target := row.target; target != ""; pages++ {
			c.now = testNow.AddDate(0, 0, pages)
			w := get(h, target, "Accept", row.accept)
			if w.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", target, w.Code, w.Body)
			}
			if csv := strings.HasPrefix(w.Header().Get("Content-Type"), mediaCSV); csv != (row.accept != "" || strings.Contains(row.target, "csv")) {
				t.Errorf("%s: %s", target, w.Header().Get("Content-Type"))
			}
			if limit := mustQuery(t, target).Get("limit"); limit != mustQuery(t, row.target).Get("limit") {
				t.Errorf("%s has another limit", target)
			}
			target, _, _ = strings.Cut(strings.TrimPrefix(w.Header().Get("Link"), "<"), `>; rel="next"`)
		}
		if pages != 3 || len(slices.Compact(froms)) != 1 {
			t.Errorf("%s: %d pages over %v", row.target, pages, froms)
		}
	}
	db.sql = func(context.Context, console.SQLQuestion) (*console.SQLAnswer, error) {
		return &console.SQLAnswer{Truncated: len(froms) > 0}, nil
	}
	for _, want := range []string{"true", ""} {
		w := request(h, http.MethodPost, pathSQL, `{"sql":"select 1","format":"csv"}`, "Content-Type", "application/json")
		if got := w.Header().Get("Flowtally-Truncated"); got != want {
			t.Errorf("cut is %q, want %q", got, want)
		}
		froms = nil
	}
}

func mustQuery(t *testing.T, target string) url.Values {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// Whatever goes wrong, the status is one that the document has for the operation: held says
// so. Here everything does go wrong, at every operation.
func TestEveryFailureIsDescribed(t *testing.T) {
	doc := readDocument(t)
	var failure error
	db := &fake{}
	db.top = func(context.Context, query.Question) (*query.Top, error) { return nil, failure }
	db.series = func(context.Context, query.Question) (*query.Series, error) { return nil, failure }
	db.exporters = func(context.Context) ([]console.ExporterRow, error) { return nil, failure }
	c := &clock{testNow}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) { c.DB = faked(db) })
	edgar, _ := cookieOf(t, logIn(h, "edgar", "right horse"))
	madeToken(t, h, edgar, "a", RoleEditor)
	for _, row := range []struct {
		name     string
		failure  error
		headers  []string
		body     string
		target   string
		want     int
		asks     bool // only of operations that ask the database
		withBody bool // only of operations that take a body
	}{
		{name: "database away", failure: errors.New("away"), want: 503, asks: true},
		{name: "busy", failure: store.ErrBusy, want: 503, asks: true},
		{name: "too slow", failure: store.ErrTimeout, want: 504, asks: true},
		{name: "no schema", failure: &pgconn.PgError{Code: "42P01"}, want: 500, asks: true},
		{name: "nobody", headers: []string{"Cookie", ""}, want: 401},
		{name: "wrong token", headers: bearing(TokenPrefix + strings.Repeat("0", 64)), want: 401},
		{name: "another site", headers: []string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "a foreign host", headers: []string{"Host", "evil.example"}, want: 421},
		{name: "a token in the address", target: "?access_token=x", want: 400},
		{name: "an unknown parameter", target: "?nonsense=x", want: 422},
		{name: "a parameter twice", target: "?from=a&from=b", want: 422},
		{name: "another type", headers: []string{"Content-Type", "text/plain"}, body: "x", want: 415},
		{name: "no JSON", body: "{", want: 400, withBody: true},
		{name: "another form", body: `{"nonsense":1}`, want: 422, withBody: true},
		{name: "too large", body: `{"x":"` + strings.Repeat("x", maxBody) + `"}`, want: 413, withBody: true},
	} {
		db.err, failure = row.failure, row.failure
		doc.each(func(op *operation, method, path, target, body string, headers []string) {
			c.now = c.now.Add(time.Minute) // nobody is limited here
			sample := body
			if row.body != "" {
				body = row.body
			}
			if row.withBody && sample == "" || path == pathNames && row.name == "a parameter twice" {
				return
			}
			known := map[string]bool{"keys": true, "hunts": true, "filter-check": true, "filter-complete": true, "names": true}
			if row.asks && (known[op.OperationID] || open[op.OperationID]) {
				return
			}
			if row.want == 401 && open[op.OperationID] && row.name == "nobody" {
				return
			}
			w := request(h, method, target+row.target, body, append(append(slices.Clone(headers), "Cookie", edgar), row.headers...)...)
			if w.Code != row.want {
				t.Errorf("%s: %s %s: %d, want %d: %.200s", row.name, method, path, w.Code, row.want, w.Body)
			}
		})
	}
	// Too many tries, at every operation.
	db.err, failure = nil, nil
	for range 12 {
		get(h, pathTop, bearing(TokenPrefix+strings.Repeat("0", 64))...)
	}
	doc.each(func(op *operation, method, path, target, body string, headers []string) {
		if w := request(h, method, target, body, append(slices.Clone(headers), bearing(TokenPrefix+strings.Repeat("0", 64))...)...); w.Code != http.StatusTooManyRequests {
			t.Errorf("%s %s: the thirteenth wrong token: %d", method, path, w.Code)
		}
	})
}

// complaints keeps what a test would have said.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

// held does see what is not described: a status, a type, a field.
func TestHeldSeesWhatIsNotDescribed(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		media  string
		body   string
		says   string
	}{
		"status": {http.StatusTeapot, "application/problem+json", "{}", "418 is not described"},
		"type":   {http.StatusOK, "text/html", "<p>", `"text/html" is not described`},
		"field":  {http.StatusOK, "application/json", `{"user":null,"role":"viewer","login":"none","token":null,"more":1}`, "more is not described"},
		"absent": {http.StatusOK, "application/json", `{"user":null,"role":"viewer","login":"none"}`, "no token"},
		"right":  {http.StatusOK, "application/json", `{"user":null,"role":"viewer","login":"none","token":null}`, ""},
	} {
		r := chi.NewRouter()
		r.Get(pathMe, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", row.media)
			w.WriteHeader(row.status)
			fmt.Fprint(w, row.body)
		})
		c := &complaints{TB: t}
		get(held(c, r), pathMe)
		if got := strings.Join(c.said, "\n"); (row.says == "") != (got == "") || !strings.Contains(got, row.says) {
			t.Errorf("%s: it says %q, want %q", name, got, row.says)
		}
	}
}

// Whole numbers of answers say how wide they are, so that clients of typed languages hold
// every count.
func TestWholeNumbersSayTheirWidth(t *testing.T) {
	doc := readDocument(t)
	n := 0
	var walk func(s *schema, at string)
	walk = func(s *schema, at string) {
		if s == nil {
			return
		}
		if s.Type == "integer" || fmt.Sprint(s.Type) == "[integer null]" {
			if n++; !regexp.MustCompile(`^int(32|64)$`).MatchString(s.Format) {
				t.Errorf("%s has the format %q", at, s.Format)
			}
		}
		for name, p := range s.Properties {
			walk(p, at+"."+name)
		}
		walk(s.Items, at+"[]")
		for i := range s.AnyOf {
			walk(&s.AnyOf[i], at)
		}
	}
	for name, s := range doc.Components.Schemas {
		walk(s, name)
	}
	for _, field := range []string{"Sums.flows", "Sums.packets", "Sums.bytes"} {
		name, property, _ := strings.Cut(field, ".")
		if s := doc.Components.Schemas[name]; s == nil || s.Properties[property].Format != "int64" {
			t.Errorf("%s is not of 64 bits", field)
		}
	}
	if n < 50 {
		t.Errorf("only %d whole numbers", n)
	}
}
