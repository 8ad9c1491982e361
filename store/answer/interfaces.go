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
	type place struct {
		exporter flow.ExporterID
		index    int64
	}
	var list []query.InterfaceSums
	at := make(map[place]int)
	for _, side := range []query.Key{query.KeyInIf, query.KeyOutIf} {
		q.Keys, q.By, q.From = []query.Key{query.KeyExporter, side}, query.ByBytes, flow.TimeOf(q.From).Floor(flow.Minute).Time()
		c, err := check(q)
		if err != nil {
			return nil, err
		}
		c.limit = mostInterfaces
		if err := c.lookUp(ctx); err != nil {
			return nil, err
		}
		var (
			t      *query.Top
			groups []*group
		)
		if err := a.db.Ask(ctx, c.timeout, func(tx pgx.Tx) error {
			if err := c.resolve(ctx, tx, 0); err != nil {
				return err
			}
			t, groups, err = c.top(ctx, tx)
			return err
		}); err != nil {
			return nil, err
		}
		for i, g := range groups {
			exporter, index := g.numbers[0], g.numbers[1]
			if exporter == nil || index == nil {
				continue // the flows did not say by which they went
			}
			p := place{flow.ExporterID(*exporter), *index}
			n, ok := at[p]
			if !ok {
				n = len(list)
				at[p] = n
				list = append(list, query.InterfaceSums{ExporterID: p.exporter, IfIndex: p.index})
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
