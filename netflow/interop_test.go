package netflow

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"flowtally/flow"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// awkward returns traffic with every trap for other people's decoders in it:
// ICMP, a VLAN, counters above 32 bits, flows from years ago and from before the
// exporter started.
func awkward() []flow.Record {
	recs := traffic(60, true)
	recs[0].Protocol, recs[0].SrcPort, recs[0].DstPort = flow.ICMP, 0, 3<<8|1
	recs[1].Bytes, recs[1].Packets = 5<<32, 1<<24
	recs[2].Start, recs[2].End = noon-3000*flow.Day, noon-3000*flow.Day+1500
	recs[3].Protocol, recs[3].SrcPort, recs[3].DstPort, recs[3].VLAN = flow.ICMPv6, 0, 128<<8, 77
	recs[4].Start = noon - 2*flow.Hour
	return recs
}

// sent returns the messages of awkward traffic in one version, and the sums.
func sent(t *testing.T, v Version, rate uint32) (msgs [][]byte, flows, packets, octets uint64) {
	t.Helper()
	e, err := NewEncoder(EncoderConfig{Version: v, Domain: uint32(v), Boot: noon - flow.Hour, SamplingRate: rate})
	if err != nil {
		t.Fatal(err)
	}
	var prepared []flow.Record
	for _, r := range awkward() {
		prepared = e.Prepare(prepared, &r)
	}
	for _, r := range prepared {
		flows, packets, octets = flows+1, packets+r.Packets, octets+r.Bytes
	}
	return send(t, e, noon+123, prepared), flows, packets, octets
}

func TestNfcapdReceivesTheSameSums(t *testing.T) {
	nfcapd, err := exec.LookPath("nfcapd")
	if err != nil {
		t.Skip("nfcapd (package nfdump) is not installed")
	}
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Skip(err)
			}
			port := probe.LocalAddr().(*net.UDPAddr).Port
			probe.Close()
			var log bytes.Buffer
			cmd := exec.Command(nfcapd, "-w", t.TempDir(), "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-t", "3600")
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			await(t, "nfcapd listens", func() bool { _, open := queued(port); return open })
			// Without a sampling rate: nfcapd leaves the record that announces it
			// out of IPFIX's sequence number, which counts all Data Records (RFC
			// 7011 §3.1), and would report a gap.
			msgs, flows, packets, octets := sent(t, v, 0)
			c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			for _, msg := range msgs {
				if _, err := c.Write(msg); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "nfcapd has read everything", func() bool { n, _ := queued(port); return n == 0 })
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
			want := fmt.Sprintf("Flows: %d, Packets: %d, Bytes: %d, Sequence Errors: 0, Bad Packets: 0", flows, packets, octets)
			if !strings.Contains(log.String(), want) {
				t.Errorf("nfcapd says\n%s\nwant %s", &log, want)
			}
		})
	}
}

// await polls until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 1000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain: %s", what)
}

// queued returns how many octets wait in the socket bound to a port, and whether
// there is one, as Linux tells it.
func queued(port int) (n int64, open bool) {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			_, rx, _ := strings.Cut(f[4], ":")
			n, _ := strconv.ParseInt(rx, 16, 64)
			return n, true
		}
	}
	return 0, false
}

func TestTsharkReadsEverythingWithoutComplaint(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			msgs, flows, _, _ := sent(t, v, 1)
			file := filepath.Join(t.TempDir(), "sent.pcap")
			writePcap(t, file, msgs)
			out, err := exec.Command(tshark, "-n", "-r", file, "-d", "udp.port==2055,cflow", "-V").Output()
			if err != nil {
				t.Fatal(err)
			}
			if bad := regexp.MustCompile(`(?i).*(malformed|expert info|no template found).*`).Find(out); bad != nil {
				t.Errorf("tshark complains: %s", bad)
			}
			records := len(regexp.MustCompile(`(?m)^\s+(Flow \d+|pdu \d+/\d+)`).FindAll(out, -1))
			if v != V5 {
				flows++ // the record that announces the sampling rate
			}
			if uint64(records) != flows {
				t.Errorf("tshark reads %d records, want %d", records, flows)
			}
		})
	}
}

// writePcap writes messages as UDP packets to port 2055.
func writePcap(t *testing.T, file string, msgs [][]byte) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for _, msg := range msgs {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 2}}
		udp := &layers.UDP{SrcPort: 40000, DstPort: 2055}
		udp.SetNetworkLayerForChecksum(ip)
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(msg)); err != nil {
			t.Fatal(err)
		}
		info := gopacket.CaptureInfo{Timestamp: noon.Time(), CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}
		if err := w.WritePacket(info, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
}
