package collector

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/netflow"
)

func TestSplitListen(t *testing.T) {
	for _, row := range []struct{ text, name, addr string }{
		{":9995", "", ":9995"},
		{"edge-1=:9996", "edge-1", ":9996"},
		{"Rack 7, left=[::1]:9996", "Rack 7, left", "[::1]:9996"},
		{"[fe80::1%eth0]:9995", "", "[fe80::1%eth0]:9995"},
	} {
		if name, addr, err := SplitListen(row.text); err != nil || name != row.name || addr != row.addr {
			t.Errorf("%s: %q, %q, %v", row.text, name, addr, err)
		}
	}
	for _, bad := range []string{"=:9995", " a=:9995", "192.0.2.1=:9995", "77=:9995", "a\nb=:9995", strings.Repeat("x", flow.MaxName+1) + "=:9995"} {
		if _, _, err := SplitListen(bad); err == nil || !strings.Contains(err.Error(), "NAME=ADDRESS") {
			t.Errorf("%q: %v", bad, err)
		}
		if err := Run(t.Context(), Config{Sink: &memory{}, Listen: []string{bad}, Logger: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%q is listened on", bad)
		}
	}
}

// Whoever comes in on a listener that has a name is called so, over UDP and over TCP.
func TestListenersName(t *testing.T) {
	sink := &memory{}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan []netip.AddrPort, 1)
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Sink: sink, Listen: []string{"127.0.0.1:0", "edge-1=127.0.0.1:0"}, ListenTCP: []string{"core=127.0.0.1:0"}, Sockets: 1,
			Logger: slog.New(slog.DiscardHandler), Ready: func(a []netip.AddrPort) { ready <- a },
		})
	}()
	bound := <-ready
	send(t, bound[0], netflow.V9, 1, records(1))
	send(t, bound[1], netflow.V9, 2, records(1))
	e, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: 3})
	if err != nil {
		t.Fatal(err)
	}
	message, _ := e.Append(nil, flow.TimeOf(time.Now()), records(1))
	write(t, connect(t, bound[2]), message)
	want := map[uint32]string{1: "", 2: "edge-1", 3: "core"}
	eventually(t, "three exporters", func() bool {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		return len(sink.status) == len(want)
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for e, s := range sink.status {
		if s.Listener != want[e.Domain] {
			t.Errorf("domain %d came in on %q, want %q", e.Domain, s.Listener, want[e.Domain])
		}
	}
}

// said is a message of an exporter as the ledger gets it.
func said(addr string, domain uint32, now flow.Time, name, listener string) *receipt {
	return &receipt{
		m:        &netflow.Message{Version: netflow.IPFIX, Exporter: flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr(addr)), Domain: domain}, Name: name, OptionRecords: 1},
		listener: listener, port: 9, now: now, records: 1,
	}
}

// What an exporter says of itself, and where it comes in, holds for a while: who is called
// otherwise in each message is not stored as often. What could be taken for an address or a
// number is no name.
func TestNamesHold(t *testing.T) {
	l := newLedger(10)
	e := flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("192.0.2.1"))}
	at := flow.TimeOf(time.Now())
	for _, row := range []struct {
		after          flow.Time
		name, listener string
		want           flow.Names
	}{
		{0, "", "", flow.Names{}},
		{flow.Second, "192.0.2.7", "", flow.Names{}},
		{flow.Second, "2001:db8::7", "", flow.Names{}},
		{flow.Second, "4711", "", flow.Names{}},
		{flow.Second, " R1\n\tof Bonn ", "", flow.Names{Announced: "R1  of Bonn"}},
		{flow.Second, "R2", "b", flow.Names{Announced: "R1  of Bonn"}},
		{flow.Minute, "R2", "", flow.Names{Announced: "R2"}},
		{flow.Minute, "", "b", flow.Names{Announced: "R2"}},
		{5 * flow.Minute, "", "b", flow.Names{Announced: "R2", Listener: "b"}},
		{flow.Minute, strings.Repeat("ü", 80), "", flow.Names{Announced: strings.Repeat("ü", 50), Listener: "b"}},
	} {
		at += row.after
		l.datagram(&source{}, said("192.0.2.1", 0, at, row.name, row.listener))
		if got := l.exporters[e].Names; got != row.want {
			t.Errorf("after %q on %q it is called %+v, want %+v", row.name, row.listener, got, row.want)
		}
	}
}

// Reverse DNS is asked of exporters that have no other name, once for all domains of an
// address; not of this machine's addresses; and what it says is not believed when it is no
// name of a host.
func TestReverseDNS(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	p := newProcess(Config{Logger: slog.New(slog.DiscardHandler), LookUp: func(_ context.Context, addr string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, addr)
		switch addr {
		case "192.0.2.1":
			return []string{"<b>", "R1.Example.NET."}, nil
		case "192.0.2.2":
			return []string{"192.0.2.9"}, nil
		}
		return nil, errors.New("no such host")
	}}.withDefaults())
	now := flow.TimeOf(time.Now())
	for _, r := range []*receipt{
		said("192.0.2.1", 0, now, "", ""), said("192.0.2.1", 7, now, "", ""), said("192.0.2.2", 0, now, "", ""), said("192.0.2.3", 0, now, "", ""),
		said("192.0.2.4", 0, now, "named", ""), said("192.0.2.5", 0, now, "", "listener"), said("127.0.0.1", 0, now, "", ""), said("fe80::1", 0, now, "", ""),
	} {
		p.ledger.datagram(&source{}, r)
	}
	p.ledger.take(now, false)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { p.lookUp(ctx); close(ended) }()
	eventually(t, "three answers", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(asked) >= 3
	})
	var report flow.Report
	eventually(t, "a report with the names", func() bool {
		report = p.ledger.take(now+flow.Second, false)
		return len(report.Status) == 2
	})
	cancel()
	<-ended
	for _, s := range report.Status {
		if s.DNS != "r1.example.net" {
			t.Errorf("%v is called %q", s.Exporter, s.DNS)
		}
	}
	slices.Sort(asked)
	if want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}
