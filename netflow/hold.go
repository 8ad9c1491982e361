package netflow

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"flowtally/flow"
)

// hold keeps Data Sets that came before their template, each with its message's
// header, for as long as Limits allow. What does not fit for one address is
// refused; when there is no room for anybody, the address that holds most gives
// up its oldest Set, in turn with its equals: so that no number of forged
// addresses has it all to itself until time makes room.
type hold struct {
	sets atomic.Int64 // held now: lets a message pass without the lock

	mu     sync.Mutex
	octets int
	oldest flow.Time // nothing held is older
	from   map[flow.Addr]*heldSets
	// sizes are the addresses by how many octets they hold.
	sizes [heldSizes]struct{ first, last *heldSets }
	// pushed are the Sets that gave way, until Expire reports them.
	pushed map[pushedKey]int
}

// pushedKey is whose Set gave way.
type pushedKey struct {
	exporter flow.Exporter
	version  Version
}

// heldSets are those of one address, by the template that they wait for, and in
// their order of arrival.
type heldSets struct {
	addr       flow.Addr
	octets     int
	waiting    map[templateKey][]*heldSet
	looked     flow.Time // when data last looked for what waits of other ports
	oldest     *heldSet
	newest     *heldSet
	prev, next *heldSets // of the same size
}

// heldSet is one Set, without its own header, behind the header of its message.
type heldSet struct {
	b          []byte
	at         flow.Time
	key        templateKey
	prev, next *heldSet
}

const (
	// heldOverhead is what a held Set costs beyond its octets: itself, its place
	// in a list, and its part in two maps.
	heldOverhead = 192
	// heldAlike is below how many octets addresses hold alike; above, the one
	// with twice as many pays first.
	heldAlike = 4096
	heldSizes = 12
	// maxPushed is for how many exporters it is remembered that Sets of theirs
	// gave way. Those of more are nobody's.
	maxPushed = 4096
)

func (s *heldSet) cost() int { return len(s.b) + heldOverhead }

func heldSize(octets int) int { return min(bits.Len(uint(octets)/heldAlike), heldSizes-1) }

// keep holds a Set and reports whether there was room for it.
func (h *hold) keep(l *Limits, a flow.Addr, k templateKey, at flow.Time, header, set []byte) bool {
	cost := len(header) + len(set) + heldOverhead
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.from[a]; cost > min(l.HoldOctets, l.ExporterHoldOctets) || e != nil && e.octets+cost > l.ExporterHoldOctets {
		return false
	}
	for h.octets+cost > l.HoldOctets {
		h.push()
	}
	e := h.from[a]
	if e == nil {
		if h.from == nil {
			h.from = make(map[flow.Addr]*heldSets)
		}
		e = &heldSets{addr: a, waiting: make(map[templateKey][]*heldSet)}
		h.from[a] = e
		h.link(e)
	}
	b := make([]byte, 0, len(header)+len(set))
	s := &heldSet{b: append(append(b, header...), set...), at: at, key: k, prev: e.newest}
	e.waiting[s.key] = append(e.waiting[s.key], s)
	if e.newest == nil {
		e.oldest = s
	} else {
		e.newest.next = s
	}
	e.newest = s
	h.resize(e, cost)
	if h.sets.Add(1) == 1 || at < h.oldest {
		h.oldest = at
	}
	return true
}

// push gives up the oldest Set of the address that is to pay for another's.
// Something is held.
func (h *hold) push() {
	for i := heldSizes - 1; i >= 0; i-- {
		e := h.sizes[i].first
		if e == nil {
			continue
		}
		h.unlink(e)
		h.link(e)
		s := e.oldest
		k := pushedKey{flow.Exporter{Addr: e.addr, Domain: s.key.domain}, s.key.version}
		if _, ok := h.pushed[k]; !ok && len(h.pushed) >= maxPushed {
			k.exporter = flow.Exporter{}
		}
		if h.pushed == nil {
			h.pushed = make(map[pushedKey]int)
		}
		h.pushed[k]++
		h.giveUp(e)
		return
	}
}

// giveUp forgets the oldest Set of e, which is the first of those that wait for
// its template.
func (h *hold) giveUp(e *heldSets) {
	s := e.oldest
	if list := e.waiting[s.key]; len(list) == 1 {
		delete(e.waiting, s.key)
	} else {
		list[0] = nil
		e.waiting[s.key] = list[1:]
	}
	h.release(e, s)
	h.leave(e)
}

// link puts e behind those that hold as much, unlink takes it out.
func (h *hold) link(e *heldSets) {
	l := &h.sizes[heldSize(e.octets)]
	e.prev, e.next = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
}

func (h *hold) unlink(e *heldSets) {
	l := &h.sizes[heldSize(e.octets)]
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
}

// resize counts octets that e holds more, or less.
func (h *hold) resize(e *heldSets, octets int) {
	h.octets += octets
	if heldSize(e.octets) == heldSize(e.octets+octets) {
		e.octets += octets
		return
	}
	h.unlink(e)
	e.octets += octets
	h.link(e)
}

// take returns the Sets that waited for a template of their own port, in their order
// of arrival, and holds them no more.
func (h *hold) take(a flow.Addr, k templateKey) []*heldSet {
	if h.sets.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.from[a]
	if e == nil {
		return nil
	}
	list := e.waiting[k]
	delete(e.waiting, k)
	for _, s := range list {
		h.release(e, s)
	}
	h.leave(e)
	return list
}

// takeOthers returns those of the Sets that came before a time and wait for a template
// of another port which are wanted, in their order of arrival, and holds them no more.
// It looks at all that the address holds.
func (h *hold) takeOthers(a flow.Addr, k templateKey, before flow.Time, wanted func(*heldSet) bool) (taken []*heldSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.from[a]
	if e == nil {
		return nil
	}
	for s := e.oldest; s != nil && s.at <= before; s = s.next {
		if s.key.anyPort() == k.anyPort() && s.key.port != k.port && wanted(s) {
			taken = append(taken, s)
		}
	}
	for _, s := range taken {
		list := slices.DeleteFunc(e.waiting[s.key], func(x *heldSet) bool { return x == s })
		if e.waiting[s.key] = list; len(list) == 0 {
			delete(e.waiting, s.key)
		}
		h.release(e, s)
	}
	h.leave(e)
	return taken
}

// since returns when the oldest of the Sets that wait for a session's templates came,
// ok is false when there are none.
func (h *hold) since(a flow.Addr, of sessionKey) (at flow.Time, ok bool) {
	if h.sets.Load() == 0 {
		return 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.from[a]
	if e == nil {
		return 0, false
	}
	for s := e.oldest; s != nil; s = s.next {
		if s.key.session() == of {
			return s.at, true
		}
	}
	return 0, false
}

// look reports whether data that has its own template is to look for what has waited
// for long enough at other ports of its address: not more often than once a second.
func (h *hold) look(a flow.Addr, now flow.Time) bool {
	if h.sets.Load() == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.from[a]
	if e == nil || e.oldest.at > now-moment || e.looked > now-flow.Second {
		return false
	}
	e.looked = now
	return true
}

const (
	// moment is how long the data of a port waits for a template of its own before
	// it is read by one that came from another port of the address; longMoment is it
	// for data that is numbered differently: two exporters behind one address are
	// the likelier reason, and most send their templates once a minute.
	moment     = 5 * flow.Second
	longMoment = flow.Minute
	// nearby is how far numbers may be apart that are taken for those of one session
	// on two ports, of which some messages were lost or overtook others.
	nearby = 1024
	// maxLooks is how often a message has all looked through that its address holds.
	maxLooks = 4
	// proof is from what number on a message that continues a session's numbering is
	// not so by chance: many begin at 0 at the same time.
	proof = 16
)

// borrows reports whether data of this message may be read by a template that came
// from another port: because the port is known to send such, because its message is
// the next of the session that the template came from, or because it has waited for
// a template of its own for long enough.
func (w *work) borrows(t *template) bool {
	m, x := w.m, t.session
	if w.d.store.borrows(x, w.port) {
		return true
	}
	if !x.follows(m.Sequence) {
		if !w.asked {
			w.asked = true
			w.waiting, _ = w.d.hold.since(m.Exporter.Addr, sessionKey{domainKey{m.Exporter.Domain, m.Version}, w.port})
		}
		if w.waiting == 0 || w.proto.Received-w.waiting < patience(x.next.Load(), m.Sequence) {
			return false
		}
	}
	w.d.store.lend(x, w.port)
	return true
}

// patience is how long data is held that has this number, where next is that of a
// session that might be its own.
func patience(next uint64, sequence uint32) flow.Time {
	if far := int32(sequence - uint32(next-1)); next != 0 && (far < -nearby || far > nearby) {
		return longMoment
	}
	return moment
}

// waited reports whether a held Set of another port may be read by t.
func (w *work) waited(t *template, s *heldSet) bool {
	next, sequence := t.session.next.Load(), binary.BigEndian.Uint32(s.b[w.dl.sequence:])
	if t.key.port == w.port {
		next = uint64(w.m.Sequence) + 1
	}
	return w.proto.Received-s.at >= patience(next, sequence) || w.d.store.borrows(t.session, s.key.port)
}

// number notes how the session goes on whose template this message had, or was read
// by.
func (w *work) number() {
	if w.session == nil {
		return
	}
	next := w.m.Sequence + 1
	if w.m.Version == IPFIX {
		next = w.m.Sequence + uint32(w.m.DataRecords)
	}
	w.session.next.Store(uint64(next) + 1)
}

// release gives back the room of a Set of e.
func (h *hold) release(e *heldSets, s *heldSet) {
	if s.prev == nil {
		e.oldest = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		e.newest = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	h.resize(e, -s.cost())
	h.sets.Add(-1)
}

// leave forgets an address that holds nothing.
func (h *hold) leave(e *heldSets) {
	if e.oldest == nil {
		h.unlink(e)
		delete(h.from, e.addr)
	}
}

// GivenUp says how many Sets of an exporter were held and given up, because
// their template did not come in Limits.HoldTime, or they gave way to those of
// others. Its Exporter is zero for what gave way beyond some thousand exporters
// at a time.
type GivenUp struct {
	Exporter flow.Exporter
	Version  Version
	Sets     int
}

// Expire gives up the Sets that have waited too long for their template, and
// appends how many to dst, an entry for each exporter and version. A collector
// calls it every second or so, and books them as records without a template.
func (d *Decoder) Expire(dst []GivenUp, now flow.Time) []GivenUp {
	h, before := &d.hold, now-d.store.limits.HoldTime
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, n := range h.pushed {
		dst = append(dst, GivenUp{k.exporter, k.version, n})
	}
	h.pushed = nil
	if h.sets.Load() == 0 || h.oldest > before {
		return dst
	}
	h.oldest = now
	first := len(dst)
	for a, e := range h.from {
		for s := e.oldest; s != nil && s.at <= before; s = e.oldest {
			dst = addGivenUp(dst, first, GivenUp{flow.Exporter{Addr: a, Domain: s.key.domain}, s.key.version, 1})
			h.giveUp(e)
		}
		if e.oldest != nil {
			h.oldest = min(h.oldest, e.oldest.at)
		}
	}
	return dst
}

// addGivenUp adds g to the entry of its exporter behind first, or a new one. The
// identifiers of one exporter follow each other, and are few.
func addGivenUp(dst []GivenUp, first int, g GivenUp) []GivenUp {
	for i := len(dst) - 1; i >= first && dst[i].Exporter.Addr == g.Exporter.Addr; i-- {
		if dst[i].Exporter == g.Exporter && dst[i].Version == g.Version {
			dst[i].Sets += g.Sets
			return dst
		}
	}
	return append(dst, g)
}

// Held returns how many Data Sets wait for their template now, of everybody, and
// the octets that they take of Limits.HoldOctets.
func (d *Decoder) Held() (sets, octets int) {
	h := &d.hold
	h.mu.Lock()
	defer h.mu.Unlock()
	return int(h.sets.Load()), h.octets
}

// recover decodes the Sets that waited for t: those of its port, and those of others
// that have waited for long enough.
func (w *work) recover(t *template) {
	k := t.key
	k.port = w.port
	list := w.d.hold.take(w.m.Exporter.Addr, k)
	if w.d.hold.sets.Load() > 0 && w.looks < maxLooks {
		w.looks++
		list = append(list, w.d.hold.takeOthers(w.m.Exporter.Addr, k, w.proto.Received-moment, func(s *heldSet) bool { return w.waited(t, s) })...)
	}
	if len(list) == 0 {
		return
	}
	m := w.m
	b, received, c := w.b, w.proto.Received, w.clocks
	before := m.Records + m.OptionRecords
	for _, s := range list {
		m.Recovered++
		w.b, w.proto.Received = s.b, s.at
		w.clocks.export, w.clocks.uptime = w.dl.clock(s.b)
		room := w.d.store.limits.MessageRecords - (m.Records + m.OptionRecords - before)
		w.decodeFrom(s.key.port, t, reader{b: s.b, pos: w.dl.header, end: len(s.b)}, room)
	}
	c.init = w.clocks.init
	w.b, w.proto.Received, w.clocks = b, received, c
}
