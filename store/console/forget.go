package console

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
)

// ForgetExporter deletes what is known of an exporter and what people said about it, and its
// part of the ledger: for one that a stranger made up. Its flows stay, under its number; when
// it sends again, it is new. The error may wrap ErrNotFound.
func (c *Console) ForgetExporter(ctx context.Context, id flow.ExporterID) error {
	return c.change(ctx, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"delete from console.exporters where id = $1", "delete from console.interfaces where exporter_id = $1", "delete from console.left_out where id = $1",
		} {
			if _, err := tx.Exec(ctx, sql, int32(id)); err != nil {
				return err
			}
		}
		var known bool
		if err := tx.QueryRow(ctx, "select parts.forget_exporter($1)", int32(id)).Scan(&known); err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("exporter %d: %w", id, ErrNotFound)
		}
		return nil
	})
}

// FindExporters returns the exporters that a name, an address or a number means. The error
// may be a *query.Error.
func (c *Console) FindExporters(ctx context.Context, word string) (ids []flow.ExporterID, err error) {
	err = c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		list, err := exportersOf(ctx, tx, word)
		for _, id := range list {
			ids = append(ids, flow.ExporterID(id))
		}
		return err
	})
	return ids, err
}

// LeaveOut says whether the losses of an exporter are left out of the totals of all, because
// what it claims is not to be believed. The error may wrap ErrNotFound.
func (c *Console) LeaveOut(ctx context.Context, id flow.ExporterID, out bool) error {
	return c.change(ctx, func(tx pgx.Tx) error {
		if err := mustExist(ctx, tx, id); err != nil {
			return err
		}
		sql := "delete from console.left_out where id = $1"
		if out {
			sql = "insert into console.left_out (id) values ($1) on conflict do nothing"
		}
		_, err := tx.Exec(ctx, sql, int32(id))
		return err
	})
}

// LeftOut returns the exporters whose losses are left out of the totals of all.
func (c *Console) LeftOut(ctx context.Context) (map[flow.ExporterID]bool, error) {
	out := make(map[flow.ExporterID]bool)
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select id from console.left_out")
		if err != nil {
			return fmt.Errorf("exporters: %w", err)
		}
		var id int32
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
			out[flow.ExporterID(id)] = true
			return nil
		})
		return err
	})
	return out, err
}
