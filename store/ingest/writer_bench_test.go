package ingest_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// BenchmarkBatch stores the load generator's flows in batches of several sizes, in
// turns, and reports what a flow costs in processor time, of this process and of
// the server. FLOWTALLY_BENCH_FLOWS says how many flows each.
func BenchmarkBatch(b *testing.B) {
	flows := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("FLOWTALLY_BENCH_FLOWS")); err == nil {
		flows = n
	}
	ctx := context.Background()
	s := pgtest.Start(b, postgres.Config{Dir: pgtest.Dir(b), Settings: map[string]string{"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "4GB", "wal_compression": "on"}})
	dsn := s.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	next := storetest.Blast(storetest.Noon.Floor(flow.Hour), 200_000)
	sizes := []int{8192, 16384, 32768, 65536}
	own, server := make([]storetest.Cost, len(sizes)), make([]storetest.Cost, len(sizes))
	recs := make([]flow.Record, sizes[len(sizes)-1])
	const rounds = 4
	for range rounds {
		for i, size := range sizes {
			for n := 0; n < flows/rounds; n += size {
				some := recs[:min(size, flows/rounds-n)]
				next(some)
				server[i].Begin(s.PID())
				own[i].Begin(0)
				if err := w.Write(ctx, flow.Batch{Records: some}); err != nil {
					b.Fatal(err)
				}
				own[i].End()
				server[i].End()
			}
		}
	}
	for i, size := range sizes {
		b.ReportMetric(float64(own[i].Sum)/float64(flows), fmt.Sprintf("ns/own%dk", size>>10))
		b.ReportMetric(float64(server[i].Sum)/float64(flows), fmt.Sprintf("ns/server%dk", size>>10))
	}
}
