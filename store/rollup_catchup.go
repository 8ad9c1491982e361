package store

import (
	"context"
	"fmt"
	"time"

	"flowtally/flow"
)

// Done is what CatchUp found done since it began, by whichever Keeper.
type Done struct {
	// Batches of Flows were summed, Settled buckets of roll-ups settled and Sealed
	// hours of flows given indexes.
	Batches int   `json:"summed_batches"`
	Flows   int64 `json:"summed_flows"`
	Settled int   `json:"settled_buckets"`
	Sealed  int   `json:"sealed_hours"`
	// Waiting buckets have not ended yet, or not long ago.
	Waiting int `json:"waiting_buckets"`
}

// CatchUp leaves the database as Run would a quarter of an hour after the last
// flow: everything is summed, each bucket and hour that is past is settled and
// sealed, also when parts came for it a moment ago. Where another Keeper is at
// work, it waits for its turn. It removes nothing.
func (k *Keeper) CatchUp(ctx context.Context) (done Done, err error) {
	var began time.Time
	if err := k.db.pool.QueryRow(ctx, "select clock_timestamp()").Scan(&began); err != nil {
		return done, fmt.Errorf("store: catch up: %w", err)
	}
	later := func(d time.Duration) *Keeper {
		c := *k // with its laws and limits
		c.wait, c.pages, c.now = true, make(map[flow.Time]uint32), func() time.Time { return k.now().Add(d) }
		return &c
	}
	if err := later(time.Duration(settleAfter) * time.Millisecond).Sum(ctx); err != nil {
		return done, err
	}
	sealer := later(sealAfter)
	if err := sealer.tidy(ctx, []chore{{"seal", sealer.seal}}); err != nil {
		return done, err
	}
	err = k.db.pool.QueryRow(ctx, `select count(*), coalesce(sum(records), 0),
		(select count(*) from parts.settled where settled_at >= $1),
		(select count(*) from parts.partition where sealed_at >= $1),
		(select count(*) from (select distinct grain, bucket from parts.pending) p)
		from public.batches where summed_at >= $1`, began).Scan(&done.Batches, &done.Flows, &done.Settled, &done.Sealed, &done.Waiting)
	if err != nil {
		return done, fmt.Errorf("store: catch up: %w", err)
	}
	return done, nil
}
