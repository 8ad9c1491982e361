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
	reset          bool      // TCP: ends with a reset instead of good-byes
	seq            [2]uint32 // TCP, the client's and the server's next
}

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

const (
	// mtu is what an Ethernet carries, in octets of IP.
	mtu = 1500
	// segmentMax is the payload of a full TCP segment over IPv4; over IPv6, whose
	// header is longer, it is segmentMax6.
	segmentMax  = mtu - 20 - 20
	segmentMax6 = mtu - 40 - 20

	// hello and bye are how many packets TCP needs before and after the talking.
	hello, bye = 3, 3
	// turnaround is the mean number of ns between those.
	turnaround = 2 * ms
	// resetOneIn is how few TCP conversations end with a reset.
	resetOneIn = 25
)

// synOptions are what a SYN offers: a segment size (set for IPv4 and IPv6 apart), a
// window scale of 8 and selective acknowledgements.
var synOptions = [12]byte{2, 4, 0, 0, 1, 3, 3, 8, 1, 1, 4, 2}

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
	gap := acts[t.act].gap
	if acts[t.act].protocol == tcp && (t.sent < hello || t.left < bye) {
		gap = min(gap, turnaround)
	}
	return s.exponential(gap)
}

// segment says what the next packet of a TCP conversation is: who sends it, how much
// payload it has and which flags. They shake hands, talk, and say good-bye. Talking,
// one side has much to say, in full segments up to an answer's last, and the other one
// asks and acknowledges.
func (t *talk) segment(a *act) (back bool, size span, flags byte) {
	end := int32(bye)
	if t.reset {
		end = 1
	}
	switch {
	case t.sent == 0:
		return false, span{}, syn
	case t.sent == 1:
		return true, span{}, syn | ack
	case t.sent == 2:
		return false, span{}, ack
	case t.left <= end && t.reset:
		return false, span{}, rst | ack
	case t.left <= end && t.left == 1:
		return false, span{}, ack
	case t.left <= end:
		return t.left == 2, span{}, fin | ack
	}
	k := t.sent - hello
	if k%a.turn == 0 {
		if k/a.turn%a.every == 0 {
			return a.upload, a.ask, psh | ack
		}
		return a.upload, span{}, ack
	}
	if (k+1)%(a.turn*a.every) == 0 || t.left == end+1 {
		return !a.upload, a.answer, psh | ack
	}
	full := int32(segmentMax)
	if t.v6 {
		full = segmentMax6
	}
	return !a.upload, span{full, full}, ack
}

// write puts the next packet of t into the frame and returns its length on the wire,
// Ethernet header included, and whether it is the server's. One that is not mine is passed
// over: what follows from it for later ones is as if it had been written.
func (s *Source) write(t *talk, mine bool) (length int, fromServer bool) {
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
		switch {
		case protocol == tcp:
			back, size, flags = t.segment(a)
		case a.turn > 1 && t.sent%a.turn != 0:
			back, size = true, a.answer
		default:
			size = a.ask
		}
	}
	payload := int(size.lo) + int(s.within(int64(size.hi-size.lo)+1))

	if !mine {
		if !t.v6 {
			s.ident++
		}
		if protocol == tcp {
			t.say(back, payload, flags)
		}
		return 0, back
	}

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
		if flags&syn != 0 {
			header += len(synOptions)
		}
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
		own, other := 0, 1
		if back {
			own, other = 1, 0
		}
		binary.BigEndian.PutUint16(h[0:], sport)
		binary.BigEndian.PutUint16(h[2:], dport)
		binary.BigEndian.PutUint32(h[4:], t.seq[own])
		if flags&ack != 0 {
			binary.BigEndian.PutUint32(h[8:], t.seq[other])
		}
		h[12], h[13] = byte(header/4)<<4, flags
		if flags&syn != 0 {
			copy(h[20:], synOptions[:])
			most := uint16(segmentMax)
			if t.v6 {
				most = segmentMax6
			}
			binary.BigEndian.PutUint16(h[22:], most)
		}
		binary.BigEndian.PutUint16(h[14:], 0xfaf0)
		binary.BigEndian.PutUint16(h[16:], fold(add(sum, h)))
		t.say(back, payload, flags)
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
	return max(at+segment, 60), back
}

// say moves the sequence number of who has said so much.
func (t *talk) say(back bool, payload int, flags byte) {
	own := 0
	if back {
		own = 1
	}
	t.seq[own] += uint32(payload)
	if flags&(syn|fin) != 0 {
		t.seq[own]++
	}
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
