package answer

import (
	"context"
	"fmt"
	"time"

	"flowtally/calendar"
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
	s := &query.Summary{From: t.From, To: t.To, Provenance: t.Provenance}
	seconds := t.To.Sub(t.From).Seconds()
	for _, class := range query.SummaryClasses {
		row := query.SummaryRow{Class: class}
		if class == "all" {
			row.Sums = t.Total
		}
		for _, p := range t.Rows {
			n, _ := p.Values[0].V.(int64)
			if classOf(flow.Protocol(n)) == class {
				row.Flows += p.Flows
				row.Packets += p.Packets
				row.Bytes += p.Bytes
			}
		}
		row.FlowsPerSecond, row.PPS, row.BPS = float64(row.Flows)/seconds, float64(row.Packets)/seconds, 8*float64(row.Bytes)/seconds
		s.Rows = append(s.Rows, row)
	}
	return s, nil
}

// classOf is the class of query.SummaryClasses that a protocol is of.
func classOf(p flow.Protocol) string {
	switch p {
	case flow.TCP:
		return "tcp"
	case flow.UDP:
		return "udp"
	case flow.ICMP, flow.ICMPv6:
		return "icmp"
	}
	return "other"
}

// HeatMap sums the hours of a range, 60 days at most, by the clock of the question's zone: an
// hour that comes twice is of both.
func (a *Answerer) HeatMap(ctx context.Context, q query.Question) (*query.HeatMap, error) {
	q.Keys, q.Having, q.Step, q.StepMonths, q.LayOver = nil, nil, time.Hour, 0, 0
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
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	of := s.Total.By(s.By)
	for i, at := range s.Start {
		wall := calendar.Wall(at, zone)
		day := wall.Truncate(calendar.Day)
		if n := len(h.Days); n == 0 || h.Days[n-1] != day {
			h.Days = append(h.Days, day)
			h.Cells = append(h.Cells, make([]*int64, 24))
		}
		cell := &h.Cells[len(h.Cells)-1][wall.Hour()]
		if *cell != nil {
			of[i] += **cell
		}
		*cell = &of[i]
	}
	return h, nil
}
