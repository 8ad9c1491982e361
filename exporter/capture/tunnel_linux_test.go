package capture

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// A port in use is an error that says so.
func TestTunnelPortInUse(t *testing.T) {
	e, _ := listen(t, ListenVXLAN, TunnelConfig{})
	if s, err := ListenVXLAN(e.name[len("vxlan on "):], TunnelConfig{}); err == nil {
		s.Close()
		t.Error("the same port twice")
	}
}

// What finds no room in the socket is counted by the kernel, to the packet.
func TestTunnelDrops(t *testing.T) {
	e, send := listen(t, ListenVXLAN, TunnelConfig{BufferBytes: 1 << 16, Timeout: time.Second})
	const sent = 2000
	datagram := vxlanOf(1, string(make([]byte, 1000)))
	for range sent {
		send("127.0.0.1", datagram)
	}
	got := uint64(0)
	for {
		_, _, err := e.ZeroCopyReadPacketData()
		if errors.Is(err, ErrTimeout) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	s := e.Stats()
	if s.Drops == 0 || got+s.Drops != sent || s.Packets != sent {
		t.Errorf("%d of %d came, counted %+v", got, sent, s)
	}
	e.Close()
	if after := e.Stats(); after != s {
		t.Errorf("closed, %+v are counted, before %+v", after, s)
	}
}

// A GRE packet of anyone comes without a device, of IPv4 and IPv6, in one Source.
func TestListenGRE(t *testing.T) {
	for _, addr := range []string{"", "::", "0.0.0.0", "127.0.0.1", "::1"} {
		s, err := ListenGRE(addr, TunnelConfig{})
		if errors.Is(err, os.ErrPermission) {
			t.Skip("raw sockets need CAP_NET_RAW")
		}
		if err != nil {
			if addr == "::1" {
				continue // no IPv6 here
			}
			t.Fatal(err)
		}
		e := s.(*ended)
		for _, to := range []string{"127.0.0.1", "::1"} {
			if addr == "0.0.0.0" && to == "::1" || strings.HasSuffix(addr, "1") && addr != to {
				continue
			}
			network := "ip4:47"
			if netip.MustParseAddr(to).Is6() {
				network = "ip6:47"
			}
			conn, err := net.Dial(network, to)
			if err != nil {
				t.Logf("%s: %v", to, err)
				continue
			}
			// A key that nobody else on this host uses.
			key := "20006558 f10a7a11 "
			if _, err := conn.Write(octets(t, key+"0123456789")); err != nil {
				t.Logf("%s: %v", to, err)
				conn.Close()
				continue
			}
			for {
				data, index := next(t, e)
				name := ""
				for _, i := range e.Interfaces() {
					if int(i.Index) == index {
						name = i.Name
					}
				}
				if name != "gre "+to+" key 4043995665" {
					continue // another test's
				}
				if string(data) != string(octets(t, "0123456789")) {
					t.Errorf("%s: got %x", to, data)
				}
				break
			}
			conn.Close()
		}
		e.Close()
	}
}

// One UDP socket takes clients of both versions, and IPv4 ones by their own
// address.
func TestTunnelBothVersions(t *testing.T) {
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	_, port, _ := net.SplitHostPort(probe.LocalAddr().String())
	probe.Close()
	s, err := ListenVXLAN(":"+port, TunnelConfig{})
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	e := s.(*ended)
	defer e.Close()
	for _, from := range []string{"127.0.0.1", "::1"} {
		conn, err := net.Dial("udp", net.JoinHostPort(from, port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(vxlanOf(5, from)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		data, index := next(t, e)
		all := e.Interfaces()
		last := all[len(all)-1]
		if string(data) != from || int(last.Index) != index || last.Name != "vxlan "+from+" vni 5" {
			t.Errorf("%s: got %q of %+v", from, data, last)
		}
	}
}
