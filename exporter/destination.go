package exporter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"
)

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

// sendTemplates sends the templates that are due.
func (d *destination) sendTemplates(at flow.Time) {
	if d.message, _ = d.encoder.Append(d.message[:0], at, nil); len(d.message) > 0 {
		d.load = load{}
		d.sendMade(0)
	}
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
