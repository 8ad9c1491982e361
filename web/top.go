package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/query"
)

type topInput struct {
	Asked
	Key    keyParameter `query:"key" default:"src-addr" example:"src-addr,dst-addr"`
	Limit  int          `query:"limit" default:"10" minimum:"1" maximum:"10000" doc:"How many groups are listed; the rest is summed up in other."`
	Having string       `query:"having" example:"flows > 100 and bytes > 1m" doc:"Only groups whose sums meet this condition are listed."`
}

type topRow struct {
	Values values `json:"values"`
	Label  string `json:"label" doc:"The group in words."`
	Sums
	Share      *float64   `json:"share" doc:"Part of the total by the measure asked for, 0 to 1; null where the measure is no sum."`
	Error      int64      `json:"error" doc:"By how much the measure asked for may be too small; 0 when it is exact."`
	PPS        *float64   `json:"pps" doc:"Packets a second between first_seen and last_seen; null where these are not known, or the same."`
	BPS        *float64   `json:"bps" doc:"Bits a second, likewise."`
	BPP        *float64   `json:"bpp" doc:"Bytes a packet; null without packets."`
	DurationMS *float64   `json:"duration_ms" doc:"How long its flows last on average; null unless it was asked for."`
	FirstSeen  *time.Time `json:"first_seen" doc:"When its first flow began; null unless flows were read for it."`
	LastSeen   *time.Time `json:"last_seen" doc:"When its last flow ended; null unless flows were read for it."`
}

type topRest struct {
	Groups int64 `json:"groups" doc:"How many groups are not listed."`
	Sums
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

// The headers are empty for JSON, which huma writes by itself.
type topOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        Top
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
		out.ContentType, out.Disposition = in.csvHeaders("top", t.Keys, t.From, t.To)
	}
	return out, nil
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

func (s *server) routeTop(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "top", Method: http.MethodGet, Path: pathTop,
		Summary:     "Top groups",
		Description: "The groups with most flows, packets or bytes in a range, what the others sum up to, and the total. As CSV: the listed groups.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.top)
}
