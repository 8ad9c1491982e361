package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/console"
)

// fake is a Querier that answers what a test puts into it, and keeps what it
// was asked.
type fake struct {
	top       func(context.Context, query.Question) (*query.Top, error)
	series    func(context.Context, query.Question) (*query.Series, error)
	exporters func(context.Context) ([]console.ExporterRow, error)
	flows     func(context.Context, query.FlowsQuestion) (*query.Flows, error)
	events    func(query.EventsQuestion) (*query.Events, error)
	sql       func(context.Context, console.SQLQuestion) (*console.SQLAnswer, error)
	err       error // of everything else

	mu     sync.Mutex
	asked  []query.Question
	states map[flow.ExporterID]console.ExporterState
	saved  []console.View
	named  []console.Interface
	prefer map[string]console.Preferences
	tokens []console.Token
	looks  int // how often a token was looked up
}

func (f *fake) keep(q query.Question) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
}

func (f *fake) Top(ctx context.Context, q query.Question) (*query.Top, error) {
	f.keep(q)
	if f.top == nil {
		return &query.Top{From: q.From, To: q.To, Keys: q.Keys, By: q.By, Limit: q.Limit}, nil
	}
	return f.top(ctx, q)
}

func (f *fake) Series(ctx context.Context, q query.Question) (*query.Series, error) {
	f.keep(q)
	if f.series == nil {
		return &query.Series{From: q.From, To: q.To, Keys: q.Keys, By: q.By, Step: q.Step}, nil
	}
	return f.series(ctx, q)
}

func (f *fake) Flows(ctx context.Context, q query.FlowsQuestion) (*query.Flows, error) {
	f.keep(q.Question)
	if f.flows == nil {
		return &query.Flows{From: q.From, To: q.To, Limit: q.Limit, Sort: q.Sort, Ascending: q.Ascending, Columns: query.FlowColumns}, f.err
	}
	return f.flows(ctx, q)
}

func (f *fake) Events(_ context.Context, q query.EventsQuestion) (*query.Events, error) {
	if f.events == nil {
		return &query.Events{From: q.From, To: q.To, Limit: q.Limit, Ascending: q.Ascending, Columns: query.EventColumns}, f.err
	}
	return f.events(q)
}

func (f *fake) Share(_ context.Context, q query.Question) (*query.Share, error) {
	f.keep(q)
	return &query.Share{From: q.From, To: q.To, Step: q.Step}, f.err
}

func (f *fake) Summary(_ context.Context, q query.Question) (*query.Summary, error) {
	f.keep(q)
	return &query.Summary{From: q.From, To: q.To}, f.err
}

func (f *fake) HeatMap(_ context.Context, q query.Question) (*query.HeatMap, error) {
	f.keep(q)
	return &query.HeatMap{From: q.From, To: q.To, By: q.By}, f.err
}

func (f *fake) Address(_ context.Context, addr netip.Addr, q query.Question) (*query.AddressCard, error) {
	f.keep(q)
	return &query.AddressCard{From: q.From, To: q.To, Addr: addr}, f.err
}

func (f *fake) RunSQL(ctx context.Context, q console.SQLQuestion) (*console.SQLAnswer, error) {
	if f.sql == nil {
		return &console.SQLAnswer{}, f.err
	}
	return f.sql(ctx, q)
}

func (f *fake) Schema(context.Context) ([]console.SchemaTable, error) { return nil, f.err }

func (f *fake) Exporters(ctx context.Context) ([]console.ExporterRow, error) {
	if f.exporters == nil {
		return nil, nil
	}
	return f.exporters(ctx)
}

func (f *fake) ExporterStates(context.Context) (map[flow.ExporterID]console.ExporterState, error) {
	return f.states, nil
}

func (f *fake) Diagnosis(_ context.Context, id flow.ExporterID) (*console.Diagnosis, error) {
	return &console.Diagnosis{ID: id}, f.err
}

func (f *fake) Interfaces(context.Context, string) ([]console.Interface, error) {
	return f.named, f.err
}

func (f *fake) Loss(_ context.Context, from, to time.Time, exporter string) (*console.Losses, error) {
	return &console.Losses{From: from, To: to, Exporter: exporter}, f.err
}

func (f *fake) SetExporter(_ context.Context, id flow.ExporterID, w console.ExporterWords) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.states == nil {
		f.states = make(map[flow.ExporterID]console.ExporterState)
	}
	f.states[id] = console.ExporterState{ExporterWords: w}
	return f.err
}

func (f *fake) InterfaceTraffic(_ context.Context, q query.Question) ([]query.InterfaceSums, error) {
	f.keep(q)
	return nil, f.err
}

func (f *fake) Preferences(_ context.Context, user string) (console.Preferences, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prefer[user], f.err
}

func (f *fake) SetPreferences(_ context.Context, user string, p console.Preferences) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.prefer == nil {
		f.prefer = make(map[string]console.Preferences)
	}
	f.prefer[user] = p
	return f.err
}

func (f *fake) Tokens(_ context.Context, user string) (list []console.Token, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tokens {
		if user == "" || t.User == user {
			list = append(list, t)
		}
	}
	return list, f.err
}

func (f *fake) TokenOf(_ context.Context, secret [sha256.Size]byte) (*console.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	for _, t := range f.tokens {
		if t.Secret == secret {
			return &t, nil
		}
	}
	return nil, console.ErrNotFound
}

func (f *fake) TokenSecrets(context.Context) (map[[sha256.Size]byte]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[[sha256.Size]byte]bool)
	for _, t := range f.tokens {
		all[t.Secret] = true
	}
	return all, nil
}

func (f *fake) NewToken(_ context.Context, t console.Token) (*console.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.ID = 1
	for _, old := range f.tokens {
		if old.User == t.User && old.Name == t.Name {
			return nil, console.ErrTaken
		}
		t.ID = max(t.ID, old.ID+1)
	}
	if f.err == nil {
		f.tokens = append(f.tokens, t)
	}
	return &t, f.err
}

func (f *fake) UseToken(_ context.Context, id int64, at time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.tokens {
		if f.tokens[i].ID == id {
			f.tokens[i].Used = at
		}
	}
	return nil
}

func (f *fake) DeleteToken(_ context.Context, user string, id int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, t := range f.tokens {
		if t.ID == id && (user == "" || t.User == user) {
			f.tokens = slices.Delete(f.tokens, i, i+1)
			return f.err
		}
	}
	return cmp.Or(f.err, console.ErrNotFound)
}

func (f *fake) NameInterface(_ context.Context, id flow.ExporterID, index int64, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named = append(f.named, console.Interface{ExporterID: id, IfIndex: index, Name: name, Named: true})
	return f.err
}

func (f *fake) Views(context.Context) ([]console.View, error) { return f.saved, f.err }

func (f *fake) SaveView(_ context.Context, v console.View) (*console.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.ID == 0 {
		v.ID = int64(len(f.saved) + 1)
		f.saved = append(f.saved, v)
	}
	return &v, f.err
}

func (f *fake) ForgetExporter(context.Context, flow.ExporterID) error { return f.err }

func (f *fake) LeaveOut(context.Context, flow.ExporterID, bool) error { return f.err }

func (f *fake) LeftOut(context.Context) (map[flow.ExporterID]bool, error) { return nil, f.err }

func (f *fake) DeleteView(context.Context, int64) error { return f.err }

// testNow is the clock of every test server.
var testNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// build is a small build of the console.
var build = fstest.MapFS{
	"index.html":           {Data: []byte("<!doctype html><title>flowtally</title><p>" + strings.Repeat("console ", 100))},
	"assets/main-a1b2.js":  {Data: []byte("// " + strings.Repeat("flows packets bytes ", 100))},
	"assets/dot-c3d4.png":  {Data: []byte("\x89PNG")},
	"icon.svg":             {Data: []byte("<svg/>")},
	".gitkeep":             {},
	"assets/short-e5f6.js": {Data: []byte("1")},
}

// newTestHandler returns the whole handler over db as Run would serve it.
func newTestHandler(t *testing.T, db *fake, change ...func(*Config)) http.Handler {
	t.Helper()
	c := Config{DB: faked(db), CollectorListen: ":9995"}
	for _, f := range change {
		f(&c)
	}
	s, err := newServer(c, build)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return testNow }
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	return held(t, h)
}

// get asks h as a program on this machine would; headers come in pairs.
func get(h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	return request(h, http.MethodGet, target, "", headers...)
}

func request(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:8080"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem reads a problem document and holds it to its form.
func problem(t *testing.T, w *httptest.ResponseRecorder) (detail, location string) {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, want a problem document; body %s", got, w.Body)
	}
	var p struct {
		Title, Detail string
		Status        int
		Errors        []struct{ Message, Location string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	if p.Status != w.Code || p.Title == "" {
		t.Errorf("the document says %d %q, the answer %d", p.Status, p.Title, w.Code)
	}
	if !strings.HasSuffix(p.Detail, ".") && !strings.HasSuffix(p.Detail, "?") || strings.HasSuffix(p.Detail, "?.") {
		t.Errorf("detail %q is not a sentence", p.Detail)
	}
	if len(p.Errors) > 0 {
		location = p.Errors[0].Location
		if p.Errors[0].Message != p.Detail {
			t.Errorf("the first error says %q, the detail %q", p.Errors[0].Message, p.Detail)
		}
	}
	return p.Detail, location
}

// start runs Run on a free port and returns its address, and a function that
// ends it and returns its error.
func start(t *testing.T, c Config) (netip.AddrPort, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan netip.AddrPort, 1), make(chan error, 1)
	c.Listen = "127.0.0.1:0"
	c.Ready = func(a netip.AddrPort) { ready <- a }
	go func() { done <- Run(ctx, c) }()
	stop := func() error { cancel(); return <-done }
	select {
	case a := <-ready:
		return a, stop
	case err := <-done:
		cancel()
		t.Fatalf("Run: %v", err)
		return netip.AddrPort{}, nil
	}
}

func TestRunServesUntilTheContextEnds(t *testing.T) {
	addr, stop := start(t, Config{DB: faked(&fake{})})
	r, err := http.Get("http://" + addr.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if r.StatusCode != http.StatusOK || string(body) != "ok\n" {
		t.Errorf("healthz: %d %q", r.StatusCode, body)
	}
	if err := stop(); err != nil {
		t.Errorf("Run returned %v after its context ended", err)
	}
}

func TestClientThatLeavesCancelsTheQuestion(t *testing.T) {
	asked, cancelled := make(chan struct{}), make(chan error, 1)
	addr, stop := start(t, Config{DB: faked(&fake{top: func(ctx context.Context, _ query.Question) (*query.Top, error) {
		close(asked)
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return nil, ctx.Err()
	}})})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() {
		select {
		case <-asked:
			leave()
		case <-ctx.Done():
		}
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+"/api/v1/top", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(r); !errors.Is(err, context.Canceled) {
		t.Fatalf("the client got %v, %v", resp, err)
	}
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("the question was told %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestQuestionUnderWayDoesNotHoldTheEnd(t *testing.T) {
	asked := make(chan struct{})
	addr, stop := start(t, Config{DB: faked(&fake{top: func(ctx context.Context, _ query.Question) (*query.Top, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}})})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if r, err := http.Get("http://" + addr.String() + "/api/v1/top"); err == nil {
			r.Body.Close()
		}
	}()
	select {
	case <-asked:
	case <-answered:
		t.Error("answered before the question was asked")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	<-answered
}

func TestRequestsAreLoggedAtDebugOnly(t *testing.T) {
	for _, row := range []struct {
		level slog.Level
		want  bool
	}{{slog.LevelDebug, true}, {slog.LevelInfo, false}} {
		var log bytes.Buffer
		h := newTestHandler(t, &fake{}, func(c *Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: row.level}))
		})
		get(h, "/api/v1/top")
		if got := strings.Contains(log.String(), "/api/v1/top"); got != row.want {
			t.Errorf("level %v: logged %q", row.level, &log)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	h := newTestHandler(t, &fake{exporters: func(context.Context) ([]console.ExporterRow, error) { panic("a defect") }})
	w := get(h, "/api/v1/exporters")
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
	if detail, _ := problem(t, w); strings.Contains(detail, "a defect") {
		t.Errorf("the panic's words reached the client: %q", detail)
	}
}

func TestConfigWithoutDatabase(t *testing.T) {
	if err := Run(t.Context(), Config{}); err == nil || !strings.HasPrefix(err.Error(), "web: ") {
		t.Errorf("Run without a database: %v", err)
	}
}

// faked is a Database that f answers for.
func faked(f *fake) Database {
	return Database{AnswerStore: f, ExporterStore: f, ViewStore: f, SQLStore: f, TokenStore: f}
}
