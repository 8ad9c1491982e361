package ingest

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

// idBlock is how many batch identifiers are leased at once: the increment of the sequence
// parts.batch_block.
const idBlock = 64

// lease holds the batch identifiers that this Writer has reserved in the database. Those
// that it does not use are never used.
type lease struct {
	mu        sync.Mutex
	next, end int32 // not used yet: next to end, end excluded
}

// take returns a reserved identifier, or 0 when none is left.
func (l *lease) take() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == l.end {
		return 0
	}
	id := l.next
	l.next++
	return id
}

// takeOrReserve returns a reserved identifier, and reserves more when none is left.
func (l *lease) takeOrReserve(ctx context.Context, conn *pgx.Conn) (int32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == l.end {
		var first int32
		if err := conn.QueryRow(ctx, "select nextval('parts.batch_block')::int").Scan(&first); err != nil {
			return 0, fmt.Errorf("batch identifier: %w", err)
		}
		l.next, l.end = first, first+idBlock
	}
	id := l.next
	l.next++
	return id, nil
}

// drop gives up the identifiers that are left.
func (l *lease) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = l.end
}
