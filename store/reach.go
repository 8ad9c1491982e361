package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Reach says how far back a source goes.
type Reach struct {
	// Source is flows, traffic_1m, traffic_1h or traffic_1d.
	Source string
	// CutBefore is the time before which retention may have removed something:
	// from then on the source is complete. It is zero when nothing was removed.
	CutBefore time.Time
	// First is the begin of the earliest partition, zero when there is none.
	First time.Time
}

// Reach returns how far back flows and the roll-ups go, in that order, the finer
// first.
func (db *DB) Reach(ctx context.Context) ([]Reach, error) {
	var list []Reach
	err := db.Ask(ctx, DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, ReachSQL)
		if err != nil {
			return fmt.Errorf("reach: %w", err)
		}
		list, err = pgx.CollectRows(rows, ScanReach)
		return err
	})
	return list, err
}

// ReachSQL selects the reach of flows and roll-ups, a row each, for ScanReach.
const ReachSQL = `select source, cut_before, first from reach
	order by array_position(array['flows', 'traffic_1m', 'traffic_1h', 'traffic_1d'], source)`

// ScanReach reads a row of ReachSQL.
func ScanReach(row pgx.CollectableRow) (r Reach, err error) {
	var cut, first *time.Time
	if err = row.Scan(&r.Source, &cut, &first); cut != nil {
		r.CutBefore = cut.UTC()
	}
	if first != nil {
		r.First = first.UTC()
	}
	return r, err
}
