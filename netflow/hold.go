package netflow

import (
	"math/bits"
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
	waiting    map[anyPort][]*heldSet
	oldest     *heldSet
	newest     *heldSet
	prev, next *heldSets // of the same size
}

// heldSet is one Set, without its own header, behind the header of its message.
type heldSet struct {
	b          []byte
	port       uint16
	at         flow.Time
	key        anyPort
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
		e = &heldSets{addr: a, waiting: make(map[anyPort][]*heldSet)}
		h.from[a] = e
		h.link(e)
	}
	b := make([]byte, 0, len(header)+len(set))
	s := &heldSet{b: append(append(b, header...), set...), port: k.port, at: at, key: k.anyPort(), prev: e.newest}
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

// take returns the Sets that waited for a template, in their order of arrival,
// and holds them no more.
func (h *hold) take(a flow.Addr, k anyPort) []*heldSet {
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

// recover decodes the Sets that waited for t.
func (w *work) recover(t *template) {
	list := w.d.hold.take(w.m.Exporter.Addr, t.key.anyPort())
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
		w.decodeSet(t, t.key.id, reader{b: s.b, pos: w.dl.header, end: len(s.b)}, room)
	}
	c.init = w.clocks.init
	w.b, w.proto.Received, w.clocks = b, received, c
}
