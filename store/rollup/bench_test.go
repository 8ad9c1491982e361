package rollup

import (
	"math/rand/v2"
	"testing"

	"flowtally/flow"
)

// benchRecords are flows of a busy link: many addresses, few interfaces, three minutes.
func benchRecords(n int) []flow.Record {
	rnd := rand.New(rand.NewPCG(11, 12))
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.IPVersion, r.Protocol = 4, flow.TCP
		r.SrcAddr = flow.Addr4([4]byte{10, byte(rnd.IntN(4)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		r.DstAddr = flow.Addr4([4]byte{192, 0, byte(rnd.IntN(16)), byte(rnd.IntN(256))})
		r.SrcPort, r.DstPort = uint16(1024+rnd.IntN(60_000)), uint16(rnd.IntN(1024))
		r.InIf, r.OutIf, r.SrcAS, r.DstAS = uint32(1+rnd.IntN(4)), uint32(1+rnd.IntN(4)), 64512, 64513
		r.Packets, r.Bytes = uint64(1+rnd.IntN(1000)), uint64(40+rnd.IntN(1_000_000))
		r.Start = flow.Time(rnd.IntN(120_000))
		r.End = r.Start + flow.Time(rnd.IntN(30_000))
		r.Received = r.End
	}
	return recs
}

func benchParcel(recs []flow.Record) *Parcel {
	p := NewParcel()
	var f Flow
	for i := range recs {
		p.AddRecord(&f, &recs[i])
	}
	p.Close()
	return p
}

func BenchmarkParcelAddRecord(b *testing.B) {
	recs := benchRecords(16_384)
	p := benchParcel(recs)
	var f Flow
	b.ReportAllocs()
	for b.Loop() {
		p.Reset()
		for i := range recs {
			p.AddRecord(&f, &recs[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(recs)), "ns/record")
}

func BenchmarkSumParcels(b *testing.B) {
	recs := benchRecords(262_144)
	var parcels []*Parcel
	for len(recs) > 0 {
		parcels = append(parcels, benchParcel(recs[:16_384]))
		recs = recs[16_384:]
	}
	b.ReportAllocs()
	for b.Loop() {
		SumParcels(parcels, 20_000, 12)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/262_144, "ns/flow")
}
