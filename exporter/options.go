package exporter

import (
	"slices"

	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/netflow"
)

// speakEvery is how often an exporter speaks of itself, besides at its start and
// its end and when it has a new interface.
const speakEvery = 60 * flow.Second

// speaking is what sending says beside flows: the totals of RFC 7011 §4 and the
// names of interfaces.
type speaking struct {
	sources []capture.Describer
	known   []flow.Interface
	spoke   flow.Time
	begun   bool
	looked  flow.Time
}

func newSpeaking(c *Config) *speaking {
	p := &speaking{}
	for _, source := range append([]capture.Source{c.Source}, c.Fanout...) {
		if d, ok := capture.As[capture.Describer](source); ok {
			p.sources = append(p.sources, d)
		}
	}
	return p
}

// interfaces returns the interfaces there are now, and whether there were others
// before.
func (p *speaking) interfaces() (all []flow.Interface, changed bool) {
	for _, d := range p.sources {
		for _, x := range d.Interfaces() {
			y := flow.Interface{Index: x.Index, Name: x.Name, Description: x.Description}
			if !slices.Contains(all, y) {
				all = append(all, y)
			}
		}
	}
	changed = !slices.Equal(all, p.known)
	p.known = all
	return all, changed
}

// speak sends what there is to say when it is due, or forced.
func (p *speaking) speak(s *sending, l *ledger, force bool) {
	now := s.at
	due := force || !p.begun || now-p.spoke >= speakEvery
	if !due && now-p.looked < flow.Second {
		return
	}
	all, changed := p.interfaces()
	p.looked = now
	if !due && !changed {
		return
	}
	p.begun, p.spoke = true, now
	for _, d := range s.to {
		if !d.connected() {
			continue
		}
		stats := l.process(d)
		totals, rest := &stats, all
		for {
			var n int
			d.message, n = d.encoder.AppendOptions(d.message[:0], now, totals, rest)
			if len(d.message) == 0 {
				break
			}
			d.pace.wait(1)
			d.sendMade(0)
			if rest = rest[n:]; d.conn == nil || len(rest) == 0 || n == 0 && totals == nil {
				break
			}
			totals = nil
		}
	}
}

// process returns the totals of the exporter, as d has to know them.
func (l *ledger) process(d *destination) netflow.ProcessStats {
	l.mu.Lock()
	r, m := l.sums()
	l.mu.Unlock()
	return netflow.ProcessStats{
		Messages: d.counts.messages, Records: d.counts.records, Octets: d.counts.octets,
		NotSentFlows:   d.counts.notSent.sum() + d.made.notExpressible + d.made.tooLong,
		NotSentPackets: d.lost.packets, NotSentOctets: d.lost.octets,
		IgnoredPackets: r.ignored.sum(), IgnoredOctets: r.ignoredOctets,
		DroppedPackets: r.kernelDrops,
		ObservedFlows:  m.Records() + uint64(m.Live), DuplicatePackets: r.duplicates,
		EvictedFlows: m.Ended[flow.EndLackOfResources],
	}
}
