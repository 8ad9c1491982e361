package answer

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/rollup"
)

// checkStep chooses the step, or says why the one given is none.
func (c *question) checkStep(step time.Duration, buckets int) error {
	if buckets == 0 {
		buckets = query.DefaultBuckets
	}
	if buckets < 1 || buckets > query.MaxBuckets {
		return &query.Error{Parameter: "step", Reason: fmt.Sprintf("%d buckets is not between 1 and %d", buckets, query.MaxBuckets)}
	}
	if step != 0 {
		c.step = flow.Time(step / time.Millisecond)
		if step < 0 || step%time.Millisecond != 0 {
			return &query.Error{Parameter: "step", Reason: fmt.Sprintf("%v is not a positive number of whole milliseconds", step)}
		}
		first, last, n := query.Buckets(c.from, c.to, c.step)
		if n > query.MaxBuckets {
			return &query.Error{Parameter: "step", Reason: fmt.Sprintf("a step of %s cuts this range into %d buckets, at most %d are possible: take %s or more",
				query.ShortDuration(c.step), n, query.MaxBuckets, query.ShortDuration(query.AutoStep(c.from, c.to, query.MaxBuckets)))}
		}
		c.first, c.last = first, last
		return nil
	}
	c.step = query.AutoStep(c.from, c.to, buckets)
	c.first, c.last, _ = query.Buckets(c.from, c.to, c.step)
	return nil
}

// coarsen makes an automatic step a minute at least where roll-ups can answer:
// half an hour of minutes says enough.
func (c *question) coarsen(asked time.Duration) {
	if _, why := c.dimensionsOf(); asked == 0 && why == "" && !c.raw && c.step < flow.Minute && c.to-c.from >= 30*flow.Minute {
		c.step = flow.Minute
		c.first, c.last, _ = query.Buckets(c.from, c.to, c.step)
	}
}

// Series follows the groups of a question over time. The buckets of a range add
// up to Top's numbers for it, exactly. An automatic step is a minute or more for
// half an hour and more where roll-ups can answer.
func (a *Answerer) Series(ctx context.Context, q query.Question) (*query.Series, error) {
	c, err := check(q)
	if err != nil {
		return nil, err
	}
	if err := c.checkLimit(query.MaxLines); err != nil {
		return nil, err
	}
	if err := c.checkStep(q.Step, q.MaxBuckets); err != nil {
		return nil, err
	}
	c.coarsen(q.Step)
	if q.LayOver < 0 || q.LayOver > query.MaxLayOver {
		return nil, &query.Error{Parameter: "lay_over", Reason: fmt.Sprintf("%d is not between 0 and %d", q.LayOver, query.MaxLayOver)}
	}
	period := flow.Time(q.Period / time.Millisecond)
	if period == 0 {
		period = (c.to - c.from + flow.Day - 1).Floor(flow.Day)
	}
	if q.LayOver > 0 && (q.Period < 0 || period < c.step || period%c.step != 0) {
		return nil, &query.Error{Parameter: "period", Reason: fmt.Sprintf("%s is not a multiple of the step, %s", query.ShortDuration(period), query.ShortDuration(c.step))}
	}
	if earliest := flow.TimeOf(query.FirstTime); q.LayOver > 0 && (period > c.from || c.from-period*flow.Time(q.LayOver) < earliest) {
		return nil, &query.Error{Parameter: "period", Reason: "the periods go back beyond 1970"}
	}
	if err := c.lookUp(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	var r *query.Series
	err = a.db.Ask(ctx, c.timeout, func(tx pgx.Tx) error {
		if r, err = c.series(ctx, tx); err != nil {
			return err
		}
		for i := range q.LayOver {
			if err := c.previous(ctx, tx, r, period*flow.Time(i+1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if q.LayOver > 0 {
		r.Command += fmt.Sprintf(" --lay-over %d --period %s", q.LayOver, query.ShortDuration(period))
	}
	r.Took = time.Since(began)
	return r, nil
}

func (c *question) series(ctx context.Context, tx pgx.Tx) (*query.Series, error) {
	r := &query.Series{
		From: c.from.Time(), To: c.to.Time(), Step: time.Duration(c.step) * time.Millisecond, Keys: c.keys, By: c.by,
		Lines: []query.Line{},
	}
	for t := c.first; t <= c.last; t += c.step {
		r.Start = append(r.Start, t.Time())
	}

	// The groups are ranked first, over the whole range; the buckets are then
	// made for these alone. Making them for all groups at once would hold
	// groups times buckets in memory.
	var (
		groups []*group
		ranked *query.Top
		open   *query.Remainder
	)
	if len(c.keys) > 0 {
		var err error
		of := *c
		if ranked, groups, err = of.rank(ctx, tx); err != nil {
			return nil, err
		}
		c.exporters, c.listed, c.looked = of.exporters, groups, of.looked
	}
	if err := c.resolve(ctx, tx, c.step); err != nil {
		return nil, err
	}
	if !c.p.value.Any() {
		// The buckets may be others than those of the ranking.
		var vague bool
		var err error
		if vague, open, err = c.vagueTotal(ctx, tx); err != nil {
			return nil, err
		} else if vague {
			c.raw = true
			if err := c.resolve(ctx, tx, c.step); err != nil {
				return nil, err
			}
			c.raw = false
		}
	}
	total, lines, other, sql, err := c.follow(ctx, tx, groups)
	if err != nil {
		return nil, err
	}
	r.Provenance = c.provenance("series", sql)
	r.Resolution = query.FormatResolution(c.step)
	r.Total, r.Lines = total, lines
	if ranked != nil {
		for i, row := range ranked.Rows {
			r.Lines[i].Label, r.Lines[i].Values = row.Label, row.Values
		}
		if ranked.Other != nil {
			r.Other = &other
		}
		r.Remainder = ranked.Remainder
	}
	if c.p.rest() {
		r.Exact = r.Exact && r.Remainder == nil && open == nil
		r.Remainder = cmp.Or(open, r.Remainder)
	}
	return r, nil
}

// vagueTotal reports whether the roll-ups cannot tell the total well enough, and
// what they leave open: of a single value alone, of which their remainders may
// have a part. It asks about the same buckets as the series.
func (c *question) vagueTotal(ctx context.Context, tx pgx.Tx) (bool, *query.Remainder, error) {
	if !c.p.rest() {
		return false, nil, nil
	}
	of := *c
	of.keys = []query.Key{query.KeyProtocol}
	of.columns, _ = query.Columns(of.keys)
	of.limit = query.MaxLimit
	t, _, err := of.top(ctx, tx)
	if err != nil {
		return false, nil, err
	}
	return t.Remainder != nil && float64(t.Remainder.Error) > vague*float64(t.Total.By(c.by)), t.Remainder, nil
}

// previous adds the period that lies so much before.
func (c *question) previous(ctx context.Context, tx pgx.Tx, r *query.Series, offset flow.Time) error {
	was := *c
	was.from, was.to, was.first, was.last = c.from-offset, c.to-offset, c.first-offset, c.last-offset
	was.raw = c.raw || !c.p.value.Any() && !c.p.rolled()
	if err := was.resolve(ctx, tx, was.step); err != nil {
		return err
	}
	total, lines, _, _, err := was.follow(ctx, tx, c.listed)
	if err != nil {
		return err
	}
	for i := range lines {
		lines[i].Label, lines[i].Values = r.Lines[i].Label, r.Lines[i].Values
	}
	r.Previous = append(r.Previous, query.Previous{Offset: time.Duration(offset) * time.Millisecond, Total: total, Lines: lines, Cut: was.p.cut})
	r.Exact = r.Exact && (!was.p.rest() || r.Remainder == nil)
	return nil
}

// follow sums the listed groups, the others and all by bucket.
func (c *question) follow(ctx context.Context, tx pgx.Tx, groups []*group) (total query.Line, lines []query.Line, other query.Line, sql string, err error) {
	n := int((c.last-c.first)/c.step) + 1
	total, other = query.NewLine("total", n), query.NewLine("other", n)
	lines = make([]query.Line, len(groups))
	for i := range lines {
		lines[i] = query.NewLine("", n)
	}
	var run statement
	c.seriesSQL(&run, groups)
	people := statement{literal: true}
	c.seriesSQL(&people, groups)
	fail := func(err error) (query.Line, []query.Line, query.Line, string, error) {
		return total, nil, other, "", fmt.Errorf("series: %w", err)
	}
	rows, err := tx.Query(ctx, run.String(), append([]any{pgx.QueryExecModeExec}, run.args...)...)
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			line   string
			bucket time.Time
			rank   *int
			sums   query.Sums
		)
		_, keys := c.newGroup()
		targets := append([]any{&bucket, &line, &rank}, keys...)
		if err := rows.Scan(append(targets, &sums.Flows, &sums.Packets, &sums.Bytes)...); err != nil {
			return fail(err)
		}
		i := int((flow.TimeOf(bucket) - c.first) / c.step)
		if i < 0 || i >= n {
			return fail(fmt.Errorf("bucket %v is outside of the range", bucket))
		}
		switch line {
		case "total":
			total.Set(i, sums)
		case "other":
			other.Set(i, sums)
		case "group":
			lines[*rank-1].Set(i, sums)
		}
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return total, lines, other, people.String(), nil
}

// seriesSQL writes the statement for the listed groups. Nearly all flows lie
// inside one bucket and are summed as they are. The others make a row for each
// bucket of the range that they cross, in a second reading: the planner takes
// generate_series for a thousand rows, and would rather sort all flows than
// hash them if it stood before all of them.
func (c *question) seriesSQL(s *statement, groups []*group) {
	sides := c.sides()
	names := strings.Join(c.names(), ", ")
	// Of roll-ups, the rows of the listed groups alone are read: what all have is
	// in other rows.
	few := len(groups) > 0 && c.p.rest() && c.p.value.Any()
	switch {
	case len(c.keys) == 0:
		sides = sides[:1]
		s.line("with cells as (")
	case len(groups) == 0:
		// Nothing to join: no flow is in the range.
		s.line("with top (rank, ", names, ") as (select null::int", c.typedNulls(), " where false), cells as (")
	default:
		s.line("with top (rank, ", names, ") as not materialized (values")
		for i, g := range groups {
			end := ","
			if i == len(groups)-1 {
				end = ""
			}
			s.line("  (", strconv.Itoa(i+1), c.literals(g), ")", end)
		}
		if few {
			s.line("), listed as (")
			c.listedCells(s, groups)
		}
		s.line("), cells as (")
	}
	first := true
	if few {
		first = false
		c.allCells(s)
	}
	for _, p := range c.p.pieces {
		if few && p.source != raw {
			continue
		}
		readings := len(sides)
		if p.source != raw {
			readings = len(c.p.dims)
		}
		for i := range readings {
			if !first {
				s.line("  union all")
			}
			first = false
			if p.source == raw {
				c.cells(s, p, i, groups)
				continue
			}
			c.rolledCells(s, p, i, groups)
		}
		if p.source != raw && c.p.same != 0 {
			s.line("  union all")
			c.rolledCells(s, p, 2, groups)
		}
	}
	s.line(")")
	if len(c.keys) > 0 {
		s.line("select bucket, case when rank is null then 'other' else 'group' end as line, rank, ", c.shown(), ",")
		c.sumsOf(s, "cells left join top using (rank)")
		s.line("group by bucket, rank, ", names)
		s.line("union all")
		s.line("select bucket, 'total', null, ", c.nulls(), ",")
	} else {
		s.line("select bucket, 'total' as line, null::int as rank,")
	}
	c.sumsOf(s, "cells")
	if len(sides) == 2 {
		s.line("where side = 1")
	}
	s.line("group by bucket")
	s.line("order by bucket, line, rank")
}

// bin is the bucket of a time, in SQL.
func (c *question) bin(of string) string {
	start := "'epoch'"
	if o := query.Origin(c.step); o != 0 {
		start = "'" + o.Time().Format(time.DateTime) + "+00'"
	}
	return "date_bin(interval '" + query.FormatResolution(c.step) + "', " + of + ", " + start + ")"
}

// listedCells adds the sums by bucket of the listed groups, of all pieces that are
// read from roll-ups.
func (c *question) listedCells(s *statement, groups []*group) {
	reading := func(label string, dim rollup.Dimension, side []string, sign string) {
		s.line("  select ", c.bin("bucket"), " as bucket, ", label, "rank,")
		s.line("    ", strings.ReplaceAll(c.rolledSums(), "sum(", sign+"sum("))
		s.line("  from (")
		c.only(dim).rolled(s, "    ", "select bucket, sampling_rate as sampling_rate, flows, packets, bytes, "+c.named(side), false, c.among(side, groups))
		s.line("  ) flow")
		s.line("  join top on ", c.joinTop(c.names(), groups))
		s.line("  group by 1, rank")
	}
	for i, dim := range c.p.dims {
		if i > 0 {
			s.line("  union all")
		}
		reading(c.labelled(i), dim, c.sideOf(i), "")
	}
	if c.p.same != 0 {
		s.line("  union all")
		reading(c.labelled(2), c.p.same, c.sides()[0], "-")
	}
}

// allCells adds what all groups have by bucket, on each side, of the pieces that
// are read from roll-ups: what is listed under its rank, and what all have less
// that under none.
func (c *question) allCells(s *statement) {
	side := ""
	if len(c.sides()) == 2 {
		side = "side, "
	}
	s.line("  select * from listed")
	s.line("  union all")
	s.line("  select bucket, ", side, "null, -flows, -packets, -bytes from listed")
	reading := func(label string, dim rollup.Dimension, sign string) {
		s.line("  union all")
		s.line("  select ", c.bin("bucket"), " as bucket, ", label, "null as rank,")
		s.line("    ", strings.ReplaceAll(c.rolledSums(), "sum(", sign+"sum("))
		s.line("  from (")
		c.only(dim).rolled(s, "    ", "select bucket, sampling_rate as sampling_rate, flows, packets, bytes", true)
		s.line("  ) flow")
		s.line("  group by 1")
	}
	for i := range c.p.dims {
		reading(c.labelled(i), rollup.DimTotal, "")
	}
	if c.p.same != 0 {
		reading(c.labelled(2), c.p.same, "-")
	}
}

// rolledCells is cells of a piece that is read from roll-ups; side 2 takes off
// what the others have twice.
func (c *question) rolledCells(s *statement, p piece, side int, groups []*group) {
	sign, of, dim := "", side, c.p.same
	if side == 2 {
		sign, of = "-", 0
	} else {
		dim = c.p.dims[side]
	}
	keys, inner, on := "", "", ""
	if len(c.keys) > 0 {
		keys, inner = ", rank", ", "+c.named(c.sideOf(of))
		if len(c.sides()) == 2 {
			keys = fmt.Sprintf(", %d as side, rank", side+1)
		}
		on = "  left join top on " + c.joinTop(c.names(), groups) + " and not flow.remainder"
	}
	s.line("  select ", c.bin("bucket"), " as bucket", keys, ",")
	sums := strings.ReplaceAll(c.rolledSums(), "sum(", sign+"sum(")
	s.line("    ", sums)
	s.line("  from (")
	c.only(dim, p).rolled(s, "    ", "select bucket, sampling_rate as sampling_rate, remainder, flows, packets, bytes"+inner, c.p.value.Any())
	s.line("  ) flow")
	if on != "" {
		s.line(on)
	}
	by := "  group by 1"
	if len(c.keys) > 0 {
		by += ", rank"
	}
	s.line(by)
}

// cells adds the sums by bucket and listed group of one side of the flows of a
// piece.
func (c *question) cells(s *statement, p piece, side int, groups []*group) {
	interval := "interval '" + query.FormatResolution(c.step) + "'"
	bin := c.bin
	var columns, keys, join string
	if len(c.keys) > 0 {
		of := c.sides()
		columns, keys = ", "+c.named(of[side]), ", rank"
		if len(of) == 2 {
			keys = fmt.Sprintf(", %d as side, rank", side+1)
		}
		join = "  left join top on " + c.joinTop(c.names(), groups)
	}
	if c.scaled {
		columns += ", sampling_rate"
	}
	from := func(sums []string, bucket []string, where ...string) {
		s.line("  select bucket", keys, ",")
		for i, m := range query.Measures {
			comma := ","
			if i == len(query.Measures)-1 {
				comma = ""
			}
			s.line("    ", sums[i], " as ", m, comma)
		}
		s.line("  from (")
		s.line("    select flow_start, flow_end, packets, bytes", columns, ",")
		for _, b := range bucket {
			s.line("      ", b)
		}
		s.line("    from flows")
		c.where(s, "    ", p)
		if side > 0 {
			s.line("      and ", c.otherSide())
		}
		for _, w := range where {
			s.line("      and ", w)
		}
		s.line("  ) flow")
		if join != "" {
			s.line(join)
		}
		s.line("  group by bucket", strings.TrimPrefix(keys, fmt.Sprintf(", %d as side", side+1)))
	}
	asTheyAre := []string{"count(*)", "sum(" + c.scale("packets") + ")", "sum(" + c.scale("bytes") + ")"}
	if c.whole {
		from(asTheyAre, []string{bin("flow_end") + " as bucket"})
		return
	}

	since, until := s.time(p.from), s.time(p.to)
	inside := "flow_start >= " + since + " and flow_end <= " + until
	from(asTheyAre, []string{bin("flow_start") + " as bucket"},
		inside+" and "+bin("flow_start")+" = "+bin("flow_end"))
	s.line("  union all")
	// A bucket ends where the piece does, also when its step goes on.
	begin, end, _ := query.Buckets(p.from, p.to, c.step)
	first, last := "bucket", "bucket + "+interval
	if begin != p.from {
		first = "greatest(" + first + ", " + since + ")"
	}
	if end+c.step != p.to {
		last = "least(" + last + ", " + until + ")"
	}
	share := func(m string) string {
		return "sum(" + c.scale("flow_share("+m+", flow_start, flow_end, "+first+", "+last+")") + ")"
	}
	from([]string{"count(*) filter (where flow_start >= " + first + ")", share("packets"), share("bytes")}, []string{
		"generate_series(" + bin("greatest(flow_start, "+since+")") + ",",
		"  " + bin("least(flow_end, "+s.time(end)+")") + ", " + interval + ") as bucket",
	}, "not ("+inside+" and "+bin("flow_start")+" = "+bin("flow_end")+")")
}

// sumsOf adds the sums of an answer and what they are taken from.
func (c *question) sumsOf(s *statement, from string) {
	for i, m := range query.Measures {
		comma := ","
		if i == len(query.Measures)-1 {
			comma = ""
		}
		s.line("  ", saturated("sum("+m+")"), " as ", m, comma)
	}
	s.line("from ", from)
}

// sqlType is the type that a key's values are written with.
func sqlType(c query.KeyColumn) string { return c.SQLType() }

func (c *question) typedNulls() string {
	var b strings.Builder
	for _, k := range c.columns {
		b.WriteString(", null::" + sqlType(k))
	}
	return b.String()
}

// literals are the values of a group in SQL, as a list to append. They come
// from the database; of an application's name that is what an exporter sent.
func (c *question) literals(g *group) string {
	var b strings.Builder
	for i, k := range c.columns {
		b.WriteString(", ")
		switch {
		case k.Kind == query.KindAddr && g.texts[i] != nil:
			b.WriteString("inet '" + strings.ReplaceAll(*g.texts[i], "'", "''") + "'")
		case k.IsText() && g.texts[i] != nil:
			b.WriteString("text " + quoted(*g.texts[i]))
		case !k.IsText() && g.numbers[i] != nil:
			b.WriteString(strconv.FormatInt(*g.numbers[i], 10))
		default:
			b.WriteString("null::" + sqlType(k))
		}
	}
	return b.String()
}

// quoted is a text in SQL, whatever standard_conforming_strings says.
func quoted(text string) string {
	quote := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		quote = "E" + strings.ReplaceAll(quote, `\`, `\\`)
	}
	return quote
}

// joinTop is the condition under which a flow belongs to a listed group. NULL
// is a value like others here; it is compared through one that no flow has,
// because "is not distinct from" cannot be hashed.
func (c *question) joinTop(side []string, groups []*group) string {
	conditions := make([]string, len(side))
	for i, k := range c.columns {
		null, nobody := false, "-1"
		for _, g := range groups {
			if k.IsText() {
				null, nobody = null || g.texts[i] == nil, "'0.0.0.0/0'"
			} else {
				null = null || g.numbers[i] == nil
			}
		}
		of, listed := "flow."+side[i], "top."+k.Grouped()
		if null && k.IsText() && k.Kind != query.KindAddr {
			// A text may be any; with a character in front it is not the empty one.
			of, listed, nobody = "('=' || "+of+")", "('=' || "+listed+")", "''"
		}
		if null {
			of, listed = "coalesce("+of+", "+nobody+")", "coalesce("+listed+", "+nobody+")"
		}
		conditions[i] = of + " = " + listed
	}
	return strings.Join(conditions, " and ")
}
