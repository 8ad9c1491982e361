package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Top is the groups with most of a measure, and what remains.
type Top struct {
	// From and To are the range as answered, in UTC.
	From, To time.Time
	Keys     []Key
	By       Measure
	Limit    int
	// Rows are the groups with most of By, the larger first, equal ones by key.
	Rows []TopRow
	// Other is the groups that are not listed, nil when all are.
	Other *Other
	// Total is all flows of the range, each once.
	Total Sums
	// Source is what was read, Resolution how finely its times are known.
	Source, Resolution string
	// Exact reports that nothing was estimated.
	Exact bool
	// SQL gives the same numbers in psql, Command on the command line.
	SQL, Command string
	// Took is how long the database worked.
	Took time.Duration
}

// TopRow is one group.
type TopRow struct {
	// Values has one value for each key of the question, in its order.
	Values []Value
	Label  string
	Sums
	// Share is the group's part of the total by the question's measure, 0 to
	// 1. Groups of either-side keys overlap: their shares may exceed 1 in sum.
	Share float64
}

// Other is the sum of the groups that are not listed. Where groups overlap, a
// flow counts in it once for each of its groups, as it does in the rows.
type Other struct {
	Groups int64
	Sums
}

// Top ranks the groups of a question. A question that makes no sense gives a
// *QuestionError, one that takes too long an error that wraps ErrTimeout.
func (db *DB) Top(ctx context.Context, q Question) (*Top, error) {
	c, err := q.check()
	if err != nil {
		return nil, err
	}
	if len(c.keys) == 0 {
		return nil, &QuestionError{Parameter: "key", Reason: "say what to rank, for example src-addr; keys are " + strings.ReplaceAll(JoinKeys(Keys()), ",", ", ")}
	}
	if err := c.checkLimit(MaxLimit); err != nil {
		return nil, err
	}
	began := time.Now()
	var t *Top
	err = db.ask(ctx, c.timeout, func(tx pgx.Tx) error {
		if err := c.resolve(ctx, tx); err != nil {
			return err
		}
		t, _, err = c.top(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Took = time.Since(began)
	return t, nil
}

// top executes the question; the groups are those of the rows.
func (c *question) top(ctx context.Context, tx pgx.Tx) (*Top, []*group, error) {
	var run statement
	c.topSQL(&run)
	people := statement{literal: true}
	c.topSQL(&people)
	t := &Top{
		From: c.from.Time(), To: c.to.Time(), Keys: c.keys, By: c.by, Limit: c.limit,
		Rows:   []TopRow{},
		Source: "flows", Resolution: "1 ms", Exact: true,
		SQL: people.String(), Command: "flowtally top" + c.arguments(),
	}
	rows, err := tx.Query(ctx, run.String(), append([]any{pgx.QueryExecModeExec}, run.args...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("top: %w", err)
	}
	defer rows.Close()
	var groups []*group
	for rows.Next() {
		var (
			line     string
			sums     Sums
			unlisted *int64
		)
		g, targets := c.newGroup()
		targets = append(append([]any{&line}, targets...), &sums.Flows, &sums.Packets, &sums.Bytes, &unlisted)
		if err := rows.Scan(targets...); err != nil {
			return nil, nil, fmt.Errorf("top: %w", err)
		}
		switch line {
		case "group":
			row := TopRow{Sums: sums}
			row.Values, row.Label = c.values(g)
			t.Rows = append(t.Rows, row)
			groups = append(groups, g)
		case "other":
			if *unlisted > 0 {
				t.Other = &Other{Groups: *unlisted, Sums: sums}
			}
		case "total":
			t.Total = sums
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("top: %w", err)
	}
	for i := range t.Rows {
		if total := t.Total.By(c.by); total > 0 {
			t.Rows[i].Share = float64(t.Rows[i].By(c.by)) / float64(total)
		}
	}
	c.tellApart(t.Rows, groups)
	return t, groups, nil
}

// tellApart adds their numbers to exporters of one name: those of one address
// that differ in the observation domain.
func (c *question) tellApart(rows []TopRow, groups []*group) {
	for i, k := range c.columns {
		if k.kind != kindExporter {
			continue
		}
		ids := make(map[string]int64)
		ambiguous := make(map[string]bool)
		for j, g := range groups {
			label, id := rows[j].Values[i].Label, *g.numbers[i]
			if other, ok := ids[label]; ok && other != id {
				ambiguous[label] = true
			}
			ids[label] = id
		}
		for j, g := range groups {
			if v := &rows[j].Values[i]; ambiguous[v.Label] {
				v.Label = fmt.Sprintf("%s (%d)", v.Label, *g.numbers[i])
				rows[j].Label = joinLabels(c.columns, rows[j].Values)
			}
		}
	}
}

// topSQL writes the statement. The raw flows are read once for each side; the
// groups are then ranked, and the total and the rest come from the groups.
// Sides are read one after the other, not unfolded row by row: that costs less
// than the doubled rows do, and each reading can be spread over processors.
func (c *question) topSQL(s *statement) {
	names := strings.Join(c.names(), ", ")
	sides := c.sides()
	flows := "groups" // where each flow is in once
	if len(sides) == 2 {
		flows = "sides"
	}
	s.line("with ", flows, " as (")
	for i, side := range sides {
		label := ""
		if len(sides) == 2 {
			label = fmt.Sprintf("%d as side, ", i+1)
		}
		if i > 0 {
			s.line("  union all")
		}
		s.line("  select ", label, c.named(side), ",")
		c.sums(s, "    ")
		s.line("  from flows")
		c.where(s, "  ")
		if i > 0 {
			s.line("    and ", c.otherSide())
		}
		s.line("  group by ", strings.Join(side, ", "))
	}
	if len(sides) == 2 {
		s.line("), groups as (")
		s.line("  select ", names, ", sum(flows) as flows, sum(packets) as packets, sum(bytes) as bytes")
		s.line("  from sides")
		s.line("  group by ", names)
	}
	s.line("), top as (")
	s.line("  select * from groups")
	s.line("  order by ", string(c.by), " desc, ", names)
	s.line("  limit ", s.int(c.limit))
	s.line("), answer as (")
	s.line("  select 'group' as line, ", names, ", flows, packets, bytes, null::bigint as groups from top")
	s.line("  union all")
	s.line("  select 'other', ", strings.TrimSuffix(strings.Repeat("null, ", len(c.columns)), ", "), ",")
	for _, m := range measures {
		s.line("    sum(", m, ") - coalesce((select sum(", m, ") from top), 0),")
	}
	s.line("    count(*) - (select count(*) from top) from groups")
	s.line("  union all")
	s.line("  select 'total', ", strings.TrimSuffix(strings.Repeat("null, ", len(c.columns)), ", "), ", sum(flows), sum(packets), sum(bytes), null from ", flows)
	if len(sides) == 2 {
		s.line("  where side = 1")
	}
	s.line(")")
	s.line("select line, ", c.shown(), ",")
	for _, m := range measures {
		s.line("  ", saturated(m), " as ", m, ",")
	}
	s.line("  groups")
	s.line("from answer")
	s.line("order by line, answer.", string(c.by), " desc, ", c.ordered("answer"))
}

// measures are the columns of Sums, in their order.
var measures = []string{"flows", "packets", "bytes"}

// sums adds the three measures of the range.
func (c *question) sums(s *statement, indent string) {
	if c.whole {
		s.line(indent, "count(*) as flows, sum(packets) as packets, sum(bytes) as bytes")
		return
	}
	from, to := s.time(c.from), s.time(c.to)
	s.line(indent, "count(*) filter (where flow_start >= ", from, ") as flows,")
	s.line(indent, "sum(flow_share(packets, flow_start, flow_end, ", from, ", ", to, ")) as packets,")
	s.line(indent, "sum(flow_share(bytes, flow_start, flow_end, ", from, ", ", to, ")) as bytes")
}

// ordered lists the keys' columns of a table; the answer's own columns may bear
// the same names.
func (c *question) ordered(table string) string {
	names := c.names()
	for i, n := range names {
		names[i] = table + "." + n
	}
	return strings.Join(names, ", ")
}
