package answer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// atNights moves flows to the nights around 2025-10-26, when a day in Berlin had 25 hours.
func atNights(rnd *rand.Rand, recs []flow.Record) []flow.Record {
	first := flow.TimeOf(time.Date(2025, 10, 17, 21, 30, 0, 0, time.UTC))
	for i := range recs {
		night := first + flow.Time(rnd.IntN(11))*flow.Day + flow.Time(rnd.IntN(6))*flow.Hour
		by := night - storetest.Noon
		recs[i].Start, recs[i].End, recs[i].Received = recs[i].Start+by, recs[i].End+by, recs[i].Received+by
	}
	return recs
}

// The law: a bucket of a series in a zone is what a question about the time from its begin
// to the next one's gives, from roll-ups or from flows, and psql gives the same.
func TestSeriesInZones(t *testing.T) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(5, 26))
	db, _, reader := storetest.Open(t)
	recs := atNights(rnd, storetest.Flows(rnd, 900))
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 300)
	now := flow.TimeOf(time.Date(2025, 11, 3, 0, 0, 0, 0, time.UTC))
	if err := keeper.New(db, storetest.SmallKeeper(0, 0, 0, 400, storetest.At(now))).Sum(ctx); err != nil {
		t.Fatal(err)
	}
	a := answer.New(db)
	type part struct {
		from, to flow.Time
		whole    bool
	}
	parts := make(map[part]query.Sums)
	for _, test := range []struct {
		zone, from, to, step, period string
		buckets                      int
		source                       string // of the roll-ups
	}{
		{"UTC", "2025-10-24", "2025-10-28", "1d", "1w", 4, "traffic_1d"},
		{"Europe/Berlin", "2025-10-24", "2025-10-28", "1d", "1w", 4, "traffic_1h"},
		{"Europe/Berlin", "2025-10-26", "2025-10-27", "1d", "", 1, "traffic_1h"},
		{"Europe/Berlin", "2025-10-24 12:00", "2025-10-27 12:00", "2d", "2d", 3, "traffic_1h"},
		{"Europe/Berlin", "2025-10-20", "2025-10-28", "1w", "1w", 2, "traffic_1h"},
		{"Europe/Berlin", "2025-10-01", "2025-12-01", "1mo", "1mo", 2, "traffic_1h"},
		{"Europe/Berlin", "2025-10-26", "2025-10-27", "1h", "1d", 25, "traffic_1h"},
		{"Europe/Berlin", "2025-10-27", "2025-10-28", "1h", "1d", 24, "traffic_1h"},
		{"Europe/Berlin", "2025-10-27 00:00", "2025-10-27 04:00", "20m", "1d", 12, "traffic_1m"},
		{"Europe/Berlin", "2025-10-24", "2025-10-27", "6h", "3d", 13, "traffic_1h"},
		{"Asia/Kolkata", "2025-10-24", "2025-10-28", "1d", "1w", 4, "traffic_1m"},
		{"Asia/Kolkata", "2025-10-26", "2025-10-27", "1h", "1d", 24, "traffic_1m"},
		{"America/New_York", "2025-10-24", "2025-11-03", "1d", "1w", 10, "traffic_1h"},
		{"UTC", "2025-10-01", "2025-11-01", "1mo", "1mo", 1, "traffic_1d"},
	} {
		for n := range 6 {
			zone, err := query.ParseZone(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			q := query.Question{Zone: zone, Limit: 3, By: query.ByBytes, Raw: n%2 == 1, Whole: n == 2 || n == 3, MaxBuckets: query.MaxBuckets}
			if n > 3 {
				q.Keys = []query.Key{query.KeySrcAddr}
			}
			if q.From, q.To, err = query.ParseRange(test.from, test.to, now.Time().In(zone)); err != nil {
				t.Fatal(err)
			}
			if q.Step, q.StepMonths, err = query.ParseStep(test.step); err != nil {
				t.Fatal(err)
			}
			if test.period != "" {
				q.LayOver = 1
				if q.Period, q.PeriodMonths, err = query.ParseStep(test.period); err != nil {
					t.Fatal(err)
				}
			}
			about := fmt.Sprintf("%s, %s to %s by %s, raw %v, whole %v, by %s", test.zone, test.from, test.to, test.step, q.Raw, q.Whole, query.JoinKeys(q.Keys))
			got, err := a.Series(ctx, q)
			if err != nil {
				t.Errorf("%s: %v", about, err)
				continue
			}
			if len(got.Start) != test.buckets {
				t.Errorf("%s: %d buckets, want %d: %v", about, len(got.Start), test.buckets, got.Start)
			}
			if !q.Raw && !q.Whole && !strings.Contains(got.Source, test.source) {
				t.Errorf("%s: from %s, not %s", about, got.Source, test.source)
			}
			if test.zone != "UTC" && !strings.Contains(got.Command, "--zone "+test.zone) {
				t.Errorf("%s: asked for by %s", about, got.Command)
			}
			sums := func(from, to time.Time) query.Sums {
				if !from.Before(to) {
					return query.Sums{}
				}
				of := part{flow.TimeOf(from), flow.TimeOf(to), q.Whole}
				if _, ok := parts[of]; !ok {
					top, err := a.Top(ctx, query.Question{From: from, To: to, Keys: []query.Key{query.KeyProtocol}, Whole: q.Whole, Raw: true})
					if err != nil {
						t.Fatal(err)
					}
					parts[of] = top.Total
				}
				return parts[of]
			}
			for i, start := range got.Start {
				end := q.To
				if i+1 < len(got.Start) {
					end = got.Start[i+1]
				}
				from, to := later(start, q.From), earlier(end, q.To)
				if want := sums(from, to); sumsAt(got.Total, i) != want {
					t.Errorf("%s: %v to %v has %v, want %v\n%s", about, from, to, sumsAt(got.Total, i), want, got.SQL)
				}
			}
			if q.LayOver > 0 {
				p := got.Previous[0]
				var all query.Sums
				for i := range got.Start {
					all = add(all, sumsAt(p.Total, i))
				}
				clock := func(at time.Time) time.Time {
					at = at.In(zone)
					if q.PeriodMonths > 0 {
						return at.AddDate(0, -q.PeriodMonths, 0)
					}
					return at.AddDate(0, 0, -int(q.Period/(24*time.Hour)))
				}
				if want := sums(clock(q.From), clock(q.To)); all != want {
					t.Errorf("%s: %s before was %v, want %v of %v to %v", about, test.period, all, want, clock(q.From), clock(q.To))
				}
			}
			people := make([]query.Sums, len(got.Start))
			for _, row := range run(t, reader, got.SQL) {
				if row["line"] != "total" {
					continue
				}
				for i, start := range got.Start {
					if start.Format("2006-01-02 15:04:05+00") == row["bucket"] {
						fmt.Sscan(row["flows"]+" "+row["packets"]+" "+row["bytes"], &people[i].Flows, &people[i].Packets, &people[i].Bytes)
					}
				}
			}
			for i := range people {
				if people[i] != sumsAt(got.Total, i) {
					t.Errorf("%s: psql has %v in bucket %d, not %v\n%s", about, people[i], i, sumsAt(got.Total, i), got.SQL)
				}
			}
		}
	}

	// The hours of a day of 25, by the clock.
	berlin, _ := query.ParseZone("Europe/Berlin")
	q := query.Question{Zone: berlin}
	var err error
	if q.From, q.To, err = query.ParseRange("2025-10-25", "2025-10-27", now.Time().In(berlin)); err != nil {
		t.Fatal(err)
	}
	m, err := a.HeatMap(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	var days []string
	for _, day := range m.Days {
		days = append(days, day.Format(time.DateOnly))
	}
	if d := gocmp.Diff([]string{"2025-10-25", "2025-10-26"}, days); d != "" {
		t.Error(d)
	}
	two := query.Question{From: time.Date(2025, 10, 26, 0, 0, 0, 0, time.UTC), To: time.Date(2025, 10, 26, 2, 0, 0, 0, time.UTC), Keys: []query.Key{query.KeyProtocol}}
	top, err := a.Top(ctx, two)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Cells[1][2]; got == nil || *got != top.Total.Flows || *got == 0 {
		t.Errorf("two o'clock, twice, had %v flows, want %d", got, top.Total.Flows)
	}
}
