package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

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
// work, it waits for its turn. It removes nothing, and vacuums what it replaced.
func (k *Keeper) CatchUp(ctx context.Context) (done Done, err error) {
	var began time.Time
	if err := k.db.Pool().QueryRow(ctx, "select clock_timestamp()").Scan(&began); err != nil {
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
	if err := k.vacuumSettled(ctx, began); err != nil {
		return done, err
	}
	err = k.db.Pool().QueryRow(ctx, `select count(*), coalesce(sum(records), 0),
		(select count(*) from parts.settled where settled_at >= $1),
		(select count(*) from parts.partition where sealed_at >= $1),
		(select count(*) from (select distinct grain, bucket from parts.pending) p)
		from public.batches where summed_at >= $1`, began).Scan(&done.Batches, &done.Flows, &done.Settled, &done.Sealed, &done.Waiting)
	if err != nil {
		return done, fmt.Errorf("store: catch up: %w", err)
	}
	return done, nil
}

// vacuumSettled takes what was replaced out of the roll-ups' partitions in which
// buckets were settled since a time, and has their statistics taken: of a day that
// was summed anew, more rows than are left were made and removed, and who asks
// before PostgreSQL finds time for that would read past all of them.
func (k *Keeper) vacuumSettled(ctx context.Context, since time.Time) error {
	rows, err := k.db.Pool().Query(ctx, `select t.name from parts.traffic t where to_regclass('parts.' || t.name) is not null and exists
		(select from parts.settled s where s.grain = t.grain and s.bucket >= t.from_time and s.bucket < t.to_time and s.settled_at >= $1)`, since)
	if err != nil {
		return fmt.Errorf("store: vacuum: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("store: vacuum: %w", err)
	}
	for _, name := range names {
		if _, err := k.db.Pool().Exec(ctx, "vacuum (analyze) parts."+pgx.Identifier{name}.Sanitize(), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("store: vacuum %s: %w", name, err)
		}
	}
	return nil
}
