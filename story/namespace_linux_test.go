package story

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
