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
var ErrRange = errors.New("the range cannot be summed anew")

// rebuildPages is how much of a table is read at once, about a million rows.
const rebuildPages = 16384

// Rebuild sums the flows of whole days (UTC) anew: those that [from, to) touches.
// It is for roll-ups that were lost, damaged, or made by a program that erred.
// Each day is one transaction, in which the sums of the others wait and nobody
// else does; days that ended are settled when it returns. Days that retention has
// cut are refused. It returns how many flows it read.
func (k *Keeper) Rebuild(ctx context.Context, from, to time.Time) (flows int64, err error) {
	first, end := flow.TimeOf(from).Floor(flow.Day), flow.TimeOf(to)
	if first >= end {
		return 0, fmt.Errorf("%w: it is empty, to is not after from", ErrRange)
	}
	reaches, err := k.db.Reach(ctx)
	if err != nil {
		return 0, err
	}
	if cut := reaches[0].CutBefore; !cut.IsZero() && flow.TimeOf(cut) > first {
		return 0, fmt.Errorf("%w: the flows reach back to %s only, begin with the day after", ErrRange, cut.Format(time.RFC3339))
	}
	conn, err := k.db.Pool().Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("store: rebuild: %w", err)
	}
	defer conn.Release()
	for day := first; day < end; day += flow.Day {
		var began time.Time
		if err := conn.QueryRow(ctx, "select clock_timestamp()").Scan(&began); err != nil {
			return flows, fmt.Errorf("store: rebuild: %w", err)
		}
		n, err := k.rebuild(ctx, conn.Conn(), day)
		if err != nil {
			return flows, fmt.Errorf("store: rebuild %s: %w", day.Time().Format(time.DateOnly), err)
		}
		flows += n
		k.log.Info("summed anew", "day", day.Time().Format(time.DateOnly), "flows", n)
		if err := k.settleAll(ctx); err != nil {
			return flows, err
		}
		if err := k.vacuumSettled(ctx, began); err != nil {
			return flows, err
		}
	}
	// What a later version added is in these days now, and was in those after.
	last := (end - 1).Floor(flow.Day) + flow.Day
	if _, err := conn.Exec(ctx, "update parts.dimension set since = $1 where since > $1 and since <= $2", first.Time(), last.Time()); err != nil {
		return flows, fmt.Errorf("store: rebuild: %w", err)
	}
	return flows, nil
}

func (k *Keeper) rebuild(ctx context.Context, conn *pgx.Conn, day flow.Time) (flows int64, err error) {
	// The lock comes before the transaction: what the one sees that had it has to
	// be in our view of the data.
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(keeperLock)); err != nil {
		return 0, err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.Exec(end, "select pg_advisory_unlock($1)", int64(keeperLock)); err != nil {
			_ = conn.Close(end) // what holds a lock must not go back to the pool
		}
	}()
	from, to := day, day+flow.Day
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select id from public.batches where summed_at is null")
		if err != nil {
			return err
		}
		later, err := pgx.CollectRows(rows, pgx.RowTo[int32]) // they come by themselves
		if err != nil {
			return err
		}
		citus, err := store.HasCitus(ctx, tx)
		if err != nil {
			return err
		}
		rows, err = tx.Query(ctx, "select name, pg_relation_size(to_regclass('parts.' || name)) / 8192 from parts.partition where hour >= $1 and min_start < $2 order by hour",
			from.Time(), to.Time())
		if err != nil {
			return err
		}
		type part struct {
			Name  string
			Pages int64
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[part])
		if err != nil {
			return err
		}
		for g := rollup.Minutes; g < rollup.GrainCount; g++ {
			if _, err := tx.Exec(ctx, "delete from parts."+k.laws[g].Table+" where bucket >= $1 and bucket < $2 and "+allDimensions, from.Time(), to.Time()); err != nil {
				return err
			}
		}
		for _, table := range []string{"pending", "settled"} {
			if _, err := tx.Exec(ctx, "delete from parts."+table+" where bucket >= $1 and bucket < $2", from.Time(), to.Time()); err != nil {
				return err
			}
		}
		if citus { // the sizes are those of the nodes: each table at once
			for i := range list {
				list[i].Pages = 1
			}
		}
		if err := k.fails("emptied"); err != nil {
			return err
		}
		t := k.newTally()
		t.own.From, t.own.To = from, to
		var number int32 // below zero: no batch has it
		t.full = func() error {
			if len(t.buckets) == 0 {
				return nil
			}
			number--
			return k.putAside(ctx, tx, t.buckets, number)
		}
		flush := func() error {
			if err := t.addLater(); err != nil {
				return err
			}
			t.flush()
			flows += int64(t.records)
			t.records = 0
			return t.full()
		}
		for _, p := range list {
			for page := int64(0); page < p.Pages; page += rebuildPages {
				where := fmt.Sprintf("flow_start < '%s' and flow_end >= '%s' and batch <> all('{%s}')", to, from, numbers(later))
				if !citus {
					where += fmt.Sprintf(" and ctid >= '(%d,0)' and ctid < '(%d,0)'", page, page+rebuildPages)
				}
				if err := copyOut(ctx, tx, t.reader(), p.Name, where, !citus); err != nil {
					return err
				}
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return k.fails("rebuilt")
	})
	return flows, err
}
