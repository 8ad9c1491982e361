package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/filter"
	"flowtally/query"
	"flowtally/store"
)

// MaxViews is the most views that a database may hold.
const MaxViews = 500

// View is an address of the web page that somebody saved under a name.
type View struct {
	ID        int64
	Name      string
	URL       string // inside of the page: begins with / or ?
	Filter    string // canonical, "" for all flows
	Color     string // #rrggbb, "" for one that is free
	Sign      string // + or -: above or below the axis
	Pinned    bool
	ChangedAt time.Time
}

// Views lists the saved views, by name.
func (c *Console) Views(ctx context.Context) ([]View, error) {
	list := []View{}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "select id, name, url, filter, color, sign, pinned, changed_at from console.views order by name, id")
		if err != nil {
			return fmt.Errorf("views: %w", err)
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v View, err error) {
			err = row.Scan(&v.ID, &v.Name, &v.URL, &v.Filter, &v.Color, &v.Sign, &v.Pinned, &v.ChangedAt)
			v.ChangedAt = v.ChangedAt.UTC()
			return v, err
		})
		return err
	})
	return list, err
}

// check refuses a view that the page could not show, and brings its name, filter and
// sign into the form that is stored.
func (v *View) check() error {
	v.Name = strings.TrimSpace(v.Name)
	if v.Name == "" {
		return &query.Error{Parameter: "name", Reason: "a view needs a name"}
	}
	if err := checkName(v.Name); err != nil {
		return err
	}
	if err := checkText("url", v.URL, MaxNote); err != nil {
		return err
	}
	// It becomes a link of the page: one to elsewhere, or to a script, is none.
	if !strings.HasPrefix(v.URL, "/") && !strings.HasPrefix(v.URL, "?") || strings.HasPrefix(v.URL, "//") || strings.Contains(v.URL, `\`) {
		return &query.Error{Parameter: "url", Reason: "the address of a view is inside of this page: it begins with / or ?"}
	}
	f, err := filter.Parse(v.Filter)
	if err != nil {
		return &query.Error{Parameter: "filter", Reason: strings.TrimPrefix(err.Error(), "filter: ")}
	}
	v.Filter = f.String()
	if v.Sign == "" {
		v.Sign = "+"
	}
	if v.Sign != "+" && v.Sign != "-" {
		return &query.Error{Parameter: "sign", Reason: "it is + or -"}
	}
	return checkColor(v.Color)
}

// SaveView stores a view, a new one when its ID is 0, and returns it as stored. The error
// may be a *query.Error, or wrap ErrNotFound or ErrTaken.
func (c *Console) SaveView(ctx context.Context, v View) (*View, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	err := c.change(ctx, func(tx pgx.Tx) error {
		if v.ID != 0 {
			err := tx.QueryRow(ctx, `update console.views set name = $2, url = $3, filter = $4, color = $5, sign = $6, pinned = $7, changed_at = now()
				where id = $1 returning changed_at`, v.ID, v.Name, v.URL, v.Filter, v.Color, v.Sign, v.Pinned).Scan(&v.ChangedAt)
			if errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("view %d: %w", v.ID, ErrNotFound)
			}
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, "select count(*) from console.views").Scan(&n); err != nil {
			return err
		}
		if n >= MaxViews {
			return &query.Error{Reason: fmt.Sprintf("%d views are saved, which is all there can be: delete one first", n)}
		}
		return tx.QueryRow(ctx, `insert into console.views (name, url, filter, color, sign, pinned) values ($1, $2, $3, $4, $5, $6) returning id, changed_at`,
			v.Name, v.URL, v.Filter, v.Color, v.Sign, v.Pinned).Scan(&v.ID, &v.ChangedAt)
	})
	if err != nil {
		return nil, err
	}
	v.ChangedAt = v.ChangedAt.UTC()
	return &v, nil
}

// DeleteView removes a view. The error may wrap ErrNotFound.
func (c *Console) DeleteView(ctx context.Context, id int64) error {
	return c.change(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "delete from console.views where id = $1", id)
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("view %d: %w", id, ErrNotFound)
		}
		return err
	})
}
