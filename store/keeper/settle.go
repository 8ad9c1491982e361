package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/rollup"
)

// settleAfter is how long after its end a bucket is settled: flows that last
// five minutes, and arrive late by a few more, find it open.
const settleAfter = 10 * flow.Minute

// settleAll settles what is due.
func (k *Keeper) settleAll(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = k.settleUntil(ctx, time.Now().Add(time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

// settleUntil settles what is due, the finer grains first: the coarser are made of them. more
// says that at the deadline some was left.
func (k *Keeper) settleUntil(ctx context.Context, deadline time.Time) (more bool, err error) {
	for g := rollup.Minutes; g < rollup.GrainCount; g++ {
		for ctx.Err() == nil {
			more, err := k.settle(ctx, g)
			if err != nil {
				return false, fmt.Errorf("store: settle %s: %w", k.grains[g].Table, err)
			}
			if !more {
				break
			}
			if time.Now().After(deadline) {
				return true, nil
			}
		}
	}
	return false, nil
}

// settle replaces the rows of some buckets by those of the sums that wait for them. All
// are in one bucket of the next coarser grain, for which their sums wait from then on. more
// is false when no bucket is due, or another Keeper is at work.
func (k *Keeper) settle(ctx context.Context, g rollup.Grain) (more bool, err error) {
	_, err = k.exclusively(ctx, func(tx pgx.Tx) error {
		buckets, err := k.dueBuckets(ctx, tx, g)
		if err != nil || len(buckets) == 0 {
			return err
		}
		rows, coarser, err := k.mergePending(ctx, tx, g, buckets)
		if err != nil {
			return err
		}
		if err := k.after("gathered"); err != nil {
			return err
		}
		if err := k.replaceRows(ctx, tx, g, buckets, rows); err != nil {
			return err
		}
		if err := k.after("replaced"); err != nil {
			return err
		}
		if g < rollup.Days {
			if err := k.passOn(ctx, tx, g, buckets[0], coarser); err != nil {
				return err
			}
		}
		if err := markSettled(ctx, tx, g, buckets); err != nil {
			return err
		}
		k.metrics.settled.Add(float64(len(buckets)))
		more = true
		return k.after("settled")
	})
	return more && err == nil, err
}

// dueBuckets returns the buckets of a grain that are settled next: minutes of one hour, or
// one hour or day.
//
// A bucket is due ten minutes after it ended, when no finer bucket in it waits. One
// that was settled before waits until the flows that arrived since are ten minutes old: late
// flows seldom arrive alone.
func (k *Keeper) dueBuckets(ctx context.Context, tx pgx.Tx, g rollup.Grain) ([]flow.Time, error) {
	now := flow.TimeOf(k.now())
	rows, err := tx.Query(ctx, `select p.bucket from parts.pending p
		where p.grain = $1 and p.bucket <= $2
		and not exists (select from parts.pending f where f.grain < $1 and f.bucket >= p.bucket and f.bucket < p.bucket + $3)
		group by p.bucket
		having min(p.created_at) < $4 or not exists (select from parts.settled s where s.grain = $1 and s.bucket = p.bucket)
		order by p.bucket limit 60`,
		int16(g), (now - settleAfter - k.grains[g].Length).Time(), time.Duration(k.grains[g].Length)*time.Millisecond, (now - settleAfter).Time())
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, err
	}
	var due []flow.Time
	for _, t := range list {
		bucket := flow.TimeOf(t)
		if len(due) > 0 && (g != rollup.Minutes || bucket.Floor(flow.Hour) != due[0].Floor(flow.Hour)) {
			break
		}
		due = append(due, bucket)
	}
	return due, nil
}

// mergePending returns the rows of the buckets, of what was settled before and what waits,
// and the sum of what waits for the next coarser grain.
func (k *Keeper) mergePending(ctx context.Context, tx pgx.Tx, g rollup.Grain, buckets []flow.Time) (rows []byte, coarser *rollup.Summary, err error) {
	coarser = rollup.NewSummary()
	for _, bucket := range buckets {
		s, err := k.pendingSum(ctx, tx, g, bucket)
		if err != nil {
			return nil, nil, err
		}
		if g < rollup.Days {
			merge(coarser, s, k.grains[g+1])
		}
		settled, err := readTraffic(ctx, tx, g, bucket)
		if err != nil {
			return nil, nil, err
		}
		s.Merge(settled)
		s.Compact(k.grains[g].Settled, k.grains[g].PerCell)
		rows = appendTraffic(rows, s, bucket, 0)
	}
	return rows, coarser, nil
}

// pendingSum merges what waits for a bucket.
func (k *Keeper) pendingSum(ctx context.Context, tx pgx.Tx, g rollup.Grain, bucket flow.Time) (*rollup.Summary, error) {
	rows, err := tx.Query(ctx, "select sums from parts.pending where grain = $1 and bucket = $2", int16(g), bucket.Time())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var sum *rollup.Summary
	for rows.Next() {
		s, err := rollup.ParseSummary(rows.RawValues()[0])
		if err != nil {
			return nil, err
		}
		if sum == nil {
			sum = s
		} else {
			merge(sum, s, k.grains[g])
		}
	}
	return sum, rows.Err()
}

// replaceRows replaces the rows of the buckets, settled ones and parts.
func (k *Keeper) replaceRows(ctx context.Context, tx pgx.Tx, g rollup.Grain, buckets []flow.Time, rows []byte) error {
	if err := ensureTraffic(ctx, tx, g, buckets, flow.TimeOf(k.now())); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "delete from parts."+k.grains[g].Table+" where bucket = any($1) and "+allDimensions, times(buckets)); err != nil {
		return err
	}
	return copyTraffic(ctx, tx, g, rows)
}

// passOn stores the sum of what waited for buckets as pending for the bucket of the next
// coarser grain that they are in.
func (k *Keeper) passOn(ctx context.Context, tx pgx.Tx, g rollup.Grain, bucket flow.Time, sum *rollup.Summary) error {
	limits := k.grains[g+1]
	sum.Compact(limits.Pending, limits.PerCell)
	var part int32
	if err := tx.QueryRow(ctx, "select part from parts.pending where grain = $1 and bucket = $2 limit 1", int16(g), bucket.Time()).Scan(&part); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "insert into parts.pending (bucket, part, grain, sums) values ($1, $2, $3, $4)",
		bucket.Floor(limits.Length).Time(), part, int16(g+1), sum.AppendTo(nil))
	return err
}

// markSettled removes what waited for the buckets, and marks them as settled.
func markSettled(ctx context.Context, tx pgx.Tx, g rollup.Grain, buckets []flow.Time) error {
	if _, err := tx.Exec(ctx, "delete from parts.pending where grain = $1 and bucket = any($2)", int16(g), times(buckets)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `insert into parts.settled (grain, bucket, settled_at) select $1, b, now() from unnest($2::timestamptz[]) b
		on conflict (grain, bucket) do update set settled_at = excluded.settled_at`, int16(g), times(buckets))
	return err
}

func times(list []flow.Time) []time.Time {
	out := make([]time.Time, len(list))
	for i, t := range list {
		out[i] = t.Time()
	}
	return out
}
