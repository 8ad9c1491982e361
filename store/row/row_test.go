package row

import (
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
	if n := testing.AllocsPerRun(100, func() { encodeRows(buf[:0], flowtest.Records) }); n != 0 {
		t.Errorf("%v allocations for %d rows", n, len(flowtest.Records))
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
