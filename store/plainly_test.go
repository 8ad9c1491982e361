package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"flowtally/store"
)

// A connection that was not made later on is told as it is at the start: in one line, and
// without what is secret. Other errors are themselves.
func TestPlainly(t *testing.T) {
	_, err := pgconn.Connect(t.Context(), "postgres://somebody:secret@127.0.0.1:1/d?sslmode=disable")
	if err == nil {
		t.Fatal("somebody listens on port 1")
	}
	got := store.Plainly(fmt.Errorf("store: sum: %w", err))
	if want := "store: no PostgreSQL answers at 127.0.0.1:1 (connection refused): start it, or correct the URL"; got.Error() != want || !errors.Is(got, store.ErrDown) {
		t.Errorf("it says %q, want %q", got, want)
	}
	if other := errors.New("something\nelse"); store.Plainly(other) != other {
		t.Errorf("another error becomes %q", store.Plainly(other))
	}
}
