package answer

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
)

// Summary sums a range up by class of protocol.
func (a *Answerer) Summary(ctx context.Context, q query.Question) (*query.Summary, error) {
	q.Keys, q.By, q.Limit, q.Having = []query.Key{query.KeyProtocol}, query.ByFlows, 256, nil
	t, err := a.Top(ctx, q)
	if err != nil {
		return nil, err
	}
	r := &query.Summary{From: t.From, To: t.To, Provenance: t.Provenance}
	seconds := t.To.Sub(t.From).Seconds()
	for _, class := range query.SummaryClasses {
		row := query.SummaryRow{Class: class}
		if class == "all" {
			row.Sums = t.Total
		}
		for _, p := range t.Rows {
			n, _ := p.Values[0].V.(int64)
			of := "other"
			switch flow.Protocol(n) {
			case flow.TCP:
				of = "tcp"
			case flow.UDP:
				of = "udp"
			case flow.ICMP, flow.ICMPv6:
				of = "icmp"
			}
			if of == class {
				row.Flows += p.Flows
				row.Packets += p.Packets
				row.Bytes += p.Bytes
			}
		}
		row.FlowsPerSecond, row.PPS, row.BPS = float64(row.Flows)/seconds, float64(row.Packets)/seconds, 8*float64(row.Bytes)/seconds
		r.Rows = append(r.Rows, row)
	}
	return r, nil
}

// HeatMap sums the hours of a range, 60 days at most.
func (a *Answerer) HeatMap(ctx context.Context, q query.Question) (*query.HeatMap, error) {
	q.Keys, q.Having, q.Step, q.LayOver = nil, nil, time.Hour, 0
	if !q.By.Additive() && q.By != "" {
		return nil, &query.Error{Parameter: "by", Reason: fmt.Sprintf("%q has no sum: use flows, packets or bytes", q.By)}
	}
	if q.To.Sub(q.From) > 60*24*time.Hour {
		return nil, &query.Error{Parameter: "from", Reason: "the range has more than 60 days"}
	}
	s, err := a.Series(ctx, q)
	if err != nil {
		return nil, err
	}
	h := &query.HeatMap{From: s.From, To: s.To, By: s.By, Provenance: s.Provenance}
	of := s.Total.By(s.By)
	for i, at := range s.Start {
		day := at.Truncate(24 * time.Hour)
		if n := len(h.Days); n == 0 || h.Days[n-1] != day {
			h.Days = append(h.Days, day)
			h.Cells = append(h.Cells, make([]*int64, 24))
		}
		h.Cells[len(h.Cells)-1][at.Hour()] = &of[i]
	}
	return h, nil
}

// Address describes an address. Of the question, Keys, By and Having mean
// nothing; the filter holds, too.
func (a *Answerer) Address(ctx context.Context, addr netip.Addr, q query.Question) (*query.AddressCard, error) {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return nil, &query.Error{Parameter: "addr", Reason: "that is no address"}
	}
	began := time.Now()
	q.By, q.Having = query.ByFlows, nil
	limit := q.Limit
	if limit == 0 {
		limit = query.DefaultLimit
	}
	given := q.Filter
	ask := func(words string, limit int, keys ...query.Key) (*query.Top, error) {
		text := words + " " + addr.String()
		if given != nil && !given.Any() {
			text = "(" + given.String() + ") and " + text
		}
		f, err := filter.Parse(text)
		if err != nil {
			return nil, &query.Error{Parameter: "filter", Reason: err.Error()}
		}
		q := q
		q.Filter, q.Keys, q.Limit = f, keys, limit
		return a.Top(ctx, q)
	}
	card := &query.AddressCard{Addr: addr, Peers: []query.TopRow{}, Ports: []query.TopRow{}}
	peers := make(map[string]*query.TopRow)
	for _, side := range []struct {
		words string
		key   query.Key
		sums  *query.Sums
	}{{"src ip", query.KeyDstAddr, &card.Out}, {"dst ip", query.KeySrcAddr, &card.In}} {
		t, err := ask(side.words, query.MaxLimit, side.key)
		if err != nil {
			return nil, err
		}
		*side.sums = t.Total
		card.From, card.To = t.From, t.To
		exact := t.Exact && (card.SQL == "" || card.Exact)
		card.Provenance = t.Provenance
		card.Exact = exact
		for _, r := range t.Rows {
			if p := peers[r.Label]; p == nil {
				r.Values = slices.Clone(r.Values)
				r.Values[0].Column = "addr"
				peers[r.Label] = &r
			} else if r.Label != addr.String() {
				p.Flows, p.Packets, p.Bytes = p.Flows+r.Flows, p.Packets+r.Packets, p.Bytes+r.Bytes
			}
		}
	}
	for _, p := range peers {
		card.Peers = append(card.Peers, *p)
	}
	all := card.In.Flows + card.Out.Flows
	if self := peers[addr.String()]; self != nil {
		all -= self.Flows
	}
	for i := range card.Peers {
		if card.Peers[i].Share = 0; all > 0 {
			card.Peers[i].Share = float64(card.Peers[i].Flows) / float64(all)
		}
	}
	slices.SortFunc(card.Peers, func(a, b query.TopRow) int {
		if a.Flows != b.Flows {
			return int(min(max(b.Flows-a.Flows, -1), 1))
		}
		return slices.Compare([]byte(a.Label), []byte(b.Label))
	})
	card.Peers = card.Peers[:min(len(card.Peers), limit)]
	ports, err := ask("ip", limit, query.KeyDstPort)
	if err != nil {
		return nil, err
	}
	card.Ports = ports.Rows
	card.Cut, card.Exact = ports.Cut, card.Exact && ports.Exact
	seen := q
	text := "ip " + addr.String()
	if given != nil && !given.Any() {
		text = "(" + given.String() + ") and " + text
	}
	if seen.Filter, err = filter.Parse(text); err != nil {
		return nil, &query.Error{Parameter: "filter", Reason: err.Error()}
	}
	seen.Limit = 1
	flows, err := a.Flows(ctx, query.FlowsQuestion{Question: seen})
	if err != nil {
		return nil, err
	}
	card.FirstSeen, card.LastSeen = flows.Summary.First, flows.Summary.Last
	card.Command = flows.Command
	card.Filter = text
	card.Took = time.Since(began)
	return card, nil
}
