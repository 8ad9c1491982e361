package store

import (
	"context"
	"database/sql"
	"errors"
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
	"flowtally/store/row"
)

// lastFormer is the last commit whose migrations have the former numbers.
const lastFormer = "9d588ce"

// MigrateConfig configures Migrate. The zero value works.
type MigrateConfig struct {
	// Passwords are set for roles, which may log in from then on.
	Passwords map[string]string
	// Logger hears when the schema is ready, and at level debug of each migration; nil is
	// silence.
	Logger *slog.Logger
}

// Migrate brings the schema of a database to the version of this binary. When several do
// so at once, one works and the others wait.
func Migrate(ctx context.Context, dsn string, c MigrateConfig) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return dsnError(err)
	}
	prepare(config, dsn)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	// Whoever migrates has to see the server's warnings, for instance of privileges that
	// could not be revoked.
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			c.Logger.Warn("a warning of the database", "message", n.Message)
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

// migrate applies the migrations. It holds goose's lock, which an older flowtally takes as
// well, from before it reads the version until the last migration is applied.
func migrate(ctx context.Context, db *sql.DB, database string, logger *slog.Logger) (err error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	defer conn.Close()
	if err := locker.SessionLock(ctx, conn); err != nil {
		return migrateError(err)
	}
	defer func() {
		if e := locker.SessionUnlock(context.WithoutCancel(ctx), conn); e != nil && err == nil {
			err = fmt.Errorf("store: migrate: %w", e)
		}
	}()
	if err := bringOver(ctx, conn, database, logger); err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	began := time.Now()
	results, err := p.Up(ctx)
	if err != nil {
		return migrateError(err)
	}
	for _, r := range results {
		logger.Debug("migrated", "version", r.Source.Version, "file", r.Source.Path, "took", r.Duration.Round(time.Millisecond))
	}
	if _, err := conn.ExecContext(ctx, migrations.Privileges); err != nil {
		return fmt.Errorf("store: migrate: privileges: %w", err)
	}
	logger.Info("schema ready", "version", migrations.Latest(), "applied", len(results), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// bringOver renumbers a database at the last version of the former numbering. The schema is
// the same in both, so that only the versions that are recorded as applied change. It leaves
// a database without version as it is, and returns an error for one that cannot be
// migrated.
func bringOver(ctx context.Context, conn *sql.Conn, database string, logger *slog.Logger) error {
	return conn.Raw(func(driver any) error {
		c := driver.(*stdlib.Conn).Conn()
		version, err := schemaVersion(ctx, c)
		if err != nil {
			return migrateError(err)
		}
		switch {
		case version == 0, migrations.First <= version && version <= migrations.Latest():
			return nil
		case version > migrations.Latest():
			return newerError(database, version)
		case version != migrations.Former:
			return formerError(database, version)
		}
		// A schema that is incomplete, or was changed by hand, would pass for a complete
		// one from now on.
		columns, err := flowsColumns(ctx, c)
		if err != nil {
			return migrateError(err)
		}
		if err := checkColumns(columns, row.AddedSince...); err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			var applied int64
			if err := tx.QueryRow(ctx, `with gone as (delete from goose_db_version where version_id > 0 returning version_id, is_applied)
				select count(distinct version_id) from gone where is_applied`).Scan(&applied); err != nil {
				return err
			}
			if applied != migrations.Former {
				return say(ErrSchema, nil, "the schema of database %q is version %d, but only %d migrations up to there were applied: restore a backup, or dump the data and load it into a new database",
					database, version, applied)
			}
			_, err := tx.Exec(ctx, "insert into goose_db_version (version_id, is_applied) select n, true from generate_series($1::bigint, $2::bigint) n order by n",
				migrations.First, migrations.Base)
			return err
		})
		if err != nil {
			return migrateError(err)
		}
		logger.Info("renumbered the migrations", "from", migrations.Former, "version", migrations.Base)
		return nil
	})
}

// check compares the version of the schema, and the columns of flows, with ours.
func (db *DB) check(ctx context.Context) error {
	c := db.config
	version, err := schemaVersion(ctx, db.pool)
	if err != nil {
		return connectError(err, c)
	}
	switch want := migrations.Latest(); {
	case version == 0:
		return say(ErrSchema, nil, "database %q has no flowtally schema: run flowtally migrate", c.Database)
	case version < migrations.First && version != migrations.Former:
		return formerError(c.Database, version)
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

// newerError says what to do with a schema that is newer than this binary.
func newerError(database string, version int64) error {
	return say(ErrSchema, nil, "the schema of database %q is version %d and this flowtally knows only %d: use a newer flowtally",
		database, version, migrations.Latest())
}

// formerError says what to do with a version of the former numbering that is not
// its last.
func formerError(database string, version int64) error {
	return say(ErrSchema, nil, "the schema of database %q is version %d, from which this flowtally cannot migrate: first bring it to version %d with flowtally migrate of commit %s, then run flowtally migrate of this version",
		database, version, migrations.Former, lastFormer)
}

// schemaVersion returns the number of the last migration that was applied, 0 for
// none.
func schemaVersion(ctx context.Context, q Queryer) (int64, error) {
	var version int64
	err := q.QueryRow(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&version)
	if Code(err) == "42P01" { // undefined_table
		return 0, nil
	}
	return version, err
}

// migrateError returns an error of Migrate for one of the server.
func migrateError(err error) error {
	switch {
	case errors.Is(err, ErrSchema):
		return err
	case Code(err) == "42501": // insufficient_privilege
		return say(ErrAuth, err, "migrate needs a superuser, or the owner of the database with the right to create roles: %v", err)
	}
	return fmt.Errorf("store: migrate: %w", err)
}

// setPassword lets a role log in with a password. When two do so at once, the server can
// reject one, which tries again.
func setPassword(ctx context.Context, db *sql.DB, role, password string) error {
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	statement := "alter role " + pgx.Identifier{role}.Sanitize() + " with login password '" + strings.ReplaceAll(verifier, "'", "''") + "'"
	for try := 0; ; try++ {
		_, err := db.ExecContext(ctx, statement)
		if err == nil || Code(err) != "XX000" || try == 20 { // tuple concurrently updated
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
