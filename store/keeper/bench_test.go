package keeper_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/rollup"
	"flowtally/store/storetest"
)

// BenchmarkKeeper sums the load generator's flows, at two densities: as many as
// come on a busy link, and 20 million a day. It reports what a flow costs in
// processor time, of this process and (sums alone) of the server, and in bytes.
// FLOWTALLY_BENCH_FLOWS says how many flows; with FLOWTALLY_BENCH_READ they are
// read back.
func BenchmarkKeeper(b *testing.B) {
	flows := 500_000
	if n, err := strconv.Atoi(os.Getenv("FLOWTALLY_BENCH_FLOWS")); err == nil {
		flows = n
	}
	for _, c := range []struct {
		name string
		rate float64
	}{{"rate=200k", 200_000}, {"rate=20Maday", 20e6 / 86400}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				ctx := context.Background()
				s := pgtest.Start(b, postgres.Config{Dir: pgtest.Dir(b), Settings: map[string]string{"fsync": "on", "shared_buffers": "512MB", "max_wal_size": "4GB"}})
				dsn := s.DSN(postgres.Admin)
				if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
					b.Fatal(err)
				}
				db, err := store.Open(ctx, dsn)
				if err != nil {
					b.Fatal(err)
				}
				var handoff *rollup.Handoff
				if os.Getenv("FLOWTALLY_BENCH_READ") == "" {
					handoff = storetest.NewHandoff(b)
				}
				w := ingest.NewWriter(db, ingest.WriterConfig{Handoff: handoff})
				next := storetest.Blast(storetest.Noon.Floor(flow.Hour), c.rate)
				recs := make([]flow.Record, 16384)
				conn, err := pgx.Connect(ctx, dsn)
				if err != nil {
					b.Fatal(err)
				}
				k := keeper.New(db, keeper.Config{Handoff: handoff})
				var write, sum, settle, server storetest.Cost
				wal := int64(0)
				lsn := func() int64 { return storetest.Get[int64](b, conn, "select (pg_current_wal_lsn() - '0/0')::bigint") }
				// What comes in five seconds at 200,000 a second, and then its sums.
				for n := 0; n < flows; {
					write.Begin(0)
					end := min(n+1_000_000, flows)
					for ; n < end; n += len(recs) {
						recs = recs[:min(len(recs), end-n)]
						next(recs)
						if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
							b.Fatal(err)
						}
					}
					recs = recs[:cap(recs)]
					write.End()
					wal -= lsn()
					b.StartTimer()
					sum.Begin(0)
					server.Begin(s.PID())
					if err := keeper.SumOnly(ctx, k); err != nil {
						b.Fatal(err)
					}
					sum.End()
					server.End()
					b.StopTimer()
					wal += lsn()
				}
				wal -= lsn()
				b.StartTimer()
				settle.Begin(0)
				server.Begin(s.PID())
				if err := k.Sum(ctx); err != nil {
					b.Fatal(err)
				}
				settle.End()
				server.End()
				b.StopTimer()
				wal += lsn()
				per := func(n int64) float64 { return float64(n) / float64(flows) }
				b.ReportMetric(per(int64(write.Sum)), "ns/write")
				b.ReportMetric(per(int64(sum.Sum)), "ns/sum")
				b.ReportMetric(per(int64(settle.Sum)), "ns/settle")
				b.ReportMetric(per(int64(server.Sum)), "ns/server")
				b.ReportMetric(per(wal), "walB/flow")
				if _, err := conn.Exec(ctx, "vacuum full"); err != nil {
					b.Fatal(err)
				}
				for _, table := range []string{"flows", "traffic_1m", "traffic_1h", "traffic_1d"} {
					b.ReportMetric(per(storetest.Get[int64](b, conn, "select coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)::bigint from pg_inherits i where i.inhparent = ('parts.' || $1)::regclass", table)), table+"B/flow")
				}
				_ = conn.Close(ctx)
				db.Close()
			}
		})
	}
}

// TestLoadForBench is how deploy/bench-store.sh fills a database and a running
// nfcapd with the same flows: the load generator's, over the day of 2026-11-20.
// With FLOWTALLY_BENCH_FROM they are of an hour from that moment on, and are
// summed, too, so that what is left to do is to seal them.
func TestLoadForBench(t *testing.T) {
	dsn, peer := os.Getenv("FLOWTALLY_BENCH_LOAD"), os.Getenv("FLOWTALLY_BENCH_NFCAPD")
	if dsn == "" {
		t.Skip("FLOWTALLY_BENCH_LOAD names no database: deploy/bench-store.sh does")
	}
	flows, err := strconv.Atoi(os.Getenv("FLOWTALLY_BENCH_FLOWS"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	var send func([]flow.Record)
	if peer != "" {
		conn, err := net.Dial("udp", peer)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		e, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: 7})
		if err != nil {
			t.Fatal(err)
		}
		var msg []byte
		var prepared []flow.Record
		send = func(recs []flow.Record) {
			began := time.Now()
			prepared = prepared[:0]
			for i := range recs {
				prepared = e.Prepare(prepared, &recs[i])
			}
			for rest := prepared; len(rest) > 0; {
				var n int
				msg, n = e.Append(msg[:0], flow.TimeOf(time.Now()), rest)
				if _, err := conn.Write(msg); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				// 200,000 a second: nfcapd loses nothing then.
				if ahead := time.Duration(len(prepared)-len(rest))*5*time.Microsecond - time.Since(began); ahead > time.Millisecond {
					time.Sleep(ahead)
				}
			}
		}
	}
	begin, span := time.Date(2026, 11, 20, 0, 0, 1, 0, time.UTC), 86390.0
	hour := os.Getenv("FLOWTALLY_BENCH_FROM")
	if hour != "" {
		if begin, err = time.Parse(time.RFC3339, hour); err != nil {
			t.Fatal(err)
		}
		span = 3590
	}
	next := storetest.Blast(flow.TimeOf(begin), float64(flows)/span)
	recs := make([]flow.Record, 16384)
	for n := 0; n < flows; n += len(recs) {
		recs = recs[:min(len(recs), flows-n)]
		next(recs)
		if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
		if send != nil {
			send(recs)
		}
	}
	if hour != "" {
		if err := keeper.New(db, keeper.Config{}).Sum(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
