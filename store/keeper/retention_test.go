package keeper_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// hoursOfFlows lists the hours that have a partition and a row in parts.partition.
func hoursOfFlows(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	return storetest.Get[[]string](t, conn, `select coalesce(array_agg(name order by hour), '{}') from parts.partition`)
}

// tidy runs a Keeper's housekeeping at a moment.
func tidy(t testing.TB, db *store.DB, c keeper.Config, now flow.Time, fault func(string) error) error {
	t.Helper()
	c.SumRecords, c.Now = 1000, storetest.At(now)
	k := keeper.New(db, c)
	keeper.FailAfter(k, fault)
	return k.Tidy(context.Background())
}

func sumAll(t testing.TB, db *store.DB) {
	t.Helper()
	if err := keeper.New(db, keeper.Config{}).Sum(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What is too old goes, by the time it was received; an old capture stays as long
// as a new one. What the roll-ups do not have yet stays.
func TestRetentionByAge(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	now := flow.TimeOf(time.Now())
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	capture := storetest.Record(1_400_000_000_000) // 2014
	capture.Received = now
	old := storetest.Record(now - 20*flow.Day)
	fresh := storetest.Record(now - 2*flow.Day)
	for _, r := range []flow.Record{capture, old, fresh} {
		if err := w.Write(ctx, flow.Batch{Records: []flow.Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	partition := make(map[flow.Time]string) // of each flow
	for _, r := range []flow.Record{capture, old, fresh} {
		partition[r.End] = storetest.Get[string](t, conn, "select name from parts.partition where hour <= $1 and until > $1", r.End.Time())
	}
	if partition[capture.End] != "flows_2010010100" { // old and alone
		t.Errorf("the capture is in %s", partition[capture.End])
	}
	run := func(now flow.Time, want ...flow.Record) {
		t.Helper()
		if err := tidy(t, db, keeper.Config{}, now, nil); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range want {
			names = append(names, partition[r.End])
		}
		if got := strings.Join(hoursOfFlows(t, conn), " "); got != strings.Join(names, " ") {
			t.Errorf("%s are left, want %s", got, strings.Join(names, " "))
		}
		if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != len(want) {
			t.Errorf("%d flows are left, want %d", n, len(want))
		}
	}
	run(now+17*flow.Day, capture, old, fresh) // not summed
	sumAll(t, db)
	run(now+flow.Minute, capture, fresh)
	run(now+14*flow.Day, capture)
	run(now + 16*flow.Day)
	reach, err := db.Reach(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r := reach[0]; r.Source != "flows" || flow.TimeOf(r.CutBefore) != fresh.End.Floor(flow.Hour)+flow.Hour {
		t.Errorf("flows reach %+v", r)
	}
	// The roll-ups outlive the flows, each as long as it may.
	count := func(table string) int { return storetest.Get[int](t, conn, "select count(*) from "+table) }
	if count("traffic_1h") == 0 || count("traffic_1d") == 0 {
		t.Error("roll-ups are gone")
	}
	run(now + 600*flow.Day)
	if count("traffic_1m") != 0 || count("traffic_1h") != 0 || count("traffic_1d") == 0 {
		t.Errorf("after two years there are %d, %d and %d rows", count("traffic_1m"), count("traffic_1h"), count("traffic_1d"))
	}
}

// Too much goes, the oldest first, and never what is received now.
func TestRetentionBySize(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	now := flow.TimeOf(time.Now())
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	for h := range flow.Time(6) {
		recs := make([]flow.Record, 4000)
		for i := range recs {
			recs[i] = storetest.Record(now - h*flow.Hour)
		}
		if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	size := storetest.Get[int64](t, conn, "select pg_database_size(current_database())")
	if err := tidy(t, db, keeper.Config{RetainSize: size + 1}, now, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(hoursOfFlows(t, conn)); n != 6 {
		t.Errorf("%d hours are left, want all 6", n)
	}
	// One byte too many: 5 % of the limit are removed.
	if err := tidy(t, db, keeper.Config{RetainSize: size - 1}, now, nil); err != nil {
		t.Fatal(err)
	}
	names := hoursOfFlows(t, conn)
	if n := len(names); n < 3 || n > 5 || names[n-1] != store.PartitionName(now.Floor(flow.Hour)) {
		t.Errorf("%v are left", names)
	}
	if err := tidy(t, db, keeper.Config{RetainSize: 1, RetainPath: t.TempDir()}, now, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(hoursOfFlows(t, conn)); n < 1 || n > 3 {
		t.Errorf("%d hours are left, want those that are received now", n)
	}
}

// A Keeper that dies in the middle of a removal leaves the collector able to
// store what belongs there, and the next one ends it.
func TestRemovalThatDies(t *testing.T) {
	ctx := context.Background()
	died := errors.New("died")
	for _, step := range []string{"decided", "detached", "dropped"} {
		t.Run(step, func(t *testing.T) {
			db, _, conn := storetest.Open(t)
			w := ingest.NewWriter(db, ingest.WriterConfig{})
			old := storetest.Record(storetest.Noon)
			if err := w.Write(ctx, flow.Batch{Records: []flow.Record{old}}); err != nil {
				t.Fatal(err)
			}
			sumAll(t, db)
			later := flow.TimeOf(time.Now()) + 16*flow.Day
			err := tidy(t, db, keeper.Config{}, later, func(at string) error {
				if at == step {
					return died
				}
				return nil
			})
			if !errors.Is(err, died) {
				t.Fatalf("it did not die: %v", err)
			}
			// A late flow of the very hour: stored, there or at its time of receipt.
			for _, w := range []*ingest.Writer{w, ingest.NewWriter(db, ingest.WriterConfig{})} {
				late := old
				late.Received = old.End + 20*flow.Day
				if err := w.Write(ctx, flow.Batch{Records: []flow.Record{late}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := tidy(t, db, keeper.Config{RetainRaw: keeper.ForEver}, later, nil); err != nil {
				t.Fatal(err)
			}
			if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 2 {
				t.Errorf("%d flows to be seen, want the 2 late ones", n)
			}
			if n := storetest.Get[int](t, conn, "select count(*) from parts.removal"); n != 0 {
				t.Error("the removal has not ended")
			}
			if n := storetest.Get[int](t, conn, `select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
				where nspname = 'parts' and relkind = 'r' and relname like 'flows%' and not relispartition`); n != 0 {
				t.Errorf("%d tables are left over", n)
			}
		})
	}
}

// A partition whose row somebody deleted, and nothing else, is taken back.
func TestPartitionWithoutRow(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	for range 2 {
		if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(ctx, "delete from parts.partition"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where flow_end < (select flows_until('2025-11-22'))"); n != 3 {
		t.Errorf("%d flows to be seen, want 3", n)
	}
}

// Neither does a reader who takes his time hold up the collector, the sums or
// other readers while a partition that he reads is to be sealed and to be
// removed, nor does any of that hold him up.
func TestReaderInTheWay(t *testing.T) {
	db, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	real := flow.TimeOf(time.Now())
	old, fresh := storetest.Record(storetest.Noon), storetest.Record(real)
	for _, r := range []flow.Record{old, fresh} {
		if err := w.Write(ctx, flow.Batch{Records: []flow.Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	sumAll(t, db)
	reader := storetest.Connect(t, dsn)
	tx, err := reader.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	count := func() (n int) {
		t.Helper()
		if err := tx.QueryRow(ctx, "select count(*) from flows").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	count()
	// Whoever waits for the reader here fails, instead of waiting for ever.
	others := func() {
		t.Helper()
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := w.Write(short, flow.Batch{Records: []flow.Record{fresh}}); err != nil {
			t.Errorf("the collector waits: %v", err)
		}
		if err := keeper.New(db, keeper.Config{}).Sum(short); err != nil {
			t.Errorf("the sums wait: %v", err)
		}
		if _, err := conn.Exec(short, "select count(*) from flows"); err != nil {
			t.Errorf("a reader waits: %v", err)
		}
		if err := w.Write(short, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon + flow.Hour)}}); err != nil {
			t.Errorf("a partition cannot be made: %v", err)
		}
	}
	later := real + flow.Minute
	removing := false
	if err := tidy(t, db, keeper.Config{}, later, func(at string) error {
		if at == "decided" {
			removing = true
			others()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !removing || storetest.Get[int](t, conn, "select count(*) from parts.removal") == 0 {
		t.Error("nothing waits for the reader: the test tests nothing")
	}
	others()
	count()
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := tidy(t, db, keeper.Config{}, later, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.removal"); n != 0 {
		t.Error("the removal has not ended")
	}
}
