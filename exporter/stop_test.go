package exporter

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/netflow"
)

// endless is a Source that never ends, nor is it ever quiet for long, until it is
// closed.
type endless struct {
	*script
	given atomic.Uint64
	gone  atomic.Bool
	frame []byte
}

func newEndless(n byte) *endless {
	e := &endless{script: newScript(), frame: ethernet("10.0.0.1", "10.0.0.2", 1, 53, 10)}
	e.frame[14+15] = n
	return e
}

func (e *endless) ReadBatch(dst []capture.Packet) (int, error) {
	if e.gone.Load() {
		return 0, os.ErrClosed
	}
	n := e.given.Load()
	if n%17 == 0 {
		e.given.Add(1)
		return 0, capture.ErrTimeout
	}
	e.frame[14+20], e.frame[14+21] = byte(n>>8), byte(n) // the source port
	dst[0] = capture.Packet{Data: e.frame, Time: time.Now().UnixNano(), Length: uint32(len(e.frame)), Link: 1}
	e.given.Add(1)
	return 1, nil
}

func (e *endless) Close() error { e.gone.Store(true); return nil }

// TestStopAnyTime: whenever the context ends, with whatever number of goroutines
// at work and somebody asking, Run ends, what was read is accounted for and sent,
// and no goroutine stays.
func TestStopAnyTime(t *testing.T) {
	before := runtime.NumGoroutine()
	r := rand.New(rand.NewPCG(1, 2))
	c := listen(t)
	for range 40 {
		ctx, cancel := context.WithCancel(context.Background())
		control := &Control{}
		config := Config{
			Source: newEndless(1), To: []string{c.addr()}, Version: netflow.IPFIX, Live: r.IntN(2) == 0, Control: control,
			Meter: meter.Config{MaxFlows: 16 + r.IntN(512), ActiveTimeout: flow.Time(1 + r.IntN(50)), IdleTimeout: flow.Time(1 + r.IntN(50))},
		}
		if n := r.IntN(3); n > 0 {
			for i := range n {
				config.Fanout = append(config.Fanout, newEndless(byte(2+i)))
			}
		} else {
			config.Workers = 1 + r.IntN(3)
		}
		var asking sync.WaitGroup
		for _, ask := range []func() error{
			func() error { return control.Flush(ctx) },
			func() error { return control.Dump(ctx, func(*flow.Record) error { return nil }) },
			func() error { _, err := control.Protocols(ctx); return err },
			func() error { _, err := control.Summary(); return err },
			control.SendTemplates,
		} {
			asking.Go(func() {
				for ctx.Err() == nil {
					if err := ask(); err != nil && !errors.Is(err, ErrNotRunning) && !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		time.AfterFunc(time.Duration(r.IntN(20_000))*time.Microsecond, cancel)
		s, err := Run(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		asking.Wait()
		if s.Seen+s.Inner != s.Packets+s.Ignored+s.DuplicatesDropped+s.SampledOut || s.Flows != s.Records || s.NotSent > 0 {
			t.Fatalf("%+v", s)
		}
	}
	// The collector of the test is one; others' last breath may take a while.
	for range 500 {
		if runtime.NumGoroutine() <= before+1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}
