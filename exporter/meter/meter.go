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
	"math"
	"slices"

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

// DSCP are the bits of the TOS octet that are a Differentiated Services Code Point
// (RFC 2474); the other two are ECN's.
const DSCP = 0xfc

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
	// Timeouts take the place of IdleTimeout and Linger for what they name.
	Timeouts Timeouts
	// KeyTOS are the bits of the TOS octet, or traffic class, that belong to the
	// flow key: none as a rule, or DSCP. The two bits of ECN never do (RFC 3168):
	// they differ between the packets of one connection.
	KeyTOS uint8
	// Hash is what the Hash of Observations comes from; the zero Hash is a new
	// one.
	Hash Hash
	// Details keeps flow.Details of each flow, of those that packets come with,
	// and appends them to records. They take another 88 octets for each flow of
	// MaxFlows, and an allocation for each 256 records.
	Details bool
	// MaxFlows is how many flows live at a time, at most MaxFlows. The memory for
	// all of them is taken by New: 136 octets a flow and 16 to 32 of hash table,
	// so 152 MiB with the default; the operating system backs it by page as flows
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
	c.MaxFlows = min(c.MaxFlows, MaxFlows)
	c.KeyTOS &= DSCP
	if c.Hash == (Hash{}) {
		c.Hash = NewHash()
	}
	c.Timeouts.withDefaults(&c)
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

// Add adds the counts of another Process.
func (s *Stats) Add(o *Stats) {
	s.Live += o.Live
	s.Packets += o.Packets
	s.Bytes += o.Bytes
	for i := range s.Ended {
		s.Ended[i] += o.Ended[i]
	}
	s.FragmentsUnknown += o.FragmentsUnknown
}

// Sums are flows that ended and what they carried.
type Sums struct{ Flows, Packets, Bytes uint64 }

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
	active flow.Time
	quiet  [states]flow.Time // after how long without a packet a flow has ended, by state
	hash   Hash
	keyTOS uint8

	clock flow.Time
	cache cache
	wheel wheel
	frags Fragments
	stats Stats

	protocols [256]Sums // by protocol

	details []flow.Details // of the cache's entries, nil unless asked for
	ended   []flow.Details // room for those of records

	fetched uint64 // see cache.fetch
}

// New returns a Process without flows.
func New(c Config) *Process {
	c = c.withDefaults()
	p := &Process{active: c.ActiveTimeout, quiet: c.quiet(), hash: c.Hash, keyTOS: c.KeyTOS}
	p.cache.init(c.MaxFlows)
	if c.Details {
		p.details = make([]flow.Details, c.MaxFlows)
	}
	p.wheel.init(min(p.active, slices.Max(p.quiet[:])))
	return p
}

// Stats returns the counts so far.
func (p *Process) Stats() Stats {
	s := p.stats
	s.Live = p.cache.live
	return s
}

// Protocols returns the sums of the records that ended, by protocol number.
func (p *Process) Protocols() [256]Sums { return p.protocols }

// Dump appends to dst records of flows that live, as they are now and without
// ending them: no more than n, and none of those that an earlier call gave, which
// returned next; the first call's is 0. When none is left next is 0 again. Of
// flows that end or begin between calls some come and some do not.
func (p *Process) Dump(dst []flow.Record, from, n int) (recs []flow.Record, next int) {
	for i := from; i < int(p.cache.used); i++ {
		e := &p.cache.entries[i]
		if e.packets == 0 {
			continue // nobody's
		}
		if n--; n < 0 {
			return dst, i
		}
		r := flow.Record{
			Start: e.first, End: e.last, Packets: e.packets, Bytes: e.bytes, Key: e.key, TCPFlags: e.flags,
		}
		e.complete(&r)
		if e.copies > 0 {
			r.Marks = flow.MarkDuplicate
		}
		dst = append(dst, r)
	}
	return dst, 0
}

// Observe counts the packet pkt, seen at now, to its flow and appends to dst
// the records it ended: its own flow's when that was overdue, and another's when
// the cache was full. Other flows that are due stay until Expire.
//
// It is Count for one packet at a time; the Process keeps the fragments, and they
// are counted in Stats.
func (p *Process) Observe(dst []flow.Record, pkt *packet.Packet, now flow.Time) []flow.Record {
	now = max(0, min(now, MaxTime))
	clock := max(p.clock, now)
	o := Observation{Key: pkt.Key, TOS: pkt.TOS, Overlay: pkt.Overlay, Octets: pkt.Length, Packets: 1, TCPFlags: pkt.TCPFlags, At: now, Clock: clock}
	o.Key.TOS &= p.keyTOS
	if pkt.IsFragment() {
		if !p.frags.Lend(&o.Key, pkt, clock) {
			p.stats.FragmentsUnknown++
		}
	}
	o.Hash = p.hash.Of(&o.Key) ^ o.Overlay
	var d *flow.Details
	if pkt.Details != nil {
		own := *pkt.Details
		own.MinLength, own.MaxLength = pkt.Length, pkt.Length
		own.MinTTL, own.MaxTTL = pkt.TTL, pkt.TTL
		d = &own
	}
	return p.count(dst, &o, d)
}

// Count counts packets to their flows, in their order, and appends to dst the
// records they ended, as Observe does for one. Details are those of the packets,
// one each, or nil. It returns how many it counted:
// at least one, and no further than
//
//   - a packet after which dst has room for less than two records, which it must
//     have had,
//   - the last packet before the clock reaches until, or a time when a flow is
//     due, so that the caller can Expire; with until above MaxTime neither.
func (p *Process) Count(dst []flow.Record, obs []Observation, details []flow.Details, until flow.Time) ([]flow.Record, int) {
	for done := 0; done < len(obs); {
		some := obs[done:min(done+lookahead, len(obs))]
		p.fetched += p.cache.fetch(some)
		for i := range some {
			if o := &some[i]; until <= MaxTime && o.Clock >= min(until, p.wheel.soon) && done+i > 0 {
				return dst, done + i
			}
			var d *flow.Details
			if details != nil {
				d = &details[done+i]
			}
			dst = p.count(dst, &some[i], d)
			if cap(dst)-len(dst) < 2 {
				return dst, done + i + 1
			}
		}
		done += len(some)
	}
	return dst, len(obs)
}

// count counts one packet, with details or nil; at most two records are appended
// to dst.
func (p *Process) count(dst []flow.Record, o *Observation, d *flow.Details) []flow.Record {
	now := o.At
	p.setClock(o.Clock)
	i := p.cache.find(o.Hash, &o.Key, o.Overlay)
	if o.Left != 0 {
		if i != none && p.ends(&p.cache.entries[i], o.TCPFlags, now) == 0 {
			p.cache.entries[i].left = o.Left
		}
		return dst
	}
	if i == none {
		dst, i = p.start(dst, o)
	} else {
		e := &p.cache.entries[i]
		if reason := p.ends(e, o.TCPFlags, now); reason != 0 {
			dst = p.appendRecord(dst, i, reason)
			e.begin(o, p.clock)
			p.sooner(i) // a linger may be longer than the idle timeout
		}
	}

	e := &p.cache.entries[i]
	if p.details != nil {
		p.detail(i, d, e.packets == 0)
	}
	e.packets += uint64(o.Packets)
	e.bytes += uint64(o.Octets)
	e.flags |= o.TCPFlags
	e.first = min(e.first, now)
	e.last = max(e.last, now)
	if o.Copy {
		e.copies = min(e.copies, math.MaxUint32-1) + 1
	}
	if !e.state.closing() {
		e.seen = p.clock
		if o.TCPFlags&(flow.FIN|flow.RST) != 0 {
			e.state = e.state.close(o.TCPFlags)
			p.sooner(i)
		}
	}
	p.stats.Packets += uint64(o.Packets)
	p.stats.Bytes += uint64(o.Octets)
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
		dst = p.appendRecord(dst, i, p.reason(e))
		p.drop(i)
	}
	p.wheel.soon = p.next()
	return dst
}

// Due returns a time before which no flow is due, so that Expire would do
// nothing until then; a time after MaxTime when no flow lives.
func (p *Process) Due() flow.Time {
	p.wheel.soon = p.next()
	return p.wheel.soon
}

func (p *Process) next() flow.Time {
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
// Flows that are due come first, in the order of their due times; the others in
// none.
func (p *Process) FlushN(dst []flow.Record, n int) []flow.Record {
	before := len(dst)
	dst = p.ExpireN(dst, p.clock, n)
	n -= len(dst) - before
	var some [lookahead]uint32
	for n > 0 {
		took := p.wheel.take(&p.cache, some[:min(n, lookahead)])
		if took == 0 {
			break
		}
		p.fetch(some[:took])
		for _, i := range some[:took] {
			dst = p.appendRecord(dst, i, flow.EndForced)
			p.cache.remove(i)
		}
		n -= took
	}
	p.wheel.soon = p.next()
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

// fileAll files the flows of a chain that is filed nowhere. Most of them end
// soon.
func (p *Process) fileAll(chain uint32) {
	var some [lookahead]uint32
	c := &p.cache
	for i := chain; i != none; {
		n := 0
		for ; i != none && n < len(some); n++ {
			some[n] = i
			i = c.links[i].next
		}
		p.fetch(some[:n])
		for _, i := range some[:n] {
			p.wheel.file(c, i, p.due(&c.entries[i]))
		}
	}
}

// fetch reads what the end of the given flows will ask for, as cache.fetch does.
func (p *Process) fetch(some []uint32) {
	c := &p.cache
	for _, i := range some {
		p.fetched += c.entries[i].packets + c.entries[i].bytes
	}
	for _, i := range some {
		p.fetched += c.table[c.entries[i].hash&c.mask]
	}
}

// due returns when e is due.
func (p *Process) due(e *entry) flow.Time {
	return min(e.seen+p.quiet[e.state], e.born+p.active)
}

// reason returns why e, which is due, is due.
func (p *Process) reason(e *entry) flow.EndReason {
	if e.born+p.active < e.seen+p.quiet[e.state] {
		return flow.EndActiveTimeout
	}
	return e.state.reason()
}

// ends returns why a packet of e's flow, with the given flags and time, belongs
// to a new flow; 0 when it does not.
func (p *Process) ends(e *entry, flags flow.TCPFlags, now flow.Time) flow.EndReason {
	gap := p.quiet[e.state]
	switch {
	case p.clock >= p.due(e):
		return p.reason(e)
	case e.state.closing() && flags&(flow.SYN|flow.ACK) == flow.SYN:
		return flow.EndOfFlow
	case now-e.last >= gap && e.last+gap <= e.first+p.active:
		return e.state.reason()
	case max(e.last, now)-min(e.first, now) > p.active:
		return flow.EndActiveTimeout
	}
	return 0
}

// start makes room when there is none, and puts a flow that begins with o into
// the cache.
func (p *Process) start(dst []flow.Record, o *Observation) ([]flow.Record, uint32) {
	if p.cache.full() {
		i := p.earliest(MaxTime + flow.MaxDuration)
		e := &p.cache.entries[i]
		reason := flow.EndLackOfResources
		if p.clock >= p.due(e) {
			reason = p.reason(e)
		}
		dst = p.appendRecord(dst, i, reason)
		p.drop(i)
	}
	i := p.cache.insert(o.Hash, &o.Key, o.Overlay)
	e := &p.cache.entries[i]
	e.state = openState(o.Key.Protocol)
	e.begin(o, p.clock)
	p.wheel.file(&p.cache, i, p.due(e))
	return dst, i
}

// sooner files flow i anew when it has become due before the time it is filed
// under. A flow that is due later than that is found out when its turn comes.
func (p *Process) sooner(i uint32) {
	p.wheel.advance(&p.cache, i, p.due(&p.cache.entries[i]))
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
		w.remove(&p.cache, top.flow)
		w.file(&p.cache, top.flow, due)
	}
}

// drop takes flow i out of cache and wheel.
func (p *Process) drop(i uint32) {
	p.wheel.remove(&p.cache, i)
	p.cache.remove(i)
}

// detail notes the details d, nil if there are none, of a packet of flow i: of
// the first one all, of the others what reaches beyond it.
func (p *Process) detail(i uint32, d *flow.Details, first bool) {
	f := &p.details[i]
	switch {
	case first && d == nil:
		*f = flow.Details{}
		return
	case first:
		*f = *d
		return
	case d == nil:
		return
	}
	f.MinLength, f.MaxLength = min(f.MinLength, d.MinLength), max(f.MaxLength, d.MaxLength)
	f.MinTTL, f.MaxTTL = min(f.MinTTL, d.MinTTL), max(f.MaxTTL, d.MaxTTL)
}

// endedDetails is how many details of records are allocated at once.
const endedDetails = 256

// appendRecord appends flow i as a record that ended for reason, and counts it.
func (p *Process) appendRecord(dst []flow.Record, i uint32, reason flow.EndReason) []flow.Record {
	e := &p.cache.entries[i]
	p.stats.Ended[reason]++
	s := &p.protocols[e.key.Protocol]
	s.Flows++
	s.Packets += e.packets
	s.Bytes += e.bytes
	var marks flow.Marks
	if e.copies > 0 {
		marks = flow.MarkDuplicate
	}
	var details *flow.Details
	if p.details != nil {
		// The records of a block share its memory, which goes with the last.
		if len(p.ended) == 0 {
			p.ended = make([]flow.Details, endedDetails)
		}
		details, p.ended = &p.ended[0], p.ended[1:]
		*details = p.details[i]
		details.Copies = uint64(e.copies)
	}
	dst = append(dst, flow.Record{
		Start: e.first, End: e.last,
		Packets: e.packets, Bytes: e.bytes,
		Key: e.key, TCPFlags: e.flags, EndReason: reason, Marks: marks, Details: details,
	})
	e.complete(&dst[len(dst)-1])
	return dst
}
