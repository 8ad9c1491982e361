package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	// lostOneIn is how many datagrams there are to one that gets lost on the demo's way.
	lostOneIn = 150
	// wayBuffer is the kernel buffer of the way: a day of traffic comes at once.
	wayBuffer = 8 << 20
)

// way is a way from an exporter to the collector on which a datagram gets lost now and then,
// as on networks: it is really not sent on, so that the collector finds the gap by the numbers
// of those behind it. It also gives the exporter an address of its own where loopback has
// more than one.
type way struct {
	in, out *net.UDPConn
}

// wayAddress is that of the exporter behind the way.
var wayAddress = netip.AddrFrom4([4]byte{127, 0, 0, 2})

// openWay opens a way to a collector.
func openWay(to netip.AddrPort) (*way, error) {
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	_ = in.SetReadBuffer(wayBuffer) // as much as the kernel grants
	remote := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(loopback(to)))
	var local *net.UDPAddr
	if remote.IP.To4() != nil && remote.IP.IsLoopback() {
		local = &net.UDPAddr{IP: wayAddress.AsSlice()}
	}
	out, err := net.DialUDP("udp", local, remote)
	if err != nil && local != nil { // not every system has all of 127.0.0.0/8
		out, err = net.DialUDP("udp", nil, remote)
	}
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	return &way{in, out}, nil
}

// addr is where the exporter sends to.
func (w *way) addr() string { return w.in.LocalAddr().String() }

// from is the address that the collector sees.
func (w *way) from() netip.Addr {
	return w.out.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// run sends on until ctx ends, and then what has come by then.
func (w *way) run(ctx context.Context) error {
	defer func() { _ = w.out.Close() }()
	defer func() { _ = w.in.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = w.in.SetReadDeadline(time.Now().Add(settle / 3)) })
	defer stop()
	b := make([]byte, 65535)
	for n := 0; ; {
		length, err := w.in.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			continue // an ICMP error of what was sent before
		}
		if hasFlows(b[:length]) {
			if n++; n%lostOneIn == 0 {
				continue
			}
		}
		_, _ = w.out.Write(b[:length]) // what cannot be sent is lost, too
	}
}

// hasFlows reports whether a message of IPFIX begins with data: one that begins with
// templates gets through, so that what comes behind it can be read.
func hasFlows(message []byte) bool {
	const header, firstData = 16, 256
	return len(message) >= header+4 && binary.BigEndian.Uint16(message[header:]) >= firstData
}
