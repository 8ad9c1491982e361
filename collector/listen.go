package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"flowtally/flow"
)

// maxDatagram is the largest UDP payload there is.
const maxDatagram = 65535

// listener is one socket and what its goroutine owns.
type listener struct {
	rx      *receiver
	addr    netip.AddrPort
	granted int // bytes of receive buffer
	filler
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
		granted, err := setReceiveBuffer(conn, c.ReceiveBuffer)
		if err != nil {
			conn.Close()
			return ls, fmt.Errorf("collector: receive buffer of UDP %s: %w", addr, err)
		}
		rx, err := newReceiver(conn, min(drainTime, max(c.BatchAge/4, time.Millisecond)))
		if err != nil {
			return ls, fmt.Errorf("collector: UDP %s: %w", addr, err)
		}
		ls = append(ls, &listener{rx: rx, addr: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), granted: granted})
		if len(ls) > 1 {
			continue
		}
		attrs := []any{"address", describe(bound), "sockets", n, "receive_buffer", granted}
		if granted < c.ReceiveBuffer {
			c.Logger.Warn("the kernel granted a smaller receive buffer than asked for; bursts may be lost",
				append(attrs, "asked", c.ReceiveBuffer, "remedy", bufferRemedy(c.ReceiveBuffer))...)
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
	p.open(&l.filler, l.dec)
	var (
		pace   pace
		due    time.Time // when the batch in hand must go
		last   time.Time // when something was received, or the stop was noticed
		giveUp time.Time // when the draining must end
	)
	flush := func() {
		p.pass(&l.filler)
		// What was dropped at the end of a burst no later datagram may tell.
		if total, ok := l.rx.overflowNow(); ok {
			p.overflowed(l, total)
		}
		due = time.Time{}
	}
	defer flush()
	for {
		n, err := l.rx.receive()
		now := time.Now()
		switch {
		case err != nil:
			// An ICMP error or a lack of memory: the socket lives on.
			p.metrics.readErrors.Inc()
			time.Sleep(time.Millisecond)
		case n > 0:
			last = now
			if total, ok := l.rx.overflow(); ok {
				p.overflowed(l, total)
			}
			p.metrics.datagrams.Add(float64(n))
			for i := range n {
				b, from := l.rx.datagram(i)
				p.decode(&l.filler, from, flow.TimeOf(now), b)
				if l.full(p.BatchRecords) {
					flush()
				}
			}
		}
		if ctx.Err() != nil {
			if giveUp.IsZero() {
				giveUp = now.Add(drainMost)
				last = now
			}
			if n == 0 && now.Sub(last) >= drainTime || now.After(giveUp) {
				return
			}
			continue
		}
		switch {
		case due.IsZero() && l.waits():
			due = now.Add(p.BatchAge)
		case !due.IsZero() && !now.Before(due):
			flush()
		}
		if d := pace.rest(now, n, l.granted); d > 0 {
			time.Sleep(d)
		}
	}
}

// pace lets datagrams gather in the kernel when many come, so that one turn takes
// many: waking up for each costs more than decoding it.
type pace struct {
	since time.Time
	count int
	rate  float64 // datagrams a second
}

const (
	// restMost is the longest rest, restLeast the shortest that is worth it.
	restMost  = 2 * time.Millisecond
	restLeast = 200 * time.Microsecond
	// busyRate is how many datagrams a second make it worth while.
	busyRate = 2000
	// kernelOctets is what a datagram may take of the receive buffer.
	kernelOctets = 4096
)

// rest returns how long to wait after a turn that took n datagrams: no longer
// than what fills an eighth of the receive buffer, and not at all when there are
// more to take.
func (p *pace) rest(now time.Time, n, buffer int) time.Duration {
	p.count += n
	if d := now.Sub(p.since); d >= 50*time.Millisecond {
		p.rate = float64(p.count) / d.Seconds()
		p.since, p.count = now, 0
	}
	if p.rate < busyRate || n >= atOnce {
		return 0
	}
	d := min(restMost, time.Duration(float64(buffer/8/kernelOctets)/p.rate*float64(time.Second)))
	// A turn is to find no more than it can take.
	d = min(d, time.Duration(atOnce/p.rate*float64(time.Second)))
	if d < restLeast {
		return 0
	}
	return d
}

const (
	// drainTime is how long a stop waits for what is on its way to the socket, and
	// the longest that a read waits for anything.
	drainTime = 50 * time.Millisecond
	// drainMost is how long a stop goes on reading what the kernel holds, which
	// somebody who never stops sending would make forever.
	drainMost = 5 * time.Second
)

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
	p.ledger.nobodys(flow.TimeOf(time.Now()), stageReceive, causeKernel, uint64(n))
}
