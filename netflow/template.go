package netflow

import (
	"cmp"
	"slices"
	"sort"
	"sync/atomic"

	"flowtally/flow"
)

// fieldSpec is a Field Specifier (RFC 7011 §3.2).
type fieldSpec struct {
	pen        uint32
	id, length uint16
	scope      bool
}

// template is a Template or Options Template, compiled. It does not change
// after it was made, but for when it was used.
type template struct {
	key templateKey
	raw []byte // the specifiers as they came, to know a repetition

	options   bool
	scopes    int   // how many of the fields are scopes
	variable  bool  // a record's length is in the record
	size      int   // octets of a record; of the shortest, when variable
	init      bool  // of options: it says when the uptime clock began
	ipVersion uint8 // of the records, 0 when it takes a look at each
	resolve   resolve
	absent    flow.Absent // what no record of it says
	ops       []op        // variable: one for each field, in order; else direct ones first
	direct    int         // how many ops need no scratch
	spares    []spare     // what serves where a field of ops is zero, in their order
	bothTimes bool
	uptimes   bool     // the times are those of the header's uptime clock
	lengths   []uint16 // variable: of each field
	events    *eventPlan
	extras    extras
	names     []nameField // of flow records
	announces announcement

	owner   *exporter
	session *session
	born    uint64 // order of arrival
	decoded atomic.Bool
	used    atomic.Int64  // flow.Time, to the second
	recent  atomic.Uint64 // store.learned when it was last used
	uses    atomic.Uint32 // see standing

	// Its place among those of its address, as standing said when it was last
	// looked at.
	prev, next *template
	stands     uint8
}

// resolve is what finish has to do with a record.
type resolve uint32

const (
	resolveScratch resolve = 1 << iota // anything below: the scratch is in use
	resolveDual
	resolveICMP
	resolveInit
	resolveDuration
	resolveInstant
	resolveRate
	resolveSpace
	resolveSelector
	resolveReverse
	resolveSection
	resolvePackets // the template counts packets
	resolveBytes
	resolveTold  // options that describe
	resolveSpare // the template has spares
	resolveBare  // the sampled packet serves only where the addresses are zero
)

// compile turns specifiers into a plan. The caller has checked that they
// describe at least one octet and no more than a message can hold.
func compile(d *dialect, options bool, specs []fieldSpec) *template {
	t := &template{options: options}
	for i := range specs {
		f := &specs[i]
		if !d.enterprise && f.pen == 0 {
			if id, ok := asaElements[f.id]; ok {
				f.id = id
			}
		}
		if f.length == variableLength {
			t.variable = true
			t.size++
		} else {
			t.size += int(f.length)
		}
	}

	var winner [slots]int // index in specs, plus one
	tunnel := false
	rules := make([]rule, len(specs))
	for i, f := range specs {
		if d.scopeOctets && f.scope {
			// v9 numbers its scopes apart: 2 is an interface.
			if f.id == 2 {
				rules[i] = rule{slotScopeIn, 0, setScopeInterface}
				winner[slotScopeIn] = i + 1
			}
			continue
		}
		r := ruleOf(f, options)
		if r.slot == noSlot {
			continue
		}
		rules[i] = r
		w := winner[r.slot]
		if w == 0 || r.rank < rules[w-1].rank {
			winner[r.slot] = i + 1
		} else if r.slot.ofHeader() && r.rank == rules[w-1].rank {
			// Headers stand in a template in their order in the packet: what
			// says the same again is of the packet inside.
			winner[r.slot] = i + 1
			tunnel = true
		}
	}
	has := func(s slot) bool { return winner[s] != 0 }
	id := func(s slot) uint16 { return specs[winner[s]-1].id }

	// The responder's counters are the other half only where the initiator's
	// are this one: in records that have nothing in the usual counters.
	for _, p := range [...][2]slot{{slotBytes, slotRevBytes}, {slotPackets, slotRevPackets}} {
		w := winner[p[1]]
		if w == 0 || specs[w-1].pen == reversePEN {
			continue
		}
		if has(p[0]) && id(p[0]) != 231 && id(p[0]) != 298 {
			winner[p[1]] = 0
			t.resolve |= resolveReverse
		}
	}

	dual := has(slotSrc4) && has(slotSrc6) || has(slotDst4) && has(slotDst6)
	switch {
	case dual:
		t.resolve |= resolveDual
	case has(slotSrc6) || has(slotDst6):
		t.ipVersion = 6
	case has(slotSrc4) || has(slotDst4):
		t.ipVersion = 4
	}
	if !dual {
		winner[slotIPVersion] = 0 // the addresses say it
	}
	rivals := rivals(specs, rules, &winner)
	// The common case needs no scratch: one field, of fixed length.
	icmpLast := !t.variable && len(rivals) == 0 && has(slotICMP4) != has(slotICMP6) && !has(slotICMPType4) && !has(slotICMPType6)
	if !icmpLast && (has(slotICMP4) || has(slotICMP6) || has(slotICMPType4) || has(slotICMPType6)) {
		t.resolve |= resolveICMP
	}
	if has(slotSection) {
		t.resolve |= resolveSection
		if has(slotSrc4) || has(slotDst4) || has(slotSrc6) || has(slotDst6) {
			t.resolve |= resolveBare // else the record says whose it is
		}
		if has(slotPackets) {
			t.resolve |= resolvePackets
		}
		if has(slotBytes) {
			t.resolve |= resolveBytes
		}
	}
	if slices.IndexFunc(winner[slotInterfaceName:], func(i int) bool { return i != 0 }) >= 0 {
		t.resolve |= resolveTold
	}
	if has(slotDuration) && (has(slotStart) || has(slotEnd)) {
		t.resolve |= resolveDuration
		t.bothTimes = has(slotStart) && has(slotEnd)
	}
	if has(slotEnd) && !has(slotStart) && !has(slotDuration) && id(slotEnd) >= 322 {
		t.resolve |= resolveInstant
	}
	if has(slotRevPackets) || has(slotRevBytes) {
		t.resolve |= resolveReverse
	}
	if has(slotRate) || has(slotProbability) || has(slotInterval) || has(slotSize) && has(slotPopulation) {
		t.resolve |= resolveRate
	}
	if has(slotSpace) {
		t.resolve |= resolveSpace
	}
	if has(slotSelector) {
		t.resolve |= resolveSelector
	}

	t.absent = absent(has)

	offset := 0
	t.ops = make([]op, 0, len(specs))
	var kept []extraField
	fixed := true // up to here
	for i, f := range specs {
		width := int(f.length)
		if f.length == variableLength {
			width = 0
		}
		r := rules[i]
		o := op{mask: maskOf(width), end: uint16(offset + width), width: uint16(width), slot: r.slot}
		if t.variable {
			o.end = uint16(width) // from the field's own start
		}
		won := r.slot != noSlot && winner[r.slot] == i+1
		spares := slices.Contains(rivals, i)
		if won || spares {
			o.set = r.set
			switch {
			case r.set == setBytes && width < 8:
				o.set = setBytesNarrow
			case r.set == setPackets && width < 8:
				o.set = setPacketsNarrow
			case r.set == setTCPFlags || r.set == setRevTCPFlags:
				o.mask &= uint64(flow.AllFlags)
			case icmpLast && r.set == setICMP:
				o.set = setICMPLast
			case dual && r.slot == slotSrc4:
				o.set = setSrc4Dual
			case dual && r.slot == slotDst4:
				o.set = setDst4Dual
			case dual && r.slot == slotSrcMask4:
				o.set = setSrcMaskDual
			case dual && r.slot == slotDstMask4:
				o.set = setDstMaskDual
			case !d.uptime && r.set == setStartUptime:
				o.set, t.resolve = setStartInit, t.resolve|resolveInit
			case !d.uptime && r.set == setEndUptime:
				o.set, t.resolve = setEndInit, t.resolve|resolveInit
			}
		}
		if f.pen == 0 && (f.id == 82 || f.id == 83) && !options {
			t.names = append(t.names, nameField{spec: i, offset: offset, length: width, description: f.id == 83})
		}
		if spares {
			t.spares = append(t.spares, spare{op: o, field: i, rank: r.rank, when: condition(specs, rules, &winner, i)})
			t.resolve |= resolveSpare
			o.set = setNothing
		}
		// The tunnel around the packet is extra, also where its addresses are of
		// the other kind and could have been the flow's.
		outer := tunnel && r.slot.ofHeader() && (!won || dual && (r.slot == slotSrc6 || r.slot == slotDst6))
		bare := r.slot == slotSection && t.resolve&resolveBare != 0
		if !options && (outer || o.set == setCopies || (!won || bare) && bearsMeaning(f, r)) {
			kept = append(kept, extraField{spec: uint16(i), offset: uint16(offset), length: uint16(width), pen: f.pen, id: f.id, zero: zeros[[2]uint32{f.pen, uint32(f.id)}]})
		}
		if x := announcing(f, offset); x.width != 0 && fixed && !(d.scopeOctets && f.scope) && t.announces.width == 0 {
			t.announces = x
		}
		fixed = fixed && f.length != variableLength
		offset += width
		if t.variable || o.set != setNothing {
			t.ops = append(t.ops, o)
		}
	}
	if !t.variable {
		slices.SortStableFunc(t.ops, func(x, y op) int { return cmp.Compare(x.set.phase(), y.set.phase()) })
		t.direct = sort.Search(len(t.ops), func(i int) bool { return t.ops[i].set.phase() == phaseScratch })
	}
	if t.variable {
		t.lengths = make([]uint16, len(specs))
		for i, f := range specs {
			t.lengths[i] = f.length
		}
	}
	slices.SortStableFunc(t.spares, func(x, y spare) int {
		return cmp.Or(cmp.Compare(x.when, y.when), cmp.Compare(x.rank, y.rank))
	})
	t.uptimes = d.uptime && has(slotStart) && has(slotEnd) && id(slotStart) == 22 && id(slotEnd) == 21
	t.init = has(slotInit)
	if t.resolve != 0 || t.init {
		t.resolve |= resolveScratch
	}
	if len(kept) > 0 {
		t.extras.record = newExtraPlan(kept)
		if t.resolve&resolveReverse != 0 {
			t.extras.half = newExtraPlan(otherHalf(kept, false))
			t.extras.reverse = newExtraPlan(otherHalf(kept, true))
		}
	}
	t.events = newEventPlan(options, specs)
	return t
}

// absent returns what records do not say that have only fields of these slots.
func absent(has func(slot) bool) (a flow.Absent) {
	for _, x := range [...]struct {
		without flow.Absent
		slots   []slot
	}{
		{flow.AbsentSrcPort, []slot{slotSrcPort}},
		{flow.AbsentDstPort, []slot{slotDstPort}},
		{flow.AbsentICMP, []slot{slotDstPort, slotICMP4, slotICMP6, slotICMPType4, slotICMPType6}},
		{flow.AbsentTCPFlags, []slot{slotTCPFlags}},
	} {
		if !slices.ContainsFunc(x.slots, has) {
			a |= x.without
		}
	}
	return a
}

// finish resolves what was kept in the scratch, and returns whether the record
// has another half, which is then in rev.
func (t *template) finish(r, rev *flow.Record, s *scratch, c *clocks, opts *options) (split bool) {
	if t.resolve&resolveDual != 0 {
		s.dual(r)
	}
	if t.resolve&resolveICMP != 0 && isICMP(r.Protocol) && (s.icmp != 0 || s.icmpApart || r.SrcPort != 0) {
		r.DstPort = s.icmp // see setICMPLast
	}
	if t.resolve&resolveInit != 0 {
		if s.init > 0 {
			c.init = s.init
		}
		if r.Start == 0 && (s.upStart != 0 || s.upEnd != 0) {
			r.Start = c.sinceInit(s.upStart)
		}
		if r.End == 0 && s.upEnd != 0 {
			r.End = c.sinceInit(s.upEnd)
		}
		if c.init <= 0 && r.Start == 0 && r.End == 0 && s.upEnd != 0 && s.upEnd-s.upStart <= uint32(flow.MaxDuration) {
			// Nobody said when the clock began, but how long the flow was is
			// known; it was exported when it had ended.
			r.End = c.export
			r.Start = r.End - flow.Time(s.upEnd-s.upStart)
			r.Marks |= flow.MarkTimeRepaired
		}
	}
	if t.resolve&resolveDuration != 0 && (s.duration > 0 || !t.bothTimes) {
		switch {
		case r.End == 0 && r.Start > 0:
			r.End = r.Start + s.duration
		case r.Start == 0 && r.End > 0:
			r.Start = r.End - s.duration
		}
	}
	if t.resolve&resolveInstant != 0 {
		r.Start = r.End
	}
	if t.resolve&resolveSection != 0 && (t.resolve&resolveBare == 0 || addressless(r)) {
		var p sampled
		if s.isFrame && p.frame(s.section) || !s.isFrame && p.ip(s.section) {
			p.fill(r, t.resolve&resolvePackets != 0, t.resolve&resolveBytes != 0)
		}
	}
	var sampler selector
	if t.resolve&resolveSelector != 0 && opts != nil {
		sampler = opts.selectors[s.selector]
		r.SamplingRate = opts.rate // not that of another sampler
		r.Extra = withMember(r.Extra, sampler.extra)
	}
	if opts != nil && opts.interfaces != nil {
		opts.interfaceRate(r)
	}
	if sampler.rate != 0 {
		r.SamplingRate = sampler.rate
	}
	if t.resolve&resolveRate != 0 {
		if n := s.samplingRate(t.resolve&resolveSpace != 0); n > 0 {
			r.SamplingRate = n
		}
	}
	if t.resolve&resolveReverse == 0 || s.rev.packets == 0 && s.rev.bytes == 0 {
		return false
	}
	s.reverse(r, rev)
	return true
}

// dual decides between the two pairs of addresses of a template that has both:
// by which is not zero, and by ipVersion where both are or neither is.
func (s *scratch) dual(r *flow.Record) {
	four, six := s.src4|s.dst4 != 0, !(r.SrcAddr.IsZero() && r.DstAddr.IsZero())
	if four == six {
		four, six = s.version == 4, s.version == 6
		if !four && !six && s.src4|s.dst4 == 0 {
			r.IPVersion = 0 // not said
			return
		}
	}
	if six {
		r.IPVersion = 6
		return
	}
	r.IPVersion = 4
	r.SrcAddr, r.DstAddr = flow.Addr{}, flow.Addr{}
	set4(&r.SrcAddr, uint64(s.src4))
	set4(&r.DstAddr, uint64(s.dst4))
	if s.srcMask4 != 0 {
		r.SrcMask = s.srcMask4
	}
	if s.dstMask4 != 0 {
		r.DstMask = s.dstMask4
	}
}

// reverse makes the other half of r: what has a reverse element takes it, what
// is of a side changes sides, the rest is the same. The extras stay with r.
func (s *scratch) reverse(r, rev *flow.Record) {
	*rev = *r
	rev.Extra = nil
	rev.Marks &^= flow.MarkClamped
	if s.rev.saturated {
		rev.Marks |= flow.MarkClamped
	}
	rev.Absent = r.Absent &^ (flow.AbsentSrcPort | flow.AbsentDstPort)
	if r.Absent&flow.AbsentSrcPort != 0 {
		rev.Absent |= flow.AbsentDstPort
	}
	if r.Absent&flow.AbsentDstPort != 0 {
		rev.Absent |= flow.AbsentSrcPort
	}
	rev.SrcAddr, rev.DstAddr = r.DstAddr, r.SrcAddr
	rev.SrcMask, rev.DstMask = r.DstMask, r.SrcMask
	rev.SrcAS, rev.DstAS = r.DstAS, r.SrcAS
	rev.InIf, rev.OutIf = r.OutIf, r.InIf
	if isICMP(r.Protocol) {
		if s.rev.icmp != 0 {
			rev.DstPort = s.rev.icmp
		}
	} else {
		rev.SrcPort, rev.DstPort = r.DstPort, r.SrcPort
	}
	rev.NextHop, rev.Direction = flow.Addr{}, 0
	rev.Bytes, rev.Packets = s.rev.bytes, s.rev.packets
	rev.TCPFlags = s.rev.tcpFlags
	if s.rev.tos != 0 {
		rev.TOS = s.rev.tos
	}
	if s.rev.vlan != 0 {
		rev.VLAN = s.rev.vlan
	}
	if s.rev.start > 0 {
		rev.Start = s.rev.start
	}
	if s.rev.end > 0 {
		rev.End = s.rev.end
	}
}

func isICMP(p flow.Protocol) bool { return p == flow.ICMP || p == flow.ICMPv6 }
