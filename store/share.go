package store

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// Share is how much of all flows the busiest host had, over time: flows in which
// it is source or destination, each once, of all flows.
type Share struct {
	From, To time.Time
	Step     time.Duration
	// Start is where the buckets begin. Host is who had most flows in each, the
	// zero address where nobody had any; HostFlows is how many, Flows all there
	// were, Share the quotient, 0 to 1.
	Start     []time.Time
	Share     []float64
	Host      []netip.Addr
	HostFlows []int64
	Flows     []int64
	// Highlights are the times in which one host had at least half of all flows,
	// and these were at least one in a hundred of the range's; the largest share
	// first.
	Highlights []Highlight
	Provenance
}

// Highlight is a run of buckets in which one host had at least half of all
// flows.
type Highlight struct {
	Addr     netip.Addr
	From, To time.Time
	Share    float64
	// Flows is how many the host had.
	Flows int64
}

const (
	// highlighted is from which share on a host is pointed out, when it has at
	// least noticed of all flows of the range.
	highlighted, noticed = 0.5, 0.01
	// maxHighlights is how many are.
	maxHighlights = 10
	// shareBuckets is how many buckets an automatic step makes at most: a day is
	// then answered by hours.
	shareBuckets = 36
)

// Share follows the largest part that any single host had of all flows. Of the
// question, Keys, By and Limit mean nothing.
func (db *DB) Share(ctx context.Context, q Question) (*Share, error) {
	q.Keys, q.By, q.Limit, q.Having, q.Scaled = []Key{KeyAddr}, ByFlows, 1, nil, false
	c, err := q.check()
	if err != nil {
		return nil, err
	}
	buckets := q.MaxBuckets
	if buckets == 0 {
		buckets = shareBuckets
	}
	if err := c.checkStep(q.Step, buckets); err != nil {
		return nil, err
	}
	if err := c.lookUp(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	var r *Share
	err = db.ask(ctx, c.timeout, func(tx pgx.Tx) error {
		r, err = c.share(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(began)
	return r, nil
}

func (c *question) share(ctx context.Context, tx pgx.Tx) (*Share, error) {
	// All flows, of the same moment.
	all := *c
	all.keys, all.columns = nil, nil
	if err := all.resolve(ctx, tx, c.step); err != nil {
		return nil, err
	}
	total, _, _, _, err := all.follow(ctx, tx, nil)
	if err != nil {
		return nil, err
	}
	if err := c.resolve(ctx, tx, c.step); err != nil {
		return nil, err
	}
	var run statement
	c.shareSQL(&run)
	people := statement{literal: true}
	c.shareSQL(&people)
	n := len(total.Flows)
	r := &Share{
		From: c.from.Time(), To: c.to.Time(), Step: time.Duration(c.step) * time.Millisecond,
		Share: make([]float64, n), Host: make([]netip.Addr, n), HostFlows: make([]int64, n), Flows: total.Flows,
		Highlights: []Highlight{}, Provenance: c.provenance("series --share", people.String()),
	}
	r.Command = strings.Replace(r.Command, " --key addr", "", 1)
	r.Command = strings.Replace(r.Command, " --limit 1", "", 1)
	r.Resolution = resolution(c.step)
	for t := c.first; t <= c.last; t += c.step {
		r.Start = append(r.Start, t.Time())
	}
	rows, err := tx.Query(ctx, run.String(), append([]any{pgx.QueryExecModeExec}, run.args...)...)
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	var (
		bucket time.Time
		addr   *netip.Prefix
		flows  int64
		cut    int64
		worst  int64
	)
	if _, err := pgx.ForEachRow(rows, []any{&bucket, &addr, &flows, &cut}, func() error {
		i := int((flow.TimeOf(bucket) - c.first) / c.step)
		if i < 0 || i >= n || addr == nil || flows <= 0 {
			return nil
		}
		r.Host[i], r.HostFlows[i] = addr.Addr(), flows
		if r.Flows[i] > 0 {
			r.Share[i] = float64(flows) / float64(r.Flows[i])
		}
		worst = max(worst, cut)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	if worst > 0 {
		r.Exact, r.Remainder = false, &Remainder{Error: worst}
	}
	r.highlight()
	return r, nil
}

// highlight finds the runs in which one host had most.
func (r *Share) highlight() {
	var everything int64
	for _, n := range r.Flows {
		everything += n
	}
	for i := 0; i < len(r.Start); {
		if r.Share[i] < highlighted {
			i++
			continue
		}
		h := Highlight{Addr: r.Host[i], From: r.Start[i]}
		var all int64
		for ; i < len(r.Start) && r.Host[i] == h.Addr && r.Share[i] >= highlighted; i++ {
			h.Flows, all = h.Flows+r.HostFlows[i], all+r.Flows[i]
			h.To = r.Start[i].Add(r.Step)
		}
		h.Share = float64(h.Flows) / float64(all)
		h.From, h.To = latestOf(h.From, r.From), earliestOf(h.To, r.To)
		if float64(h.Flows) >= noticed*float64(everything) {
			r.Highlights = append(r.Highlights, h)
		}
	}
	slices.SortStableFunc(r.Highlights, func(a, b Highlight) int { return cmp.Compare(b.Share, a.Share) })
	r.Highlights = r.Highlights[:min(len(r.Highlights), maxHighlights)]
}

// shareSQL writes the statement: of each bucket, the host with most flows, and
// how many more than another could have that the roll-ups do not tell apart.
func (c *question) shareSQL(s *statement) {
	s.line("with sides as (")
	first := true
	for _, p := range c.p.pieces {
		for i, side := range c.sides() {
			if !first {
				s.line("  union all")
			}
			first = false
			if p.source == raw {
				at := "flow_start"
				if c.whole {
					at = "flow_end"
				}
				s.line("  select ", c.bin(at), " as bucket, ", c.named(side), ", count(*) as flows, 0::bigint as cut")
				s.line("  from flows")
				c.where(s, "  ", p)
				s.line("    and ", at, " >= ", s.time(p.from))
				if i > 0 {
					s.line("    and ", c.otherSide())
				}
				s.line("  group by 1, 2")
				continue
			}
			one := *c.p
			one.pieces, one.dims, one.self = []piece{p}, c.p.dims[i:i+1], false
			d := *c
			d.p = &one
			d.rolled(s, "  ", "select "+c.bin("bucket")+" as bucket, "+c.named(side)+", sum(case when remainder then 0 else flows end) as flows, coalesce(sum(case when remainder then cut[1] end), 0) as cut",
				true, "group by 1, 2")
		}
		if p.source != raw {
			one := *c.p
			one.pieces, one.dims, one.self = []piece{p}, []dimension{dimPair}, true
			d := *c
			d.p = &one
			s.line("  union all")
			d.rolled(s, "  ", "select "+c.bin("bucket")+" as bucket, "+c.named(c.sides()[0])+", -sum(case when remainder then 0 else flows end) as flows, coalesce(sum(case when remainder then cut[1] end), 0) as cut", true, "group by 1, 2")
		}
	}
	s.line("), hosts as (")
	s.line("  select bucket, addr, sum(flows) as flows, sum(cut) as cut from sides group by bucket, addr")
	s.line("), most as (")
	s.line("  select bucket, max(flows) filter (where addr is not null) as flows, sum(cut) as cut from hosts group by bucket")
	s.line(")")
	s.line("select bucket, min(hosts.addr) as addr, flows::bigint, most.cut::bigint")
	s.line("from hosts join most using (bucket, flows)")
	s.line("where hosts.addr is not null")
	s.line("group by bucket, flows, most.cut")
	s.line("order by bucket")
}
