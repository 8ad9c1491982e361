package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flowtally/exporter"
)

// An interface that is down at start is waited for, said once, and metered when it comes
// up; one that does not exist is an error that names the nearest; whoever stops a program
// that waits gets its summary.
func TestInterfaceDownAtStart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip of iproute2")
	}
	runtime.LockOSThread() // the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace to be had: %v", err)
	}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("link set dev lo up")
	ip("link add dev mirror0 type veth peer name far0")
	ip("address add 10.9.0.1/24 dev far0")
	ip("link set dev far0 up")
	ip("neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev far0")
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func() (cmd *exec.Cmd, said *bufio.Scanner, out *bytes.Buffer) {
		cmd = exec.Command(self, "exporter", "-i", "mirror0", "-n", conn.LocalAddr().String(), "-v", "9", "--filter", "udp port 7777", "--json")
		cmd.Env = append(os.Environ(), mainVariable+"=1")
		out = new(bytes.Buffer)
		cmd.Stdout = out
		log, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, bufio.NewScanner(log), out
	}
	until := func(said *bufio.Scanner, words string) (before string) {
		t.Helper()
		for said.Scan() {
			if strings.Contains(said.Text(), words) {
				return before
			}
			before += said.Text() + "\n"
		}
		t.Fatalf("it never said %q, but %s", words, before)
		return ""
	}
	stop := func(cmd *exec.Cmd, out *bytes.Buffer) (s exporter.Summary) {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			t.Errorf("%v in %q", err, out.String())
		}
		return s
	}

	cmd, said, out := start()
	until(said, "the interface is down: metering begins when it is up")
	time.Sleep(300 * time.Millisecond) // it looks several times
	ip("link set dev mirror0 up")
	if between := until(said, "msg=exporting"); strings.Contains(between, "is down") {
		t.Errorf("it is said again: %s", between)
	}
	udp, err := net.Dial("udp", "10.9.0.2:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	b := make([]byte, 2048)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for n := 0; n < 2; n++ { // the second comes when a flow is sent, the first may be of options
		if _, err := udp.Write([]byte("here")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if s := stop(cmd, out); s.Packets < 1 || s.Flows != 1 || s.Records != 1 {
		t.Errorf("%+v", s)
	}
	if n, _, err := conn.ReadFrom(b); err != nil || b[1] != 9 {
		t.Errorf("no message of v9 came: %x, %v", b[:n], err)
	}

	ip("link set dev mirror0 down")
	cmd, said, out = start()
	until(said, "the interface is down")
	if s := stop(cmd, out); s.Packets != 0 {
		t.Errorf("%+v", s)
	}

	status, _, stderr := flowtally(t, "exporter", "--interface", "miror0", "--to", conn.LocalAddr().String())
	if status != 1 || !strings.Contains(stderr, "did you mean mirror0?") {
		t.Errorf("status %d, it said %s", status, stderr)
	}
}
