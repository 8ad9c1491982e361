package keeper

import (
	"context"
	"time"
)

// SetPieces has a Keeper sum so many rows at once and put all sums aside each time.
func SetPieces(k *Keeper, rows int) { k.pieces = pieces{rows: rows, thin: rows} }

// Pieces calls f whenever sums are put aside early.
func Pieces(k *Keeper, f func()) {
	k.fault = func(at string) error {
		if at == "piece" {
			f()
		}
		return nil
	}
}

// FailAt has f called between the steps of a Keeper's work.
func FailAt(k *Keeper, f func(at string) error) { k.fault = f }

// SumOnly sums all batches and settles nothing.
func SumOnly(ctx context.Context, k *Keeper) error {
	_, err := k.sumUntil(ctx, time.Now().Add(time.Hour))
	return err
}

// SetFree has a Keeper find so many octets free on every disk.
func SetFree(k *Keeper, free int64) {
	k.free = func(string) (int64, error) { return free, nil }
}
