package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultTimeout is how long a question may take, unless told otherwise.
const DefaultTimeout = 30 * time.Second

// ErrTimeout is wrapped by the error of a question that took too long.
var ErrTimeout = errors.New("the question took too long")

// ErrBusy is wrapped by the error of a question that got no connection, because all were
// in use by others.
var ErrBusy = errors.New("too many questions at once")

// Acquire waits for a connection, for as long as the question may take. As many questions
// are answered at once as the pool has connections (pool_max_conns).
func (db *DB) Acquire(ctx context.Context, timeout time.Duration) (*pgxpool.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := db.pool.Acquire(limited)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() == nil && limited.Err() != nil:
		return nil, fmt.Errorf("store: %w: none ended within %v", ErrBusy, timeout)
	}
	return nil, fmt.Errorf("store: ask: %w", err)
}

// Ask runs f in a read-only transaction in which all statements see the same data. It
// waits for a connection (ErrBusy), and f has to end within timeout (ErrTimeout). Ask returns
// other errors of f as they are.
func (db *DB) Ask(ctx context.Context, timeout time.Duration, f func(pgx.Tx) error) error {
	// work_mem is enough to hash groups, and not so much that a few questions could
	// exhaust a small machine. The planner cannot know how few groups or buckets the
	// flows make, and would sort the flows in case they are many. Hashing is right for
	// few groups and bearable for many. Compiling expressions (jit) for every partition
	// costs more than it saves.
	begin := fmt.Sprintf("begin isolation level repeatable read read only; set local statement_timeout = %d; set local work_mem = '64MB'; set local enable_sort = off; set local jit = off",
		max(1, timeout.Milliseconds()))
	c, err := db.Acquire(ctx, timeout)
	if err != nil {
		return err
	}
	defer c.Release()
	// The timeout is for all statements of the question together.
	limited, cancel := context.WithTimeout(ctx, timeout+time.Second)
	defer cancel()
	var asked error
	err = pgx.BeginTxFunc(limited, c, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
		asked = f(tx)
		return asked
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ctx.Err() == nil && (ok && pg.Code == "57014" || err != nil && limited.Err() != nil) {
		return fmt.Errorf("store: %w: it was stopped after %v; ask for a shorter range", ErrTimeout, timeout)
	}
	if err == nil || asked != nil {
		return err
	}
	return fmt.Errorf("store: ask: %w", err)
}
