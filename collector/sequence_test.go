package collector

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"flowtally/flow"
)

// sent is a message of a simulated exporter and what became of it.
type sent struct {
	arrival
	lost bool
	key  int64 // order of arrival
}

// TestLossIsCountedExactly is the law of sequence numbers: whatever is lost,
// comes late, comes twice or is sent by an exporter that began again, the count of
// what is missing is that of what was lost between the first message that came and
// the last.
func TestLossIsCountedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		datagrams := rapid.Bool().Draw(t, "datagrams")
		boots := rapid.Bool().Draw(t, "boots")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		lossRate := rapid.Float64Range(0, 0.3).Draw(t, "loss")
		copyRate := rapid.Float64Range(0, 0.1).Draw(t, "copies")
		displace := rapid.Int64Range(0, 6).Draw(t, "displacement")
		s := numbered(unitOf(datagrams))
		s.sure = true
		now := flow.Time(1_800_000_000_000)
		base := rapid.SampledFrom([]uint32{0, 1, 1000, math.MaxUint32 - 100, math.MaxUint32 - 5000}).Draw(t, "base")
		var want, got uint64
		runs := rapid.IntRange(1, 3).Draw(t, "runs")
		if !boots && base > 1000 {
			// A beginning at 0 looks like a step across 2^32 then, and is one.
			runs = 1
		}
		restarts, beginnings, last := 0, 0, uint32(1)
		for run := range runs {
			now += flow.Minute
			seq := base
			if run > 0 {
				seq = 0
				if last != 0 { // else they go on as if nothing had happened
					beginnings++
				}
			}
			boot := flow.Time(0)
			if boots {
				boot = now - flow.Second
			}
			var all []sent
			n := rapid.IntRange(20, 300).Draw(t, "messages")
			for i := range n {
				m := sent{arrival: arrival{seq: seq, n: uint32(rnd.IntN(30) + 1), exact: true, boot: boot, now: now + flow.Time(i)*50}}
				if datagrams {
					seq++
				} else {
					seq += m.n
				}
				m.lost = i > 8 && i < n-8 && rnd.Float64() < lossRate
				m.key = int64(i) * 2
				if i > 0 && displace > 0 {
					m.key += 2 * rnd.Int64N(displace)
				}
				all = append(all, m)
				if !m.lost && i > 8 && rnd.Float64() < copyRate {
					m.key += 2*rnd.Int64N(4) + 1
					all = append(all, m)
				}
				if m.lost && datagrams {
					want++
				} else if m.lost {
					want += uint64(m.n)
				}
			}
			slices.SortStableFunc(all, func(x, y sent) int { return int(x.key - y.key) })
			for i, m := range all {
				if m.lost {
					continue
				}
				m.now = all[0].now + flow.Time(i)*50
				v, _ := s.observe(m.arrival)
				restarts += v.restarts
				got += v.lost + s.expire(m.now)
			}
			last = seq
			now = all[len(all)-1].now + flow.Minute
			got += s.expire(now)
		}
		got += s.flush()
		if got != want {
			t.Fatalf("%d counted as missing, %d were lost; %+v", got, want, s.habits)
		}
		if restarts != beginnings {
			t.Fatalf("%d beginnings noticed of %d: %+v", restarts, beginnings, s)
		}
	})
}

func unitOf(datagrams bool) flow.Numbering {
	if datagrams {
		return flow.NumberingMessages
	}
	return flow.NumberingRecords
}

// feed gives messages to a session 10 ms apart and returns the sum of verdicts.
func feed(s *numbering, now flow.Time, msgs ...arrival) (sum verdict) {
	for i, a := range msgs {
		if a.now = a.now + now; a.now == now {
			a.now = now + flow.Time(i)*10
		}
		v, _ := s.observe(a)
		sum.lost += v.lost
		sum.duplicates += v.duplicates
		sum.restarts += v.restarts
	}
	return sum
}

func TestSequencePhenomena(t *testing.T) {
	rec := func(seq, n uint32) arrival { return arrival{seq: seq, n: n, exact: true} }
	unknown := func(seq, n uint32) arrival { return arrival{seq: seq, n: n} }
	at := func(a arrival, now, boot flow.Time) arrival { a.now, a.boot = now, boot; return a }
	for name, c := range map[string]struct {
		msgs      []arrival
		datagrams bool
		lost      uint64
		dups      int64
		restart   bool
	}{
		"first_message_sets_the_base":      {msgs: []arrival{rec(4_000_000_000, 26), rec(4_000_000_026, 26)}},
		"one_lost":                         {msgs: []arrival{rec(0, 26), rec(52, 26)}, lost: 26},
		"late_one_fills_its_hole":          {msgs: []arrival{rec(0, 26), rec(52, 26), rec(26, 26)}},
		"half_of_a_hole":                   {msgs: []arrival{rec(0, 10), rec(30, 10), rec(10, 10)}, lost: 10},
		"middle_of_a_hole":                 {msgs: []arrival{rec(0, 10), rec(40, 10), rec(20, 10)}, lost: 20},
		"wraps_at_2_32":                    {msgs: []arrival{rec(math.MaxUint32-9, 10), rec(0, 10), rec(20, 10)}, lost: 10},
		"sent_twice":                       {msgs: []arrival{rec(0, 10), rec(0, 10), rec(10, 10), rec(10, 10), rec(20, 10)}, dups: 2},
		"set_without_template_is_not_lost": {msgs: []arrival{unknown(0, 0), unknown(26, 0), rec(52, 26), rec(78, 26)}},
		"late_set_without_template":        {msgs: []arrival{rec(0, 26), rec(78, 26), unknown(26, 10), rec(104, 1)}},
		"templates_alone_do_not_count":     {msgs: []arrival{rec(5, 0), rec(5, 0), rec(5, 10), rec(15, 0), rec(5, 0), rec(15, 10)}},
		"began_again_at_zero":              {msgs: []arrival{rec(100_000, 10), at(rec(0, 10), 60_000, 0), at(rec(10, 10), 60_010, 0), at(rec(30, 10), 60_020, 0)}, lost: 10, restart: true},
		"began_again_soon_with_a_new_boot": {msgs: []arrival{at(rec(100, 10), 1, 1000), at(rec(0, 10), 20_000, 20_500_000), at(rec(10, 10), 20_010, 20_500_000)}, restart: true},
		"uptime_wraps_and_nothing_began":   {msgs: []arrival{at(rec(100, 10), 1, 1_000_000), at(rec(110, 10), 20_000, 1_000_000+1<<32), at(rec(130, 10), 20_010, 1_000_000+1<<32)}, lost: 10},
		"jump_that_nobody_can_have_sent":   {msgs: []arrival{rec(3_000_000_000, 10), rec(700_000_000, 10), rec(700_000_010, 10)}, restart: true},
		"string_of_late_copies":            {msgs: slices.Concat(seqOf(0, 30), seqOf(0, 9), seqOf(300, 5)), dups: 9},
		"v9_counts_messages":               {datagrams: true, msgs: []arrival{rec(1, 26), rec(2, 26), rec(5, 26)}, lost: 2},
		"ipfix_that_counts_messages":       {msgs: []arrival{rec(1, 26), rec(2, 26), rec(3, 26), rec(4, 26), rec(5, 26), rec(6, 26), rec(8, 26)}, lost: 1},
		"v9_that_counts_records":           {datagrams: true, msgs: []arrival{rec(26, 26), rec(52, 26), rec(78, 26), rec(104, 26), rec(130, 26), rec(182, 26)}, lost: 26},
		"gap_of_what_can_have_been_sent":   {msgs: slices.Concat(seqOf(0, 100), seqOf(2000, 30)), lost: 1000},
		"gap_of_what_nobody_can_have_sent": {msgs: slices.Concat(seqOf(0, 4), seqOf(7440, 4)), restart: true},
		"outage_of_an_hour":                {msgs: slices.Concat(seqOf(0, 100), []arrival{at(rec(361_000, 10), 3_600_000, 0), at(rec(361_010, 10), 3_600_010, 0)}), lost: 360_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := numbered(unitOf(c.datagrams))
			const now = 1_800_000_000_000
			v := feed(&s, now, c.msgs...)
			v.lost += s.flush()
			if v.lost != c.lost || v.duplicates != c.dups || (v.restarts > 0) != c.restart {
				t.Errorf("got %+v, want %d lost, %d duplicates, restart %v", v, c.lost, c.dups, c.restart)
			}
		})
	}
}

// seqOf makes n messages of ten records from a number on.
func seqOf(from uint32, n int) (msgs []arrival) {
	for i := range n {
		msgs = append(msgs, arrival{seq: from + uint32(i)*10, n: 10, exact: true})
	}
	return msgs
}

// TestRecalledSequence: what was lost while nobody listened shows when the next
// message comes, and an exporter that began again meanwhile lost nothing.
func TestRecalledSequence(t *testing.T) {
	const now = 1_800_000_000_000
	s := numbered(flow.NumberingRecords)
	s.recall(&flow.Sequence{Next: 1000, At: now - flow.Hour})
	if v := feed(&s, now, arrival{seq: 1500, n: 10, exact: true}); v.restarts != 0 || v.lost != 500 || s.flush() != 0 {
		t.Errorf("a gap of 500 is not seen: %+v", v)
	}
	s = numbered(flow.NumberingRecords)
	s.recall(&flow.Sequence{Next: 1000, At: now - flow.Hour})
	v := feed(&s, now, arrival{seq: 0, n: 10, exact: true}, arrival{seq: 30, n: 10, exact: true})
	if lost := s.flush(); v.restarts != 1 || lost != 20 {
		t.Errorf("%+v, %d lost, want a new beginning and 20", v, lost)
	}
}

// TestHolesAreBounded: whoever makes holes on purpose makes no memory, and the
// sum stays.
func TestHolesAreBounded(t *testing.T) {
	s := numbered(flow.NumberingRecords)
	var lost uint64
	for i := range uint32(1000) {
		v, _ := s.observe(arrival{seq: i * 10, n: 5, exact: true, now: flow.Time(i) * flow.Second})
		lost += v.lost
		if len(s.main.holes) > maxHoles {
			t.Fatalf("%d holes", len(s.main.holes))
		}
	}
	if lost += s.flush(); lost != 999*5 {
		t.Errorf("%d lost, want %d", lost, 999*5)
	}
}

// FuzzNumbering: no numbers make it panic, or remember more than its bounds.
func FuzzNumbering(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 0, 26, 1}, false)
	f.Fuzz(func(t *testing.T, b []byte, datagrams bool) {
		s := numbered(unitOf(datagrams))
		now := flow.Time(1_800_000_000_000)
		for len(b) >= 5 {
			now += flow.Time(b[4])
			s.observe(arrival{seq: uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2]), n: uint32(b[3]), exact: b[4]&1 == 0, boot: flow.Time(b[4]&2) * 1e9, now: now})
			s.expire(now)
			b = b[5:]
			if len(s.main.holes) > maxHoles || s.rival != nil && len(s.rival.holes) > maxHoles {
				t.Fatal("too many holes")
			}
		}
	})
}
