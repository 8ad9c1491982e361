package answer

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
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

// followLimits say how many hosts are followed.
type followLimits struct {
	// few and most are how many hosts of an hour at least and at most: as many as
	// leave to any other no more than open of the hour's average slot. Where that
	// takes more than most, all are read.
	few, most int
	open      float64
	// minutes is up to how many all are read in any case: as fast, and closer.
	minutes flow.Time
}

var following = followLimits{few: 20, most: 200, open: 0.03, minutes: 2 * flow.Hour}

// Followed is a part of an hour of whose minutes some hosts are read alone.
type Followed struct {
	Hour, From, To flow.Time
	Hosts          []netip.Addr
	// Others is how many flows any other host has at most in the hour, but for those
	// that no roll-up has yet.
	Others int64
}

// hourHosts are the busiest hosts of an hour, the busiest first, and the cut of its
// remainders.
type hourHosts struct {
	hosts []hostFlows
	cut   float64
}

type hostFlows struct {
	addr  netip.Addr
	flows float64
}

// others is how many flows a host that is not among the first n has at most.
func (h hourHosts) others(n int) float64 {
	if n < len(h.hosts) {
		return max(0, h.hosts[n].flows) + h.cut
	}
	return h.cut
}

// findFollowed finds the hours of a plan that can be read by their hosts, and these. flows
// is what each slot has altogether.
func findFollowed(ctx context.Context, tx pgx.Tx, r reader, s State, flows []int64) ([]Followed, error) {
	hours := r.settledHours(s)
	if len(hours) == 0 {
		return nil, nil
	}
	rows, err := run(ctx, tx, r.busiestOfHours(hours))
	if err != nil {
		return nil, fmt.Errorf("hosts of hours: %w", err)
	}
	found := make(map[flow.Time]hourHosts)
	var (
		at   time.Time
		addr *netip.Prefix
		n    float64
	)
	if _, err := pgx.ForEachRow(rows, []any{&at, &addr, &n}, func() error {
		h := found[flow.TimeOf(at)]
		if addr == nil {
			h.cut += n
		} else {
			h.hosts = append(h.hosts, hostFlows{addr.Addr(), n})
		}
		found[flow.TimeOf(at)] = h
		return nil
	}); err != nil {
		return nil, fmt.Errorf("hosts of hours: %w", err)
	}
	for _, h := range found {
		slices.SortFunc(h.hosts, func(a, b hostFlows) int { return cmp.Or(cmp.Compare(b.flows, a.flows), a.addr.Compare(b.addr)) })
	}
	return chooseFollowed(hours, found, r.slots, flows), nil
}

// settledHours are the parts of hours of a plan whose minutes are read and whose hour is
// settled; none when all hosts are read in any case.
func (r reader) settledHours(s State) (hours []Followed) {
	if r.same == 0 || r.slots.step >= flow.Hour || flow.Hour%r.slots.step != 0 || !r.slots.aligned() {
		return nil
	}
	var fine flow.Time
	for _, g := range r.Segments {
		if g.Source != rollup.Minutes {
			continue
		}
		fine += g.length()
		for h := g.From.Floor(flow.Hour); h < g.To; h += flow.Hour {
			if s.of(r.request).complete(rollup.Hours, h, s.EqualSidesSince) {
				hours = append(hours, Followed{Hour: h, From: max(h, g.From), To: min(h+flow.Hour, g.To)})
			}
		}
	}
	if fine <= following.minutes {
		return nil
	}
	return hours
}

// chooseFollowed chooses the hours that are read by their hosts, and as many hosts as leave
// little to any other. It is pure.
func chooseFollowed(hours []Followed, found map[flow.Time]hourHosts, in slots, flows []int64) (chosen []Followed) {
	for _, f := range hours {
		first, last, n := query.Buckets(f.From, f.To, in.step)
		var all int64
		for t := first; t <= last; t += in.step {
			i, _ := in.index(t)
			all += flows[i]
		}
		h := found[f.Hour]
		open := following.open * float64(all) / float64(n)
		k := min(following.few, len(h.hosts))
		for k < len(h.hosts) && h.others(k) > open {
			k++
		}
		if k > following.most || len(h.hosts) <= k && h.others(k) > open {
			continue
		}
		f.Others = int64(h.others(k))
		for _, host := range h.hosts[:k] {
			f.Hosts = append(f.Hosts, host.addr)
		}
		chosen = append(chosen, f)
	}
	return chosen
}

// wholeHours are the segments of traffic_1h of hours, those that follow each other
// together.
func wholeHours(hours []Followed) (segments []Segment) {
	for _, f := range hours {
		if n := len(segments); n > 0 && segments[n-1].To >= f.Hour {
			segments[n-1].To = f.Hour + flow.Hour
		} else {
			segments = append(segments, Segment{Source: rollup.Hours, From: f.Hour, To: f.Hour + flow.Hour})
		}
	}
	return segments
}

// minutesOf are the segments of traffic_1m of parts of hours, those that follow each other
// together; none without a part.
func minutesOf(parts []Followed) []Segment {
	segments := []Segment{}
	for _, f := range parts {
		if n := len(segments); n > 0 && segments[n-1].To == f.From {
			segments[n-1].To = f.To
		} else {
			segments = append(segments, Segment{Source: rollup.Minutes, From: f.From, To: f.To})
		}
	}
	return segments
}

// unfollowed are the segments of which all hosts are read.
func (p Plan) unfollowed() (segments []Segment) {
	next := p.Followed
	for _, g := range p.Segments {
		if g.Source != rollup.Minutes {
			segments = append(segments, g)
			continue
		}
		for ; len(next) > 0 && next[0].From < g.To; next = next[1:] {
			before := g
			if before.To = next[0].From; before.From < before.To {
				segments = append(segments, before)
			}
			g.From = next[0].To
		}
		if g.From < g.To {
			segments = append(segments, g)
		}
	}
	return segments
}
