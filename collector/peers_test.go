package collector

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"flowtally/flow"
	"flowtally/netflow"
)

// conversations writes a capture of n of them, in a minute, two packets each.
func conversations(t *testing.T, n int) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "conversations.pcap")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := pcapgo.NewWriter(out)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range 2 * n {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 0, byte(i>>9), byte(i>>1)), DstIP: net.IPv4(10, 1, 0, 1)}
		udp := &layers.UDP{SrcPort: layers.UDPPort(1024 + i>>1), DstPort: 53}
		_ = udp.SetNetworkLayerForChecksum(ip)
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload("hello, world")); err != nil {
			t.Fatal(err)
		}
		ci := gopacket.CaptureInfo{Timestamp: begin.Add(time.Duration(i) * time.Minute / time.Duration(2*n)), CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}
		if err := w.WritePacket(ci, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// peer returns the path of a program, and skips the test where there is none.
func peer(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// exported is what a program sends to a collector that args make of its address,
// until it ends or has sent something and falls silent. control is softflowd's
// socket: reading a file, it may wait for somebody there.
func exported(t *testing.T, path, control string, args func(collector string) []string) (datagrams [][]byte, from []netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd := exec.CommandContext(t.Context(), path, args(conn.LocalAddr().String())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	const silence = 100 * time.Millisecond
	begin, quiet := time.Now(), 0
	for {
		if c, err := net.Dial("unix", control); err == nil {
			c.SetDeadline(time.Now().Add(time.Second))
			io.WriteString(c, "statistics\n")
			io.Copy(io.Discard, c)
			c.Close()
		}
		b := make([]byte, maxDatagram)
		conn.SetReadDeadline(time.Now().Add(silence))
		n, a, err := conn.ReadFromUDPAddrPort(b)
		if err == nil {
			quiet = 0
			datagrams, from = append(datagrams, b[:n]), append(from, a)
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return datagrams, from
		default:
		}
		if quiet++; quiet == 40 { // pmacctd sends the rest when it is stopped
			_ = cmd.Process.Signal(os.Interrupt)
		}
		if time.Since(begin) > 30*time.Second {
			_ = cmd.Process.Kill()
			<-ended
			return datagrams, from
		}
	}
}

// TestSoftflowdLosesNothing: its IPFIX numbers count what a message has itself, and
// not its options; one datagram that is lost is told with its records.
func TestSoftflowdLosesNothing(t *testing.T) {
	file := conversations(t, 500)
	dir, err := os.MkdirTemp("", "sf") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	control := filepath.Join(dir, "ctl")
	datagrams, from := exported(t, peer(t, "softflowd"), control, func(to string) []string {
		return []string{"-r", file, "-n", to, "-v", "10", "-d", "-p", filepath.Join(dir, "pid"), "-c", control}
	})
	if len(datagrams) < 12 {
		t.Skipf("it sent %d datagrams only", len(datagrams))
	}
	for _, without := range []int{-1, len(datagrams) - 3} {
		t.Run(fmt.Sprint(without), func(t *testing.T) {
			p := newProcess(Config{Identity: IdentitySource}.withDefaults())
			f := &filler{}
			p.open(f, netflow.NewDecoder(p.Limits))
			now, want := flow.TimeOf(time.Now()), 0
			for i, b := range datagrams {
				if now += 250; i != without {
					p.decode(f, from[i], now, b)
					continue
				}
				g := &filler{} // what is lost is counted elsewhere
				p.open(g, f.dec)
				var m netflow.Message
				if _, err := f.dec.Decode(nil, &m, from[i], now, b); err != nil {
					t.Fatal(err)
				}
				want = m.Records
			}
			r := p.ledger.take(now+flow.Hour, true)
			missing := uint64(0)
			for _, s := range r.Status {
				missing += s.MissingRecords + s.MissingDatagrams
				t.Logf("%d datagrams, numbers count %v", s.Datagrams, s.Numbering)
			}
			if missing != uint64(want) {
				t.Errorf("%d missing, want %d", missing, want)
			}
		})
	}
}

// TestPmacctdWithoutSampling: pmacctd that sampled 1:10 and is started again
// unsampled is not scaled for ever.
func TestPmacctdWithoutSampling(t *testing.T) {
	file, pmacctd := conversations(t, 500), peer(t, "pmacctd")
	run := func(sampling string) ([][]byte, []netip.AddrPort) {
		return exported(t, pmacctd, "", func(to string) []string {
			conf := filepath.Join(t.TempDir(), "pmacctd.conf")
			text := fmt.Sprintf("daemonize: false\npcap_savefile: %s\npcap_savefile_wait: true\nplugins: nfprobe[a]\nnfprobe_receiver[a]: %s\nnfprobe_version[a]: 10\n"+
				"nfprobe_timeouts[a]: tcp=1:tcp.rst=1:tcp.fin=1:udp=1:icmp=1:general=1:maxlife=1:expint=1\naggregate[a]: src_host,dst_host,src_port,dst_port,proto,tos\n%s\n", file, to, sampling)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"-f", conf}
		})
	}
	p := newProcess(Config{Identity: IdentitySource}.withDefaults())
	f := &filler{}
	p.open(f, netflow.NewDecoder(p.Limits))
	now := flow.TimeOf(time.Now())
	feed := func(datagrams [][]byte, from []netip.AddrPort) (rate uint32, status flow.ExporterStatus) {
		for i, b := range datagrams {
			now += 100
			p.decode(f, from[i], now, b)
		}
		if len(f.batch) == 0 {
			t.Skip("it sent no records")
		}
		for _, e := range p.ledger.exporters {
			status = e.ExporterStatus
		}
		return f.batch[len(f.batch)-1].SamplingRate, status
	}
	if rate, s := feed(run("sampling_rate: 10")); rate != 10 || s.SamplingRate != 10 || s.SamplingProvisional {
		t.Fatalf("sampled: a rate of %d, status %+v", rate, s)
	}
	now += flow.Minute
	datagrams, from := run("")
	if _, s := feed(datagrams, from); !s.SamplingProvisional {
		t.Errorf("started again: status %+v", s)
	}
	now += forgetful
	if rate, s := feed(datagrams, from); rate != 0 || s.SamplingRate != 0 {
		t.Errorf("after ten minutes: a rate of %d, status %+v", rate, s)
	}
}

// forgetful is longer than a rate of an earlier run is used.
const forgetful = 11 * flow.Minute
