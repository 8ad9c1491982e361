package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/store/console"
)

const pathLoss = "/api/v1/loss"

type lossInput struct {
	Ranged
}

type loss struct {
	Stage  string `json:"stage" doc:"Where it was lost: exporter (by its own word), way, receive, decode, store."`
	Cause  string `json:"cause"`
	Unit   string `json:"unit" enum:"packet,record,event,datagram,set,file"`
	Count  int64  `json:"count"`
	Brief  string `json:"brief" doc:"How much of what, in a few words: 5 sets without template."`
	Lost   bool   `json:"lost" doc:"Whether that is a loss: what an exporter does not meter by design is none."`
	Text   string `json:"text" doc:"What that means."`
	Advice string `json:"advice" doc:"What would change it; empty when nothing."`
}

type stage struct {
	Name    string `json:"name" enum:"seen,metered,sent,received,decoded,stored"`
	Unit    string `json:"unit" doc:"What count counts."`
	Count   *int64 `json:"count" doc:"How many came to this stage; null where the collector cannot know: of packets seen, where not all exporters tell."`
	Exact   bool   `json:"exact" doc:"Whether all that was lost before and behind is known in this unit; else count is the least it can be."`
	ToldBy  int    `json:"told_by" doc:"How many of the exporters tell what is lost here; 0: nobody knows whether anything was. What the collector sees by itself is told of all."`
	ToldOf  int    `json:"told_of" doc:"How many exporters sent in the range."`
	Losses  []loss `json:"losses" nullable:"false" doc:"What the stage before had and this one has not."`
	OfWhich []loss `json:"of_which" nullable:"false" doc:"A part of the losses that is known better."`
}

type lossMinute struct {
	Minute     time.Time `json:"minute"`
	ExporterID int64     `json:"exporter_id" doc:"0 when it cannot be told whose it was."`
	Exporter   string    `json:"exporter"`
	Stage      string    `json:"stage"`
	Cause      string    `json:"cause"`
	Unit       string    `json:"unit"`
	Count      int64     `json:"count"`
	Owner      string    `json:"owner" enum:"exporter,collector,stranger" doc:"Whose loss it is: the exporter's, the collector's own (flows of any exporter may be among it), or of who is no exporter, so that no flow is missing."`
	Drawn      bool      `json:"drawn" doc:"Whether answers are too low because of it, as a graph marks: not for what strangers sent, nor for what is not metered by design, nor, when all exporters are asked for, for one that is left out or of which no flow was ever read."`
	Brief      string    `json:"brief" doc:"How much of what, in a few words."`
}

// Ledger is what became of everything from the packets that an exporter saw to
// the rows stored.
type Ledger struct {
	From      time.Time    `json:"from" doc:"Whole minutes."`
	To        time.Time    `json:"to"`
	Exporter  string       `json:"exporter" doc:"The one asked for; empty for all."`
	Stages    []stage      `json:"stages" nullable:"false" doc:"The way of a flow, in its order."`
	Totals    []loss       `json:"totals" nullable:"false" doc:"What was lost, by cause."`
	Minutes   []lossMinute `json:"minutes" nullable:"false" doc:"The ledger's rows, the latest first."`
	Truncated bool         `json:"truncated" doc:"Whether there are more minutes than are listed; the totals are of all."`
}

type lossOutput struct{ Body Ledger }

func (s *server) loss(ctx context.Context, in *lossInput) (*lossOutput, error) {
	from, to, err := s.rangeOf(in.Ranged)
	if err != nil {
		return nil, err
	}
	l, err := ask(ctx, s, "loss", func(ctx context.Context) (*console.Losses, error) {
		return s.config.DB.Loss(ctx, from, to, in.Exporter)
	})
	if err != nil {
		return nil, err
	}
	a := Ledger{
		From: l.From.UTC(), To: l.To.UTC(), Exporter: l.Exporter, Stages: make([]stage, len(l.Steps)), Totals: lossesOf(l.Totals),
		Minutes: make([]lossMinute, len(l.Rows)), Truncated: l.Truncated,
	}
	for i, step := range l.Steps {
		a.Stages[i] = stage{step.Name, "record", step.Records, step.Exact, step.ToldBy, step.Of, lossesOf(step.Lost), lossesOf(step.OfWhich)}
		if step.Name == "seen" {
			a.Stages[i].Unit = "packet"
		}
	}
	for i, r := range l.Rows {
		a.Minutes[i] = lossMinute{r.Minute.UTC(), int64(r.ExporterID), r.Exporter, r.Stage, r.Cause, r.Unit, r.Count, string(r.Owner), r.Drawn,
			lossBrief(console.LossTotal{Stage: r.Stage, Cause: r.Cause, Unit: r.Unit, Count: r.Count})}
	}
	return &lossOutput{a}, nil
}

// lossesOf puts losses into words.
func lossesOf(list []console.LossTotal) []loss {
	out := make([]loss, len(list))
	for i, t := range list {
		w := lossWords[causeOf(t)]
		out[i] = loss{t.Stage, t.Cause, t.Unit, t.Count, lossBrief(t), t.Lost(), w.text, w.advice}
	}
	return out
}

func (s *server) routeLoss(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "loss", Method: http.MethodGet, Path: pathLoss,
		Summary:     "The ledger",
		Description: "What was lost in a range, where, when and why, and the way of all flows from seen to stored.",
		Errors:      failures,
	}, s.loss)
}
