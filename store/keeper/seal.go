package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// sealAfter is how long after its end, and after its last receipt, an hour is
// sealed. Flows that arrive later are stored all the same, and maintain its indexes.
const sealAfter = 15 * time.Minute

// sealIndexes are the indexes of an hour that is past: which pages hold which
// times and batches, and which addresses. They take 4 bytes a flow.
//
// A bloom filter for each 8 pages, of some 500 rows, leaves two pages in a thousand
// to be read in vain for an address that is not there, and of an address that is there a
// thousand times still only a part of the pages. The time is in these indexes
// because the planner estimates how scattered the rows of an index are by its least
// scattered column (brincostestimate), and would never use an index of addresses alone.
// A question about one address would have to read an index of both whole.
var sealIndexes = []struct{ suffix, definition string }{
	{"time", "using brin (flow_end, flow_start, batch) with (pages_per_range = 32)"},
	{"source", "using brin (flow_end, src_addr " + addrFilter + ") with (pages_per_range = 8)"},
	{"destination", "using brin (flow_end, dst_addr " + addrFilter + ") with (pages_per_range = 8)"},
}

const addrFilter = "inet_bloom_ops (n_distinct_per_range = 500, false_positive_rate = 0.002)"

// formerIndexes are the suffixes of the indexes that earlier versions made.
var formerIndexes = []string{"src", "dst"}

// resealFor is how long a round goes on to replace former indexes; the other hours wait for
// the next round.
const resealFor = 20 * time.Second

// seal makes indexes and statistics of the hours that are past, and replaces former
// indexes, the latest hour first. The indexes are made concurrently, so that whoever stores
// late flows does not wait.
func (k *Keeper) seal(ctx context.Context, conn *pgx.Conn) error {
	due := k.now().Add(-sealAfter)
	rows, err := conn.Query(ctx, `select p.hour, p.name, p.sealed_at is not null from parts.partition p left join parts.hour h using (hour)
		where (p.sealed_at is null and p.until < $1 and coalesce(h.last_received, p.created_at) < $1
			or p.sealed_at is not null and exists (select from unnest($2::text[]) suffix where to_regclass('parts.' || p.name || '_' || suffix) is not null))
		and to_regclass('parts.' || p.name) is not null order by p.sealed_at is not null, p.hour desc`, due, formerIndexes)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pastHour])
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	// Making an index concurrently waits for those who began to read before.
	exec, done, err := patient(ctx, conn)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	for _, p := range list {
		if p.Sealed && time.Since(began) > resealFor {
			break
		}
		err := k.sealOne(ctx, conn, p, exec)
		if store.Code(err) == "55P03" { // lock_not_available
			k.metrics.waits.Inc()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pastHour is an hour to be sealed, or, when it is Sealed, to be given new indexes.
type pastHour struct {
	Hour   time.Time
	Name   string
	Sealed bool
}

// sealOne seals one hour.
func (k *Keeper) sealOne(ctx context.Context, conn *pgx.Conn, p pastHour, exec func(string) error) error {
	table := "parts." + pgx.Identifier{p.Name}.Sanitize()
	for _, index := range sealIndexes {
		if err := makeIndex(ctx, conn, exec, p.Name, index.suffix, index.definition); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if err := k.after("index"); err != nil {
			return err
		}
	}
	for _, suffix := range formerIndexes {
		if err := exec("drop index concurrently if exists parts." + p.Name + "_" + suffix); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if p.Sealed {
		return nil
	}
	// After a vacuum, readers need not check the visibility of each row.
	if err := exec("vacuum (analyze) " + table); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	if _, err := conn.Exec(ctx, "update parts.partition set sealed_at = clock_timestamp() where hour = $1", p.Hour); err != nil {
		return err
	}
	k.metrics.sealed.Inc()
	return nil
}

// makeIndex makes an index of a table that is past, while rows come to it. One that a former
// attempt left invalid is made anew.
func makeIndex(ctx context.Context, conn *pgx.Conn, exec func(string) error, table, suffix, definition string) error {
	name := table + "_" + suffix
	var valid *bool
	if err := conn.QueryRow(ctx, "select (select indisvalid from pg_index where indexrelid = to_regclass($1))", "parts."+name).Scan(&valid); err != nil {
		return err
	}
	if valid != nil && !*valid {
		if err := exec("drop index concurrently parts." + name); err != nil {
			return err
		}
	}
	return exec("create index concurrently if not exists " + name + " on parts." + pgx.Identifier{table}.Sanitize() + " " + definition)
}

// patient gives conn a limit of how long it waits for a lock, until done is called, and
// what executes a statement of its own transaction.
func patient(ctx context.Context, conn *pgx.Conn) (exec func(sql string) error, done func(), err error) {
	exec = func(sql string) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if err := exec("set lock_timeout = '" + maxLockWait + "'"); err != nil {
		return nil, nil, err
	}
	return exec, func() { _ = exec("reset lock_timeout") }, nil
}
