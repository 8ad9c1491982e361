package answer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// flowSorts are what flows can be sorted by, as numbers that a page can begin
// after.
var flowSorts = map[string]string{
	"flow_start": "flow_start", "flow_end": "flow_end", "packets": "packets", "bytes": "bytes",
	"duration": "(flow_end - flow_start)",
}

// Flows lists the flows of a range that match, and sums them up. A flow of the
// range is listed whole; the summary is by the law of the question.
func (a *Answerer) Flows(ctx context.Context, q query.FlowsQuestion) (*query.Flows, error) {
	q.Keys, q.By, q.Having = nil, query.ByFlows, nil
	c, err := check(q.Question)
	if err != nil {
		return nil, err
	}
	if q.Limit == 0 {
		c.limit = query.DefaultFlows
	}
	if err := c.checkLimit(query.MaxLimit); err != nil {
		return nil, err
	}
	if q.Sort == "" {
		q.Sort = "flow_start"
	}
	sort, ok := flowSorts[q.Sort]
	if !ok {
		return nil, &query.Error{Parameter: "sort", Reason: fmt.Sprintf("%q is nothing to sort by: use flow_start, flow_end, packets, bytes or duration", q.Sort)}
	}
	after, skip, err := parseCursor(q.After)
	if err != nil {
		return nil, err
	}
	if err := c.lookUp(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	f := &query.Flows{Limit: c.limit, Sort: q.Sort, Ascending: q.Ascending, Columns: query.FlowColumns, Rows: [][]any{}}
	err = a.db.Ask(ctx, c.timeout, func(tx pgx.Tx) error {
		list := *c
		list.raw = true
		if err := list.resolve(ctx, tx, 0); err != nil {
			return err
		}
		f.From, f.To = list.from.Time(), list.to.Time()
		people := statement{literal: true}
		list.flowsSQL(&people, sort, q.Ascending, after, skip, "")
		f.Provenance = list.provenance("flows", people.String())
		// A list is of so many flows, ranked by nothing.
		f.Command = strings.Replace(f.Command, " --by "+string(c.by), "", 1) + fmt.Sprintf(" --sort %s --limit %d", q.Sort, c.limit)
		if q.Ascending {
			f.Command += " --ascending"
		}
		if q.After != "" {
			f.Command += " --after " + shellQuote(q.After)
		}
		if err := list.page(ctx, tx, f, sort, after, skip); err != nil {
			return err
		}
		if q.NoSummary {
			return nil
		}
		return c.summarize(ctx, tx, f)
	})
	if err != nil {
		return nil, err
	}
	f.Took = time.Since(began)
	return f, nil
}

// parseCursor reads where a page begins: behind so many rows of a value.
func parseCursor(s string) (value string, skip int, err error) {
	if s == "" {
		return "", 0, nil
	}
	wrong := &query.Error{Parameter: "after", Reason: "this is not where a page begins: take it from the page before"}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "", 0, wrong
	}
	n, value, ok := strings.Cut(string(b), " ")
	skip, err = strconv.Atoi(n)
	if _, bad := strconv.ParseInt(value, 10, 64); !ok || err != nil || skip < 1 || skip > 1_000_000_000 || bad != nil {
		return "", 0, wrong
	}
	return value, skip, nil
}

// ties put flows that are equal by what they are sorted by in an order that
// stays from page to page.
const ties = "flow_start, flow_end, batch, exporter_id, src_addr, dst_addr, src_port, dst_port, protocol, packets, bytes, in_if, out_if"

// A page that is sorted by time is looked for at its end of the range first, in
// so short a part of it, then in one so many times as long, and so on.
const (
	firstPart = 10 * flow.Second
	nextPart  = 8
)

// page reads a page. The flows of a part of the range come before all others, so
// as soon as they fill the page nothing else has to be read; what was read in
// vain is a seventh of the last part at most.
func (c *question) page(ctx context.Context, tx pgx.Tx, f *query.Flows, sort, after string, skip int) error {
	// Here flows are sorted, which is known to be right; see ask.
	if _, err := tx.Exec(ctx, "set local enable_sort = on"); err != nil {
		return fmt.Errorf("flows: %w", err)
	}
	begin := c.from
	if !f.Ascending {
		begin = c.to
	}
	if n, err := strconv.ParseInt(after, 10, 64); err == nil {
		begin = flow.Time(n)
	}
	for part := firstPart; ; part *= nextPart {
		var s statement
		within := ""
		switch byTime := sort == "flow_start" || sort == "flow_end"; {
		case byTime && !f.Ascending && begin-part > c.from:
			at := s.time(begin - part)
			within = sort + " >= " + at
			if sort == "flow_start" { // and so they end
				within += " and flow_end >= " + at
			}
		case byTime && f.Ascending && begin+part < c.to:
			within = sort + " < " + s.time(begin+part)
			if sort == "flow_start" {
				var until time.Time
				if err := tx.QueryRow(ctx, "select flows_until($1)", pgx.QueryExecModeExec, (begin + part).Time()).Scan(&until); err != nil {
					return fmt.Errorf("end of the flows: %w", err)
				}
				within += " and flow_end < " + s.time(flow.TimeOf(until))
			}
		}
		c.flowsSQL(&s, sort, f.Ascending, after, skip, within)
		if err := c.readFlows(ctx, tx, f, s); err != nil {
			return err
		}
		if within == "" || len(f.Rows) == c.limit {
			break
		}
		f.Rows = f.Rows[:0]
	}
	_, err := tx.Exec(ctx, "set local enable_sort = off")
	return err
}

// flowsSQL writes the statement of a page; within is where it is known to be,
// empty when it may be anywhere.
func (c *question) flowsSQL(s *statement, sort string, ascending bool, after string, skip int, within string) {
	order, beyond := " desc", "<="
	if ascending {
		order, beyond = "", ">="
	}
	columns := slices.Clone(query.FlowColumns)
	for i, name := range columns {
		if name == "extra" {
			columns[i] = "extra::text as extra"
		}
	}
	s.line("select ", strings.Join(columns, ", "))
	s.line("from flows")
	c.where(s, "", c.p.pieces[0])
	if within != "" {
		s.line("  and ", within)
	}
	if after != "" {
		n, _ := strconv.ParseInt(after, 10, 64)
		value := after
		switch sort {
		case "flow_start", "flow_end":
			value = s.time(flow.Time(n))
		case "(flow_end - flow_start)":
			value = "interval '" + after + " ms'"
		}
		s.line("  and ", sort, " ", beyond, " ", value)
	}
	s.line("order by ", sort, order, ", ", ties)
	offset := ""
	if skip > 0 {
		offset = " offset " + s.int(skip)
	}
	s.line("limit ", s.int(c.limit), offset)
}

func (c *question) readFlows(ctx context.Context, tx pgx.Tx, f *query.Flows, s statement) error {
	rows, err := tx.Query(ctx, s.String(), append([]any{pgx.QueryExecModeExec}, s.args...)...)
	if err != nil {
		return fmt.Errorf("flows: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return fmt.Errorf("flows: %w", err)
		}
		for i, v := range values {
			values[i] = shown(v)
			if text, ok := values[i].(string); ok && f.Columns[i] == "extra" {
				values[i] = json.RawMessage(text)
			}
		}
		f.Rows = append(f.Rows, values)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("flows: %w", err)
	}
	if len(f.Rows) == c.limit {
		last := f.SortValue(len(f.Rows) - 1)
		n := 1
		for n < len(f.Rows) && f.SortValue(len(f.Rows)-1-n) == last {
			n++
		}
		f.Next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d", n, last))
	}
	return nil
}

// shown turns what the driver makes of a value into nil, int64, string or
// time.Time.
func shown(v any) any {
	switch v := v.(type) {
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case time.Time:
		return v.UTC()
	case netip.Prefix:
		if v.IsSingleIP() {
			return v.Addr().String()
		}
		return v.String()
	case netip.Addr:
		return v.String()
	}
	return v
}

// summarize sums up all flows of the question: from the roll-ups where they can.
func (c *question) summarize(ctx context.Context, tx pgx.Tx, f *query.Flows) error {
	if err := c.resolve(ctx, tx, 0); err != nil {
		return err
	}
	f.Summary = &query.FlowsSummary{}
	if c.p.rolled() && !c.p.rest() {
		of := *c
		of.keys = []query.Key{query.KeyProtocol}
		of.columns, _ = query.Columns(of.keys)
		of.limit = 1
		t, _, err := of.top(ctx, tx)
		if err != nil {
			return err
		}
		f.Summary.Sums, f.Summary.First, f.Summary.Last = t.Total, t.From, t.To
		f.Summary.SetRates()
		return nil
	}
	of := *c
	of.raw = true
	if err := of.resolve(ctx, tx, 0); err != nil {
		return err
	}
	var s statement
	s.line("select ", saturated("flows"), ", ", saturated("packets"), ", ", saturated("bytes"), ", first, last from (")
	s.line("select min(flow_start) as first, max(flow_end) as last,")
	of.sums(&s, "  ", of.p.pieces[0])
	s.line("from flows")
	of.where(&s, "", of.p.pieces[0])
	s.line(") sums")
	var first, last *time.Time
	u := f.Summary
	if err := tx.QueryRow(ctx, s.String(), append([]any{pgx.QueryExecModeExec}, s.args...)...).Scan(&u.Flows, &u.Packets, &u.Bytes, &first, &last); err != nil {
		return fmt.Errorf("summary: %w", err)
	}
	if first != nil && last != nil {
		u.First, u.Last = first.UTC(), last.UTC()
		if !c.whole {
			u.First, u.Last = query.Later(u.First, c.from.Time()), query.Earlier(u.Last, c.to.Time())
		}
	}
	u.SetRates()
	return nil
}
