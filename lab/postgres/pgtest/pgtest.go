// Package pgtest gives tests a PostgreSQL: a fresh, migrated database each, on
// one throw-away cluster per test process, which ends with the process, however
// that ends.
//
// FLOWTALLY_TEST_DATABASE, the URL of a superuser, makes it use that server
// instead. Where there is no server at all, tests are skipped and say why.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/lab/postgres"
	"flowtally/store"
)

// envDatabase names the variable with the URL of a server to use instead of a
// private one.
const envDatabase = "FLOWTALLY_TEST_DATABASE"

// New returns the URL of a fresh database with the whole schema, for a
// superuser. It is dropped when the test ends.
func New(t testing.TB) string {
	t.Helper()
	dsn := Empty(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// Empty is like New, without a schema.
func Empty(t testing.TB) string {
	t.Helper()
	admin := server(t)
	name := fmt.Sprintf("flowtally_test_%d_%d", os.Getpid(), databases.Add(1))
	if err := exec1(admin, "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec1(admin, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return with(t, admin, func(u *url.URL) { u.Path = "/" + name })
}

// As returns dsn for another role. On the private cluster no password is asked
// for; elsewhere it has to be the role's.
func As(t testing.TB, dsn, role, password string) string {
	t.Helper()
	return with(t, dsn, func(u *url.URL) { u.User = url.UserPassword(role, password) })
}

// Start runs a private server for one test alone, which may stop it and start
// it again: with the same Config, the same database is there.
func Start(t testing.TB, c postgres.Config) *postgres.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.Trust, c.Port = true, postgres.NoPort
	if c.Settings == nil {
		c.Settings = settings
	}
	s, err := postgres.Start(ctx, c)
	if errors.Is(err, postgres.ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.Stop(ctx) // it may have been stopped by the test
	})
	return s
}

// Dir makes a directory that a server can use, also one that root starts as
// another user; t.TempDir is not reachable then.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func tempDir() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "flowtally-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// settings trade safety for speed: the cluster does not outlive the process.
var settings = map[string]string{
	"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
	"shared_buffers": "64MB", "max_connections": "100", "autovacuum_naptime": "1min",
}

var databases atomic.Int64

// private is the process's own cluster, started by the first test that asks.
var private struct {
	sync.Once
	dsn string
	err error
}

// server returns the superuser's URL of the server to use.
func server(t testing.TB) string {
	t.Helper()
	if dsn := os.Getenv(envDatabase); dsn != "" {
		return dsn
	}
	private.Do(func() { private.dsn, private.err = start() })
	if errors.Is(private.err, postgres.ErrNoBinaries) {
		t.Skip(private.err)
	}
	if private.err != nil {
		t.Fatal(private.err)
	}
	return private.dsn
}

func start() (string, error) {
	dir, err := tempDir()
	if err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := postgres.Start(ctx, postgres.Config{Dir: dir, Port: postgres.NoPort, Trust: true, Settings: settings})
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return s.DSN(postgres.Admin), watch(s.PID(), dir)
}

// watch leaves a shell behind that waits for the end of this process, which
// closes the pipe it reads from, and then clears up. No exit of a test process
// runs our code: neither os.Exit nor a panic nor a kill.
func watch(pid int, dir string) error {
	cmd := exec.Command("/bin/sh", "-c",
		`read -r _; kill -QUIT "$1" 2>/dev/null; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2"`,
		"sh", strconv.Itoa(pid), dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	kept = pipe
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	return nil
}

// kept is the open end of the watcher's pipe; were it collected as garbage, it
// would be closed.
//
//lint:ignore U1000 it is kept, not used
var kept any

func exec1(dsn, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("pgtest: %s: %w", strings.Join(strings.Fields(sql)[:2], " "), err)
	}
	return nil
}

func with(t testing.TB, dsn string, change func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("pgtest: %s is not a URL: %v", envDatabase, err)
	}
	change(u)
	return u.String()
}
