package answer

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/rollup"
)

// Who stands out in some minutes stands out in their hour. So of an hour that is
// settled, the hosts with most flows in traffic_1h are followed through its
// minutes, by the index that these have, and nobody else is read: whoever is not
// followed has in no slot of the hour more flows than in the hour, and there at
// most what the first who is not followed has, and the cuts of the hour's
// remainders. That bounds who could have had most in a slot, as a cut does.

// followLaw is how many hosts are followed.
type followLaw struct {
	// few and most are how many hosts of an hour at least and at most: as many as
	// leave to any other no more than open of the hour's average slot. Where that
	// takes more than most, all are read.
	few, most int
	open      float64
	// minutes is up to how many all are read in any case: as fast, and closer.
	minutes flow.Time
}

var following = followLaw{few: 20, most: 200, open: 0.03, minutes: 2 * flow.Hour}

// followed is a part of an hour of whose minutes some hosts are read alone.
type followed struct {
	hour, from, to flow.Time
	hosts          []netip.Addr
	// others is how many flows any other host has at most in the hour, but for those
	// that no roll-up has yet.
	others int64
}

// follows reports whether hours are read by their hosts.
func (p *plan) follows() bool { return len(p.followed) > 0 }

// followHosts finds the hours of the plan that can be read by their hosts, and
// these. flows is what each slot has altogether.
func (c *question) followHosts(ctx context.Context, tx pgx.Tx, flows []int64) error {
	if c.p.same == 0 || c.step >= flow.Hour || flow.Hour%c.step != 0 {
		return nil
	}
	var (
		parts []followed
		fine  flow.Time
	)
	for _, p := range c.p.pieces {
		if p.source != rollup.Minutes {
			continue
		}
		fine += p.to - p.from
		for h := p.from.Floor(flow.Hour); h < p.to; h += flow.Hour {
			if c.looked.complete(rollup.Hours, h) {
				parts = append(parts, followed{hour: h, from: max(h, p.from), to: min(h+flow.Hour, p.to)})
			}
		}
	}
	if fine <= following.minutes || len(parts) == 0 {
		return nil
	}
	var s statement
	c.mostSQL(&s, parts)
	s.line("union all")
	s.line("select bucket, null, sum(cut)::float8 from (")
	c.ofHours(parts, c.p.dims...).rolled(&s, "  ", "select bucket, cut[1] as cut", true)
	s.line(") rest group by bucket")
	rows, err := tx.Query(ctx, s.String(), append([]any{pgx.QueryExecModeExec}, s.args...)...)
	if err != nil {
		return fmt.Errorf("hosts of hours: %w", err)
	}
	type host struct {
		addr  netip.Addr
		flows float64
	}
	hosts := make(map[flow.Time][]host)
	cuts := make(map[flow.Time]float64)
	var (
		at   time.Time
		addr *netip.Prefix
		n    float64
	)
	if _, err := pgx.ForEachRow(rows, []any{&at, &addr, &n}, func() error {
		if h := flow.TimeOf(at); addr == nil {
			cuts[h] += n
		} else {
			hosts[h] = append(hosts[h], host{addr.Addr(), n})
		}
		return nil
	}); err != nil {
		return fmt.Errorf("hosts of hours: %w", err)
	}
	for _, list := range hosts {
		slices.SortFunc(list, func(a, b host) int { return cmp.Or(cmp.Compare(b.flows, a.flows), a.addr.Compare(b.addr)) })
	}
	for _, f := range parts {
		var all int64
		first, last, slots := query.Buckets(f.from, f.to, c.step)
		for t := first; t <= last; t += c.step {
			all += flows[(t-c.first)/c.step]
		}
		list := hosts[f.hour]
		others := func(k int) float64 {
			if k < len(list) {
				return max(0, list[k].flows) + cuts[f.hour]
			}
			return cuts[f.hour]
		}
		k := min(following.few, len(list))
		for open := following.open * float64(all) / float64(slots); k < len(list) && others(k) > open; k++ {
		}
		if k > following.most || len(list) <= k && others(k) > following.open*float64(all)/float64(slots) {
			continue
		}
		f.others = int64(others(k))
		for _, host := range list[:k] {
			f.hosts = append(f.hosts, host.addr)
		}
		c.p.followed = append(c.p.followed, f)
	}
	return c.reckon(ctx, tx)
}

// ofHours is the question to traffic_1h of these hours, for reading dimensions.
func (c *question) ofHours(parts []followed, dims ...rollup.Dimension) *question {
	whole := slices.Clone(parts)
	for i := range whole {
		whole[i].from, whole[i].to = whole[i].hour, whole[i].hour+flow.Hour
	}
	d := c.only(dims[0], runs(rollup.Hours, whole)...)
	d.p.dims = dims
	return d
}

// runs are the pieces that parts of hours make, which follow each other.
func runs(source rollup.Grain, parts []followed) (pieces []piece) {
	for _, f := range parts {
		if n := len(pieces); n > 0 && pieces[n-1].to >= f.from {
			pieces[n-1].to = f.to
		} else {
			pieces = append(pieces, piece{source: source, from: f.from, to: f.to})
		}
	}
	return pieces
}

// mostSQL adds the hosts with most flows of each hour, as many as could be followed
// and one. Each hour is grouped by itself: that needs no sorting of all hosts of
// all hours, and an index finds its rows.
func (c *question) mostSQL(s *statement, parts []followed) {
	for i, f := range parts {
		if i > 0 && parts[i-1].hour == f.hour {
			continue
		}
		if i > 0 {
			s.line("union all")
		}
		s.line("(select ", s.time(f.hour), "::timestamptz, addr, sum(flows) as flows from (")
		c.sidesOfHours(s, parts[i:i+1], "")
		s.line(") side where addr is not null group by addr order by flows desc, addr limit ", strconv.Itoa(following.most+1), ")")
	}
}

// followedSQL adds the hosts that are followed of each hour, for people.
func (c *question) followedSQL(s *statement) {
	list := make([]string, len(c.p.followed))
	for i, f := range c.p.followed {
		list[i] = "(timestamptz " + s.time(f.hour) + ", " + strconv.Itoa(len(f.hosts)) + ")"
	}
	s.line("  select bucket as hour, addr from (")
	s.line("    select bucket, addr, row_number() over (partition by bucket order by sum(flows) desc, addr) as rank from (")
	c.sidesOfHours(s, c.p.followed, "bucket, ")
	s.line("    ) side where addr is not null group by bucket, addr")
	s.line("  ) most join (values ", strings.Join(slices.Compact(list), ", "), ") hours (hour, hosts) on hours.hour = bucket where rank <= hosts")
}

// sidesOfHours adds the hosts' rows of hours.
func (c *question) sidesOfHours(s *statement, parts []followed, columns string) {
	for i, dim := range append(slices.Clone(c.p.dims), c.p.same) {
		sign, side := "", c.sides()[i%2]
		if dim == c.p.same {
			sign = "-"
		}
		if i > 0 {
			s.line("      union all")
		}
		c.ofHours(parts, dim).rolled(s, "      ", "select "+columns+c.named(side)+", "+sign+"flows::float8 as flows", false)
	}
}

// unfollowed are the pieces of which all hosts are read.
func (p *plan) unfollowed() (pieces []piece) {
	next := p.followed
	for _, piece := range p.pieces {
		if piece.source != rollup.Minutes {
			pieces = append(pieces, piece)
			continue
		}
		for ; len(next) > 0 && next[0].from < piece.to; next = next[1:] {
			before := piece
			if before.to = next[0].from; before.from < before.to {
				pieces = append(pieces, before)
			}
			piece.from = next[0].to
		}
		if piece.from < piece.to {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}

// hourly adds the rows of a dimension that the hosts have in the minutes of their
// hours. A person's statement finds the hosts itself; named one by one for each
// hour, as in the other, it is many times faster, and long.
func (c *question) hourly(s *statement, union func(), columns string, dim rollup.Dimension, side string) {
	if s.literal {
		union()
		c.only(dim, runs(rollup.Minutes, c.p.followed)...).rolled(s, "  ", columns, false,
			"and (date_bin('1 hour', bucket, 'epoch'), "+side+") in (select hour, addr from followed)")
		return
	}
	for _, f := range c.p.followed {
		if len(f.hosts) == 0 {
			continue
		}
		texts := make([]string, len(f.hosts))
		for i, a := range f.hosts {
			texts[i] = a.String()
		}
		union()
		c.only(dim, piece{source: rollup.Minutes, from: f.from, to: f.to}).rolled(s, "  ", columns, false,
			"and "+side+" = any('{"+strings.Join(texts, ",")+"}')")
	}
}
