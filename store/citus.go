package store

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// distributed are the tables that a Citus cluster spreads over its nodes, each
// with the column whose hash says where a row goes. A batch of flows goes to one
// node whole, so that a COPY has one destination; a bucket of a roll-up likewise,
// and a range of them to all. Neither is ever null, and no key has to hold them,
// because there are no keys.
var distributed = []struct{ table, column string }{
	{"parts.flows", "batch"},
	{"parts.traffic_1m", "bucket"}, {"parts.traffic_1h", "bucket"}, {"parts.traffic_1d", "bucket"},
}

// Distribute spreads flows and roll-ups over the nodes of a Citus cluster, of
// which the database is the coordinator; what is spread already stays as it is, so
// that it can be said after each Migrate.
// Rows and SQL stay the same. It has to be done by a superuser, after Migrate.
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
		return say(ErrSchema, nil, "database %q has no extension citus: install Citus on all nodes, say create extension citus on each, add the workers with citus_add_node, and come again (docs/scale.md)", config.Database)
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
	// to know that, or it refuses statements that join them to flows and read roll-ups beside.
	for _, table := range []string{"parts.exporter", "console.exporters"} {
		if _, err := conn.Exec(ctx, "select citus_add_local_table_to_metadata($1::regclass)", table); err != nil {
			return migrateError(err)
		}
	}
	return nil
}

func HasCitus(ctx context.Context, q Queryer) (yes bool, err error) {
	err = q.QueryRow(ctx, "select exists (select from pg_extension where extname = 'citus')").Scan(&yes)
	return yes, err
}
