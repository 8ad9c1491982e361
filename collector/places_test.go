package collector

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
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
	second := take("192.0.2.1", 0)
	if first == nil || second == nil {
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
	if p.gaveWay(first) || !p.gaveWay(second) {
		t.Error("it is not told which gave way")
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

// TestHalfMessages: the rest of a message has to come within seconds; silence
// between messages may last.
func TestHalfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProcess(Config{Logger: slog.New(slog.DiscardHandler)}.withDefaults())
		fill := &streamFiller{}
		p.open(&fill.filler, nil)
		near, far := net.Pipe()
		ended := make(chan error, 1)
		begin, whole := time.Now(), 0
		go func() {
			ended <- p.serve(t.Context(), &stream{fill: fill}, far, netip.MustParseAddrPort("192.0.2.1:1"), func() { whole++ })
		}()
		write(t, near, message(0, template256, data256(3)))
		time.Sleep(20 * time.Minute)
		write(t, near, message(3, data256(3)))
		m := message(6, data256(3))
		for i := range m { // slowly, and in time
			write(t, near, m[i:i+1])
			time.Sleep(100 * time.Millisecond)
		}
		select {
		case err := <-ended:
			t.Fatalf("an exporter is sent away: %v", err)
		default:
		}
		half := time.Now()
		write(t, near, []byte{0, 10, 0x40})
		err := <-ended
		if d := time.Since(half); err == nil || d > messageTime+time.Second {
			t.Errorf("half a message holds a place for %v: %v", d, err)
		}
		if whole != 1 || time.Since(begin) < 20*time.Minute {
			t.Errorf("%d times served", whole)
		}
		near.Close()
		far.Close()
	})
}

// TestHalfMessagesKeepNobodyOut: hostile connections of one address have a quarter
// of the places, and give way to an honest one of the same address.
func TestHalfMessagesKeepNobodyOut(t *testing.T) {
	sink := &memory{}
	addr, _ := start(t, Config{Sink: sink, ListenTCP: []string{"127.0.0.1:0"}, MaxConnections: 16, BatchAge: 10 * time.Millisecond})
	for range 16 {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{0, 10, 0x40}) // most are closed at once
	}
	time.Sleep(ownPatience + 100*time.Millisecond)
	write(t, connect(t, addr), message(0, template256, data256(3)))
	eventually(t, "the honest one is served", func() bool { return sink.count() == 3 })
}
