// Package collector is the Collecting Process of RFC 7011: it receives export
// datagrams, decodes them and hands flow records, in batches, to a Sink.
//
// Messages come over UDP (any version), and IPFIX over TCP and TLS.
//
// Data moves one way: a socket's goroutine owns the socket, its buffer and the
// batch it fills; a full or old batch crosses to a writer over one bounded
// channel, and its memory comes back over another. What cannot be handed on is
// dropped there and counted, so that a slow sink never stops the reading.
// Every datagram and record that went in is accounted for: decoded, or lost by
// a named cause (see Loss in package flow, and the metrics); what did not come in
// shows in the sequence numbers, which also go with each batch, so that the next
// run knows what this one missed.
package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
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
	// has ended. What b says of sequences must not last before the batches that
	// were given to it earlier do: a crash would hide that they are missing.
	Write(ctx context.Context, b flow.Batch) error
	// Report is called every second with the state of every exporter that sent
	// something since the last call, and with what was lost since then.
	Report(ctx context.Context, r flow.Report) error
}

// Recaller is a Sink that remembers where sessions stood with the last batch that
// it made durable. Run asks it once, before it listens.
type Recaller interface {
	// Sequences returns one for each session. With an error it returns what it
	// knows all the same; the other sessions are Blind then.
	Sequences(ctx context.Context) ([]flow.Sequence, error)
}

// recordOctets is the size of a record without its extras.
const recordOctets = int(unsafe.Sizeof(flow.Record{}))

// The defaults of a Config.
const (
	DefaultListen         = ":9995"
	DefaultReceiveBuffer  = 32 << 20
	DefaultBatchRecords   = 32768
	DefaultBatchAge       = time.Second
	DefaultQueue          = 32
	DefaultWriters        = 2
	DefaultMaxExporters   = 4096
	DefaultMaxConnections = 128
	DefaultIdleTimeout    = 30 * time.Minute
	DefaultStopTimeout    = 30 * time.Second
)

// Config says where to listen and where to deliver. A field that is zero has its default.
type Config struct {
	// Listen are UDP addresses; DefaultListen when all three are empty. ListenTCP and
	// ListenTLS are TCP addresses for IPFIX; TLS is required for the latter (see
	// TLSConfig). Each may have a name in front, NAME=ADDRESS: what comes in there is
	// called so.
	Listen, ListenTCP, ListenTLS []string
	TLS                          *tls.Config
	// Sink receives the records. Required.
	Sink Sink
	// Sockets is how many sockets share each address (SO_REUSEPORT): one for
	// each processor, at most 4. Systems without SO_REUSEPORT balancing use 1.
	Sockets int
	// ReceiveBuffer is the size of the kernel buffer to ask for, in bytes. What
	// the kernel grants is logged.
	ReceiveBuffer int
	// BatchRecords is how many records make a batch full. Extras that take
	// as many bytes as so many records do make it full as well.
	BatchRecords int
	// BatchAge is how long a record may wait for its batch to fill.
	BatchAge time.Duration
	// Queue is how many batches may wait for a writer. Queue and
	// BatchRecords bound the memory: records wait in at most
	// Queue + Writers + sockets batches. Each takes BatchRecords * 176 bytes,
	// as much again when it is full of extras, and what the last datagram
	// brought: an eighth more as a rule, and as much again when a stranger makes
	// the most of Limits.MessageRecords.
	Queue int
	// Writers is how many batches may be written at once.
	Writers int
	// MaxExporters is how many exporters may be known at once. For a
	// further one the one gives way that was silent for longest, five minutes at
	// least; when there is none, what it sends is dropped and counted.
	MaxExporters int
	// MaxConnections is how many TCP connections there may be, and how many TLS
	// connections, a quarter of them from one address. Each can make us keep some
	// 9 MiB of templates, and 64 KiB of what it sends.
	MaxConnections int
	// IdleTimeout ends a connection on which nothing comes for so long.
	IdleTimeout time.Duration
	// Allow are the prefixes that may send, anybody when empty. What others send
	// is refused and counted before it is looked at.
	Allow []netip.Prefix
	// RateLimit is how many records a second one exporter may send, 0 for any
	// number. What is above is dropped and counted.
	RateLimit int
	// Sampling says what is configured for an exporter; nil is nothing.
	Sampling func(flow.Exporter) netflow.Sampling
	// Identity says whose messages are those in which an address is announced as
	// the exporter's: IdentityAuto when empty.
	Identity Identity
	// LookUp returns what reverse DNS calls an address; nil asks nobody. Exporters without
	// another name are called so.
	LookUp func(ctx context.Context, addr string) ([]string, error)
	// StateDir is a directory in which the templates are kept for the next run,
	// none when "".
	StateDir string
	// StopTimeout is how long a stop may take to write what was received.
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
	if len(c.Listen) == 0 && len(c.ListenTCP) == 0 && len(c.ListenTLS) == 0 {
		c.Listen = []string{DefaultListen}
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Sockets, min(4, runtime.GOMAXPROCS(0)))
	def(&c.ReceiveBuffer, DefaultReceiveBuffer)
	def(&c.BatchRecords, DefaultBatchRecords)
	def(&c.Queue, DefaultQueue)
	def(&c.Writers, DefaultWriters)
	def(&c.MaxExporters, DefaultMaxExporters)
	def(&c.MaxConnections, DefaultMaxConnections)
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.BatchAge <= 0 {
		c.BatchAge = DefaultBatchAge
	}
	if c.StopTimeout <= 0 {
		c.StopTimeout = DefaultStopTimeout
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
	if len(c.ListenTLS) > 0 && c.TLS == nil {
		return errors.New("collector: to listen for TLS takes a certificate and its key")
	}
	if !c.Identity.valid() {
		return fmt.Errorf("collector: identity %q: want auto, source or announced", c.Identity)
	}
	c = c.withDefaults()
	p := newProcess(c)
	if err := p.recall(ctx); err != nil {
		return err
	}
	var listeners []*listener
	var streams []*stream
	defer func() {
		for _, l := range listeners {
			l.rx.close()
		}
		for _, l := range streams {
			l.Close()
		}
	}()
	var bound []netip.AddrPort
	for _, at := range c.Listen {
		name, addr, err := SplitListen(at)
		if err != nil {
			return err
		}
		ls, err := listen(addr, c)
		listeners = append(listeners, ls...)
		if err != nil {
			return err
		}
		bound = append(bound, ls[0].addr)
		// The sockets of one address share the templates; two addresses do not.
		dec := netflow.NewDecoder(c.Limits)
		p.configure(dec)
		p.decoders = append(p.decoders, decoder{dec, addr})
		for _, l := range ls {
			p.granted += l.granted
			l.dec, l.name = dec, name
		}
	}
	shared := &streamFiller{}
	for i, at := range slices.Concat(c.ListenTCP, c.ListenTLS) {
		name, addr, err := SplitListen(at)
		if err != nil {
			return err
		}
		var conf *tls.Config
		if i >= len(c.ListenTCP) {
			conf = c.TLS
		}
		l, err := listenStream(addr, conf, c, shared)
		if err != nil {
			return err
		}
		l.called = name
		streams = append(streams, l)
		bound = append(bound, addrPort(l.Addr()))
	}
	p.loadTemplates()
	p.metrics.watch(c.Registerer, p)
	if c.Ready != nil {
		c.Ready(bound)
	}

	// The writers and the reporter outlive ctx: they stop when there is nothing
	// left to write, or when StopTimeout is over.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var reading, aging, writing, reporting sync.WaitGroup
	for _, l := range listeners {
		reading.Go(func() { p.read(ctx, l) })
	}
	stopAging := make(chan struct{})
	if len(streams) > 0 {
		p.open(&shared.filler, nil)
		aging.Go(func() { p.age(shared, stopAging) })
	}
	for _, l := range streams {
		reading.Go(func() { p.accept(ctx, l) })
	}
	for range c.Writers {
		writing.Go(func() { p.write(work) })
	}
	stopReporting := make(chan struct{})
	reporting.Go(func() { p.report(context.WithoutCancel(ctx), stopReporting) })
	if c.LookUp != nil {
		reporting.Go(func() { p.lookUp(ctx) })
	}

	// A connection may be waiting for the writers, who wait for the sink.
	<-ctx.Done()
	giveUp := time.AfterFunc(c.StopTimeout, stop)
	defer giveUp.Stop()
	reading.Wait()
	close(stopAging)
	aging.Wait()
	close(p.queue)
	writing.Wait()
	close(stopReporting)
	reporting.Wait()
	p.endTemplates()
	return nil
}

// handed is a batch on its way to the sink, with where its sessions stood after
// it.
type handed struct {
	recs      []flow.Record
	events    []flow.Event
	extras    bool // some records have extras
	sequences []flow.Sequence
	loss      []flow.Loss
}

// process is a running collector.
type process struct {
	Config
	queue      chan handed
	free       chan []flow.Record
	freeEvents chan []flow.Event
	places     map[bool]*places // of TCP, and of TLS (true)
	unreadable *unreadable
	endings    *endings
	ledger     *ledger
	metrics    *metrics
	decoders   []decoder
	identities *identities
	granted    int // bytes of receive buffer, of all sockets
	saveFailed bool
}

// decoder is that of the sockets of one address.
type decoder struct {
	*netflow.Decoder
	listen string
}

func newProcess(c Config) *process {
	p := &process{
		Config:     c,
		queue:      make(chan handed, c.Queue),
		free:       make(chan []flow.Record, c.Queue+c.Writers+1),
		freeEvents: make(chan []flow.Event, c.Queue+c.Writers+1),
		unreadable: newUnreadable(),
		endings:    &endings{last: map[netip.Addr]time.Time{}},
		ledger:     newLedger(c.MaxExporters),
		metrics:    newMetrics(c.Registerer),
	}
	p.ledger.rate = float64(c.RateLimit)
	p.ledger.sampling = c.Sampling
	routers := gateways()
	p.ledger.local = func(a flow.Addr) bool { return slices.Contains(routers, a.Netip()) }
	local := func(a netip.Addr) bool { return p.ledger.local(flow.AddrFrom(a)) }
	p.places = map[bool]*places{false: newPlaces(c.MaxConnections, local), true: newPlaces(c.MaxConnections, local)}
	p.identities = newIdentities(c.Identity, c.MaxExporters, func(a flow.Addr) bool { return p.ledger.local(a) })
	return p
}

// configure tells a decoder what is configured.
func (p *process) configure(dec *netflow.Decoder) {
	if p.Sampling != nil {
		dec.SetSampling(p.Sampling)
	}
}

// recall asks the sink where the sessions stood.
func (p *process) recall(ctx context.Context) error {
	r, ok := p.Sink.(Recaller)
	if !ok {
		return nil
	}
	list, err := r.Sequences(ctx)
	if err != nil {
		p.Logger.Warn("where the exporters' sequence numbers stood cannot be asked now; what was lost since the last run is booked when the database is back", "known", len(list), "error", err)
	}
	p.ledger.recall(list, err == nil)
	return ctx.Err()
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
func (p *process) recycle(h handed) {
	if h.extras { // so that nothing is kept alive; the others hold no pointers
		clear(h.recs)
	}
	select {
	case p.free <- h.recs:
	default:
	}
	p.recycleEvents(h.events)
}

// hand passes a batch to the writers, or drops and counts it when too many wait.
func (p *process) hand(h handed) {
	select {
	case p.queue <- h:
	default:
		p.lost(&h, causeQueueFull)
		p.recycle(h)
	}
}

// lost books a batch that will not be stored.
func (p *process) lost(h *handed, cause string) {
	p.metrics.dropped.WithLabelValues(cause).Add(float64(len(h.recs)))
	p.metrics.droppedEvents.WithLabelValues(cause).Add(float64(len(h.events)))
	p.ledger.notStored(h, cause)
}

// write hands batches to the sink until the queue is closed and empty.
func (p *process) write(ctx context.Context) {
	for h := range p.queue {
		start := time.Now()
		err := p.Sink.Write(ctx, flow.Batch{Records: h.recs, Events: h.events, Sequences: h.sequences, Loss: h.loss, Pressed: len(p.queue) > cap(p.queue)/2})
		switch {
		case err == nil:
			p.metrics.stored.Add(float64(len(h.recs)))
			p.metrics.storedEvents.Add(float64(len(h.events)))
			p.metrics.booked(h.loss)
			p.metrics.writeSeconds.Observe(time.Since(start).Seconds())
		case ctx.Err() != nil:
			p.lost(&h, causeStopped)
			p.Logger.Error("records not stored before the stop", "records", len(h.recs), "events", len(h.events), "error", err)
		default:
			p.lost(&h, causeRefused)
			p.Logger.Error("records refused by the store", "records", len(h.recs), "events", len(h.events), "error", err)
		}
		p.recycle(h)
	}
}

// report delivers the ledger every second, and once more at the end, when there
// is time for it although there may have been none for the records. A report
// that fails is kept and delivered with the next one.
func (p *process) report(ctx context.Context, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	saved := time.Now()
	var givenUp []netflow.GivenUp
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-stop:
			last = true
		}
		now := time.Now()
		givenUp = givenUp[:0]
		for _, d := range p.decoders {
			until := flow.TimeOf(now)
			if last {
				until = endOfTime
			}
			givenUp = d.Expire(givenUp, until)
		}
		for _, g := range givenUp {
			p.metrics.undecodedSets.WithLabelValues(causeNoTemplate).Add(float64(g.Sets))
		}
		p.ledger.givenUp(flow.TimeOf(now), givenUp)
		if now.Sub(saved) >= time.Minute {
			saved = now
			p.saveTemplates()
		}
		r := p.ledger.take(flow.TimeOf(now), last)
		r.Unreadable = p.unreadable.take()
		p.unreadable.say(p.Logger, now)
		if len(r.Status) == 0 && len(r.Loss) == 0 && len(r.Interfaces) == 0 && len(r.Sequences) == 0 && len(r.Unreadable) == 0 {
			continue
		}
		rctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := p.Sink.Report(rctx, r)
		cancel()
		if err != nil {
			p.ledger.giveBack(r)
			p.unreadable.giveBack(r.Unreadable)
			switch {
			case last:
				p.Logger.Error("exporter status and losses not stored before the stop", "losses", len(r.Loss), "error", err)
			case !failing:
				p.Logger.Warn("exporter status not stored, kept for the next second", "error", err)
			}
		}
		if err == nil || last {
			p.metrics.booked(r.Loss)
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
