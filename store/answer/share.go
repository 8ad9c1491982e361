package answer

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// Share follows the largest part that any single host had of all flows. Of the
// question, Keys, By and Limit mean nothing.
func (a *Answerer) Share(ctx context.Context, q query.Question) (*query.Share, error) {
	q.Keys, q.By, q.Limit, q.Having, q.Scaled = []query.Key{query.KeyAddr}, query.ByFlows, 1, nil, false
	r, err := newRequest(q)
	if err != nil {
		return nil, err
	}
	most := q.MaxBuckets
	if most == 0 {
		most = query.ShareBuckets
	}
	if r, err = r.inSlots(q.Step, q.StepMonths, most); err != nil {
		return nil, err
	}
	s, took, err := ask(ctx, a, r, share)
	if err != nil {
		return nil, err
	}
	s.Took = took
	return s, nil
}

// share answers a request for a share.
func share(ctx context.Context, tx pgx.Tx, r request) (*query.Share, error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	p := makePlan(r, s)
	// All flows, of the same moment; where hosts are read from flows, as those of one
	// value are, from the same ones.
	all := r.keyed()
	all.raw = r.raw || !p.rolled()
	total, err := flowsBySlot(ctx, tx, all, makePlan(all, s))
	if err != nil {
		return nil, err
	}
	if p.Followed, err = findFollowed(ctx, tx, reader{r, p}, s, total); err != nil {
		return nil, err
	}
	if err := prepare(ctx, tx, p); err != nil {
		return nil, err
	}
	text, err := readable(reader{r, p.forReaders()}.busiest())
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	n := len(total)
	a := &query.Share{
		From: p.From.Time(), To: p.To.Time(), Step: time.Duration(r.slots.step) * time.Millisecond, StepMonths: r.slots.months, Start: r.slots.starts(),
		Share: make([]float64, n), Host: make([]netip.Addr, n), HostFlows: make([]int64, n), Flows: total, Highlights: []query.Highlight{},
		Provenance: r.provenance(p, text, r.command(commandParts{by: true, step: true}, "series", "--share")),
	}
	a.Resolution = query.FormatResolution(r.slots.step)
	if err := readBusiest(ctx, tx, reader{r, p}, a); err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	a.FindHighlights()
	return a, nil
}

// readBusiest fills in the busiest host of each slot, and how far the roll-ups leave it
// open.
func readBusiest(ctx context.Context, tx pgx.Tx, r reader, a *query.Share) error {
	rows, err := run(ctx, tx, r.busiest())
	if err != nil {
		return err
	}
	var (
		bucket            time.Time
		addr              *netip.Prefix
		flows, cut, twice int64
		rivals, beside    int64
		worst             int64
		uncertain         bool
	)
	// others is what a host that was not read can have in each slot; 0 where all are.
	others := make([]int64, len(a.Flows))
	for _, f := range r.Followed {
		for t := f.From.Floor(r.slots.step); t < f.To; t += r.slots.step {
			i, _ := r.slots.index(t)
			others[i] = f.Others
		}
	}
	if _, err := pgx.ForEachRow(rows, []any{&bucket, &addr, &flows, &cut, &twice, &rivals, &beside}, func() error {
		i, ok := r.slots.index(flow.TimeOf(bucket))
		if !ok {
			return nil // of a wider range than was asked for
		}
		if others[i] > 0 {
			others[i] += beside
		}
		if addr == nil || flows <= 0 {
			// All that there are may be in the remainder.
			worst = max(worst, min(cut, a.Flows[i]))
			return nil
		}
		// No host has more than there is.
		flows = min(flows, a.Flows[i])
		a.Host[i], a.HostFlows[i] = addr.Addr(), flows
		if a.Flows[i] > 0 {
			a.Share[i] = float64(flows) / float64(a.Flows[i])
		}
		uncertain = uncertain || cut+twice > 0 && (rivals > 1 || flows-twice <= cut) || others[i] > 0 && flows-twice <= others[i]
		worst = max(worst, min(cut, a.Flows[i]-flows), min(twice, flows))
		return nil
	}); err != nil {
		return err
	}
	for i, most := range others {
		worst = max(worst, min(most, a.Flows[i])-a.HostFlows[i])
	}
	if worst > 0 || uncertain {
		a.Exact, a.Remainder = false, &query.Remainder{Error: worst}
	}
	return nil
}

// flowsBySlot counts all flows of each slot.
func flowsBySlot(ctx context.Context, tx pgx.Tx, r request, p Plan) ([]int64, error) {
	if err := prepare(ctx, tx, p); err != nil {
		return nil, err
	}
	rows, err := run(ctx, tx, reader{r, p}.slotFlows())
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	flows := make([]int64, r.slots.count())
	var (
		at time.Time
		n  int64
	)
	_, err = pgx.ForEachRow(rows, []any{&at, &n}, func() error {
		i, ok := r.slots.index(flow.TimeOf(at))
		if !ok {
			return outside(at)
		}
		flows[i] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	return flows, nil
}
