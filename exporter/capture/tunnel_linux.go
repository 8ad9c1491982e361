package capture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	tunnelBatch   = 32 // datagrams of one system call
	tunnelStride  = tunnelRoom + tunnelDatagram
	tunnelControl = 8 // words of ancillary data a datagram
)

// tunnelMessage is struct mmsghdr.
type tunnelMessage struct {
	header unix.Msghdr
	length uint32
}

// sockets receives datagrams from one or two sockets, many in one system call
// (recvmmsg(2)).
type sockets struct {
	raw  bool // IPv4 datagrams begin with the IP header
	last int  // the socket that was read last

	frames   []byte // tunnelBatch buffers
	froms    [tunnelBatch]unix.RawSockaddrInet6
	controls [tunnelBatch][tunnelControl]uint64
	iovecs   [tunnelBatch]unix.Iovec
	messages [tunnelBatch]tunnelMessage

	// mu guards the descriptors against being closed under a poll; counting
	// guards them against being closed under a counter's query, which must not
	// wait for a poll.
	mu       sync.Mutex
	fds      []int
	wake     int // an eventfd
	counting sync.Mutex
	counters []uint32 // as last read
	dropped  uint64
	granted  int
	gone     bool
}

// listenUDP opens a UDP socket.
func listenUDP(addr string) func(*TunnelConfig) (receiver, error) {
	return func(c *TunnelConfig) (receiver, error) {
		at, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return nil, err
		}
		ip, _ := netip.AddrFromSlice(at.IP)
		s := newSockets()
		if !ip.IsValid() { // both versions in one socket, where there are both
			if err = s.open(netip.IPv6Unspecified(), unix.SOCK_DGRAM, 0, at.Port, c); errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
				err = s.open(netip.IPv4Unspecified(), unix.SOCK_DGRAM, 0, at.Port, c)
			}
		} else {
			err = s.open(ip.Unmap(), unix.SOCK_DGRAM, 0, at.Port, c)
		}
		return s.ready(err)
	}
}

// listenGRE opens raw sockets of protocol 47.
func listenGRE(addr string) func(*TunnelConfig) (receiver, error) {
	return func(c *TunnelConfig) (receiver, error) {
		s := newSockets()
		s.raw = true
		if addr == "" || addr == "::" {
			err := s.open(netip.IPv4Unspecified(), unix.SOCK_RAW, unix.IPPROTO_GRE, 0, c)
			if err == nil {
				if err = s.open(netip.IPv6Unspecified(), unix.SOCK_RAW, unix.IPPROTO_GRE, 0, c); errors.Is(err, unix.EAFNOSUPPORT) {
					err = nil
				}
			}
			return s.ready(err)
		}
		at, err := net.ResolveIPAddr("ip", addr)
		if err != nil {
			return s.ready(err)
		}
		ip, _ := netip.AddrFromSlice(at.IP)
		return s.ready(s.open(ip.Unmap(), unix.SOCK_RAW, unix.IPPROTO_GRE, 0, c))
	}
}

func newSockets() *sockets { return &sockets{wake: -1} }

// open adds a socket that is bound to an address. The IPv6 one of UDP takes IPv4
// too when the address is none.
func (s *sockets) open(ip netip.Addr, typ, protocol, port int, c *TunnelConfig) error {
	domain := unix.AF_INET6
	var at unix.Sockaddr = &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
	if ip.Is4() {
		domain, at = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	}
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("a raw socket needs CAP_NET_RAW: run as root, or 'setcap cap_net_raw+ep' on the program: %w", err)
	}
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	s.fds = append(s.fds, fd)
	s.counters = append(s.counters, 0)
	if domain == unix.AF_INET6 && typ == unix.SOCK_DGRAM && ip.IsUnspecified() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return fmt.Errorf("IPv4 in IPv6: %w", err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("timestamps: %w", err)
	}
	// The first needs CAP_NET_ADMIN, the second has its limit in
	// net.core.rmem_max.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, c.BufferBytes) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, c.BufferBytes)
	}
	// The kernel doubles what it is asked for and tells the double.
	granted, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	s.granted = granted / 2
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// ready makes the buffers, or closes everything.
func (s *sockets) ready(err error) (receiver, error) {
	if err == nil {
		s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err != nil {
		s.release()
		return nil, err
	}
	s.frames = make([]byte, tunnelBatch*tunnelStride)
	for i := range s.messages {
		buffer := s.frames[i*tunnelStride+tunnelRoom : (i+1)*tunnelStride]
		s.iovecs[i].Base = &buffer[0]
		s.iovecs[i].SetLen(len(buffer))
	}
	return s, nil
}

func (s *sockets) receive(timeout time.Duration) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for waited := false; ; {
		if s.gone {
			return 0, os.ErrClosed
		}
		for range s.fds {
			s.last = (s.last + 1) % len(s.fds)
			n, err := s.take(s.fds[s.last])
			if n > 0 {
				return n, nil
			}
			if err != nil {
				return 0, err
			}
		}
		if waited {
			return 0, ErrTimeout
		}
		waited = true
		if err := s.wait(timeout); err != nil {
			return 0, err
		}
	}
}

// take receives what there is at a socket, 0 when nothing is.
func (s *sockets) take(fd int) (int, error) {
	for i := range s.messages {
		h := &s.messages[i].header
		*h = unix.Msghdr{
			Name: (*byte)(unsafe.Pointer(&s.froms[i])), Namelen: unix.SizeofSockaddrInet6,
			Iov: &s.iovecs[i], Control: (*byte)(unsafe.Pointer(&s.controls[i])),
		}
		h.SetIovlen(1)
		h.SetControllen(tunnelControl * 8)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.messages[0])), tunnelBatch, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH: // what ICMP says is not ours
		return 0, nil
	}
	return 0, fmt.Errorf("recvmmsg: %w", errno)
}

// wait waits until a socket has something, and for no longer than the timeout.
func (s *sockets) wait(timeout time.Duration) error {
	var fds [3]unix.PollFd
	for i, fd := range s.fds {
		fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	fds[len(s.fds)] = unix.PollFd{Fd: int32(s.wake), Events: unix.POLLIN}
	n, err := unix.Poll(fds[:len(s.fds)+1], int(min(timeout, time.Hour)/time.Millisecond))
	switch {
	case err == unix.EINTR, err == nil && n == 0:
		// A signal counts as a timeout, or signals could keep one from coming.
		return ErrTimeout
	case err != nil:
		return fmt.Errorf("poll: %w", err)
	case fds[len(s.fds)].Revents != 0:
		return os.ErrClosed
	}
	return nil
}

func (s *sockets) datagram(i int) received {
	m := &s.messages[i]
	start := i * tunnelStride
	end := start + tunnelRoom + int(m.length)
	r := received{cut: m.header.Flags&unix.MSG_TRUNC != 0}
	from := &s.froms[i]
	if from.Family == unix.AF_INET {
		r.from = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr)
		if s.raw { // the IP header is in front
			header := 20
			if m.length > 0 {
				header = int(s.frames[start+tunnelRoom]&0x0f) * 4
			}
			start = min(start+header, end-tunnelRoom)
		}
	} else {
		r.from = netip.AddrFrom16(from.Addr).Unmap()
	}
	r.octets = s.frames[start:end:end]
	r.time = timestamp(unsafe.Slice((*byte)(unsafe.Pointer(&s.controls[i])), tunnelControl*8)[:m.header.Controllen])
	return r
}

// timestamp finds the kernel's time in ancillary data.
func timestamp(control []byte) int64 {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		length := int(h.Len)
		if length < unix.CmsgLen(0) || length > len(control) {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && length >= unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) {
			return (*unix.Timespec)(unsafe.Pointer(&control[unix.CmsgLen(0)])).Nano()
		}
		control = control[min(len(control), unix.CmsgSpace(length-unix.CmsgLen(0))):]
	}
	return time.Now().UnixNano()
}

// drops asks for the sockets' counters, which wrap, of what found no room
// (SK_MEMINFO_DROPS): the number that SO_RXQ_OVFL tells with the next packet,
// should there be one.
func (s *sockets) drops() uint64 {
	s.counting.Lock()
	defer s.counting.Unlock()
	if !s.gone {
		s.count()
	}
	return s.dropped
}

// count is drops with s.counting held.
func (s *sockets) count() {
	const memoryInfo, dropsAt = 55, 8 // SO_MEMINFO, SK_MEMINFO_DROPS
	for i, fd := range s.fds {
		var info [16]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, memoryInfo,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 && size > dropsAt*4 {
			s.dropped += uint64(info[dropsAt] - s.counters[i])
			s.counters[i] = info[dropsAt]
		}
	}
}

func (s *sockets) buffer() int { return s.granted }

func (s *sockets) close() error {
	one := [8]byte{1, 1}
	unix.Write(s.wake, one[:])
	s.mu.Lock() // the reader has left its poll
	defer s.mu.Unlock()
	s.release()
	return nil
}

// release closes the descriptors.
func (s *sockets) release() {
	s.counting.Lock()
	defer s.counting.Unlock()
	if s.gone {
		return
	}
	s.count()
	s.gone = true
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	if s.wake >= 0 {
		unix.Close(s.wake)
	}
	s.fds = nil
}
