package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"flowtally/spelling"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	defaultBuffer  = 32 << 20
	maxBuffer      = 2 << 30
	defaultTimeout = 100 * time.Millisecond
	awaitEvery     = 100 * time.Millisecond // an interface that is down is looked at
	maxFanout      = 256                    // members of a group (PACKET_FANOUT_MAX before Linux 5.9)

	linkEthernet = 1   // LINKTYPE_ETHERNET
	linkRaw      = 101 // LINKTYPE_RAW
)

// OpenInterface captures from a network interface, by a ring that the kernel
// writes to (AF_PACKET, TPACKET_V3), until the Source is closed. It needs
// CAP_NET_RAW. Where the kernel refuses a ring, packets are copied out of the
// socket one system call a batch; the Source is a Moder that says so.
//
// A VLAN tag that the kernel or the card took off a frame is put back in front
// of its payload, as it was on the wire. An interface that has no Ethernet
// header (a tunnel) gives raw IP.
//
// Frames that the card or the kernel put together (GRO, LRO, TSO, USO) come as
// the one large frame that they then are, and Packet.Segments says how many
// they were (PACKET_VNET_HDR). That needs Linux 6.2, because older kernels drop
// large UDP frames for those who ask, and an interface whose header, if any,
// the socket shows; elsewhere Mode.Segments is false. The kernel has no words for
// SCTP put together, and counts it as dropped.
//
// When the interface goes down, one read returns an error that is both
// ErrTimeout and syscall.ENETDOWN, and reading goes on; what comes when it is up
// again is captured again. When the interface is removed, reads return an error
// that is syscall.ENODEV for good.
func OpenInterface(name string, c InterfaceConfig) (Source, error) {
	sources, err := openSources(name, c, 1)
	if err != nil {
		return nil, fmt.Errorf("capture: %s: %w", name, err)
	}
	return sources[0], nil
}

// OpenFanout captures from a network interface into n Sources, among which the
// kernel divides the packets (PACKET_FANOUT), so that each can be read by a
// goroutine of its own. See OpenInterface for what each of them is.
//
// All packets between the same two addresses come to the same Source: both
// directions of a conversation, all fragments of a datagram, and all copies of a
// packet, whatever the ports. The kernel's own hash (PACKET_FANOUT_HASH) does not
// promise that: it knows ports of the first fragment only, is symmetric only
// since Linux 4.8 and not for packets whose hash the card made, and putting
// fragments together first (PACKET_FANOUT_FLAG_DEFRAG) would show packets that
// were never on the wire. So a program of ours (PACKET_FANOUT_CBPF, Linux 4.3)
// looks for the IP addresses behind VLAN tags, MPLS labels and PPPoE, and what has none
// goes to the first Source. Packets of one tunnel have the addresses of its
// ends and stay together.
//
// When one of the Sources is closed its share goes to the others, and flows move
// between them; close all of them at once.
func OpenFanout(name string, c InterfaceConfig, n int) ([]Source, error) {
	if n < 1 || n > maxFanout {
		return nil, fmt.Errorf("capture: %s: fan-out to %d is not possible, want 1 to %d", name, n, maxFanout)
	}
	sources, err := openSources(name, c, n)
	if err != nil {
		return nil, fmt.Errorf("capture: %s: %w", name, err)
	}
	return sources, nil
}

// live is a ring or a queue: a capture from an interface.
type live interface {
	Batcher
	packetSocket() *socket
}

// openSources opens n captures of an interface, as a fan-out group if they are several.
func openSources(name string, c InterfaceConfig, n int) (_ []Source, err error) {
	if c.BufferBytes == 0 {
		c.BufferBytes = defaultBuffer
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.BufferBytes < 0 || int64(c.BufferBytes) > maxBuffer:
		return nil, fmt.Errorf("a buffer of %d octets is not possible, at most %d are", c.BufferBytes, int64(maxBuffer))
	case c.SnapLen < 0:
		return nil, fmt.Errorf("a snap length of %d is not possible", c.SnapLen)
	case c.Timeout < time.Millisecond:
		return nil, fmt.Errorf("a timeout of %v is not possible, at least 1ms is", c.Timeout)
	}
	ifi, err := findInterface(name)
	if err != nil {
		return nil, err
	}
	filter, err := kernelFilter(&c, n > 1)
	if err != nil {
		return nil, err
	}
	var all []live
	defer func() {
		if err != nil {
			for _, l := range all {
				l.Close()
			}
		}
	}()
	for range n {
		l, err := openOne(ifi, &c, filter, n > 1)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	if n > 1 {
		if err := joinFanout(all, filter); err != nil {
			return nil, err
		}
	}
	sources := make([]Source, n)
	for i, l := range all {
		sources[i] = l
	}
	return sources, nil
}

// openOne opens one capture, by a ring if there is one to be had. A member of a
// group receives nothing yet.
func openOne(ifi *net.Interface, c *InterfaceConfig, filter []bpf.RawInstruction, member bool) (live, error) {
	var refused error
	if !c.NoRing {
		s, err := newSocket(ifi, c)
		if err != nil {
			return nil, err
		}
		r, err := newRing(s, c.BufferBytes)
		if err == nil {
			return r, s.start(c, filter, member, r)
		}
		s.release()
		refused = err
		c.NoRing = true // for the other members, too
		c.Logger.Warn("no capture ring: packets are copied out of the socket instead", "interface", ifi.Name, "err", err)
	}
	s, err := newSocket(ifi, c)
	if err != nil {
		return nil, err
	}
	q, err := newQueue(s, c)
	if err != nil {
		s.release()
		return nil, err
	}
	s.mode.Reason = "no ring asked for"
	if refused != nil {
		s.mode.Reason = "ring refused: " + refused.Error()
	}
	return q, s.start(c, filter, member, q)
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
		return nil, fmt.Errorf("there is no such interface%s (there are %s)", spelling.Hint(name, names), strings.Join(names, ", "))
	}
	if ifi.Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("the interface is down: 'ip link set %s up' brings it up: %w", name, syscall.ENETDOWN)
	}
	return ifi, nil
}

// AwaitInterface returns when an interface is up, or ctx ends, which is its error. Of one
// that is down it says so, once; one that there is not, or no longer, is an error.
func AwaitInterface(ctx context.Context, name string, log *slog.Logger) error {
	_, err := findInterface(name)
	if errors.Is(err, syscall.ENETDOWN) {
		log.Warn("the interface is down: metering begins when it is up", "interface", name, "remedy", "ip link set "+name+" up")
	}
	for errors.Is(err, syscall.ENETDOWN) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(awaitEvery):
			_, err = findInterface(name)
		}
	}
	if err != nil {
		return fmt.Errorf("capture: %s: %w", name, err)
	}
	return nil
}

// socket is a packet socket (packet(7)): what a ring and a queue have in common.
//
// The kernel's counter of drops is a counter of the socket, so that what did not
// find room is known exactly.
type socket struct {
	name    string
	index   int
	link    uint32
	alias   string
	timeout int // of a poll, in milliseconds
	snap    uint32
	vnet    bool // a virtio_net_hdr precedes each frame
	mode    Mode
	log     *slog.Logger

	// The reader's own.
	down bool  // the interface is
	gone error // what ended the capture for good

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

// newSocket opens a socket of the kind that fits the interface. It receives
// nothing before start.
func newSocket(ifi *net.Interface, c *InterfaceConfig) (_ *socket, err error) {
	s := &socket{
		name:    ifi.Name,
		index:   ifi.Index,
		link:    linkEthernet,
		timeout: int(min(c.Timeout, time.Hour) / time.Millisecond),
		snap:    MaxPacket,
		log:     c.Logger,
		fd:      -1,
		wake:    -1,
	}
	if c.SnapLen > 0 {
		s.snap = uint32(min(c.SnapLen, MaxPacket))
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	// Protocol 0 receives nothing: the filter and the ring stand before the
	// first packet comes.
	if err := s.open(unix.SOCK_RAW); err != nil {
		return nil, err
	}
	device, err := s.deviceType()
	if err != nil {
		return nil, fmt.Errorf("ask for its type: %w", err)
	}
	switch device {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP:
		s.link = linkRaw // has no header: the frame is the packet
	default:
		// What headers such a device has, if any, the kernel takes off.
		unix.Close(s.fd)
		if err := s.open(unix.SOCK_DGRAM); err != nil {
			return nil, err
		}
		s.link = linkRaw
		s.mode.Reason = "an interface of this type does not tell its super-packets"
	}
	if s.mode.Reason == "" {
		s.headers()
	}
	if c.IgnoreOutgoing {
		// Where the kernel is too old for it, the filter does it.
		unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	s.alias = interfaceAlias(ifi.Index)
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return s, nil
}

func (s *socket) open(typ int) (err error) {
	s.fd, err = unix.Socket(unix.AF_PACKET, typ|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("capturing needs CAP_NET_RAW: run as root, or 'setcap cap_net_raw+ep' on the program: %w", err)
	}
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	return nil
}

// deviceType asks for the kind of device, an ARPHRD_ number.
func (s *socket) deviceType() (uint16, error) {
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: s.index}); err != nil {
		return 0, err
	}
	ll, err := s.address()
	if err != nil {
		return 0, err
	}
	return ll.Hatype, nil
}

// address is what the socket is bound to.
func (s *socket) address() (*unix.SockaddrLinklayer, error) {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return nil, err
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return nil, fmt.Errorf("unexpected address %T", sa)
	}
	return ll, nil
}

// headers asks for a virtio_net_hdr before each frame, where that costs nothing.
func (s *socket) headers() {
	if !kernelAtLeast(6, 2) {
		s.mode.Reason = "super-packets need Linux 6.2 to be told apart"
		return
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		s.mode.Reason = "PACKET_VNET_HDR: " + err.Error()
		return
	}
	s.vnet, s.mode.Segments = true, true
}

// kernelAtLeast compares the version of the running kernel.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// interfaceAlias is the ifAlias of an interface, what 'ip link set … alias' set.
func interfaceAlias(index int) string {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return ""
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return ""
	}
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg ||
			int((*unix.IfInfomsg)(unsafe.Pointer(&m.Data[0])).Index) != index {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return ""
		}
		for _, a := range attributes {
			if a.Attr.Type == unix.IFLA_IFALIAS {
				return unix.ByteSliceToString(a.Value)
			}
		}
	}
	return ""
}

// start lets packets in, or, into a member of a group, none yet.
func (s *socket) start(c *InterfaceConfig, filter []bpf.RawInstruction, member bool, l live) (err error) {
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if member {
		filter = []bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K}}
	}
	if err := s.attach(filter); err != nil {
		return err
	}
	all := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: s.index}
	if err := unix.Bind(s.fd, all); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if c.Promiscuous {
		m := &unix.PacketMreq{Ifindex: int32(s.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, m); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	return nil
}

// attach puts a filter on the socket, or takes it off where there is none.
func (s *socket) attach(filter []bpf.RawInstruction) error {
	if len(filter) == 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil && err != unix.ENOENT {
			return fmt.Errorf("detach filter: %w", err)
		}
		return nil
	}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, kernelProgram(filter)); err != nil {
		return fmt.Errorf("attach filter: the kernel refuses the program: %w", err)
	}
	return nil
}

// kernelProgram is a program as the kernel takes it.
func kernelProgram(program []bpf.RawInstruction) *unix.SockFprog {
	code := make([]unix.SockFilter, len(program))
	for i, p := range program {
		code[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
}

// kernelFilter is the program of a socket: the configured one, and before it what
// leaves out outgoing packets where the kernel does not, and in it how much is
// kept of a frame, which is the value that it returns.
func kernelFilter(c *InterfaceConfig, member bool) ([]bpf.RawInstruction, error) {
	const most = 4096 // BPF_MAXINSNS
	program := c.Filter
	if len(program) > most-3 {
		return nil, fmt.Errorf("a filter of %d instructions, more than the %d that the kernel takes", len(program), most)
	}
	if len(program) == 0 && (c.SnapLen > 0 || c.IgnoreOutgoing) {
		program = []bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K, K: MaxPacket}}
	}
	var out []bpf.RawInstruction
	// A group ignores the option of its members.
	if c.IgnoreOutgoing && (member || !kernelAtLeast(4, 20)) {
		const packetType = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE
		out = append(out,
			bpf.RawInstruction{Op: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: packetType},
			bpf.RawInstruction{Op: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.PACKET_OUTGOING},
			bpf.RawInstruction{Op: unix.BPF_RET | unix.BPF_K, K: 0},
			// A is 0 when a program begins, and some rely on it.
			bpf.RawInstruction{Op: unix.BPF_LD | unix.BPF_IMM, K: 0},
		)
	}
	for _, i := range program {
		if i.Op == unix.BPF_RET|unix.BPF_K && c.SnapLen > 0 {
			i.K = min(i.K, uint32(c.SnapLen))
		}
		out = append(out, i)
	}
	return out, nil
}

// networkOrder returns v such that its octets in memory are in network order.
func networkOrder(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

func (s *socket) packetSocket() *socket { return s }

func (s *socket) LinkType() uint32 { return s.link }

// Mode says how packets are taken off the interface.
func (s *socket) Mode() Mode { return s.mode }

// Interfaces is the one interface.
func (s *socket) Interfaces() []Interface {
	return []Interface{{Index: uint32(s.index), Name: s.name, Description: s.alias}}
}

// wait waits until the socket or ready has something, for at most the timeout.
// The caller holds mu. An error is a poll's, ErrTimeout, or what became of the
// interface.
func (s *socket) wait(ready func() bool) error {
	fds := [2]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN | unix.POLLERR}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], s.timeout)
	switch {
	case s.closed.Load():
		return s.errClosed()
	case ready():
		return nil
	case err == unix.EINTR:
		// Counts as a timeout, or signals could keep one from ever coming.
		return ErrTimeout
	case err != nil:
		return fmt.Errorf("capture: %s: poll: %w", s.name, err)
	case n == 0:
		return s.look()
	case fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
		return s.fault()
	}
	return nil
}

// fault says why the socket is in error, and clears it.
func (s *socket) fault() error {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return fmt.Errorf("capture: %s: %w", s.name, err)
	case code == 0:
		return ErrTimeout
	case syscall.Errno(code) == syscall.ENETDOWN:
		return s.wentDown()
	}
	return fmt.Errorf("capture: %s: %w", s.name, syscall.Errno(code))
}

// wentDown notes that the interface did, and says so the first time.
func (s *socket) wentDown() error {
	if s.down {
		return s.look()
	}
	s.down = true
	if s.removed() {
		return s.gone
	}
	s.log.Warn("the interface went down; capturing goes on when it is up again", "interface", s.name)
	return downError(s.name)
}

// removed finds out whether there is no such interface any more.
func (s *socket) removed() bool {
	if ll, err := s.address(); err == nil && ll.Ifindex < 0 {
		s.gone = fmt.Errorf("capture: %s: the interface was removed: %w", s.name, syscall.ENODEV)
	}
	return s.gone != nil
}

// look looks what became of an interface that went down, and returns ErrTimeout
// where it may still come back.
func (s *socket) look() error {
	if !s.down {
		return ErrTimeout
	}
	if s.removed() {
		return s.gone
	}
	if request, err := unix.NewIfreq(s.name); err == nil &&
		unix.IoctlIfreq(s.fd, unix.SIOCGIFFLAGS, request) == nil && request.Uint16()&unix.IFF_UP != 0 {
		s.down = false
		s.log.Info("the interface is up again", "interface", s.name)
	}
	return ErrTimeout
}

// downError is that of an interface, named, that went down. It is an ErrTimeout,
// too: reading goes on.
type downError string

func (e downError) Error() string {
	return "capture: " + string(e) + ": the interface went down: " + syscall.ENETDOWN.Error()
}

func (e downError) Is(target error) bool {
	return target == ErrTimeout || target == syscall.ENETDOWN
}

func (s *socket) errClosed() error { return fmt.Errorf("capture: %s: %w", s.name, os.ErrClosed) }

// Stats adds up the kernel's counters, which start anew at each query.
func (s *socket) Stats() Stats {
	s.statsMu.Lock()
	defer s.statsMu.Unlock()
	if s.fd >= 0 {
		if s.mode.Ring {
			if k, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				s.stats.Packets += uint64(k.Packets) // those dropped included
				s.stats.Drops += uint64(k.Drops)
			}
		} else if k, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			s.stats.Packets += uint64(k.Packets)
			s.stats.Drops += uint64(k.Drops)
		}
	}
	return s.stats
}

func (s *socket) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	one := [8]byte{1, 1}
	unix.Write(s.wake, one[:])
	s.mu.Lock() // the reader has left its poll
	defer s.mu.Unlock()
	s.Stats() // the last ones
	s.release()
	return nil
}

// release closes the descriptors.
func (s *socket) release() {
	s.statsMu.Lock()
	defer s.statsMu.Unlock()
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	if s.wake >= 0 {
		unix.Close(s.wake)
	}
	s.fd, s.wake = -1, -1
}
