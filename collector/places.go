package collector

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// messageTime is how long the rest of a message may take to come.
	messageTime = 15 * time.Second
	// addressShare is the part of all places, one in so many, that one address may
	// have. A gateway in front of this machine, behind which there may be many, may
	// have all.
	addressShare = 4
	// ownPatience and patience are how long a connection may be without a whole
	// message before it gives way to another of its address, and of anybody, when
	// there is no more room.
	ownPatience = time.Second
	patience    = messageTime
)

// errGaveWay is how a connection ends whose place another got.
var errGaveWay = errors.New("no whole message came, and another connection needed the place")

// place is that of one connection.
type place struct {
	conn  net.Conn
	from  netip.Addr
	since time.Time
	// served says that a whole message came.
	served bool
}

// places are how many connections there may be at once. Whoever has sent no whole
// message gives way when there is no more room. Its methods are safe for concurrent
// use.
type places struct {
	most  int
	local func(netip.Addr) bool

	mu   sync.Mutex
	open map[*place]struct{}
}

func newPlaces(most int, local func(netip.Addr) bool) *places {
	return &places{most: most, local: local, open: make(map[*place]struct{})}
}

// take gives a connection a place, nil when there is none.
func (p *places) take(conn net.Conn, from netip.Addr, now time.Time) *place {
	p.mu.Lock()
	defer p.mu.Unlock()
	share := max(1, p.most/addressShare)
	if p.local(from) {
		share = p.most
	}
	own := 0
	for x := range p.open {
		if x.from == from {
			own++
		}
	}
	if own >= share && !p.evict(now, ownPatience, func(x *place) bool { return x.from == from }) {
		return nil
	}
	if len(p.open) >= p.most && !p.evict(now, patience, func(*place) bool { return true }) {
		return nil
	}
	x := &place{conn: conn, from: from, since: now}
	p.open[x] = struct{}{}
	return x
}

// evict closes the oldest of some connections that sent no whole message in a
// time, and reports whether there was one. The caller holds the lock.
func (p *places) evict(now time.Time, after time.Duration, of func(*place) bool) bool {
	var oldest *place
	for x := range p.open {
		if !x.served && now.Sub(x.since) >= after && of(x) && (oldest == nil || x.since.Before(oldest.since)) {
			oldest = x
		}
	}
	if oldest == nil {
		return false
	}
	delete(p.open, oldest)
	oldest.conn.Close()
	return true
}

// serve notes that a whole message came.
func (p *places) serve(x *place) {
	p.mu.Lock()
	x.served = true
	p.mu.Unlock()
}

// gaveWay reports whether a place that was taken was given to another connection.
func (p *places) gaveWay(x *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, open := p.open[x]
	return !open
}

// leave gives a place back.
func (p *places) leave(x *place) {
	p.mu.Lock()
	delete(p.open, x)
	p.mu.Unlock()
}

// taken returns how many there are.
func (p *places) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}
