package netflow

import (
	"net/netip"
	"sync"

	"flowtally/flow"
)

// toldFlows remembers, of flows whose records tell totals, what earlier records told: the rest
// alone is new. It is of a fixed size; what it had to forget, or never knew because it was
// told to an earlier run, is known by when it began.
type toldFlows struct {
	mu    sync.Mutex
	most  int // flows
	flows map[toldKey]int32
	slots []toldFlow
	free  []int32
	all   toldList // by when they were told of last
	from  map[flow.Addr]*toldSender
	// since is from when on nothing is forgotten: a flow that began before, and is not
	// known, may have been told of. It is 0 until the first is counted, and 1 where all
	// is known.
	since flow.Time
	// ended says that no message follows, so that what is saved is all there is.
	ended bool
}

// toldKey is a flow by who tells of it and by what it is. When it began is not part of it:
// another flow with the same addresses and ports takes its place.
type toldKey struct {
	exporter         flow.Exporter
	src, dst         flow.Addr
	connection       uint64
	inIf             uint32
	srcPort, dstPort uint16
	vlan             uint16
	protocol         flow.Protocol
}

// toldFlow is what was told of a flow: octets and packets of both directions.
type toldFlow struct {
	key          toldKey
	sums         [4]uint64
	start, until flow.Time
	links        [2]struct{ prev, next int32 } // of all, and of its sender
}

// toldSender is what comes from one address.
type toldSender struct {
	list  toldList
	count int
	since flow.Time
}

// toldList is a list of slots, the one told of longest ago first; -1 is no slot.
type toldList struct{ first, last int32 }

func newTold(most int) toldFlows {
	return toldFlows{most: most, all: toldList{-1, -1}}
}

// count takes off the counters of a flow, one or two records of both directions, what was
// told of it before, when they are totals, and remembers what was told by now, unless the
// flow is over. The records then begin where the last ones ended. It reports whether the flow was
// known.
func (t *toldFlows) count(w *work, recs []flow.Record, connection uint64, total, over bool) (known bool) {
	r := &recs[0]
	k := toldKey{
		exporter: w.m.Exporter, src: r.SrcAddr, dst: r.DstAddr, connection: connection,
		srcPort: r.SrcPort, dstPort: r.DstPort, protocol: r.Protocol,
	}
	if connection == 0 {
		k.inIf, k.vlan = r.InIf, r.VLAN
	}
	sums := [4]uint64{r.Bytes, r.Packets}
	if len(recs) > 1 {
		sums[2], sums[3] = recs[1].Bytes, recs[1].Packets
	}
	start, end := r.Start, r.End
	if start == end { // of an instant, nobody says when the flow began
		start = 0
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since == 0 {
		t.since = w.proto.Received
	}
	i, known := t.flows[k]
	if known {
		f := &t.slots[i]
		another := start != 0 && f.start != 0 && start != f.start
		if !another && total && !over && f.start == 0 && (sums[0] < f.sums[0] || sums[2] < f.sums[2]) {
			another = true // a total does not shrink
		}
		if another {
			t.drop(i)
			known = false
		}
	}
	if !known {
		if total && t.uncertain(w.m.Exporter.Addr, start) {
			for j := range recs {
				recs[j].Marks |= flow.MarkTotal
			}
		}
		if !over && sums != [4]uint64{} {
			t.add(k, toldFlow{key: k, sums: sums, start: start, until: end})
		}
		return false
	}
	f := &t.slots[i]
	for j := range recs {
		x, of := &recs[j], f.sums[2*j:]
		if total {
			x.Bytes, of[0] = rest(x.Bytes, of[0])
			x.Packets, of[1] = rest(x.Packets, of[1])
		} else {
			of[0] = flow.SaturatingAdd(of[0], x.Bytes)
			of[1] = flow.SaturatingAdd(of[1], x.Packets)
		}
		if f.until > x.Start && f.until <= x.End {
			x.Start = f.until
		}
		if total && over && x.Bytes|x.Packets != 0 && t.uncertain(w.m.Exporter.Addr, start) {
			x.Marks |= flow.MarkTotal
		}
	}
	f.until = max(f.until, end)
	if over {
		t.drop(i)
	} else {
		t.touch(i)
	}
	return true
}

// rest returns what of a total was not told, and what is told by now.
func rest(total, told uint64) (uint64, uint64) {
	if total <= told {
		return 0, told
	}
	return total - told, total
}

// uncertain reports whether a flow that began then may have been told of before without
// being known.
func (t *toldFlows) uncertain(from flow.Addr, start flow.Time) bool {
	since := t.since
	if s := t.from[from]; s != nil {
		since = max(since, s.since)
	}
	return since > 1 && start < since
}

// add remembers a flow, and forgets the one that was told of longest ago when there is no
// room.
func (t *toldFlows) add(k toldKey, f toldFlow) {
	if t.flows == nil {
		t.flows, t.from = make(map[toldKey]int32), make(map[flow.Addr]*toldSender)
	}
	addr := k.exporter.Addr
	if s := t.from[addr]; s != nil && s.count >= max(t.most/4, 1) {
		t.forget(s.list.first)
	} else if len(t.flows) >= t.most {
		t.forget(t.all.first)
	}
	var i int32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
		t.slots[i] = f
	} else {
		i = int32(len(t.slots))
		t.slots = append(t.slots, f)
	}
	t.flows[k] = i
	s := t.from[addr]
	if s == nil {
		s = &toldSender{list: toldList{-1, -1}}
		t.from[addr] = s
	}
	s.count++
	t.enter(&t.all, 0, i)
	t.enter(&s.list, 1, i)
}

// forget drops a flow that may be told of again.
func (t *toldFlows) forget(i int32) {
	f := &t.slots[i]
	s := t.from[f.key.exporter.Addr]
	if f.start == 0 {
		s.since = max(s.since, f.until+1)
	} else {
		s.since = max(s.since, f.start+1)
	}
	t.drop(i)
}

// drop takes a flow out. A sender that has none is dropped as well; what it forgot is then
// true of all.
func (t *toldFlows) drop(i int32) {
	f := &t.slots[i]
	s := t.from[f.key.exporter.Addr]
	t.leave(&t.all, 0, i)
	t.leave(&s.list, 1, i)
	if s.count--; s.count == 0 {
		t.since = max(t.since, s.since)
		delete(t.from, f.key.exporter.Addr)
	}
	delete(t.flows, f.key)
	t.slots[i] = toldFlow{}
	t.free = append(t.free, i)
}

// touch puts a flow behind all others.
func (t *toldFlows) touch(i int32) {
	s := t.from[t.slots[i].key.exporter.Addr]
	t.leave(&t.all, 0, i)
	t.enter(&t.all, 0, i)
	t.leave(&s.list, 1, i)
	t.enter(&s.list, 1, i)
}

func (t *toldFlows) enter(l *toldList, which int, i int32) {
	x := &t.slots[i].links[which]
	x.prev, x.next = l.last, -1
	if l.last < 0 {
		l.first = i
	} else {
		t.slots[l.last].links[which].next = i
	}
	l.last = i
}

func (t *toldFlows) leave(l *toldList, which int, i int32) {
	x := &t.slots[i].links[which]
	if x.prev < 0 {
		l.first = x.next
	} else {
		t.slots[x.prev].links[which].next = x.next
	}
	if x.next < 0 {
		l.last = x.prev
	} else {
		t.slots[x.next].links[which].prev = x.prev
	}
}

// Connections returns how many flows are remembered because a later record will tell
// their total (Limits.Connections).
func (d *Decoder) Connections() int {
	d.told.mu.Lock()
	defer d.told.mu.Unlock()
	return len(d.told.flows)
}

// End says that no message follows: what Save writes from then on is all that was told.
func (d *Decoder) End() {
	d.told.mu.Lock()
	defer d.told.mu.Unlock()
	d.told.ended = true
}

// savedTold is what was told of a flow, or, with Since set, what is known of all.
type savedTold struct {
	Since      flow.Time  `json:"since,omitempty"`
	Ended      bool       `json:"ended,omitempty"`
	Src        netip.Addr `json:"src"`
	Dst        netip.Addr `json:"dst"`
	Connection uint64     `json:"connection,omitempty"`
	InIf       uint32     `json:"in_if,omitempty"`
	SrcPort    uint16     `json:"src_port,omitempty"`
	DstPort    uint16     `json:"dst_port,omitempty"`
	VLAN       uint16     `json:"vlan,omitempty"`
	Protocol   uint8      `json:"protocol,omitempty"`
	Sums       *[4]uint64 `json:"sums,omitempty"`
	Start      flow.Time  `json:"start,omitempty"`
	Until      flow.Time  `json:"until,omitempty"`
}

// saved returns the lines of what was told, those told of longest ago first. A sender's
// own since becomes everybody's.
func (t *toldFlows) saved() []saved {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.since
	for _, s := range t.from {
		since = max(since, s.since)
	}
	list := make([]saved, 0, 1+len(t.flows))
	line := func(x flow.Exporter, s savedTold) {
		list = append(list, saved{Addr: x.Addr.Netip(), Domain: x.Domain, Version: IPFIX, Told: &s})
	}
	if since > 0 {
		line(flow.Exporter{}, savedTold{Since: since, Ended: t.ended, Src: netip.IPv6Unspecified(), Dst: netip.IPv6Unspecified()})
	}
	for i := t.all.first; i >= 0 && len(t.flows) > 0; i = t.slots[i].links[0].next {
		f := &t.slots[i]
		sums := f.sums
		line(f.key.exporter, savedTold{
			Src: f.key.src.Netip(), Dst: f.key.dst.Netip(), Connection: f.key.connection, InIf: f.key.inIf, SrcPort: f.key.srcPort, DstPort: f.key.dstPort,
			VLAN: f.key.vlan, Protocol: uint8(f.key.protocol), Sums: &sums, Start: f.start, Until: f.until,
		})
	}
	return list
}

// load takes over a line, unless the flow has been told of since. Where the last run did
// not end, what it told after it saved is not known.
func (t *toldFlows) load(x flow.Exporter, s *savedTold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Since > 0 {
		if s.Ended && t.since == 0 {
			t.since = s.Since
		}
		return
	}
	if s.Sums == nil || !s.Src.IsValid() || !s.Dst.IsValid() {
		return
	}
	k := toldKey{
		exporter: x, src: flow.AddrFrom(s.Src), dst: flow.AddrFrom(s.Dst), connection: s.Connection, inIf: s.InIf,
		srcPort: s.SrcPort, dstPort: s.DstPort, vlan: s.VLAN, protocol: flow.Protocol(s.Protocol),
	}
	if _, ok := t.flows[k]; !ok {
		t.add(k, toldFlow{key: k, sums: *s.Sums, start: s.Start, until: s.Until})
	}
}
