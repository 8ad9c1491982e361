package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"flowtally/flow"
	"flowtally/netflow"
)

// maxDatagram is the largest UDP payload there is.
const maxDatagram = 65535

// listener is one socket and what its goroutine owns.
type listener struct {
	conn *net.UDPConn
	addr netip.AddrPort
	dec  *netflow.Decoder
	// overflow is the kernel's running count of datagrams it dropped here.
	overflow uint32
}

// listen opens the sockets of one address. It first binds plainly, so that a
// port that another program holds is an error even though SO_REUSEPORT would
// let us share it.
func listen(addr string, c Config) ([]*listener, error) {
	probe, err := net.ListenPacket("udp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("collector: UDP %s is in use by another program: stop it, or choose another address with --listen", addr)
		}
		return nil, fmt.Errorf("collector: cannot listen on UDP %s: %w", addr, err)
	}
	bound := probe.LocalAddr().(*net.UDPAddr).AddrPort()
	probe.Close()

	n := c.Sockets
	if !reusePort {
		n = 1
	}
	var ls []*listener
	lc := net.ListenConfig{Control: controlSocket}
	for range n {
		// A port chosen by the kernel for the probe is the port of them all.
		pc, err := lc.ListenPacket(context.Background(), "udp", net.JoinHostPort(hostOf(addr), fmt.Sprint(bound.Port())))
		if err != nil {
			return ls, fmt.Errorf("collector: cannot listen on UDP %s: %w", addr, err)
		}
		conn := pc.(*net.UDPConn)
		ls = append(ls, &listener{conn: conn, addr: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())})
		granted, err := setReceiveBuffer(conn, c.ReceiveBuffer)
		if err != nil {
			return ls, fmt.Errorf("collector: receive buffer of UDP %s: %w", addr, err)
		}
		if len(ls) > 1 {
			continue
		}
		attrs := []any{"address", describe(bound), "sockets", n, "receive_buffer", granted}
		if granted < c.ReceiveBuffer {
			c.Logger.Warn("the kernel granted a smaller receive buffer than asked for; bursts may be lost",
				append(attrs, "asked", c.ReceiveBuffer, "remedy", bufferRemedy)...)
		} else {
			c.Logger.Info("listening for NetFlow v5, v9 and IPFIX", attrs...)
		}
	}
	return ls, nil
}

// hostOf returns the host of a listen address, "" for all.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return host
}

// read receives until ctx ends and what the kernel held then has been taken.
func (p *process) read(ctx context.Context, l *listener) {
	// A read that waits is woken by its deadline: soon after ctx ends, and when
	// the batch in hand grows old.
	stopping := false
	wake := context.AfterFunc(ctx, func() { l.conn.SetReadDeadline(time.Now().Add(drainTime)) })
	defer wake()

	buf := make([]byte, maxDatagram)
	oob := make([]byte, 64)
	batch := p.batch()
	extras := 0          // octets in the batch beside the records
	var due time.Time    // when the batch in hand must go
	var giveUp time.Time // when the draining must end
	flush := func() {
		if len(batch) > 0 {
			p.hand(batch)
			batch, extras = p.batch(), 0
		}
		// What was dropped at the end of a burst no later datagram may tell.
		if total, ok := overflowNow(l.conn); ok {
			p.overflowed(l, total)
		}
		if !due.IsZero() && !stopping {
			due = time.Time{}
			l.conn.SetReadDeadline(due)
			if ctx.Err() != nil { // the wake-up that we have just overwritten
				l.conn.SetReadDeadline(time.Now().Add(drainTime))
			}
		}
	}
	defer func() { flush() }()
	for {
		n, oobn, _, from, err := l.conn.ReadMsgUDPAddrPort(buf, oob)
		now := time.Now()
		if err != nil {
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				if ctx.Err() == nil {
					flush()
					continue
				}
				// The deadline passes also when we are behind.
				if giveUp.IsZero() {
					giveUp = now.Add(drainMost)
				}
				if now.After(giveUp) || !waiting(l.conn) {
					return
				}
				l.conn.SetReadDeadline(now.Add(drainTime))
				continue
			case errors.Is(err, net.ErrClosed):
				return
			}
			// An ICMP error or a lack of memory: the socket lives on.
			p.metrics.readErrors.Inc()
			if ctx.Err() != nil {
				return
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if total, ok := overflowCount(oob[:oobn]); ok {
			p.overflowed(l, total)
		}
		first := len(batch)
		batch = p.decode(l.dec, batch, from, flow.TimeOf(now), buf[:n])
		for i := range batch[first:] {
			extras += len(batch[first+i].Extra)
		}
		if ctx.Err() != nil {
			stopping = true // the drain's deadline stands
		}
		switch {
		case len(batch) >= p.BatchRecords, extras >= p.BatchRecords*recordOctets:
			flush()
		case len(batch) > 0 && due.IsZero() && !stopping:
			due = now.Add(p.BatchAge)
			l.conn.SetReadDeadline(due)
			if ctx.Err() != nil {
				l.conn.SetReadDeadline(time.Now().Add(drainTime))
			}
		case !due.IsZero() && now.After(due) && !stopping:
			flush()
		}
	}
}

const (
	// drainTime is how long a stop waits for what is on its way to the socket.
	drainTime = 50 * time.Millisecond
	// drainMost is how long a stop goes on reading what the kernel holds, which
	// somebody who never stops sending would make forever.
	drainMost = 5 * time.Second
)

// waiting reports whether the kernel holds a datagram.
func waiting(conn *net.UDPConn) bool {
	n := 0
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		})
	}
	return n > 0
}

// overflowed books what the kernel dropped for want of buffer since it was asked
// last. total is its running count: the one that came with a datagram is as old
// as the datagram, and may be behind the one that we asked for.
func (p *process) overflowed(l *listener, total uint32) {
	n := total - l.overflow
	if int32(n) <= 0 {
		return
	}
	l.overflow = total
	p.metrics.kernelDrops.Add(float64(n))
	p.ledger.kernelDrops(flow.TimeOf(time.Now()), uint64(n))
}

// decode appends the records of one datagram to batch and books what it was.
func (p *process) decode(dec *netflow.Decoder, batch []flow.Record, from netip.AddrPort, now flow.Time, datagram []byte) []flow.Record {
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	first := len(batch)
	var m netflow.Message
	batch, err := dec.Decode(batch, &m, from, now, datagram)
	p.metrics.datagrams.Inc()
	p.metrics.evicted.Add(float64(m.Evicted))
	p.metrics.withdrawals.Add(float64(m.Withdrawals))
	if err != nil {
		p.metrics.undecoded(&m, err)
	}
	recs := batch[first:]
	for i := range recs {
		if recs[i].RepairTime() {
			p.metrics.timeRepaired.Inc()
		}
	}
	if !p.ledger.datagram(dec, &m, now, recs, err) {
		p.metrics.dropped.WithLabelValues(causeTooManyExporters).Add(float64(len(recs)))
		clear(recs)
		return batch[:first]
	}
	p.metrics.records.Add(float64(len(recs)))
	return batch
}
