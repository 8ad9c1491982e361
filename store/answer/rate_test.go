package answer_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// saidRate is a sampling rate that people say of an exporter.
type saidRate struct {
	exporter flow.ExporterID
	rate     uint32
	instead  bool
	from     flow.Time // 0: always
}

// rateOf is the rate that a record counts by.
func rateOf(r *flow.Record, said []saidRate) int64 {
	rate := r.SamplingRate
	for _, s := range said {
		if s.exporter == r.Exporter && (s.instead || rate == 0) && r.Start >= s.from {
			rate = s.rate
		}
	}
	return int64(max(rate, 1))
}

// say has people say these rates and no others.
func say(t *testing.T, conn *pgx.Conn, said []saidRate) {
	t.Helper()
	ctx := context.Background()
	if _, err := conn.Exec(ctx, "delete from console.exporters"); err != nil {
		t.Fatal(err)
	}
	for _, s := range said {
		var from *time.Time
		if s.from != 0 {
			from = new(s.from.Time())
		}
		if _, err := conn.Exec(ctx, "insert into console.exporters (id, sampling_rate, sampling_instead, sampling_from) values ($1, $2, $3, $4)",
			int32(s.exporter), int32(s.rate), s.instead, from); err != nil {
			t.Fatal(err)
		}
	}
}

// The law of rates that people say: flows and roll-ups agree on every scaled sum, before
// they are settled and after, of rows that were stored long ago; and when the rates are
// taken back all is as it was. Flows that last across the begin of a rate, of which the two
// think differently, are left out.
func TestRatesThatPeopleSay(t *testing.T) {
	ctx := context.Background()
	begin, other := storetest.Noon+13*flow.Minute, storetest.Noon-2*flow.Hour
	for _, c := range []struct {
		name            string
		keep, few, most int
	}{{"nothing is cut", 1000, 1000, 1000}, {"cut", 6, 2, 100_000}} {
		t.Run(c.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(21, uint64(c.keep)))
			db, _, conn := storetest.Open(t)
			for id := range 2 {
				if _, err := conn.Exec(ctx, "insert into parts.exporter (id, observation_domain, first_seen, addr, label) values ($1, $2, now(), '192.0.2.1', '')", id+1, int64(id)); err != nil {
					t.Fatal(err)
				}
			}
			recs := slices.DeleteFunc(storetest.Flows(rnd, 900), func(r flow.Record) bool {
				return r.Start < begin && begin < r.End || r.Start < other && other < r.End
			})
			w := ingest.NewWriter(db, ingest.WriterConfig{})
			now := storetest.Noon + flow.Day + flow.Hour
			config := storetest.SmallKeeper(c.keep, c.few, c.most, 400, func() time.Time { return now.Time() })
			k := keeper.New(db, config)
			a := answer.New(db)

			sources := make(map[string]int)
			ask := func(stage string, stored int, said []saidRate, n int) {
				t.Helper()
				say(t, conn, said)
				for range n {
					q := randomQuestion(t, rnd)
					q.Scaled = rnd.IntN(4) > 0
					if rnd.IntN(3) == 0 {
						q.Filter = storetest.ParseFilter(t, []string{"sampling 10", "sampling 100 and proto tcp", "not sampling > 0", "exporter ip 192.0.2.1"}[rnd.IntN(4)])
					}
					got, err := a.Top(ctx, q)
					if err != nil {
						t.Fatalf("%s: %+v (%s): %v", stage, q, q.Filter, err)
					}
					sources[got.Source]++
					checkPlan(t, stage, db, q, got)
					checkStatement(t, stage, conn, got)
					if t.Failed() {
						return
					}
				}
				// All of it, by the law in Go.
				q := query.Question{From: (storetest.Noon - flow.Day).Time(), To: (storetest.Noon + flow.Day).Time(), Keys: []query.Key{query.KeyProtocol}, Scaled: true}
				var want query.Sums
				for i := range recs[:stored] {
					r := &recs[i]
					rate := rateOf(r, said)
					want = want.Plus(query.Sums{Flows: 1, Packets: int64(r.Packets) * rate, Bytes: int64(r.Bytes) * rate})
				}
				for _, q.Raw = range []bool{false, true} {
					got, err := a.Top(ctx, q)
					if err != nil {
						t.Fatal(err)
					}
					if got.Total != want {
						t.Errorf("%s: from %s %+v, want %+v", stage, got.Source, got.Total, want)
					}
				}
				q.Raw = false
				for _, q.Step = range []time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour} {
					got, err := a.Series(ctx, q)
					if err != nil {
						t.Fatal(err)
					}
					raw := q
					raw.Raw = true
					want, err := a.Series(ctx, raw)
					if err != nil {
						t.Fatal(err)
					}
					if d := gocmp.Diff(want.Total, got.Total); d != "" {
						t.Errorf("%s: series by %v of %s (-want +got):\n%s", stage, q.Step, got.Source, d)
					}
				}
				var packets, bytes int64
				if err := conn.QueryRow(ctx, "select sum(packets_scaled)::bigint, sum(bytes_scaled)::bigint from flows").Scan(&packets, &bytes); err != nil {
					t.Fatal(err)
				}
				if packets != want.Packets || bytes != want.Bytes {
					t.Errorf("%s: flows have %d packets, %d bytes, want %+v", stage, packets, bytes, want)
				}
			}
			always := []saidRate{{1, 10, true, 0}, {2, 7, false, 0}}
			changed := []saidRate{{1, 10, true, begin}, {2, 10, false, other}}
			storetest.WriteAll(t, w, recs[:600], 130)
			ask("nothing is summed", 600, always, 4)
			if err := storetest.SumOnly(ctx, db, config); err != nil {
				t.Fatal(err)
			}
			ask("nothing is settled", 600, changed, 12)
			if err := k.Sum(ctx); err != nil {
				t.Fatal(err)
			}
			ask("settled, nobody says a rate", 600, nil, 6)
			before := scaledSums(t, conn)
			ask("settled, always", 600, always, 25)
			if gocmp.Equal(before, scaledSums(t, conn)) {
				t.Error("rates that people say change no sum")
			}
			ask("settled, from a time on", 600, changed, 25)
			say(t, conn, nil)
			if d := gocmp.Diff(before, scaledSums(t, conn)); d != "" {
				t.Errorf("the rates are taken back (-before +after):\n%s", d)
			}
			// A statement that was printed before is right about rates that are said later.
			day := query.Question{From: (storetest.Noon - 12*flow.Hour).Time(), To: (storetest.Noon + 12*flow.Hour).Time(), Keys: []query.Key{query.KeyProtocol}, Scaled: true}
			printed, err := a.Top(ctx, day)
			if err != nil {
				t.Fatal(err)
			}
			say(t, conn, changed)
			later, err := a.Top(ctx, day)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(later.Plan, "traffic_1m") <= strings.Count(printed.Plan, "traffic_1m") || printed.Total == later.Total {
				t.Errorf("from %s %+v, then from %s %+v", printed.Plan, printed.Total, later.Plan, later.Total)
			}
			later.SQL = printed.SQL
			checkStatement(t, "printed before", conn, later)
			storetest.WriteAll(t, w, recs[600:], 50)
			ask("late and not summed", len(recs), changed, 12)
			for _, want := range []string{"traffic_1d", "traffic_1h", "traffic_1m", "flows"} {
				if !slices.ContainsFunc(slices.Collect(maps.Keys(sources)), func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("%s was never read: %v", want, sources)
				}
			}
			t.Log(sources)
		})
	}
}

// scaledSums are the scaled sums of flows and of each roll-up, by exporter and rate.
func scaledSums(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(context.Background(), `
		select concat_ws(' ', 'flows', exporter_id, sampling_rate, sum(bytes_scaled)) from flows group by exporter_id, sampling_rate
		union all select concat_ws(' ', '1m', exporter_id, sampling_rate, announced_rate, sum(bytes * coalesce(sampling_rate, 1))) from traffic_1m where dimension = 'total' group by exporter_id, sampling_rate, announced_rate
		union all select concat_ws(' ', '1h', exporter_id, sampling_rate, announced_rate, sum(bytes * coalesce(sampling_rate, 1))) from traffic_1h where dimension = 'total' group by exporter_id, sampling_rate, announced_rate
		union all select concat_ws(' ', '1d', exporter_id, sampling_rate, announced_rate, sum(bytes * coalesce(sampling_rate, 1))) from traffic_1d where dimension = 'total' group by exporter_id, sampling_rate, announced_rate
		order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is known of rates goes by the range that is asked for, and by what the collector was
// told.
func TestSamplingOfARange(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	do := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), storetest.Flows(rand.New(rand.NewPCG(1, 2)), 20), 20)
	do("insert into parts.exporter (id, observation_domain, first_seen, addr, label) values (1, 0, now(), '192.0.2.1', '')")
	do(`insert into exporter_status (exporter_id, version, first_seen, last_seen, updated_at, clock_offset_ms, datagrams, records, packets, bytes, templates)
		values (1, 10, now(), now(), now(), 0, 0, 0, 0, 0, 0)`)
	ask := func(from, to flow.Time, want string) {
		t.Helper()
		got, err := answer.New(db).Top(ctx, query.Question{From: from.Time(), To: to.Time(), Keys: []query.Key{query.KeyProtocol}})
		if err != nil {
			t.Fatal(err)
		}
		if got.Sampling != want {
			t.Errorf("%v to %v: sampling is %s, want %s", from.Time(), to.Time(), got.Sampling, want)
		}
	}
	noon := storetest.Noon
	for _, c := range []struct {
		announced, told any
		override        bool
		said            []saidRate
		want            [3]string // before the rate begins, across, after
	}{
		{nil, nil, false, nil, [3]string{"unknown", "unknown", "unknown"}},
		{1, nil, false, nil, [3]string{"none", "none", "none"}},
		{nil, 100, false, nil, [3]string{"known", "known", "known"}},
		{1, 100, false, nil, [3]string{"none", "none", "none"}},
		{1, 100, true, nil, [3]string{"known", "known", "known"}},
		{nil, nil, false, []saidRate{{1, 10, true, noon}}, [3]string{"unknown", "mixed", "known"}},
		{1, nil, false, []saidRate{{1, 10, true, noon}}, [3]string{"none", "mixed", "known"}},
		{1, nil, false, []saidRate{{1, 10, false, noon}}, [3]string{"none", "none", "none"}},
		{nil, 100, true, []saidRate{{1, 1, true, 0}}, [3]string{"none", "none", "none"}},
		{nil, nil, false, []saidRate{{1, 10, false, noon}}, [3]string{"unknown", "mixed", "known"}},
	} {
		do("update exporter_status set sampling_rate = $1, configured_rate = $2, sampling_override = $3", c.announced, c.told, c.override)
		say(t, conn, c.said)
		ask(noon-flow.Hour, noon, c.want[0])
		ask(noon-flow.Hour, noon+flow.Hour, c.want[1])
		ask(noon, noon+flow.Hour, c.want[2])
	}
}

// A question that asks for no rate does not read what people say, whatever it is read from.
func TestRatesCostNothingUnasked(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), storetest.Flows(rand.New(rand.NewPCG(3, 4)), 400), 130)
	k := keeper.New(db, storetest.SmallKeeper(25, 4, 100_000, 400, storetest.At(storetest.Noon+3*flow.Day)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []bool{false, true} {
		for _, keys := range [][]query.Key{{query.KeySrcAddr}, {query.KeyAddr}, {query.KeyProtocol}, {query.KeySrcAddr, query.KeyDstAddr}} {
			for _, text := range []string{"", "src ip 10.0.0.1", "sampling 100"} {
				for _, scaled := range []bool{false, true} {
					q := query.Question{From: (storetest.Noon - flow.Day + 1).Time(), To: (storetest.Noon + flow.Day).Time(), Keys: keys, Raw: raw, Scaled: scaled, Filter: storetest.ParseFilter(t, text)}
					got, err := answer.New(db).Top(ctx, q)
					if err != nil {
						t.Fatal(err)
					}
					rows, err := conn.Query(ctx, "explain "+got.SQL)
					if err != nil {
						t.Fatal(err)
					}
					lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
					if err != nil {
						t.Fatal(err)
					}
					plan := strings.Join(lines, "\n")
					// console.exporters is scanned under the name that the views give it.
					if joins := strings.Contains(plan, " on exporters "); joins != (scaled || text == "sampling 100") {
						t.Errorf("%s, %q, scaled %v, from %s: reads console.exporters: %v\n%s", query.JoinKeys(keys), text, scaled, got.Source, joins, plan)
					}
				}
			}
		}
	}
}
