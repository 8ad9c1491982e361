package answer_test

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/console"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

func anHour(t0 flow.Time) query.Question {
	return query.Question{From: t0.Time(), To: (t0 + flow.Hour).Time()}
}

// Pages of flows, one after the other, are all flows, each once, in order.
func TestFlowsByPages(t *testing.T) {
	ctx := context.Background()
	h := storetest.NewHouse(t, storetest.SomeFlows(60))
	for _, sort := range []string{"", "flow_start", "flow_end", "packets", "bytes", "duration"} {
		for _, ascending := range []bool{false, true} {
			q := query.FlowsQuestion{Question: anHour(storetest.T0), Sort: sort, Ascending: ascending}
			q.Limit = 7
			q.Filter = storetest.ParseFilter(t, "proto tcp")
			seen := make(map[[2]int64]int)
			total := 0
			last := int64(math.MinInt64)
			for page := 0; ; page++ {
				f, err := answer.New(h.Db).Flows(ctx, q)
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
	q := query.FlowsQuestion{Question: anHour(storetest.T0), NoSummary: true}
	q.From, q.To, q.Limit = q.From.Add(20*time.Minute), q.From.Add(40*time.Minute), 5
	want := storetest.Get[int](t, h.Admin, "select count(*) from flows where flow_start < $2 and (flow_end > $1 or flow_start = $1)", q.From, q.To)
	for _, sort := range []string{"flow_start", "flow_end"} {
		for _, ascending := range []bool{false, true} {
			q.Sort, q.Ascending, q.After = sort, ascending, ""
			got := 0
			for {
				f, err := answer.New(h.Db).Flows(ctx, q)
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
		q := query.FlowsQuestion{Question: anHour(storetest.T0), After: bad}
		if _, err := answer.New(h.Db).Flows(ctx, q); err == nil {
			t.Errorf("a page after %q", bad)
		}
	}
}

// Summaries, cards, maps and shares are what rankings say.
func TestOtherQuestions(t *testing.T) {
	ctx := context.Background()
	h := storetest.NewHouse(t, storetest.SomeFlows(70))
	s, err := answer.New(h.Db).Summary(ctx, anHour(storetest.T0))
	if err != nil {
		t.Fatal(err)
	}
	if s.Rows[0].Flows != 70 || s.Rows[1].Flows != 56 || s.Rows[2].Flows != 14 || s.Rows[3].Flows != 0 || s.Rows[4].Flows != 0 || s.Rows[0].FlowsPerSecond != 70./3600 {
		t.Errorf("summary %+v", s.Rows)
	}
	card, err := answer.New(h.Db).Address(ctx, netip.MustParseAddr("10.0.0.3"), anHour(storetest.T0))
	if err != nil {
		t.Fatal(err)
	}
	if card.Out.Flows != 10 || card.In.Flows != 0 || len(card.Peers) != 3 || card.Peers[0].Values[0].Column != "addr" || len(card.Ports) != 1 || card.Ports[0].Label != "443" || card.FirstSeen.IsZero() || !card.Exact {
		t.Errorf("card %+v", card)
	}
	m, err := answer.New(h.Db).HeatMap(ctx, query.Question{From: (storetest.T0 - 3*flow.Hour).Time(), To: (storetest.T0 + flow.Day).Time()})
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
	q := anHour(storetest.T0)
	q.Step = 10 * time.Minute
	share, err := answer.New(h.Db).Share(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	for i, start := range share.Start {
		q := query.Question{From: start, To: start.Add(q.Step), Keys: []query.Key{query.KeyAddr}, Limit: 1}
		top, err := answer.New(h.Db).Top(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(top.Rows) > 0 && top.Rows[0].Flows > 0 && (top.Rows[0].Flows != share.HostFlows[i] || top.Rows[0].Label != share.Host[i].String() || share.Share[i] != *top.Rows[0].Share) || share.Flows[i] != top.Total.Flows {
			t.Errorf("%v: %v %d of %d, want %+v of %+v", start, share.Host[i], share.HostFlows[i], share.Flows[i], top.Rows, top.Total)
		}
	}
}

// One host that makes nearly all flows for ten minutes is pointed out.
func TestShareFindsWhoHasAllFlows(t *testing.T) {
	recs := storetest.SomeFlows(60)
	for i := range 600 {
		r := recs[0]
		r.Start = storetest.T0 + 20*flow.Minute + flow.Time(i)*flow.Second
		r.End = r.Start
		r.SrcAddr, r.DstAddr = flow.Addr4([4]byte{10, 9, 9, 9}), flow.Addr4([4]byte{10, 8, byte(i >> 8), byte(i)})
		recs = append(recs, r)
	}
	h := storetest.NewHouse(t, recs)
	q := anHour(storetest.T0)
	q.Step = 5 * time.Minute
	r, err := answer.New(h.Db).Share(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Highlights) != 1 {
		t.Fatalf("%+v", r.Highlights)
	}
	l := r.Highlights[0]
	if l.Addr.String() != "10.9.9.9" || l.Flows != 600 || l.Share < 0.9 || !l.From.Equal(storetest.T0.Time().Add(20*time.Minute)) || !l.To.Equal(storetest.T0.Time().Add(30*time.Minute)) {
		t.Errorf("%+v", l)
	}
}

// Groups are listed when their sums meet the condition, by whatever they are
// ranked; all others are the rest.
func TestHavingAndRates(t *testing.T) {
	ctx := context.Background()
	h := storetest.NewHouse(t, storetest.SomeFlows(70))
	for _, by := range []query.Measure{query.ByFlows, query.ByPackets, query.ByBytes, query.ByPPS, query.ByBPS, query.ByBPP, query.ByDuration} {
		for _, text := range []string{"", "flows > 10", "not flows > 10 and bytes >= 1k", "bps > 10 or (pps = 0 and duration < 100)", "bpp >= 100"} {
			q := anHour(storetest.T0)
			q.Keys, q.By, q.Limit, q.Whole = []query.Key{query.KeySrcAddr, query.KeyProtocol}, by, 5, true
			q.To = q.To.Add(time.Hour)
			var err error
			if q.Having, err = query.ParseHaving(text); err != nil {
				t.Fatal(err)
			}
			top, err := answer.New(h.Db).Top(ctx, q)
			if err != nil {
				t.Fatalf("by %s having %s: %v", by, text, err)
			}
			sum := query.Sums{}
			for _, r := range top.Rows {
				sum = add(sum, r.Sums)
				if strings.HasPrefix(text, "flows") && r.Flows <= 10 || strings.HasPrefix(text, "not") && (r.Flows > 10 || r.Bytes < 1000) {
					t.Errorf("having %s lists %+v", text, r)
				}
				// A rate is that between the first and the last packet, or none; a share is of a sum.
				if by.NeedsTimes() && (r.BPS == nil) != r.LastSeen.Equal(r.FirstSeen) || !by.NeedsTimes() && !strings.Contains(text, "ps") && (r.BPS != nil || r.PPS != nil) || (r.Share != nil) != by.Additive() {
					t.Errorf("by %s having %s: bps %v, pps %v, share %v", by, text, r.BPS, r.PPS, r.Share)
				}
				if by == query.ByBPS && (r.LastSeen.Before(r.FirstSeen) || r.FirstSeen.IsZero() || r.Duration <= 0) {
					t.Errorf("%+v", r)
				}
			}
			if top.Other != nil {
				sum = add(sum, top.Other.Sums)
			}
			if sum != top.Total || top.Total.Flows != 70 {
				t.Errorf("by %s having %s: %+v and the rest make %+v, not %+v", by, text, top.Rows, sum, top.Total)
			}
			if again, err := query.ParseHaving(q.Having.String()); err != nil || again.String() != q.Having.String() {
				t.Errorf("%q reads back as %q, %v", q.Having, again, err)
			}
		}
	}
	for _, bad := range []string{"flows", "flows >", "flows > x", "bits > 1", "flows > 1 bytes > 2", "(flows > 1", "flows > 99999999t", strings.Repeat("(", 60), strings.Repeat("flows > 1 or ", 60) + "flows > 1"} {
		if _, err := query.ParseHaving(bad); err == nil {
			t.Errorf("%q is no condition", bad)
		} else if e, ok := errors.AsType[*query.Error](err); !ok || e.Parameter != "having" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzHaving(f *testing.F) {
	for _, s := range []string{"", "flows > 100 and bytes > 1m", "not (bps >= 10k or pps<5) && bpp != 3", "((", "duration\n=\t1t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := query.ParseHaving(text)
		if err != nil || h == nil {
			return
		}
		again, err := query.ParseHaving(h.String())
		if err != nil || again.String() != h.String() {
			t.Errorf("%q becomes %q, read back as %q, %v", text, h, again, err)
		}
	})
}

// Networks group their addresses.
func TestKeysOfNetworks(t *testing.T) {
	ctx := context.Background()
	h := storetest.NewHouse(t, storetest.SomeFlows(70))
	q := anHour(storetest.T0)
	keys, err := query.ParseKeys("src-addr/24,dst-addr/16/48")
	if err != nil {
		t.Fatal(err)
	}
	q.Keys = keys
	top, err := answer.New(h.Db).Top(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if len(top.Rows) != 1 || top.Rows[0].Label != "10.0.0.0/24 → 10.0.0.0/16" || top.Rows[0].Flows != 70 {
		t.Errorf("%+v", top.Rows)
	}
	q.Keys = []query.Key{"addr/16"}
	if top, err = answer.New(h.Db).Top(ctx, q); err != nil || len(top.Rows) != 1 || top.Rows[0].Flows != 70 {
		t.Errorf("either side of one network counts once: %+v, %v", top, err)
	}
	q.Step = 10 * time.Minute
	if s, err := answer.New(h.Db).Series(ctx, q); err != nil || len(s.Lines) != 1 || s.Lines[0].Label != "10.0.0.0/16" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"src-addr/33", "src-addr/0", "src-addr/24/129", "port/8", "src-addr/", "src-addr/024", "src-addr,src-addr/24"} {
		if _, err := query.ParseKeys(bad); err == nil {
			t.Errorf("%s is no key", bad)
		}
	}
}

// Who finds everybody busy is told so, in time.
func TestTooManyQuestions(t *testing.T) {
	ctx := context.Background()
	h := storetest.EmptyHouse(t)
	db, err := store.Open(ctx, h.Dsn+"&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	busy, free := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = console.New(db).RunSQL(busy, console.SQLQuestion{SQL: "select pg_sleep(60)"})
	}()
	for range 2000 {
		if storetest.Get[int](t, h.Admin, "select count(*) from pg_stat_activity where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid() and datname = current_database()") > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	q := anHour(storetest.T0)
	q.Timeout = 100 * time.Millisecond
	if _, err := answer.New(db).Summary(ctx, q); !errors.Is(err, store.ErrBusy) {
		t.Errorf("want ErrBusy, not %v", err)
	}
	free()
	<-done
	q.Timeout = time.Minute
	if _, err := answer.New(db).Summary(ctx, q); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Flows that are equal by what they are sorted by are each on one page, however many pages
// they fill: an exporter that sends whole seconds makes hundreds of one time.
func TestPagesOfEqualFlows(t *testing.T) {
	recs := make([]flow.Record, 130)
	for i := range recs {
		recs[i] = storetest.Record(storetest.T0 + 30*flow.Minute)
		recs[i].SrcPort = uint16(1000 + i)
		recs[i].Bytes = 60
		if i >= 120 {
			recs[i].SrcPort = 900 // the same in all
		}
	}
	db, _, _ := storetest.Open(t)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 40)
	for _, sort := range []string{"flow_start", "flow_end", "packets", "bytes", "duration"} {
		for _, ascending := range []bool{false, true} {
			for _, limit := range []int{1, 7, 50, 130, 131} {
				q := query.FlowsQuestion{Question: anHour(storetest.T0), Sort: sort, Ascending: ascending, NoSummary: true}
				q.Limit = limit
				seen := make(map[int64]int)
				for pages := 0; ; pages++ {
					f, err := answer.New(db).Flows(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					for _, row := range f.Rows {
						seen[row[slices.Index(f.Columns, "src_port")].(int64)]++
					}
					if q.After = f.Next; f.Next == "" {
						break
					}
					if pages > 131 {
						t.Fatalf("sorted by %s, %d a page: there is no last page", sort, limit)
					}
				}
				if len(seen) != 121 || seen[900] != 10 || seen[1000] != 1 || seen[1119] != 1 {
					t.Errorf("sorted by %s, %d a page: %d ports, one %d times of 10", sort, limit, len(seen), seen[900])
				}
			}
		}
	}
}
