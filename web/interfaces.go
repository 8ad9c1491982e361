package web

import (
	"cmp"
	"context"
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
	pathInterfaces = "/api/v1/interfaces"
	pathInterface  = "/api/v1/interfaces/{exporter_id}/{if_index}"
)

type interfacesInput struct {
	Exporter string `query:"exporter"`
	From     string `query:"from" default:"-1h"`
	To       string `query:"to" default:"now"`
	Zoned
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
	from, to, err := s.rangeOf(Ranged{From: in.From, To: in.To, Zoned: in.Zoned})
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
	a := interfacesAnswer{From: from.UTC(), To: to.UTC(), Interfaces: []interfaceRow{}, Complete: true}
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

func (s *server) routeInterfaces(api huma.API) {
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
}
