package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/rollup"
)

// settleAll settles what is due, the finer first: the coarser take from them.
func (k *Keeper) settleAll(ctx context.Context) error {
	for g := rollup.Minutes; g < rollup.GrainCount; g++ {
		for ctx.Err() == nil {
			more, err := k.settle(ctx, g)
			if err != nil {
				return fmt.Errorf("store: settle %s: %w", k.laws[g].Table, err)
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// settle settles some buckets of a grain that belong to one bucket of the next
// coarser. more is false when none is due, or another Keeper is at work.
//
// A bucket is due ten minutes after it ended, when nothing finer waits in it. One
// that was settled before waits until what came for it is ten minutes old: late
// flows seldom come alone.
func (k *Keeper) settle(ctx context.Context, g rollup.Grain) (more bool, err error) {
	_, err = k.step(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		law := k.laws[g]
		parent := flow.Day
		if g == rollup.Minutes {
			parent = flow.Hour
		}
		now := flow.TimeOf(k.now())
		rows, err := tx.Query(ctx, `select p.bucket from parts.pending p
			where p.grain = $1 and p.bucket <= $2
			and not exists (select from parts.pending f where f.grain < $1 and f.bucket >= p.bucket and f.bucket < p.bucket + $3)
			group by p.bucket
			having min(p.created_at) < $4 or not exists (select from parts.settled s where s.grain = $1 and s.bucket = p.bucket)
			order by p.bucket limit 60`,
			int16(g), (now - settleAfter - law.Length).Time(), time.Duration(law.Length)*time.Millisecond, (now - settleAfter).Time())
		if err != nil {
			return err
		}
		times, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		if err != nil || len(times) == 0 {
			return err
		}
		next := rollup.NewSummary()
		first := flow.TimeOf(times[0]).Floor(parent)
		var out []byte
		var done []time.Time
		for _, at := range times {
			bucket := flow.TimeOf(at)
			if bucket.Floor(parent) != first || g != rollup.Minutes && len(done) > 0 {
				break
			}
			s, err := k.gather(ctx, tx, g, bucket)
			if err != nil {
				return err
			}
			if g < rollup.Days {
				next.Merge(s)
				if c := k.laws[g+1]; next.LargestDimension() > 2*c.Pending {
					next.Compact(c.Pending, c.PerCell)
				}
			}
			old, err := readTraffic(ctx, tx, g, bucket)
			if err != nil {
				return err
			}
			s.Merge(old)
			s.Compact(law.Settled, law.PerCell)
			out = appendTraffic(out, s, bucket, 0)
			done = append(done, at)
		}
		if err := k.fails("gathered"); err != nil {
			return err
		}
		if err := ensureTraffic(ctx, tx, g, flowTimes(done)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from parts."+law.Table+" where bucket = any($1) and "+allDimensions, done); err != nil {
			return err
		}
		if err := copyTraffic(ctx, tx, g, out); err != nil {
			return err
		}
		if err := k.fails("replaced"); err != nil {
			return err
		}
		if g < rollup.Days {
			c := k.laws[g+1]
			next.Compact(c.Pending, c.PerCell)
			var part int32
			if err := tx.QueryRow(ctx, "select part from parts.pending where grain = $1 and bucket = $2 limit 1", int16(g), done[0]).Scan(&part); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "insert into parts.pending (bucket, part, grain, sums) values ($1, $2, $3, $4)",
				first.Floor(c.Length).Time(), part, int16(g+1), next.AppendTo(nil)); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "delete from parts.pending where grain = $1 and bucket = any($2)", int16(g), done); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into parts.settled (grain, bucket, settled_at) select $1, b, now() from unnest($2::timestamptz[]) b
			on conflict (grain, bucket) do update set settled_at = excluded.settled_at`, int16(g), done); err != nil {
			return err
		}
		k.metrics.settled.Add(float64(len(done)))
		more = true
		return k.fails("settled")
	})
	return more && err == nil, err
}

func flowTimes(times []time.Time) []flow.Time {
	list := make([]flow.Time, len(times))
	for i, t := range times {
		list[i] = flow.TimeOf(t)
	}
	return list
}

// gather merges what waits for a bucket.
func (k *Keeper) gather(ctx context.Context, tx pgx.Tx, g rollup.Grain, bucket flow.Time) (*rollup.Summary, error) {
	rows, err := tx.Query(ctx, "select sums from parts.pending where grain = $1 and bucket = $2", int16(g), bucket.Time())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var s *rollup.Summary
	for rows.Next() {
		o, err := rollup.ParseSummary(rows.RawValues()[0])
		if err != nil {
			return nil, err
		}
		if s == nil {
			s = o
			continue
		}
		s.Merge(o)
		if law := k.laws[g]; s.LargestDimension() > 2*law.Pending {
			s.Compact(law.Pending, law.PerCell)
		}
	}
	return s, rows.Err()
}
