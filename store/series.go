package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
)

// Series is how the measures of the largest groups went over time.
type Series struct {
	// From and To are the range as answered, in UTC.
	From, To time.Time
	// Step is the length of a bucket.
	Step time.Duration
	Keys []Key
	By   Measure
	// Start is where the buckets begin, on multiples of Step in UTC (weeks on
	// Mondays). The first bucket may begin before From and the last end after
	// To; what they hold is of the range alone.
	Start []time.Time
	// Lines are the groups that Top lists for the same question.
	Lines []Line
	// Other is the groups that are not listed, nil when all are or when there
	// are no keys.
	Other *Line
	// Total is all flows, each once.
	Total Line
	// The rest is as in Top.
	Source, Resolution string
	Exact              bool
	SQL, Command       string
	Took               time.Duration
}

// Line has one sum of each measure for each bucket.
type Line struct {
	Values                []Value
	Label                 string
	Flows, Packets, Bytes []int64
}

func newLine(label string, buckets int) Line {
	return Line{Label: label, Flows: make([]int64, buckets), Packets: make([]int64, buckets), Bytes: make([]int64, buckets)}
}

func (l *Line) set(bucket int, s Sums) {
	l.Flows[bucket], l.Packets[bucket], l.Bytes[bucket] = s.Flows, s.Packets, s.Bytes
}

// steps is the ladder of automatic steps.
var steps = []flow.Time{
	flow.Second, 5 * flow.Second, 10 * flow.Second, 30 * flow.Second,
	flow.Minute, 5 * flow.Minute, 15 * flow.Minute, 30 * flow.Minute,
	flow.Hour, 3 * flow.Hour, 6 * flow.Hour, 12 * flow.Hour,
	flow.Day, week,
}

const week = 7 * flow.Day

// origin is a time that buckets of this step begin at: the epoch, and its first
// Monday for weeks.
func origin(step flow.Time) flow.Time {
	if step%week == 0 {
		return 4 * flow.Day
	}
	return 0
}

// bucketsOf returns the first and the last bucket of a range, and how many
// there are.
func bucketsOf(from, to, step flow.Time) (first, last flow.Time, n int64) {
	o := origin(step)
	first = (from - o).Floor(step) + o
	last = (to - 1 - o).Floor(step) + o
	return first, last, int64((last-first)/step) + 1
}

// checkStep chooses the step, or says why the one given is none.
func (c *question) checkStep(step time.Duration, buckets int) error {
	if buckets == 0 {
		buckets = DefaultBuckets
	}
	if buckets < 1 || buckets > MaxBuckets {
		return &QuestionError{Parameter: "step", Reason: fmt.Sprintf("%d buckets is not between 1 and %d", buckets, MaxBuckets)}
	}
	if step != 0 {
		c.step = flow.Time(step / time.Millisecond)
		if step < 0 || step%time.Millisecond != 0 {
			return &QuestionError{Parameter: "step", Reason: fmt.Sprintf("%v is not a positive number of whole milliseconds", step)}
		}
		first, last, n := bucketsOf(c.from, c.to, c.step)
		if n > MaxBuckets {
			return &QuestionError{Parameter: "step", Reason: fmt.Sprintf("a step of %s cuts this range into %d buckets, at most %d are possible: take %s or more",
				shortDuration(c.step), n, MaxBuckets, shortDuration(autoStep(c.from, c.to, MaxBuckets)))}
		}
		c.first, c.last = first, last
		return nil
	}
	c.step = autoStep(c.from, c.to, buckets)
	c.first, c.last, _ = bucketsOf(c.from, c.to, c.step)
	return nil
}

// autoStep is the smallest step of the ladder that makes no more than so many
// buckets; beyond the ladder, whole weeks. One bucket becomes two when the range
// lies across a boundary of every step.
func autoStep(from, to flow.Time, buckets int) flow.Time {
	for _, step := range steps {
		if _, _, n := bucketsOf(from, to, step); n <= int64(buckets) {
			return step
		}
	}
	weeks := max(1, (to-from)/week/flow.Time(buckets)) * week
	for {
		if _, _, n := bucketsOf(from, to, weeks); n <= int64(max(2, buckets)) {
			return weeks
		}
		weeks += week
	}
}

// Series follows the groups of a question over time. The buckets of a range add
// up to Top's numbers for it, exactly.
func (db *DB) Series(ctx context.Context, q Question) (*Series, error) {
	c, err := q.check()
	if err != nil {
		return nil, err
	}
	if err := c.checkLimit(MaxLines); err != nil {
		return nil, err
	}
	if err := c.checkStep(q.Step, q.MaxBuckets); err != nil {
		return nil, err
	}
	began := time.Now()
	var r *Series
	err = db.ask(ctx, c.timeout, func(tx pgx.Tx) error {
		if err := c.resolve(ctx, tx); err != nil {
			return err
		}
		r, err = c.series(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.Took = time.Since(began)
	return r, nil
}

func (c *question) series(ctx context.Context, tx pgx.Tx) (*Series, error) {
	r := &Series{
		From: c.from.Time(), To: c.to.Time(), Step: time.Duration(c.step) * time.Millisecond, Keys: c.keys, By: c.by,
		Lines:  []Line{},
		Source: "flows", Resolution: resolution(c.step), Exact: true,
		Command: "flowtally series" + c.arguments(),
	}
	for t := c.first; t <= c.last; t += c.step {
		r.Start = append(r.Start, t.Time())
	}
	r.Total = newLine("total", len(r.Start))

	// The groups are ranked first, over the whole range; the buckets are then
	// made for these alone. Making them for all groups at once would hold
	// groups times buckets in memory.
	var groups []*group
	if len(c.keys) > 0 {
		top, listed, err := c.top(ctx, tx)
		if err != nil {
			return nil, err
		}
		groups = listed
		for _, row := range top.Rows {
			line := newLine(row.Label, len(r.Start))
			line.Values = row.Values
			r.Lines = append(r.Lines, line)
		}
		if top.Other != nil {
			other := newLine("other", len(r.Start))
			r.Other = &other
		}
	}

	var run statement
	c.seriesSQL(&run, groups)
	people := statement{literal: true}
	c.seriesSQL(&people, groups)
	r.SQL = people.String()
	rows, err := tx.Query(ctx, run.String(), append([]any{pgx.QueryExecModeExec}, run.args...)...)
	if err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			line   string
			bucket time.Time
			rank   *int
			sums   Sums
		)
		_, keys := c.newGroup()
		targets := append([]any{&bucket, &line, &rank}, keys...)
		if err := rows.Scan(append(targets, &sums.Flows, &sums.Packets, &sums.Bytes)...); err != nil {
			return nil, fmt.Errorf("series: %w", err)
		}
		i := int((flow.TimeOf(bucket) - c.first) / c.step)
		if i < 0 || i >= len(r.Start) {
			return nil, fmt.Errorf("series: bucket %v is outside of the range", bucket)
		}
		switch {
		case line == "total":
			r.Total.set(i, sums)
		case line == "other" && r.Other != nil:
			r.Other.set(i, sums)
		case line == "group":
			r.Lines[*rank-1].set(i, sums)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	return r, nil
}

// resolution is a step in words.
func resolution(step flow.Time) string {
	if step%flow.Second == 0 {
		return fmt.Sprintf("%d s", step/flow.Second)
	}
	return fmt.Sprintf("%d ms", step)
}

// seriesSQL writes the statement for the listed groups. A flow makes one row
// for each bucket of the range that it crosses, which is one for nearly all.
func (c *question) seriesSQL(s *statement, groups []*group) {
	interval := "interval '" + resolution(c.step) + "'"
	start := "'epoch'"
	if o := origin(c.step); o != 0 {
		start = "'" + o.Time().Format(time.DateTime) + "+00'"
	}
	// A bucket ends where the range does, also when its step goes on.
	since, until := "bucket", "bucket + "+interval
	if c.first != c.from {
		since = "greatest(bucket, " + s.time(c.from) + ")"
	}
	if c.last+c.step != c.to {
		until = "least(" + until + ", " + s.time(c.to) + ")"
	}
	cells := func(side int) {
		columns := c.columnsOfSide(side)
		s.line("  select bucket", c.cellKeys(side, groups), ",")
		if c.whole {
			s.line("    count(*) as flows, sum(packets) as packets, sum(bytes) as bytes")
		} else {
			inside := "case when flow_start >= " + since + " and flow_end <= " + until
			s.line("    count(*) filter (where flow_start >= ", since, ") as flows,")
			for _, m := range []string{"packets", "bytes"} {
				s.line("    sum(", inside, " then ", m)
				comma := map[string]string{"packets": ","}[m]
				s.line("      else flow_share(", m, ", flow_start, flow_end, ", since, ", ", until, ") end) as ", m, comma)
			}
		}
		s.line("  from (")
		s.line("    select flow_start, flow_end, packets, bytes", columns, ",")
		if c.whole {
			s.line("      date_bin(", interval, ", flow_end, ", start, ") as bucket")
		} else {
			s.line("      generate_series(date_bin(", interval, ", greatest(flow_start, ", s.time(c.from), "), ", start, "),")
			s.line("        date_bin(", interval, ", least(flow_end, ", s.time(c.last), "), ", start, "), ", interval, ") as bucket")
		}
		s.line("    from flows")
		c.where(s, "    ")
		if side > 0 {
			s.line("      and ", c.otherSide())
		}
		s.line("  ) flow")
	}

	if len(c.keys) == 0 {
		s.line("with cells as (")
		cells(0)
		s.line("  group by bucket")
		s.line(")")
		s.line("select bucket, 'total' as line, null::int as rank,")
		c.measures(s, "", "from cells")
		s.line("order by bucket")
		return
	}

	names := strings.Join(c.names(), ", ")
	if len(groups) == 0 {
		// Nothing to join: no flow is in the range.
		s.line("with top (rank, ", names, ") as (select null::int", c.typedNulls(), " where false), cells as (")
	} else {
		s.line("with top (rank, ", names, ") as not materialized (values")
		for i, g := range groups {
			end := ","
			if i == len(groups)-1 {
				end = ""
			}
			s.line("  (", strconv.Itoa(i+1), c.literals(g), ")", end)
		}
		s.line("), cells as (")
	}
	sides := c.sides()
	for i := range sides {
		if i > 0 {
			s.line("  union all")
		}
		cells(i)
		s.line("  left join top on ", c.joinTop(sides[i], groups))
		s.line("  group by bucket, rank")
	}
	s.line(")")
	s.line("select bucket, case when rank is null then 'other' else 'group' end as line, rank, ", c.shown(), ",")
	c.measures(s, "sum", "from cells left join top using (rank)")
	s.line("group by bucket, rank, ", names)
	s.line("union all")
	s.line("select bucket, 'total', null, ", c.nulls(), ",")
	c.measures(s, "sum", "from cells")
	if len(sides) == 2 {
		s.line("where side = 1")
	}
	s.line("group by bucket")
	s.line("order by bucket, line, rank")
}

// measures adds the sums of an answer and what they are taken from.
func (c *question) measures(s *statement, aggregate, from string) {
	for i, m := range measures {
		of, comma := m, ","
		if aggregate != "" {
			of = aggregate + "(" + m + ")"
		}
		if i == len(measures)-1 {
			comma = ""
		}
		s.line("  ", saturated(of), " as ", m, comma)
	}
	s.line(from)
}

// columnsOfSide are the columns that a side is joined by, as a list to append.
func (c *question) columnsOfSide(side int) string {
	if len(c.keys) == 0 {
		return ""
	}
	return ", " + strings.Join(c.sides()[side], ", ")
}

func (c *question) cellKeys(side int, groups []*group) string {
	switch {
	case len(c.keys) == 0:
		return ""
	case len(c.sides()) == 2:
		return fmt.Sprintf(", %d as side, rank", side+1)
	}
	return ", rank"
}

// sqlType is the type of a key's values.
func (k keyColumn) sqlType() string {
	if k.kind == kindAddr {
		return "inet"
	}
	return "bigint"
}

func (c *question) typedNulls() string {
	var b strings.Builder
	for _, k := range c.columns {
		b.WriteString(", null::" + k.sqlType())
	}
	return b.String()
}

// literals are the values of a group in SQL, as a list to append. They come
// from the database, numbers and addresses alone.
func (c *question) literals(g *group) string {
	var b strings.Builder
	for i, k := range c.columns {
		b.WriteString(", ")
		switch {
		case k.kind == kindAddr && g.texts[i] != nil:
			b.WriteString("inet '" + strings.ReplaceAll(*g.texts[i], "'", "''") + "'")
		case k.kind != kindAddr && g.numbers[i] != nil:
			b.WriteString(strconv.FormatInt(*g.numbers[i], 10))
		default:
			b.WriteString("null::" + k.sqlType())
		}
	}
	return b.String()
}

// joinTop is the condition under which a flow belongs to a listed group. NULL
// is a value like others here; it is compared through one that no flow has,
// because "is not distinct from" cannot be hashed.
func (c *question) joinTop(side []string, groups []*group) string {
	conditions := make([]string, len(side))
	for i, k := range c.columns {
		null, nobody := false, "-1"
		for _, g := range groups {
			if k.kind == kindAddr {
				null, nobody = null || g.texts[i] == nil, "'0.0.0.0/0'"
			} else {
				null = null || g.numbers[i] == nil
			}
		}
		of, listed := "flow."+side[i], "top."+k.grouped()
		if null {
			of, listed = "coalesce("+of+", "+nobody+")", "coalesce("+listed+", "+nobody+")"
		}
		conditions[i] = of + " = " + listed
	}
	return strings.Join(conditions, " and ")
}
