package answer_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"flowtally/query"
	"flowtally/store"
	"flowtally/store/answer"
	"flowtally/store/storetest"
)

// asked is how long a question of a kind took, each time.
type asked struct {
	kind, name string
	took       []time.Duration // sorted
	from       string
	exact      bool
}

func (a *asked) at(percent int) time.Duration { return a.took[(len(a.took)-1)*percent/100] }

// milliseconds with a tenth where it matters.
func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f", d.Seconds()*1000)
	}
	return fmt.Sprint(d.Milliseconds())
}

// TestAskForBench is how deploy/bench-store.sh times our side: every question of
// a dashboard, over and over, in this process, on the database that
// TestLoadForBench filled. It prints each as it is done, and then, of each range,
// the middle and the 95th of a hundred, and the slowest questions. A question is
// asked five times, or, when it is slow, until it has had three seconds.
//
// FLOWTALLY_BENCH_DAYS says that the day's roll-ups are there for the 29 days
// before, too.
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
	// The page's relative ranges begin and end with minutes.
	day, minutes, ragged := 24*time.Hour, 17*time.Minute, 17*time.Minute+13*time.Second
	ranges := []struct {
		name     string
		from, to time.Time
		step     time.Duration // of a series of many lines
	}{
		{"1 h", end.Add(-10 * time.Hour), end.Add(-9 * time.Hour), time.Minute},
		{"1 h to the minute", end.Add(-10*time.Hour + minutes), end.Add(-9*time.Hour + minutes), time.Minute},
		{"1 h ragged", end.Add(-10*time.Hour + ragged), end.Add(-9*time.Hour + ragged), time.Minute},
		{"24 h", end.Add(-day), end, 5 * time.Minute},
		{"24 h to the minute", end.Add(-day + minutes), end.Add(-minutes), 5 * time.Minute},
		{"24 h ragged", end.Add(-day + ragged), end.Add(-ragged), 5 * time.Minute},
		{"30 days", end.Add(-30 * day), end, day},
	}
	if os.Getenv("FLOWTALLY_BENCH_DAYS") == "" {
		ranges = ranges[:6]
	}
	keys := []string{"src-addr", "dst-addr", "addr", "src-port", "dst-port", "port", "protocol", "exporter", "in-if", "out-if", "interface", "src-addr,dst-addr"}
	var all []*asked
	fmt.Printf("%-18s %-44s %8s %8s  %s\n", "range", "question", "p50/ms", "p95/ms", "read from")
	for _, r := range ranges {
		ask := func(name string, f func() (query.Provenance, error)) {
			a := &asked{kind: r.name, name: strings.TrimSpace(name)}
			for began := time.Now(); len(a.took) < 5 && (len(a.took) == 0 || time.Since(began) < 3*time.Second); {
				p, err := f()
				if err != nil {
					t.Errorf("%s, %s: %v", r.name, name, err)
					return
				}
				a.took = append(a.took, p.Took)
				a.from, a.exact = p.Source, p.Exact
			}
			slices.Sort(a.took)
			all = append(all, a)
			exact := ""
			if !a.exact {
				exact = ", ±"
			}
			fmt.Printf("%-18s %-44s %8s %8s  %s%s\n", r.name, a.name, milliseconds(a.at(50)), milliseconds(a.at(95)), a.from, exact)
		}
		series := func(name string, q query.Question) {
			ask("series "+name, func() (query.Provenance, error) {
				a, err := answer.New(db).Series(ctx, q)
				if err != nil {
					return query.Provenance{}, err
				}
				return a.Provenance, nil
			})
		}
		q := query.Question{From: r.from, To: r.to, Timeout: time.Minute}
		for _, filter := range []string{"", "proto udp"} {
			q := q
			q.Filter = storetest.ParseFilter(t, filter)
			for _, by := range []query.Measure{query.ByFlows, query.ByPackets, query.ByBytes} {
				for _, key := range keys {
					q := q
					q.By = by
					q.Keys, _ = query.ParseKeys(key)
					ask(fmt.Sprintf("top %s by %s %s", key, by, filter), func() (query.Provenance, error) {
						a, err := answer.New(db).Top(ctx, q)
						if err != nil {
							return query.Provenance{}, err
						}
						return a.Provenance, nil
					})
				}
			}
			series(filter, q)
			ask("summary "+filter, func() (query.Provenance, error) {
				a, err := answer.New(db).Summary(ctx, q)
				if err != nil {
					return query.Provenance{}, err
				}
				return a.Provenance, nil
			})
		}
		for _, key := range []string{"protocol", "exporter", "dst-port"} {
			q := q
			q.Keys, _ = query.ParseKeys(key)
			series("by "+key, q)
		}
		lines := q
		lines.Keys, lines.Limit, lines.Step, lines.By = []query.Key{query.KeySrcAddr}, 20, r.step, query.ByBytes
		series(fmt.Sprintf("of 20 src-addr, steps of %v", r.step), lines)
		ask("share", func() (query.Provenance, error) {
			a, err := answer.New(db).Share(ctx, q)
			if err != nil {
				return query.Provenance{}, err
			}
			return a.Provenance, nil
		})
	}
	fmt.Printf("\n%-18s %10s %8s %8s %8s\n", "RESULTS", "questions", "p50/ms", "p95/ms", "worst/ms")
	for _, r := range ranges {
		sum := asked{}
		n := 0
		for _, a := range all {
			if a.kind == r.name {
				sum.took = append(sum.took, a.took...)
				n++
			}
		}
		if n == 0 {
			continue
		}
		slices.Sort(sum.took)
		fmt.Printf("%-18s %10d %8s %8s %8s\n", r.name, n, milliseconds(sum.at(50)), milliseconds(sum.at(95)), milliseconds(sum.at(100)))
	}
	slices.SortFunc(all, func(a, b *asked) int { return int(b.at(50) - a.at(50)) })
	fmt.Println("\nthe slowest, by the middle of each")
	for _, a := range all[:min(10, len(all))] {
		fmt.Printf("%-18s %-44s %8s %8s  %s\n", a.kind, a.name, milliseconds(a.at(50)), milliseconds(a.at(95)), a.from)
	}
}
