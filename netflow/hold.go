package netflow

import (
	"sync"
	"sync/atomic"

	"flowtally/flow"
)

// hold keeps Data Sets that came before their template, each with its message's
// header, for as long as Limits allow. What does not fit is refused, so that
// nobody's flood makes it forget what another has sent; time makes room again.
type hold struct {
	sets atomic.Int64 // held now: lets a message pass without the lock

	mu     sync.Mutex
	octets int
	oldest flow.Time // nothing held is older
	from   map[flow.Addr]*heldSets
}

// heldSets are those of one address, by the template that they wait for.
type heldSets struct {
	octets  int
	waiting map[anyPort][]heldSet
}

// heldSet is one Set, without its own header, behind the header of its message.
type heldSet struct {
	b    []byte
	port uint16
	at   flow.Time
}

// heldOverhead is what a held Set costs beyond its octets: the slice, its place
// in a list, and its part in two maps.
const heldOverhead = 192

func (s *heldSet) cost() int { return len(s.b) + heldOverhead }

// keep holds a Set and reports whether there was room for it.
func (h *hold) keep(l *Limits, a flow.Addr, k templateKey, at flow.Time, header, set []byte) bool {
	cost := len(header) + len(set) + heldOverhead
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.from[a]
	if h.octets+cost > l.HoldOctets || e != nil && e.octets+cost > l.ExporterHoldOctets || cost > l.ExporterHoldOctets {
		return false
	}
	if h.from == nil {
		h.from = make(map[flow.Addr]*heldSets)
	}
	if e == nil {
		e = &heldSets{waiting: make(map[anyPort][]heldSet)}
		h.from[a] = e
	}
	b := make([]byte, 0, len(header)+len(set))
	s := heldSet{append(append(b, header...), set...), k.port, at}
	e.waiting[k.anyPort()] = append(e.waiting[k.anyPort()], s)
	e.octets += cost
	h.octets += cost
	if h.sets.Add(1) == 1 || at < h.oldest {
		h.oldest = at
	}
	return true
}

// take returns the Sets that waited for a template, in their order of arrival,
// and holds them no more.
func (h *hold) take(a flow.Addr, k anyPort) []heldSet {
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
	for i := range list {
		h.release(e, &list[i])
	}
	delete(e.waiting, k)
	if len(e.waiting) == 0 {
		delete(h.from, a)
	}
	return list
}

// release gives back the room of a Set of e.
func (h *hold) release(e *heldSets, s *heldSet) {
	e.octets -= s.cost()
	h.octets -= s.cost()
	h.sets.Add(-1)
}

// GivenUp says how many Sets of an exporter were held and given up, because
// their template did not come in Limits.HoldTime.
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
	if h.sets.Load() == 0 {
		return dst
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.oldest > before {
		return dst
	}
	h.oldest = now
	first := len(dst)
	for a, e := range h.from {
		for k, list := range e.waiting {
			n := 0
			for n < len(list) && list[n].at <= before {
				h.release(e, &list[n])
				n++
			}
			if n > 0 {
				dst = addGivenUp(dst, first, GivenUp{flow.Exporter{Addr: a, Domain: k.domain}, k.version, n})
			}
			if n == len(list) {
				delete(e.waiting, k)
				continue
			}
			e.waiting[k] = append([]heldSet(nil), list[n:]...)
			h.oldest = min(h.oldest, list[n].at)
		}
		if len(e.waiting) == 0 {
			delete(h.from, a)
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
