package exporter

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"
)

// named is a script whose interfaces have names; more may come.
type named struct {
	*script
	mu  sync.Mutex
	ifs []capture.Interface
}

func (n *named) Interfaces() []capture.Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]capture.Interface(nil), n.ifs...)
}

func (n *named) add(x capture.Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ifs = append(n.ifs, x)
}

// heard returns what a collector was told of interfaces and, summed up over the
// last message that had any, of the exporter itself.
func (c *collector) heard() (names map[uint32]string, stats netflow.ProcessStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names = map[uint32]string{}
	for _, m := range c.messages {
		for _, x := range m.Interfaces {
			names[x.Index] = x.Name
		}
		if len(m.Stats) == 0 {
			continue
		}
		stats = netflow.ProcessStats{}
		for _, x := range m.Stats {
			stats.Messages += x.Messages
			stats.Records += x.Records
			stats.Octets += x.Octets
			stats.NotSentFlows += x.NotSentFlows
			stats.NotSentPackets += x.NotSentPackets
			stats.NotSentOctets += x.NotSentOctets
			stats.IgnoredPackets += x.IgnoredPackets
			stats.IgnoredOctets += x.IgnoredOctets
			stats.DroppedPackets += x.DroppedPackets
			stats.ObservedFlows += x.ObservedFlows
			stats.DuplicatePackets += x.DuplicatePackets
			stats.EvictedFlows += x.EvictedFlows
		}
	}
	return names, stats
}

// TestOptionsOfAFile: the last thing that a collector hears is what the whole
// run did, the same as the Summary says; and the sequence number skips nothing.
func TestOptionsOfAFile(t *testing.T) {
	for _, v := range []netflow.Version{netflow.V9, netflow.IPFIX} {
		t.Run(v.String(), func(t *testing.T) {
			c := listen(t)
			source := &named{script: newScript(), ifs: []capture.Interface{{Index: 4, Name: "eth4", Description: "the mirror"}}}
			source.drops = 7
			for i := range 400 {
				at := t0.Add(time.Duration(i) * time.Second)
				data := ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)
				source.frames = append(source.frames, frame{at: at, data: data}, frame{at: at, data: arp})
			}
			s, err := Run(context.Background(), Config{
				Source: source, To: []string{c.addr()}, Version: v, Meter: small, Options: true, Sample: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			balance(t, s)
			c.wait(t, s.Messages)
			names, stats := c.heard()
			if names[4] != "eth4" {
				t.Errorf("interfaces %v", names)
			}
			want := netflow.ProcessStats{
				Messages: s.Messages - 1, Records: s.Records, Octets: stats.Octets,
				IgnoredPackets: s.Ignored, IgnoredOctets: 400 * uint64(len(arp)), DroppedPackets: 7, ObservedFlows: s.Flows,
			}
			if stats != want || stats.Octets == 0 {
				t.Errorf("heard %+v, want %+v", stats, want)
			}
			next := uint32(0)
			for i, m := range c.messages {
				if m.Sequence != next {
					t.Fatalf("message %d: sequence %d, want %d", i, m.Sequence, next)
				}
				if next++; v == netflow.IPFIX {
					next += uint32(m.Records+m.OptionRecords) - 1
				}
			}
		})
	}
}

// TestOptionsOfALink: on a quiet interface an exporter speaks of itself at once,
// again when there is a new interface, and when it is asked to.
func TestOptionsOfALink(t *testing.T) {
	c := listen(t)
	source := &named{script: newScript(), ifs: []capture.Interface{{Index: 1, Name: "vxlan 10.0.0.5 vni 42"}}}
	source.live = true
	ctx, cancel := context.WithCancel(context.Background())
	var control Control
	done := make(chan Summary)
	go func() {
		s, _ := Run(ctx, Config{Source: source, To: []string{c.addr()}, Version: netflow.IPFIX, Live: true, Options: true, Meter: small, Control: &control})
		done <- s
	}()
	await := func(what string, so func() bool) {
		t.Helper()
		for range 3000 {
			if so() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("waited in vain: %s", what)
	}
	has := func(index uint32, name string) func() bool {
		return func() bool {
			names, _ := c.heard()
			return names[index] == name
		}
	}
	await("the first interface", has(1, "vxlan 10.0.0.5 vni 42"))
	source.add(capture.Interface{Index: 2, Name: "web"})
	await("the second interface", has(2, "web"))
	messages := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.messages)
	}
	before := messages()
	if err := control.SendTemplates(); err != nil {
		t.Fatal(err)
	}
	await("templates", func() bool { return messages() >= before+2 })
	cancel()
	s := <-done
	c.wait(t, s.Messages)
	if _, stats := c.heard(); stats.Messages != s.Messages-1 {
		t.Errorf("heard %+v, did %+v", stats, s)
	}
}

// TestOptionsTellWhatWasNotSent: flows that v5's neighbour cannot have, and
// messages that were refused, are what a collector hears of as not sent, with
// their packets and octets.
func TestOptionsTellWhatWasNotSent(t *testing.T) {
	d := &destination{}
	d.made.notExpressible = 2
	d.lost = load{5, 500}
	d.counts.notSent.Refused = 3
	l := &ledger{}
	got := l.process(d)
	if got.NotSentFlows != 5 || got.NotSentPackets != 5 || got.NotSentOctets != 500 {
		t.Errorf("%+v", got)
	}
}

// conversations returns frames of n conversations, both directions.
func conversations(n int) (frames []frame) {
	for i := range n {
		a, b := fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), "192.0.2.1"
		frames = append(frames,
			frame{at: t0, data: ethernet(a, b, uint16(1000+i), 53, 10)},
			frame{at: t0, data: ethernet(b, a, 53, uint16(1000+i), 20)})
	}
	return frames
}

// TestBalance: each flow goes to one destination, both directions of it to the
// same, and all get about as many.
func TestBalance(t *testing.T) {
	const n = 600
	all := []*collector{listen(t), listen(t), listen(t)}
	config := Config{Source: newScript(conversations(n)...), Version: netflow.IPFIX, Meter: small, Balance: true}
	for _, c := range all {
		config.To = append(config.To, c.addr())
	}
	s, err := Run(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	where := map[flow.Addr]int{}
	total := 0
	for i, c := range all {
		recs := c.wait(t, s.Destinations[i].Messages)
		if len(recs) < n/3 || len(recs) > 2*n/3*3/2 {
			t.Errorf("destination %d has %d of %d records", i, len(recs), 2*n)
		}
		total += len(recs)
		for _, r := range recs {
			host := r.SrcAddr
			if r.SrcPort == 53 {
				host = r.DstAddr
			}
			if at, ok := where[host]; ok && at != i {
				t.Errorf("%v is at %d and %d", host, at, i)
			}
			where[host] = i
		}
	}
	if total != 2*n || s.Records != 2*n || s.Flows != 2*n {
		t.Errorf("%d records came; %+v", total, s)
	}
}

// TestEachCollectorItsFlows: every collector gets what its filter wants, in its
// version, and the one without a filter all.
func TestEachCollectorItsFlows(t *testing.T) {
	const n = 100
	asks, answers, whole := listen(t), listen(t), listen(t)
	parse := func(text string) *filter.Filter {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	s, err := Run(context.Background(), Config{
		Source: newScript(conversations(n)...), To: []string{whole.addr()}, Version: netflow.IPFIX, Meter: small,
		Collectors: []Collector{
			{To: asks.addr(), Version: netflow.V5, Filter: parse("dst port 53")},
			{To: answers.addr(), Version: netflow.V9, Filter: parse("not dst port 53")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []*collector{whole, asks, answers} {
		d := s.Destinations[i]
		recs := c.wait(t, d.Messages)
		want := []int{2 * n, n, n}[i]
		version := []netflow.Version{netflow.IPFIX, netflow.V5, netflow.V9}[i]
		if len(recs) != want || d.Records != uint64(want) || d.Filtered != uint64(2*n-want) || c.messages[0].Version != version {
			t.Errorf("%+v, %d records, %v", d, len(recs), c.messages[0].Version)
		}
		for _, r := range recs {
			if i > 0 && (r.DstPort == 53) != (i == 1) {
				t.Errorf("collector %d has %+v", i, r)
			}
		}
	}
}

// TestPflow: what comes is pflow(4)'s, templates by themselves.
func TestPflow(t *testing.T) {
	c := listen(t)
	s, err := Run(context.Background(), Config{
		Source: newScript(conversations(100)...), To: []string{c.addr()}, Version: netflow.IPFIX, Domain: 42,
		Meter: small, Template: netflow.Pflow, Options: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	balance(t, s)
	if recs := c.wait(t, s.Messages); len(recs) != 200 {
		t.Errorf("%d records", len(recs))
	}
	for i, m := range c.messages {
		if m.Templates != map[bool]int{true: 2}[i == 0] || m.OptionRecords != 0 || m.Records > 30 || m.Exporter.Domain != 42 || (i == 0) != (m.Records == 0) {
			t.Errorf("message %d: %+v", i, m)
		}
	}
}

// TestFields: what packets say beyond flows arrives.
func TestFields(t *testing.T) {
	c := listen(t)
	s, err := Run(context.Background(), Config{
		Source: newScript(conversations(1)...), To: []string{c.addr()}, Version: netflow.IPFIX,
		Meter: small, Fields: netflow.FieldTTL | netflow.FieldLength,
	})
	if err != nil {
		t.Fatal(err)
	}
	recs := c.wait(t, s.Messages)
	for _, r := range recs {
		length := 38
		if r.SrcPort == 53 {
			length = 48
		}
		want := fmt.Sprintf(`{"minimumTTL":64,"maximumTTL":64,"minimumIpTotalLength":%d,"maximumIpTotalLength":%[1]d}`, length)
		if string(r.Extra) != want {
			t.Errorf("%s, want %s", r.Extra, want)
		}
	}
}

// TestTemplatesTwice: over UDP the templates of flows go out twice before there is a
// reason to repeat them, also when one message holds all flows and options are sent;
// without options when there is a second message. pflow's come once.
func TestTemplatesTwice(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		flows  int
		want   []int // which messages have them, of those with flows or templates
	}{
		{"options_one_message", Config{Version: netflow.IPFIX, Options: true}, 1, []int{0, 1}},
		{"options_v9", Config{Version: netflow.V9, Options: true}, 100, []int{0, 1}},
		{"no_options", Config{Version: netflow.IPFIX}, 100, []int{0, 1}},
		{"pflow", Config{Version: netflow.IPFIX, Template: netflow.Pflow}, 100, []int{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var packets []capture.Packet
			for i := range tt.flows {
				packets = append(packets, capture.Packet{Data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
			}
			tt.config.Source, tt.config.To, tt.config.Meter = newList(packets...), []string{conn.LocalAddr().String()}, small
			s, err := Run(context.Background(), tt.config)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			message := 0
			b := make([]byte, 65536)
			for range s.Messages {
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, err := conn.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				set := 16
				if tt.config.Version == netflow.V9 {
					set = 20
				}
				switch id := binary.BigEndian.Uint16(b[set:n]); {
				case id == 2 || id == 0:
					got = append(got, message)
				case id < 256:
					continue // options
				}
				message++
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("templates in %v of %d messages, want %v", got, message, tt.want)
			}
		})
	}
}
