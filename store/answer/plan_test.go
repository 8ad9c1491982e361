package answer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

var (
	planKeys = [][]query.Key{
		{query.KeySrcAddr}, {query.KeyDstAddr}, {query.KeyAddr}, {query.KeySrcPort}, {query.KeyDstPort}, {query.KeyPort},
		{query.KeyProtocol}, {query.KeyExporter}, {query.KeyInIf}, {query.KeyOutIf}, {query.KeyInterface}, {query.KeySrcAS}, {query.KeyDstAS},
		{query.KeySrcAddr, query.KeyDstAddr}, {query.KeyDstAddr, query.KeySrcAddr}, {query.KeySrcAddr, query.KeyProtocol},
		{query.KeyExporter, query.KeyInIf}, {query.KeyInIf, query.KeyProtocol}, {query.KeyExporter, query.KeyInterface}, {query.KeyExporter, query.KeySrcAddr}, {query.KeyAddr, query.KeyProtocol}, {query.KeySrcAddr, query.KeyDstPort}, {"src-addr/28/120"},
	}
	planFilters = []string{
		"", "", "", "proto tcp", "not proto udp", "proto tcp or proto icmp", "exporter id 1", "exporter id 1 and proto udp", "exporter edge", "not exporter edge and proto tcp",
		"sampling 100", "src ip 10.0.0.1", "dst ip 192.0.2.3", "src ip 10.0.0.2 and proto tcp", "dst port 53", "src ip 10.0.0.0/28",
		"ip 10.0.0.1", "src ip 10.0.0.1 and dst ip 192.0.2.1", "bytes > 1000", "in if 1", "not in if 1", "src ip 10.0.0.99",
		"src ip 10.0.0.1 and not proto tcp", "src as 2",
		"ip 10.0.0.2", "ip 192.0.2.1 and proto tcp", "ip 2001::3", "port 53", "port 12 and exporter id 2", "port 2048", "if 1", "if 2 and proto udp", "as 3", "as 29",
		"port 53 and ip 10.0.0.1", "not port 53", "ip 10.0.0.1 and src ip 10.0.0.1", "port 53 and port 12",
	}
)

// The law of plans: whatever the roll-ups answer, before they are settled and
// after, with flows that are late and flows that are not summed, is what the
// flows answer: totals exactly, and groups within the error that is stated.
func TestPlansAgreeWithFlows(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name            string
		keep, few, most int
	}{
		{"nothing is cut", 1000, 1000, 1000},
		{"cut when settled", 6, 2, 100_000},
		{"cut before", 6, 2, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(11, uint64(c.keep+c.most)))
			db, _, conn := storetest.Open(t)
			recs := storetest.Flows(rnd, 900)
			for i := range recs {
				if rnd.IntN(15) == 0 {
					recs[i].DstAddr = recs[i].SrcAddr
				}
			}
			w := ingest.NewWriter(db, ingest.WriterConfig{})
			now := storetest.Noon
			config := storetest.SmallKeeper(c.keep, c.few, c.most, 400, func() time.Time { return now.Time() })
			k := keeper.New(db, config)
			sources := make(map[string]int)
			exact, bounded := 0, 0
			ask := func(stage string, n int) {
				t.Helper()
				for i := range n + 6 {
					q := randomQuestion(t, rnd)
					if i >= n {
						// One column of one roll-up.
						hour := storetest.Noon - flow.Time(1+rnd.IntN(3))*flow.Hour
						q.From, q.To = (hour + flow.Minute).Time(), (hour + 50*flow.Minute).Time()
						if i%2 == 0 {
							q.From, q.To = hour.Time(), (hour + flow.Hour).Time()
						}
						q.Keys, q.Filter, q.Scaled = planKeys[[]int{0, 1, 3, 4, 8, 9}[i-n]], storetest.ParseFilter(t, ""), false
					}
					got, err := answer.New(db).Top(ctx, q)
					if err != nil {
						t.Fatalf("%s: %+v (%s): %v", stage, q, q.Filter, err)
					}
					sources[got.Source]++
					if got.Source != "flows" && got.Exact {
						exact++
					}
					checkPlan(t, stage, db, q, got)
					checkStatement(t, stage, conn, got)
					if checkErrors(t, stage, conn, q, got) {
						bounded++
					}
					if t.Failed() {
						return
					}
				}
			}
			storetest.WriteAll(t, w, recs[:500], 130)
			ask("nothing is summed", 5)
			if err := storetest.SumOnly(ctx, db, config); err != nil {
				t.Fatal(err)
			}
			ask("nothing is settled", 12)
			now = storetest.Noon + 90*flow.Minute
			storetest.WriteAll(t, w, recs[500:700], 50)
			ask("some are not summed", 12)
			now = storetest.Noon + flow.Day + flow.Hour
			if err := k.Sum(ctx); err != nil {
				t.Fatal(err)
			}
			ask("settled", 25)
			storetest.WriteAll(t, w, recs[700:800], 50)
			ask("late and not summed", 10)
			if err := storetest.SumOnly(ctx, db, config); err != nil {
				t.Fatal(err)
			}
			storetest.WriteAll(t, w, recs[800:], 50)
			ask("late and not settled", 12)
			now += 800 * flow.Day
			if err := k.Sum(ctx); err != nil {
				t.Fatal(err)
			}
			ask("settled again", 25)
			for _, want := range []string{"traffic_1d", "traffic_1h", "traffic_1m", "flows"} {
				n := 0
				for s, times := range sources {
					if strings.Contains(s, want) {
						n += times
					}
				}
				if n == 0 {
					t.Errorf("%s was never read: %v", want, sources)
				}
			}
			if exact == 0 {
				t.Error("no roll-up was ever exact")
			}
			t.Log(sources, "exact", exact, "errors computed", bounded)
			if c.keep < 1000 && bounded == 0 {
				t.Error("no error was ever computed")
			}
		})
	}
}

// checkStatement runs the statement that people are given, which sums everything
// in one: it must give what was put together from several.
func checkStatement(t *testing.T, stage string, conn *pgx.Conn, got *query.Top) {
	t.Helper()
	rows, err := conn.Query(context.Background(), got.SQL)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var total, other query.Sums
	var listed []query.Sums
	var groups int64
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		number := func(back int) int64 { n, _ := values[len(values)-back].(int64); return n }
		sums := query.Sums{Flows: number(4), Packets: number(3), Bytes: number(2)}
		switch values[0] {
		case "group":
			listed = append(listed, sums)
		case "other":
			other, groups = sums, number(1)
		case "total":
			total = sums
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v\n%s", stage, err, got.SQL)
	}
	if got.Total != total {
		t.Errorf("%s: total %+v, by its statement %+v", stage, got.Total, total)
	}
	if got.Other == nil && (groups != 0 || other != query.Sums{}) || got.Other != nil && (got.Other.Groups != groups || got.Other.Sums != other) {
		t.Errorf("%s: others %+v, by the statement %d, %+v:\n%s", stage, got.Other, groups, other, got.SQL)
	}
	for i, r := range got.Rows {
		if i >= len(listed) || r.Sums != listed[i] {
			t.Errorf("%s: %s has %+v, by the statement %+v", stage, r.Label, r.Sums, listed)
		}
	}
}

// checkErrors computes the error of each row from all rows of the roll-up: in a
// place, which is a bucket, part and cell, a value that has a row can have that
// row's own cut more than it says, and one that has none the remainder's. It does
// so where one roll-up alone was read for one column, and reports whether. A value of one
// exporter is in the places of that one alone.
func checkErrors(t *testing.T, stage string, conn *pgx.Conn, q query.Question, got *query.Top) bool {
	t.Helper()
	dimension := strings.ReplaceAll(query.JoinKeys(q.Keys), "-", "_")
	if !slices.Contains([]string{"src_addr", "dst_addr", "src_port", "dst_port", "in_if", "out_if"}, dimension) || !q.Filter.Any() || q.Scaled ||
		!slices.Contains([]string{"traffic_1m", "traffic_1h", "traffic_1d"}, got.Source) || !got.From.Equal(q.From) || !got.To.Equal(q.To) {
		return false
	}
	measure := slices.Index([]query.Measure{query.ByFlows, query.ByPackets, query.ByBytes}, q.By) + 1
	rows, err := conn.Query(context.Background(), fmt.Sprintf(`select concat_ws('|', bucket, coalesce(part, 0), exporter_id, coalesce(announced_rate, 0), protocol),
		case when $1 ~ '_if$' then exporter_id || ', ' else '' end || coalesce(host(addr), number::text, 'none'), exporter_id::text, remainder, coalesce(cut[%d], 0) from %s where dimension::text = $1 and bucket >= $2 and bucket < $3`, measure, got.Source), dimension, q.From, q.To)
	if err != nil {
		t.Fatal(err)
	}
	places := make(map[string]int64)
	own := make(map[string]map[string]int64)
	of := make(map[string]string) // the exporter of a place
	var place, value, exporter string
	var remainder bool
	var cut int64
	if _, err := pgx.ForEachRow(rows, []any{&place, &value, &exporter, &remainder, &cut}, func() error {
		if of[place] = exporter; remainder {
			places[place] += cut
			return nil
		}
		if own[value] == nil {
			own[value] = make(map[string]int64)
		}
		own[value][place] += cut
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, r := range got.Rows {
		want := int64(0)
		for place, cut := range places {
			if one, _, ok := strings.Cut(r.Label, ", "); ok && one != of[place] {
				continue
			}
			if _, ok := own[r.Label][place]; !ok {
				want += cut
			}
		}
		for _, cut := range own[r.Label] {
			want += cut
		}
		if r.Error != want {
			t.Errorf("%s: %s by %s of %s has error %d, by all rows %d", stage, r.Label, q.By, got.Source, r.Error, want)
		}
	}
	return true
}

func randomQuestion(t testing.TB, rnd *rand.Rand) query.Question {
	grid := []flow.Time{1, flow.Second, flow.Minute, flow.Minute, flow.Hour, flow.Hour, flow.Day}[rnd.IntN(7)]
	from := storetest.Noon - 8*flow.Hour + flow.Time(rnd.IntN(int(10*flow.Hour)))
	to := from + 1 + flow.Time(rnd.IntN(1<<(10+rnd.IntN(18))))
	if rnd.IntN(3) == 0 {
		from, to, grid = storetest.Noon-20*flow.Hour, storetest.Noon+26*flow.Hour, []flow.Time{flow.Day, flow.Hour}[rnd.IntN(2)]
	}
	from, to = from.Floor(grid), to.Floor(grid)+grid
	return query.Question{
		From: from.Time(), To: to.Time(), Keys: planKeys[rnd.IntN(len(planKeys))], By: []query.Measure{query.ByFlows, query.ByPackets, query.ByBytes}[rnd.IntN(3)],
		Limit: 1 + rnd.IntN(12), Filter: storetest.ParseFilter(t, planFilters[rnd.IntN(len(planFilters))]), Scaled: rnd.IntN(4) == 0,
	}
}

// checkPlan compares an answer with that of the flows.
func checkPlan(t *testing.T, stage string, db *store.DB, q query.Question, got *query.Top) {
	t.Helper()
	ctx := context.Background()
	all := q
	all.Raw, all.Limit = true, query.MaxLimit
	want, err := answer.New(db).Top(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	describe := func() string {
		return fmt.Sprintf("%s: top %s by %s, %s to %s, limit %d, filter %q, scaled %v, from %s: %s", stage, query.JoinKeys(q.Keys), q.By, q.From, q.To, q.Limit, q.Filter, q.Scaled, got.Source, strings.SplitN(got.SQL, "\n", 2)[0])
	}
	if got.Remainder == nil && got.Total != want.Total {
		t.Errorf("%s: total %+v, want %+v", describe(), got.Total, want.Total)
	}
	if q.Filter.Any() && got.Total != want.Total {
		t.Errorf("%s: total %+v, want %+v", describe(), got.Total, want.Total)
	}
	truth := make(map[string]query.TopRow)
	for _, r := range want.Rows {
		truth[r.Label] = r
	}
	listed := make(map[string]bool)
	least := int64(0)
	for i, r := range got.Rows {
		listed[r.Label] = true
		least = r.By(q.By)
		w := truth[r.Label]
		if d := w.By(q.By) - r.By(q.By); max(d, -d) > r.Error {
			t.Errorf("%s: %s has %d ± %d, in truth %d", describe(), r.Label, r.By(q.By), r.Error, w.By(q.By))
		}
		if got.Exact && (i >= len(want.Rows) || want.Rows[i].By(q.By) != r.By(q.By)) {
			t.Errorf("%s: number %d is said to be exact: %s %+v", describe(), i+1, r.Label, r.Sums)
		}
	}
	if got.Remainder == nil && len(got.Rows) < q.Limit {
		for label, r := range truth {
			if !listed[label] && r.By(q.By) > 0 {
				t.Errorf("%s: %s is missing, %d", describe(), label, r.By(q.By))
			}
		}
	}
	bound := least
	if len(got.Rows) < q.Limit {
		bound = 0
	}
	if got.Remainder != nil {
		bound += got.Remainder.Error
	}
	for label, r := range truth {
		if !listed[label] && r.By(q.By) > bound {
			t.Errorf("%s: %s has %d and is not listed, the least that is has %d, remainder %+v", describe(), label, r.By(q.By), least, got.Remainder)
		}
	}
}

// Either side is read from the roll-ups, also when a filter asks for one value of
// it: both sides, less the flows where they are equal or neither is said.
func TestEitherSide(t *testing.T) {
	ctx := context.Background()
	db, _, _ := storetest.Open(t)
	recs := storetest.Flows(rand.New(rand.NewPCG(31, 32)), 700)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 130)
	k := keeper.New(db, storetest.SmallKeeper(1000, 1000, 1000, 400, storetest.At(storetest.Noon+3*flow.Day)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, key := range []query.Key{query.KeyAddr, query.KeyPort, query.KeyInterface, query.KeyProtocol, query.KeyExporter, ""} {
		for _, f := range []string{"", "proto icmp", "ip 10.0.0.1", "ip 2001::3", "port 53", "port 0", "port 12 and proto udp", "if 1", "in if 2", "as 3"} {
			q := query.Question{From: (storetest.Noon - flow.Day).Time(), To: (storetest.Noon + flow.Day).Time(), Filter: storetest.ParseFilter(t, f), Limit: 100, Step: time.Hour}
			if key != "" {
				q.Keys = []query.Key{key}
			}
			rolled := f == "" || f == "proto icmp" || key == query.KeyProtocol || key == query.KeyExporter || key == ""
			series, err := answer.New(db).Series(ctx, q)
			if err != nil {
				t.Fatalf("%s %s: %v", key, f, err)
			}
			total := query.Sums{}
			for i := range series.Start {
				total.Flows += series.Total.Flows[i]
				total.Packets += series.Total.Packets[i]
				total.Bytes += series.Total.Bytes[i]
			}
			if rolled != (series.Source != "flows") || !series.Exact {
				t.Errorf("series %s, %q, is read from %s: %s", key, f, series.Source, series.Plan)
			}
			if key == "" {
				q.Keys = []query.Key{query.KeyProtocol}
			}
			got, err := answer.New(db).Top(ctx, q)
			if err != nil {
				t.Fatalf("%s %s: %v", key, f, err)
			}
			if total != got.Total {
				t.Errorf("%s, %q: the series' total is %+v, the ranking's %+v", key, f, total, got.Total)
			}
			if rolled != (got.Source != "flows") || !got.Exact {
				t.Errorf("%s, %q, is read from %s: %s", key, f, got.Source, got.Plan)
			}
			q.Raw = true
			want, err := answer.New(db).Top(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if d := gocmp.Diff(want.Rows, got.Rows); d != "" || want.Total != got.Total {
				t.Errorf("%s, %q: %+v, want %+v (-want +got):\n%s", key, f, got.Total, want.Total, d)
			}
			if d := gocmp.Diff(want.Other, got.Other); d != "" {
				t.Errorf("%s, %q: others (-want +got):\n%s", key, f, d)
			}
		}
	}
}

// Buckets that were summed before migration 19 do not have the flows between equal
// sides: flows are read instead, while there are any, until the days are summed
// anew; without any, the answer says that it counts them twice.
func TestEitherSideOfOldBuckets(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), storetest.Flows(rand.New(rand.NewPCG(51, 52)), 500), 130)
	k := keeper.New(db, storetest.SmallKeeper(1000, 1000, 1000, 400, storetest.At(storetest.Noon+3*flow.Day)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	do := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	since := (storetest.Noon + flow.Day).Floor(flow.Day)
	old := func() {
		for _, g := range storetest.GrainTables {
			do("delete from parts." + g.Table + " where dimension::text like 'same%'")
		}
		do("update parts.dimension set since = $1", since.Time())
	}
	from, to := since-2*flow.Day, since
	ask := func(key query.Key, raw bool) *query.Top {
		t.Helper()
		a, err := answer.New(db).Top(ctx, query.Question{From: from.Time(), To: to.Time(), Keys: []query.Key{key}, Raw: raw, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := ask(query.KeyPort, true)
	check := func(source string) {
		t.Helper()
		a := ask(query.KeyPort, false)
		if d := gocmp.Diff(want.Rows, a.Rows); d != "" || a.Source != source || !a.Exact || a.Cut != nil {
			t.Errorf("from %s, want %s: %s (-want +got):\n%s", a.Source, source, a.Plan, d)
		}
		if a := ask(query.KeySrcPort, false); a.Source != "traffic_1d" || !a.Exact {
			t.Errorf("one side is read from %s", a.Source)
		}
	}
	check("traffic_1d")
	old()
	check("flows")
	if _, err := k.Rebuild(ctx, (from + flow.Hour).Time(), (to - flow.Hour).Time()); err != nil {
		t.Fatal(err)
	}
	check("traffic_1d")
	old()
	do("insert into parts.reach (source, cut_before) values ('flows', $1)", since.Time())
	a := ask(query.KeyPort, false)
	if a.Source != "traffic_1d" || a.Exact || a.Cut == nil || !a.Cut.From.Equal(since.Time()) || a.Total != want.Total {
		t.Errorf("%+v %+v", a.Provenance, a.Total)
	}
	do("delete from parts.reach")
}

// A series adds up to the ranking of its range, from whatever it is read, and
// earlier periods are what they are when they are asked for.
func TestSeriesAgreesWithFlows(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(12, 13))
	db, _, _ := storetest.Open(t)
	recs := storetest.Flows(rnd, 700)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	now := storetest.Noon + flow.Day + flow.Hour
	k := keeper.New(db, storetest.SmallKeeper(1000, 1000, 1000, 400, func() time.Time { return now.Time() }))
	storetest.WriteAll(t, w, recs[:600], 130)
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	storetest.WriteAll(t, w, recs[600:], 50)
	sources := make(map[string]int)
	for range 40 {
		q := randomQuestion(t, rnd)
		q.Limit = 1 + rnd.IntN(5)
		q.Step = []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 3 * time.Hour, 24 * time.Hour, 10 * time.Second}[rnd.IntN(6)]
		if q.To.Sub(q.From)/q.Step > 1400 {
			q.Step = 0
		}
		if rnd.IntN(3) == 0 {
			q.Keys = nil
		}
		q.LayOver, q.Period = rnd.IntN(3), 7*24*time.Hour
		if rnd.IntN(2) == 0 {
			q.Period = 24 * time.Hour
		}
		got, err := answer.New(db).Series(ctx, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		sources[got.Source]++
		rawly := q
		rawly.Raw = true
		want, err := answer.New(db).Series(ctx, rawly)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Exact {
			t.Errorf("nothing is cut, so it should be exact: %s %q", got.SQL, q.Filter)
		}
		about := fmt.Sprintf("%s by %s, %s to %s step %v filter %q scaled %v from %s", query.JoinKeys(q.Keys), q.By, q.From, q.To, q.Step, q.Filter, q.Scaled, got.Source)
		if d := gocmp.Diff(want.Total, got.Total); d != "" {
			t.Errorf("%s: total (-want +got):\n%s", about, d)
		}
		sort := func(s *query.Series) map[string]query.Line {
			lines := make(map[string]query.Line)
			for _, l := range s.Lines {
				lines[l.Label] = l
			}
			return lines
		}
		a, b := sort(want), sort(got)
		// What is not listed, and what is, are together the same whoever is listed.
		if d := gocmp.Diff(everything(want), everything(got)); d != "" {
			t.Errorf("%s: listed and others (-want +got):\n%s", about, d)
		}
		for label, l := range b {
			if w, ok := a[label]; ok {
				if d := gocmp.Diff(w, l); d != "" {
					t.Errorf("%s: %s (-want +got):\n%s", about, label, d)
				}
			}
		}
		if q.Limit > 0 && len(got.Previous) != q.LayOver {
			t.Errorf("%d earlier periods, want %d", len(got.Previous), q.LayOver)
		}
		for i, p := range got.Previous {
			if d := gocmp.Diff(want.Previous[i].Total, p.Total); d != "" {
				t.Errorf("%s: %v earlier (-want +got):\n%s", about, p.Offset, d)
			}
		}
		if t.Failed() {
			t.Log(got.SQL)
			return
		}
	}
	t.Log(sources)
}

// everything is the sum of the lines and of what is in none.
func everything(s *query.Series) query.Line {
	n := len(s.Start)
	sum := query.Line{Flows: make([]int64, n), Packets: make([]int64, n), Bytes: make([]int64, n)}
	lines := s.Lines
	if s.Other != nil {
		lines = append(slices.Clone(lines), *s.Other)
	}
	for _, l := range lines {
		for i := range n {
			sum.Flows[i], sum.Packets[i], sum.Bytes[i] = sum.Flows[i]+l.Flows[i], sum.Packets[i]+l.Packets[i], sum.Bytes[i]+l.Bytes[i]
		}
	}
	return sum
}

// A series of one value, of which the roll-ups' remainders may hide a part, says by
// how much it may be wrong, or is read from flows.
func TestSeriesOfOneValue(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(41, 42))
	db, _, _ := storetest.Open(t)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), storetest.Flows(rnd, 900), 130)
	k := keeper.New(db, storetest.SmallKeeper(25, 4, 100_000, 400, storetest.At(storetest.Noon+3*flow.Day)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]int)
	for range 60 {
		q := query.Question{
			From: (storetest.Noon - flow.Day).Time(), To: (storetest.Noon + flow.Day).Time(), Step: []time.Duration{time.Hour, 24 * time.Hour}[rnd.IntN(2)], Limit: 20,
			Filter: storetest.ParseFilter(t, []string{"src ip 10.0.0.1", "src ip 10.0.0.20", "ip 10.0.0.0", "dst port 53", "port 53", "port 7", "dst as 2", "as 1", "if 1"}[rnd.IntN(9)]),
			By:     []query.Measure{query.ByFlows, query.ByBytes}[rnd.IntN(2)],
		}
		if key := []query.Key{"", query.KeyProtocol, query.KeyExporter, query.KeySrcAddr}[rnd.IntN(4)]; key != "" {
			q.Keys = []query.Key{key}
		}
		got, err := answer.New(db).Series(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		sources[got.Source]++
		q.Raw = true
		want, err := answer.New(db).Series(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		a, b := want.Total.Flows, got.Total.Flows
		if q.By == query.ByBytes {
			a, b = want.Total.Bytes, got.Total.Bytes
		}
		off := int64(0)
		for i := range a {
			off += a[i] - b[i]
		}
		most := int64(0)
		if got.Remainder != nil {
			most = got.Remainder.Error
		}
		if max(off, -off) > most || got.Exact && off != 0 {
			t.Errorf("%s by %s step %v filter %q from %s: %d are missing of %v, exact %v, remainder %+v: %s", query.JoinKeys(q.Keys), q.By, q.Step, q.Filter, got.Source, off, a, got.Exact, got.Remainder, got.Plan)
		}
	}
	t.Log(sources)
}

// Where retention has taken the flows, the edges of a range are rounded to the
// finest that is kept, and the answer says so; where everything is gone, it says
// from when on there is something.
func TestPlansBeyondRetention(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	recs := storetest.Flows(rand.New(rand.NewPCG(14, 15)), 400)
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 130)
	k := keeper.New(db, storetest.SmallKeeper(1000, 1000, 1000, 400, storetest.At(storetest.Noon+3*flow.Day)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	cut := func(source string, before flow.Time) {
		t.Helper()
		if _, err := conn.Exec(ctx, "insert into parts.reach (source, cut_before) values ($1, $2)", source, before.Time()); err != nil {
			t.Fatal(err)
		}
	}
	from, to := storetest.Noon+7*flow.Minute+13*flow.Second, storetest.Noon+33*flow.Minute+flow.Second
	ask := func(key query.Key, whole bool) *query.Top {
		t.Helper()
		a, err := answer.New(db).Top(ctx, query.Question{From: from.Time(), To: to.Time(), Keys: []query.Key{key}, Whole: whole})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	same := func(a *query.Top, from, to flow.Time) {
		t.Helper()
		if !a.From.Equal(from.Time()) || !a.To.Equal(to.Time()) {
			t.Errorf("%v to %v was answered, want %v to %v", a.From, a.To, from.Time(), to.Time())
		}
		want := expect(recs, query.Question{From: from.Time(), To: to.Time(), Keys: []query.Key{query.KeyProtocol}})
		if a.Total != want.total {
			t.Errorf("%s: total %+v, want %+v", a.Plan, a.Total, want.total)
		}
	}
	if a := ask(query.KeyProtocol, false); !a.Exact || a.Cut != nil {
		t.Errorf("%+v", a.Provenance)
	} else {
		same(a, from, to)
	}
	cut("flows", storetest.Noon+flow.Day)
	if a := ask(query.KeyProtocol, false); a.Exact || a.Resolution != "60 s" || a.Source != "traffic_1m" {
		t.Errorf("%+v", a.Provenance)
	} else {
		same(a, from.Floor(flow.Minute), to.Floor(flow.Minute)+flow.Minute)
	}
	if a := ask(query.KeyTOS, false); a.Exact || a.Cut == nil || !a.Cut.From.Equal((storetest.Noon + flow.Day).Time()) {
		t.Errorf("%+v", a.Provenance)
	}
	if a := ask(query.KeyProtocol, true); a.Exact || a.Cut == nil {
		t.Errorf("%+v", a.Provenance)
	}
	cut("traffic_1m", storetest.Noon+flow.Day)
	if a := ask(query.KeyProtocol, false); a.Exact || a.Resolution != "3600 s" || a.Source != "traffic_1h" {
		t.Errorf("%+v", a.Provenance)
	} else {
		same(a, from.Floor(flow.Hour), to.Floor(flow.Hour)+flow.Hour)
	}
	cut("traffic_1h", storetest.Noon+flow.Day)
	if a := ask(query.KeyProtocol, false); a.Exact || a.Resolution != "86400 s" || a.Source != "traffic_1d" {
		t.Errorf("%+v", a.Provenance)
	}
	cut("traffic_1d", storetest.Noon+flow.Day)
	if a := ask(query.KeyProtocol, false); a.Exact || a.Cut == nil {
		t.Errorf("%+v", a.Provenance)
	}
}
