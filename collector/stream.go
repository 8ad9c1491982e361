package collector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"flowtally/flow"
	"flowtally/netflow"
)

const (
	// ipfixHeader is the length of an IPFIX message's header, which is all that
	// is needed to know where the next message begins.
	ipfixHeader = 16
	// handshakeTime is how long a TLS handshake may take, and the first message
	// behind it.
	handshakeTime = 10 * time.Second
	// streamTemplates and its kin bound what one connection makes us keep: with
	// Limits' formula some 9 MiB, of which nearly all is the template bytes' part.
	streamTemplates      = 1024
	streamTemplateOctets = 256 << 10
	streamHoldOctets     = 256 << 10
)

// stream is a listener for IPFIX over TCP, or TLS when tls is not nil (RFC 7011
// §10.4). A connection is a Transport Session: templates are known in it alone,
// and end with it.
type stream struct {
	net.Listener
	tls  *tls.Config
	name string // of the transport
	// called is the listener's own name, "" when it has none.
	called string

	// The connections of all streams fill one batch between them.
	fill *streamFiller
}

// streamFiller is the batch that connections share.
type streamFiller struct {
	mu sync.Mutex
	filler
	due time.Time
}

// listenStream opens a listener for IPFIX over TCP or TLS.
func listenStream(addr string, conf *tls.Config, c Config, fill *streamFiller) (*stream, error) {
	name := "TCP"
	if conf != nil {
		name = "TLS"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("collector: TCP %s is in use by another program: stop it, or choose another address", addr)
		}
		return nil, fmt.Errorf("collector: cannot listen on TCP %s: %w", addr, err)
	}
	c.Logger.Info("listening for IPFIX over "+name, "address", describe(addrPort(l.Addr())))
	return &stream{Listener: l, tls: conf, name: name, fill: fill}, nil
}

// TLSConfig makes the configuration of a TLS listener from PEM files: the
// collector's certificate and key, and, when ca is not "", the authorities one of
// which must have signed the certificate of whoever connects.
func TLSConfig(cert, key, ca string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("collector: TLS certificate: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("collector: TLS authorities: %w", err)
		}
		conf.ClientCAs = x509.NewCertPool()
		if !conf.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("collector: TLS authorities: %s holds no PEM certificate", ca)
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	return netip.AddrPort{}
}

// accept serves connections until ctx ends and those that there are have ended.
func (p *process) accept(ctx context.Context, l *stream) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			p.metrics.readErrors.Inc()
			select { // as when there are no more files to open
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		from := addrPort(conn.RemoteAddr())
		if !p.allowed(from.Addr()) {
			p.metrics.refusedConns.WithLabelValues(causeNotAllowed).Inc()
			conn.Close()
			continue
		}
		places := p.places[l.tls != nil]
		place := places.take(conn, from.Addr(), time.Now())
		if place == nil {
			p.metrics.refusedConns.WithLabelValues(causeTooMany).Inc()
			conn.Close()
			continue
		}
		serving.Go(func() {
			defer places.leave(place)
			defer conn.Close()
			if err := p.serve(ctx, l, conn, from, func() { places.serve(place) }); err != nil {
				if places.gaveWay(place) {
					err = errGaveWay
				}
				p.metrics.connErrors.Inc()
				if more, ok := p.endings.say(from.Addr(), time.Now()); ok {
					p.Logger.Warn("an IPFIX connection ended with an error", "transport", l.name, "from", from.String(), "error", err, "more_since", more)
				}
			}
		})
	}
}

// serve takes the messages of one connection until it ends, is silent for too
// long, or cannot be understood: where the next message begins is not known then
// (RFC 7011 §10.4.3 has us close it).
//
// whole is called once a message came to its end.
func (p *process) serve(ctx context.Context, l *stream, conn net.Conn, from netip.AddrPort, whole func()) error {
	limits := p.Limits
	limits.Templates, limits.ExporterTemplates = streamTemplates, streamTemplates
	limits.TemplateOctets, limits.ExporterOctets = streamTemplateOctets, streamTemplateOctets
	limits.HoldOctets, limits.ExporterHoldOctets = streamHoldOctets, streamHoldOctets
	limits.Domains, limits.ExporterDomains = 64, 64
	limits.Withdrawals = true
	dec := netflow.NewDecoder(limits)
	p.configure(dec)
	defer func() { // what was held for a template of this connection
		p.ledger.givenUp(flow.TimeOf(time.Now()), dec.Expire(nil, endOfTime))
	}()

	if l.tls != nil {
		t := tls.Server(conn, l.tls)
		hctx, cancel := context.WithTimeout(ctx, handshakeTime)
		defer cancel()
		if err := t.HandshakeContext(hctx); err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		conn = t
	}
	// What is on its way when the stop comes is still taken.
	wake := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now().Add(drainTime)) })
	defer wake()
	var until time.Time   // the deadline that is set
	var partial time.Time // when the message that is not whole began, zero when none
	buf := make([]byte, maxDatagram)
	have := 0
	for {
		// The deadline is moved once in a while, not for each read.
		now := time.Now()
		next := now.Add(p.IdleTimeout)
		if have == 0 {
			partial = time.Time{}
		} else {
			if partial.IsZero() {
				partial = now
			}
			if most := partial.Add(messageTime); most.Before(next) {
				next = most
			}
		}
		if ctx.Err() == nil && (next.Before(until) || next.Sub(until) > p.IdleTimeout/4) {
			until = next
			conn.SetReadDeadline(until)
			if ctx.Err() != nil {
				conn.SetReadDeadline(now.Add(drainTime))
			}
		}
		n, err := conn.Read(buf[have:])
		have += n
		used := 0
		received := flow.TimeOf(time.Now())
		for have-used >= ipfixHeader {
			m := buf[used:have]
			length := int(binary.BigEndian.Uint16(m[2:]))
			if v := binary.BigEndian.Uint16(m); v != uint16(netflow.IPFIX) || length < ipfixHeader {
				p.metrics.undecodedSets.WithLabelValues(causeVersion).Inc()
				p.ledger.nobodys(received, stageDecode, causeVersion, 1)
				err := fmt.Errorf("not IPFIX: version %d, length %d", v, length)
				p.unreadable.add(from.Addr(), received, m, err)
				return err
			}
			if length > len(m) {
				break
			}
			if !p.take(l, dec, from, received, m[:length]) {
				return errors.New("a message that cannot be understood to its end")
			}
			used += length
			partial = time.Time{}
			if whole != nil {
				whole()
				whole = nil
			}
		}
		have = copy(buf, buf[used:have])
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if have > 0 {
				p.metrics.undecodedSets.WithLabelValues(causeMalformed).Inc()
				p.ledger.nobodys(received, stageDecode, causeMalformed, 1)
				return io.ErrUnexpectedEOF
			}
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if ctx.Err() != nil {
				return nil
			}
			if have > 0 {
				p.metrics.undecodedSets.WithLabelValues(causeMalformed).Inc()
				p.ledger.nobodys(received, stageDecode, causeMalformed, 1)
				return fmt.Errorf("the rest of a message did not come in %v", messageTime)
			}
			return fmt.Errorf("silent for %v", p.IdleTimeout)
		default:
			return err
		}
	}
}

// endings are of which addresses connections ended badly, so that each has one line
// of the log a minute.
type endings struct {
	mu   sync.Mutex
	last map[netip.Addr]time.Time
	kept int // lines not written since the last one
}

// say reports whether the end of a connection is to be logged now, and how many
// others were not since the last one that was.
func (e *endings) say(from netip.Addr, now time.Time) (more int, ok bool) {
	const most = 1024
	e.mu.Lock()
	defer e.mu.Unlock()
	last, known := e.last[from]
	if known && now.Sub(last) < time.Minute {
		e.kept++
		return 0, false
	}
	if !known && len(e.last) >= most {
		maps.DeleteFunc(e.last, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) >= time.Minute })
		if len(e.last) >= most {
			e.kept++
			return 0, false
		}
	}
	e.last[from] = now
	more, e.kept = e.kept, 0
	return more, true
}

// endOfTime is later than anything is held for.
const endOfTime flow.Time = 1 << 60

// take decodes a message into the batch that the connections share. When the
// writers are behind it waits for them, and so, through TCP, does the exporter.
func (p *process) take(l *stream, dec *netflow.Decoder, from netip.AddrPort, now flow.Time, message []byte) bool {
	f := l.fill
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dec, f.filler.name = dec, l.called
	p.metrics.datagrams.Inc()
	ok := p.decode(&f.filler, from, now, message)
	switch {
	case f.full(p.BatchRecords):
		p.passPatiently(f)
	case f.due.IsZero() && f.waits():
		f.due = time.Now().Add(p.BatchAge)
	}
	return ok
}

// passPatiently hands the shared batch on; the caller holds the lock.
func (p *process) passPatiently(f *streamFiller) {
	f.due = time.Time{}
	if h, ok := p.takeBatch(&f.filler); ok {
		p.queue <- h
	}
}

// age hands the shared batch on when it is old, until stop.
func (p *process) age(f *streamFiller, stop <-chan struct{}) {
	tick := time.NewTicker(max(p.BatchAge/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-stop:
			f.mu.Lock()
			defer f.mu.Unlock()
			p.passPatiently(f)
			return
		case now := <-tick.C:
			f.mu.Lock()
			switch {
			case f.due.IsZero() && f.waits():
				f.due = now.Add(p.BatchAge) // a gap that is certain now
			case !f.due.IsZero() && now.After(f.due):
				p.passPatiently(f)
			}
			f.mu.Unlock()
		}
	}
}
