// Package store is the database: connections, roles, the schema and its version, the
// partitions of flows, and read-only transactions in which several statements see the same
// data (Ask). The packages below it store and read: ingest, keeper, answer and console.
//
// A DB is safe for concurrent use.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"flowtally/store/row"
)

// The kinds of errors of Open and Migrate. Each error wraps one of these, or the context's
// error, and says what to do.
var (
	// ErrDSN: the URL of the database cannot be parsed.
	ErrDSN = errors.New("the database's URL is wrong")
	// ErrDown: no server answers, or the server accepts no connection now.
	ErrDown = errors.New("the database does not answer")
	// ErrAuth: the server rejects our login, or the role lacks a privilege.
	ErrAuth = errors.New("the server rejects our login, or the role lacks a privilege")
	// ErrNoDatabase: the server has no database of that name.
	ErrNoDatabase = errors.New("there is no such database")
	// ErrSchema: the schema is missing, or older or newer than that of this binary.
	ErrSchema = errors.New("the schema does not fit this flowtally")
)

// sentence is an error for people: what is wrong and what to do, in one sentence. It wraps
// the errors that programs ask for.
type sentence struct {
	text        string
	kind, cause error
}

func (e *sentence) Error() string { return "store: " + e.text }

// Unwrap returns the kind, one of the above, and the cause where there is one.
func (e *sentence) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

// say returns a sentence.
func say(kind, cause error, format string, args ...any) error {
	return &sentence{text: fmt.Sprintf(format, args...), kind: kind, cause: cause}
}

// Unprivileged returns the error for people of a change that the user of db lacks the
// privilege to make.
func (db *DB) Unprivileged(cause error) error {
	return say(ErrAuth, cause, "user %q may read flows here, and neither change what people say nor see tokens: use the role %s, or the page", db.Pool().Config().ConnConfig.User, RoleWeb)
}

// The roles that have privileges in the schema.
const (
	// RoleWriter stores flows: the collector.
	RoleWriter = "flow_writer"
	// RoleWeb reads everything, and writes what people enter: the web page.
	RoleWeb = "flow_web"
	// RoleReader reads: people, Grafana, the SQL panel.
	RoleReader = "flow_reader"
)

// connectTimeout is how long Open and Migrate wait for an answer, unless the URL has a
// connect_timeout.
const connectTimeout = 10 * time.Second

// DB is a database with our schema.
type DB struct {
	pool *pgxpool.Pool
	// unchecked is set by OpenOffline until the schema has been checked.
	unchecked atomic.Bool
	config    *pgconn.Config
}

// Open connects to a database and checks that its schema is the one this binary
// knows.
func Open(ctx context.Context, dsn string) (*DB, error) {
	return openDB(ctx, dsn, false)
}

// OpenOffline is like Open, but a database that does not answer (ErrDown) is no
// error: its schema is checked before the first batch is stored. It is for
// Writers with a spool, which can begin without the database.
func OpenOffline(ctx context.Context, dsn string) (*DB, error) {
	return openDB(ctx, dsn, true)
}

func openDB(ctx context.Context, dsn string, offline bool) (*DB, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError(err)
	}
	prepare(config.ConnConfig, dsn)
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = int32(max(8, 2*runtime.NumCPU()))
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	db := &DB{pool: pool, config: &config.ConnConfig.Config}
	if err := db.check(ctx); err != nil {
		if !offline || !errors.Is(err, ErrDown) {
			pool.Close()
			return nil, err
		}
		db.unchecked.Store(true)
	}
	return db, nil
}

// Ready checks the schema if OpenOffline could not, or after Recheck. A Writer calls it
// before each batch.
func (db *DB) Ready(ctx context.Context) error {
	if !db.unchecked.Load() {
		return nil
	}
	if err := db.check(ctx); err != nil {
		return err
	}
	db.unchecked.Store(false)
	return nil
}

// Recheck makes the next Ready check the schema again: something was not there that belongs
// to it, as after the database was made anew.
func (db *DB) Recheck() { db.unchecked.Store(true) }

// Pool returns the connections, for the packages below store. Its errors are those of pgx.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Close waits until all connections are idle, and closes them.
func (db *DB) Close() { db.pool.Close() }

// prepare sets the parameters that all our connections have.
func prepare(c *pgx.ConnConfig, dsn string) {
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "flowtally"
	}
	c.RuntimeParams["timezone"] = "UTC"
	if !strings.Contains(dsn, "connect_timeout") {
		c.ConnectTimeout = connectTimeout
	}
}

// Queryer is a connection, a transaction or a pool of connections.
type Queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// flowsColumns returns the types of the columns of parts.flows.
func flowsColumns(ctx context.Context, q Queryer) (map[string]uint32, error) {
	rows, err := q.Query(ctx, `select attname::text, atttypid from pg_attribute
		where attrelid = (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'parts' and c.relname = 'flows')
		and attnum > 0 and not attisdropped`)
	if err != nil {
		return nil, err
	}
	columns := make(map[string]uint32)
	var (
		name string
		oid  uint32
	)
	_, err = pgx.ForEachRow(rows, []any{&name, &oid}, func() error {
		columns[name] = oid
		return nil
	})
	return columns, err
}

// checkColumns compares the types of parts.flows with those that package row writes, but
// for some.
func checkColumns(columns map[string]uint32, except ...string) error {
	for _, c := range row.Table {
		if slices.Contains(except, c.Name) {
			continue
		}
		switch oid, ok := columns[c.Name]; {
		case !ok:
			return say(ErrSchema, nil, "table parts.flows has no column %s: run flowtally migrate", c.Name)
		case oid != c.OID:
			return say(ErrSchema, nil, "column %s of table parts.flows has type %d and not %d: undo what changed it", c.Name, oid, c.OID)
		}
	}
	return nil
}

// Code returns the SQLSTATE of an error, "" when the server did not send it.
func Code(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// CheckDSN returns nil for a URL or DSN of a database that can be read, else an ErrDSN. It
// asks no database.
func CheckDSN(dsn string) error {
	if _, err := pgxpool.ParseConfig(dsn); err != nil {
		return dsnError(err)
	}
	return nil
}

// dsnError says what the URL of a database looks like. What exactly is wrong with it is not
// said: a password with a slash in it is taken for a port, and would be part of the message.
func dsnError(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return say(ErrDSN, err, "the database's URL names the file %s, which cannot be read (%v)", file.Path, file.Err)
	}
	return say(ErrDSN, err, "the database's URL is not of the form postgres://USER:PASSWORD@HOST:5432/DATABASE (in the password write what is neither letter nor digit as %%XX)")
}

// connectError says in one sentence why there is no connection, or why the first statement
// on it failed.
func connectError(err error, c *pgconn.Config) error {
	where := fmt.Sprintf("%s:%d", c.Host, c.Port)
	if strings.HasPrefix(c.Host, "/") {
		where = fmt.Sprintf("%s/.s.PGSQL.%d", c.Host, c.Port)
	}
	reason := err
	pg, fromServer := errors.AsType[*pgconn.PgError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("store: %w", context.Canceled)
	case fromServer && pg.Code == "3D000": // invalid_catalog_name
		return say(ErrNoDatabase, pg, "the PostgreSQL at %s has no database %q: create it, or correct the URL", where, c.Database)
	case fromServer && strings.HasPrefix(pg.Code, "28"): // invalid authorization
		return say(ErrAuth, pg, "the PostgreSQL at %s rejects the login of user %q (%s): check user and password of the URL", where, c.User, pg.Message)
	case fromServer && pg.Code == "42501":
		return say(ErrAuth, pg, "user %q lacks the privilege to read database %q (%s): use one of the roles flow_writer, flow_web and flow_reader", c.User, c.Database, pg.Message)
	case fromServer && (strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "57")):
		return say(ErrDown, pg, "the PostgreSQL at %s accepts no connection now (%s): try again in a moment", where, pg.Message)
	case fromServer:
		return fmt.Errorf("store: %w", err)
	}
	if cause, ok := errors.AsType[*net.OpError](err); ok {
		if reason = cause.Err; errors.Is(reason, syscall.ECONNREFUSED) {
			reason = syscall.ECONNREFUSED
		}
	} else if cause, ok := errors.AsType[*net.DNSError](err); ok {
		reason = cause
	} else if errors.Is(err, context.DeadlineExceeded) {
		reason = context.DeadlineExceeded
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		reason = io.ErrUnexpectedEOF
	}
	return say(ErrDown, err, "no PostgreSQL answers at %s (%v): start it, or correct the URL", where, reason)
}
