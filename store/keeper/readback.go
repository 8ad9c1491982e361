package keeper

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
)

// partition is a partition of parts.flows that batches have rows in.
type partition struct {
	hour    flow.Time // its begin
	sealed  bool
	batches []int32
}

// partitionsOf returns the partitions that the batches can have rows in.
func partitionsOf(ctx context.Context, tx pgx.Tx, batches []unsummed) ([]partition, error) {
	from, to := batches[0].minEnd, batches[0].maxEnd
	for _, b := range batches {
		from, to = min(from, b.minEnd), max(to, b.maxEnd)
	}
	rows, err := tx.Query(ctx, "select hour, until, sealed_at is not null from parts.partition where until > $1 and hour <= $2 and to_regclass('parts.' || name) is not null order by hour",
		from.Time(), to.Time())
	if err != nil {
		return nil, err
	}
	var (
		list        []partition
		hour, until time.Time
		sealed      bool
	)
	_, err = pgx.ForEachRow(rows, []any{&hour, &until, &sealed}, func() error {
		p := partition{hour: flow.TimeOf(hour), sealed: sealed}
		for _, b := range batches {
			if b.minEnd < flow.TimeOf(until) && b.maxEnd >= p.hour {
				p.batches = append(p.batches, b.id)
			}
		}
		if len(p.batches) > 0 {
			list = append(list, p)
		}
		return nil
	})
	return list, err
}

// read reads the rows of the batches. Where the last sum told in which pages of a partition
// they are expected, it reads only those; when rows are missing there, it reads all pages.
func (k *Keeper) read(ctx context.Context, tx pgx.Tx, batches []unsummed, partitions []partition) (*tally, error) {
	citus, err := store.HasCitus(ctx, tx)
	if err != nil {
		return nil, err
	}
	if !citus {
		t, partial, err := k.readPages(ctx, tx, partitions, k.pages, true)
		if err != nil || !partial || t.complete(batches) {
			return t, err
		}
		clear(k.pages)
	}
	t, _, err := k.readPages(ctx, tx, partitions, nil, !citus)
	return t, err
}

// readPages reads the rows of the partitions' batches, from the pages on that are given;
// partial says that it left out pages.
func (k *Keeper) readPages(ctx context.Context, tx pgx.Tx, partitions []partition, pages map[flow.Time]uint32, paged bool) (t *tally, partial bool, err error) {
	t = k.newTally()
	for _, p := range partitions {
		where := fmt.Sprintf("batch between %d and %d and batch = any('{%s}')", slices.Min(p.batches), slices.Max(p.batches), joinIDs(p.batches))
		if page := pages[p.hour]; page > 0 && !p.sealed {
			where += fmt.Sprintf(" and ctid >= '(%d,0)'", page)
			partial = true
		}
		if err := copyOut(ctx, tx, t.reader(), store.PartitionName(p.hour), where, paged); err != nil {
			return nil, false, err
		}
	}
	return t, partial, nil
}

// copyOut copies the rows of a table to a reader. On the nodes of a cluster, pages mean
// nothing; paged is false there, and the reader gets page 0.
func copyOut(ctx context.Context, tx pgx.Tx, to *flowReader, table, where string, paged bool) error {
	page := "ctid"
	if !paged {
		page = "'(0,0)'::tid"
	}
	_, err := tx.Conn().PgConn().CopyTo(ctx, to, "copy (select "+page+", "+flowColumns+" from parts."+table+" where "+where+") to stdout (format binary)")
	if err == nil && !to.ended {
		err = errCopyOut
	}
	return err
}

// lastPages returns, by hour of the tally, a page at or somewhat before the end of the
// table that begins with it: the rows of later batches are behind it.
func lastPages(ctx context.Context, tx pgx.Tx, t *tally) (map[flow.Time]uint32, error) {
	pages := make(map[flow.Time]uint32)
	var hours []time.Time
	for hour := range t.hours {
		hours = append(hours, hour.Time())
	}
	rows, err := tx.Query(ctx, "select hour, coalesce(pg_relation_size(to_regclass('parts.' || name)) / 8192, 0) from parts.partition where hour = any($1) and sealed_at is null", hours)
	if err != nil {
		return nil, err
	}
	var hour time.Time
	var size int64
	_, err = pgx.ForEachRow(rows, []any{&hour, &size}, func() error {
		h := rollup.HourTally{LastPage: uint32(size)}
		if page := h.NextPage(); page > 0 {
			pages[flow.TimeOf(hour)] = page
		}
		return nil
	})
	return pages, err
}

// joinIDs writes identifiers as elements of an SQL array.
func joinIDs(ids []int32) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", id)
	}
	return b.String()
}
