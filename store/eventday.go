package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// MaxEventDays is how many days of events there may be so that a day which is not one of
// receipt gets a partition. Times beyond are a stranger's, and become those of receipt. Days
// of receipt are as many as are kept.
const MaxEventDays = 100

// EventDays is what a Writer knows of the partitions of events. It may be out of date only
// in that a partition was removed, which the transaction that writes finds out.
type EventDays struct {
	mu    sync.Mutex
	known map[flow.Time]bool
	// refuseUntil is until when new days are refused without asking the database.
	refuseUntil time.Time
}

// Forget makes the next Ensure ask the database again.
func (e *EventDays) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.known)
}

// Ensure makes the partitions of the days that have none, and returns those that it refuses
// because there would be too many. It never refuses days between first and last, those of
// receipt.
func (e *EventDays) Ensure(ctx context.Context, conn *pgx.Conn, days []flow.Time, first, last flow.Time) (refused []flow.Time, err error) {
	var missing []flow.Time
	e.mu.Lock()
	refuse := time.Now().Before(e.refuseUntil)
	for _, d := range days {
		switch {
		case e.known[d]:
		case refuse && (d < first || d > last):
			refused = append(refused, d)
		default:
			missing = append(missing, d)
		}
	}
	e.mu.Unlock()
	for i := 0; i < len(missing); i += partitionsAtOnce {
		some := missing[i:min(i+partitionsAtOnce, len(missing))]
		no, err := e.create(ctx, conn, some, first, last)
		if err != nil {
			return nil, fmt.Errorf("partition of events: %w", err)
		}
		refused = append(refused, no...)
	}
	return refused, nil
}

// create makes partitions in one transaction, while nobody else changes their set.
func (e *EventDays) create(ctx context.Context, conn *pgx.Conn, days []flow.Time, first, last flow.Time) (refused []flow.Time, err error) {
	found := make(map[flow.Time]bool)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// As with flows: it is better to give up and try again than to have everybody wait.
		if _, err := tx.Exec(ctx, "set local lock_timeout = '5s'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(PartitionLock)); err != nil {
			return err
		}
		// What somebody dropped or detached by hand is not there, whatever the books say.
		if _, err := tx.Exec(ctx, `delete from parts.event_day d where not exists (
			select from pg_inherits where inhrelid = to_regclass('parts.' || d.name) and inhparent = to_regclass('parts.events'))`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "select day from parts.event_day")
		if err != nil {
			return err
		}
		var day time.Time
		if _, err := pgx.ForEachRow(rows, []any{&day}, func() error {
			found[flow.TimeOf(day)] = true
			return nil
		}); err != nil {
			return err
		}
		for _, d := range days {
			if found[d] {
				continue
			}
			receipt := d >= first && d <= last
			if len(found) >= MaxEventDays && !receipt {
				refused = append(refused, d)
				continue
			}
			switch busy, err := RenameDetached(ctx, tx, EventDayName(d)); {
			case err != nil:
				return err
			case busy:
				// It is being removed, or somebody deleted only its row.
				ok, err := adoptEventDay(ctx, tx, d)
				if err != nil {
					return err
				}
				if !ok && receipt {
					return fmt.Errorf("%s is being removed", EventDayName(d))
				}
				if !ok {
					refused = append(refused, d)
					continue
				}
			default:
				if err := createEventDay(ctx, tx, d); err != nil {
					return err
				}
			}
			found[d] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == nil {
		e.known = make(map[flow.Time]bool)
	}
	for d := range found {
		e.known[d] = true
	}
	if len(refused) > 0 {
		e.refuseUntil = time.Now().Add(refuseFor)
	}
	return refused, nil
}

// adoptEventDay inserts the row of a partition that exists, unless that is being removed.
func adoptEventDay(ctx context.Context, tx pgx.Tx, day flow.Time) (ok bool, err error) {
	s, err := FindTable(ctx, tx, "c.relname = $1", EventDayName(day))
	if err != nil || s == nil || !s.Attached || s.Leaving {
		return false, err
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf(`insert into parts.event_day (day, last_received, name)
		select $1::timestamptz, coalesce((select max(received_at) from parts.%s), $1::timestamptz), $2::text
		where not exists (select from parts.removal where id = $3)`, EventDayName(day)), day.Time(), EventDayName(day), s.ID)
	return tag.RowsAffected() == 1, err
}

// createEventDay makes a table of its own and then attaches it, as createPartition does.
func createEventDay(ctx context.Context, tx pgx.Tx, day flow.Time) error {
	const form = "2006-01-02 15:04:05+00"
	var (
		name = "parts." + EventDayName(day)
		from = day.Time().Format(form)
		to   = (day + flow.Day).Time().Format(form)
	)
	for _, statement := range []string{
		fmt.Sprintf("create table %s (like parts.events including defaults including constraints including storage, constraint day check (time >= '%s' and time < '%s'))", name, from, to),
		fmt.Sprintf("alter table %s owner to %s", name, RoleWriter),
		fmt.Sprintf("alter table parts.events attach partition %s for values from ('%s') to ('%s')", name, from, to),
		fmt.Sprintf("alter table %s drop constraint day", name),
		// Rows come in the order of time, nearly: the index is small and cheap, and a
		// question about the last minute reads no more than these.
		fmt.Sprintf("create index on %s using brin (time) with (pages_per_range = 32, autosummarize = on)", name),
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	_, err := tx.Exec(ctx, "insert into parts.event_day (day, last_received, name) values ($1, $1, $2)", day.Time(), EventDayName(day))
	return err
}

// EventDayName returns the name of a day's table in schema parts.
func EventDayName(day flow.Time) string { return "events_" + day.Time().Format("20060102") }
