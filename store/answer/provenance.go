package answer

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
)

// provenance is what an answer by a plan says of itself.
func (r request) provenance(p Plan, sql, command string) query.Provenance {
	if p.rolled() {
		sql = "-- " + p.String() + "\n" + sql
	}
	resolution := "1 ms"
	if p.Widened > 0 {
		resolution = query.FormatResolution(p.Widened)
	}
	var growing time.Time
	if p.Growing > 0 {
		growing = p.Growing.Time()
	}
	return query.Provenance{
		Filter: r.filter.String(), Scaled: r.scaled, Sampling: p.Sampling, Source: p.sources(), Resolution: resolution,
		Exact: p.Widened == 0 && p.Cut == nil, Cut: p.Cut, Growing: growing, Stored: p.Stored, Plan: p.String(), SQL: sql, Command: command,
	}
}

// parallelSetup is what PostgreSQL reckons more processes to cost, unless told
// otherwise.
const parallelSetup = 1000

// prepare tells PostgreSQL what more processes cost for the statements of a plan. It takes
// the times of a flow for independent of each other, and an edge of the range, within a
// minute, for so many flows that it would start more processes for some milliseconds of
// work.
func prepare(ctx context.Context, tx pgx.Tx, p Plan) error {
	cost := "default"
	if p.small() {
		cost = strconv.Itoa(200 * parallelSetup)
	}
	_, err := tx.Exec(ctx, "set local parallel_setup_cost = "+cost)
	return err
}
