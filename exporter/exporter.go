// Package exporter is an Exporting Process with the Metering Process in front of
// it (RFC 7011 §2): packets of one capture.Source become flow records and go, as
// NetFlow v5, v9 or IPFIX, to one or several Collecting Processes over UDP.
//
// Two goroutines share the work, and every value travels one way:
//
//	Source → packet.Decoder → meter.Process  ⇉  netflow.Encoder → pace → sockets
//
// The first one reads and meters and is never held up by the pace of the second
// while there is room between them: a fixed set of batches that go over with
// records and come back empty. When there is none, flows of a live interface stay
// in the cache beyond their due time, and a file is simply read later.
//
// The clock is the packets' own: a flow ends, and its message is dated, at the
// time that the capture had reached, so that a capture of ten years ago, or one
// with a gap of ten years, gives the records it would have given then. On a live
// interface the wall clock goes on where no packet comes.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/netflow"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says what to meter and where to send it.
type Config struct {
	// Source is where packets come from. Run closes it when ctx ends, to wake a
	// reader that waits; otherwise it stays the caller's.
	Source capture.Source
	// To are the destinations, each "host:port" and resolved once; every one gets
	// a copy of every message.
	To []string
	// Version is the dialect: netflow.V5 (IPv4 only), V9 or IPFIX.
	Version netflow.Version
	// Domain is the Observation Domain.
	Domain uint32
	// InIf is the ifIndex that every record names as its ingress interface, 0
	// when it has none.
	InIf uint32
	// Meter has the timeouts and the size of the flow cache.
	Meter meter.Config
	// DropDuplicates leaves out packets that are copies (see meter.Duplicates);
	// otherwise they are metered like any other. They are counted in any case.
	DropDuplicates bool
	// Pace is how many records a second each destination gets at most, in bursts
	// of at most 32 datagrams; 0 sends as fast as flows end.
	Pace int
	// MaxMessage is the largest UDP payload in octets; 0 is netflow's default.
	MaxMessage int
	// Live says that the Source is an interface: flows end by the wall clock also
	// when no packet comes.
	Live bool
	// Logger gets what people should know; nil logs nothing.
	Logger *slog.Logger
	// Registerer gets the counters while Run works, when it is not nil.
	Registerer prometheus.Registerer
}

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
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
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

	full, empty := make(chan batch, batches), make(chan []flow.Record, batches)
	for range batches {
		empty <- make([]flow.Record, 0, batchRecords)
	}
	m := newMetering(&c, full, empty, ledger)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.run(full, empty, ledger)
	}()

	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() {
		stop.Store(true)
		c.Source.Close()
	})()
	c.Logger.Info("exporting", "to", c.To, "version", c.Version, "observation_domain", c.Domain)

	err = m.run(ctx, &stop)
	m.finish()
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
