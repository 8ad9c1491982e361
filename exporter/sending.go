package exporter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"

	"golang.org/x/sys/unix"
)

const (
	// sendBuffer is the socket buffer asked for; the system may grant less.
	sendBuffer = 4 << 20
	// leastRecord is no more than any dialect's shortest record, in octets: so
	// many records fill a message for certain.
	leastRecord = 32
	// relativeReach is how far before the export time a record may start in
	// dialects that date records by 32 bits of uptime in milliseconds.
	relativeReach = flow.Time(1) << 31
	// complainEvery is how often a failing destination is logged.
	complainEvery = 30 * time.Second
)

// sending shares records out to destinations. It is one goroutine's.
type sending struct {
	to       []*destination
	live     bool
	balance  bool
	divided  bool // the destinations do not all get the same
	options  *speaking
	renew    chan struct{} // asks for templates and options
	reported sendingCounts

	at flow.Time // what the last messages were dated
}

// Collector is a destination.
type Collector struct {
	// To is "host:port", resolved once.
	To string
	// Version is the dialect, 0 that of the Config.
	Version netflow.Version
	// Filter says which flows it gets, nil all.
	Filter *filter.Filter
}

// newSending checks what of the configuration is sending's, and opens the
// sockets.
func newSending(ctx context.Context, c *Config) (*sending, error) {
	var collectors []Collector
	for _, to := range c.To {
		collectors = append(collectors, Collector{To: to})
	}
	collectors = append(collectors, c.Collectors...)
	if len(collectors) == 0 {
		return nil, errors.New("no destination to send to")
	}
	s := &sending{live: c.Live, balance: c.Balance, divided: c.Balance && len(collectors) > 1, renew: make(chan struct{}, 1)}
	if c.Options {
		s.options = newSpeaking(c)
	}
	octets := c.MaxMessage
	if octets == 0 {
		octets = 1372
	}
	for _, x := range collectors {
		config := netflow.EncoderConfig{
			Version: x.Version, Domain: c.Domain, MaxMessage: c.MaxMessage,
			SamplingRate: c.Sample, SamplingRandom: c.SampleRandom, Template: c.Template, Fields: c.Fields,
		}
		if config.Version == 0 {
			config.Version = c.Version
		}
		s.divided = s.divided || x.Filter != nil || config.Version != c.Version
		_, err := netflow.NewEncoder(config)
		var d *destination
		if err == nil {
			if strings.Contains(x.To, "://") {
				d, err = dialStream(ctx, x.To, c, config.Version)
			} else {
				d, err = dial(ctx, x.To, c.Logger)
			}
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("destination %q: %w", x.To, err)
		}
		d.config, d.filter, d.fill = config, x.Filter, octets/leastRecord
		d.pace = newPacer(c.Pace, time.Now, time.Sleep)
		s.to = append(s.to, d)
	}
	if len(s.to) > 1 && !s.divided {
		once := new(losses)
		for _, d := range s.to {
			d.losses = once
		}
	}
	return s, nil
}

// names returns what the destinations are called.
func (s *sending) names() []string {
	var names []string
	for _, d := range s.to {
		names = append(names, d.name)
	}
	return names
}

// settle tells the losses which records no destination will lose any more: over UDP
// all but the last datagram's, of which a refusal may still tell.
func (s *sending) settle() {
	once := s.to[0].losses
	if once == nil {
		return
	}
	below := uint64(math.MaxUint64)
	for _, d := range s.to {
		below = min(below, d.made.records-uint64(d.last))
	}
	once.settle(below)
}

func (s *sending) close() {
	for _, d := range s.to {
		d.close()
	}
}

// stream is one direction of a conversation over UDP.
type stream struct {
	src, dst         flow.Addr
	srcPort, dstPort uint16
}

// streams returns what the sockets send, as a capture sees it.
func (s *sending) streams() []stream {
	var own []stream
	for _, d := range s.to {
		if d.stream != nil {
			continue
		}
		from, to := d.conn.LocalAddr().(*net.UDPAddr).AddrPort(), d.conn.RemoteAddr().(*net.UDPAddr).AddrPort()
		own = append(own, stream{flow.AddrFrom(from.Addr()), flow.AddrFrom(to.Addr()), from.Port(), to.Port()})
	}
	return own
}

// run sends what comes over full until that is closed.
func (s *sending) run(full <-chan batch, empty chan<- []flow.Record, l *ledger) {
	var second <-chan time.Time
	if s.live && (s.options != nil || slices.ContainsFunc(s.to, func(d *destination) bool { return d.stream != nil })) {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		second = t.C
	}
	for more := true; more; {
		var b batch
		renew := false
		select {
		case b, more = <-full:
			if !more {
				continue
			}
		case now := <-second:
			b.at = flow.TimeOf(now)
			b.boot = b.at
		case <-s.renew:
			renew = true
		}
		// Several meters are not equally far.
		s.at = max(s.at, b.at)
		if s.to[0].encoder == nil {
			if renew || len(b.records) == 0 && s.options == nil {
				if b.records != nil {
					empty <- b.records[:0]
				}
				continue
			}
			s.begin(b.boot)
			if s.options != nil {
				s.introduce()
			}
		}
		if renew {
			for _, d := range s.to {
				if !d.connected() {
					continue
				}
				d.encoder.Renew()
				d.sendTemplates(s.at)
			}
		}
		if s.options != nil {
			s.options.speak(s, l, renew)
		}
		s.share(b.records)
		if b.records != nil {
			empty <- b.records[:0]
		}
		for _, d := range s.to {
			d.make(s.at, b.flush)
		}
		s.settle()
		l.sent(s.sums(), s.to)
	}
	for _, d := range s.to {
		if d.encoder != nil {
			s.finish(d)
		}
	}
	if s.options != nil && s.to[0].encoder != nil {
		s.options.speak(s, l, true)
	}
	l.sent(s.sums(), s.to)
}

// begin makes the encoders. The configuration was checked with another boot time.
func (s *sending) begin(boot flow.Time) {
	for _, d := range s.to {
		d.config.Boot = boot
		d.encoder, _ = netflow.NewEncoder(d.config)
	}
}

// introduce sends the templates ahead of the first flow, which may be a minute away,
// and has them due again with that. Where nothing is lost once is enough.
func (s *sending) introduce() {
	for _, d := range s.to {
		if d.stream == nil && d.config.Template == netflow.Rich && d.config.Version != netflow.V5 {
			d.sendTemplates(s.at)
			d.encoder.Renew()
			d.begun = true
		}
	}
}

// sendTemplates sends the templates that are due.
func (d *destination) sendTemplates(at flow.Time) {
	if d.message, _ = d.encoder.Append(d.message[:0], at, nil); len(d.message) > 0 {
		d.load = load{}
		d.sendMade(0)
	}
}

// share hands each record to the destinations that it is for.
func (s *sending) share(recs []flow.Record) {
	if !s.divided {
		for _, d := range s.to {
			for i := range recs {
				d.take(&recs[i])
			}
		}
		return
	}
	for i := range recs {
		r := &recs[i]
		if s.balance {
			s.to[balanced(&r.Key, len(s.to))].offer(r)
			continue
		}
		for _, d := range s.to {
			d.offer(r)
		}
	}
}

// balanced returns which of n destinations has a flow: the same for both
// directions of a conversation, whatever process asks.
func balanced(k *flow.Key, n int) int {
	end := func(a *flow.Addr, port uint16) uint64 {
		h := binary.BigEndian.Uint64(a[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(a[8:])
		h = (h ^ h>>32) * 0xd6e8feb86659fd93
		return (h ^ h>>32 ^ uint64(port)) * 0xd6e8feb86659fd93
	}
	h := end(&k.SrcAddr, k.SrcPort) + end(&k.DstAddr, k.DstPort) + uint64(k.Protocol)
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return int((h >> 32) * uint64(n) >> 32)
}

// sums returns what was made for each destination, or for all where they get
// different things.
func (s *sending) sums() *sendingCounts {
	s.reported = s.to[0].made
	if s.divided {
		for _, d := range s.to[1:] {
			s.reported.add(&d.made)
		}
	}
	return &s.reported
}

// offer takes r if d's filter wants it.
func (d *destination) offer(r *flow.Record) {
	if d.filter != nil && !d.filter.Match(r, nil) {
		d.counts.filtered++
		return
	}
	d.take(r)
}

// take prepares r for the next messages.
func (d *destination) take(r *flow.Record) {
	n := len(d.pending)
	d.pending = d.encoder.Prepare(d.pending, r)
	if made := len(d.pending) - n; made == 0 {
		d.made.notExpressible++
		d.lost.add(r)
	} else {
		d.made.split += uint64(made - 1)
	}
}

// make makes and sends full messages, dated at, and with flush also the last one.
func (d *destination) make(at flow.Time, flush bool) {
	if !d.connected() {
		d.giveUp(awayRecords)
		return
	}
	rest := d.pending
	for d.conn != nil && (len(rest) > d.fill || flush && len(rest) > 0) {
		date, n := d.together(at, rest)
		d.message, n = d.encoder.Append(d.message[:0], date, rest[:n])
		if n == 0 && len(d.message) == 0 {
			// No record fits into a message that small.
			d.made.tooLong++
			d.lost.add(&rest[0])
			rest = rest[1:]
			continue
		}
		d.load = load{}
		for i := range rest[:n] {
			d.load.add(&rest[i])
		}
		rest = rest[n:]
		d.pace.wait(max(n, 1))
		d.made.records += uint64(n)
		d.sendMade(n)
		if !d.begun {
			// The first datagram may be lost, or come before its receiver is there: the
			// second has the templates again. Where nothing is lost, and where pflow(4)
			// is to be followed, once is enough.
			d.begun = true
			if d.stream == nil && d.config.Template == netflow.Rich {
				d.encoder.Renew()
			}
		}
	}
	d.pending = d.pending[:copy(d.pending, rest)]
}

// sendMade sends the message that was made, of n records.
func (d *destination) sendMade(n int) {
	d.made.messages++
	d.send(d.message, n)
}

// together returns how many of the first records can be said in one message, and
// its export time: at, unless the dialect dates them by an uptime that does not
// reach back as far. Then the export time is the flow's own end. That happens
// only in captures whose clock jumped back.
func (d *destination) together(at flow.Time, recs []flow.Record) (date flow.Time, n int) {
	if d.config.Version == netflow.IPFIX {
		return at, len(recs)
	}
	far := func(r *flow.Record) bool { return at-r.Start >= relativeReach }
	if far(&recs[0]) {
		return recs[0].End, 1
	}
	for n = 1; n < len(recs) && !far(&recs[n]); n++ {
	}
	return at, n
}

// load is what records carry: the packets and octets of their flows.
type load struct{ packets, octets uint64 }

func (l *load) add(r *flow.Record) {
	l.packets += r.Packets
	l.octets += r.Bytes
}

// destination is one collector: a connected socket, so that ICMP errors are
// heard of.
type destination struct {
	name     string
	conn     net.Conn    // nil while the far end of a stream is away
	stream   *connecting // nil over UDP
	log      *slog.Logger
	config   netflow.EncoderConfig
	encoder  *netflow.Encoder // nil until there is something to send
	filter   *filter.Filter
	pace     *pacer
	pending  []flow.Record // prepared records that wait for a message
	fill     int           // so many fill a message
	begun    bool          // a message with records was made
	message  []byte
	made     sendingCounts
	load     load // of the message that is sent now
	last     int  // records in the datagram last sent
	lastLen  int  // and its octets, 0 when it is known not to have arrived
	lastLoad load
	lastFrom uint64  // and the number of the first record in it
	lost     load    // of all records that did not leave
	losses   *losses // of all destinations, nil where these get different records, or there is one
	counts   deliveryCounts
	silentTo time.Time // no complaint until then
	held     int       // complaints that were not made
}

func dial(ctx context.Context, to string, log *slog.Logger) (*destination, error) {
	if _, _, err := net.SplitHostPort(to); err != nil {
		return nil, errors.New("want host:port, an IPv6 address in brackets")
	}
	c, err := new(net.Dialer).DialContext(ctx, "udp", to)
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UDPConn)
	if conn.RemoteAddr().(*net.UDPAddr).Port == 0 {
		conn.Close()
		return nil, errors.New("want a port other than 0")
	}
	// Less than asked for is no fault: a write that finds no room waits.
	_ = conn.SetWriteBuffer(sendBuffer)
	return &destination{name: to, conn: conn, log: log}, nil
}

// send sends a datagram with so many records. A refusal tells of the datagram
// before (ICMP port unreachable) and is answered by sending this one
// again, because the system did not send it.
func (d *destination) send(message []byte, records int) {
	if d.stream != nil {
		_ = d.conn.SetWriteDeadline(time.Now().Add(writeTime))
	}
	from := d.made.records - uint64(records)
	_, err := d.conn.Write(message)
	if d.stream == nil && errors.Is(err, syscall.ECONNREFUSED) {
		d.refused(err)
		_, err = d.conn.Write(message)
	}
	if err != nil {
		d.counts.fail(err, records)
		d.losses.fail(err, from, uint64(records))
		d.lose(d.load)
		d.last, d.lastLen, d.load = 0, 0, load{}
		d.complain(err)
		d.disconnect()
		return
	}
	d.last, d.lastLen, d.lastLoad, d.lastFrom, d.load = records, len(message), d.load, from, load{}
	d.counts.messages++
	d.counts.records += uint64(records)
	d.counts.octets += uint64(len(message))
}

func (d *destination) lose(l load) {
	d.lost.packets += l.packets
	d.lost.octets += l.octets
}

// refused counts the datagram last sent as one that nobody received.
func (d *destination) refused(err error) {
	if d.lastLen > 0 {
		d.counts.messages--
		d.counts.records -= uint64(d.last)
		d.counts.octets -= uint64(d.lastLen)
		d.counts.fail(err, d.last)
		d.losses.fail(err, d.lastFrom, uint64(d.last))
		d.lose(d.lastLoad)
		d.last, d.lastLen = 0, 0
	}
	d.complain(err)
}

// settle asks for a refusal of the datagram last sent.
func (d *destination) settle() {
	raw, err := d.conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return
	}
	var pending int
	_ = raw.Control(func(fd uintptr) {
		pending, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	})
	if errno := syscall.Errno(pending); errno == syscall.ECONNREFUSED {
		d.refused(errno)
	}
}

// complain logs that d fails, now and then.
func (d *destination) complain(err error) {
	now := time.Now()
	if now.Before(d.silentTo) {
		d.held++
		return
	}
	d.log.Warn("a collector does not take what it is sent", "to", d.name, "err", err, "not_said_before", d.held)
	d.silentTo, d.held = now.Add(complainEvery), 0
}
