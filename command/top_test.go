package command

import (
	"context"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/store/console"
	"flowtally/store/storetest"
)

// Exporters are called by their name in what is printed, in tables, in CSV and in JSON, and
// can be asked for by it; the shell completes it.
func TestTopNamesExporters(t *testing.T) {
	h := storetest.EmptyHouse(t)
	end := flow.TimeOf(time.Now()) - flow.Minute
	var recs []flow.Record
	for i, e := range storetest.Exporters {
		recs = append(recs, flow.Record{Start: end - flow.Second, End: end, Packets: uint64(10 * (i + 1)), Bytes: 400, Exporter: e.ID(), Key: flow.Key{IPVersion: 4, Protocol: flow.TCP}})
	}
	h.Write(t, recs)
	first := storetest.Exporters[0]
	name := "core switch"
	if err := console.New(h.Db).SetExporter(context.Background(), first.ID(), console.ExporterWords{Name: name}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"top", "--key", "exporter"}, {"top", "--key", "exporter", "--output", "csv"}, {"top", "--key", "exporter", "--output", "json"}, {"flows"}, {"exporters"}} {
		status, stdout, stderr := flowtally(t, append(args, "--database", h.Dsn)...)
		if status != 0 || !strings.Contains(stdout, name) || !strings.Contains(stdout, storetest.Exporters[1].Addr.String()) {
			t.Errorf("%q: status %d, %s%s", args, status, stdout, stderr)
		}
	}
	status, stdout, stderr := flowtally(t, "top", "--key", "exporter", "--exporter", name, "--database", h.Dsn)
	if status != 0 || !strings.Contains(stdout, name) || strings.Contains(stdout, storetest.Exporters[1].Addr.String()) {
		t.Errorf("of one: status %d, %s%s", status, stdout, stderr)
	}
	t.Setenv("DATABASE_URL", h.Dsn)
	if got := completed(t, "top", "--exporter", "core"); got[0] != name {
		t.Errorf("the name is completed by %q", got)
	}
}
