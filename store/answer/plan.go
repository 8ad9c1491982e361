package answer

import (
	"fmt"
	"slices"
	"strings"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/rollup"
)

// Source is what a segment is read from: a grain of the roll-ups, or Flows.
type Source = rollup.Grain

// Flows is the source that is no roll-up.
const Flows Source = -1

// Segment is a part of the range and what it is read from.
type Segment struct {
	Source   Source
	From, To flow.Time
	// Of flows: those that end before Until are read, and from Since on when it is not 0.
	Since, Until flow.Time
	// Batches are the only ones that are read of flows, nil is all. They are the tail: what
	// the roll-ups of the same part of the range do not have yet.
	Batches []int32
}

// tail reports whether the segment is of batches that the roll-ups do not have.
func (s Segment) tail() bool { return s.Batches != nil }

// Plan says how a request is answered. It cuts the range into segments, which together
// have every flow once: whole days, hours and minutes of the roll-ups where these are
// complete; flows for what is finer than a minute at the edges, for the tail, and where
// the roll-ups are gone or do not tell.
type Plan struct {
	// From and To are the range that is answered: wider than what was asked for by up to
	// Widened, where nothing finer is kept.
	From, To, Widened flow.Time
	Segments          []Segment
	dimensions
	// Cut says what retention took of the range, nil when nothing.
	Cut *query.Cut
	// Followed are the hours of a share of whose minutes few hosts are read.
	Followed []Followed
	// Why says why flows are read.
	Why string
	// Sampling is that of the State.
	Sampling string
	// Growing is from when on slots may still grow, 0 when the range was over before; Stored
	// is what there is at all.
	Growing flow.Time
	Stored  *query.Stored
	// later says that the plan is for a statement that somebody runs later.
	later bool
}

// makePlan chooses what to read: the coarsest roll-ups that can answer. It is a pure
// function of the request and the state.
func makePlan(r request, s State) Plan {
	s = s.of(r)
	p := Plan{From: r.from, To: r.to, Sampling: s.Sampling, Stored: s.stored()}
	if s.Growing > 0 && s.Growing < r.to {
		p.Growing = max(s.Growing, r.from)
	}
	p.dimensions, p.Why = r.dimensions()
	since := flow.Time(0)
	if p.same != 0 {
		since = s.EqualSidesSince
	}
	switch {
	case p.Why != "":
	case r.raw:
		p.Why = "flows were asked for"
	case !s.hasRollups():
		p.Why = "there are no roll-ups yet"
	case len(s.Unsummed) > maxUnsummed:
		p.Why = "too much is not in the roll-ups yet"
	default:
		p.compose(r, s, since)
		if !p.rolled() {
			p.Why = "the range is too short for the roll-ups"
		}
	}
	if !p.rolled() {
		p.Segments, p.dims, p.same = []Segment{{Source: Flows, From: r.from, To: r.to}}, nil, 0
	}
	if !r.whole {
		for i := range p.Segments {
			if g := &p.Segments[i]; g.Source == Flows {
				g.Until = s.until(g.To)
			}
		}
	}
	p.Cut = s.cut(p.Segments, since)
	p.addTails(s)
	return p
}

// compose cuts the range into the coarsest segments that are complete. A bucket must not
// lie in two slots of a series: of days of another zone than UTC only hours are read, or
// minutes where its clock is not whole hours ahead.
func (p *Plan) compose(r request, s State, since flow.Time) {
	step := r.slots.step
	fits := func(g rollup.Grain) bool { return step == 0 || r.slots.whole(rollup.Grains[g].Length) }
	if !fits(rollup.Minutes) {
		return
	}
	at, to := r.from, r.to
	// Beyond the end of all flows there is nothing that a whole minute could add.
	if s.LastEnd > 0 && s.LastEnd < to {
		to = (to + flow.Minute - 1).Floor(flow.Minute)
	}
	add := func(source Source, end flow.Time) {
		if n := len(p.Segments); n > 0 && p.Segments[n-1].Source == source {
			p.Segments[n-1].To = end
		} else {
			p.Segments = append(p.Segments, Segment{Source: source, From: at, To: end})
		}
		at = end
	}
	coarsest := func() Source {
		for g := rollup.Days; g >= rollup.Minutes; g-- {
			if l := rollup.Grains[g].Length; fits(g) && at%l == 0 && at+l <= to && s.complete(g, at, since) {
				return g
			}
		}
		return Flows
	}
	for at < to {
		if g := coarsest(); g != Flows {
			add(g, at+rollup.Grains[g].Length)
			continue
		}
		if !s.has(Flows, at) && step == 0 {
			// Flows are gone: a coarser bucket that covers more is better than nothing, and
			// said.
			if g := s.finest(at, since); g != Flows {
				l := rollup.Grains[g].Length
				begin := at.Floor(l)
				if n := len(p.Segments); begin != at && (n == 0 || p.Segments[n-1].To <= begin) {
					at, p.Widened = begin, max(p.Widened, l)
				}
				if at == begin {
					if at+l > to {
						to, p.Widened = at+l, max(p.Widened, l)
					}
					add(g, at+l)
					continue
				}
			}
		}
		// Flows, up to where the next grain could go on.
		length := flow.Minute
		if !s.has(rollup.Minutes, at) {
			length = flow.Hour
		}
		add(Flows, min(to, at.Floor(length)+length))
	}
	if n := len(p.Segments); n > 0 && p.Widened > 0 {
		p.From, p.To = p.Segments[0].From, max(p.To, p.Segments[n-1].To)
	}
}

// cut says whether retention took away some of what is to be read.
func (s State) cut(segments []Segment, since flow.Time) *query.Cut {
	var cut *query.Cut
	for _, g := range segments {
		switch {
		case !s.has(g.Source, g.From):
			from := s.Reach[g.Source+1].CutBefore
			cut = &query.Cut{From: from, Reason: sourceName(g.Source) + " reach back to " + from.UTC().Format("2006-01-02 15:04 UTC") + ", what was before is removed"}
		case g.Source != Flows && g.From < since:
			cut = &query.Cut{From: since.Time(), Reason: "before " + query.FormatTime(since) + " the roll-ups do not know flows whose two sides are the same: these count twice"}
		case g.Source > rollup.Minutes:
			if at, end, ok := s.mixedIn(g); ok {
				cut = &query.Cut{From: end.Time(), Reason: "a sampling rate that people say begins at " + query.FormatTime(at) + ", of which only " + sourceName(g.Source) + " is left: until " + query.FormatTime(end) + " the rate before it counts"}
			}
		}
	}
	return cut
}

// mixedIn returns the last time in a segment at which a rate begins inside of a bucket, and
// the end of that bucket.
func (s State) mixedIn(g Segment) (at, end flow.Time, ok bool) {
	length := rollup.Grains[g.Source].Length
	for _, t := range s.RatesBegin {
		if bucket := t.Floor(length); g.From <= bucket && bucket < t && t < g.To {
			at, end, ok = t, bucket+length, true
		}
	}
	return at, end, ok
}

// addTails adds the batches that the roll-ups do not have to each run of segments that
// are read from them.
func (p *Plan) addTails(s State) {
	for _, run := range p.rolledRuns() {
		t := Segment{Source: Flows, From: run.From, To: run.To}
		for _, b := range s.Unsummed {
			if b.MaxEnd < t.From {
				continue
			}
			if len(t.Batches) == 0 || b.MinEnd < t.Since {
				t.Since = b.MinEnd
			}
			t.Until = max(t.Until, b.MaxEnd+1)
			t.Batches = append(t.Batches, b.ID)
		}
		if len(t.Batches) > 0 {
			p.Segments = append(p.Segments, t)
		}
	}
}

// rolledRuns are the parts of the range that are read from roll-ups, of whatever grains,
// without a gap.
func (p Plan) rolledRuns() (runs []Segment) {
	for _, g := range p.Segments {
		switch n := len(runs); {
		case g.Source == Flows:
		case n > 0 && runs[n-1].To == g.From:
			runs[n-1].To = g.To
		default:
			runs = append(runs, Segment{From: g.From, To: g.To})
		}
	}
	return runs
}

// forReaders is the plan of a statement that somebody runs later. It has a tail behind
// every run of roll-ups: which batches are in it is for the moment of that.
func (p Plan) forReaders() Plan {
	p.later = true
	p.Segments = slices.DeleteFunc(slices.Clone(p.Segments), Segment.tail)
	for _, run := range p.rolledRuns() {
		p.Segments = append(p.Segments, Segment{Source: Flows, From: run.From, To: run.To, Batches: []int32{}})
	}
	return p
}

// rolled reports whether any roll-up is read.
func (p Plan) rolled() bool {
	return slices.ContainsFunc(p.Segments, func(g Segment) bool { return g.Source != Flows })
}

// remainders reports whether the roll-ups that are read have remainders.
func (p Plan) remainders() bool { return p.rolled() && p.dims[0] != rollup.DimTotal }

// small reports whether so little is read that more processes would only cost: sums, no
// more than two hours of them by minutes unless they are of all flows, and edges.
func (p Plan) small() bool {
	var fine flow.Time
	for _, g := range p.Segments {
		switch {
		case g.tail(), g.Source == Flows && g.To-g.From > flow.Minute:
			return false
		case g.Source == rollup.Minutes && p.remainders():
			fine += g.To - g.From
		}
	}
	for _, f := range p.Followed {
		fine -= f.To - f.From
	}
	return p.rolled() && fine <= 2*flow.Hour
}

// sourceName is the name of a source in an answer.
func sourceName(s Source) string {
	if s == Flows {
		return "flows"
	}
	return rollup.Grains[s].Table
}

// sources names what is read, the coarsest first.
func (p Plan) sources() string {
	var names []string
	for s := rollup.Days; s >= Flows; s-- {
		reads := slices.ContainsFunc(p.Segments, func(g Segment) bool { return g.Source == s })
		if reads || s == rollup.Hours && len(p.Followed) > 0 {
			names = append(names, sourceName(s))
		}
	}
	return strings.Join(names, "+")
}

// String says in a line what is read, and why not something else.
func (p Plan) String() string {
	var list []string
	for _, g := range p.Segments {
		text := fmt.Sprintf("%s %s to %s", sourceName(g.Source), query.FormatTime(g.From), query.FormatTime(g.To))
		if g.tail() {
			text += fmt.Sprintf(" (%d batches that are not summed yet)", len(g.Batches))
		}
		list = append(list, text)
	}
	text := strings.Join(list, "; ")
	if n := len(p.Followed); n > 0 {
		text += fmt.Sprintf("; of the minutes of %d hours, the hosts with most flows in traffic_1h", n)
	}
	if p.Why != "" {
		text += ": " + p.Why
	}
	return text
}
