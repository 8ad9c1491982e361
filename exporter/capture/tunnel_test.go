package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"flowtally/exporter/tunnel"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseTunnelClient(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.7")
	for s, want := range map[string]TunnelClient{
		"192.0.2.7=web":        {Addr: a, Name: "web"},
		"::ffff:192.0.2.7=web": {Addr: a, Name: "web"},
		"192.0.2.7/42=web=1":   {Addr: a, ID: 42, HasID: true, Name: "web=1"},
		"*/0x2a=tenant a":      {ID: 42, HasID: true, Name: "tenant a"},
		"2001:db8::1/0=six":    {Addr: netip.MustParseAddr("2001:db8::1"), HasID: true, Name: "six"},
	} {
		if got, err := ParseTunnelClient(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "192.0.2.7", "192.0.2.7=", "web=192.0.2.7", "192.0.2.7/x=web", "192.0.2.7/4294967296=web", "*=web", "/42=web"} {
		if c, err := ParseTunnelClient(s); err == nil {
			t.Errorf("%q: %+v, want an error", s, c)
		}
	}
}

// listen opens a Source on a free loopback port and a function that sends to it.
func listen(t testing.TB, open func(string, TunnelConfig) (Source, error), c TunnelConfig) (*ended, func(from string, datagram []byte)) {
	t.Helper()
	// The port must be known, so it is found by a socket that then makes room.
	var e *ended
	var to netip.AddrPort
	for range 20 {
		probe, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		to = probe.LocalAddr().(*net.UDPAddr).AddrPort()
		probe.Close()
		if s, err := open(to.String(), c); err == nil {
			e = s.(*ended)
			break
		}
	}
	if e == nil {
		t.Fatal("no free port")
	}
	t.Cleanup(func() { e.Close() })
	conns := map[string]*net.UDPConn{}
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	return e, func(from string, datagram []byte) {
		t.Helper()
		conn := conns[from]
		if conn == nil {
			var err error
			conn, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(to))
			if err != nil {
				t.Skipf("no second loopback address here: %v", err)
			}
			conns[from] = conn
		}
		if _, err := conn.Write(datagram); err != nil {
			t.Fatal(err)
		}
	}
}

// vxlanOf is a frame in VXLAN.
func vxlanOf(vni uint32, frame string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, vni<<8), frame...)
}

// next reads the next packet, waiting for it.
func next(t testing.TB, e *ended) (data []byte, index int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		data, ci, err := e.ZeroCopyReadPacketData()
		if errors.Is(err, ErrTimeout) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if ci.CaptureLength != len(data) || ci.Length != len(data) {
			t.Fatalf("lengths %+v of %d octets", ci, len(data))
		}
		if age := time.Since(ci.Timestamp); age < -time.Minute || age > time.Minute {
			t.Fatalf("the packet is of %v", ci.Timestamp)
		}
		return data, ci.InterfaceIndex
	}
	t.Fatal("no packet came")
	return nil, 0
}

// Each client is told apart and named, and keeps its number when the listener is
// opened again.
func TestTunnelClients(t *testing.T) {
	a := netip.MustParseAddr("127.0.0.1")
	config := TunnelConfig{Clients: []TunnelClient{
		{Addr: a, ID: 1, HasID: true, Name: "one"},
		{Addr: a, Name: "host"},
		{ID: 3, HasID: true, Name: "tenant"},
	}}
	want := map[string]string{
		"one": "vxlan 127.0.0.1 vni 1", "host vni 2": "vxlan 127.0.0.1 vni 2",
		"tenant 127.0.0.2": "vxlan 127.0.0.2 vni 3", "vxlan 127.0.0.2 vni 4": "",
	}
	var before map[string]uint32
	for range 2 {
		e, send := listen(t, ListenVXLAN, config)
		got := map[string]uint32{}
		for range 2 { // the second time nothing is new
			for _, s := range []struct {
				from string
				vni  uint32
			}{{"127.0.0.1", 1}, {"127.0.0.1", 2}, {"127.0.0.2", 3}, {"127.0.0.2", 4}} {
				text := fmt.Sprintf("frame of %s, %d", s.from, s.vni)
				send(s.from, vxlanOf(s.vni, text))
				data, index := next(t, e)
				if string(data) != text {
					t.Errorf("got %q, want %q", data, text)
				}
				for _, i := range e.Interfaces() {
					if int(i.Index) == index && (got[i.Name] != 0 && got[i.Name] != i.Index || i.Description != want[i.Name]) {
						t.Errorf("%+v", i)
					} else if int(i.Index) == index {
						got[i.Name] = i.Index
					}
				}
			}
		}
		if e.LinkType() != tunnel.LinkEthernet {
			t.Errorf("link type %d", e.LinkType())
		}
		if len(got) != len(want) || len(e.Interfaces()) != len(want) {
			t.Errorf("interfaces %v, want %v", e.Interfaces(), want)
		}
		for name := range want {
			if got[name] < clientIndex || got[name] >= othersIndex || before != nil && before[name] != got[name] {
				t.Errorf("%q has number %d, before %d", name, got[name], before[name])
			}
		}
		before = got
		e.Close()
	}
}

// Clients beyond the most are one interface and counted; so is what is not of
// the tunnel.
func TestTunnelBudget(t *testing.T) {
	e, send := listen(t, ListenVXLAN, TunnelConfig{MaxClients: 3})
	send("127.0.0.1", []byte("Queries have none of its flags"))
	for vni := range uint32(10) {
		send("127.0.0.1", vxlanOf(vni, "frame"))
		if _, index := next(t, e); (vni >= 3) != (index == othersIndex) {
			t.Errorf("client %d has number %d", vni, index)
		}
	}
	s := e.TunnelStats()
	s.BufferBytes = 0
	if want := (TunnelStats{Packets: 11, Clients: 3, Others: 7, Malformed: 1}); s != want {
		t.Errorf("counted %+v, want %+v", s, want)
	}
	if n := len(e.Interfaces()); n != 4 {
		t.Errorf("%d interfaces, want 4", n)
	}
	if want := (Stats{Packets: 11, Filtered: 1}); e.Stats() != want {
		t.Errorf("counted %+v, want %+v", e.Stats(), want)
	}
}

func TestTunnelKnownOnly(t *testing.T) {
	e, send := listen(t, ListenVXLAN, TunnelConfig{KnownOnly: true, Clients: []TunnelClient{{ID: 7, HasID: true, Name: "seven"}}})
	send("127.0.0.1", vxlanOf(6, "stranger"))
	send("127.0.0.1", vxlanOf(7, "client"))
	if data, _ := next(t, e); string(data) != "client" {
		t.Errorf("got %q", data)
	}
	if s := e.TunnelStats(); s.Unknown != 1 || s.Clients != 1 {
		t.Errorf("%+v", s)
	}
}

// What has no Ethernet header but an Ethernet type gets a header; the octets in
// front of a datagram are ours.
func TestTunnelFrame(t *testing.T) {
	e, send := listen(t, ListenGENEVE, TunnelConfig{})
	send("127.0.0.1", octets(t, "00008100 00000100 0064 0800 45"))
	data, _ := next(t, e)
	if want := octets(t, "000000000000 000000000000 8100 0064 0800 45"); !bytes.Equal(data, want) {
		t.Errorf("got %x, want %x", data, want)
	}
	send("127.0.0.1", octets(t, "00000800 00000100 45"))
	if data, _ := next(t, e); !bytes.Equal(data, []byte{0x45}) || e.LinkType() != tunnel.LinkRaw {
		t.Errorf("got %x of link type %d", data, e.LinkType())
	}
}

// A batch is what there is, in order.
func TestTunnelBatch(t *testing.T) {
	e, send := listen(t, ListenTZSP, TunnelConfig{})
	const n = 100
	for i := range n {
		send("127.0.0.1", append(octets(t, "0100000101"), byte(i)))
	}
	packets := make([]Packet, 64)
	var got []byte
	for deadline := time.Now().Add(30 * time.Second); len(got) < n && time.Now().Before(deadline); {
		n, err := e.ReadBatch(packets)
		if err != nil && !errors.Is(err, ErrTimeout) {
			t.Fatal(err)
		}
		for _, p := range packets[:n] {
			got = append(got, p.Data...)
		}
	}
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("got %v", got)
	}
}

// A quiet tunnel gives ErrTimeout, a closed one os.ErrClosed, also to a reader
// that waits.
func TestTunnelQuietAndClosed(t *testing.T) {
	e, _ := listen(t, ListenVXLAN, TunnelConfig{Timeout: time.Millisecond})
	if _, _, err := e.ZeroCopyReadPacketData(); err != ErrTimeout {
		t.Errorf("a quiet tunnel gives %v", err)
	}
	e.config.Timeout = time.Hour
	done := make(chan error)
	go func() {
		_, _, err := e.ZeroCopyReadPacketData()
		done <- err
	}()
	e.Close()
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the reader still waits")
	}
	if _, _, err := e.ZeroCopyReadPacketData(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	e.Stats()
}

func TestTunnelErrors(t *testing.T) {
	e, _ := listen(t, ListenVXLAN, TunnelConfig{})
	_ = e
	for name, c := range map[string]TunnelConfig{
		"clients": {MaxClients: -1}, "more_clients": {MaxClients: 1 << 20},
		"buffer": {BufferBytes: -1}, "timeout": {Timeout: time.Nanosecond},
	} {
		if s, err := ListenVXLAN("127.0.0.1:0", c); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.HasPrefix(err.Error(), "capture: vxlan on ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:x", "192.0.2.1:4789"} {
		if s, err := ListenVXLAN(addr, TunnelConfig{}); err == nil {
			s.Close()
			t.Errorf("%s: no error", addr)
		}
	}
}

func BenchmarkTunnelPacket(b *testing.B) {
	e, _ := listen(b, ListenVXLAN, TunnelConfig{})
	d := received{octets: append(make([]byte, tunnelRoom), vxlanOf(42, "frame")...), from: netip.MustParseAddr("192.0.2.7")}
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		e.packet(&p, &d)
	}
}

// A packet of a tunnel costs no allocation.
func TestTunnelAllocs(t *testing.T) {
	e, _ := listen(t, ListenVXLAN, TunnelConfig{})
	d := received{octets: append(make([]byte, tunnelRoom), vxlanOf(42, "frame")...), from: netip.MustParseAddr("192.0.2.7")}
	var p Packet
	e.packet(&p, &d)
	if n := testing.AllocsPerRun(100, func() { e.packet(&p, &d) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
