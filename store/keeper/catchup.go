package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// Done is what was done while CatchUp ran, by whichever Keeper.
type Done struct {
	// Batches and Flows were summed, Settled buckets of roll-ups were settled, and Sealed
	// hours of flows were sealed.
	Batches int   `json:"summed_batches"`
	Flows   int64 `json:"summed_flows"`
	Settled int   `json:"settled_buckets"`
	Sealed  int   `json:"sealed_hours"`
	// Waiting buckets are not settled: they have not ended, or ended not long ago.
	Waiting int `json:"waiting_buckets"`
}

// CatchUp leaves the database as Run would a quarter of an hour after the last
// flow: everything is summed, and each bucket and hour that is past is settled and
// sealed, also when flows arrived for it a moment ago. CatchUp waits while another Keeper is
// at work. It removes no flows, and vacuums what it replaced.
func (k *Keeper) CatchUp(ctx context.Context) (done Done, err error) {
	var began time.Time
	if err := k.db.Pool().QueryRow(ctx, "select clock_timestamp()").Scan(&began); err != nil {
		return done, fmt.Errorf("store: catch up: %w", err)
	}
	later := func(d time.Duration) *Keeper {
		c := *k // with its limits
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

// vacuumSettled vacuums and analyzes the roll-ups' partitions in which buckets were settled
// since a time. A rebuild of a day makes and removes more rows than it leaves, and until
// PostgreSQL vacuums by itself, every question would read past all of them.
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
