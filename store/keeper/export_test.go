package keeper

import (
	"context"
	"time"
)

// LimitMemory makes k sum so many rows at once, and spill all sums each time.
func LimitMemory(k *Keeper, rows int) { k.memory = memoryLimits{rows: rows, sparseRows: rows} }

// OnSpill makes k call f whenever it spills sums.
func OnSpill(k *Keeper, f func()) {
	k.fault = func(after string) error {
		if after == "spill" {
			f()
		}
		return nil
	}
}

// FailAfter makes k call f after each step of its work.
func FailAfter(k *Keeper, f func(step string) error) { k.fault = f }

// SumOnly sums all batches and settles nothing.
func SumOnly(ctx context.Context, k *Keeper) error {
	_, err := k.sumUntil(ctx, time.Now().Add(time.Hour))
	return err
}

// SetFree makes k find so many bytes free on every disk.
func SetFree(k *Keeper, free int64) {
	k.free = func(string) (int64, error) { return free, nil }
}
