package exporter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/lab/truth"
	"flowtally/netflow"
)

// export runs a capture through Run. That it breaks off is no failure here.
func export(t *testing.T, name string, c Config) (Summary, bool) {
	t.Helper()
	src, err := capture.OpenFile(name)
	if err != nil {
		return Summary{}, false
	}
	defer src.Close()
	c.Source = src
	c.Meter.MaxFlows = 1 << 11 // some captures have more
	s, err := Run(context.Background(), c)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Logf("%s: %v", name, err)
	}
	balance(t, s)
	return s, true
}

// TestTruth: every capture's packets and bytes arrive as they are, whatever the
// dialect; v5 gets those without IPv6. Where the programs that made the figures
// do not agree, what arrives is still what was metered.
func TestTruth(t *testing.T) {
	rows := truth.Table(t, "TRUTH.tsv")
	torture := os.Getenv("FLOWTALLY_TORTURE") != ""
	versions := []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX}
	for n, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			captures := 0
			for i, row := range rows {
				// Each capture in one dialect that can say it, under torture in all.
				turn := i % len(versions)
				if versions[turn] == netflow.V5 && row.Uint(t, "v6_packets") > 0 {
					turn = 1 + i/len(versions)%2
				}
				if turn != n && (!torture || v == netflow.V5 && row.Uint(t, "v6_packets") > 0) {
					continue
				}
				c := listen(t)
				s, ok := export(t, truth.Data(t, row["path"]), Config{
					To: []string{c.addr()}, Version: v, Domain: uint32(i), Pace: 200_000,
				})
				if !ok {
					if row.Agreed() && row.Uint(t, "packets") > 0 {
						t.Errorf("%s: not read, %d packets in it", row["path"], row.Uint(t, "packets"))
					}
					continue
				}
				captures++
				packets, octets := sum(c.wait(t, s.Messages))
				wantPackets, wantOctets := row.Uint(t, "packets"), row.Uint(t, "ip_bytes")
				if !row.Agreed() {
					wantPackets, wantOctets = s.Packets, s.Bytes
				}
				if s.Packets != wantPackets || s.Bytes != wantOctets || packets != wantPackets || octets != wantOctets {
					t.Errorf("%s: metered %d packets %d bytes, received %d and %d, want %d and %d (ignored %+v, seen %d of %d frames)",
						row["path"], s.Packets, s.Bytes, packets, octets, wantPackets, wantOctets, s.IgnoredBy, s.Seen, row.Uint(t, "frames"))
				}
				c.conn.Close()
			}
			t.Logf("%d captures", captures)
		})
	}
}

// TestNfcapdReceivesTheSame: nfdump's collector, to which we owe nothing, gets
// the same totals.
func TestNfcapdReceivesTheSame(t *testing.T) {
	for _, name := range []string{"nfcapd", "nfdump"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s here (package nfdump)", name)
		}
	}
	rows := truth.Table(t, "TRUTH.tsv")
	for _, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
		t.Run(v.String(), func(t *testing.T) {
			into := t.TempDir()
			to, stop := nfcapd(t, into)
			var packets, octets uint64
			captures := 0
			for i, row := range rows {
				if !row.Agreed() || !strings.HasPrefix(row["path"], "pcap/general/") || v == netflow.V5 && row.Uint(t, "v6_packets") > 0 {
					continue
				}
				s, _ := export(t, truth.Data(t, row["path"]), Config{
					To: []string{to}, Version: v, Domain: uint32(i), Pace: 100_000,
				})
				packets += s.Packets
				octets += s.Bytes
				captures++
			}
			said := stop()
			gotPackets, gotOctets := nfdump(t, into)
			if gotPackets != packets || gotOctets != octets {
				t.Errorf("nfcapd has %d packets, %d bytes; sent %d, %d\n%s", gotPackets, gotOctets, packets, octets, said)
			}
			t.Logf("%d captures, %d packets, %d bytes", captures, packets, octets)
		})
	}
}

// nfcapd starts nfcapd on a free port, storing into dir, and returns its address
// and how to stop it, which gives what it said.
func nfcapd(t *testing.T, dir string) (to string, stop func() string) {
	t.Helper()
	free, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to = free.LocalAddr().String()
	port := free.LocalAddr().(*net.UDPAddr).Port
	free.Close()

	var said bytes.Buffer
	cmd := exec.Command("nfcapd", "-w", dir, "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-t", "86400", "-B", "8000000")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	// It listens once the kernel lists its port. Trying to bind the port would
	// tell as well, and now and then take it away from nfcapd.
	listens := fmt.Sprintf(" 0100007F:%04X ", port)
	for range 500 {
		sockets, err := os.ReadFile("/proc/net/udp")
		if err != nil || strings.Contains(string(sockets), listens) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	var stopped bool
	stop = func() string {
		if !stopped {
			stopped = true
			// What is in its socket buffer it reads before it looks at the signal
			// only if it is given the time.
			time.Sleep(500 * time.Millisecond)
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-exited
		}
		return said.String()
	}
	t.Cleanup(func() { stop() })
	return to, stop
}

// nfdump returns the totals of what nfcapd stored in dir.
func nfdump(t *testing.T, dir string) (packets, octets uint64) {
	t.Helper()
	out, err := exec.Command("nfdump", "-R", dir, "-q", "-N", "-o", "fmt:%pkt %byt").Output()
	if err != nil {
		t.Fatalf("nfdump: %v", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var p, b uint64
		if _, err := fmt.Sscan(lines.Text(), &p, &b); err != nil {
			t.Fatalf("nfdump: %q: %v", lines.Text(), err)
		}
		packets += p
		octets += b
	}
	return packets, octets
}
