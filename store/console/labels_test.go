package console_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/query"
	"flowtally/store"
	"flowtally/store/console"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// The law of labels: whatever exporters come, are named, forgotten and come again, no two
// are called the same; what people say is the label as it is; an address alone is the label
// of none that shares it; a label finds the one that has it; and who comes with a name that
// another address has does not take it away.
func TestLabels(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.New(t)
	passwords := map[string]string{store.RoleWriter: "writer", store.RoleWeb: "web"}
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{Passwords: passwords}); err != nil {
		t.Fatal(err)
	}
	open := func(role, password string) *store.DB {
		db, err := store.Open(ctx, pgtest.As(t, dsn, role, password))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		return db
	}
	web, w := open(store.RoleWeb, "web"), ingest.NewWriter(open(store.RoleWriter, "writer"), ingest.WriterConfig{})
	c := console.New(web)
	rnd := rand.New(rand.NewPCG(120, 1))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	before := map[flow.ExporterID]console.ExporterRow{}
	for step := range 250 {
		e := flow.Exporter{Addr: flow.AddrFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + rnd.IntN(4))})), Domain: uint32(rnd.IntN(3))}
		var did string
		switch rnd.IntN(6) {
		case 0:
			name := pick("", "edge", "edge 192.0.2.1", "edge domain 1", "192.0.2.2 domain 1", "core")
			did = fmt.Sprintf("%s domain %d is named %q", e.Addr, e.Domain, name)
			err := c.RenameExporter(ctx, e.ID(), name)
			if _, refused := errors.AsType[*query.Error](err); refused && name == "192.0.2.2 domain 1" {
				break // what another is called that shares its address
			} else if name == "192.0.2.2 domain 1" {
				t.Fatalf("%s: %v", did, err)
			}
			if err != nil && !errors.Is(err, console.ErrTaken) && !errors.Is(err, console.ErrNotFound) {
				t.Fatal(err)
			}
		case 1:
			did = fmt.Sprintf("%s domain %d is forgotten", e.Addr, e.Domain)
			if err := c.ForgetExporter(ctx, e.ID()); err != nil && !errors.Is(err, console.ErrNotFound) {
				t.Fatal(err)
			}
		default:
			names := flow.Names{Listener: pick("", "", "edge"), Announced: pick("", "edge", "core"), DNS: pick("", "edge", "r1.example.net")}
			did = fmt.Sprintf("%s domain %d comes as %+v", e.Addr, e.Domain, names)
			s := flow.ExporterStatus{Exporter: e, Names: names, Version: 9, FirstSeen: storetest.Noon + flow.Time(step), LastSeen: storetest.Noon + flow.Time(step)}
			if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{s}}); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := c.Exporters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		labels, addrs := map[string]bool{}, map[netip.Addr]int{}
		for _, r := range rows {
			addrs[r.Addr]++
		}
		now := map[flow.ExporterID]console.ExporterRow{}
		for _, r := range rows {
			now[r.ID] = r
			if labels[r.Label] {
				t.Errorf("step %d, %s: two are called %q", step, did, r.Label)
			}
			labels[r.Label] = true
			if r.Name != "" && (r.Label != r.Name || r.NamedBy != console.NamedByPeople) {
				t.Errorf("step %d, %s: people call one %q, its label is %q by %s", step, did, r.Name, r.Label, r.NamedBy)
			}
			if r.NamedBy == console.NamedByItsAddress {
				want := r.Addr.String()
				if addrs[r.Addr] > 1 {
					want += fmt.Sprintf(" domain %d", r.ObservationDomain)
				}
				if r.Label != want && r.Label != fmt.Sprintf("%s (%d)", want, r.ID) {
					t.Errorf("step %d, %s: %q should be %q", step, did, r.Label, want)
				}
			}
			if was, ok := before[r.ID]; ok && r.Addr != e.Addr.Netip() && was.Label == was.Unnamed() && r.Label != was.Label && labelOf(rows, was.Label) != console.NamedByPeople {
				t.Errorf("step %d, %s: %q became %q", step, did, was.Label, r.Label)
			}
			if ids, err := find(ctx, web, r.Label); err != nil || len(ids) != 1 || ids[0] != int32(r.ID) {
				t.Errorf("step %d, %s: the label %q finds %v, %v", step, did, r.Label, ids, err)
			}
		}
		before = now
		if t.Failed() {
			return
		}
	}
}

// labelOf says whose name a label is.
func labelOf(rows []console.ExporterRow, label string) console.NamedBy {
	for _, r := range rows {
		if r.Label == label {
			return r.NamedBy
		}
	}
	return ""
}

func find(ctx context.Context, db *store.DB, word string) (ids []int32, err error) {
	err = db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		ids, err = store.FindExporters(ctx, tx, word)
		return err
	})
	return ids, err
}
