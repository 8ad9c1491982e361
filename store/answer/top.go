package answer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
)

// Top ranks the groups of a question. A question that makes no sense gives a
// *query.Error, one that takes too long an error that wraps store.ErrTimeout.
func (a *Answerer) Top(ctx context.Context, q query.Question) (*query.Top, error) {
	r, err := newRequest(q)
	if err != nil {
		return nil, err
	}
	if len(r.keys) == 0 {
		return nil, &query.Error{Parameter: "key", Reason: "say what to rank, for example src-addr; keys are " + strings.ReplaceAll(query.JoinKeys(query.Keys()), ",", ", ")}
	}
	if err := r.checkLimit(query.MaxLimit); err != nil {
		return nil, err
	}
	t, took, err := ask(ctx, a, r, func(ctx context.Context, tx pgx.Tx, r request) (*query.Top, error) {
		s, err := look(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		t, err := rank(ctx, tx, r, s)
		return t.Top, err
	})
	if err != nil {
		return nil, err
	}
	t.Took = took
	return t, nil
}

// vague is the part of a sum beyond which what roll-ups may have left out of it
// is too much: then flows are read. It is for requests about one value, which is
// quickly found when it is rare.
const vague = 0.01

// ranking is a Top, with the groups of its rows and the plan that it was read by.
type ranking struct {
	*query.Top
	groups []*group
	plan   Plan
}

// rank answers a ranking, from the roll-ups where they can.
func rank(ctx context.Context, tx pgx.Tx, r request, s State) (ranking, error) {
	p := makePlan(r, s)
	t, err := top(ctx, tx, r, p)
	if err != nil || !p.remainders() || p.value.Any() || t.Cut != nil || !tooVague(t.Top, r.by) {
		return t, err
	}
	p = makePlan(r.fromFlows(), s)
	p.Why = "the value is too small for the roll-ups to tell"
	return top(ctx, tx, r, p)
}

// tooVague reports whether the remainders may hold too much of what was asked for.
func tooVague(t *query.Top, by query.Measure) bool {
	return t.Remainder != nil && float64(t.Remainder.Error) > vague*float64(t.Total.By(by))
}

// top answers a ranking by a plan.
func top(ctx context.Context, tx pgx.Tx, r request, p Plan) (ranking, error) {
	if err := prepare(ctx, tx, p); err != nil {
		return ranking{}, err
	}
	text, err := readable(reader{r, p.forReaders()}.ranking())
	if err != nil {
		return ranking{}, fmt.Errorf("top: %w", err)
	}
	t := &query.Top{
		From: p.From.Time(), To: p.To.Time(), Keys: r.keys, By: r.by, Limit: r.limit, Rows: []query.TopRow{},
		Provenance: r.provenance(p, text, r.command(commandParts{key: true, by: true, limit: true}, "top")),
	}
	execute := rankAll
	if p.remainders() && p.value.Any() && r.having == nil && r.by.Additive() {
		execute = rankByOne
	}
	groups, b, err := execute(ctx, tx, reader{r, p}, t)
	if err != nil {
		return ranking{}, err
	}
	for i := range t.Rows {
		derive(&t.Rows[i], t)
	}
	saturate(t)
	r.tellApart(t.Rows)
	if p.remainders() {
		b.apply(t, r, p)
	}
	return ranking{t, groups, p}, nil
}

// derive fills in what follows from the sums of a row.
func derive(row *query.TopRow, t *query.Top) {
	if t.By.Additive() {
		row.Share = quotient(float64(row.By(t.By)), float64(t.Total.By(t.By)))
	}
	seconds := row.LastSeen.Sub(row.FirstSeen).Seconds() // 0 where they are not known
	row.PPS, row.BPS = quotient(float64(row.Packets), seconds), quotient(8*float64(row.Bytes), seconds)
	row.BPP = quotient(float64(row.Bytes), float64(row.Packets))
}

// saturate says of an answer that holds a sum which may be more that it does.
func saturate(t *query.Top) {
	t.Saturated = t.Total.Saturated() || t.Other != nil && t.Other.Saturated() ||
		slices.ContainsFunc(t.Rows, func(r query.TopRow) bool { return r.Sums.Saturated() })
	t.Exact = t.Exact && !t.Saturated
}

// quotient is a / b, nil where b is not above 0.
func quotient(a, b float64) *float64 {
	if b <= 0 {
		return nil
	}
	q := a / b
	return &q
}

// bounds is what the roll-ups say of listed groups.
type bounds struct {
	// all is the cut of all remainders: the most that a value without a row can have in
	// them. known[i] is a non-positive correction: the part of all that group i cannot
	// account for, because it has a row there, whose own cut counts. twice is the cut of the
	// remainders of flows whose two sides are equal.
	all, twice float64
	known      []float64
	// rest is what is in remainders, next the group behind the last that is listed.
	rest, next query.Sums
	// sums are the groups', total all flows, same those whose two sides are equal.
	sums        []query.Sums
	total, same query.Sums
}

// apply says by how much the rows may be wrong, and whether the ranking can be.
func (b *bounds) apply(t *query.Top, r request, p Plan) {
	all, known := b.all, b.known
	if all == 0 && b.twice == 0 && b.rest == (query.Sums{}) && !slices.ContainsFunc(known, func(n float64) bool { return n != 0 }) {
		return
	}
	// Of a single value, each remainder beside a row of it is known, whoever it is grouped
	// with.
	if !p.value.Any() {
		open := all
		for _, n := range known {
			open += n
		}
		if all = max(0, open, b.twice); all == 0 {
			return
		}
		known = make([]float64, len(known))
	}
	t.Remainder = &query.Remainder{Error: int64(all)}
	if total := t.Total.By(r.by); total > 0 {
		t.Remainder.Share = min(1, float64(b.rest.By(r.by))/float64(total))
	}
	for i := range t.Rows {
		if t.Rows[i].Error = int64(max(0, all+known[i], b.twice)); t.Rows[i].Error > 0 {
			t.Exact = false
		}
	}
	n := len(t.Rows)
	full := n > 0 && (n == r.limit || r.having != nil)
	// Whoever is not listed cannot have more than the last who is.
	overtaken := full && float64(b.next.By(r.by))+all > float64(t.Rows[n-1].By(r.by))
	if overtaken || n < r.limit && all > 0 || !r.by.Additive() {
		t.Exact = false
	}
}

// rankAll executes the statement that people see: all measures of all groups.
func rankAll(ctx context.Context, tx pgx.Tx, r reader, t *query.Top) ([]*group, *bounds, error) {
	rows, err := run(ctx, tx, r.ranking())
	if err != nil {
		return nil, nil, fmt.Errorf("top: %w", err)
	}
	defer rows.Close()
	var (
		groups     []*group
		rest, next query.Sums
	)
	for rows.Next() {
		var (
			line          string
			sums          query.Sums
			unlisted      *int64
			first, last   *time.Time
			long, touched *float64
		)
		g, targets := r.newGroup()
		targets = append(append([]any{&line}, targets...), &sums.Flows, &sums.Packets, &sums.Bytes, &unlisted)
		if r.needsTimes() {
			targets = append(targets, &first, &last, &long, &touched)
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, nil, fmt.Errorf("top: %w", err)
		}
		switch line {
		case "group":
			row := query.TopRow{Sums: sums}
			row.Values, row.Label = r.values(g)
			if first != nil && last != nil {
				row.FirstSeen, row.LastSeen = first.UTC(), last.UTC()
			}
			if long != nil && touched != nil && *touched > 0 {
				row.Duration = time.Duration(*long / *touched * float64(time.Millisecond))
			}
			t.Rows = append(t.Rows, row)
			groups = append(groups, g)
		case "other":
			if *unlisted > 0 || sums != (query.Sums{}) {
				t.Other = &query.Other{Groups: *unlisted, Sums: sums}
			}
		case "total":
			t.Total = sums
		case "rest":
			rest = sums
		case "next":
			next = sums
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("top: %w", err)
	}
	if !r.remainders() {
		return groups, nil, nil
	}
	b, err := readListed(ctx, tx, r, groups)
	if err != nil {
		return nil, nil, err
	}
	b.rest, b.next = rest, next
	return groups, b, nil
}

// rankByOne ranks groups of roll-ups by one measure, and asks for the others of
// those that it lists.
func rankByOne(ctx context.Context, tx pgx.Tx, r reader, t *query.Top) ([]*group, *bounds, error) {
	rows, err := run(ctx, tx, r.rankingByOne())
	if err != nil {
		return nil, nil, fmt.Errorf("top: %w", err)
	}
	defer rows.Close()
	var (
		groups       []*group
		edges        = make(map[int]query.Sums)
		once, either query.Sums // of the edges: each flow once, and in each of its groups
		count        int64
		next         query.Sums
	)
	for rows.Next() {
		var (
			line string
			rank int
			sums query.Sums
		)
		g, targets := r.newGroup()
		if err := rows.Scan(append(append([]any{&line, &rank}, targets...), &sums.Flows, &sums.Packets, &sums.Bytes)...); err != nil {
			return nil, nil, fmt.Errorf("top: %w", err)
		}
		switch {
		case line == "group" && rank > r.limit:
			next = sums
		case line == "group":
			groups = append(groups, g)
		case line == "count":
			count = sums.Flows
		case line == "edge":
			edges[rank] = sums
		case line == "once":
			once = sums
		case line == "either":
			either = sums
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("top: %w", err)
	}
	b, err := readListed(ctx, tx, r, groups)
	if err != nil {
		return nil, nil, err
	}
	b.next = next
	var listed query.Sums
	for i, g := range groups {
		row := query.TopRow{Sums: b.sums[i].Plus(edges[i+1])}
		row.Values, row.Label = r.values(g)
		t.Rows = append(t.Rows, row)
		listed = listed.Plus(row.Sums)
	}
	t.Total = b.total.Plus(once)
	all := b.total.Plus(either)
	if len(r.dims) == 2 {
		all = all.Plus(b.total).Minus(b.same)
	}
	other := &query.Other{Groups: count - int64(len(groups)), Sums: all.Minus(listed)}
	if other.Groups > 0 || other.Sums != (query.Sums{}) {
		t.Other = other
	}
	return groups, b, nil
}

// readListed reads what roll-ups have of listed groups, and their remainders.
func readListed(ctx context.Context, tx pgx.Tx, r reader, groups []*group) (*bounds, error) {
	rows, err := run(ctx, tx, r.listing(groups))
	if err != nil {
		return nil, fmt.Errorf("bounds: %w", err)
	}
	b := &bounds{known: make([]float64, len(groups)), sums: make([]query.Sums, len(groups))}
	var (
		line string
		rank int
		cut  float64
		sums query.Sums
	)
	if _, err := pgx.ForEachRow(rows, []any{&line, &rank, &cut, &sums.Flows, &sums.Packets, &sums.Bytes}, func() error {
		switch line {
		case "group":
			b.known[rank-1], b.sums[rank-1] = cut, sums
		case "rest":
			b.all, b.rest = cut, sums
		case "twice":
			b.twice = cut
		case "total":
			b.total = sums
		case "same":
			b.same = sums
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("bounds: %w", err)
	}
	return b, nil
}
