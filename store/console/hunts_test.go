package console_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// Every hunt of docs/hunts.md runs as a reader, and reads only the hours and the
// roll-ups of its range.
func TestHunts(t *testing.T) {
	ctx := context.Background()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "hunts.md"))
	if err != nil {
		t.Fatal(err)
	}
	hunts := regexp.MustCompile("(?s)## ([^\n]+)\n.*?```sql\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(hunts) != 10 {
		t.Fatalf("%d hunts, want 10", len(hunts))
	}
	dsn := pgtest.Empty(t)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: map[string]string{store.RoleReader: "r"}}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// Flows of now, and of a hundred days and two years ago: what nobody asks for.
	now := flow.TimeOf(time.Now())
	var recs []flow.Record
	for _, end := range []flow.Time{now, now - 2*flow.Hour, now - 100*flow.Day, now - 700*flow.Day} {
		for i := range 200 {
			r := storetest.Record(end)
			r.Start, r.End, r.Received = r.Start-flow.Minute, r.End-flow.Minute, now
			r.DstAddr = flow.Addr4([4]byte{192, 0, 2, byte(i)})
			r.DstPort, r.Packets = uint16(443), 2
			recs = append(recs, r)
		}
	}
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 100)
	k := keeper.New(db, keeper.Config{})
	if err := k.Sum(ctx); err != nil {
		t.Fatal(err)
	}
	reader := storetest.Connect(t, pgtest.As(t, dsn, store.RoleReader, "r"))
	found := make(map[string]int)
	for _, h := range hunts {
		name, sql := h[1], h[2]
		rows, err := reader.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for rows.Next() {
			found[name]++
		}
		if err := rows.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rows, err = reader.Query(ctx, "explain "+sql, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, ago := range []flow.Time{100 * flow.Day, 700 * flow.Day} {
			then := (now - ago - flow.Minute).Time()
			for _, old := range []string{store.PartitionName((now - ago - flow.Minute).Floor(flow.Hour)), then.Format("traffic_1m_20060102"), then.Format("traffic_1h_200601"), then.Format("traffic_1d_2006") + " "} {
				if old == time.Now().UTC().Format("traffic_1d_2006")+" " || old == now.Time().AddDate(0, 0, -30).Format("traffic_1d_2006")+" " {
					continue // the year of the question itself
				}
				if strings.Contains(strings.Join(plan, "\n")+" ", old) {
					t.Errorf("%s reads %s:\n%s", name, old, strings.Join(plan, "\n"))
				}
			}
		}
	}
	for _, name := range []string{"Who scanned?", "Does one host own all flows?", "Which conversations go one way only?"} {
		if found[name] == 0 {
			t.Errorf("%s finds nothing", name)
		}
	}
}

// The console's hunts are those of the documentation, and each runs.
func TestHuntsAreThoseOfTheDocumentation(t *testing.T) {
	read := func(path ...string) string {
		b, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if read("hunts.txt") != read("..", "..", "docs", "hunts.md") {
		t.Error("store/console/hunts.txt is not docs/hunts.md: copy it")
	}
	h := storetest.NewHouse(t, storetest.SomeFlows(20))
	hunts := console.Hunts()
	if len(hunts) != 10 {
		t.Fatalf("%d hunts, want 10", len(hunts))
	}
	for _, hunt := range hunts {
		if hunt.Question == "" {
			t.Errorf("%s says nothing", hunt.Name)
		}
		if _, err := console.New(h.Db).RunSQL(context.Background(), console.SQLQuestion{SQL: hunt.SQL}); err != nil {
			t.Errorf("%s: %v", hunt.Name, err)
		}
	}
}
