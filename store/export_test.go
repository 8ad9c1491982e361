package store

import (
	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// The tests that need a database are of package store_test, because what gives
// them one imports this package. These are the doors they need.

// OnCommit has f called between the last statement of a transaction and its
// commit.
func OnCommit(w *Writer, f func(*pgx.Conn)) { w.beforeCommit = f }

// Lease returns the next identifier a batch would get.
func Lease(w *Writer) int32 { return w.ids.next }

// Follow sets how many hosts of an hour a share follows, how much it leaves to
// others, and from how many minutes on, until the function it returns is called.
func Follow(few, most int, open float64, minutes flow.Time) (back func()) {
	was := following
	following = followLaw{few, most, open, minutes}
	return func() { following = was }
}
