package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"flowtally/flow"
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

// rowOf returns the row that a reader should get of a record. It says differently what the
// encoder has to do.
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
		{"an escape it would take", `{"a": "\u0041"}`, `{"a": "A"}`, false},
		{"a control character", `{"a": "x\u0001y", "applicationName": "ntp"}`, `{"a": "x\u0001y", "applicationName": "ntp"}`, false},
		{"what HTML escapes", `{"a": "<&\u003e"}`, `{"a": "<&>"}`, false},
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
