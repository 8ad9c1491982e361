package console_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/ingest"
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

func TestViewsAreKept(t *testing.T) {
	ctx := context.Background()
	db, _ := asWeb(t)
	v, err := console.New(db).SaveView(ctx, console.View{Name: " DNS ", URL: "/explore?key=src-addr", Filter: "proto udp  and dst port 53", Color: "#1f77b4", Pinned: true})
	if err != nil {
		t.Fatal(err)
	}
	if v.ID == 0 || v.Name != "DNS" || v.Sign != "+" || strings.Contains(v.Filter, "  ") || v.ChangedAt.IsZero() {
		t.Errorf("kept as %+v", v)
	}
	if _, err := console.New(db).SaveView(ctx, console.View{Name: "DNS", URL: "/"}); !errors.Is(err, console.ErrTaken) {
		t.Errorf("a second view of that name: %v", err)
	}
	again := *v
	again.Name, again.Sign = "names", "-"
	if _, err := console.New(db).SaveView(ctx, again); err != nil {
		t.Fatal(err)
	}
	list, err := console.New(db).Views(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "names" || list[0].Sign != "-" || !list[0].Pinned {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if err := console.New(db).DeleteView(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := console.New(db).DeleteView(ctx, v.ID); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := console.New(db).SaveView(ctx, again); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("changed what is gone: %v", err)
	}
	for parameter, bad := range map[string]console.View{
		"name":   {URL: "/"},
		"url":    {Name: "a", URL: "javascript:alert(1)"},
		"filter": {Name: "a", URL: "/", Filter: "src prot 53"},
		"color":  {Name: "a", URL: "/", Color: "red;}"},
		"sign":   {Name: "a", URL: "/", Sign: "*"},
	} {
		_, err := console.New(db).SaveView(ctx, bad)
		if q, ok := errors.AsType[*query.Error](err); !ok || q.Parameter != parameter {
			t.Errorf("%+v: %v, want a word about %s", bad, err, parameter)
		}
	}
	for _, url := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, ""} {
		if _, err := console.New(db).SaveView(ctx, console.View{Name: "a", URL: url}); err == nil {
			t.Errorf("%q was kept as an address", url)
		}
	}
}

func TestWordsAboutExporters(t *testing.T) {
	ctx := context.Background()
	db, _ := asWeb(t)
	rate := int64(100)
	want := console.ExporterWords{Name: "core", Color: "#00ff00", Note: "in the cellar\nbehind the door", SamplingRate: &rate}
	if err := console.New(db).SetExporter(ctx, 1, want); err != nil {
		t.Fatal(err)
	}
	states, err := console.New(db).ExporterStates(ctx)
	if err != nil || len(states) != 2 {
		t.Fatalf("%+v, %v", states, err)
	}
	if s := states[1]; s.Name != "core" || s.Note != want.Note || s.SamplingRate == nil || *s.SamplingRate != 100 || s.LostLastHour != 5 {
		t.Errorf("exporter 1: %+v", s)
	}
	rows, err := console.New(db).Exporters(ctx)
	if err != nil || rows[len(rows)-1].Label != "core" {
		t.Errorf("labels: %+v, %v", rows, err)
	}
	if err := console.New(db).SetExporter(ctx, 2, want); !errors.Is(err, console.ErrTaken) {
		t.Errorf("two of one name: %v", err)
	}
	if err := console.New(db).SetExporter(ctx, 77, want); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	for _, bad := range []console.ExporterWords{{Name: "10.0.0.1"}, {Name: "a\nb"}, {Name: strings.Repeat("x", 101)}, {Color: "url(x)"}, {SamplingRate: new(int64)}} {
		if err := console.New(db).SetExporter(ctx, 1, bad); err == nil {
			t.Errorf("%+v was kept", bad)
		}
	}
	if err := console.New(db).SetExporter(ctx, 1, console.ExporterWords{}); err != nil {
		t.Fatal(err)
	}
	if rows, _ := console.New(db).Exporters(ctx); rows[0].Label != "192.0.2.1" {
		t.Errorf("taken back, its label is %q", rows[0].Label)
	}
}

// A name that people gave an interface outlives what the exporter announces.
func TestNamesOfInterfaces(t *testing.T) {
	ctx := context.Background()
	db, admin := asWeb(t)
	for index, name := range map[int64]string{7: "uplink", 8: "cellar"} {
		if err := console.New(db).NameInterface(ctx, 1, index, name); err != nil {
			t.Fatal(err)
		}
	}
	announce := func() {
		t.Helper()
		if err := ingest.NewWriter(admin, ingest.WriterConfig{}).Report(ctx, flow.Report{Interfaces: []flow.Interface{{Exporter: 1, Index: 7, Name: "ge-0/0/7", Description: "to Bonn"}}}); err != nil {
			t.Fatal(err)
		}
	}
	announce()
	list, err := console.New(db).Interfaces(ctx, "192.0.2.1")
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if i := list[0]; i.Name != "uplink" || i.Announced != "ge-0/0/7" || !i.Named || i.Description != "to Bonn" || i.Speed == nil || i.Exporter != "192.0.2.1" {
		t.Errorf("interface 7: %+v", i)
	}
	if i := list[1]; i.Name != "cellar" || i.IfIndex != 8 {
		t.Errorf("interface 8: %+v", i)
	}
	// Taken back, the announced name is there at once, and who never announced one
	// is no longer known by a name alone.
	for _, index := range []int64{7, 8} {
		if err := console.New(db).NameInterface(ctx, 1, index, ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if list, _ := console.New(db).Interfaces(ctx, ""); len(list) != 1 || list[0].Name != "ge-0/0/7" || list[0].Named {
			t.Errorf("taken back: %+v", list)
		}
		announce()
	}
	if err := console.New(db).NameInterface(ctx, 99, 7, "x"); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	if list, err := console.New(db).Interfaces(ctx, "192.0.2.2"); err != nil || len(list) != 0 {
		t.Errorf("of another exporter: %+v, %v", list, err)
	}
}

// What a person prefers is that person's alone, and replaces what was before.
func TestPreferences(t *testing.T) {
	ctx := context.Background()
	db, _ := asWeb(t)
	if p, err := console.New(db).Preferences(ctx, "ann"); err != nil || p != (console.Preferences{}) {
		t.Errorf("before anything was said: %+v, %v", p, err)
	}
	for _, want := range []console.Preferences{{Theme: "dark", Zone: "utc", Range: "-24h", Unit: "bytes", Rows: 50}, {Theme: "light"}, {}} {
		if err := console.New(db).SetPreferences(ctx, "ann", want); err != nil {
			t.Fatal(err)
		}
		if got, err := console.New(db).Preferences(ctx, "ann"); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if got, _ := console.New(db).Preferences(ctx, "bob"); got != (console.Preferences{}) {
			t.Errorf("another has %+v", got)
		}
	}
	for parameter, bad := range map[string]console.Preferences{
		"theme": {Theme: "red"}, "zone": {Zone: "Mars"}, "range": {Range: "yesterday"}, "unit": {Unit: "nibbles"}, "rows": {Rows: -1},
	} {
		err := console.New(db).SetPreferences(ctx, "ann", bad)
		if q, ok := errors.AsType[*query.Error](err); !ok || q.Parameter != parameter {
			t.Errorf("%+v: %v, want a word about %s", bad, err, parameter)
		}
	}
	if err := console.New(db).SetPreferences(ctx, "", console.Preferences{}); err == nil {
		t.Error("nobody's preferences were kept")
	}
}
