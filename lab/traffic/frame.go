package traffic

import "encoding/binary"

// talk is a conversation that goes on: an act's when act is not negative, else the
// stream of index -1-act.
type talk struct {
	act            int32
	client, server int32
	sent, left     int32 // packets; a stream never has any left to count
	port           uint16
	v6             bool
	seq            [2]uint32 // TCP, the client's and the server's next
}

// TCP flags.
const (
	fin = 1 << iota
	syn
	_
	psh
	ack
)

// advance moves t past the packet that was written and returns the ns until its next
// one, negative when there is none.
func (s *Source) advance(t *talk) int64 {
	t.sent++
	if t.act < 0 {
		m := &streams[-1-t.act]
		return s.exponential(int64(1e9 / (m.base + m.swing*s.levels[m.rhythm])))
	}
	if t.left--; t.left <= 0 {
		return -1
	}
	return s.exponential(acts[t.act].gap)
}

// write puts the next packet of t into the frame and returns its length on the wire,
// Ethernet header included.
func (s *Source) write(t *talk) int {
	var (
		protocol uint8
		port     uint16
		size     span
		back     bool // from server to client
		flags    byte = ack
	)
	if t.act < 0 {
		m := &streams[-1-t.act]
		protocol, port, size = m.protocol, m.port, m.size
		if m.acknowledged > 0 && t.sent%m.acknowledged == m.acknowledged-1 {
			back, size = true, span{}
		}
	} else {
		a := &acts[t.act]
		protocol, port = a.protocol, a.port
		back = a.turn > 1 && t.sent%a.turn != 0
		if back {
			size = a.down
		} else {
			size = a.up
		}
		if protocol == tcp {
			// Shake hands, talk, say good-bye: two packets each at the ends.
			switch {
			case t.sent == 0:
				back, size, flags = false, span{}, syn
			case t.sent == 1:
				back, size, flags = true, span{}, syn|ack
			case t.left == 2:
				back, size, flags = false, span{}, fin|ack
			case t.left == 1:
				back, size, flags = true, span{}, fin|ack
			case size.hi > 0:
				flags = psh | ack
			}
		}
	}
	payload := int(size.lo) + int(s.within(int64(size.hi-size.lo)+1))

	src, dst := &hosts[t.client], &hosts[t.server]
	sport, dport := t.port, port
	if back {
		src, dst, sport, dport = dst, src, dport, sport
	}
	f := &s.frame
	clear(f[14:])
	copy(f[0:6], dst.mac[:])
	copy(f[6:12], src.mac[:])

	header := 8
	if protocol == tcp {
		header = 20
	}
	segment := header + payload
	at := 14
	var sum uint32 // of the pseudo-header
	if t.v6 {
		if protocol == icmp4 {
			protocol = icmp6
		}
		binary.BigEndian.PutUint16(f[12:], 0x86dd)
		ip := f[at : at+40]
		ip[0] = 0x60
		binary.BigEndian.PutUint16(ip[4:], uint16(segment))
		ip[6], ip[7] = protocol, 64
		copy(ip[8:24], src.v6[:])
		copy(ip[24:40], dst.v6[:])
		sum = add(0, ip[8:40])
		at += 40
	} else {
		binary.BigEndian.PutUint16(f[12:], 0x0800)
		ip := f[at : at+20]
		s.ident++
		ip[0] = 0x45
		binary.BigEndian.PutUint16(ip[2:], uint16(20+segment))
		binary.BigEndian.PutUint16(ip[4:], s.ident)
		ip[6] = 0x40 // do not fragment
		ip[8], ip[9] = 64, protocol
		if dst.v4[0] >= 224 {
			ip[6], ip[8] = 0, 8
		}
		copy(ip[12:16], src.v4[:])
		copy(ip[16:20], dst.v4[:])
		binary.BigEndian.PutUint16(ip[10:], fold(add(0, ip)))
		sum = add(0, ip[12:20])
		at += 20
	}
	sum += uint32(protocol) + uint32(segment)

	// The payload is zeros: it adds nothing to a checksum.
	h := f[at : at+header]
	switch protocol {
	case tcp:
		mine, theirs := 0, 1
		if back {
			mine, theirs = 1, 0
		}
		binary.BigEndian.PutUint16(h[0:], sport)
		binary.BigEndian.PutUint16(h[2:], dport)
		binary.BigEndian.PutUint32(h[4:], t.seq[mine])
		if flags&ack != 0 {
			binary.BigEndian.PutUint32(h[8:], t.seq[theirs])
		}
		h[12], h[13] = 5<<4, flags
		binary.BigEndian.PutUint16(h[14:], 0xfaf0)
		binary.BigEndian.PutUint16(h[16:], fold(add(sum, h)))
		t.seq[mine] += uint32(payload)
		if flags&(syn|fin) != 0 {
			t.seq[mine]++
		}
	case udp:
		binary.BigEndian.PutUint16(h[0:], sport)
		binary.BigEndian.PutUint16(h[2:], dport)
		binary.BigEndian.PutUint16(h[4:], uint16(segment))
		c := fold(add(sum, h))
		if c == 0 {
			c = 0xffff // RFC 768: zero would say that there is none
		}
		binary.BigEndian.PutUint16(h[6:], c)
	default: // echo request and reply
		switch {
		case protocol == icmp4 && !back:
			h[0] = 8
		case protocol == icmp6 && !back:
			h[0] = 128
		case protocol == icmp6:
			h[0] = 129
		}
		binary.BigEndian.PutUint16(h[4:], t.port)
		binary.BigEndian.PutUint16(h[6:], uint16(t.sent/2))
		if protocol == icmp4 {
			sum = 0
		}
		binary.BigEndian.PutUint16(h[2:], fold(add(sum, h)))
	}
	// What an Ethernet frame holds at least, without its check sequence.
	return max(at+segment, 60)
}

// add adds the octets of b, an even number, to a one's complement sum.
func add(sum uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	return sum
}

// fold returns the Internet checksum (RFC 1071) of a sum.
func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
