package exporter

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"

	"golang.org/x/sys/unix"
)

// drained is a Source that ends when it is quiet, and notes when it last was not.
type drained struct {
	capture.Batcher
	last time.Time
}

func (d *drained) ReadBatch(dst []capture.Packet) (int, error) {
	n, err := d.Batcher.ReadBatch(dst)
	if err != nil {
		return 0, io.EOF
	}
	d.last = time.Now()
	return n, nil
}

// BenchmarkRing is what it takes to read the packets of a veth pair out of one
// ring, or of two at once, and to meter them: a round fills the rings, which is not
// measured, and then meters until they are empty, a goroutine a ring. There should
// be no other work for the processors.
func BenchmarkRing(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			if os.Geteuid() != 0 {
				b.Skip("making a network namespace needs root")
			}
			runtime.LockOSThread() // and it ends with the benchmark
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				b.Skipf("no network namespace to be had: %v", err)
			}
			for _, command := range []string{"link add dev a type veth peer name b", "link set dev a up", "link set dev b up"} {
				if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
					b.Skipf("no veth to be had: ip %s: %v: %s", command, err, out)
				}
			}
			sources, err := capture.OpenFanout("b", capture.InterfaceConfig{BufferBytes: 64 << 20}, workers)
			if err != nil {
				b.Fatal(err)
			}
			for _, s := range sources {
				defer s.Close()
			}
			send := packetSender(b, "a")
			const hosts, flows, round = 200, 20_000, 200_000
			frames := make([][]byte, flows)
			for i := range frames {
				frames[i] = ethernet(fmt.Sprintf("10.0.0.%d", i%hosts), "10.1.0.1", uint16(i/hosts), 53, 40)
			}
			time.Sleep(100 * time.Millisecond) // the carrier
			var spent time.Duration
			var packets uint64
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				for i := range round {
					send(frames[i*7919%flows])
				}
				time.Sleep(200 * time.Millisecond) // the last blocks are handed over
				full, empty := make(chan batch, batches), make(chan []flow.Record, batches)
				for range batches {
					empty <- make([]flow.Record, 0, batchRecords)
				}
				var ended atomic.Uint64
				done := make(chan struct{})
				go func() {
					defer close(done)
					for got := range full {
						ended.Add(uint64(len(got.records)))
						empty <- got.records[:0]
					}
				}()
				all := make([]capture.Source, workers)
				for i, s := range sources {
					all[i] = &drained{Batcher: capture.Batch(s)}
				}
				c := Config{Source: all[0], Fanout: all[1:], Live: true, Meter: meter.Config{MaxFlows: 2 * flows}}
				book := &ledger{}
				b.StartTimer()
				begin := time.Now()
				if err := c.meter(context.Background(), nil, full, empty, book); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				close(full)
				<-done
				var longest time.Duration
				for _, s := range all {
					longest = max(longest, s.(*drained).last.Sub(begin))
				}
				spent += longest
				packets += book.summary().Packets
				b.StartTimer()
			}
			var drops uint64
			for _, s := range sources {
				drops += s.Stats().Drops
			}
			b.ReportMetric(float64(drops), "drops")
			b.ReportMetric(float64(spent.Nanoseconds())/float64(max(1, packets)), "ns/packet")
			b.ReportMetric(float64(packets)/spent.Seconds()/1e6, "Mpackets/s")
		})
	}
}

// packetSender returns a function that sends a frame on an interface of the
// thread's network.
func packetSender(b *testing.B, name string) func([]byte) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
	}
	if err != nil {
		b.Fatal(err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: int(request.Uint32())}
	return func(frame []byte) {
		for unix.Sendto(fd, frame, 0, to) == unix.ENOBUFS {
			time.Sleep(time.Millisecond)
		}
	}
}
