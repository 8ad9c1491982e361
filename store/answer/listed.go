package answer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
	"flowtally/store/rollup"
)

// A ranking from roll-ups is made in two statements. The first groups all rows
// by one measure, the one that ranks. The second reads the rows of the few
// values that it lists, by the indexes that these have: their other measures,
// and how far the remainders leave them open. The total has rows of its own, and
// with it the sum of those that are not listed is known.

// bounds is what the roll-ups say of listed groups.
type bounds struct {
	// all is the cut of all remainders: the most that a value without a row can
	// have in them. known is what of it each group cannot have, below zero: it has
	// a row there, whose own cut counts. twice is the cut of the remainders of
	// flows whose two sides are equal.
	all, twice float64
	known      []float64
	// rest is what is in remainders, next the group behind the last that is
	// listed.
	rest, next query.Sums
	// sums are the groups', total all flows, same those whose two sides are equal.
	sums        []query.Sums
	total, same query.Sums
}

// rankOne ranks groups of roll-ups by one measure, and asks for the others of
// those that it lists.
func (c *question) rankOne(ctx context.Context, tx pgx.Tx, t *query.Top) ([]*group, *bounds, error) {
	var s statement
	c.rankSQL(&s)
	rows, err := tx.Query(ctx, s.String(), append([]any{pgx.QueryExecModeExec}, s.args...)...)
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
		g, targets := c.newGroup()
		if err := rows.Scan(append(append([]any{&line, &rank}, targets...), &sums.Flows, &sums.Packets, &sums.Bytes)...); err != nil {
			return nil, nil, fmt.Errorf("top: %w", err)
		}
		switch {
		case line == "group" && rank > c.limit:
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
	b, err := c.ofListed(ctx, tx, groups)
	if err != nil {
		return nil, nil, err
	}
	b.next = next
	var listed query.Sums
	for i, g := range groups {
		row := query.TopRow{Sums: b.sums[i].Plus(edges[i+1])}
		row.Values, row.Label = c.values(g)
		t.Rows = append(t.Rows, row)
		listed = listed.Plus(row.Sums)
	}
	t.Total = b.total.Plus(once)
	all := b.total.Plus(either)
	if len(c.p.dims) == 2 {
		all = all.Plus(b.total).Minus(b.same)
	}
	other := &query.Other{Groups: count - int64(len(groups)), Sums: all.Minus(listed)}
	if other.Groups > 0 || other.Sums != (query.Sums{}) {
		t.Other = other
	}
	return groups, b, nil
}

// rankSQL writes the statement that ranks groups by one measure, with one more
// than are listed; and what the flows that are read beside roll-ups, at the edges
// of the range, are of these groups and altogether.
func (c *question) rankSQL(s *statement) {
	names := strings.Join(c.names(), ", ")
	sides := c.sides()
	edges := slices.ContainsFunc(c.p.pieces, func(p piece) bool { return p.source == raw })
	begun := false
	union := func() {
		if begun {
			s.line("  union all")
		}
		begun = true
	}
	s.line("with ")
	if edges {
		s.line("edges as materialized (")
		for _, p := range c.p.pieces {
			for i := range sides {
				if p.source == raw {
					union()
					c.read(s, p, i)
				}
			}
		}
		s.line("),")
	}
	s.line("groups as (")
	s.line("  select ", names, ", sum(", string(c.by), ") as ", string(c.by), " from (")
	begun = false
	value := func(sign string) string {
		v := sign + string(c.by)
		if c.scaled && c.by != query.ByFlows {
			v += " * coalesce(sampling_rate, 1)::numeric"
		}
		return v + " as " + string(c.by)
	}
	for i, dim := range c.p.dims {
		union()
		c.only(dim).rolled(s, "  ", "select "+c.named(sides[i])+", "+value(""), false)
	}
	if c.p.same != 0 {
		union()
		c.only(c.p.same).rolled(s, "  ", "select "+c.named(sides[0])+", "+value("-"), false)
	}
	if edges {
		union()
		s.line("  select ", names, ", ", string(c.by), " from edges")
	}
	s.line("  ) piece")
	s.line("  group by ", names)
	s.line("), top as (")
	s.line("  select row_number() over (order by ", rankedBy(c.by, ""), ", ", names, ") as rank, * from (")
	s.line("    select * from groups order by ", rankedBy(c.by, ""), ", ", names, " limit ", s.int(c.limit+1), ") most")
	s.line(")")
	s.line("select 'group' as line, rank, ", c.shown())
	for _, m := range query.Measures {
		if m == string(c.by) {
			m = saturated(m)
		} else {
			m = "0::bigint"
		}
		s.line("  , ", m)
	}
	s.line("from top")
	s.line("union all")
	s.line("select 'count', 0, ", c.nulls(), ", count(*), 0, 0 from groups")
	if edges {
		where := ""
		if len(sides) == 2 {
			where = " where side = 1"
		}
		for _, of := range [][2]string{{"once", where}, {"either", ""}} {
			s.line("union all")
			s.line("select '", of[0], "', 0, ", c.nulls())
			c.saturatedSums(s, "edges")
			s.line("from edges", of[1])
		}
		var same []string
		for _, k := range c.columns {
			nobody := "-1"
			if k.Kind == query.KindAddr {
				nobody = "'0.0.0.0/0'"
			}
			name := k.Grouped()
			same = append(same, "coalesce(edges."+name+", "+nobody+") = coalesce(top."+name+", "+nobody+")")
		}
		s.line("union all")
		s.line("select 'edge', rank, ", c.nulls())
		c.saturatedSums(s, "edges")
		s.line("from top join edges on ", strings.Join(same, " and "), " where rank <= ", s.int(c.limit))
		s.line("group by rank")
	}
	s.line("order by line, rank")
}

// saturatedSums adds the sums of a table's measures to a list.
func (c *question) saturatedSums(s *statement, table string) {
	for _, m := range query.Measures {
		s.line("  , ", saturated("sum("+table+"."+m+")"))
	}
}

// among is the condition that a row of one side is of a listed group, or of some
// of its values: what the indexes find, the rest is for joinTop.
func (c *question) among(side []string, groups []*group) string {
	conditions := make([]string, len(side))
	for i, k := range c.columns {
		var list []string
		null := ""
		for _, g := range groups {
			switch {
			case k.Kind == query.KindAddr && g.texts[i] != nil:
				list = append(list, strings.ReplaceAll(*g.texts[i], "'", "''"))
			case k.Kind != query.KindAddr && g.numbers[i] != nil:
				list = append(list, strconv.FormatInt(*g.numbers[i], 10))
			default:
				null = " or " + side[i] + " is null"
			}
		}
		slices.Sort(list)
		conditions[i] = "(" + side[i] + " = any('{" + strings.Join(slices.Compact(list), ",") + "}'::" + sqlType(k) + "[])" + null + ")"
	}
	return "and " + strings.Join(conditions, " and ")
}

// ofListed reads what roll-ups have of listed groups, and their remainders. With
// a value in the filter, total and same mean nothing.
//
// A value that has no row in a bucket and cell has there at most the remainder's
// cut; one that has a row, at most that row's own cut more than it says.
func (c *question) ofListed(ctx context.Context, tx pgx.Tx, groups []*group) (*bounds, error) {
	var s statement
	c.listedSQL(&s, groups)
	rows, err := tx.Query(ctx, s.String(), append([]any{pgx.QueryExecModeExec}, s.args...)...)
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

// listedSQL writes the statement of ofListed.
func (c *question) listedSQL(s *statement, groups []*group) {
	cut := "cut[" + strconv.Itoa(c.by.BoundIndex()) + "]::numeric"
	if c.scaled && c.by.BoundIndex() > 1 {
		cut += " * coalesce(sampling_rate, 1)"
	}
	const place = "bucket, part, exporter_id as of_exporter, sampling_rate as of_rate, protocol as of_protocol"
	s.line("with places as (")
	c.rolled(s, "  ", "select "+place+", dimension, "+c.rolledValues("")+", "+cut+" as cut", true)
	s.line(")")
	s.line("select 'rest' as line, 0 as rank, coalesce(sum(cut), 0)::float8 as cut")
	c.saturatedSums(s, "places")
	s.line("from places")
	reading := func(line, cut string, dim rollup.Dimension, columns string) {
		s.line("union all")
		s.line("select '", line, "', 0, ", cut)
		c.saturatedSums(s, "all_of")
		s.line("from (")
		c.only(dim).rolled(s, "  ", columns, true)
		s.line(") all_of")
	}
	if c.p.same != 0 {
		// What the two sides have twice may be in that remainder.
		reading("twice", "coalesce(sum(cut), 0)::float8", c.p.same, "select "+c.rolledValues("")+", "+cut+" as cut")
	}
	if c.p.value.Any() {
		if c.p.same != 0 {
			reading("same", "0::float8", c.p.same, "select "+c.rolledValues(""))
		}
		reading("total", "0::float8", rollup.DimTotal, "select "+c.rolledValues(""))
	}
	if len(groups) == 0 {
		return
	}
	list := make([]string, len(groups))
	for i, g := range groups {
		list[i] = "(" + strconv.Itoa(i+1) + c.literals(g) + ")"
	}
	s.line("union all")
	s.line("select 'group', rank, coalesce(sum(row.own), 0)::float8 - coalesce(sum(places.cut), 0)::float8")
	c.saturatedSums(s, "row")
	s.line("from (values ", strings.Join(list, ", "), ") top (rank, ", strings.Join(c.names(), ", "), ")")
	s.line("join (")
	for i, dim := range c.p.dims {
		side := c.sideOf(i)
		if i > 0 {
			s.line("  union all")
		}
		c.only(dim).rolled(s, "  ", "select "+place+", dimension, "+c.named(side)+", "+c.rolledValues("")+", "+cut+" as own", false, c.among(side, groups))
	}
	if side := c.sides()[0]; c.p.same != 0 && c.p.value.Any() {
		s.line("  union all")
		c.only(c.p.same).rolled(s, "  ", "select "+place+", dimension, "+c.named(side)+", "+c.rolledValues("-")+", 0 as own", false, c.among(side, groups))
	}
	s.line(") row on ", strings.ReplaceAll(c.joinTop(c.names(), groups), "flow.", "row."))
	s.line("left join places on places.dimension = row.dimension and places.bucket = row.bucket and coalesce(places.part, 0) = coalesce(row.part, 0)")
	s.line("  and places.of_exporter = row.of_exporter and coalesce(places.of_rate, 0) = coalesce(row.of_rate, 0) and places.of_protocol = row.of_protocol")
	s.line("group by rank")
}

// bound says by how much the rows may be wrong, and whether the ranking can be.
func (c *question) bound(t *query.Top, b *bounds) {
	all, known := b.all, b.known
	if all == 0 && b.twice == 0 && b.rest == (query.Sums{}) && !slices.ContainsFunc(known, func(n float64) bool { return n != 0 }) {
		return
	}
	// Of a single value, each place where it has a row is known, whoever it is
	// grouped with.
	if !c.p.value.Any() {
		open := all
		for _, n := range known {
			open += n
		}
		if all = max(0, open, b.twice); all == 0 {
			return
		}
		clear(known)
	}
	r := &query.Remainder{Error: int64(all)}
	if total := t.Total.By(c.by); total > 0 {
		r.Share = min(1, float64(b.rest.By(c.by))/float64(total))
	}
	t.Remainder = r
	for i := range t.Rows {
		if t.Rows[i].Error = int64(max(0, all+known[i], b.twice)); t.Rows[i].Error > 0 {
			t.Exact = false
		}
	}
	// Whoever is not listed cannot have more than the last who is.
	if n := len(t.Rows); n > 0 && (n == c.limit || c.having != nil) && float64(b.next.By(c.by))+all > float64(t.Rows[n-1].By(c.by)) || n < c.limit && all > 0 || !c.by.Additive() {
		t.Exact = false
	}
}
