package collector

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reusePort: several sockets may share an address and the kernel spreads the
// exporters over them by address and port.
const reusePort = true

// bufferRemedy says how to make the kernel grant what was asked for.
func bufferRemedy(asked int) string { return "sysctl -w net.core.rmem_max=" + strconv.Itoa(asked) }

// controlSocket lets the sockets share their address and has the kernel count,
// with every datagram, those it had to drop.
func controlSocket(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	}); cerr != nil {
		return cerr
	}
	return err
}

// setReceiveBuffer asks for size bytes, with privilege beyond the system's
// limit, and returns what the kernel granted.
func setReceiveBuffer(conn *net.UDPConn, size int) (granted int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
		if err == nil {
			granted, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		}
	}); cerr != nil {
		return 0, cerr
	}
	return granted / 2, err // the kernel reports twice what it grants
}

// overflowCount finds the kernel's count of dropped datagrams in the control
// messages of one datagram.
func overflowCount(oob []byte) (uint32, bool) {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(oob) {
			return 0, false
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && n >= unix.CmsgLen(4) {
			return binary.NativeEndian.Uint32(oob[unix.CmsgLen(0):]), true
		}
		oob = oob[min(len(oob), unix.CmsgSpace(n-unix.CmsgLen(0))):]
	}
	return 0, false
}

const (
	// atOnce is how many datagrams one system call may bring.
	atOnce = 64
	// oobSize is room for the control messages of one datagram.
	oobSize = 64
)

// mmsghdr is the kernel's struct of that name.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// receiver takes datagrams from a socket, many with one recvmmsg(2), without
// allocating. It waits in the system call and not in the runtime's poller, which
// every datagram would wake, also while the reader rests. Its 4 MiB of buffers are
// only as real as datagrams are long: the usual ones touch a page each.
type receiver struct {
	fd int
	n  int

	hdrs  [atOnce]mmsghdr
	iovs  [atOnce]unix.Iovec
	names [atOnce]unix.RawSockaddrInet6
	oobs  [atOnce][oobSize]byte
	bufs  []byte
}

// newReceiver takes the socket over from conn, which is closed. A call of receive
// waits for wait at most.
func newReceiver(conn *net.UDPConn, wait time.Duration) (*receiver, error) {
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &receiver{fd: -1, bufs: make([]byte, atOnce*maxDatagram)}
	if cerr := raw.Control(func(fd uintptr) {
		r.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	conn.Close()
	tv := unix.NsecToTimeval(int64(wait))
	if err := errors.Join(unix.SetNonblock(r.fd, false), unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)); err != nil {
		r.close()
		return nil, err
	}
	for i := range r.hdrs {
		r.iovs[i].Base = &r.bufs[i*maxDatagram]
		r.iovs[i].SetLen(maxDatagram)
		h := &r.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = &r.oobs[i][0]
	}
	return r, nil
}

func (r *receiver) close() { _ = unix.Close(r.fd) }

// receive waits for datagrams and returns how many came, 0 when none did. They
// are valid until the next call.
func (r *receiver) receive() (int, error) {
	r.n = 0
	for i := range r.hdrs {
		h := &r.hdrs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(oobSize)
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.hdrs)), atOnce, unix.MSG_WAITFORONE, 0, 0)
	switch e {
	case 0:
		r.n = int(n)
		return r.n, nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("recvmmsg", e)
}

// datagram returns one of those received and who sent it.
func (r *receiver) datagram(i int) ([]byte, netip.AddrPort) {
	b := r.bufs[i*maxDatagram:][:r.hdrs[i].len]
	name := &r.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return b, netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return b, netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), port)
}

// overflow returns the kernel's count of drops that came with the last datagram.
func (r *receiver) overflow() (uint32, bool) {
	if r.n == 0 {
		return 0, false
	}
	i := r.n - 1
	return overflowCount(r.oobs[i][:min(int(r.hdrs[i].hdr.Controllen), oobSize)])
}

// overflowNow asks the kernel for its count of dropped datagrams.
func (r *receiver) overflowNow() (total uint32, ok bool) {
	const drops = 8 // SK_MEMINFO_DROPS, the last that every kernel has
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return info[drops], e == 0 && size == uint32(unsafe.Sizeof(info))
}

// gateways are the routers that this machine's routes name: the source of
// everything that is translated on its way in, as by Docker's bridge.
func gateways() (list []netip.Addr) {
	b, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		v, err := strconv.ParseUint(f[2], 16, 32)
		if err != nil || v == 0 {
			continue
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], uint32(v))
		list = append(list, netip.AddrFrom4(a))
	}
	return list
}
