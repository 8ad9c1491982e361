package answer_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

func someEvents(n int) []flow.Event {
	list := make([]flow.Event, n)
	for i := range list {
		list[i] = flow.Event{
			// Seven of a millisecond; some hours before the end, too.
			Time: storetest.Noon - flow.Time(i/7)*flow.Minute, Received: storetest.Noon, Exporter: 7, Protocol: flow.TCP,
			SrcAddr: flow.AddrFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)})), NATSrcAddr: flow.AddrFrom(netip.MustParseAddr("198.51.100.7")),
			SrcPort: uint16(i), NATSrcPort: uint16(40000 + i), Firewall: flow.FirewallEvent(2 + i%3), Extra: fmt.Appendf(nil, `{"flowId":%d}`, i),
		}
	}
	return list
}

// Pages have every event once, in order, however they cut what is of one millisecond, and
// the SQL that an answer prints gives it.
func TestEventPages(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	const n = 300
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Events: someEvents(n)}); err != nil {
		t.Fatal(err)
	}
	a := answer.New(db)
	for _, limit := range []int{1000, 100, 10, 7, 5, 3} {
		for _, ascending := range []bool{false, true} {
			q := query.EventsQuestion{From: storetest.Noon.Time().Add(-24 * time.Hour), To: storetest.Noon.Time().Add(time.Minute), Limit: limit, Ascending: ascending}
			seen := make(map[int64]bool)
			last := time.Time{}
			for pages := 0; ; pages++ {
				if pages > n {
					t.Fatal("pages without end")
				}
				e, err := a.Events(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				for i, row := range e.Rows {
					port := row[slices.Index(e.Columns, "src_port")]
					if port == nil {
						port = int64(0)
					}
					if seen[port.(int64)] {
						t.Fatalf("limit %d: an event twice", limit)
					}
					seen[port.(int64)] = true
					if at := e.Time(i); !last.IsZero() && (ascending && at.Before(last) || !ascending && at.After(last)) {
						t.Fatalf("limit %d: %v after %v", limit, at, last)
					} else {
						last = at
					}
				}
				if e.Next == "" {
					break
				}
				q.After = e.Next
			}
			if len(seen) != n {
				t.Errorf("limit %d, ascending %v: %d events, want %d", limit, ascending, len(seen), n)
			}
		}
	}
	f, err := filter.ParseEvents("asa event teardown and src nat port < 40100 and nat ip 198.51.100.0/24")
	if err != nil {
		t.Fatal(err)
	}
	e, err := a.Events(ctx, query.EventsQuestion{From: storetest.Noon.Time().Add(-24 * time.Hour), To: storetest.Noon.Time().Add(time.Minute), Filter: f, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Rows) != 33 || e.Next != "" {
		t.Errorf("%d events match, want 33", len(e.Rows))
	}
	if got := storetest.Get[int](t, conn, "select count(*) from ("+e.SQL+") answer"); got != 33 {
		t.Errorf("the SQL gives %d events, want 33", got)
	}
	if !strings.Contains(e.Command, "flowtally events") || !strings.Contains(e.Command, "asa event") {
		t.Errorf("command %s", e.Command)
	}
	// Nothing of events is in flows, nor in a ranking of them.
	top, err := a.Top(ctx, query.Question{From: storetest.Noon.Time().Add(-24 * time.Hour), To: storetest.Noon.Time().Add(time.Minute), Keys: []query.Key{query.KeySrcAddr}})
	if err != nil || len(top.Rows) != 0 || top.Total.Flows != 0 {
		t.Errorf("a ranking has %+v, %v", top.Total, err)
	}
}

// Every column that the view has is listed, under its type.
func TestEventColumns(t *testing.T) {
	_, _, conn := storetest.Open(t)
	for i, c := range query.EventTable {
		want := c.Name + " " + map[string]string{"timestamptz": "timestamp with time zone", "int": "integer"}[c.Type]
		if strings.HasSuffix(want, " ") {
			want += c.Type
		}
		if got := storetest.Get[string](t, conn, "select attname || ' ' || format_type(atttypid, null) from pg_attribute where attrelid = 'events'::regclass and attnum = $1", i+1); got != want {
			t.Errorf("column %d is %s, want %s", i+1, got, want)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from pg_attribute where attrelid = 'events'::regclass and attnum > 0"); n != len(query.EventTable) {
		t.Errorf("the view has %d columns, we list %d", n, len(query.EventTable))
	}
}

// The words of the column kind are those of package flow.
func TestEventKinds(t *testing.T) {
	db, _, conn := storetest.Open(t)
	var list []flow.Event
	for i := range flow.FirewallKinds {
		list = append(list, flow.Event{Firewall: flow.FirewallEvent(i + 1)})
	}
	for i := range flow.NATKinds[1:] {
		list = append(list, flow.Event{NAT: flow.NATEvent(i + 1)})
	}
	list = append(list, flow.Event{Firewall: 100}, flow.Event{NAT: 100}, flow.Event{BlockFirst: 1}, flow.Event{NATSrcPort: 9})
	for i := range list {
		list[i].Time, list[i].Received = storetest.Noon+flow.Time(i), storetest.Noon
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(context.Background(), flow.Batch{Events: list}); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if got := storetest.Get[string](t, conn, "select kind from events order by time offset $1 limit 1", i); got != list[i].Kind() {
			t.Errorf("event %d is %q, want %q", i, got, list[i].Kind())
		}
	}
}
