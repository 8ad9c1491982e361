package console_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"flowtally/flow"
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
