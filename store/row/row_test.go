package row

import (
	"math"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/flow/flowtest"
)

// encodeRows is what the benchmark and the test of allocations do.
func encodeRows(buf []byte, recs []flow.Record) []byte {
	c := Needed(recs)
	for i := range recs {
		buf, _ = Append(buf, &recs[i], 1, c)
	}
	return buf
}

func TestAppendRowDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1<<12)
	// json.Valid keeps its scanners in a pool, which forgets some of them at random under the
	// race detector: what allocates does so in each of ten tries.
	least := math.Inf(1)
	for range 10 {
		least = min(least, testing.AllocsPerRun(100, func() { encodeRows(buf[:0], flowtest.Records) }))
	}
	if least != 0 {
		t.Errorf("%v allocations for %d rows", least, len(flowtest.Records))
	}
}

// No row is longer than fixedRow says.
func TestFixedRow(t *testing.T) {
	full := flowtest.Records[1]
	full.Protocol = flow.TCP
	full.NextHop = flow.Addr{1}
	for _, r := range append(flowtest.Records, full) {
		b, _ := Append(nil, &r, 1, 1<<len(Table)-1)
		if len(b) > fixedRow+len(r.Extra) {
			t.Errorf("a row has %d bytes, more than %d", len(b), fixedRow+len(r.Extra))
		}
	}
}

// TestStringsOfEveryCharacterAreKept: control characters and what HTML escapes are
// JSON as other characters are, and change neither the rest nor the marks.
func TestStringsOfEveryCharacterAreKept(t *testing.T) {
	for _, s := range []string{
		`{"userName":"al\u0001ice","postNATSourceIPv4Address":"198.51.100.7"}`, `{"userName":"al\u001b[1mice"}`,
		`{"userName":"a\u003c\u0026\u003eb"}`, `{"userName":"a<&>b"}`, `{"userName":"\u2028\\u0000\""}`,
	} {
		if out, changed := cleanJSON([]byte(s)); changed || string(out) != s {
			t.Errorf("%s gives %s, %v", s, out, changed)
		}
	}
	for s, want := range map[string]string{
		`{"a":"b\u0000\u0001c","d":1}`: `{"a":"b\u0001c","d":1}`, `{"a":"\ud83d\ude00"}`: `{"a":"😀"}`, `{"a":"\ud800","b":2}`: `{"a":"\ufffd","b":2}`,
	} {
		out, changed := cleanJSON([]byte(s))
		if got, _ := cleanJSON(out); !changed || string(got) != string(out) || string(out) != want && string(out) != strings.ReplaceAll(want, `\ufffd`, "\uFFFD") {
			t.Errorf("%s gives %s, %v", s, out, changed)
		}
	}
}

// TestWhatWasNotSaidIsNull: of a record that has no field for its ports and flags.
func TestWhatWasNotSaidIsNull(t *testing.T) {
	r := flowtest.Records[0]
	r.Protocol, r.SrcPort, r.DstPort, r.TCPFlags = flow.TCP, 0, 443, 0
	all, _ := Append(nil, &r, 1, Required|columnSrcPort|columnDstPort|columnTCPFlags)
	r.Absent = flow.AbsentSrcPort | flow.AbsentTCPFlags
	some, _ := Append(nil, &r, 1, Required|columnSrcPort|columnDstPort|columnTCPFlags)
	if len(all)-len(some) != 4+2 {
		t.Errorf("%x and %x", all[fixedSize:], some[fixedSize:])
	}
	r.Protocol, r.Absent = flow.ICMP, flow.AbsentICMP
	none, _ := Append(nil, &r, 1, Required|columnICMPType|columnICMPCode)
	if len(none) != fixedSize+2*4 {
		t.Errorf("%x", none[fixedSize:])
	}
	// IPv4 in the mapped form of IPv6 is IPv4.
	r.IPVersion = 6
	mapped, _ := Append(nil, &r, 1, Required|columnSrcAddr|columnDstAddr)
	if len(mapped) != fixedSize+2*(4+8) {
		t.Errorf("%x", mapped[fixedSize:])
	}
}

// Whatever bytes cleanJSON is given, its result is storable or nothing, and clean JSON
// stays as it is.
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
	one := flowtest.Records[:1]
	buf := make([]byte, 0, 1<<12)
	b.ReportAllocs()
	for b.Loop() {
		encodeRows(buf[:0], one)
	}
}
