package story

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"flowtally/exporter"
	"flowtally/exporter/capture"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/netflow"
)

// seen is a flow as the records tell it.
type seen struct {
	client   string // the interface's name
	src, dst string
}

type tally struct{ packets, octets uint64 }

// mirror is an exporter on a Source, with a decoder behind it.
type mirror struct {
	t      *testing.T
	source *watched
	stop   context.CancelFunc
	sum    exporter.Summary
	done   chan error

	mu      sync.Mutex
	totals  map[seen]tally
	packets uint64 // of all records
}

// watched is a Source that tells what it gave.
type watched struct {
	capture.Source
	decoder *packet.Decoder
	mu      sync.Mutex
	given   map[[2]string]int
	hello   bool
	last    map[string]bool // who said it
}

func (w *watched) Unwrap() capture.Source { return w.Source }

func (w *watched) ReadBatch(dst []capture.Packet) (int, error) {
	n, err := capture.Batch(w.Source).ReadBatch(dst)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range dst[:n] {
		var p packet.Packet
		switch err := w.decoder.Decode(&p, dst[i].Link, dst[i].Data); {
		case err == nil && p.DstPort == trafficPort:
			w.given[[2]string{p.SrcAddr.String(), p.DstAddr.String()}]++
		case err == nil && p.DstPort == helloPort:
			w.hello = true
		case err == nil && p.DstPort == lastPort:
			w.last[p.SrcAddr.String()] = true
		}
	}
	return n, err
}

// newMirror starts an exporter on a Source that open opens in the namespace.
func newMirror(n *namespace, open func() (capture.Source, error)) *mirror {
	t := n.t
	t.Helper()
	var source capture.Source
	var err error
	n.in(func() { source, err = open() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	collector, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	m := &mirror{
		t: t, stop: stop, done: make(chan error, 1), totals: make(map[seen]tally),
		source: &watched{Source: source, decoder: packet.NewDecoder(), given: make(map[[2]string]int), last: make(map[string]bool)},
	}
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		m.collect(collector)
	}()
	t.Cleanup(func() { collector.Close(); <-collected })
	t.Cleanup(stop)
	go func() {
		var err error
		m.sum, err = exporter.Run(ctx, exporter.Config{
			Source: m.source, Live: true, To: []string{collector.LocalAddr().String()}, Version: netflow.IPFIX,
		})
		m.done <- err
	}()
	return m
}

// collect adds up the records that arrive.
func (m *mirror) collect(conn *net.UDPConn) {
	d := netflow.NewDecoder(netflow.Limits{})
	var message netflow.Message
	var records []flow.Record
	buffer := make([]byte, 1<<16)
	describer, _ := capture.As[capture.Describer](m.source.Source)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		records, err = d.Decode(records[:0], &message, from, flow.TimeOf(time.Now()), buffer[:n])
		if err != nil {
			m.t.Errorf("a message that cannot be decoded: %v", err)
		}
		names := map[uint32]string{}
		for _, i := range describer.Interfaces() {
			names[i.Index] = i.Name
		}
		m.mu.Lock()
		for _, r := range records {
			m.packets += r.Packets
			if r.DstPort != trafficPort {
				continue
			}
			name, ok := names[r.InIf]
			if !ok {
				name = fmt.Sprintf("interface %d without a name", r.InIf)
			}
			k := seen{name, r.SrcAddr.String(), r.DstAddr.String()}
			n := m.totals[k]
			m.totals[k] = tally{n.packets + r.Packets, n.octets + r.Bytes}
		}
		m.mu.Unlock()
	}
}

// wait waits until so many packets were given of each pair of addresses.
func (m *mirror) wait(want map[[2]string]int) {
	m.t.Helper()
	var missing string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		missing = ""
		m.source.mu.Lock()
		for pair, n := range want {
			if got := m.source.given[pair]; got < n {
				missing += fmt.Sprintf(" %d of %d from %s to %s;", got, n, pair[0], pair[1])
			}
		}
		m.source.mu.Unlock()
		if missing == "" {
			return
		}
	}
	m.t.Fatalf("only so many packets came:%s counters %+v", missing, m.source.Stats())
}

// settle waits until a last word of each came through: what came before it, once
// or twice, is there.
func (m *mirror) settle(one, two *machine) {
	m.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		one.conn.WriteToUDPAddrPort([]byte("last"), netip.AddrPortFrom(two.addr, lastPort))
		two.conn.WriteToUDPAddrPort([]byte("last"), netip.AddrPortFrom(one.addr, lastPort))
		m.source.mu.Lock()
		both := m.source.last[one.addr.String()] && m.source.last[two.addr.String()]
		m.source.mu.Unlock()
		if both {
			return
		}
	}
	m.t.Fatal("the last word did not come")
}

// finish ends the exporter and returns what the decoder got.
func (m *mirror) finish() map[seen]tally {
	m.t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		m.t.Fatal(err)
	}
	if m.sum.KernelDrops != 0 || m.sum.NotSent != 0 {
		m.t.Errorf("lost on the way: %+v", m.sum)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		m.mu.Lock()
		packets, totals := m.packets, maps.Clone(m.totals)
		m.mu.Unlock()
		if packets == m.sum.Packets || time.Now().After(deadline) {
			return totals
		}
	}
}

func (m *mirror) compare(got, want map[seen]tally) {
	m.t.Helper()
	if !maps.Equal(got, want) {
		m.t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
