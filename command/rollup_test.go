package command

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
)

// flowtally rollup leaves nothing to do, says what it did, and removes nothing
// however old it is.
func TestRollupCommand(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.New(t)
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	end := flow.Time(1_400_000_000_000) // 2014
	r := flow.Record{Start: end - flow.Second, End: end, Received: end, Packets: 1, Bytes: 40, Exporter: 1}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: []flow.Record{r}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []keeper.Done{{Batches: 1, Flows: 1, Settled: 3, Sealed: 1}, {}} {
		var stdout, stderr bytes.Buffer
		if status := Run(ctx, "", []string{"rollup", "--json", "--database", dsn}, &stdout, &stderr); status != 0 {
			t.Fatalf("status %d: %s", status, &stderr)
		}
		var got keeper.Done
		if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got != want {
			t.Errorf("it says %s: %+v, want %+v, %v", &stdout, got, want, err)
		}
	}
	reach, err := db.Reach(ctx)
	if err != nil || !reach[0].CutBefore.IsZero() {
		t.Errorf("flows reach %+v, %v", reach, err)
	}
}
