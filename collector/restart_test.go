package collector

import (
	"net/netip"
	"testing"

	"flowtally/flow"
	"flowtally/netflow"
)

// samples is a Set that announces a rate, with its template.
func samples(rate byte) []byte {
	return []byte{0, 3, 0, 18, 1, 1, 0, 2, 0, 1, 0, 149, 0, 4, 0, 34, 0, 4, 1, 1, 0, 12, 0, 0, 0, 7, 0, 0, 0, rate}
}

// TestRateAfterARestart: pmacctd samples 1:10, is stopped, and started again
// without sampling: its rate is provisional, then unknown. Reordering, a jump of its
// numbers and a second process beside it are no restarts.
func TestRateAfterARestart(t *testing.T) {
	const begin flow.Time = 1_800_000_000_000
	addr := netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		port  uint16
		seq   uint32
		aside bool // the first goes on
		rate  uint32
	}{
		"from_a_new_port":          {2, 0, false, 0},
		"from_the_same_port":       {1, 0, false, 0},
		"a_jump_of_its_numbers":    {1, 1 << 30, false, 10},
		"another_beside_it":        {2, 0, true, 10},
		"another_port_that_counts": {2, 500_000, false, 10},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(Config{Identity: IdentitySource}.withDefaults())
			f := &filler{}
			p.open(f, netflow.NewDecoder(p.Limits))
			now, seq := begin, uint32(10_000)
			for range 5 {
				p.decode(f, netip.AddrPortFrom(addr, 1), now, message(seq, template256, samples(10), data256(4)))
				seq += 5
				now += flow.Minute
			}
			next := c.seq
			for range 30 {
				p.decode(f, netip.AddrPortFrom(addr, c.port), now, message(next, template256, data256(4)))
				next += 4
				if c.aside {
					p.decode(f, netip.AddrPortFrom(addr, 1), now, message(seq, data256(4)))
					seq += 4
				}
				now += 5 * flow.Second
			}
			e := p.ledger.exporters[flow.Exporter{Addr: flow.AddrFrom(addr), Domain: 7}]
			if got := f.batch[len(f.batch)-1].SamplingRate; got != c.rate || e.SamplingRate != c.rate {
				t.Errorf("a rate of %d, in the status %d; want %d", got, e.SamplingRate, c.rate)
			}
		})
	}
}
