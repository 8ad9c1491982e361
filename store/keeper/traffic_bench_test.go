package keeper

import (
	"math/rand/v2"
	"testing"

	"flowtally/flow"
	"flowtally/store/rollup"
)

func BenchmarkAppendTraffic(b *testing.B) {
	rnd := rand.New(rand.NewPCG(11, 12))
	p := rollup.NewParcel()
	var f rollup.Flow
	for range 16_384 {
		r := flow.Record{Start: 1, End: 2, Packets: rnd.Uint64N(1000), Bytes: rnd.Uint64N(1_000_000)}
		r.IPVersion, r.Protocol = 4, flow.TCP
		r.SrcAddr = flow.Addr4([4]byte{10, byte(rnd.IntN(4)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		r.DstAddr = flow.Addr4([4]byte{192, 0, byte(rnd.IntN(16)), byte(rnd.IntN(256))})
		r.SrcPort, r.DstPort = uint16(1024+rnd.IntN(60_000)), uint16(rnd.IntN(1024))
		p.AddRecord(&f, &r)
	}
	p.Close()
	s := rollup.SumParcels([]*rollup.Parcel{p}, 5_000, 12)[0]
	buf := appendTraffic(nil, s, 0, 0)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendTraffic(buf[:0], s, 0, 0)
	}
}
