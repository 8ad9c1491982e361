// Package answer answers questions about flows: it plans what to read, writes the SQL, runs
// it and reads the answer.
package answer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/rollup"
)

// Answerer answers questions about the flows of a database. It is safe for concurrent
// use.
type Answerer struct{ db *store.DB }

// New returns an Answerer of a database.
func New(db *store.DB) *Answerer { return &Answerer{db} }

// Question is a Question that makes sense: its defaults are filled in.
type question struct {
	from, to  flow.Time
	keys      []query.Key
	columns   []query.KeyColumn
	by        query.Measure
	limit     int
	exporter  string
	exporters []int32 // the numbers that exporter means
	filter    *filter.Filter
	having    *query.Having
	whole     bool
	scaled    bool
	raw       bool
	timeout   time.Duration
	// Of a Series: buckets start at first, first+step, …, last.
	step, first, last flow.Time
	// widened is to how much the edges of the range were rounded, because nothing
	// finer is kept.
	widened flow.Time
	p       *plan
	// looked is what the plan was made from.
	looked *state
	// listed are the groups that a Series follows.
	listed []*group
}

// check fills in the defaults of a question or returns a *QuestionError.
func check(q query.Question) (*question, error) {
	if q.From.Before(query.FirstTime) || q.From.After(query.LastTime) {
		return nil, &query.Error{Parameter: "from", Reason: q.From.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
	}
	if q.To.Before(query.FirstTime) || q.To.After(query.LastTime) {
		return nil, &query.Error{Parameter: "to", Reason: q.To.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
	}
	c := &question{
		from: flow.TimeOf(q.From), to: flow.TimeOf(q.To), keys: q.Keys, exporter: q.Exporter,
		whole: q.Whole, scaled: q.Scaled, raw: q.Raw, limit: q.Limit, timeout: q.Timeout,
		filter: q.Filter, having: q.Having,
	}
	if c.filter == nil {
		c.filter, _ = filter.Parse("")
	}
	if err := query.CheckRange(c.from.Time(), c.to.Time()); err != nil {
		return nil, err
	}
	var err error
	if c.columns, err = query.Columns(q.Keys); err != nil {
		return nil, err
	}
	if c.by, err = query.ParseMeasure(string(q.By)); err != nil {
		return nil, err
	}
	if c.limit == 0 {
		c.limit = query.DefaultLimit
	}
	if c.timeout <= 0 {
		c.timeout = store.DefaultTimeout
	}
	return c, nil
}

func (c *question) checkLimit(most int) error {
	if c.limit < 1 || c.limit > most {
		return &query.Error{Parameter: "limit", Reason: fmt.Sprintf("%d is not between 1 and %d", c.limit, most)}
	}
	return nil
}

// where adds the conditions that select the flows of a piece. The bounds of
// flow_end are what partitions are chosen by: no flow that matters ends before
// the range, nor in a partition whose flows all start after it. The filter comes
// first: conditions are tried in their order, and those on times are met by nearly
// all flows of the partitions that are read.
func (c *question) where(s *statement, indent string, p piece) {
	from, to := s.time(p.from), s.time(p.to)
	and := "where "
	if !c.filter.Any() {
		s.line(indent, and, "(", s.condition(c.filter), ")")
		and = "  and "
	}
	switch {
	case c.whole:
		s.line(indent, and, "flow_end >= ", from, " and flow_end < ", to)
	case p.batches != nil:
		s.line(indent, and, "flow_end >= ", s.time(max(p.from, p.since)), " and flow_end < ", s.time(p.until))
		s.line(indent, "  and flow_start < ", to, " and (flow_end > ", from, " or flow_start = ", from, ")")
		s.line(indent, "  and batch = any('{", numbers(p.batches), "}')")
	default:
		// A person's statement finds the bound itself, but once: outside of a
		// subselect the function would be called for every row.
		until := "(select flows_until(" + to + "))"
		if !s.literal {
			until = s.time(p.until)
		}
		s.line(indent, and, "flow_end >= ", from, " and flow_end < ", until)
		s.line(indent, "  and flow_start < ", to, " and (flow_end > ", from, " or flow_start = ", from, ")")
	}
	c.ofExporters(s, indent)
}

// ofExporters adds the condition on exporters.
func (c *question) ofExporters(s *statement, indent string) {
	if c.exporter != "" {
		s.line(indent, "  and exporter_id in (", numbers(c.exporters), ")")
	}
}

// resolve asks the database what the question's words mean at this moment, and
// chooses what to read.
func (c *question) resolve(ctx context.Context, tx pgx.Tx, step flow.Time) error {
	if c.exporter != "" && c.exporters == nil {
		ids, err := store.FindExporters(ctx, tx, c.exporter)
		if e, ok := errors.AsType[*store.ExporterError](err); ok {
			return &query.Error{Parameter: "exporter", Reason: e.Reason}
		}
		if err != nil {
			return err
		}
		c.exporters = ids
	}
	var err error
	if c.p, err = c.plan(ctx, tx, step); err != nil {
		return err
	}
	return c.reckon(ctx, tx)
}

// reckon tells PostgreSQL what more processes cost for the plan.
func (c *question) reckon(ctx context.Context, tx pgx.Tx) error {
	// The planner takes the times of a flow for independent of each other, and an
	// edge of the range, within a minute, for so many flows that it would start
	// more processes for some milliseconds of work.
	cost := "default"
	if c.p.small() {
		cost = strconv.Itoa(200 * parallelSetup)
	}
	_, err := tx.Exec(ctx, "set local parallel_setup_cost = "+cost)
	return err
}

// parallelSetup is what PostgreSQL reckons more processes to cost, unless told
// otherwise.
const parallelSetup = 1000

// small reports whether so little is read that more processes would only cost:
// sums, no more than two hours of them by minutes unless they are of all flows,
// and edges.
func (p *plan) small() bool {
	var fine flow.Time
	for _, piece := range p.pieces {
		switch {
		case piece.batches != nil:
			return false
		case piece.source == raw && piece.to-piece.from > flow.Minute:
			return false
		case piece.source == rollup.Minutes && p.rest():
			fine += piece.to - piece.from
		}
	}
	for _, f := range p.followed {
		fine -= f.to - f.from
	}
	return p.rolled() && fine <= 2*flow.Hour
}

// lookTimeout is how long the names of hosts in a filter may take to look up.
const lookTimeout = 3 * time.Second

// lookUp looks the hosts of the filter up.
func (c *question) lookUp(ctx context.Context) error {
	if len(c.filter.Hosts()) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	f, err := c.filter.Resolve(ctx, func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	})
	if err != nil {
		return &query.Error{Parameter: "filter", Reason: err.Error()}
	}
	c.filter = f
	return nil
}

// seen reports whether the answer needs to know when a group was seen.
func (c *question) seen() bool { return c.by.NeedsTimes() || c.having.NeedsTimes() }

// sides are the columns to group by: of each side when a key means either,
// else of the flow alone.
func (c *question) sides() [][]string {
	var source, destination []string
	either := false
	for _, k := range c.columns {
		switch {
		case k.EitherSide():
			either = true
			source, destination = append(source, network(k, k.Src)), append(destination, network(k, k.Dst))
		default:
			source, destination = append(source, network(k, k.Expression)), append(destination, network(k, k.Expression))
		}
	}
	if !either {
		return [][]string{source}
	}
	return [][]string{source, destination}
}

// sideOf are the columns to group by of the i-th dimension of the plan.
func (c *question) sideOf(i int) []string {
	sides := c.sides()
	return sides[min(i, len(sides)-1)]
}

// otherSide is the condition under which the second side of a flow is another
// group than the first: a flow between equal sides is one flow of one group.
func (c *question) otherSide() string {
	var differ []string
	for _, k := range c.columns {
		if k.EitherSide() {
			differ = append(differ, network(k, k.Src)+" is distinct from "+network(k, k.Dst))
		}
	}
	if len(differ) == 1 {
		return differ[0]
	}
	return "(" + strings.Join(differ, " or ") + ")"
}

// named lists the columns of a side under the names of the keys.
func (c *question) named(side []string) string {
	list := make([]string, len(side))
	for i, column := range side {
		list[i] = column
		if name := c.columns[i].Grouped(); name != column {
			list[i] += " as " + name
		}
	}
	return strings.Join(list, ", ")
}

// names are the names of the keys' columns inside of a statement.
func (c *question) names() []string {
	names := make([]string, len(c.columns))
	for i, k := range c.columns {
		names[i] = k.Grouped()
	}
	return names
}

// shown are the columns of a group in an answer.
func (c *question) shown() string {
	var list []string
	for _, k := range c.columns {
		list = append(list, k.Grouped())
		if k.Kind == query.KindExporter {
			list = append(list, "(select label from exporters where id = exporter_id) as exporter")
		}
	}
	return strings.Join(list, ", ")
}

// nulls stand in for shown in the rows that are no group.
func (c *question) nulls() string {
	list := strings.Repeat(", null", len(c.columns))
	for _, k := range c.columns {
		if k.Kind == query.KindExporter {
			list += ", null"
		}
	}
	return list[2:]
}

// saturated is a sum as a bigint: one too large must not fail the question.
func saturated(sum string) string {
	return "least(coalesce(" + sum + ", 0), 9223372036854775807)::bigint"
}

// group is where the columns of one group are scanned to.
type group struct {
	numbers []*int64
	texts   []*string
}

func (c *question) newGroup() (g *group, targets []any) {
	g = &group{numbers: make([]*int64, len(c.columns)), texts: make([]*string, len(c.columns))}
	for i, k := range c.columns {
		switch {
		case k.IsText():
			targets = append(targets, &g.texts[i])
		case k.Kind == query.KindExporter:
			targets = append(targets, &g.numbers[i], &g.texts[i])
		default:
			targets = append(targets, &g.numbers[i])
		}
	}
	return g, targets
}

// Values are what people get to see of a group, and its label.
func (c *question) values(g *group) ([]query.Value, string) {
	values := make([]query.Value, len(c.columns))
	for i, k := range c.columns {
		switch {
		case k.IsText():
			values[i] = k.Text(g.texts[i])
		case k.Kind == query.KindExporter && g.texts[i] == nil && g.numbers[i] != nil:
			// Its flows are stored, its first status is not yet.
			id := strconv.FormatInt(*g.numbers[i], 10)
			values[i] = k.Text(&id)
		case k.Kind == query.KindExporter:
			values[i] = k.Text(g.texts[i])
		default:
			values[i] = k.Number(g.numbers[i])
		}
	}
	return values, query.JoinLabels(c.columns, values)
}

// arguments are the flags of the command line that ask the same.
func (c *question) arguments() string {
	var b strings.Builder
	if len(c.keys) > 0 {
		b.WriteString(" --key " + query.JoinKeys(c.keys))
	}
	fmt.Fprintf(&b, " --by %s --from %s --to %s", c.by, query.FormatTime(c.from), query.FormatTime(c.to))
	if len(c.keys) > 0 {
		fmt.Fprintf(&b, " --limit %d", c.limit)
	}
	if c.step > 0 {
		b.WriteString(" --step " + query.ShortDuration(c.step))
	}
	if c.exporter != "" {
		b.WriteString(" --exporter " + shellQuote(c.exporter))
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"whole", c.whole}, {"scaled", c.scaled}, {"raw", c.raw}} {
		if f.set {
			b.WriteString(" --" + f.name)
		}
	}
	if c.having != nil {
		b.WriteString(" --having " + shellQuote(c.having.String()))
	}
	if !c.filter.Any() {
		b.WriteString(" " + shellQuote(c.filter.String()))
	}
	return b.String()
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-+=:.,/@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// numbers writes identifiers for SQL.
func numbers(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}

// network is the expression by which a column is grouped.
func network(c query.KeyColumn, column string) string {
	if c.V4 == 0 {
		return column
	}
	if c.V4 == c.V6 {
		return fmt.Sprintf("network(set_masklen(%s, %d))::inet", column, c.V4)
	}
	return fmt.Sprintf("network(set_masklen(%s, case family(%s) when 4 then %d else %d end))::inet", column, column, c.V4, c.V6)
}

// expression is the measure over the columns of groups.
func expression(m query.Measure) string {
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

// rankedBy ranks groups by the measure.
func rankedBy(m query.Measure, table string) string {
	if m.Additive() {
		return table + string(m) + " desc"
	}
	return "coalesce(" + expression(m) + ", 0) desc"
}

// havingSQL is a condition over the columns of groups.
func havingSQL(h *query.Having) string {
	return h.Render(func(c query.Comparison) string {
		op := c.Op
		if op == "!=" {
			op = "<>"
		}
		return fmt.Sprintf("coalesce(%s, 0) %s %d", expression(c.Measure), op, c.Number)
	})
}
