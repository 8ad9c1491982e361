package answer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/rollup"
)

// A plan cuts the range of a question into pieces and says what each is read
// from, so that together they give every flow once: whole days, hours and minutes
// of the roll-ups where these are complete, flows for what is finer than a minute
// at the edges, for batches that the roll-ups do not have yet, and where the
// roll-ups are gone or cannot tell.

// raw is the source that is not a grain.
const raw rollup.Grain = -1

// piece is a part of the range and what it is read from.
type piece struct {
	source   rollup.Grain
	from, to flow.Time
	// Of flows: until is where those end that begin before to; since where the
	// first ends; batches are the only ones, nil is all.
	since, until flow.Time
	batches      []int32
}

// plan is how a question is answered.
type plan struct {
	pieces []piece
	// dims are the dimensions that the roll-ups' rows are of, one for each side of
	// a flow that is asked for; none when flows are read.
	dims []rollup.Dimension
	// same is the dimension of the flows whose two sides are equal, which are in
	// both dims and are to be taken off once; 0 without two.
	same rollup.Dimension
	// cell and value are the filter's terms on what all rows of a roll-up have,
	// and on the one value that is asked for.
	cell, value *filter.Filter
	cut         *query.Cut
	// followed are the hours of a share of whose minutes few hosts are read.
	followed []followed
	// why says why flows are read.
	why string
}

func (p *plan) rolled() bool {
	return slices.ContainsFunc(p.pieces, func(p piece) bool { return p.source != raw })
}

// rest reports whether the roll-ups that are read have remainders.
func (p *plan) rest() bool { return p.rolled() && p.dims[0] != rollup.DimTotal }

// sources names what is read, the coarsest first.
func (p *plan) sources() string {
	var names []string
	for _, s := range []rollup.Grain{rollup.Days, rollup.Hours, rollup.Minutes, raw} {
		if !slices.ContainsFunc(p.pieces, func(p piece) bool { return p.source == s }) && (s != rollup.Hours || !p.follows()) {
			continue
		}
		if s == raw {
			names = append(names, "flows")
		} else {
			names = append(names, rollup.Grains[s].Table)
		}
	}
	if len(names) == 0 {
		return "flows"
	}
	return strings.Join(names, "+")
}

// columnDimension are the dimensions whose values are columns of flows.
var columnDimension = map[string]rollup.Dimension{
	"src_addr": rollup.DimSrcAddr, "dst_addr": rollup.DimDstAddr, "src_port": rollup.DimSrcPort, "dst_port": rollup.DimDstPort,
	"in_if": rollup.DimInIf, "out_if": rollup.DimOutIf, "src_as": rollup.DimSrcAS, "dst_as": rollup.DimDstAS,
}

// eitherDimensions are those of the two sides, and of flows where they are equal.
var eitherDimensions = map[string][]rollup.Dimension{
	"addr": {rollup.DimSrcAddr, rollup.DimDstAddr, rollup.DimSameAddr}, "port": {rollup.DimSrcPort, rollup.DimDstPort, rollup.DimSamePort},
	"interface": {rollup.DimInIf, rollup.DimOutIf, rollup.DimSameIf}, "as": {rollup.DimSrcAS, rollup.DimDstAS, rollup.DimSameAS},
}

// notOfCell are those of the columns that not every row of a roll-up has.
func notOfCell(columns []string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(name string) bool { return slices.Contains(cellColumns, name) })
}

// eitherOf returns the dimensions of a field that means either side, by its
// columns; nil when it does not.
func eitherOf(columns []string) []rollup.Dimension {
	for _, d := range eitherDimensions {
		if len(columns) == 2 && slices.Contains(columns, rollup.DimensionNames[d[0]]) && slices.Contains(columns, rollup.DimensionNames[d[1]]) {
			return d
		}
	}
	return nil
}

// cellColumns are the columns that every row of a roll-up has, or whose values
// follow from such.
var cellColumns = []string{"exporter", "exporter_id", "exporter_addr", "observation_domain", "protocol", "sampling_rate"}

// dimensionsOf returns the dimensions that tell the question's keys and filter,
// or why there are none.
func (c *question) dimensionsOf() (p plan, why string) {
	p.cell, _ = filter.Parse("")
	p.value = p.cell
	switch {
	case c.whole:
		return p, "flows are booked whole where they end"
	case c.seen():
		return p, "when a group was seen is in the flows alone"
	}
	needed := make(map[string]bool)
	either := ""
	for _, k := range c.columns {
		switch {
		case k.V4 > 0:
			return p, "networks are not in the roll-ups"
		case k.EitherSide() && eitherDimensions[k.Column] == nil:
			return p, k.Column + " is not in the roll-ups"
		case k.EitherSide():
			if either != "" {
				return p, "the roll-ups do not know these together"
			}
			either = k.Column
		case k.Kind == query.KindProtocol || k.Kind == query.KindExporter:
		case columnDimension[k.Column] != 0:
			needed[k.Column] = true
		default:
			return p, k.Column + " is not in the roll-ups"
		}
	}
	keyed := len(needed) > 0
	var (
		cell, value []string
		side        []rollup.Dimension // of a value on either side
	)
	fixed := make(map[string]bool)
	for _, t := range c.filter.Conjuncts() {
		columns := notOfCell(t.Columns)
		if len(columns) == 0 {
			cell = append(cell, "("+t.Text+")")
			continue
		}
		for _, name := range columns {
			if columnDimension[name] == 0 {
				return p, "the filter asks for " + name + ", which is not in the roll-ups"
			}
			needed[name], fixed[name] = true, true
		}
		// Of many values, the remainder could hold any part.
		single := t.Field != "" && !t.Negated && len(t.Words) == 0 && t.Mask == 0 &&
			(len(t.Ranges) == 1 && t.Ranges[0].From == t.Ranges[0].To && len(t.Prefixes) == 0 ||
				len(t.Prefixes) == 1 && t.Prefixes[0].IsSingleIP() && len(t.Ranges) == 0)
		either := eitherOf(columns)
		if !single || len(columns) > 1 && either == nil || side != nil {
			return p, "the filter asks for more than one value"
		}
		side = either
		value = append(value, "("+t.Text+")")
	}
	if len(fixed) > 0 && len(needed) > len(fixed) {
		return p, "the filter asks for more than one value"
	}
	if side != nil && (keyed || either != "" || len(value) > 1) {
		return p, "the roll-ups do not know sides together with others"
	}
	var err error
	if p.cell, err = filter.Parse(strings.Join(cell, " and ")); err != nil {
		return p, "the filter cannot be taken apart"
	}
	if p.value, err = filter.Parse(strings.Join(value, " and ")); err != nil {
		return p, "the filter cannot be taken apart"
	}
	if either != "" {
		if len(needed) > 0 {
			return p, "the roll-ups do not know sides together with others"
		}
		d := eitherDimensions[either]
		p.dims, p.same = d[:2], d[2]
		return p, ""
	}
	switch {
	case side != nil:
		p.dims, p.same = side[:2], side[2]
	case len(needed) == 0:
		p.dims = []rollup.Dimension{rollup.DimTotal}
	case len(needed) == 1:
		for name := range needed {
			p.dims = []rollup.Dimension{columnDimension[name]}
		}
	case len(needed) == 2 && needed["src_addr"] && needed["dst_addr"]:
		p.dims = []rollup.Dimension{rollup.DimPair}
	default:
		return p, "the roll-ups do not know these together"
	}
	return p, ""
}

// maxUnsummed is how many batches may be read beside the roll-ups; of more,
// reading all flows is better.
const maxUnsummed = 2048

// tailBatch is a batch that the roll-ups do not have yet, and when its flows end.
type tailBatch struct {
	id             int32
	minEnd, maxEnd flow.Time
}

// state is what a plan depends on, all of one moment.
type state struct {
	from, to flow.Time      // of the question
	reach    [4]store.Reach // flows, then the grains
	pending  map[rollup.Grain]map[flow.Time]bool
	batches  []tailBatch
	lastEnd  flow.Time // of any flow
	// since is from when on the roll-ups have the flows whose two sides are equal.
	since flow.Time
	// there says that there are roll-ups at all.
	there bool
	// sampling is what is known of the exporters' rates.
	sampling string
	// until is where all flows have ended that begin before a time.
	until map[flow.Time]flow.Time
}

// look reads the state of the roll-ups in the question's range, in one go: a
// question of a few milliseconds would else be mostly waiting.
func (c *question) look(ctx context.Context, tx pgx.Tx) (*state, error) {
	s := &state{from: c.from, to: c.to, pending: map[rollup.Grain]map[flow.Time]bool{rollup.Minutes: {}, rollup.Hours: {}, rollup.Days: {}}}
	var b pgx.Batch
	b.Queue(store.ReachSQL).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, store.ScanReach)
		copy(s.reach[:], list)
		return err
	})
	b.Queue(`select case when count(*) = 0 then 'none' when max(state) = min(state) then max(state) else 'mixed' end from (
		select case when coalesce(e.sampling_rate, s.sampling_rate, 0) = 0 then 'unknown' when coalesce(e.sampling_rate, s.sampling_rate) = 1 then 'none' else 'known' end as state
		from exporters e left join exporter_status s on s.exporter_id = e.id where $1::int[] is null or e.id = any($1)) exporter`, c.exporters).QueryRow(func(row pgx.Row) error {
		return row.Scan(&s.sampling)
	})
	b.Queue("select distinct grain, date_trunc('hour', bucket) from parts.pending where bucket >= $1 and bucket < $2",
		c.from.Floor(flow.Day).Time(), (c.to.Floor(flow.Day) + flow.Day).Time()).Query(func(rows pgx.Rows) error {
		var (
			g    int16
			hour time.Time
		)
		_, err := pgx.ForEachRow(rows, []any{&g, &hour}, func() error {
			s.pending[rollup.Grain(g)][flow.TimeOf(hour)] = true
			return nil
		})
		return err
	})
	b.Queue("select id, min_end, max_end from batches where summed_at is null order by id limit $1", maxUnsummed+1).Query(func(rows pgx.Rows) error {
		var (
			b           tailBatch
			first, last time.Time
		)
		_, err := pgx.ForEachRow(rows, []any{&b.id, &first, &last}, func() error {
			b.minEnd, b.maxEnd = flow.TimeOf(first), flow.TimeOf(last)
			s.batches = append(s.batches, b)
			return nil
		})
		return err
	})
	b.Queue("select (select max(max_end) from batches), (select nullif(max(since), '-infinity') from parts.dimension), flows_until($1)", c.to.Time()).QueryRow(func(row pgx.Row) error {
		var end, since *time.Time
		var until time.Time
		if err := row.Scan(&end, &since, &until); err != nil {
			return err
		}
		if end != nil {
			s.lastEnd = flow.TimeOf(*end)
		}
		if since != nil {
			s.since = flow.TimeOf(*since)
		}
		s.until = map[flow.Time]flow.Time{c.to: flow.TimeOf(until)}
		return nil
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("what there is to read: %w", err)
	}
	s.there = !s.reach[1].First.IsZero() || !s.reach[2].First.IsZero() || !s.reach[3].First.IsZero()
	return s, nil
}

// ends finds where the flows end that the pieces read.
func (s *state) ends(ctx context.Context, tx pgx.Tx, pieces []piece) error {
	for i := range pieces {
		p := &pieces[i]
		if p.source != raw || p.until != 0 {
			continue
		}
		if _, ok := s.until[p.to]; !ok {
			var until time.Time
			if err := tx.QueryRow(ctx, "select flows_until($1)", p.to.Time()).Scan(&until); err != nil {
				return fmt.Errorf("end of the flows: %w", err)
			}
			s.until[p.to] = flow.TimeOf(until)
		}
		p.until = s.until[p.to]
	}
	return nil
}

// has reports whether nothing of a source was removed from a time on.
func (s *state) has(g rollup.Grain, from flow.Time) bool {
	cut := s.reach[g+1].CutBefore
	return cut.IsZero() || !from.Time().Before(cut)
}

// complete reports whether a bucket has all that is summed.
func (s *state) complete(g rollup.Grain, bucket flow.Time) bool {
	if !s.has(g, bucket) || bucket < s.since && s.has(raw, bucket) {
		return false
	}
	if g == rollup.Minutes {
		return true
	}
	for f := rollup.Minutes; f <= g; f++ {
		for at := bucket; at < bucket+rollup.Grains[g].Length; at += flow.Hour {
			if s.pending[f][at] {
				return false
			}
		}
	}
	return true
}

// plan chooses the pieces. step, when not 0, is the length of buckets that no
// coarser one may cover.
func (c *question) plan(ctx context.Context, tx pgx.Tx, step flow.Time) (*plan, error) {
	p, why := c.dimensionsOf()
	p.why = why
	if c.looked == nil || c.looked.from != c.from || c.looked.to != c.to {
		s, err := c.look(ctx, tx)
		if err != nil {
			return nil, err
		}
		c.looked = s
	}
	s := *c.looked
	if p.same == 0 {
		s.since = 0
	}
	switch {
	case why != "":
	case c.raw:
		p.why = "flows were asked for"
	case !s.there:
		p.why = "there are no roll-ups yet"
	case len(s.batches) > maxUnsummed:
		p.why = "too much is not in the roll-ups yet"
	default:
		c.compose(&p, &s, step)
		if !p.rolled() {
			p.why = "the range is too short for the roll-ups"
		}
	}
	if !p.rolled() {
		p.pieces, p.dims, p.same = []piece{{source: raw, from: c.from, to: c.to}}, nil, 0
	}
	if !c.whole {
		if err := s.ends(ctx, tx, p.pieces); err != nil {
			return nil, err
		}
	}
	if p.cut == nil {
		p.cut = s.cutOf(p.pieces)
	}
	c.tail(&p, &s)
	return &p, nil
}

// compose cuts the range into the coarsest pieces that are complete.
func (c *question) compose(p *plan, s *state, step flow.Time) {
	from, to := c.from, c.to
	// Beyond the end of all flows there is nothing that a whole minute could add.
	if s.lastEnd > 0 && s.lastEnd < to {
		to = (to + flow.Minute - 1).Floor(flow.Minute)
	}
	fits := func(g rollup.Grain) bool { return step == 0 || step%rollup.Grains[g].Length == 0 }
	if !fits(rollup.Minutes) {
		return
	}
	add := func(g rollup.Grain, to flow.Time) {
		if n := len(p.pieces); n > 0 && p.pieces[n-1].source == g {
			p.pieces[n-1].to = to
		} else {
			p.pieces = append(p.pieces, piece{source: g, from: from, to: to})
		}
		from = to
	}
	for from < to {
		next := raw
		for _, g := range []rollup.Grain{rollup.Days, rollup.Hours, rollup.Minutes} {
			if l := rollup.Grains[g].Length; fits(g) && from%l == 0 && from+l <= to && s.complete(g, from) {
				next = g
				break
			}
		}
		if next != raw {
			add(next, from+rollup.Grains[next].Length)
			continue
		}
		// Up to where the next grain could go on.
		end := min(to, from.Floor(flow.Minute)+flow.Minute)
		if !s.has(rollup.Minutes, from) {
			end = min(to, from.Floor(flow.Hour)+flow.Hour)
		}
		if !s.has(raw, from) && step == 0 {
			// Flows are gone: a coarser bucket that covers more is better than
			// nothing, and said.
			if g := s.coarser(from); g != raw {
				l := rollup.Grains[g].Length
				at := from.Floor(l)
				if n := len(p.pieces); n == 0 || p.pieces[n-1].to <= at {
					from = at
					c.widened = max(c.widened, l)
				}
				if from == at {
					if at+l > to {
						to = at + l
						c.widened = max(c.widened, l)
					}
					add(g, at+l)
					continue
				}
			}
		}
		add(raw, end)
	}
	if len(p.pieces) > 0 && c.widened > 0 {
		c.from, c.to = p.pieces[0].from, max(c.to, p.pieces[len(p.pieces)-1].to)
	}
}

// coarser returns the finest grain that still has the bucket of a time.
func (s *state) coarser(at flow.Time) rollup.Grain {
	for g := rollup.Minutes; g < rollup.GrainCount; g++ {
		if s.complete(g, at.Floor(rollup.Grains[g].Length)) {
			return g
		}
	}
	return raw
}

// cutOf says whether retention took away some of what is to be read.
func (s *state) cutOf(pieces []piece) *query.Cut {
	var cut *query.Cut
	for _, p := range pieces {
		if s.has(p.source, p.from) {
			if p.source != raw && p.from < s.since {
				cut = &query.Cut{From: s.since.Time(), Reason: "before " + query.FormatTime(s.since) + " the roll-ups do not know flows whose two sides are the same: these count twice"}
			}
			continue
		}
		r := s.reach[p.source+1]
		from := r.CutBefore
		what := "flows"
		if p.source != raw {
			what = rollup.Grains[p.source].Table
		}
		cut = &query.Cut{From: from, Reason: what + " reach back to " + from.UTC().Format("2006-01-02 15:04 UTC") + ", what was before is removed"}
	}
	return cut
}

// tail adds the batches that the roll-ups do not have to each run of pieces that
// are read from them.
func (c *question) tail(p *plan, s *state) {
	var tails []piece
	for i := 0; i < len(p.pieces); i++ {
		if p.pieces[i].source == raw {
			continue
		}
		t := piece{source: raw, from: p.pieces[i].from, batches: []int32{}}
		for ; i < len(p.pieces) && p.pieces[i].source != raw; i++ {
			t.to = p.pieces[i].to
		}
		i--
		for _, b := range s.batches {
			if b.maxEnd < t.from {
				continue
			}
			if len(t.batches) == 0 || b.minEnd < t.since {
				t.since = b.minEnd
			}
			t.until = max(t.until, b.maxEnd+1)
			t.batches = append(t.batches, b.id)
		}
		if len(t.batches) > 0 {
			tails = append(tails, t)
		}
	}
	p.pieces = append(p.pieces, tails...)
}

// explain says in a line how the question is answered.
func (p *plan) explain() string {
	var list []string
	for _, piece := range p.pieces {
		name := "flows"
		if piece.source != raw {
			name = rollup.Grains[piece.source].Table
		}
		text := fmt.Sprintf("%s %s to %s", name, query.FormatTime(piece.from), query.FormatTime(piece.to))
		if piece.batches != nil {
			text += fmt.Sprintf(" (%d batches that are not summed yet)", len(piece.batches))
		}
		list = append(list, text)
	}
	text := strings.Join(list, "; ")
	if p.follows() {
		text += fmt.Sprintf("; of the minutes of %d hours, the hosts with most flows in traffic_1h", len(p.followed))
	}
	if p.why != "" {
		text += ": " + p.why
	}
	return text
}
