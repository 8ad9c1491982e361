//go:build !linux

package collector

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
)

// reusePort: elsewhere SO_REUSEPORT gives all datagrams to one of the sockets.
const reusePort = false

// bufferRemedy says how to make the system grant what was asked for.
func bufferRemedy(asked int) string {
	return "raise the system's largest socket buffer (kern.ipc.maxsockbuf or net.inet.udp.recvspace) to " + strconv.Itoa(asked)
}

func controlSocket(string, string, syscall.RawConn) error { return nil }

// setReceiveBuffer asks for size bytes, or for the half until the system
// agrees, and returns what it agreed to.
func setReceiveBuffer(conn *net.UDPConn, size int) (granted int, err error) {
	for ; size >= 64<<10; size /= 2 {
		if err = conn.SetReadBuffer(size); err == nil {
			return size, nil
		}
	}
	return 0, err
}

// overflowCount, and overflow and overflowNow below: no other system counts drops
// per socket.
func overflowCount([]byte) (uint32, bool) { return 0, false }

// atOnce is how many datagrams one system call may bring.
const atOnce = 1

// receiver takes datagrams from a socket, one at a time.
type receiver struct {
	conn *net.UDPConn
	wait time.Duration
	buf  []byte
	n    int
	from netip.AddrPort
}

// newReceiver takes the socket over from conn. A call of receive waits for wait
// at most.
func newReceiver(conn *net.UDPConn, wait time.Duration) (*receiver, error) {
	return &receiver{conn: conn, wait: wait, buf: make([]byte, maxDatagram)}, nil
}

func (r *receiver) close() { _ = r.conn.Close() }

// receive waits for a datagram and returns 1, 0 when none came.
func (r *receiver) receive() (int, error) {
	_ = r.conn.SetReadDeadline(time.Now().Add(r.wait))
	var err error
	r.n, r.from, err = r.conn.ReadFromUDPAddrPort(r.buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return 1, nil
}

// datagram returns it and who sent it.
func (r *receiver) datagram(int) ([]byte, netip.AddrPort) {
	return r.buf[:r.n], netip.AddrPortFrom(r.from.Addr().Unmap().WithZone(""), r.from.Port())
}

func (r *receiver) overflow() (uint32, bool)    { return 0, false }
func (r *receiver) overflowNow() (uint32, bool) { return 0, false }

// gateways are not known here.
func gateways() []netip.Addr { return nil }
