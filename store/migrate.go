package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"flowtally/migrations"
)

// MigrateConfig is what Migrate may do beside migrating.
type MigrateConfig struct {
	// Passwords gives roles a password, and with it the right to log in.
	Passwords map[string]string
	// Logger hears of each migration; nil is silence.
	Logger *slog.Logger
}

// Migrate brings the schema of a database to the version of this binary. Several
// may do so at once; one works and the others wait.
func Migrate(ctx context.Context, dsn string, c MigrateConfig) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return dsnError(err)
	}
	prepare(config, dsn)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	// A server's warning, say of rights that could not be taken away, is one to
	// whoever migrates.
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			c.Logger.Warn("database says", "message", n.Message)
		}
	}
	db := stdlib.OpenDB(*config)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return connectError(err, &config.Config)
	}
	if err := migrate(ctx, db, config.Database, c.Logger); err != nil {
		return err
	}
	for _, role := range slices.Sorted(maps.Keys(c.Passwords)) {
		if err := setPassword(ctx, db, role, c.Passwords[role]); err != nil {
			return fmt.Errorf("store: migrate: password of %s: %w", role, err)
		}
	}
	return nil
}

func migrate(ctx context.Context, db *sql.DB, database string, logger *slog.Logger) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return migrateError(err)
	}
	if version > migrations.Latest() {
		return newerError(database, version)
	}
	results, err := p.Up(ctx)
	if err != nil {
		return migrateError(err)
	}
	for _, r := range results {
		logger.Info("migrated", "version", r.Source.Version, "file", r.Source.Path, "took", r.Duration.Round(time.Millisecond))
	}
	return nil
}

// check compares the schema with ours.
func (db *DB) check(ctx context.Context) error {
	c := db.config
	version, err := schemaVersion(ctx, db.pool)
	if err != nil {
		return connectError(err, c)
	}
	switch want := migrations.Latest(); {
	case version == 0:
		return say(ErrSchema, nil, "database %q has no flowtally schema: run flowtally migrate", c.Database)
	case version < want:
		return say(ErrSchema, nil, "the schema of database %q is version %d and this flowtally needs %d: run flowtally migrate", c.Database, version, want)
	case version > want:
		return newerError(c.Database, version)
	}
	columns, err := flowsColumns(ctx, db.pool)
	if err != nil {
		return connectError(err, c)
	}
	return checkColumns(columns)
}

func newerError(database string, version int64) error {
	return say(ErrSchema, nil, "the schema of database %q is version %d and this flowtally knows only %d: use a newer flowtally",
		database, version, migrations.Latest())
}

// schemaVersion returns the number of the last migration that was applied, 0 for
// none.
func schemaVersion(ctx context.Context, q queryer) (int64, error) {
	var version int64
	err := q.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&version)
	if code(err) == "42P01" { // undefined_table
		return 0, nil
	}
	return version, err
}

func migrateError(err error) error {
	if code(err) == "42501" { // insufficient_privilege
		return say(ErrAuth, err, "migrate: it takes a superuser, or the database's owner with the right to create roles: %v", err)
	}
	return fmt.Errorf("store: migrate: %w", err)
}

// setPassword lets a role log in. Two who do so at once can get in each other's
// way in the server's catalogue; one then comes again.
func setPassword(ctx context.Context, db *sql.DB, role, password string) error {
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	statement := "alter role " + pgx.Identifier{role}.Sanitize() + " with login password '" + strings.ReplaceAll(verifier, "'", "''") + "'"
	for try := 0; ; try++ {
		_, err := db.ExecContext(ctx, statement)
		if err == nil || code(err) != "XX000" || try == 20 { // tuple concurrently updated
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
