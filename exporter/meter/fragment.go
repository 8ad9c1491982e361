package meter

import (
	"hash/maphash"

	"flowtally/exporter/packet"
	"flowtally/flow"
)

const (
	// fragmentTimeout is how long the ports of a first fragment are kept for
	// those that follow it.
	fragmentTimeout = 15 * flow.Second
	// fragmentSets times fragmentWays datagrams are known at a time, in 256 KiB
	// of memory; a set that is full forgets its oldest.
	fragmentSets = 1024
	fragmentWays = 4
)

// datagram is what the fragments of one packet have in common (RFC 791 §3.2,
// RFC 8200 §4.5). The protocol belongs to it in IPv4 only: what a later IPv6
// fragment names is the header behind the Fragment header, which in the first one
// may be another extension header in front of the transport's.
type datagram struct {
	src, dst flow.Addr
	id       uint32
	inIf     uint32
	overlay  uint32
	vlan     uint16
	version  uint8
	protocol flow.Protocol
}

// Fragments remembers which ports the first fragment of a datagram had, and which
// transport, and lends them to those that follow it. It is a cache of fixed size;
// its sets are chosen by a seeded hash. The zero value is ready to use, by one
// goroutine; it takes its memory when the first fragment comes.
type Fragments struct {
	seed maphash.Seed
	sets [][fragmentWays]fragment
}

type fragment struct {
	datagram
	upper            flow.Protocol
	srcPort, dstPort uint16
	until            flow.Time
}

// Lend gives key, that of the fragment pkt, the transport and the ports of the
// first fragment, where pkt is not that itself. It reports false, and leaves key,
// whose ports are 0, where the first is unknown or comes later: a meter that held
// a packet back for it would have to bound that too, and be late with all others.
func (f *Fragments) Lend(key *flow.Key, pkt *packet.Packet, clock flow.Time) bool {
	if f.sets == nil {
		f.seed = maphash.MakeSeed()
		f.sets = make([][fragmentWays]fragment, fragmentSets)
	}
	d := datagram{
		src: pkt.SrcAddr, dst: pkt.DstAddr, id: pkt.FragID,
		inIf: key.InIf, overlay: pkt.Overlay, vlan: pkt.VLAN, version: pkt.IPVersion, protocol: pkt.Protocol,
	}
	if d.version == 6 {
		d.protocol = 0
	}
	set := &f.sets[maphash.Comparable(f.seed, d)%fragmentSets]

	if pkt.FragOffset == 0 {
		victim := &set[0]
		for i := range set {
			if set[i].datagram == d {
				victim = &set[i]
				break
			}
			if set[i].until < victim.until {
				victim = &set[i]
			}
		}
		*victim = fragment{datagram: d, upper: pkt.Protocol, srcPort: pkt.SrcPort, dstPort: pkt.DstPort, until: clock + fragmentTimeout}
		return true
	}

	for i := range set {
		if set[i].datagram == d && set[i].until > clock {
			key.Protocol = set[i].upper
			key.SrcPort, key.DstPort = set[i].srcPort, set[i].dstPort
			return true
		}
	}
	return false
}
