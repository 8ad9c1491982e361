package answer_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// The SQL that an answer prints gives the same numbers when it is run later, whatever
// became of its batches meanwhile: it finds out when it runs which of them the roll-ups do
// not have. Its range is the answer's.
func TestPrintedSQLLater(t *testing.T) {
	ctx := context.Background()
	db, _, conn := storetest.Open(t)
	recs := storetest.Flows(rand.New(rand.NewPCG(91, 92)), 600)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	config := storetest.SmallKeeper(1000, 1000, 1000, 400, storetest.At(storetest.Noon))
	a := answer.New(db)
	question := query.Question{From: (storetest.Noon - 20*flow.Hour).Time(), To: (storetest.Noon + 26*flow.Hour).Time(), Limit: 5}
	var printed []*query.Top
	ask := func() {
		t.Helper()
		for _, keys := range [][]query.Key{{query.KeyDstPort}, {query.KeySrcAddr}, {query.KeyAddr}, {query.KeyProtocol, query.KeyExporter}} {
			for _, words := range []string{"", "ip 10.0.0.1", "proto udp"} {
				q := question
				q.Keys, q.Filter = keys, storetest.ParseFilter(t, words)
				got, err := a.Top(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				printed = append(printed, got)
			}
		}
	}
	check := func(stage string) {
		t.Helper()
		for _, was := range printed {
			q := question
			q.Keys, q.Filter = was.Keys, storetest.ParseFilter(t, was.Filter)
			now, err := a.Top(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if total := totalOf(t, conn, was.SQL); total != now.Total {
				t.Errorf("%s: %s %q: the SQL that was printed gives %+v, the answer now has %+v; it was %s", stage, query.JoinKeys(was.Keys), was.Filter, total, now.Total, was.Plan)
			}
		}
	}
	// A database with roll-ups, and batches that they do not have.
	storetest.WriteAll(t, w, recs[:300], 70)
	if err := storetest.SumOnly(ctx, db, config); err != nil {
		t.Fatal(err)
	}
	ask()
	storetest.WriteAll(t, w, recs[300:400], 30)
	ask()
	check("nothing happened")
	if err := storetest.SumOnly(ctx, db, config); err != nil {
		t.Fatal(err)
	}
	check("its batches were summed")
	ask()
	storetest.WriteAll(t, w, recs[400:], 50)
	check("more flows came")
	if err := storetest.SumOnly(ctx, db, config); err != nil {
		t.Fatal(err)
	}
	check("these were summed, too")
	config.Now = storetest.At(storetest.Noon + 3*flow.Day)
	if err := keeper.New(db, config).Sum(ctx); err != nil {
		t.Fatal(err)
	}
	check("everything was settled")
}

// totalOf runs the statement of a ranking and returns its total.
func totalOf(t *testing.T, conn *pgx.Conn, sql string) (total query.Sums) {
	t.Helper()
	rows, err := conn.Query(context.Background(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			t.Fatal(err)
		}
		if values[0] == "total" {
			number := func(back int) int64 { n, _ := values[len(values)-back].(int64); return n }
			total = query.Sums{Flows: number(4), Packets: number(3), Bytes: number(2)}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return total
}
