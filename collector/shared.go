package collector

import (
	"slices"

	"flowtally/flow"
	"flowtally/netflow"
)

// originKey is where messages come from, whatever Observation Domain they are of.
type originKey struct {
	addr    flow.Addr
	port    uint16
	version netflow.Version
}

// origin is the sessions that come from one port of one address in one version.
// Some exporters number the messages of all their domains by one counter: then one
// session, the root, has the numbers of all.
type origin struct {
	sessions []*session
	// all follows the numbers as if there were one counter, while there are
	// several sessions and no root; score says how much better that explains them.
	all   numbering
	score int
	root  *session
}

// specified is what a version's numbers count by its specification.
func specified(v netflow.Version) flow.Numbering {
	if v == netflow.V9 {
		return flow.NumberingMessages
	}
	return flow.NumberingRecords
}

func originOf(s *session) originKey { return originKey{s.exporter.Addr, s.port, s.version} }

// join adds a new session to its origin.
func (l *ledger) join(s *session) {
	k := originOf(s)
	w := l.origins[k]
	if w == nil {
		w = &origin{all: numbered(specified(s.version))}
		l.origins[k] = w
	}
	s.origin = w
	w.sessions = append(w.sessions, s)
	q, shared := l.shared[k]
	switch {
	case w.root != nil:
		s.root = w.root
	case shared:
		// An earlier run found that there is one counter.
		delete(l.shared, k)
		w.root = s
		s.recall(&q)
		s.handed, s.epoch, s.base, s.blind = q.Next, q.Epoch, q.Base, q.Blind
	}
}

// part takes a session off its origin. When it was the root another one becomes it,
// which goes on with its numbers.
func (l *ledger) part(s *session) {
	w := s.origin
	if w == nil {
		return
	}
	if i := slices.Index(w.sessions, s); i >= 0 {
		last := len(w.sessions) - 1
		w.sessions[i] = w.sessions[last]
		w.sessions[last] = nil
		w.sessions = w.sessions[:last]
	}
	s.origin = nil
	if len(w.sessions) == 0 {
		delete(l.origins, originOf(s))
		return
	}
	if w.root == s {
		heir := w.sessions[0]
		for _, o := range w.sessions {
			o.root = heir
		}
		heir.root = nil
		heir.numbering, w.root = s.numbering, heir
	}
}

// together follows the numbers of an origin with several sessions as one counter's;
// explained says that the session's own numbers explain the message. The first of
// a session is explained by neither, and numbers that never change by no counter.
func (w *origin) together(s *session, a arrival, explained bool) {
	_, hit := w.all.observe(a)
	switch {
	case s.seen <= 1:
	case w.all.habit == flow.NumberingNothing:
		w.score = min(w.score, 0)
	case hit && !explained:
		w.score = max(w.score, 0) + 1
	case explained && !hit:
		w.score = max(w.score-1, disbelief)
	}
}

// share makes the sessions of an origin have one counter: that of the root, whose
// numbers are the origin's from now on.
func (l *ledger) share(w *origin, root *session) {
	for _, s := range w.sessions {
		e := s.exporter
		e.Restarts -= min(e.Restarts, uint64(s.doubted.restarts))
		e.Unexplained -= min(e.Unexplained, uint64(s.doubted.unexplained))
		e.Duplicates -= min(e.Duplicates, uint64(max(s.doubted.duplicates, 0)))
		s.doubted = verdict{}
		s.root = root
		s.numbering = numbered(s.habit)
	}
	root.root, w.root = nil, root
	root.numbering = w.all
	w.all = numbering{}
}

// recallShared finds the counters that several sessions shared in an earlier run:
// the session that was heard last knows where they stood.
func (l *ledger) recallShared() {
	for k, q := range l.recalled {
		if q.Member {
			l.shared[originKey{k.Addr, k.port, netflow.Version(k.version)}] = flow.Sequence{}
		}
	}
	if len(l.shared) == 0 {
		return
	}
	for k, q := range l.recalled {
		w := originKey{k.Addr, k.port, netflow.Version(k.version)}
		if last, ok := l.shared[w]; ok {
			delete(l.recalled, k)
			if q.At > last.At || q.At == last.At && int32(q.Next-last.Next) > 0 {
				q.Member = false
				l.shared[w] = q
			}
		}
	}
}
