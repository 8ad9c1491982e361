package answer

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"flowtally/filter"
	"flowtally/query"
)

// Address describes an address. Of the question, Keys, By and Having mean
// nothing; the filter holds, too. All of it is of one moment, and its SQL is one statement
// for all parts.
func (a *Answerer) Address(ctx context.Context, addr netip.Addr, q query.Question) (*query.AddressCard, error) {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return nil, &query.Error{Parameter: "addr", Reason: "that is no address"}
	}
	q.Keys, q.By, q.Having = nil, query.ByFlows, nil
	r, err := newRequest(q)
	if err != nil {
		return nil, err
	}
	if err := r.checkLimit(query.MaxLimit); err != nil {
		return nil, err
	}
	card, took, err := ask(ctx, a, r, func(ctx context.Context, tx pgx.Tx, r request) (*query.AddressCard, error) {
		return address(ctx, tx, r, addr)
	})
	if err != nil {
		return nil, err
	}
	card.Took = took
	return card, nil
}

// about is the same request about flows with an address: words say on which side.
func (r request) about(words string, addr netip.Addr) (request, error) {
	text := words + " " + addr.String()
	if !r.filter.Any() {
		text = "(" + r.filter.String() + ") and " + text
	}
	var err error
	if r.filter, err = filter.Parse(text); err != nil {
		return r, &query.Error{Parameter: "filter", Reason: err.Error()}
	}
	return r, nil
}

// address answers a request for the card of an address.
func address(ctx context.Context, tx pgx.Tx, r request, addr netip.Addr) (*query.AddressCard, error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	var read union
	ask := func(part, words string, limit int, key query.Key) (*query.Top, error) {
		of, err := r.keyed(key).about(words, addr)
		if err != nil {
			return nil, err
		}
		of.limit = limit
		t, err := rank(ctx, tx, of, s)
		if err != nil {
			return nil, err
		}
		read = append(read, reader{of, t.plan.forReaders()}.partOfCard(part))
		return t.Top, nil
	}
	sent, err := ask("sends to", "src ip", query.MaxLimit, query.KeyDstAddr)
	if err != nil {
		return nil, err
	}
	received, err := ask("receives from", "dst ip", query.MaxLimit, query.KeySrcAddr)
	if err != nil {
		return nil, err
	}
	ports, err := ask("destination ports", "ip", r.limit, query.KeyDstPort)
	if err != nil {
		return nil, err
	}
	of, err := r.about("ip", addr)
	if err != nil {
		return nil, err
	}
	seen, err := flows(ctx, tx, of, query.FlowsQuestion{Sort: "flow_start"}, page{sort: "flow_start"})
	if err != nil {
		return nil, err
	}
	card := &query.AddressCard{
		Addr: addr, From: sent.From, To: sent.To, In: received.Total, Out: sent.Total,
		Peers: peersOf(addr, sent, received, r.limit), Ports: ports.Rows,
		FirstSeen: seen.Summary.First, LastSeen: seen.Summary.Last, Provenance: received.Provenance,
	}
	card.Exact = sent.Exact && received.Exact && ports.Exact
	card.Cut, card.Command, card.Filter = ports.Cut, seen.Command, of.filter.String()
	card.SQL, err = readable(ordered{read, []string{"part", "line", "flows desc", "value"}})
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return card, nil
}

// partOfCard is a ranking as rows of an address card, its one key as text.
func (r reader) partOfCard(part string) statement {
	return &selection{
		columns: all([]column{named("'"+part+"'", "part"), named("line", "line"), named(r.columns[0].Grouped()+"::text", "value")}, columnsOf(measures...), columnsOf("groups")),
		from:    derived{r.ranking(), "ranking"},
	}
}

// peersOf are the addresses with most flows to or from an address. A flow from it to itself
// is in both rankings.
func peersOf(addr netip.Addr, sent, received *query.Top, limit int) []query.TopRow {
	peers := make(map[string]*query.TopRow)
	for _, t := range []*query.Top{sent, received} {
		for _, r := range t.Rows {
			if p := peers[r.Label]; p == nil {
				r.Values = slices.Clone(r.Values)
				r.Values[0].Column = "addr"
				peers[r.Label] = &r
			} else if r.Label != addr.String() {
				p.Sums = p.Sums.Plus(r.Sums)
			}
		}
	}
	all := sent.Total.Flows + received.Total.Flows
	if self := peers[addr.String()]; self != nil {
		all -= self.Flows
	}
	list := []query.TopRow{}
	for _, p := range peers {
		p.Share = quotient(float64(p.Flows), float64(all))
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b query.TopRow) int {
		return cmp.Or(cmp.Compare(b.Flows, a.Flows), strings.Compare(a.Label, b.Label))
	})
	return list[:min(len(list), limit)]
}
