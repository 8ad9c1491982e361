package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

const (
	// tidyLock is the advisory lock of the Keeper that tidies.
	tidyLock = 0x666c6f77_0003
	// maxLockWait is how long the Keeper waits for the lock of a table. Whoever wants
	// the lock after it waits as long.
	maxLockWait = "3s"
)

// Tidy ends removals that were begun, seals the partitions that are past, and
// removes what is too old or too much. It waits for readers. Neither they nor Writers wait
// for it.
func (k *Keeper) Tidy(ctx context.Context) error {
	return k.tidy(ctx, []chore{
		{"check the lock table", k.checkLocks}, {"end removals", k.endRemovals}, {"seal", k.seal}, {"seal events", k.sealEvents},
		{"remove what is old", k.expireByAge}, {"remove old events", k.expireEvents},
		{"remove what is too much", k.expireBySize}, {"forget", k.forget}, {"measure", k.measure},
	})
}

// chore is a step of Tidy.
type chore struct {
	name string
	do   func(context.Context, *pgx.Conn) error
}

// tidy does chores, unless another Keeper does.
func (k *Keeper) tidy(ctx context.Context, chores []chore) error {
	conn, err := k.db.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("store: tidy: %w", err)
	}
	defer conn.Release()
	c := conn.Conn()
	if locked, err := k.lock(ctx, c, "lock", tidyLock); err != nil || !locked {
		return err
	}
	defer func() {
		// A connection that holds a lock must not go back to the pool.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := c.Exec(end, "reset lock_timeout; select pg_advisory_unlock("+fmt.Sprint(int64(tidyLock))+")", pgx.QueryExecModeSimpleProtocol); err != nil {
			_ = c.Close(end)
		}
	}()
	for _, c := range chores {
		if err := c.do(ctx, conn.Conn()); err != nil {
			return fmt.Errorf("store: %s: %w", c.name, err)
		}
	}
	return nil
}

// longPartitions are how many partitions there may be beside those of the hours that are
// kept: the roll-ups' and those of flows that are old.
const longPartitions = 300

// checkLocks warns, once, when the server's lock table has no room for as many partitions as
// there are or will be. A question that finds none fails.
func (k *Keeper) checkLocks(ctx context.Context, conn *pgx.Conn) error {
	if k.locksChecked {
		return nil
	}
	locks, err := store.LockTableOf(ctx, conn)
	if err != nil {
		return err
	}
	var there int
	if err := conn.QueryRow(ctx, "select (select count(*) from parts.partition) + (select count(*) from parts.traffic)").Scan(&there); err != nil {
		return err
	}
	will := int(max(k.c.RetainRaw, 0)/time.Hour) + longPartitions
	if text := locks.Enough(max(there, will)); text != "" {
		k.log.Warn(text)
	}
	k.locksChecked = true
	return nil
}

// measure sets the metrics of how far the sums are behind and how large the database is.
func (k *Keeper) measure(ctx context.Context, conn *pgx.Conn) error {
	var behind float64
	var size int64
	if err := conn.QueryRow(ctx, `select coalesce(extract(epoch from now() - min(committed_at)), 0)::float8, pg_database_size(current_database())
		from public.batches where summed_at is null`).Scan(&behind, &size); err != nil {
		return err
	}
	k.metrics.behind.Set(behind)
	k.metrics.size.Set(float64(size))
	return nil
}
