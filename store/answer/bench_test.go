package answer_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/storetest"
)

// benchFlows are a day of flows: some thousand hosts of which few do most, a
// service port on one side, a third of the flows of a single packet, most of
// the others of seconds, some of minutes.
func benchFlows(n int) []flow.Record {
	rnd := rand.New(rand.NewPCG(5, 6))
	skewed := func(n int) int { return int(math.Pow(rnd.Float64(), 3) * float64(n)) }
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.Start = storetest.T0 + flow.Time(rnd.Int64N(int64(flow.Day)))
		r.End = r.Start
		switch p := rnd.Float64(); {
		case p < 0.35:
		case p < 0.9:
			r.End += flow.Time(rnd.Int64N(int64(20 * flow.Second)))
		default:
			r.End += flow.Time(rnd.Int64N(int64(5 * flow.Minute)))
		}
		r.Packets = 1 + uint64(skewed(200))
		r.Bytes = r.Packets * uint64(40+rnd.IntN(1400))
		r.IPVersion = 4
		client, server := skewed(5000), skewed(20000)
		r.SrcAddr = flow.Addr4([4]byte{10, 0, byte(client >> 8), byte(client)})
		r.DstAddr = flow.Addr4([4]byte{198, 18, byte(server >> 8), byte(server)})
		r.Protocol = []flow.Protocol{flow.TCP, flow.TCP, flow.TCP, flow.UDP, flow.UDP, flow.ICMP}[rnd.IntN(6)]
		if r.HasPorts() {
			r.SrcPort, r.DstPort = uint16(32768+rnd.IntN(28000)), uint16(1+skewed(1000))
		}
		if rnd.IntN(2) == 0 {
			r.SrcAddr, r.DstAddr, r.SrcPort, r.DstPort = r.DstAddr, r.SrcAddr, r.DstPort, r.SrcPort
		}
		r.InIf, r.OutIf = uint32(1+rnd.IntN(4)), uint32(1+rnd.IntN(4))
		r.Exporter = storetest.Exporters[rnd.IntN(len(storetest.Exporters))].ID()
	}
	return recs
}

// BenchmarkQuestions asks about a day and about an hour of
// FLOWTALLY_BENCH_FLOWS flows (100,000).
func BenchmarkQuestions(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("FLOWTALLY_BENCH_FLOWS"))
	if err != nil {
		n = 100_000
	}
	h := storetest.NewHouse(b, benchFlows(n))
	h.Exec(b, "vacuum analyze parts.flows")
	ctx := context.Background()
	for _, r := range []struct {
		name     string
		from, to flow.Time
	}{
		{"day", storetest.T0 + 12345, storetest.T0 + flow.Day - 23456},
		{"hour", storetest.T0 + 10*flow.Hour + 12345, storetest.T0 + 11*flow.Hour + 12345},
	} {
		for _, keys := range []string{"src-addr", "addr", "dst-port", "port", "protocol", "src-addr,dst-addr", ""} {
			q := query.Question{From: r.from.Time(), To: r.to.Time(), By: query.ByFlows, Timeout: 10 * time.Minute}
			if q.Keys, err = query.ParseKeys(keys); err != nil {
				b.Fatal(err)
			}
			name := r.name + "/" + keys
			if keys == "" {
				name = r.name + "/total"
			} else {
				b.Run("top/"+name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, err := answer.New(h.Db).Top(ctx, q); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			b.Run("series/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := answer.New(h.Db).Series(ctx, q); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
