package keeper

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

const (
	// tidyLock is the advisory lock of the Keeper that tidies.
	tidyLock = 0x666c6f77_0003
	// diskFull and sizeTarget: the database has 80 % of what others leave of its
	// disk, and what is beyond a limit goes until 95 % of the limit are left, so
	// that not every minute something has to go.
	diskFull, sizeTarget = 0.80, 0.95
	// unhurried is how long a lock is waited for that others may want, too. Who
	// comes behind us waits with us.
	unhurried = "3s"
)

// Tidy ends removals that were begun, seals the partitions that are past, and
// removes what is too old or too much. It waits for readers, who do not wait for
// it, nor does who stores flows.
func (k *Keeper) Tidy(ctx context.Context) error {
	return k.tidy(ctx, []chore{
		{"end removals", k.endRemovals}, {"seal", k.seal}, {"remove what is old", k.expireByAge},
		{"remove what is too much", k.expireBySize}, {"forget", k.forget}, {"measure", k.measure},
	})
}

// chore is a part of Tidy.
type chore struct {
	name string
	do   func(context.Context, *pgx.Conn) error
}

// tidy does chores when no other Keeper does.
func (k *Keeper) tidy(ctx context.Context, chores []chore) error {
	conn, err := k.db.Pool().Acquire(ctx)
	if err != nil {
		return fmt.Errorf("store: tidy: %w", err)
	}
	defer conn.Release()
	c := conn.Conn()
	if ours, err := k.turn(ctx, c, "lock", tidyLock); err != nil || !ours {
		return err
	}
	defer func() {
		// What holds a lock must not go back to the pool.
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

// expendable is a partition that may go.
type expendable struct {
	grain    int16 // -1: of flows
	from, to time.Time
	name     string
	size     int64
}

// remove takes a partition away: first out of our books, from when on no batch
// stays in it, then from its table, then altogether.
func (k *Keeper) remove(ctx context.Context, conn *pgx.Conn, e expendable) error {
	parent, source := "flows", "flows"
	if e.grain >= 0 {
		parent = k.laws[e.grain].Table
		source = parent
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Sums of it that are under way end first.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1), pg_advisory_xact_lock($2)", int64(keeperLock), int64(store.PartitionLock)); err != nil {
			return err
		}
		s, err := store.FindTable(ctx, tx, "c.relname = $1", e.name)
		if err != nil {
			return err
		}
		if s != nil {
			if _, err := tx.Exec(ctx, "insert into parts.removal (id, parent, name) values ($1, $2, $3) on conflict do nothing", s.Id, parent, e.name); err != nil {
				return err
			}
		}
		if e.grain < 0 {
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
	if err := k.fails("decided"); err != nil {
		return err
	}
	return k.endRemovals(ctx, conn)
}

// endRemovals goes on with removals, wherever they stand.
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
	exec := func(sql string) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if err := exec("set lock_timeout = '" + unhurried + "'"); err != nil {
		return err
	}
	defer func() { _ = exec("reset lock_timeout") }()
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
				err = k.fails("detached")
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
		if err := k.fails("dropped"); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "delete from parts.removal where id = $1", r.ID); err != nil {
			return err
		}
	}
	return nil
}

// hoursByAge lists the partitions of flows but for the hours that are received
// now, hoursInOrder puts those first that were received first.
const hoursByAge = `select -1::smallint, p.hour, p.hour + interval '1 hour', p.name, coalesce(pg_total_relation_size(to_regclass('parts.' || p.name)), 0)
	from parts.partition p left join parts.hour h using (hour)
	where p.hour + interval '2 hours' < $1`

const hoursInOrder = " order by greatest(p.hour, coalesce(h.last_received, p.created_at)), p.hour"

func expendables(ctx context.Context, q store.Queryer, sql string, args ...any) ([]expendable, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e expendable, err error) {
		err = row.Scan(&e.grain, &e.from, &e.to, &e.name, &e.size)
		return e, err
	})
}

// expireByAge removes what was received too long ago. Flows that are not in the
// roll-ups stay until they are.
func (k *Keeper) expireByAge(ctx context.Context, conn *pgx.Conn) error {
	now := k.now()
	var old []expendable
	if k.c.RetainRaw > 0 {
		list, err := expendables(ctx, conn, hoursByAge+` and p.hour + interval '1 hour' < $2 and coalesce(h.last_received, p.created_at) < $2
			and not exists (select from public.batches b where b.summed_at is null and b.max_end >= p.hour and b.min_end < p.hour + interval '1 hour')`+hoursInOrder,
			now, now.Add(-k.c.RetainRaw))
		if err != nil {
			return err
		}
		old = list
	}
	for g, keep := range []time.Duration{k.c.Retain1m, k.c.Retain1h, k.c.Retain1d} {
		if keep < 0 {
			continue
		}
		list, err := expendables(ctx, conn, `select grain, from_time, to_time, name, coalesce(pg_total_relation_size(to_regclass('parts.' || name)), 0)
			from parts.traffic t where grain = $1 and to_time < $2 and changed_at < $2
			and not exists (select from parts.pending p where p.grain = t.grain and p.bucket >= t.from_time and p.bucket < t.to_time) order by to_time`,
			int16(g), now.Add(-keep))
		if err != nil {
			return err
		}
		old = append(old, list...)
	}
	for _, e := range old {
		if err := k.remove(ctx, conn, e); err != nil {
			return err
		}
	}
	return nil
}

// expireBySize removes the oldest flows, and after them the oldest minutes, while
// there is too much. How much they are counts when they are on their way out: a
// reader may keep them for a while.
func (k *Keeper) expireBySize(ctx context.Context, conn *pgx.Conn) error {
	over, err := k.over(ctx, conn)
	if err != nil || over <= 0 {
		return err
	}
	list, err := expendables(ctx, conn, hoursByAge+hoursInOrder, k.now())
	if err != nil {
		return err
	}
	minutes, err := expendables(ctx, conn, `select grain, from_time, to_time, name, coalesce(pg_total_relation_size(to_regclass('parts.' || name)), 0)
		from parts.traffic where grain = 0 and to_time < $1 order by to_time`, k.now().Add(-24*time.Hour))
	if err != nil {
		return err
	}
	for _, e := range append(list, minutes...) {
		if over <= 0 {
			break
		}
		if err := k.remove(ctx, conn, e); err != nil {
			return err
		}
		over -= e.size
	}
	return nil
}

// over returns how many octets have to go, and writes down what the limit is. What
// is on its way out does not count.
func (k *Keeper) over(ctx context.Context, conn *pgx.Conn) (int64, error) {
	var size, leaving int64
	if err := conn.QueryRow(ctx, `select pg_database_size(current_database()),
		(select coalesce(sum(pg_total_relation_size(r.id)), 0)::bigint from parts.removal r where exists (select from pg_class c where c.oid = r.id))`).Scan(&size, &leaving); err != nil {
		return 0, err
	}
	limit, by, err := k.sizeLimit(ctx, conn, size)
	if err != nil {
		return 0, err
	}
	size -= leaving
	k.metrics.limit.Set(float64(limit))
	if by != k.limitedBy {
		if limit > 0 {
			k.log.Info("flows are kept by age, and by size", "limit", limit, "set_by", by)
		} else {
			k.log.Warn("flows are kept by age alone: the disk may fill before", "why", by)
		}
		k.limitedBy = by
	}
	if _, err := conn.Exec(ctx, `insert into parts.retention (checked_at, size, size_limit, set_by) values (clock_timestamp(), $1, nullif($2::bigint, 0), $3)
		on conflict (one) do update set checked_at = excluded.checked_at, size = excluded.size, size_limit = excluded.size_limit, set_by = excluded.set_by`,
		size, limit, by); err != nil {
		return 0, err
	}
	if limit == 0 || size <= limit {
		return 0, nil
	}
	return size - int64(float64(limit)*sizeTarget), nil
}

// sizeLimit returns how many octets a database of a size may have, and what says
// so: --retain-size, or 80 % of what others leave of its disk, whichever is less. It
// is 0 when there is no limit.
//
// What others have there does not count against it: a disk that they fill is not
// mended by forgetting flows.
func (k *Keeper) sizeLimit(ctx context.Context, q store.Queryer, size int64) (limit int64, by string, err error) {
	if limit = k.c.RetainSize; limit > 0 {
		by = "--retain-size"
	}
	path := k.c.RetainPath
	switch path {
	case RetainNowhere:
		return limit, cmp.Or(by, "--retain-path none and no --retain-size"), nil
	case "":
		if path, err = dataDirectory(ctx, q); err != nil {
			return 0, "", err
		}
		if path == "" {
			return limit, cmp.Or(by, "the database's disk cannot be seen from here, and neither --retain-size nor --retain-path is given"), nil
		}
	}
	free, err := k.free(path)
	if err != nil {
		return 0, "", fmt.Errorf("disk of %s: %w", path, err)
	}
	if most := int64(float64(size+free) * diskFull); limit == 0 || most < limit {
		limit, by = most, "80 % of what others leave of the disk of "+path
	}
	return limit, by, nil
}

// dataDirectory returns where PostgreSQL keeps its data when that can be seen from
// here, else the empty string. A directory of the same name is another one, as of
// another machine, unless it changed in the same second.
func dataDirectory(ctx context.Context, q store.Queryer) (string, error) {
	var (
		path    *string
		changed *time.Time
	)
	if err := q.QueryRow(ctx, "select path, changed_at from parts.data_directory()").Scan(&path, &changed); err != nil {
		return "", err
	}
	if path == nil || changed == nil {
		return "", nil
	}
	if s, err := os.Stat(*path); err != nil || s.ModTime().Unix() != changed.Unix() {
		return "", nil
	}
	return *path, nil
}

// forget removes the books' oldest pages: batches whose flows are gone. The
// collector needs a batch's row only while it may send it again.
func (k *Keeper) forget(ctx context.Context, conn *pgx.Conn) error {
	if k.c.RetainRaw < 0 {
		return nil
	}
	_, err := conn.Exec(ctx, `delete from public.batches where id in (select id from public.batches b
		where b.summed_at is not null and b.committed_at < $1
		and not exists (select from parts.partition p where p.hour <= b.max_end and p.hour > b.min_end - interval '1 hour') limit 10000)`,
		k.now().Add(-k.c.RetainRaw-24*time.Hour))
	return err
}

// measure says how far behind the sums are, and how large all is.
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
