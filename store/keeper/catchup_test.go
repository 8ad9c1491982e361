package keeper_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// After CatchUp nothing is left to do: parts that came a moment ago for settled
// buckets are in their rows too, and past hours have their indexes.
func TestCatchUp(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	k := keeper.New(db, storetest.SmallKeeper(1000, 1000, 1000, 150, time.Now))
	recs := storetest.Flows(rand.New(rand.NewPCG(9, 4)), 300)
	written := 0
	for _, n := range []int{200, 300} {
		storetest.WriteAll(t, w, recs[written:n], 60)
		written = n
		done, err := k.CatchUp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if done.Flows == 0 || done.Batches == 0 || done.Settled == 0 || done.Waiting != 0 {
			t.Errorf("%d flows: done %+v", n, done)
		}
		for _, g := range storetest.GrainTables {
			checkRollup(t, conn, g.Table, expectRollup(recs[:n], g.Length), expectation{keep: 1000, exact: true, settled: true})
		}
		if left := storetest.Get[int](t, conn, "select count(*) from parts.partition where sealed_at is null"); left != 0 {
			t.Errorf("%d hours are not sealed", left)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != len(recs) {
		t.Errorf("%d flows are left of %d", n, len(recs))
	}
	if done, err := k.CatchUp(ctx); err != nil || done != (keeper.Done{}) {
		t.Errorf("with nothing to do: %+v, %v", done, err)
	}
	// What is under way stays open.
	now := storetest.Record(flow.TimeOf(time.Now()) + flow.Hour)
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{now}}); err != nil {
		t.Fatal(err)
	}
	if done, err := k.CatchUp(ctx); err != nil || done.Flows != 1 || done.Sealed != 0 || done.Waiting == 0 {
		t.Errorf("with a flow of now: %+v, %v", done, err)
	}
}

// CatchUp does not leave its work to a Keeper that has its turn and may be at
// another's: it waits.
func TestCatchUpWaits(t *testing.T) {
	ctx := context.Background()
	db, _, _ := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	other, k := keeper.New(db, keeper.Config{}), keeper.New(db, keeper.Config{})
	begun, end, caughtUp := make(chan struct{}), make(chan struct{}), make(chan keeper.Done, 1)
	keeper.FailAfter(other, func(at string) error {
		if at == "mark" {
			close(begun)
			<-end
			return context.Canceled // its work is undone
		}
		return nil
	})
	go func() { _ = keeper.SumOnly(ctx, other) }()
	<-begun
	go func() {
		done, err := k.CatchUp(ctx)
		if err != nil {
			t.Error(err)
		}
		caughtUp <- done
	}()
	select {
	case done := <-caughtUp:
		t.Errorf("it did not wait: %+v", done)
	case <-time.After(300 * time.Millisecond):
	}
	close(end)
	if done := <-caughtUp; done.Flows != 1 {
		t.Errorf("done %+v", done)
	}
}
