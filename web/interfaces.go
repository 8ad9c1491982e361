package web

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	Find     string `query:"find" maxLength:"200" doc:"Only those in which every word of this is found: in the name, what is announced, the description, the exporter's label; a number is an ifIndex, too."`
	Sort     string `query:"sort" enum:"index,name,in,out,bytes" default:"index" doc:"What the list is sorted by."`
	Limit    int    `query:"limit" default:"10000" minimum:"1" maximum:"10000" doc:"How many interfaces are listed."`
	After    string `query:"after" doc:"The next of the page before; empty for the first page."`
	Traffic  bool   `query:"traffic" default:"true" doc:"Whether to count what went by them; false answers at once, with those that were announced or named."`
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
	Total      int            `json:"total" doc:"How many there are that were asked for, on all pages."`
	Next       *string        `json:"next" doc:"What after takes for the next page; null when this is the last."`
	Complete   bool           `json:"complete" doc:"Whether all traffic could be counted; else the flows and bytes are the least there can be."`
}

type interfacesOutput struct {
	Link string `header:"Link" doc:"The next page, with rel=\"next\" (RFC 8288), also of CSV; absent when this is the last. Its range stands still."`
	Body interfacesAnswer
}

// interfaces lists those that were announced or named, and those that flows went
// by.
func (s *server) interfaces(ctx context.Context, in *interfacesInput) (*interfacesOutput, error) {
	from, to, err := s.rangeOf(Ranged{From: in.From, To: in.To, Zoned: in.Zoned})
	if err != nil {
		return nil, err
	}
	place, err := placeOf(in.After)
	if err != nil {
		return nil, s.storeProblem(ctx, "interfaces", err)
	}
	list, err := s.knownInterfaces(ctx, in.Exporter)
	if err != nil {
		return nil, err
	}
	a := interfacesAnswer{From: from.UTC(), To: to.UTC(), Interfaces: []interfaceRow{}}
	if in.Traffic {
		t := s.traffic.of(ctx, s, in.Exporter, from, to)
		a.From, a.To, a.Complete = t.from.UTC(), t.to.UTC(), t.whole
		if list, err = s.addTraffic(ctx, list, t.sums); err != nil {
			return nil, err
		}
	}
	list = slices.DeleteFunc(list, func(r interfaceRow) bool { return !r.has(strings.Fields(strings.ToLower(in.Find))) })
	slices.SortFunc(list, interfaceOrders[in.Sort])
	a.Total = len(list)
	if place != nil { // where the page before ended, or would have, if that one is gone
		after, _ := slices.BinarySearchFunc(list, *place, interfaceOrders[in.Sort])
		for after < len(list) && interfaceOrders[in.Sort](list[after], *place) <= 0 {
			after++
		}
		list = list[after:]
	}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		a.Next = new(list[in.Limit-1].place())
	}
	a.Interfaces = append(a.Interfaces, list...)
	out := &interfacesOutput{Body: a}
	if a.Next != nil {
		out.Link = nextPage(ctx, a.From, a.To, *a.Next)
	}
	return out, nil
}

// knownInterfaces are those that were announced or named.
func (s *server) knownInterfaces(ctx context.Context, exporter string) ([]interfaceRow, error) {
	known, err := ask(ctx, s, "interfaces", func(ctx context.Context) ([]console.Interface, error) {
		return s.config.DB.Interfaces(ctx, exporter)
	})
	list := make([]interfaceRow, len(known))
	for i, k := range known {
		list[i] = interfaceRow{ExporterID: int64(k.ExporterID), IfIndex: k.IfIndex, Exporter: k.Exporter, Name: k.Name, Announced: k.Announced,
			Named: k.Named, Description: k.Description, Speed: k.Speed}
	}
	return list, err
}

// addTraffic adds what went by interfaces, and those of which that is all that is known.
func (s *server) addTraffic(ctx context.Context, list []interfaceRow, traffic []query.InterfaceSums) ([]interfaceRow, error) {
	exporters, err := ask(ctx, s, "interfaces", s.config.DB.Exporters)
	if err != nil {
		return nil, err
	}
	labels := make(map[int64]string, len(exporters))
	for _, e := range exporters {
		labels[int64(e.ID)] = e.Label
	}
	type id struct{ exporter, index int64 }
	at := make(map[id]int, len(list))
	for i := range list {
		at[id{list[i].ExporterID, list[i].IfIndex}] = i
	}
	for _, t := range traffic {
		i := id{int64(t.ExporterID), t.IfIndex}
		n, ok := at[i]
		if !ok {
			n = len(list)
			list = append(list, interfaceRow{ExporterID: i.exporter, IfIndex: i.index, Exporter: cmp.Or(labels[i.exporter], strconv.FormatInt(i.exporter, 10))})
		}
		r := &list[n]
		r.InFlows, r.InBytes, r.OutFlows, r.OutBytes = t.In.Flows, t.In.Bytes, t.Out.Flows, t.Out.Bytes
	}
	return list, nil
}

// has reports whether every word is found in what is known of an interface.
func (r *interfaceRow) has(words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join([]string{r.Name, r.Announced, r.Description, r.Exporter}, "\n"))
	index := strconv.FormatInt(r.IfIndex, 10)
	for _, w := range words {
		if w != index && !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// interfaceOrders are the orders of a list of interfaces. None has two equal rows.
var interfaceOrders = map[string]func(x, y interfaceRow) int{
	"index": byIndex,
	"name": func(x, y interfaceRow) int {
		if (x.Name == "") != (y.Name == "") {
			return cmp.Compare(y.Name, x.Name) // those without one last
		}
		return cmp.Or(cmp.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)), byIndex(x, y))
	},
	"in":  func(x, y interfaceRow) int { return cmp.Or(cmp.Compare(y.InBytes, x.InBytes), byIndex(x, y)) },
	"out": func(x, y interfaceRow) int { return cmp.Or(cmp.Compare(y.OutBytes, x.OutBytes), byIndex(x, y)) },
	"bytes": func(x, y interfaceRow) int {
		return cmp.Or(cmp.Compare(y.InBytes+y.OutBytes, x.InBytes+x.OutBytes), byIndex(x, y))
	},
}

func byIndex(x, y interfaceRow) int {
	return cmp.Or(cmp.Compare(x.ExporterID, y.ExporterID), cmp.Compare(x.IfIndex, y.IfIndex))
}

// place is where a page ends, for the next to begin behind it in any order.
func (r *interfaceRow) place() string {
	text, _ := json.Marshal([]any{r.ExporterID, r.IfIndex, r.InBytes, r.OutBytes, r.Name})
	return base64.RawURLEncoding.EncodeToString(text)
}

// placeOf reads a place, nil for the first page.
func placeOf(after string) (*interfaceRow, error) {
	if after == "" {
		return nil, nil
	}
	r := new(interfaceRow)
	parts := []any{&r.ExporterID, &r.IfIndex, &r.InBytes, &r.OutBytes, &r.Name}
	text, err := base64.RawURLEncoding.DecodeString(after)
	if err == nil {
		err = json.Unmarshal(text, &parts)
	}
	if err != nil || len(parts) != 5 {
		return nil, &query.Error{Parameter: "after", Reason: "it is not the next of a page before: leave it out for the first page"}
	}
	return r, nil
}

// trafficOf is what went by interfaces in a range.
type trafficOf struct {
	from, to time.Time
	sums     []query.InterfaceSums
	whole    bool
	asked    time.Time
	done     chan struct{} // closed when it is there
}

// traffics remembers for a moment what went by interfaces, so that whoever pages and
// searches among thousands has it counted once.
type traffics struct {
	mu    sync.Mutex
	known map[string]*trafficOf
}

const (
	// trafficFresh is how old counts may be, and trafficMost how many are remembered.
	trafficFresh = 30 * time.Second
	trafficMost  = 16
)

// of returns what went by the interfaces of an exporter, "" for all. When that cannot be
// counted, nothing did as far as is known, and it is not whole.
func (c *traffics) of(ctx context.Context, s *server, exporter string, from, to time.Time) *trafficOf {
	// Within a minute the range of "the last hour" is the same.
	key := exporter + "\x00" + from.Truncate(time.Minute).Format(time.RFC3339) + to.Truncate(time.Minute).Format(time.RFC3339)
	c.mu.Lock()
	t := c.known[key]
	if t != nil && s.now().Sub(t.asked) < trafficFresh {
		c.mu.Unlock()
		select {
		case <-t.done:
			return t
		case <-ctx.Done():
			return &trafficOf{from: from, to: to}
		}
	}
	t = &trafficOf{from: from, to: to, asked: s.now(), done: make(chan struct{})}
	if c.known == nil {
		c.known = make(map[string]*trafficOf)
	}
	for k, old := range c.known {
		if s.now().Sub(old.asked) >= trafficFresh || len(c.known) >= trafficMost {
			delete(c.known, k)
		}
	}
	c.known[key] = t
	c.mu.Unlock()
	defer close(t.done)
	// Others may be waiting for it who do not end when this one does.
	_, err := ask(context.WithoutCancel(ctx), s, "interfaces", func(ctx context.Context) (_ struct{}, err error) {
		t.sums, t.whole, err = s.config.DB.InterfaceTraffic(ctx, query.Question{From: from, To: to, Exporter: exporter, Timeout: s.config.Timeout})
		return struct{}{}, err
	})
	if err != nil {
		t.sums, t.whole = nil, false
		c.mu.Lock()
		if c.known[key] == t {
			delete(c.known, key) // the next one asks again
		}
		c.mu.Unlock()
	}
	return t
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
		Description: "The interfaces that were announced, were named, or that flows went by in a range, and what went by them, a page at a time. What went by them may be counted up to 30 s ago. Sorted by index they stand by exporter and ifIndex, by name those without one are last, and by in, out and bytes those with most bytes are first.",
		Errors:      failures,
	}, s.interfaces)
	huma.Register(api, huma.Operation{
		OperationID: "interface-change", Method: http.MethodPut, Path: pathInterface, DefaultStatus: http.StatusNoContent,
		Summary:     "Name an interface",
		Description: "Keeps what people call an interface; an empty name takes it back, and the announced one returns. For editors.",
		Errors:      changes,
	}, s.putInterface)
}
