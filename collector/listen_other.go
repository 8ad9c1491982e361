//go:build !linux

package collector

import (
	"net"
	"syscall"
)

// reusePort: elsewhere SO_REUSEPORT gives all datagrams to one of the sockets.
const reusePort = false

const bufferRemedy = "raise the system's largest socket buffer (kern.ipc.maxsockbuf or net.inet.udp.recvspace)"

func controlSocket(string, string, syscall.RawConn) error { return nil }

// setReceiveBuffer asks for size octets, or for the half until the system
// agrees, and returns what it agreed to.
func setReceiveBuffer(conn *net.UDPConn, size int) (granted int, err error) {
	for ; size >= 64<<10; size /= 2 {
		if err = conn.SetReadBuffer(size); err == nil {
			return size, nil
		}
	}
	return 0, err
}

// overflowNow and overflowCount: no other system counts drops per socket.
func overflowNow(*net.UDPConn) (uint32, bool) { return 0, false }
func overflowCount([]byte) (uint32, bool)     { return 0, false }
