package capture

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"golang.org/x/sys/unix"
)

const (
	blockSize      = 1 << 20 // of the ring; longer frames than it holds are cut
	defaultBuffer  = 32 << 20
	maxBuffer      = 2 << 30
	defaultTimeout = 100 * time.Millisecond
	tagSize        = 4 // octets of an 802.1Q header

	linkEthernet = 1   // LINKTYPE_ETHERNET
	linkRaw      = 101 // LINKTYPE_RAW
)

// ring is a packet socket (packet(7)) whose packets the kernel writes into
// blocks of memory that are mapped here (TPACKET_V3). A block is ours when it is
// full or old enough, and is given back when all of its packets were read.
//
// The kernel's counter of drops is a counter of the socket, so that what did not
// find room is known exactly.
type ring struct {
	name    string
	index   int
	link    uint32
	timeout int // of a poll, in milliseconds
	mem     []byte

	// The reader's own: the block it is in, the packets left of it, the next.
	block int
	left  uint32
	at    uintptr // offset of the next packet's header in mem
	held  bool    // the block is ours to give back

	// mu guards the descriptors against being closed under a poll or a
	// counter's query. Close first wakes the reader through wake.
	mu     sync.Mutex
	fd     int
	wake   int // an eventfd
	closed atomic.Bool
	stats  Stats // under statsMu
	// statsMu is apart from mu, which a waiting reader holds.
	statsMu sync.Mutex
}

// OpenInterface captures from a network interface, by a ring that the kernel
// writes to (AF_PACKET, TPACKET_V3), until the Source is closed. It needs
// CAP_NET_RAW.
//
// A VLAN tag that the kernel or the card took off a frame is put back in front
// of its payload, as it was on the wire. An interface that has no Ethernet
// header (a tunnel) gives raw IP. When the interface goes down, a read returns
// an error that is syscall.ENETDOWN; reading may go on when it is up again.
//
// Frames that the card or the kernel put together (GRO, LRO) come as the one
// large frame that they then are.
func OpenInterface(name string, c InterfaceConfig) (_ Source, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("capture: %s: %w", name, err)
		}
	}()
	if c.BufferBytes == 0 {
		c.BufferBytes = defaultBuffer
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	switch {
	case c.BufferBytes < 0 || c.BufferBytes > maxBuffer:
		return nil, fmt.Errorf("a buffer of %d octets is not possible, at most %d are", c.BufferBytes, maxBuffer)
	case c.SnapLen < 0:
		return nil, fmt.Errorf("a snap length of %d is not possible", c.SnapLen)
	case c.Timeout < time.Millisecond:
		return nil, fmt.Errorf("a timeout of %v is not possible, at least 1ms is", c.Timeout)
	}
	ifi, err := findInterface(name)
	if err != nil {
		return nil, err
	}
	r := &ring{
		name:    name,
		index:   ifi.Index,
		link:    linkEthernet,
		timeout: int(min(c.Timeout, time.Hour) / time.Millisecond),
		fd:      -1,
		wake:    -1,
	}
	defer func() {
		if err != nil {
			r.release()
			unmap(r.mem)
		}
	}()
	// Protocol 0 receives nothing: the filter and the ring stand before the
	// first packet comes.
	if err := r.socket(unix.SOCK_RAW); err != nil {
		return nil, err
	}
	switch device, err := r.deviceType(); {
	case err != nil:
		return nil, fmt.Errorf("ask for its type: %w", err)
	case device != unix.ARPHRD_ETHER && device != unix.ARPHRD_LOOPBACK:
		// What headers such a device has, if any, the kernel takes off.
		unix.Close(r.fd)
		if err := r.socket(unix.SOCK_DGRAM); err != nil {
			return nil, err
		}
		r.link = linkRaw
	}
	if err := r.setup(c); err != nil {
		return nil, err
	}
	if r.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	all := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: r.index}
	if err := unix.Bind(r.fd, all); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if c.Promiscuous {
		m := &unix.PacketMreq{Ifindex: int32(r.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, m); err != nil {
			return nil, fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	// The memory outlives Close, because the reader may still look at a packet;
	// it goes with the last reference to the ring.
	runtime.AddCleanup(r, unmap, r.mem)
	return r, nil
}

// findInterface returns an interface that is up, or an error that says what to
// do.
func findInterface(name string) (*net.Interface, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		var names []string
		if all, err := net.Interfaces(); err == nil {
			for _, i := range all {
				names = append(names, i.Name)
			}
		}
		return nil, fmt.Errorf("no such interface (there are %s)", strings.Join(names, ", "))
	}
	if ifi.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("the interface is down: 'ip link set %s up' brings it up: %w", name, syscall.ENETDOWN)
	}
	return ifi, nil
}

func (r *ring) socket(typ int) (err error) {
	r.fd, err = unix.Socket(unix.AF_PACKET, typ|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("capturing needs CAP_NET_RAW: run as root, or 'setcap cap_net_raw+ep' on the program: %w", err)
	}
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	return nil
}

// deviceType asks for the kind of device, an ARPHRD_ number.
func (r *ring) deviceType() (uint16, error) {
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Ifindex: r.index}); err != nil {
		return 0, err
	}
	sa, err := unix.Getsockname(r.fd)
	if err != nil {
		return 0, err
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return 0, fmt.Errorf("unexpected address %T", sa)
	}
	return ll.Hatype, nil
}

// setup configures the socket and maps its ring.
func (r *ring) setup(c InterfaceConfig) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("TPACKET_V3, which needs Linux 3.2: %w", err)
	}
	// Room in front of each frame to put a VLAN tag back.
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_RESERVE, tagSize); err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	if c.IgnoreOutgoing {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("ignore outgoing packets, which needs Linux 4.20: %w", err)
		}
	}
	if c.SnapLen > 0 {
		// The value a filter returns is how much is kept.
		code := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(min(c.SnapLen, MaxPacket))}}
		program := &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
		if err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
			return fmt.Errorf("snap length: %w", err)
		}
	}
	blocks := max(2, (c.BufferBytes+blockSize-1)/blockSize)
	const frame = 2048 // of no meaning in TPACKET_V3, but it must divide
	request := &unix.TpacketReq3{
		Block_size:     blockSize,
		Block_nr:       uint32(blocks),
		Frame_size:     frame,
		Frame_nr:       uint32(blocks * (blockSize / frame)),
		Retire_blk_tov: uint32(min(r.timeout, int(defaultTimeout/time.Millisecond))),
	}
	err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, request)
	if err == nil {
		r.mem, err = unix.Mmap(r.fd, 0, blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return fmt.Errorf("ring of %d MiB: %w", blocks*blockSize>>20, err)
	}
	return nil
}

func unmap(mem []byte) {
	if mem != nil {
		unix.Munmap(mem)
	}
}

// networkOrder returns v such that its octets in memory are in network order.
func networkOrder(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

func (r *ring) LinkType() uint32 { return r.link }

// header returns the head of the block the reader is in.
func (r *ring) header() *unix.TpacketHdrV1 {
	d := (*unix.TpacketBlockDesc)(unsafe.Pointer(&r.mem[r.block*blockSize]))
	return (*unix.TpacketHdrV1)(unsafe.Pointer(&d.Hdr))
}

func (r *ring) ZeroCopyReadPacketData() (data []byte, ci gopacket.CaptureInfo, err error) {
	for r.left == 0 {
		if err := r.nextBlock(); err != nil {
			return nil, ci, err
		}
	}
	h := (*unix.Tpacket3Hdr)(unsafe.Pointer(&r.mem[r.at]))
	start := r.at + uintptr(h.Mac)
	if r.link == linkRaw {
		start = r.at + uintptr(h.Net)
	}
	captured, length := uintptr(h.Snaplen), int(h.Len)
	if r.link == linkEthernet && h.Status&unix.TP_STATUS_VLAN_VALID != 0 && captured >= 12 {
		start -= tagSize
		captured += tagSize
		length += tagSize
		putTag(r.mem[start:start+captured], h)
	}
	data = r.mem[start : start+captured : start+captured]
	ci.Timestamp = time.Unix(int64(h.Sec), int64(h.Nsec)).UTC()
	ci.CaptureLength, ci.Length = int(captured), length
	ci.InterfaceIndex = r.index
	r.left--
	r.at += uintptr(h.Next_offset)
	return data, ci, nil
}

// putTag puts the 802.1Q header that was taken off a frame back where it was:
// the addresses move to the front, into the reserved room.
func putTag(frame []byte, h *unix.Tpacket3Hdr) {
	tpid := uint16(unix.ETH_P_8021Q)
	if h.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = h.Hv1.Vlan_tpid
	}
	tci := uint16(h.Hv1.Vlan_tci)
	copy(frame, frame[tagSize:tagSize+12])
	frame[12], frame[13] = byte(tpid>>8), byte(tpid)
	frame[14], frame[15] = byte(tci>>8), byte(tci)
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
	for atomic.LoadUint32(&h.Block_status)&unix.TP_STATUS_USER == 0 {
		fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN | unix.POLLERR}, {Fd: int32(r.wake), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, r.timeout)
		switch {
		case r.closed.Load():
			return r.errClosed()
		case atomic.LoadUint32(&h.Block_status)&unix.TP_STATUS_USER != 0:
		case err == unix.EINTR:
			// Counts as a timeout, or signals could keep one from ever coming.
			return ErrTimeout
		case err != nil:
			return fmt.Errorf("capture: %s: poll: %w", r.name, err)
		case n == 0:
			return ErrTimeout
		case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
			return r.socketError()
		}
	}
	r.held = true
	r.left = h.Num_pkts
	r.at = uintptr(r.block*blockSize) + uintptr(h.Offset_to_first_pkt)
	return nil
}

// socketError says why the socket is in error, and clears it.
func (r *ring) socketError() error {
	code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return fmt.Errorf("capture: %s: %w", r.name, err)
	case code == 0:
		return ErrTimeout
	case syscall.Errno(code) == syscall.ENETDOWN:
		return fmt.Errorf("capture: %s: the interface went down: %w", r.name, syscall.ENETDOWN)
	}
	return fmt.Errorf("capture: %s: %w", r.name, syscall.Errno(code))
}

func (r *ring) errClosed() error { return fmt.Errorf("capture: %s: %w", r.name, os.ErrClosed) }

// Stats adds up the kernel's counters, which start anew at each query.
func (r *ring) Stats() Stats {
	r.statsMu.Lock()
	defer r.statsMu.Unlock()
	if r.fd >= 0 {
		if s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			r.stats.Packets += uint64(s.Packets) // those dropped included
			r.stats.Drops += uint64(s.Drops)
		}
	}
	return r.stats
}

func (r *ring) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	one := [8]byte{1, 1}
	unix.Write(r.wake, one[:])
	r.mu.Lock() // the reader has left its poll
	defer r.mu.Unlock()
	r.Stats() // the last ones
	r.release()
	return nil
}

// release closes the descriptors.
func (r *ring) release() {
	r.statsMu.Lock()
	defer r.statsMu.Unlock()
	if r.fd >= 0 {
		unix.Close(r.fd)
	}
	if r.wake >= 0 {
		unix.Close(r.wake)
	}
	r.fd, r.wake = -1, -1
}
