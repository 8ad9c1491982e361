package answer

import (
	"slices"

	"flowtally/store/rollup"
)

// seriesLines is the statement of a series for the listed groups: the rows "group", "other"
// and "total" of each slot. Nearly all flows lie inside one slot and are summed as they
// are. The others make a row for each slot of the range that they cross, in a second
// reading: the planner takes generate_series for a thousand rows, and would rather sort all
// flows than hash them if it stood before all of them.
func (r reader) seriesLines(groups []*group) statement {
	var parts []part
	keyed := len(r.keys) > 0
	if keyed {
		// Without a group there is nothing to join: no flow is in the range.
		var top statement = r.noneRanked()
		how := ""
		if len(groups) > 0 {
			top, how = rowsOf{r.ranked(groups)}, "not materialized"
		}
		parts = append(parts, part{name: "top", columns: append([]string{"rank"}, r.names()...), how: how, of: top})
	}
	var cells union
	// Of roll-ups, the rows of the listed groups alone are read: what all have is
	// in other rows.
	few := len(groups) > 0 && r.remainders() && r.value.Any()
	if few {
		parts = append(parts, part{name: "listed", of: r.listedCells(groups)})
		cells = r.allCells()
	}
	for _, g := range r.Segments {
		switch {
		case g.ofFlows():
			for side := range r.readSides() {
				cells = append(cells, r.flowCells(g, side, groups)...)
			}
		case !few:
			for side, dim := range r.dims {
				cells = append(cells, r.rollupCells(g, dim, side, "", groups))
			}
			if r.same != 0 {
				cells = append(cells, r.rollupCells(g, r.same, equalSides, "-", groups))
			}
		}
	}
	parts = append(parts, part{name: "cells", of: cells})

	sums := saturatedOf(summed(""))
	total := &selection{columns: all(columnsOf("bucket"), []column{named("'total'", "line"), named("null::int", "rank")}, sums), from: table("cells"), groupBy: []string{"bucket"}}
	lines := union{total}
	if keyed {
		if r.either() {
			total.where = []expression{sql("side = 1")}
		}
		total.columns = all(columnsOf("bucket", "'total'", "null"), r.nulls(), sums)
		lines = union{&selection{
			columns: all(columnsOf("bucket"), []column{named("case when rank is null then 'other' else 'group' end", "line")}, columnsOf("rank"), r.shown(), sums),
			from:    joined{table("cells"), "left join", table("top"), sql("using (rank)")},
			groupBy: append([]string{"bucket", "rank"}, r.names()...),
		}, total}
	}
	return with{parts, ordered{lines, []string{"bucket", "line", "rank"}}}
}

// readSides are the sides that are read: without keys each flow once.
func (r reader) readSides() [][]string {
	if len(r.keys) == 0 {
		return make([][]string, 1)
	}
	return r.sides()
}

// inSlot are rows of roll-ups by slot.
func (r reader) inSlot() column { return column{r.slots.slotOf(sql("bucket")), "bucket"} }

// rollupSums are the sums of a roll-up's rows, perhaps below zero.
func (r reader) rollupSums(sign string) []column {
	list := make([]column, len(measures))
	for i, m := range measures {
		text := sign + m
		if r.scaled && m != "flows" {
			text += " * coalesce(sampling_rate, 1)::numeric"
		}
		list[i] = named("sum("+text+")", m)
	}
	return list
}

// rollupSumColumns are what rollupSums are taken of.
var rollupSumColumns = append(columnsOf("bucket"), columnsOf("sampling_rate", "flows", "packets", "bytes")...)

// listedCells are the sums by slot of the listed groups, of all segments that are
// read from roll-ups.
func (r reader) listedCells(groups []*group) (list union) {
	add := func(dim rollup.Dimension, side int, keys []string, sign string) {
		rows := r.rollups(rollupRows{dim: dim, where: []expression{r.among(keys, groups)}, columns: all(rollupSumColumns, r.keyColumns(keys))})
		list = append(list, &selection{
			columns: all([]column{r.inSlot()}, r.sideColumn(side), columnsOf("rank"), r.rollupSums(sign)),
			from:    joined{derived{rows, "flow"}, "join", table("top"), r.sameGroup("flow", "top", groups)},
			groupBy: []string{"1", "rank"},
		})
	}
	for side, dim := range r.dims {
		add(dim, side, r.sideOf(side), "")
	}
	if r.same != 0 {
		add(r.same, equalSides, r.sideOf(0), "-")
	}
	return list
}

// allCells are what all groups have by slot, on each side, of the segments that are
// read from roll-ups: what is listed under its rank, and what all have less
// that under none.
func (r reader) allCells() union {
	var side []column
	if r.either() {
		side = columnsOf("side")
	}
	list := union{
		&selection{columns: columnsOf("*"), from: table("listed")},
		&selection{columns: all(columnsOf("bucket"), side, columnsOf("null", "-flows", "-packets", "-bytes")), from: table("listed")},
	}
	add := func(dim rollup.Dimension, side int, sign string) {
		rows := r.rollups(rollupRows{dim: dim, rows: allRows, columns: rollupSumColumns})
		list = append(list, &selection{
			columns: all([]column{r.inSlot()}, r.sideColumn(side), []column{named("null", "rank")}, r.rollupSums(sign)),
			from:    derived{rows, "flow"},
			groupBy: []string{"1"},
		})
	}
	for side := range r.dims {
		add(rollup.DimTotal, side, "")
	}
	if r.same != 0 {
		add(r.same, equalSides, "-")
	}
	return list
}

// rollupCells are the sums by slot and listed group of a segment that is read from
// roll-ups, of one side, or below zero of the flows that the two sides have twice.
func (r reader) rollupCells(g Segment, dim rollup.Dimension, side int, sign string, groups []*group) statement {
	rows := valueRows
	if r.value.Any() {
		rows = allRows
	}
	s := &selection{columns: []column{r.inSlot()}, groupBy: []string{"1"}}
	columns := append(slices.Clone(rollupSumColumns), named("remainder", ""))
	if len(r.keys) > 0 {
		keys := r.sideOf(side % equalSides)
		columns = append(columns, r.keyColumns(keys)...)
		s.columns = all(s.columns, r.sideColumn(side), columnsOf("rank"))
		s.groupBy = append(s.groupBy, "rank")
	}
	s.columns = append(s.columns, r.rollupSums(sign)...)
	s.from = derived{r.rollups(rollupRows{dim: dim, rows: rows, columns: columns, segments: []Segment{g}}), "flow"}
	if len(r.keys) > 0 {
		s.from = joined{s.from, "left join", table("top"), sql(r.sameGroup("flow", "top", groups), " and not flow.remainder")}
	}
	return s
}

// flowCells are the sums by slot and listed group of one side of the flows of a
// segment.
func (r reader) flowCells(g Segment, side int, groups []*group) union {
	var (
		since, until = value{g.From}, value{g.To}
		inner        = columnsOf("flow_start", "flow_end", "packets", "bytes")
		keys         []column
	)
	if len(r.keys) > 0 {
		inner = append(inner, r.keyColumns(r.sideOf(side))...)
		keys = append(r.sideColumn(side), columnsOf("rank")...)
	}
	if r.scaled {
		inner = append(inner, columnsOf("sampling_rate")...)
	}
	cells := func(bucket expression, count, packets, bytes expression, where ...expression) statement {
		rows := &selection{columns: append(slices.Clone(inner), column{bucket, "bucket"}), from: table("flows"), where: r.flowConditions(g)}
		if side > 0 {
			rows.where = append(rows.where, r.otherSide())
		}
		rows.where = append(rows.where, where...)
		s := &selection{
			columns: all(columnsOf("bucket"), keys, []column{{count, "flows"}, {sql("sum(", packets, ")"), "packets"}, {sql("sum(", bytes, ")"), "bytes"}}),
			from:    derived{rows, "flow"}, groupBy: []string{"bucket"},
		}
		if len(r.keys) > 0 {
			s.from = joined{s.from, "left join", table("top"), r.sameGroup("flow", "top", groups)}
			s.groupBy = append(s.groupBy, "rank")
		}
		return s
	}
	packets, bytes := r.scale(sql("packets")), r.scale(sql("bytes"))
	if r.whole {
		return union{cells(r.slots.slotOf(sql("flow_end")), sql("count(*)"), packets, bytes)}
	}
	one := sql("flow_start >= ", since, " and flow_end <= ", until, " and ", r.slots.slotOf(sql("flow_start")), " = ", r.slots.slotOf(sql("flow_end")))

	// A slot ends where the segment does, also when its step goes on.
	begin, _ := r.slots.around(g.From)
	end, after := r.slots.around(g.To - 1)
	first, last := sql("bucket"), r.slots.endOf()
	if begin != g.From {
		first = sql("greatest(", first, ", ", since, ")")
	}
	if after != g.To {
		last = sql("least(", last, ", ", until, ")")
	}
	share := func(m string) expression {
		return r.scale(sql("flow_share("+m+", flow_start, flow_end, ", first, ", ", last, ")"))
	}
	crossed := r.slots.between(sql("greatest(flow_start, ", since, ")"), sql("least(flow_end, ", value{end}, ")"))
	return union{
		cells(r.slots.slotOf(sql("flow_start")), sql("count(*)"), packets, bytes, one),
		cells(crossed, sql("count(*) filter (where flow_start >= ", first, ")"), share("packets"), share("bytes"), sql("not (", one, ")")),
	}
}
