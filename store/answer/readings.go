package answer

import (
	"slices"
	"strconv"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/rollup"
)

// reader writes what is read for a request by a plan: flows, and rows of roll-ups under
// the names that they have in flows.
type reader struct {
	request
	Plan
}

// measures are the names of the sums, in the order of query.Sums.
var measures = query.Measures

// saturated is a sum as a bigint: one too large must not fail the question, nor what is
// left of one when parts of it are subtracted that were as large.
func saturated(sum string) string {
	return "greatest(least(coalesce(" + sum + ", 0), 9223372036854775807), 0)::bigint"
}

// sumsOf are the three sums over the columns of the same names, perhaps below zero.
func sumsOf(sign string) []column {
	list := make([]column, len(measures))
	for i, m := range measures {
		list[i] = named("sum("+sign+m+")", m)
	}
	return list
}

// saturatedOf are the measures of an answer: what is summed, or already a sum, of a table.
func saturatedOf(of func(measure string) string) []column {
	list := make([]column, len(measures))
	for i, m := range measures {
		list[i] = named(saturated(of(m)), m)
	}
	return list
}

// summed is a sum of a column of a table.
func summed(table string) func(string) string {
	return func(m string) string { return "sum(" + table + m + ")" }
}

// scale multiplies a sum by the sampling rate, when the request wants that.
func (r request) scale(sum expression) expression {
	if !r.scaled {
		return sum
	}
	return sql(sum, "::numeric * coalesce(nullif(sampling_rate, 0), 1)")
}

// flowConditions are the conditions on the flows of a segment. The bounds of
// flow_end are what partitions are chosen by: no flow that matters ends before
// the range, nor in a partition whose flows all start after it. The filter comes
// first: conditions are tried in their order, and those on times are met by nearly
// all flows of the partitions that are read.
func (r reader) flowConditions(g Segment) []expression {
	var list []expression
	if !r.filter.Any() {
		list = append(list, condition(r.filter))
	}
	from, to := value{g.From}, value{g.To}
	inside := sql("flow_start < ", to, " and (flow_end > ", from, " or flow_start = ", from, ")")
	switch {
	case r.whole:
		list = append(list, sql("flow_end >= ", from, " and flow_end < ", to))
	case g.tail():
		list = append(list,
			sql("flow_end >= ", forms{sql(value{max(g.From, g.Since)}), sql("greatest(", from, ", (select min(min_end) from batches where summed_at is null))")},
				" and flow_end ", forms{sql("< ", value{g.Until}), sql("<= (select max(max_end) from batches where summed_at is null)")}),
			inside,
			forms{sql("batch = any(", value{g.Batches}, ")"), sql("batch in (select id from batches where summed_at is null)")}.expression())
	default:
		// A statement that is run later finds the bound itself, but once: outside of a
		// subselect the function would be called for every row.
		list = append(list,
			sql("flow_end >= ", from, " and flow_end < ", forms{sql(value{g.Until}), sql("(select flows_until(", to, "))")}),
			inside)
	}
	return append(list, r.ofExporters()...)
}

func (f forms) expression() expression { return expression{f} }

// ofExporters is the condition on exporters, none when all are meant.
func (r request) ofExporters() []expression {
	if r.exporter == "" {
		return nil
	}
	return []expression{sql("exporter_id = any(", value{r.exporters}, ")")}
}

// flowSums are the three measures of the flows of a segment, and when they were seen if
// that matters.
func (r reader) flowSums(g Segment) []column {
	from, to := value{g.From}, value{g.To}
	share := func(m string) expression {
		if r.whole {
			return r.scale(sql(m))
		}
		return r.scale(sql("flow_share("+m+", flow_start, flow_end, ", from, ", ", to, ")"))
	}
	sum := func(m string) column { return column{sql("sum(", share(m), ")"), m} }
	if r.rolled() && !r.scaled {
		// Of the type that a roll-up's rows have, so that these are not made into another
		// row by row.
		sum = func(m string) column {
			return column{sql("least(coalesce(sum(", share(m), "), 0), 9223372036854775807)::bigint"), m}
		}
	}
	count := sql("count(*)")
	if !r.whole {
		count = sql("count(*) filter (where flow_start >= ", from, ")")
	}
	list := []column{{count, "flows"}, sum("packets"), sum("bytes")}
	if !r.needsTimes() {
		return list
	}
	first, last := sql("min(flow_start)"), sql("max(flow_end)")
	if !r.whole {
		first, last = sql("greatest(", first, ", ", from, ")"), sql("least(", last, ", ", to, ")")
	}
	return append(list, column{first, "first_seen"}, column{last, "last_seen"},
		named("sum(flow_ms(flow_end) - flow_ms(flow_start))", "duration_ms"), named("count(*)", "touched"))
}

// rollupRows is a reading of roll-ups.
type rollupRows struct {
	dim     rollup.Dimension
	columns []column
	rows    rowsOfKind
	where   []expression
	// segments are what is read of the plan's; nil is all that are of roll-ups.
	segments []Segment
	// settled: of hours and days, what is settled is enough, also later.
	settled bool
}

// rowsOfKind says which rows of a roll-up are read: those of values, those of values and
// remainders, or remainders alone.
type rowsOfKind int

const (
	valueRows rowsOfKind = iota
	allRows
	remainderRows
)

// rollups makes the selections of a reading, one a segment.
func (r reader) rollups(of rollupRows) union {
	segments := of.segments
	if segments == nil {
		segments = r.Segments
	}
	var list union
	for _, g := range r.sourcesOf(of, segments) {
		where := []expression{sql("dimension = '"+rollup.DimensionNames[of.dim]+"' and bucket >= ", value{g.From}, " and bucket < ", value{g.To})}
		if g.only != "" {
			where = append(where, sql(g.only))
		}
		switch {
		case of.rows == remainderRows:
			where = append(where, sql("remainder"))
		case of.rows == valueRows && of.dim != rollup.DimTotal:
			where = append(where, sql("not remainder"))
		}
		where = append(where, r.ofExporters()...)
		if !r.cell.Any() {
			where = append(where, condition(r.cell))
		}
		if !r.value.Any() && of.rows != remainderRows {
			where = append(where, condition(r.value))
		}
		list = append(list, &selection{columns: of.columns, from: r.rollupTable(g.Source, of.dim), where: append(where, of.where...)})
	}
	return list
}

// rollupSource is a segment of roll-ups, or the part of it that a condition holds for.
type rollupSource struct {
	Segment
	only string
}

// sourcesOf are the segments of a reading that are of roll-ups. Which hours lack flows that
// came late is for the moment in which a statement runs: one that runs later reads these
// by their minutes.
func (r reader) sourcesOf(of rollupRows, segments []Segment) (list []rollupSource) {
	const (
		hour = "date_bin('1 hour', bucket, 'epoch')"
		day  = "date_bin('1 day', bucket, 'epoch')"
	)
	hours, days := "select hour from unsettled", "select date_bin('1 day', hour, 'epoch') from unsettled"
	if r.asksForRates() {
		// So are the hours in which a rate begins that people came to say.
		hours, days = hours+" union select hour from sampling_begins", days+" union select date_bin('1 day', hour, 'epoch') from sampling_begins"
	}
	hours, days = "("+hours+")", "("+days+")"
	add := func(g Segment, source Source, only string) {
		g.Source = source
		list = append(list, rollupSource{g, only})
	}
	for _, g := range segments {
		switch {
		case g.ofFlows():
		case !r.later || of.settled || g.Source == rollup.Minutes:
			add(g, g.Source, "")
		case g.Source == rollup.Hours:
			add(g, rollup.Hours, "bucket not in "+hours)
			add(g, rollup.Minutes, hour+" in "+hours)
		default:
			add(g, rollup.Days, "bucket not in "+days)
			add(g, rollup.Hours, day+" in "+days+" and bucket not in "+hours)
			add(g, rollup.Minutes, hour+" in "+hours)
		}
	}
	return list
}

// rollupTable is a roll-up with the names of flows.
func (r reader) rollupTable(g rollup.Grain, dim rollup.Dimension) relation {
	columns := columnsOf("bucket", "part", "t.exporter_id", "t.sampling_rate", "announced_rate", "protocol", "dimension", "remainder", "cut", "flows", "packets", "bytes")
	name := rollup.DimensionNames[dim]
	add := func(of string, names ...string) {
		for _, as := range names {
			columns = append(columns, named(of, as))
		}
	}
	switch dim {
	case rollup.DimTotal:
	case rollup.DimPair:
		add("t.addr", "addr", "src_addr")
		add("t.addr2", "dst_addr")
	case rollup.DimSameAddr:
		add("t.addr", "src_addr", "dst_addr")
	case rollup.DimSamePort:
		add("number", "src_port", "dst_port")
	case rollup.DimSameIf:
		add("number", "in_if", "out_if")
	case rollup.DimSameAS:
		add("number", "src_as", "dst_as")
	case rollup.DimSrcAddr, rollup.DimDstAddr:
		add("t.addr", name)
	default:
		add("number", name)
	}
	// A condition on either side finds the other side empty.
	if asked := notOfCell(r.value.Columns()); eitherOf(asked) != nil && slices.Contains(asked, name) {
		other, is := asked[0], "bigint"
		if other == name {
			other = asked[1]
		}
		if dim < rollup.DimPair {
			is = "inet"
		}
		add("null::"+is, other)
	}
	var from relation = table(rollup.Grains[g].Table + " t")
	if asksForExporter(r.cell) {
		add("e.label", "exporter")
		add("e.addr", "exporter_addr")
		add("e.observation_domain", "observation_domain")
		from = joined{from, "left join", table("exporters e"), sql("e.id = t.exporter_id")}
	}
	return derived{&selection{columns: columns, from: from}, "rolled"}
}

// asksForExporter reports whether a filter asks who the exporter is.
func asksForExporter(f *filter.Filter) bool {
	return slices.ContainsFunc(f.Columns(), func(name string) bool {
		return name == "exporter" || name == "exporter_addr" || name == "observation_domain"
	})
}

// rollupValue is a measure of a row of a roll-up, perhaps below zero.
func (r reader) rollupValue(sign, measure string) column {
	text := sign + measure
	if r.scaled && measure != "flows" {
		text += " * coalesce(sampling_rate, 1)::numeric"
	}
	return named(text, measure)
}

// rollupValues are the three measures of a row of a roll-up.
func (r reader) rollupValues(sign string) []column {
	list := make([]column, len(measures))
	for i, m := range measures {
		list[i] = r.rollupValue(sign, m)
	}
	return list
}

// sideColumn says which side a row is of, when rows are of either.
func (r reader) sideColumn(side int) []column {
	if !r.either() {
		return nil
	}
	return []column{named(strconv.Itoa(side+1), "side")}
}

// equalSides is the number of the side that flows between equal sides are subtracted as.
const equalSides = 2

// counted is when a flow counts as one.
func (r request) counted() string {
	if r.whole {
		return "flow_end"
	}
	return "flow_start"
}

// segmentsOf are the segments of the plan that a condition holds for.
func (p Plan) segmentsOf(holds func(Segment) bool) []Segment {
	return slices.DeleteFunc(slices.Clone(p.Segments), func(g Segment) bool { return !holds(g) })
}

// ofFlows reports whether a segment is read from flows.
func (s Segment) ofFlows() bool { return s.Source == Flows }

// length is how long a segment is.
func (s Segment) length() flow.Time { return s.To - s.From }
