package exporter

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/netflow"

	"github.com/google/gopacket"
)

// rounds is a Source that gives the same frame again and again, each time as a
// packet of the next of so many flows, ten microseconds later.
type rounds struct {
	frame       []byte
	flows, left int
	at          time.Time
}

func newRounds(flows, packets int) *rounds {
	return &rounds{frame: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 60), flows: flows, left: packets, at: t0}
}

func (r *rounds) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if r.left == 0 {
		return nil, gopacket.CaptureInfo{}, io.EOF
	}
	r.left--
	// Fibonacci hashing walks through the flows in an order that no cache guesses.
	n := uint32(uint64(uint32(r.left)*2654435769) * uint64(r.flows) >> 32)
	binary.BigEndian.PutUint32(r.frame[26:], 0x0a000000|n)
	r.at = r.at.Add(10 * time.Microsecond)
	return r.frame, gopacket.CaptureInfo{Timestamp: r.at, CaptureLength: len(r.frame), Length: len(r.frame)}, nil
}

func (*rounds) LinkType() uint32     { return 1 }
func (*rounds) Stats() capture.Stats { return capture.Stats{} }
func (*rounds) Close() error         { return nil }

// BenchmarkRun is the whole way of a packet, from a source in memory to a socket
// whose owner never reads: 100,000 packets a second of capture time, each tenth
// of which begins a flow.
func BenchmarkRun(b *testing.B) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for _, v := range []netflow.Version{netflow.V5, netflow.V9, netflow.IPFIX} {
		b.Run(v.String(), func(b *testing.B) {
			const packets, flows = 2_000_000, 200_000
			b.ReportAllocs()
			for b.Loop() {
				s, err := Run(context.Background(), Config{
					Source: newRounds(flows, packets), To: []string{conn.LocalAddr().String()}, Version: v,
					Meter: meter.Config{MaxFlows: 1 << 18},
				})
				if err != nil || s.Packets != packets {
					b.Fatalf("%+v, %v", s, err)
				}
			}
			b.ReportMetric(float64(b.N)*packets/b.Elapsed().Seconds()/1e6, "Mpackets/s")
		})
	}
}

// TestNoAllocation: what Run allocates does not depend on how many packets and
// flows go through it.
func TestNoAllocation(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	run := func(packets int) float64 {
		return testing.AllocsPerRun(2, func() {
			if _, err := Run(context.Background(), Config{
				Source: newRounds(5000, packets), To: []string{conn.LocalAddr().String()}, Version: netflow.IPFIX,
				Meter: meter.Config{MaxFlows: 1 << 10},
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := run(20_000), run(120_000)
	// A few for how often a goroutine had to wait.
	t.Logf("%v and %v allocations", few, many)
	if many > few+200 {
		t.Errorf("100,000 packets more cost %v allocations more", many-few)
	}
}
