package story

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flowtally/collector"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/service"
)

// tool runs a program that comes with PostgreSQL.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	bin, err := postgres.Find()
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(bin.Dir, name)
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A backup as docs/operating.md makes it, of a database that is written to, answers what
// the original answers, with what people said and what the ledger has, and a collector
// goes on with it.
func TestBackup(t *testing.T) {
	h := inhabited(t)
	if _, err := h.export(t, storyCapture(t), netflow.IPFIX, 7); err != nil {
		t.Fatal(err)
	}
	h.stop()
	if status, _, errs := flowtally(t, "rollup", "--database", h.dsn); status != 0 {
		t.Fatal(errs)
	}
	tool(t, "psql", "--quiet", "--dbname="+h.dsn, "--command", "insert into console.exporters (id, name) select id, 'edge' from exporters where observation_domain = 7")
	dump := filepath.Join(t.TempDir(), "flows.dump")
	tool(t, "pg_dump", "--format=custom", "--compress=1", "--file="+dump, "--dbname="+h.dsn)

	// The roles are there: they are of the whole cluster.
	restored := pgtest.Empty(t)
	tool(t, "pg_restore", "--exit-on-error", "--dbname="+restored, dump)
	if status, _, errs := flowtally(t, "migrate", "--database", restored); status != 0 {
		t.Fatal(errs)
	}
	for _, question := range [][]string{
		{"top", "--key", "src-addr", "--by", "flows", "--from", "2026-03-02T00:00:00Z"},
		{"top", "--key", "src-addr,dst-addr", "--by", "bytes", "--from", "2026-03-02T00:00:00Z", "--raw"},
		{"series", "--key", "protocol", "--from", "2026-03-02T09:00:00Z", "--to", "2026-03-02T10:00:00Z"},
		{"flows", "--from", "2026-03-02T09:00:00Z", "--to", "2026-03-02T10:00:00Z"},
	} {
		question = append(question, "--output", "csv", "--database")
		_, want, _ := flowtally(t, append(question, h.dsn)...)
		status, got, errs := flowtally(t, append(question, restored)...)
		if status != 0 || got != want || strings.Count(want, "\n") < 2 {
			t.Errorf("%q: status %d %s, the original says\n%s\nthe restored one\n%s", question, status, errs, want, got)
		}
	}

	for _, query := range []string{"select * from loss order by 1, 2, 3, 4", "select * from exporters order by id", "select * from exporter_status order by 1", "select count(*) from flows where exporter = 'edge'"} {
		if want, got := tool(t, "psql", "--csv", "--dbname="+h.dsn, "--command", query), tool(t, "psql", "--csv", "--dbname="+restored, "--command", query); got != want {
			t.Errorf("%s: the original says\n%s\nthe restored one\n%s", query, want, got)
		}
	}

	// And on with it: the same capture once more is as many flows more.
	before := h.sums(t, "")
	h.dsn = restored
	ctx, stop := context.WithCancel(context.Background())
	bound, collected := make(chan []netip.AddrPort, 1), make(chan error, 1)
	go func() {
		collected <- service.Run(ctx, service.Config{DSN: restored, Logger: slog.New(slog.DiscardHandler), Collector: collector.Config{
			Listen: []string{"127.0.0.1:0"}, BatchAge: 200 * time.Millisecond,
			Ready: func(a []netip.AddrPort) { bound <- a }}})
	}()
	select {
	case a := <-bound:
		h.collector = a[0]
	case err := <-collected:
		t.Fatal(err)
	}
	sent, err := h.export(t, storyCapture(t), netflow.IPFIX, 8)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-collected; err != nil {
		t.Fatal(err)
	}
	var added uint64
	for id, s := range h.sums(t, "") {
		if was, ok := before[id]; !ok {
			added += uint64(s.Flows)
		} else if was != s {
			t.Errorf("exporter %d had %v and has %v", id, was, s)
		}
	}
	if added != sent.Flows || added == 0 {
		t.Errorf("%d flows were sent to the restored database, %d are in it", sent.Flows, added)
	}
}
