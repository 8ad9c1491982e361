// Package console is what the web page keeps and shows beside answers about flows: saved
// views, preferences, names, the exporters and their state, losses, diagnoses, and SQL that
// people write.
package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// Console is what the web page keeps and shows beside answers about flows: names,
// views, preferences, exporters, losses, diagnoses and SQL from people.
type Console struct{ db *store.DB }

// New returns the Console of a database.
func New(db *store.DB) *Console { return &Console{db} }

// Limits of what people can have kept.
const (
	// MaxViews is how many views can be saved.
	MaxViews = 500
	// MaxName is how many characters a name may have, and MaxNote how many
	// octets a note or the address of a view.
	MaxName, MaxNote = 100, 4096
)

// ErrNotFound is wrapped when what is to be changed is not there.
var ErrNotFound = errors.New("there is no such thing")

// ErrTaken is wrapped when something else has the name already.
var ErrTaken = errors.New("the name is taken")

// View is a view of the page that somebody saved.
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

// ExporterWords is what people say about an exporter. Empty and nil take it
// back.
type ExporterWords struct {
	Name, Color, Note string
	// SamplingRate is N of 1:N, in place of what the exporter announces.
	SamplingRate *int64
}

// ExporterState is what is known of an exporter beside its ExporterRow.
type ExporterState struct {
	ExporterWords
	// Announced and Configured are sampling rates: as it last announced, and as
	// the collector was told; nil when neither.
	Announced, Configured *int64
	// Overridden says that the collector was told to prefer its own.
	Overridden bool
	// Waiting says that it has sent data and no template for it.
	Waiting bool
	// LostLastHour is what the ledger has for it, of all units, without what it
	// never meant to meter.
	LostLastHour int64
}

// Interface is an interface of an exporter.
type Interface struct {
	ExporterID flow.ExporterID
	Exporter   string
	IfIndex    int64
	// Name is what people call it, else what it announces; Named says that
	// people do. Announced is what it announces in any case.
	Name, Announced string
	Named           bool
	Description     string
	Speed           *int64 // bits a second
}

var color = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// checkText refuses a text of people that could not be shown.
func checkText(parameter, s string, most int) error {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return &query.Error{Parameter: parameter, Reason: "it has characters that cannot be shown"}
	case utf8.RuneCountInString(s) > most:
		return &query.Error{Parameter: parameter, Reason: fmt.Sprintf("it is longer than %d characters", most)}
	}
	return nil
}

func checkName(s string) error {
	if strings.ContainsAny(s, "\n\t") {
		return &query.Error{Parameter: "name", Reason: "a name is one line"}
	}
	return checkText("name", s, MaxName)
}

func checkColor(s string) error {
	if s != "" && !color.MatchString(s) {
		return &query.Error{Parameter: "color", Reason: fmt.Sprintf("%q is not a colour: write it as #1f77b4", s)}
	}
	return nil
}

// change runs f in a transaction that may write.
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
	}
	return fmt.Errorf("store: console: %w", err)
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

// check makes a view one that can be kept.
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

// SaveView keeps a view: a new one when its ID is 0. It returns the view as it
// is kept. The error is a *QuestionError, or wraps ErrNotFound or ErrTaken.
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

// DeleteView forgets a view. The error may wrap ErrNotFound.
func (c *Console) DeleteView(ctx context.Context, id int64) error {
	return c.change(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "delete from console.views where id = $1", id)
		if err == nil && tag.RowsAffected() == 0 {
			err = fmt.Errorf("view %d: %w", id, ErrNotFound)
		}
		return err
	})
}

// SetExporter keeps what people say about an exporter, in place of what they
// said before. The error is a *QuestionError, or wraps ErrNotFound or ErrTaken.
func (c *Console) SetExporter(ctx context.Context, id flow.ExporterID, w ExporterWords) error {
	w.Name = strings.TrimSpace(w.Name)
	if err := errors.Join(checkName(w.Name), checkColor(w.Color), checkText("note", w.Note, MaxNote)); err != nil {
		return err
	}
	if _, err := netip.ParseAddr(w.Name); err == nil {
		return &query.Error{Parameter: "name", Reason: "an address is no name: it would be mistaken for another exporter's"}
	}
	if r := w.SamplingRate; r != nil && (*r < 1 || *r > 1<<31-1) {
		return &query.Error{Parameter: "sampling_rate", Reason: "it is N of 1:N, from 1 to 2147483647, or null"}
	}
	return c.change(ctx, func(tx pgx.Tx) error {
		var known bool
		if err := tx.QueryRow(ctx, "select exists (select from exporters where id = $1)", int32(id)).Scan(&known); err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("exporter %d: %w", id, ErrNotFound)
		}
		_, err := tx.Exec(ctx, `insert into console.exporters as c (id, name, color, note, sampling_rate)
			values ($1, nullif($2, ''), nullif($3, ''), nullif($4, ''), $5)
			on conflict (id) do update set name = excluded.name, color = excluded.color, note = excluded.note,
				sampling_rate = excluded.sampling_rate, changed_at = now()`,
			int32(id), w.Name, w.Color, w.Note, w.SamplingRate)
		return err
	})
}

// ExporterStates returns what is known of the exporters beside their rows.
func (c *Console) ExporterStates(ctx context.Context) (map[flow.ExporterID]ExporterState, error) {
	states := make(map[flow.ExporterID]ExporterState)
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select e.id, e.name, coalesce(e.color, ''), coalesce(e.note, ''), e.sampling_rate,
  s.sampling_rate, s.configured_rate, coalesce(s.sampling_override, false),
  coalesce(s.version >= 9 and s.templates = 0 and (s.no_template > 0 or s.held > s.recovered), false),
  coalesce(l.lost, 0)
from exporters e
left join exporter_status s on s.exporter_id = e.id
left join (select exporter_id, least(sum(count), 9223372036854775807)::bigint as lost from loss
  where minute > now() - interval '1 hour' and cause <> 'ignored' group by exporter_id) l on l.exporter_id = e.id`)
		if err != nil {
			return fmt.Errorf("exporters: %w", err)
		}
		var (
			id int32
			s  ExporterState
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &s.Name, &s.Color, &s.Note, &s.SamplingRate,
			&s.Announced, &s.Configured, &s.Overridden, &s.Waiting, &s.LostLastHour}, func() error {
			states[flow.ExporterID(id)] = s
			return nil
		})
		return err
	})
	return states, err
}

// Interfaces lists the interfaces that were announced or named, of the exporters
// that a name, an address or a number means; of all when that is "".
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

// NameInterface keeps what people call an interface; "" takes it back, and the
// announced name returns. The error is a *QuestionError, or wraps ErrNotFound.
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
		var known bool
		if err := tx.QueryRow(ctx, "select exists (select from exporters where id = $1)", int32(id)).Scan(&known); err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("exporter %d: %w", id, ErrNotFound)
		}
		_, err := tx.Exec(ctx, `insert into console.interfaces (exporter_id, if_index, name) values ($1, $2, $3)
			on conflict (exporter_id, if_index) do update set name = excluded.name, changed_at = now()`, int32(id), index, name)
		return err
	})
}

// exportersOf returns the numbers of the exporters that a word means.
func exportersOf(ctx context.Context, tx pgx.Tx, word string) ([]int32, error) {
	ids, err := store.FindExporters(ctx, tx, word)
	if e, ok := errors.AsType[*store.ExporterError](err); ok {
		return nil, &query.Error{Parameter: "exporter", Reason: e.Reason}
	}
	return ids, err
}
