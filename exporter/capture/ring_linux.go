package capture

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"golang.org/x/sys/unix"
)

const (
	blockSize = 1 << 20 // of a ring; longer frames than it holds are cut
	tagSize   = 4       // octets of an 802.1Q header
)

// ringFrame has no meaning in TPACKET_V3, but it must divide a block. It is a
// variable for the test that has the kernel refuse a ring.
var ringFrame uint32 = 2048

// ring is a packet socket whose packets the kernel writes into blocks of memory
// that are mapped here (TPACKET_V3). A block is ours when it is full or old
// enough, and is given back when all of its packets were read.
type ring struct {
	*socket
	mem []byte

	// The reader's own: the block it is in, the packets left of it, the next.
	block int
	left  uint32
	at    uintptr // offset of the next packet's header in mem
	held  bool    // the block is ours to give back
	one   [1]Packet
}

// newRing maps a ring for a socket.
func newRing(s *socket, octets int) (*ring, error) {
	r := &ring{socket: s}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("TPACKET_V3, which needs Linux 3.2: %w", err)
	}
	// Room in front of each frame to put a VLAN tag back.
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_RESERVE, tagSize); err != nil {
		return nil, fmt.Errorf("reserve: %w", err)
	}
	blocks := max(2, (octets+blockSize-1)/blockSize)
	request := &unix.TpacketReq3{
		Block_size:     blockSize,
		Block_nr:       uint32(blocks),
		Frame_size:     ringFrame,
		Frame_nr:       uint32(blocks) * (blockSize / ringFrame),
		Retire_blk_tov: uint32(min(s.timeout, int(defaultTimeout/time.Millisecond))),
	}
	err := unix.SetsockoptTpacketReq3(s.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, request)
	if err == nil {
		r.mem, err = unix.Mmap(s.fd, 0, blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, fmt.Errorf("ring of %d MiB: %w", blocks*blockSize>>20, err)
	}
	s.mode.Ring, s.mode.BufferBytes = true, blocks*blockSize
	// The memory outlives Close, because the reader may still look at a packet;
	// it goes with the last reference to the ring.
	runtime.AddCleanup(r, func(mem []byte) { unix.Munmap(mem) }, r.mem)
	return r, nil
}

// header returns the head of the block the reader is in.
func (r *ring) header() *unix.TpacketHdrV1 {
	d := (*unix.TpacketBlockDesc)(unsafe.Pointer(&r.mem[r.block*blockSize]))
	return (*unix.TpacketHdrV1)(unsafe.Pointer(&d.Hdr))
}

func (r *ring) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := r.ReadBatch(r.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return r.one[0].Data, r.one[0].info(), nil
}

// ReadBatch gives packets of one block of the ring.
func (r *ring) ReadBatch(dst []Packet) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	for r.left == 0 {
		if err := r.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := min(len(dst), int(r.left))
	for i := range dst[:n] {
		r.read(&dst[i])
	}
	return n, nil
}

// ringAddress is where the socket address of a packet lies behind the beginning of
// its header: behind the header, which is aligned (TPACKET_ALIGN).
const ringAddress = (unix.SizeofTpacket3Hdr + 15) &^ 15

// read reads the next packet of the block.
func (r *ring) read(p *Packet) {
	h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&r.mem[r.at]))
	start := r.at + uintptr(h.Mac)
	captured := uintptr(min(h.Snaplen, r.snap))
	p.Time = int64(h.Sec)*1e9 + int64(h.Nsec)
	p.Length, p.Link = h.Len, r.link
	p.seen(uint32(r.index), ofPacketType((*unix.RawSockaddrLinklayer)(unsafe.Pointer(&r.mem[r.at+ringAddress])).Pkttype))
	p.Segments, p.Headers = 0, 0
	if r.vnet {
		v := (*virtioHeader)(unsafe.Pointer(&r.mem[start-virtioSize]))
		if v.gsoType != 0 {
			v.segments(p, r.mem[start:start+captured])
		}
	}
	if h.Status&unix.TP_STATUS_VLAN_VALID != 0 && r.link == linkEthernet && captured >= 12 {
		tpid := uint16(unix.ETH_P_8021Q)
		if h.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = h.Hv1.Vlan_tpid
		}
		start -= tagSize
		captured += tagSize
		putTag(p, r.mem[start:start+captured], tpid, uint16(h.Hv1.Vlan_tci))
	}
	p.Data = r.mem[start : start+captured : start+captured]
	r.left--
	r.at += uintptr(h.Next_offset)
}

// putTag puts the 802.1Q header that was taken off a frame back where it was:
// the addresses move to the front, into the reserved room.
func putTag(p *Packet, frame []byte, tpid, tci uint16) {
	copy(frame, frame[tagSize:tagSize+12])
	frame[12], frame[13] = byte(tpid>>8), byte(tpid)
	frame[14], frame[15] = byte(tci>>8), byte(tci)
	p.Length += tagSize
	if p.Segments != 0 {
		p.Headers += tagSize
	}
}

// nextBlock gives the block just read back to the kernel and waits for the next.
func (r *ring) nextBlock() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed.Load() {
		return r.errClosed()
	}
	if r.held {
		atomic.StoreUint32(&r.header().Block_status, unix.TP_STATUS_KERNEL)
		r.held = false
		r.block = (r.block + 1) % (len(r.mem) / blockSize)
	}
	h := r.header()
	ready := func() bool { return atomic.LoadUint32(&h.Block_status)&unix.TP_STATUS_USER != 0 }
	for !ready() {
		if r.gone != nil {
			return r.gone
		}
		if err := r.wait(ready); err != nil {
			return err
		}
	}
	if r.down {
		r.look()
	}
	r.held = true
	r.left = h.Num_pkts
	r.at = uintptr(r.block*blockSize) + uintptr(h.Offset_to_first_pkt)
	return nil
}

// virtioHeader is struct virtio_net_hdr, in the machine's byte order, which the
// kernel writes before a frame: what it would take to cut a super-packet up.
type virtioHeader struct {
	flags      uint8
	gsoType    uint8
	headLen    uint16 // of the first piece of its memory, which says nothing
	gsoSize    uint16
	csumStart  uint16 // where its transport header begins
	csumOffset uint16
}

const (
	virtioSize = 10 // octets of a virtioHeader

	virtioNeedsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM: csumStart says something

	virtioTCPv4 = 1
	virtioUDP   = 3 // one datagram, to be fragmented
	virtioTCPv6 = 4
	virtioUDPL4 = 5 // datagrams
)

// segments fills in Segments and Headers of a frame without its VLAN tag, whose
// Length is set.
func (v *virtioHeader) segments(p *Packet, frame []byte) {
	start := int(v.csumStart)
	if v.flags&virtioNeedsCsum == 0 {
		start = transportHeader(frame, p.Link) // a card put it together (LRO)
	}
	if v.gsoSize == 0 || start == 0 {
		return
	}
	headers := uint32(start)
	switch v.gsoType & 0x0f {
	case virtioTCPv4, virtioTCPv6:
		size := uint32(20)
		if start+12 < len(frame) {
			size = uint32(frame[start+12]>>4) * 4
		}
		headers += size
	case virtioUDPL4:
		headers += 8
	case virtioUDP:
		// Only the first fragment has the transport header.
	default:
		return
	}
	if p.Length <= headers {
		return
	}
	p.Headers = headers
	p.Segments = (p.Length - headers + uint32(v.gsoSize) - 1) / uint32(v.gsoSize)
}

// transportHeader is where the header behind that of IP begins in a frame that a
// card put together, which cards do with plain TCP only; 0 when it is not found.
func transportHeader(frame []byte, link uint32) int {
	at := 0
	if link == linkEthernet {
		at = 14
		for len(frame) >= at+2 && (frame[at-2] == 0x81 && frame[at-1] == 0 || frame[at-2] == 0x88 && frame[at-1] == 0xa8) {
			at += 4
		}
	}
	switch {
	case len(frame) <= at:
	case frame[at]>>4 == 4:
		return at + int(frame[at]&0x0f)*4
	case frame[at]>>4 == 6:
		return at + 40
	}
	return 0
}
