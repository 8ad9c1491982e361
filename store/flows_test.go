package store_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store"
)

// someFlows are n flows of the hour that begins at t0.
func someFlows(n int) []flow.Record {
	rnd := rand.New(rand.NewPCG(31, 32))
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.Start = t0 + flow.Time(rnd.IntN(int(50*flow.Minute)))
		r.End = r.Start + flow.Time(rnd.IntN(int(5*flow.Minute)))
		r.Packets = uint64(1 + rnd.IntN(9))
		r.Bytes = r.Packets * 100
		r.IPVersion, r.Protocol, r.Exporter = 4, flow.TCP, exporters[i%2].ID()
		if i%5 == 0 {
			r.Protocol = flow.UDP
		}
		r.SrcAddr, r.DstAddr = flow.Addr4([4]byte{10, 0, 0, byte(i % 7)}), flow.Addr4([4]byte{10, 0, 1, byte(i % 3)})
		r.SrcPort, r.DstPort = uint16(1000+i%11), 443
	}
	return recs
}

func anHour(t0 flow.Time) store.Question {
	return store.Question{From: t0.Time(), To: (t0 + flow.Hour).Time()}
}

// Pages of flows, one after the other, are all flows, each once, in order.
func TestFlowsByPages(t *testing.T) {
	ctx := context.Background()
	h := newHouse(t, someFlows(60))
	for _, sort := range []string{"", "flow_start", "flow_end", "packets", "bytes", "duration"} {
		for _, ascending := range []bool{false, true} {
			q := store.FlowsQuestion{Question: anHour(t0), Sort: sort, Ascending: ascending}
			q.Limit = 7
			q.Filter = parseFilter(t, "proto tcp")
			seen := make(map[[2]int64]int)
			total := 0
			last := int64(math.MinInt64)
			for page := 0; ; page++ {
				f, err := h.db.Flows(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				if f.Summary.Flows != 48 {
					t.Fatalf("the summary has %d flows", f.Summary.Flows)
				}
				for _, row := range f.Rows {
					value := func(name string) any {
						for i, c := range f.Columns {
							if c == name {
								return row[i]
							}
						}
						t.Fatalf("no column %s", name)
						return nil
					}
					at := flow.TimeOf(value("flow_start").(time.Time))
					seen[[2]int64{int64(at), value("bytes").(int64)}]++
					total++
					var n int64
					switch f.Sort {
					case "packets", "bytes":
						n = value(f.Sort).(int64)
					case "duration":
						n = int64(flow.TimeOf(value("flow_end").(time.Time)) - at)
					default:
						n = int64(flow.TimeOf(value(f.Sort).(time.Time)))
					}
					if !ascending {
						n = -n
					}
					if n < last {
						t.Errorf("sorted by %s: out of order on page %d", sort, page)
					}
					last = n
				}
				if f.Next == "" {
					break
				}
				q.After = f.Next
			}
			if total != 48 {
				t.Errorf("sorted by %q: %d flows on all pages, want 48", sort, total)
			}
		}
	}
	// Of a range that cuts flows, those that reach into it.
	q := store.FlowsQuestion{Question: anHour(t0), NoSummary: true}
	q.From, q.To, q.Limit = q.From.Add(20*time.Minute), q.From.Add(40*time.Minute), 5
	want := get[int](t, h.admin, "select count(*) from flows where flow_start < $2 and (flow_end > $1 or flow_start = $1)", q.From, q.To)
	for _, sort := range []string{"flow_start", "flow_end"} {
		for _, ascending := range []bool{false, true} {
			q.Sort, q.Ascending, q.After = sort, ascending, ""
			got := 0
			for {
				f, err := h.db.Flows(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				if got += len(f.Rows); f.Next == "" {
					break
				}
				q.After = f.Next
			}
			if got != want {
				t.Errorf("sorted by %s: %d flows reach into the range, want %d", sort, got, want)
			}
		}
	}
	for _, bad := range []string{"!", "eA", "MSAx IDE"} {
		q := store.FlowsQuestion{Question: anHour(t0), After: bad}
		if _, err := h.db.Flows(ctx, q); err == nil {
			t.Errorf("a page after %q", bad)
		}
	}
}

// Summaries, cards, maps and shares are what rankings say.
func TestOtherQuestions(t *testing.T) {
	ctx := context.Background()
	h := newHouse(t, someFlows(70))
	s, err := h.db.Summary(ctx, anHour(t0))
	if err != nil {
		t.Fatal(err)
	}
	if s.Rows[0].Flows != 70 || s.Rows[1].Flows != 56 || s.Rows[2].Flows != 14 || s.Rows[3].Flows != 0 || s.Rows[4].Flows != 0 || s.Rows[0].FlowsPerSecond != 70./3600 {
		t.Errorf("summary %+v", s.Rows)
	}
	card, err := h.db.Address(ctx, netip.MustParseAddr("10.0.0.3"), anHour(t0))
	if err != nil {
		t.Fatal(err)
	}
	if card.Out.Flows != 10 || card.In.Flows != 0 || len(card.Peers) != 3 || card.Peers[0].Values[0].Column != "addr" || len(card.Ports) != 1 || card.Ports[0].Label != "443" || card.FirstSeen.IsZero() || !card.Exact {
		t.Errorf("card %+v", card)
	}
	m, err := h.db.HeatMap(ctx, store.Question{From: (t0 - 3*flow.Hour).Time(), To: (t0 + flow.Day).Time()})
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for i, cells := range m.Cells {
		for hour, n := range cells {
			if n != nil {
				sum += *n
			}
			at := m.Days[i].Add(time.Duration(hour) * time.Hour)
			if inside := !at.Before(m.From) && at.Before(m.To); inside != (n != nil) {
				t.Errorf("%v: %v", at, n)
			}
		}
	}
	if sum != 70 {
		t.Errorf("the map has %d flows", sum)
	}
	q := anHour(t0)
	q.Step = 10 * time.Minute
	share, err := h.db.Share(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	for i, start := range share.Start {
		q := store.Question{From: start, To: start.Add(q.Step), Keys: []store.Key{store.KeyAddr}, Limit: 1}
		top, err := h.db.Top(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(top.Rows) > 0 && top.Rows[0].Flows > 0 && (top.Rows[0].Flows != share.HostFlows[i] || top.Rows[0].Label != share.Host[i].String() || share.Share[i] != top.Rows[0].Share) || share.Flows[i] != top.Total.Flows {
			t.Errorf("%v: %v %d of %d, want %+v of %+v", start, share.Host[i], share.HostFlows[i], share.Flows[i], top.Rows, top.Total)
		}
	}
}

// One host that makes nearly all flows for ten minutes is pointed out.
func TestShareFindsWhoHasAllFlows(t *testing.T) {
	recs := someFlows(60)
	for i := range 600 {
		r := recs[0]
		r.Start = t0 + 20*flow.Minute + flow.Time(i)*flow.Second
		r.End = r.Start
		r.SrcAddr, r.DstAddr = flow.Addr4([4]byte{10, 9, 9, 9}), flow.Addr4([4]byte{10, 8, byte(i >> 8), byte(i)})
		recs = append(recs, r)
	}
	h := newHouse(t, recs)
	q := anHour(t0)
	q.Step = 5 * time.Minute
	r, err := h.db.Share(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Highlights) != 1 {
		t.Fatalf("%+v", r.Highlights)
	}
	l := r.Highlights[0]
	if l.Addr.String() != "10.9.9.9" || l.Flows != 600 || l.Share < 0.9 || !l.From.Equal(t0.Time().Add(20*time.Minute)) || !l.To.Equal(t0.Time().Add(30*time.Minute)) {
		t.Errorf("%+v", l)
	}
}

// Groups are listed when their sums meet the condition, by whatever they are
// ranked; all others are the rest.
func TestHavingAndRates(t *testing.T) {
	ctx := context.Background()
	h := newHouse(t, someFlows(70))
	for _, by := range []store.Measure{store.ByFlows, store.ByPackets, store.ByBytes, store.ByPPS, store.ByBPS, store.ByBPP, store.ByDuration} {
		for _, text := range []string{"", "flows > 10", "not flows > 10 and bytes >= 1k", "bps > 10 or (pps = 0 and duration < 100)", "bpp >= 100"} {
			q := anHour(t0)
			q.Keys, q.By, q.Limit, q.Whole = []store.Key{store.KeySrcAddr, store.KeyProtocol}, by, 5, true
			q.To = q.To.Add(time.Hour)
			var err error
			if q.Having, err = store.ParseHaving(text); err != nil {
				t.Fatal(err)
			}
			top, err := h.db.Top(ctx, q)
			if err != nil {
				t.Fatalf("by %s having %s: %v", by, text, err)
			}
			sum := store.Sums{}
			for _, r := range top.Rows {
				sum = add(sum, r.Sums)
				if strings.HasPrefix(text, "flows") && r.Flows <= 10 || strings.HasPrefix(text, "not") && (r.Flows > 10 || r.Bytes < 1000) {
					t.Errorf("having %s lists %+v", text, r)
				}
				if by == store.ByBPS && (r.LastSeen.Before(r.FirstSeen) || r.FirstSeen.IsZero() || r.Duration <= 0) {
					t.Errorf("%+v", r)
				}
			}
			if top.Other != nil {
				sum = add(sum, top.Other.Sums)
			}
			if sum != top.Total || top.Total.Flows != 70 {
				t.Errorf("by %s having %s: %+v and the rest make %+v, not %+v", by, text, top.Rows, sum, top.Total)
			}
			if again, err := store.ParseHaving(q.Having.String()); err != nil || again.String() != q.Having.String() {
				t.Errorf("%q reads back as %q, %v", q.Having, again, err)
			}
		}
	}
	for _, bad := range []string{"flows", "flows >", "flows > x", "bits > 1", "flows > 1 bytes > 2", "(flows > 1", "flows > 99999999t", strings.Repeat("(", 60), strings.Repeat("flows > 1 or ", 60) + "flows > 1"} {
		if _, err := store.ParseHaving(bad); err == nil {
			t.Errorf("%q is no condition", bad)
		} else if e, ok := errors.AsType[*store.QuestionError](err); !ok || e.Parameter != "having" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzHaving(f *testing.F) {
	for _, s := range []string{"", "flows > 100 and bytes > 1m", "not (bps >= 10k or pps<5) && bpp != 3", "((", "duration\n=\t1t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := store.ParseHaving(text)
		if err != nil || h == nil {
			return
		}
		again, err := store.ParseHaving(h.String())
		if err != nil || again.String() != h.String() {
			t.Errorf("%q becomes %q, read back as %q, %v", text, h, again, err)
		}
	})
}

// Networks group their addresses.
func TestKeysOfNetworks(t *testing.T) {
	ctx := context.Background()
	h := newHouse(t, someFlows(70))
	q := anHour(t0)
	keys, err := store.ParseKeys("src-addr/24,dst-addr/16/48")
	if err != nil {
		t.Fatal(err)
	}
	q.Keys = keys
	top, err := h.db.Top(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Rows) != 1 || top.Rows[0].Label != "10.0.0.0/24 → 10.0.0.0/16" || top.Rows[0].Flows != 70 {
		t.Errorf("%+v", top.Rows)
	}
	q.Keys = []store.Key{"addr/16"}
	if top, err = h.db.Top(ctx, q); err != nil || len(top.Rows) != 1 || top.Rows[0].Flows != 70 {
		t.Errorf("either side of one network counts once: %+v, %v", top, err)
	}
	q.Step = 10 * time.Minute
	if s, err := h.db.Series(ctx, q); err != nil || len(s.Lines) != 1 || s.Lines[0].Label != "10.0.0.0/16" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"src-addr/33", "src-addr/0", "src-addr/24/129", "port/8", "src-addr/", "src-addr/024", "src-addr,src-addr/24"} {
		if _, err := store.ParseKeys(bad); err == nil {
			t.Errorf("%s is no key", bad)
		}
	}
}

// Who finds everybody busy is told so, in time.
func TestTooManyQuestions(t *testing.T) {
	ctx := context.Background()
	h := emptyHouse(t)
	db, err := store.Open(ctx, h.dsn+"&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	busy, free := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = db.RunSQL(busy, store.SQLQuestion{SQL: "select pg_sleep(60)"})
	}()
	for range 2000 {
		if get[int](t, h.admin, "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid() and datname = current_database()") > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	q := anHour(t0)
	q.Timeout = 100 * time.Millisecond
	if _, err := db.Summary(ctx, q); !errors.Is(err, store.ErrBusy) {
		t.Errorf("want ErrBusy, not %v", err)
	}
	free()
	<-done
	q.Timeout = time.Minute
	if _, err := db.Summary(ctx, q); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
