package exporter

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/netflow"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// TestControl: while packets come, and while none does, a running exporter tells
// what it did and which flows live, and ends them when told to; before and after
// that nobody answers.
func TestControl(t *testing.T) {
	for _, fanout := range []bool{false, true} {
		c := listen(t)
		var control Control
		if err := control.Flush(context.Background()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("before: %v", err)
		}
		src, other := newScript(), newScript()
		src.live, other.live = true, true
		const flows = 700 // more than are dumped at once
		for i := range flows {
			src.frames = append(src.frames, frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
		}
		config := Config{
			Source: src, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Meter: small, Control: &control,
		}
		if fanout {
			config.Fanout = []capture.Source{other}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan Summary)
		go func() {
			s, _ := Run(ctx, config)
			done <- s
		}()
		seen := map[uint16]bool{}
		for range 1000 {
			clear(seen)
			if err := control.Dump(ctx, func(r *flow.Record) error { seen[r.SrcPort] = true; return nil }); err == nil && len(seen) == flows {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if len(seen) != flows {
			t.Fatalf("%d of %d flows live", len(seen), flows)
		}
		stop := errors.New("stop")
		if err := control.Dump(ctx, func(*flow.Record) error { return stop }); err != stop {
			t.Errorf("dump: %v", err)
		}
		if err := control.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		sums, err := control.Protocols(ctx)
		if s := sums[flow.UDP]; err != nil || s.Flows != flows || s.Packets != flows {
			t.Errorf("%+v, %v", s, err)
		}
		if s, err := control.Summary(); err != nil || s.Flows != flows {
			t.Errorf("%+v, %v", s, err)
		}
		cancel()
		s := <-done
		balance(t, s)
		if recs := c.wait(t, s.Messages); len(recs) != flows {
			t.Errorf("%d records came", len(recs))
		}
		if err := control.Flush(context.Background()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("after: %v", err)
		}
	}
}

// TestSlowPipe: a packet that comes over a pipe is metered when it is there, not
// when the next one comes.
func TestSlowPipe(t *testing.T) {
	c := listen(t)
	in, out := io.Pipe()
	frame := ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)
	go func() {
		w := pcapgo.NewWriter(out)
		_ = w.WriteFileHeader(65535, layers.LinkTypeEthernet)
		_ = w.WritePacket(gopacket.CaptureInfo{Timestamp: t0, CaptureLength: len(frame), Length: len(frame)}, frame)
	}()
	src, err := capture.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var control Control
	done := make(chan Summary)
	go func() {
		s, _ := Run(context.Background(), Config{
			Source: src, To: []string{c.addr()}, Version: netflow.IPFIX, Meter: small, Control: &control,
		})
		done <- s
	}()
	live := 0
	for range 1000 {
		live = 0
		if err := control.Dump(context.Background(), func(*flow.Record) error { live++; return nil }); err == nil && live == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if live != 1 {
		t.Errorf("%d flows live while the pipe is open", live)
	}
	out.Close()
	if s := <-done; s.Packets != 1 || s.Flows != 1 {
		t.Errorf("%+v", s)
	}
}
