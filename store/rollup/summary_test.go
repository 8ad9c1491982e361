package rollup

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"flowtally/flow"
)

// randomFlow is a flow of one minute.
func randomFlow(rnd *rand.Rand) Flow {
	f := Flow{Cell: Cell{int32(rnd.Uint32()) % 3, rnd.Int32N(2), int16(rnd.IntN(3))}, Family: Form(rnd.IntN(3))}
	f.Sums = Sums{1, rnd.Uint64N(1000), rnd.Uint64N(1 << 40)}
	if f.Family == IPv4 {
		f.Src, f.Dst = flow.Addr4([4]byte{3: byte(rnd.IntN(9))}), flow.Addr4([4]byte{3: byte(rnd.IntN(9))})
	}
	if f.Family == IPv6 {
		f.Src, f.Dst = flow.Addr{0: 32, 15: byte(rnd.IntN(9))}, flow.Addr{0: 32, 15: byte(rnd.IntN(9))}
	}
	for i := range f.Numbers {
		f.Numbers[i] = rnd.Uint32N(20)
	}
	return f
}

// randomSummary has values of every kind, and some error bounds and remainders.
func randomSummary(rnd *rand.Rand, flows int) *Summary {
	p := NewParcel()
	for range flows {
		f := randomFlow(rnd)
		p.Add(&f)
	}
	p.Close()
	if s := SumParcels([]*Parcel{p}, math.MaxInt, 1)[0]; s != nil {
		return s
	}
	return NewSummary()
}

// A summary is what is read of its bytes; bytes that are no summary are refused
// without harm.
func FuzzSummary(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 2))
	f.Add(NewSummary().AppendTo(nil))
	s := randomSummary(rnd, 30)
	f.Add(s.AppendTo(nil))
	s.Compact(3, 1)
	s.Merge(randomSummary(rnd, 5))
	f.Add(s.AppendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSummary(b)
		if err != nil {
			return
		}
		again, err := ParseSummary(s.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.entries) != len(s.entries) || len(again.remainders) != len(s.remainders) || !slices.Equal(again.entries, s.entries) {
			t.Fatal("it is not the same when it is read again")
		}
		again.Merge(s)
		again.Compact(2, 1)
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

// addFlow adds a flow to every dimension, as the roll-ups define it.
func addFlow(s *Summary, f *Flow) {
	c := s.cell(f.Cell)
	s.add(&value{cell: c, dimension: DimTotal}, &f.Sums)
	s.add(&value{cell: c, dimension: DimSrcAddr, form: f.Family, addr: f.Src}, &f.Sums)
	s.add(&value{cell: c, dimension: DimDstAddr, form: f.Family, addr: f.Dst}, &f.Sums)
	s.add(&value{cell: c, dimension: DimPair, form: f.Family, addr: f.Src, addr2: f.Dst}, &f.Sums)
	for i, n := range f.Numbers {
		v := value{cell: c, dimension: DimSrcPort + Dimension(i)}
		if n > 0 {
			v.form = Number
			if i < 2 {
				n--
			}
			binary.BigEndian.PutUint32(v.addr[12:], n)
		}
		s.add(&v, &f.Sums)
		if i%2 == 0 && f.Numbers[i] == f.Numbers[i+1] {
			v.dimension = DimSamePort + Dimension(i/2)
			s.add(&v, &f.Sums)
		}
	}
	if f.Src == f.Dst {
		s.add(&value{cell: c, dimension: DimSameAddr, form: f.Family, addr: f.Src}, &f.Sums)
	}
}

// The sums of parcels are those of their flows, one by one, compacted as a summary is;
// however the flows are parcelled, and how often they come.
func TestSumParcels(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct{ flows, limit, perCell int }{{0, 5, 2}, {1, 5, 2}, {300, 1000, 12}, {500, 5, 2}, {500, 3, 0}, {3000, 40, 12}, {3000, 40, 3}} {
		want := map[flow.Time]*Summary{}
		var parcels []*Parcel
		p := NewParcel()
		for i := range c.flows {
			f := randomFlow(rnd)
			f.Start = flow.Minute * flow.Time(rnd.IntN(3))
			f.End = f.Start + flow.Time(rnd.IntN(30_000))
			if want[f.Start] == nil {
				want[f.Start] = NewSummary()
			}
			addFlow(want[f.Start], &f)
			p.Add(&f)
			if i == c.flows-1 || rnd.IntN(100) == 0 {
				p.Close()
				parcels = append(parcels, p)
				p = NewParcel()
			}
		}
		got := SumParcels(parcels, c.limit, c.perCell)
		if len(got) != len(want) {
			t.Fatalf("%v: %d minutes, want %d", c, len(got), len(want))
		}
		for at, w := range want {
			w.Compact(c.limit, c.perCell)
			g := got[at]
			if len(g.entries) != len(w.entries) || len(g.remainders) != len(w.remainders) {
				t.Fatalf("%v: %d values and %d remainders, want %d and %d", c, len(g.entries), len(g.remainders), len(w.entries), len(w.remainders))
			}
			for i := range g.entries {
				e := g.entries[i]
				e.cell = w.cell(g.cells[e.cell])
				before := w.entries
				if at := w.add(&e.value, &Sums{}); int(at) >= len(before) || before[at].sums != e.sums {
					t.Fatalf("%v: %+v is not what it should be", c, e)
				}
			}
			for p, r := range g.remainders {
				if at := (remainderKey{w.cell(g.cells[p.cell]), p.dimension}); w.remainders[at] != r {
					t.Fatalf("%v: remainder %+v, want %+v", c, r, w.remainders[at])
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
		if sizeClass(a) > sizeClass(b) || sizeClass(b) >= sizeClasses || a < 128 && (sizeClass(a) != int(a) || a != b && sizeClass(a) == sizeClass(b)) {
			t.Fatalf("%d has size %d, %d has %d", a, sizeClass(a), b, sizeClass(b))
		}
	}
}

// Sums stop at the largest bigint.
func TestSummarySaturates(t *testing.T) {
	p := NewParcel()
	f := Flow{Sums: Sums{1, math.MaxInt64, math.MaxInt64}}
	p.Add(&f)
	p.Add(&f)
	p.Close()
	s := SumParcels([]*Parcel{p}, 10, 1)[0]
	for _, e := range s.entries {
		if e.sums != (Sums{2, math.MaxInt64, math.MaxInt64}) {
			t.Fatalf("%v", e.sums)
		}
	}
	if !bytes.Equal(s.AppendTo(nil), func() []byte { p, _ := ParseSummary(s.AppendTo(nil)); return p.AppendTo(nil) }()) {
		t.Error("it is not the same when it is read again")
	}
}

// What is made of the records that are stored is what is made of the rows.
func TestParcelOfRecords(t *testing.T) {
	p := NewParcel()
	for round := range 2 { // the second with the room of the first
		p.Reset()
		f := Flow{}
		recs := []flow.Record{{Start: 5, End: flow.Hour, Packets: 70, Bytes: math.MaxUint64, SamplingRate: math.MaxUint32}, {Start: 1, End: 2, Packets: 1}}
		for i := range recs {
			p.AddRecord(&f, &recs[i])
		}
		p.Close()
		if p.Rows() != 61 || p.Records != 2 || p.Groups() != 61 {
			t.Errorf("round %d: %d rows, %d records, %d groups", round, p.Rows(), p.Records, p.Groups())
		}
		var bytes uint64
		for _, n := range p.bytes {
			bytes += n
		}
		if bytes != math.MaxInt64 || p.groups[0].cell.Rate != math.MaxInt32 {
			t.Errorf("round %d: %d bytes, rate %d", round, bytes, p.groups[0].cell.Rate)
		}
	}
}

// Adding records to a parcel that has room allocates nothing.
func TestParcelDoesNotAllocate(t *testing.T) {
	p := NewParcel()
	var f Flow
	r := flow.Record{Start: 1, End: 2 * flow.Minute, Packets: 3}
	r.IPVersion = 6
	add := func() {
		p.Reset()
		for range 10 {
			p.AddRecord(&f, &r)
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
	p := NewParcel()
	var fl Flow
	for range 100 {
		p.AddRecord(&fl, &flow.Record{Start: 1, End: 35 * flow.Day, Packets: 1 << 40})
	}
	if p.Close(); !p.incomplete || p.Rows() > maxParcelRows+50_401 {
		t.Errorf("it has %d rows", p.Rows())
	}
	p.Records = 100
	f := NewHandoff()
	defer f.Begin()()
	f.Put(p, time.Now())
	if n, _ := f.Waiting(); n != 0 {
		t.Error("it is handed over")
	}
	if p.Reset(); p.incomplete {
		t.Error("it stays incomplete")
	}
}
