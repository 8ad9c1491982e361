package netflow

import (
	"math/bits"

	"flowtally/flow"
)

// How a template stands is what it has done for anybody, and so how soon it
// gives way. To come and to be used are as cheap for a stranger as for an
// exporter; to go on is not.
const (
	unused uint8 = iota // decoded nothing yet
	once                // decoded what came with it
	again               // decoded what a later message brought
	steady              // did so in steadyUses different seconds
	standings
)

const (
	// steadyUses is in how many seconds a template must be used to be steady.
	steadyUses = 16
	// idleTime is after how long without use a steady template may give way to
	// a newcomer.
	idleTime = 10 * flow.Minute
	// newcomers is the part of all templates, one in so many, that those of less
	// standing are left with: so that an exporter has the time to send again
	// before the next newcomer has taken its place.
	newcomers = 8
	// looks is how many templates are compared to find one used long ago.
	looks = 16
	// alike is below how many templates of one standing addresses count as
	// equals; above, the one with twice as many pays first.
	alike = 16
	sizes = 12
)

// standing returns how the template stands now.
func (t *template) standing() uint8 {
	switch n := t.uses.Load(); {
	case n >= steadyUses:
		return steady
	case n > 0:
		return again
	case t.decoded.Load():
		return once
	}
	return unused
}

// touch notes that a message later than the template's own was decoded by it.
// The sockets of a listener do not fight for the cache line: it is written when
// others were learned since the last time, or a second has passed.
func (t *template) touch(now flow.Time, learned uint64) {
	if t.recent.Load() != learned {
		t.recent.Store(learned)
	}
	since := now - flow.Time(t.used.Load())
	n := t.uses.Load()
	if n > 0 && since < flow.Second && since > -flow.Second {
		return
	}
	t.used.Store(int64(now))
	if n < steadyUses {
		t.uses.Add(1)
	}
}

// standing is the addresses that have templates of one standing, by how many
// they have.
type standing struct {
	templates int
	sizes     [sizes]struct{ first, last *exporter }
}

// place is where an address stands among others with templates of one standing,
// and those templates.
type place struct {
	templates   int
	first, last *template
	prev, next  *exporter
}

// size returns which of the lists of a standing an address with n templates of
// it is in.
func size(n int) int { return min(bits.Len(uint(n)/alike), sizes-1) }

// enter gives a template its place, behind all others of that standing.
func (s *store) enter(t *template, stands uint8) {
	e := t.owner
	p := &e.standings[stands]
	t.stands, t.prev, t.next = stands, p.last, nil
	if p.last == nil {
		p.first = t
	} else {
		p.last.next = t
	}
	p.last = t
	p.templates++
	s.standings[stands].templates++
	s.moved(e, stands, p.templates-1)
}

// leave takes a template out of its place.
func (s *store) leave(t *template) {
	e := t.owner
	p := &e.standings[t.stands]
	if t.prev == nil {
		p.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		p.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	p.templates--
	s.standings[t.stands].templates--
	s.moved(e, t.stands, p.templates+1)
}

// moved puts an address, which had before templates of a standing, where it
// belongs with those it has now.
func (s *store) moved(e *exporter, stands uint8, before int) {
	now := e.standings[stands].templates
	switch {
	case before == 0:
		s.link(e, stands, size(now))
	case now == 0:
		s.unlink(e, stands, size(before))
	case size(now) != size(before):
		s.unlink(e, stands, size(before))
		s.link(e, stands, size(now))
	}
}

func (s *store) link(e *exporter, stands uint8, size int) {
	l, p := &s.standings[stands].sizes[size], &e.standings[stands]
	p.prev, p.next = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.standings[stands].next = e
	}
	l.last = e
}

func (s *store) unlink(e *exporter, stands uint8, size int) {
	l, p := &s.standings[stands].sizes[size], &e.standings[stands]
	if p.prev == nil {
		l.first = p.next
	} else {
		p.prev.standings[stands].next = p.next
	}
	if p.next == nil {
		l.last = p.prev
	} else {
		p.next.standings[stands].prev = p.prev
	}
	p.prev, p.next = nil, nil
}

// standingOf returns how many templates of a standing there are: of e, or of all when
// that is nil.
func (s *store) standingOf(e *exporter, stands uint8) int {
	if e != nil {
		return e.standings[stands].templates
	}
	return s.standings[stands].templates
}

// look returns a template of a standing, of e or, when that is nil, of an
// address that has most of them, and puts both behind the others: so that the
// next look is at another. It returns nil when there is none.
func (s *store) look(e *exporter, stands uint8) *template {
	if e == nil {
		for i := sizes - 1; i >= 0 && e == nil; i-- {
			if e = s.standings[stands].sizes[i].first; e != nil {
				s.unlink(e, stands, i)
				s.link(e, stands, i)
			}
		}
		if e == nil {
			return nil
		}
	}
	p := &e.standings[stands]
	t := p.first
	if t != nil && t.next != nil {
		p.first, t.next.prev = t.next, nil
		p.last.next, t.prev, t.next = t, p.last, nil
		p.last = t
	}
	return t
}

// next returns the template that is to give way to another: of e, or of anybody
// when that is nil. There is one.
//
// Those of the least standing go first, while there are more of them than
// newcomers are left with; then those that went on but are not steady; then
// steady ones that nobody has used for idleTime. One that is steady and in use
// goes only when there are no others. Among those of one standing the address
// that has most of them pays, in turn with its equals.
func (s *store) next(e *exporter, now flow.Time) *template {
	for {
		fresh := s.standingOf(e, unused)
		young := fresh + s.standingOf(e, once)
		older := s.standingOf(e, again)
		share := (young + older + s.standingOf(e, steady)) / newcomers
		var stands uint8
		switch {
		case fresh > 0 && fresh >= share:
			stands = unused
		case young > fresh && young >= share:
			stands = once
		case older > 0:
			stands = again
		default:
			if t := s.idle(e, now); t != nil {
				return t
			}
			switch {
			case fresh > 0:
				stands = unused
			case young > 0:
				stands = once
			default:
				stands = steady
			}
		}
		if t := s.longestUnused(e, stands); t != nil {
			return t
		}
	}
}

// longestUnused returns the template of a standing that is to give way: the
// first, and where they are used again and again the one used longest ago of a
// few. It returns nil when one was found to stand higher by now, which happens
// to no template more than three times.
func (s *store) longestUnused(e *exporter, stands uint8) (oldest *template) {
	n := 1
	if stands >= again {
		n = min(looks, s.standingOf(e, stands))
	}
	for range n {
		t := s.look(e, stands)
		if now := t.standing(); now > stands {
			s.leave(t)
			s.enter(t, now)
			return nil
		}
		if oldest == nil || t.recent.Load() < oldest.recent.Load() {
			oldest = t
		}
	}
	return oldest
}

// idle returns a steady template that is not used any more, nil when a few looks
// find none.
func (s *store) idle(e *exporter, now flow.Time) *template {
	for range min(looks, s.standingOf(e, steady)) {
		if t := s.look(e, steady); now-flow.Time(t.used.Load()) >= idleTime {
			return t
		}
	}
	return nil
}
