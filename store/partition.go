package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

const (
	// DefaultMaxPartitions is how many partitions of flows there may be, unless told
	// otherwise or the server's lock table is too small for them.
	DefaultMaxPartitions = 2_000
	// partitionsAtOnce bounds how many partitions one transaction makes: each
	// costs the server locks, and others who need one wait.
	partitionsAtOnce = 16
	// PartitionLock is the advisory lock of whoever changes the set of
	// partitions: "flow" and a number.
	PartitionLock = 0x666c6f77_0001
	// refuseFor is how long new partitions are refused, without asking the database, after
	// the limit was reached.
	refuseFor = 10 * time.Second
)

// Partitions is what a Writer knows of the partitions of flows: enough to write without
// asking the database. It may be out of date in that a partition was removed, which
// the transaction that writes finds out; Forget then makes it ask the catalog.
type Partitions struct {
	limit int
	log   *slog.Logger

	mu sync.Mutex
	// known are partitions that there are, in order; there may be others, too.
	known []Partition
	// refuseUntil is until when new partitions are refused without asking the database.
	refuseUntil time.Time
}

// NewPartitions returns Partitions that knows none. limit is how many there may be,
// DefaultMaxPartitions when 0. The logger hears of tables that somebody dropped or
// detached; nil is silence.
func NewPartitions(limit int, log *slog.Logger) *Partitions {
	if limit <= 0 {
		limit = DefaultMaxPartitions
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Partitions{limit: limit, log: log}
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
	p.known, p.refuseUntil = nil, time.Time{}
}

// Of returns the partition that holds the flows which end in an hour; ok is false when none
// is known.
func (p *Partitions) Of(hour flow.Time) (_ Partition, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return FindPartition(p.known, hour)
}

// Wanted is an hour that needs a partition. When it is Own, because its flows are many, it
// gets one of its own whatever its age.
type Wanted struct {
	Hour flow.Time
	Own  bool
}

// Ensure makes the partitions of the hours that have none, and returns the hours that it
// refuses because there would be too many. It never refuses hours between first and last:
// these are the hours of receipt, to which the rows of refused hours go. Other hours get
// the Period that fits their age at the last hour of receipt.
func (p *Partitions) Ensure(ctx context.Context, conn *pgx.Conn, hours []Wanted, first, last flow.Time) (refused []flow.Time, err error) {
	var missing []Wanted
	p.mu.Lock()
	refuse := time.Now().Before(p.refuseUntil)
	for _, w := range hours {
		if _, ok := find(p.known, w.Hour); ok {
			continue
		}
		if refuse && (w.Hour < first || w.Hour > last) {
			refused = append(refused, w.Hour)
		} else {
			missing = append(missing, w)
		}
	}
	p.mu.Unlock()
	for len(missing) > 0 {
		no, rest, err := p.create(ctx, conn, missing, first, last)
		if err != nil {
			return nil, fmt.Errorf("partition: %w", err)
		}
		refused = append(refused, no...)
		missing = rest
	}
	return refused, nil
}

// create makes some of the partitions in one transaction, while nobody else changes their
// set, and returns the hours that are left.
func (p *Partitions) create(ctx context.Context, conn *pgx.Conn, hours []Wanted, first, last flow.Time) (refused []flow.Time, rest []Wanted, err error) {
	var there []Partition
	var gone []string
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
		var leaving []Partition
		var err error
		if there, leaving, gone, err = compareBooks(ctx, tx); err != nil {
			return err
		}
		locks, err := LockTableOf(ctx, tx)
		if err != nil {
			return err
		}
		limit := min(p.limit, locks.MostPartitions())
		made := 0
		for i, w := range hours {
			if _, ok := find(there, w.Hour); ok {
				continue
			}
			if made == partitionsAtOnce {
				rest = hours[i:]
				break
			}
			needed := w.Hour >= first && w.Hour <= last
			if len(there) >= limit && !needed {
				refused = append(refused, w.Hour)
				continue
			}
			// Those that are being removed are still there as far as new ones go.
			if _, ok := find(leaving, w.Hour); ok {
				if needed {
					return fmt.Errorf("the partition of %v is being removed", w.Hour)
				}
				refused = append(refused, w.Hour)
				continue
			}
			n := Partition{w.Hour, w.Hour + flow.Hour}
			// Towards the limit only the few long periods are made.
			if !needed && (!w.Own || len(there) >= limit*3/4) {
				n = Period(w.Hour, last+flow.Hour)
			}
			n = n.Clip(w.Hour, there).Clip(w.Hour, leaving)
			if _, err := RenameDetached(ctx, tx, n.Name()); err != nil {
				return err
			}
			if err := createPartition(ctx, tx, n); err != nil {
				return err
			}
			there = InsertPartition(there, n)
			made++
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, name := range gone {
		p.log.Warn("a table of flows was dropped or detached by hand; it is made anew when flows need it", "table", "parts."+name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = there
	if len(refused) > 0 {
		p.refuseUntil = time.Now().Add(refuseFor)
	}
	return refused, rest, nil
}

// compareBooks returns the partitions that there are and those that are being removed, each
// in order. Where parts.partition says otherwise than the catalog, because somebody dropped
// or detached a table, or deleted only its row, it is corrected; gone are the tables that
// it had and that are no partitions.
func compareBooks(ctx context.Context, tx pgx.Tx) (there, leaving []Partition, gone []string, err error) {
	rows, err := tx.Query(ctx, `
select coalesce(c.relname, p.name)::text, c.relname is not null, p.name is not null,
	coalesce(p.hour, (c.bounds[1])::timestamptz), coalesce(p.until, (c.bounds[2])::timestamptz),
	coalesce(c.inhdetachpending or exists (select from parts.removal r where r.id = c.oid), false)
from parts.partition p
full join (
	select c.oid, c.relname::text as relname, i.inhdetachpending, case when not exists (select from parts.partition where name = c.relname)
		then regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') end as bounds
	from pg_inherits i join pg_class c on c.oid = i.inhrelid
	where i.inhparent = to_regclass('parts.flows')) c on c.relname = p.name
order by 4`)
	if err != nil {
		return nil, nil, nil, err
	}
	var (
		name                   string
		attached, booked, goes bool
		from, until            *time.Time
		adopted                []Partition
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &attached, &booked, &from, &until, &goes}, func() error {
		if from == nil || until == nil { // a default partition, made by hand
			return nil
		}
		n := Partition{flow.TimeOf(*from), flow.TimeOf(*until)}
		switch {
		case !attached:
			gone = append(gone, name)
		case goes:
			leaving = append(leaving, n)
		default:
			there = append(there, n)
			if !booked && n.Name() == name {
				adopted = append(adopted, n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	for _, name := range gone {
		if _, err := tx.Exec(ctx, "with gone as (delete from parts.partition where name = $1 returning hour) delete from parts.hour h using gone where h.hour = gone.hour", name); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, n := range adopted {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`insert into parts.partition (hour, until, min_start, name)
			select $1::timestamptz, $2::timestamptz, least($1::timestamptz, (select min(flow_start) from parts.%s)), $3::text`, n.Name()),
			n.From.Time(), n.Until.Time(), n.Name()); err != nil {
			return nil, nil, nil, err
		}
	}
	return there, leaving, gone, nil
}

// createPartition makes a table of its own and then attaches it, which takes a weaker lock
// than making it as a partition. The check constraint tells the server that attaching need
// not read the rows. Afterwards the bounds of the partition say the same, and the
// constraint would only be computed for every row.
func createPartition(ctx context.Context, tx pgx.Tx, p Partition) error {
	const form = "2006-01-02 15:04:05+00"
	var (
		name = "parts." + p.Name()
		from = p.From.Time().Format(form)
		to   = p.Until.Time().Format(form)
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
	// The begin is a lower bound of the starts until a flow starts earlier, because all
	// flows end in the partition.
	_, err := tx.Exec(ctx, "insert into parts.partition (hour, until, min_start, name) values ($1, $2, $1, $3)", p.From.Time(), p.Until.Time(), p.Name())
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

// PartitionName returns the name of the table in schema parts whose flows end from an hour
// on.
func PartitionName(hour flow.Time) string { return "flows_" + hour.Time().Format("2006010215") }
