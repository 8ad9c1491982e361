package story

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/netflow"
)

// The recipes of people who mirror virtual machines, each in network namespaces
// of the test's own: what the machines send arrives in the records of a real
// exporter, each machine told apart, each packet once.

// namespace is a network of its own, with a thread that lives in it.
type namespace struct {
	t     *testing.T
	calls chan func()
	fd    int
}

// newNamespace makes one, or skips the test.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of iproute2")
	}
	n := &namespace{t: t, calls: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		var err error
		n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		made <- err
		for call := range n.calls {
			call()
		}
	}()
	if err := <-made; err != nil {
		t.Skipf("no network namespace to be had: %v", err)
	}
	t.Cleanup(func() { close(n.calls); unix.Close(n.fd) })
	n.in(func() {
		// Without IPv6 the kernel sends nothing of its own accord.
		os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	})
	n.run("ip link set dev lo up")
	return n
}

// in calls f in the namespace.
func (n *namespace) in(f func()) {
	done := make(chan struct{})
	n.calls <- func() { defer close(done); f() }
	<-done
}

// try runs a command in the namespace.
func (n *namespace) try(command string) error {
	var out []byte
	var err error
	n.in(func() {
		words := strings.Fields(command)
		out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

func (n *namespace) run(commands ...string) {
	n.t.Helper()
	for _, command := range commands {
		if err := n.try(command); err != nil {
			n.t.Fatal(err)
		}
	}
}

// need runs a command that not every kernel has the modules for.
func (n *namespace) need(command string) {
	n.t.Helper()
	if err := n.try(command); err != nil {
		n.t.Skipf("the kernel here does not do this: %v", err)
	}
}

// join makes a cable to another namespace.
func (n *namespace) join(here string, other *namespace, there string) {
	n.t.Helper()
	n.need(fmt.Sprintf("ip link add dev %s type veth peer name %s netns /proc/%d/fd/%d", here, there, os.Getpid(), other.fd))
	n.run("ip link set dev " + here + " up")
	other.run("ip link set dev " + there + " up")
}

// machine is what sends: a UDP socket in a namespace, at an address.
type machine struct {
	addr netip.Addr
	conn *net.UDPConn
}

// trafficPort is the one that counts; what says hello, and the last word, go to
// others.
const trafficPort, helloPort, lastPort = 7, 9, 10

func (n *namespace) machine(addr string) *machine {
	n.t.Helper()
	m := &machine{addr: netip.MustParseAddr(addr)}
	var err error
	n.in(func() {
		m.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: m.addr.AsSlice(), Port: trafficPort})
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { m.conn.Close() })
	return m
}

// send sends datagrams of so many octets with their headers.
func (m *machine) send(t *testing.T, to *machine, datagrams, octets int) {
	t.Helper()
	payload := make([]byte, octets-28)
	for i := range datagrams {
		binary.BigEndian.PutUint32(payload, uint32(i))
		if _, err := m.conn.WriteToUDPAddrPort(payload, netip.AddrPortFrom(to.addr, trafficPort)); err != nil {
			t.Fatal(err)
		}
	}
}

// reach sends until the first datagrams come through: addresses are resolved and
// carriers seen then.
func (m *machine) reach(t *testing.T, to *machine) {
	t.Helper()
	buffer := make([]byte, 2048)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		m.conn.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(to.addr, trafficPort))
		to.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, _, err := to.conn.ReadFromUDPAddrPort(buffer); err == nil {
			return
		}
	}
	t.Fatalf("%v does not reach %v", m.addr, to.addr)
}

// seen is a flow as the records tell it.
type seen struct {
	client   string // the interface's name
	src, dst string
}

type tally struct{ packets, octets uint64 }

// mirror is an exporter on a Source, with a decoder behind it.
type mirror struct {
	t      *testing.T
	source *watched
	stop   context.CancelFunc
	sum    exporter.Summary
	done   chan error

	mu      sync.Mutex
	totals  map[seen]tally
	packets uint64 // of all records
}

// watched is a Source that tells what it gave.
type watched struct {
	capture.Source
	decoder *packet.Decoder
	mu      sync.Mutex
	given   map[[2]string]int
	hello   bool
	last    map[string]bool // who said it
}

func (w *watched) Unwrap() capture.Source { return w.Source }

func (w *watched) ReadBatch(dst []capture.Packet) (int, error) {
	n, err := capture.Batch(w.Source).ReadBatch(dst)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range dst[:n] {
		var p packet.Packet
		switch err := w.decoder.Decode(&p, dst[i].Link, dst[i].Data); {
		case err == nil && p.DstPort == trafficPort:
			w.given[[2]string{p.SrcAddr.String(), p.DstAddr.String()}]++
		case err == nil && p.DstPort == helloPort:
			w.hello = true
		case err == nil && p.DstPort == lastPort:
			w.last[p.SrcAddr.String()] = true
		}
	}
	return n, err
}

// newMirror starts an exporter on a Source that open opens in the namespace.
func newMirror(n *namespace, open func() (capture.Source, error)) *mirror {
	t := n.t
	t.Helper()
	var source capture.Source
	var err error
	n.in(func() { source, err = open() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	collector, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	m := &mirror{
		t: t, stop: stop, done: make(chan error, 1), totals: make(map[seen]tally),
		source: &watched{Source: source, decoder: packet.NewDecoder(), given: make(map[[2]string]int), last: make(map[string]bool)},
	}
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		m.collect(collector)
	}()
	t.Cleanup(func() { collector.Close(); <-collected })
	t.Cleanup(stop)
	go func() {
		var err error
		m.sum, err = exporter.Run(ctx, exporter.Config{
			Source: m.source, Live: true, To: []string{collector.LocalAddr().String()}, Version: netflow.IPFIX,
		})
		m.done <- err
	}()
	return m
}

// collect adds up the records that arrive.
func (m *mirror) collect(conn *net.UDPConn) {
	d := netflow.NewDecoder(netflow.Limits{})
	var message netflow.Message
	var records []flow.Record
	buffer := make([]byte, 1<<16)
	describer, _ := capture.As[capture.Describer](m.source.Source)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		records, err = d.Decode(records[:0], &message, from, flow.TimeOf(time.Now()), buffer[:n])
		if err != nil {
			m.t.Errorf("a message that cannot be decoded: %v", err)
		}
		names := map[uint32]string{}
		for _, i := range describer.Interfaces() {
			names[i.Index] = i.Name
		}
		m.mu.Lock()
		for _, r := range records {
			m.packets += r.Packets
			if r.DstPort != trafficPort {
				continue
			}
			name, ok := names[r.InIf]
			if !ok {
				name = fmt.Sprintf("interface %d without a name", r.InIf)
			}
			k := seen{name, r.SrcAddr.String(), r.DstAddr.String()}
			n := m.totals[k]
			m.totals[k] = tally{n.packets + r.Packets, n.octets + r.Bytes}
		}
		m.mu.Unlock()
	}
}

// wait waits until so many packets were given of each pair of addresses.
func (m *mirror) wait(want map[[2]string]int) {
	m.t.Helper()
	var missing string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		missing = ""
		m.source.mu.Lock()
		for pair, n := range want {
			if got := m.source.given[pair]; got < n {
				missing += fmt.Sprintf(" %d of %d from %s to %s;", got, n, pair[0], pair[1])
			}
		}
		m.source.mu.Unlock()
		if missing == "" {
			return
		}
	}
	m.t.Fatalf("only so many packets came:%s counters %+v", missing, m.source.Stats())
}

// settle waits until a last word of each came through: what came before it, once
// or twice, is there.
func (m *mirror) settle(one, two *machine) {
	m.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		one.conn.WriteToUDPAddrPort([]byte("last"), netip.AddrPortFrom(two.addr, lastPort))
		two.conn.WriteToUDPAddrPort([]byte("last"), netip.AddrPortFrom(one.addr, lastPort))
		m.source.mu.Lock()
		both := m.source.last[one.addr.String()] && m.source.last[two.addr.String()]
		m.source.mu.Unlock()
		if both {
			return
		}
	}
	m.t.Fatal("the last word did not come")
}

// finish ends the exporter and returns what the decoder got.
func (m *mirror) finish() map[seen]tally {
	m.t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		m.t.Fatal(err)
	}
	if m.sum.KernelDrops != 0 || m.sum.NotSent != 0 {
		m.t.Errorf("lost on the way: %+v", m.sum)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m.mu.Lock()
		packets, totals := m.packets, maps.Clone(m.totals)
		m.mu.Unlock()
		if packets == m.sum.Packets || time.Now().After(deadline) {
			return totals
		}
	}
}

func (m *mirror) compare(got, want map[seen]tally) {
	m.t.Helper()
	if !maps.Equal(got, want) {
		m.t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

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
