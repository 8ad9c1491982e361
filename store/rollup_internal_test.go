package store

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"flowtally/flow"
)

// randomFlow is a flow of one minute.
func randomFlow(rnd *rand.Rand) rawFlow {
	f := rawFlow{cell: cell{int32(rnd.Uint32()) % 3, rnd.Int32N(2), int16(rnd.IntN(3))}, family: valueForm(rnd.IntN(3))}
	f.sums = measured{1, rnd.Uint64N(1000), rnd.Uint64N(1 << 40)}
	if f.family == value4 {
		f.src, f.dst = flow.Addr4([4]byte{3: byte(rnd.IntN(9))}), flow.Addr4([4]byte{3: byte(rnd.IntN(9))})
	}
	if f.family == value6 {
		f.src, f.dst = flow.Addr{0: 32, 15: byte(rnd.IntN(9))}, flow.Addr{0: 32, 15: byte(rnd.IntN(9))}
	}
	for i := range f.numbers {
		f.numbers[i] = rnd.Uint32N(20)
	}
	return f
}

// randomSummary has values of every kind, and some slack and remainders.
func randomSummary(rnd *rand.Rand, flows int) *summary {
	p := newParcel()
	for range flows {
		f := randomFlow(rnd)
		p.add(&f)
	}
	p.close()
	if s := sumParcels([]*parcel{p}, math.MaxInt, 1)[0]; s != nil {
		return s
	}
	return newSummary()
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

// addFlow adds a flow to every dimension, as the law has it.
func addFlow(s *summary, f *rawFlow) {
	c := s.cellIndex(f.cell)
	s.add(&value{cell: c, dim: dimTotal}, &f.sums)
	s.add(&value{cell: c, dim: dimSrcAddr, kind: f.family, a: f.src}, &f.sums)
	s.add(&value{cell: c, dim: dimDstAddr, kind: f.family, a: f.dst}, &f.sums)
	s.add(&value{cell: c, dim: dimPair, kind: f.family, a: f.src, b: f.dst}, &f.sums)
	for i, n := range f.numbers {
		v := value{cell: c, dim: dimSrcPort + dimension(i)}
		if n > 0 {
			v.kind = valueNumber
			if i < 2 {
				n--
			}
			binary.BigEndian.PutUint32(v.a[12:], n)
		}
		s.add(&v, &f.sums)
		if i%2 == 0 && f.numbers[i] == f.numbers[i+1] {
			v.dim = dimSamePort + dimension(i/2)
			s.add(&v, &f.sums)
		}
	}
	if f.src == f.dst {
		s.add(&value{cell: c, dim: dimSameAddr, kind: f.family, a: f.src}, &f.sums)
	}
}

// The sums of parcels are those of their flows, one by one, cut as a summary is;
// however the flows are parcelled, and how often they come.
func TestSumParcels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct{ flows, keep, few int }{{0, 5, 2}, {1, 5, 2}, {300, 1000, 12}, {500, 5, 2}, {500, 3, 0}, {3000, 40, 12}, {3000, 40, 3}} {
		want := map[flow.Time]*summary{}
		var parcels []*parcel
		p := newParcel()
		for i := range c.flows {
			f := randomFlow(rnd)
			f.start = flow.Minute * flow.Time(rnd.IntN(3))
			f.end = f.start + flow.Time(rnd.IntN(30_000))
			if want[f.start] == nil {
				want[f.start] = newSummary()
			}
			addFlow(want[f.start], &f)
			p.add(&f)
			if i == c.flows-1 || rnd.IntN(100) == 0 {
				p.close()
				parcels = append(parcels, p)
				p = newParcel()
			}
		}
		got := sumParcels(parcels, c.keep, c.few)
		if len(got) != len(want) {
			t.Fatalf("%v: %d minutes, want %d", c, len(got), len(want))
		}
		for at, w := range want {
			w.compact(c.keep, c.few)
			g := got[at]
			if len(g.entries) != len(w.entries) || len(g.rest) != len(w.rest) {
				t.Fatalf("%v: %d values and %d remainders, want %d and %d", c, len(g.entries), len(g.rest), len(w.entries), len(w.rest))
			}
			for i := range g.entries {
				e := g.entries[i]
				e.cell = w.cellIndex(g.cells[e.cell])
				before := w.entries
				if at := w.add(&e.value, &measured{}); int(at) >= len(before) || before[at].sums != e.sums {
					t.Fatalf("%v: %+v is not what it should be", c, e)
				}
			}
			for p, r := range g.rest {
				if at := (place{w.cellIndex(g.cells[p.cell]), p.dim}); w.rest[at] != r {
					t.Fatalf("%v: remainder %+v, want %+v", c, r, w.rest[at])
				}
			}
		}
	}
}

// A size is never smaller than that of a smaller value, and small values have
// their own.
func TestSizeOf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 100_000 {
		a, b := rnd.Uint64()>>rnd.IntN(64), rnd.Uint64()>>rnd.IntN(64)
		if a > b {
			a, b = b, a
		}
		if sizeOf(a) > sizeOf(b) || sizeOf(b) >= sizes || a < 128 && (sizeOf(a) != int(a) || a != b && sizeOf(a) == sizeOf(b)) {
			t.Fatalf("%d has size %d, %d has %d", a, sizeOf(a), b, sizeOf(b))
		}
	}
}

// Sums stop at the largest bigint.
func TestSummarySaturates(t *testing.T) {
	p := newParcel()
	f := rawFlow{sums: measured{1, math.MaxInt64, math.MaxInt64}}
	p.add(&f)
	p.add(&f)
	p.close()
	s := sumParcels([]*parcel{p}, 10, 1)[0]
	for _, e := range s.entries {
		if e.sums != (measured{2, math.MaxInt64, math.MaxInt64}) {
			t.Fatalf("%v", e.sums)
		}
	}
	if !bytes.Equal(s.appendTo(nil), func() []byte { p, _ := parseSummary(s.appendTo(nil)); return p.appendTo(nil) }()) {
		t.Error("it is not the same when it is read again")
	}
}

// What is made of the records that are stored is what is made of the rows.
func TestParcelOfRecords(t *testing.T) {
	p := newParcel()
	for round := range 2 { // the second with the room of the first
		p.reset()
		f := rawFlow{}
		recs := []flow.Record{{Start: 5, End: flow.Hour, Packets: 70, Bytes: math.MaxUint64, SamplingRate: math.MaxUint32}, {Start: 1, End: 2, Packets: 1}}
		for i := range recs {
			p.addRecord(&f, &recs[i])
		}
		p.close()
		if p.rows() != 61 || p.records != 2 || len(p.places) != 61 {
			t.Errorf("round %d: %d rows, %d records, %d places", round, p.rows(), p.records, len(p.places))
		}
		var octets uint64
		for _, n := range p.bytes {
			octets += n
		}
		if octets != math.MaxInt64 || p.places[0].cell.rate != math.MaxInt32 {
			t.Errorf("round %d: %d octets, rate %d", round, octets, p.places[0].cell.rate)
		}
	}
}

// Adding records to a parcel that has room allocates nothing.
func TestParcelDoesNotAllocate(t *testing.T) {
	p := newParcel()
	var f rawFlow
	r := flow.Record{Start: 1, End: 2 * flow.Minute, Packets: 3}
	r.IPVersion = 6
	add := func() {
		p.reset()
		for range 10 {
			p.addRecord(&f, &r)
		}
	}
	add()
	if n := testing.AllocsPerRun(100, add); n > 2 { // the hour, and where it is kept
		t.Errorf("%v allocations", n)
	}
}

// What a parcel takes of flows that claim weeks has a bound, and it is not handed
// on then: it does not have all of them.
func TestParcelOfLongFlows(t *testing.T) {
	p := newParcel()
	var fl rawFlow
	for range 100 {
		p.addRecord(&fl, &flow.Record{Start: 1, End: 35 * flow.Day, Packets: 1 << 40})
	}
	if p.close(); !p.overfull || p.rows() > freshMost+50_401 {
		t.Errorf("it has %d rows", p.rows())
	}
	p.records = 100
	f := NewHandoff()
	defer f.Begin()()
	f.Put(p)
	if n, _ := f.Waiting(); n != 0 {
		t.Error("it is handed on")
	}
	if p.reset(); p.overfull {
		t.Error("it stays overfull")
	}
}
