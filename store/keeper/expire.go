package keeper

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// pastHours selects the partitions of flows, except the hours that are being received.
const pastHours = `select -1::smallint, p.hour, p.until, p.name, coalesce(pg_total_relation_size(to_regclass('parts.' || p.name)), 0)
	from parts.partition p left join parts.hour h using (hour)
	where p.until + interval '1 hour' < $1`

// inOrderOfReceipt puts those first that were received first.
const inOrderOfReceipt = " order by greatest(p.hour, coalesce(h.last_received, p.created_at)), p.hour"

// expendables returns the partitions that a statement selects.
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

// expireByAge removes what was received too long ago. Flows that are not summed stay until
// they are.
func (k *Keeper) expireByAge(ctx context.Context, conn *pgx.Conn) error {
	now := k.now()
	var expired []expendable
	if k.c.RetainRaw > 0 {
		list, err := expendables(ctx, conn, pastHours+` and p.until < $2 and coalesce(h.last_received, p.created_at) < $2
			and not exists (select from public.batches b where b.summed_at is null and b.max_end >= p.hour and b.min_end < p.until)`+inOrderOfReceipt,
			now, now.Add(-k.c.RetainRaw))
		if err != nil {
			return err
		}
		expired = list
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
		expired = append(expired, list...)
	}
	for _, e := range expired {
		if err := k.remove(ctx, conn, e); err != nil {
			return err
		}
	}
	return nil
}

// expireBySize removes the oldest flows, and after them the oldest minutes, while
// the database is over its limit. A partition counts as removed from when its removal
// begins, because a reader may delay the end.
func (k *Keeper) expireBySize(ctx context.Context, conn *pgx.Conn) error {
	over, err := k.over(ctx, conn)
	if err != nil || over <= 0 {
		return err
	}
	list, err := expendables(ctx, conn, pastHours+inOrderOfReceipt, k.now())
	if err != nil {
		return err
	}
	// Days of events go with the hours of flows that are as old.
	days, err := expendables(ctx, conn, pastEventDays+" order by day", k.now())
	if err != nil {
		return err
	}
	list = byEnd(list, days)
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

// forget deletes the rows of batches whose flows were removed. The collector needs a
// batch's row only while it may send the batch again.
func (k *Keeper) forget(ctx context.Context, conn *pgx.Conn) error {
	if k.c.RetainRaw < 0 {
		return nil
	}
	_, err := conn.Exec(ctx, `delete from public.batches where id in (select id from public.batches b
		where b.summed_at is not null and b.committed_at < $1
		and not exists (select from parts.partition p where p.hour <= b.max_end and p.until > b.min_end) limit 10000)`,
		k.now().Add(-k.c.RetainRaw-24*time.Hour))
	return err
}
