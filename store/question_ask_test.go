package store_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"flowtally/store"
)

// TestAskForBench is how deploy/bench-store.sh times our side: every question of
// a dashboard, over and over, in turns, on the database that TestLoadForBench
// filled. It prints the middle and the 95th of a hundred of each kind.
func TestAskForBench(t *testing.T) {
	dsn := os.Getenv("FLOWTALLY_BENCH_ASK")
	if dsn == "" {
		t.Skip("FLOWTALLY_BENCH_ASK names no database: deploy/bench-store.sh does")
	}
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	end := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	day, ragged := 24*time.Hour, 17*time.Minute+13*time.Second
	ranges := []struct {
		name     string
		from, to time.Time
	}{
		{"1 h", end.Add(-10 * time.Hour), end.Add(-9 * time.Hour)},
		{"1 h ragged", end.Add(-10*time.Hour + ragged), end.Add(-9*time.Hour + ragged)},
		{"24 h", end.Add(-day), end},
		{"24 h ragged", end.Add(-day + ragged), end.Add(-ragged)},
		{"30 days", end.Add(-30 * day), end},
	}
	if os.Getenv("FLOWTALLY_BENCH_DAYS") == "" {
		ranges = ranges[:4]
	}
	keys := []string{"src-addr", "dst-addr", "addr", "src-port", "dst-port", "port", "protocol", "exporter", "in-if", "out-if", "interface", "src-addr,dst-addr"}
	type timed struct {
		name  string
		took  []time.Duration
		from  string
		exact bool
	}
	fmt.Printf("%-12s %-34s %8s %8s  %s\n", "range", "question", "p50/ms", "p95/ms", "read from")
	for _, r := range ranges {
		var all []*timed
		ask := func(name string, f func() (store.Provenance, error)) {
			one := &timed{name: name}
			for range 7 {
				p, err := f()
				if err != nil {
					t.Errorf("%s, %s: %v", r.name, name, err)
					return
				}
				one.took = append(one.took, p.Took)
				one.from, one.exact = p.Source, p.Exact
			}
			all = append(all, one)
		}
		q := store.Question{From: r.from, To: r.to, Timeout: 5 * time.Minute}
		for _, filter := range []string{"", "proto udp"} {
			q := q
			q.Filter = parseFilter(t, filter)
			for _, by := range []store.Measure{store.ByFlows, store.ByPackets, store.ByBytes} {
				for _, key := range keys {
					q := q
					q.By = by
					q.Keys, _ = store.ParseKeys(key)
					ask(fmt.Sprintf("top %s by %s %s", key, by, filter), func() (store.Provenance, error) {
						a, err := db.Top(ctx, q)
						if err != nil {
							return store.Provenance{}, err
						}
						return a.Provenance, nil
					})
				}
			}
			ask("series "+filter, func() (store.Provenance, error) {
				a, err := db.Series(ctx, q)
				if err != nil {
					return store.Provenance{}, err
				}
				return a.Provenance, nil
			})
		}
		byProtocol := q
		byProtocol.Keys = []store.Key{store.KeyProtocol}
		ask("series by protocol", func() (store.Provenance, error) {
			a, err := db.Series(ctx, byProtocol)
			if err != nil {
				return store.Provenance{}, err
			}
			return a.Provenance, nil
		})
		ask("share", func() (store.Provenance, error) {
			a, err := db.Share(ctx, q)
			if err != nil {
				return store.Provenance{}, err
			}
			return a.Provenance, nil
		})
		var sum []time.Duration
		for _, one := range all {
			slices.Sort(one.took)
			sum = append(sum, one.took...)
			exact := ""
			if !one.exact {
				exact = ", ±"
			}
			fmt.Printf("%-12s %-34s %8d %8d  %s%s\n", r.name, one.name, one.took[len(one.took)/2].Milliseconds(), one.took[len(one.took)-1].Milliseconds(), one.from, exact)
		}
		slices.Sort(sum)
		fmt.Printf("%-12s %-34s %8d %8d\n", r.name, "all of these", sum[len(sum)/2].Milliseconds(), sum[len(sum)*95/100].Milliseconds())
	}
}
