package answer

import (
	"slices"
	"strconv"

	"flowtally/query"
	"flowtally/store/rollup"
)

// ranking is the statement of a Top: the rows "group", "other" and "total", and of
// roll-ups with remainders "rest", what is in these, and "next", the group behind the last
// that is listed. What is read is read once for each side; the groups are then ranked, and
// the total and the rest come from the groups. Sides are read one after the other, not
// unfolded row by row: that costs less than the doubled rows do, and each reading can be
// spread over processors.
func (r reader) ranking() statement {
	var (
		names  = r.names()
		either = r.either()
		parts  []part
		read   = "groups" // where each flow is in once
		times  []column
	)
	if r.needsTimes() {
		times = []column{named("min(first_seen)", "first_seen"), named("max(last_seen)", "last_seen"),
			named("sum(duration_ms)", "duration_ms"), named("sum(touched)", "touched")}
	}
	rest := columnsOf("rest")
	if !r.remainders() {
		rest = nil
	}
	switch {
	case len(r.Segments) > 1 || r.rolled():
		// Rows of roll-ups are grouped once, together with what is read of flows;
		// the remainder is a group of its own.
		read = "read"
		groupBy := slices.Clone(names)
		var values []expression
		if rest != nil {
			groupBy = append(groupBy, "rest")
			values = []expression{sql("not rest")}
		}
		var once []column
		if either {
			for _, m := range measures {
				once = append(once, named("sum("+m+") filter (where side = 1)", "once_"+m))
			}
		}
		parts = append(parts,
			part{name: read, of: &selection{columns: all(columnsOf(names...), rest, sumsOf(""), times, once), from: derived{r.segments(), "segment"}, groupBy: groupBy}},
			part{name: "groups", of: &selection{columns: columnsOf("*"), from: table(read), where: values}})
	case either:
		read = "sides"
		parts = append(parts, part{name: read, of: r.segments()},
			part{name: "groups", of: &selection{columns: all(columnsOf(names...), sumsOf(""), times), from: table(read), groupBy: names}})
	default:
		parts = append(parts, part{name: read, of: r.segments()})
	}
	order := append([]string{rankedBy(r.by, "")}, names...)
	var having []expression
	if r.having != nil {
		having = []expression{sql(havingSQL(r.having))}
	}
	parts = append(parts,
		part{name: "top", of: &selection{columns: columnsOf("*"), from: table("groups"), where: having, orderBy: order, limit: sql(value{r.limit})}},
		part{name: "answer", of: r.rankingLines(read, order)})
	columns := all(columnsOf("line"), r.shown(), saturatedOf(func(m string) string { return m }), columnsOf("groups"))
	if r.needsTimes() {
		columns = append(columns, columnsOf("first_seen", "last_seen", "duration_ms::float8", "touched::float8")...)
	}
	// The answer's own columns may bear the names of those that are ordered by.
	last := []string{"line", rankedBy(r.by, "answer.")}
	for _, name := range names {
		last = append(last, "answer."+name)
	}
	return with{parts, &selection{columns: columns, from: table("answer"), orderBy: last}}
}

// rankingLines are the rows of a ranking.
func (r reader) rankingLines(read string, order []string) statement {
	nulls := columnsOf(slices.Repeat([]string{"null"}, len(r.columns))...)
	var times, noTimes []column
	if r.needsTimes() {
		times = columnsOf("first_seen", "last_seen", "duration_ms", "touched")
		noTimes = columnsOf("null", "null", "null", "null")
	}
	line := func(name string, sums []column, count string, from relation, where ...expression) *selection {
		return &selection{columns: all([]column{named("'"+name+"'", "line")}, nulls, sums, columnsOf(count), noTimes), from: from, where: where}
	}
	sums := func(of func(string) string) (list []column) {
		for _, m := range measures {
			list = append(list, column{of: sql(of(m))})
		}
		return list
	}
	groups := &selection{columns: all([]column{named("'group'", "line")}, columnsOf(r.names()...), columnsOf(measures...), []column{named("null::bigint", "groups")}, times), from: table("top")}

	shown := func(m string) string { return m }
	if r.same != 0 {
		// A group whose rows were cut can have less than its flows between equal sides, of
		// which it is relieved: it is shown with nothing.
		shown = func(m string) string { return "greatest(" + m + ", 0)" }
	}
	unlisted := func(m string) string { return "sum(" + m + ") - coalesce((select sum(" + shown(m) + ") from top), 0)" }
	other := line("other", sums(unlisted), "count(*) - (select count(*) from top)", table("groups"))
	if r.remainders() { // of these, too
		other = line("other", sums(unlisted), "(select count(*) from groups) - (select count(*) from top)", table(read))
	}

	total := line("total", sums(summed("")), "null", table(read))
	switch {
	case r.either() && read == "read":
		total = line("total", sums(summed("once_")), "null", table(read))
	case r.either():
		total.where = []expression{sql("side = 1")}
	}
	lines := union{groups, other, total}
	if r.remainders() {
		next := &selection{columns: columnsOf("*"), from: table("groups"), orderBy: order, limit: sql("1"), offset: sql(value{r.limit})}
		lines = append(lines,
			line("rest", sums(summed("")), "null", table(read), sql("rest")),
			line("next", sums(func(m string) string { return "max(" + m + ")" }), "null", derived{next, "unlisted"}))
	}
	return lines
}

// segments are all that the plan reads, grouped by segment and side.
func (r reader) segments() union {
	var list union
	for _, g := range r.Segments {
		if g.ofFlows() {
			for side := range r.sides() {
				list = append(list, r.flowGroups(g, side))
			}
			continue
		}
		rows := valueRows
		if r.value.Any() && r.remainders() {
			rows = allRows
		}
		var rest []column
		if r.remainders() {
			rest = []column{named("remainder", "rest")}
		}
		for side, dim := range r.dims {
			list = append(list, r.rollups(rollupRows{dim: dim, rows: rows, segments: []Segment{g},
				columns: all(r.sideColumn(side), rest, r.keyColumns(r.sideOf(side)), r.rollupValues(""))})...)
		}
		if r.same != 0 {
			// The roll-ups have flows between equal sides on both.
			list = append(list, r.rollups(rollupRows{dim: r.same, rows: rows, segments: []Segment{g},
				columns: all(r.sideColumn(equalSides), rest, r.keyColumns(r.sideOf(0)), r.rollupValues("-"))})...)
		}
	}
	return list
}

// flowGroups are the groups of one side of the flows of a segment.
func (r reader) flowGroups(g Segment, side int) *selection {
	var rest []column
	if r.remainders() {
		rest = []column{named("false", "rest")}
	}
	s := &selection{
		columns: all(r.sideColumn(side), rest, r.keyColumns(r.sideOf(side)), r.flowSums(g)),
		from:    table("flows"), where: r.flowConditions(g), groupBy: r.sideOf(side),
	}
	if side > 0 {
		s.where = append(s.where, r.otherSide())
	}
	return s
}

// A ranking from roll-ups is executed in two statements. The first groups all rows
// by one measure, the one that ranks. The second reads the rows of the few
// values that it lists, by the indexes that these have: their other measures,
// and how far the remainders leave them open. The total has rows of its own, and
// with it the sum of those that are not listed is known.

// rankingByOne is the statement that ranks groups by one measure, with one more
// than are listed; and what the flows that are read beside roll-ups, at the edges
// of the range, are of these groups and altogether.
func (r reader) rankingByOne() statement {
	var (
		names = r.names()
		by    = string(r.by)
		edges union
		rows  union
		parts []part
	)
	for _, g := range r.Segments {
		if g.ofFlows() {
			for side := range r.sides() {
				edges = append(edges, r.flowGroups(g, side))
			}
		}
	}
	if edges != nil {
		parts = append(parts, part{name: "edges", how: "materialized", of: edges})
	}
	for side, dim := range r.dims {
		rows = append(rows, r.rollups(rollupRows{dim: dim, columns: append(r.keyColumns(r.sideOf(side)), r.rollupValue("", by))})...)
	}
	if r.same != 0 {
		rows = append(rows, r.rollups(rollupRows{dim: r.same, columns: append(r.keyColumns(r.sideOf(0)), r.rollupValue("-", by))})...)
	}
	if edges != nil {
		rows = append(rows, &selection{columns: columnsOf(append(slices.Clone(names), by)...), from: table("edges")})
	}
	order := append([]string{rankedBy(r.by, "")}, names...)
	most := &selection{columns: columnsOf("*"), from: table("groups"), orderBy: order, limit: sql(value{r.limit + 1})}
	parts = append(parts,
		part{name: "groups", of: &selection{columns: append(columnsOf(names...), named("sum("+by+")", by)), from: derived{rows, "segment"}, groupBy: names}},
		part{name: "top", of: &selection{columns: []column{named("row_number() over (order by "+joinComma(order)+")", "rank"), named("*", "*")}, from: derived{most, "most"}}})

	sums := make([]column, len(measures))
	for i, m := range measures {
		sums[i] = column{of: sql("0::bigint")}
		if m == by {
			sums[i].of = sql(saturated(m))
		}
	}
	line := func(name, rank string, sums []column, from relation, where ...expression) *selection {
		return &selection{columns: all([]column{named("'"+name+"'", "line"), named(rank, "rank")}, r.nulls(), sums), from: from, where: where}
	}
	lines := union{
		&selection{columns: all([]column{named("'group'", "line")}, columnsOf("rank"), r.shown(), sums), from: table("top")},
		line("count", "0", columnsOf("count(*)", "0", "0"), table("groups")),
	}
	if edges != nil {
		var first []expression
		if r.either() {
			first = []expression{sql("side = 1")}
		}
		all := saturatedOf(summed("edges."))
		edge := line("edge", "rank", all, joined{table("top"), "join", table("edges"), r.sameGroup("edges", "top", nil)}, sql("rank <= ", value{r.limit}))
		edge.groupBy = []string{"rank"}
		lines = append(lines, line("once", "0", all, table("edges"), first...), line("either", "0", all, table("edges")), edge)
	}
	return with{parts, ordered{lines, []string{"line", "rank"}}}
}

// listing is the statement that reads what roll-ups have of listed groups, and their
// remainders. With a value in the filter, total and same mean nothing.
//
// A value that has no row in a bucket and cell has there at most the remainder's
// cut; one that has a row, at most that row's own cut more than it says.
func (r reader) listing(groups []*group) statement {
	by := boundedBy(r.by)
	cut := "cut[" + strconv.Itoa(1+slices.Index(measures, string(by))) + "]::numeric"
	if r.scaled && by != query.ByFlows {
		cut += " * coalesce(sampling_rate, 1)"
	}
	// What rows of a roll-up have in common with the remainder beside them: not the rate that
	// counts, which may be one for several that were announced.
	beside := []column{named("bucket", ""), named("part", ""), named("exporter_id", "of_exporter"), named("announced_rate", "of_rate"), named("protocol", "of_protocol"), named("dimension", "")}

	var remainders union
	for _, dim := range r.dims {
		remainders = append(remainders, r.rollups(rollupRows{dim: dim, rows: remainderRows, columns: all(beside, r.rollupValues(""), []column{named(cut, "cut")})})...)
	}
	line := func(name, cut, table string, from relation) *selection {
		return &selection{columns: all([]column{named("'"+name+"'", "line"), named("0", "rank"), named(cut, "cut")}, saturatedOf(summed(table))), from: from}
	}
	const sumOfCuts = "coalesce(sum(cut), 0)::float8"
	open := sumOfCuts
	if r.ofOneExporter() {
		open = widestOfExporters
	}
	lines := union{line("rest", open, "remainders.", table("remainders"))}
	if r.same != 0 {
		// What the two sides have twice may be in that remainder.
		lines = append(lines, line("twice", sumOfCuts, "rows_of.",
			derived{r.rollups(rollupRows{dim: r.same, rows: remainderRows, columns: append(r.rollupValues(""), named(cut, "cut"))}), "rows_of"}))
	}
	if r.value.Any() {
		if r.same != 0 {
			lines = append(lines, line("same", "0::float8", "rows_of.", derived{r.rollups(rollupRows{dim: r.same, rows: allRows, columns: r.rollupValues("")}), "rows_of"}))
		}
		lines = append(lines, line("total", "0::float8", "rows_of.", derived{r.rollups(rollupRows{dim: rollup.DimTotal, rows: allRows, columns: r.rollupValues("")}), "rows_of"}))
	}
	if len(groups) > 0 {
		lines = append(lines, r.listedGroups(groups, beside, cut))
	}
	return with{[]part{{name: "remainders", of: remainders}}, lines}
}

// ofOneExporter reports whether each group is of one exporter: what another one's
// remainders leave open is none of its. Of a single value, whose remainders are known
// beside its rows whoever these are grouped with, all count.
func (r reader) ofOneExporter() bool {
	return r.value.Any() && slices.ContainsFunc(r.columns, func(k query.KeyColumn) bool { return k.Kind == query.KindExporter })
}

// widestOfExporters is the largest sum of the cuts of one exporter's remainders.
const widestOfExporters = "coalesce((select max(cut) from (select sum(cut) as cut from remainders group by of_exporter) as of_one), 0)::float8"

// listedGroups are the sums of listed groups, and how much of all cuts each cannot have:
// where it has a row, that row's own cut counts.
func (r reader) listedGroups(groups []*group, beside []column, cut string) statement {
	var rows union
	for side, dim := range r.dims {
		keys := r.sideOf(side)
		rows = append(rows, r.rollups(rollupRows{dim: dim, where: []expression{r.among(keys, groups)},
			columns: all(beside, r.keyColumns(keys), r.rollupValues(""), []column{named(cut, "own")})})...)
	}
	if keys := r.sideOf(0); r.same != 0 && r.value.Any() {
		rows = append(rows, r.rollups(rollupRows{dim: r.same, where: []expression{r.among(keys, groups)},
			columns: all(beside, r.keyColumns(keys), r.rollupValues("-"), []column{named("0", "own")})})...)
	}
	known := "coalesce(sum(row.own), 0)::float8 - coalesce(sum(remainders.cut), 0)::float8"
	groupBy := []string{"rank"}
	if r.ofOneExporter() {
		known += " + coalesce((select sum(cut) from remainders where of_exporter = top.exporter_id), 0)::float8 - " + widestOfExporters
		groupBy = append(groupBy, "top.exporter_id")
	}
	return &selection{
		columns: all(columnsOf("'group'", "rank", known), saturatedOf(summed("row."))),
		from: joined{
			joined{values{r.ranked(groups), "top", append([]string{"rank"}, r.names()...)}, "join", derived{rows, "row"}, r.sameGroup("row", "top", groups)},
			"left join", table("remainders"),
			sql("remainders.dimension = row.dimension and remainders.bucket = row.bucket and coalesce(remainders.part, 0) = coalesce(row.part, 0)" +
				" and remainders.of_exporter = row.of_exporter and coalesce(remainders.of_rate, 0) = coalesce(row.of_rate, 0) and remainders.of_protocol = row.of_protocol"),
		},
		groupBy: groupBy,
	}
}

// boundedBy is the measure by which bounds are known: the average of bytes a packet
// is bounded by none, and those of bytes stand in.
func boundedBy(m query.Measure) query.Measure {
	switch m {
	case query.ByPackets:
		return m
	case query.ByBytes, query.ByBPP:
		return query.ByBytes
	}
	return query.ByFlows
}

// rankMeasure is a measure over the columns of groups.
func rankMeasure(m query.Measure) string {
	const between = "nullif(round(date_part('epoch', last_seen - first_seen) * 1000)::bigint, 0)"
	switch m {
	case query.ByPPS:
		return "packets * 1000 / " + between
	case query.ByBPS:
		return "bytes * 8000 / " + between
	case query.ByBPP:
		return "bytes / nullif(packets, 0)"
	case query.ByDuration:
		return "duration_ms / nullif(touched, 0)"
	}
	return string(m)
}

// rankedBy orders groups by a measure.
func rankedBy(m query.Measure, table string) string {
	if m.Additive() {
		return table + string(m) + " desc"
	}
	return "coalesce(" + rankMeasure(m) + ", 0) desc"
}

// havingSQL is a condition over the columns of groups.
func havingSQL(h *query.Having) string {
	return h.Render(func(c query.Comparison) string {
		op := c.Op
		if op == "!=" {
			op = "<>"
		}
		return "coalesce(" + rankMeasure(c.Measure) + ", 0) " + op + " " + strconv.FormatUint(c.Number, 10)
	})
}
