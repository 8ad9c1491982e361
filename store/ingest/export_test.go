package ingest

import (
	"github.com/jackc/pgx/v5"
)

// The tests that need a database are of package ingest_test, because package storetest,
// which gives them one, imports this package. They need these functions.

// OnCommit makes w call f between the last statement of a transaction and its commit.
func OnCommit(w *Writer, f func(*pgx.Conn)) { w.beforeCommit = f }

// Lease returns the next identifier a batch would get.
func Lease(w *Writer) int32 { return w.ids.next }
