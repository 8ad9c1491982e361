package story

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"flowtally/exporter/capture"
)

// The recipes of people who mirror virtual machines, each in network namespaces
// of the test's own: what the machines send arrives in the records of a real
// exporter, each machine told apart, each packet once.

// bridge makes a host with two machines on a bridge, whose ports are called v1
// and v2.
func bridge(t *testing.T) (host *namespace, one, two *machine) {
	t.Helper()
	host = newNamespace(t)
	host.need("ip link add dev br0 type bridge")
	host.run("ip link set dev br0 up")
	var machines []*machine
	for i, name := range []string{"v1", "v2"} {
		guest := newNamespace(t)
		host.join(name, guest, "eth0")
		host.run("ip link set dev " + name + " master br0")
		addr := fmt.Sprintf("10.8.0.%d", i+1)
		guest.run("ip addr add " + addr + "/24 dev eth0")
		machines = append(machines, guest.machine(addr))
	}
	one, two = machines[0], machines[1]
	one.reach(t, two)
	two.reach(t, one)
	return host, one, two
}

// With tc: what each machine sends is copied, where its port hands it to the
// host, into a VXLAN tunnel of its own.
func TestMirrorVXLANByTC(t *testing.T) {
	host, one, two := bridge(t)
	sensor := newNamespace(t)
	host.join("up0", sensor, "eth0")
	host.run("ip addr add 10.9.0.2/24 dev up0")
	sensor.run("ip addr add 10.9.0.1/24 dev eth0")
	for i, port := range []string{"v1", "v2"} {
		vni := 41 + i
		host.need(fmt.Sprintf("ip link add dev vx%d type vxlan id %d remote 10.9.0.1 dstport 4789 nolearning", vni, vni))
		host.run(fmt.Sprintf("ip link set dev vx%d up", vni))
		host.need("tc qdisc add dev " + port + " clsact")
		// The classifier that matches everything, or one that every kernel has.
		action := fmt.Sprintf("action mirred egress mirror dev vx%d", vni)
		if host.try("tc filter add dev "+port+" ingress matchall "+action) != nil {
			host.need("tc filter add dev " + port + " ingress protocol all u32 match u32 0 0 " + action)
		}
	}
	m := newMirror(sensor, func() (capture.Source, error) {
		return capture.ListenVXLAN(":4789", capture.TunnelConfig{Clients: []capture.TunnelClient{
			{Addr: netip.MustParseAddr("10.9.0.2"), ID: 42, HasID: true, Name: "two"},
		}})
	})
	one.send(t, two, 200, 100)
	two.send(t, one, 300, 1500) // as long as the wire takes: in the tunnel, two fragments
	m.wait(map[[2]string]int{{"10.8.0.1", "10.8.0.2"}: 200, {"10.8.0.2", "10.8.0.1"}: 300})
	m.settle(one, two)
	m.compare(m.finish(), map[seen]tally{
		{"vxlan 10.9.0.2 vni 41", "10.8.0.1", "10.8.0.2"}: {200, 200 * 100},
		{"two", "10.8.0.2", "10.8.0.1"}:                   {300, 300 * 1500},
	})
}

// With iptables TEE: the machine itself sends a copy of each packet, in and out,
// to a gateway that is reached through a VXLAN device.
func TestMirrorVXLANByTEE(t *testing.T) {
	if _, err := exec.LookPath("iptables"); err != nil {
		t.Skip("needs iptables")
	}
	sensor := newNamespace(t)
	peerSpace, guest := newNamespace(t), newNamespace(t)
	guest.join("eth0", peerSpace, "eth0")
	guest.join("eth1", sensor, "eth0")
	guest.run("ip addr add 10.8.0.1/24 dev eth0", "ip addr add 10.9.0.2/24 dev eth1")
	peerSpace.run("ip addr add 10.8.0.2/24 dev eth0")
	sensor.run("ip addr add 10.9.0.1/24 dev eth0")
	guest.need("ip link add dev vx7 type vxlan id 7 remote 10.9.0.1 dstport 4789")
	guest.run("ip addr add 10.7.0.1/30 dev vx7", "ip link set dev vx7 up",
		"ip neigh replace 10.7.0.2 lladdr 02:00:00:00:00:07 dev vx7")
	one, two := guest.machine("10.8.0.1"), peerSpace.machine("10.8.0.2")
	one.reach(t, two)
	two.reach(t, one)
	guest.need("iptables -t mangle -A PREROUTING -i eth0 -j TEE --gateway 10.7.0.2")
	guest.need("iptables -t mangle -A POSTROUTING -o eth0 -j TEE --gateway 10.7.0.2")
	m := newMirror(sensor, func() (capture.Source, error) { return capture.ListenVXLAN(":4789", capture.TunnelConfig{}) })
	one.send(t, two, 100, 200)
	two.send(t, one, 150, 300)
	m.wait(map[[2]string]int{{"10.8.0.1", "10.8.0.2"}: 100, {"10.8.0.2", "10.8.0.1"}: 150})
	m.settle(one, two)
	m.compare(m.finish(), map[seen]tally{
		{"vxlan 10.9.0.2 vni 7", "10.8.0.1", "10.8.0.2"}: {100, 100 * 200},
		{"vxlan 10.9.0.2 vni 7", "10.8.0.2", "10.8.0.1"}: {150, 150 * 300},
	})
}

// With nothing but a bridge: one that forgets addresses at once floods its ports,
// the exporter's among them.
func TestMirrorBridgePort(t *testing.T) {
	host, one, two := bridge(t)
	sensor := newNamespace(t)
	host.join("span", sensor, "eth0")
	host.run("ip link set dev span master br0", "ip link set dev br0 type bridge ageing_time 0")
	// From now on what the machines say is flooded; hello until it is.
	m := newMirror(sensor, func() (capture.Source, error) {
		return capture.OpenInterface("eth0", capture.InterfaceConfig{Promiscuous: true})
	})
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		one.conn.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(two.addr, helloPort))
		m.source.mu.Lock()
		hello := m.source.hello
		m.source.mu.Unlock()
		if hello {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the bridge floods nothing")
		}
	}
	one.send(t, two, 200, 100)
	two.send(t, one, 300, 1400)
	m.wait(map[[2]string]int{{"10.8.0.1", "10.8.0.2"}: 200, {"10.8.0.2", "10.8.0.1"}: 300})
	m.settle(one, two)
	m.compare(m.finish(), map[seen]tally{
		{"eth0", "10.8.0.1", "10.8.0.2"}: {200, 200 * 100},
		{"eth0", "10.8.0.2", "10.8.0.1"}: {300, 300 * 1400},
	})
}

// GRE of every kind, from several peers on one socket, without a tunnel device
// at either end.
func TestMirrorGRE(t *testing.T) {
	n := newNamespace(t)
	m := newMirror(n, func() (capture.Source, error) {
		return capture.ListenGRE("", capture.TunnelConfig{Clients: []capture.TunnelClient{
			{Addr: netip.MustParseAddr("127.0.0.3"), Name: "router"},
		}})
	})
	const frame = "020000000001 020000000002 0800"
	type peer struct {
		from, header, client string
		frame                bool
		packets, octets      int
	}
	var peers []peer
	for _, k := range []struct {
		header, client string
		frame          bool
	}{
		{"00000800", "gre %s", false},
		{"20000800 00000005", "gre %s key 5", false},
		{"20006558 00002a00", "gre %s key 10752", true},
		{"000088be", "erspan %s", true},
		{"100088be 00000000 10640c07 00000000", "erspan %s session 7", true},
		{"100022eb 00000000 20640008 00000000 00000000", "erspan %s session 8", true},
		{"100022eb 00000000 20640009 00000000 00000001 0000000000000000", "erspan %s session 9", true},
	} {
		for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
			client := fmt.Sprintf(k.client, from)
			if _, id, ok := strings.Cut(client, "127.0.0.3"); ok {
				client = "router" + id // named by address
			}
			peers = append(peers, peer{from, k.header, client, k.frame, 40 + len(peers), 60 + 10*len(peers)})
		}
	}
	want, given := map[seen]tally{}, map[[2]string]int{}
	for i, p := range peers {
		src, dst := fmt.Sprintf("10.8.0.%d", i+1), "10.8.1.1"
		datagram, err := hex.DecodeString(strings.ReplaceAll(p.header, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if p.frame {
			f, _ := hex.DecodeString(strings.ReplaceAll(frame, " ", ""))
			datagram = append(datagram, f...)
		}
		at := len(datagram)
		datagram = append(datagram, ipv4UDP(netip.MustParseAddr(src), netip.MustParseAddr(dst), p.octets)...)
		var conn *net.IPConn
		n.in(func() {
			conn, err = net.DialIP("ip4:47", &net.IPAddr{IP: net.ParseIP(p.from)}, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)})
		})
		if err != nil {
			t.Fatal(err)
		}
		for k := range p.packets {
			binary.BigEndian.PutUint16(datagram[at+4:], uint16(k+1)) // each is a packet of its own
			if _, err := conn.Write(datagram); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
		w := want[seen{p.client, src, dst}]
		want[seen{p.client, src, dst}] = tally{w.packets + uint64(p.packets), w.octets + uint64(p.packets*p.octets)}
		given[[2]string{src, dst}] += p.packets
	}
	m.wait(given)
	m.compare(m.finish(), want)
	end, ok := capture.As[capture.TunnelEnd](m.source.Source)
	if !ok {
		t.Fatal("the Source ends no tunnel")
	}
	if s := end.TunnelStats(); s.Clients != uint64(len(peers)) || s.Malformed+s.Foreign+s.Others != 0 {
		t.Errorf("counted %+v, want %d clients", s, len(peers))
	}
	if m.sum.Duplicates != 0 {
		t.Errorf("%d packets were taken for copies", m.sum.Duplicates)
	}
}

// ipv4UDP is a packet of so many octets.
func ipv4UDP(src, dst netip.Addr, octets int) []byte {
	b := make([]byte, octets)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(octets))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[20:], trafficPort)
	binary.BigEndian.PutUint16(b[22:], trafficPort)
	binary.BigEndian.PutUint16(b[24:], uint16(octets-20))
	return b
}
