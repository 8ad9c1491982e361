package store

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// distributed are the tables that a Citus cluster distributes over its nodes, each
// with the column whose hash selects the node. A batch of flows goes to one node
// whole, so that a COPY has one destination. A bucket of a roll-up does so too, and a
// range of buckets is on all nodes. The columns are never null. The tables have no keys,
// which would have to contain them.
var distributed = []struct{ table, column string }{
	{"parts.flows", "batch"},
	{"parts.traffic_1m", "bucket"}, {"parts.traffic_1h", "bucket"}, {"parts.traffic_1d", "bucket"},
}

// Distribute distributes flows and roll-ups over the nodes of a Citus cluster, of
// which the database is the coordinator. Rows and SQL stay the same. It takes a superuser,
// and may run after each Migrate: tables that are distributed stay as they are.
func Distribute(ctx context.Context, dsn string, logger *slog.Logger) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return dsnError(err)
	}
	prepare(config, dsn)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return connectError(err, &config.Config)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	yes, err := HasCitus(ctx, conn)
	if err != nil {
		return connectError(err, &config.Config)
	}
	if !yes {
		return say(ErrSchema, nil, "database %q has no extension citus: install Citus on all nodes, run create extension citus on each, add the workers with citus_add_node, and try again (docs/scale.md)", config.Database)
	}
	for _, d := range distributed {
		var done bool
		if err := conn.QueryRow(ctx, "select exists (select from pg_dist_partition where logicalrelid = to_regclass($1))", d.table).Scan(&done); err != nil {
			return migrateError(err)
		}
		if done {
			continue
		}
		if _, err := conn.Exec(ctx, "select create_distributed_table($1::regclass, $2, colocate_with => 'none')", d.table, d.column); err != nil {
			return migrateError(err)
		}
		if logger != nil {
			logger.Info("distributed", "table", d.table, "by", d.column)
		}
	}
	// The names of exporters stay on the coordinator, and what people say of them. Citus has
	// to know that: otherwise it refuses statements that join them to flows and also read
	// roll-ups.
	for _, table := range []string{"parts.exporter", "console.exporters"} {
		if _, err := conn.Exec(ctx, "select citus_add_local_table_to_metadata($1::regclass)", table); err != nil {
			return migrateError(err)
		}
	}
	return nil
}

// HasCitus reports whether the database has the extension citus.
func HasCitus(ctx context.Context, q Queryer) (yes bool, err error) {
	err = q.QueryRow(ctx, "select exists (select from pg_extension where extname = 'citus')").Scan(&yes)
	return yes, err
}
