package meter

import (
	"bytes"

	"flowtally/exporter/packet"
	"flowtally/flow"
)

const (
	// duplicateWindow is within how many packets a copy is recognised.
	duplicateWindow = 8
	// duplicateTime is how late a copy may be that has an identification: above
	// what a mirror and a router need, below the second after which most hosts
	// send the same thing again.
	duplicateTime = 500 * flow.Millisecond
	// duplicateTime6 is that of an IPv6 packet, which has none: programs send
	// the same few octets ten times a second, and mirrors are quicker.
	duplicateTime6 = 10 * flow.Millisecond
	// duplicateOctets is how much of a packet is compared, from its IP header on:
	// all headers and the transport's checksum over the rest.
	duplicateOctets = 128
)

// Duplicates recognises copies of a packet, as mirrors make them that see it on
// its way in and on its way out: equal from the IP header on but for what a
// router changes (TTL or hop limit, IPv4 header checksum), among the last eight
// packets and at most half a second old; ten milliseconds for IPv6, whose packets
// have no identification that tells a copy from the same thing said again.
//
// A packet that its sender might well have sent twice is never taken for a copy:
// IPv4 with identification 0, and IPv6 whose transport carries nothing, as two
// acknowledgements do. Nor is IPv6 that was captured without its transport's
// checksum, because what would tell it apart is not there. So copies of those are
// not recognised.
//
// The zero value is ready to use; it is for one goroutine and takes 1.4 KiB.
type Duplicates struct {
	// One place more than the window: the packet that is asked about.
	ids  [duplicateWindow + 1]uint64 // identification and length; 0 matches nothing
	ring [duplicateWindow + 1]recent
	next int
}

// recent is a packet seen lately, masked.
type recent struct {
	at   flow.Time
	n    int
	head [duplicateOctets]byte
}

// Seen reports whether the packet pkt, whose octets from the IP header on are ip
// as far as they were captured, is a copy of one it was asked about before.
func (d *Duplicates) Seen(pkt *packet.Packet, ip []byte, now flow.Time) bool {
	place := d.next
	d.next++
	if d.next == len(d.ids) {
		d.next = 0
	}
	d.ids[place] = 0
	if !distinct(pkt, ip) {
		return false
	}
	r := &d.ring[place]
	r.at = now
	r.n = copy(r.head[:min(duplicateOctets, int(pkt.Length))], ip)
	if pkt.IPVersion == 4 {
		r.head[8], r.head[10], r.head[11] = 0, 0, 0
	} else {
		r.head[7] = 0
	}
	id := uint64(pkt.FragID)<<32 | uint64(pkt.Length)
	found := false
	for i := range d.ids {
		if d.ids[i] == id && r.copies(&d.ring[i]) {
			found = true
			break
		}
	}
	d.ids[place] = id
	return found
}

// copies reports whether r is a copy of o.
func (r *recent) copies(o *recent) bool {
	late := duplicateTime
	if r.head[0]>>4 == 6 {
		late = duplicateTime6
	}
	return r.at-o.at <= late && o.at-r.at <= late &&
		bytes.Equal(o.head[:o.n], r.head[:r.n])
}

// distinct reports whether no sender sends two packets that are equal in all
// octets within the window, so that an equal one is a copy.
func distinct(pkt *packet.Packet, ip []byte) bool {
	if pkt.IPVersion == 4 {
		return pkt.FragID != 0 && len(ip) >= 20 && pkt.Length >= 20
	}
	const header = 40
	if len(ip) < header || pkt.Length <= header {
		return false
	}
	if pkt.IsFragment() {
		return true
	}
	// All that is compared was captured.
	whole := len(ip) >= min(duplicateOctets, int(pkt.Length))
	next := flow.Protocol(ip[6])
	switch {
	case next != pkt.Protocol:
		// Behind extension headers: where the transport begins is not known.
		return whole && !pkt.HasPorts()
	case next == flow.TCP:
		const checksum, dataOffset = header + 16, header + 12
		return len(ip) >= checksum+2 && pkt.Length > header+uint32(ip[dataOffset]>>4)*4
	case next == flow.UDP:
		return len(ip) >= header+8 && pkt.Length > header+8
	}
	return whole
}
