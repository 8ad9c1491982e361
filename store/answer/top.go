package answer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/query"
	"flowtally/store/rollup"
)

// Top ranks the groups of a question. A question that makes no sense gives a
// *QuestionError, one that takes too long an error that wraps ErrTimeout.
func (a *Answerer) Top(ctx context.Context, q query.Question) (*query.Top, error) {
	c, err := check(q)
	if err != nil {
		return nil, err
	}
	if len(c.keys) == 0 {
		return nil, &query.Error{Parameter: "key", Reason: "say what to rank, for example src-addr; keys are " + strings.ReplaceAll(query.JoinKeys(query.Keys()), ",", ", ")}
	}
	if err := c.checkLimit(query.MaxLimit); err != nil {
		return nil, err
	}
	if err := c.lookUp(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	var t *query.Top
	err = a.db.Ask(ctx, c.timeout, func(tx pgx.Tx) error {
		t, _, err = c.rank(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.Took = time.Since(began)
	return t, nil
}

// vague is the part of a sum beyond which what roll-ups may have left out of it
// is too much: then flows are read. It is for questions about one value, which is
// quickly found when it is rare.
const vague = 0.01

// rank answers a ranking, from the roll-ups where they can.
func (c *question) rank(ctx context.Context, tx pgx.Tx) (*query.Top, []*group, error) {
	if err := c.resolve(ctx, tx, 0); err != nil {
		return nil, nil, err
	}
	t, groups, err := c.top(ctx, tx)
	if err != nil || !c.p.rest() || c.p.value.Any() || t.Cut != nil {
		return t, groups, err
	}
	if most := float64(t.Total.By(c.by)) * vague; t.Remainder != nil && float64(t.Remainder.Error) > most {
		c.raw = true
		if err := c.resolve(ctx, tx, 0); err != nil {
			return nil, nil, err
		}
		c.raw = false
		c.p.why = "the value is too small for the roll-ups to tell"
		return c.top(ctx, tx)
	}
	return t, groups, err
}

// top executes the question; the groups are those of the rows.
func (c *question) top(ctx context.Context, tx pgx.Tx) (*query.Top, []*group, error) {
	people := statement{literal: true}
	c.topSQL(&people)
	t := &query.Top{
		From: c.from.Time(), To: c.to.Time(), Keys: c.keys, By: c.by, Limit: c.limit,
		Rows:       []query.TopRow{},
		Provenance: c.provenance("top", people.String()),
	}
	var (
		groups []*group
		b      *bounds
		err    error
	)
	if c.p.rest() && c.p.value.Any() && c.having == nil && c.by.Additive() {
		groups, b, err = c.rankOne(ctx, tx, t)
	} else {
		groups, b, err = c.rankAll(ctx, tx, t)
	}
	if err != nil {
		return nil, nil, err
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		if total := t.Total.By(c.by); total > 0 && c.by.Additive() {
			r.Share = float64(r.By(c.by)) / float64(total)
		}
		seconds := float64(c.to-c.from) / 1000
		if !r.FirstSeen.IsZero() {
			seconds = r.LastSeen.Sub(r.FirstSeen).Seconds()
		}
		if seconds > 0 {
			r.PPS, r.BPS = float64(r.Packets)/seconds, 8*float64(r.Bytes)/seconds
		}
		if r.Packets > 0 {
			r.BPP = float64(r.Bytes) / float64(r.Packets)
		}
	}
	c.tellApart(t.Rows, groups)
	if c.p.rest() {
		c.bound(t, b)
	}
	return t, groups, nil
}

// rankAll executes the statement that people see: all measures of all groups.
func (c *question) rankAll(ctx context.Context, tx pgx.Tx, t *query.Top) ([]*group, *bounds, error) {
	var run statement
	c.topSQL(&run)
	rows, err := tx.Query(ctx, run.String(), append([]any{pgx.QueryExecModeExec}, run.args...)...)
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
		g, targets := c.newGroup()
		targets = append(append([]any{&line}, targets...), &sums.Flows, &sums.Packets, &sums.Bytes, &unlisted)
		if c.seen() {
			targets = append(targets, &first, &last, &long, &touched)
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, nil, fmt.Errorf("top: %w", err)
		}
		switch line {
		case "group":
			row := query.TopRow{Sums: sums}
			row.Values, row.Label = c.values(g)
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
	if !c.p.rest() {
		return groups, nil, nil
	}
	b, err := c.ofListed(ctx, tx, groups)
	if err != nil {
		return nil, nil, err
	}
	b.rest, b.next = rest, next
	return groups, b, nil
}

// provenance is what an answer by this plan says of itself.
func (c *question) provenance(command, sql string) query.Provenance {
	p := query.Provenance{
		Filter: c.filter.String(), Scaled: c.scaled, Sampling: c.looked.sampling, Source: c.p.sources(), Resolution: "1 ms",
		Exact: c.widened == 0 && c.p.cut == nil, Cut: c.p.cut, Plan: c.p.explain(), SQL: "-- " + c.p.explain() + "\n" + sql,
		Command: "flowtally " + command + c.arguments(),
	}
	if !c.p.rolled() {
		p.SQL = sql
	}
	if c.widened > 0 {
		p.Resolution = query.FormatResolution(c.widened)
	}
	return p
}

// tellApart adds their numbers to exporters of one name: those of one address
// that differ in the observation domain.
func (c *question) tellApart(rows []query.TopRow, groups []*group) {
	for i, k := range c.columns {
		if k.Kind != query.KindExporter {
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
				rows[j].Label = query.JoinLabels(c.columns, rows[j].Values)
			}
		}
	}
}

// topSQL writes the statement. What is read is read once for each side; the
// groups are then ranked, and the total and the rest come from the groups.
// Sides are read one after the other, not unfolded row by row: that costs less
// than the doubled rows do, and each reading can be spread over processors.
func (c *question) topSQL(s *statement) {
	names := strings.Join(c.names(), ", ")
	sides := c.sides()
	read := "groups" // where each flow is in once
	more := ""
	if c.seen() {
		more = ", min(first_seen) as first_seen, max(last_seen) as last_seen, sum(duration_ms) as duration_ms, sum(touched) as touched"
	}
	rolled := len(c.p.pieces) > 1 || c.p.rolled()
	switch {
	case rolled:
		// Rows of roll-ups are grouped once, together with what is read of flows;
		// the remainder is a group of its own.
		read = "pieces"
		rest := ""
		if c.p.rest() {
			rest = ", rest"
		}
		s.line("with pieces as (")
		s.line("  select ", names, rest, ", sum(flows) as flows, sum(packets) as packets, sum(bytes) as bytes", more)
		if len(sides) == 2 {
			s.line("    , sum(flows) filter (where side = 1) as once_flows, sum(packets) filter (where side = 1) as once_packets, sum(bytes) filter (where side = 1) as once_bytes")
		}
		s.line("  from (")
	case len(sides) == 2:
		read = "sides"
		fallthrough
	default:
		s.line("with ", read, " as (")
	}
	begun := false
	for _, p := range c.p.pieces {
		readings := len(sides)
		if p.source != raw {
			readings = len(c.p.dims)
		}
		for i := range readings {
			if begun {
				s.line("  union all")
			}
			begun = true
			c.read(s, p, i)
		}
		if p.source != raw && c.p.same != 0 {
			s.line("  union all")
			c.readSame(s, p)
		}
	}
	switch {
	case rolled:
		rest, not := "", ""
		if c.p.rest() {
			rest, not = ", rest", " where not rest"
		}
		s.line("  ) piece")
		s.line("  group by ", names, rest)
		s.line("), groups as (")
		s.line("  select * from pieces", not)
	case read != "groups":
		s.line("), groups as (")
		s.line("  select ", names, ", sum(flows) as flows, sum(packets) as packets, sum(bytes) as bytes", more)
		s.line("  from ", read)
		s.line("  group by ", names)
	}
	s.line("), top as (")
	s.line("  select * from groups")
	if c.having != nil {
		s.line("  where ", havingSQL(c.having))
	}
	s.line("  order by ", rankedBy(c.by, ""), ", ", names)
	s.line("  limit ", s.int(c.limit))
	nulls := strings.TrimSuffix(strings.Repeat("null, ", len(c.columns)), ", ")
	moreNulls := ""
	s.line("), answer as (")
	if c.seen() {
		s.line("  select 'group' as line, ", names, ", flows, packets, bytes, null::bigint as groups, first_seen, last_seen, duration_ms, touched from top")
		moreNulls = ", null, null, null, null"
	} else {
		s.line("  select 'group' as line, ", names, ", flows, packets, bytes, null::bigint as groups from top")
	}
	s.line("  union all")
	s.line("  select 'other', ", nulls, ",")
	of := "groups"
	if c.p.rest() {
		of = read // the remainder, too
	}
	for _, m := range query.Measures {
		s.line("    sum(", m, ") - coalesce((select sum(", m, ") from top), 0),")
	}
	if of == "groups" {
		s.line("    count(*) - (select count(*) from top)", moreNulls, " from groups")
	} else {
		s.line("    (select count(*) from groups) - (select count(*) from top)", moreNulls, " from ", of)
	}
	s.line("  union all")
	switch {
	case rolled && len(sides) == 2:
		s.line("  select 'total', ", nulls, ", sum(once_flows), sum(once_packets), sum(once_bytes), null", moreNulls, " from pieces")
	default:
		s.line("  select 'total', ", nulls, ", sum(flows), sum(packets), sum(bytes), null", moreNulls, " from ", read)
		if len(sides) == 2 {
			s.line("  where side = 1")
		}
	}
	if c.p.rest() {
		s.line("  union all")
		s.line("  select 'rest', ", nulls, ", sum(flows), sum(packets), sum(bytes), null from pieces where rest")
		s.line("  union all")
		s.line("  select 'next', ", nulls, ", max(flows), max(packets), max(bytes), null from (")
		s.line("    select * from groups order by ", rankedBy(c.by, ""), ", ", names, " limit 1 offset ", s.int(c.limit), ") unlisted")
	}
	s.line(")")
	s.line("select line, ", c.shown(), ",")
	for _, m := range query.Measures {
		s.line("  ", saturated(m), " as ", m, ",")
	}
	if c.seen() {
		s.line("  groups, first_seen, last_seen, duration_ms::float8, touched::float8")
	} else {
		s.line("  groups")
	}
	s.line("from answer")
	s.line("order by line, ", rankedBy(c.by, "answer."), ", ", c.ordered("answer"))
}

// read adds a reading of a side of a piece, grouped.
func (c *question) read(s *statement, p piece, side int) {
	label := c.labelled(side)
	if p.source != raw {
		rest := ""
		if c.p.rest() {
			rest = "remainder as rest, "
		}
		c.only(c.p.dims[side], p).rolled(s, "  ", "select "+label+rest+c.named(c.sideOf(side))+", "+c.rolledValues(""), c.p.value.Any() && c.p.rest())
		return
	}
	rest := ""
	if c.p.rest() {
		rest = "false as rest, "
	}
	s.line("  select ", label, rest, c.named(c.sideOf(side)), ",")
	if c.p.rolled() && !c.scaled {
		c.bigSums(s, "    ", p)
	} else {
		c.sums(s, "    ", p)
	}
	s.line("  from flows")
	c.where(s, "  ", p)
	if side > 0 {
		s.line("    and ", c.otherSide())
	}
	s.line("  group by ", strings.Join(c.sideOf(side), ", "))
}

// only is the question about one dimension, and about these pieces if any are
// given.
func (c *question) only(dim rollup.Dimension, pieces ...piece) *question {
	one := *c.p
	one.dims, one.same = []rollup.Dimension{dim}, 0
	if len(pieces) > 0 {
		one.pieces = pieces
	}
	d := *c
	d.p = &one
	return &d
}

// labelled says which side a row is of, when rows are of either.
func (c *question) labelled(side int) string {
	if len(c.sides()) < 2 {
		return ""
	}
	return fmt.Sprintf("%d as side, ", side+1)
}

// readSame adds, below zero, the flows between equal sides, which the roll-ups
// have on both.
func (c *question) readSame(s *statement, p piece) {
	c.only(c.p.same, p).rolled(s, "  ", "select "+c.labelled(2)+"remainder as rest, "+c.named(c.sides()[0])+", "+c.rolledValues("-"), c.p.value.Any())
}

// rolledValues are the measures of a row of a roll-up, perhaps below zero.
func (c *question) rolledValues(sign string) string {
	rate := ""
	if c.scaled {
		rate = " * coalesce(sampling_rate, 1)::numeric"
	}
	return sign + "flows as flows, " + sign + "packets" + rate + " as packets, " + sign + "bytes" + rate + " as bytes"
}

// rolledSums are the measures of a roll-up's rows.
func (c *question) rolledSums() string {
	if c.scaled {
		return "sum(flows) as flows, sum(packets * coalesce(sampling_rate, 1)::numeric) as packets, sum(bytes * coalesce(sampling_rate, 1)::numeric) as bytes"
	}
	return "sum(flows) as flows, sum(packets) as packets, sum(bytes) as bytes"
}

// rolled adds a reading of all pieces of the plan that are of roll-ups: with
// their remainders, of these alone (when the columns ask for cut alone), or
// without. The columns bear the names that they have in flows.
func (c *question) rolled(s *statement, indent, columns string, remainders bool, after ...string) {
	alone := strings.HasSuffix(columns, " as cut") && remainders
	first := true
	for _, dim := range c.p.dims {
		for _, p := range c.p.pieces {
			if p.source == raw {
				continue
			}
			if !first {
				s.line(indent, "union all")
			}
			first = false
			s.line(indent, columns)
			s.line(indent, "from ", c.rolledTable(p.source, dim))
			s.line(indent, "where dimension = '", rollup.DimensionNames[dim], "' and bucket >= ", s.time(p.from), " and bucket < ", s.time(p.to))
			switch {
			case alone:
				s.line(indent, "  and remainder")
			case !remainders && dim != rollup.DimTotal:
				s.line(indent, "  and not remainder")
			}
			c.ofExporters(s, indent)
			if !c.p.cell.Any() {
				s.line(indent, "  and (", s.condition(c.p.cell), ")")
			}
			if !c.p.value.Any() && !alone {
				s.line(indent, "  and (", s.condition(c.p.value), ")")
			}
			for _, a := range after {
				s.line(indent, a)
			}
		}
	}
}

// rolledTable is a roll-up with the names of flows.
func (c *question) rolledTable(g rollup.Grain, dim rollup.Dimension) string {
	table := rollup.Grains[g].Table
	var columns, join string
	switch name := rollup.DimensionNames[dim]; dim {
	case rollup.DimTotal:
	case rollup.DimPair:
		columns = ", addr, addr as src_addr, addr2 as dst_addr"
	case rollup.DimSameAddr:
		columns = ", addr as src_addr, addr as dst_addr"
	case rollup.DimSamePort:
		columns = ", number as src_port, number as dst_port"
	case rollup.DimSameIf:
		columns = ", number as in_if, number as out_if"
	case rollup.DimSameAS:
		columns = ", number as src_as, number as dst_as"
	case rollup.DimSrcAddr, rollup.DimDstAddr:
		columns = ", addr as " + name
	default:
		columns = ", number as " + name
	}
	// A condition on either side finds the other side empty.
	if value := notOfCell(c.p.value.Columns()); eitherOf(value) != nil && slices.Contains(value, rollup.DimensionNames[dim]) {
		other, is := value[0], "bigint"
		if other == rollup.DimensionNames[dim] {
			other = value[1]
		}
		if dim < rollup.DimPair {
			is = "inet"
		}
		columns += ", null::" + is + " as " + other
	}
	if slices.ContainsFunc(c.p.cell.Columns(), func(name string) bool {
		return name == "exporter" || name == "exporter_addr" || name == "observation_domain"
	}) {
		columns += ", e.label as exporter, e.addr as exporter_addr, e.observation_domain"
		join = " left join exporters e on e.id = t.exporter_id"
	}
	return "(select bucket, part, t.exporter_id, t.sampling_rate, protocol, dimension, remainder, cut, flows, packets, bytes" + columns + " from " + table + " t" + join + ") rolled"
}

// sums adds the three measures of a piece, and when its flows were seen if that
// matters.
func (c *question) sums(s *statement, indent string, p piece) {
	from, to := s.time(p.from), s.time(p.to)
	end := ""
	if c.seen() {
		end = ","
	}
	if c.whole {
		s.line(indent, "count(*) as flows, sum(", c.measured("packets"), ") as packets, sum(", c.measured("bytes"), ") as bytes", end)
	} else {
		share := func(m string) string {
			return c.scale("flow_share(" + m + ", flow_start, flow_end, " + from + ", " + to + ")")
		}
		s.line(indent, "count(*) filter (where flow_start >= ", from, ") as flows,")
		s.line(indent, "sum(", share("packets"), ") as packets,")
		s.line(indent, "sum(", share("bytes"), ") as bytes", end)
	}
	if c.seen() {
		first, last := "min(flow_start)", "max(flow_end)"
		if !c.whole {
			first, last = "greatest("+first+", "+from+")", "least("+last+", "+to+")"
		}
		s.line(indent, first, " as first_seen, ", last, " as last_seen, sum(flow_ms(flow_end) - flow_ms(flow_start)) as duration_ms, count(*) as touched")
	}
}

// bigSums are sums of the type that a roll-up's rows have, so that these are not
// made into another row by row.
func (c *question) bigSums(s *statement, indent string, p piece) {
	from, to := s.time(p.from), s.time(p.to)
	s.line(indent, "count(*) filter (where flow_start >= ", from, ") as flows,")
	s.line(indent, saturated("sum(flow_share(packets, flow_start, flow_end, "+from+", "+to+"))"), " as packets,")
	s.line(indent, saturated("sum(flow_share(bytes, flow_start, flow_end, "+from+", "+to+"))"), " as bytes")
}

// scale multiplies a sum by the sampling rate, when the question wants that.
func (c *question) scale(sum string) string {
	if !c.scaled {
		return sum
	}
	return sum + "::numeric * coalesce(nullif(sampling_rate, 0), 1)"
}

// measured is a column of flows, scaled or not.
func (c *question) measured(m string) string { return c.scale(m) }

// ordered lists the keys' columns of a table; the answer's own columns may bear
// the same names.
func (c *question) ordered(table string) string {
	names := c.names()
	for i, n := range names {
		names[i] = table + "." + n
	}
	return strings.Join(names, ", ")
}
