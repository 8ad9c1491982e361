// Package storetest makes databases with flows in them, and keepers with small limits, for
// tests.
package storetest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/rollup"
)

// GrainTables are the views of the roll-ups, and the length of their buckets.
var GrainTables = []struct {
	Table  string
	Length flow.Time
}{{"traffic_1m", flow.Minute}, {"traffic_1h", flow.Hour}, {"traffic_1d", flow.Day}}

// Flows are random flows around noon: short, long and without duration, of
// several exporters, rates and protocols.
func Flows(rnd *rand.Rand, n int) []flow.Record {
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.End = Noon + flow.Time(rnd.IntN(int(40*flow.Minute)))
		var length flow.Time
		switch rnd.IntN(20) {
		case 0:
			length = flow.Time(rnd.IntN(int(5 * flow.Hour)))
		case 1:
			length = 0
		case 2:
			r.End = r.End.Floor(flow.Minute)
			length = flow.Minute * flow.Time(rnd.IntN(3))
		default:
			length = flow.Time(rnd.IntN(int(2 * flow.Minute)))
		}
		r.Start = r.End - length
		r.Received = r.End + flow.Second
		r.Packets = uint64(1 + rnd.IntN(1<<rnd.IntN(16)))
		r.Bytes = r.Packets * uint64(40+rnd.IntN(1400))
		r.Exporter = flow.ExporterID(1 + rnd.IntN(2))
		r.SamplingRate = uint32(100 * max(0, rnd.IntN(4)-2))
		r.Protocol = []flow.Protocol{flow.TCP, flow.TCP, flow.UDP, flow.ICMP}[rnd.IntN(4)]
		host := func() byte { return byte(rnd.ExpFloat64() * 12) }
		switch rnd.IntN(10) {
		case 0:
			r.IPVersion = 0
		case 1:
			r.IPVersion = 6
			r.SrcAddr, r.DstAddr = flow.Addr{0: 0x20, 1: 1, 15: host()}, flow.Addr{0: 0x20, 1: 2, 15: host()}
		default:
			r.IPVersion = 4
			r.SrcAddr, r.DstAddr = flow.Addr4([4]byte{10, 0, 0, host()}), flow.Addr4([4]byte{192, 0, 2, host()})
		}
		r.SrcPort, r.DstPort = uint16(rnd.IntN(60)), []uint16{80, 443, 53}[rnd.IntN(3)]
		if r.Protocol == flow.ICMP {
			r.SrcPort, r.DstPort = 0, 0x800
		}
		r.InIf, r.OutIf = uint32(rnd.IntN(3)), uint32(rnd.IntN(2))
		r.SrcAS, r.DstAS = uint32(rnd.IntN(4)), uint32(rnd.IntN(30))
		// Some between equal sides.
		if i%6 == 0 && r.IPVersion != 0 {
			r.DstAddr = r.SrcAddr
		}
		if i%7 == 0 && r.Protocol != flow.ICMP {
			r.SrcPort = r.DstPort
		}
	}
	return recs
}

// WriteAll writes records in batches of so many each.
func WriteAll(t testing.TB, w *ingest.Writer, recs []flow.Record, each int) {
	t.Helper()
	for len(recs) > 0 {
		n := min(each, len(recs))
		if err := w.Write(context.Background(), flow.Batch{Records: recs[:n]}); err != nil {
			t.Fatal(err)
		}
		recs = recs[n:]
	}
}

// At is a clock that stands still.
func At(t flow.Time) func() time.Time { return func() time.Time { return t.Time() } }

// NewHandoff returns a Handoff that Writers fill, as while a Keeper runs.
func NewHandoff(t testing.TB) *rollup.Handoff {
	h := rollup.NewHandoff()
	t.Cleanup(h.Begin())
	return h
}

// Handing returns the configuration of a Keeper that takes parcels from h.
func Handing(h *rollup.Handoff, c keeper.Config) keeper.Config {
	c.Handoff = h
	return c
}

// Noon is a moment in the middle of an hour.
const Noon flow.Time = 1_763_726_400_000 + 30*flow.Minute // 2025-11-21T12:30Z

// Open returns a fresh database, its URL, and a plain connection to it.
func Open(t testing.TB) (*store.DB, string, *pgx.Conn) {
	t.Helper()
	dsn := pgtest.New(t)
	db, err := store.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db, dsn, Connect(t, dsn)
}

// Connect returns a connection that the end of the test closes.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Record returns a record of a TCP flow that ends at end.
func Record(end flow.Time) flow.Record {
	return flow.Record{
		Start: end - 10*flow.Second, End: end, Received: end + flow.Second, Packets: 3, Bytes: 1500, Exporter: 7,
		Key: flow.Key{IPVersion: 4, Protocol: flow.TCP, SrcPort: 40000, DstPort: 443,
			SrcAddr: flow.Addr4([4]byte{10, 0, 0, 1}), DstAddr: flow.Addr4([4]byte{192, 0, 2, 1})},
	}
}

// Get returns the one value that a statement selects.
func Get[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// SmallKeeper is the configuration of a Keeper whose roll-ups keep few values: settled by
// each measure, perCell of each cell, pending until they are settled; with a settled of 0
// they are as in production. The Keeper sums so many records at once.
func SmallKeeper(settled, perCell, pending, records int, now func() time.Time) keeper.Config {
	grains := rollup.Grains
	for i := range grains {
		if settled > 0 {
			grains[i].Settled, grains[i].PerCell, grains[i].Pending = settled, perCell, pending
		}
	}
	return keeper.Config{Grains: &grains, SumRecords: records, Now: now}
}

// SumOnly sums all batches and settles nothing: nothing is due before 1970.
func SumOnly(ctx context.Context, db *store.DB, c keeper.Config) error {
	c.Now = func() time.Time { return time.UnixMilli(0) }
	return keeper.New(db, c).Sum(ctx)
}
