package console

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
	"flowtally/store"
)

// Preferences is how a person wants the page to look where the page's address does not
// say. Empty and 0 leave the choice to the page.
type Preferences struct {
	Theme string // system, light or dark
	Zone  string // local or utc
	Range string // start of a range that ends now: -6h
	Unit  string // bits or bytes, a second
	Rows  int    // the length of a table
}

// rangeWord is a range that ends now: up to four digits and a unit.
var rangeWord = regexp.MustCompile(`^-[1-9][0-9]{0,3}[mhdw]$`)

func (p *Preferences) check() error {
	for _, c := range []struct {
		parameter, value string
		words            []string
	}{
		{"theme", p.Theme, []string{"system", "light", "dark"}},
		{"zone", p.Zone, []string{"local", "utc"}},
		{"unit", p.Unit, []string{"bits", "bytes"}},
	} {
		if c.value != "" && !slices.Contains(c.words, c.value) {
			return &query.Error{Parameter: c.parameter, Reason: fmt.Sprintf("%q is none of %q", c.value, c.words)}
		}
	}
	if p.Range != "" && !rangeWord.MatchString(p.Range) {
		return &query.Error{Parameter: "range", Reason: fmt.Sprintf("%q is not how long before now: write -6h", p.Range)}
	}
	if p.Rows < 0 || p.Rows > 1000 {
		return &query.Error{Parameter: "rows", Reason: fmt.Sprintf("%d is not between 1 and 1000, nor 0 for as many as the page has", p.Rows)}
	}
	return nil
}

// Preferences returns the preferences of a person, the zero value when none are stored.
func (c *Console) Preferences(ctx context.Context, user string) (Preferences, error) {
	var p Preferences
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "select theme, zone, range, unit, coalesce(rows, 0) from console.preferences where user_name = $1", user).
			Scan(&p.Theme, &p.Zone, &p.Range, &p.Unit, &p.Rows)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("preferences: %w", err)
		}
		return nil
	})
	return p, err
}

// SetPreferences stores the preferences of a person in place of the earlier ones. The
// error may be a *query.Error.
func (c *Console) SetPreferences(ctx context.Context, user string, p Preferences) error {
	if err := p.check(); err != nil {
		return err
	}
	return c.change(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into console.preferences (user_name, theme, zone, range, unit, rows) values ($1, $2, $3, $4, $5, nullif($6, 0))
			on conflict (user_name) do update set theme = excluded.theme, zone = excluded.zone, range = excluded.range,
				unit = excluded.unit, rows = excluded.rows, changed_at = now()`,
			user, p.Theme, p.Zone, p.Range, p.Unit, p.Rows)
		return err
	})
}
