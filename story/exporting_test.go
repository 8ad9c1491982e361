package story

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"flowtally/collector"
	"flowtally/command"
	"flowtally/flow"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// reports is a Sink that keeps what it is told besides records.
type reports struct {
	mu         sync.Mutex
	records    int
	interfaces map[uint32]string
	ignored    uint64
	losses     map[string]uint64
}

func (s *reports) Write(_ context.Context, b flow.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records += len(b.Records)
	return nil
}

func (s *reports) Report(_ context.Context, r flow.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range r.Interfaces {
		s.interfaces[x.Index] = x.Name
	}
	for _, x := range r.Status {
		s.ignored = max(s.ignored, x.Ignored)
	}
	for _, x := range r.Loss {
		s.losses[x.Stage+" "+x.Cause] += x.Count
	}
	return nil
}

// What an exporter says of itself arrives in the collector's reports: the names
// of its interfaces, and what it ignored; and nothing counts as missing.
func TestExporterTellsTheCollector(t *testing.T) {
	for _, version := range []string{"9", "10"} {
		t.Run(version, func(t *testing.T) {
			sink := &reports{interfaces: map[uint32]string{}, losses: map[string]uint64{}}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ready := make(chan []netip.AddrPort, 1)
			ended := make(chan error, 1)
			go func() {
				ended <- collector.Run(ctx, collector.Config{
					Listen: []string{"127.0.0.1:0"}, Sockets: 1, Sink: sink, BatchAge: 20 * time.Millisecond,
					Ready: func(a []netip.AddrPort) { ready <- a },
				})
			}()
			to := (<-ready)[0].String()

			frames := filepath.Join(t.TempDir(), "some.pcap")
			writeSome(t, frames)
			var stdout, stderr bytes.Buffer
			if status := command.Run(ctx, "", []string{"exporter", "--read", frames, "--to", to, "--version", version}, &stdout, &stderr); status != 0 {
				t.Fatalf("status %d: %s", status, &stderr)
			}
			for i := 0; ; i++ {
				sink.mu.Lock()
				so := sink.records == 40 && sink.ignored == 3
				records, ignored := sink.records, sink.ignored
				sink.mu.Unlock()
				if so {
					break
				}
				if i > 3000 {
					t.Fatalf("%d records, %d ignored", records, ignored)
				}
				time.Sleep(10 * time.Millisecond)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			for what, n := range sink.losses {
				if !strings.HasPrefix(what, "exporter ") && n > 0 {
					t.Errorf("lost: %s: %d", what, n)
				}
			}
		})
	}
}

// writeSome writes a capture of 40 flows and three frames that are no IP.
func writeSome(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		info := gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(b), Length: len(b)}
		if err := w.WritePacket(info, b); err != nil {
			t.Fatal(err)
		}
	}
	mac := make(net.HardwareAddr, 6)
	for i := range 40 {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
		udp := &layers.UDP{SrcPort: layers.UDPPort(1000 + i), DstPort: 53}
		_ = udp.SetNetworkLayerForChecksum(ip)
		b := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload("asked"))
		if err != nil {
			t.Fatal(err)
		}
		write(b.Bytes())
	}
	for range 3 {
		write(append(append(make([]byte, 12), 0x08, 0x06), make([]byte, 46)...)) // ARP
	}
}
