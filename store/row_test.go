package store

import (
	"errors"
	"maps"
	"testing"

	"flowtally/flow"
)

// rows are records that take every path through appendRow but that of JSON which
// has to be cleaned.
var rows = func() []flow.Record {
	key := flow.Key{
		IPVersion: 4, Protocol: flow.TCP, SrcPort: 40000, DstPort: 443, InIf: 3,
		SrcAddr: flow.Addr4([4]byte{10, 0, 0, 1}), DstAddr: flow.Addr4([4]byte{192, 0, 2, 1}),
	}
	tcp := flow.Record{Start: 1_763_726_400_000, End: 1_763_726_410_000, Received: 1_763_726_411_000, Packets: 3, Bytes: 1500, Exporter: 7, Key: key}
	icmp6 := tcp
	icmp6.IPVersion, icmp6.Protocol, icmp6.DstPort, icmp6.VLAN, icmp6.OutIf = 6, flow.ICMPv6, 128<<8, 12, 4
	icmp6.NextHop, icmp6.SrcAS, icmp6.DstAS, icmp6.SamplingRate = icmp6.DstAddr, 64512, 64513, 1000
	icmp6.EndReason, icmp6.Direction, icmp6.SrcMask, icmp6.DstMask = flow.EndIdleTimeout, 2, 64, 48
	huge := tcp
	huge.Packets, huge.Bytes, huge.SamplingRate, huge.NextHop = 1<<63, 1<<63, 1<<31, flow.Addr{15: 1}
	none := flow.Record{Start: 1, End: 1, Received: 1}
	extra := tcp
	extra.Extra = []byte(`{"applicationName":"ntp","x":[1,true,null,-2.5,"\"\\"]}`)
	return []flow.Record{tcp, icmp6, huge, none, extra}
}()

// encodeRows is the body of the benchmark and of the law that it allocates
// nothing.
func encodeRows(buf []byte, recs []flow.Record) []byte {
	c := columnsNeeded(recs)
	for i := range recs {
		buf, _ = appendRow(buf, &recs[i], 1, c)
	}
	return buf
}

func TestAppendRowDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1<<12)
	if n := testing.AllocsPerRun(100, func() { encodeRows(buf[:0], rows) }); n != 0 {
		t.Errorf("%v allocations for %d rows", n, len(rows))
	}
}

// A batch that is used again encodes without allocating, but for the order of
// its parts.
func TestBatchDoesNotAllocate(t *testing.T) {
	recs := make([]flow.Record, 1000)
	for i := range recs {
		recs[i] = rows[i%4] // not the one with JSON: its check uses a sync.Pool, which forgets under the race detector
	}
	b := newBatch()
	b.encode(1, recs, 1, nil)
	if n := testing.AllocsPerRun(20, func() { b.encode(1, recs, 1, nil) }); n > 2 {
		t.Errorf("%v allocations for %d rows", n, len(recs))
	}
}

// No row is longer than what is set aside for it.
func TestFixedRow(t *testing.T) {
	full := rows[1]
	full.Protocol = flow.TCP
	full.NextHop = flow.Addr{1}
	for _, r := range append(rows, full) {
		b, _ := appendRow(nil, &r, 1, 1<<len(rowColumns)-1)
		if len(b) > fixedRow+len(r.Extra) {
			t.Errorf("a row has %d octets, more than %d", len(b), fixedRow+len(r.Extra))
		}
	}
}

// The check at start finds a column that is missing or has another type.
func TestCheckColumns(t *testing.T) {
	good := make(map[string]uint32)
	for _, c := range rowColumns {
		good[c.name] = c.oid
	}
	if err := checkColumns(good); err != nil {
		t.Errorf("the right columns: %v", err)
	}
	for _, c := range rowColumns {
		missing, other := maps.Clone(good), maps.Clone(good)
		delete(missing, c.name)
		other[c.name]++
		if err := checkColumns(missing); !errors.Is(err, ErrSchema) {
			t.Errorf("without %s: %v", c.name, err)
		}
		if err := checkColumns(other); !errors.Is(err, ErrSchema) {
			t.Errorf("with %s of another type: %v", c.name, err)
		}
	}
}

// RFC 7677 §3's exchange is of the password "pencil" and this salt.
func TestScramVerifier(t *testing.T) {
	a, err := scramVerifier("pencil")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := scramVerifier("pencil"); a == b {
		t.Error("two verifiers have one salt")
	}
	for _, password := range []string{"", "schön", "a\nb"} {
		if _, err := scramVerifier(password); err == nil {
			t.Errorf("password %q is taken", password)
		}
	}
}

// Whatever the octets, what is left of them is storable or nothing, and clean
// JSON stays as it is.
func FuzzCleanJSON(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"a":"\u0000"}`, `{"a":1e999999}`, `{"\ud800":[1,2,{}]}`, "{\"a\":\"\xff\"}", `{}`, `[1]`, ``, `{"a":"\`, `{"e":1,"E":[2e1]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, changed := cleanJSON(b)
		if out != nil && !storable(out) {
			t.Errorf("%q gives %q, which is not storable", b, out)
		}
		if !changed && string(out) != string(b) {
			t.Errorf("%q gives %q without saying so", b, out)
		}
	})
}

func BenchmarkAppendRow(b *testing.B) {
	one := rows[:1]
	buf := make([]byte, 0, 1<<12)
	b.ReportAllocs()
	for b.Loop() {
		encodeRows(buf[:0], one)
	}
}

func BenchmarkBatchEncode(b *testing.B) {
	recs := make([]flow.Record, 10_000)
	for i := range recs {
		recs[i] = rows[0]
	}
	batch := newBatch()
	b.ReportAllocs()
	for b.Loop() {
		batch.encode(1, recs, 1, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(recs)), "ns/row")
}
