package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/console"
)

const (
	pathExporter   = "/api/v1/exporters/{id}"
	pathDiagnosis  = "/api/v1/exporters/{id}/diagnosis"
	pathInterfaces = "/api/v1/interfaces"
	pathInterface  = "/api/v1/interfaces/{exporter_id}/{if_index}"
	pathLoss       = "/api/v1/loss"
)

type exporterRow struct {
	ID                int64     `json:"id"`
	Name              string    `json:"name" doc:"The name it was given; empty when none was."`
	Label             string    `json:"label" doc:"Its name, else its address."`
	Color             string    `json:"color" doc:"The colour it was given, as #1f77b4; empty when none was."`
	Note              string    `json:"note" doc:"What people noted about it."`
	Addr              string    `json:"addr"`
	ObservationDomain int64     `json:"observation_domain"`
	Version           int64     `json:"version" doc:"NetFlow version last seen: 5, 9 or 10 (IPFIX)."`
	FirstSeen         time.Time `json:"first_seen"`
	LastSeen          time.Time `json:"last_seen"`
	Silent            bool      `json:"silent" doc:"Whether nothing came from it for five minutes."`
	Health            string    `json:"health" enum:"healthy,silent,losing,waiting" doc:"silent: nothing came for five minutes; waiting: data came whose template did not; losing: something was lost in the last hour."`
	LostLastHour      int64     `json:"lost_last_hour" doc:"What the ledger has for it in the last hour: records, datagrams and packets together."`
	Datagrams         int64     `json:"datagrams"`
	Records           int64     `json:"records"`
	Packets           int64     `json:"packets"`
	Bytes             int64     `json:"bytes"`
	Templates         int64     `json:"templates" doc:"How many it has announced that still hold."`
	SamplingRate      *int64    `json:"sampling_rate" doc:"One packet in this many is seen: what people say, else what it announces; null when nobody has said."`
	SamplingRateSet   *int64    `json:"sampling_rate_set" doc:"What people say; null when they do not."`
	SamplingState     string    `json:"sampling_state" enum:"announced,configured,unknown" doc:"Who said the rate: the exporter, or people."`
	ClockOffsetMS     int64     `json:"clock_offset_ms" doc:"The exporter's clock less ours, in milliseconds."`
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

// exporterRowOf puts a row of the store into the API's words.
func exporterRowOf(r *console.ExporterRow, state console.ExporterState, now time.Time) exporterRow {
	e := exporterRow{
		ID: int64(r.ID), Name: r.Name, Label: r.Label, Color: state.Color, Note: state.Note,
		Addr: r.Addr.String(), ObservationDomain: int64(r.ObservationDomain),
		Version: int64(r.Version), FirstSeen: r.FirstSeen.UTC(), LastSeen: r.LastSeen.UTC(),
		Silent: now.Sub(r.LastSeen) > silence, Health: "healthy", LostLastHour: state.LostLastHour,
		Datagrams: r.Datagrams, Records: r.Records, Packets: r.Packets, Bytes: r.Bytes, Templates: r.Templates,
		SamplingRate: r.SamplingRate, SamplingRateSet: state.ExporterWords.SamplingRate, SamplingState: "unknown",
		ClockOffsetMS: r.ClockOffset.Milliseconds(),
	}
	switch {
	case e.SamplingRateSet != nil || state.Configured != nil && (state.Overridden || state.Announced == nil):
		e.SamplingState = "configured"
		if e.SamplingRateSet == nil {
			e.SamplingRate = state.Configured
		}
	case e.SamplingRate != nil:
		e.SamplingState = "announced"
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
	list := make([]exporterRow, len(rows))
	for i := range rows {
		list[i] = exporterRowOf(&rows[i], states[rows[i].ID], s.now())
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
		Name         string `json:"name" doc:"What to call it: one line, different from the others'; empty: its address." maxLength:"100"`
		Color        string `json:"color,omitempty" example:"#1f77b4" doc:"Its colour in graphs; empty for one that is free."`
		Note         string `json:"note,omitempty" doc:"Anything worth knowing about it." maxLength:"4096"`
		SamplingRate *int64 `json:"sampling_rate,omitempty" minimum:"1" maximum:"2147483647" doc:"N of 1:N, in place of what it announces; null or absent: as announced."`
	}
}

type exporterOutput struct{ Body exporterRow }

func (s *server) putExporter(ctx context.Context, in *exporterInput) (*exporterOutput, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	id := flow.ExporterID(in.ID)
	w := console.ExporterWords{Name: in.Body.Name, Color: in.Body.Color, Note: in.Body.Note, SamplingRate: in.Body.SamplingRate}
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

type exporterID struct {
	ID int32 `path:"id" doc:"The exporter's id; 0 is the collector as a whole."`
}

type check struct {
	Name   string `json:"name" doc:"A fixed word: traffic, templates, records, decoding, loss, buffer, clock, times, sampling, identity, limits, restarts, storage, retention, strangers."`
	OK     bool   `json:"ok"`
	Text   string `json:"text" doc:"What was found."`
	Advice string `json:"advice" doc:"What to change; empty when nothing."`
}

// Diagnosis says why nothing, or not all, is seen of an exporter.
type Diagnosis struct {
	ExporterID int64                    `json:"exporter_id"`
	Exporter   string                   `json:"exporter" doc:"Its label; empty for the collector as a whole."`
	OK         bool                     `json:"ok" doc:"Whether every check is."`
	Headline   string                   `json:"headline" doc:"What to read first: the gravest finding."`
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
	a := Diagnosis{ExporterID: int64(d.ID), Exporter: d.Label, OK: d.OK, Headline: d.Headline, Checks: make([]check, len(d.Checks)), Counters: d.Status}
	for i, c := range d.Checks {
		a.Checks[i] = check{c.Name, c.OK, c.Text, c.Advice}
	}
	return &diagnosisOutput{a}, nil
}

type interfacesInput struct {
	Exporter string `query:"exporter" doc:"Only of this exporter: its name, address or number. Empty: of all."`
	From     string `query:"from" default:"-1h" doc:"Start of the range in which bytes are counted."`
	To       string `query:"to" default:"now" doc:"End of it."`
}

type interfaceRow struct {
	ExporterID  int64  `json:"exporter_id"`
	Exporter    string `json:"exporter" doc:"The exporter's label."`
	IfIndex     int64  `json:"if_index" doc:"Its ifIndex, as in in_if and out_if."`
	Name        string `json:"name" doc:"What people call it, else what it announces; empty when neither."`
	Announced   string `json:"announced" doc:"What it announces; empty when nothing."`
	Named       bool   `json:"named" doc:"Whether people call it so."`
	Description string `json:"description"`
	Speed       *int64 `json:"speed" doc:"Bits a second; null when not known."`
	InFlows     int64  `json:"in_flows" doc:"Flows that came in by it."`
	InBytes     int64  `json:"in_bytes" doc:"Bytes that came in by it."`
	OutFlows    int64  `json:"out_flows" doc:"Flows that went out by it."`
	OutBytes    int64  `json:"out_bytes" doc:"Bytes that went out by it."`
}

type interfacesAnswer struct {
	From       time.Time      `json:"from"`
	To         time.Time      `json:"to"`
	Interfaces []interfaceRow `json:"interfaces" nullable:"false"`
	Complete   bool           `json:"complete" doc:"Whether traffic could be counted; else the bytes are 0."`
}

type interfacesOutput struct{ Body interfacesAnswer }

// interfaces lists those that were announced or named, and those that flows went
// by.
func (s *server) interfaces(ctx context.Context, in *interfacesInput) (*interfacesOutput, error) {
	from, to, err := s.rangeOf(Ranged{From: in.From, To: in.To})
	if err != nil {
		return nil, err
	}
	known, err := ask(ctx, s, "interfaces", func(ctx context.Context) ([]console.Interface, error) {
		return s.config.DB.Interfaces(ctx, in.Exporter)
	})
	if err != nil {
		return nil, err
	}
	exporters, err := ask(ctx, s, "interfaces", s.config.DB.Exporters)
	if err != nil {
		return nil, err
	}
	type id struct{ exporter, index int64 }
	a := interfacesAnswer{From: from, To: to, Interfaces: []interfaceRow{}, Complete: true}
	at := make(map[id]int)
	row := func(i id) *interfaceRow {
		n, ok := at[i]
		if !ok {
			n = len(a.Interfaces)
			at[i] = n
			a.Interfaces = append(a.Interfaces, interfaceRow{ExporterID: i.exporter, IfIndex: i.index})
		}
		return &a.Interfaces[n]
	}
	for _, k := range known {
		r := row(id{int64(k.ExporterID), k.IfIndex})
		r.Exporter, r.Name, r.Announced, r.Named, r.Description, r.Speed = k.Exporter, k.Name, k.Announced, k.Named, k.Description, k.Speed
	}
	labels := make(map[int64]string, len(exporters))
	for _, e := range exporters {
		labels[int64(e.ID)] = e.Label
	}
	traffic, err := ask(ctx, s, "interfaces", func(ctx context.Context) ([]query.InterfaceSums, error) {
		return s.config.DB.InterfaceTraffic(ctx, query.Question{From: from, To: to, Exporter: in.Exporter, Timeout: s.config.Timeout})
	})
	if err != nil {
		a.Complete = false
	}
	for _, t := range traffic {
		i := id{int64(t.ExporterID), t.IfIndex}
		r := row(i)
		r.Exporter = cmp.Or(labels[i.exporter], strconv.FormatInt(i.exporter, 10))
		r.InFlows, r.InBytes, r.OutFlows, r.OutBytes = t.In.Flows, t.In.Bytes, t.Out.Flows, t.Out.Bytes
	}
	slices.SortFunc(a.Interfaces, func(x, y interfaceRow) int {
		return cmp.Or(cmp.Compare(x.ExporterID, y.ExporterID), cmp.Compare(x.IfIndex, y.IfIndex))
	})
	return &interfacesOutput{a}, nil
}

type interfaceInput struct {
	ExporterID int32 `path:"exporter_id"`
	IfIndex    int64 `path:"if_index" minimum:"0" maximum:"4294967295"`
	Body       struct {
		Name string `json:"name" doc:"What to call it: one line; empty: as the exporter announces." maxLength:"100"`
	}
}

func (s *server) putInterface(ctx context.Context, in *interfaceInput) (*struct{}, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	_, err := ask(ctx, s, "interfaces", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.config.DB.NameInterface(ctx, flow.ExporterID(in.ExporterID), in.IfIndex, in.Body.Name)
	})
	return nil, inBody(err)
}

type lossInput struct {
	Ranged
}

type loss struct {
	Stage  string `json:"stage" doc:"Where it was lost: exporter (by its own word), way, receive, decode, store."`
	Cause  string `json:"cause"`
	Unit   string `json:"unit" enum:"packet,record,datagram,set"`
	Count  int64  `json:"count"`
	Text   string `json:"text" doc:"What that means."`
	Advice string `json:"advice" doc:"What would change it; empty when nothing."`
}

type stage struct {
	Name    string `json:"name" enum:"seen,metered,sent,received,decoded,stored"`
	Unit    string `json:"unit" doc:"What count counts."`
	Count   *int64 `json:"count" doc:"How many came to this stage; null where the collector cannot know."`
	Exact   bool   `json:"exact" doc:"Whether all that was lost before and behind is known in this unit; else count is the least it can be."`
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
	lossesOf := func(list []console.LossTotal) []loss {
		out := make([]loss, len(list))
		for i, t := range list {
			out[i] = loss(t)
		}
		return out
	}
	a := Ledger{
		From: l.From.UTC(), To: l.To.UTC(), Exporter: l.Exporter, Stages: make([]stage, len(l.Steps)), Totals: lossesOf(l.Totals),
		Minutes: make([]lossMinute, len(l.Rows)), Truncated: l.Truncated,
	}
	for i, step := range l.Steps {
		a.Stages[i] = stage{step.Name, "record", step.Records, step.Exact, lossesOf(step.Lost), lossesOf(step.OfWhich)}
		if step.Name == "seen" {
			a.Stages[i].Unit = "packet"
		}
	}
	for i, r := range l.Rows {
		a.Minutes[i] = lossMinute{r.Minute.UTC(), int64(r.ExporterID), r.Exporter, r.Stage, r.Cause, r.Unit, r.Count}
	}
	return &lossOutput{a}, nil
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
		Description: "Keeps what people say about an exporter, in place of what they said before: name, colour, note, sampling rate. For editors.",
		Errors:      changes,
	}, s.putExporter)
	huma.Register(api, huma.Operation{
		OperationID: "diagnosis", Method: http.MethodGet, Path: pathDiagnosis,
		Summary:     "Why do I see nothing?",
		Description: "Looks at all that is known of an exporter, the gravest first; of 0, at the collector as a whole.",
		Errors:      append([]int{http.StatusNotFound}, failures...),
	}, s.diagnosis)
	huma.Register(api, huma.Operation{
		OperationID: "interfaces", Method: http.MethodGet, Path: pathInterfaces,
		Summary:     "Interfaces",
		Description: "The interfaces that were announced, were named, or that flows went by in a range, and what went by them.",
		Errors:      failures,
	}, s.interfaces)
	huma.Register(api, huma.Operation{
		OperationID: "interface-change", Method: http.MethodPut, Path: pathInterface, DefaultStatus: http.StatusNoContent,
		Summary:     "Name an interface",
		Description: "Keeps what people call an interface; an empty name takes it back, and the announced one returns. For editors.",
		Errors:      changes,
	}, s.putInterface)
	huma.Register(api, huma.Operation{
		OperationID: "loss", Method: http.MethodGet, Path: pathLoss,
		Summary:     "The ledger",
		Description: "What was lost in a range, where, when and why, and the way of all flows from seen to stored.",
		Errors:      failures,
	}, s.loss)
}
