package answer

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/rollup"
)

// Share follows the largest part that any single host had of all flows. Of the
// question, Keys, By and Limit mean nothing.
func (a *Answerer) Share(ctx context.Context, q query.Question) (*query.Share, error) {
	q.Keys, q.By, q.Limit, q.Having, q.Scaled = []query.Key{query.KeyAddr}, query.ByFlows, 1, nil, false
	c, err := check(q)
	if err != nil {
		return nil, err
	}
	buckets := q.MaxBuckets
	if buckets == 0 {
		buckets = query.ShareBuckets
	}
	if err := c.checkStep(q.Step, buckets); err != nil {
		return nil, err
	}
	c.coarsen(q.Step)
	if err := c.lookUp(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	var r *query.Share
	err = a.db.Ask(ctx, c.timeout, func(tx pgx.Tx) error {
		r, err = c.share(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(began)
	return r, nil
}

func (c *question) share(ctx context.Context, tx pgx.Tx) (*query.Share, error) {
	if err := c.resolve(ctx, tx, c.step); err != nil {
		return nil, err
	}
	// All flows, of the same moment; where hosts are read from flows, as those of one
	// value are, from the same ones.
	all := *c
	all.keys, all.columns, all.raw = nil, nil, c.raw || !c.p.rolled()
	if err := all.resolve(ctx, tx, c.step); err != nil {
		return nil, err
	}
	total, err := all.flowsBySlot(ctx, tx)
	if err != nil {
		return nil, err
	}
	if err := c.followHosts(ctx, tx, total); err != nil {
		return nil, err
	}
	var run statement
	c.shareSQL(&run)
	people := statement{literal: true}
	c.shareSQL(&people)
	n := len(total)
	r := &query.Share{
		From: c.from.Time(), To: c.to.Time(), Step: time.Duration(c.step) * time.Millisecond,
		Share: make([]float64, n), Host: make([]netip.Addr, n), HostFlows: make([]int64, n), Flows: total,
		Highlights: []query.Highlight{}, Provenance: c.provenance("series --share", people.String()),
	}
	r.Command = strings.Replace(r.Command, " --key addr", "", 1)
	r.Command = strings.Replace(r.Command, " --limit 1", "", 1)
	r.Resolution = query.FormatResolution(c.step)
	for t := c.first; t <= c.last; t += c.step {
		r.Start = append(r.Start, t.Time())
	}
	rows, err := tx.Query(ctx, run.String(), append([]any{pgx.QueryExecModeExec}, run.args...)...)
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
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
	others := make([]int64, n)
	for _, f := range c.p.followed {
		for t := f.from.Floor(c.step); t < f.to; t += c.step {
			others[(t-c.first)/c.step] = f.others
		}
	}
	if _, err := pgx.ForEachRow(rows, []any{&bucket, &addr, &flows, &cut, &twice, &rivals, &beside}, func() error {
		i := int((flow.TimeOf(bucket) - c.first) / c.step)
		if i < 0 || i >= n {
			return nil
		}
		if others[i] > 0 {
			others[i] += beside
		}
		if addr == nil || flows <= 0 {
			// All that there are may be in the remainder.
			worst = max(worst, min(cut, r.Flows[i]))
			return nil
		}
		// No host has more than there is.
		flows = min(flows, r.Flows[i])
		r.Host[i], r.HostFlows[i] = addr.Addr(), flows
		if r.Flows[i] > 0 {
			r.Share[i] = float64(flows) / float64(r.Flows[i])
		}
		uncertain = uncertain || cut+twice > 0 && (rivals > 1 || flows-twice <= cut) || others[i] > 0 && flows-twice <= others[i]
		worst = max(worst, min(cut, r.Flows[i]-flows), min(twice, flows))
		return nil
	}); err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	for i, most := range others {
		worst = max(worst, min(most, r.Flows[i])-r.HostFlows[i])
	}
	if worst > 0 || uncertain {
		r.Exact, r.Remainder = false, &query.Remainder{Error: worst}
	}
	r.FindHighlights()
	return r, nil
}

// flowsBySlot counts all flows of each slot.
func (c *question) flowsBySlot(ctx context.Context, tx pgx.Tx) ([]int64, error) {
	var s statement
	s.line("select bucket, sum(flows)::bigint from (")
	for i, p := range c.p.pieces {
		if i > 0 {
			s.line("  union all")
		}
		if p.source != raw {
			c.only(rollup.DimTotal, p).rolled(&s, "  ", "select "+c.bin("bucket")+" as bucket, flows", false)
			continue
		}
		at := c.startColumn()
		s.line("  select ", c.bin(at), " as bucket, count(*) as flows from flows")
		c.where(&s, "  ", p)
		s.line("    and ", at, " >= ", s.time(p.from), " group by 1")
	}
	s.line(") piece group by bucket")
	rows, err := tx.Query(ctx, s.String(), append([]any{pgx.QueryExecModeExec}, s.args...)...)
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	flows := make([]int64, (c.last-c.first)/c.step+1)
	var (
		at time.Time
		n  int64
	)
	_, err = pgx.ForEachRow(rows, []any{&at, &n}, func() error {
		i := (flow.TimeOf(at) - c.first) / c.step
		if i < 0 || int(i) >= len(flows) {
			return fmt.Errorf("bucket %v is outside of the range", at)
		}
		flows[i] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("share: %w", err)
	}
	return flows, nil
}

// startColumn is when a flow counts as one.
func (c *question) startColumn() string {
	if c.whole {
		return "flow_end"
	}
	return "flow_start"
}

// shareSQL writes the statement: of each bucket, the host with most flows; how
// many more than the roll-ups' rows say any host may have (cut) and how many less
// (twice), because a flow from the host to itself is in the remainder of
// those; and how many hosts could be the one with most.
//
// Where a host has a row, its own cut is at most that of the remainder, so the
// cuts of all remainders of a bucket bound every host.
func (c *question) shareSQL(s *statement) {
	// Each host has its rows in each minute, cell and side; they are grouped once.
	// Flows are counted one by one, so float8 has them exactly, in a quarter of the
	// room and time that numbers of any size take.
	s.line("with ")
	if c.p.follows() && s.literal {
		s.line("followed as materialized (")
		c.followedSQL(s)
		s.line("),")
	}
	first := true
	union := func() {
		if !first {
			s.line("  union all")
		}
		first = false
	}
	rolled, late := c.p.rolled(), false
	var pieces []piece
	for _, p := range c.p.unfollowed() {
		if p.source == raw {
			late = late || p.batches != nil
		} else {
			pieces = append(pieces, p)
		}
	}
	// What the roll-ups do not have yet adds to what any host can have.
	if late = late && c.p.follows(); late {
		s.line("late as materialized (")
		for _, p := range c.p.pieces {
			if p.batches != nil {
				c.shareOfFlows(s, union, p)
			}
		}
		s.line("),")
		first = true
	}
	// The flows of an edge are few among those that are gone through for them: that
	// is done once.
	var edges []piece
	for _, p := range c.p.pieces {
		if rolled && p.source == raw && p.batches == nil && p.to-p.from <= flow.Minute {
			edges = append(edges, p)
		}
	}
	if len(edges) > 0 {
		s.line("edges as materialized (")
		for _, p := range edges {
			union()
			s.line("  select ", c.bin("flow_start"), " as bucket, src_addr, dst_addr")
			s.line("  from flows")
			c.where(s, "  ", p)
			s.line("    and flow_start >= ", s.time(p.from))
		}
		s.line("),")
		first = true
	}
	s.line("sides as (")
	if late {
		union()
		s.line("  select * from late")
	}
	for _, p := range c.p.pieces {
		if p.source == raw && !(late && p.batches != nil) && !slices.ContainsFunc(edges, func(e piece) bool { return e.from == p.from && p.batches == nil }) {
			c.shareOfFlows(s, union, p)
		}
	}
	if len(edges) > 0 {
		for i, side := range c.sides() {
			union()
			s.line("  select bucket, ", c.named(side), ", count(*)::float8 as flows from edges")
			if i > 0 {
				s.line("  where ", c.otherSide())
			}
			s.line("  group by 1, 2")
		}
	}
	dims := c.p.dims
	if rolled {
		for i, dim := range append(slices.Clone(dims), c.p.same) {
			sign := ""
			if dim == c.p.same {
				i, sign = 0, "-"
			}
			columns := "select " + c.bin("bucket") + " as bucket, " + c.named(c.sides()[i]) + ", " + sign + "flows::float8 as flows"
			switch {
			case dim == c.p.same:
				// These are few, of whomever.
				union()
				c.only(dim).rolled(s, "  ", columns, false)
				continue
			case len(pieces) > 0:
				union()
				c.only(dim, pieces...).rolled(s, "  ", columns, false)
			}
			if c.p.follows() {
				c.hourly(s, union, columns, dim, c.sides()[i][0])
			}
		}
	}
	s.line("), hosts as materialized (")
	s.line("  select bucket, addr, sum(flows) as flows from sides group by bucket, addr")
	s.line("), most as (")
	s.line("  select bucket, max(most) as most, coalesce(sum(cut), 0)::float8 as cut, coalesce(sum(twice), 0)::float8 as twice, max(beside) as beside from (")
	s.line("  select bucket, max(flows) filter (where addr is not null) as most, 0::bigint as twice, 0::float8 as beside, 0::bigint as cut from hosts group by bucket")
	if late {
		s.line("  union all")
		s.line("  select bucket, null, 0, max(flows), 0 from (select bucket, sum(flows) as flows from late where addr is not null group by bucket, addr) host group by bucket")
	}
	if rolled {
		// The cut stands last: such a reading is one of the remainders alone.
		for _, dim := range dims {
			s.line("  union all")
			c.only(dim).rolled(s, "  ", "select "+c.bin("bucket")+" as bucket, null, 0, 0, cut[1] as cut", true)
		}
		s.line("  union all")
		c.only(c.p.same).rolled(s, "  ", "select "+c.bin("bucket")+" as bucket, null, cut[1], 0, 0 as cut", true)
	}
	s.line("  ) bounds group by bucket")
	s.line(")")
	s.line("select most.bucket, min(addr) filter (where flows = most) as addr, coalesce(most, 0)::bigint as flows, most.cut::bigint, most.twice::bigint, count(addr) as rivals, most.beside::bigint")
	s.line("from most left join hosts on hosts.bucket = most.bucket and addr is not null and flows >= most - most.cut - most.twice")
	s.line("group by most.bucket, most, most.cut, most.twice, most.beside")
	s.line("order by bucket")
}

// shareOfFlows adds how many flows of a piece each host has, on either side.
func (c *question) shareOfFlows(s *statement, union func(), p piece) {
	for i, side := range c.sides() {
		union()
		at := c.startColumn()
		s.line("  select ", c.bin(at), " as bucket, ", c.named(side), ", count(*)::float8 as flows")
		s.line("  from flows")
		c.where(s, "  ", p)
		s.line("    and ", at, " >= ", s.time(p.from))
		if i > 0 {
			s.line("    and ", c.otherSide())
		}
		s.line("  group by 1, 2")
	}
}
