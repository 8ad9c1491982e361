package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"flowtally/calendar"
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
	zone                                             *time.Location
}

// flags are those of a ranking; rangeFlags those of any question.
func (q *question) flags(cmd *cobra.Command, key string, limit int) {
	f := cmd.Flags()
	one(f, &q.key, "key", "", key, keys, "what to group by, several joined by commas, addresses also by network as src-addr/24 or src-addr/24/64: "+keyNames())
	one(f, &q.by, "by", "", "flows", measures, "what to rank by: "+query.MeasureNames())
	one(f, &q.having, "having", "", "", conditions, `show only groups whose sums meet this, as "flows > 100 and bytes > 1m"`)
	q.rangeFlags(cmd, limit, "how many groups to show")
}

func (q *question) rangeFlags(cmd *cobra.Command, limit int, what string) {
	q.askFlags(cmd, limit, what)
	f := cmd.Flags()
	toggle(f, &q.whole, "whole", "", false, "book each flow whole where it ends, as nfdump does, instead of spreading it over its life")
	toggle(f, &q.scaled, "scaled", "", false, "multiply packets and bytes by the sampling rate")
	toggle(f, &q.raw, "raw", "", false, "read the flows themselves, not roll-ups: slower, and never an estimate")
}

// askFlags are those of a question about flows or events.
func (q *question) askFlags(cmd *cobra.Command, limit int, what string) {
	f := cmd.Flags()
	one(f, &q.from, "from", "", "-1h", moments, "begin of the range: RFC 3339, a date, seconds since 1970, 14:00 (of today), now, today, yesterday 14:00, this-week, last-month, or an age such as -6h or -1mo (beyond ten minutes, the begin of its minute)")
	one(f, &q.to, "to", "", "now", moments, "end of the range, not included")
	one(f, &q.zone, "zone", "", time.UTC, zones, zoneUsage)
	one(f, &q.limit, "limit", "", limit, counts[int]("a number such as 20 or 1k", 1, query.MaxLimit), what)
	one(f, &q.exporter, "exporter", "", "", exporterNames, "only what this exporter sent: its name, address or id")
	toggle(f, &q.explain, "explain", "", false, "print the SQL that was run and what it read instead of the answer")
	one(f, &q.output, "output", "", "table", among("table, json, csv or spreadsheet", "table", "json", "csv", "spreadsheet"), "table, json, csv, or spreadsheet: CSV as LibreOffice opens it right")
	one(f, &q.timeout, "timeout", "", 30*time.Second, times, "give up after so long")
	databaseFlag(cmd, &q.dsn)
}

// printer returns what prints the answer as the flags ask for it.
func (q *question) printer(cmd *cobra.Command) (printer, error) {
	if err := refuseIdle(cmd, idle{"output", !q.explain, "without --explain, which prints SQL"}); err != nil {
		return nil, err
	}
	if q.explain {
		return explanations{}, nil
	}
	return printers(q.zone)[q.output], nil
}

// now is the time, in the zone of the question.
func (q *question) now() time.Time { return time.Now().In(q.zone) }

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
		return bad(err)
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

// keys are what is grouped by, joined by commas.
var keys = kind[string]{
	name: "key", wants: "a key", split: atCommas,
	read: func(text string) (string, error) {
		_, err := query.ParseKeys(text)
		return text, bare(err)
	},
	words: func(string) []string { return strings.Fields(keyNames()) },
}

// measures are what is ranked by.
var measures = kind[string]{
	name: "measure", wants: query.MeasureNames(),
	read: func(text string) (string, error) {
		if _, err := query.ParseMeasure(text); err != nil {
			return "", errWanted
		}
		return text, nil
	},
	words: func(string) (all []string) {
		for _, m := range query.AllMeasures() {
			all = append(all, string(m))
		}
		return all
	},
}

// conditions are what sums of a group have to meet.
var conditions = kind[string]{
	name: "condition", wants: "a condition",
	read: func(text string) (string, error) {
		_, err := query.ParseHaving(text)
		return text, bare(err)
	},
}

// moments are points in time. They are read again where the zone is known.
var moments = kind[string]{
	name: "time", wants: "a time",
	read: func(text string) (string, error) {
		if text = strings.TrimSpace(text); text == "" {
			return "", errors.New("want a time: " + calendar.Forms)
		}
		if _, err := query.ParseTime(text, time.Now().UTC()); err != nil {
			_, reason, _ := strings.Cut(err.Error(), fmt.Sprintf("%q ", text))
			return "", errors.New("it " + reason)
		}
		return text, nil
	},
	words: func(string) []string {
		return []string{"now", "today", "yesterday", "this-week", "last-week", "this-month", "last-month", "-1h", "-6h", "-24h", "-7d"}
	},
}

// steps are lengths of buckets and of periods.
var steps = kind[string]{
	name: "step", wants: "auto, or whole seconds as 60s, 5m, 1h, 1d or 1w, or whole months as 1mo",
	read: func(text string) (string, error) {
		text = strings.ToLower(strings.TrimSpace(text))
		if strings.Trim(text, "0123456789") == "" && text != "" {
			text += "s"
		}
		if _, _, err := query.ParseStep(text); err != nil {
			return "", errWanted
		}
		return text, nil
	},
	words: func(string) []string { return []string{"auto", "60s", "5m", "1h", "1d", "1w", "1mo"} },
}

// bare is an error about a flag without the name of the parameter, which the flag's
// stands for.
func bare(err error) error {
	if e, ok := errors.AsType[*query.Error](err); ok {
		return errors.New(e.Reason)
	}
	return err
}
