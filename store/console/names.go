package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// ExporterWords is what people say about an exporter: a name, a colour, a note, a
// sampling rate. Empty and nil say nothing.
type ExporterWords struct {
	Name, Color, Note string
	// SamplingRate is N of 1:N, in place of what the exporter announces and what the collector
	// was told; with SamplingWhereUnknown, only where these say nothing.
	SamplingRate         *int64
	SamplingWhereUnknown bool
	// SamplingFrom is from when on the rate holds, cut to the minute; nil: always.
	SamplingFrom *time.Time
}

// rateHolds reports whether, at a time, the rate that people say counts, beside one that
// stands in the rows, nil when none does. In SQL it is effective_sampling.
func (w ExporterWords) rateHolds(stored *int64, at time.Time) bool {
	return w.SamplingRate != nil && (!w.SamplingWhereUnknown || stored == nil) && (w.SamplingFrom == nil || !at.Before(*w.SamplingFrom))
}

// Interface is an interface of an exporter.
type Interface struct {
	ExporterID flow.ExporterID
	Exporter   string // its label
	IfIndex    int64
	// Name is what people call it, else Announced, which is what the exporter calls it.
	// Named says that Name is what people call it.
	Name, Announced string
	Named           bool
	Description     string
	Speed           *int64 // bits a second, nil when not announced
}

// SetExporter stores what people say about an exporter, in place of what they said
// before. The error may be a *query.Error, or wrap ErrNotFound or ErrTaken.
func (c *Console) SetExporter(ctx context.Context, id flow.ExporterID, w ExporterWords) error {
	w.Name = strings.TrimSpace(w.Name)
	if err := errors.Join(checkExporterName(w.Name), checkColor(w.Color), checkText("note", w.Note, MaxNote)); err != nil {
		return err
	}
	if r := w.SamplingRate; r != nil && (*r < 1 || *r > 1<<31-1) {
		return &query.Error{Parameter: "sampling_rate", Reason: "it is N of 1:N, from 1 to 2147483647, or null"}
	}
	if w.SamplingRate == nil {
		w.SamplingFrom, w.SamplingWhereUnknown = nil, false
	}
	if t := w.SamplingFrom; t != nil {
		if t.Before(query.FirstTime) || t.After(query.LastTime) {
			return &query.Error{Parameter: "sampling_from", Reason: t.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
		}
		w.SamplingFrom = new(t.UTC().Truncate(time.Minute))
	}
	return c.change(ctx, func(tx pgx.Tx) error {
		if err := errors.Join(store.LockLabels(ctx, tx), mustExist(ctx, tx, id)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into console.exporters as c (id, name, color, note, sampling_rate, sampling_from, sampling_instead)
			values ($1, nullif($2, ''), nullif($3, ''), nullif($4, ''), $5, $6, $7)
			on conflict (id) do update set name = excluded.name, color = excluded.color, note = excluded.note, sampling_rate = excluded.sampling_rate,
				sampling_from = excluded.sampling_from, sampling_instead = excluded.sampling_instead, changed_at = now()`,
			int32(id), w.Name, w.Color, w.Note, w.SamplingRate, w.SamplingFrom, !w.SamplingWhereUnknown)
		return err
	})
}

// RenameExporter stores what people call an exporter and leaves what else they said about
// it; "" takes the name back. The errors are those of SetExporter.
func (c *Console) RenameExporter(ctx context.Context, id flow.ExporterID, name string) error {
	name = strings.TrimSpace(name)
	if err := checkExporterName(name); err != nil {
		return err
	}
	return c.change(ctx, func(tx pgx.Tx) error {
		if err := errors.Join(store.LockLabels(ctx, tx), mustExist(ctx, tx, id)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into console.exporters as c (id, name) values ($1, nullif($2, ''))
			on conflict (id) do update set name = excluded.name, changed_at = now()`, int32(id), name)
		return err
	})
}

// checkExporterName refuses what cannot be the name of an exporter.
func checkExporterName(name string) error {
	if err := checkName(name); err != nil || name == "" {
		return err
	}
	if flow.Name(name) != "" {
		return nil
	}
	what := "an address is no name"
	if strings.Trim(name, "0123456789") == "" {
		what = "a number alone is no name"
	}
	return &query.Error{Parameter: "name", Reason: what + ": it would be mistaken for another exporter's"}
}

// Interfaces lists the interfaces that were announced or named: of the exporters that a
// name, an address or a number means, of all when that is "".
func (c *Console) Interfaces(ctx context.Context, exporter string) ([]Interface, error) {
	list := []Interface{}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		var ids []int32
		if exporter != "" {
			var err error
			if ids, err = exportersOf(ctx, tx, exporter); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, `
select i.exporter_id, coalesce(e.label, i.exporter_id::text), i.if_index, coalesce(i.name, ''), coalesce(i.announced, ''), c.name is not null, coalesce(i.description, ''), i.speed
from interfaces i
left join exporters e on e.id = i.exporter_id
left join console.interfaces c on c.exporter_id = i.exporter_id and c.if_index = i.if_index
where ($1::int[] is null or i.exporter_id = any($1))
  and coalesce(i.name, i.description, i.speed::text) is not null -- else only a name that was taken back
order by e.label, i.exporter_id, i.if_index
limit 100000`, ids)
		if err != nil {
			return fmt.Errorf("interfaces: %w", err)
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (i Interface, err error) {
			var id int32
			err = row.Scan(&id, &i.Exporter, &i.IfIndex, &i.Name, &i.Announced, &i.Named, &i.Description, &i.Speed)
			i.ExporterID = flow.ExporterID(id)
			return i, err
		})
		return err
	})
	return list, err
}

// NameInterface stores what people call an interface; "" removes that, and the announced
// name shows again. The error may be a *query.Error, or wrap ErrNotFound.
func (c *Console) NameInterface(ctx context.Context, id flow.ExporterID, index int64, name string) error {
	name = strings.TrimSpace(name)
	if err := checkName(name); err != nil {
		return err
	}
	if index < 0 || index > 1<<32-1 {
		return &query.Error{Parameter: "if_index", Reason: "it is from 0 to 4294967295"}
	}
	return c.change(ctx, func(tx pgx.Tx) error {
		if name == "" {
			_, err := tx.Exec(ctx, "delete from console.interfaces where exporter_id = $1 and if_index = $2", int32(id), index)
			return err
		}
		if err := mustExist(ctx, tx, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into console.interfaces (exporter_id, if_index, name) values ($1, $2, $3)
			on conflict (exporter_id, if_index) do update set name = excluded.name, changed_at = now()`, int32(id), index, name)
		return err
	})
}

// mustExist returns an error that wraps ErrNotFound when there is no such exporter.
func mustExist(ctx context.Context, tx pgx.Tx, id flow.ExporterID) error {
	var known bool
	if err := tx.QueryRow(ctx, "select exists (select from exporters where id = $1)", int32(id)).Scan(&known); err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("exporter %d: %w", id, ErrNotFound)
	}
	return nil
}
