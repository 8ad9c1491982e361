package answer

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
)

// Series follows the groups of a question over time. The buckets of a range add
// up to Top's numbers for it, exactly. An automatic step is a minute or more for
// half an hour and more where roll-ups can answer.
func (a *Answerer) Series(ctx context.Context, q query.Question) (*query.Series, error) {
	r, err := newRequest(q)
	if err != nil {
		return nil, err
	}
	if err := r.checkLimit(query.MaxLines); err != nil {
		return nil, err
	}
	if r, err = r.inSlots(q.Step, q.MaxBuckets); err != nil {
		return nil, err
	}
	period, err := r.checkPeriods(q.LayOver, q.Period)
	if err != nil {
		return nil, err
	}
	s, took, err := ask(ctx, a, r, func(ctx context.Context, tx pgx.Tx, r request) (*query.Series, error) {
		return series(ctx, tx, r, q.LayOver, period)
	})
	if err != nil {
		return nil, err
	}
	s.Took = took
	return s, nil
}

// checkPeriods returns the length of the periods that are laid over the range, the range's
// own in whole days when it is 0.
func (r request) checkPeriods(n int, length time.Duration) (flow.Time, error) {
	if n < 0 || n > query.MaxLayOver {
		return 0, &query.Error{Parameter: "lay_over", Reason: fmt.Sprintf("%d is not between 0 and %d", n, query.MaxLayOver)}
	}
	period := flow.Time(length / time.Millisecond)
	if period == 0 {
		period = (r.to - r.from + flow.Day - 1).Floor(flow.Day)
	}
	if n > 0 && (length < 0 || period < r.slots.step || period%r.slots.step != 0) {
		return 0, &query.Error{Parameter: "period", Reason: fmt.Sprintf("%s is not a multiple of the step, %s", query.ShortDuration(period), query.ShortDuration(r.slots.step))}
	}
	if earliest := flow.TimeOf(query.FirstTime); n > 0 && (period > r.from || r.from-period*flow.Time(n) < earliest) {
		return 0, &query.Error{Parameter: "period", Reason: "the periods go back beyond 1970"}
	}
	return period, nil
}

// series answers a request for a series, with earlier periods beside it.
func series(ctx context.Context, tx pgx.Tx, r request, layOver int, period flow.Time) (*query.Series, error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	// The groups are ranked first, over the whole range; the buckets are then
	// made for these alone. Making them for all groups at once would hold
	// groups times buckets in memory.
	var (
		groups []*group
		ranked = new(query.Top)
	)
	if len(r.keys) > 0 {
		of := r
		of.slots = slots{}
		if ranked, groups, err = rank(ctx, tx, of, s); err != nil {
			return nil, err
		}
	}
	p, open, err := seriesPlan(ctx, tx, r, s)
	if err != nil {
		return nil, err
	}
	l, text, err := followLines(ctx, tx, r, p, groups)
	if err != nil {
		return nil, err
	}
	parts := commandParts{key: true, by: true, limit: len(r.keys) > 0, step: true}
	if layOver > 0 {
		parts.more = []string{"lay-over", strconv.Itoa(layOver), "period", query.ShortDuration(period)}
	}
	a := &query.Series{
		From: p.From.Time(), To: p.To.Time(), Step: time.Duration(r.slots.step) * time.Millisecond, Keys: r.keys, By: r.by,
		Start: r.slots.starts(), Lines: l.groups, Total: l.total, Provenance: r.provenance(p, text, r.command(parts, "series")),
	}
	a.Resolution = query.FormatResolution(r.slots.step)
	a.Saturated = l.saturated
	a.Exact = a.Exact && !l.saturated
	label(a.Lines, ranked.Rows)
	if ranked.Other != nil {
		a.Other = &l.other
	}
	if a.Remainder = ranked.Remainder; p.remainders() {
		a.Exact = a.Exact && a.Remainder == nil && open == nil
		a.Remainder = cmp.Or(open, a.Remainder)
	}
	for i := range layOver {
		if err := addPrevious(ctx, tx, r, p, a, groups, ranked.Rows, period*flow.Time(i+1)); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// label gives lines the names of the groups that they are of.
func label(lines []query.Line, rows []query.TopRow) {
	for i, row := range rows {
		lines[i].Label, lines[i].Values = row.Label, row.Values
	}
}

// seriesPlan is the plan of a series: of a single value, of which remainders may have a
// part, from flows where that may be too much; else open is what they leave open.
func seriesPlan(ctx context.Context, tx pgx.Tx, r request, s State) (p Plan, open *query.Remainder, err error) {
	p = makePlan(r, s)
	if p.value.Any() || !p.remainders() {
		return p, nil, nil
	}
	// The buckets may be others than those of a ranking.
	t, _, err := top(ctx, tx, r.keyed(query.KeyProtocol), p)
	if err != nil {
		return p, nil, err
	}
	if tooVague(t, r.by) {
		return makePlan(r.fromFlows(), s), t.Remainder, nil
	}
	return p, t.Remainder, nil
}

// addPrevious adds the period that lies so much before.
func addPrevious(ctx context.Context, tx pgx.Tx, r request, now Plan, a *query.Series, groups []*group, rows []query.TopRow, offset flow.Time) error {
	was := r.earlier(offset)
	if !now.value.Any() && !now.rolled() {
		was = was.fromFlows() // to compare with
	}
	s, err := look(ctx, tx, was)
	if err != nil {
		return err
	}
	p := makePlan(was, s)
	l, _, err := followLines(ctx, tx, was, p, groups)
	if err != nil {
		return err
	}
	label(l.groups, rows)
	a.Previous = append(a.Previous, query.Previous{Offset: time.Duration(offset) * time.Millisecond, Total: l.total, Lines: l.groups, Cut: p.Cut})
	a.Exact = a.Exact && (!p.remainders() || a.Remainder == nil)
	return nil
}

// lines are the sums of listed groups, the others and all by slot.
type lines struct {
	groups       []query.Line
	other, total query.Line
	saturated    bool
}

// followLines sums the listed groups, the others and all by slot. text is the statement
// for people.
func followLines(ctx context.Context, tx pgx.Tx, r request, p Plan, groups []*group) (l lines, text string, err error) {
	if err := prepare(ctx, tx, p); err != nil {
		return l, "", err
	}
	n := r.slots.count()
	l = lines{total: query.NewLine("total", n), other: query.NewLine("other", n), groups: make([]query.Line, len(groups))}
	for i := range l.groups {
		l.groups[i] = query.NewLine("", n)
	}
	if text, err = readable(reader{r, p.forReaders()}.seriesLines(groups)); err != nil {
		return l, "", fmt.Errorf("series: %w", err)
	}
	rows, err := run(ctx, tx, reader{r, p}.seriesLines(groups))
	if err != nil {
		return l, "", fmt.Errorf("series: %w", err)
	}
	var (
		line   string
		bucket time.Time
		rank   *int
		sums   query.Sums
	)
	_, keys := r.newGroup()
	targets := append(append([]any{&bucket, &line, &rank}, keys...), &sums.Flows, &sums.Packets, &sums.Bytes)
	_, err = pgx.ForEachRow(rows, targets, func() error {
		i, ok := r.slots.index(flow.TimeOf(bucket))
		if !ok {
			return outside(bucket)
		}
		l.saturated = l.saturated || sums.Saturated()
		switch line {
		case "total":
			l.total.Set(i, sums)
		case "other":
			l.other.Set(i, sums)
		case "group":
			l.groups[*rank-1].Set(i, sums)
		}
		return nil
	})
	if err != nil {
		return l, "", fmt.Errorf("series: %w", err)
	}
	return l, text, nil
}
