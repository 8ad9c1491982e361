package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"flowtally/query"
)

// Ranged is what every question about a range is asked with. Like Sums it is
// exported for the library's sake.
type Ranged struct {
	From     string `query:"from" default:"-6h" example:"-6h" doc:"Start of the range, inside it. RFC 3339, a date, or relative to now: -30m, -6h, -7d, -2w, today, yesterday; more than ten minutes ago is the begin of that minute. Without a zone: UTC."`
	To       string `query:"to" default:"now" example:"now" doc:"End of the range, outside it. Written like from."`
	Exporter string `query:"exporter" doc:"Only flows of this exporter: its name or address. Empty: of all."`
}

// Filtered is what every question about flows is asked with besides.
type Filtered struct {
	Ranged
	Filter string `query:"filter" example:"proto tcp and dst port 443" doc:"Only flows that match this filter (docs/filter.md). Empty: all."`
	Whole  bool   `query:"whole" doc:"Book each flow whole at its end, as nfdump does, in place of the share that lies inside the range."`
	Scaled bool   `query:"scaled" doc:"Multiply packets and bytes by the exporter's sampling rate, by 1 where that is not known. Flows are never multiplied."`
	Raw    bool   `query:"raw" doc:"Read the flows themselves, also where the roll-ups could answer."`
}

// Formatted chooses the form of an answer.
type Formatted struct {
	Format string `query:"format" enum:"json,csv" doc:"Form of the answer. Without it the Accept header decides, and JSON is the default."`
}

// Asked is what is asked with by who ranks groups.
type Asked struct {
	Filtered
	Formatted
	By byMeasure `query:"by" default:"flows" doc:"What the groups are ranked by: a sum, packets or bits a second, bytes a packet, or the average duration."`
}

type topInput struct {
	Asked
	Key    keyParameter `query:"key" default:"src-addr" example:"src-addr,dst-addr"`
	Limit  int          `query:"limit" default:"10" minimum:"1" maximum:"10000" doc:"How many groups are listed; the rest is summed up in other."`
	Having string       `query:"having" example:"flows > 100 and bytes > 1m" doc:"Only groups whose sums meet this condition are listed."`
}

type seriesInput struct {
	Asked
	Key   optionalKey `query:"key" example:"protocol"`
	Limit int         `query:"limit" default:"8" minimum:"1" maximum:"100" doc:"How many groups get a line; the rest is summed up in other."`
	Step  string      `query:"step" default:"auto" example:"60s" doc:"Width of a bucket: auto, or a duration of whole seconds such as 60s, 5m, 1h, 1d. auto makes at most 300 buckets; a range has at most 1,500."`

	LayOver int    `query:"lay_over" default:"0" minimum:"0" maximum:"8" doc:"How many earlier periods are laid over: previous has one series for each."`
	Period  string `query:"period" example:"1w" doc:"How far apart the periods are: 1d, 1w or another duration of whole seconds. Empty: the length of the range, rounded up to whole days."`
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
		Description: "The group's columns by SQL name: text for addresses, MAC addresses, exporters and applications, numbers for the rest, null where a flow has none.",
		AdditionalProperties: &huma.Schema{AnyOf: []*huma.Schema{
			{Type: huma.TypeString}, {Type: huma.TypeInteger, Format: "int64"}, {Type: "null"},
		}},
	}
}

type topRow struct {
	Values values `json:"values"`
	Label  string `json:"label" doc:"The group in words."`
	Sums
	Share      float64    `json:"share" doc:"Part of the total by the measure asked for, 0 to 1."`
	Error      int64      `json:"error" doc:"By how much the measure asked for may be too small; 0 when it is exact."`
	PPS        float64    `json:"pps" doc:"Packets a second between first_seen and last_seen when these are known, else of the range."`
	BPS        float64    `json:"bps" doc:"Bits a second, likewise."`
	BPP        float64    `json:"bpp" doc:"Bytes a packet."`
	DurationMS *float64   `json:"duration_ms" doc:"How long its flows last on average; null unless it was asked for."`
	FirstSeen  *time.Time `json:"first_seen" doc:"When its first flow began; null unless flows were read for it."`
	LastSeen   *time.Time `json:"last_seen" doc:"When its last flow ended; null unless flows were read for it."`
}

type topRest struct {
	Groups int64 `json:"groups" doc:"How many groups are not listed."`
	Sums
}

// Provenance says where an answer comes from and how to get it elsewhere.
type Provenance struct {
	Filter     string     `json:"filter" doc:"The filter in its canonical form."`
	Scaled     bool       `json:"scaled" doc:"Whether packets and bytes were multiplied by the sampling rate."`
	Sampling   string     `json:"sampling" enum:"none,known,unknown,mixed," doc:"What is known of the exporters' sampling: none, known, unknown or mixed; empty where nobody looked."`
	Source     string     `json:"source" doc:"What was read: flows, traffic_1m, traffic_1h, traffic_1d, several joined by +."`
	Resolution string     `json:"resolution" doc:"The finest time the source tells apart."`
	Exact      bool       `json:"exact" doc:"Whether every number is exact."`
	Cut        *Cut       `json:"cut" doc:"What retention removed of the range; null when nothing."`
	Remainder  *Remainder `json:"remainder" doc:"What roll-ups know of their smallest values only as a sum; null when nothing is missing."`
	TookMS     int64      `json:"took_ms" doc:"How long the database took, in milliseconds."`
	SQL        string     `json:"sql" doc:"SQL that gives the same answer."`
	Command    string     `json:"command" doc:"Command line that gives the same answer."`
}

// Cut says that a range begins before what is kept.
type Cut struct {
	From   time.Time `json:"from" doc:"Where what is kept begins."`
	Reason string    `json:"reason"`
}

// Remainder is how much of an answer roll-ups do not tell apart.
type Remainder struct {
	Share float64 `json:"share" doc:"Its part of the total by the measure asked for, 0 to 1."`
	Error int64   `json:"error" doc:"The most that a group which is not listed may have beyond what it was ranked with."`
}

// provenanceOf puts a provenance of the store into the API's words.
func provenanceOf(p query.Provenance) Provenance {
	a := Provenance{
		Filter: p.Filter, Scaled: p.Scaled, Sampling: p.Sampling, Source: p.Source, Resolution: p.Resolution, Exact: p.Exact,
		Cut: cutOf(p.Cut), TookMS: p.Took.Milliseconds(), SQL: p.SQL, Command: p.Command,
	}
	if p.Remainder != nil {
		r := Remainder(*p.Remainder)
		a.Remainder = &r
	}
	return a
}

func cutOf(c *query.Cut) *Cut {
	if c == nil {
		return nil
	}
	return &Cut{From: c.From.UTC(), Reason: c.Reason}
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
	Previous    []previous  `json:"previous" nullable:"false" doc:"The earlier periods that were asked for, the latest first."`
	Provenance

	columns []string
}

// previous is an earlier period of a Series, in the same buckets.
type previous struct {
	OffsetSeconds int64   `json:"offset_seconds" doc:"How much earlier it is."`
	Lines         []line  `json:"lines" nullable:"false" doc:"Of the same groups, in the same order."`
	Total         sumLine `json:"total"`
	Cut           *Cut    `json:"cut" doc:"What retention removed of it; null when nothing."`
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

	huma.Register(api, huma.Operation{
		OperationID: "top", Method: http.MethodGet, Path: pathTop,
		Summary:     "Top groups",
		Description: "The groups with most flows, packets or bytes in a range, what the others sum up to, and the total. As CSV: the listed groups.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.top)
	huma.Register(api, huma.Operation{
		OperationID: "series", Method: http.MethodGet, Path: pathSeries,
		Summary:     "Series over time",
		Description: "Flows, packets and bytes over time: one line for each of the top groups, one for the others, one for the total. As CSV: one row for each bucket and group; without a key, for each bucket.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.series)
	s.routeFlows(api)
	s.routeKeys(api)
	s.routeFilter(api)
	s.routeExporters(api)
	s.routeViews(api)
	s.routePreferences(api)
	s.routeSQL(api)
	s.routeNames(api)
	s.routeLogin(api)
	describe(api.OpenAPI())
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

// failures are the statuses that any operation may answer with.
var failures = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout}

func alsoCSV() map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Content: map[string]*huma.MediaType{
			"application/json": {},
			mediaCSV:           {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}}
}

// describe says in the document what the library cannot: that a reference may be
// null, and what a problem carries besides.
func describe(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	for _, schema := range schemas.Map() {
		for _, p := range schema.Properties {
			if p.Items != nil && p.Items.Type == huma.TypeArray {
				p.Items.Nullable = false // a list of lists has no null in it
			}
		}
		for _, name := range []string{"other", "cut", "remainder", "error", "summary", "counters"} {
			if p := schema.Properties[name]; p != nil && p.Ref != "" {
				schema.Properties[name] = &huma.Schema{
					AnyOf:       []*huma.Schema{{Ref: p.Ref}, {Type: "null"}},
					Description: p.Description,
				}
			}
		}
	}
	problem := schemas.Map()["ErrorModel"]
	problem.Properties["filter"] = schemas.Schema(reflect.TypeFor[FilterFault](), true, "FilterFault")
	problem.Properties["having"] = schemas.Schema(reflect.TypeFor[FilterFault](), true, "FilterFault")
	problem.Properties["sql"] = schemas.Schema(reflect.TypeFor[SQLFault](), true, "SQLFault")
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
			if len(all) > 1 && r.URL.Path != pathNames {
				writeProblem(w, r, http.StatusUnprocessableEntity,
					parameterSentence(strconv.Quote(name), "given more than once; several keys are joined by commas"))
				return
			}
			for _, v := range all {
				if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
					writeProblem(w, r, http.StatusUnprocessableEntity,
						parameterSentence(strconv.Quote(name), "not text: write it in UTF-8, without octets of zero"))
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// lostPlus is a time whose offset's plus sign was read as a space, as the rules
// for queries have it: 2026-11-21T10:00:00 01:00.
var lostPlus = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?) (\d\d:\d\d)$`)

// question turns parameters into a question of the store.
func (s *server) question(in Filtered, by query.Measure, key string, limit int) (query.Question, error) {
	q := query.Question{By: by, Limit: limit, Exporter: in.Exporter, Whole: in.Whole, Scaled: in.Scaled, Raw: in.Raw, Timeout: s.config.Timeout}
	var err error
	if q.From, q.To, err = s.rangeOf(in.Ranged); err != nil {
		return q, err
	}
	if key != "" {
		keys, err := query.ParseKeys(key)
		if err != nil {
			return q, parameterProblem("key", key, reason(err))
		}
		q.Keys = keys
	}
	if in.Filter != "" {
		if q.Filter, err = parseFilter("filter", in.Filter); err != nil {
			return q, err
		}
	}
	return q, nil
}

// rangeOf reads the range of a question.
func (s *server) rangeOf(in Ranged) (from, to time.Time, err error) {
	// What is written without a zone is UTC: the server's own would surprise
	// everyone who is elsewhere.
	now := s.now().UTC()
	for _, p := range []struct {
		name, value string
		to          *time.Time
	}{{"from", in.From, &from}, {"to", in.To, &to}} {
		t, err := query.ParseTime(lostPlus.ReplaceAllString(p.value, "$1+$2"), now)
		if err != nil {
			return from, to, parameterProblem(p.name, p.value, reason(err))
		}
		*p.to = t
	}
	if !from.Before(to) {
		return from, to, parameterProblem("from", in.From, fmt.Sprintf(
			"the range is empty: it starts at %s and ends at %s; from must be earlier than to",
			from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)))
	}
	return from, to, nil
}

// parseStep reads the width of a bucket; 0 leaves it to the store.
func parseStep(text string) (time.Duration, error) {
	if text == "auto" {
		return 0, nil
	}
	const how = "write auto, or whole seconds as 60s, 5m, 1h or 1d"
	var step time.Duration
	day := 24 * time.Hour
	days, ok := strings.CutSuffix(text, "d")
	if weeks, w := strings.CutSuffix(text, "w"); w {
		days, ok, day = weeks, true, 7*day
	}
	if ok {
		n, err := strconv.ParseUint(days, 10, 13)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration; %s", text, how)
		}
		step = time.Duration(n) * day
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
	q, err := s.question(in.Filtered, query.Measure(in.By), string(in.Key), in.Limit)
	if err != nil {
		return nil, err
	}
	if q.Having, err = parseHaving(in.Having); err != nil {
		return nil, err
	}
	t, err := ask(ctx, s, "top", func(ctx context.Context) (*query.Top, error) { return s.config.DB.Top(ctx, q) })
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
func (in Formatted) csv(ctx context.Context) bool {
	return in.Format == "csv" || in.Format == "" && ctx.Value(wantsCSV{}) == true
}

// NewTop puts a ranking of the store into the API's words.
func NewTop(t *query.Top) Top {
	a := Top{
		From: t.From.UTC(), To: t.To.UTC(), Key: query.JoinKeys(t.Keys), By: string(t.By), Limit: t.Limit,
		Rows: make([]topRow, len(t.Rows)), Total: Sums(t.Total),
		Provenance: provenanceOf(t.Provenance),
		columns:    columns(t.Keys),
	}
	for i, row := range t.Rows {
		a.Rows[i] = topRowOf(&row)
		if i == 0 {
			a.columns = columnsOf(row.Values)
		}
	}
	if t.Other != nil {
		a.Other = &topRest{Groups: t.Other.Groups, Sums: Sums(t.Other.Sums)}
	}
	return a
}

func topRowOf(row *query.TopRow) topRow {
	r := topRow{
		Values: valuesOf(row.Values), Label: row.Label, Sums: Sums(row.Sums), Share: row.Share, Error: row.Error,
		PPS: row.PPS, BPS: row.BPS, BPP: row.BPP, FirstSeen: moment(row.FirstSeen), LastSeen: moment(row.LastSeen),
	}
	if r.FirstSeen != nil {
		ms := float64(row.Duration) / float64(time.Millisecond)
		r.DurationMS = &ms
	}
	return r
}

// moment returns t in UTC, nil when it is zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *server) series(ctx context.Context, in *seriesInput) (*seriesOutput, error) {
	q, err := s.question(in.Filtered, query.Measure(in.By), string(in.Key), in.Limit)
	if err != nil {
		return nil, err
	}
	q.LayOver = in.LayOver
	if in.Period != "" {
		if q.Period, err = parseStep(in.Period); err != nil || q.Period == 0 {
			return nil, parameterProblem("period", in.Period, fmt.Sprintf("%q is not a duration; write whole seconds as 12h, 1d or 1w", in.Period))
		}
	}
	if q.Step, err = parseStep(in.Step); err != nil {
		return nil, parameterProblem("step", in.Step, reason(err))
	}
	if q.Step > 0 {
		q.MaxBuckets = query.MaxBuckets
	}
	t, err := ask(ctx, s, "series", func(ctx context.Context) (*query.Series, error) { return s.config.DB.Series(ctx, q) })
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
func NewSeries(t *query.Series) Series {
	a := Series{
		From: t.From.UTC(), To: t.To.UTC(), StepSeconds: int64(t.Step / time.Second),
		Key: query.JoinKeys(t.Keys), By: string(t.By),
		Starts: make([]time.Time, len(t.Start)), Lines: make([]line, len(t.Lines)), Total: sumLineOf(&t.Total, "total"),
		Previous:   make([]previous, len(t.Previous)),
		Provenance: provenanceOf(t.Provenance),
		columns:    columns(t.Keys),
	}
	for i, start := range t.Start {
		a.Starts[i] = start.UTC()
	}
	for i, l := range t.Lines {
		a.Lines[i] = lineOf(&l)
		if i == 0 {
			a.columns = columnsOf(l.Values)
		}
	}
	if t.Other != nil {
		other := sumLineOf(t.Other, "other")
		a.Other = &other
	}
	for i := range t.Previous {
		p := &t.Previous[i]
		a.Previous[i] = previous{int64(p.Offset / time.Second), make([]line, len(p.Lines)), sumLineOf(&p.Total, "total"), cutOf(p.Cut)}
		for j := range p.Lines {
			a.Previous[i].Lines[j] = lineOf(&p.Lines[j])
		}
	}
	return a
}

func lineOf(l *query.Line) line {
	return line{Values: valuesOf(l.Values), Label: l.Label, Flows: some(l.Flows), Packets: some(l.Packets), Bytes: some(l.Bytes)}
}

// reason is what is wrong with a parameter, without its name.
func reason(err error) string {
	if q, ok := errors.AsType[*query.Error](err); ok {
		return q.Reason
	}
	return err.Error()
}

// columns returns the SQL names of keys, for answers without a row to tell.
func columns(keys []query.Key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		name, _, _ := strings.Cut(string(k), "/")
		names[i] = strings.ReplaceAll(name, "-", "_")
	}
	return names
}

func columnsOf(vs []query.Value) []string {
	names := make([]string, len(vs))
	for i, v := range vs {
		names[i] = v.Column
	}
	return names
}

func valuesOf(vs []query.Value) values {
	m := make(values, len(vs))
	for _, v := range vs {
		m[v.Column] = v.V
	}
	return m
}

func sumLineOf(l *query.Line, label string) sumLine {
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
