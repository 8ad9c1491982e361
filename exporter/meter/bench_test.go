package meter

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"flowtally/exporter/packet"
	"flowtally/flow"
)

// benchFlows is how many flows live at a time in the benchmarks: far more than
// any processor cache holds.
const benchFlows = 1 << 19

// manyFlows returns one packet of each of n flows, in random order.
func manyFlows(n int) []packet.Packet {
	pkts := make([]packet.Packet, n)
	for i := range pkts {
		p := pkt(uint16(i), flow.ACK)
		binary.BigEndian.PutUint32(p.SrcAddr[12:], 0x0a000000|uint32(i>>8))
		pkts[i] = *p
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { pkts[i], pkts[j] = pkts[j], pkts[i] })
	return pkts
}

// hitter returns a function that observes one packet of a flow that lives.
func hitter(flows int) func() {
	p := New(Config{MaxFlows: flows})
	pkts := manyFlows(flows)
	now := at(0)
	for i := range pkts {
		p.Observe(nil, &pkts[i], now)
	}
	i := 0
	var recs []flow.Record
	return func() {
		if i++; i == len(pkts) {
			i = 0
		}
		if i%1024 == 0 {
			now++
			recs = p.Expire(recs[:0], now)
		}
		recs = p.Observe(recs, &pkts[i], now)
	}
}

// misser returns a function that observes the first packet of a flow, while the
// idle timeout ends as many as begin: the whole life of a flow of one packet.
func misser(flows int) func() {
	p := New(Config{MaxFlows: flows})
	pkts := manyFlows(2 * flows)
	now := at(0)
	step := max(1, flows/int(DefaultIdleTimeout))
	i := 0
	recs := make([]flow.Record, 0, 4096)
	next := func() {
		if i++; i == len(pkts) {
			i = 0
		}
		if i%step == 0 {
			now++
			recs = p.Expire(recs[:0], now)
		}
		recs = p.Observe(recs, &pkts[i], now)
	}
	for range 2 * len(pkts) {
		next()
	}
	return next
}

// evicter returns a function that observes the first packet of a flow while the
// cache is full.
func evicter(flows int) func() {
	p := New(Config{MaxFlows: flows})
	pkts := manyFlows(2 * flows)
	i := 0
	recs := make([]flow.Record, 0, 4)
	next := func() {
		if i++; i == len(pkts) {
			i = 0
		}
		recs = p.Observe(recs[:0], &pkts[i], at(float64(i)/1e6))
	}
	for range 2 * len(pkts) {
		next()
	}
	return next
}

// counter returns a function that counts one packet of a flow that lives, as
// hitter's does, in blocks.
func counter(flows int) func() {
	hash := NewHash()
	p := New(Config{MaxFlows: flows, Hash: hash})
	pkts := manyFlows(flows)
	now := at(0)
	obs := make([]Observation, len(pkts))
	for i := range pkts {
		obs[i] = Observation{Key: pkts[i].Key, Hash: hash.Of(&pkts[i].Key), Packets: 1, Octets: 100, At: now, Clock: now}
	}
	recs := make([]flow.Record, 0, 4)
	p.Count(recs, obs, nil, MaxTime+1)
	const block = 256
	i, in := 0, 0
	return func() {
		if in++; in < block {
			return
		}
		in = 0
		if i += block; i+block > len(obs) {
			i = 0
		}
		p.Count(recs, obs[i:i+block], nil, MaxTime+1)
	}
}

var workloads = []struct {
	name string
	make func(flows int) func()
}{
	{"hit", hitter}, {"hit_in_blocks", counter}, {"begin_and_expire", misser}, {"begin_and_evict", evicter},
}

func BenchmarkObserve(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			next := w.make(benchFlows)
			b.ReportAllocs()
			for b.Loop() {
				next()
			}
		})
	}
}

// TestNoAllocation: a packet costs no allocation, whether its flow lives, begins
// while another ends, or drives one out.
func TestNoAllocation(t *testing.T) {
	for _, w := range workloads {
		next := w.make(1 << 10)
		if n := testing.AllocsPerRun(5000, next); n != 0 {
			t.Errorf("%s: %v allocations a packet", w.name, n)
		}
	}
	p := New(Config{MaxFlows: 100})
	first, second := pkt(1, 0), pkt(0, 0)
	first.MoreFragments, second.FragOffset = true, 1480
	if n := testing.AllocsPerRun(1000, func() {
		p.Observe(nil, first, at(0))
		p.Observe(nil, second, at(0))
	}); n != 0 {
		t.Errorf("fragments: %v allocations", n)
	}
}

// BenchmarkFlush ends flows, each in the order of its due time.
func BenchmarkFlush(b *testing.B) {
	const n = 1 << 16
	p := New(Config{MaxFlows: n})
	pkts := manyFlows(n)
	var recs []flow.Record
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range pkts {
			recs = p.Observe(recs, &pkts[i], at(float64(i)/1000))
		}
		b.StartTimer()
		recs = p.Flush(recs[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/flow")
}

// BenchmarkLookup measures the choice of the cache's table: against Go's map, and
// with maphash.Comparable against the hash of the key's octets.
func BenchmarkLookup(b *testing.B) {
	pkts := manyFlows(benchFlows)
	p := New(Config{MaxFlows: benchFlows})
	m := make(map[flow.Key]uint32, benchFlows)
	for i := range pkts {
		m[pkts[i].Key] = p.cache.insert(p.hash.Of(&pkts[i].Key), &pkts[i].Key, 0)
	}
	b.Run("table", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			k := &pkts[i%benchFlows].Key
			if p.cache.find(p.hash.Of(k), k, 0) == none {
				b.Fatal("not found")
			}
		}
	})
	b.Run("map_and_entry", func(b *testing.B) {
		var sum uint64
		for i := 0; b.Loop(); i++ {
			j, ok := m[pkts[i%benchFlows].Key]
			if !ok {
				b.Fatal("not found")
			}
			sum += p.cache.entries[j].packets
		}
		_ = sum
	})
	b.Run("hash_comparable", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			maphash.Comparable(p.hash.seed, pkts[i&1023].Key)
		}
	})
	b.Run("hash_octets", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			p.hash.Of(&pkts[i&1023].Key)
		}
	})
}
