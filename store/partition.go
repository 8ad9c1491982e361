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
	// DefaultMaxPartitions is how many hours of flow_end there may be, unless told
	// otherwise.
	DefaultMaxPartitions = 2_000
	// partitionsAtOnce bounds how many partitions one transaction makes: each
	// costs the server locks.
	partitionsAtOnce = 50
	// PartitionLock is the advisory lock of whoever changes the set of
	// partitions: "flow" and a number.
	PartitionLock = 0x666c6f77_0001
	// refuseFor is how long new hours are refused, without asking the database, after
	// the limit was reached.
	refuseFor = 10 * time.Second
)

// Partitions is what a Writer knows of the partitions of flows: enough to write without
// asking the database. It may be out of date only in that a partition was removed, which
// the transaction that writes finds out.
type Partitions struct {
	limit int

	mu sync.Mutex
	// known are hours that have a partition; others may have one, too.
	known map[flow.Time]bool
	// refuseUntil is until when new hours are refused without asking the database.
	refuseUntil time.Time
}

// NewPartitions returns Partitions that knows none. limit is how many there may be,
// DefaultMaxPartitions when 0.
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

// Forget makes the next Ensure ask the database again.
func (p *Partitions) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.known)
}

// Ensure makes the partitions of the hours that have none, and returns the hours that it
// refuses because there would be too many. It never refuses hours between first and last:
// these are the hours of receipt, to which the rows of refused hours go.
func (p *Partitions) Ensure(ctx context.Context, conn *pgx.Conn, hours []flow.Time, first, last flow.Time) (refused []flow.Time, err error) {
	var missing []flow.Time
	p.mu.Lock()
	refuse := time.Now().Before(p.refuseUntil)
	for _, h := range hours {
		if p.known[h] {
			continue
		}
		if refuse && (h < first || h > last) {
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

// create makes partitions in one transaction, while nobody else changes their set.
func (p *Partitions) create(ctx context.Context, conn *pgx.Conn, hours []flow.Time, first, last flow.Time) (refused []flow.Time, err error) {
	found := make(map[flow.Time]bool)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Attaching a partition lets readers and writers of the others go on, but it
		// waits for whoever has locked the whole table, and everybody else then waits
		// for it. It is better to give up and try again.
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
				// It is being removed, or somebody deleted only its row.
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
		p.refuseUntil = time.Now().Add(refuseFor)
	}
	return refused, nil
}

// adopt inserts the row of a partition that exists, unless the partition is being removed.
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

// createPartition makes a table of its own and then attaches it, which takes a weaker lock
// than making it as a partition. The check constraint tells the server that attaching need
// not read the rows. Afterwards the bounds of the partition say the same, and the
// constraint would only be computed for every row.
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
	// The begin of the hour is a lower bound of the starts until a flow starts earlier,
	// because all flows end in the hour.
	_, err := tx.Exec(ctx, "insert into parts.partition (hour, min_start, name) values ($1, $1, $2)", hour.Time(), PartitionName(hour))
	return err
}

// Table is the state of a table in schema parts.
type Table struct {
	ID                uint32
	Name              string
	Attached, Leaving bool // Leaving: detached for all transactions that begin now
}

const tableStateSQL = `select c.oid, c.relname::text, i.inhrelid is not null, coalesce(i.inhdetachpending, false)
	from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_inherits i on i.inhrelid = c.oid
	where n.nspname = 'parts' and c.relkind in ('r', 'p', 'f') and `

// FindTable returns the table for which a condition holds, or nil when there is none.
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

// RenameDetached renames a table that has the name of a partition to be made but was
// detached, by a removal that was not finished or by a person who wants to keep it. busy
// says that the table is still attached, or is being detached.
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

// PartitionName returns the name of an hour's table in schema parts.
func PartitionName(hour flow.Time) string { return "flows_" + hour.Time().Format("2006010215") }
