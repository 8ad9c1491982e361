package answer_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// The law of shares: at every stage of the roll-ups, the flows of who is named
// are right within the error that is stated, nobody has more than that error
// allows, and what is called exact is what counting gives. A burst is pointed out
// whichever stage its minutes are at.
func TestSharesAgreeWithFlows(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name            string
		keep, few, most int
		follow          int // hosts of an hour
	}{
		{"nothing is cut", 1000, 1000, 1000, 0},
		{"cut when settled", 6, 2, 100_000, 0},
		{"cut before", 6, 2, 8, 0},
		{"a host is followed", 1000, 1000, 1000, 1},
		{"some hosts are followed", 1000, 1000, 1000, 5},
		{"all hosts are followed", 1000, 1000, 1000, 2000},
		{"cut, and some hosts are followed", 6, 2, 100_000, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.follow > 0 {
				defer answer.Follow(c.follow, c.follow, 1e9, 0)()
			}
			rnd := rand.New(rand.NewPCG(21, uint64(c.keep+c.most)))
			db, _, _ := storetest.Open(t)
			recs := storetest.Flows(rnd, 900)
			for i := range recs {
				if rnd.IntN(15) == 0 {
					recs[i].DstAddr = recs[i].SrcAddr
				}
			}
			busy := netip.MustParseAddr("10.20.7.66")
			for i := range 600 {
				r := recs[i]
				r.IPVersion, r.Protocol = 4, flow.TCP
				r.SrcAddr, r.DstAddr = flow.AddrFrom(busy), flow.Addr4([4]byte{10, 8, byte(i >> 8), byte(i)})
				if i%3 == 0 {
					r.SrcAddr, r.DstAddr = r.DstAddr, r.SrcAddr
				}
				r.Start = storetest.Noon - 40*flow.Minute + flow.Time(i)*flow.Second/5
				r.End = r.Start
				recs = append(recs, r)
			}
			rnd.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
			w := ingest.NewWriter(db, ingest.WriterConfig{})
			now := storetest.Noon
			config := storetest.SmallKeeper(c.keep, c.few, c.most, 400, func() time.Time { return now.Time() })
			k := keeper.New(db, config)
			rolled, followed := false, false
			ask := func(stage string, n int) {
				t.Helper()
				for i, step := range []time.Duration{0, time.Minute, 5 * time.Minute, time.Hour, 10 * time.Minute} {
					q := query.Question{From: (storetest.Noon - 3*flow.Hour).Time(), To: (storetest.Noon + 2*flow.Hour).Time(), Step: step, MaxBuckets: query.MaxBuckets}
					if i == 4 {
						q.From, q.To = q.From.Add(17*time.Minute+13*time.Second), q.To.Add(-47*time.Second)
					}
					if step == 0 {
						q.MaxBuckets = 0
					}
					r, err := answer.New(db).Share(ctx, q)
					if err != nil {
						t.Fatalf("%s: %v", stage, err)
					}
					rolled = rolled || r.Source != "flows"
					followed = followed || r.Step < time.Hour && strings.Contains(r.Source, "traffic_1h")
					checkShare(t, stage, recs[:n], r)
					if n < len(recs) || step == time.Hour {
						continue
					}
					found := false
					for _, l := range r.Highlights {
						found = found || l.Addr == busy && l.Flows >= 400 && l.Share >= 0.8
					}
					if !found {
						t.Errorf("%s, by %v: the burst is not among %+v", stage, r.Step, r.Highlights)
					}
				}
			}
			// Of one value's flows its host has all.
			one := func(stage string, n int) {
				t.Helper()
				for _, words := range []string{"src ip 10.20.7.66", "ip 10.20.7.66"} {
					r, err := answer.New(db).Share(ctx, query.Question{From: (storetest.Noon - 3*flow.Hour).Time(), To: (storetest.Noon + 2*flow.Hour).Time(), Filter: storetest.ParseFilter(t, words)})
					if err != nil {
						t.Fatalf("%s, %s: %v", stage, words, err)
					}
					var all, host, want int64
					for i := range r.Start {
						all, host = all+r.Flows[i], host+r.HostFlows[i]
					}
					for j := range recs[:n] {
						f := &recs[j]
						a, _ := storetest.ValueOf(f, query.KeySrcAddr, 0).(string)
						b, _ := storetest.ValueOf(f, query.KeyDstAddr, 0).(string)
						if f.Start >= storetest.Noon-3*flow.Hour && f.Start < storetest.Noon+2*flow.Hour && (a == busy.String() || words == "ip 10.20.7.66" && b == busy.String()) {
							want++
						}
					}
					if all != want || host != want {
						t.Errorf("%s, %s: %d flows, %d of the host, want %d", stage, words, all, host, want)
					}
				}
			}
			storetest.WriteAll(t, w, recs[:700], 130)
			ask("nothing is summed", 700)
			if err := storetest.SumOnly(ctx, db, config); err != nil {
				t.Fatal(err)
			}
			ask("nothing is settled", 700)
			now = storetest.Noon + 90*flow.Minute
			storetest.WriteAll(t, w, recs[700:], 90)
			ask("some are not summed", len(recs))
			if err := storetest.SumOnly(ctx, db, config); err != nil {
				t.Fatal(err)
			}
			ask("all are summed", len(recs))
			one("all are summed", len(recs))
			now = storetest.Noon + flow.Day + flow.Hour
			if err := k.Sum(ctx); err != nil {
				t.Fatal(err)
			}
			ask("all are settled", len(recs))
			one("all are settled", len(recs))
			if !rolled || c.follow > 0 && !followed {
				t.Errorf("roll-ups were read: %v, hosts followed: %v", rolled, followed)
			}
		})
	}
}

// checkShare counts the flows itself.
func checkShare(t *testing.T, stage string, recs []flow.Record, r *query.Share) {
	t.Helper()
	var slack int64
	if r.Remainder != nil {
		slack = r.Remainder.Error
	}
	if r.Exact && slack > 0 {
		t.Errorf("%s, by %v: exact within %d", stage, r.Step, slack)
	}
	for i, start := range r.Start {
		from, to := max(flow.TimeOf(start), flow.TimeOf(r.From)), min(flow.TimeOf(start.Add(r.Step)), flow.TimeOf(r.To))
		hosts := make(map[netip.Addr]int64)
		var all, most int64
		for j := range recs {
			f := &recs[j]
			if f.Start < from || f.Start >= to {
				continue
			}
			all++
			a, _ := storetest.ValueOf(f, query.KeySrcAddr, 0).(string)
			b, _ := storetest.ValueOf(f, query.KeyDstAddr, 0).(string)
			if a != "" {
				hosts[netip.MustParseAddr(a)]++
			}
			if b != "" && a != b {
				hosts[netip.MustParseAddr(b)]++
			}
		}
		for _, n := range hosts {
			most = max(most, n)
		}
		if r.Flows[i] != all {
			t.Errorf("%s, by %v, %v: %d flows, want %d", stage, r.Step, start, r.Flows[i], all)
		}
		has := hosts[r.Host[i]]
		switch {
		case r.Exact && (has != most || r.HostFlows[i] != most):
			t.Errorf("%s, by %v, %v: %v has %d, called exact; it has %d, and the most is %d", stage, r.Step, start, r.Host[i], r.HostFlows[i], has, most)
		case has > r.HostFlows[i]+slack || has < r.HostFlows[i]-slack || most > r.HostFlows[i]+slack:
			t.Errorf("%s, by %v, %v: %v has %d ± %d; it has %d, and the most is %d", stage, r.Step, start, r.Host[i], r.HostFlows[i], slack, has, most)
		}
		if (most > slack || r.Exact && most > 0) && !r.Host[i].IsValid() {
			t.Errorf("%s, by %v, %v: nobody is named of %d flows ± %d", stage, r.Step, start, all, slack)
		}
	}
}

// In a day of flat traffic, who is busy for two minutes is named, with all its
// flows, and the hours in which nobody is leave little open.
func TestShareNamesABurst(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(22, 1))
	db, _, _ := storetest.Open(t)
	var recs []flow.Record
	add := func(start flow.Time, src, dst flow.Addr) {
		r := storetest.Record(start)
		r.Start, r.End, r.SrcAddr, r.DstAddr = start, start, src, dst
		recs = append(recs, r)
	}
	first := storetest.Noon.Floor(flow.Day)
	for at := first; at < storetest.Noon; at += 2 * flow.Second {
		add(at, flow.Addr4([4]byte{10, 1, byte(rnd.IntN(10)), byte(rnd.IntN(200))}), flow.Addr4([4]byte{10, 2, byte(rnd.IntN(10)), byte(rnd.IntN(200))}))
	}
	busy := netip.MustParseAddr("10.20.7.66")
	const burst = 1000
	for i := range burst {
		add(storetest.Noon-4*flow.Hour+31*flow.Minute+flow.Time(i)*120, flow.AddrFrom(busy), flow.Addr4([4]byte{10, 8, byte(i >> 8), byte(i)}))
	}
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 5000)
	k := keeper.New(db, keeper.Config{RetainRaw: keeper.ForEver, SumRecords: 50_000, Now: storetest.At(storetest.Noon + flow.Hour)})
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := answer.New(db).Share(ctx, query.Question{From: first.Time(), To: storetest.Noon.Time(), Step: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Source, "traffic_1h") {
		t.Errorf("read from %s: %s", r.Source, r.Plan)
	}
	checkShare(t, "a burst", recs, r)
	if len(r.Highlights) != 1 || r.Highlights[0].Addr != busy || r.Highlights[0].Flows != burst || r.Highlights[0].To.Sub(r.Highlights[0].From) != 5*time.Minute {
		t.Errorf("pointed out: %+v", r.Highlights)
	}
	if r.Remainder == nil || r.Remainder.Error > 15 { // of 150 in a slot
		t.Errorf("open: %+v", r.Remainder)
	}
}
