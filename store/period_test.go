package store_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store"
)

// scattered makes the partitions of flows whose times are anywhere between 1970 and now.
func scattered(t *testing.T, now flow.Time, n int) []store.Partition {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	var there []store.Partition
	for range n {
		at := flow.Time(rnd.Int64N(int64(now))).Floor(flow.Hour)
		if rnd.IntN(2) == 0 {
			at = (now - flow.Time(rnd.Int64N(int64(40*flow.Day)))).Floor(flow.Hour)
		}
		if _, ok := store.FindPartition(there, at); ok {
			continue
		}
		p := store.Period(at, now).Clip(at, there)
		if !p.Holds(at) {
			t.Fatalf("%v is not in %v to %v", at, p.From, p.Until)
		}
		if p.Until-p.From > flow.Hour && p.Until > now-store.HoursFor+flow.Day {
			t.Errorf("%v to %v is not past at %v", p.From, p.Until, now)
		}
		there = store.InsertPartition(there, p)
	}
	for i := 1; i < len(there); i++ {
		if there[i-1].Until > there[i].From {
			t.Errorf("%v and %v overlap", there[i-1], there[i])
		}
	}
	return there
}

// Whatever the times of flows and whatever the day, they make some hundred partitions.
func TestPeriodsAreFew(t *testing.T) {
	for _, day := range []string{"2026-11-30T14:30:00Z", "2026-01-01T00:00:00Z", "2028-02-29T23:59:59Z", "2030-01-01T00:30:00Z", "2029-12-31T12:00:00Z"} {
		at, err := time.Parse(time.RFC3339, day)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(scattered(t, flow.TimeOf(at), 20_000)); n > 130 {
			t.Errorf("%s: %d partitions", day, n)
		}
	}
}

// A partition takes the place that others leave, and no more.
func TestClip(t *testing.T) {
	now := flow.TimeOf(time.Date(2026, 11, 30, 14, 30, 0, 0, time.UTC))
	at := flow.TimeOf(time.Date(2014, 5, 13, 16, 0, 0, 0, time.UTC))
	p := store.Period(at, now)
	if p.Name() != "flows_2010010100" || p.Until != flow.TimeOf(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s until %v", p.Name(), p.Until)
	}
	there := []store.Partition{{From: at - 2*flow.Hour, Until: at - flow.Hour}, {From: at + flow.Hour, Until: at + 2*flow.Hour}}
	if got, want := p.Clip(at, there), (store.Partition{From: at - flow.Hour, Until: at + flow.Hour}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	// The decade that is under way is not taken as a whole.
	if p := store.Period(flow.TimeOf(time.Date(2021, 3, 1, 0, 0, 0, 0, time.UTC)), now); p.Until != flow.TimeOf(time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("2021 is in %v to %v", p.From, p.Until)
	}
}

// The lock table says how many partitions there may be, and what to set for more.
func TestLockTable(t *testing.T) {
	usual := store.LockTable{PerTransaction: 64, Connections: 100}
	if n := usual.MostPartitions(); n != 800 {
		t.Errorf("room for %d", n)
	}
	if text := usual.Enough(660); text != "" {
		t.Error(text)
	}
	want := "PostgreSQL has room for locks of 800 partitions and there may be 2400: set max_locks_per_transaction = 256 in postgresql.conf and restart it, or keep flows for less time (--retain-raw)"
	if text := usual.Enough(2400); text != want {
		t.Errorf("%q", text)
	}
}
