package store_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store"
)

// After CatchUp nothing is left to do: parts that came a moment ago for settled
// buckets are in their rows too, and past hours have their indexes.
func TestCatchUp(t *testing.T) {
	ctx := context.Background()
	db, _, conn := open(t)
	w := store.NewWriter(db, store.WriterConfig{})
	k := store.NewKeeper(db, smallKeeper(1000, 1000, 1000, 150, time.Now))
	recs := rollupFlows(rand.New(rand.NewPCG(9, 4)), 300)
	written := 0
	for _, n := range []int{200, 300} {
		writeAll(t, w, recs[written:n], 60)
		written = n
		done, err := k.CatchUp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if done.Flows == 0 || done.Batches == 0 || done.Settled == 0 || done.Waiting != 0 {
			t.Errorf("%d flows: done %+v", n, done)
		}
		for _, g := range grainTables {
			checkRollup(t, conn, g.table, expectRollup(recs[:n], g.length), law{keep: 1000, exact: true, settled: true})
		}
		if left := get[int](t, conn, "select count(*) from parts.partition where sealed_at is null"); left != 0 {
			t.Errorf("%d hours are not sealed", left)
		}
	}
	if n := get[int](t, conn, "select count(*) from flows"); n != len(recs) {
		t.Errorf("%d flows are left of %d", n, len(recs))
	}
	if done, err := k.CatchUp(ctx); err != nil || done != (store.Done{}) {
		t.Errorf("with nothing to do: %+v, %v", done, err)
	}
	// What is under way stays open.
	now := one(flow.TimeOf(time.Now()) + flow.Hour)
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
	db, _, _ := open(t)
	w := store.NewWriter(db, store.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{one(noon)}}); err != nil {
		t.Fatal(err)
	}
	other, k := store.NewKeeper(db, store.KeeperConfig{}), store.NewKeeper(db, store.KeeperConfig{})
	begun, end, caughtUp := make(chan struct{}), make(chan struct{}), make(chan store.Done, 1)
	store.FailAt(other, func(at string) error {
		if at == "mark" {
			close(begun)
			<-end
			return context.Canceled // its work is undone
		}
		return nil
	})
	go func() { _ = store.SumOnly(ctx, other) }()
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
