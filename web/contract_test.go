package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
)

// schema is what is used of JSON Schema in openapi.json; keywords it does not
// have here are refused when the document is read.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 any                `json:"type"`
	AnyOf                []schema           `json:"anyOf"`
	Enum                 []any              `json:"enum"`
	Items                *schema            `json:"items"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Format               string             `json:"format"`
	Minimum, Maximum     *float64
	MinLength, MaxLength *int
	MinItems, MaxItems   *int
	UniqueItems          bool
	ContentEncoding      string `json:"contentEncoding"`

	Description, Title string
	Default            any   `json:"default"`
	Examples           []any `json:"examples"`
}

type operation struct {
	OperationID, Summary, Description string
	Tags                              []string
	Parameters                        []struct {
		Name, In, Description string
		Required, Explode     bool
		Schema                schema
		Example               any
	}
	Security    []map[string][]string
	RequestBody *struct {
		Required bool
		Content  map[string]struct{ Schema schema }
	}
	Responses map[string]struct {
		Description string
		Headers     map[string]any
		Content     map[string]struct{ Schema schema }
	}
}

// document is openapi.json.
type document struct {
	OpenAPI    string
	Info       any
	Paths      map[string]map[string]operation // by path and method
	Security   []map[string][]string
	Components struct {
		Schemas         map[string]*schema
		SecuritySchemes map[string]struct{ Type, Scheme, BearerFormat, In, Name, Description string }
	}
}

func readDocument(t testing.TB) *document {
	t.Helper()
	f, err := os.Open("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	doc := new(document)
	if err := d.Decode(doc); err != nil {
		t.Fatalf("openapi.json has what this test does not know: %v", err)
	}
	return doc
}

// check says where a value is not what a schema allows, "" when it is.
func (d *document) check(s *schema, v any, at string) string {
	if s.Ref != "" {
		return d.check(d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")], v, at)
	}
	if len(s.AnyOf) > 0 {
		var all []string
		for i := range s.AnyOf {
			wrong := d.check(&s.AnyOf[i], v, at)
			if wrong == "" {
				return ""
			}
			all = append(all, wrong)
		}
		return strings.Join(all, "; and ")
	}
	var types []any
	switch t := s.Type.(type) {
	case string:
		types = []any{t}
	case []any:
		types = t
	}
	kind := "null"
	switch v := v.(type) {
	case bool:
		kind = "boolean"
	case string:
		kind = "string"
		if _, err := time.Parse(time.RFC3339Nano, v); s.Format == "date-time" && err != nil {
			return fmt.Sprintf("%s: %q is no time", at, v)
		}
	case json.Number:
		kind = "number"
		if _, err := v.Int64(); err == nil && !slices.Contains(types, any("number")) {
			kind = "integer"
		}
		if f, err := v.Float64(); err != nil || math.IsInf(f, 0) || s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum {
			return fmt.Sprintf("%s: %s is out of bounds", at, v)
		}
	case []any:
		kind = "array"
		for i, e := range v {
			if s.Items != nil {
				if wrong := d.check(s.Items, e, fmt.Sprintf("%s[%d]", at, i)); wrong != "" {
					return wrong
				}
			}
		}
	case map[string]any:
		kind = "object"
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return fmt.Sprintf("%s: no %s", at, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			p := s.Properties[name]
			if p == nil {
				switch rest := string(s.AdditionalProperties); rest {
				case "", "true":
					continue
				case "false":
					return fmt.Sprintf("%s: %s is not described", at, name)
				}
				p = new(schema)
				if err := json.Unmarshal(s.AdditionalProperties, p); err != nil {
					return err.Error()
				}
			}
			if wrong := d.check(p, v[name], at+"."+name); wrong != "" {
				return wrong
			}
		}
	}
	if len(types) > 0 && !slices.Contains(types, any(kind)) {
		return fmt.Sprintf("%s: %s, and it is to be %v", at, kind, types)
	}
	if v != nil && len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return fmt.Sprintf("%s: %v is not one of %v", at, v, s.Enum)
	}
	return ""
}

// held returns h with every answer of the API held against the document: its
// status is one that the operation may answer with, its body has that form.
func held(t testing.TB, h http.Handler) http.Handler {
	doc := readDocument(t)
	routes, _ := h.(chi.Routes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())

		method := r.Method
		at := chi.NewRouteContext()
		if method == http.MethodHead || routes == nil || !routes.Match(at, method, r.URL.Path) {
			return
		}
		op, ok := doc.Paths[at.RoutePattern()][strings.ToLower(method)]
		if !ok || rec.Code == statusClientGone {
			return
		}
		where := fmt.Sprintf("%s %s: %d", method, r.URL, rec.Code)
		answer, ok := op.Responses[fmt.Sprint(rec.Code)]
		if !ok {
			answer, ok = op.Responses["default"]
		}
		if !ok {
			t.Errorf("%s is not described", where)
			return
		}
		media, _, _ := strings.Cut(rec.Header().Get("Content-Type"), ";")
		if rec.Header().Get("Content-Encoding") != "" || rec.Body.Len() == 0 {
			return
		}
		content, ok := answer.Content[media]
		if !ok {
			t.Errorf("%s: %q is not described", where, media)
			return
		}
		if !strings.HasSuffix(media, "json") {
			return
		}
		if wrong := doc.check(&content.Schema, normalBytes(t, rec.Body.Bytes()), "answer"); wrong != "" {
			t.Errorf("%s: %s\n%.500s", where, wrong, rec.Body)
		}
	})
}

func normalBytes(t testing.TB, b []byte) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Errorf("%v in %.200s", err, b)
	}
	return v
}

// asks are the operations that change nothing although their method could.
var asks = map[string]bool{"filter-check": true, "sql": true, "login": true, "logout": true}

// own are those that change what is one's own, person are those that no token may do.
var (
	own    = map[string]bool{"preferences-change": true, "token-new": true, "token-revoke": true}
	person = map[string]bool{"preferences-change": true, "tokens": true, "token-new": true, "token-revoke": true, "login": true, "logout": true}
)

// open are those that answer who is not logged in.
var open = map[string]bool{"me": true, "login": true, "logout": true}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// sample is a body that an operation takes.
func (d *document) sample(s *schema) any {
	if s.Ref != "" {
		return d.sample(d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")])
	}
	switch s.Type {
	case "object":
		m := map[string]any{}
		for _, name := range s.Required {
			if m[name] = d.sample(s.Properties[name]); name == "password" {
				m[name] = "right horse"
			}
		}
		return m
	case "integer":
		return 1
	case "boolean":
		return true
	}
	return "/"
}

// each calls f with every operation, and with a request that it takes.
func (d *document) each(f func(op *operation, method, path, target, body string, headers []string)) {
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(d.Paths[path])) {
			op := d.Paths[path][method]
			target := placeholder.ReplaceAllString(path, "1")
			if strings.Contains(path, "{addr}") {
				target = strings.ReplaceAll(path, "{addr}", "192.0.2.7")
			}
			body, headers := "", []string{}
			if op.RequestBody != nil {
				b, _ := json.Marshal(d.sample(new(op.RequestBody.Content["application/json"].Schema)))
				body, headers = string(b), []string{"Content-Type", "application/json"}
			}
			f(&op, strings.ToUpper(method), path, target, body, headers)
		}
	}
}

// Whatever is described is kept from strangers, and what changes something from
// viewers and from other sites: a route that is added is in this table by itself.
func TestRoutesAreGuarded(t *testing.T) {
	doc := readDocument(t)
	c := &clock{testNow}
	db := &fake{}
	h := newLoginHandler(t, c, withUsers(t, usersFile(t)), func(c *Config) { c.DB = faked(db) })
	vera, _ := cookieOf(t, logIn(h, "vera", "right horse"))
	edgar, _ := cookieOf(t, logIn(h, "edgar", "right horse"))
	n := 0
	doc.each(func(op *operation, method, path, target, body string, headers []string) {
		n++
		// What is one's own, a viewer may change.
		changing := method != http.MethodGet && !asks[op.OperationID] && !own[op.OperationID]
		try := func(who string, want func(int) bool, more ...string) {
			t.Helper()
			if w := request(h, method, target, body, append(slices.Clone(headers), more...)...); !want(w.Code) {
				t.Errorf("%s: %s %s: %d %.200s", who, method, target, w.Code, w.Body)
			}
		}
		is := func(status int) func(int) bool { return func(got int) bool { return got == status } }
		answered := func(got int) bool {
			return got < 400 || got == http.StatusNotFound || got == http.StatusConflict || got == http.StatusUnprocessableEntity
		}
		if open[op.OperationID] {
			try("another site", is(http.StatusForbidden), "Sec-Fetch-Site", "cross-site", "Cookie", edgar)
			return
		}
		try("nobody", is(http.StatusUnauthorized))
		try("a secret that is none", is(http.StatusUnauthorized), "Cookie", "flowtally=x")
		try("a user's word for himself", is(http.StatusUnauthorized), "X-Remote-User", "edgar", "X-Remote-Role", "editor")
		for _, site := range []string{"cross-site", "same-site"} {
			try("a page of a "+site, is(http.StatusForbidden), "Sec-Fetch-Site", site, "Cookie", edgar)
		}
		try("an old browser on another page", is(http.StatusForbidden), "Origin", "http://evil.example", "Cookie", edgar)
		try("a rebound name", is(http.StatusMisdirectedRequest), "Host", "evil.example:8080", "Cookie", edgar)
		if body != "" {
			try("a form", is(http.StatusUnsupportedMediaType), "Content-Type", "text/plain", "Cookie", edgar)
		}
		try("an editor", answered, "Cookie", edgar)
		if changing {
			try("a viewer", is(http.StatusForbidden), "Cookie", vera)
			if !strings.Contains(op.Description, "For editors.") {
				t.Errorf("%s %s does not say that it is for editors: %q", method, path, op.Description)
			}
		} else {
			try("a viewer", answered, "Cookie", vera)
		}
	})
	if n < 25 {
		t.Errorf("only %d operations", n)
	}
}

// The document has every route there is, and docs/api.md all of the document.
func TestEverythingIsDescribed(t *testing.T) {
	doc := readDocument(t)
	s, err := newServer(Config{DB: faked(&fake{})}, build)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	routes := 0
	err = chi.Walk(h.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !strings.HasPrefix(route, "/api/") {
			return nil
		}
		routes++
		if _, ok := doc.Paths[route][strings.ToLower(method)]; !ok {
			t.Errorf("%s %s is not in the document", method, route)
		}
		return nil
	})
	if err != nil || routes < 25 {
		t.Errorf("%d routes, %v", routes, err)
	}
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if line := "`" + strings.ToUpper(method) + " " + path; !strings.Contains(string(text), line) {
				t.Errorf("docs/api.md has no %s`", line)
			}
			for _, p := range op.Parameters {
				if p.In == "query" && !regexp.MustCompile("[`?&, (]"+p.Name+"[`=&, )]").Match(text) {
					t.Errorf("docs/api.md does not name the parameter %s of %s", p.Name, path)
				}
			}
			for _, status := range []string{"401", "421", "422", "503", "504"} {
				if _, ok := op.Responses[status]; !ok {
					t.Errorf("%s %s says nothing of status %s", method, path, status)
				}
			}
		}
	}
	for status := range map[string]bool{"401": true, "403": true, "404": true, "405": true, "409": true, "415": true, "421": true, "422": true, "429": true, "500": true, "503": true, "504": true} {
		if !regexp.MustCompile(`(?m)^\| .*\b` + status + `\b.* \|`).Match(text) {
			t.Errorf("docs/api.md says nothing of status %s", status)
		}
	}
}
