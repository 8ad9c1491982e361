package ingest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"flowtally/flow"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// Rows that the database refuses are kept and counted, and those beside them are
// stored, whether they come directly or out of the spool.
func TestQuarantine(t *testing.T) {
	for _, spooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("spooled=%v", spooled), func(t *testing.T) {
			_, dsn, conn := storetest.Open(t)
			ctx := context.Background()
			line, far := newWire(t, dsn)
			if _, err := conn.Exec(ctx, "alter table parts.flows add constraint no_port_23 check (dst_port <> 23)"); err != nil {
				t.Fatal(err)
			}
			s := spooling(t, far, t.TempDir(), ingest.WriterConfig{})
			if spooled {
				line.cut()
			}
			recs := numbered(0, 300)
			bad := 0
			for i := range recs {
				if i == 0 || i%100 == 37 || i == 299 {
					recs[i].DstPort = 23
					bad++
				}
			}
			if err := s.Write(ctx, flow.Batch{Records: recs}); err != nil {
				t.Fatal(err)
			}
			if err := s.Write(ctx, flow.Batch{Records: numbered(300, 10)}); err != nil {
				t.Fatal(err)
			}
			line.mend()
			eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
			s.stop()
			if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 310-bad {
				t.Errorf("%d rows stored, want %d", n, 310-bad)
			}
			if n := storetest.Get[int](t, conn, "select sum(count)::int from loss where stage = 'store' and cause = 'quarantined'"); n != bad {
				t.Errorf("%d counted as quarantined, want %d", n, bad)
			}
			if n := storetest.Get[int](t, conn, `select count(*) from batches b left join (select batch, count(*) n, sum(packets) p, sum(bytes) s from flows group by 1) f on f.batch = b.id
				where (b.records, b.packets, b.bytes) is distinct from (f.n, f.p, f.s)`); n != 0 {
				t.Errorf("%d batches with wrong sums", n)
			}
			// Once the database accepts the rows, their file can be put back.
			if _, err := conn.Exec(ctx, "alter table parts.flows drop constraint no_port_23"); err != nil {
				t.Fatal(err)
			}
			kept, _ := filepath.Glob(filepath.Join(s.dir, "quarantine", "*.batch"))
			if len(kept) != 1 {
				t.Fatalf("in quarantine: %v", kept)
			}
			if err := os.Rename(kept[0], filepath.Join(s.dir, "0000000000000000001.batch")); err != nil {
				t.Fatal(err)
			}
			s = spooling(t, far, s.dir, ingest.WriterConfig{})
			eventually(t, "the spool is empty", func() bool { return len(files(t, s.dir)) == 0 })
			s.stop()
			once(t, conn, 310)
		})
	}
}
