package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

const (
	// DefaultMaxPartitions is how many hours of flow_end the store holds at most.
	DefaultMaxPartitions = 2_000
	// partitionsAtOnce bounds how many partitions one transaction makes: each
	// costs the server locks.
	partitionsAtOnce = 50
	// PartitionLock is the advisory lock of whoever changes the set of
	// partitions: "flow" and a number.
	PartitionLock = 0x666c6f77_0001
	// fullFor is how long we believe that there is no room for another hour.
	fullFor = 10 * time.Second
)

// Partitions is what a writer knows of the partitions: enough to write without
// asking. What it knows may be out of date only in that one was removed, which
// the transaction that writes finds out.
type Partitions struct {
	limit int

	mu sync.Mutex
	// known are the hours that have a partition; another may have one, too.
	known map[flow.Time]bool
	// full is until when no new hours are tried.
	full time.Time
}

func NewPartitions(limit int) *Partitions {
	if limit <= 0 {
		limit = DefaultMaxPartitions
	}
	return &Partitions{limit: limit, known: make(map[flow.Time]bool)}
}

// Count returns how many partitions are known.
func (p *Partitions) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known)
}

// Forget makes the next writer ask again.
func (p *Partitions) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}

// Ensure sees to it that the partitions of the hours exist, and returns those
// for which there is no room. Hours between first and last are let in even then:
// they are the hours of receipt, as many as there is time, and what has no room
// goes there.
func (p *Partitions) Ensure(ctx context.Context, conn *pgx.Conn, hours []flow.Time, first, last flow.Time) (refused []flow.Time, err error) {
	var missing []flow.Time
	p.mu.Lock()
	full := time.Now().Before(p.full)
	for _, h := range hours {
		if p.known[h] {
			continue
		}
		if full && (h < first || h > last) {
			refused = append(refused, h)
		} else {
			missing = append(missing, h)
		}
	}
	p.mu.Unlock()
	for some := range slices.Chunk(missing, partitionsAtOnce) {
		no, err := p.create(ctx, conn, some, first, last)
		if err != nil {
			return nil, fmt.Errorf("partition: %w", err)
		}
		refused = append(refused, no...)
	}
	return refused, nil
}

// create makes partitions, in one transaction. Everybody who does takes turns.
func (p *Partitions) create(ctx context.Context, conn *pgx.Conn, hours []flow.Time, first, last flow.Time) (refused []flow.Time, err error) {
	found := make(map[flow.Time]bool)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Attaching a partition lets readers and writers of the others go on, but
		// waits for whoever holds the whole table, and everybody else then waits
		// for us. Better we come again.
		if _, err := tx.Exec(ctx, "set local lock_timeout = '5s'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(PartitionLock)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "select hour from parts.partition")
		if err != nil {
			return err
		}
		var hour time.Time
		if _, err := pgx.ForEachRow(rows, []any{&hour}, func() error {
			found[flow.TimeOf(hour)] = true
			return nil
		}); err != nil {
			return err
		}
		for _, h := range hours {
			if found[h] {
				continue
			}
			if len(found) >= p.limit && (h < first || h > last) {
				refused = append(refused, h)
				continue
			}
			switch busy, err := RenameDetached(ctx, tx, PartitionName(h)); {
			case err != nil:
				return err
			case busy:
				// It is on its way out, or somebody deleted its row only.
				ok, err := adopt(ctx, tx, h)
				if err != nil {
					return err
				}
				if !ok && h >= first && h <= last {
					return fmt.Errorf("%s is being removed", PartitionName(h))
				}
				if !ok {
					refused = append(refused, h)
					continue
				}
			default:
				if err := createPartition(ctx, tx, h); err != nil {
					return err
				}
			}
			found[h] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.known, found)
	if len(refused) > 0 {
		p.full = time.Now().Add(fullFor)
	}
	return refused, nil
}

// adopt enters a partition that exists into our books again, unless it is on its
// way out.
func adopt(ctx context.Context, tx pgx.Tx, hour flow.Time) (ok bool, err error) {
	s, err := FindTable(ctx, tx, "c.relname = $1", PartitionName(hour))
	if err != nil || s == nil || !s.Attached || s.Leaving {
		return false, err
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf(`insert into parts.partition (hour, min_start, name)
		select $1::timestamptz, least($1::timestamptz, (select min(flow_start) from parts.%s)), $2::text
		where not exists (select from parts.removal where id = $3)`, PartitionName(hour)), hour.Time(), PartitionName(hour), s.ID)
	return tag.RowsAffected() == 1, err
}

// createPartition makes the table beside the others and then attaches it, which
// needs less of a lock than making it as a partition. The check tells the server
// that no row has to be looked at; afterwards the bounds say the same, and it
// would only be computed twice for every row.
func createPartition(ctx context.Context, tx pgx.Tx, hour flow.Time) error {
	const form = "2006-01-02 15:04:05+00"
	var (
		name = "parts." + PartitionName(hour)
		from = hour.Time().Format(form)
		to   = (hour + flow.Hour).Time().Format(form)
	)
	for _, statement := range []string{
		fmt.Sprintf("create table %s (like parts.flows including defaults including constraints including storage, constraint hour check (flow_end >= '%s' and flow_end < '%s'))", name, from, to),
		fmt.Sprintf("alter table %s owner to %s", name, RoleWriter),
		fmt.Sprintf("alter table parts.flows attach partition %s for values from ('%s') to ('%s')", name, from, to),
		fmt.Sprintf("alter table %s drop constraint hour", name),
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// Its rows end in the hour, so the hour's begin is a bound until one of them
	// starts earlier.
	_, err := tx.Exec(ctx, "insert into parts.partition (hour, min_start, name) values ($1, $1, $2)", hour.Time(), PartitionName(hour))
	return err
}

// Table is what became of a table in schema parts.
type Table struct {
	ID                uint32
	Name              string
	Attached, Leaving bool // leaving: detached for all who come from now on
}

const tableStateSQL = `select c.oid, c.relname::text, i.inhrelid is not null, coalesce(i.inhdetachpending, false)
	from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_inherits i on i.inhrelid = c.oid
	where n.nspname = 'parts' and c.relkind in ('r', 'p', 'f') and `

// FindTable returns nil when there is no such table.
func FindTable(ctx context.Context, q Queryer, where string, arg any) (*Table, error) {
	rows, err := q.Query(ctx, tableStateSQL+where, arg)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Table, error) {
		var s Table
		err := row.Scan(&s.ID, &s.Name, &s.Attached, &s.Leaving)
		return &s, err
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// RenameDetached moves a table out of the way that has the name of a partition to be made
// and is none: it was detached, by a removal that was not finished or by a person
// who wants to keep it. busy: it is one, or was until a moment ago.
func RenameDetached(ctx context.Context, tx pgx.Tx, name string) (busy bool, err error) {
	s, err := FindTable(ctx, tx, "c.relname = $1", name)
	if err != nil || s == nil {
		return false, err
	}
	if s.Attached {
		return true, nil
	}
	_, err = tx.Exec(ctx, fmt.Sprintf("alter table parts.%s rename to %s_left_%d", name, name, s.ID))
	return false, err
}

// PartitionName is the name of an hour's table in schema parts.
func PartitionName(hour flow.Time) string { return "flows_" + hour.Time().Format("2006010215") }
