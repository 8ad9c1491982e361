package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// What an element means to us, in one file: its rule says which slot of the record
// it may fill and by which setter; follow, for what goes to the record, and set, for
// what goes to the scratch, do it.

// slot is a place in the record, or the scratch, that one field of a template
// may fill.
type slot uint8

const (
	noSlot slot = iota
	slotBytes
	slotPackets
	slotProtocol
	slotTOS
	slotTCPFlags
	slotSrcPort
	slotDstPort
	slotSrc4
	slotDst4
	slotSrc6
	slotDst6
	slotNextHop4
	slotNextHop6
	slotSrcMask4
	slotDstMask4
	slotSrcMask6
	slotDstMask6
	slotInIf
	slotOutIf
	slotSrcAS
	slotDstAS
	slotVLAN
	slotDirection
	slotEndReason
	slotStart
	slotEnd
	slotInit
	slotDuration
	slotIPVersion
	slotICMP4
	slotICMP6
	slotICMPType4
	slotICMPCode4
	slotICMPType6
	slotICMPCode6
	slotRate
	slotInterval
	slotSpace
	slotSize
	slotPopulation
	slotSelector
	slotScopeIn
	slotScopeOut
	slotRevBytes
	slotRevPackets
	slotRevTOS
	slotRevTCPFlags
	slotRevVLAN
	slotRevICMP4
	slotRevICMP6
	slotRevStart
	slotRevEnd
	slotSection
	slotCopies
	slotInterfaceName // the names, in the order of scratch.texts
	slotInterfaceDescription
	slotSamplerName
	slotApplicationName
	slotVRFName
	slotSystemName
	slotApplication
	slotVRF
	slotDomain
	slotProbability
	slotProcess
	slotTotals
	slots = slotTotals + totals
)

// ofHeader reports whether the slot is of an IP header, of which a template for
// tunnels has two.
func (s slot) ofHeader() bool {
	switch s {
	case slotProtocol, slotSrc4, slotDst4, slotSrc6, slotDst6:
		return true
	}
	return false
}

// setter says what a field's value does to the record. The numeric ones get the
// value as an integer, whatever its width (reduced-size encoding, RFC 7011
// §6.2); those of addresses of 16 octets get the octets.
type setter uint8

const (
	setNothing setter = iota
	setBytes
	setPackets
	setBytesNarrow // of fewer than eight octets
	setPacketsNarrow
	setProtocol
	setTOS
	setDSCP
	setTCPFlags
	setSrcPort
	setDstPort
	setSrc4
	setDst4
	setSrc6
	setDst6
	setNextHop4
	setNextHop6
	setSrcMask
	setDstMask
	setInIf
	setOutIf
	setSrcAS
	setDstAS
	setVLAN
	setDirection
	setEndReason
	setStartMs
	setEndMs
	setStartSec
	setEndSec
	setStartNTP
	setEndNTP
	setStartUptime
	setEndUptime
	setStartDelta
	setEndDelta
	setCopies
	setICMPLast // wants the protocol and the ports to be there

	// What follows goes to the scratch and is resolved by finish, or by those
	// who read options.
	setFrame
	setIPHeader
	setText
	setSubject
	setProcess
	setTotal
	setProbability
	setSrc4Dual
	setDst4Dual
	setSrcMaskDual
	setDstMaskDual
	setIPVersion
	setICMP
	setICMPType
	setICMPCode
	setInit
	setStartInit
	setEndInit
	setDurationMs
	setDurationUs
	setRate
	setInterval
	setSpace
	setSize
	setPopulation
	setSelector
	setScopeInterface
	setRevBytes
	setRevPackets
	setRevTOS
	setRevTCPFlags
	setRevVLAN
	setRevICMP
	setRevStartMs
	setRevEndMs
	setRevStartSec
	setRevEndSec
	setRevStartNTP
	setRevEndNTP
	setRevStartUptime
	setRevEndUptime
	setRevStartDelta
	setRevEndDelta
)

// rule is what an element means to us. Of several in a template that fill the
// same slot, the one of the lowest rank does, and among equals the first, or the
// last for the headers of tunnels; where it is zero in a record, the next one
// does in its place (see spare).
type rule struct {
	slot slot
	rank uint8
	set  setter
}

// rankInstant is from what rank on a slotEnd has an instant.
const rankInstant = 6

// forward are the rules of IANA's elements, in v9 the same numbers. To make a
// field of another element, add a row.
var forward = [...]rule{
	1:   {slotBytes, 0, setBytes},     // octetDeltaCount
	85:  {slotBytes, 1, setBytes},     // octetTotalCount
	231: {slotBytes, 2, setBytes},     // initiatorOctets
	23:  {slotBytes, 3, setBytes},     // postOctetDeltaCount, of egress metering
	2:   {slotPackets, 0, setPackets}, // packetDeltaCount
	86:  {slotPackets, 1, setPackets}, // packetTotalCount
	298: {slotPackets, 2, setPackets}, // initiatorPackets
	24:  {slotPackets, 3, setPackets}, // postPacketDeltaCount
	4:   {slotProtocol, 0, setProtocol},
	193: {slotProtocol, 1, setProtocol}, // nextHeaderIPv6
	5:   {slotTOS, 0, setTOS},
	195: {slotTOS, 1, setDSCP},
	6:   {slotTCPFlags, 0, setTCPFlags},
	7:   {slotSrcPort, 0, setSrcPort},
	182: {slotSrcPort, 1, setSrcPort}, // tcpSourcePort
	180: {slotSrcPort, 2, setSrcPort}, // udpSourcePort
	11:  {slotDstPort, 0, setDstPort},
	183: {slotDstPort, 1, setDstPort},
	181: {slotDstPort, 2, setDstPort},
	8:   {slotSrc4, 0, setSrc4},
	44:  {slotSrc4, 1, setSrc4}, // sourceIPv4Prefix
	12:  {slotDst4, 0, setDst4},
	45:  {slotDst4, 1, setDst4},
	27:  {slotSrc6, 0, setSrc6},
	170: {slotSrc6, 1, setSrc6},
	28:  {slotDst6, 0, setDst6},
	169: {slotDst6, 1, setDst6},
	15:  {slotNextHop4, 0, setNextHop4},
	62:  {slotNextHop6, 0, setNextHop6},
	9:   {slotSrcMask4, 0, setSrcMask},
	13:  {slotDstMask4, 0, setDstMask},
	29:  {slotSrcMask6, 0, setSrcMask},
	30:  {slotDstMask6, 0, setDstMask},
	10:  {slotInIf, 0, setInIf},
	14:  {slotOutIf, 0, setOutIf},
	252: {slotInIf, 1, setInIf}, // ingressPhysicalInterface
	253: {slotOutIf, 1, setOutIf},
	16:  {slotSrcAS, 0, setSrcAS},
	17:  {slotDstAS, 0, setDstAS},
	58:  {slotVLAN, 0, setVLAN},
	243: {slotVLAN, 1, setVLAN}, // dot1qVlanId
	61:  {slotDirection, 0, setDirection},
	136: {slotEndReason, 0, setEndReason},

	152: {slotStart, 0, setStartMs},
	153: {slotEnd, 0, setEndMs},
	156: {slotStart, 1, setStartNTP}, // flowStartNanoseconds
	157: {slotEnd, 1, setEndNTP},
	154: {slotStart, 2, setStartNTP}, // flowStartMicroseconds
	155: {slotEnd, 2, setEndNTP},
	22:  {slotStart, 3, setStartUptime},
	21:  {slotEnd, 3, setEndUptime},
	158: {slotStart, 4, setStartDelta},
	159: {slotEnd, 4, setEndDelta},
	150: {slotStart, 5, setStartSec},
	151: {slotEnd, 5, setEndSec},
	// One instant is better than none: the observation time of an event record
	// is its end, from which finish takes the start.
	323: {slotEnd, rankInstant, setEndMs},
	325: {slotEnd, 7, setEndNTP},
	324: {slotEnd, 8, setEndNTP},
	322: {slotEnd, 9, setEndSec},
	160: {slotInit, 0, setInit},
	161: {slotDuration, 0, setDurationMs},
	162: {slotDuration, 1, setDurationUs},

	60:  {slotIPVersion, 0, setIPVersion},
	32:  {slotICMP4, 0, setICMP},
	139: {slotICMP6, 0, setICMP},
	176: {slotICMPType4, 0, setICMPType},
	177: {slotICMPCode4, 0, setICMPCode},
	178: {slotICMPType6, 0, setICMPType},
	179: {slotICMPCode6, 0, setICMPCode},

	34:  {slotRate, 0, setRate}, // samplingInterval
	50:  {slotRate, 1, setRate}, // samplerRandomInterval
	305: {slotInterval, 0, setInterval},
	306: {slotSpace, 0, setSpace},
	309: {slotSize, 0, setSize},
	310: {slotPopulation, 0, setPopulation},
	302: {slotSelector, 0, setSelector},
	48:  {slotSelector, 1, setSelector}, // samplerId

	315: {slotSection, 0, setFrame}, // dataLinkFrameSection
	104: {slotSection, 1, setFrame}, // layer2packetSectionData
	313: {slotSection, 2, setIPHeader},

	232: {slotRevBytes, 1, setRevBytes},     // responderOctets
	299: {slotRevPackets, 1, setRevPackets}, // responderPackets
}

// reverse are the rules of the elements of a biflow's other half (RFC 5103).
var reverse = [...]rule{
	1:   {slotRevBytes, 0, setRevBytes},
	85:  {slotRevBytes, 1, setRevBytes},
	2:   {slotRevPackets, 0, setRevPackets},
	86:  {slotRevPackets, 1, setRevPackets},
	23:  {slotRevBytes, 3, setRevBytes},
	24:  {slotRevPackets, 3, setRevPackets},
	5:   {slotRevTOS, 0, setRevTOS},
	6:   {slotRevTCPFlags, 0, setRevTCPFlags},
	58:  {slotRevVLAN, 0, setRevVLAN},
	32:  {slotRevICMP4, 0, setRevICMP},
	139: {slotRevICMP6, 0, setRevICMP},
	152: {slotRevStart, 0, setRevStartMs},
	153: {slotRevEnd, 0, setRevEndMs},
	156: {slotRevStart, 1, setRevStartNTP},
	157: {slotRevEnd, 1, setRevEndNTP},
	154: {slotRevStart, 2, setRevStartNTP},
	155: {slotRevEnd, 2, setRevEndNTP},
	22:  {slotRevStart, 3, setRevStartUptime},
	21:  {slotRevEnd, 3, setRevEndUptime},
	158: {slotRevStart, 4, setRevStartDelta},
	159: {slotRevEnd, 4, setRevEndDelta},
	150: {slotRevStart, 5, setRevStartSec},
	151: {slotRevEnd, 5, setRevEndSec},
}

// asaElements are the numbers that Cisco's ASA used in v9 for what has a number
// of its own now.
var asaElements = map[uint16]uint16{40000: 371, 40001: 225, 40002: 226, 40003: 227, 40004: 228, 40005: 233}

// ruleOf returns what f means: the zero rule when it has no place of its own.
func ruleOf(f fieldSpec, options bool) rule {
	var r rule
	switch {
	case options && f.pen == 0 && int(f.id) >= len(forward):
		return told[f.id]
	case f.pen == 0 && int(f.id) < len(forward):
		r = forward[f.id]
		if x, ok := told[f.id]; ok && options {
			return x
		}
		if options && f.scope && (f.id == 10 || f.id == 14) {
			// A rate that is true of one interface is not the domain's.
			return rule{slotScopeIn + slot(f.id-10)/4, 0, setScopeInterface}
		}
	case f.pen == reversePEN && int(f.id) < len(reverse):
		r = reverse[f.id]
	case f.pen == EnterpriseNumber && options:
		return toldByUs[f.id]
	case f.pen == EnterpriseNumber && f.id == ownCopies:
		r = rule{slotCopies, 0, setCopies}
	}
	switch r.slot {
	case slotSrc6, slotDst6, slotNextHop6:
		if f.length != 16 {
			return rule{}
		}
	case slotSrc4, slotDst4, slotNextHop4:
		if f.length > 4 {
			return rule{}
		}
	}
	return r
}

// set4 writes an IPv4 address in its mapped form.
func set4(a *flow.Addr, v uint64) {
	binary.BigEndian.PutUint64(a[8:], 0xffff_0000_0000|v&0xffff_ffff)
}

// follow runs the plan over recs, whose first begins at b[pos] and the others
// each size octets later: field by field, so that the processor meets each
// choice once and not once for each record. The caller has checked that all of
// their octets are there. Steps that fill the scratch are for one record only.
func follow(ops []op, b []byte, pos, size int, recs []flow.Record, s *scratch, c *clocks) {
	for i := range ops {
		o := &ops[i]
		end, mask := pos+int(o.end), o.mask
		switch o.set {
		case setBytes:
			for i := range recs {
				recs[i].Bytes = load(b, end) & mask
				end += size
			}
		case setPackets:
			for i := range recs {
				recs[i].Packets = load(b, end) & mask
				end += size
			}
		case setBytesNarrow:
			for i := range recs {
				v := load(b, end) & mask
				recs[i].Bytes = v
				markSaturated(&recs[i], v, mask)
				end += size
			}
		case setPacketsNarrow:
			for i := range recs {
				v := load(b, end) & mask
				recs[i].Packets = v
				markSaturated(&recs[i], v, mask)
				end += size
			}
		case setProtocol:
			for i := range recs {
				recs[i].Protocol = flow.Protocol(load(b, end) & mask)
				end += size
			}
		case setTOS:
			for i := range recs {
				recs[i].TOS = uint8(load(b, end) & mask)
				end += size
			}
		case setDSCP:
			for i := range recs {
				recs[i].TOS = uint8(load(b, end) & mask << 2)
				end += size
			}
		case setTCPFlags:
			for i := range recs {
				recs[i].TCPFlags = flow.TCPFlags(load(b, end) & mask)
				end += size
			}
		case setSrcPort:
			for i := range recs {
				recs[i].SrcPort = uint16(load(b, end) & mask)
				end += size
			}
		case setDstPort:
			for i := range recs {
				recs[i].DstPort = uint16(load(b, end) & mask)
				end += size
			}
		case setSrc4:
			for i := range recs {
				v := load(b, end) & mask
				set4(&recs[i].SrcAddr, v)
				end += size
			}
		case setDst4:
			for i := range recs {
				v := load(b, end) & mask
				set4(&recs[i].DstAddr, v)
				end += size
			}
		case setSrc6:
			for i := range recs {
				recs[i].SrcAddr = flow.Addr(b[end-16 : end])
				end += size
			}
		case setDst6:
			for i := range recs {
				recs[i].DstAddr = flow.Addr(b[end-16 : end])
				end += size
			}
		case setNextHop4:
			for i := range recs {
				v := load(b, end) & mask
				if v != 0 {
					set4(&recs[i].NextHop, v)
				}
				end += size
			}
		case setNextHop6:
			for i := range recs {
				if hop := flow.Addr(b[end-16 : end]); !hop.IsZero() {
					recs[i].NextHop = hop
				}
				end += size
			}
		case setSrcMask:
			for i := range recs {
				recs[i].SrcMask = uint8(load(b, end) & mask)
				end += size
			}
		case setDstMask:
			for i := range recs {
				recs[i].DstMask = uint8(load(b, end) & mask)
				end += size
			}
		case setInIf:
			for i := range recs {
				recs[i].InIf = uint32(load(b, end) & mask)
				end += size
			}
		case setOutIf:
			for i := range recs {
				recs[i].OutIf = uint32(load(b, end) & mask)
				end += size
			}
		case setSrcAS:
			for i := range recs {
				recs[i].SrcAS = uint32(load(b, end) & mask)
				end += size
			}
		case setDstAS:
			for i := range recs {
				recs[i].DstAS = uint32(load(b, end) & mask)
				end += size
			}
		case setVLAN:
			for i := range recs {
				recs[i].VLAN = uint16(load(b, end)&mask) & 0xfff
				end += size
			}
		case setDirection:
			for i := range recs {
				recs[i].Direction = direction(load(b, end) & mask)
				end += size
			}
		case setEndReason:
			for i := range recs {
				recs[i].EndReason = flow.EndReason(load(b, end) & mask)
				end += size
			}
		case setStartMs:
			for i := range recs {
				recs[i].Start = milliseconds(load(b, end) & mask)
				end += size
			}
		case setEndMs:
			for i := range recs {
				recs[i].End = milliseconds(load(b, end) & mask)
				end += size
			}
		case setStartSec:
			for i := range recs {
				recs[i].Start = seconds(load(b, end) & mask)
				end += size
			}
		case setEndSec:
			for i := range recs {
				recs[i].End = seconds(load(b, end) & mask)
				end += size
			}
		case setStartNTP:
			for i := range recs {
				recs[i].Start = ntp(load(b, end) & mask)
				end += size
			}
		case setEndNTP:
			for i := range recs {
				recs[i].End = ntp(load(b, end) & mask)
				end += size
			}
		case setStartUptime:
			for i := range recs {
				recs[i].Start = since(c.export, c.uptime, uint32(load(b, end)&mask))
				end += size
			}
		case setEndUptime:
			for i := range recs {
				recs[i].End = since(c.export, c.uptime, uint32(load(b, end)&mask))
				end += size
			}
		case setStartDelta:
			for i := range recs {
				recs[i].Start = c.delta(load(b, end) & mask)
				end += size
			}
		case setEndDelta:
			for i := range recs {
				recs[i].End = c.delta(load(b, end) & mask)
				end += size
			}
		case setCopies:
			for i := range recs {
				if load(b, end)&mask != 0 {
					recs[i].Marks |= flow.MarkDuplicate
				}
				end += size
			}
		case setICMPLast:
			for i := range recs {
				// Zero is a type and a code too, unless the ports are as those
				// devices send them that have them there: source port 0.
				if v := load(b, end) & mask; isICMP(recs[i].Protocol) && (v != 0 || recs[i].SrcPort != 0) {
					recs[i].DstPort = uint16(v)
				}
				end += size
			}
		case setFrame, setIPHeader, setText:
			s.keep(o, b[end-int(o.width):end])
		default:
			s.set(o, load(b, end)&mask, c)
		}
	}
}

// saturated is from what value on a counter that is all ones is one that could not
// count further: those of fewer than four octets are too small to tell.
const saturated = 1<<32 - 1

// markSaturated marks a record whose counter is the largest that its field can say.
// One of eight octets is clamped, and marked so, when its row is made.
func markSaturated(r *flow.Record, v, most uint64) {
	if v >= saturated && v == most {
		r.Marks |= flow.MarkClamped
	}
}

// load returns the eight octets that end at b[end].
func load(b []byte, end int) uint64 { return binary.BigEndian.Uint64(b[end-8 : end]) }

// direction is IANA flowDirection plus one; what is neither is not said.
func direction(v uint64) uint8 {
	if v > 1 {
		return 0
	}
	return uint8(v) + 1
}

// keep keeps octets for finish. They are the message's, as long as the scratch
// is in use.
func (s *scratch) keep(o *op, b []byte) {
	if o.set == setText {
		s.texts[o.slot-slotInterfaceName] = b
		return
	}
	s.section, s.isFrame = b, o.set == setFrame
}

// set keeps a value for finish.
func (s *scratch) set(o *op, v uint64, c *clocks) {
	switch o.set {
	case setSubject:
		switch o.slot {
		case slotVRF:
			s.vrf = v
		case slotDomain:
			s.domain = v
		default:
			s.application = v
		}
	case setProcess:
		s.process = v
	case setTotal:
		s.totals[o.slot-slotTotals] = v
		s.said |= 1 << (o.slot - slotTotals)
	case setProbability:
		s.rate = probability(v, int(o.width))
	case setSrc4Dual:
		s.src4 = uint32(v)
	case setDst4Dual:
		s.dst4 = uint32(v)
	case setSrcMaskDual:
		s.srcMask4 = uint8(v)
	case setDstMaskDual:
		s.dstMask4 = uint8(v)
	case setIPVersion:
		s.version = uint8(v)
	case setICMP:
		s.icmp |= uint16(v)
	case setICMPType:
		s.icmp |= uint16(v) << 8
		s.icmpApart = true // also when it is 0: some put an identifier in the port
	case setICMPCode:
		s.icmp |= uint16(v) & 0xff
	case setInit:
		s.init = milliseconds(v)
	case setStartInit:
		s.upStart = uint32(v)
	case setEndInit:
		s.upEnd = uint32(v)
	case setDurationMs:
		s.duration = milliseconds(v)
	case setDurationUs:
		s.duration = milliseconds(v / 1000)
	case setRate:
		s.rate = v
	case setInterval:
		s.interval = v
	case setSpace:
		s.space = v
	case setSize:
		s.size = v
	case setPopulation:
		s.population = v
	case setSelector:
		s.selector = v
	case setScopeInterface:
		s.scopeInterface |= v
	case setRevBytes:
		s.rev.bytes = v
		s.rev.saturated = s.rev.saturated || v >= saturated && v == o.mask
	case setRevPackets:
		s.rev.packets = v
		s.rev.saturated = s.rev.saturated || v >= saturated && v == o.mask
	case setRevTOS:
		s.rev.tos = uint8(v)
	case setRevTCPFlags:
		s.rev.tcpFlags = flow.TCPFlags(v)
	case setRevVLAN:
		s.rev.vlan = uint16(v) & 0xfff
	case setRevICMP:
		s.rev.icmp = uint16(v)
	case setRevStartMs:
		s.rev.start = milliseconds(v)
	case setRevEndMs:
		s.rev.end = milliseconds(v)
	case setRevStartSec:
		s.rev.start = seconds(v)
	case setRevEndSec:
		s.rev.end = seconds(v)
	case setRevStartNTP:
		s.rev.start = ntp(v)
	case setRevEndNTP:
		s.rev.end = ntp(v)
	case setRevStartUptime:
		s.rev.start = c.sinceInit(uint32(v))
	case setRevEndUptime:
		s.rev.end = c.sinceInit(uint32(v))
	case setRevStartDelta:
		s.rev.start = c.delta(v)
	case setRevEndDelta:
		s.rev.end = c.delta(v)
	}
}
