package web

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/filter"
	"flowtally/query"
)

const pathEvents = "/api/v1/events"

type eventsInput struct {
	Ranged
	Formatted
	Filter string `query:"filter" example:"asa event denied and dst port 443" doc:"Only events that match this filter (docs/filter.md, events). Empty: all."`
	Order  string `query:"order" default:"desc" enum:"desc,asc" doc:"desc: the latest first."`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"10000" doc:"How many events are listed."`
	After  string `query:"after" doc:"The next of the page before; empty for the first page."`
}

// eventRow is one event, its columns by their SQL names.
type eventRow map[string]any

// Schema names the columns, which docs/schema.md describes.
func (eventRow) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{
		Type: huma.TypeObject, Properties: map[string]*huma.Schema{}, Required: append([]string{}, query.EventColumns...),
		Description: "One event: all columns of the view events (docs/schema.md), null where it has none.",
	}
	for _, column := range query.EventTable {
		c := &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
		switch column.Type {
		case "timestamptz":
			c = &huma.Schema{Type: huma.TypeString, Format: "date-time"}
		case "inet", "text":
			c = &huma.Schema{Type: huma.TypeString}
		case "jsonb":
			c = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
		}
		if column.Null {
			c = &huma.Schema{AnyOf: []*huma.Schema{c, {Type: "null"}}}
		}
		s.Properties[column.Name] = c
	}
	return s
}

// Events is a page of events in the API's words.
type Events struct {
	From  time.Time  `json:"from"`
	To    time.Time  `json:"to"`
	Order string     `json:"order"`
	Limit int        `json:"limit"`
	Rows  []eventRow `json:"rows" nullable:"false"`
	Next  *string    `json:"next" doc:"What after takes for the next page; null when this is the last."`
	Provenance

	columns []string
}

type eventsOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Link        string `header:"Link" doc:"The next page, with rel=\"next\" (RFC 8288), also of CSV; absent when this is the last. Its range stands still."`
	Body        Events
}

func (s *server) events(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	q := query.EventsQuestion{Exporter: in.Exporter, Limit: in.Limit, Ascending: in.Order == "asc", After: in.After, Timeout: s.config.Timeout}
	now, err := s.clock(in.Zoned)
	if err != nil {
		return nil, err
	}
	if q.From, q.To, err = rangeAt(now, in.Ranged); err != nil {
		return nil, err
	}
	if in.Zone != "" {
		q.Zone = now.Location()
	}
	if in.Filter != "" {
		if q.Filter, err = parseFilterWith(filter.ParseEventsAt, "filter", in.Filter, now); err != nil {
			return nil, err
		}
	}
	e, err := ask(ctx, s, "events", func(ctx context.Context) (*query.Events, error) { return s.config.DB.Events(ctx, q) })
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{Body: NewEvents(e), Link: nextPage(ctx, e.From, e.To, e.Next)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = in.csvHeaders("events", nil, e.From, e.To)
	}
	return out, nil
}

// NewEvents puts a page of events of the store into the API's words.
func NewEvents(e *query.Events) Events {
	a := Events{
		From: e.From.UTC(), To: e.To.UTC(), Order: "desc", Limit: e.Limit, Rows: make([]eventRow, len(e.Rows)),
		Provenance: provenanceOf(e.Provenance), columns: e.Columns,
	}
	if e.Ascending {
		a.Order = "asc"
	}
	if e.Next != "" {
		a.Next = &e.Next
	}
	for i, values := range e.Rows {
		row := make(eventRow, len(values))
		for j, v := range values {
			if raw, ok := v.(json.RawMessage); ok && len(raw) == 0 {
				v = nil
			}
			row[e.Columns[j]] = v
		}
		a.Rows[i] = row
	}
	return a
}

func (s *server) routeEvents(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: pathEvents,
		Summary: "Events of firewalls and translators",
		Description: "What firewalls and address translators did, page by page: connections created, torn down and denied, translations added and deleted, " +
			"blocks of ports given to subscribers. No ranking and no sum of flows has them. As CSV: the page.",
		Responses: alsoCSV(), Errors: failures,
	}, s.events)
}
