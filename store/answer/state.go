package answer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/rollup"
)

// State is what a plan depends on, all of one moment: how far back flows and roll-ups go,
// and what is not summed or settled yet.
type State struct {
	// Reach is that of the flows and then of the grains.
	Reach [1 + rollup.GrainCount]store.Reach
	// Pending are, by grain, the hours in which something waits to be settled.
	Pending map[rollup.Grain]map[flow.Time]bool
	// Unsummed are the batches that the roll-ups do not have, the oldest first; not all of
	// them when there are more than maxUnsummed.
	Unsummed []Batch
	// LastEnd is the latest end of any flow, 0 without one.
	LastEnd flow.Time
	// Growing is from when on slots may still grow, see growingSQL.
	Growing flow.Time
	// EqualSidesSince is from when on the roll-ups have the flows whose two sides are equal.
	EqualSidesSince flow.Time
	// Sampling says what is known of the exporters' rates in the range: none, known, unknown,
	// mixed.
	Sampling string
	// RatesBegin are the times, ascending, from which on rates hold that people say. A bucket
	// that has one inside is of two rates.
	RatesBegin []flow.Time
	// Ends says of some times, ascending, when all flows have ended that begin before.
	Ends []End
}

// Batch is a stored batch, and when its flows end.
type Batch struct {
	ID             int32
	MinEnd, MaxEnd flow.Time
}

// End says that all flows which begin before a time end before another.
type End struct{ Before, Until flow.Time }

// maxUnsummed is how many batches may be read beside the roll-ups; of more,
// reading all flows is better.
const maxUnsummed = 2048

// look reads the state that matters to a request, in one round trip: a question of a few
// milliseconds would otherwise be mostly waiting.
func look(ctx context.Context, tx pgx.Tx, r request) (State, error) {
	s := State{Pending: map[rollup.Grain]map[flow.Time]bool{rollup.Minutes: {}, rollup.Hours: {}, rollup.Days: {}}}
	var b pgx.Batch
	b.Queue(store.ReachSQL).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, store.ScanReach)
		copy(s.Reach[:], list)
		return err
	})
	b.Queue(samplingSQL, r.exporters, r.from.Time(), r.to.Time()).QueryRow(func(row pgx.Row) error {
		var begin []time.Time
		err := row.Scan(&s.Sampling, &begin)
		for _, t := range begin {
			s.RatesBegin = append(s.RatesBegin, flow.TimeOf(t))
		}
		return err
	})
	b.Queue("select distinct grain, date_trunc('hour', bucket) from parts.pending where bucket >= $1 and bucket < $2",
		r.from.Floor(flow.Day).Time(), (r.to.Floor(flow.Day) + flow.Day).Time()).Query(func(rows pgx.Rows) error {
		var (
			g    int16
			hour time.Time
		)
		_, err := pgx.ForEachRow(rows, []any{&g, &hour}, func() error {
			s.Pending[rollup.Grain(g)][flow.TimeOf(hour)] = true
			return nil
		})
		return err
	})
	b.Queue("select id, min_end, max_end from batches where summed_at is null order by id limit $1", maxUnsummed+1).Query(func(rows pgx.Rows) error {
		var (
			b           Batch
			first, last time.Time
		)
		_, err := pgx.ForEachRow(rows, []any{&b.ID, &first, &last}, func() error {
			b.MinEnd, b.MaxEnd = flow.TimeOf(first), flow.TimeOf(last)
			s.Unsummed = append(s.Unsummed, b)
			return nil
		})
		return err
	})
	b.Queue("select (select max(max_end) from batches), (select nullif(max(since), '-infinity') from parts.dimension)").QueryRow(func(row pgx.Row) error {
		var end, since *time.Time
		if err := row.Scan(&end, &since); err != nil {
			return err
		}
		if end != nil {
			s.LastEnd = flow.TimeOf(*end)
		}
		if since != nil {
			s.EqualSidesSince = flow.TimeOf(*since)
		}
		return nil
	})
	b.Queue(growingSQL, leastGrowing, mostGrowing).QueryRow(func(row pgx.Row) error {
		var from time.Time
		err := row.Scan(&from)
		s.Growing = flow.TimeOf(from)
		return err
	})
	b.Queue("select t, flows_until(t) from unnest($1::timestamptz[]) t order by t", edges(r)).Query(func(rows pgx.Rows) error {
		var before, until time.Time
		_, err := pgx.ForEachRow(rows, []any{&before, &until}, func() error {
			s.Ends = append(s.Ends, End{flow.TimeOf(before), flow.TimeOf(until)})
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return s, fmt.Errorf("what there is to read: %w", err)
	}
	return s, nil
}

// leastGrowing and mostGrowing bound how long a slot may grow after its end: exporters report
// lasting flows each five minutes where nobody says otherwise, and of those that let them
// last for hours a graph would never be complete.
const leastGrowing, mostGrowing = 5 * time.Minute, 30 * time.Minute

// growingSQL finds from when on slots may still grow: a flow that is reported now may have
// begun as long ago as flows last here. How far the longest flow of an hour began before
// that hour tells it, of the hours of half a day the middle one, so that a single flow that
// never ended, or a clock that is wrong, does not; plus a minute to arrive in. What a
// collector that still reports cannot store is missing since it cannot.
const growingSQL = `select coalesce(least(now(), min(stopped_since)), now()) - (
	select least($2::interval, greatest($1::interval, percentile_disc(0.5) within group (order by hour - min_start) + interval '1 minute'))
	from parts.partition where hour <= now() and hour > now() - interval '12 hours' and min_start < hour)
from parts.writer where reported_at > now() - interval '15 minutes'`

// samplingSQL sums up what is known of the sampling of exporters, of all when $1 is null, at
// the begin and at the end of a range; and finds the times at which rates begin that people
// say. What the collector was told stands in rows as what was announced does.
const samplingSQL = `select case when count(*) = 0 then 'none' when max(state) = min(state) then max(state) else 'mixed' end,
	array_agg(distinct since order by since) filter (where since is not null)
from (
	select case when coalesce(rate, 0) = 0 then 'unknown' when rate = 1 then 'none' else 'known' end as state, since
	from (
		select effective_sampling(least(coalesce(case when s.sampling_override then s.configured_rate else s.sampling_rate end, s.configured_rate, 0), 2147483647)::int,
			e.sampling_rate, e.sampling_instead, e.sampling_from, at) as rate,
			case when e.sampling_rate is not null then e.sampling_from end as since
		from exporters e
		left join exporter_status s on s.exporter_id = e.id
		cross join (values ($2::timestamptz), ($3::timestamptz - interval '1 microsecond')) as range (at)
		where $1::int[] is null or e.id = any($1)) counts) exporter`

// edges are the times at which segments of flows usually end: the end of the range, and
// the whole minute, hour and day behind its begin.
func edges(r request) []time.Time {
	list := []time.Time{r.to.Time()}
	for _, length := range []flow.Time{flow.Minute, flow.Hour, flow.Day} {
		if at := r.from.Floor(length) + length; at < r.to {
			list = append(list, at.Time())
		}
	}
	return list
}

// hasRollups reports whether there are roll-ups at all.
func (s State) hasRollups() bool {
	for _, r := range s.Reach[1:] {
		if !r.First.IsZero() {
			return true
		}
	}
	return false
}

// of returns the state as far as it matters to a request.
func (s State) of(r request) State {
	if !r.asksForRates() {
		s.RatesBegin = nil
	}
	return s
}

// mixesRates reports whether a bucket is of two rates, which something finer that is still
// there tells apart.
func (s State) mixesRates(g rollup.Grain, bucket flow.Time) bool {
	if !slices.ContainsFunc(s.RatesBegin, func(t flow.Time) bool { return bucket < t && t < bucket+rollup.Grains[g].Length }) {
		return false
	}
	for finer := Flows; finer < g; finer++ {
		if s.has(finer, bucket) {
			return true
		}
	}
	return false
}

// has reports whether nothing of a source was removed from a time on.
func (s State) has(source Source, from flow.Time) bool {
	cut := s.Reach[source+1].CutBefore
	return cut.IsZero() || !from.Time().Before(cut)
}

// stored returns from when to when there are flows, nil without any.
func (s State) stored() *query.Stored {
	if s.LastEnd == 0 {
		return nil
	}
	a := &query.Stored{From: s.LastEnd.Time(), To: s.LastEnd.Time()}
	for _, r := range s.Reach {
		if r.First.IsZero() {
			continue
		}
		a.From = query.Earlier(a.From, r.First)
		if r.CutBefore.IsZero() {
			// All there ever was is here. Parts of coarser roll-ups begin with a month or a
			// year, which is no sign of flows that long ago.
			break
		}
	}
	return a
}

// complete reports whether a bucket of a grain has all that is summed. since is from when
// on the roll-ups have what is asked for.
func (s State) complete(g rollup.Grain, bucket, since flow.Time) bool {
	if !s.has(Source(g), bucket) || bucket < since && s.has(Flows, bucket) {
		return false
	}
	if g == rollup.Minutes {
		return true
	}
	if s.mixesRates(g, bucket) {
		return false
	}
	for finer := rollup.Minutes; finer <= g; finer++ {
		for at := bucket; at < bucket+rollup.Grains[g].Length; at += flow.Hour {
			if s.Pending[finer][at] {
				return false
			}
		}
	}
	return true
}

// finest returns the finest grain that still has the bucket of a time, Flows when none has.
func (s State) finest(at, since flow.Time) Source {
	for g := rollup.Minutes; g < rollup.GrainCount; g++ {
		if s.complete(g, at.Floor(rollup.Grains[g].Length), since) {
			return Source(g)
		}
	}
	return Flows
}

// until returns when all flows have ended that begin before a time, or a later time. What
// begins earlier ends no later, and no flow lasts longer than flow.MaxDuration.
func (s State) until(before flow.Time) flow.Time {
	for _, e := range s.Ends {
		if e.Before >= before {
			return e.Until
		}
	}
	return before + flow.MaxDuration
}
