package command

import (
	"context"
	"errors"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"flowtally/store"
)

// databaseFlag adds --database, whose default is DATABASE_URL.
func databaseFlag(cmd *cobra.Command, dsn *string) {
	cmd.Flags().StringVar(dsn, "database", "", "PostgreSQL URL or DSN (default: DATABASE_URL)")
}

// databaseURL returns the DSN to use.
func databaseURL(dsn string) (string, error) {
	if dsn == "" {
		dsn = os.Getenv("DATABASE_URL")
	}
	if dsn == "" {
		return "", usageError{errors.New("no database: give --database or set DATABASE_URL, for example postgres://flow_reader:secret@localhost:5432/flowtally")}
	}
	return dsn, nil
}

// withStore runs a service that needs the database and serves metrics.
func withStore(ctx context.Context, dsn string, metrics *metricsConfig, service func(context.Context, *store.DB, *prometheus.Registry) error) error {
	dsn, err := databaseURL(dsn)
	if err != nil {
		return err
	}
	reg, err := serveMetrics(ctx, metrics)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return service(ctx, db, reg)
}
