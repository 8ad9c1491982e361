package ingest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"flowtally/flow"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// What the database refuses because of a value is given back at once; the next
// batch is not held up.
func TestRefused(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "alter table parts.flows add constraint no_port_23 check (dst_port <> 23)"); err != nil {
		t.Fatal(err)
	}
	bad := storetest.Record(storetest.Noon)
	bad.DstPort = 23
	err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon), bad}})
	var refused *ingest.RefusedError
	if !errors.Is(err, ingest.ErrRefused) || !errors.As(err, &refused) || refused.Records != 2 {
		t.Fatalf("a row against a constraint gives %v", err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.ConstraintName != "no_port_23" {
		t.Errorf("the error does not say which constraint: %v", err)
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 2 {
		t.Errorf("%d flows stored, want 2: nothing of the refused batch", n)
	}
}
