package meter

import (
	"cmp"
	"slices"
	"testing"

	"flowtally/exporter/packet"
	"flowtally/flow"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is the Metering Process said plainly: a map, searched from end to end
// for what is due.
type model struct {
	Config
	clock flow.Time
	live  map[flow.Key]*modelFlow
}

type modelFlow struct {
	flow.Record
	born, seen flow.Time
	closing    bool // a FIN or RST was seen
	reset      bool // and the first one was, or came with, a RST
}

// quiet returns how long the flow may go without a packet, and why it ends then.
func (m *model) quiet(f *modelFlow) (flow.Time, flow.EndReason) {
	or := func(special, general flow.Time) flow.Time {
		if special > 0 {
			return special
		}
		return general
	}
	switch {
	case f.reset:
		return or(m.Timeouts.TCPRst, m.Linger), flow.EndOfFlow
	case f.closing:
		return or(m.Timeouts.TCPFin, m.Linger), flow.EndOfFlow
	case f.Protocol == flow.TCP:
		return or(m.Timeouts.TCP, m.IdleTimeout), flow.EndIdleTimeout
	case f.Protocol == flow.UDP:
		return or(m.Timeouts.UDP, m.IdleTimeout), flow.EndIdleTimeout
	case f.Protocol == flow.ICMP:
		return or(m.Timeouts.ICMP, m.IdleTimeout), flow.EndIdleTimeout
	}
	return m.IdleTimeout, flow.EndIdleTimeout
}

func (m *model) due(f *modelFlow) (flow.Time, flow.EndReason) {
	quiet, reason := m.quiet(f)
	due := f.seen + quiet
	if d := f.born + m.ActiveTimeout; d < due {
		due, reason = d, flow.EndActiveTimeout
	}
	return due, reason
}

func (m *model) end(f *modelFlow, reason flow.EndReason) flow.Record {
	delete(m.live, f.Key)
	f.EndReason = reason
	return f.Record
}

// observe counts a packet. Which of several flows that are due at the same time
// gives way to a new one is free: evicted says which did.
func (m *model) observe(t *rapid.T, p *packet.Packet, now flow.Time, evicted []flow.Record) []flow.Record {
	var out []flow.Record
	m.clock = max(m.clock, now)
	f := m.live[p.Key]
	if f != nil {
		due, reason := m.due(f)
		gap, afterGap := m.quiet(f)
		switch {
		case m.clock >= due:
			out = append(out, m.end(f, reason))
			f = nil
		case f.closing && p.TCPFlags&flow.SYN != 0 && p.TCPFlags&flow.ACK == 0:
			out = append(out, m.end(f, flow.EndOfFlow))
			f = nil
		case now-f.End >= gap && f.End+gap <= f.Start+m.ActiveTimeout:
			out = append(out, m.end(f, afterGap))
			f = nil
		case now-f.Start > m.ActiveTimeout || f.End-now > m.ActiveTimeout:
			out = append(out, m.end(f, flow.EndActiveTimeout))
			f = nil
		}
	}
	if f == nil {
		if len(m.live) == m.MaxFlows {
			if len(evicted) != 1 {
				t.Fatalf("full cache gave %d records for a new flow", len(evicted))
			}
			old := m.live[evicted[0].Key]
			due, reason := m.due(old)
			for _, other := range m.live {
				if d, _ := m.due(other); d < due {
					t.Fatalf("evicted a flow due at %d while one was due at %d", due, d)
				}
			}
			if m.clock < due {
				reason = flow.EndLackOfResources
			}
			out = append(out, m.end(old, reason))
		}
		f = &modelFlow{Record: flow.Record{Key: p.Key, Start: now, End: now}, born: m.clock}
		m.live[p.Key] = f
	}
	f.Packets++
	f.Bytes += uint64(p.Length)
	f.TCPFlags |= p.TCPFlags
	f.Start, f.End = min(f.Start, now), max(f.End, now)
	if !f.closing {
		f.seen = m.clock
		f.closing = p.TCPFlags&(flow.FIN|flow.RST) != 0
		f.reset = p.TCPFlags&flow.RST != 0
	}
	return out
}

// expire ends what is due, each with when it was; with force everything.
func (m *model) expire(now flow.Time, force bool) (out []flow.Record, dues []flow.Time) {
	m.clock = max(m.clock, now)
	all := make([]*modelFlow, 0, len(m.live))
	for _, f := range m.live {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *modelFlow) int {
		da, _ := m.due(a)
		db, _ := m.due(b)
		return cmp.Compare(da, db)
	})
	for _, f := range all {
		due, reason := m.due(f)
		if due > m.clock {
			if !force {
				break
			}
			reason = flow.EndForced
		}
		out, dues = append(out, m.end(f, reason)), append(dues, due)
	}
	return out, dues
}

// TestLaws drives a Process and the model with the same packets, of any order of
// times, flags and limits, and compares every record; the sums over all records
// are those of all packets, the cache holds no more than it may, and no record is
// turned around or too long.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timeout := rapid.OneOf(rapid.Map(rapid.IntRange(1, 20), toTime), rapid.Map(rapid.IntRange(1, 400_000), toTime))
		c := Config{
			ActiveTimeout: timeout.Draw(t, "active"),
			IdleTimeout:   timeout.Draw(t, "idle"),
			Linger:        timeout.Draw(t, "linger"),
			MaxFlows:      rapid.IntRange(1, 40).Draw(t, "max flows"),
			Hash:          NewHash(),
		}
		special := rapid.OneOf(rapid.Just(flow.Time(0)), timeout)
		c.Timeouts = Timeouts{
			TCP: special.Draw(t, "tcp"), UDP: special.Draw(t, "udp"), ICMP: special.Draw(t, "icmp"),
			TCPFin: special.Draw(t, "fin"), TCPRst: special.Draw(t, "rst"),
		}
		p := New(c)
		m := &model{Config: c, live: map[flow.Key]*modelFlow{}}
		now := flow.Time(rapid.Int64Range(0, 4e12).Draw(t, "t0"))
		flags := rapid.SampledFrom([]flow.TCPFlags{0, 0, 0, flow.ACK, flow.SYN, flow.SYN | flow.ACK, flow.FIN, flow.RST, flow.SYN | flow.FIN})

		var packets, bytes, gotPackets, gotBytes, records uint64
		check := func(got, want []flow.Record, dues []flow.Time) {
			for i := range got {
				r := &got[i]
				gotPackets += r.Packets
				gotBytes += r.Bytes
				records++
				if r.End < r.Start || r.End-r.Start > c.ActiveTimeout {
					t.Fatalf("record lasts from %d to %d, active timeout %d", r.Start, r.End, c.ActiveTimeout)
				}
			}
			// Records due at the same time come in any order.
			key := func(a, b flow.Record) int {
				return cmp.Or(cmp.Compare(a.SrcPort, b.SrcPort), cmp.Compare(a.Protocol, b.Protocol))
			}
			for i := 0; i < len(dues) && len(got) == len(want); {
				j := i
				for j < len(dues) && dues[j] == dues[i] {
					j++
				}
				slices.SortFunc(got[i:j], key)
				slices.SortFunc(want[i:j], key)
				i = j
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Fatalf("records differ (-model +process):\n%s", diff)
			}
		}

		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0: // a gap, or a step back
				now += flow.Time(rapid.Int64Range(-1_000_000, 40_000_000_000).Draw(t, "jump"))
				now = max(now, 0)
			case 1:
				if due := p.Due(); due > m.clock && len(m.live) > 0 {
					for _, f := range m.live {
						if d, _ := m.due(f); d < due {
							t.Fatalf("a flow is due at %d, nothing was said to be before %d", d, due)
						}
					}
				}
				want, dues := m.expire(now, false)
				var got []flow.Record
				portion := rapid.IntRange(1, 50).Draw(t, "portion")
				for {
					n := len(got)
					if got = p.ExpireN(got, now, portion); len(got) == n {
						break
					}
				}
				check(got, want, dues)
			case 2:
				if rapid.IntRange(0, 9).Draw(t, "flush") == 0 {
					want, dues := m.expire(m.clock, true)
					var got []flow.Record
					portion := rapid.IntRange(1, 50).Draw(t, "portion")
					for len(got) < len(want) {
						if got = p.FlushN(got, portion); len(got) == 0 {
							break
						}
					}
					check(got, want, anyOrder(dues, m.clock))
				}
			default:
				now += flow.Time(rapid.OneOf(rapid.IntRange(-5, 10), rapid.IntRange(0, 100_000)).Draw(t, "after"))
				now = max(now, 0)
				k := pkt(uint16(rapid.IntRange(1, 60).Draw(t, "flow")), flags.Draw(t, "flags"))
				k.Length = uint32(rapid.IntRange(0, 1<<31).Draw(t, "length"))
				k.Protocol = rapid.SampledFrom([]flow.Protocol{flow.TCP, flow.TCP, flow.UDP, flow.ICMP, flow.SCTP}).Draw(t, "protocol")
				var got []flow.Record
				if rapid.Bool().Draw(t, "count") {
					o := Observation{
						Key: k.Key, Hash: c.Hash.Of(&k.Key), Octets: k.Length, Packets: 1,
						TCPFlags: k.TCPFlags, At: now, Clock: max(m.clock, now),
					}
					recs, n := p.Count(make([]flow.Record, 0, 2), []Observation{o}, nil, MaxTime)
					if n != 1 {
						t.Fatalf("counted %d packets of one", n)
					}
					got = append(got, recs...)
				} else {
					got = p.Observe(nil, k, now)
				}
				check(got, m.observe(t, k, now, got), nil)
				packets++
				bytes += uint64(k.Length)
			}
			if rapid.IntRange(0, 19).Draw(t, "dump") == 0 {
				var got, want []flow.Record
				for next := -1; next != 0; {
					got, next = p.Dump(got, max(next, 0), 7)
				}
				for _, f := range m.live {
					want = append(want, f.Record)
				}
				key := func(a, b flow.Record) int {
					return cmp.Or(cmp.Compare(a.SrcPort, b.SrcPort), cmp.Compare(a.Protocol, b.Protocol))
				}
				slices.SortFunc(got, key)
				slices.SortFunc(want, key)
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Fatalf("dump differs (-model +process):\n%s", diff)
				}
			}
			if s := p.Stats(); s.Live > c.MaxFlows || s.Live != len(m.live) || s.Records() != records {
				t.Fatalf("%d flows live and %d records, the model has %d and %d, the limit is %d",
					s.Live, s.Records(), len(m.live), records, c.MaxFlows)
			}
		}
		want, dues := m.expire(m.clock, true)
		check(p.Flush(nil), want, anyOrder(dues, m.clock))

		var ended Sums
		for _, s := range p.Protocols() {
			ended.Flows += s.Flows
			ended.Packets += s.Packets
			ended.Bytes += s.Bytes
		}
		if want := (Sums{records, packets, bytes}); ended != want {
			t.Fatalf("%+v by protocol, want %+v", ended, want)
		}
		s := p.Stats()
		if gotPackets != packets || gotBytes != bytes || s.Packets != packets || s.Bytes != bytes || s.Live != 0 {
			t.Fatalf("records hold %d packets and %d bytes, counted %d and %d, observed %d and %d, %d flows left",
				gotPackets, gotBytes, s.Packets, s.Bytes, packets, bytes, s.Live)
		}
	})
}

// anyOrder makes the times after the clock one.
func anyOrder(dues []flow.Time, clock flow.Time) []flow.Time {
	for i := range dues {
		dues[i] = min(dues[i], clock+1)
	}
	return dues
}

func toTime(i int) flow.Time { return flow.Time(i) }

// TestTable: after any sequence of insertions and removals the cache finds what
// is in it and nothing else.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c cache
		c.init(rapid.IntRange(1, 20).Draw(t, "size"))
		in := map[uint16]uint32{}
		hashes := rapid.SliceOfN(rapid.Uint32Range(0, 40), 30, 30).Draw(t, "hashes")
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			port := uint16(rapid.IntRange(0, 29).Draw(t, "flow"))
			// Hashes that meet in few places, also across the table's end.
			hash := hashes[port] - 20
			key := pkt(port, 0).Key
			i := c.find(hash, &key, 0)
			if want, ok := in[port]; ok != (i != none) || ok && i != want {
				t.Fatalf("flow %d found at %d, is at %d, %v", port, i, want, ok)
			}
			if i != none {
				c.remove(i)
				delete(in, port)
			} else if !c.full() {
				in[port] = c.insert(hash, &key, 0)
			}
			if c.live != len(in) {
				t.Fatalf("%d live, want %d", c.live, len(in))
			}
		}
	})
}
