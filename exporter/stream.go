package exporter

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"flowtally/netflow"
)

const (
	// awayRecords is how many records wait for a far end that is away: some
	// 25 MB. The oldest are given up for further ones.
	awayRecords = 1 << 17
	// dialTime is how long a connection may take to come about, writeTime how
	// long the far end may take to make room for a message, dialEvery how long
	// after a failure the next attempt is made.
	dialTime  = 5 * time.Second
	writeTime = 5 * time.Second
	dialEvery = time.Second
)

// connecting is how a destination over TCP or TLS gets its connection, which is
// a Transport Session (RFC 7011 §10.4): templates and sequence numbers begin anew
// with each.
type connecting struct {
	addr    string
	tls     *tls.Config // nil is TCP
	results chan connection
	dialing bool
	next    time.Time // no attempt before
	gone    chan struct{}
	stop    context.Context
	cancel  func()
}

// connection is what came of an attempt.
type connection struct {
	net.Conn
	gone chan struct{} // closed when the far end hung up
	err  error
}

// dialStream returns a destination for "tcp://HOST:PORT" or "tls://HOST:PORT".
// That nobody answers there yet is no error.
func dialStream(ctx context.Context, to string, c *Config, version netflow.Version) (*destination, error) {
	scheme, addr, _ := strings.Cut(to, "://")
	if scheme != "tcp" && scheme != "tls" {
		return nil, errors.New("want host:port, tcp://host:port or tls://host:port")
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, errors.New("want host:port behind ://, an IPv6 address in brackets")
	}
	if version != netflow.IPFIX {
		return nil, errors.New("only IPFIX goes over TCP and TLS")
	}
	x := &connecting{addr: addr, results: make(chan connection, 1)}
	x.stop, x.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if scheme == "tls" {
		x.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.TLS != nil {
			x.tls = c.TLS.Clone()
		}
		if x.tls.ServerName == "" {
			x.tls.ServerName = host
		}
	}
	d := &destination{name: to, log: c.Logger, stream: x}
	x.dialing = true
	x.dial()
	return d, nil
}

// dial makes one attempt and says what came of it.
func (x *connecting) dial() {
	ctx, cancel := context.WithTimeout(x.stop, dialTime)
	defer cancel()
	var conn net.Conn
	var err error
	if x.tls != nil {
		conn, err = (&tls.Dialer{Config: x.tls}).DialContext(ctx, "tcp", x.addr)
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", x.addr)
	}
	gone := make(chan struct{})
	if err == nil {
		go func() {
			// A collector says nothing; when it goes, the next write is to know.
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
			close(gone)
		}()
	}
	x.results <- connection{conn, gone, err}
}

// connected reports whether there is somebody to send to; over UDP there always
// is. Otherwise it sees to it that there will be.
func (d *destination) connected() bool {
	x := d.stream
	if x == nil {
		return true
	}
	if d.conn != nil {
		select {
		case <-x.gone:
			d.conn = nil
		default:
			return true
		}
	}
	now := time.Now()
	select {
	case r := <-x.results:
		x.dialing = false
		if r.err != nil {
			d.complain(r.err)
			x.next = now.Add(dialEvery)
			return false
		}
		d.conn, x.gone = r.Conn, r.gone
		if d.encoder != nil {
			d.encoder, _ = netflow.NewEncoder(d.config)
		}
		return true
	default:
	}
	if !x.dialing && now.After(x.next) {
		x.dialing = true
		go x.dial()
	}
	return false
}

// disconnect gives the connection up after a failed write.
func (d *destination) disconnect() {
	if d.stream != nil && d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// giveUp counts all but the last keep of the records that wait as not sent.
func (d *destination) giveUp(keep int) {
	n := len(d.pending) - keep
	if n <= 0 {
		return
	}
	for i := range d.pending[:n] {
		d.lost.add(&d.pending[i])
	}
	d.losses.unreachable(d.made.records, uint64(n))
	d.made.records += uint64(n)
	d.counts.notSent.Unreachable += uint64(n)
	d.pending = d.pending[:copy(d.pending, d.pending[n:])]
}

// finish sends what waits for a far end that was away, if it comes back soon, and
// gives up what does not leave.
func (s *sending) finish(d *destination) {
	if d.stream == nil {
		d.settle()
		return
	}
	for end := time.Now().Add(dialTime); len(d.pending) > 0 && time.Now().Before(end); {
		if d.connected() {
			d.make(s.at, true)
		} else {
			time.Sleep(10 * time.Millisecond)
		}
	}
	d.giveUp(0)
}

// close ends the destination.
func (d *destination) close() {
	if d.stream != nil {
		d.stream.cancel()
		if d.conn == nil && d.stream.dialing {
			if r := <-d.stream.results; r.err == nil {
				r.Close()
			}
		}
	}
	if d.conn != nil {
		d.conn.Close()
	}
}
