package store

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"flowtally/flow"
)

// randomSummary has values of every kind, and some slack and remainders.
func randomSummary(rnd *rand.Rand, flows int) *summary {
	s := newSummary()
	for range flows {
		f := rawFlow{cell: cell{int32(rnd.Uint32()) % 3, rnd.Int32N(2), int16(rnd.IntN(3))}, family: valueForm(rnd.IntN(3))}
		f.sums = measured{1, rnd.Uint64N(1000), rnd.Uint64()}
		if f.family != valueNull {
			f.src, f.dst = flow.Addr4([4]byte{3: byte(rnd.IntN(9))}), flow.Addr4([4]byte{3: byte(rnd.IntN(9))})
		}
		for i := range f.numbers {
			f.numbers[i] = rnd.Int64N(20) - 1
		}
		s.addFlow(&f, &f.sums)
	}
	return s
}

// What is put aside is what is read again; octets that are no summary are refused
// without harm.
func FuzzSummary(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 2))
	f.Add(newSummary().appendTo(nil))
	s := randomSummary(rnd, 30)
	f.Add(s.appendTo(nil))
	s.compact(3, 1)
	s.merge(randomSummary(rnd, 5))
	f.Add(s.appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSummary(b)
		if err != nil {
			return
		}
		again, err := parseSummary(s.appendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.entries) != len(s.entries) || len(again.rest) != len(s.rest) || !slices.Equal(again.entries, s.entries) {
			t.Fatal("it is not the same when it is read again")
		}
		again.merge(s)
		again.compact(2, 1)
		again.appendTraffic(nil, 0, 1)
	})
}

// A COPY is read the same wherever its messages are cut, and octets that are none
// are refused without harm.
func FuzzRawReader(f *testing.F) {
	row := []byte{0, rawFields}
	for _, n := range []int{6, 4, 8, 8, 8, 8, 8, 4, -1, 2, 8, 8, 4, 4, -1, 8, -1, -1} {
		if n < 0 {
			row = appendNull(row)
			continue
		}
		row = append(row, 0, 0, 0, byte(n))
		field := make([]byte, n)
		if n == 8 {
			copy(field, []byte{2, 32, 0, 4, 10, 0, 0, 1})
		}
		row = append(row, field...)
	}
	whole := slices.Concat([]byte(copyHeader), row, row, []byte(copyTrailer))
	f.Add(whole, 7)
	f.Add(whole[:40], 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		read := func(size int) (flows []rawFlow, err error) {
			r := &rawReader{each: func(f *rawFlow) { flows = append(flows, *f) }}
			for part := range slices.Chunk(b, size) {
				if _, err = r.Write(part); err != nil {
					break
				}
			}
			return flows, err
		}
		if len(b) == 0 {
			return
		}
		all, err := read(len(b))
		some, err2 := read(1 + int(uint(size)%97))
		if (err == nil) != (err2 == nil) || !slices.Equal(all, some) {
			t.Fatalf("%d flows and %v in one piece, %d and %v in many", len(all), err, len(some), err2)
		}
	})
}

// nthLargest is what sorting says.
func TestNthLargest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		v := make([]uint64, rnd.IntN(40))
		for i := range v {
			v[i] = rnd.Uint64N(1 + rnd.Uint64N(30))
		}
		n := rnd.IntN(40)
		sorted := slices.Clone(v)
		slices.Sort(sorted)
		slices.Reverse(sorted)
		got, all := nthLargest(slices.Clone(v), n)
		if all != (len(v) <= n) || !all && got != sorted[n] {
			t.Fatalf("number %d of %v is not %d", n, sorted, got)
		}
	}
}

// Sums stop at the largest bigint.
func TestSummarySaturates(t *testing.T) {
	s := newSummary()
	f := rawFlow{sums: measured{1, math.MaxInt64, math.MaxInt64}}
	s.addFlow(&f, &f.sums)
	s.addFlow(&f, &f.sums)
	for _, e := range s.entries {
		if e.sums != (measured{2, math.MaxInt64, math.MaxInt64}) {
			t.Fatalf("%v", e.sums)
		}
	}
	if !bytes.Equal(s.appendTo(nil), func() []byte { p, _ := parseSummary(s.appendTo(nil)); return p.appendTo(nil) }()) {
		t.Error("it is not the same when it is read again")
	}
}

// Adding a flow whose values are known allocates nothing.
func TestAddFlowDoesNotAllocate(t *testing.T) {
	s := newSummary()
	f := rawFlow{sums: measured{1, 2, 3}, family: value4, numbers: [6]int64{1, 2, 3, 4, -1, 6}}
	s.addFlow(&f, &f.sums)
	if n := testing.AllocsPerRun(100, func() { s.addFlow(&f, &f.sums) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
