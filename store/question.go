package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"flowtally/filter"
	"flowtally/flow"
)

// Limits of a question.
const (
	// DefaultLimit is how many groups are listed when a question does not say.
	DefaultLimit = 10
	// MaxLimit is the most groups a Top lists.
	MaxLimit = 10_000
	// MaxLines is the most lines a Series has beside the rest and the total.
	MaxLines = 100
	// DefaultBuckets is how many buckets a Series with an automatic step has at
	// most, MaxBuckets how many any has.
	DefaultBuckets = 300
	MaxBuckets     = 1_500
	// MaxLayOver is how many earlier periods a Series has beside it at most.
	MaxLayOver = 8
	// DefaultTimeout is how long a question may take.
	DefaultTimeout = 30 * time.Second
)

// Question asks about the flows of the half-open range [From, To).
//
// A flow contributes to the range the share of its packets and bytes that lies
// inside, pro rata over its life (flow.Share), and counts as one flow where it
// starts. So the answers of adjoining ranges add up to the answer of the whole.
type Question struct {
	// From and To are cut to milliseconds.
	From, To time.Time
	// Keys is what to group by: at least one for a Top; without one a Series
	// has only its total.
	Keys []Key
	// By ranks the groups; empty is ByFlows.
	By Measure
	// Limit is how many groups to list, 1 to MaxLimit (a Series: MaxLines);
	// 0 is DefaultLimit.
	Limit int
	// Exporter restricts the question to the exporters of this name, address
	// or number; empty is all of them.
	Exporter string
	// Filter restricts the question to the flows that match; nil is all of
	// them. Names of hosts in it are looked up when the question is asked.
	Filter *filter.Filter
	// Having restricts the groups that a Top lists to those whose sums meet it;
	// the others go on to count in Other. nil is all of them.
	Having *Having
	// Whole books whole flows where they end, as nfdump does.
	Whole bool
	// Scaled multiplies packets and bytes by the rate of packet sampling, by 1
	// where that is not known. Flows are never multiplied.
	Scaled bool
	// Raw has the flows themselves read, also where the roll-ups could answer:
	// slower, and exact where these would have to estimate.
	Raw bool
	// Step is the length of a Series' buckets in whole milliseconds; 0 takes
	// the smallest step of a ladder (1 s to 1 week) that makes no more than
	// MaxBuckets buckets, 0 being DefaultBuckets.
	Step       time.Duration
	MaxBuckets int
	// LayOver is how many earlier periods a Series has beside it, 0 to
	// MaxLayOver, each Period before the other; a Period of 0 is the range's
	// length, rounded up to whole days.
	LayOver int
	Period  time.Duration
	// Timeout is how long the database may work on it; 0 is DefaultTimeout.
	Timeout time.Duration
}

// QuestionError says what is wrong with a question, so that whoever asked can
// ask better: it is their error, not the store's.
type QuestionError struct {
	// Parameter is from, to, key, by, limit, step or exporter; empty when only
	// the caller knows.
	Parameter string
	Reason    string
	// Offset and End are the part of the parameter's text that is meant, in
	// octets; equal where something is missing, and both 0 when nobody knows.
	Offset, End int
}

// Error returns the reason behind the parameter's name.
func (e *QuestionError) Error() string {
	if e.Parameter == "" {
		return e.Reason
	}
	return e.Parameter + ": " + e.Reason
}

// of names the parameter that a QuestionError is about.
func of(parameter string, err error) error {
	if q, ok := errors.AsType[*QuestionError](err); ok {
		return &QuestionError{Parameter: parameter, Reason: q.Reason}
	}
	return err
}

// ErrTimeout is wrapped by the error of a question that took too long.
var ErrTimeout = errors.New("the question took too long")

// Sums are the three measures of a set of flows. A sum that no int64 can hold
// is the largest one.
type Sums struct {
	Flows, Packets, Bytes int64
}

// By returns the measure m.
func (s Sums) By(m Measure) int64 {
	switch m {
	case ByPackets:
		return s.Packets
	case ByBytes:
		return s.Bytes
	}
	return s.Flows
}

// question is a Question that makes sense: its defaults are filled in.
type question struct {
	from, to  flow.Time
	keys      []Key
	columns   []keyColumn
	by        Measure
	limit     int
	exporter  string
	exporters []int32 // the numbers that exporter means
	filter    *filter.Filter
	having    *Having
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
func check(q Question) (*question, error) {
	if q.From.Before(earliest) || q.From.After(latest) {
		return nil, &QuestionError{Parameter: "from", Reason: q.From.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
	}
	if q.To.Before(earliest) || q.To.After(latest) {
		return nil, &QuestionError{Parameter: "to", Reason: q.To.Format(time.RFC3339) + " is outside of the years 1970 to 2199"}
	}
	c := &question{
		from: flow.TimeOf(q.From), to: flow.TimeOf(q.To), keys: q.Keys, exporter: q.Exporter,
		whole: q.Whole, scaled: q.Scaled, raw: q.Raw, limit: q.Limit, timeout: q.Timeout,
		filter: q.Filter, having: q.Having,
	}
	if c.filter == nil {
		c.filter, _ = filter.Parse("")
	}
	if err := checkRange(c.from.Time(), c.to.Time()); err != nil {
		return nil, err
	}
	var err error
	if c.columns, err = columnsOf(q.Keys); err != nil {
		return nil, err
	}
	if c.by, err = ParseMeasure(string(q.By)); err != nil {
		return nil, err
	}
	if c.limit == 0 {
		c.limit = DefaultLimit
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	return c, nil
}

func (c *question) checkLimit(most int) error {
	if c.limit < 1 || c.limit > most {
		return &QuestionError{Parameter: "limit", Reason: fmt.Sprintf("%d is not between 1 and %d", c.limit, most)}
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
		ids, err := FindExporters(ctx, tx, c.exporter)
		if e, ok := errors.AsType[*ExporterError](err); ok {
			return &QuestionError{Parameter: "exporter", Reason: e.Reason}
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
		case piece.source == minutes && p.rest():
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
		return &QuestionError{Parameter: "filter", Reason: err.Error()}
	}
	c.filter = f
	return nil
}

// seen reports whether the answer needs to know when a group was seen.
func (c *question) seen() bool { return c.by.seen() || c.having.seen() }

// sides are the columns to group by: of each side when a key means either,
// else of the flow alone.
func (c *question) sides() [][]string {
	var source, destination []string
	either := false
	for _, k := range c.columns {
		switch {
		case k.eitherSide():
			either = true
			source, destination = append(source, network(k, k.src)), append(destination, network(k, k.dst))
		default:
			source, destination = append(source, network(k, k.grouped())), append(destination, network(k, k.grouped()))
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
		if k.eitherSide() {
			differ = append(differ, network(k, k.src)+" is distinct from "+network(k, k.dst))
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
		if name := c.columns[i].grouped(); name != column {
			list[i] += " as " + name
		}
	}
	return strings.Join(list, ", ")
}

// names are the names of the keys' columns inside of a statement.
func (c *question) names() []string {
	names := make([]string, len(c.columns))
	for i, k := range c.columns {
		names[i] = k.grouped()
	}
	return names
}

// shown are the columns of a group in an answer.
func (c *question) shown() string {
	var list []string
	for _, k := range c.columns {
		list = append(list, k.grouped())
		if k.kind == kindExporter {
			list = append(list, "(select label from exporters where id = exporter_id) as exporter")
		}
	}
	return strings.Join(list, ", ")
}

// nulls stand in for shown in the rows that are no group.
func (c *question) nulls() string {
	list := strings.Repeat(", null", len(c.columns))
	for _, k := range c.columns {
		if k.kind == kindExporter {
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
		switch k.kind {
		case kindAddr:
			targets = append(targets, &g.texts[i])
		case kindExporter:
			targets = append(targets, &g.numbers[i], &g.texts[i])
		default:
			targets = append(targets, &g.numbers[i])
		}
	}
	return g, targets
}

// values are what people get to see of a group, and its label.
func (c *question) values(g *group) ([]Value, string) {
	values := make([]Value, len(c.columns))
	for i, k := range c.columns {
		switch {
		case k.kind == kindAddr:
			values[i] = k.text(g.texts[i])
		case k.kind == kindExporter && g.texts[i] == nil && g.numbers[i] != nil:
			// Its flows are stored, its first status is not yet.
			id := strconv.FormatInt(*g.numbers[i], 10)
			values[i] = k.text(&id)
		case k.kind == kindExporter:
			values[i] = k.text(g.texts[i])
		default:
			values[i] = k.number(g.numbers[i])
		}
	}
	return values, joinLabels(c.columns, values)
}

// arguments are the flags of the command line that ask the same.
func (c *question) arguments() string {
	var b strings.Builder
	if len(c.keys) > 0 {
		b.WriteString(" --key " + JoinKeys(c.keys))
	}
	fmt.Fprintf(&b, " --by %s --from %s --to %s", c.by, stamp(c.from), stamp(c.to))
	if len(c.keys) > 0 {
		fmt.Fprintf(&b, " --limit %d", c.limit)
	}
	if c.step > 0 {
		b.WriteString(" --step " + shortDuration(c.step))
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

// stamp is RFC 3339 with as many digits as needed.
func stamp(t flow.Time) string { return t.Time().Format(time.RFC3339Nano) }

// shortDuration writes "5m" where time.Duration writes "5m0s".
func shortDuration(t flow.Time) string {
	switch {
	case t%flow.Hour == 0:
		return fmt.Sprintf("%dh", t/flow.Hour)
	case t%flow.Minute == 0:
		return fmt.Sprintf("%dm", t/flow.Minute)
	case t%flow.Second == 0:
		return fmt.Sprintf("%ds", t/flow.Second)
	}
	return fmt.Sprintf("%dms", t)
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

// statement is SQL under construction, in one of two forms of the same text:
// with parameters, to be executed, or with literals, to be read and run by
// people.
type statement struct {
	b       strings.Builder
	literal bool
	args    []any
	places  map[any]string
}

// line adds a line.
func (s *statement) line(parts ...string) {
	for _, p := range parts {
		s.b.WriteString(p)
	}
	s.b.WriteByte('\n')
}

func (s *statement) String() string { return strings.TrimSuffix(s.b.String(), "\n") }

// argument returns what stands for v; equal values share one parameter.
func (s *statement) argument(v any, literal string) string {
	if s.literal {
		return literal
	}
	if p, ok := s.places[v]; ok {
		return p
	}
	s.args = append(s.args, v)
	p := "$" + strconv.Itoa(len(s.args))
	if s.places == nil {
		s.places = make(map[any]string)
	}
	s.places[v] = p
	return p
}

func (s *statement) time(t flow.Time) string {
	return s.argument(t.Time(), "'"+t.Time().Format("2006-01-02 15:04:05.999999")+"+00'")
}

// parameter is one of a filter's text.
var parameter = regexp.MustCompile(`\$[0-9]+`)

// condition is a filter in SQL.
func (s *statement) condition(f *filter.Filter) string {
	if !s.literal {
		var text string
		text, s.args = f.SQL(s.args)
		return text
	}
	text, args := f.SQL(nil)
	return parameter.ReplaceAllStringFunc(text, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		return literal(args[n-1])
	})
}

// literal writes a value of a filter.
func literal(v any) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	list := func(n int, item func(int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item(i)
		}
		return quote("{" + strings.Join(items, ",") + "}")
	}
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case time.Time:
		return "'" + v.UTC().Format("2006-01-02 15:04:05.999999") + "+00'"
	case netip.Addr:
		return quote(v.String())
	case netip.Prefix:
		return quote(v.String())
	case string:
		return quote(v)
	case []int64:
		return list(len(v), func(i int) string { return strconv.FormatInt(v[i], 10) })
	case []netip.Addr:
		return list(len(v), func(i int) string { return v[i].String() })
	case []netip.Prefix:
		return list(len(v), func(i int) string { return v[i].String() })
	case []string:
		return list(len(v), func(i int) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v[i]) + `"` })
	}
	return "null"
}

func (s *statement) int(n int) string { return s.argument(n, strconv.Itoa(n)) }

// ErrBusy is wrapped by the error of a question that nobody had time for: all
// connections were busy with others.
var ErrBusy = errors.New("too many questions at once")

// acquire waits for a connection, for as long as the question may take. The
// connections are how many questions are answered at once (pool_max_conns).
func (db *DB) acquire(ctx context.Context, timeout time.Duration) (*pgxpool.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := db.pool.Acquire(limited)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() == nil && limited.Err() != nil:
		return nil, fmt.Errorf("store: %w: none ended within %v", ErrBusy, timeout)
	}
	return nil, fmt.Errorf("store: ask: %w", err)
}

// ask runs f in a read-only transaction with one view of the data for all its
// statements, within timeout (ErrTimeout) and once a connection is free (ErrBusy).
// Other errors of f come back as they are.
func (db *DB) ask(ctx context.Context, timeout time.Duration, f func(pgx.Tx) error) error {
	// Hashing groups gets room, but not so much that a handful of questions
	// could exhaust a small machine. The planner cannot know how few groups or
	// buckets the flows make, and would sort the flows for fear of many; hashing
	// is right for few and bearable for many. Compiling expressions (jit) for
	// every partition costs more than it saves.
	begin := fmt.Sprintf("begin isolation level repeatable read read only; set local statement_timeout = %d; set local work_mem = '64MB'; set local enable_sort = off; set local jit = off",
		max(1, timeout.Milliseconds()))
	c, err := db.acquire(ctx, timeout)
	if err != nil {
		return err
	}
	defer c.Release()
	// The statements of a question have the time together.
	limited, cancel := context.WithTimeout(ctx, timeout+time.Second)
	defer cancel()
	var asked error
	err = pgx.BeginTxFunc(limited, c, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
		asked = f(tx)
		return asked
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ctx.Err() == nil && (ok && pg.Code == "57014" || err != nil && limited.Err() != nil) {
		return fmt.Errorf("store: %w: it was stopped after %v, ask for a shorter range", ErrTimeout, timeout)
	}
	if err == nil || asked != nil {
		return err
	}
	return fmt.Errorf("store: ask: %w", err)
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
func network(c keyColumn, column string) string {
	if c.v4 == 0 {
		return column
	}
	if c.v4 == c.v6 {
		return fmt.Sprintf("network(set_masklen(%s, %d))::inet", column, c.v4)
	}
	return fmt.Sprintf("network(set_masklen(%s, case family(%s) when 4 then %d else %d end))::inet", column, column, c.v4, c.v6)
}

// expression is the measure over the columns of groups.
func expression(m Measure) string {
	const between = "nullif(round(date_part('epoch', last_seen - first_seen) * 1000)::bigint, 0)"
	switch m {
	case ByPPS:
		return "packets * 1000 / " + between
	case ByBPS:
		return "bytes * 8000 / " + between
	case ByBPP:
		return "bytes / nullif(packets, 0)"
	case ByDuration:
		return "duration_ms / nullif(touched, 0)"
	}
	return string(m)
}

// rankedBy ranks groups by the measure.
func rankedBy(m Measure, table string) string {
	if m.additive() {
		return table + string(m) + " desc"
	}
	return "coalesce(" + expression(m) + ", 0) desc"
}

// havingSQL is a condition over the columns of groups.
func havingSQL(h *Having) string {
	return h.Render(func(c Comparison) string {
		op := c.Op
		if op == "!=" {
			op = "<>"
		}
		return fmt.Sprintf("coalesce(%s, 0) %s %d", expression(c.Measure), op, c.Number)
	})
}
