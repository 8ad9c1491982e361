package collector

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"flowtally/flow"
	"flowtally/netflow"
)

// numbers gives messages the numbers that an exporter of a habit gives them.
func numbers(h flow.Numbering, first uint32, msgs []arrival) {
	at := first
	for i := range msgs {
		a := &msgs[i]
		n, _ := counted(h, a)
		a.seq = at
		if at += n; h.After() {
			a.seq = at
		}
	}
}

// TestLossBesideEveryHabit is the law of habits: whatever an exporter's numbers
// count, nothing is missing when nothing was lost, and when something was it is
// told, in the unit that is counted.
func TestLossBesideEveryHabit(t *testing.T) {
	specified := []flow.Numbering{flow.NumberingRecords, flow.NumberingMessages}
	for h := flow.NumberingRecords; h < flow.Numberings; h++ {
		t.Run(h.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
				s := numbered(rapid.SampledFrom(specified).Draw(t, "specified"))
				pause := rapid.SampledFrom([]flow.Time{10, 250, 20_000}).Draw(t, "pause")
				lossRate := rapid.SampledFrom([]float64{0, 0, 0.02, 0.1}).Draw(t, "loss")
				steady := rapid.IntRange(0, 30).Draw(t, "messages of the same size at first")
				const n = 300
				msgs := make([]arrival, n)
				for i := range msgs {
					a := &msgs[i]
					a.exact, a.now = true, 1_800_000_000_000+flow.Time(i)*pause
					if a.n = uint32(rnd.IntN(30) + 1); i < steady {
						a.n = 30
					}
					if i%6 == 0 {
						a.templates = 2
						a.options = uint32(rnd.IntN(3))
						a.n += a.options
						if rnd.IntN(2) == 0 {
							a.n = a.options
						}
					}
				}
				numbers(h, 4_294_967_000, msgs)
				var want, lost uint64
				for i, a := range msgs {
					if i > 60 && i < n-10 && rnd.Float64() < lossRate {
						c, _ := counted(h, &a)
						want += uint64(c)
						continue
					}
					v, _ := s.observe(a)
					lost += v.lost + s.expire(a.now)
				}
				lost += s.settle().lost + s.flush()
				// Messages without data, of an exporter that does not number them, show that
				// habit alone, and one may hide a loss beside it.
				if h == flow.NumberingDataMessages && lost < want {
					return
				}
				if lost != want {
					t.Fatalf("%d told to be missing, %d were lost; believed to count %v", lost, want, s.habit)
				}
				if c := s.habit; lossRate == 0 && c != h && !(c.Messages() && h.Messages()) {
					t.Fatalf("believed to count %v", c)
				}
			})
		})
	}
}

// TestOneCounterForSeveralDomains: what another domain sent is not missing, and
// what was lost between is, also after the collector began again.
func TestOneCounterForSeveralDomains(t *testing.T) {
	l, src := newLedger(10), &source{}
	now, seq := flow.Time(1_800_000_000_000), uint32(0)
	var stood []flow.Sequence
	rnd := rand.New(rand.NewPCG(1, 1))
	send := func(domain uint32, arrives bool) {
		now += 200
		n := uint32(rnd.IntN(30) + 1)
		if arrives {
			m := netflow.Message{
				Version: netflow.IPFIX, Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 1}), Domain: domain},
				Sequence: seq, DataRecords: int(n), Records: int(n),
			}
			l.datagram(src, &receipt{m: &m, port: 1, now: now, records: uint64(n)})
		}
		seq += n
	}
	missing := func(final bool) (n uint64) {
		list, loss := l.account(src)
		stood = append(stood, list...)
		for _, x := range append(loss, l.take(now, final).Loss...) {
			if x.Cause == causeMissing {
				n += x.Count
			}
		}
		return n
	}
	got := uint64(0)
	for i := range 60 {
		send(uint32(i%3), true)
		got += missing(false)
	}
	if got != 0 {
		t.Errorf("%d missing, nothing was lost", got)
	}
	for _, e := range l.exporters {
		if !e.NumberingShared || e.Restarts != 0 {
			t.Errorf("domain %d: shared %v, %d restarts", e.Domain, e.NumberingShared, e.Restarts)
		}
	}
	before := seq
	send(1, false)
	want := uint64(seq - before)
	for i := range 60 {
		send(uint32(i%3), true)
		got += missing(false)
	}
	if got != want {
		t.Errorf("%d missing, want %d", got, want)
	}
	got += missing(true)
	l, src = newLedger(10), &source{}
	last := map[uint32]flow.Sequence{}
	for _, q := range stood {
		last[q.Domain] = q
	}
	var list []flow.Sequence
	for _, q := range last {
		list = append(list, q)
	}
	l.recall(list, true)
	before = seq
	send(0, false)
	want += uint64(seq - before)
	for i := range 30 {
		send(uint32(i%3), true)
		got += missing(i == 29)
	}
	if got != want {
		t.Errorf("%d missing after the collector began again, want %d", got, want)
	}
}

// TestManyDomainsOfOnePort: domains that count each for themselves, in step, are no
// one counter.
func TestManyDomainsOfOnePort(t *testing.T) {
	l, src := newLedger(1000), &source{}
	now := flow.Time(1_800_000_000_000)
	for seq := range uint32(10) {
		for domain := range uint32(150) {
			now += 20
			m := netflow.Message{
				Version: netflow.IPFIX, Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 1}), Domain: domain},
				Sequence: seq, DataRecords: 1, Records: 1, Templates: 1,
			}
			l.datagram(src, &receipt{m: &m, port: 1, now: now, records: 1})
		}
	}
	for _, e := range l.exporters {
		if e.NumberingShared || e.Numbering == flow.NumberingNothing {
			t.Errorf("domain %d: shared %v, counts %v", e.Domain, e.NumberingShared, e.Numbering)
		}
	}
	if r := l.take(now, true); len(r.Loss) != 0 {
		t.Errorf("loss %+v", r.Loss)
	}
}

// TestClaimsAreBounded: numbers that jump again and again, as a stranger makes
// them, claim no more than a few times what came.
func TestClaimsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		s := numbered(rapid.SampledFrom([]flow.Numbering{flow.NumberingRecords, flow.NumberingMessages}).Draw(t, "specified"))
		jump := rapid.SampledFrom([]int{1, 100, 10_000, 1_000_000, 1 << 30}).Draw(t, "jump")
		seq, lost := uint32(0), uint64(0)
		const seconds, each = 20, 100
		for i := range seconds * each {
			now := 1_800_000_000_000 + flow.Time(i)*flow.Second/each
			seq += uint32(rnd.IntN(jump)) + 1
			for range rnd.IntN(3) + 1 {
				v, _ := s.observe(arrival{seq: seq, n: 10, exact: true, now: now})
				lost += v.lost + s.expire(now)
				seq += 10
			}
		}
		lost += s.settle().lost + s.flush()
		came := uint64(seconds * each * 3 * 10)
		if lost > came*tempoFactor*2+tempoMessages*tempoRecords {
			t.Fatalf("%d claimed, %d came", lost, came)
		}
	})
}

// TestASpecifiedHabitStaysBelieved: loss alone makes no habit of an exporter that
// counts as its specification says.
func TestASpecifiedHabitStaysBelieved(t *testing.T) {
	for _, h := range []flow.Numbering{flow.NumberingRecords, flow.NumberingMessages} {
		t.Run(fmt.Sprint(h), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				s := numbered(h)
				msgs := make([]arrival, 200)
				for i := range msgs {
					msgs[i] = arrival{n: uint32(rnd.IntN(30) + 1), exact: true, now: 1_800_000_000_000 + flow.Time(i)*100}
				}
				numbers(h, 0, msgs)
				for _, a := range msgs {
					if rnd.Float64() < 0.3 {
						continue
					}
					s.observe(a)
				}
				if s.habit != h {
					t.Errorf("believed to count %v", s.habit)
				}
			}
		})
	}
}
