package capture

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"golang.org/x/sys/unix"
)

const (
	queueBatch = 32 // packets of one system call
	// queueFrame is how much of a frame is kept: all of what the wire has, and
	// of super-packets of more than 64 KiB the headers and then some.
	queueFrame = 65536 + 256
	// queueRoom stands before each frame in its buffer for a virtioHeader and a
	// VLAN tag, the one where the other was.
	queueRoom    = 16
	queueControl = 16 // words of ancillary data a packet
)

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// queue is a packet socket that packets are copied out of, several at a time
// (recvmmsg(2)): what there is without a ring.
type queue struct {
	*socket
	stride   int
	frames   []byte // queueBatch buffers of stride octets
	controls [queueBatch][queueControl]uint64
	iovecs   [queueBatch]unix.Iovec
	messages [queueBatch]message
	from     [queueBatch]unix.RawSockaddrLinklayer
	next, n  int // messages that were received and not yet given
	one      [1]Packet
}

// newQueue makes a socket a queue of about so many octets.
func newQueue(s *socket, c *InterfaceConfig) (*queue, error) {
	q := &queue{socket: s, stride: queueRoom + int(min(s.snap, queueFrame)+7)&^7}
	q.frames = make([]byte, queueBatch*q.stride)
	for _, option := range []struct {
		level, name int
		text        string
	}{
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, "timestamps"},
		{unix.SOL_PACKET, unix.PACKET_AUXDATA, "PACKET_AUXDATA"},
	} {
		if err := unix.SetsockoptInt(s.fd, option.level, option.name, 1); err != nil {
			return nil, fmt.Errorf("%s: %w", option.text, err)
		}
	}
	// The first needs CAP_NET_ADMIN, the second has its limit in
	// net.core.rmem_max.
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, c.BufferBytes) != nil {
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, c.BufferBytes)
	}
	s.mode.BufferBytes, _ = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return q, nil
}

func (q *queue) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := q.ReadBatch(q.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return q.one[0].Data, q.one[0].info(), nil
}

// ReadBatch gives packets of one system call.
func (q *queue) ReadBatch(dst []Packet) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	if q.next == q.n {
		if err := q.receive(); err != nil {
			return 0, err
		}
	}
	n := min(len(dst), q.n-q.next)
	for i := range dst[:n] {
		q.read(&dst[i])
	}
	return n, nil
}

// receive waits for packets and takes those that are there.
func (q *queue) receive() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed.Load() {
			return q.errClosed()
		}
		for i := range q.messages {
			room := queueRoom
			if q.vnet {
				room -= virtioSize
			}
			buffer := q.frames[i*q.stride+room : (i+1)*q.stride]
			q.iovecs[i].Base = &buffer[0]
			q.iovecs[i].SetLen(len(buffer))
			m := &q.messages[i]
			m.header = unix.Msghdr{
				Name: (*byte)(unsafe.Pointer(&q.from[i])), Namelen: unix.SizeofSockaddrLinklayer,
				Iov: &q.iovecs[i], Control: (*byte)(unsafe.Pointer(&q.controls[i])),
			}
			m.header.SetIovlen(1)
			m.header.SetControllen(queueControl * 8)
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(q.fd), uintptr(unsafe.Pointer(&q.messages[0])), queueBatch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			if q.down {
				q.look()
			}
			q.next, q.n = 0, int(n)
			return nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			if q.gone != nil {
				return q.gone
			}
			if err := q.wait(func() bool { return false }); err != nil {
				return err
			}
		case unix.ENETDOWN:
			return q.wentDown()
		default:
			return fmt.Errorf("capture: %s: recvmmsg: %w", q.name, errno)
		}
	}
}

// read reads the next of the packets received.
func (q *queue) read(p *Packet) {
	m := &q.messages[q.next]
	start := q.next*q.stride + queueRoom
	control := unsafe.Slice((*byte)(unsafe.Pointer(&q.controls[q.next])), queueControl*8)[:m.header.Controllen]
	direction := ofPacketType(q.from[q.next].Pkttype)
	q.next++
	captured := int(m.length)
	if q.vnet {
		captured = max(0, captured-virtioSize)
	}
	*p = Packet{Length: uint32(captured), Link: q.link}
	p.seen(uint32(q.index), direction)
	captured = min(captured, int(q.snap))
	var aux unix.TpacketAuxdata
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		length := int(h.Len)
		if length < unix.CmsgLen(0) || length > len(control) {
			break
		}
		value := control[unix.CmsgLen(0):length]
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(value) >= int(unsafe.Sizeof(unix.Timespec{})):
			p.Time = (*unix.Timespec)(unsafe.Pointer(&value[0])).Nano()
		case h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(value) >= int(unsafe.Sizeof(aux)):
			aux = *(*unix.TpacketAuxdata)(unsafe.Pointer(&value[0]))
			p.Length = max(p.Length, aux.Len)
		}
		control = control[min(len(control), unix.CmsgSpace(len(value))):]
	}
	if p.Time == 0 {
		p.Time = time.Now().UnixNano()
	}
	if q.vnet {
		if v := (*virtioHeader)(unsafe.Pointer(&q.frames[start-virtioSize])); v.gsoType != 0 {
			v.segments(p, q.frames[start:start+captured])
		}
	}
	if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 && q.link == linkEthernet && captured >= 12 {
		tpid := uint16(unix.ETH_P_8021Q)
		if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = aux.Vlan_tpid
		}
		start -= tagSize
		captured += tagSize
		putTag(p, q.frames[start:start+captured], tpid, aux.Vlan_tci)
	}
	p.Data = q.frames[start : start+captured : start+captured]
}
