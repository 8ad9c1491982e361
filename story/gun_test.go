package story

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/netflow"
)

// gun sends numbered flows: the number is a flow's octets. It remembers when it
// sent which.
type gun struct {
	conn *net.UDPConn
	enc  *netflow.Encoder

	mu   sync.Mutex
	to   netip.AddrPort // invalid: hold fire
	sent []time.Time    // by number / gunStep
	next uint64
}

const (
	// gunStep flows are sent at once, gunPause apart.
	gunStep  = 100
	gunPause = 5 * time.Millisecond
)

func (g *gun) aim(to netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
}

// run fires until ctx ends.
func (g *gun) run(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		time.Sleep(gunPause)
		g.fire(t)
	}
}

// fire sends gunStep flows, unless it is to hold fire.
func (g *gun) fire(t *testing.T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.to.IsValid() {
		return
	}
	now := flow.TimeOf(time.Now())
	recs := make([]flow.Record, gunStep)
	for i := range recs {
		recs[i] = flow.Record{Start: now - 1000, End: now - flow.Time(i), Packets: 1, Bytes: g.next + uint64(i) + 1,
			Key: flow.Key{IPVersion: 4, Protocol: flow.UDP, SrcPort: 1, DstPort: 53, SrcAddr: flow.Addr4([4]byte{10, 0, 0, 1}), DstAddr: flow.Addr4([4]byte{10, 0, 0, 2})}}
	}
	g.next += gunStep
	g.sent = append(g.sent, time.Now())
	var msg []byte
	for rest := recs; len(rest) > 0; {
		var n int
		msg, n = g.enc.Append(msg[:0], now, rest)
		if n == 0 {
			t.Error("a message without records")
			return
		}
		_, _ = g.conn.WriteToUDPAddrPort(msg, g.to) // to nobody, when it was killed just now
		rest = rest[n:]
	}
}

// number returns how many flows were sent.
func (g *gun) number() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next
}
