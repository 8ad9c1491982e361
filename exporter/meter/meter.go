// Package meter is the Metering Process of RFC 7011: it turns packets into flow
// records.
//
// A Process keeps the flows that live in a cache of fixed size and ends each at
// its due time on the packets' clock: the packets' own timestamps, or the wall
// clock on a quiet link, whichever the caller hands in. It reads no clock, starts
// no goroutine and allocates nothing per packet; it is for one goroutine.
//
// # When a flow ends
//
// The clock is the latest time seen; it never goes back. A flow is due
//
//   - IdleTimeout after the clock at its last packet (flowEndReason 1),
//   - ActiveTimeout after the clock at its first packet (2),
//   - Linger after the clock at its first FIN or RST (3),
//
// whichever comes first. A packet of the flow at its due time or later belongs
// to a new flow, whether Expire was called in between or not. Within the linger
// packets still count and do not prolong it; a SYN without ACK ends the flow at
// once and starts a new one. Flush ends what is left (4), and when the cache is
// full the flow that is due first gives way to the new one (5).
//
// A packet may carry a timestamp before the clock: it counts, and a record's
// Start and End are the least and the greatest timestamp of its packets. One
// that would make the record last longer than ActiveTimeout ends the record (2)
// and starts a new one. So no record lasts longer than ActiveTimeout, whatever
// the order of the packets. One that comes IdleTimeout or, after a FIN or RST,
// Linger behind the record's End likewise ends it (1, 3): a single timestamp from
// the future, which the clock stays at, does not join what lies far apart.
package meter

import (
	"hash/maphash"

	"flowtally/exporter/packet"
	"flowtally/flow"
)

// The defaults of Config.
const (
	DefaultActiveTimeout = 300 * flow.Second
	DefaultIdleTimeout   = 60 * flow.Second
	DefaultLinger        = 5 * flow.Second
	DefaultMaxFlows      = 1 << 20
)

// MaxTime bounds the clock (beyond the year 36,000,000), so that no sum of times
// overflows: strangers write timestamps into captures. Times above it count as
// it, those before 1970 as 0.
const MaxTime flow.Time = 1 << 60

// Config says when flows end and how many live at most. A zero field, or a
// negative one, means its default.
type Config struct {
	// ActiveTimeout, IdleTimeout and Linger are at most flow.MaxDuration, and
	// cut to it.
	ActiveTimeout flow.Time
	IdleTimeout   flow.Time
	Linger        flow.Time
	// MaxFlows is how many flows live at a time, at most 1<<28. The memory for
	// all of them is taken by New: 120 octets a flow and 16 to 32 of hash table,
	// so 136 MiB with the default; the operating system backs it by page as flows
	// first need it. The order of expiry takes another 16 octets for each flow
	// that is due in the same 1/1000 of the longest timeout.
	MaxFlows int
}

// withDefaults returns c with its zero fields filled and the others bounded.
func (c Config) withDefaults() Config {
	timeout := func(t *flow.Time, def flow.Time) {
		if *t <= 0 {
			*t = def
		}
		*t = min(*t, flow.MaxDuration)
	}
	timeout(&c.ActiveTimeout, DefaultActiveTimeout)
	timeout(&c.IdleTimeout, DefaultIdleTimeout)
	timeout(&c.Linger, DefaultLinger)
	if c.MaxFlows <= 0 {
		c.MaxFlows = DefaultMaxFlows
	}
	c.MaxFlows = min(c.MaxFlows, 1<<28)
	return c
}

// Stats is what a Process has done so far.
type Stats struct {
	// Live is how many flows live now.
	Live int
	// Packets and Bytes are what was observed. They equal what the records that
	// ended carry and what the live flows have so far.
	Packets, Bytes uint64
	// Ended counts records by flow.EndReason; Ended[flow.EndLackOfResources] is
	// how many were evicted.
	Ended [flow.EndLackOfResources + 1]uint64
	// FragmentsUnknown counts fragments whose first fragment was not there to
	// lend them its ports; their flow has ports 0.
	FragmentsUnknown uint64
}

// Records returns how many records have ended, for whatever reason.
func (s *Stats) Records() uint64 {
	var n uint64
	for _, c := range s.Ended {
		n += c
	}
	return n
}

// Process is a Metering Process. The zero value is not usable; New makes one.
type Process struct {
	active, idle, linger flow.Time

	clock flow.Time
	cache cache
	wheel wheel
	frags fragments
	stats Stats
	seed  maphash.Seed
}

// New returns a Process without flows.
func New(c Config) *Process {
	c = c.withDefaults()
	p := &Process{active: c.ActiveTimeout, idle: c.IdleTimeout, linger: c.Linger, seed: maphash.MakeSeed()}
	p.cache.init(c.MaxFlows)
	p.wheel.init(min(p.active, max(p.idle, p.linger)))
	return p
}

// Stats returns the counts so far.
func (p *Process) Stats() Stats {
	s := p.stats
	s.Live = p.cache.live
	return s
}

// Observe counts the packet pkt, seen at now, to its flow and appends to dst
// the records it ended: its own flow's when that was overdue, and another's when
// the cache was full. Other flows that are due stay until Expire.
func (p *Process) Observe(dst []flow.Record, pkt *packet.Packet, now flow.Time) []flow.Record {
	now = p.setClock(now)
	key := &pkt.Key
	if pkt.IsFragment() {
		key = p.frags.key(pkt, p.clock, &p.stats)
	}

	hash := p.hash(key)
	i := p.cache.find(hash, key)
	if i == none {
		dst, i = p.start(dst, hash, key, now)
	} else {
		e := &p.cache.entries[i]
		if reason := p.ends(e, pkt.TCPFlags, now); reason != 0 {
			dst = p.appendRecord(dst, e, reason)
			e.begin(now, p.clock)
			p.sooner(i) // a linger may be longer than the idle timeout
		}
	}

	e := &p.cache.entries[i]
	e.packets++
	e.bytes += uint64(pkt.Length)
	e.flags |= pkt.TCPFlags
	e.first = min(e.first, now)
	e.last = max(e.last, now)
	if !e.closing {
		e.seen = p.clock
		if pkt.TCPFlags&(flow.FIN|flow.RST) != 0 {
			e.closing = true
			p.sooner(i)
		}
	}
	p.stats.Packets++
	p.stats.Bytes += uint64(pkt.Length)
	return dst
}

// Expire sets the clock to now and appends to dst the records of all flows that
// are due, in the order of their due times.
func (p *Process) Expire(dst []flow.Record, now flow.Time) []flow.Record {
	return p.ExpireN(dst, now, p.cache.live)
}

// ExpireN is Expire for at most n records, for a caller who has room for no
// more: what is due beyond them stays due.
func (p *Process) ExpireN(dst []flow.Record, now flow.Time, n int) []flow.Record {
	p.setClock(now)
	for ; n > 0; n-- {
		i := p.earliest(p.clock)
		if i == none {
			break
		}
		e := &p.cache.entries[i]
		dst = p.appendRecord(dst, e, p.reason(e))
		p.drop(i)
	}
	return dst
}

// Due returns a time before which no flow is due, so that Expire would do
// nothing until then; a time after MaxTime when no flow lives.
func (p *Process) Due() flow.Time {
	if p.cache.live == 0 {
		return MaxTime + flow.MaxDuration
	}
	return p.wheel.next()
}

// Flush appends to dst the records of all flows: those that are due at the
// clock as Expire does, the others with flow.EndForced.
func (p *Process) Flush(dst []flow.Record) []flow.Record {
	return p.FlushN(dst, p.cache.live)
}

// FlushN is Flush for at most n records. Nothing is left when Stats().Live is 0.
func (p *Process) FlushN(dst []flow.Record, n int) []flow.Record {
	for ; n > 0; n-- {
		i := p.earliest(MaxTime + flow.MaxDuration)
		if i == none {
			break
		}
		e := &p.cache.entries[i]
		reason := flow.EndForced
		if p.due(e) <= p.clock {
			reason = p.reason(e)
		}
		dst = p.appendRecord(dst, e, reason)
		p.drop(i)
	}
	return dst
}

// setClock moves the clock forward to now, bounded, and returns now bounded.
func (p *Process) setClock(now flow.Time) flow.Time {
	now = max(0, min(now, MaxTime))
	if now > p.clock {
		p.clock = now
		if slot := now >> p.wheel.shift; slot > p.wheel.pos+slots {
			p.turn(slot)
		}
	}
	return now
}

// turn brings the wheel to a slot that is further ahead than it reaches, as the
// first packet is, and one after a gap: nearly all flows are due then.
func (p *Process) turn(slot flow.Time) {
	for _, chain := range p.wheel.turn(slot) {
		p.fileAll(chain)
	}
}

// fileAll files the flows of a chain that is filed nowhere.
func (p *Process) fileAll(chain uint32) {
	for i := chain; i != none; {
		e := &p.cache.entries[i]
		next := e.next
		p.wheel.file(p.cache.entries, i, p.due(e))
		i = next
	}
}

// due returns when e is due.
func (p *Process) due(e *entry) flow.Time {
	d := e.seen + p.idle
	if e.closing {
		d = e.seen + p.linger
	}
	return min(d, e.born+p.active)
}

// reason returns why e, which is due, is due.
func (p *Process) reason(e *entry) flow.EndReason {
	quiet, reason := e.seen+p.idle, flow.EndIdleTimeout
	if e.closing {
		quiet, reason = e.seen+p.linger, flow.EndOfFlow
	}
	if e.born+p.active < quiet {
		return flow.EndActiveTimeout
	}
	return reason
}

// ends returns why a packet of e's flow, with the given flags and time, belongs
// to a new flow; 0 when it does not.
func (p *Process) ends(e *entry, flags flow.TCPFlags, now flow.Time) flow.EndReason {
	gap, reason := p.idle, flow.EndIdleTimeout
	if e.closing {
		gap, reason = p.linger, flow.EndOfFlow
	}
	switch {
	case p.clock >= p.due(e):
		return p.reason(e)
	case e.closing && flags&(flow.SYN|flow.ACK) == flow.SYN:
		return flow.EndOfFlow
	case now-e.last >= gap && e.last+gap <= e.first+p.active:
		return reason
	case max(e.last, now)-min(e.first, now) > p.active:
		return flow.EndActiveTimeout
	}
	return 0
}

// start makes room when there is none, and puts a flow that begins now into
// the cache.
func (p *Process) start(dst []flow.Record, hash uint32, key *flow.Key, now flow.Time) ([]flow.Record, uint32) {
	if p.cache.full() {
		i := p.earliest(MaxTime + flow.MaxDuration)
		e := &p.cache.entries[i]
		reason := flow.EndLackOfResources
		if p.clock >= p.due(e) {
			reason = p.reason(e)
		}
		dst = p.appendRecord(dst, e, reason)
		p.drop(i)
	}
	i := p.cache.insert(hash, key)
	e := &p.cache.entries[i]
	e.begin(now, p.clock)
	p.wheel.file(p.cache.entries, i, p.due(e))
	return dst, i
}

// sooner files flow i anew when it has become due before the time it is filed
// under. A flow that is due later than that is found out when its turn comes.
func (p *Process) sooner(i uint32) {
	p.wheel.advance(p.cache.entries, i, p.due(&p.cache.entries[i]))
}

// earliest returns the flow that is due first if it is due at limit or before,
// else none. Flows that packets have kept alive beyond the time they were filed
// under are filed again on the way: once for each time they are come across, so
// at most once a packet.
func (p *Process) earliest(limit flow.Time) uint32 {
	w := &p.wheel
	for {
		if len(w.heap) == 0 {
			chain := w.open(limit)
			if chain == none {
				return none
			}
			p.fileAll(chain)
			continue
		}
		top := w.heap[0]
		if top.due > limit {
			return none
		}
		due := p.due(&p.cache.entries[top.flow])
		if due == top.due {
			return top.flow
		}
		w.remove(p.cache.entries, top.flow)
		w.file(p.cache.entries, top.flow, due)
	}
}

// drop takes flow i out of cache and wheel.
func (p *Process) drop(i uint32) {
	p.wheel.remove(p.cache.entries, i)
	p.cache.remove(i)
}

// appendRecord appends e as a record that ended for reason, and counts it.
func (p *Process) appendRecord(dst []flow.Record, e *entry, reason flow.EndReason) []flow.Record {
	p.stats.Ended[reason]++
	return append(dst, flow.Record{
		Start: e.first, End: e.last,
		Packets: e.packets, Bytes: e.bytes,
		Key: e.key, TCPFlags: e.flags, EndReason: reason,
	})
}
