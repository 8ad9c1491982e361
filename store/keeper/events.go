package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// eventGrain is the grain of a day of events among what may be removed.
const eventGrain = -2

// pastEventDays selects the days of events that are past, the size of each with it.
const pastEventDays = `select -2::smallint, day, day + interval '1 day', name, coalesce(pg_total_relation_size(to_regclass('parts.' || name)), 0)
	from parts.event_day where day + interval '1 day' < $1`

// expireEvents removes the days of events whose last event was received too long ago.
func (k *Keeper) expireEvents(ctx context.Context, conn *pgx.Conn) error {
	if k.c.RetainEvents < 0 {
		return nil
	}
	now := k.now()
	list, err := expendables(ctx, conn, pastEventDays+" and last_received < $2 and day + interval '1 day' < $2 order by day", now, now.Add(-k.c.RetainEvents))
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := k.remove(ctx, conn, e); err != nil {
			return err
		}
	}
	return nil
}

// forgetEventDay takes a day that leaves out of the books: no batch is committed to it from
// when on that is.
func forgetEventDay(ctx context.Context, tx pgx.Tx, e expendable) error {
	_, err := tx.Exec(ctx, "delete from parts.event_day where day = $1", e.from)
	return err
}

// eventIndexes are the indexes of a day that is past: which pages may hold an address, as
// of flows. The index of time is there from the beginning.
var eventIndexes = []struct{ suffix, column string }{{"source", "src_addr"}, {"destination", "dst_addr"}, {"translated", "nat_src_addr"}}

// sealEvents makes indexes and statistics of the days of events that are past.
func (k *Keeper) sealEvents(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `select day, name from parts.event_day where sealed_at is null and day + interval '1 day' < $1 and last_received < $1
		and to_regclass('parts.' || name) is not null order by day desc`, k.now().Add(-sealAfter))
	if err != nil {
		return err
	}
	type pastDay struct {
		Day  time.Time
		Name string
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pastDay])
	if err != nil || len(list) == 0 {
		return err
	}
	exec, done, err := patient(ctx, conn)
	if err != nil {
		return err
	}
	defer done()
	for _, d := range list {
		err := func() error {
			table := "parts." + pgx.Identifier{d.Name}.Sanitize()
			for _, index := range eventIndexes {
				if err := makeIndex(ctx, conn, exec, d.Name, index.suffix, "using brin (time, "+index.column+" "+addrFilter+") with (pages_per_range = 8)"); err != nil {
					return err
				}
			}
			if err := exec("vacuum (analyze) " + table); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "update parts.event_day set sealed_at = clock_timestamp() where day = $1", d.Day)
			return err
		}()
		if store.Code(err) == "55P03" { // lock_not_available
			k.metrics.waits.Inc()
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		k.metrics.sealed.Inc()
	}
	return nil
}

// byEnd merges days of events into the list of what goes first, in front of what ends
// after them.
func byEnd(list, days []expendable) []expendable {
	merged := make([]expendable, 0, len(list)+len(days))
	for _, e := range list {
		for len(days) > 0 && !days[0].to.After(e.to) {
			merged, days = append(merged, days[0]), days[1:]
		}
		merged = append(merged, e)
	}
	return append(merged, days...)
}
