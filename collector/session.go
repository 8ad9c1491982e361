package collector

import "flowtally/flow"

// sessionKey is the identity of a session among all.
type sessionKey struct {
	flow.Exporter
	port    uint16
	version uint16
}

// maxNoted is how many sessions have something to say with one batch. When there
// are more, it goes at once.
const maxNoted = 8192

// note has the next batch of its source speak of a session; the caller holds the
// ledger's lock.
func (s *session) note() {
	if s.noted || s.src == nil {
		return
	}
	s.noted = true
	s.src.noted = append(s.src.noted, s)
	s.src.waits.Store(int32(len(s.src.noted)))
}

// maxUnsaid bounds what one session has to say: of a further minute it is said to
// belong to the last one.
const maxUnsaid = 32

// end books what a session is still missing, and forgets it.
func (l *ledger) end(s *session, now flow.Time) {
	l.settle(s, now)
	for _, x := range s.unsaid {
		l.book(keyOf(&x), x.Count)
	}
	s.unsaid = nil
	s.gone = true
	l.sessions--
	l.part(s)
	for _, o := range s.exporter.sessions {
		if o.root == s {
			o.root = nil
			o.numbering = numbered(specified(o.version))
		}
	}
}

// settle books what is missing of a session of which nothing more will come.
func (l *ledger) settle(s *session, now flow.Time) {
	v := s.numbering.settle()
	l.told(s, v)
	l.missing(s, now, v.lost+s.flush())
}

// told counts what a session's numbers told beside what is missing.
func (l *ledger) told(s *session, v verdict) {
	e := s.exporter
	e.Duplicates = moved(e.Duplicates, v.duplicates)
	e.Restarts = moved(e.Restarts, int64(v.restarts))
	e.Unexplained = moved(e.Unexplained, int64(v.unexplained))
}

// forget makes room for an exporter: the one that was silent for longest gives
// way, when that is silentTime or more.
func (l *ledger) forget(now flow.Time) bool {
	var oldest *exporterState
	for _, e := range l.exporters {
		if oldest == nil || e.LastSeen < oldest.LastSeen {
			oldest = e
		}
	}
	if oldest == nil || now-oldest.LastSeen < silentTime {
		return false
	}
	for _, s := range oldest.sessions {
		l.end(s, now)
	}
	delete(l.exporters, oldest.Exporter)
	return true
}

// number follows the message's sequence number and what the exporter says of
// itself.
func (l *ledger) number(s *session, r *receipt) {
	m, e := r.m, s.exporter
	s.last = r.now
	s.records += uint64(m.Records)
	exact := m.NoTemplate == 0 && m.Malformed == 0 && m.OverLimit == 0 && m.Held == 0
	if !exact || m.Recovered > 0 {
		s.counted = false
	}
	if m.Version != 1 { // which has no sequence number
		a := arrival{
			seq: m.Sequence, n: uint32(m.DataRecords), options: uint32(m.OptionRecordsOwn), templates: uint32(m.Templates),
			exact: exact, boot: r.boot, now: r.now, dropped: l.overflow(r.now),
		}
		t := l.owner(s, a)
		v, explained := t.observe(a)
		l.missing(t, r.now, v.lost)
		if t != s {
			t.last = max(t.last, r.now)
			t.note()
		}
		l.told(s, v)
		l.started(s, r, v)
		if w := s.origin; w != nil && w.root == nil && len(w.sessions) > 1 && t == s {
			if w.together(s, a, explained); w.score <= 0 {
				s.doubted = verdict{}
			} else if s.doubted.add(v); w.score >= convinced {
				l.share(w, s)
			}
		}
		e.Numbering, e.NumberingShared = t.habit, s.origin != nil && s.origin.root != nil
	}
	s.word.add(r)
	for i := range m.Stats {
		l.stats(s, &m.Stats[i], r.now)
	}
}

// started notices that an exporter started again, by the numbers of a session or
// because a new one took the place of those that there were, and that it had not
// after all.
func (l *ledger) started(s *session, r *receipt, v verdict) {
	e, at, fresh := s.exporter, r.now, s.fresh
	s.fresh = false
	switch {
	case v.anew:
		e.startedBy, at = nil, v.anewAt
	case v.restarts < 0:
		r.notStarted = true
		return
	case fresh:
		if r.m.Sequence >= beginning || !l.succeeds(s) {
			return
		}
		e.startedBy = s
	case e.startedBy != nil && e.startedBy != s && e.startedBy.version == s.version:
		// The older one goes on: they are two.
		e.startedBy = nil
		r.notStarted = true
		return
	default:
		return
	}
	r.started = at
	e.SamplingProvisional = e.SamplingRate != 0 && r.m.Version >= 9 && e.SamplingAt < at
}

// succeeds reports whether a new session's exporter had others, this run or an
// earlier one.
func (l *ledger) succeeds(s *session) bool {
	for _, o := range s.exporter.sessions {
		if o != s && o.version == s.version {
			return true
		}
	}
	for k := range l.recalled {
		if k.Exporter == s.exporter.Exporter && k.version == uint16(s.version) {
			return true
		}
	}
	return false
}

// moved adds to a count what may be less than nothing.
func moved(n uint64, d int64) uint64 {
	if d < 0 {
		return n - min(n, uint64(-d))
	}
	return n + uint64(d)
}

// owner returns the session whose numbers a message carries. Some devices send
// templates from one port and data from another, and number both as one: a
// session that never follows its own numbers, but exactly another's, shares them.
func (l *ledger) owner(s *session, a arrival) *session {
	if s.root != nil {
		return s.root
	}
	if s.main == nil || s.inOrder >= 3 || a.seq == 0 || a.seq == s.main.next || len(s.exporter.sessions) < 2 {
		return s
	}
	for _, o := range s.exporter.sessions {
		if o == s || o.version != s.version || o.root != nil || o.main == nil || o.main.next != a.seq {
			continue
		}
		if s.shared++; s.shared >= 3 {
			s.root = o
			s.numbering = numbered(specified(s.version))
		}
		return o
	}
	return s
}

// missing books what a session's numbers show to be lost.
func (l *ledger) missing(s *session, now flow.Time, n uint64) {
	if n == 0 {
		return
	}
	s.lost += n
	e, unit := s.exporter, unitRecord
	if s.datagrams() {
		unit = unitDatagram
		e.MissingDatagrams += n
	} else {
		e.MissingRecords += n
	}
	e.changed = true
	s.add(now, stageWay, causeMissing, unit, n)
}

// stands says where the session stands.
func (s *session) stands() flow.Sequence {
	q := flow.Sequence{
		Exporter: s.exporter.Exporter, Port: s.port, Version: uint16(s.version), Next: s.main.next, At: s.last,
		From: s.handed, Holes: s.holes(), Epoch: s.epoch, Base: s.base, Blind: s.blind,
		Rate: s.rateKnown(s.last),
	}
	if s.sure {
		q.Numbering = s.habit
	}
	return q
}

// saying returns where the session stands, or that it is a member of another one's
// numbers; ok is false when it has nothing to say.
func (s *session) saying() (q flow.Sequence, ok bool) {
	switch {
	case s.root == nil && s.main != nil:
		return s.stands(), true
	case s.root != nil && s.root.main != nil && s.origin != nil && s.origin.root == s.root:
		q = s.root.stands()
		q.Exporter, q.Port, q.Version = s.exporter.Exporter, s.port, uint16(s.version)
		q.Member, q.Holes, q.From, q.At = true, nil, s.handed, s.last
		return q, true
	}
	return q, false
}

// find returns the session that q speaks of, nil when it gave way.
func (l *ledger) find(q *flow.Sequence) *session {
	if e := l.exporters[q.Exporter]; e != nil {
		for _, s := range e.sessions {
			if s.port == q.Port && uint16(s.version) == q.Version {
				return s
			}
		}
	}
	return nil
}
