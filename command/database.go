package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"flowtally/store"
)

// databaseFlag adds --database, whose default is DATABASE_URL.
func databaseFlag(cmd *cobra.Command, dsn *string) {
	one(cmd.Flags(), dsn, "database", "", "", databases, "PostgreSQL URL or DSN (default: DATABASE_URL)")
}

// databases are where PostgreSQL is. There may be a password in one: no error says it.
var databases = kind[string]{
	name: "URL", wants: databaseForm, secret: true,
	read: func(text string) (string, error) {
		err := store.CheckDSN(text)
		if _, file := errors.AsType[*fs.PathError](err); file {
			return "", err
		}
		if err != nil || strings.TrimSpace(text) == "" {
			return "", errWanted
		}
		return text, nil
	},
}

// databaseForm is what a database is given as.
const databaseForm = "postgres://USER:PASSWORD@HOST:5432/DATABASE, with what is neither letter nor digit in the password as %XX, or 'host=… user=… dbname=…'"

// databaseURL returns the DSN to use.
func databaseURL(dsn string) (string, error) {
	if dsn == "" {
		if dsn = os.Getenv("DATABASE_URL"); dsn != "" {
			if _, err := databases.of(dsn); err != nil {
				return "", usageError{fmt.Errorf("DATABASE_URL: %w", err)}
			}
		}
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
