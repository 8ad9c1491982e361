package collector

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"flowtally/flow"
	"flowtally/netflow"
)

// The ledger's words. A stage is where something was lost, a cause is why; both
// are fixed lists, so that a stranger can mint neither rows nor metric labels.
const (
	stageExporter = "exporter" // before it was sent, by the exporter's own word
	stageWay      = "way"
	stageReceive  = "receive"
	stageDecode   = "decode"
	stageStore    = "store"

	causeNotSent          = "not_sent"
	causeIgnored          = "ignored"
	causeDropped          = "dropped"
	causeMissing          = "missing"
	causeKernel           = "kernel_buffer"
	causeNotAllowed       = "not_allowed"
	causeVersion          = "version"
	causeMalformed        = "malformed"
	causeNoTemplate       = "no_template"
	causeOverLimit        = "over_limit"
	causeTooManyExporters = "too_many_exporters"
	causeTooMany          = "too_many"
	causeRateLimit        = "rate_limit"
	causeQueueFull        = "queue_full"
	causeRefused          = "refused"
	causeStopped          = "stopped"

	unitPacket   = "packet"
	unitRecord   = "record"
	unitEvent    = "event"
	unitDatagram = "datagram"
	unitSet      = "set"
)

// anyExporter stands for losses that cannot be laid at one exporter's door.
const anyExporter flow.ExporterID = 0

const (
	// maxLosses is how many losses are kept apart while no report can be
	// delivered; of further ones the exporter is forgotten.
	maxLosses = 1 << 16
	// maxPorts is how many sessions of one exporter are followed, maxSessions how
	// many of all exporters that have more than one. The one that was silent for
	// longest gives way. A session takes half a kilobyte, and a kilobyte more
	// for each 64 holes in its numbers: with 4096 exporters at most 16 MiB.
	maxPorts    = 64
	maxSessions = 1 << 14
	// silentTime is how long an exporter must have been silent to give way to a
	// new one when there is no more room.
	silentTime = 5 * flow.Minute
	// recentTime is for how long a source port counts as in use.
	recentTime = flow.Minute
	// overflowTime is how long what the kernel dropped explains gaps.
	overflowTime = 10 * flow.Second
	// maxInterfaces is how many descriptions of interfaces wait for a report.
	maxInterfaces = 1 << 14
	// maxProcesses is how many processes of one session may speak of themselves.
	maxProcesses = 8
)

// ledger keeps what is known of every exporter and what was lost since the last
// report. Its methods are safe for concurrent use.
type ledger struct {
	max  int
	rate float64 // records a second of one exporter, 0 for any
	// local tells whether an address is a router's in front of us, sampling what
	// is configured for an exporter; either may be nil.
	local    func(flow.Addr) bool
	sampling func(flow.Exporter) netflow.Sampling

	mu        sync.Mutex
	exporters map[flow.Exporter]*exporterState
	sessions  int
	// dropped are datagrams that the kernel dropped, droppedAt when last.
	dropped   uint64
	droppedAt flow.Time
	recalled  map[sessionKey]flow.Sequence
	origins   map[originKey]*origin
	// shared are the counters that an earlier run found to be those of several
	// sessions.
	shared map[originKey]flow.Sequence
	// epoch is this run's; blind says that it does not know all that recalled
	// should hold.
	epoch      int64
	blind      bool
	loss       map[lossKey]uint64
	interfaces map[interfaceKey]flow.Interface
}

type exporterState struct {
	flow.ExporterStatus
	id       flow.ExporterID
	changed  bool // since the last report
	sessions []*session
	// startedBy is the new session that made us believe that it started again.
	startedBy *session
	// listenerAt is when a message came in on Listener last, announcedAt when Announced became
	// what it is.
	listenerAt, announcedAt flow.Time
	tokens                  float64 // of the rate limit
	filled                  flow.Time
}

type interfaceKey struct {
	exporter flow.ExporterID
	index    uint32
}

// session is what one exporter sends from one port in one dialect.
type session struct {
	numbering
	exporter *exporterState
	port     uint16
	version  netflow.Version
	began    flow.Time
	last     flow.Time
	whole    bool    // it was followed from its first message
	fresh    bool    // it is new, and had no message before
	gone     bool    // it gave way, and must be looked up again
	src      *source // who read its last message
	noted    bool    // its numbers go with the batch in hand
	handed   uint32  // where it stood with the last batch
	base     uint32  // where it began, when blind
	epoch    int64
	blind    bool
	// unsaid is what was lost of it since the last batch, for the next.
	unsaid  []flow.Loss
	root    *session // the session whose numbers it shares, nil when its own
	origin  *origin
	doubted verdict // told of its own numbers while they may be the origin's
	shared  int     // messages that followed another session's numbers
	records uint64
	lost    uint64 // by its numbers
	counted bool   // nothing was left undecoded since the totals' base
	word    word
	totals  []totals
}

// totals are what a process of an exporter said last, and the base from which
// what it exported is compared with what came.
type totals struct {
	netflow.ProcessStats
	base     uint64 // its Records less ours
	deficit  uint64 // at the last report
	booked   uint64
	received uint64
	gaps     uint64 // datagrams that were missing then
}

type lossKey struct {
	minute      flow.Time
	exporter    flow.ExporterID
	stage       string
	cause, unit string
}

func newLedger(maxExporters int) *ledger {
	return &ledger{
		epoch: rand.Int64()>>1 + 1, max: maxExporters, exporters: map[flow.Exporter]*exporterState{}, loss: map[lossKey]uint64{},
		recalled: map[sessionKey]flow.Sequence{}, origins: map[originKey]*origin{}, shared: map[originKey]flow.Sequence{}, interfaces: map[interfaceKey]flow.Interface{},
	}
}

// source is what a reading goroutine remembers between datagrams.
type source struct {
	last  *session   // nearly always the next one's
	noted []*session // sessions with something to say since the last batch
	// waits is how many.
	waits atomic.Int32
}

// add books a loss of a session, for its next batch; the caller holds the lock.
func (s *session) add(now flow.Time, stage, cause, unit string, n uint64) {
	if n == 0 {
		return
	}
	l := flow.Loss{Minute: now.Floor(flow.Minute), Exporter: s.exporter.id, Stage: stage, Cause: cause, Unit: unit, Count: n}
	s.note()
	full := len(s.unsaid) >= maxUnsaid
	for i := range s.unsaid {
		o := &s.unsaid[i]
		if (o.Minute == l.Minute || full) && o.Stage == stage && o.Cause == cause && o.Unit == unit {
			o.Count += n
			return
		}
	}
	s.unsaid = append(s.unsaid, l)
}

// receipt is one datagram as the ledger sees it.
type receipt struct {
	m         *netflow.Message
	listener  string // its name, "" when it has none
	port      uint16
	now, boot flow.Time
	templates int // known now, when the datagram had some
	err       error
	// started is when the exporter is seen to have started again, 0 when it did not;
	// notStarted says that it was thought to have and had not.
	started    flow.Time
	nobody     bool // it is no exporter's
	notStarted bool

	records, packets, bytes, repaired uint64
	start, end                        flow.Time
}

// datagram books one datagram and its records. It returns the cause for which the
// records must be dropped, "" when they are taken.
func (l *ledger) datagram(src *source, r *receipt) (drop string) {
	m, now := r.m, r.now
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Version == 0 || (r.err != nil && errors.Is(r.err, netflow.ErrVersion)) {
		// Not an export message: nobody's.
		r.nobody = true
		l.add(now, anyExporter, stageDecode, causeVersion, unitDatagram, 1)
		return ""
	}
	s := l.session(src, r)
	if s == nil {
		// A message that says nothing does not make its sender an exporter.
		switch {
		case r.records > 0 || m.Templates > 0 || m.OptionRecords > 0 || m.NoTemplate > 0 && m.Malformed == 0 || m.Held > 0:
			l.add(now, anyExporter, stageDecode, causeTooManyExporters, unitRecord, r.records)
			return causeTooManyExporters
		case m.Malformed > 0:
			r.nobody = true
			l.add(now, anyExporter, stageDecode, causeMalformed, unitDatagram, 1)
		case m.OverLimit > 0:
			l.add(now, anyExporter, stageDecode, causeOverLimit, unitDatagram, 1)
		}
		return ""
	}
	e := s.exporter
	e.changed = true
	e.Version = uint16(m.Version)
	e.LastSeen = now
	e.Datagrams++
	if m.ExportTime > 0 {
		e.ClockOffset = m.ExportTime - now
	}
	if m.Templates > 0 {
		e.Templates = uint64(r.templates)
	}
	if m.SamplingRate != 0 || m.SamplingForgotten {
		e.SamplingRate = m.SamplingRate
	}
	if m.SamplingAt != 0 || m.SamplingForgotten {
		e.SamplingAt, e.SamplingProvisional = m.SamplingAt, m.SamplingProvisional
	}
	e.call(r)
	e.NoTemplate += uint64(m.NoTemplate)
	e.Malformed += uint64(m.Malformed)
	e.OverLimit += uint64(m.OverLimit)
	e.Held += uint64(m.Held)
	e.Recovered += uint64(m.Recovered)
	if r.err != nil && now-e.LastErrorAt >= flow.Second {
		e.LastError, e.LastErrorAt = firstLine(r.err), now
	}
	unit := unitSet
	if m.Version <= 7 {
		unit = unitRecord
	}
	s.src = src
	s.add(now, stageDecode, causeNoTemplate, unit, uint64(m.NoTemplate))
	s.add(now, stageDecode, causeMalformed, unit, uint64(m.Malformed))
	s.add(now, stageDecode, causeOverLimit, unit, uint64(m.OverLimit))
	l.number(s, r)
	if s.records > 0 { // else a stranger's templates would have the store write
		s.note()
	}
	for i := range m.Interfaces {
		x := m.Interfaces[i]
		x.Exporter = e.id
		if k := (interfaceKey{e.id, x.Index}); len(l.interfaces) < maxInterfaces || l.interfaces[k].Exporter != 0 {
			l.interfaces[k] = x
		}
	}
	if l.rate > 0 && !e.allows(l.rate, now, r.records) {
		e.RateLimited += r.records
		s.add(now, stageDecode, causeRateLimit, unitRecord, r.records)
		return causeRateLimit
	}
	if r.records > 0 {
		e.Records += r.records
		e.Packets += r.packets
		e.Bytes += r.bytes
		e.TimeRepaired += r.repaired
		e.LastStart, e.LastEnd = r.start, r.end
	}
	return ""
}

// firstLine is the first reason of an error that joins several, as text that a
// database takes.
func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > 500 {
		text = text[:500]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), string(utf8.RuneError))
}

// allows takes records out of an exporter's bucket, which holds what comes in a
// second, and at least one full datagram.
func (e *exporterState) allows(rate float64, now flow.Time, n uint64) bool {
	most := max(rate, 100)
	if e.filled == 0 {
		e.tokens = most
	} else if now > e.filled {
		e.tokens = min(most, e.tokens+rate*float64(now-e.filled)/float64(flow.Second))
	}
	e.filled = now
	if e.tokens <= 0 {
		return n == 0
	}
	e.tokens -= float64(n)
	return true
}

// session returns the session of a message, a new one when it says something, and
// nil when it does not or there is no room for its exporter.
func (l *ledger) session(src *source, r *receipt) *session {
	m := r.m
	if s := src.last; s != nil && !s.gone && s.port == r.port && s.version == m.Version && s.exporter.Exporter == m.Exporter {
		return s
	}
	e := l.exporters[m.Exporter]
	if e == nil {
		if r.records == 0 && m.Templates == 0 && m.OptionRecords == 0 && m.Held == 0 && (m.NoTemplate == 0 || m.Malformed > 0) {
			return nil
		}
		if len(l.exporters) >= l.max && !l.forget(r.now) {
			return nil
		}
		e = &exporterState{ExporterStatus: flow.ExporterStatus{Exporter: m.Exporter, FirstSeen: r.now}, id: m.Exporter.ID()}
		if l.local != nil {
			e.Gateway = l.local(m.Exporter.Addr)
		}
		if l.sampling != nil {
			c := l.sampling(m.Exporter)
			e.ConfiguredRate, e.SamplingOverride = c.Rate, c.Override
		}
		l.exporters[m.Exporter] = e
	}
	for _, s := range e.sessions {
		if s.port == r.port && s.version == m.Version {
			src.last = s
			return s
		}
	}
	s := &session{exporter: e, port: r.port, version: m.Version, began: r.now, last: r.now, counted: true, fresh: true, epoch: l.epoch, blind: l.blind, handed: m.Sequence, base: m.Sequence}
	s.numbering = numbered(specified(m.Version))
	if n := len(e.sessions); n >= maxPorts || n > 0 && l.sessions >= maxSessions {
		oldest := slices.MinFunc(e.sessions, func(a, b *session) int { return cmp.Compare(a.last, b.last) })
		l.end(oldest, r.now)
		e.sessions = slices.DeleteFunc(e.sessions, func(s *session) bool { return s == oldest })
	}
	k := sessionKey{m.Exporter, r.port, uint16(m.Version)}
	if q, ok := l.recalled[k]; ok {
		s.recall(&q)
		s.handed, s.epoch, s.base, s.blind = q.Next, q.Epoch, q.Base, q.Blind
		delete(l.recalled, k)
	} else if m.Sequence <= 1 {
		s.whole = true
	}
	e.sessions = append(e.sessions, s)
	l.sessions++
	l.join(s)
	src.last = s
	return s
}

// stats books what an exporter says of itself. Its totals begin with the first
// that it says, or with 0 when the session was followed from its begin.
func (l *ledger) stats(s *session, x *netflow.ProcessStats, now flow.Time) {
	i := slices.IndexFunc(s.totals, func(t totals) bool { return t.Process == x.Process && t.Said == x.Said })
	if i < 0 {
		if len(s.totals) == maxProcesses {
			return
		}
		t := totals{}
		if !s.whole {
			t.ProcessStats = *x
			t.base, t.received = x.Records, s.records
		}
		t.Process, t.Said = x.Process, x.Said
		s.totals = append(s.totals, t)
		i = len(s.totals) - 1
	}
	t := &s.totals[i]
	grown := func(now, before uint64) uint64 {
		if now < before {
			return now // it began again
		}
		return now - before
	}
	e := s.exporter
	book := func(cause, unit string, sum *uint64, n uint64) {
		if !s.word.credible(n, now) {
			e.Unexplained++
			return
		}
		*sum += n
		l.add(now, e.id, stageExporter, cause, unit, n)
	}
	if x.Said&(netflow.TotalIgnoredPackets|netflow.TotalDroppedPackets) != 0 {
		e.MeteringToldAt, e.changed = now, true
	}
	if x.Said&netflow.TotalNotSentFlows != 0 {
		e.SendingToldAt, e.changed = now, true
		book(causeNotSent, unitRecord, &e.NotSent, grown(x.NotSentFlows, t.NotSentFlows))
	}
	book(causeIgnored, unitPacket, &e.Ignored, grown(x.IgnoredPackets, t.IgnoredPackets))
	book(causeDropped, unitPacket, &e.Dropped, grown(x.DroppedPackets, t.DroppedPackets))
	// In v9 a number tells of datagrams only; the total of records tells how many
	// were in them. Sets that were not decoded would look the same as missing.
	if s.datagrams() && x.Said&netflow.TotalRecords != 0 {
		if x.Records < t.Records || !s.counted {
			t.base, t.received, t.booked, t.deficit = x.Records, s.records, 0, 0
			s.counted = true
		}
		sent, came := x.Records-t.base, s.records-t.received+t.booked
		deficit := uint64(0)
		if sent > came {
			deficit = sent - came
		}
		// Where no datagram is missing no record is: some exporters count their
		// options records as well.
		gaps := s.lost + s.awaited()
		if gaps == t.gaps && deficit > t.deficit {
			t.base += deficit - t.deficit
			deficit = t.deficit
		}
		t.gaps = gaps
		// Datagrams may have overtaken each other: what two totals agree on is
		// missing.
		if n := s.word.missing(min(deficit, t.deficit), gaps); n > 0 {
			e.MissingRecords += n
			l.add(now, e.id, stageWay, causeMissing, unitRecord, n)
			t.booked += n
			deficit -= n
		}
		t.deficit = deficit
	}
	s.word.packets = 0
	keep := *t
	keep.ProcessStats = *x
	*t = keep
}

// account returns where the sessions stand that have something to say since the
// last call for this source, and what was lost of them up to there.
func (l *ledger) account(src *source) (list []flow.Sequence, loss []flow.Loss) {
	if src.waits.Load() == 0 {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	src.waits.Store(0)
	list = make([]flow.Sequence, 0, len(src.noted))
	for _, s := range src.noted {
		s.noted = false
		if s.gone {
			continue
		}
		loss = append(loss, s.unsaid...)
		s.unsaid = s.unsaid[:0]
		if q, ok := s.saying(); ok {
			list = append(list, q)
			s.handed = q.Next
		}
	}
	clear(src.noted)
	src.noted = src.noted[:0]
	return list, loss
}

// notStored books a batch that will not be stored: its records for the cause, and
// what it had to say for the next batch, or report, to say.
func (l *ledger) notStored(h *handed, cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range h.sequences {
		q := &h.sequences[i]
		if s := l.find(q); s != nil {
			s.handed = q.From
			s.note()
		}
	}
	for i := range h.loss {
		l.giveTo(h, &h.loss[i])
	}
	for recs := h.recs; len(recs) > 0; {
		// Records of one exporter and time stand together.
		n := 1
		for n < len(recs) && recs[n].Received == recs[0].Received && recs[n].Exporter == recs[0].Exporter {
			n++
		}
		l.giveTo(h, &flow.Loss{Minute: recs[0].Received.Floor(flow.Minute), Exporter: recs[0].Exporter, Stage: stageStore, Cause: cause, Unit: unitRecord, Count: uint64(n)})
		recs = recs[n:]
	}
	for events := h.events; len(events) > 0; {
		n := 1
		for n < len(events) && events[n].Received == events[0].Received && events[n].Exporter == events[0].Exporter {
			n++
		}
		l.giveTo(h, &flow.Loss{Minute: events[0].Received.Floor(flow.Minute), Exporter: events[0].Exporter, Stage: stageStore, Cause: cause, Unit: unitEvent, Count: uint64(n)})
		events = events[n:]
	}
}

// giveTo books a loss with a session of its exporter that was in the batch, so
// that it is told together with the numbers that it explains.
func (l *ledger) giveTo(h *handed, x *flow.Loss) {
	for i := range h.sequences {
		if q := &h.sequences[i]; q.Exporter.ID() == x.Exporter {
			if s := l.find(q); s != nil {
				s.add(x.Minute, x.Stage, x.Cause, x.Unit, x.Count)
				return
			}
		}
	}
	l.book(keyOf(x), x.Count)
}

func keyOf(x *flow.Loss) lossKey {
	return lossKey{x.Minute, x.Exporter, x.Stage, x.Cause, x.Unit}
}

// recall takes over where sessions stood when an earlier run of the collector
// ended. all says that the list is whole: what is not in it began since.
func (l *ledger) recall(list []flow.Sequence, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.renamed()
	l.blind = !all
	for i := range list {
		q := &list[i]
		if len(l.recalled) >= maxLosses {
			l.blind = true
			return
		}
		if q.Blind = !all; q.Blind {
			q.Epoch = l.epoch
		}
		l.recalled[sessionKey{q.Exporter, q.Port, q.Version}] = *q
	}
	l.recallShared()
}

// add books a loss; the caller holds the lock.
func (l *ledger) add(now flow.Time, id flow.ExporterID, stage, cause, unit string, n uint64) {
	if n > 0 {
		l.book(lossKey{now.Floor(flow.Minute), id, stage, cause, unit}, n)
	}
}

// book adds to a loss, within maxLosses: above it to that of no exporter in
// particular.
func (l *ledger) book(k lossKey, n uint64) {
	if len(l.loss) >= maxLosses {
		if _, ok := l.loss[k]; !ok {
			k.exporter = anyExporter
		}
	}
	l.loss[k] += n
}

// nobodys books datagrams that are no exporter's.
func (l *ledger) nobodys(now flow.Time, stage, cause string, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(now, anyExporter, stage, cause, unitDatagram, n)
	if cause == causeKernel {
		l.overflow(now)
		l.dropped, l.droppedAt = l.dropped+n, now
	}
}

// overflow returns the datagrams that the kernel dropped in the last overflowTime
// and that no gap took for itself.
func (l *ledger) overflow(now flow.Time) *uint64 {
	if now-l.droppedAt > overflowTime {
		l.dropped = 0
	}
	return &l.dropped
}

// givenUp books Sets that were held for a template that did not come.
func (l *ledger) givenUp(now flow.Time, list []netflow.GivenUp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range list {
		id := anyExporter
		if e := l.exporters[g.Exporter]; e != nil {
			id = e.id
			e.NoTemplate += uint64(g.Sets)
			e.changed = true
		}
		l.add(now, id, stageDecode, causeNoTemplate, unitSet, uint64(g.Sets))
	}
}

// take returns what changed since the last call. final says that nothing more
// will come, so that what is awaited is missing.
func (l *ledger) take(now flow.Time, final bool) (r flow.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.exporters {
		for _, s := range e.sessions {
			switch {
			case final:
				l.settle(s, now)
				for i := range s.unsaid {
					l.book(keyOf(&s.unsaid[i]), s.unsaid[i].Count)
				}
				s.unsaid = nil
				if q, ok := s.saying(); ok && s.noted {
					r.Sequences = append(r.Sequences, q)
				}
			case s.origin != nil && s.origin.root == nil && s.origin.score > 0: // it may be none of its own
			case s.pending():
				l.missing(s, now, s.expire(now))
			}
		}
		if e.changed {
			e.changed = false
			e.ports()
			r.Status = append(r.Status, e.ExporterStatus)
		}
	}
	for k, n := range l.loss {
		r.Loss = append(r.Loss, flow.Loss{Minute: k.minute, Exporter: k.exporter, Stage: k.stage, Cause: k.cause, Unit: k.unit, Count: n})
	}
	clear(l.loss)
	for _, x := range l.interfaces {
		r.Interfaces = append(r.Interfaces, x)
	}
	clear(l.interfaces)
	return r
}

// ports counts the source ports in use, and how many of them number their messages for
// themselves at the same time: more than one of these are several exporters behind one
// address, or several processes of one. One that began after another's last message is
// the same exporter, started again.
func (e *exporterState) ports() {
	e.SourcePorts, e.Senders = 0, 0
	for _, s := range e.sessions {
		if e.LastSeen-s.last > recentTime {
			continue
		}
		e.SourcePorts++
		at := 0
		for _, o := range e.sessions {
			if o.root == nil && o.inOrder >= 3 && e.LastSeen-o.last <= recentTime && o.began <= s.began && s.began <= o.last {
				at++
			}
		}
		e.Senders = max(e.Senders, at)
	}
}

// giveBack undoes take for a report that could not be delivered.
func (l *ledger) giveBack(r flow.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range r.Status {
		if e := l.exporters[s.Exporter]; e != nil {
			e.changed = true
		}
	}
	for _, x := range r.Loss {
		l.book(lossKey{x.Minute, x.Exporter, x.Stage, x.Cause, x.Unit}, x.Count)
	}
	for _, x := range r.Interfaces {
		k := interfaceKey{x.Exporter, x.Index}
		if _, newer := l.interfaces[k]; !newer && len(l.interfaces) < maxInterfaces {
			l.interfaces[k] = x
		}
	}
}

// known returns how many exporters there are.
func (l *ledger) known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.exporters)
}
