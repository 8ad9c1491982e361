package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"flowtally/store"
)

// Querier answers the API's questions; *store.DB is one. Every method honours
// its context: the client's leaving cancels the query.
type Querier interface {
	// Top returns the groups with most flows, packets or bytes.
	Top(ctx context.Context, q store.Question) (*store.Top, error)
	// Series returns the same sums over time, in at most q.MaxBuckets buckets.
	Series(ctx context.Context, q store.Question) (*store.Series, error)
	// Exporters returns every exporter seen so far.
	Exporters(ctx context.Context) ([]store.ExporterRow, error)
}

// Asked is what every question about a range is asked with. Like Sums it is
// exported for the library's sake.
type Asked struct {
	From     string `query:"from" default:"-6h" example:"-6h" doc:"Start of the range, inside it. RFC 3339, a date, or relative to now: -30m, -6h, -7d, -2w, today, yesterday. Without a zone: UTC."`
	To       string `query:"to" default:"now" example:"now" doc:"End of the range, outside it. Written like from."`
	By       string `query:"by" default:"flows" enum:"flows,packets,bytes" doc:"What the groups are ranked by."`
	Exporter string `query:"exporter" doc:"Only flows of this exporter: its name or address. Empty: of all."`
	Whole    bool   `query:"whole" doc:"Book each flow whole at its end, as nfdump does, in place of the share that lies inside the range."`
	Format   string `query:"format" enum:"json,csv" doc:"Form of the answer. Without it the Accept header decides, and JSON is the default."`
}

type topInput struct {
	Asked
	Key   string `query:"key" default:"src-addr" example:"src-addr,dst-addr" doc:"What flows are grouped by: one key, or several joined by commas."`
	Limit int    `query:"limit" default:"10" minimum:"1" maximum:"10000" doc:"How many groups are listed; the rest is summed up in other."`
}

type seriesInput struct {
	Asked
	Key   string `query:"key" example:"protocol" doc:"What flows are grouped by: one key, or several joined by commas. Empty: only the total."`
	Limit int    `query:"limit" default:"8" minimum:"1" maximum:"100" doc:"How many groups get a line; the rest is summed up in other."`
	Step  string `query:"step" default:"auto" example:"60s" doc:"Width of a bucket: auto, or a duration of whole seconds such as 60s, 5m, 1h, 1d. auto makes at most 300 buckets; a range has at most 1,500."`
}

// Sums are the three measures. It and Provenance are exported because the
// library describes no embedded types that are not.
type Sums struct {
	Flows   int64 `json:"flows" doc:"Flows that start in the range. A flow is a record: one direction of a conversation."`
	Packets int64 `json:"packets" doc:"Packets, as sent by the exporter."`
	Bytes   int64 `json:"bytes" doc:"IP bytes, as sent by the exporter."`
}

// values holds one group's columns by their SQL names.
type values map[string]any

// Schema says what a column may hold.
func (values) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type:        huma.TypeObject,
		Description: "The group's columns by SQL name: text for addresses and exporters, numbers for the rest, null where a flow has none.",
		AdditionalProperties: &huma.Schema{AnyOf: []*huma.Schema{
			{Type: huma.TypeString}, {Type: huma.TypeInteger, Format: "int64"}, {Type: "null"},
		}},
	}
}

type topRow struct {
	Values values `json:"values"`
	Label  string `json:"label" doc:"The group in words."`
	Sums
	Share float64 `json:"share" doc:"Part of the total by the measure asked for, 0 to 1."`
}

type topRest struct {
	Groups int64 `json:"groups" doc:"How many groups are not listed."`
	Sums
}

// Provenance says where an answer comes from and how to get it elsewhere.
type Provenance struct {
	Source     string `json:"source" doc:"The relation that was read."`
	Resolution string `json:"resolution" doc:"The finest time the source tells apart."`
	Exact      bool   `json:"exact" doc:"Whether every number is exact."`
	TookMS     int64  `json:"took_ms" doc:"How long the database took, in milliseconds."`
	SQL        string `json:"sql" doc:"SQL that gives the same answer."`
	Command    string `json:"command" doc:"Command line that gives the same answer."`
}

// Top is a ranking in the API's words: what the command line prints as JSON too.
type Top struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Key   string    `json:"key"`
	By    string    `json:"by"`
	Limit int       `json:"limit"`
	Rows  []topRow  `json:"rows" nullable:"false"`
	Other *topRest  `json:"other" doc:"What is not listed; null when everything is."`
	Total Sums      `json:"total"`
	Provenance

	columns []string // of Values, in the order of the key
}

type line struct {
	Values  values  `json:"values"`
	Label   string  `json:"label" doc:"The group in words."`
	Flows   []int64 `json:"flows" nullable:"false" doc:"One number a bucket."`
	Packets []int64 `json:"packets" nullable:"false" doc:"One number a bucket."`
	Bytes   []int64 `json:"bytes" nullable:"false" doc:"One number a bucket."`
}

type sumLine struct {
	Label   string  `json:"label"`
	Flows   []int64 `json:"flows" nullable:"false" doc:"One number a bucket."`
	Packets []int64 `json:"packets" nullable:"false" doc:"One number a bucket."`
	Bytes   []int64 `json:"bytes" nullable:"false" doc:"One number a bucket."`
}

// Series is measures over time in the API's words: what the command line prints
// as JSON too.
type Series struct {
	From        time.Time   `json:"from"`
	To          time.Time   `json:"to"`
	StepSeconds int64       `json:"step_seconds" doc:"Width of a bucket."`
	Key         string      `json:"key"`
	By          string      `json:"by"`
	Starts      []time.Time `json:"starts" nullable:"false" doc:"Where each bucket starts."`
	Lines       []line      `json:"lines" nullable:"false"`
	Other       *sumLine    `json:"other" doc:"What has no line of its own; null when everything has."`
	Total       sumLine     `json:"total"`
	Provenance

	columns []string
}

type exporterRow struct {
	ID                int64     `json:"id"`
	Name              string    `json:"name" doc:"The name it was given; empty when none was."`
	Label             string    `json:"label" doc:"Its name, else its address."`
	Addr              string    `json:"addr"`
	ObservationDomain int64     `json:"observation_domain"`
	Version           int64     `json:"version" doc:"NetFlow version last seen: 5, 9 or 10 (IPFIX)."`
	FirstSeen         time.Time `json:"first_seen"`
	LastSeen          time.Time `json:"last_seen"`
	Datagrams         int64     `json:"datagrams"`
	Records           int64     `json:"records"`
	Packets           int64     `json:"packets"`
	Bytes             int64     `json:"bytes"`
	SamplingRate      *int64    `json:"sampling_rate" doc:"One packet in this many is seen; null when the exporter has not said."`
	ClockOffsetMS     int64     `json:"clock_offset_ms" doc:"The exporter's clock less ours, in milliseconds."`
}

type collectorInfo struct {
	Listen string `json:"listen" doc:"Where the collector takes datagrams; empty when this server was not told."`
}

type exportersAnswer struct {
	Exporters []exporterRow `json:"exporters" nullable:"false"`
	Collector collectorInfo `json:"collector"`
}

// The headers are empty for JSON, which huma writes by itself.
type topOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        Top
}

type seriesOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        Series
}

type exportersOutput struct {
	Body exportersAnswer
}

// routeAPI mounts the questions and the document that describes them.
func (s *server) routeAPI(r chi.Router) error {
	c := huma.DefaultConfig("flowtally", "1")
	c.Info.Description = "Who is talking, how much, and how often: flows in PostgreSQL, asked by time range. " +
		"Every answer carries the SQL and the command line that give the same."
	c.DocsPath = ""     // the library's page loads scripts from another host
	c.SchemasPath = ""  // one document says it all
	c.OpenAPIPath = ""  // served below, made once
	c.CreateHooks = nil // no $schema in bodies, no Link header
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{explain}
	c.Formats = map[string]huma.Format{
		"application/json": huma.DefaultJSONFormat,
		"json":             huma.DefaultJSONFormat, // problem+json
		mediaCSV:           {Marshal: marshalCSV},
	}
	api := humachi.New(r.With(negotiate, checkQuery), c)

	csv := func() map[string]*huma.Response {
		return map[string]*huma.Response{"200": {
			Content: map[string]*huma.MediaType{
				"application/json": {},
				mediaCSV:           {Schema: &huma.Schema{Type: huma.TypeString}},
			},
		}}
	}
	failures := []int{http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	huma.Register(api, huma.Operation{
		OperationID: "top", Method: http.MethodGet, Path: pathTop,
		Summary:     "Top groups",
		Description: "The groups with most flows, packets or bytes in a range, what the others sum up to, and the total. As CSV: the listed groups.",
		Responses:   csv(), Errors: failures,
	}, s.top)
	huma.Register(api, huma.Operation{
		OperationID: "series", Method: http.MethodGet, Path: pathSeries,
		Summary:     "Series over time",
		Description: "Flows, packets and bytes over time: one line for each of the top groups, one for the others, one for the total. As CSV: one row for each bucket and group; without a key, for each bucket.",
		Responses:   csv(), Errors: failures,
	}, s.series)
	huma.Register(api, huma.Operation{
		OperationID: "exporters", Method: http.MethodGet, Path: pathExporters,
		Summary:     "Exporters",
		Description: "Every exporter seen so far, and where the collector listens.",
		Errors:      failures,
	}, s.exporters)

	// The library cannot say "an object or null" of a reference.
	for _, name := range []string{"Top", "Series"} {
		p := api.OpenAPI().Components.Schemas.Map()[name].Properties
		p["other"] = &huma.Schema{
			AnyOf:       []*huma.Schema{{Ref: p["other"].Ref}, {Type: "null"}},
			Description: p["other"].Description,
		}
	}
	doc, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("web: describe the API: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, doc, "", "  "); err != nil {
		return fmt.Errorf("web: describe the API: %w", err)
	}
	indented.WriteByte('\n')
	s.openAPI = indented.Bytes()
	r.Get(pathOpenAPI, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(s.openAPI)
	})
	return nil
}

// wantsCSV is the context's key for what the Accept header asked for.
type wantsCSV struct{}

// negotiate reads the Accept header in place of the library, whose reader
// panics on an empty parameter followed by another type ("a;,b").
func negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		csv, other := 0.0, 0.0
		for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
			switch t, q := weighted(part); t {
			case mediaCSV:
				csv = q
			case "application/json", "text/html":
				other = max(other, q)
			}
		}
		w.Header().Add("Vary", "Accept")
		r = r.WithContext(context.WithValue(r.Context(), wantsCSV{}, csv > other))
		r.Header.Set("Accept", "application/json")
		next.ServeHTTP(w, r)
	})
}

// checkQuery refuses a parameter that is given twice (which of the two was meant
// is a guess, and the answer would not say so) and text that no name or address
// can be: the database would refuse it later, as if the mistake were ours.
func checkQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeProblem(w, r, http.StatusUnprocessableEntity,
				"The query cannot be read: write parameters as name=value joined by &, with %25 for a percent sign and %3B for a semicolon.")
			return
		}
		for name, all := range q {
			if len(all) > 1 {
				writeProblem(w, r, http.StatusUnprocessableEntity,
					parameterSentence(strconv.Quote(name), "given more than once; several keys are joined by commas"))
				return
			}
			if v := all[0]; !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				writeProblem(w, r, http.StatusUnprocessableEntity,
					parameterSentence(strconv.Quote(name), "not text: write it in UTF-8, without octets of zero"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// lostPlus is a time whose offset's plus sign was read as a space, as the rules
// for queries have it: 2026-11-21T10:00:00 01:00.
var lostPlus = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:\d\d)$`)

// question turns parameters into a question of the store.
func (s *server) question(in Asked, key string, limit int) (store.Question, error) {
	// What is written without a zone is UTC: the server's own would surprise
	// everyone who is elsewhere.
	now := s.now().UTC()
	q := store.Question{By: store.Measure(in.By), Limit: limit, Exporter: in.Exporter, Whole: in.Whole, Timeout: s.config.Timeout}
	for _, p := range []struct {
		name, value string
		to          *time.Time
	}{{"from", in.From, &q.From}, {"to", in.To, &q.To}} {
		t, err := store.ParseTime(lostPlus.ReplaceAllString(p.value, "$1+$2"), now)
		if err != nil {
			return q, parameterProblem(p.name, p.value, reason(err))
		}
		*p.to = t
	}
	if !q.From.Before(q.To) {
		return q, parameterProblem("from", in.From, fmt.Sprintf(
			"the range is empty: it starts at %s and ends at %s; from must be earlier than to",
			q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339)))
	}
	if key != "" {
		keys, err := store.ParseKeys(key)
		if err != nil {
			return q, parameterProblem("key", key, reason(err))
		}
		q.Keys = keys
	}
	return q, nil
}

// parseStep reads the width of a bucket; 0 leaves it to the store.
func parseStep(text string) (time.Duration, error) {
	if text == "auto" {
		return 0, nil
	}
	const how = "write auto, or whole seconds as 60s, 5m, 1h or 1d"
	var step time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration; %s", text, how)
		}
		step = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if step, err = time.ParseDuration(text); err != nil {
			return 0, fmt.Errorf("%q is not a duration; %s", text, how)
		}
	}
	if step < time.Second || step%time.Second != 0 {
		return 0, fmt.Errorf("%q is not a number of whole seconds above zero; %s", text, how)
	}
	return step, nil
}

// ask runs one question under the time limit and explains its failure.
func ask[T any](ctx context.Context, s *server, name string, question func(context.Context) (T, error)) (T, error) {
	// The database stops at the limit by itself; our clock, a little later, is
	// for when it cannot.
	limited, cancel := context.WithTimeout(ctx, s.config.Timeout+time.Second)
	defer cancel()
	answer, err := question(limited)
	if err == nil {
		return answer, nil
	}
	if limited.Err() != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		// Drivers do not always wrap the reason for which they gave up.
		err = errors.Join(context.DeadlineExceeded, err)
	}
	return answer, s.storeProblem(ctx, name, err)
}

func (s *server) top(ctx context.Context, in *topInput) (*topOutput, error) {
	q, err := s.question(in.Asked, in.Key, in.Limit)
	if err != nil {
		return nil, err
	}
	t, err := ask(ctx, s, "top", func(ctx context.Context) (*store.Top, error) { return s.config.DB.Top(ctx, q) })
	if err != nil {
		return nil, err
	}
	out := &topOutput{Body: NewTop(t)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = csvHeaders("top", t.Keys, t.From, t.To)
	}
	return out, nil
}

// csv reports whether the answer is to be CSV: the parameter says so, else the
// Accept header.
func (in Asked) csv(ctx context.Context) bool {
	return in.Format == "csv" || in.Format == "" && ctx.Value(wantsCSV{}) == true
}

// NewTop puts a ranking of the store into the API's words.
func NewTop(t *store.Top) Top {
	a := Top{
		From: t.From.UTC(), To: t.To.UTC(), Key: store.JoinKeys(t.Keys), By: string(t.By), Limit: t.Limit,
		Rows: make([]topRow, len(t.Rows)), Total: Sums(t.Total),
		Provenance: Provenance{t.Source, t.Resolution, t.Exact, t.Took.Milliseconds(), t.SQL, t.Command},
		columns:    columns(t.Keys),
	}
	for i, row := range t.Rows {
		a.Rows[i] = topRow{Values: valuesOf(row.Values), Label: row.Label, Sums: Sums(row.Sums), Share: row.Share}
		if i == 0 {
			a.columns = columnsOf(row.Values)
		}
	}
	if t.Other != nil {
		a.Other = &topRest{Groups: t.Other.Groups, Sums: Sums(t.Other.Sums)}
	}
	return a
}

func (s *server) series(ctx context.Context, in *seriesInput) (*seriesOutput, error) {
	q, err := s.question(in.Asked, in.Key, in.Limit)
	if err != nil {
		return nil, err
	}
	if q.Step, err = parseStep(in.Step); err != nil {
		return nil, parameterProblem("step", in.Step, reason(err))
	}
	if q.Step > 0 {
		q.MaxBuckets = store.MaxBuckets
	}
	t, err := ask(ctx, s, "series", func(ctx context.Context) (*store.Series, error) { return s.config.DB.Series(ctx, q) })
	if err != nil {
		return nil, err
	}
	out := &seriesOutput{Body: NewSeries(t)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = csvHeaders("series", t.Keys, t.From, t.To)
	}
	return out, nil
}

// NewSeries puts a series of the store into the API's words.
func NewSeries(t *store.Series) Series {
	a := Series{
		From: t.From.UTC(), To: t.To.UTC(), StepSeconds: int64(t.Step / time.Second),
		Key: store.JoinKeys(t.Keys), By: string(t.By),
		Starts: make([]time.Time, len(t.Start)), Lines: make([]line, len(t.Lines)), Total: sumLineOf(&t.Total, "total"),
		Provenance: Provenance{t.Source, t.Resolution, t.Exact, t.Took.Milliseconds(), t.SQL, t.Command},
		columns:    columns(t.Keys),
	}
	for i, start := range t.Start {
		a.Starts[i] = start.UTC()
	}
	for i, l := range t.Lines {
		a.Lines[i] = line{Values: valuesOf(l.Values), Label: l.Label, Flows: some(l.Flows), Packets: some(l.Packets), Bytes: some(l.Bytes)}
		if i == 0 {
			a.columns = columnsOf(l.Values)
		}
	}
	if t.Other != nil {
		other := sumLineOf(t.Other, "other")
		a.Other = &other
	}
	return a
}

func (s *server) exporters(ctx context.Context, _ *struct{}) (*exportersOutput, error) {
	rows, err := ask(ctx, s, "exporters", s.config.DB.Exporters)
	if err != nil {
		return nil, err
	}
	out := &exportersOutput{Body: exportersAnswer{
		Exporters: make([]exporterRow, len(rows)),
		Collector: collectorInfo{Listen: s.config.CollectorListen},
	}}
	for i := range rows {
		out.Body.Exporters[i] = exporterRowOf(&rows[i])
	}
	return out, nil
}

// reason is what is wrong with a parameter, without its name.
func reason(err error) string {
	if q, ok := errors.AsType[*store.QuestionError](err); ok {
		return q.Reason
	}
	return err.Error()
}

// columns returns the SQL names of keys, for answers without a row to tell.
func columns(keys []store.Key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = strings.ReplaceAll(string(k), "-", "_")
	}
	return names
}

func columnsOf(vs []store.Value) []string {
	names := make([]string, len(vs))
	for i, v := range vs {
		names[i] = v.Column
	}
	return names
}

func valuesOf(vs []store.Value) values {
	m := make(values, len(vs))
	for _, v := range vs {
		m[v.Column] = v.V
	}
	return m
}

func sumLineOf(l *store.Line, label string) sumLine {
	if l.Label != "" {
		label = l.Label
	}
	return sumLine{Label: label, Flows: some(l.Flows), Packets: some(l.Packets), Bytes: some(l.Bytes)}
}

// some returns v, empty in place of nil: JSON tells the two apart.
func some(v []int64) []int64 {
	if v == nil {
		return []int64{}
	}
	return v
}
