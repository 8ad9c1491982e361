package keeper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// Sealing changes no answer. Then rare addresses, on either side, are found by
// their indexes, and an hour that lies inside of the range is read from begin to
// end, not through the index of times, which would only cost.
func TestSealedHours(t *testing.T) {
	ctx := context.Background()
	h := storetest.EmptyHouse(t)
	rnd := rand.New(rand.NewPCG(61, 62))
	recs := make([]flow.Record, 36_000)
	for i := range recs {
		r := &recs[i]
		r.Start = storetest.T0 + flow.Time(i)*3*flow.Hour/flow.Time(len(recs))
		r.End = min(r.Start+flow.Time(rnd.IntN(int(2*flow.Minute))), storetest.T0+3*flow.Hour-1)
		r.Packets = uint64(1 + rnd.IntN(9))
		r.Bytes = r.Packets * uint64(40+rnd.IntN(1400))
		r.IPVersion, r.Protocol, r.Exporter = 4, flow.TCP, storetest.Exporters[i%2].ID()
		r.SrcAddr = flow.Addr4([4]byte{10, byte(rnd.IntN(40)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		r.DstAddr = flow.Addr4([4]byte{10, byte(rnd.IntN(40)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		r.SrcPort, r.DstPort = uint16(1000+i%11), uint16(50+i%5)
		if i%9000 == 4500 {
			r.SrcAddr = flow.Addr4([4]byte{10, 99, 0, 1})
		}
		if i%9000 == 7000 {
			r.DstAddr = flow.Addr4([4]byte{10, 99, 0, 1})
		}
	}
	h.Write(t, recs)
	filters := []string{"", "src host 10.99.0.1", "dst host 10.99.0.1", "host 10.99.0.1", "host 10.99.0.1 or src host 10.0.0.1", "net 10.99.0.0/16", "src host 10.98.0.1", "port 53 and bytes > 3000"}
	ask := func(text string) (answers []string, plan string) {
		t.Helper()
		q := query.Question{From: storetest.T0.Time(), To: (storetest.T0 + 3*flow.Hour).Time(), Keys: []query.Key{query.KeyDstPort}, By: query.ByBytes, Raw: true, Filter: storetest.ParseFilter(t, text)}
		for _, by := range []query.Measure{query.ByFlows, query.ByBytes} {
			q.By = by
			top, err := answer.New(h.Db).Top(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, fmt.Sprint(top.Rows, top.Other, top.Total))
			if by == query.ByFlows {
				continue
			}
			rows, err := h.Admin.Query(ctx, "explain "+strings.ReplaceAll(top.SQL, "(select flows_until('2026-11-20 11:00:00+00'))", "'2026-11-20 11:00:00+00'"), pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			plan = strings.Join(lines, "\n")
		}
		f, err := answer.New(h.Db).Flows(ctx, query.FlowsQuestion{Question: q})
		if err != nil {
			t.Fatal(err)
		}
		return append(answers, fmt.Sprint(f.Rows, f.Summary.Sums)), plan
	}
	before := make(map[string][]string)
	for _, text := range filters {
		before[text], _ = ask(text)
	}
	writer, err := store.Open(ctx, pgtest.As(t, h.Dsn, store.RoleWriter, "writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := tidy(t, writer, keeper.Config{RetainRaw: keeper.ForEver}, flow.TimeOf(time.Now())+flow.Hour, nil); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, h.Admin, "select count(*) from parts.partition where sealed_at is not null"); n != 3 {
		t.Fatalf("%d hours are sealed, want 3", n)
	}
	for _, text := range filters {
		after, plan := ask(text)
		for i, was := range before[text] {
			if after[i] != was {
				t.Errorf("%q: %s before it was sealed, then %s", text, was, after[i])
			}
		}
		for hour := storetest.T0; hour < storetest.T0+3*flow.Hour; hour += flow.Hour {
			name := store.PartitionName(hour)
			for suffix, want := range map[string]bool{
				"_source":      strings.Contains(text, "host") && !strings.HasPrefix(text, "dst"),
				"_destination": strings.Contains(text, "host") && !strings.HasPrefix(text, "src"),
				"_time":        false,
			} {
				if strings.Contains(plan, name+suffix) != want {
					t.Errorf("%q: %s is used: %v\n%s", text, name+suffix, !want, plan)
				}
			}
		}
	}
}
