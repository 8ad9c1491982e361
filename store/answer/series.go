package answer

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/calendar"
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
	if r, err = r.inSlots(q.Step, q.StepMonths, q.MaxBuckets); err != nil {
		return nil, err
	}
	period, err := r.checkPeriods(q.LayOver, q.Period, q.PeriodMonths)
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

// checkPeriods returns the period that is laid over the range several times: when none is
// given the range's own length in whole days, or in as many months as its slots have.
func (r request) checkPeriods(n int, length time.Duration, months int) (calendar.Period, error) {
	if n < 0 || n > query.MaxLayOver {
		return calendar.Period{}, &query.Error{Parameter: "lay_over", Reason: fmt.Sprintf("%d is not between 0 and %d", n, query.MaxLayOver)}
	}
	if n == 0 {
		return calendar.Period{}, nil
	}
	period, step := flow.Time(length/time.Millisecond), query.FormatStep(r.slots.step, r.slots.months)
	switch {
	case months == 0 && period == 0 && r.slots.months > 0:
		months = r.slots.count() * r.slots.months
	case months == 0 && period == 0:
		period = (r.onClock(r.to) - r.onClock(r.from) + flow.Day - 1).Floor(flow.Day)
	}
	var fits bool
	switch {
	case period < 0 || months < 0 || period > 0 && months > 0:
	case r.slots.months > 0:
		fits = months > 0 && months%r.slots.months == 0
	case months > 0:
		fits = r.slots.step <= 28*flow.Day
	default:
		fits = period >= r.slots.step && period%r.slots.step == 0
	}
	if !fits {
		return calendar.Period{}, &query.Error{Parameter: "period", Reason: fmt.Sprintf("%s is not a multiple of the step, %s", query.FormatStep(period, months), step)}
	}
	p := calendar.Period{Months: months, Days: int(period / flow.Day), Rest: time.Duration(period%flow.Day) * time.Millisecond}
	if shifted(r.from, p.Times(n), r.zone) < flow.TimeOf(query.FirstTime) {
		return p, &query.Error{Parameter: "period", Reason: "the periods go back beyond 1970"}
	}
	return p, nil
}

// onClock is what the clock of the zone shows at a time.
func (r request) onClock(at flow.Time) flow.Time {
	return flow.TimeOf(calendar.Wall(at.Time(), r.zone))
}

// series answers a request for a series, with earlier periods beside it.
func series(ctx context.Context, tx pgx.Tx, r request, layOver int, period calendar.Period) (*query.Series, error) {
	s, err := look(ctx, tx, r)
	if err != nil {
		return nil, err
	}
	// The groups are ranked first, over the whole range; the buckets are then
	// made for these alone. Making them for all groups at once would hold
	// groups times buckets in memory.
	ranked := ranking{Top: new(query.Top)}
	if len(r.keys) > 0 {
		of := r
		of.slots = slots{}
		if ranked, err = rank(ctx, tx, of, s); err != nil {
			return nil, err
		}
	}
	p, open, err := seriesPlan(ctx, tx, r, s)
	if err != nil {
		return nil, err
	}
	l, text, err := followLines(ctx, tx, r, p, ranked.groups)
	if err != nil {
		return nil, err
	}
	parts := commandParts{key: true, by: true, limit: len(r.keys) > 0, step: true}
	if layOver > 0 {
		parts.more = []string{"lay-over", strconv.Itoa(layOver), "period", formatPeriod(period)}
	}
	a := &query.Series{
		From: p.From.Time(), To: p.To.Time(), Step: time.Duration(r.slots.step) * time.Millisecond, StepMonths: r.slots.months, Keys: r.keys, By: r.by,
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
		if err := addPrevious(ctx, tx, r, p, a, ranked.groups, ranked.Rows, period.Times(i+1)); err != nil {
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
	t, err := top(ctx, tx, r.keyed(query.KeyProtocol), p)
	if err != nil {
		return p, nil, err
	}
	if tooVague(t.Top, r.by) {
		return makePlan(r.fromFlows(), s), t.Remainder, nil
	}
	return p, t.Remainder, nil
}

// formatPeriod writes a period as it is asked for.
func formatPeriod(p calendar.Period) string {
	return query.FormatStep(flow.Time(p.Days)*flow.Day+flow.Time(p.Rest/time.Millisecond), p.Months)
}

// addPrevious adds the period that lies so much before.
func addPrevious(ctx context.Context, tx pgx.Tx, r request, now Plan, a *query.Series, groups []*group, rows []query.TopRow, period calendar.Period) error {
	was := r.earlier(period)
	offset := time.Duration(r.onClock(r.slots.first)-r.onClock(was.slots.first)) * time.Millisecond
	if was.from >= was.to { // of a day that there was not
		l := was.noLines(len(groups))
		label(l.groups, rows)
		a.Previous = append(a.Previous, query.Previous{Offset: offset, Total: l.total, Lines: l.groups})
		return nil
	}
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
	a.Previous = append(a.Previous, query.Previous{Offset: offset, Total: l.total, Lines: l.groups, Cut: p.Cut})
	a.Exact = a.Exact && (!p.remainders() || a.Remainder == nil)
	return nil
}

// lines are the sums of listed groups, the others and all by slot.
type lines struct {
	groups       []query.Line
	other, total query.Line
	saturated    bool
}

// noLines are lines without any sums.
func (r request) noLines(groups int) lines {
	n := r.slots.count()
	l := lines{total: query.NewLine("total", n), other: query.NewLine("other", n), groups: make([]query.Line, groups)}
	for i := range l.groups {
		l.groups[i] = query.NewLine("", n)
	}
	return l
}

// followLines sums the listed groups, the others and all by slot. text is the statement
// for people.
func followLines(ctx context.Context, tx pgx.Tx, r request, p Plan, groups []*group) (l lines, text string, err error) {
	if err := prepare(ctx, tx, p); err != nil {
		return l, "", err
	}
	l = r.noLines(len(groups))
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
