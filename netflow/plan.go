package netflow

import "flowtally/flow"

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
	texts            [slotSystemName - slotInterfaceName + 1][]byte
	application, vrf uint64
	domain           uint64 // whom the record is about, 0 when it does not say
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
