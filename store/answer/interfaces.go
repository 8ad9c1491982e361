package answer

import (
	"context"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// mostInterfaces is how many interfaces of one direction are counted: those with
// most bytes.
const mostInterfaces = 100_000

// InterfaceTraffic sums what went in and out by the interfaces of all exporters,
// or of the question's, in one statement for each direction however many there
// are. It takes the question's range and exporter; the range begins at its whole
// minute, so that no flow has to be read where there are roll-ups.
func (a *Answerer) InterfaceTraffic(ctx context.Context, q query.Question) ([]query.InterfaceSums, error) {
	q.Keys, q.By, q.From = nil, query.ByBytes, flow.TimeOf(q.From).Floor(flow.Minute).Time()
	r, err := newRequest(q)
	if err != nil {
		return nil, err
	}
	list, _, err := ask(ctx, a, r, interfaces)
	return list, err
}

// interfaces answers a request for the traffic of interfaces.
func interfaces(ctx context.Context, tx pgx.Tx, r request) ([]query.InterfaceSums, error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	type key struct{ exporter, index int64 }
	var list []query.InterfaceSums
	at := make(map[key]int)
	for _, side := range []query.Key{query.KeyInIf, query.KeyOutIf} {
		of := r.keyed(query.KeyExporter, side)
		of.limit = mostInterfaces
		t, err := top(ctx, tx, of, makePlan(of, s))
		if err != nil {
			return nil, err
		}
		for i, g := range t.groups {
			exporter, index := g.numbers[0], g.numbers[1]
			if exporter == nil || index == nil {
				continue // the flows did not say by which they went
			}
			k := key{*exporter, *index}
			n, ok := at[k]
			if !ok {
				n = len(list)
				at[k] = n
				list = append(list, query.InterfaceSums{ExporterID: flow.ExporterID(k.exporter), IfIndex: k.index})
			}
			if side == query.KeyInIf {
				list[n].In = t.Rows[i].Sums
			} else {
				list[n].Out = t.Rows[i].Sums
			}
		}
	}
	return list, nil
}
