package answer

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// mostInterfaces is how many interfaces of one direction are counted: those with
// most bytes.
const mostInterfaces = 100_000

// InterfaceTraffic sums what went in and out by the interfaces of all exporters,
// or of the question's, in one statement for each direction however many there
// are; the two run at the same time. It takes the question's range and exporter; the range
// begins at its whole minute, so that no flow has to be read where there are roll-ups. It
// is whole unless roll-ups know the smallest interfaces only as a sum.
func (a *Answerer) InterfaceTraffic(ctx context.Context, q query.Question) (list []query.InterfaceSums, whole bool, err error) {
	q.Keys, q.By, q.From = nil, query.ByBytes, flow.TimeOf(q.From).Floor(flow.Minute).Time()
	r, err := newRequest(q)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		sides   [2]direction
		working sync.WaitGroup
	)
	for i, side := range []query.Key{query.KeyInIf, query.KeyOutIf} {
		working.Go(func() {
			d, _, err := ask(ctx, a, r, func(ctx context.Context, tx pgx.Tx, r request) (direction, error) {
				return readDirection(ctx, tx, r, side)
			})
			if err != nil {
				cancel(err) // the other side alone is no answer
			}
			sides[i] = d
		})
	}
	working.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, false, err
	}
	at := make(map[interfaceKey]int)
	for i, d := range sides {
		for k, sums := range d.sums {
			n, ok := at[k]
			if !ok {
				n = len(list)
				at[k] = n
				list = append(list, query.InterfaceSums{ExporterID: flow.ExporterID(k.exporter), IfIndex: k.index})
			}
			if i == 0 {
				list[n].In = sums
			} else {
				list[n].Out = sums
			}
		}
	}
	return list, sides[0].whole && sides[1].whole, nil
}

// interfaceKey is an interface of an exporter.
type interfaceKey struct{ exporter, index int64 }

// direction is what went by interfaces one way.
type direction struct {
	sums  map[interfaceKey]query.Sums
	whole bool
}

// readDirection answers a request for the traffic of interfaces one way.
func readDirection(ctx context.Context, tx pgx.Tx, r request, side query.Key) (d direction, err error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return d, err
	}
	of := r.keyed(query.KeyExporter, side)
	of.limit, of.unbounded = mostInterfaces, true
	t, err := top(ctx, tx, of, makePlan(of, s))
	if err != nil {
		return d, err
	}
	d = direction{make(map[interfaceKey]query.Sums, len(t.groups)), t.Remainder == nil && t.Other == nil}
	for i, g := range t.groups {
		if exporter, index := g.numbers[0], g.numbers[1]; exporter != nil && index != nil { // else the flows did not say by which they went
			d.sums[interfaceKey{*exporter, *index}] = t.Rows[i].Sums
		}
	}
	return d, nil
}
