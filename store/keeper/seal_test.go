package keeper_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// An hour that is past gets its indexes and statistics, and still takes what is
// late.
func TestSeal(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	name := store.PartitionName(storetest.Noon.Floor(flow.Hour))
	write := func(n int) {
		t.Helper()
		recs := make([]flow.Record, n)
		for i := range recs {
			recs[i] = storetest.Record(storetest.Noon)
			recs[i].SrcAddr = flow.Addr4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		}
		if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	write(20_000)
	sumAll(t, db)
	if err := tidy(t, db, keeper.Config{RetainRaw: keeper.ForEver}, storetest.Noon+20*flow.Minute, nil); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition where sealed_at is not null"); n != 0 {
		t.Error("sealed while it is written")
	}
	// Broken off in the middle, it is taken up again.
	real := flow.TimeOf(time.Now()) + flow.Hour
	left := 2
	if err := tidy(t, db, keeper.Config{RetainRaw: keeper.ForEver}, real, func(string) error {
		if left--; left == 0 {
			return errors.New("died")
		}
		return nil
	}); err == nil {
		t.Fatal("it did not die")
	}
	if _, err := conn.Exec(ctx, "update pg_index set indisvalid = false where indexrelid = ('parts.' || $1)::regclass", name+"_source"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := tidy(t, db, keeper.Config{RetainRaw: keeper.ForEver}, real, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition where sealed_at is not null"); n != 1 {
		t.Error("not sealed")
	}
	if n := storetest.Get[int](t, conn, "select count(*) from pg_index where indrelid = ('parts.' || $1)::regclass and indisvalid", name); n != 3 {
		t.Errorf("%d indexes, want 3", n)
	}
	if n := storetest.Get[float64](t, conn, "select reltuples from pg_class where relname = $1", name); n != 20_000 {
		t.Errorf("statistics say %v rows", n)
	}
	rows, err := conn.Query(ctx, "explain select * from flows where flow_end >= '2025-11-21' and flow_end < '2025-11-22' and src_addr = '10.0.7.7'")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(plan, "\n"), name+"_source") {
		t.Errorf("a rare address is not found by its index:\n%s", strings.Join(plan, "\n"))
	}
	// An hour that was sealed with other indexes gets these, and stays sealed.
	was := storetest.Get[time.Time](t, conn, "select sealed_at from parts.partition")
	for _, sql := range []string{
		"drop index parts." + name + "_source",
		"create index " + name + "_src on parts." + name + " using brin (src_addr inet_bloom_ops)",
		"create index " + name + "_dst on parts." + name + " using brin (dst_addr inet_bloom_ops)",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := tidy(t, db, keeper.Config{RetainRaw: keeper.ForEver}, real, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := storetest.Get[string](t, conn, "select string_agg(indexrelid::regclass::text, ' ' order by indexrelid::regclass::text) from pg_index where indrelid = ('parts.' || $1)::regclass and indisvalid", name),
		strings.Join([]string{"parts." + name + "_destination", "parts." + name + "_source", "parts." + name + "_time"}, " "); got != want {
		t.Errorf("indexes %s, want %s", got, want)
	}
	if now := storetest.Get[time.Time](t, conn, "select sealed_at from parts.partition"); !now.Equal(was) {
		t.Error("sealed anew")
	}
	write(10)
	sumAll(t, db)
	if n := storetest.Get[int](t, conn, "select sum(flows)::int from traffic_1m where dimension = 'total'"); n != 20_010 {
		t.Errorf("%d flows are summed", n)
	}
}

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
			answers = append(answers, asJSON(t, top.Rows, top.Other, top.Total))
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
		return append(answers, asJSON(t, f.Rows, f.Summary.Sums)), plan
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

// asJSON returns values as a text that says the same of equal values.
func asJSON(t *testing.T, values ...any) string {
	t.Helper()
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
