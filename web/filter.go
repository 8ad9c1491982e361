package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/filter"
	"flowtally/query"
)

const (
	pathFilterCheck    = "/api/v1/filter/check"
	pathFilterComplete = "/api/v1/filter/complete"
)

// FilterFault says where a filter, or a condition on sums, is wrong. Like Sums it is exported for the
// library's sake.
type FilterFault struct {
	Offset  int      `json:"offset" doc:"Where the part that is meant begins, in bytes of the text in UTF-8."`
	End     int      `json:"end" doc:"Where it ends; equal to offset where something is missing."`
	Column  int      `json:"column" doc:"Where it begins, in characters from 1."`
	Message string   `json:"message" doc:"The complaint."`
	Suggest []string `json:"suggest" nullable:"false" doc:"Words that may have been meant, the likeliest first."`
}

func filterFault(e *filter.Error) *FilterFault {
	f := &FilterFault{Offset: e.Offset, End: e.End, Column: e.Column(), Message: e.Msg, Suggest: e.Suggest}
	if f.Suggest == nil {
		f.Suggest = []string{}
	}
	return f
}

// filterProblem is a problem document about a filter, or a condition on sums:
// where it is wrong is an extension member.
type filterProblem struct {
	huma.ErrorModel
	Filter *FilterFault `json:"filter,omitempty"`
	Having *FilterFault `json:"having,omitempty"`
}

// parseFilter reads the filter that a parameter holds; its times are seen from now.
func parseFilter(parameter, text string, now time.Time) (*filter.Filter, error) {
	return parseFilterWith(filter.ParseAt, parameter, text, now)
}

// parseFilterWith reads a filter of flows or of events.
func parseFilterWith(parse func(string, time.Time) (*filter.Filter, error), parameter, text string, now time.Time) (*filter.Filter, error) {
	f, err := parse(text, now)
	if err == nil {
		return f, nil
	}
	e, ok := errors.AsType[*filter.Error](err)
	if !ok {
		return nil, parameterProblem(parameter, text, err.Error())
	}
	p := &filterProblem{Filter: filterFault(e)}
	if m, ok := errors.AsType[*huma.ErrorModel](parameterProblem(parameter, text, strings.TrimPrefix(e.Error(), "filter: "))); ok {
		p.ErrorModel = *m
	}
	return nil, p
}

// parseHaving reads a condition on sums.
func parseHaving(text string) (*query.Having, error) {
	h, err := query.ParseHaving(text)
	if err == nil {
		return h, nil
	}
	p := &filterProblem{Having: havingFault(text, err)}
	if m, ok := errors.AsType[*huma.ErrorModel](parameterProblem("having", text, reason(err))); ok {
		p.ErrorModel = *m
	}
	return nil, p
}

func havingFault(text string, err error) *FilterFault {
	f := &FilterFault{Message: reason(err), Suggest: []string{}}
	if q, ok := errors.AsType[*query.Error](err); ok {
		f.Offset, f.End = q.Offset, q.End
	}
	f.Column = utf8.RuneCountInString(text[:f.Offset]) + 1
	return f
}

type filterCheckInput struct {
	Zoned
	Body struct {
		Filter string `json:"filter,omitempty" doc:"The filter's text." maxLength:"10240"`
		Of     string `json:"of,omitempty" enum:"flows,events" default:"flows" doc:"What the filter is of: flows, or events of firewalls and translators."`
		Having string `json:"having,omitempty" doc:"A condition on the sums of a group, to be checked in the filter's place." maxLength:"10240"`
	}
}

type filterCheckAnswer struct {
	OK        bool         `json:"ok"`
	Canonical string       `json:"canonical" doc:"The filter as answers and saved views write it, its times in UTC; empty when it is wrong, or matches everything."`
	Terms     int          `json:"terms" doc:"How many conditions are joined by and."`
	Error     *FilterFault `json:"error" doc:"Where it is wrong; null when it is not."`
}

type filterCheckOutput struct{ Body filterCheckAnswer }

func (s *server) filterCheck(_ context.Context, in *filterCheckInput) (*filterCheckOutput, error) {
	out := &filterCheckOutput{}
	if in.Body.Having != "" {
		h, err := query.ParseHaving(in.Body.Having)
		if err != nil {
			out.Body.Error = havingFault(in.Body.Having, err)
			return out, nil
		}
		out.Body = filterCheckAnswer{OK: true, Canonical: h.String(), Terms: 1}
		return out, nil
	}
	now, err := s.clock(in.Zoned)
	if err != nil {
		return nil, err
	}
	parse := filter.ParseAt
	if in.Body.Of == "events" {
		parse = filter.ParseEventsAt
	}
	f, err := parse(in.Body.Filter, now)
	if e, ok := errors.AsType[*filter.Error](err); ok {
		out.Body.Error = filterFault(e)
		return out, nil
	} else if err != nil {
		return nil, err
	}
	out.Body = filterCheckAnswer{OK: true, Canonical: f.String(), Terms: len(f.Conjuncts())}
	return out, nil
}

type filterCompleteInput struct {
	Text   string `query:"text" doc:"The filter's text." maxLength:"10240"`
	Of     string `query:"of" enum:"flows,events" default:"flows" doc:"What the filter is of: flows, or events of firewalls and translators."`
	Offset int    `query:"offset" default:"-1" doc:"Where the cursor stands, in bytes of the text in UTF-8; without it, at the end."`
}

type completion struct {
	Text   string `json:"text" doc:"What to put there; empty for a placeholder, which only says what belongs there."`
	Kind   string `json:"kind" doc:"keyword, field, operator or value; of a placeholder the kind of value."`
	Detail string `json:"detail" doc:"What it is."`
}

type filterCompleteAnswer struct {
	From    int          `json:"from" doc:"The options replace the bytes of the text from here …"`
	To      int          `json:"to" doc:"… to here."`
	Options []completion `json:"options" nullable:"false"`
}

type filterCompleteOutput struct{ Body filterCompleteAnswer }

// completionWait is how long completion waits for what was seen lately. What
// comes later is there for the next letter.
const completionWait = 40 * time.Millisecond

// mostValues is how many values are offered.
const mostValues = 30

func (s *server) filterComplete(ctx context.Context, in *filterCompleteInput) (*filterCompleteOutput, error) {
	if in.Offset < 0 || in.Offset > len(in.Text) {
		in.Offset = len(in.Text)
	}
	out := &filterCompleteOutput{Body: filterCompleteAnswer{From: in.Offset, To: in.Offset, Options: []completion{}}}
	complete := filter.Complete
	if in.Of == "events" {
		complete = filter.CompleteEvents
	}
	for i, c := range complete(in.Text, in.Offset) {
		if i == 0 {
			out.Body.From, out.Body.To = c.Start, c.End
		}
		// Values go before their placeholder.
		if c.Text == "" {
			begun := strings.ToLower(strings.Trim(in.Text[min(c.Start, in.Offset):in.Offset], `"'`))
			out.Body.Options = append(out.Body.Options, s.lately.values(ctx, s, c.Kind, begun)...)
		}
		out.Body.Options = append(out.Body.Options, completion{c.Text, c.Kind, c.Detail})
	}
	return out, nil
}

// lately remembers what was seen lately: values that completion offers.
type lately struct {
	mu    sync.Mutex
	kinds map[string]*latelyKind
}

type latelyKind struct {
	values []completion
	asked  time.Time
	done   chan struct{} // closed when the values are there; nil before the first
}

// latelyFresh is how old values may be before they are asked for anew.
const latelyFresh = 30 * time.Second

// values returns those of a kind that begin like a word. It waits for them no
// longer than completionWait, and asks the database once for all.
func (l *lately) values(ctx context.Context, s *server, kind, begun string) []completion {
	ask := map[string]func(context.Context, *server) []completion{
		"address": addressesLately, "exporter": exportersLately, "interface": interfacesLately,
	}[kind]
	if ask == nil {
		return nil
	}
	l.mu.Lock()
	if l.kinds == nil {
		l.kinds = make(map[string]*latelyKind)
	}
	k := l.kinds[kind]
	if k == nil || k.done == nil || isClosed(k.done) && s.now().Sub(k.asked) > latelyFresh {
		old := k
		k = &latelyKind{asked: s.now(), done: make(chan struct{})}
		if old != nil {
			k.values = old.values
		}
		l.kinds[kind] = k
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			defer close(k.done)
			values := ask(ctx, s)
			l.mu.Lock()
			k.values = values
			l.mu.Unlock()
		}()
	}
	l.mu.Unlock()
	wait := time.NewTimer(completionWait)
	defer wait.Stop()
	select {
	case <-k.done:
	case <-wait.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	values := k.values
	l.mu.Unlock()
	var out []completion
	for _, v := range values {
		if len(out) < mostValues && strings.HasPrefix(strings.ToLower(strings.Trim(v.Text, `"'`)), begun) {
			out = append(out, v)
		}
	}
	return out
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// addressesLately are those with most flows in the last hour.
func addressesLately(ctx context.Context, s *server) []completion {
	now := s.now().UTC()
	t, err := s.config.DB.Top(ctx, query.Question{From: now.Add(-time.Hour), To: now, Keys: []query.Key{query.KeyAddr}, By: query.ByFlows, Limit: 500, Timeout: 4 * time.Second})
	if err != nil {
		s.log.Debug("completion without addresses", "err", err)
		return nil
	}
	var out []completion
	for _, row := range t.Rows {
		if len(row.Values) == 1 {
			if a, ok := row.Values[0].V.(string); ok {
				out = append(out, completion{a, "value", "seen in the last hour"})
			}
		}
	}
	return out
}

func exportersLately(ctx context.Context, s *server) []completion {
	rows, err := s.config.DB.Exporters(ctx)
	if err != nil {
		s.log.Debug("completion without exporters", "err", err)
		return nil
	}
	var out []completion
	for _, r := range rows {
		if text, ok := word(r.Label); ok {
			out = append(out, completion{text, "value", r.Addr.String()})
		}
	}
	return distinct(out)
}

func interfacesLately(ctx context.Context, s *server) []completion {
	rows, err := s.config.DB.Interfaces(ctx, "")
	if err != nil {
		s.log.Debug("completion without interfaces", "err", err)
		return nil
	}
	var out []completion
	for _, r := range rows {
		if text, ok := word(r.Name); ok {
			out = append(out, completion{text, "value", r.Exporter})
		}
	}
	return distinct(out)
}

// word writes a name into a filter: as it is when it is a word, else quoted.
func word(name string) (string, bool) {
	quoted, ok := filter.Quote(name)
	if !ok {
		return "", false
	}
	// An address, say, or edge-1 need no quotes; a keyword or a number would be
	// taken for one.
	if f, err := filter.Parse("exporter " + name); err == nil && f.String() == "exporter "+name {
		return name, true
	}
	return quoted, true
}

func distinct(list []completion) []completion {
	seen := make(map[string]bool)
	return slices.DeleteFunc(list, func(c completion) bool {
		had := seen[c.Text]
		seen[c.Text] = true
		return had
	})
}

func (s *server) routeFilter(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "filter-check", Method: http.MethodPost, Path: pathFilterCheck,
		Summary:     "Check a filter",
		Description: "Parses a filter as the questions do. A wrong filter is not an error of this call: the answer says where it is wrong and what may have been meant.",
		Errors:      failures,
	}, s.filterCheck)
	huma.Register(api, huma.Operation{
		OperationID: "filter-complete", Method: http.MethodGet, Path: pathFilterComplete,
		Summary:     "Complete a filter",
		Description: "What could stand at a place of a filter: words of the language, and addresses, exporters and interfaces that were seen lately.",
		Errors:      failures,
	}, s.filterComplete)
}
