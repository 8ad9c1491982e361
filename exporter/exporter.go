// Package exporter is an Exporting Process with the Metering Process in front of
// it (RFC 7011 §2): packets of one capture.Source become flow records and go, as
// NetFlow v5, v9 or IPFIX, to one or several Collecting Processes over UDP.
//
// Every value travels one way, through three kinds of goroutines:
//
//	Source → packet.Decoder ⇉ meter.Process ⇉ netflow.Encoder → pace → sockets
//
// Reading says of each packet what it is and which flow it belongs to, and hands
// it, in blocks, to the meter that has the flow: one, or several that share the
// flows by the hash of their keys. What is said of a packet among its neighbours
// (copies, the ports of fragments, the clock) is said by reading, so the records
// are the same whatever the number of meters. Of several Sources each is read and
// metered by one goroutine of its own.
//
// Metering is never held up by the pace of sending while there is room between
// them: a fixed set of batches that go over with records and come back empty.
// When there is none, flows of a live interface stay in the cache beyond their
// due time, and a file is simply read later.
//
// The clock is the packets' own: a flow ends, and its message is dated, at the
// time that the capture had reached, so that a capture of ten years ago, or one
// with a gap of ten years, gives the records it would have given then. On a live
// interface the wall clock goes on where no packet comes.
package exporter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/netflow"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says what to meter and where to send it.
type Config struct {
	// Source is where packets come from. Run closes it when ctx ends, to wake a
	// reader that waits; otherwise it stays the caller's.
	Source capture.Source
	// Fanout are further Sources, each read and metered by a goroutine of its
	// own, as the Source then is, too. A flow, with its fragments, must be in one
	// of them only (capture.OpenFanout); the flow cache is divided among them.
	Fanout []capture.Source
	// Workers is how many meters share the flows of a Source without Fanout, 0
	// is one; the flow cache is divided among them. The records do not depend on
	// it while no flow is evicted.
	Workers int
	// To are the destinations, each "host:port", resolved once and sent to over
	// UDP, or "tcp://host:port" or "tls://host:port" for IPFIX; every one gets a
	// copy of every flow.
	To []string
	// Collectors are further destinations, which may differ in version and in the
	// flows they get.
	Collectors []Collector
	// TLS is for destinations over TLS; nil trusts the system's authorities.
	TLS *tls.Config
	// Balance gives each conversation to one of the destinations, by its addresses
	// and ports, instead of to all.
	Balance bool
	// Options sends options records at the start, every minute, when there is a
	// new interface, and at the end: what the interfaces are called, and what was
	// seen, ignored, lost, sent and not sent (docs/wire.md).
	Options bool
	// Template and Fields say what the templates have.
	Template netflow.Template
	Fields   netflow.Fields
	// Version is the dialect: netflow.V5 (IPv4 only), V9 or IPFIX.
	Version netflow.Version
	// Domain is the Observation Domain.
	Domain uint32
	// Name is what the exporter calls itself in Options; "" says nothing.
	Name string
	// InIf is the ifIndex that every record names as its ingress interface, 0
	// when it has none. A Source that knows its interfaces (capture.Describer)
	// says it itself.
	InIf uint32
	// Meter has the timeouts and the size of the flow cache.
	Meter meter.Config
	// DropDuplicates leaves out packets that are copies (see meter.Duplicates);
	// otherwise they are metered like any other. They are counted in any case.
	DropDuplicates bool
	// Tunnels says which packet counts where one carries another. With
	// packet.Both they count as two.
	Tunnels packet.Tunnels
	// Sample meters one in so many packets, 0 or 1 all; announced to the
	// collectors. SampleRandom selects any one of so many instead of the first.
	// Copies that are dropped are not among those sampled.
	Sample       uint32
	SampleRandom bool
	// Pace is how many records a second each destination gets at most, in bursts
	// of at most 32 datagrams; 0 sends as fast as flows end.
	Pace int
	// MaxMessage is the largest UDP payload in octets; 0 is netflow's default.
	MaxMessage int
	// Live says that the Source is an interface: flows end by the wall clock also
	// when no packet comes. Then packets that Run itself sends are not metered:
	// those from one of its sockets, address and port, to the address and port
	// of its collector.
	Live bool
	// Control, when it is not nil, lets other goroutines ask Run things while it
	// works.
	Control *Control
	// Ready is called once, before the first packet is read, when it is not nil.
	Ready func()
	// Logger gets what people should know; nil logs nothing.
	Logger *slog.Logger
	// Registerer gets the counters while Run works, when it is not nil.
	Registerer prometheus.Registerer
}

// maxWorkers is far more than there is anything to gain from.
const maxWorkers = 256

// Run meters and exports until the Source ends or ctx does; then every flow that
// is left ends, all is sent, and Run returns what it did. Its error is about the
// configuration, before anything was sent, or about the Source: a capture that
// breaks off is metered and sent as far as it goes, and the error says where it
// broke off. A destination that does not take what it is sent is no error; the
// Summary counts that.
func Run(ctx context.Context, c Config) (Summary, error) {
	if c.Source == nil {
		return Summary{}, errors.New("exporter: no source of packets")
	}
	if c.Pace < 0 {
		return Summary{}, fmt.Errorf("exporter: a pace of %d records a second; want 0 (unpaced) or more", c.Pace)
	}
	if c.Workers < 0 || c.Workers > maxWorkers {
		return Summary{}, fmt.Errorf("exporter: %d workers; want 0 to %d", c.Workers, maxWorkers)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Meter.Details = c.Meter.Details || c.Fields&^netflow.FieldFlags != 0
	if err := checkMemory(c.cache(), c.meters()); err != nil {
		return Summary{}, fmt.Errorf("exporter: %w", err)
	}

	s, err := newSending(ctx, &c)
	if err != nil && ctx.Err() != nil {
		return Summary{}, nil
	}
	if err != nil {
		return Summary{}, fmt.Errorf("exporter: %w", err)
	}
	defer s.close()
	ledger := &ledger{}
	if c.Registerer != nil {
		if err := c.Registerer.Register(ledger); err != nil {
			return Summary{}, fmt.Errorf("exporter: metrics: %w", err)
		}
		defer c.Registerer.Unregister(ledger)
	}

	c.Control.sends(s.renew)
	meters := c.meters()
	full, empty := make(chan batch, batches+meters), make(chan []flow.Record, batches+meters)
	for range batches + meters {
		empty <- make([]flow.Record, 0, batchRecords)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.run(full, empty, ledger)
	}()
	c.Logger.Info("exporting", "to", s.names(), "version", c.Version, "observation_domain", c.Domain)
	if c.Ready != nil {
		c.Ready()
	}
	err = c.meter(ctx, s.streams(), full, empty, ledger)
	close(full)
	<-sent

	sum := ledger.summary()
	c.Logger.Info("exported", "packets", sum.Packets, "ignored", sum.Ignored, "flows", sum.Flows,
		"messages", sum.Messages, "not_sent", sum.NotSent, "kernel_drops", sum.KernelDrops)
	if err != nil {
		return sum, fmt.Errorf("exporter: after %d packets: %w", sum.Seen, err)
	}
	return sum, nil
}

// meters returns how many meters there are.
func (c *Config) meters() int {
	if len(c.Fanout) > 0 {
		return 1 + len(c.Fanout)
	}
	return max(1, c.Workers)
}

// cache returns the Config of each meter, among which the flows are divided.
func (c *Config) cache() meter.Config {
	cache, meters := c.Meter, c.meters()
	if cache.MaxFlows <= 0 {
		cache.MaxFlows = meter.DefaultMaxFlows
	}
	cache.MaxFlows = (cache.MaxFlows + meters - 1) / meters
	return cache
}

// meter reads and meters until the Sources end or ctx does, hands all records
// over full, and returns why a Source broke off. Packets of the streams own are
// left out.
func (c *Config) meter(ctx context.Context, own []stream, full chan<- batch, empty <-chan []flow.Record, book *ledger) error {
	meters := c.meters()
	cache := c.cache()
	cache.Hash = meter.NewHash()

	sources := append([]capture.Source{c.Source}, c.Fanout...)
	var stop atomic.Bool
	end := func() {
		stop.Store(true)
		for _, source := range sources {
			source.Close()
		}
	}
	defer context.AfterFunc(ctx, end)()

	var all sync.WaitGroup
	lanes, meterings := make([]lane, meters), make([]*metering, meters)
	for i := range lanes {
		m := newMetering(c, cache, full, empty, book)
		l := newLane(m, len(c.Fanout) > 0, c.Meter.Details)
		if l.here == nil {
			all.Go(func() { m.run(l) })
		}
		lanes[i] = l
		meterings[i] = m
	}
	c.Control.attach(meterings, book)
	defer c.Control.detach()
	if len(c.Fanout) == 0 {
		err := newReading(c, c.Source, own, cache.Hash, lanes, book).run(ctx, &stop)
		all.Wait()
		return err
	}
	errs := make([]error, len(sources))
	for i, source := range sources {
		r := newReading(c, source, own, cache.Hash, lanes[i:i+1], book)
		all.Go(func() {
			if errs[i] = r.run(ctx, &stop); errs[i] != nil {
				end() // what this one had would be missing
			}
			lanes[i].here.finish()
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
