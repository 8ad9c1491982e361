package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/console"
)

const pathDiagnosis = "/api/v1/exporters/{id}/diagnosis"

type exporterID struct {
	ID int32 `path:"id" doc:"The exporter's id; 0 is the collector as a whole."`
}

type check struct {
	Name   string `json:"name" doc:"A fixed word: traffic, templates, records, decoding, loss, buffer, clock, times, sampling, identity, limits, restarts, storage, retention, strangers, numbering."`
	OK     bool   `json:"ok"`
	Text   string `json:"text" doc:"What was found."`
	Advice string `json:"advice" doc:"What to change; empty when nothing."`
}

// Diagnosis says why nothing, or not all, is seen of an exporter.
type Diagnosis struct {
	ExporterID int64                    `json:"exporter_id"`
	Exporter   string                   `json:"exporter" doc:"Its label; empty for the collector as a whole."`
	OK         bool                     `json:"ok" doc:"Whether every check is."`
	Health     console.Health           `json:"health" doc:"The word for how it fares, as in the list of exporters; empty for the collector as a whole."`
	HealthText string                   `json:"health_text" doc:"The same in a few words, as in the list of exporters."`
	Headline   string                   `json:"headline" doc:"What to read first: the gravest finding, which health is the word of."`
	Checks     []check                  `json:"checks" nullable:"false"`
	Counters   *console.ExporterDetails `json:"counters" doc:"What the collector knows of it; null before its first report and for the collector as a whole."`
}

type diagnosisOutput struct{ Body Diagnosis }

func (s *server) diagnosis(ctx context.Context, in *exporterID) (*diagnosisOutput, error) {
	d, err := ask(ctx, s, "diagnosis", func(ctx context.Context) (*console.Diagnosis, error) {
		d, err := s.config.DB.Diagnosis(ctx, flow.ExporterID(in.ID))
		if q, ok := errors.AsType[*query.Error](err); ok && q.Parameter == "exporter" {
			err = fmt.Errorf("exporter %d: %w", in.ID, console.ErrNotFound)
		}
		return d, err
	})
	if err != nil {
		return nil, err
	}
	return &diagnosisOutput{newDiagnosis(d)}, nil
}

// newDiagnosis puts the findings of a diagnosis into words.
func newDiagnosis(d *console.Diagnosis) Diagnosis {
	a := Diagnosis{ExporterID: int64(d.ID), Exporter: d.Label, OK: true, Headline: "all is well", Checks: make([]check, len(d.Findings)), Counters: d.Status}
	for i, f := range d.Findings {
		a.Checks[i] = checkOf(f)
	}
	if worst := console.Gravest(d.Findings); worst != nil {
		c := checkOf(*worst)
		a.OK, a.Headline = false, c.Text
		if c.Advice != "" {
			a.Headline += ": " + c.Advice
		}
	}
	if d.ID != 0 {
		a.Health, a.HealthText = console.HealthOf(d.Findings), HealthText(d.Findings)
	}
	return a
}

// checkOf puts a finding into words.
func checkOf(f console.Finding) check {
	text, advice := findingWords(f)
	return check{Name: string(f.Code.Check()), OK: f.Code.OK(), Text: text, Advice: advice}
}

func (s *server) routeDiagnosis(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "diagnosis", Method: http.MethodGet, Path: pathDiagnosis,
		Summary:     "Why do I see nothing?",
		Description: "Looks at all that is known of an exporter, the gravest first; of 0, at the collector as a whole.",
		Errors:      append([]int{http.StatusNotFound}, failures...),
	}, s.diagnosis)
}
