package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// row is a row of the view flows as a reader gets it.
type row struct {
	FlowStart, FlowEnd, ReceivedAt             time.Time
	Packets, Bytes, PacketsScaled, BytesScaled int64
	SamplingRate                               *int32
	InIf, OutIf, SrcAS, DstAS                  *int64
	ExporterID                                 int32
	SrcPort, DstPort, VLAN                     *int32
	Protocol, Marks                            int16
	TCPFlags, TOS, EndReason                   *int16
	ICMPType, ICMPCode, Direction              *int16
	SrcMask, DstMask                           *int16
	SrcAddr, DstAddr, NextHop                  *netip.Addr
	Extra                                      *string
}

const rowSQL = `select flow_start, flow_end, received_at, packets, bytes, packets_scaled, bytes_scaled, sampling_rate,
	in_if, out_if, src_as, dst_as, exporter_id, src_port, dst_port, vlan, protocol, marks, tcp_flags, tos, end_reason,
	icmp_type, icmp_code, direction, src_mask, dst_mask, src_addr, dst_addr, next_hop, extra::text as extra from flows`

// rowOf says in the reader's words what was written; the law that the encoder
// has to keep, put differently.
func rowOf(r flow.Record) row {
	null := func(v uint32) *int64 {
		if v == 0 {
			return nil
		}
		return new(int64(v))
	}
	small := func(v uint16, there bool) *int16 {
		if !there {
			return nil
		}
		return new(int16(v))
	}
	port := func(v uint16, there bool) *int32 {
		if !there {
			return nil
		}
		return new(int32(v))
	}
	address := func(a flow.Addr, there bool) *netip.Addr {
		switch {
		case !there:
			return nil
		case r.IPVersion == 6:
			return new(netip.AddrFrom16(a))
		}
		return new(a.Netip())
	}
	clamp := func(v uint64) int64 {
		if v > math.MaxInt64 {
			r.Marks |= flow.MarkClamped
			return math.MaxInt64
		}
		return int64(v)
	}
	scaled := func(v int64, rate uint32) int64 {
		if rate <= 1 {
			return v
		}
		return min(v, math.MaxInt64/int64(rate)) * int64(rate)
	}
	typ, code, icmp := r.ICMP()
	w := row{
		FlowStart: r.Start.Time(), FlowEnd: r.End.Time(), ReceivedAt: r.Received.Time(),
		Packets: clamp(r.Packets), Bytes: clamp(r.Bytes),
		InIf: null(r.InIf), OutIf: null(r.OutIf), SrcAS: null(r.SrcAS), DstAS: null(r.DstAS), ExporterID: int32(r.Exporter),
		SrcPort: port(r.SrcPort, r.HasPorts()), DstPort: port(r.DstPort, r.HasPorts()), VLAN: port(r.VLAN, r.VLAN != 0),
		Protocol: int16(r.Protocol), TCPFlags: small(uint16(r.TCPFlags), r.Protocol == flow.TCP), TOS: small(uint16(r.TOS), true),
		EndReason: small(uint16(r.EndReason), r.EndReason != 0), ICMPType: small(uint16(typ), icmp), ICMPCode: small(uint16(code), icmp),
		Direction: small(uint16(r.Direction)-1, r.Direction != 0), SrcMask: small(uint16(r.SrcMask), r.SrcMask != 0), DstMask: small(uint16(r.DstMask), r.DstMask != 0),
		SrcAddr: address(r.SrcAddr, r.IPVersion != 0), DstAddr: address(r.DstAddr, r.IPVersion != 0),
	}
	if !r.NextHop.IsZero() {
		w.NextHop = new(r.NextHop.Netip())
	}
	rate := r.SamplingRate
	if rate > math.MaxInt32 {
		rate = math.MaxInt32
		r.Marks |= flow.MarkClamped
	}
	if rate != 0 {
		w.SamplingRate = new(int32(rate))
	}
	w.PacketsScaled, w.BytesScaled = scaled(w.Packets, rate), scaled(w.Bytes, rate)
	w.Marks = int16(r.Marks)
	if r.Extra != nil {
		w.Extra = new(string(r.Extra))
	}
	return w
}

// anyRecord draws records that a decoder could make.
func anyRecord() *rapid.Generator[flow.Record] {
	address := rapid.Custom(func(t *rapid.T) flow.Addr {
		var a flow.Addr
		copy(a[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		return a
	})
	address4 := rapid.Custom(func(t *rapid.T) flow.Addr {
		return flow.Addr4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
	})
	return rapid.Custom(func(t *rapid.T) flow.Record {
		r := flow.Record{
			End:     storetest.Noon + flow.Time(rapid.Int64Range(int64(-3*flow.Hour), int64(flow.Hour)).Draw(t, "end")),
			Packets: rapid.Uint64().Draw(t, "packets"), Bytes: rapid.Uint64().Draw(t, "bytes"),
			TCPFlags:  flow.TCPFlags(rapid.Uint16Range(0, 511).Draw(t, "flags")),
			EndReason: flow.EndReason(rapid.Byte().Draw(t, "reason")), Direction: rapid.ByteRange(0, 2).Draw(t, "direction"),
			SrcMask: rapid.Byte().Draw(t, "srcMask"), DstMask: rapid.Byte().Draw(t, "dstMask"),
			SrcAS: rapid.Uint32().Draw(t, "srcAS"), DstAS: rapid.Uint32().Draw(t, "dstAS"),
			Received: storetest.Noon + flow.Hour, Exporter: flow.ExporterID(rapid.Int32Range(1, math.MaxInt32).Draw(t, "exporter")),
			SamplingRate: rapid.Uint32().Draw(t, "rate"), Marks: flow.Marks(rapid.Uint16Range(0, 15).Draw(t, "marks")),
			Key: flow.Key{
				InIf: rapid.Uint32().Draw(t, "inIf"), OutIf: rapid.Uint32().Draw(t, "outIf"),
				SrcPort: rapid.Uint16().Draw(t, "srcPort"), DstPort: rapid.Uint16().Draw(t, "dstPort"), VLAN: rapid.Uint16Range(0, 4095).Draw(t, "vlan"),
				IPVersion: rapid.SampledFrom([]uint8{0, 4, 6}).Draw(t, "version"),
				Protocol:  flow.Protocol(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{1, 6, 17, 58})).Draw(t, "protocol")),
				TOS:       rapid.Byte().Draw(t, "tos"),
			},
		}
		r.Start = r.End - flow.Time(rapid.Int64Range(0, int64(flow.MaxDuration)).Draw(t, "duration"))
		switch r.IPVersion {
		case 4:
			r.SrcAddr, r.DstAddr = address4.Draw(t, "src"), address4.Draw(t, "dst")
		case 6:
			r.SrcAddr, r.DstAddr = address.Draw(t, "src"), address.Draw(t, "dst")
		}
		r.NextHop = rapid.OneOf(rapid.Just(flow.Addr{}), address4, address).Draw(t, "nextHop")
		r.Extra = rapid.SampledFrom([][]byte{nil, []byte(`{"applicationName": "ntp"}`), []byte(`{"a": [1, {"b": null}]}`)}).Draw(t, "extra")
		return r
	})
}

// What is written is what is read: every column of every record, through COPY
// and the view.
func TestRoundTrip(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	var batch int32
	rapid.Check(t, func(t *rapid.T) {
		recs := rapid.SliceOfN(anyRecord(), 1, 50).Draw(t, "records")
		before := slices.Clone(recs)
		if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
		batch++
		rows, err := conn.Query(ctx, rowSQL+" where batch = $1", batch)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[row])
		if err != nil {
			t.Fatal(err)
		}
		want := make([]row, len(recs))
		for i := range recs {
			if fmt.Sprint(recs[i]) != fmt.Sprint(before[i]) {
				t.Fatal("Write changed a record")
			}
			want[i] = rowOf(recs[i])
		}
		a, b := texts(got), texts(want)
		if !slices.Equal(a, b) {
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Fatalf("read\n%s\nwritten\n%s", a[i], b[i])
				}
			}
			t.Fatalf("read %d rows, written %d", len(a), len(b))
		}
	})
}

func texts(rows []row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		r.FlowStart, r.FlowEnd, r.ReceivedAt = r.FlowStart.UTC(), r.FlowEnd.UTC(), r.ReceivedAt.UTC()
		b, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		out[i] = string(b)
	}
	slices.Sort(out)
	return out
}

// JSON that jsonb would refuse must not take its batch with it: it is cleaned or
// left out, and the row says so.
func TestExtraThatJSONBRefuses(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	for _, c := range []struct {
		name, in, want string // want "" is null
		clamped        bool
	}{
		{"as it should be", `{"a": "b"}`, `{"a": "b"}`, false},
		{"escaped NUL", `{"a": "x\u0000y"}`, `{"a": "xy"}`, true},
		{"raw NUL", "{\"a\": \"x\x00y\"}", "", true},
		{"half of a surrogate pair", `{"a": "\ud800"}`, `{"a": "` + "\uFFFD" + `"}`, true},
		{"an escape it would take", `{"a": "\u0041"}`, `{"a": "A"}`, true},
		{"bytes that are no UTF-8", "{\"a\": \"\xff\"}", `{"a": "` + "\uFFFD" + `"}`, true},
		{"a number beyond numeric", `{"a": 1e999999}`, `{"a": "1e999999"}`, true},
		{"a number with an exponent", `{"a": 1.5E3}`, `{"a": 1500}`, true},
		{"a number next to nothing", `{"a": 1e-999999}`, `{"a": 0}`, true},
		{"nested too deep", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), "", true},
		{"no object", `[1]`, "", true},
		{"no JSON", `{"a"`, "", true},
		{"two of them", `{} {}`, "", true},
		{"nothing", ``, "", true},
		{"too long", `{"a": "` + strings.Repeat("x", 70_000) + `"}`, "", true},
		{"false and true", `{"a": [false, true, null]}`, `{"a": [false, true, null]}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := storetest.Record(storetest.Noon)
			r.Extra = []byte(c.in)
			if err := w.Write(context.Background(), flow.Batch{Records: []flow.Record{r}}); err != nil {
				t.Fatal(err)
			}
			const last = " from flows order by batch desc limit 1"
			if got := storetest.Get[string](t, conn, "select coalesce(extra::text, '')"+last); got != c.want {
				t.Errorf("stored %q, want %q", got, c.want)
			}
			if got := storetest.Get[bool](t, conn, "select marks & 2 <> 0"+last); got != c.clamped {
				t.Errorf("marked as clamped: %v", got)
			}
		})
	}
}

// Times that could not be shared out later are repaired, whoever hands them in.
func TestImpossibleTimes(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	for _, c := range []struct {
		name                 string
		start, end, received flow.Time
	}{
		{"none at all", 0, 0, 0},
		{"no time of receipt", storetest.Noon, storetest.Noon, 0},
		{"end before start", storetest.Noon, storetest.Noon - 1, storetest.Noon},
		{"a year long", storetest.Noon - 365*flow.Day, storetest.Noon, storetest.Noon},
		{"year 30000", storetest.Noon, 900_000_000_000_000, storetest.Noon},
		{"before 1970", -5, 5, storetest.Noon},
		{"received in the year 30000", storetest.Noon, storetest.Noon, 900_000_000_000_000},
		{"largest", math.MaxInt64, math.MaxInt64, storetest.Noon},
		{"smallest", math.MinInt64, math.MinInt64, storetest.Noon},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := storetest.Record(storetest.Noon)
			r.Start, r.End, r.Received = c.start, c.end, c.received
			if err := w.Write(context.Background(), flow.Batch{Records: []flow.Record{r}}); err != nil {
				t.Fatal(err)
			}
			if !storetest.Get[bool](t, conn, `select flow_start <= flow_end and flow_end - flow_start <= interval '35 days'
				and flow_end <= received_at + interval '1 hour' from flows order by batch desc limit 1`) {
				t.Error("stored with impossible times")
			}
		})
	}
}

// Many writers that meet in partitions none of them has made store everything.
func TestWritersMakeTheSamePartitions(t *testing.T) {
	db, dsn, conn := storetest.Open(t)
	other, err := store.Open(context.Background(), dsn) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const writers, batches, hours = 6, 5, 7
	var group sync.WaitGroup
	shared := [2]*ingest.Writer{ingest.NewWriter(db, ingest.WriterConfig{}), ingest.NewWriter(other, ingest.WriterConfig{})}
	for i := range writers {
		group.Go(func() {
			for range batches {
				var recs []flow.Record
				for h := range hours {
					r := storetest.Record(storetest.Noon - flow.Time(h)*flow.Hour)
					r.Received = storetest.Noon
					recs = append(recs, r)
				}
				if err := shared[i%2].Write(context.Background(), flow.Batch{Records: recs}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != writers*batches*hours {
		t.Errorf("%d flows stored, want %d", n, writers*batches*hours)
	}
	if n := storetest.Get[int](t, conn, "select count(distinct batch) from flows"); n != writers*batches {
		t.Errorf("%d batches, want %d", n, writers*batches)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition p join pg_class c on c.relname = p.name and c.relispartition"); n != hours {
		t.Errorf("%d partitions, want %d", n, hours)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from batches where records = 7 and packets = 21 and bytes = 10500 and summed_at is null"); n != writers*batches {
		t.Errorf("%d batches with the right sums, want %d", n, writers*batches)
	}
}

// A question about one hour reads that hour's partition and those in which a
// flow of that hour ends; nobody who asks without the exporter pays for it.
func TestPruning(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	var recs []flow.Record
	for h := range flow.Time(10) {
		recs = append(recs, storetest.Record(storetest.Noon-h*flow.Hour))
	}
	long := storetest.Record(storetest.Noon) // starts three hours before it ends
	long.Start -= 3 * flow.Hour
	if err := w.Write(context.Background(), flow.Batch{Records: append(recs, long)}); err != nil {
		t.Fatal(err)
	}
	from := (storetest.Noon - 5*flow.Hour).Floor(flow.Hour)
	explain := func(sql string) string {
		rows, err := conn.Query(context.Background(), "explain (analyze, costs off, timing off, summary off) "+sql, pgx.QueryExecModeSimpleProtocol, from.Time(), (from + flow.Hour).Time())
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	touched := func(plan string) (n int) {
		for line := range strings.Lines(plan) {
			if strings.Contains(line, "Scan on flows_") && !strings.Contains(line, "never executed") {
				n++
			}
		}
		return n
	}
	plan := explain("select sum(bytes) from flows where flow_end >= $1 and flow_end < $2")
	if touched(plan) != 1 {
		t.Errorf("one hour of flow_end reads\n%s", plan)
	}
	if strings.Contains(plan, "exporter") {
		t.Errorf("a sum pays for the exporter's name:\n%s", plan)
	}
	// Hours -5 … -4 hold what starts in hour -5 as far as they know: every
	// partition's flows start in it, but for the last, where one starts at -3.
	plan = explain("select count(*) from flows where flow_end >= $1 and flow_end < (select flows_until($2))")
	if touched(plan) != 1 {
		t.Errorf("one hour with its long flows reads\n%s", plan)
	}
	from += 3 * flow.Hour // now the long flow matters: hours -2 … 0
	plan = explain("select count(*) from flows where flow_end >= $1 and flow_end < (select flows_until($2))")
	if touched(plan) != 3 {
		t.Errorf("an hour in which a long flow starts reads\n%s", plan)
	}
	for _, r := range append(recs, long) {
		until := storetest.Get[time.Time](t, conn, "select flows_until($1)", (r.Start + 1).Time())
		if !r.End.Time().Before(until) {
			t.Errorf("flow [%v, %v] ends after flows_until = %v", r.Start, r.End, until)
		}
	}
}

// Strange times make only so many partitions; what has no room is stored at its
// time of receipt and says so.
func TestPartitionLimit(t *testing.T) {
	db, _, conn := storetest.Open(t)
	reg := prometheus.NewRegistry()
	w := ingest.NewWriter(db, ingest.WriterConfig{MaxPartitions: 5, Registerer: reg})
	var recs []flow.Record
	for h := range flow.Time(20) {
		r := storetest.Record(storetest.Noon - (19-h)*flow.Hour)
		r.Received = storetest.Noon + flow.Minute
		recs = append(recs, r)
	}
	for range 2 { // the second time nobody asks the database for room
		if err := w.Write(context.Background(), flow.Batch{Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 40 {
		t.Errorf("%d flows stored, want 40", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition"); n != 6 {
		t.Errorf("%d partitions, want 5 and that of receipt", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where marks & 8 <> 0 and flow_start = received_at and flow_end = received_at"); n != 28 {
		t.Errorf("%d flows moved to their time of receipt, want 28", n)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where marks = 0"); n != 12 {
		t.Errorf("%d flows stored as they are, want 12", n)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n == 0 {
		t.Error(n, err)
	}
}

// A batch whose commit was not answered is sent again, and is stored once,
// whether the commit had happened or not.
func TestLostAnswer(t *testing.T) {
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprintf("committed=%v", committed), func(t *testing.T) {
			db, dsn, conn := storetest.Open(t)
			ctx := context.Background()
			admin := storetest.Connect(t, dsn)
			reg := prometheus.NewRegistry()
			var log bytes.Buffer
			w := ingest.NewWriter(db, ingest.WriterConfig{Registerer: reg, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			times := 0
			ingest.OnCommit(w, func(c *pgx.Conn) {
				if times++; times > 1 {
					return
				}
				if committed {
					if _, err := c.Exec(ctx, "commit"); err != nil {
						t.Error(err)
					}
				}
				// From here on the writer hears nothing any more.
				if _, err := admin.Exec(ctx, "select pg_terminate_backend($1)", c.PgConn().PID()); err != nil {
					t.Error(err)
				}
			})
			recs := []flow.Record{storetest.Record(storetest.Noon), storetest.Record(storetest.Noon - flow.Hour)}
			if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
				t.Fatal(err)
			}
			if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 2 {
				t.Errorf("%d flows stored, want 2", n)
			}
			if n := storetest.Get[int](t, conn, "select count(*) from batches"); n != 1 {
				t.Errorf("%d batches, want 1", n)
			}
			// One line when it goes wrong, one when it works again.
			if n := strings.Count(log.String(), "\n"); n != 2 {
				t.Errorf("log of one outage has %d lines:\n%s", n, &log)
			}
		})
	}
}

// An identifier that another batch has, as after restoring an old copy of the
// database, does not make the store believe that the rows are there.
func TestIdentifierInUse(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	if _, err := conn.Exec(ctx, `insert into batches (id, received_from, received_to, min_end, max_end, records, packets, bytes)
		values (1, now(), now(), now(), now(), 1, 3, 1500)`); err != nil {
		t.Fatal(err)
	}
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if id := storetest.Get[int](t, conn, "select batch from flows"); id != 65 {
		t.Errorf("stored as batch %d, want the first of the next block", id)
	}
}

// What the database refuses because of a value is given back at once; the next
// batch is not held up.
func TestRefused(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "alter table parts.flows add constraint no_port_23 check (dst_port <> 23)"); err != nil {
		t.Fatal(err)
	}
	bad := storetest.Record(storetest.Noon)
	bad.DstPort = 23
	err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon), bad}})
	var refused *ingest.RefusedError
	if !errors.Is(err, ingest.ErrRefused) || !errors.As(err, &refused) || refused.Records != 2 {
		t.Fatalf("a row against a constraint gives %v", err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.ConstraintName != "no_port_23" {
		t.Errorf("the error does not say which constraint: %v", err)
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 2 {
		t.Errorf("%d flows stored, want 2: nothing of the refused batch", n)
	}
}

// A partition that somebody removed in the meantime is made again.
func TestRemovedPartition(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	hour := storetest.Noon.Floor(flow.Hour)
	name := "parts." + store.PartitionName(hour)
	for i, how := range [][]string{
		{},
		{"delete from parts.partition", "alter table parts.flows detach partition " + name, "drop table " + name},
		// Detached but not dropped yet: rows in it would never be seen again.
		{"delete from parts.partition", "alter table parts.flows detach partition " + name, "alter table " + name + " rename to gone", "alter table parts.gone rename to " + store.PartitionName(hour-flow.Hour)},
	} {
		for _, sql := range how {
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
			t.Fatal(err)
		}
		if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 1 {
			t.Errorf("case %d: %d flows to be seen, want 1", i, n)
		}
	}
	// Still attached in our eyes, detached in truth, its row deleted: the table is
	// moved aside, with its rows, and another one made.
	for _, sql := range []string{"delete from parts.partition", "alter table parts.flows detach partition " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 1 {
		t.Errorf("%d flows to be seen, want 1", n)
	}
}

// A stranger's odd address or port does not make the view fail for everybody.
func TestViewOutlivesOddValues(t *testing.T) {
	db, _, conn := storetest.Open(t)
	var recs []flow.Record
	for _, extra := range []string{
		`{"postNATSourceIPv4Address":"0102030405"}`, `{"postNATDestinationIPv6Address":"01"}`,
		`{"postNAPTSourceTransportPort":99999999999}`, `{"postNAPTDestinationTransportPort":"0a0b"}`,
		`{"postNATSourceIPv6Address":"2001:db8::1","postNATDestinationIPv4Address":"192.0.2.9","postNAPTSourceTransportPort":65535}`,
	} {
		r := storetest.Record(storetest.Noon)
		r.Extra = []byte(extra)
		recs = append(recs, r)
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(context.Background(), flow.Batch{Records: recs}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.Get[string](t, conn, "select string_agg(concat_ws(' ', nat_src_addr, nat_dst_addr, nat_src_port, nat_dst_port), '') from flows"); got != "2001:db8::1 192.0.2.9 65535" {
		t.Errorf("the view shows %q", got)
	}
}

// An hour that was removed and made again by others has forgotten how early its
// flows may start; a writer that remembers says it again.
func TestPartitionMadeAgain(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	long := storetest.Record(storetest.Noon)
	long.Start = storetest.Noon - 5*flow.Hour
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{long}}); err != nil {
		t.Fatal(err)
	}
	name := "parts." + store.PartitionName(storetest.Noon.Floor(flow.Hour))
	for _, sql := range []string{"delete from parts.partition", "alter table parts.flows detach partition " + name, "drop table " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := ingest.NewWriter(db, ingest.WriterConfig{}).Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{long}}); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows where flow_start < $1 and flow_end < (select flows_until($1))", (storetest.Noon - 4*flow.Hour).Time()); n != 1 {
		t.Errorf("a range that the long flow crosses has %d flows, want 1", n)
	}
}

// A pool of one connection is enough to find out what became of a report.
func TestLostAnswerWithOneConnection(t *testing.T) {
	_, dsn, conn := storetest.Open(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("pool_max_conns", "1")
	u.RawQuery = q.Encode()
	db, err := store.Open(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	ingest.OnCommit(w, func(c *pgx.Conn) {
		for _, err := range []error{
			func() error { _, err := c.Exec(ctx, "commit"); return err }(),
			c.PgConn().Conn().Close(),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := w.Report(ctx, flow.Report{Loss: []flow.Loss{{Minute: storetest.Noon, Stage: "way", Cause: "missing", Unit: "record", Count: 2}}}); err != nil {
		t.Error(err)
	}
	if n := storetest.Get[int](t, conn, "select count from loss"); n != 2 {
		t.Errorf("loss is %d, want 2", n)
	}
}

// Write waits through a restart of the database, and what it was given before
// and during it is there afterwards, once.
func TestRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := postgres.Config{Dir: pgtest.Dir(t)}
	s := pgtest.Start(t, c)
	dsn := s.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	const writers = 3
	var group sync.WaitGroup
	stop := make(chan struct{})
	written := make([]int, writers)
	for i := range writers {
		group.Go(func() {
			for {
				if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon), storetest.Record(storetest.Noon - flow.Hour)}}); err != nil {
					t.Error(err)
					return
				}
				written[i] += 2
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.Report(ctx, flow.Report{Loss: []flow.Loss{{Minute: storetest.Noon, Stage: "receive", Cause: "kernel", Unit: "datagram", Count: 1}}}); err == nil {
		t.Error("a report was stored while the database was away")
	}
	pgtest.Start(t, c)
	// Each writer comes through with the batch it was at.
	close(stop)
	group.Wait()
	sum := 0
	for _, n := range written {
		sum += n
	}
	conn := storetest.Connect(t, dsn)
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != sum {
		t.Errorf("%d flows stored, %d acknowledged", n, sum)
	}
}

// A Write whose context ends gives up and says so.
func TestWriteGivesUp(t *testing.T) {
	db, _, conn := storetest.Open(t)
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	if err := w.Write(context.Background(), flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(context.Background(), "lock table batches"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{storetest.Record(storetest.Noon)}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Write gives %v", err)
	}
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from flows"); n != 1 {
		t.Errorf("%d flows stored, want 1", n)
	}
}

// Status is replaced, loss is added, and the partitions of now are there.
func TestReport(t *testing.T) {
	db, dsn, conn := storetest.Open(t)
	ctx := context.Background()
	w := ingest.NewWriter(db, ingest.WriterConfig{})
	status := flow.ExporterStatus{
		Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 7}), Domain: math.MaxUint32}, Version: 10,
		FirstSeen: storetest.Noon, LastSeen: storetest.Noon + flow.Second, ClockOffset: -1500, SamplingRate: 0,
		Datagrams: 1, Records: 2, Packets: 3, Bytes: math.MaxUint64, Templates: 4,
	}
	six := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("2001:db8::1"))}, Version: 5, FirstSeen: storetest.Noon, LastSeen: storetest.Noon, SamplingRate: 100}
	cell := flow.Loss{Minute: storetest.Noon + 5, Exporter: status.Exporter.ID(), Stage: "decode", Cause: "no template", Unit: "set", Count: 2}
	huge := flow.Loss{Minute: storetest.Noon, Stage: "way", Cause: "missing", Unit: "record", Count: math.MaxUint64}
	for range 2 {
		if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{status, six}, Loss: []flow.Loss{cell, cell, huge}}); err != nil {
			t.Fatal(err)
		}
		status.Datagrams = 10
	}
	if got := storetest.Get[string](t, conn, `select concat_ws(' ', e.label, e.addr, e.observation_domain, s.version, s.datagrams, s.records, s.packets, s.bytes, s.templates, s.clock_offset_ms, s.sampling_rate is null)
		from exporters e join exporter_status s on s.exporter_id = e.id where e.id = $1`, int32(status.Exporter.ID())); got != "192.0.2.7 192.0.2.7 4294967295 10 10 2 3 9223372036854775807 4 -1500 t" {
		t.Errorf("status: %s", got)
	}
	if got := storetest.Get[string](t, conn, "select string_agg(concat_ws(' ', minute at time zone 'UTC', stage, cause, unit, count), '; ' order by stage) from loss"); got != "2025-11-21 12:30:00 decode no template set 8; 2025-11-21 12:30:00 way missing record 9223372036854775807" {
		t.Errorf("loss: %s", got)
	}
	if n := storetest.Get[int](t, conn, "select count(*) from parts.partition where hour in (date_trunc('hour', now()), date_trunc('hour', now()) + interval '1 hour')"); n != 2 {
		t.Errorf("%d of the partitions of this hour and the next are made", n)
	}

	// The name that people give is the flow's exporter from then on.
	r := storetest.Record(storetest.Noon)
	r.Exporter = status.Exporter.ID()
	if err := w.Write(ctx, flow.Batch{Records: []flow.Record{r}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sql, want string }{
		{"select", "192.0.2.7"},
		{"insert into console.exporters (id, name) values ($1, 'core')", "core"},
		{"update console.exporters set name = 'edge' where id = $1", "edge"},
		{"update console.exporters set name = '' where id = $1", "192.0.2.7"},
		{"update console.exporters set name = 'x' where id = $1", "x"},
		{"delete from console.exporters where id = $1", "192.0.2.7"},
	} {
		if c.sql != "select" {
			if _, err := conn.Exec(ctx, c.sql, int32(r.Exporter)); err != nil {
				t.Fatal(err)
			}
		}
		if n := storetest.Get[int](t, conn, "select count(*) from flows where exporter = $1", c.want); n != 1 {
			t.Errorf("after %q: %d flows of exporter %q", c.sql, n, c.want)
		}
	}

	// The answer to a commit is lost: nothing is added twice.
	admin := storetest.Connect(t, dsn)
	for _, committed := range []bool{true, false} {
		ingest.OnCommit(w, func(c *pgx.Conn) {
			if committed {
				if _, err := c.Exec(ctx, "commit"); err != nil {
					t.Error(err)
				}
			}
			if _, err := admin.Exec(ctx, "select pg_terminate_backend($1)", c.PgConn().PID()); err != nil {
				t.Error(err)
			}
			ingest.OnCommit(w, nil)
		})
		if err := w.Report(ctx, flow.Report{Loss: []flow.Loss{cell}}); (err == nil) != committed {
			t.Errorf("committed %v, reported %v", committed, err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count from loss where stage = 'decode'"); n != 10 {
		t.Errorf("loss is %d, want 10", n)
	}
}

// Two exporters with one identifier are never taken for one: the second is
// refused by name.
func TestIdentifierOfAnotherExporter(t *testing.T) {
	db, _, conn := storetest.Open(t)
	ctx := context.Background()
	late := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 7}), Domain: 3}, Version: 9, FirstSeen: storetest.Noon, LastSeen: storetest.Noon}
	other := flow.ExporterStatus{Exporter: flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 8})}, Version: 9, FirstSeen: storetest.Noon, LastSeen: storetest.Noon}
	if _, err := conn.Exec(ctx, "insert into parts.exporter (id, addr, observation_domain, first_seen) values ($1, '203.0.113.1', 9, now())", int32(late.Exporter.ID())); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	w := ingest.NewWriter(db, ingest.WriterConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		if err := w.Report(ctx, flow.Report{Status: []flow.ExporterStatus{late, other}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := storetest.Get[int](t, conn, "select count(*) from exporter_status where exporter_id = $1", int32(late.Exporter.ID())); n != 0 {
		t.Error("the status of the refused exporter is stored under another's name")
	}
	if n := storetest.Get[int](t, conn, "select count(*) from exporter_status"); n != 1 {
		t.Errorf("%d exporters have a status, want 1", n)
	}
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "192.0.2.7") || !strings.Contains(s, "203.0.113.1") {
		t.Errorf("the log does not name both, once:\n%s", s)
	}
}

// BenchmarkWrite is the rate at which batches of 10,000 records become durable,
// two connections at once, in a PostgreSQL with its ordinary safety.
func BenchmarkWrite(b *testing.B) {
	ctx := context.Background()
	s := pgtest.Start(b, postgres.Config{Dir: pgtest.Dir(b), Settings: map[string]string{"fsync": "on"}})
	dsn := s.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		b.Fatal(err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	w := ingest.NewWriter(db, ingest.WriterConfig{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	recs := make([]flow.Record, 10_000)
	for i := range recs {
		recs[i] = storetest.Record(storetest.Noon + flow.Time(i))
		recs[i].SrcPort = uint16(i)
	}
	b.ReportAllocs()
	b.SetParallelism(1) // GOMAXPROCS connections
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.Write(ctx, flow.Batch{Records: recs}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)*float64(len(recs))/b.Elapsed().Seconds(), "rows/s")
}
