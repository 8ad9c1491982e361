package collector

import (
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reusePort: several sockets may share an address and the kernel spreads the
// exporters over them by address and port.
const reusePort = true

const bufferRemedy = "sysctl -w net.core.rmem_max=33554432"

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

// setReceiveBuffer asks for size octets, with privilege beyond the system's
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

// overflowNow asks the kernel for its count of dropped datagrams.
func overflowNow(conn *net.UDPConn) (total uint32, ok bool) {
	const drops = 8 // SK_MEMINFO_DROPS, the last that every kernel has
	var info [drops + 1]uint32
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			size := uint32(unsafe.Sizeof(info))
			_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
				uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
			ok = e == 0 && size == uint32(unsafe.Sizeof(info))
		})
	}
	return info[drops], ok
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
