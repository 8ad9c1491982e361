package collector

import (
	"math"

	"flowtally/flow"
)

const (
	// tempoFactor is how many times as fast as in its best second a session may
	// have sent what did not come: what came is less than what was sent.
	tempoFactor = 3
	// tempoMessages is how many messages of its largest may be missing at once
	// whatever its rate is, tempoRecords how many records these have at least while
	// fewer than tempoFew came.
	tempoMessages = 32
	tempoRecords  = 30
	tempoFew      = 8
	// tempoSeen and tempoTime are how many messages, and how much time, it takes to
	// know a session's rate well enough to tell the next run of the collector.
	tempoSeen = 64
	tempoTime = 10 * flow.Second
)

// tempo is how fast a session sends, and so how much it can have sent that did not
// come: a number is anybody's to make up.
type tempo struct {
	second  flow.Time // that is counted
	count   uint64    // in that second
	peak    uint64    // in the best second
	largest uint64    // of one message
	// unknown says that an earlier run followed the session and left no rate: its
	// first claim is believed.
	unknown bool
	seen    int    // messages
	records bool   // are counted, not messages
	before  uint32 // the rate that it left
	claim   grant
}

// add counts n at a time.
func (p *tempo) add(n uint64, now flow.Time) {
	if at := now.Floor(flow.Second); at != p.second {
		p.second, p.count = at, 0
	}
	p.count += n
	p.seen++
	p.peak = max(p.peak, p.count)
	p.largest = max(p.largest, n)
	p.unknown = false
	p.claim.grow(p.rate(), p.most(), now)
}

// rate returns how many numbers a second may be claimed, most how many at once.
func (p *tempo) rate() float64 { return float64(max(p.peak, p.largest, 1)) * tempoFactor }

func (p *tempo) most() float64 {
	message := max(p.largest, 1)
	if p.records && p.seen < tempoFew {
		message = max(message, tempoRecords)
	}
	return max(p.rate(), tempoMessages*float64(message))
}

// rateKnown returns how many numbers came in the best second, 0 when too little
// was seen to know.
func (s *numbering) rateKnown(now flow.Time) uint32 {
	if s.seen < tempoSeen || now-s.first < tempoTime {
		return s.tempo.before
	}
	return uint32(min(s.tempo.peak, math.MaxUint32))
}

// recall takes over the rate that an earlier run saw.
func (p *tempo) recall(q *flow.Sequence) {
	p.peak, p.unknown, p.before = uint64(q.Rate), q.Rate == 0, q.Rate
	p.claim = grant{left: p.most(), at: q.At}
}

// believes reports whether n numbers can have been sent and lost before a message,
// and takes them off what may be claimed next. What the kernel is known to have
// dropped needs no other proof.
func (p *tempo) believes(n uint64, a arrival) bool {
	if p.unknown || p.claim.take(float64(n), p.rate(), p.most(), a.now) {
		return true
	}
	if a.dropped == nil {
		return false
	}
	largest := max(p.largest, uint64(a.n), 1)
	if datagrams := (n + largest - 1) / largest; datagrams <= *a.dropped {
		*a.dropped -= datagrams
		return true
	}
	return false
}

// again forgets what was counted in another unit.
func (p *tempo) again() { *p = tempo{unknown: p.unknown, before: p.before} }

// grant is how much may be claimed: it grows with time, and what is claimed takes
// from it. The zero value may claim its most.
type grant struct {
	left float64
	at   flow.Time // when it was last looked at, 0 when never
}

// grow adds what time brings, at a rate a second: to most, and what a pause since
// the last look brings beyond that.
func (g *grant) grow(rate, most float64, now flow.Time) {
	if g.at == 0 {
		g.left = most
	} else if now > g.at {
		g.left = min(g.left, most) + rate*float64(now-g.at)/float64(flow.Second)
	}
	g.at = max(g.at, now)
}

// take reports whether n may be claimed, and takes it.
func (g *grant) take(n, rate, most float64, now flow.Time) bool {
	g.grow(rate, most, now)
	if n > g.left {
		return false
	}
	g.left -= n
	return true
}
