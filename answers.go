package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"flowtally/store"
	"flowtally/web"
)

// question is what the answering commands have in common.
type question struct {
	dsn, from, to, key, by, exporter, output string
	limit                                    int
	whole                                    bool
	timeout                                  time.Duration
}

func (q *question) flags(cmd *cobra.Command, key string, limit int) {
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "-1h", "begin of the range: RFC 3339, a date, now, today, yesterday, or an age such as -6h")
	f.StringVar(&q.to, "to", "now", "end of the range, not included")
	f.StringVar(&q.key, "key", key, "what to group by, several joined by commas: "+keyNames())
	f.StringVar(&q.by, "by", "flows", "what to rank by: flows, packets or bytes")
	f.IntVar(&q.limit, "limit", limit, "how many groups to show")
	f.StringVar(&q.exporter, "exporter", "", "only what this exporter sent: its name, address or id")
	f.BoolVar(&q.whole, "whole", false, "book each flow whole where it ends, as nfdump does, instead of spreading it over its life")
	f.StringVar(&q.output, "output", "table", "table, json or csv")
	f.DurationVar(&q.timeout, "timeout", 30*time.Second, "give up after so long")
	databaseFlag(cmd, &q.dsn)
}

// parse turns the flags into a Question.
func (q *question) parse(now time.Time) (store.Question, error) {
	bad := func(err error) (store.Question, error) { return store.Question{}, usageError{err} }
	switch q.output {
	case "table", "json", "csv":
	default:
		return bad(fmt.Errorf("--output %q: want table, json or csv", q.output))
	}
	from, err := store.ParseTime(q.from, now)
	if err != nil {
		return bad(fmt.Errorf("--from: %w", err))
	}
	to, err := store.ParseTime(q.to, now)
	if err != nil {
		return bad(fmt.Errorf("--to: %w", err))
	}
	if !from.Before(to) {
		return bad(fmt.Errorf("--from %s is not before --to %s", q.from, q.to))
	}
	var keys []store.Key
	if q.key != "" {
		if keys, err = store.ParseKeys(q.key); err != nil {
			return bad(fmt.Errorf("--key: %w", err))
		}
	}
	by, err := store.ParseMeasure(q.by)
	if err != nil {
		return bad(fmt.Errorf("--by: %w", err))
	}
	return store.Question{From: from, To: to, Keys: keys, By: by, Limit: q.limit, Exporter: q.exporter, Whole: q.whole, Timeout: q.timeout}, nil
}

// open connects to the database.
func (q *question) open(cmd *cobra.Command) (*store.DB, error) {
	dsn, err := databaseURL(q.dsn)
	if err != nil {
		return nil, err
	}
	return store.Open(cmd.Context(), dsn)
}

// invalid makes a question that the store refuses for its content a mistake of
// the call.
func invalid(err error) error {
	if _, ok := errors.AsType[*store.QuestionError](err); ok {
		return usageError{err}
	}
	return err
}

// keyNames lists the keys for people.
func keyNames() string {
	var names []string
	for _, k := range store.Keys() {
		names = append(names, string(k))
	}
	return strings.Join(names, " ")
}

// parseStep reads the length of a bucket; 0 leaves it to the store.
func parseStep(s string) (time.Duration, error) {
	if s == "auto" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 366 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d >= time.Second {
		return d, nil
	}
	return 0, fmt.Errorf("%q is not the length of a bucket: write auto, or at least a second as 60s, 5m, 1h or 1d", s)
}

func topCommand(stdout io.Writer) *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Rank who or what had most flows, packets or bytes in a range",
		Example: `  flowtally top --key src-addr --by flows --from -1h
  flowtally top --key src-addr,dst-addr --by bytes --from yesterday --to today --limit 20
  flowtally top --key port --by packets --output csv`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask, err := q.parse(time.Now())
			if err != nil {
				return err
			}
			db, err := q.open(cmd)
			if err != nil {
				return err
			}
			defer db.Close()
			top, err := db.Top(cmd.Context(), ask)
			if err != nil {
				return invalid(err)
			}
			switch q.output {
			case "json":
				return printJSON(stdout, web.NewTop(top))
			case "csv":
				return web.WriteTopCSV(stdout, top)
			}
			return printTop(stdout, top)
		},
	}
	q.flags(cmd, "src-addr", 10)
	return cmd
}

func seriesCommand(stdout io.Writer) *cobra.Command {
	var q question
	var step string
	cmd := &cobra.Command{
		Use:   "series",
		Short: "Flows, packets and bytes over time, in all or by a key",
		Example: `  flowtally series --from -24h --step 1h
  flowtally series --key protocol --by bytes --from -6h --output csv`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask, err := q.parse(time.Now())
			if err != nil {
				return err
			}
			if ask.Step, err = parseStep(step); err != nil {
				return usageError{fmt.Errorf("--step: %w", err)}
			}
			if ask.Step > 0 {
				ask.MaxBuckets = store.MaxBuckets
			}
			db, err := q.open(cmd)
			if err != nil {
				return err
			}
			defer db.Close()
			series, err := db.Series(cmd.Context(), ask)
			if err != nil {
				return invalid(err)
			}
			switch q.output {
			case "json":
				return printJSON(stdout, web.NewSeries(series))
			case "csv":
				return web.WriteSeriesCSV(stdout, series)
			}
			return printSeries(stdout, series)
		},
	}
	q.flags(cmd, "", 8)
	cmd.Flags().StringVar(&step, "step", "auto", "length of a bucket, such as 60s or 1h")
	return cmd
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printTop prints a ranking as a table: the groups, the rest, and the total.
func printTop(w io.Writer, t *store.Top) error {
	fmt.Fprintf(w, "top %d by %s, %s to %s\n", t.Limit, t.By, stamp(t.From), stamp(t.To))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "#\t"
	for _, k := range t.Keys {
		head += strings.ReplaceAll(string(k), "-", " ") + "\t"
	}
	fmt.Fprintln(tw, head+"flows\tpackets\tbytes\tshare\t")
	line := func(rank string, names []string, s store.Sums, share float64) {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%.1f %%\t\n", rank, strings.Join(names, "\t"), s.Flows, s.Packets, s.Bytes, 100*share)
	}
	blank := make([]string, len(t.Keys))
	name := func(s string) []string { blank[0] = s; return blank }
	for i, r := range t.Rows {
		names := make([]string, len(r.Values))
		for j, v := range r.Values {
			names[j] = v.Label
		}
		line(strconv.Itoa(i+1), names, r.Sums, r.Share)
	}
	if t.Other != nil {
		line("", name(fmt.Sprintf("%d others", t.Other.Groups)), t.Other.Sums, share(t.Other.Sums, t.Total, t.By))
	}
	line("", name("all"), t.Total, 1)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "a flow is one direction of a conversation; source %s, %s, %v\n", t.Source, t.Resolution, t.Took.Round(time.Millisecond))
	return err
}

// share is the part of the total that s has, by one measure.
func share(s, total store.Sums, by store.Measure) float64 {
	if n := total.By(by); n > 0 {
		return float64(s.By(by)) / float64(n)
	}
	return 0
}

// printSeries prints a series as a table, one row a bucket and, by a key, one
// column a group of the measure that was asked for.
func printSeries(w io.Writer, s *store.Series) error {
	fmt.Fprintf(w, "%s to %s in buckets of %v\n", stamp(s.From), stamp(s.To), s.Step)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(s.Keys) == 0 {
		fmt.Fprintln(tw, "begin\tflows\tpackets\tbytes\t")
		for i, t := range s.Start {
			fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t\n", stamp(t), s.Total.Flows[i], s.Total.Packets[i], s.Total.Bytes[i])
		}
		return tw.Flush()
	}
	lines := s.Lines
	if s.Other != nil {
		lines = append(lines[:len(lines):len(lines)], *s.Other)
	}
	fmt.Fprint(tw, string(s.By)+"\t")
	for _, l := range lines {
		fmt.Fprint(tw, l.Label+"\t")
	}
	fmt.Fprintln(tw, "all\t")
	for i, t := range s.Start {
		fmt.Fprint(tw, stamp(t)+"\t")
		for _, l := range append(lines[:len(lines):len(lines)], s.Total) {
			fmt.Fprintf(tw, "%d\t", measured(l, s.By)[i])
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// measured returns one measure of a line.
func measured(l store.Line, by store.Measure) []int64 {
	switch by {
	case store.ByPackets:
		return l.Packets
	case store.ByBytes:
		return l.Bytes
	}
	return l.Flows
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
