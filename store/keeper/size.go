package keeper

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

const (
	// diskShare is the part of a disk that the database may have, of what others leave.
	diskShare = 0.80
	// sizeTarget is the part of the limit that is left when the database was over it, so
	// that not every minute something has to be removed.
	sizeTarget = 0.95
)

// over returns how many bytes have to be removed, and stores the limit for whoever asks.
// Partitions whose removal has begun do not count.
func (k *Keeper) over(ctx context.Context, conn *pgx.Conn) (int64, error) {
	var size, leaving int64
	if err := conn.QueryRow(ctx, `select pg_database_size(current_database()),
		(select coalesce(sum(pg_total_relation_size(r.id)), 0)::bigint from parts.removal r where exists (select from pg_class c where c.oid = r.id))`).Scan(&size, &leaving); err != nil {
		return 0, err
	}
	limit, by, err := k.sizeLimit(ctx, conn, size)
	if err != nil {
		return 0, err
	}
	size -= leaving
	k.metrics.limit.Set(float64(limit))
	if by != k.limitedBy {
		if limit > 0 {
			k.log.Info("the oldest flows are removed by age and by size", "limit", limit, "set_by", by)
		} else {
			k.log.Warn("the oldest flows are removed by age alone; the disk may fill before that", "why", by)
		}
		k.limitedBy = by
	}
	if _, err := conn.Exec(ctx, `insert into parts.retention (checked_at, size, size_limit, set_by) values (clock_timestamp(), $1, nullif($2::bigint, 0), $3)
		on conflict (one) do update set checked_at = excluded.checked_at, size = excluded.size, size_limit = excluded.size_limit, set_by = excluded.set_by`,
		size, limit, by); err != nil {
		return 0, err
	}
	if limit == 0 || size <= limit {
		return 0, nil
	}
	return size - int64(float64(limit)*sizeTarget), nil
}

// sizeLimit returns how many bytes a database of a size may have, and what sets that
// limit: --retain-size, or 80 % of what others leave of its disk, whichever is less. The
// limit is 0 when there is none.
//
// The files of others do not count against the database: removing flows does not help
// against a disk that others fill.
func (k *Keeper) sizeLimit(ctx context.Context, q store.Queryer, size int64) (limit int64, by string, err error) {
	if limit = k.c.RetainSize; limit > 0 {
		by = "--retain-size"
	}
	path := k.c.RetainPath
	switch path {
	case RetainNowhere:
		return limit, cmp.Or(by, "--retain-path none and no --retain-size"), nil
	case "":
		if path, err = dataDirectory(ctx, q); err != nil {
			return 0, "", err
		}
		if path == "" {
			return limit, cmp.Or(by, "the database's disk cannot be seen from here, and neither --retain-size nor --retain-path is given"), nil
		}
	}
	free, err := k.free(path)
	if err != nil {
		return 0, "", fmt.Errorf("disk of %s: %w", path, err)
	}
	if most := int64(float64(size+free) * diskShare); limit == 0 || most < limit {
		limit, by = most, "80 % of what others leave of the disk of "+path
	}
	return limit, by, nil
}

// dataDirectory returns PostgreSQL's data directory when this process sees it, else the
// empty string. A directory of the same name that did not change in the same second is
// another one, on another machine.
func dataDirectory(ctx context.Context, q store.Queryer) (string, error) {
	var (
		path    *string
		changed *time.Time
	)
	if err := q.QueryRow(ctx, "select path, changed_at from parts.data_directory()").Scan(&path, &changed); err != nil {
		return "", err
	}
	if path == nil || changed == nil {
		return "", nil
	}
	if s, err := os.Stat(*path); err != nil || s.ModTime().Unix() != changed.Unix() {
		return "", nil
	}
	return *path, nil
}
