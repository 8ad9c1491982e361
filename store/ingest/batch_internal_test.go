package ingest

import (
	"testing"

	"flowtally/flow"
	"flowtally/flow/flowtest"
)

// A batch that is used again encodes without allocating, but for the order of
// its parts.
func TestBatchDoesNotAllocate(t *testing.T) {
	recs := make([]flow.Record, 1000)
	for i := range recs {
		recs[i] = flowtest.Records[i%4] // not the one with JSON: its check uses a sync.Pool, which forgets under the race detector
	}
	b := newBatch()
	b.encode(1, recs, 1, nil, nil)
	if n := testing.AllocsPerRun(20, func() { b.encode(1, recs, 1, nil, nil) }); n > 2 {
		t.Errorf("%v allocations for %d rows", n, len(recs))
	}
}

func BenchmarkBatchEncode(b *testing.B) {
	recs := make([]flow.Record, 10_000)
	for i := range recs {
		recs[i] = flowtest.Records[0]
	}
	batch := newBatch()
	b.ReportAllocs()
	for b.Loop() {
		batch.encode(1, recs, 1, nil, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(recs)), "ns/row")
}
