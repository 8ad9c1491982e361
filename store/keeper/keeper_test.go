package keeper_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/rollup"
	"flowtally/store/storetest"
)

const farLater = storetest.Noon + 400*flow.Day

// The roll-ups sum the shares of flows, before they are settled and after, whatever
// the batches are.
func TestRollup(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name                   string
		keep, perCell, pending int
		exact                  bool
		late                   bool
	}{
		{"nothing is dropped", 1000, 1000, 1000, true, false},
		{"dropped when settled", 5, 2, 100_000, true, false},
		{"dropped before", 5, 2, 8, false, false},
		{"late flows", 5, 2, 100_000, false, true},
		{"late flows and nothing dropped", 1000, 1000, 1000, true, true},
	} {
		test := func(t *testing.T, handed bool) {
			db, _, conn := storetest.Open(t)
			var handoff *rollup.Handoff
			if handed {
				handoff = storetest.NewHandoff(t)
			}
			recs := storetest.Flows(rand.New(rand.NewPCG(5, 6)), 350)
			w := ingest.NewWriter(db, ingest.WriterConfig{Handoff: handoff})
			now := storetest.Noon
			k := keeper.New(db, storetest.Handing(handoff, storetest.SmallKeeper(c.keep, c.perCell, c.pending, 150, func() time.Time { return now.Time() })))
			first := recs
			if c.late {
				first = recs[:220]
			}
			storetest.WriteAll(t, w, first, 73)
			if err := keeper.SumOnly(ctx, k); err != nil {
				t.Fatal(err)
			}
			checkRollup(t, conn, "traffic_1m", expectRollup(first, flow.Minute), expectation{keep: c.keep})
			if n := storetest.Get[int](t, conn, "select count(*) from batches where summed_at is null"); n != 0 {
				t.Errorf("%d batches are not summed", n)
			}
			if c.late {
				now = farLater
				if err := k.Sum(ctx); err != nil {
					t.Fatal(err)
				}
				storetest.WriteAll(t, w, recs[220:], 100)
				if err := k.Sum(ctx); err != nil {
					t.Fatal(err)
				}
				// Late flows are seen at once, as parts, before they are settled.
				checkRollup(t, conn, "traffic_1m", expectRollup(recs, flow.Minute), expectation{keep: c.keep})
				now += flow.Hour * 24 * 365 * 10
			}
			now += 800 * flow.Day
			if err := k.Sum(ctx); err != nil {
				t.Fatal(err)
			}
			for _, g := range storetest.GrainTables {
				checkRollup(t, conn, g.Table, expectRollup(recs, g.Length), expectation{keep: c.keep, exact: c.exact, settled: true})
			}
			if n := storetest.Get[int](t, conn, "select count(*) from parts.pending"); n != 0 {
				t.Errorf("%d sums still wait", n)
			}
			if n, rows := handoff.Waiting(); n != 0 || rows != 0 {
				t.Errorf("%d batches of %d rows are kept in memory", n, rows)
			}
		}
		t.Run(c.name+", read", func(t *testing.T) { test(t, false) })
		if !c.exact {
			t.Run(c.name+", handed over", func(t *testing.T) { test(t, true) })
		}
	}
}

// A Keeper that dies between any two steps leaves nothing half done, and another
// one ends the work.
func TestKeeperThatDies(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	handoff := storetest.NewHandoff(t)
	recs := storetest.Flows(rand.New(rand.NewPCG(7, 8)), 600)
	w := ingest.NewWriter(db, ingest.WriterConfig{Handoff: handoff})
	died := errors.New("died")
	seen := make(map[string]bool)
	check := func(after string) {
		t.Helper()
		// What is marked and what is summed are the same at any time: the batches
		// that are marked make up the sums, exactly.
		marked := storetest.Get[int64](t, conn, "select coalesce(sum(records), 0) from batches where summed_at is not null")
		if summed := storetest.Get[int64](t, conn, "select coalesce(sum(flows), 0)::bigint from traffic_1m where dimension = 'pair'"); summed != marked {
			t.Fatalf("after %s %d flows are summed, %d are marked", after, summed, marked)
		}
	}
	next := 0
	for try := range 200 {
		if next < len(recs) {
			storetest.WriteAll(t, w, recs[next:min(next+50, len(recs))], 50)
			next += 50
		}
		k := keeper.New(db, storetest.Handing(handoff, storetest.SmallKeeper(5, 2, 1000, 60, storetest.At(farLater+flow.Time(try)*flow.Day*1000))))
		if try%2 == 0 {
			keeper.LimitMemory(k, 20)
		}
		left := 1 + try%9
		step := ""
		keeper.FailAfter(k, func(at string) error {
			if left--; left == 0 {
				step = at
				seen[at] = true
				return died
			}
			return nil
		})
		err := k.Sum(ctx)
		check(step)
		if err != nil && !errors.Is(err, died) {
			t.Fatal(err)
		}
		if err == nil && next >= len(recs) && storetest.Get[int](t, conn, "select count(*) from parts.pending") == 0 {
			break
		}
	}
	k := keeper.New(db, storetest.Handing(handoff, storetest.SmallKeeper(5, 2, 1000, 60, storetest.At(farLater+flow.Day*1_000_000))))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"spill", "read", "pending", "mark", "commit", "gathered", "replaced", "settled"} {
		if !seen[at] {
			t.Errorf("it never died at %q", at)
		}
	}
	for _, g := range storetest.GrainTables {
		checkRollup(t, conn, g.Table, expectRollup(recs, g.Length), expectation{keep: 5, settled: true})
	}
}

// Two Keepers at once do the work of one.
func TestTwoKeepers(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	handoff := storetest.NewHandoff(t)
	recs := storetest.Flows(rand.New(rand.NewPCG(9, 10)), 1200)
	w := ingest.NewWriter(db, ingest.WriterConfig{Handoff: handoff})
	var group sync.WaitGroup
	done := make(chan struct{})
	newKeeper := func(now flow.Time) *keeper.Keeper {
		return keeper.New(db, storetest.Handing(handoff, storetest.SmallKeeper(1000, 1000, 1000, 100, storetest.At(now))))
	}
	for range 2 {
		group.Go(func() {
			k := newKeeper(farLater)
			for {
				if err := k.Sum(ctx); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	storetest.WriteAll(t, w, recs, 40)
	close(done)
	group.Wait()
	k := newKeeper(farLater + 1000*flow.Day)
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, g := range storetest.GrainTables {
		checkRollup(t, conn, g.Table, expectRollup(recs, g.Length), expectation{keep: 1000, exact: true, settled: true})
	}
}

// A rebuild sums what was summed, also after a failure, and while batches
// wait to be summed; and the collector's role may do it.
func TestRebuild(t *testing.T) {
	ctx := context.Background()
	_, dsn, conn := storetest.Open(t)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: map[string]string{store.RoleWriter: "w"}}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, pgtest.As(t, dsn, store.RoleWriter, "w"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	recs := storetest.Flows(rand.New(rand.NewPCG(11, 12)), 300)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	newKeeper := func() *keeper.Keeper {
		return keeper.New(db, storetest.SmallKeeper(5, 2, 100_000, 100, storetest.At(farLater)))
	}
	storetest.WriteAll(t, w, recs[:200], 50)
	if err := newKeeper().Sum(ctx); err != nil {
		t.Fatal(err)
	}
	storetest.WriteAll(t, w, recs[200:], 50) // waits to be summed
	check := func(recs []flow.Record, table string, length flow.Time, exact bool) {
		t.Helper()
		checkRollup(t, conn, table, expectRollup(recs, length), expectation{keep: 5, exact: exact, settled: exact})
	}
	if _, err := conn.Exec(ctx, "update parts.traffic_1h set flows = flows + 1; delete from parts.traffic_1m where dimension = 'pair'"); err != nil {
		t.Fatal(err)
	}
	k := newKeeper()
	keeper.FailAfter(k, func(at string) error {
		if at == "rebuilt" {
			return errors.New("died")
		}
		return nil
	})
	if _, err := k.Rebuild(ctx, storetest.Noon.Time(), (storetest.Noon + 1).Time()); err == nil {
		t.Fatal("it did not die")
	}
	if n := storetest.Get[int](t, conn, "select count(*) from traffic_1m"); n == 0 {
		t.Error("half a rebuild is left")
	}
	n, err := newKeeper().Rebuild(ctx, storetest.Noon.Time(), (storetest.Noon + 1).Time())
	if err != nil {
		t.Fatal(err)
	}
	if n != 200 {
		t.Errorf("%d flows are rebuilt, want the 200 that were summed", n)
	}
	for _, g := range storetest.GrainTables {
		check(recs[:200], g.Table, g.Length, true)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.traffic join pg_class on relname = name where from_time <= $1 and to_time > $1 and reltuples < 0", storetest.Noon.Time()); n > 0 {
		t.Errorf("%d partitions have no statistics", n)
	}
	k = keeper.New(db, storetest.SmallKeeper(5, 2, 100_000, 100, storetest.At(farLater+flow.Day*1000)))
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, g := range storetest.GrainTables {
		check(recs, g.Table, g.Length, false)
	}
	if _, err := conn.Exec(ctx, "insert into parts.reach values ($1, 'flows')", storetest.Noon.Time()); err != nil {
		t.Fatal(err)
	}
	if _, err := newKeeper().Rebuild(ctx, storetest.Noon.Time(), (storetest.Noon + 1).Time()); err == nil || !strings.Contains(err.Error(), "reach back") {
		t.Errorf("a day that is not whole: %v", err)
	}
	if err := newKeeper().Tidy(ctx); err != nil {
		t.Errorf("the collector's role cannot tidy: %v", err)
	}
}

// Flows that last for hours are summed in portions, whose sums are spilled, with the result
// of one sum: flows that are read, flows that were handed over, and flows of a rebuild.
func TestSpill(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		rows   int // at once; 0: as many as there are
		handed bool
	}{{"in memory", 0, false}, {"spilled, read", 200, false}, {"spilled, handed over", 200, true}} {
		t.Run(c.name, func(t *testing.T) {
			db, _, conn := storetest.Open(t)
			var handoff *rollup.Handoff
			if c.handed {
				handoff = storetest.NewHandoff(t)
			}
			recs := storetest.Flows(rand.New(rand.NewPCG(21, 22)), 40)
			for i := range recs {
				r := &recs[i]
				if i%4 == 0 {
					r.Start = r.End - flow.Time(1+i)*5*flow.Minute - flow.Time(i)
				}
				if i%20 == 0 {
					r.Start = r.End - 13*flow.Hour
				}
			}
			storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{Handoff: handoff}), recs, 20)
			k := keeper.New(db, storetest.Handing(handoff, storetest.SmallKeeper(1000, 1000, 1000, 1_000_000, storetest.At(farLater))))
			if c.rows > 0 {
				keeper.LimitMemory(k, c.rows)
			}
			spills := 0
			keeper.OnSpill(k, func() { spills++ })
			if err := keeper.SumOnly(ctx, k); err != nil {
				t.Fatal(err)
			}
			if (spills > 2) != (c.rows > 0) {
				t.Errorf("%d spills", spills)
			}
			checkRollup(t, conn, "traffic_1m", expectRollup(recs, flow.Minute), expectation{keep: 1000})
			if err := k.Sum(ctx); err != nil {
				t.Fatal(err)
			}
			check := func() {
				t.Helper()
				for _, g := range storetest.GrainTables {
					checkRollup(t, conn, g.Table, expectRollup(recs, g.Length), expectation{keep: 1000, exact: true, settled: true})
				}
			}
			check()
			if _, err := k.Rebuild(ctx, (storetest.Noon - 2*flow.Day).Time(), (storetest.Noon + 1).Time()); err != nil {
				t.Fatal(err)
			}
			check()
		})
	}
}
