package answer_test

import (
	"context"
	"math"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/keeper"
	"flowtally/store/storetest"
)

// Counters at the end of 64 bits saturate, and every answer that holds one says so; none
// fails for it, from flows or from roll-ups, at any stage of these.
func TestSaturatedCounters(t *testing.T) {
	ctx := context.Background()
	db, _, _ := storetest.Open(t)
	recs := make([]flow.Record, 3)
	for i := range recs {
		recs[i] = storetest.Record(storetest.Noon)
		recs[i].SrcAddr = flow.Addr4([4]byte{10, 79, 0, byte(i)})
		recs[i].SrcPort, recs[i].InIf = uint16(1000+i), uint32(i+1)
		recs[i].Bytes, recs[i].Start = math.MaxUint64, recs[i].End
	}
	storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 2)
	a := answer.New(db)
	check := func(stage string) {
		t.Helper()
		for _, keys := range [][]query.Key{nil, {query.KeySrcAddr}, {query.KeyDstAddr}, {query.KeyAddr}, {query.KeyPort}, {query.KeyInIf}, {query.KeyProtocol}, {query.KeySrcAddr, query.KeyDstAddr}} {
			for _, by := range []query.Measure{query.ByFlows, query.ByBytes} {
				for _, limit := range []int{1, 10} {
					for _, raw := range []bool{false, true} {
						q := query.Question{From: (storetest.Noon - 30*flow.Minute).Time(), To: (storetest.Noon + 30*flow.Minute).Time(), Keys: keys, By: by, Limit: limit, Raw: raw, Step: time.Minute}
						s, err := a.Series(ctx, q)
						if err != nil {
							t.Fatalf("%s: series by %v: %v", stage, keys, err)
						}
						if !s.Saturated || s.Exact || s.Total.Bytes[30] != math.MaxInt64 {
							t.Errorf("%s: series by %v: saturated %v, exact %v, total %d", stage, keys, s.Saturated, s.Exact, s.Total.Bytes[30])
						}
						if keys == nil {
							continue
						}
						top, err := a.Top(ctx, q)
						if err != nil {
							t.Fatalf("%s: top by %v: %v", stage, keys, err)
						}
						if !top.Saturated || top.Exact || top.Total.Bytes != math.MaxInt64 || top.Total.Flows != 3 {
							t.Errorf("%s: top by %v: saturated %v, exact %v, total %+v", stage, keys, top.Saturated, top.Exact, top.Total)
						}
					}
				}
			}
		}
	}
	check("not summed")
	config := storetest.SmallKeeper(0, 0, 0, 0, storetest.At(storetest.Noon))
	if err := storetest.SumOnly(ctx, db, config); err != nil {
		t.Fatal(err)
	}
	check("not settled")
	config.Now = storetest.At(storetest.Noon + 3*flow.Day)
	if err := keeper.New(db, config).Sum(ctx); err != nil {
		t.Fatal(err)
	}
	check("settled")
}
