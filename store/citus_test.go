package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// What a Citus cluster refuses of a distributed table is not there: foreign keys
// in either direction, triggers, keys without the distribution column, partitions
// of partitions; and no row lacks the distribution column.
func TestNothingThatCitusForbids(t *testing.T) {
	db, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	k := keeper.New(db, keeper.Config{RetainRaw: keeper.ForEver})
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	for _, d := range store.Distributed {
		check := func(what, sql string) {
			t.Helper()
			if n := storetest.Get[int](t, conn, "with recursive tables(id) as (select $1::text::regclass::oid union select inhrelid from pg_inherits join tables on inhparent = id) "+sql, d[0]); n != 0 {
				t.Errorf("%s has %d %s", d[0], n, what)
			}
		}
		check("foreign keys", "select count(*) from pg_constraint join tables on id in (conrelid, confrelid) where contype = 'f'")
		check("triggers", "select count(*) from pg_trigger join tables on id = tgrelid where not tgisinternal")
		check("keys without its distribution column", `select count(*) from pg_index x join tables on id = indrelid where (indisunique or indisexclusion)
			and not exists (select from pg_attribute a where a.attrelid = id and a.attname = '`+d[1]+`' and a.attnum = any(x.indkey))`)
		check("partitions of partitions", "select count(*) from tables join pg_class on oid = id where relkind = 'p' and relispartition")
		check("distribution columns that may be null", "select count(*) from tables where not exists (select from pg_attribute where attrelid = id and attname = '"+d[1]+"' and attnotnull)")
	}
	err := store.Distribute(ctx, dsn, nil)
	if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "create extension citus") {
		t.Errorf("without the extension: %v", err)
	}

}
