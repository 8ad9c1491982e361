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

// page is which of the flows are listed.
type page struct {
	sort      string // SQL
	ascending bool
	// after and skip are where the page begins: behind so many rows of a value. At the
	// first page after is empty.
	after string
	skip  int
}

// Flows lists the flows of a range that match, and sums them up. A flow of the
// range is listed whole; the summary is by the law of the question.
func (a *Answerer) Flows(ctx context.Context, q query.FlowsQuestion) (*query.Flows, error) {
	q.Keys, q.By, q.Having = nil, query.ByFlows, nil
	r, err := newRequest(q.Question)
	if err != nil {
		return nil, err
	}
	if q.Limit == 0 {
		r.limit = query.DefaultFlows
	}
	if err := r.checkLimit(query.MaxLimit); err != nil {
		return nil, err
	}
	if q.Sort == "" {
		q.Sort = "flow_start"
	}
	g := page{ascending: q.Ascending}
	var ok bool
	if g.sort, ok = flowSorts[q.Sort]; !ok {
		return nil, &query.Error{Parameter: "sort", Reason: fmt.Sprintf("%q is nothing to sort by: use flow_start, flow_end, packets, bytes or duration", q.Sort)}
	}
	if g.after, g.skip, err = parseCursor(q.After); err != nil {
		return nil, err
	}
	f, took, err := ask(ctx, a, r, func(ctx context.Context, tx pgx.Tx, r request) (*query.Flows, error) {
		return flows(ctx, tx, r, q, g)
	})
	if err != nil {
		return nil, err
	}
	f.Took = took
	return f, nil
}

// flows answers a request for a page of flows.
func flows(ctx context.Context, tx pgx.Tx, r request, q query.FlowsQuestion, g page) (*query.Flows, error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	p := makePlan(r.fromFlows(), s)
	if err := prepare(ctx, tx, p); err != nil {
		return nil, err
	}
	text, err := readable(reader{r, p}.list(g, nil))
	if err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	more := []string{"sort", q.Sort, "limit", strconv.Itoa(r.limit)}
	if q.After != "" {
		more = append(more, "after", q.After)
	}
	f := &query.Flows{
		From: p.From.Time(), To: p.To.Time(), Limit: r.limit, Sort: q.Sort, Ascending: q.Ascending, Columns: query.FlowColumns, Rows: [][]any{},
		Provenance: r.fromFlows().provenance(p, text, r.fromFlows().command(commandParts{more: more, ascending: q.Ascending}, "flows")),
	}
	if err := readPage(ctx, tx, reader{r, p}, f, g); err != nil {
		return nil, fmt.Errorf("flows: %w", err)
	}
	if !q.NoSummary {
		if f.Summary, err = summarize(ctx, tx, r, s); err != nil {
			return nil, err
		}
	}
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

// ties put flows that are equal by what they are sorted by in an order that stays from page
// to page: those that are equal by all of it are the same to whoever looks.
const ties = "flow_start, flow_end, batch, exporter_id, src_addr, dst_addr, src_port, dst_port, protocol, packets, bytes, in_if, out_if, " +
	"received_at, tcp_flags, tos, vlan, icmp_type, icmp_code, src_as, dst_as, next_hop, src_mask, dst_mask, end_reason, direction, marks, sampling_rate, extra::text"

// A page that is sorted by time is looked for at its end of the range first, in
// so short a part of it, then in one so many times as long, and so on.
const (
	firstPart = 10 * flow.Second
	nextPart  = 8
)

// readPage reads a page. The flows of a part of the range come before all others, so
// as soon as they fill the page nothing else has to be read; what was read in
// vain is a seventh of the last part at most.
func readPage(ctx context.Context, tx pgx.Tx, r reader, f *query.Flows, g page) error {
	// Here flows are sorted, which is known to be right; see store.DB.Ask.
	if _, err := tx.Exec(ctx, "set local enable_sort = on"); err != nil {
		return err
	}
	begin := r.from
	if !g.ascending {
		begin = r.to
	}
	if n, err := strconv.ParseInt(g.after, 10, 64); err == nil {
		begin = flow.Time(n)
	}
	for part := firstPart; ; part *= nextPart {
		within, err := r.partOf(ctx, tx, g, begin, part)
		if err != nil {
			return err
		}
		f.Rows = f.Rows[:0]
		if f.Rows, err = readRows(ctx, tx, r.list(g, within), f.Columns, f.Rows); err != nil {
			return err
		}
		if within == nil || len(f.Rows) == r.limit {
			break
		}
	}
	if len(f.Rows) == r.limit {
		f.Next = g.behind(f)
	}
	_, err := tx.Exec(ctx, "set local enable_sort = off")
	return err
}

// partOf is the condition of a part of the range, from where a page begins; nil for all of
// it.
func (r reader) partOf(ctx context.Context, tx pgx.Tx, g page, begin, length flow.Time) ([]expression, error) {
	byTime := g.sort == "flow_start" || g.sort == "flow_end"
	switch {
	case byTime && !g.ascending && begin-length > r.from:
		at := value{begin - length}
		within := []expression{sql(g.sort+" >= ", at)}
		if g.sort == "flow_start" { // and so they end
			within = append(within, sql("flow_end >= ", at))
		}
		return within, nil
	case byTime && g.ascending && begin+length < r.to:
		within := []expression{sql(g.sort+" < ", value{begin + length})}
		if g.sort == "flow_start" {
			var until time.Time
			if err := tx.QueryRow(ctx, "select flows_until($1)", pgx.QueryExecModeExec, (begin + length).Time()).Scan(&until); err != nil {
				return nil, fmt.Errorf("end of the flows: %w", err)
			}
			within = append(within, sql("flow_end < ", value{flow.TimeOf(until)}))
		}
		return within, nil
	}
	return nil, nil
}

// list is the statement of a page; within is where it is known to be, nil when it may be
// anywhere.
func (r reader) list(g page, within []expression) statement {
	columns := columnsOf(query.FlowColumns...)
	for i, name := range query.FlowColumns {
		if name == "extra" {
			columns[i] = named("extra::text", "extra")
		}
	}
	order, beyond := " desc", " <= "
	if g.ascending {
		order, beyond = "", " >= "
	}
	s := &selection{columns: columns, from: table("flows"), where: append(r.flowConditions(r.Segments[0]), within...), orderBy: []string{g.sort + order, ties}, limit: sql(value{r.limit})}
	if g.after != "" {
		n, _ := strconv.ParseInt(g.after, 10, 64)
		begin := sql(g.after)
		switch g.sort {
		case "flow_start", "flow_end":
			begin = sql(value{flow.Time(n)})
		case flowSorts["duration"]:
			begin = sql("interval '" + g.after + " ms'")
		}
		s.where = append(s.where, sql(g.sort+beyond, begin))
		s.offset = sql(value{g.skip})
	}
	return s
}

// readRows adds the rows of a statement, of such columns, to a list.
func readRows(ctx context.Context, tx pgx.Tx, s statement, columns []string, list [][]any) ([][]any, error) {
	rows, err := run(ctx, tx, s)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			values[i] = plainValue(v)
			if text, ok := values[i].(string); ok && columns[i] == "extra" {
				values[i] = json.RawMessage(text)
			}
		}
		list = append(list, values)
	}
	return list, rows.Err()
}

// behind is where the page after a full one begins: behind the rows at its end that are
// equal by what flows are sorted by, and those before them on earlier pages.
func (g page) behind(f *query.Flows) string {
	last := f.SortValue(len(f.Rows) - 1)
	n := 1
	for n < len(f.Rows) && f.SortValue(len(f.Rows)-1-n) == last {
		n++
	}
	if n == len(f.Rows) && g.after == strconv.FormatInt(last, 10) {
		n += g.skip
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d", n, last))
}

// plainValue turns what the driver makes of a value into nil, int64, string or
// time.Time.
func plainValue(v any) any {
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

// summarize sums up all flows of a request: from the roll-ups where they can.
func summarize(ctx context.Context, tx pgx.Tx, r request, s State) (*query.FlowsSummary, error) {
	p := makePlan(r, s)
	if p.rolled() && !p.remainders() {
		of := r.keyed(query.KeyProtocol)
		of.limit = 1
		t, err := top(ctx, tx, of, p)
		if err != nil {
			return nil, err
		}
		sum := &query.FlowsSummary{Sums: t.Total, First: t.From, Last: t.To}
		sum.SetRates()
		return sum, nil
	}
	p = makePlan(r.fromFlows(), s)
	if err := prepare(ctx, tx, p); err != nil {
		return nil, err
	}
	f := reader{r, p}
	sums := &selection{
		columns: all([]column{named("min(flow_start)", "first"), named("max(flow_end)", "last")}, f.flowSums(p.Segments[0])),
		from:    table("flows"), where: f.flowConditions(p.Segments[0]),
	}
	rows, err := run(ctx, tx, &selection{columns: append(saturatedOf(func(m string) string { return m }), columnsOf("first", "last")...), from: derived{sums, "sums"}})
	if err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	sum, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (*query.FlowsSummary, error) {
		var (
			u           query.FlowsSummary
			first, last *time.Time
		)
		err := row.Scan(&u.Flows, &u.Packets, &u.Bytes, &first, &last)
		if first != nil && last != nil {
			u.First, u.Last = first.UTC(), last.UTC()
			if !r.whole {
				u.First, u.Last = slices.MaxFunc([]time.Time{u.First, r.from.Time()}, time.Time.Compare), slices.MinFunc([]time.Time{u.Last, r.to.Time()}, time.Time.Compare)
			}
		}
		return &u, err
	})
	if err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	sum.SetRates()
	return sum, nil
}
