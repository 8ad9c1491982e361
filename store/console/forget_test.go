package console_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"flowtally/store/console"
	"flowtally/store/storetest"
)

// An exporter that was made up is forgotten, with what people said about it and what it
// claims to have lost; its flows stay, and the others are as they were.
func TestForgetExporter(t *testing.T) {
	h := storetest.NewHouse(t, storetest.SomeFlows(20))
	ctx := context.Background()
	c := console.New(h.Db)
	id, other := storetest.Exporters[0].ID(), storetest.Exporters[1].ID()
	for _, e := range []int32{int32(id), int32(other)} {
		h.Exec(t, "insert into loss (minute, exporter_id, stage, cause, unit, count) values (date_trunc('minute', now()), $1, 'way', 'missing', 'record', 1000)", e)
		h.Exec(t, "insert into interfaces (exporter_id, if_index, announced) values ($1, 1, 'eth0')", e)
		h.Exec(t, "insert into parts.moved (exporter_id, records, last_at) values ($1, 3, now())", e)
	}
	if err := c.SetExporter(ctx, id, console.ExporterWords{Name: "stranger"}); err != nil {
		t.Fatal(err)
	}
	total := func() (n int64) {
		t.Helper()
		l, err := c.Loss(ctx, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range l.Totals {
			n += x.Count
		}
		return n
	}
	if n := total(); n != 2000 {
		t.Errorf("%d are lost", n)
	}
	if err := c.LeaveOut(ctx, id, true); err != nil {
		t.Fatal(err)
	}
	if out, err := c.LeftOut(ctx); err != nil || !out[id] || out[other] {
		t.Errorf("%v are left out; %v", out, err)
	}
	if n := total(); n != 1000 {
		t.Errorf("without the stranger %d are lost", n)
	}
	if l, err := c.Loss(ctx, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "stranger"); err != nil || len(l.Totals) != 1 || l.Totals[0].Count != 1000 {
		t.Errorf("of the stranger %+v; %v", l, err)
	}
	if err := c.LeaveOut(ctx, id, false); err != nil || total() != 2000 {
		t.Error("it is left out still", err)
	}
	ids, err := c.FindExporters(ctx, "stranger")
	if err != nil || len(ids) != 1 || ids[0] != id {
		t.Errorf("%v; %v", ids, err)
	}
	if err := c.ForgetExporter(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n := total(); n != 1000 {
		t.Errorf("of those that are left %d are lost", n)
	}
	for table, want := range map[string]int{
		"exporters": 2, "interfaces": 1, "console.exporters": 0, "parts.moved": 1, "flows": 20,
		"flows where exporter is null": 10,
	} {
		if n := storetest.Get[int](t, h.Admin, "select count(*)::int from "+table); n != want {
			t.Errorf("%s has %d rows, want %d", table, n, want)
		}
	}
	if err := c.ForgetExporter(ctx, id); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("forgotten twice: %v", err)
	}
	if err := c.LeaveOut(ctx, id, true); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("left out when forgotten: %v", err)
	}
}
