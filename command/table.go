package command

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"flowtally/flow"
	"flowtally/query"
)

// tables prints an answer as a table for people, and what it is not below.
type tables struct {
	zone *time.Location
	// all prints each bucket of a share, not only the times in which somebody stood out.
	all bool
}

// top prints the groups, the rest, and the total.
func (p tables) top(w io.Writer, t *query.Top) error {
	fmt.Fprintf(w, "top %d by %s, %s to %s\n", t.Limit, t.By, p.stamp(t.From), p.stamp(t.To))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "#\t"
	grouped, err := query.Grouped(t.Keys)
	if err != nil {
		return err
	}
	for _, c := range grouped {
		head += strings.ReplaceAll(string(c.Key()), "-", " ") + "\t"
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
	line := func(rank string, names []string, s query.Sums, share, more string) {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", rank, strings.Join(names, "\t"), s.Flows, s.Packets, s.Bytes, share, more)
	}
	percent := func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
	percentOf := func(share *float64) string {
		if share == nil {
			return none
		}
		return percent(*share)
	}
	blank := make([]string, len(grouped))
	name := func(s string) []string { blank[0] = s; return blank }
	for i, r := range t.Rows {
		names := make([]string, len(r.Values))
		for j, v := range r.Values {
			names[j] = v.Label
		}
		more := orNone("%.0f", r.PPS) + "\t" + orNone("%.0f", r.BPS) + "\t" + orNone("%.0f", r.BPP) + "\t"
		if seen {
			more += fmt.Sprintf("%.3f\t%s\t", r.Duration.Seconds(), p.milli(r.FirstSeen))
		}
		if vague {
			more += strconv.FormatInt(r.Error, 10) + "\t"
		}
		line(strconv.Itoa(i+1), names, r.Sums, percentOf(r.Share), more)
	}
	if t.Other != nil {
		line("", name(fmt.Sprintf("%d others", t.Other.Groups)), t.Other.Sums, percent(shareOf(t.Other.Sums, t.Total, t.By)), "")
	}
	line("", name("all"), t.Total, percent(1), "")
	if err := tw.Flush(); err != nil {
		return err
	}
	s := query.FlowsSummary{Sums: t.Total, First: t.From, Last: t.To}
	if d := t.To.Sub(t.From).Seconds(); d > 0 {
		s.BPS, s.PPS = 8*float64(s.Bytes)/d, float64(s.Packets)/d
	}
	if s.Packets > 0 {
		s.BPP = float64(s.Bytes) / float64(s.Packets)
	}
	p.printSummary(w, &s)
	p.caveats(w, &t.Provenance, t.Total.Flows+t.Total.Packets == 0)
	_, err = fmt.Fprintf(w, "a flow is one direction of a conversation; source %s, %s, %v\n", t.Source, t.Resolution, t.Took.Round(time.Millisecond))
	return err
}

// none stands where there is no number.
const none = "–"

// orNone writes a number that may not be known.
func orNone(format string, n *float64) string {
	if n == nil {
		return none
	}
	return fmt.Sprintf(format, *n)
}

// shareOf is the part of the total that s has, by one measure.
func shareOf(s, total query.Sums, by query.Measure) float64 {
	if n := total.By(by); n > 0 {
		return float64(s.By(by)) / float64(n)
	}
	return 0
}

// series prints one row a bucket and, by a key, one column a group of the measure
// that was asked for.
func (p tables) series(w io.Writer, s *query.Series) error {
	fmt.Fprintf(w, "%s to %s in buckets of %s\n", p.stamp(s.From), p.stamp(s.To), stepText(s.Step, s.StepMonths))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(s.Keys) == 0 {
		fmt.Fprint(tw, "begin\tflows\tpackets\tbytes\t")
		for _, was := range s.Previous {
			fmt.Fprintf(tw, "%s %s before\t", s.By, spanText(was.Offset))
		}
		fmt.Fprintln(tw)
		for i, t := range s.Start {
			fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t", p.stamp(t), s.Total.Flows[i], s.Total.Packets[i], s.Total.Bytes[i])
			for _, was := range s.Previous {
				fmt.Fprintf(tw, "%d\t", measured(was.Total, s.By)[i])
			}
			fmt.Fprintln(tw)
		}
		err := tw.Flush()
		p.caveats(w, &s.Provenance, s.Total.Empty())
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
		fmt.Fprint(tw, p.stamp(t)+"\t")
		for _, l := range append(lines[:len(lines):len(lines)], s.Total) {
			fmt.Fprintf(tw, "%d\t", measured(l, s.By)[i])
		}
		fmt.Fprintln(tw)
	}
	err := tw.Flush()
	p.caveats(w, &s.Provenance, s.Total.Empty())
	return err
}

// measured returns one measure of a line.
func measured(l query.Line, by query.Measure) []int64 {
	switch by {
	case query.ByPackets:
		return l.Packets
	case query.ByBytes:
		return l.Bytes
	}
	return l.Flows
}

// share prints the times in which one host had at least half of all flows, in their order;
// or the host with most flows, one row a bucket.
func (p tables) share(w io.Writer, r *query.Share) error {
	fmt.Fprintf(w, "the host with most flows, %s to %s in buckets of %s\n", p.stamp(r.From), p.stamp(r.To), stepText(r.Step, r.StepMonths))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if p.all {
		fmt.Fprintln(tw, "begin\thost\tshare\tits flows\tall flows\t")
		for i, t := range r.Start {
			fmt.Fprintf(tw, "%s\t%s\t%.1f %%\t%d\t%d\t\n", p.stamp(t), host(r.Host[i]), 100*r.Share[i], r.HostFlows[i], r.Flows[i])
		}
	} else if len(r.Spikes) > 0 {
		fmt.Fprintln(tw, "from\tto\thost\tshare\tits flows\t")
		for _, h := range r.Spikes {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%.1f %%\t%d\t\n", p.stamp(h.From), p.stamp(h.To), h.Addr, 100*h.Share, h.Flows)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(r.Spikes) == 0 && slices.Max(append(r.Flows, 0)) > 0 {
		i := 0
		for j := range r.Share {
			if r.Host[j].IsValid() && r.Share[j] > r.Share[i] {
				i = j
			}
		}
		fmt.Fprintf(w, "no host stood out: none had half of many flows%s\n", busiest(p, r, i))
	}
	if !p.all && len(r.Start) > 0 {
		fmt.Fprintf(w, "--all prints each of the %d buckets\n", len(r.Start))
	}
	p.caveats(w, &r.Provenance, slices.Max(append(r.Flows, 0)) == 0)
	return nil
}

// busiest says who had the largest share of a bucket, where anybody is known to have had one.
func busiest(p tables, r *query.Share, i int) string {
	if !r.Host[i].IsValid() {
		return ""
	}
	return fmt.Sprintf("; the largest share is %.1f %%, of %s at %s", 100*r.Share[i], r.Host[i], p.stamp(r.Start[i]))
}

// flows prints one row a flow, as nfdump does.
func (p tables) flows(w io.Writer, r *query.Flows) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "flow start\tduration\tproto\tsource\tdestination\tflags\tpackets\tbytes\texporter\t")
	for _, row := range r.Rows {
		f := flowRow(r.Columns, row)
		start, _ := f["flow_start"].(time.Time)
		end, _ := f["flow_end"].(time.Time)
		proto, _ := f["protocol"].(int64)
		flags := ""
		if n, ok := f["tcp_flags"].(int64); ok {
			flags = flow.TCPFlags(n).String()
		}
		fmt.Fprintf(tw, "%s\t%.3f\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t\n", p.milli(start), end.Sub(start).Seconds(), flow.Protocol(proto),
			endpoint(f["src_addr"], f["src_port"]), endpoint(f["dst_addr"], f["dst_port"]), flags, f["packets"], f["bytes"], text(f["exporter"]))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.Next != "" {
		fmt.Fprintf(w, "there are more: --after %s\n", r.Next)
	}
	if r.Summary != nil {
		p.printSummary(w, r.Summary)
	}
	p.caveats(w, &r.Provenance, len(r.Rows) == 0)
	return nil
}

// endpoint is an address and a port, the address alone where there is no port.
func endpoint(addr, port any) string {
	a, p := text(addr), text(port)
	switch {
	case p == "":
		return a
	case strings.Contains(a, ":"):
		return "[" + a + "]:" + p
	}
	return a + ":" + p
}

// flowRow is a flow by the names of its columns.
func flowRow(columns []string, row []any) map[string]any {
	m := make(map[string]any, len(columns))
	for i, name := range columns {
		m[name] = row[i]
	}
	return m
}

// printSummary is the line that nfdump ends with.
func (p tables) printSummary(w io.Writer, s *query.FlowsSummary) {
	fmt.Fprintf(w, "Summary: total flows: %d, total bytes: %d, total packets: %d, avg bps: %.0f, avg pps: %.0f, avg bpp: %.0f\n",
		s.Flows, s.Bytes, s.Packets, s.BPS, s.PPS, s.BPP)
	if !s.First.IsZero() {
		fmt.Fprintf(w, "Time window: %s - %s\n", p.milli(s.First), p.milli(s.Last))
	}
}

// caveats says what an answer is not: complete, or there at all.
func (p tables) caveats(w io.Writer, s *query.Provenance, empty bool) {
	switch {
	case empty && s.Stored == nil:
		fmt.Fprintln(w, "no flows: none are stored yet")
	case empty:
		fmt.Fprintf(w, "no flows; there are some, whatever the filter, from %s to %s\n", p.stamp(s.Stored.From), p.stamp(s.Stored.To))
	case !s.Growing.IsZero():
		fmt.Fprintf(w, "not complete from %s on: flows that began there may still come in\n", p.stamp(s.Growing))
	}
	printCaveats(w, s)
}

// printCaveats says what an answer is not.
func printCaveats(w io.Writer, p *query.Provenance) {
	if p.Cut != nil {
		fmt.Fprintf(w, "part of the range is gone: %s\n", p.Cut.Reason)
	}
	if p.Remainder != nil {
		fmt.Fprintf(w, "%.1f %% are in the remainder of the roll-ups: a group that is not listed may have up to %d more; --raw reads the flows\n", 100*p.Remainder.Share, p.Remainder.Error)
	}
	if p.Saturated {
		fmt.Fprintln(w, "a sum is 2^63-1, the largest there is: in truth it may be more")
	}
	if p.Scaled {
		fmt.Fprintln(w, "packets and bytes are multiplied by the sampling rate, by 1 where it is not known")
	}
}

// stepText is the length of a bucket for people.
func stepText(step time.Duration, months int) string {
	if months > 0 {
		return query.FormatStep(0, months)
	}
	return spanText(step)
}

// spanText is a length of time for people: whole days as days.
func spanText(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return query.ShortDuration(flow.Time(d.Milliseconds()))
}

// stamp writes a time to the second.
func (p tables) stamp(t time.Time) string { return t.In(p.zone).Format("2006-01-02T15:04:05Z07:00") }

// milli writes a time to the millisecond, with the zone where it is not UTC.
func (p tables) milli(t time.Time) string {
	if p.zone == time.UTC {
		return t.UTC().Format("2006-01-02 15:04:05.000")
	}
	return t.In(p.zone).Format("2006-01-02 15:04:05.000Z07:00")
}
