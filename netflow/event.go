package netflow

import (
	"strings"
	"unicode/utf8"

	"flowtally/flow"
)

// A firewall or a translator reports what it did, and only some of these records count
// what flows carried. Three kinds of counters are told apart by the elements that a
// template has:
//
//   - since the last report (octetDeltaCount and its kin): a record is what it says;
//   - of the initiator and the responder, in records with a firewallEvent: since the last
//     report as well, but in the last record of a connection since it began;
//   - since the flow began (octetTotalCount): what earlier records of the flow told is
//     taken off.
//
// So records of the last two need to know what was told before; see toldFlows.

// counting is what the counters of a template mean.
type counting uint8

const (
	countsNothing counting = iota
	countsDeltas
	countsConnection
	countsTotals
)

// eventSetter says what a field's value does to an event.
type eventSetter uint8

const (
	eventNAT eventSetter = iota
	eventFirewall
	eventNATSrc
	eventNATDst
	eventNATSrcPort
	eventNATDstPort
	eventBlockFirst
	eventBlockLast
	eventBlockPorts
	eventUser
	eventConnection
	eventDelta
)

// eventElements are the elements that an event has a field for, by their numbers at IANA.
var eventElements = map[uint16]struct {
	set    eventSetter
	length uint16 // the most octets, 0 for any
}{
	230: {eventNAT, 8},
	233: {eventFirewall, 8},
	225: {eventNATSrc, 4}, 281: {eventNATSrc, 16},
	226: {eventNATDst, 4}, 282: {eventNATDst, 16},
	227: {eventNATSrcPort, 8}, 228: {eventNATDstPort, 8},
	361: {eventBlockFirst, 8}, 362: {eventBlockLast, 8}, 364: {eventBlockPorts, 8},
	371: {eventUser, 0},
	148: {eventConnection, 8},
	1:   {eventDelta, 8}, 2: {eventDelta, 8},
}

// eventField is a field of a template that is an event's, or says whose counters they
// are.
type eventField struct {
	set            eventSetter
	spec           int // index in the template
	offset, length int // in the record; length is 0 when it is variable
	long           bool
}

// eventPlan is how the records of a template are read that may be events, or whose
// counters are totals. It is nil for all others.
type eventPlan struct {
	fields []eventField
	extra  *extraPlan
	counts counting
	// spare is what the counters of a record mean whose deltas are zero: others in the
	// template serve then.
	spare counting
	// events says that a record may be an event; the others only have totals.
	events bool
	// numbered says that the records have the number of an event; where they have
	// none, all are events.
	numbered bool
	// reason is the flowEndReason's field: nothing follows a flow that ended for
	// another reason than the active timeout.
	reason bool
}

// newEventPlan returns the plan of a template, nil where its records are flows alone whose
// counters are what they say.
func newEventPlan(options bool, specs []fieldSpec) *eventPlan {
	if options {
		return nil
	}
	has := make(map[uint16]bool)
	for i := range specs {
		if specs[i].pen == 0 && specs[i].length > 0 {
			has[specs[i].id] = true
		}
	}
	p := &eventPlan{numbered: has[230] || has[233], reason: has[136]}
	switch {
	case has[85] || has[86]:
		p.counts = countsTotals
	case (has[231] || has[232] || has[298] || has[299]) && has[233]:
		p.counts = countsConnection
	case has[231] || has[232] || has[298] || has[299]:
		p.counts = countsDeltas
	}
	switch p.spare = p.counts; {
	case has[1] || has[2]:
		p.counts = countsDeltas
	case p.counts != countsNothing:
	case has[23] || has[24] || has[315] || has[104] || has[313]:
		p.counts = countsDeltas
	}
	translates := has[225] || has[226] || has[227] || has[228] || has[281] || has[282] || has[361]
	p.events = p.numbered || p.counts == countsNothing && translates
	if !p.events && p.spare != countsTotals {
		return nil
	}
	offset := 0
	var extras []extraField
	for i, f := range specs {
		width := int(f.length)
		if f.length == variableLength {
			width = 0
		}
		e, ok := eventElements[f.id]
		ok = ok && f.pen == 0 && f.length > 0 && (e.length == 0 || f.length <= e.length || f.length == variableLength)
		if ok && (e.set == eventNATSrc || e.set == eventNATDst) {
			ok = f.length == 16 || f.length <= 4
		}
		if ok && (p.events || e.set == eventConnection || e.set == eventDelta) {
			p.fields = append(p.fields, eventField{set: e.set, spec: i, offset: offset, length: width, long: e.length == 16})
		}
		if p.events && (!ok || e.set == eventConnection || e.set == eventDelta) && tellsOfEvent(f, ruleOf(f, false)) {
			extras = append(extras, extraField{spec: uint16(i), offset: uint16(offset), length: uint16(width), pen: f.pen, id: f.id})
		}
		offset += width
	}
	if len(extras) > 0 {
		p.extra = newExtraPlan(extras)
	}
	return p
}

// tellsOfEvent reports whether a field that an event has no place for is worth keeping:
// besides what is worth it of a flow, its counters and when the connection began.
func tellsOfEvent(f fieldSpec, r rule) bool {
	if f.length == 0 || f.scope {
		return false
	}
	switch r.slot {
	case slotBytes, slotPackets, slotRevBytes, slotRevPackets, slotStart, slotTOS, slotTCPFlags, slotEndReason, slotDuration:
		return true
	case slotInIf, slotOutIf:
		return f.id != 10 && f.id != 14 // the event has them
	}
	return bearsMeaning(f, r)
}

// eventSaid is what the fields of a record say of an event.
type eventSaid struct {
	natSrc, natDst         flow.Addr
	connection             uint64
	nat, firewall          uint64
	natSrcPort, natDstPort uint16
	first, last            uint16
	ports, delta           uint64
	user                   []byte
}

// read reads the fields of the record at pos; spans tells where each field lies in one
// of variable length.
func (p *eventPlan) read(b []byte, pos int, spans []span) (x eventSaid) {
	for i := range p.fields {
		f := &p.fields[i]
		s := span{pos + f.offset, f.length}
		if spans != nil {
			s = spans[f.spec]
		}
		v := b[s.at : s.at+s.length]
		var n uint64
		if len(v) <= 8 {
			n = uintOf(v)
		}
		switch f.set {
		case eventNAT:
			x.nat = n
		case eventFirewall:
			x.firewall = n + 1
		case eventNATSrc:
			x.natSrc = translated(x.natSrc, v, n)
		case eventNATDst:
			x.natDst = translated(x.natDst, v, n)
		case eventNATSrcPort:
			x.natSrcPort = uint16(n)
		case eventNATDstPort:
			x.natDstPort = uint16(n)
		case eventBlockFirst:
			x.first = uint16(n)
		case eventBlockLast:
			x.last = uint16(n)
		case eventBlockPorts:
			x.ports = n
		case eventUser:
			x.user = v
		case eventConnection:
			x.connection = n
		case eventDelta:
			x.delta |= n
		}
	}
	return x
}

// translated returns the address of four or sixteen octets; of two elements for the same,
// that of the other version is zero.
func translated(a flow.Addr, v []byte, n uint64) flow.Addr {
	switch {
	case len(v) == 16 && !isZero(v):
		return flow.Addr(v)
	case len(v) <= 4 && n != 0:
		set4(&a, n)
	}
	return a
}

// eventRecords decodes up to room records of a template with an eventPlan: each is a flow,
// or two, or an event, or both, or, when a total has nothing new, neither.
func (w *work) eventRecords(t *template, r *reader, room int) (n int, why error) {
	w.begin(t)
	var spans []span
	if t.variable {
		spans = make([]span, len(t.ops))
	}
	for r.remaining() >= t.size {
		if n >= room {
			return n, errRecordLimit
		}
		var s scratch
		first, pos := len(w.dst), r.pos
		w.grow()
		if t.variable {
			if !w.fields(t, r, w.dst[first:], &s, spans) {
				w.dst = w.dst[:first]
				return n, errRecordCut
			}
		} else {
			c := w.clocks
			follow(t.ops, w.b, pos, 0, w.dst[first:], &s, &c)
			r.pos += t.size
		}
		w.completeEvent(t, first, &s, pos, spans)
		w.eventRecord(t, first, pos, spans)
		n++
	}
	return n, nil
}

// completeEvent finishes the record that was decoded to w.dst[first], as complete does, but
// keeps its first half also where that carried nothing, and leaves the extras out.
func (w *work) completeEvent(t *template, first int, s *scratch, pos int, spans []span) {
	r := &w.dst[first]
	if len(t.spares) > 0 {
		c := w.clocks
		if boot := c.export - flow.Time(c.uptime); t.uptimes && r.Start == boot && r.End == boot {
			r.Start, r.End = 0, 0
		}
		t.fillIn(w.b, pos, spans, w.dst[first:first+1], s, &c)
	}
	if t.names != nil {
		w.describeFlow(t, r, pos, spans)
	}
	if t.resolve != 0 || w.opts != nil && w.opts.interfaces != nil {
		c := w.clocks
		var rev flow.Record
		if t.finish(r, &rev, s, &c, w.opts) {
			*w.grow() = rev
		}
	}
	w.settle(t, w.dst[first:])
}

// eventRecord makes what it is of the record that was decoded to w.dst[first:].
func (w *work) eventRecord(t *template, first, pos int, spans []span) {
	p := t.events
	x := p.read(w.b, pos, spans)
	rec := &w.dst[first]
	if p.events && p.isEvent(&x, w.dst[first:]) {
		w.event(p, rec, &x, pos, spans)
	}
	known, counts := false, p.counts
	if x.delta == 0 && p.spare != countsNothing {
		counts = p.spare
	}
	switch counts {
	case countsNothing:
		w.dst = w.dst[:first]
		return
	case countsTotals, countsConnection:
		over := x.firewall == uint64(flow.FirewallDeleted)
		if p.reason && rec.EndReason != 0 && rec.EndReason != flow.EndActiveTimeout {
			over = true
		}
		known = w.d.told.count(w, w.dst[first:], x.connection, counts == countsTotals || over, over)
	}
	kept, forward := first, false
	for i := first; i < len(w.dst); i++ {
		// What carried nothing since it was last told of is no flow.
		if w.dst[i].Packets|w.dst[i].Bytes != 0 || !p.events && !known {
			w.dst[kept] = w.dst[i]
			kept++
			forward = forward || i == first
		}
	}
	w.dst = w.dst[:kept]
	plan := t.extras.record
	if !forward {
		plan = t.extras.reverse
	}
	for i := first; i < kept; i++ {
		w.dst[i].Extra = withMember(plan.json(w, w.b, pos, spans), w.dst[i].Extra)
		plan = t.extras.half
	}
}

// isEvent reports whether a record tells of more than the flows that it counts.
func (p *eventPlan) isEvent(x *eventSaid, flows []flow.Record) bool {
	if !p.numbered || x.nat != 0 {
		return true
	}
	switch flow.FirewallEvent(min(x.firewall, 255)) {
	case flow.FirewallNone, flow.FirewallIgnore, flow.FirewallUpdate:
		// An update counts. One without anything to count says that the connection
		// is there.
		for i := range flows {
			if flows[i].Packets|flows[i].Bytes != 0 {
				return false
			}
		}
	}
	return true
}

// event appends the event of a record.
func (w *work) event(p *eventPlan, r *flow.Record, x *eventSaid, pos int, spans []span) {
	m := w.m
	if len(m.Events) < cap(m.Events) {
		m.Events = m.Events[:len(m.Events)+1]
	} else {
		m.Events = append(m.Events, flow.Event{})
	}
	e := &m.Events[len(m.Events)-1]
	*e = flow.Event{
		Time: r.End, Received: r.Received, Exporter: r.Exporter, InIf: r.InIf, OutIf: r.OutIf,
		SrcPort: r.SrcPort, DstPort: r.DstPort, Protocol: r.Protocol, Marks: r.Marks,
		NATSrcAddr: x.natSrc, NATDstAddr: x.natDst, NATSrcPort: x.natSrcPort, NATDstPort: x.natDstPort,
		BlockFirst: x.first, BlockLast: x.last, Firewall: flow.FirewallEvent(min(x.firewall, 255)), NAT: flow.NATEvent(min(x.nat, 255)),
	}
	if r.IPVersion != 0 {
		e.SrcAddr, e.DstAddr = r.SrcAddr, r.DstAddr
	}
	if e.Time == 0 {
		e.Time = w.clocks.export
	}
	if x.last == 0 && x.first != 0 && x.ports > 0 && x.ports <= 1<<16-uint64(x.first) {
		e.BlockLast = x.first + uint16(x.ports-1)
	}
	if len(x.user) > 0 && !isZero(x.user) {
		e.User = userName(x.user)
	}
	if p.extra != nil {
		e.Extra = p.extra.json(w, w.b, pos, spans)
	}
}

// userName returns a text of fixed or variable length: it ends with its first NUL.
func userName(v []byte) string {
	for i, c := range v {
		if c == 0 {
			v = v[:i]
			break
		}
	}
	s := strings.TrimSpace(string(v))
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// translationV5 appends the event of a v5 record that is a translation of ipt-netflow's
// (natevents=1), and reports whether it is one. Such a record carries nothing, and tells by
// its TCP flags whether the translation begins (SYN and ACK) or ends (RST and FIN). The next hop
// and the AS number that is not zero are an address and a port: the source's after
// translation with that of the source, the destination's before it with the other. The
// destination itself is the one after translation.
func (w *work) translationV5(r *flow.Record) bool {
	const begins, ends = flow.SYN | flow.ACK, flow.RST | flow.FIN
	if r.NextHop.IsZero() || r.TCPFlags != begins && r.TCPFlags != ends || (r.SrcAS == 0) == (r.DstAS == 0) {
		return false
	}
	e := flow.Event{
		Time: r.End, Received: r.Received, Exporter: r.Exporter, InIf: r.InIf, OutIf: r.OutIf, Protocol: r.Protocol,
		SrcAddr: r.SrcAddr, DstAddr: r.DstAddr, SrcPort: r.SrcPort, DstPort: r.DstPort, NAT: 1,
	}
	if r.TCPFlags == ends {
		e.NAT = 2
	}
	if r.SrcAS != 0 {
		e.NATSrcAddr, e.NATSrcPort = r.NextHop, uint16(r.SrcAS)
	} else {
		e.NATDstAddr, e.NATDstPort = r.DstAddr, r.DstPort
		e.DstAddr, e.DstPort = r.NextHop, uint16(r.DstAS)
	}
	w.m.Events = append(w.m.Events, e)
	return true
}
