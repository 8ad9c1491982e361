package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"flowtally/flow"
	"flowtally/netflow"
)

// ownNetwork gives the test a network of its own, or skips it. All that the test
// opens and starts from its own goroutine is in there; the thread ends with it.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace to be had: %v", err)
	}
	// Without IPv6 the kernel sends nothing of its own accord.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
}

// started is a program that runs until the test ends.
func started(t *testing.T, env []string, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// vswitch runs Open vSwitch without the kernel's help, with ports p0 and p1 whose
// far ends are q0 and q1, and returns a function that runs ovs-vsctl.
func vswitch(t *testing.T) (control func(args ...string)) {
	t.Helper()
	daemon, server := peer(t, "ovs-vswitchd"), peer(t, "ovsdb-server")
	tool, vsctl := peer(t, "ovsdb-tool"), peer(t, "ovs-vsctl")
	ip := peer(t, "ip")
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	for _, file := range []string{schema, "/dev/net/tun"} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("Open vSwitch needs it: %v", err)
		}
	}
	ownNetwork(t)
	dir, err := os.MkdirTemp("", "vs") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := func(name string) string { return filepath.Join(dir, name) }
	env := []string{"OVS_RUNDIR=" + dir, "OVS_LOGDIR=" + dir, "OVS_DBDIR=" + dir, "OVS_SYSCONFDIR=" + dir}
	run := func(path string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", path, args, err, out)
		}
		return nil
	}
	if err := run(ip, "link", "set", "dev", "lo", "up"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"0", "1"} {
		if err := run(ip, "link", "add", "dev", "p"+n, "type", "veth", "peer", "name", "q"+n); err != nil {
			t.Skipf("the kernel here does not do this: %v", err)
		}
		for _, dev := range []string{"p" + n, "q" + n} {
			if err := run(ip, "link", "set", "dev", dev, "up"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := run(tool, "create", in("conf.db"), schema); err != nil {
		t.Fatal(err)
	}
	db := "unix:" + in("db.sock")
	started(t, env, server, in("conf.db"), "--remote=p"+db, "--unixctl="+in("db.ctl"))
	for deadline := time.Now().Add(5 * time.Second); run(vsctl, "--db="+db, "--timeout=2", "--no-wait", "init") != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("ovsdb-server does not answer")
		}
	}
	started(t, env, daemon, db, "--disable-system", "--unixctl="+in("vs.ctl"))
	return func(args ...string) {
		t.Helper()
		if err := run(vsctl, append([]string{"--db=" + db, "--timeout=5"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// wireEnd sends and receives the frames of an interface.
type wireEnd int

func openWire(t *testing.T, device string) wireEnd {
	t.Helper()
	i, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Skipf("no packet socket to be had: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}); err != nil {
		t.Fatal(err)
	}
	// Otherwise what it sends is received there, too.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		t.Skip(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		t.Fatal(err)
	}
	return wireEnd(fd)
}

func (w wireEnd) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := unix.Send(int(w), frame, 0); err != nil {
		t.Fatal(err)
	}
}

// receive waits for a frame.
func (w wireEnd) receive(t *testing.T, frame []byte) {
	t.Helper()
	for b := make([]byte, 2048); ; {
		n, err := unix.Read(int(w), b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("the switch forwards nothing: %v", err)
		}
		if slices.Equal(b[:n], frame) {
			return
		}
	}
}

// frame is a UDP datagram from one machine to another, or, to port 0, an echo request.
func frame(t *testing.T, from, to byte, port int) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 0, 0, from), DstIP: net.IPv4(10, 0, 0, to)}
	udp := &layers.UDP{SrcPort: 5353, DstPort: layers.UDPPort(port)}
	_ = udp.SetNetworkLayerForChecksum(ip)
	var next gopacket.SerializableLayer = udp
	if port == 0 {
		ip.Protocol = layers.IPProtocolICMPv4
		next = &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 1, Seq: 1}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, from}, DstMAC: []byte{2, 0, 0, 0, 0, to}, EthernetType: layers.EthernetTypeIPv4},
		ip, next, gopacket.Payload("longer than the shortest of frames, which are padded")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// datagram is one that came.
type datagram struct {
	bytes []byte
	from  netip.AddrPort
	at    flow.Time
}

// following returns a collector to which nothing came yet.
func following() (*process, *filler) {
	p := newProcess(Config{Identity: IdentitySource}.withDefaults())
	f := &filler{}
	p.open(f, netflow.NewDecoder(p.Limits))
	return p, f
}

// The values of flow.Record's Direction.
const ingress, egress = 1, 2

// sum returns what the records of a direction hold.
func (f *filler) sum(direction uint8) (packets, bytes uint64) {
	for i := range f.batch {
		if r := &f.batch[i]; r.Direction == direction {
			packets, bytes = packets+r.Packets, bytes+r.Bytes
		}
	}
	return packets, bytes
}

// expectMissing compares what the numbers show to be missing, an hour after now.
func (p *process) expectMissing(t *testing.T, now flow.Time, want uint64) {
	t.Helper()
	var missing uint64
	for _, s := range p.ledger.take(now+flow.Hour, true).Status {
		missing += s.MissingRecords + s.MissingDatagrams
		t.Logf("domain %d: %d datagrams of %d records, numbers count %v", s.Domain, s.Datagrams, s.Records, s.Numbering)
		if s.Restarts+s.Duplicates+s.Malformed+s.NoTemplate+s.TimeRepaired > 0 || s.SamplingRate > 1 {
			t.Errorf("status %+v", s)
		}
	}
	if missing != want {
		t.Errorf("%d missing, want %d", missing, want)
	}
}

// vswitchExport is how Open vSwitch is told to export.
type vswitchExport struct {
	name     string
	flows    int // at once
	settings []string
	// direction is that of the records that tell of each packet once, header how many
	// bytes of each are counted that are not of the IP packet.
	direction uint8
	header    int
}

// switched sends packets through a switch until all of them have been told of, and
// returns what came.
func switched(t *testing.T, v vswitchExport) (all []datagram) {
	control := vswitch(t)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadBuffer(4 << 20)
	control("set", "Open_vSwitch", ".", "other_config:max-idle=500",
		"--", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev",
		"--", "add-port", "br0", "p0", "--", "add-port", "br0", "p1")
	control(append(append([]string{"--", "--id=@x", "create"}, v.settings...), fmt.Sprintf("targets=%q", conn.LocalAddr()),
		"--", "set", "bridge", "br0", v.settings[0]+"=@x")...)
	received := make(chan datagram, 1<<14)
	go func() {
		for {
			b := make([]byte, maxDatagram)
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			received <- datagram{b[:n], from, flow.TimeOf(time.Now())}
		}
	}()

	here, there := openWire(t, "q0"), openWire(t, "q1")
	var sent, bytes uint64
	send := func(from, to wireEnd, frame []byte) {
		from.send(t, frame)
		to.receive(t, frame)
		sent, bytes = sent+1, bytes+uint64(len(frame)-14+v.header)
	}
	send(there, here, frame(t, 2, 1, 53)) // the switch learns where that one is
	for range 3 {
		for port := range v.flows {
			f := frame(t, 1, 2, port)
			send(here, there, f)
			send(here, there, f)
		}
		time.Sleep(800 * time.Millisecond)
	}

	p, f := following()
	packets, octets := uint64(0), uint64(0)
	for deadline := time.After(6 * time.Second); ; {
		wait := deadline
		if packets >= sent { // and what goes out, or what should not come
			wait = time.After(1500 * time.Millisecond)
		}
		select {
		case d := <-received:
			all = append(all, d)
			p.decode(f, d.from, d.at, d.bytes)
			packets, octets = f.sum(v.direction)
			continue
		case <-wait:
		}
		break
	}
	if packets != sent || octets != bytes {
		t.Fatalf("%d packets of %d bytes are told, %d of %d were sent", packets, octets, sent, bytes)
	}
	if v.direction != 0 {
		// At least: what is flooded goes out at several ports.
		if packets, _ := f.sum(egress); packets < sent {
			t.Errorf("going out: %d packets, %d were sent", packets, sent)
		}
	}
	p.expectMissing(t, all[len(all)-1].at, 0)
	return all
}

// TestOpenVSwitchLosesNothing: it numbers a message by its last record, in v5 and in
// IPFIX, which is no loss; a datagram that is lost is told with its records. All that
// was sent is in the records: in IPFIX once where it comes in and once where it goes
// out.
func TestOpenVSwitchLosesNothing(t *testing.T) {
	for _, v := range []vswitchExport{
		{"v5", 300, []string{"netflow", "active_timeout=1"}, 0, 14},
		{"ipfix", 60, []string{"ipfix", "sampling=1", "obs_domain_id=7", "obs_point_id=1", "cache_active_timeout=1", "cache_max_flows=1000"}, ingress, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			all := switched(t, v)
			p, f := following()
			want := uint64(0)
			for i, d := range all {
				if i != len(all)-3 {
					p.decode(f, d.from, d.at, d.bytes)
					continue
				}
				g := &filler{} // what is lost is counted elsewhere
				p.open(g, f.dec)
				var m netflow.Message
				if _, err := f.dec.Decode(nil, &m, d.from, d.at, d.bytes); err != nil {
					t.Fatal(err)
				}
				want = uint64(m.Records)
			}
			p.expectMissing(t, all[len(all)-1].at, want)
			if v.name == "ipfix" {
				anHour(t, all)
			}
		})
	}
}

// anHour lets what a switch sent in IPFIX go on: every ten minutes it repeats what it
// began with, templates and a record of another domain's options, which has a number
// of the same counter.
func anHour(t *testing.T, all []datagram) {
	t.Helper()
	const templates = 2
	set := func(d datagram) int { return int(d.bytes[16])<<8 | int(d.bytes[17]) }
	domain := func(d datagram) uint32 { return binary.BigEndian.Uint32(d.bytes[12:]) }
	n := slices.IndexFunc(all, func(d datagram) bool { return domain(d) == 7 && set(d) != templates })
	if n < 2 || domain(all[n-1]) == 7 || set(all[n-1]) < 256 {
		t.Skip("it begins otherwise than Open vSwitch 3.1 does")
	}
	p, f := following()
	now, seq := all[n].at, uint32(0)
	send := func(d datagram) {
		b := slices.Clone(d.bytes)
		if set(d) >= 256 {
			seq++
		}
		binary.BigEndian.PutUint32(b[8:], max(seq, 1))
		p.decode(f, d.from, now, b)
		f.batch = f.batch[:0]
	}
	for second := range 3600 {
		if second%600 == 0 {
			for _, d := range all[:n] {
				send(d)
			}
		}
		for range 5 {
			send(all[n])
		}
		now += flow.Second
	}
	for _, e := range p.ledger.exporters {
		if !e.NumberingShared {
			t.Errorf("domain %d: its counter is not found to be that of all", e.Domain)
		}
	}
	p.expectMissing(t, now, 0)
}
