// Package console has what the web page stores and shows beside answers about flows:
// saved views, preferences, names, the exporters and their state, losses, diagnoses,
// and SQL that people write. It returns codes and numbers; package web has the words.
package console

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
	"flowtally/store"
)

// Console reads and writes what the web page stores beside flows.
type Console struct{ db *store.DB }

// New returns the Console of a database.
func New(db *store.DB) *Console { return &Console{db} }

// ErrNotFound is wrapped by errors about a view or an exporter that does not exist.
var ErrNotFound = errors.New("there is no such thing")

// ErrTaken is wrapped by errors about a name that another view or exporter has.
var ErrTaken = errors.New("the name is taken")

// change runs f in a transaction that may write. The error of f comes back as it is when
// it is a *query.Error or wraps ErrNotFound; a name that exists twice wraps ErrTaken.
func (c *Console) change(ctx context.Context, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, store.DefaultTimeout)
	defer cancel()
	err := pgx.BeginTxFunc(ctx, c.db.Pool(), pgx.TxOptions{BeginQuery: "begin; set local lock_timeout = '5s'; set local statement_timeout = '10s'"}, f)
	_, asked := errors.AsType[*query.Error](err)
	switch {
	case err == nil || asked || errors.Is(err, ErrNotFound):
		return err
	case store.Code(err) == "23505": // unique_violation
		return fmt.Errorf("store: console: %w: %w", ErrTaken, err)
	case store.Code(err) == "42501": // insufficient_privilege
		return c.db.Unprivileged(err)
	}
	return fmt.Errorf("store: console: %w", err)
}
