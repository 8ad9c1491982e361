package keeper

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// expendable is a partition that may go.
type expendable struct {
	grain    int16 // -1: of flows, eventGrain: of events
	from, to time.Time
	name     string
	size     int64
}

// remove removes a partition in three steps, each of which survives a crash: it deletes the
// partition's row in parts.partition or parts.traffic, from when on no batch is committed
// to it; it detaches the table; it drops the table.
func (k *Keeper) remove(ctx context.Context, conn *pgx.Conn, e expendable) error {
	parent, source := "flows", "flows"
	switch {
	case e.grain == eventGrain:
		parent, source = "events", "events"
	case e.grain >= 0:
		parent = k.grains[e.grain].Table
		source = parent
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Sums of its flows that are under way end first.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1), pg_advisory_xact_lock($2)", int64(keeperLock), int64(store.PartitionLock)); err != nil {
			return err
		}
		s, err := store.FindTable(ctx, tx, "c.relname = $1", e.name)
		if err != nil {
			return err
		}
		if s != nil {
			if _, err := tx.Exec(ctx, "insert into parts.removal (id, parent, name) values ($1, $2, $3) on conflict do nothing", s.ID, parent, e.name); err != nil {
				return err
			}
		}
		if e.grain == eventGrain {
			err = forgetEventDay(ctx, tx, e)
		} else if e.grain < 0 {
			if _, err := tx.Exec(ctx, "delete from parts.hour where hour = $1", e.from); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "delete from parts.partition where hour = $1", e.from)
		} else {
			if _, err := tx.Exec(ctx, "delete from parts.settled where grain = $1 and bucket >= $2 and bucket < $3", e.grain, e.from, e.to); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "delete from parts.traffic where name = $1", e.name)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into parts.reach (source, cut_before) values ($1, $2)
			on conflict (source) do update set cut_before = greatest(parts.reach.cut_before, excluded.cut_before)`, source, e.to)
		return err
	})
	if err != nil {
		return err
	}
	k.metrics.removed.Inc()
	k.log.Info("removing a partition", "name", e.name, "bytes", e.size)
	if err := k.after("decided"); err != nil {
		return err
	}
	return k.endRemovals(ctx, conn)
}

// endRemovals continues all removals, each from the step that it has reached.
func (k *Keeper) endRemovals(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "select id, parent from parts.removal order by since, id")
	if err != nil {
		return err
	}
	type removal struct {
		ID     uint32
		Parent string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[removal])
	if err != nil || len(list) == 0 {
		return err
	}
	exec, done, err := patient(ctx, conn)
	if err != nil {
		return err
	}
	defer done()
	citus, err := store.HasCitus(ctx, conn)
	if err != nil {
		return err
	}
	concurrently := " concurrently"
	if citus {
		concurrently = ""
	}
	for _, r := range list {
		s, err := store.FindTable(ctx, conn, "c.oid = $1", r.ID)
		if err != nil {
			return err
		}
		if s != nil {
			table := "parts." + pgx.Identifier{s.Name}.Sanitize()
			switch {
			case s.Leaving:
				err = exec("alter table parts." + r.Parent + " detach partition " + table + " finalize")
			case s.Attached:
				err = exec("alter table parts." + r.Parent + " detach partition " + table + concurrently)
			}
			if err == nil {
				err = k.after("detached")
			}
			if err == nil {
				err = exec("drop table " + table)
			}
			if store.Code(err) == "55P03" { // lock_not_available: somebody reads it
				k.metrics.waits.Inc()
				continue
			}
			if err != nil {
				return err
			}
		}
		if err := k.after("dropped"); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "delete from parts.removal where id = $1", r.ID); err != nil {
			return err
		}
	}
	return nil
}
