package answer

import (
	"slices"
	"strconv"

	"flowtally/flow"
	"flowtally/store/rollup"
)

// slotFlows is the statement that counts all flows of each slot.
func (r reader) slotFlows() statement {
	var list union
	for _, g := range r.Segments {
		if !g.ofFlows() {
			list = append(list, r.rollups(rollupRows{dim: rollup.DimTotal, segments: []Segment{g}, columns: []column{r.inSlot(), named("flows", "")}})...)
			continue
		}
		list = append(list, &selection{
			columns: []column{{r.slots.slotOf(sql(r.counted())), "bucket"}, named("count(*)", "flows")},
			from:    table("flows"), where: append(r.flowConditions(g), r.countedIn(g)), groupBy: []string{"1"},
		})
	}
	return &selection{columns: []column{named("bucket", ""), named("sum(flows)::bigint", "")}, from: derived{list, "segment"}, groupBy: []string{"bucket"}}
}

// countedIn is the condition that a flow counts in a segment, not before it.
func (r reader) countedIn(g Segment) expression { return sql(r.counted()+" >= ", value{g.From}) }

// busiest is the statement of a share: of each slot, the host with most flows; how
// many more than the roll-ups' rows say any host may have (cut) and how many less
// (twice), because a flow from the host to itself is in the remainder of
// those; how many hosts could be the one with most (rivals); and what any host has of the
// tail where only some are followed (beside).
//
// Where a host has a row, its own cut is at most that of the remainder, so the
// cuts of all remainders of a slot bound every host.
//
// Each host has its rows in each minute, cell and side; they are grouped once. Flows are
// counted one by one, so float8 has them exactly, in a quarter of the room and time that
// numbers of any size take.
func (r reader) busiest() statement {
	var (
		parts []part
		sides union
	)
	if len(r.Followed) > 0 && r.later {
		parts = append(parts, part{name: "followed", how: "materialized", of: r.followedHosts()})
	}
	// What the roll-ups do not have yet adds to what any host can have.
	tails := r.segmentsOf(Segment.tail)
	late := len(tails) > 0 && len(r.Followed) > 0
	if late {
		var list union
		for _, g := range tails {
			list = append(list, r.hostsOfFlows(g)...)
		}
		parts = append(parts, part{name: "late", how: "materialized", of: list})
		sides = append(sides, &selection{columns: columnsOf("*"), from: table("late")})
	}
	// The flows of an edge are few among those that are gone through for them: that
	// is done once.
	edge := func(g Segment) bool { return r.rolled() && g.ofFlows() && !g.tail() && g.length() <= flow.Minute }
	if edges := r.segmentsOf(edge); len(edges) > 0 {
		var list union
		for _, g := range edges {
			list = append(list, &selection{
				columns: []column{{r.slots.slotOf(sql("flow_start")), "bucket"}, named("src_addr", ""), named("dst_addr", "")},
				from:    table("flows"), where: append(r.flowConditions(g), sql("flow_start >= ", value{g.From})),
			})
		}
		parts = append(parts, part{name: "edges", how: "materialized", of: list})
		for i, side := range r.sides() {
			s := &selection{columns: all(columnsOf("bucket"), r.keyColumns(side), []column{named("count(*)::float8", "flows")}), from: table("edges"), groupBy: []string{"1", "2"}}
			if i > 0 {
				s.where = []expression{r.otherSide()}
			}
			sides = append(sides, s)
		}
	}
	for _, g := range r.Segments {
		if g.ofFlows() && !edge(g) && !(late && g.tail()) {
			sides = append(sides, r.hostsOfFlows(g)...)
		}
	}
	if r.rolled() {
		sides = append(sides, r.hostsOfRollups()...)
	}
	parts = append(parts,
		part{name: "sides", of: sides},
		part{name: "hosts", how: "materialized", of: &selection{columns: columnsOf("bucket", "addr", "sum(flows) as flows"), from: table("sides"), groupBy: []string{"bucket", "addr"}}},
		part{name: "most", of: &selection{
			columns: columnsOf("bucket", "max(most) as most", "coalesce(sum(cut), 0)::float8 as cut", "coalesce(sum(twice), 0)::float8 as twice", "max(beside) as beside"),
			from:    derived{r.hostBounds(late), "bounds"}, groupBy: []string{"bucket"}}})
	return with{parts, &selection{
		columns: columnsOf("most.bucket", "min(addr) filter (where flows = most) as addr", "coalesce(most, 0)::bigint as flows", "most.cut::bigint", "most.twice::bigint", "count(addr) as rivals", "most.beside::bigint"),
		from: joined{table("most"), "left join", table("hosts"),
			sql("hosts.bucket = most.bucket and addr is not null and flows >= most - most.cut - most.twice")},
		groupBy: []string{"most.bucket", "most", "most.cut", "most.twice", "most.beside"},
		orderBy: []string{"bucket"},
	}}
}

// hostBounds are the most that a host has in each slot, and the cuts.
func (r reader) hostBounds(late bool) union {
	list := union{&selection{
		columns: columnsOf("bucket", "max(flows) filter (where addr is not null) as most", "0::bigint as twice", "0::float8 as beside", "0::bigint as cut"),
		from:    table("hosts"), groupBy: []string{"bucket"}}}
	if late {
		host := &selection{columns: columnsOf("bucket", "sum(flows) as flows"), from: table("late"), where: []expression{sql("addr is not null")}, groupBy: []string{"bucket", "addr"}}
		list = append(list, &selection{columns: columnsOf("bucket", "null", "0", "max(flows)", "0"), from: derived{host, "host"}, groupBy: []string{"bucket"}})
	}
	if !r.rolled() {
		return list
	}
	for _, dim := range r.dims {
		list = append(list, r.rollups(rollupRows{dim: dim, rows: remainderRows, columns: append([]column{r.inSlot()}, columnsOf("null", "0", "0", "cut[1] as cut")...)})...)
	}
	return append(list, r.rollups(rollupRows{dim: r.same, rows: remainderRows, columns: append([]column{r.inSlot()}, columnsOf("null", "cut[1]", "0", "0 as cut")...)})...)
}

// hostsOfFlows are how many flows of a segment each host has, on either side.
func (r reader) hostsOfFlows(g Segment) (list union) {
	for i, side := range r.sides() {
		s := &selection{
			columns: all([]column{{r.slots.slotOf(sql(r.counted())), "bucket"}}, r.keyColumns(side), []column{named("count(*)::float8", "flows")}),
			from:    table("flows"), where: append(r.flowConditions(g), r.countedIn(g)), groupBy: []string{"1", "2"},
		}
		if i > 0 {
			s.where = append(s.where, r.otherSide())
		}
		list = append(list, s)
	}
	return list
}

// hostsOfRollups are the hosts' rows: of all hosts, but where only some are followed.
func (r reader) hostsOfRollups() (list union) {
	columns := func(side int, sign string) []column {
		return all([]column{r.inSlot()}, r.keyColumns(r.sideOf(side)), []column{named(sign+"flows::float8", "flows")})
	}
	unfollowed := slices.DeleteFunc(r.unfollowed(), Segment.ofFlows)
	for side, dim := range r.dims {
		if len(unfollowed) > 0 {
			list = append(list, r.rollups(rollupRows{dim: dim, segments: unfollowed, columns: columns(side, "")})...)
		}
		list = append(list, r.followedRows(dim, side, columns(side, ""))...)
	}
	// These are few, of whomever.
	return append(list, r.rollups(rollupRows{dim: r.same, columns: columns(0, "-")})...)
}

// followedRows are the rows of a dimension that the followed hosts have in the minutes of
// their hours. A statement for people finds the hosts itself; named one by one for each
// hour, as in the one that is executed, it is many times faster, and long.
func (r reader) followedRows(dim rollup.Dimension, side int, columns []column) (list union) {
	addr := r.sideOf(side)[0]
	read := func(segments []Segment, among expression) {
		list = append(list, r.rollups(rollupRows{dim: dim, columns: columns, where: []expression{among}, segments: segments})...)
	}
	if r.later {
		read(minutesOf(r.Followed), sql("(date_bin('1 hour', bucket, 'epoch'), "+addr+") in (select hour, addr from followed)"))
		return list
	}
	for _, f := range r.Followed {
		if len(f.Hosts) > 0 {
			read(minutesOf([]Followed{f}), sql(addr+" = any(", value{f.Hosts}, ")"))
		}
	}
	return list
}

// followedHosts are the hosts that are followed of each hour, for people.
func (r reader) followedHosts() statement {
	var hours []expression
	for i, f := range r.Followed {
		if i > 0 && r.Followed[i-1].Hour == f.Hour {
			continue
		}
		hours = append(hours, sql("timestamptz ", value{f.Hour}, ", "+strconv.Itoa(len(f.Hosts))))
	}
	most := &selection{
		columns: columnsOf("bucket", "addr", "row_number() over (partition by bucket order by sum(flows) desc, addr) as rank"),
		from:    derived{r.hostsOfHours(r.Followed, columnsOf("bucket")), "side"}, where: []expression{sql("addr is not null")}, groupBy: []string{"bucket", "addr"},
	}
	return &selection{
		columns: columnsOf("bucket as hour", "addr"),
		from:    joined{derived{most, "most"}, "join", values{hours, "hours", []string{"hour", "hosts"}}, sql("hours.hour = bucket")},
		where:   []expression{sql("rank <= hosts")},
	}
}

// hostsOfHours are the hosts' rows in traffic_1h of hours.
func (r reader) hostsOfHours(hours []Followed, columns []column) (list union) {
	whole := wholeHours(hours)
	for side, dim := range r.dims {
		list = append(list, r.rollups(rollupRows{dim: dim, segments: whole, settled: true, columns: all(columns, r.keyColumns(r.sideOf(side)), []column{named("flows::float8", "flows")})})...)
	}
	return append(list, r.rollups(rollupRows{dim: r.same, segments: whole, settled: true, columns: all(columns, r.keyColumns(r.sideOf(0)), []column{named("-flows::float8", "flows")})})...)
}

// busiestOfHours is the statement that finds the hosts with most flows of each hour, as
// many as could be followed and one, and the cut of its remainders. Each hour is grouped by
// itself: that needs no sorting of all hosts of all hours, and an index finds its rows.
func (r reader) busiestOfHours(hours []Followed) statement {
	var list union
	for i, f := range hours {
		if i > 0 && hours[i-1].Hour == f.Hour {
			continue
		}
		list = append(list, &selection{
			columns: []column{{sql(value{f.Hour}, "::timestamptz"), "bucket"}, named("addr", ""), named("sum(flows)", "flows")},
			from:    derived{r.hostsOfHours(hours[i:i+1], nil), "side"}, where: []expression{sql("addr is not null")},
			groupBy: []string{"addr"}, orderBy: []string{"flows desc", "addr"}, limit: sql(strconv.Itoa(following.most + 1)),
		})
	}
	var cuts union
	for _, dim := range r.dims {
		cuts = append(cuts, r.rollups(rollupRows{dim: dim, rows: remainderRows, segments: wholeHours(hours), settled: true, columns: columnsOf("bucket", "cut[1] as cut")})...)
	}
	return append(list, &selection{columns: columnsOf("bucket", "null", "sum(cut)::float8"), from: derived{cuts, "remainders"}, groupBy: []string{"bucket"}})
}
