package command

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/store"
	"flowtally/web"
)

// question is what the answering commands have in common.
type question struct {
	dsn, from, to, key, by, having, exporter, output string
	limit                                            int
	whole, scaled, raw, explain                      bool
	timeout                                          time.Duration
}

// flags are those of a ranking; rangeFlags those of any question.
func (q *question) flags(cmd *cobra.Command, key string, limit int) {
	f := cmd.Flags()
	f.StringVar(&q.key, "key", key, "what to group by, several joined by commas, addresses also by network as src-addr/24 or src-addr/24/64: "+keyNames())
	f.StringVar(&q.by, "by", "flows", "what to rank by: flows, packets, bytes, pps, bps, bpp or duration")
	f.StringVar(&q.having, "having", "", `show only groups whose sums meet this, as "flows > 100 and bytes > 1m"`)
	q.rangeFlags(cmd, limit, "how many groups to show")
}

func (q *question) rangeFlags(cmd *cobra.Command, limit int, what string) {
	f := cmd.Flags()
	f.StringVar(&q.from, "from", "-1h", "begin of the range: RFC 3339, a date, now, today, yesterday, or an age such as -6h (beyond ten minutes, the begin of its minute)")
	f.StringVar(&q.to, "to", "now", "end of the range, not included")
	f.IntVar(&q.limit, "limit", limit, what)
	f.StringVar(&q.exporter, "exporter", "", "only what this exporter sent: its name, address or id")
	f.BoolVar(&q.whole, "whole", false, "book each flow whole where it ends, as nfdump does, instead of spreading it over its life")
	f.BoolVar(&q.scaled, "scaled", false, "multiply packets and bytes by the sampling rate")
	f.BoolVar(&q.raw, "raw", false, "read the flows themselves, not roll-ups: slower, and never an estimate")
	f.BoolVar(&q.explain, "explain", false, "print the SQL that was run and what it read instead of the answer")
	f.StringVar(&q.output, "output", "table", "table, json or csv")
	f.DurationVar(&q.timeout, "timeout", 30*time.Second, "give up after so long")
	databaseFlag(cmd, &q.dsn)
}

// parse turns the flags, and the words behind them, which are the filter, into a
// Question.
func (q *question) parse(now time.Time, words []string) (store.Question, error) {
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
	having, err := store.ParseHaving(q.having)
	if err != nil {
		return bad(fmt.Errorf("--having: %w", err))
	}
	meant, err := filter.Parse(strings.Join(words, " "))
	if err != nil {
		return bad(fmt.Errorf("filter: %w", err))
	}
	return store.Question{
		From: from, To: to, Keys: keys, By: by, Limit: q.limit, Exporter: q.exporter, Filter: meant, Having: having,
		Whole: q.whole, Scaled: q.scaled, Raw: q.raw, Timeout: q.timeout,
	}, nil
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
		Use:   "top [FILTER]",
		Args:  cobra.ArbitraryArgs,
		Short: "Rank who or what had most flows, packets or bytes in a range",
		Example: `  flowtally top --key src-addr --by flows --from -1h
  flowtally top --key src-addr,dst-addr --by bytes --from yesterday --to today --limit 20 proto tcp and port https
  flowtally top --key dst-addr/24 --by bps --having 'flows > 100' src net 10.0.0.0/8
  flowtally top --key port --by packets --output csv`,
		RunE: func(cmd *cobra.Command, words []string) error {
			ask, err := q.parse(time.Now(), words)
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
			if q.explain {
				return printExplanation(stdout, &top.Provenance)
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
	var (
		q            question
		step, period string
		layOver      int
		share        bool
	)
	cmd := &cobra.Command{
		Use:   "series [FILTER]",
		Args:  cobra.ArbitraryArgs,
		Short: "Flows, packets and bytes over time, in all or by a key",
		Example: `  flowtally series --from -24h --step 1h
  flowtally series --key protocol --by bytes --from -6h --output csv not port ssh
  flowtally series --from -24h --step 1h --lay-over 4 --period 1w
  flowtally series --share --from -24h`,
		RunE: func(cmd *cobra.Command, words []string) error {
			ask, err := q.parse(time.Now(), words)
			if err != nil {
				return err
			}
			if ask.Step, err = parseStep(step); err != nil {
				return usageError{fmt.Errorf("--step: %w", err)}
			}
			if ask.Step > 0 {
				ask.MaxBuckets = store.MaxBuckets
			}
			if ask.LayOver = layOver; layOver > 0 && period != "auto" {
				if ask.Period, err = parseStep(period); err != nil {
					return usageError{fmt.Errorf("--period: %w", err)}
				}
			}
			if share && (q.key != "" || layOver > 0) {
				return usageError{errors.New("--share takes no --key and no --lay-over")}
			}
			db, err := q.open(cmd)
			if err != nil {
				return err
			}
			defer db.Close()
			if share {
				r, err := db.Share(cmd.Context(), ask)
				if err != nil {
					return invalid(err)
				}
				return q.printShare(stdout, r)
			}
			series, err := db.Series(cmd.Context(), ask)
			if err != nil {
				return invalid(err)
			}
			if q.explain {
				return printExplanation(stdout, &series.Provenance)
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
	f := cmd.Flags()
	f.StringVar(&step, "step", "auto", "length of a bucket, such as 60s or 1h")
	f.IntVar(&layOver, "lay-over", 0, "show so many earlier periods beside it, 8 at most")
	f.StringVar(&period, "period", "auto", "length of such a period, such as 1d or 7d; auto: the range's, in whole days")
	f.BoolVar(&share, "share", false, "of each bucket, which host had the largest part of all flows")
	return cmd
}

func flowsCommand(stdout io.Writer) *cobra.Command {
	var (
		q               question
		sort, after     string
		ascending, bare bool
	)
	cmd := &cobra.Command{
		Use:   "flows [FILTER]",
		Args:  cobra.ArbitraryArgs,
		Short: "List the flows of a range, and sum them up",
		Example: `  flowtally flows --from -10m host 10.1.4.7 and port ssh
  flowtally flows --from today --sort bytes --limit 100 --output csv
  flowtally flows --from -1h --sort duration duration > 600000`,
		RunE: func(cmd *cobra.Command, words []string) error {
			ask, err := q.parse(time.Now(), words)
			if err != nil {
				return err
			}
			db, err := q.open(cmd)
			if err != nil {
				return err
			}
			defer db.Close()
			r, err := db.Flows(cmd.Context(), store.FlowsQuestion{Question: ask, Sort: sort, Ascending: ascending, After: after, NoSummary: bare || q.output == "csv"})
			if err != nil {
				return invalid(err)
			}
			if q.explain {
				return printExplanation(stdout, &r.Provenance)
			}
			return q.printFlows(stdout, r)
		},
	}
	q.rangeFlags(cmd, store.DefaultFlows, "how many flows to list")
	f := cmd.Flags()
	f.StringVar(&sort, "sort", "flow_start", "what to sort by, the latest or largest first: flow_start, flow_end, packets, bytes or duration")
	f.BoolVar(&ascending, "ascending", false, "the earliest or smallest first")
	f.StringVar(&after, "after", "", "go on where a page ended: its next")
	f.BoolVar(&bare, "no-summary", false, "do not sum up all flows that match, which takes longer than a page")
	return cmd
}

// printExplanation prints what was read, and the SQL.
func printExplanation(w io.Writer, p *store.Provenance) error {
	exact := "exact"
	if !p.Exact {
		exact = "not exact"
	}
	sql := p.SQL
	if line, rest, ok := strings.Cut(sql, "\n"); ok && strings.HasPrefix(line, "-- ") {
		sql = rest
	}
	_, err := fmt.Fprintf(w, "-- %s\n-- %s, %s, %s, %v\n%s;\n", p.Plan, p.Source, p.Resolution, exact, p.Took.Round(time.Millisecond), sql)
	return err
}

// printCaveats says what an answer is not.
func printCaveats(w io.Writer, p *store.Provenance) {
	if p.Cut != nil {
		fmt.Fprintf(w, "part of the range is gone: %s\n", p.Cut.Reason)
	}
	if p.Remainder != nil {
		fmt.Fprintf(w, "%.1f %% are in the remainder of the roll-ups: a group that is not listed may have up to %d more; --raw reads the flows\n", 100*p.Remainder.Share, p.Remainder.Error)
	}
	if p.Scaled {
		fmt.Fprintln(w, "packets and bytes are multiplied by the sampling rate, by 1 where it is not known")
	}
}

// printSummary is the line that nfdump ends with.
func printSummary(w io.Writer, s *store.FlowsSummary) {
	fmt.Fprintf(w, "Summary: total flows: %d, total bytes: %d, total packets: %d, avg bps: %.0f, avg pps: %.0f, avg bpp: %.0f\n",
		s.Flows, s.Bytes, s.Packets, s.BPS, s.PPS, s.BPP)
	if !s.First.IsZero() {
		fmt.Fprintf(w, "Time window: %s - %s\n", milli(s.First), milli(s.Last))
	}
}

func milli(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// flowRow is a flow by the names of its columns.
func flowRow(columns []string, row []any) map[string]any {
	m := make(map[string]any, len(columns))
	for i, name := range columns {
		m[name] = row[i]
	}
	return m
}

// text is a value of a flow in a table or in CSV.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	case json.RawMessage:
		return string(v)
	}
	return fmt.Sprint(v)
}

func (q *question) printFlows(w io.Writer, r *store.Flows) error {
	switch q.output {
	case "json":
		return printJSON(w, web.NewFlows(r))
	case "csv":
		c := csv.NewWriter(w)
		c.UseCRLF = true
		_ = c.Write(r.Columns)
		for _, row := range r.Rows {
			record := make([]string, len(row))
			for i, v := range row {
				if record[i] = text(v); r.Columns[i] == "exporter" && strings.HasPrefix(record[i], "=") {
					record[i] = "'" + record[i] // no formula
				}
			}
			_ = c.Write(record)
		}
		c.Flush()
		return c.Error()
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "flow start\tduration\tproto\tsource\tdestination\tflags\tpackets\tbytes\texporter\t")
	for _, row := range r.Rows {
		f := flowRow(r.Columns, row)
		start, _ := f["flow_start"].(time.Time)
		end, _ := f["flow_end"].(time.Time)
		side := func(addr, port string) string {
			a, p := text(f[addr]), text(f[port])
			switch {
			case p == "":
				return a
			case strings.Contains(a, ":"):
				return "[" + a + "]:" + p
			}
			return a + ":" + p
		}
		proto, _ := f["protocol"].(int64)
		flags := ""
		if n, ok := f["tcp_flags"].(int64); ok {
			flags = flow.TCPFlags(n).String()
		}
		fmt.Fprintf(tw, "%s\t%.3f\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t\n", milli(start), end.Sub(start).Seconds(), flow.Protocol(proto),
			side("src_addr", "src_port"), side("dst_addr", "dst_port"), flags, f["packets"], f["bytes"], text(f["exporter"]))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.Next != "" {
		fmt.Fprintf(w, "there are more: --after %s\n", r.Next)
	}
	if r.Summary != nil {
		printSummary(w, r.Summary)
	}
	printCaveats(w, &r.Provenance)
	return nil
}

func (q *question) printShare(w io.Writer, r *store.Share) error {
	if q.explain {
		return printExplanation(w, &r.Provenance)
	}
	host := func(i int) string {
		if !r.Host[i].IsValid() {
			return ""
		}
		return r.Host[i].String()
	}
	switch q.output {
	case "json":
		return printJSON(w, web.NewShare(r))
	case "csv":
		c := csv.NewWriter(w)
		c.UseCRLF = true
		_ = c.Write([]string{"bucket", "addr", "share", "host_flows", "flows"})
		for i, t := range r.Start {
			_ = c.Write([]string{stamp(t), host(i), strconv.FormatFloat(r.Share[i], 'f', 6, 64), strconv.FormatInt(r.HostFlows[i], 10), strconv.FormatInt(r.Flows[i], 10)})
		}
		c.Flush()
		return c.Error()
	}
	fmt.Fprintf(w, "the host with most flows, %s to %s in buckets of %v\n", stamp(r.From), stamp(r.To), r.Step)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "begin\thost\tshare\tits flows\tall flows\t")
	for i, t := range r.Start {
		fmt.Fprintf(tw, "%s\t%s\t%.1f %%\t%d\t%d\t\n", stamp(t), host(i), 100*r.Share[i], r.HostFlows[i], r.Flows[i])
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, h := range r.Highlights {
		fmt.Fprintf(w, "%s had %.1f %% of all flows, %s to %s\n", h.Addr, 100*h.Share, stamp(h.From), stamp(h.To))
	}
	printCaveats(w, &r.Provenance)
	return nil
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
	seen, vague := false, false
	for _, r := range t.Rows {
		seen, vague = seen || !r.FirstSeen.IsZero(), vague || r.Error > 0
	}
	if head += "flows\tpackets\tbytes\tshare\tpps\tbps\tbpp\t"; seen {
		head += "duration\tfirst seen\t"
	}
	if vague {
		head += "±" + string(t.By) + "\t"
	}
	fmt.Fprintln(tw, head)
	line := func(rank string, names []string, s store.Sums, share, more string) {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", rank, strings.Join(names, "\t"), s.Flows, s.Packets, s.Bytes, share, more)
	}
	percent := func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
	blank := make([]string, len(t.Keys))
	name := func(s string) []string { blank[0] = s; return blank }
	for i, r := range t.Rows {
		names := make([]string, len(r.Values))
		for j, v := range r.Values {
			names[j] = v.Label
		}
		more := fmt.Sprintf("%.0f\t%.0f\t%.0f\t", r.PPS, r.BPS, r.BPP)
		if seen {
			more += fmt.Sprintf("%.3f\t%s\t", r.Duration.Seconds(), milli(r.FirstSeen))
		}
		if vague {
			more += strconv.FormatInt(r.Error, 10) + "\t"
		}
		line(strconv.Itoa(i+1), names, r.Sums, percent(r.Share), more)
	}
	if t.Other != nil {
		line("", name(fmt.Sprintf("%d others", t.Other.Groups)), t.Other.Sums, percent(share(t.Other.Sums, t.Total, t.By)), "")
	}
	line("", name("all"), t.Total, percent(1), "")
	if err := tw.Flush(); err != nil {
		return err
	}
	s := store.FlowsSummary{Sums: t.Total, First: t.From, Last: t.To}
	if d := t.To.Sub(t.From).Seconds(); d > 0 {
		s.BPS, s.PPS = 8*float64(s.Bytes)/d, float64(s.Packets)/d
	}
	if s.Packets > 0 {
		s.BPP = float64(s.Bytes) / float64(s.Packets)
	}
	printSummary(w, &s)
	printCaveats(w, &t.Provenance)
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
		fmt.Fprint(tw, "begin\tflows\tpackets\tbytes\t")
		for _, p := range s.Previous {
			fmt.Fprintf(tw, "%s before %v\t", s.By, p.Offset)
		}
		fmt.Fprintln(tw)
		for i, t := range s.Start {
			fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t", stamp(t), s.Total.Flows[i], s.Total.Packets[i], s.Total.Bytes[i])
			for _, p := range s.Previous {
				fmt.Fprintf(tw, "%d\t", measured(p.Total, s.By)[i])
			}
			fmt.Fprintln(tw)
		}
		err := tw.Flush()
		printCaveats(w, &s.Provenance)
		return err
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
