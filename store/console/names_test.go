package console_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/ingest"
)

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
	for _, bad := range []console.ExporterWords{{Name: "10.0.0.1"}, {Name: "192.0.2.2 domain 1"}, {Name: "2001:db8::1 domain 0"}, {Name: "42"}, {Name: "a\nb"}, {Name: strings.Repeat("x", 101)}, {Color: "url(x)"}, {SamplingRate: new(int64)}} {
		if err := console.New(db).SetExporter(ctx, 1, bad); err == nil {
			t.Errorf("%+v was kept", bad)
		}
	}
	if err := console.New(db).RenameExporter(ctx, 1, "edge domain 1"); err != nil {
		t.Errorf("a name that only looks like an address: %v", err)
	}
	if err := console.New(db).SetExporter(ctx, 1, console.ExporterWords{}); err != nil {
		t.Fatal(err)
	}
	if rows, _ := console.New(db).Exporters(ctx); rows[0].Label != "192.0.2.1" {
		t.Errorf("taken back, its label is %q", rows[0].Label)
	}
}

// A rate that people say counts from when, and where, they say; without one there is
// nothing else to say. What the collector was told gives way to it.
func TestRatesOfExporters(t *testing.T) {
	ctx := context.Background()
	db, admin := asWeb(t)
	c := console.New(db)
	e := flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("10.0.0.9"))}
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ten := new(int64(10))
	for name, x := range map[string]struct {
		announced, told uint32
		override        bool
		words           console.ExporterWords
		rate            int64 // 0: not known
		by              console.RateBy
	}{
		"nothing":                      {0, 0, false, console.ExporterWords{}, 0, console.RateByNobody},
		"announced":                    {100, 0, false, console.ExporterWords{}, 100, console.RateByExporter},
		"announced, told":              {100, 50, false, console.ExporterWords{}, 100, console.RateByExporter},
		"told":                         {0, 50, false, console.ExporterWords{}, 50, console.RateByCollector},
		"overridden":                   {100, 50, true, console.ExporterWords{}, 50, console.RateByCollector},
		"more than a row has":          {1<<32 - 1, 0, false, console.ExporterWords{}, 1<<31 - 1, console.RateByExporter},
		"people, instead":              {100, 50, true, console.ExporterWords{SamplingRate: ten}, 10, console.RateByPeople},
		"people, where unknown":        {100, 0, false, console.ExporterWords{SamplingRate: ten, SamplingWhereUnknown: true}, 100, console.RateByExporter},
		"people, where it is told":     {0, 50, false, console.ExporterWords{SamplingRate: ten, SamplingWhereUnknown: true}, 50, console.RateByCollector},
		"people, where it is unknown":  {0, 0, false, console.ExporterWords{SamplingRate: ten, SamplingWhereUnknown: true}, 10, console.RateByPeople},
		"people, from a past time":     {100, 0, false, console.ExporterWords{SamplingRate: ten, SamplingFrom: &past}, 10, console.RateByPeople},
		"people, from a future time":   {100, 0, false, console.ExporterWords{SamplingRate: ten, SamplingFrom: &future}, 100, console.RateByExporter},
		"a time and a mode of no rate": {100, 0, false, console.ExporterWords{SamplingWhereUnknown: true, SamplingFrom: &past}, 100, console.RateByExporter},
	} {
		now := flow.TimeOf(time.Now())
		if err := ingest.NewWriter(admin, ingest.WriterConfig{}).Report(ctx, flow.Report{Status: []flow.ExporterStatus{{
			Exporter: e, Version: 9, FirstSeen: now, LastSeen: now, SamplingRate: x.announced, ConfiguredRate: x.told, SamplingOverride: x.override,
		}}}); err != nil {
			t.Fatal(err)
		}
		if err := c.SetExporter(ctx, e.ID(), x.words); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		states, err := c.ExporterStates(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s := states[e.ID()]
		if s.RateBy != x.by {
			t.Errorf("%s: the rate is said by %q, want %q", name, s.RateBy, x.by)
		}
		if s.SamplingRate == nil && (s.SamplingFrom != nil || s.SamplingWhereUnknown) || s.SamplingFrom != nil && s.SamplingFrom.UnixMilli()%60_000 != 0 || s.SamplingRate != nil && s.SamplingWhereUnknown != x.words.SamplingWhereUnknown {
			t.Errorf("%s: kept as %+v", name, s.ExporterWords)
		}
		rows, err := c.Exporters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.ID == e.ID() && (r.SamplingRate == nil) != (x.rate == 0) || r.ID == e.ID() && r.SamplingRate != nil && *r.SamplingRate != x.rate {
				t.Errorf("%s: the rate is %v, want %d", name, r.SamplingRate, x.rate)
			}
		}
	}
	distant := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := c.SetExporter(ctx, e.ID(), console.ExporterWords{SamplingRate: ten, SamplingFrom: &distant}); err == nil {
		t.Error("a rate from the year 2300 on is kept")
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

// Who may only look is told so in a sentence, without a word of PostgreSQL's.
func TestReadersRenameNobody(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.New(t)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: map[string]string{store.RoleReader: "r"}}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, pgtest.As(t, dsn, store.RoleReader, "r"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := console.New(db)
	_, tokens := c.Tokens(ctx, "")
	for what, err := range map[string]error{
		"tokens": tokens,
		"rename": c.RenameExporter(ctx, 1, "edge"), "set": c.SetExporter(ctx, 1, console.ExporterWords{}),
		"forget": c.ForgetExporter(ctx, 1),
	} {
		if !errors.Is(err, store.ErrAuth) || !strings.Contains(err.Error(), "use the role flow_web") || strings.Contains(err.Error(), "SQLSTATE") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
