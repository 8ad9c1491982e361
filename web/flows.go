package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
	"flowtally/query"
)

// nextPage is the header Link with the address of the next page, "" after the last. The
// range is that of this page: one that is relative to now would have moved on.
func nextPage(ctx context.Context, from, to time.Time, next string) string {
	r, ok := ctx.Value(requestKey{}).(*http.Request)
	if next == "" || !ok {
		return ""
	}
	q := r.URL.Query()
	q.Set("from", from.UTC().Format(time.RFC3339Nano))
	q.Set("to", to.UTC().Format(time.RFC3339Nano))
	q.Set("after", next)
	if as := (Formatted{q.Get("format")}); as.Format == "" && as.csv(ctx) {
		q.Set("format", "csv") // who follows it may not say so again
	}
	return "<" + r.URL.Path + "?" + q.Encode() + `>; rel="next"`
}

const (
	pathFlows   = "/api/v1/flows"
	pathShare   = "/api/v1/share"
	pathSummary = "/api/v1/summary"
	pathHeatMap = "/api/v1/heatmap"
	pathAddress = "/api/v1/address/{addr}"
)

type flowsInput struct {
	Filtered
	Formatted
	Sort    string `query:"sort" default:"flow_start" enum:"flow_start,flow_end,packets,bytes,duration" doc:"What the flows are sorted by."`
	Order   string `query:"order" default:"desc" enum:"desc,asc" doc:"desc: the latest and largest first."`
	Limit   int    `query:"limit" default:"50" minimum:"1" maximum:"10000" doc:"How many flows are listed."`
	After   string `query:"after" doc:"The next of the page before; empty for the first page."`
	Summary bool   `query:"summary" default:"true" doc:"Whether to sum up all flows that match, which takes longer than a page."`
}

// flowRow is one flow, its columns by their SQL names.
type flowRow map[string]any

// Schema names the columns, which docs/schema.md describes.
func (flowRow) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{
		Type: huma.TypeObject, Properties: map[string]*huma.Schema{}, Required: slices.Clone(query.FlowColumns),
		Description: "One flow: all columns of the view flows (docs/schema.md), null where it has none.",
	}
	for _, name := range query.FlowColumns {
		c := &huma.Schema{Type: huma.TypeInteger, Format: "int64"}
		switch flow.FieldNamed(name).SQL {
		case flow.Timestamptz:
			s.Properties[name] = &huma.Schema{Type: huma.TypeString, Format: "date-time"}
			continue
		case flow.Inet, flow.Text:
			c = &huma.Schema{Type: huma.TypeString}
		case flow.JSONB:
			c = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
		}
		s.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{c, {Type: "null"}}}
	}
	return s
}

// FlowsSummary is the line that nfdump ends with.
type FlowsSummary struct {
	Sums
	AvgBPS float64    `json:"avg_bps" doc:"Bits a second between first and last."`
	AvgPPS float64    `json:"avg_pps" doc:"Packets a second between first and last."`
	AvgBPP float64    `json:"avg_bpp" doc:"Bytes a packet."`
	First  *time.Time `json:"first" doc:"When the first flow began; null without any."`
	Last   *time.Time `json:"last" doc:"When the last one ended; null without any."`
}

// Flows is a page of flows in the API's words.
type Flows struct {
	From    time.Time     `json:"from"`
	To      time.Time     `json:"to"`
	Sort    string        `json:"sort"`
	Order   string        `json:"order"`
	Limit   int           `json:"limit"`
	Rows    []flowRow     `json:"rows" nullable:"false"`
	Next    *string       `json:"next" doc:"What after takes for the next page; null when this is the last."`
	Summary *FlowsSummary `json:"summary" doc:"Of all flows that match, not of this page alone; null when it was not asked for."`
	Provenance

	columns []string
}

type flowsOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Link        string `header:"Link" doc:"The next page, with rel=\"next\" (RFC 8288), also of CSV; absent when this is the last. Its range stands still."`
	Body        Flows
}

func (s *server) flows(ctx context.Context, in *flowsInput) (*flowsOutput, error) {
	q, err := s.question(in.Filtered, "", "", in.Limit)
	if err != nil {
		return nil, err
	}
	f, err := ask(ctx, s, "flows", func(ctx context.Context) (*query.Flows, error) {
		return s.config.DB.Flows(ctx, query.FlowsQuestion{Question: q, Sort: in.Sort, Ascending: in.Order == "asc", After: in.After, NoSummary: !in.Summary})
	})
	if err != nil {
		return nil, err
	}
	out := &flowsOutput{Body: NewFlows(f), Link: nextPage(ctx, f.From, f.To, f.Next)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = in.csvHeaders("flows", nil, f.From, f.To)
	}
	return out, nil
}

// NewFlows puts a page of flows of the store into the API's words.
func NewFlows(f *query.Flows) Flows {
	a := Flows{
		From: f.From.UTC(), To: f.To.UTC(), Sort: f.Sort, Order: "desc", Limit: f.Limit, Rows: make([]flowRow, len(f.Rows)),
		Provenance: provenanceOf(f.Provenance), columns: f.Columns,
	}
	if f.Ascending {
		a.Order = "asc"
	}
	if f.Next != "" {
		a.Next = &f.Next
	}
	for i, values := range f.Rows {
		row := make(flowRow, len(values))
		for j, v := range values {
			if raw, ok := v.(json.RawMessage); ok && len(raw) == 0 {
				v = nil
			}
			row[f.Columns[j]] = v
		}
		a.Rows[i] = row
	}
	if u := f.Summary; u != nil {
		a.Summary = &FlowsSummary{Sums: Sums(u.Sums), AvgBPS: u.BPS, AvgPPS: u.PPS, AvgBPP: u.BPP, First: moment(u.First), Last: moment(u.Last)}
	}
	return a
}

type shareInput struct {
	Filtered
	Formatted
	Step string `query:"step" default:"auto" example:"60s"`
}

type highlight struct {
	Addr  string    `json:"addr"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Share float64   `json:"share" doc:"Its part of all flows in that time, 0 to 1."`
	Flows int64     `json:"flows" doc:"How many it had."`
}

// Share is the busiest host's part of all flows in the API's words.
type Share struct {
	From        time.Time   `json:"from"`
	To          time.Time   `json:"to"`
	StepSeconds int64       `json:"step_seconds" doc:"Width of a bucket; of days, weeks and months of a zone, which are not all as long, the usual one."`
	Step        string      `json:"step" doc:"The same as it is asked for: 5m, 24h, 1mo."`
	Starts      []time.Time `json:"starts" nullable:"false" doc:"Where each bucket starts."`
	Share       []float64   `json:"share" nullable:"false" doc:"The part of all flows that the busiest host had, 0 to 1: flows in which it is source or destination, each once."`
	Host        []string    `json:"host" nullable:"false" doc:"Who that was; empty where nobody had any."`
	HostFlows   []int64     `json:"host_flows" nullable:"false" doc:"How many flows it had."`
	Flows       []int64     `json:"flows" nullable:"false" doc:"How many there were."`
	Highlights  []highlight `json:"highlights" nullable:"false" doc:"The times in which one host had at least half of all flows, the largest share first."`
	Provenance
}

type shareOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        Share
}

func (s *server) share(ctx context.Context, in *shareInput) (*shareOutput, error) {
	q, err := s.question(in.Filtered, "", "", 0)
	if err != nil {
		return nil, err
	}
	if err = readStep(&q, in.Step); err != nil {
		return nil, err
	}
	r, err := ask(ctx, s, "share", func(ctx context.Context) (*query.Share, error) { return s.config.DB.Share(ctx, q) })
	if err != nil {
		return nil, err
	}
	out := &shareOutput{Body: NewShare(r)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = in.csvHeaders("share", nil, r.From, r.To)
	}
	return out, nil
}

// NewShare puts a share of the store into the API's words.
func NewShare(r *query.Share) Share {
	a := Share{
		From: r.From.UTC(), To: r.To.UTC(), StepSeconds: int64(r.Step / time.Second), Step: stepOf(r.Step, r.StepMonths),
		Starts: make([]time.Time, len(r.Start)), Share: append([]float64{}, r.Share...), Host: make([]string, len(r.Host)),
		HostFlows: some(r.HostFlows), Flows: some(r.Flows), Highlights: make([]highlight, len(r.Highlights)),
		Provenance: provenanceOf(r.Provenance),
	}
	for i, start := range r.Start {
		a.Starts[i] = start.UTC()
	}
	for i, host := range r.Host {
		if host.IsValid() {
			a.Host[i] = host.String()
		}
	}
	for i, h := range r.Highlights {
		a.Highlights[i] = highlight{h.Addr.String(), h.From.UTC(), h.To.UTC(), h.Share, h.Flows}
	}
	return a
}

type summaryInput struct {
	Filtered
	Formatted
}

type summaryRow struct {
	Class string `json:"class" doc:"all, tcp, udp, icmp (ICMPv6 too) or other."`
	Sums
	FlowsPerSecond float64 `json:"flows_per_s"`
	PPS            float64 `json:"pps" doc:"Packets a second."`
	BPS            float64 `json:"bps" doc:"Bits a second."`
}

// Summary is totals and rates by class of protocol in the API's words.
type Summary struct {
	From time.Time    `json:"from"`
	To   time.Time    `json:"to"`
	Rows []summaryRow `json:"rows" nullable:"false"`
	Provenance
}

type summaryOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Body        Summary
}

func (s *server) summary(ctx context.Context, in *summaryInput) (*summaryOutput, error) {
	q, err := s.question(in.Filtered, "", "", 0)
	if err != nil {
		return nil, err
	}
	r, err := ask(ctx, s, "summary", func(ctx context.Context) (*query.Summary, error) { return s.config.DB.Summary(ctx, q) })
	if err != nil {
		return nil, err
	}
	out := &summaryOutput{Body: NewSummary(r)}
	if in.csv(ctx) {
		out.ContentType, out.Disposition = in.csvHeaders("summary", nil, r.From, r.To)
	}
	return out, nil
}

// NewSummary puts a summary of the store into the API's words.
func NewSummary(r *query.Summary) Summary {
	a := Summary{From: r.From.UTC(), To: r.To.UTC(), Rows: make([]summaryRow, len(r.Rows)), Provenance: provenanceOf(r.Provenance)}
	for i, row := range r.Rows {
		a.Rows[i] = summaryRow{row.Class, Sums(row.Sums), row.FlowsPerSecond, row.PPS, row.BPS}
	}
	return a
}

// heatMapInput is Filtered, with a begin of its own.
type heatMapInput struct {
	From     string `query:"from" default:"-14d"`
	To       string `query:"to" default:"now"`
	Exporter string `query:"exporter"`
	Filter   string `query:"filter"`
	Whole    bool   `query:"whole"`
	Scaled   bool   `query:"scaled"`
	Raw      bool   `query:"raw"`
	By       bySum  `query:"by" default:"flows" doc:"What is summed."`
	Zoned
}

// HeatMap is the traffic of each hour of each day in the API's words.
type HeatMap struct {
	From  time.Time  `json:"from"`
	To    time.Time  `json:"to"`
	By    string     `json:"by"`
	Days  []string   `json:"days" nullable:"false" doc:"The days of the range, of the zone asked for."`
	Hours []int      `json:"hours" nullable:"false" doc:"0 to 23."`
	Cells [][]*int64 `json:"cells" nullable:"false" doc:"For each day 24 numbers; null for the hours that the range does not touch, and that the clock of the zone skipped; an hour that came twice is of both."`
	Provenance
}

type heatMapOutput struct{ Body HeatMap }

func (s *server) heatMap(ctx context.Context, in *heatMapInput) (*heatMapOutput, error) {
	q, err := s.question(Filtered{Ranged: Ranged{in.From, in.To, in.Exporter, in.Zoned}, Filter: in.Filter, Whole: in.Whole, Scaled: in.Scaled, Raw: in.Raw}, query.Measure(in.By), "", 0)
	if err != nil {
		return nil, err
	}
	r, err := ask(ctx, s, "heatmap", func(ctx context.Context) (*query.HeatMap, error) { return s.config.DB.HeatMap(ctx, q) })
	if err != nil {
		return nil, err
	}
	a := HeatMap{From: r.From.UTC(), To: r.To.UTC(), By: string(r.By), Days: make([]string, len(r.Days)), Cells: r.Cells, Provenance: provenanceOf(r.Provenance)}
	for h := range 24 {
		a.Hours = append(a.Hours, h)
	}
	for i, d := range r.Days {
		a.Days[i] = d.UTC().Format(time.DateOnly)
	}
	if a.Cells == nil {
		a.Cells = [][]*int64{}
	}
	return &heatMapOutput{a}, nil
}

type addressInput struct {
	Filtered
	Addr  string `path:"addr" example:"10.1.4.7" doc:"The address."`
	Limit int    `query:"limit" default:"10" minimum:"1" maximum:"100" doc:"How many peers and ports are listed."`
}

// Address is what there is to know of an address in the API's words.
type Address struct {
	From      time.Time  `json:"from"`
	To        time.Time  `json:"to"`
	Addr      string     `json:"addr"`
	Names     []string   `json:"names" nullable:"false" doc:"What the name service calls it, if it said so in time."`
	Private   bool       `json:"private" doc:"Whether it is of a range that is not routed in the internet."`
	FirstSeen *time.Time `json:"first_seen" doc:"When its first flow in the range began; null without any."`
	LastSeen  *time.Time `json:"last_seen" doc:"When its last one ended; null without any."`
	In        Sums       `json:"in" doc:"What it received."`
	Out       Sums       `json:"out" doc:"What it sent."`
	Peers     []topRow   `json:"peers" nullable:"false" doc:"The addresses it has most flows with."`
	Ports     []topRow   `json:"ports" nullable:"false" doc:"The destination ports of most of its flows."`
	Provenance
}

type addressOutput struct{ Body Address }

func (s *server) address(ctx context.Context, in *addressInput) (*addressOutput, error) {
	addr, err := parseAddr(in.Addr)
	if err != nil {
		return nil, &huma.ErrorModel{
			Title: statusTitle(http.StatusUnprocessableEntity), Status: http.StatusUnprocessableEntity, Detail: ended(err.Error()),
			Errors: []*huma.ErrorDetail{{Message: ended(err.Error()), Location: "path.addr", Value: in.Addr}},
		}
	}
	q, err := s.question(in.Filtered, "", "", in.Limit)
	if err != nil {
		return nil, err
	}
	// Names are asked for while the database works.
	names := make(chan map[netip.Addr]string, 1)
	go func() { names <- s.names.of(ctx, []netip.Addr{addr}) }()
	card, err := ask(ctx, s, "address", func(ctx context.Context) (*query.AddressCard, error) { return s.config.DB.Address(ctx, addr, q) })
	if err != nil {
		return nil, err
	}
	a := Address{
		From: card.From.UTC(), To: card.To.UTC(), Addr: addr.String(), Names: []string{}, Private: private(addr),
		FirstSeen: moment(card.FirstSeen), LastSeen: moment(card.LastSeen), In: Sums(card.In), Out: Sums(card.Out),
		Peers: make([]topRow, len(card.Peers)), Ports: make([]topRow, len(card.Ports)), Provenance: provenanceOf(card.Provenance),
	}
	for i := range card.Peers {
		a.Peers[i] = topRowOf(&card.Peers[i])
	}
	for i := range card.Ports {
		a.Ports[i] = topRowOf(&card.Ports[i])
	}
	if name := (<-names)[addr]; name != "" {
		a.Names = append(a.Names, name)
	}
	return &addressOutput{a}, nil
}

// parseAddr reads an address as flows have it: without zone, and a mapped one as
// IPv4.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fmt.Errorf("%q is not an address: write it as 10.1.4.7 or 2001:db8::7", text)
	}
	return a.Unmap().WithZone(""), nil
}

// shared are ranges beside the private ones that nobody in the internet has.
var shared = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),                                                                                   // RFC 6598
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), // RFC 5737
	netip.MustParsePrefix("198.18.0.0/15"), // RFC 2544
	netip.MustParsePrefix("2001:db8::/32"), // RFC 3849
}

// private reports whether an address belongs to nobody in the internet.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		slices.ContainsFunc(shared, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (s *server) routeFlows(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "flows", Method: http.MethodGet, Path: pathFlows,
		Summary:     "Flows",
		Description: "The flows themselves, page by page, and the sum of all that match. A flow that touches the range is listed whole. As CSV: the page.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.flows)
	huma.Register(api, huma.Operation{
		OperationID: "share", Method: http.MethodGet, Path: pathShare,
		Summary:     "Share of the busiest host",
		Description: "For each bucket the host with most flows, and its part of all flows: those in which it is source or destination, each once.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.share)
	huma.Register(api, huma.Operation{
		OperationID: "summary", Method: http.MethodGet, Path: pathSummary,
		Summary:     "Summary by protocol",
		Description: "Totals and average rates of a range: all flows, TCP, UDP, ICMP and the rest.",
		Responses:   alsoCSV(), Errors: failures,
	}, s.summary)
	huma.Register(api, huma.Operation{
		OperationID: "heatmap", Method: http.MethodGet, Path: pathHeatMap,
		Summary:     "Heat map",
		Description: "What each hour of each day had, at most 60 days.",
		Errors:      failures,
	}, s.heatMap)
	huma.Register(api, huma.Operation{
		OperationID: "address", Method: http.MethodGet, Path: pathAddress,
		Summary:     "An address",
		Description: "What there is to know of an address in a range: names, first and last seen, what it sent and received, with whom and to which ports.",
		Errors:      failures,
	}, s.address)
}
