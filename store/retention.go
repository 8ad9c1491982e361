package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Tidy seals and removes what is due.
func (k *Keeper) Tidy(ctx context.Context) error { return nil }

func aside(ctx context.Context, tx pgx.Tx, parent, name string) error { return nil }
