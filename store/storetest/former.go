package storetest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"flowtally/lab/postgres/pgtest"
)

// Former makes a database of the last version of the former numbering.
func Former(t testing.TB) (dsn string) {
	t.Helper()
	schema, err := os.ReadFile(filepath.Join(root(t), "migrations", "testdata", "schema22.sql"))
	if err != nil {
		t.Fatal(err)
	}
	dsn = pgtest.Empty(t)
	Apply(t, Connect(t, dsn), string(schema))
	return dsn
}

// Apply runs SQL of several statements, in one transaction.
func Apply(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// root is the directory of go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
