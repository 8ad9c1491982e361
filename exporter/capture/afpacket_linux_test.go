package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// experimental is an Ethernet type for local use (IEEE 802), by which the tests
// know their own frames from what the kernel sends on its own.
const experimental = 0x88b5

// pair gives the test a network of its own, with two interfaces a and b that are
// joined, or skips it. The thread stays locked and ends with the test.
func pair(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of iproute2")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace to be had: %v", err)
	}
	// Without IPv6 the kernel sends nothing of its own accord. /proc shows the
	// namespace of the thread that looks.
	os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	for _, command := range []string{
		"ip link add dev a type veth peer name b",
		"ip link set dev lo up",
		"ip link set dev a up",
		"ip link set dev b up",
	} {
		run(t, command)
	}
	joined(t, "a", "b")
}

// joined waits until what one interface sends comes in by the other: the kernel
// takes its time to see the carrier, and drops frames until then.
func joined(t testing.TB, from, to string) {
	t.Helper()
	ifi, err := findInterface(to)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(experimental), Ifindex: ifi.Index}); err != nil {
		t.Fatal(err)
	}
	send := sender(t, from)
	probe := frame(60, 0)
	probe[0] = 6 // no frame of ours
	for range 2000 {
		send(probe)
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10); n == 1 {
			return
		}
	}
	t.Fatalf("%s and %s do not come to be joined", from, to)
}

func run(t testing.TB, command string) {
	t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		if strings.Contains(command, "type veth") {
			t.Skipf("no veth to be had: %s: %v", out, err)
		}
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// bothWays runs a test with a ring and with a queue, each in a network of its
// own.
func bothWays(t *testing.T, test func(t *testing.T, c InterfaceConfig)) {
	for _, noRing := range []bool{false, true} {
		t.Run(map[bool]string{false: "ring", true: "queue"}[noRing], func(t *testing.T) {
			pair(t)
			test(t, InterfaceConfig{NoRing: noRing, Timeout: 20 * time.Millisecond})
		})
	}
}

func open(t *testing.T, name string, c InterfaceConfig) Source {
	t.Helper()
	s, err := OpenInterface(name, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if m, ok := As[Moder](s); !ok || m.Mode().Ring == c.NoRing || m.Mode().BufferBytes == 0 || c.NoRing && m.Mode().Reason == "" {
		t.Errorf("%+v: %v", c, m.Mode())
	}
	return s
}

// sender returns a function that sends a frame on an interface.
func sender(t testing.TB, name string) func(frame []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	ifi, err := findInterface(name)
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: ifi.Index}
	return func(frame []byte) {
		for {
			err := unix.Sendto(fd, frame, 0, to)
			if err == nil {
				return
			}
			if err != unix.ENOBUFS && err != unix.EINTR {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// frame is an Ethernet frame of size octets: addresses, tags, our own Ethernet
// type, a number.
func frame(size int, number uint32, tags ...uint32) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint32(b, tag)
	}
	b = binary.BigEndian.AppendUint16(b, experimental)
	b = binary.BigEndian.AppendUint32(b, number)
	return append(b, make([]byte, max(0, size-len(b)))...)
}

// ours reports whether a frame is one of frame's, behind any tags.
func ours(b []byte) bool { return bytes.HasPrefix(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}) }

// readAll calls visit for each frame of ours until n were read or the interface
// is quiet for long.
func readAll(t *testing.T, s Source, n int, visit func(b []byte)) (read int) {
	t.Helper()
	for quiet := 0; read < n && quiet < 50; {
		b, ci, err := s.ZeroCopyReadPacketData()
		switch {
		case err == ErrTimeout:
			quiet++
			continue
		case err != nil:
			t.Fatal(err)
		}
		quiet = 0
		if !ours(b) {
			continue
		}
		if ci.CaptureLength != len(b) || time.Since(ci.Timestamp).Abs() > time.Minute {
			t.Fatalf("frame of %d octets: %+v", len(b), ci)
		}
		read++
		visit(b)
	}
	return read
}

// Every frame sent is read, in order and whole, and the kernel counts no drop.
func TestInterfaceEveryPacket(t *testing.T) { bothWays(t, testInterfaceEveryPacket) }

func testInterfaceEveryPacket(t *testing.T, c InterfaceConfig) {
	c.Promiscuous = true
	s := open(t, "b", c)
	send := sender(t, "a")
	const n = 20000
	go func() {
		for i := range uint32(n) {
			send(frame(60+int(i%1400), i))
		}
	}()
	next := uint32(0)
	read := readAll(t, s, n, func(b []byte) {
		if number := binary.BigEndian.Uint32(b[14:]); number != next || len(b) != 60+int(number%1400) {
			t.Fatalf("frame %d of %d octets, want %d", number, len(b), next)
		}
		next++
	})
	if st := s.Stats(); read != n || st.Drops != 0 || st.Packets < n {
		t.Errorf("%d of %d frames read, %+v", read, n, st)
	}
	if s.LinkType() != linkEthernet {
		t.Errorf("link type %d", s.LinkType())
	}
}

// A tag that the kernel takes off comes back, the outermost of two as well.
func TestInterfaceVLAN(t *testing.T) { bothWays(t, testInterfaceVLAN) }

func testInterfaceVLAN(t *testing.T, c InterfaceConfig) {
	s := open(t, "b", c)
	send := sender(t, "a")
	sent := [][]byte{
		frame(60, 0, 0x8100_2007),
		frame(1500, 1, 0x88a8_0064, 0x8100_00c8),
		frame(60, 2),
	}
	for _, f := range sent {
		send(f)
	}
	i := 0
	readAll(t, s, len(sent), func(b []byte) {
		if !bytes.Equal(b, sent[i]) {
			t.Errorf("frame %d: % x…, want % x…", i, b[:24], sent[i][:24])
		}
		i++
	})
	if i != len(sent) {
		t.Errorf("%d of %d frames read", i, len(sent))
	}
}

// What the snap length cuts off is cut, and the frame's length still told.
func TestInterfaceSnapLen(t *testing.T) { bothWays(t, testInterfaceSnapLen) }

func testInterfaceSnapLen(t *testing.T, c InterfaceConfig) {
	c.SnapLen = 68
	s := open(t, "b", c)
	sender(t, "a")(frame(1000, 0))
	for {
		b, ci, err := s.ZeroCopyReadPacketData()
		if err == ErrTimeout || err == nil && !ours(b) {
			continue
		}
		if err != nil || len(b) != 68 || ci.Length != 1000 {
			t.Errorf("%d octets, %+v, %v", len(b), ci, err)
		}
		return
	}
}

// What finds no room in the ring is counted: frames seen = read + dropped.
func TestInterfaceDrops(t *testing.T) { bothWays(t, testInterfaceDrops) }

func testInterfaceDrops(t *testing.T, c InterfaceConfig) {
	c.BufferBytes = 1
	s := open(t, "b", c)
	send := sender(t, "a")
	for i := range uint32(4000) { // twice what the smallest ring holds, and the queue
		send(frame(1400, i))
	}
	read := uint64(0)
	for {
		_, _, err := s.ZeroCopyReadPacketData()
		if err == ErrTimeout {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		read++
	}
	first := s.Stats()
	s.Close()
	if st := s.Stats(); st.Drops == 0 || st.Packets != read+st.Drops || first.Drops != st.Drops {
		t.Errorf("%d read, %+v, after Close %+v", read, first, st)
	}
}

// The loopback interface shows a packet on its way out and on its way in; the
// former can be left out.
func TestInterfaceIgnoreOutgoing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ignore bool
		want   int
	}{{"both directions", false, 2}, {"incoming only", true, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c InterfaceConfig) {
				c.IgnoreOutgoing, c.Timeout = tt.ignore, 5*time.Millisecond
				s := open(t, "lo", c)
				sender(t, "lo")(frame(60, 0))
				if n := readAll(t, s, 3, func([]byte) {}); n != tt.want {
					t.Errorf("frame came %d times, want %d", n, tt.want)
				}
			})
		})
	}
}

// A quiet interface gives ErrTimeout, and Close ends a wait however long.
func TestInterfaceQuiet(t *testing.T) { bothWays(t, testInterfaceQuiet) }

func testInterfaceQuiet(t *testing.T, c InterfaceConfig) {
	s := open(t, "lo", c)
	if _, _, err := s.ZeroCopyReadPacketData(); err != ErrTimeout {
		t.Errorf("quiet interface: %v", err)
	}
	c.Timeout = time.Hour
	s = open(t, "lo", c)
	done := make(chan error)
	go func() {
		_, _, err := s.ZeroCopyReadPacketData()
		done <- err
	}()
	time.Sleep(20 * time.Millisecond) // either order must do
	s.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, _, err := s.ZeroCopyReadPacketData(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close, again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// An interface that goes down says so, and goes on when it is up again.
func TestInterfaceDown(t *testing.T) { bothWays(t, testInterfaceDown) }

func testInterfaceDown(t *testing.T, c InterfaceConfig) {
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, "b", c)
	run(t, "ip link set dev b down")
	var err error
	for range 50 {
		if _, _, err = s.ZeroCopyReadPacketData(); err != nil && err != ErrTimeout {
			break
		}
	}
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, syscall.ENETDOWN) || !strings.Contains(err.Error(), "the interface went down") {
		t.Fatalf("interface down: %v", err)
	}
	run(t, "ip link set dev b up")
	send := sender(t, "a")
	for range 200 { // the kernel takes a while to see the carrier
		send(frame(60, 0))
		if b, _, err := s.ZeroCopyReadPacketData(); err == nil && ours(b) {
			for _, want := range []string{"the interface went down", "the interface is up again"} {
				if strings.Count(log.String(), want) != 1 {
					t.Errorf("not logged once: %s\n%s", want, &log)
				}
			}
			return
		}
	}
	t.Error("nothing came when the interface was up again")
}

// An interface that is removed ends the capture for good.
func TestInterfaceRemoved(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		s := open(t, "b", c)
		run(t, "ip link del dev b")
		for range 2 {
			var err error
			for range 50 {
				if _, _, err = s.ZeroCopyReadPacketData(); err != nil && !errors.Is(err, ErrTimeout) {
					break
				}
			}
			if !errors.Is(err, syscall.ENODEV) || err.Error() != "capture: b: the interface was removed: no such device" {
				t.Fatalf("interface removed: %v", err)
			}
		}
	})
}

// The kernel runs the filter: what it does not want is not even counted. How much
// it keeps is kept, and no more than the snap length.
func TestInterfaceFilter(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		c.Filter = program(t,
			bpf.LoadAbsolute{Off: 12, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: experimental, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
			bpf.LoadAbsolute{Off: 14, Size: 4}, // the number
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
			bpf.RetConstant{Val: 262144})
		c.SnapLen, c.IgnoreOutgoing = 100, true
		s := open(t, "b", c)
		send := sender(t, "a")
		for i := range uint32(100) {
			send(frame(200, i))
		}
		next := uint32(1)
		readAll(t, s, 50, func(b []byte) {
			if number := binary.BigEndian.Uint32(b[14:]); number != next || len(b) != 100 {
				t.Fatalf("frame %d of %d octets, want %d", number, len(b), next)
			}
			next += 2
		})
		if st := s.Stats(); next != 101 || st != (Stats{Packets: 50}) {
			t.Errorf("%d read, %+v", next/2, st)
		}
	})
}

func program(t testing.TB, instructions ...bpf.Instruction) []bpf.RawInstruction {
	t.Helper()
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The interface is described by its number, its name and what it is called.
func TestInterfaceDescription(t *testing.T) {
	pair(t)
	run(t, "ip link set dev b alias uplink-to-the-core")
	s := open(t, "b", InterfaceConfig{Timeout: 20 * time.Millisecond})
	ifi, err := findInterface("b")
	if err != nil {
		t.Fatal(err)
	}
	d, ok := As[Describer](s)
	want := []Interface{{uint32(ifi.Index), "b", "uplink-to-the-core"}}
	if !ok || !slices.Equal(d.Interfaces(), want) {
		t.Errorf("%+v, want %+v", d.Interfaces(), want)
	}
	sender(t, "a")(frame(60, 0))
	for range 50 {
		b, ci, err := s.ZeroCopyReadPacketData()
		if err == nil && ours(b) {
			if ci.InterfaceIndex != ifi.Index {
				t.Errorf("packet of interface %d, want %d", ci.InterfaceIndex, ifi.Index)
			}
			return
		}
	}
	t.Error("nothing came")
}

// A device without an Ethernet header gives raw IP, whether it has no header at
// all, which lets super-packets be told, or one that the kernel takes off.
func TestInterfaceTunnel(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind int
	}{{"no_header", unix.ARPHRD_NONE}, {"some_header", unix.ARPHRD_TUNNEL}} {
		t.Run(tt.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, c InterfaceConfig) { testInterfaceTunnel(t, c, tt.kind) })
		})
	}
}

func testInterfaceTunnel(t *testing.T, c InterfaceConfig, kind int) {
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no tun device to be had: %v", err)
	}
	defer unix.Close(tun)
	request, err := unix.NewIfreq("tun9")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, request); err != nil {
		t.Skipf("no tun device to be had: %v", err)
	}
	if err := unix.IoctlSetInt(tun, unix.TUNSETLINK, kind); err != nil {
		t.Skipf("no tun device of this type to be had: %v", err)
	}
	run(t, "ip link set dev tun9 up")
	s := open(t, "tun9", c)
	if m, _ := As[Moder](s); m.Mode().Segments && kind != unix.ARPHRD_NONE || !m.Mode().Segments && m.Mode().Reason == "" {
		t.Errorf("mode %v", m.Mode())
	}
	small := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, make([]byte, 8)...)
	large := superPacket(false, false, 0, 5000, 1000)
	large = append(large[:virtioSize:virtioSize], large[virtioSize+14:]...) // without its Ethernet header
	binary.NativeEndian.PutUint16(large[2:], 52)
	binary.NativeEndian.PutUint16(large[6:], 20)
	for i, sent := range [][]byte{append(make([]byte, virtioSize), small...), large} {
		if _, err := unix.Write(tun, sent); err != nil {
			t.Fatal(err)
		}
		sent = sent[virtioSize:]
		dst := make([]Packet, 1)
		n := 0
		for range 50 {
			if n, err = Batch(s).ReadBatch(dst); err != ErrTimeout {
				break
			}
		}
		if err != nil || n != 1 {
			t.Fatalf("packet %d: nothing came: %v", i, err)
		}
		p := &dst[0]
		if !bytes.Equal(p.Data, sent) || int(p.Length) != len(sent) || p.Link != linkRaw || s.LinkType() != linkRaw {
			t.Errorf("packet %d: % x…, %d octets, link type %d", i, p.Data[:20], p.Length, p.Link)
		}
		if m, _ := As[Moder](s); i == 1 && m.Mode().Segments && (p.Segments != 5 || p.Headers != 52) {
			t.Errorf("%d segments with headers of %d octets, want 5 with 52", p.Segments, p.Headers)
		}
	}
}

// What cannot be captured from is said in one sentence.
func TestOpenInterfaceErrors(t *testing.T) {
	pair(t)
	run(t, "ip link set dev a down")
	for _, tt := range []struct {
		name   string
		iface  string
		config InterfaceConfig
		want   string
		is     error
	}{
		{"unknown", "eth9", InterfaceConfig{}, "capture: eth9: there is no such interface (there are ", nil},
		{"down", "a", InterfaceConfig{}, "capture: a: the interface is down: 'ip link set a up' brings it up", syscall.ENETDOWN},
		{"buffer", "lo", InterfaceConfig{BufferBytes: -1}, "capture: lo: a buffer of -1 octets is not possible", nil},
		{"snap length", "lo", InterfaceConfig{SnapLen: -1}, "capture: lo: a snap length of -1 is not possible", nil},
		{"timeout", "lo", InterfaceConfig{Timeout: time.Microsecond}, "capture: lo: a timeout of 1µs is not possible", nil},
	} {
		_, err := OpenInterface(tt.iface, tt.config)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, want %s…", tt.name, err, tt.want)
		}
	}

	// Last, because the thread keeps no capability.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Skipf("cannot give up capabilities: %v", err)
	}
	_, err := OpenInterface("lo", InterfaceConfig{})
	if err == nil || !strings.HasPrefix(err.Error(), "capture: lo: capturing needs CAP_NET_RAW: run as root, or") || !errors.Is(err, os.ErrPermission) {
		t.Errorf("without CAP_NET_RAW: %v", err)
	}
}

// What this host sends goes out by the interface, all else comes in by it.
func TestInterfaceDirection(t *testing.T) {
	bothWays(t, func(t *testing.T, c InterfaceConfig) {
		c.Timeout = 5 * time.Millisecond
		s := open(t, "lo", c)
		ifi, err := findInterface("lo")
		if err != nil {
			t.Fatal(err)
		}
		sender(t, "lo")(frame(60, 0))
		var got []seenAt
		var packets [4]Packet
		for range 100 {
			n, err := Batch(s).ReadBatch(packets[:])
			if err != nil && !errors.Is(err, ErrTimeout) {
				t.Fatal(err)
			}
			for _, p := range packets[:n] {
				if ours(p.Data) {
					got = append(got, seenAt{p.InIf, p.OutIf, p.Direction})
				}
			}
			if len(got) == 2 {
				break
			}
		}
		n := uint32(ifi.Index)
		if want := []seenAt{{0, n, Egress}, {n, 0, Ingress}}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
