package collector

import "flowtally/flow"

// What an exporter counts is learned from its messages: each step between two
// numbers is compared with what every kind of flow.Numbering would have counted.
// A habit that explains steps which the one believed until now does not, takes
// its place; and what came while that was in doubt is counted again by it.

const (
	// convinced is how many steps more a habit must explain than the one that is
	// believed, to take its place; convincedSoon how many when it explained all
	// that the other did, at least agreedLeast of them.
	convinced     = 4
	convincedSoon = 2
	agreedLeast   = 8
	// constant is how many messages in a row must have one number before we
	// believe that the exporter does not number: copies look the same.
	constant = 6
	// disbelief is the least that a habit's score may be.
	disbelief = -8
	// maxTrail is how many messages are kept to be counted again, doubtTime how
	// long nothing of them is said to be missing.
	maxTrail  = 64
	doubtTime = 10 * flow.Minute
	// youngMessages and youngTime are for how many messages, and how long, a
	// session's habit is in doubt although nothing speaks against it.
	youngMessages = 8
	youngTime     = 2 * flow.Minute
)

// habits is what a session's habit is learned from.
type habits struct {
	habit flow.Numbering
	// sure says that a step showed it, or an earlier run of the collector knew it.
	sure  bool
	score [flow.Numberings]int8
	// worse says that the habit failed to explain a step that the believed one did.
	worse [flow.Numberings]bool
	// agreed counts the steps that the believed habit explained.
	agreed int
	// last is the last message, first when the first came, seen how many did.
	last  arrival
	first flow.Time
	seen  int
	// trail are the messages that came while the habit is in doubt, before where
	// the session stood when the doubt began, and told what was said since.
	trail  []arrival
	before *standing
	told   verdict
	// fresh is for how many messages more the habit is in doubt because it has taken
	// another one's place just now.
	fresh int
	// withheld is what is missing if the believed habit is right.
	withheld uint64
}

// standing is where a session stood.
type standing struct {
	at       flow.Time
	main     *track
	recalled bool
	last     arrival
	seen     int
	tempo    tempo
}

// counted returns what a message adds to a number, and whether that is known.
func counted(h flow.Numbering, a *arrival) (n uint32, known bool) {
	switch h {
	case flow.NumberingMessages:
		return 1, true
	case flow.NumberingDataMessages:
		return min(a.n, 1), a.n > 0 || a.exact
	case flow.NumberingFlows, flow.NumberingFlowsAfter:
		return a.n - a.options, a.exact
	case flow.NumberingAll, flow.NumberingAllAfter:
		return a.n + a.templates, a.exact
	case flow.NumberingNothing:
		return 0, true
	}
	return a.n, a.exact
}

// normal returns a message as one that is numbered by what was sent before it.
func normal(h flow.Numbering, a arrival) arrival {
	a.n, a.exact = counted(h, &a)
	if h.After() {
		a.seq -= a.n
	}
	return a
}

// explains reports whether habit h explains the step from the last message to a,
// and whether that can be said.
func (s *habits) explains(h flow.Numbering, a *arrival) (hit, known bool) {
	from := &s.last
	if h.After() {
		from = a
	}
	n, known := counted(h, from)
	return a.seq-s.last.seq == n, known
}

// weigh compares the step to a message with every habit, and returns the habit
// that is to be believed from now on, the same as before when nothing speaks
// against that.
func (s *habits) weigh(a *arrival) (best flow.Numbering, hit bool) {
	best = s.habit
	hit, known := s.explains(s.habit, a)
	if !known {
		return best, hit
	}
	review := s.fresh == 1
	s.fresh = max(s.fresh-1, 0)
	if hit {
		s.agreed++
	}
	for h := flow.NumberingRecords; h < flow.Numberings; h++ {
		if h == s.habit {
			continue
		}
		other, known := s.explains(h, a)
		switch score := &s.score[h]; {
		case !known:
		case h == flow.NumberingNothing && !other:
			*score = 0
		case other && !hit:
			*score = min(*score+1, 100)
		case hit && !other:
			*score, s.worse[h] = max(*score-1, disbelief), true
			s.sure = s.sure || h != flow.NumberingNothing
		}
	}
	if s.before == nil {
		return best, hit
	}
	for h := flow.NumberingRecords; h < flow.Numberings; h++ {
		review = review || s.score[h] >= s.needed(h)
	}
	over := len(s.trail) >= maxTrail || a.now-s.before.at > doubtTime
	if over {
		// One that explains more, and all of the rest, need not wait.
		_, most := s.leading()
		review = review || most >= convincedSoon || most > 0 && s.agreed >= agreedLeast
	}
	if review {
		best = s.review(a)
	}
	if over && best == s.habit { // the doubt has had its time
		for h := range s.score {
			s.score[h] = min(s.score[h], 0)
		}
	}
	return best, hit
}

// review returns the habit that explains most of the trail with a at its end: the
// believed one where no other explains more.
func (s *habits) review(a *arrival) (best flow.Numbering) {
	at := habits{last: s.before.last}
	var hits [flow.Numberings]int
	steps := 0
	step := func(a *arrival, first bool) {
		if !first {
			steps++
			for h := flow.NumberingRecords; h < flow.Numberings; h++ {
				if hit, known := at.explains(h, a); hit && known {
					hits[h]++
				}
			}
		}
		at.last = *a
	}
	for i := range s.trail {
		step(&s.trail[i], i == 0 && s.before.seen == 0)
	}
	if a != nil {
		step(a, false)
	}
	best = s.habit
	for h := flow.NumberingRecords; h < flow.Numberings; h++ {
		if hits[h] > hits[best] && (h != flow.NumberingNothing || hits[h] == steps) {
			best = h
		}
	}
	return best
}

// leading returns the habit that explains most steps beside all that the believed
// one does, and how many; 0 is that there is none.
func (s *habits) leading() (best flow.Numbering, most int8) {
	for h := flow.NumberingRecords; h < flow.NumberingNothing; h++ {
		if score := s.score[h]; score > most && !s.worse[h] {
			best, most = h, score
		}
	}
	return best, most
}

func (s *habits) needed(h flow.Numbering) int8 {
	switch {
	case h == flow.NumberingNothing:
		return constant
	case !s.worse[h] && s.agreed >= agreedLeast:
		return convincedSoon
	}
	return convinced
}

// doubtful reports whether another habit may be the right one.
func (s *habits) doubtful(now flow.Time) bool {
	if s.fresh > 0 && len(s.trail) < maxTrail {
		return true
	}
	if !s.sure && s.seen < youngMessages && now-s.first < youngTime {
		return true
	}
	for h := range s.score {
		if s.score[h] > 0 {
			return true
		}
	}
	return false
}

// follow keeps the trail of a message that has been weighed and not yet counted.
// It returns what is no more in doubt to be missing.
func (s *numbering) follow(a arrival) (lost uint64) {
	if !s.doubtful(a.now) {
		lost = s.withheld
		s.trail, s.before, s.told, s.withheld = s.trail[:0], nil, verdict{}, 0
		return lost
	}
	if s.before == nil {
		s.before = &standing{at: a.now, main: s.main.clone(), recalled: s.recalled, last: s.last, seen: s.seen, tempo: s.tempo}
	}
	if len(s.trail) <= maxTrail {
		s.trail = append(s.trail, a)
	}
	return 0
}

// turn believes another habit, and counts again what came while that was in
// doubt. It returns what that tells, less what had been told.
func (s *numbering) turn(h flow.Numbering) (v verdict) {
	b, trail, told := s.before, s.trail, s.told
	*s = numbering{
		habits:   habits{habit: h, sure: true, first: s.first, seen: b.seen, last: b.last, before: b, trail: trail, fresh: youngMessages},
		recalled: b.recalled, tempo: b.tempo, main: b.main.clone(),
	}
	if b.seen > 0 {
		t := begin(normal(h, b.last))
		t.holes, t.messages = s.main.holes, s.main.messages
		s.main = t
	}
	s.tempo.again()
	s.tempo.records = !h.Messages()
	for _, a := range trail {
		v.add(s.count(a))
	}
	s.withheld, v.lost = v.lost-min(v.lost, told.lost), 0
	s.told = v
	s.told.lost = told.lost
	v.restarts -= told.restarts
	v.duplicates -= told.duplicates
	v.unexplained -= told.unexplained
	return v
}
