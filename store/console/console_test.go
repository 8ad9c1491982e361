package console_test

import (
	"context"
	"testing"

	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/storetest"
)

// asWeb opens an empty database as the page does, with one exporter, of number
// 1, and one as its administrator.
func asWeb(t *testing.T) (web, admin *store.DB) {
	t.Helper()
	ctx := context.Background()
	dsn := pgtest.Empty(t)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: map[string]string{store.RoleWeb: "b"}}); err != nil {
		t.Fatal(err)
	}
	conn := storetest.Connect(t, dsn)
	for _, sql := range []string{
		"insert into parts.exporter (id, addr, observation_domain, first_seen) values (1, '192.0.2.1', 0, now()), (2, '192.0.2.2', 0, now())",
		"insert into interfaces (exporter_id, if_index, name, speed) values (1, 7, 'ge-0/0/7', 1000000000)",
		"insert into loss values (date_trunc('minute', now()), 1, 'way', 'missing', 'record', 5), (date_trunc('minute', now()), 1, 'exporter', 'ignored', 'packet', 9)",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	for dsn, db := range map[string]**store.DB{pgtest.As(t, dsn, store.RoleWeb, "b"): &web, dsn: &admin} {
		var err error
		if *db, err = store.Open(ctx, dsn); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*db).Close)
	}
	return web, admin
}
