package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
)

// ErrRange is wrapped by the error of a Rebuild of days that cannot be rebuilt.
var ErrRange = errors.New("these days cannot be rebuilt")

// rebuildPages is how many pages of a table are read at once: about a million rows.
const rebuildPages = 16384

// Rebuild sums the flows of whole days (UTC) again: those that [from, to) touches.
// It is for roll-ups that were lost, damaged, or made by a program that erred.
// Each day is one transaction. Meanwhile the sums of other Keepers wait, and nobody
// else does. When Rebuild returns, days that ended are settled. It refuses days of which
// retention has removed flows. It returns how many flows it read.
func (k *Keeper) Rebuild(ctx context.Context, from, to time.Time) (flows int64, err error) {
	first, end := flow.TimeOf(from).Floor(flow.Day), flow.TimeOf(to)
	if first >= end {
		return 0, fmt.Errorf("%w: the range is empty, because its end is not after its begin", ErrRange)
	}
	reaches, err := k.db.Reach(ctx)
	if err != nil {
		return 0, err
	}
	if cut := reaches[0].CutBefore; !cut.IsZero() && flow.TimeOf(cut) > first {
		return 0, fmt.Errorf("%w: the flows reach back only to %s; begin with the day after", ErrRange, cut.Format(time.RFC3339))
	}
	conn, err := k.db.Pool().Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("store: rebuild: %w", err)
	}
	defer conn.Release()
	for day := first; day < end; day += flow.Day {
		n, err := k.rebuildDay(ctx, conn.Conn(), day)
		flows += n
		if err != nil {
			return flows, err
		}
	}
	// Dimensions that a later version added begin with these days now, if they began
	// with the days after.
	last := (end - 1).Floor(flow.Day) + flow.Day
	if _, err := conn.Exec(ctx, "update parts.dimension set since = $1 where since > $1 and since <= $2", first.Time(), last.Time()); err != nil {
		return flows, fmt.Errorf("store: rebuild: %w", err)
	}
	return flows, nil
}

// rebuildDay sums a day, settles it, and vacuums what was settled. The sum stays when the
// rest fails.
func (k *Keeper) rebuildDay(ctx context.Context, conn *pgx.Conn, day flow.Time) (flows int64, err error) {
	name := day.Time().Format(time.DateOnly)
	var began time.Time
	if err := conn.QueryRow(ctx, "select clock_timestamp()").Scan(&began); err != nil {
		return 0, fmt.Errorf("store: rebuild: %w", err)
	}
	if flows, err = k.sumDay(ctx, conn, day); err != nil {
		return 0, fmt.Errorf("store: rebuild %s: %w", name, err)
	}
	k.log.Info("rebuilt a day of the roll-ups", "day", name, "flows", flows)
	if err := k.settleAll(ctx); err != nil {
		return flows, err
	}
	return flows, k.vacuumSettled(ctx, began)
}

// sumDay replaces the sums of a day in one transaction.
func (k *Keeper) sumDay(ctx context.Context, conn *pgx.Conn, day flow.Time) (flows int64, err error) {
	// The lock comes before the transaction, whose snapshot then has all that the
	// Keeper that held the lock before has done.
	unlock, err := lockSums(ctx, conn)
	if err != nil {
		return 0, err
	}
	defer unlock()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		r := &rebuilding{k: k, tx: tx, from: day, to: day + flow.Day}
		if err := r.look(ctx); err != nil {
			return err
		}
		if err := r.clear(ctx); err != nil {
			return err
		}
		if err := k.after("emptied"); err != nil {
			return err
		}
		if flows, err = r.sum(ctx); err != nil {
			return err
		}
		return k.after("rebuilt")
	})
	return flows, err
}

// lockSums waits until no other Keeper sums or settles, and keeps others from it until
// unlock is called.
func lockSums(ctx context.Context, conn *pgx.Conn) (unlock func(), err error) {
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(keeperLock)); err != nil {
		return nil, err
	}
	return func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(end, "select pg_advisory_unlock($1)", int64(keeperLock)); err != nil {
			_ = conn.Close(end) // a connection that holds a lock must not go back to the pool
		}
	}, nil
}

// rebuilding is the sum of a day's flows in one transaction.
type rebuilding struct {
	k        *Keeper
	tx       pgx.Tx
	from, to flow.Time
	// unsummed are batches whose flows are left out, because Sum will add them.
	unsummed []int32
	tables   []tableSize
	citus    bool
}

type tableSize struct {
	Name  string
	Pages int64
}

// look finds out what there is to sum.
func (r *rebuilding) look(ctx context.Context) error {
	rows, err := r.tx.Query(ctx, "select id from public.batches where summed_at is null")
	if err != nil {
		return err
	}
	if r.unsummed, err = pgx.CollectRows(rows, pgx.RowTo[int32]); err != nil {
		return err
	}
	if r.citus, err = store.HasCitus(ctx, r.tx); err != nil {
		return err
	}
	rows, err = r.tx.Query(ctx, "select name, pg_relation_size(to_regclass('parts.' || name)) / 8192 from parts.partition where until > $1 and min_start < $2 and to_regclass('parts.' || name) is not null order by hour",
		r.from.Time(), r.to.Time())
	if err != nil {
		return err
	}
	if r.tables, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tableSize]); err != nil {
		return err
	}
	if r.citus { // the pages are on the nodes: read each table at once
		for i := range r.tables {
			r.tables[i].Pages = 1
		}
	}
	return nil
}

// clear removes the sums of the day.
func (r *rebuilding) clear(ctx context.Context) error {
	for g := rollup.Minutes; g < rollup.GrainCount; g++ {
		if _, err := r.tx.Exec(ctx, "delete from parts."+r.k.grains[g].Table+" where bucket >= $1 and bucket < $2 and "+allDimensions, r.from.Time(), r.to.Time()); err != nil {
			return err
		}
	}
	for _, table := range []string{"pending", "settled"} {
		if _, err := r.tx.Exec(ctx, "delete from parts."+table+" where bucket >= $1 and bucket < $2", r.from.Time(), r.to.Time()); err != nil {
			return err
		}
	}
	return nil
}

// sum sums the flows of the day that are summed already.
func (r *rebuilding) sum(ctx context.Context) (flows int64, err error) {
	t := r.k.newTally()
	t.read.From, t.read.To = r.from, r.to
	var part int32 // negative, because that of a batch is positive
	t.spill = func() error {
		if len(t.buckets) == 0 {
			return nil
		}
		part--
		return r.k.storePending(ctx, r.tx, t.buckets, part)
	}
	for _, table := range r.tables {
		for page := int64(0); page < table.Pages; page += rebuildPages {
			where := fmt.Sprintf("flow_start < '%s' and flow_end >= '%s' and batch <> all('{%s}')", r.to, r.from, joinIDs(r.unsummed))
			if !r.citus {
				where += fmt.Sprintf(" and ctid >= '(%d,0)' and ctid < '(%d,0)'", page, page+rebuildPages)
			}
			if err := copyOut(ctx, r.tx, t.reader(), table.Name, where, !r.citus); err != nil {
				return 0, err
			}
			if err := t.addDeferred(); err != nil {
				return 0, err
			}
			t.sum()
			if err := t.spill(); err != nil {
				return 0, err
			}
		}
	}
	return int64(t.records), nil
}
