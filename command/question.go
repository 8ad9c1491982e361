package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"flowtally/filter"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
)

// question has the flags that the answering commands have in common.
type question struct {
	dsn, from, to, key, by, having, exporter, output string
	limit                                            int
	whole, scaled, raw, explain                      bool
	timeout                                          time.Duration
	zone                                             zoneFlag
}

// flags are those of a ranking; rangeFlags those of any question.
func (q *question) flags(cmd *cobra.Command, key string, limit int) {
	f := cmd.Flags()
	f.StringVar(&q.key, "key", key, "what to group by, several joined by commas, addresses also by network as src-addr/24 or src-addr/24/64: "+keyNames())
	f.StringVar(&q.by, "by", "flows", "what to rank by: "+query.MeasureNames())
	f.StringVar(&q.having, "having", "", `show only groups whose sums meet this, as "flows > 100 and bytes > 1m"`)
	q.rangeFlags(cmd, limit, "how many groups to show")
}

func (q *question) rangeFlags(cmd *cobra.Command, limit int, what string) {
	q.askFlags(cmd, limit, what)
	f := cmd.Flags()
	f.BoolVar(&q.whole, "whole", false, "book each flow whole where it ends, as nfdump does, instead of spreading it over its life")
	f.BoolVar(&q.scaled, "scaled", false, "multiply packets and bytes by the sampling rate")
	f.BoolVar(&q.raw, "raw", false, "read the flows themselves, not roll-ups: slower, and never an estimate")
}

// askFlags are those of a question about flows or events.
func (q *question) askFlags(cmd *cobra.Command, limit int, what string) {
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "-1h", "begin of the range: RFC 3339, a date, seconds since 1970, now, today, yesterday 14:00, this-week, last-month, or an age such as -6h or -1mo (beyond ten minutes, the begin of its minute)")
	f.StringVar(&q.to, "to", "now", "end of the range, not included")
	q.zone = newZone()
	f.Var(&q.zone, "zone", zoneUsage)
	f.IntVar(&q.limit, "limit", limit, what)
	f.StringVar(&q.exporter, "exporter", "", "only what this exporter sent: its name, address or id")
	f.BoolVar(&q.explain, "explain", false, "print the SQL that was run and what it read instead of the answer")
	f.StringVar(&q.output, "output", "table", "table, json, csv, or spreadsheet: CSV as LibreOffice opens it right")
	f.DurationVar(&q.timeout, "timeout", 30*time.Second, "give up after so long")
	databaseFlag(cmd, &q.dsn)
}

// printer returns what prints the answer as the flags ask for it.
func (q *question) printer() (printer, error) {
	p, ok := printers(q.zone.Location)[q.output]
	if !ok {
		return nil, usageError{fmt.Errorf("--output %q: want table, json, csv or spreadsheet", q.output)}
	}
	if q.explain {
		return explanations{}, nil
	}
	return p, nil
}

// times reads the range.
func (q *question) times(now time.Time) (from, to time.Time, err error) {
	if from, err = query.ParseTime(q.from, now); err != nil {
		return from, to, usageError{fmt.Errorf("--from: %w", err)}
	}
	if to, err = query.ParseTime(q.to, now); err != nil {
		return from, to, usageError{fmt.Errorf("--to: %w", err)}
	}
	if !from.Before(to) {
		return from, to, usageError{fmt.Errorf("--from %s is not before --to %s", q.from, q.to)}
	}
	return from, to, nil
}

// parse turns the flags, and the words behind them, which are the filter, into a
// Question. Times are seen from now, and read in its zone.
func (q *question) parse(now time.Time, words []string) (query.Question, error) {
	bad := func(err error) (query.Question, error) { return query.Question{}, usageError{err} }
	from, to, err := q.times(now)
	if err != nil {
		return query.Question{}, err
	}
	var keys []query.Key
	if q.key != "" {
		if keys, err = query.ParseKeys(q.key); err != nil {
			return bad(fmt.Errorf("--key: %w", err))
		}
	}
	by, err := query.ParseMeasure(q.by)
	if err != nil {
		return bad(fmt.Errorf("--by: %w", err))
	}
	having, err := query.ParseHaving(q.having)
	if err != nil {
		return bad(fmt.Errorf("--having: %w", err))
	}
	meant, err := filter.ParseAt(strings.Join(words, " "), now)
	if err != nil {
		return bad(fmt.Errorf("filter: %w", err))
	}
	return query.Question{
		From: from, To: to, Zone: now.Location(), Keys: keys, By: by, Limit: q.limit, Exporter: q.exporter, Filter: meant, Having: having,
		Whole: q.whole, Scaled: q.scaled, Raw: q.raw, Timeout: q.timeout,
	}, nil
}

// ask asks the database a question and prints what it answers. What the store
// refuses for the question's content is a mistake of the call.
func ask[Q, A any](ctx context.Context, dsn string, of func(*answer.Answerer, context.Context, Q) (A, error), question Q, w io.Writer, print func(io.Writer, A) error) error {
	dsn, err := databaseURL(dsn)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	a, err := of(answer.New(db), ctx, question)
	if _, ok := errors.AsType[*query.Error](err); ok {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	return print(w, a)
}

// keyNames lists the keys for people.
func keyNames() string {
	var names []string
	for _, k := range query.Keys() {
		names = append(names, string(k))
	}
	return strings.Join(names, " ")
}
