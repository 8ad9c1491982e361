//go:build !linux

package collector

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// reusePort: elsewhere SO_REUSEPORT gives all datagrams to one of the sockets.
const reusePort = false

// bufferRemedy says how to make the system grant what was asked for.
func bufferRemedy(asked int) string {
	return "raise the system's largest socket buffer (kern.ipc.maxsockbuf or net.inet.udp.recvspace) to " + strconv.Itoa(asked)
}

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

// atOnce is how many datagrams one system call may bring.
const atOnce = 1

// receiver takes datagrams from a socket, one at a time.
type receiver struct {
	conn *net.UDPConn
	buf  []byte
	n    int
	from netip.AddrPort
}

func newReceiver(conn *net.UDPConn) (*receiver, error) {
	return &receiver{conn: conn, buf: make([]byte, maxDatagram)}, nil
}

// receive waits for a datagram.
func (r *receiver) receive() (int, error) {
	var err error
	if r.n, r.from, err = r.conn.ReadFromUDPAddrPort(r.buf); err != nil {
		return 0, err
	}
	return 1, nil
}

// datagram returns it and who sent it.
func (r *receiver) datagram(int) ([]byte, netip.AddrPort) {
	return r.buf[:r.n], netip.AddrPortFrom(r.from.Addr().Unmap().WithZone(""), r.from.Port())
}

func (r *receiver) overflow() (uint32, bool) { return 0, false }

// gateways are not known here.
func gateways() []netip.Addr { return nil }
