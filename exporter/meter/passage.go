package meter

import (
	"hash/maphash"

	"flowtally/exporter/packet"
	"flowtally/flow"
)

const (
	// passageTime is how late a packet may be seen on its next interface: what a
	// router's queue holds back at most.
	passageTime = 500 * flow.Millisecond
	// passageBytes is how much of a packet is compared, from its IP header on, and
	// passageLeast how much must be there of one that is longer: addresses, ports and
	// what tells a stream's packets apart.
	passageBytes = 128
	passageLeast = 16
	// passageSets times passageWays packets are remembered, in 160 KiB; a set that is
	// full forgets its oldest.
	passageSets = 512
	passageWays = 4
	// passageTrial is how many packets are remembered before there is a second
	// interface, or direction: without one nothing can pass.
	passageTrial = 64
)

// Passages recognises a packet that a capture of several interfaces shows on each
// that it passes: entering a router by one and leaving it by another, leaving one
// host and entering the next. It is equal from the IP header on but for the TTL and
// the header's checksum, and seen somewhere else.
//
// A sender may send equal packets, so each sighting answers one other: of two that
// entered and two that left, two passed. Unlike Duplicates, whose copies are of one
// place, it therefore needs no identification.
//
// The zero value is ready to use; it is for one goroutine and takes its memory when
// the first packet comes whose direction is known.
type Passages struct {
	// Loops says that a packet may leave and enter by the same interface, the
	// loopback, as it does in a capture of all interfaces.
	Loops bool

	seed    maphash.Seed
	sets    [][passageWays]passage
	first   place
	several bool // there were packets of another place than the first
	seen    int
}

// place is an interface and a direction.
type place struct {
	inIf, outIf uint32
	direction   uint8
}

// passage is a packet seen lately.
type passage struct {
	hash   uint64
	at     flow.Time
	place  place
	passed bool // another sighting answered this one
	origin origin
}

// number is that of the interface.
func (p place) number() uint32 { return max(p.inIf, p.outIf) }

// origin is what of its first sighting a packet's flow depends on.
type origin struct {
	inIf, outIf uint32
	overlay     uint32
	vlan        uint16
}

// passes reports whether a packet that was seen in one place may be that which is seen
// in another.
func (d *Passages) passes(from, to place) bool {
	return from.number() != to.number() || d.Loops && from.direction != to.direction
}

// Seen reports whether the packet pkt of the given direction, whose bytes from the
// IP header on are ip as far as they were captured, was seen before in another
// place. Then it gives pkt the interfaces, VLAN and overlay of the first sighting,
// and returns the interface by which the packet now left, 0 where it did not. Of a
// packet whose interface or direction is not known nothing is said: two interfaces of
// a file may see equal packets for many reasons.
func (d *Passages) Seen(pkt *packet.Packet, ip []byte, direction uint8, now flow.Time) (left uint32, again bool) {
	here := place{pkt.InIf, pkt.OutIf, direction}
	if direction == 0 || here.number() == 0 {
		return 0, false
	}
	if !d.several {
		if d.seen == 0 {
			d.first = here
		}
		d.several = here != d.first
		if d.seen++; !d.several && d.seen > passageTrial {
			return 0, false
		}
	}
	header := 20
	if pkt.IPVersion == 6 {
		header = 40
	}
	length := int(max(pkt.Length, uint32(header)))
	if len(ip) < min(length, header+passageLeast) {
		return 0, false
	}
	if d.sets == nil {
		d.seed = maphash.MakeSeed()
		d.sets = make([][passageWays]passage, passageSets)
	}
	var head [passageBytes]byte
	n := copy(head[:min(passageBytes, length)], ip)
	if pkt.IPVersion == 4 {
		head[8], head[10], head[11] = 0, 0, 0
	} else {
		head[7] = 0
	}
	hash := maphash.Bytes(d.seed, head[:n])
	set := &d.sets[hash%passageSets]
	place := &set[0]
	var before *passage
	for i := range set {
		p := &set[i]
		if p.at < place.at {
			place = p
		}
		if p.hash == hash && !p.passed && d.passes(p.place, here) && max(p.at-now, now-p.at) <= passageTime && (before == nil || p.at < before.at) {
			before = p
		}
	}
	mine := passage{hash: hash, at: now, place: here, origin: origin{pkt.InIf, pkt.OutIf, pkt.Overlay, pkt.VLAN}}
	if before != nil {
		before.passed = true
		mine.origin = before.origin
		left = pkt.OutIf
		o := &mine.origin
		pkt.InIf, pkt.OutIf, pkt.Overlay, pkt.VLAN = o.inIf, o.outIf, o.overlay, o.vlan
	}
	*place = mine
	return left, before != nil
}
