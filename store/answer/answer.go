// Package answer answers questions about flows. A question travels one way: a
// query.Question is checked and becomes a request; the request and the State of the
// database become a Plan, which says what to read; request and plan become a statement;
// and its rows become the answer. Nothing on this way is changed after it was made.
package answer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
	"flowtally/store"
)

// Answerer answers questions about the flows of a database. It is safe for concurrent
// use.
type Answerer struct{ db *store.DB }

// New returns an Answerer of a database.
func New(db *store.DB) *Answerer { return &Answerer{db} }

// ask looks the words of a request up and answers it within one view of the data.
func ask[A any](ctx context.Context, a *Answerer, r request, answer func(context.Context, pgx.Tx, request) (A, error)) (result A, took time.Duration, err error) {
	if r, err = r.lookUpHosts(ctx); err != nil {
		return result, 0, err
	}
	began := time.Now()
	err = a.db.Ask(ctx, r.timeout, func(tx pgx.Tx) error {
		if r, err = r.lookUpExporters(ctx, tx); err != nil {
			return err
		}
		result, err = answer(ctx, tx, r)
		return err
	})
	return result, time.Since(began), err
}

// run executes a statement that was made for a plan.
func run(ctx context.Context, tx pgx.Tx, s statement) (pgx.Rows, error) {
	text, args, err := executable(s)
	if err != nil {
		return nil, err
	}
	// Described anew each time: the plan depends on the values.
	return tx.Query(ctx, text, append([]any{pgx.QueryExecModeExec}, args...)...)
}

// exporterError says that it was the question's word that was wrong.
func exporterError(err error) error {
	if e, ok := errors.AsType[*store.ExporterError](err); ok {
		return &query.Error{Parameter: "exporter", Reason: e.Reason}
	}
	return err
}

// outside says that the database answered with a bucket that was not asked for.
func outside(bucket time.Time) error {
	return fmt.Errorf("bucket %v is outside of the range", bucket)
}
