package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
	"flowtally/store/console"
)

const pathExporter = "/api/v1/exporters/{id}"

type exporterRow struct {
	ID                int64     `json:"id"`
	Name              string    `json:"name" doc:"The name it was given; empty when none was."`
	Label             string    `json:"label" doc:"What it is called, as no other is, and what exporter= and the filter take for it: its name, else its address, with the observation domain where several share it."`
	NamedBy           string    `json:"named_by" enum:"people,listener,announced,dns,address" doc:"Whose name the label is: people's; listener, that of the one it came in on; announced, its own, told in options; dns, that of its address; address, nobody's."`
	Unnamed           string    `json:"unnamed" doc:"What it is called when people do not name it."`
	Color             string    `json:"color" doc:"The colour it was given, as #1f77b4; empty when none was."`
	Note              string    `json:"note" doc:"What people noted about it."`
	Addr              string    `json:"addr"`
	ObservationDomain int64     `json:"observation_domain"`
	Version           int64     `json:"version" doc:"NetFlow version last seen: 5, 9 or 10 (IPFIX)."`
	FirstSeen         time.Time `json:"first_seen"`
	LastSeen          time.Time `json:"last_seen"`
	Silent            bool      `json:"silent" doc:"Whether nothing came from it for five minutes."`
	Health            string    `json:"health" enum:"healthy,silent,losing,waiting" doc:"silent: nothing came for five minutes; waiting: data came whose template did not; losing: something was lost in the last hour."`
	LeftOut           bool      `json:"left_out_of_loss" doc:"Whether its losses are left out of the totals of all exporters."`
	LostLastHour      int64     `json:"lost_last_hour" doc:"What the ledger has for it in the last hour: records, datagrams and packets together."`
	Datagrams         int64     `json:"datagrams"`
	Records           int64     `json:"records"`
	Packets           int64     `json:"packets"`
	Bytes             int64     `json:"bytes"`
	Templates         int64     `json:"templates" doc:"How many it has announced that still hold."`
	SamplingRate      *int64    `json:"sampling_rate" doc:"One packet in this many is seen: the rate that counts now; null when nobody has said one."`
	SamplingRateSet   *int64    `json:"sampling_rate_set" doc:"What people say; null when they do not."`
	SamplingState     string    `json:"sampling_state" enum:"announced,configured,told,unknown" doc:"Who said the rate that counts now: announced, the exporter; configured, people, on its page; told, whoever started the collector, with --sampling; unknown, nobody."`
	SamplingFrom      *string   `json:"sampling_from" format:"date-time" doc:"From when on what people say holds; null: always."`
	SamplingMode      string    `json:"sampling_mode" enum:"instead,unknown" doc:"Where what people say holds: instead of what it announces or the collector was told, or only where that is unknown."`
	// What options said, and what its numbers were seen to count.
	SamplingAt          *time.Time `json:"sampling_at" doc:"When it announced its rate last; null when that is not known."`
	SamplingProvisional bool       `json:"sampling_provisional" doc:"Whether it started again since and has not yet announced it again."`
	Numbering           string     `json:"numbering" doc:"What its sequence numbers count: records, messages, flows, all, data_messages, nothing; with _after those of the message itself too; empty before that is known."`
	ClockOffsetMS       int64      `json:"clock_offset_ms" doc:"The exporter's clock less ours, in milliseconds."`
}

type collectorInfo struct {
	Listen string `json:"listen" doc:"Where the collector takes datagrams; empty when this server was not told."`
}

type exportersAnswer struct {
	Exporters []exporterRow `json:"exporters" nullable:"false"`
	Collector collectorInfo `json:"collector"`
}

type exportersOutput struct{ Body exportersAnswer }

// silence is how long an exporter may send nothing and be called healthy.
const silence = 5 * time.Minute

// samplingStates are the API's words for who said a rate, unknown being nobody's.
var samplingStates = map[console.RateBy]string{
	console.RateByExporter: "announced", console.RateByPeople: "configured", console.RateByCollector: "told",
}

// exporterRowOf puts a row of the store into the API's words.
func exporterRowOf(r *console.ExporterRow, state console.ExporterState, now time.Time) exporterRow {
	e := exporterRow{
		ID: int64(r.ID), Name: r.Name, Label: r.Label, NamedBy: string(r.NamedBy), Unnamed: r.Unnamed(), Color: state.Color, Note: state.Note,
		Addr: r.Addr.String(), ObservationDomain: int64(r.ObservationDomain),
		Version: int64(r.Version), FirstSeen: r.FirstSeen.UTC(), LastSeen: r.LastSeen.UTC(),
		Silent: now.Sub(r.LastSeen) > silence, Health: "healthy", LostLastHour: state.LostLastHour,
		Datagrams: r.Datagrams, Records: r.Records, Packets: r.Packets, Bytes: r.Bytes, Templates: r.Templates,
		SamplingRate: r.SamplingRate, SamplingRateSet: state.ExporterWords.SamplingRate, SamplingState: "unknown", SamplingMode: "instead",
		ClockOffsetMS: r.ClockOffset.Milliseconds(), SamplingAt: state.AnnouncedAt, SamplingProvisional: state.Provisional, Numbering: state.Numbering,
	}
	if s, ok := samplingStates[state.RateBy]; ok {
		e.SamplingState = s
	} else if e.SamplingRate != nil {
		e.SamplingState = "announced"
	}
	if state.SamplingWhereUnknown {
		e.SamplingMode = "unknown"
	}
	if t := state.SamplingFrom; t != nil {
		e.SamplingFrom = new(t.UTC().Format(time.RFC3339))
	}
	switch {
	case e.Silent:
		e.Health = "silent"
	case state.Waiting:
		e.Health = "waiting"
	case e.LostLastHour > 0:
		e.Health = "losing"
	}
	return e
}

// exporterRows asks for all exporters.
func (s *server) exporterRows(ctx context.Context) ([]exporterRow, error) {
	rows, err := ask(ctx, s, "exporters", s.config.DB.Exporters)
	if err != nil {
		return nil, err
	}
	states, err := ask(ctx, s, "exporters", s.config.DB.ExporterStates)
	if err != nil {
		return nil, err
	}
	leftOut, err := ask(ctx, s, "exporters", s.config.DB.LeftOut)
	if err != nil {
		return nil, err
	}
	list := make([]exporterRow, len(rows))
	for i := range rows {
		list[i] = exporterRowOf(&rows[i], states[rows[i].ID], s.now())
		list[i].LeftOut = leftOut[rows[i].ID]
	}
	return list, nil
}

func (s *server) exporters(ctx context.Context, _ *struct{}) (*exportersOutput, error) {
	list, err := s.exporterRows(ctx)
	if err != nil {
		return nil, err
	}
	return &exportersOutput{exportersAnswer{list, collectorInfo{s.config.CollectorListen}}}, nil
}

type exporterInput struct {
	ID   int32 `path:"id"`
	Body struct {
		Name         string     `json:"name" doc:"What to call it: one line, different from the others'; empty: its address." maxLength:"100"`
		Color        string     `json:"color,omitempty" example:"#1f77b4" doc:"Its colour in graphs; empty for one that is free."`
		Note         string     `json:"note,omitempty" doc:"Anything worth knowing about it." maxLength:"4096"`
		SamplingRate *int64     `json:"sampling_rate,omitempty" minimum:"1" maximum:"2147483647" doc:"N of 1:N, in place of what it announces; null or absent: as announced."`
		SamplingMode string     `json:"sampling_mode,omitempty" enum:"instead,unknown" default:"instead" doc:"Whether the rate holds instead of what the exporter announces and the collector was told, or only where that is unknown."`
		SamplingFrom *time.Time `json:"sampling_from,omitempty" doc:"From when on the rate holds, cut to the minute; null or absent: always, also for what is stored."`
	}
}

type exporterOutput struct{ Body exporterRow }

func (s *server) putExporter(ctx context.Context, in *exporterInput) (*exporterOutput, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	id := flow.ExporterID(in.ID)
	w := console.ExporterWords{Name: in.Body.Name, Color: in.Body.Color, Note: in.Body.Note, SamplingRate: in.Body.SamplingRate,
		SamplingWhereUnknown: in.Body.SamplingMode == "unknown", SamplingFrom: in.Body.SamplingFrom}
	if _, err := ask(ctx, s, "exporters", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.config.DB.SetExporter(ctx, id, w)
	}); err != nil {
		return nil, inBody(err)
	}
	list, err := s.exporterRows(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range list {
		if row.ID == int64(id) {
			return &exporterOutput{row}, nil
		}
	}
	return nil, s.storeProblem(ctx, "exporters", console.ErrNotFound)
}

func (s *server) routeExporters(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "exporters", Method: http.MethodGet, Path: pathExporters,
		Summary:     "Exporters",
		Description: "Every exporter seen so far, and where the collector listens.",
		Errors:      failures,
	}, s.exporters)
	huma.Register(api, huma.Operation{
		OperationID: "exporter-change", Method: http.MethodPut, Path: pathExporter,
		Summary:     "Describe an exporter",
		Description: "Keeps what people say about an exporter, in place of what they said before: name, colour, note, sampling rate. The rate counts in every sum from the next question on, also of flows that are stored; without it, they count as announced again. For editors.",
		Errors:      changes,
	}, s.putExporter)
}
