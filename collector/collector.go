// Package collector is the Collecting Process of RFC 7011: it receives export
// datagrams, decodes them and hands flow records, in batches, to a Sink.
//
// Data moves one way: a socket's goroutine owns the socket, its buffer and the
// batch it fills; a full or old batch crosses to a writer over one bounded
// channel, and its memory comes back over another. What cannot be handed on is
// dropped there and counted, so that a slow sink never stops the reading.
// Every datagram and record that went in is accounted for: decoded, or lost by
// a named cause (see Loss in package flow, and the metrics).
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/netflow"
)

// Sink takes what the collector decoded.
type Sink interface {
	// Write stores the batch; it is durable when Write returns nil. It may be
	// called by several goroutines at once and must not keep what b holds. It
	// returns an error only for records that it will never take, or when ctx
	// has ended.
	Write(ctx context.Context, b flow.Batch) error
	// Report is called every second with the state of every exporter that sent
	// something since the last call, and with what was lost since then.
	Report(ctx context.Context, r flow.Report) error
}

// recordOctets is the size of a record without its extras.
const recordOctets = int(unsafe.Sizeof(flow.Record{}))

// Config says where to listen and where to deliver. Zero fields mean the
// defaults that stand with them.
type Config struct {
	// Listen are UDP addresses; ":9995" when empty.
	Listen []string
	// Sink receives the records. Required.
	Sink Sink
	// Sockets is how many sockets share each address (SO_REUSEPORT): one for
	// each processor, at most 4. Systems without SO_REUSEPORT balancing use 1.
	Sockets int
	// ReceiveBuffer is the kernel buffer to ask for, in octets: 32 MiB. What
	// was granted is logged.
	ReceiveBuffer int
	// BatchRecords is how many records make a batch full: 16384. Extras that take
	// as many octets as so many records do make it full as well.
	BatchRecords int
	// BatchAge is how long a record may wait for its batch to fill: 1 s.
	BatchAge time.Duration
	// Queue is how many batches may wait for a writer: 64. Queue and
	// BatchRecords bound the memory: records wait in at most
	// Queue + Writers + sockets batches. Each takes BatchRecords * 176 octets,
	// as much again when it is full of extras, and what the last datagram
	// brought: an eighth more as a rule, and as much again when a stranger makes
	// the most of Limits.MessageRecords.
	Queue int
	// Writers is how many batches may be written at once: 2.
	Writers int
	// MaxExporters is how many exporters may be known at once: 4096. What a
	// further one sends is dropped and counted.
	MaxExporters int
	// StopTimeout is how long a stop may take to write what was received: 30 s.
	StopTimeout time.Duration
	// Limits bound what the decoder keeps for strangers.
	Limits netflow.Limits
	// Logger is slog.Default() when nil.
	Logger *slog.Logger
	// Registerer takes the metrics; none are kept when nil.
	Registerer prometheus.Registerer
	// Ready, when not nil, is called once with the bound addresses.
	Ready func([]netip.AddrPort)
}

func (c Config) withDefaults() Config {
	if len(c.Listen) == 0 {
		c.Listen = []string{":9995"}
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Sockets, min(4, runtime.GOMAXPROCS(0)))
	def(&c.ReceiveBuffer, 32<<20)
	def(&c.BatchRecords, 16384)
	def(&c.Queue, 64)
	def(&c.Writers, 2)
	def(&c.MaxExporters, 4096)
	if c.BatchAge <= 0 {
		c.BatchAge = time.Second
	}
	if c.StopTimeout <= 0 {
		c.StopTimeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Run receives until ctx ends, then takes what the kernel still holds, writes
// every batch and returns nil. An address that cannot be bound is an error.
func Run(ctx context.Context, c Config) error {
	if c.Sink == nil {
		return errors.New("collector: no sink")
	}
	c = c.withDefaults()
	p := newProcess(c)
	var listeners []*listener
	defer func() {
		for _, l := range listeners {
			l.conn.Close()
		}
	}()
	var bound []netip.AddrPort
	for _, addr := range c.Listen {
		ls, err := listen(addr, c)
		listeners = append(listeners, ls...)
		if err != nil {
			return err
		}
		bound = append(bound, ls[0].addr)
		// The sockets of one address share the templates; two addresses do not.
		dec := netflow.NewDecoder(c.Limits)
		for _, l := range ls {
			l.dec = dec
		}
	}
	p.metrics.watch(c.Registerer, p)
	if c.Ready != nil {
		c.Ready(bound)
	}

	// The writers and the reporter outlive ctx: they stop when there is nothing
	// left to write, or when StopTimeout is over.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var reading, writing, reporting sync.WaitGroup
	for _, l := range listeners {
		reading.Go(func() { p.read(ctx, l) })
	}
	for range c.Writers {
		writing.Go(func() { p.write(work) })
	}
	stopReporting := make(chan struct{})
	reporting.Go(func() { p.report(context.WithoutCancel(ctx), stopReporting) })

	reading.Wait()
	giveUp := time.AfterFunc(c.StopTimeout, stop)
	defer giveUp.Stop()
	close(p.queue)
	writing.Wait()
	close(stopReporting)
	reporting.Wait()
	return nil
}

// process is a running collector.
type process struct {
	Config
	queue   chan []flow.Record
	free    chan []flow.Record
	ledger  *ledger
	metrics *metrics
}

func newProcess(c Config) *process {
	return &process{
		Config:  c,
		queue:   make(chan []flow.Record, c.Queue),
		free:    make(chan []flow.Record, c.Queue+c.Writers+1),
		ledger:  newLedger(c.MaxExporters),
		metrics: newMetrics(c.Registerer),
	}
}

// batch returns an empty batch, a used one when there is one.
func (p *process) batch() []flow.Record {
	select {
	case b := <-p.free:
		return b[:0]
	default:
		return make([]flow.Record, 0, p.BatchRecords+p.BatchRecords/8)
	}
}

// recycle gives a batch's memory back.
func (p *process) recycle(b []flow.Record) {
	clear(b) // so that no Extra is kept alive
	select {
	case p.free <- b:
	default:
	}
}

// hand passes a batch to the writers, or drops and counts it when too many wait.
func (p *process) hand(b []flow.Record) {
	select {
	case p.queue <- b:
	default:
		p.lost(b, causeQueueFull)
		p.recycle(b)
	}
}

// lost books the records of a batch that will not be stored.
func (p *process) lost(b []flow.Record, cause string) {
	p.metrics.dropped.WithLabelValues(cause).Add(float64(len(b)))
	p.ledger.lostRecords(b, cause)
}

// write hands batches to the sink until the queue is closed and empty.
func (p *process) write(ctx context.Context) {
	for b := range p.queue {
		start := time.Now()
		err := p.Sink.Write(ctx, flow.Batch{Records: b})
		switch {
		case err == nil:
			p.metrics.stored.Add(float64(len(b)))
			p.metrics.writeSeconds.Observe(time.Since(start).Seconds())
		case ctx.Err() != nil:
			p.lost(b, causeStopped)
			p.Logger.Error("records not stored before the stop", "records", len(b), "error", err)
		default:
			p.lost(b, causeRefused)
			p.Logger.Error("records refused by the store", "records", len(b), "error", err)
		}
		p.recycle(b)
	}
}

// report delivers the ledger every second, and once more at the end, when there
// is time for it although there may have been none for the records. A report
// that fails is kept and delivered with the next one.
func (p *process) report(ctx context.Context, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-stop:
			last = true
		}
		status, loss := p.ledger.take()
		if len(status) == 0 && len(loss) == 0 {
			continue
		}
		rctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := p.Sink.Report(rctx, flow.Report{Status: status, Loss: loss})
		cancel()
		if err != nil {
			p.ledger.giveBack(status, loss)
			switch {
			case last:
				p.Logger.Error("exporter status and losses not stored before the stop", "losses", len(loss), "error", err)
			case !failing:
				p.Logger.Warn("exporter status not stored, kept for the next second", "error", err)
			}
		}
		failing = err != nil
	}
}

// describe names an address for people: an unspecified host means every one.
func describe(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		return fmt.Sprintf(":%d", a.Port())
	}
	return a.String()
}
