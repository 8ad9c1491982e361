package keeper

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/rollup"
)

// pendingBytes is how many bytes of summaries and rows are written at once.
const pendingBytes = 16 << 20

// storePending stores the summaries of minutes until these are settled, and rows of them
// for whoever asks before. It removes them from buckets.
func (k *Keeper) storePending(ctx context.Context, tx pgx.Tx, buckets map[flow.Time]*rollup.Summary, part int32) error {
	order := slices.Sorted(maps.Keys(buckets))
	if err := ensureTraffic(ctx, tx, rollup.Minutes, order, flow.TimeOf(k.now())); err != nil {
		return err
	}
	var (
		rows    []byte
		pending [][]any
		bytes   int // of the summaries in pending
		limits  = k.grains[rollup.Minutes]
	)
	write := func() error {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"parts", "pending"}, []string{"bucket", "part", "grain", "sums"}, pgx.CopyFromRows(pending)); err != nil {
			return err
		}
		err := copyTraffic(ctx, tx, rollup.Minutes, rows)
		rows, pending, bytes = rows[:0], pending[:0], 0
		return err
	}
	for _, bucket := range order {
		s := buckets[bucket]
		s.Compact(limits.Pending, limits.PerCell)
		sums := s.AppendTo(nil)
		pending, bytes = append(pending, []any{bucket.Time(), part, int16(rollup.Minutes), sums}), bytes+len(sums)
		s.Compact(limits.Settled, limits.PerCell)
		rows = appendTraffic(rows, s, bucket, part)
		delete(buckets, bucket)
		if len(rows)+bytes > pendingBytes {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return write()
}
