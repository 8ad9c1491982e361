package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// sealAfter is how long after its end, and after its last receipt, an hour is
// sealed. What comes later still is stored, and costs its indexes' upkeep.
const sealAfter = 15 * time.Minute

// sealIndexes are the indexes of an hour that is past: which pages hold which
// times and batches, and which addresses. They take 4 octets a flow.
//
// A bloom filter for each 8 pages, of some 500 rows, leaves two pages in a thousand
// to be read in vain for an address that is not there, and of one that is there a
// thousand times still only a part of the pages. The time is in these indexes
// because the planner, who estimates how scattered the rows of an index are by that
// of its columns which is least so (brincostestimate), would never take one of
// addresses alone. One index for both addresses would have to be read whole for
// either.
var sealIndexes = []struct{ suffix, definition string }{
	{"time", "using brin (flow_end, flow_start, batch) with (pages_per_range = 32)"},
	{"source", "using brin (flow_end, src_addr " + addrFilter + ") with (pages_per_range = 8)"},
	{"destination", "using brin (flow_end, dst_addr " + addrFilter + ") with (pages_per_range = 8)"},
}

const addrFilter = "inet_bloom_ops (n_distinct_per_range = 500, false_positive_rate = 0.002)"

// formerIndexes are the suffixes of those that hours were given once, before
// there were better ones.
var formerIndexes = []string{"src", "dst"}

// resealFor is how long a round goes on giving better indexes to hours that have
// former ones; the others wait for the next.
const resealFor = 20 * time.Second

// seal gives the hours that are past their indexes and statistics, and those that
// were sealed with other indexes these, the latest first. The indexes are made
// concurrently: who stores late flows meanwhile does not wait.
func (k *Keeper) seal(ctx context.Context, conn *pgx.Conn) error {
	due := k.now().Add(-sealAfter)
	rows, err := conn.Query(ctx, `select p.hour, p.name, p.sealed_at is not null from parts.partition p left join parts.hour h using (hour)
		where (p.sealed_at is null and p.hour + interval '1 hour' < $1 and coalesce(h.last_received, p.created_at) < $1
			or p.sealed_at is not null and exists (select from unnest($2::text[]) suffix where to_regclass('parts.' || p.name || '_' || suffix) is not null))
		and to_regclass('parts.' || p.name) is not null order by p.sealed_at is not null, p.hour desc`, due, formerIndexes)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[past])
	if err != nil {
		return err
	}
	exec := func(sql string) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if len(list) == 0 {
		return nil
	}
	// An index that is made concurrently waits for whoever began to read before.
	if err := exec("set lock_timeout = '" + unhurried + "'"); err != nil {
		return err
	}
	defer func() { _ = exec("reset lock_timeout") }()
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

// past is an hour that is to be sealed; Sealed, once more.
type past struct {
	Hour   time.Time
	Name   string
	Sealed bool
}

func (k *Keeper) sealOne(ctx context.Context, conn *pgx.Conn, p past, exec func(string) error) error {
	table := "parts." + pgx.Identifier{p.Name}.Sanitize()
	for _, index := range sealIndexes {
		name := p.Name + "_" + index.suffix
		var valid *bool
		if err := conn.QueryRow(ctx, "select (select indisvalid from pg_index where indexrelid = to_regclass($1))", "parts."+name).Scan(&valid); err != nil {
			return err
		}
		if valid != nil && !*valid { // broken off the last time
			if err := exec("drop index concurrently parts." + name); err != nil {
				return err
			}
		}
		if err := exec("create index concurrently if not exists " + name + " on " + table + " " + index.definition); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if err := k.fails("index"); err != nil {
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
	// Of a page whose rows are known to be visible to all, nobody has to look at
	// each row's.
	if err := exec("vacuum (analyze) " + table); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	if _, err := conn.Exec(ctx, "update parts.partition set sealed_at = clock_timestamp() where hour = $1", p.Hour); err != nil {
		return err
	}
	k.metrics.sealed.Inc()
	return nil
}
