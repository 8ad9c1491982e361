package store

import (
	"context"
	"fmt"
)

// LockTable is how large the server's lock table is.
type LockTable struct{ PerTransaction, Connections int }

// locksPerPartition is how many locks a question takes of a partition: one of its table, and
// one of each index that it gets when it is sealed.
const locksPerPartition = 4

// allAtOnce is how many transactions there is to be room for that read all partitions.
const allAtOnce = 2

// LockTableOf reads the settings that the size of the lock table follows from.
func LockTableOf(ctx context.Context, q Queryer) (t LockTable, err error) {
	err = q.QueryRow(ctx, `select current_setting('max_locks_per_transaction')::int,
		current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int`).Scan(&t.PerTransaction, &t.Connections)
	return t, err
}

// MostPartitions returns how many partitions there may be so that two questions about all
// of them, at the same time, find room in the lock table.
func (t LockTable) MostPartitions() int {
	return t.PerTransaction * t.Connections / (allAtOnce * locksPerPartition)
}

// Enough says what to do when the lock table is too small for so many partitions; it is
// empty when it is not.
func (t LockTable) Enough(partitions int) string {
	if partitions <= t.MostPartitions() {
		return ""
	}
	need := 64
	for need*t.Connections/(allAtOnce*locksPerPartition) < partitions {
		need *= 2
	}
	return fmt.Sprintf("PostgreSQL has room for locks of %d partitions and there may be %d: set max_locks_per_transaction = %d in postgresql.conf and restart it, or keep flows for less time (--retain-raw)",
		t.MostPartitions(), partitions, need)
}
