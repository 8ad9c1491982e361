package answer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// eventTies put events of one millisecond in an order that stays from page to page.
const eventTies = "received_at, batch, exporter_id, firewall_event, nat_event, protocol, src_addr, src_port, dst_addr, dst_port, " +
	"nat_src_addr, nat_src_port, nat_dst_addr, nat_dst_port, block_first, block_last, icmp_type, icmp_code, in_if, out_if, user_name, marks, extra::text"

// eventPage is which of the events are listed.
type eventPage struct {
	request
	ascending bool
	// begin and skip are where the page begins: behind so many events of a millisecond;
	// skip is 0 for the first page.
	begin flow.Time
	skip  int
}

// Events lists the events of a range that match.
func (a *Answerer) Events(ctx context.Context, q query.EventsQuestion) (*query.Events, error) {
	r, err := newRequest(query.Question{From: q.From, To: q.To, Exporter: q.Exporter, Filter: q.Filter, Limit: q.Limit, Zone: q.Zone, Timeout: q.Timeout})
	if err != nil {
		return nil, err
	}
	if q.Limit == 0 {
		r.limit = query.DefaultFlows
	}
	if err := r.checkLimit(query.MaxLimit); err != nil {
		return nil, err
	}
	after, skip, err := parseCursor(q.After)
	if err != nil {
		return nil, err
	}
	p := eventPage{ascending: q.Ascending, begin: r.to, skip: skip}
	if q.Ascending {
		p.begin = r.from
	}
	if skip > 0 {
		n, _ := strconv.ParseInt(after, 10, 64)
		p.begin = flow.Time(n)
	}
	e, took, err := ask(ctx, a, r, func(ctx context.Context, tx pgx.Tx, r request) (*query.Events, error) {
		p.request = r
		return p.read(ctx, tx, q.After)
	})
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	e.Took = took
	return e, nil
}

// read answers a request for a page of events.
func (p eventPage) read(ctx context.Context, tx pgx.Tx, after string) (*query.Events, error) {
	text, err := readable(p.list(nil))
	if err != nil {
		return nil, err
	}
	more := []string{"limit", strconv.Itoa(p.limit)}
	if after != "" {
		more = append(more, "after", after)
	}
	e := &query.Events{
		From: p.from.Time(), To: p.to.Time(), Limit: p.limit, Ascending: p.ascending, Columns: query.EventColumns, Rows: [][]any{},
		Provenance: query.Provenance{
			Filter: p.filter.String(), Source: "events", Resolution: "1 ms", Exact: true, Plan: "the events themselves", SQL: text,
			Command: p.command(commandParts{more: more, ascending: p.ascending}, "events"),
		},
	}
	if e.Cut, err = p.cut(ctx, tx); err != nil {
		return nil, err
	}
	// Here rows are sorted, which is known to be right; see store.DB.Ask.
	if _, err := tx.Exec(ctx, "set local enable_sort = on"); err != nil {
		return nil, err
	}
	// As with flows, the end of the range is read first, then a longer part of it.
	for part := firstPart; ; part *= nextPart {
		within := p.part(part)
		e.Rows = e.Rows[:0]
		if e.Rows, err = readRows(ctx, tx, p.list(within), e.Columns, e.Rows); err != nil {
			return nil, err
		}
		if within == nil || len(e.Rows) == p.limit {
			break
		}
	}
	if n := len(e.Rows); n == p.limit {
		last := flow.TimeOf(e.Time(n - 1))
		same := 1
		for same < n && flow.TimeOf(e.Time(n-1-same)) == last {
			same++
		}
		if same == n && p.skip > 0 && last == p.begin {
			same += p.skip
		}
		e.Next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d", same, int64(last)))
	}
	return e, nil
}

// part is the condition of a part of the range, from where the page begins; nil for all of
// it.
func (p eventPage) part(length flow.Time) []expression {
	switch {
	case !p.ascending && p.begin-length > p.from:
		return []expression{sql("time >= ", value{p.begin - length})}
	case p.ascending && p.begin+length < p.to:
		return []expression{sql("time < ", value{p.begin + length})}
	}
	return nil
}

// list is the statement of a page.
func (p eventPage) list(within []expression) statement {
	columns := columnsOf(query.EventColumns...)
	columns[slices.Index(query.EventColumns, "extra")] = named("extra::text", "extra")
	var where []expression
	if !p.filter.Any() {
		where = append(where, condition(p.filter))
	}
	where = append(where, sql("time >= ", value{p.from}, " and time < ", value{p.to}))
	where = append(append(where, within...), p.ofExporters()...)
	order, beyond := " desc", " <= "
	if p.ascending {
		order, beyond = "", " >= "
	}
	s := &selection{columns: columns, from: table("events"), where: where, orderBy: []string{"time" + order, eventTies}, limit: sql(value{p.limit})}
	if p.skip > 0 {
		s.where = append(s.where, sql("time"+beyond, value{p.begin}))
		s.offset = sql(value{p.skip})
	}
	return s
}

// cut says that the range begins before what is kept of events.
func (p eventPage) cut(ctx context.Context, tx pgx.Tx) (*query.Cut, error) {
	var before *time.Time
	err := tx.QueryRow(ctx, "select cut_before from parts.reach where source = 'events'").Scan(&before)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if before == nil || !p.from.Time().Before(*before) {
		return nil, nil
	}
	return &query.Cut{From: before.UTC(), Reason: "events before " + before.UTC().Format("2006-01-02 15:04") + " UTC were removed by age or by size"}, nil
}
