package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// A test's database has the whole schema, is its own, and takes the three roles.
func TestNew(t *testing.T) {
	ctx := context.Background()
	a, b := New(t), New(t)
	if a == b {
		t.Fatal("two tests share a database")
	}
	for _, dsn := range []string{a, b} {
		db, err := store.Open(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	conn, err := pgx.Connect(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var n int
	if err := conn.QueryRow(ctx, "select count(*) from flows").Scan(&n); err != nil || n != 0 {
		t.Errorf("flows in a fresh database: %d, %v", n, err)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		start := time.Now()
		New(b)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/database")
	}
}
