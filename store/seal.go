package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// sealAfter is how long after its end, and after its last receipt, an hour is
// sealed. What comes later still is stored, and costs its indexes' upkeep.
const sealAfter = 15 * time.Minute

// sealIndexes are the indexes of an hour that is past: which pages hold which
// times and batches, and which addresses. They take 2 % of the rows' room. A bloom
// filter of 6 kB for 128 pages of some 8,000 rows leaves one page in a hundred to
// be read in vain for an address that is not there.
var sealIndexes = []struct{ suffix, definition string }{
	{"time", "using brin (flow_end, flow_start, batch) with (pages_per_range = 32)"},
	{"src", "using brin (src_addr inet_bloom_ops (n_distinct_per_range = 5000, false_positive_rate = 0.01)) with (pages_per_range = 128)"},
	{"dst", "using brin (dst_addr inet_bloom_ops (n_distinct_per_range = 5000, false_positive_rate = 0.01)) with (pages_per_range = 128)"},
}

// seal gives the hours that are past their indexes and statistics. The indexes
// are made concurrently: who stores late flows meanwhile does not wait.
func (k *Keeper) seal(ctx context.Context, conn *pgx.Conn) error {
	due := k.now().Add(-sealAfter)
	rows, err := conn.Query(ctx, `select p.hour, p.name from parts.partition p left join parts.hour h using (hour)
		where p.sealed_at is null and p.hour + interval '1 hour' < $1 and coalesce(h.last_received, p.created_at) < $1
		and to_regclass('parts.' || p.name) is not null order by p.hour`, due)
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
	for _, p := range list {
		err := k.sealOne(ctx, conn, p, exec)
		if code(err) == "55P03" { // lock_not_available
			k.metrics.waits.Inc()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// past is an hour that is to be sealed.
type past struct {
	Hour time.Time
	Name string
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
	if err := exec("analyze " + table); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	if _, err := conn.Exec(ctx, "update parts.partition set sealed_at = clock_timestamp() where hour = $1", p.Hour); err != nil {
		return err
	}
	k.metrics.sealed.Inc()
	return nil
}
