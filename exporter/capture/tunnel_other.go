//go:build !linux

package capture

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// sockets receives one datagram at a time, by package net: what every system has. Counters of
// the kernel are not to be had.
type sockets struct {
	conn    net.PacketConn
	frame   [tunnelRoom + tunnelDatagram]byte
	got     received
	granted int
}

func listenUDP(addr string) func(*TunnelConfig) (receiver, error) {
	return func(c *TunnelConfig) (receiver, error) {
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, err
		}
		s := &sockets{conn: conn}
		s.ask(c.BufferBytes)
		return s, nil
	}
}

// listenGRE opens a raw socket of protocol 47, of IPv4 where no address says
// otherwise.
func listenGRE(addr string) func(*TunnelConfig) (receiver, error) {
	return func(c *TunnelConfig) (receiver, error) {
		network := "ip4:47"
		if addr == "" {
			addr = "0.0.0.0"
		} else if ip, err := netip.ParseAddr(addr); err == nil && ip.Is6() {
			network = "ip6:47"
		}
		conn, err := net.ListenPacket(network, addr)
		if err != nil {
			return nil, err
		}
		s := &sockets{conn: conn}
		s.ask(c.BufferBytes)
		return s, nil
	}
}

// ask asks for a receive buffer, and for half as much while the system has none
// so large.
func (s *sockets) ask(octets int) {
	if c, ok := s.conn.(interface{ SetReadBuffer(int) error }); ok {
		for ; octets > 1<<16; octets /= 2 {
			if c.SetReadBuffer(octets) == nil {
				s.granted = octets
				return
			}
		}
	}
}

func (s *sockets) receive(timeout time.Duration) (int, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	n, from, err := s.conn.ReadFrom(s.frame[tunnelRoom:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, ErrTimeout
	case err != nil:
		return 0, err
	}
	// Package net takes the header of raw IPv4 off.
	s.got = received{octets: s.frame[: tunnelRoom+n : tunnelRoom+n], time: time.Now().UnixNano()}
	switch a := from.(type) {
	case *net.UDPAddr:
		s.got.from = a.AddrPort().Addr().Unmap().WithZone("")
	case *net.IPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		s.got.from = ip.Unmap()
	}
	return 1, nil
}

func (s *sockets) datagram(int) received { return s.got }
func (s *sockets) drops() uint64         { return 0 }
func (s *sockets) buffer() int           { return s.granted }
func (s *sockets) close() error          { return s.conn.Close() }
