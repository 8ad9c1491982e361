package collector

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestPlaces: who sends no whole message keeps nobody out, and one address has not
// all places.
func TestPlaces(t *testing.T) {
	gateway := netip.MustParseAddr("172.18.0.1")
	p := newPlaces(8, func(a netip.Addr) bool { return a == gateway })
	now := time.Unix(1_800_000_000, 0)
	take := func(from string, at time.Duration) *place {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close(); far.Close() })
		return p.take(near, netip.MustParseAddr(from), now.Add(at))
	}
	first := take("192.0.2.1", 0)
	if first == nil || take("192.0.2.1", 0) == nil {
		t.Fatal("no place for the first")
	}
	if take("192.0.2.1", 0) != nil {
		t.Error("an address has more than its share")
	}
	p.serve(first)
	if take("192.0.2.1", 2*time.Second) == nil {
		t.Error("a connection without a message keeps another of its address out")
	}
	if _, ok := p.open[first]; !ok {
		t.Error("one that sends gave way")
	}
	for range 6 {
		if take("172.18.0.1", 2*time.Second) == nil {
			t.Fatal("no place for those behind a gateway")
		}
	}
	if take("192.0.2.9", 3*time.Second) != nil || p.taken() != 8 {
		t.Errorf("%d places taken", p.taken())
	}
	if take("192.0.2.9", time.Minute) == nil {
		t.Error("connections without a message keep an honest one out")
	}
}

// TestEndingsAreSaidOnceAMinute: of each address.
func TestEndingsAreSaidOnceAMinute(t *testing.T) {
	e := endings{last: map[netip.Addr]time.Time{}}
	now := time.Unix(1_800_000_000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, c := range []struct {
		from netip.Addr
		at   time.Duration
		more int
		ok   bool
	}{{a, 0, 0, true}, {a, time.Second, 0, false}, {b, time.Second, 1, true}, {a, 59 * time.Second, 0, false}, {a, time.Minute, 1, true}} {
		if more, ok := e.say(c.from, now.Add(c.at)); more != c.more || ok != c.ok {
			t.Errorf("%d: %d more, %v", i, more, ok)
		}
	}
	for i := range 10_000 {
		e.say(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(e.last) > 1024 {
		t.Errorf("%d addresses remembered", len(e.last))
	}
}
