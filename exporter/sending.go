package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

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

// sending makes messages of records and sends them. It is one goroutine's.
type sending struct {
	config  netflow.EncoderConfig
	encoder *netflow.Encoder
	to      []*destination
	pace    *pacer

	pending []flow.Record // prepared records that wait for a message
	fill    int           // so many fill a message
	message []byte
	at      flow.Time // what the last message was dated
	counts  sendingCounts
}

// newSending checks what of the configuration is sending's, and opens the
// sockets.
func newSending(ctx context.Context, c *Config) (*sending, error) {
	if len(c.To) == 0 {
		return nil, errors.New("no destination to send to")
	}
	s := &sending{
		config: netflow.EncoderConfig{Version: c.Version, Domain: c.Domain, MaxMessage: c.MaxMessage, SamplingRate: c.Sample},
		pace:   newPacer(c.Pace, time.Now, time.Sleep),
	}
	if _, err := netflow.NewEncoder(s.config); err != nil {
		return nil, err
	}
	octets := c.MaxMessage
	if octets == 0 {
		octets = 1372
	}
	s.fill = octets / leastRecord
	for _, to := range c.To {
		d, err := dial(ctx, to, c.Logger)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("destination %q: %w", to, err)
		}
		s.to = append(s.to, d)
	}
	return s, nil
}

func (s *sending) close() {
	for _, d := range s.to {
		d.conn.Close()
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
		from, to := d.conn.LocalAddr().(*net.UDPAddr).AddrPort(), d.conn.RemoteAddr().(*net.UDPAddr).AddrPort()
		own = append(own, stream{flow.AddrFrom(from.Addr()), flow.AddrFrom(to.Addr()), from.Port(), to.Port()})
	}
	return own
}

// run sends what comes over full until that is closed.
func (s *sending) run(full <-chan batch, empty chan<- []flow.Record, l *ledger) {
	for b := range full {
		if s.encoder == nil && len(b.records) > 0 {
			s.config.Boot = b.boot
			// The configuration was checked with another boot time.
			s.encoder, _ = netflow.NewEncoder(s.config)
		}
		for i := range b.records {
			n := len(s.pending)
			s.pending = s.encoder.Prepare(s.pending, &b.records[i])
			if made := len(s.pending) - n; made == 0 {
				s.counts.notExpressible++
			} else {
				s.counts.split += uint64(made - 1)
			}
		}
		empty <- b.records[:0]
		// Several meters are not equally far.
		s.at = max(s.at, b.at)
		s.send(s.at, b.flush)
		l.sent(&s.counts, s.to)
	}
	for _, d := range s.to {
		d.settle()
	}
	l.sent(&s.counts, s.to)
}

// send sends full messages, dated at, and with flush also the last one.
func (s *sending) send(at flow.Time, flush bool) {
	rest := s.pending
	for len(rest) > s.fill || flush && len(rest) > 0 {
		date, n := s.together(at, rest)
		s.message, n = s.encoder.Append(s.message[:0], date, rest[:n])
		if n == 0 {
			// No record fits into a message that small.
			s.counts.tooLong++
			rest = rest[1:]
			continue
		}
		rest = rest[n:]
		s.pace.wait(n)
		s.counts.messages++
		s.counts.records += uint64(n)
		for _, d := range s.to {
			d.send(s.message, n)
		}
	}
	s.pending = s.pending[:copy(s.pending, rest)]
}

// together returns how many of the first records can be said in one message, and
// its export time: at, unless the dialect dates them by an uptime that does not
// reach back as far. Then the export time is the flow's own end. That happens
// only in captures whose clock jumped back.
func (s *sending) together(at flow.Time, recs []flow.Record) (date flow.Time, n int) {
	if s.config.Version == netflow.IPFIX {
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

// destination is one collector: a connected socket, so that ICMP errors are
// heard of.
type destination struct {
	name     string
	conn     *net.UDPConn
	log      *slog.Logger
	last     int // records in the datagram last sent
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
	_, err := d.conn.Write(message)
	if errors.Is(err, syscall.ECONNREFUSED) {
		d.refused(err)
		_, err = d.conn.Write(message)
	}
	if err != nil {
		d.counts.fail(err, records)
		d.last = 0
		d.complain(err)
		return
	}
	d.last = records
	d.counts.messages++
	d.counts.records += uint64(records)
}

// refused counts the datagram last sent as one that nobody received.
func (d *destination) refused(err error) {
	if d.last > 0 {
		d.counts.messages--
		d.counts.records -= uint64(d.last)
		d.counts.fail(err, d.last)
		d.last = 0
	}
	d.complain(err)
}

// settle asks for a refusal of the datagram last sent.
func (d *destination) settle() {
	raw, err := d.conn.SyscallConn()
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
