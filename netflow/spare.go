package netflow

import "flowtally/flow"

// spare is a step for a field that says the same as a better one, and serves in
// the records where that is zero: many devices fill one template for all kinds of
// flows, and leave empty what does not apply. Values are never added.
type spare struct {
	op
	field int // in the template's specifiers
	rank  uint8
	when  when
}

// when says which records a spare is for, besides that its slot has to be empty.
type when uint8

const (
	// whenBare: those without addresses. The outer header of a tunnel is the flow's
	// where there is no inner one, all of it or nothing.
	whenBare when = iota
	// whenUncounted: those whose usual counter is zero, before another is taken for
	// it. The responder's counters are the other half of these alone.
	whenUncounted
	whenEmpty
)

// maxSpares is how many spares a slot has: there are no more elements that say the
// same, and a template may repeat one as often as it likes.
const maxSpares = 12

// rivals returns the fields that lost their slot to another but are good for
// records in which that is zero.
func rivals(specs []fieldSpec, rules []rule, winner *[slots]int) (out []int) {
	var each [slots]int
	for i := range specs {
		r := rules[i]
		if r.slot == noSlot || winner[r.slot] == i+1 || specs[i].length == 0 || specs[i].scope {
			continue
		}
		switch r.slot {
		case slotIPVersion, slotICMP4, slotICMP6, slotICMPType4, slotICMPType6, slotICMPCode4, slotICMPCode6, slotCopies, slotScopeIn, slotScopeOut:
			continue
		}
		if each[r.slot]++; r.slot < slotTotals && each[r.slot] <= maxSpares {
			out = append(out, i)
		}
	}
	return append(out, otherMasks(specs, rules, winner)...)
}

// otherMasks returns the prefix lengths of the IP version that the template has no
// addresses of: they fill the same place as the others.
func otherMasks(specs []fieldSpec, rules []rule, winner *[slots]int) (out []int) {
	four, six := winner[slotSrc4]|winner[slotDst4] != 0, winner[slotSrc6]|winner[slotDst6] != 0
	if four && six {
		return nil
	}
	for _, p := range [...][2]slot{{slotSrcMask4, slotSrcMask6}, {slotDstMask4, slotDstMask6}} {
		if winner[p[0]] == 0 || winner[p[1]] == 0 {
			continue
		}
		other := p[1]
		if six {
			other = p[0]
		}
		out = append(out, winner[other]-1)
		winner[other] = 0
	}
	return out
}

// condition returns when the spare of field i serves.
func condition(specs []fieldSpec, rules []rule, winner *[slots]int, i int) when {
	r := rules[i]
	w := winner[r.slot]
	switch {
	case r.slot.ofHeader() && w != 0 && rules[w-1].rank == r.rank:
		return whenBare
	case specs[i].pen == 0 && (r.slot == slotRevBytes || r.slot == slotRevPackets):
		forward := slotBytes
		if r.slot == slotRevPackets {
			forward = slotPackets
		}
		if f := winner[forward]; f != 0 && specs[f-1].id != 231 && specs[f-1].id != 298 {
			return whenUncounted
		}
	}
	return whenEmpty
}

// fillIn runs the spares of the record that begins at b[pos], or whose fields are
// at spans.
func (t *template) fillIn(b []byte, pos int, spans []span, recs []flow.Record, s *scratch, c *clocks) {
	r := &recs[0]
	noAddress := addressless(r) && s.src4|s.dst4 == 0
	counted := r.Bytes != 0 || r.Packets != 0
	for i := range t.spares {
		x := &t.spares[i]
		switch {
		case x.when == whenBare:
			if !noAddress {
				continue
			}
		case x.when == whenUncounted && counted, filled(&x.op, r, s):
			continue
		}
		one := [1]op{x.op}
		at := pos
		if spans != nil {
			at = spans[x.field].at
			width := spans[x.field].length
			if one[0].width == 0 {
				one[0].mask = maskOf(width)
			}
			one[0].end, one[0].width = uint16(width), uint16(width)
		}
		follow(one[:], b, at, 0, recs, s, c)
		switch x.set {
		case setEndMs, setEndNTP, setEndSec:
			// An instant is the start as well.
			if x.rank >= rankInstant && r.Start == 0 {
				r.Start = r.End
			}
		}
	}
}

// addressless reports whether a record has no address but zeros.
func addressless(r *flow.Record) bool { return unspecified(&r.SrcAddr) && unspecified(&r.DstAddr) }

func unspecified(a *flow.Addr) bool { return a.IsZero() || a.Is4() && a.As4() == [4]byte{} }

// filled reports whether what a step is to fill has a value already. A step that
// has no part in this is taken for done.
func filled(o *op, r *flow.Record, s *scratch) bool {
	switch o.set {
	case setBytes, setBytesNarrow:
		return r.Bytes != 0
	case setPackets, setPacketsNarrow:
		return r.Packets != 0
	case setProtocol:
		return r.Protocol != 0
	case setTOS, setDSCP:
		return r.TOS != 0
	case setTCPFlags:
		return r.TCPFlags != 0
	case setSrcPort:
		return r.SrcPort != 0
	case setDstPort:
		return r.DstPort != 0
	case setSrc4, setSrc6:
		return !unspecified(&r.SrcAddr)
	case setDst4, setDst6:
		return !unspecified(&r.DstAddr)
	case setSrc4Dual:
		return s.src4 != 0
	case setDst4Dual:
		return s.dst4 != 0
	case setNextHop4, setNextHop6:
		return !r.NextHop.IsZero()
	case setSrcMask:
		return r.SrcMask != 0
	case setDstMask:
		return r.DstMask != 0
	case setSrcMaskDual:
		return s.srcMask4 != 0
	case setDstMaskDual:
		return s.dstMask4 != 0
	case setInIf:
		return r.InIf != 0
	case setOutIf:
		return r.OutIf != 0
	case setSrcAS:
		return r.SrcAS != 0
	case setDstAS:
		return r.DstAS != 0
	case setVLAN:
		return r.VLAN != 0
	case setDirection:
		return r.Direction != 0
	case setEndReason:
		return r.EndReason != 0
	case setStartMs, setStartSec, setStartNTP, setStartUptime, setStartDelta:
		return r.Start != 0
	case setEndMs, setEndSec, setEndNTP, setEndUptime, setEndDelta:
		return r.End != 0
	}
	return s.filled(o)
}

// filled is the same for what goes to the scratch.
func (s *scratch) filled(o *op) bool {
	switch o.set {
	case setStartInit:
		return s.upStart != 0
	case setEndInit:
		return s.upEnd != 0
	case setDurationMs, setDurationUs:
		return s.duration != 0
	case setInit:
		return s.init != 0
	case setRate, setProbability:
		return s.rate != 0
	case setInterval:
		return s.interval != 0
	case setSpace:
		return s.space != 0
	case setSize:
		return s.size != 0
	case setPopulation:
		return s.population != 0
	case setSelector:
		return s.selector != 0
	case setFrame, setIPHeader:
		return len(s.section) != 0
	case setText:
		return !isZero(s.texts[o.slot-slotInterfaceName])
	case setSubject:
		switch o.slot {
		case slotVRF:
			return s.vrf != 0
		case slotDomain:
			return s.domain != 0
		}
		return s.application != 0
	case setProcess:
		return s.process != 0
	case setRevBytes:
		return s.rev.bytes != 0
	case setRevPackets:
		return s.rev.packets != 0
	case setRevTOS:
		return s.rev.tos != 0
	case setRevTCPFlags:
		return s.rev.tcpFlags != 0
	case setRevVLAN:
		return s.rev.vlan != 0
	case setRevStartMs, setRevStartSec, setRevStartNTP, setRevStartUptime, setRevStartDelta:
		return s.rev.start != 0
	case setRevEndMs, setRevEndSec, setRevEndNTP, setRevEndUptime, setRevEndDelta:
		return s.rev.end != 0
	}
	return true
}
