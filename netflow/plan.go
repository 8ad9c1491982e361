package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// setter says what a field's value does to the record. The numeric ones get the
// value as an integer, whatever its width (reduced-size encoding, RFC 7011
// §6.2); those of addresses of 16 octets get the octets.
type setter uint8

const (
	setNothing setter = iota
	setBytes
	setPackets
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

// The phases of a plan: steps that go to the record, the one that looks at what
// they left there, those that go to the scratch.
const (
	phaseDirect = iota
	phaseLast
	phaseScratch
)

// phase returns when a step is due.
func (s setter) phase() int {
	switch {
	case s < setICMPLast:
		return phaseDirect
	case s == setICMPLast:
		return phaseLast
	}
	return phaseScratch
}

// op is one step of a plan. The value of a field of up to eight octets is read
// as the eight octets that end with it, of which mask keeps its own: one load
// for all widths, and always inside the message, whose header comes first.
type op struct {
	mask uint64
	end  uint16 // first octet after the field, from the record's start
	// width is that of the field, for the setters of octets.
	width uint16
	set   setter
	// slot is for the setters that serve several.
	slot slot
}

// maskOf returns the mask of a field of width octets; wider fields keep their
// last eight.
func maskOf(width int) uint64 {
	switch {
	case width <= 0:
		return 0
	case width >= 8:
		return ^uint64(0)
	}
	return 1<<(8*width) - 1
}

// clocks is how a message states times.
type clocks struct {
	export flow.Time
	uptime uint32 // v9: at export
	init   flow.Time
}

// since returns the time at which an uptime clock in 32 bits of milliseconds
// showed v when it shows uptime at export. A flow may have ended up to an hour
// after that; otherwise it was before, by up to 49 days.
func since(export flow.Time, uptime, v uint32) flow.Time {
	d := uptime - v
	if ahead := -d; ahead <= uint32(flow.Hour) {
		return export + flow.Time(ahead)
	}
	return export - flow.Time(d)
}

// repair mends the times of records whose uptimes cannot be. A clock that shows 0 is
// not running: what it says is how long the flow was, and it was exported when it
// had ended. Of one that has run for long, a flow at 0 has no times, and nothing
// ended longer ago than a flow may last.
func (c *clocks) repair(recs []flow.Record) {
	boot, oldest := c.export-flow.Time(c.uptime), c.export-flow.MaxDuration
	for i := range recs {
		r := &recs[i]
		switch {
		case c.uptime == 0:
			if r.Start != c.export || r.End != c.export {
				r.Start, r.End = c.export-min(flow.Time(uint32(r.End-r.Start)), flow.MaxDuration), c.export
				r.Marks |= flow.MarkTimeRepaired
			}
		case r.Start == boot && r.End == boot && c.uptime > uint32(flow.Hour), r.End < oldest:
			r.Start, r.End = 0, 0 // RepairTime makes that the time of receipt
		}
	}
}

// seconds returns v seconds since 1970; what cannot be a date is "not said".
func seconds(v uint64) flow.Time {
	if v >= 1<<40 {
		return 0
	}
	return flow.Time(v) * flow.Second
}

// milliseconds returns v milliseconds since 1970; see seconds.
func milliseconds(v uint64) flow.Time {
	if v >= 1<<50 {
		return 0
	}
	return flow.Time(v)
}

// ntp returns the time of an NTP timestamp: seconds since 1900 and a fraction,
// 32 bits each (RFC 7011 §6.1.9 and §6.1.10). Seconds without the high bit are
// of the era that begins in 2036.
func ntp(v uint64) flow.Time {
	if v == 0 {
		return 0
	}
	sec := int64(v >> 32)
	if sec < 1<<31 {
		sec += 1 << 32
	}
	const epoch = 2208988800 // 1970 in seconds since 1900
	return flow.Time(sec-epoch)*flow.Second + flow.Time(v&0xffffffff*1000>>32)
}

// delta returns the time v microseconds before export (RFC 7011's
// flowStartDeltaMicroseconds).
func (c *clocks) delta(v uint64) flow.Time { return c.export - flow.Time(v/1000) }

// scratch is what of a record has to be seen whole before it means anything.
type scratch struct {
	src4, dst4         uint32
	srcMask4, dstMask4 uint8
	version            uint8
	icmp               uint16
	icmpApart          bool
	init               flow.Time
	upStart, upEnd     uint32
	duration           flow.Time

	rate, interval, space, size, population uint64
	selector                                uint64
	scopeInterface                          uint64

	// section is the beginning of a sampled packet.
	section []byte
	isFrame bool

	// Of options: names, what they are of, and totals.
	texts            [slotVRFName - slotInterfaceName + 1][]byte
	application, vrf uint64
	process          uint64
	totals           [totals]uint64
	said             Total

	rev struct {
		saturated      bool
		bytes, packets uint64
		start, end     flow.Time
		tcpFlags       flow.TCPFlags
		tos            uint8
		vlan           uint16
		icmp           uint16
	}
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
			most := uint64(0)
			for i := range recs {
				v := load(b, end) & mask
				recs[i].Bytes = v
				most = max(most, v)
				end += size
			}
			if most >= saturated && most == mask {
				markSaturated(recs, mask, func(r *flow.Record) uint64 { return r.Bytes })
			}
		case setPackets:
			most := uint64(0)
			for i := range recs {
				v := load(b, end) & mask
				recs[i].Packets = v
				most = max(most, v)
				end += size
			}
			if most >= saturated && most == mask {
				markSaturated(recs, mask, func(r *flow.Record) uint64 { return r.Packets })
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

// markSaturated marks the records whose counter is the largest that its field can
// say.
func markSaturated(recs []flow.Record, most uint64, of func(*flow.Record) uint64) {
	for i := range recs {
		if of(&recs[i]) == most {
			recs[i].Marks |= flow.MarkClamped
		}
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
		if o.slot == slotVRF {
			s.vrf = v
		} else {
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

// sinceInit returns the time of an uptime that counts from c.init (IPFIX, where
// the header has no uptime), and "not said" when that is not known.
func (c *clocks) sinceInit(v uint32) flow.Time {
	if c.init <= 0 {
		return 0
	}
	return since(c.export, uint32(c.export-c.init), v)
}

// maxRate is the largest N of 1:N: that of a column of 32 bits with a sign.
const maxRate = 1<<31 - 1

// samplingRate returns the N of 1:N that the sampling elements of a record
// state, 0 when they state none. A sampler that takes size of population or
// interval of interval+space has N rounded down; an interval alone is N, as
// most devices use it.
func (s *scratch) samplingRate(space bool) uint32 {
	n := s.rate
	switch {
	case s.size > 0 && s.population > 0:
		n = s.population / s.size
	case s.interval > 0 && space:
		n = (s.interval + s.space) / s.interval
	case s.interval > 0:
		n = s.interval
	}
	return uint32(min(n, maxRate))
}
