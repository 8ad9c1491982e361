package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
	"flowtally/query"
)

type seriesInput struct {
	Asked
	Key   optionalKey `query:"key" example:"protocol"`
	Limit int         `query:"limit" default:"8" minimum:"1" maximum:"100" doc:"How many groups get a line; the rest is summed up in other."`
	Step  string      `query:"step" default:"auto" example:"60s" doc:"Width of a bucket: auto, or a duration of whole seconds such as 60s, 5m, 1h, 1d, or months: 1mo. Days, weeks (from Monday on) and months are those of the zone. auto makes at most 300 buckets; a range has at most 1,500."`

	LayOver int    `query:"lay_over" default:"0" minimum:"0" maximum:"8" doc:"How many earlier periods are laid over: previous has one series for each."`
	Period  string `query:"period" example:"1w" doc:"How far apart the periods are: 1d, 1w, 1mo or another duration of whole seconds; days and months go by the clock of the zone. Empty: the length of the range, rounded up to whole days, or to whole buckets of months."`
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
	StepSeconds int64       `json:"step_seconds" doc:"Width of a bucket; of days, weeks and months of a zone, which are not all as long, the usual one: a bucket ends where the next one starts."`
	Step        string      `json:"step" doc:"The same as it is asked for: 5m, 24h, 1mo."`
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
	OffsetSeconds int64   `json:"offset_seconds" doc:"How much earlier it is, on the clock of the zone."`
	Lines         []line  `json:"lines" nullable:"false" doc:"Of the same groups, in the same order."`
	Total         sumLine `json:"total"`
	Cut           *Cut    `json:"cut" doc:"What retention removed of it; null when nothing."`
}

type seriesOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        Series
}

func (s *server) series(ctx context.Context, in *seriesInput) (*seriesOutput, error) {
	q, err := s.question(in.Filtered, query.Measure(in.By), string(in.Key), in.Limit)
	if err != nil {
		return nil, err
	}
	q.LayOver = in.LayOver
	if in.Period != "" {
		if q.Period, q.PeriodMonths, err = query.ParseStep(in.Period); err != nil || q.Period == 0 && q.PeriodMonths == 0 {
			return nil, parameterProblem("period", in.Period, fmt.Sprintf("%q is not a duration; write whole seconds as 12h, 1d or 1w, or months as 1mo", in.Period))
		}
	}
	if err = readStep(&q, in.Step); err != nil {
		return nil, err
	}
	t, err := ask(ctx, s, "series", func(ctx context.Context) (*query.Series, error) { return s.config.DB.Series(ctx, q) })
	if err != nil {
		return nil, err
	}
	out := &seriesOutput{Body: NewSeries(t)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = in.csvHeaders("series", t.Keys, t.From, t.To)
	}
	return out, nil
}

// readStep reads the width of the buckets.
func readStep(q *query.Question, text string) (err error) {
	if q.Step, q.StepMonths, err = query.ParseStep(text); err != nil {
		return parameterProblem("step", text, reason(err))
	}
	if q.Step > 0 || q.StepMonths > 0 {
		q.MaxBuckets = query.MaxBuckets
	}
	return nil
}

// stepOf is the width of a bucket as it is asked for.
func stepOf(step time.Duration, months int) string {
	return query.FormatStep(flow.Time(step/time.Millisecond), months)
}

// NewSeries puts a series of the store into the API's words.
func NewSeries(t *query.Series) Series {
	a := Series{
		From: t.From.UTC(), To: t.To.UTC(), StepSeconds: int64(t.Step / time.Second), Step: stepOf(t.Step, t.StepMonths),
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

func sumLineOf(l *query.Line, label string) sumLine {
	if l.Label != "" {
		label = l.Label
	}
	return sumLine{Label: label, Flows: some(l.Flows), Packets: some(l.Packets), Bytes: some(l.Bytes)}
}

func (s *server) routeSeries(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "series", Method: http.MethodGet, Path: pathSeries,
		Summary:     "Series over time",
		Description: "Flows, packets and bytes over time: one line for each of the top groups, one for the others, one for the total. As CSV: one row for each bucket and group; without a key, for each bucket.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.series)
}
