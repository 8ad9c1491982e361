package collector

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
)

// TestFloodOfStrangers: any number of strangers, each with a new address, port and
// domain for every datagram, takes bounded memory, mints no metric, and keeps
// neither its place nor a record from an exporter that goes on, also when it never
// repeats its template.
func TestFloodOfStrangers(t *testing.T) {
	reg := prometheus.NewRegistry()
	p, l := reader(t, Config{Registerer: reg, MaxExporters: 64})
	f := &l.filler
	p.open(f, l.dec)
	series := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range families {
			n += len(m.GetMetric())
		}
		return n
	}
	before := series()
	good := netip.MustParseAddrPort("192.0.2.1:2055")
	now := flow.Time(1_800_000_000_000)
	var stored, told uint64
	pass := func() {
		sequences, loss := p.ledger.account(&f.source)
		if len(sequences) > maxNoted {
			t.Fatalf("%d sessions with one batch", len(sequences))
		}
		for _, r := range f.batch {
			if r.Exporter == (flow.Exporter{Addr: flow.AddrFrom(good.Addr()), Domain: 7}).ID() {
				stored++
			}
		}
		for _, x := range loss {
			told += x.Count
		}
		f.batch, f.extras = f.batch[:0], 0
	}
	const turns = 300
	seq := uint32(0)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var settled uint64
	for i := range uint32(turns) {
		now += 50
		if i == 0 {
			p.decode(f, good, now, message(seq, template256, data256(10)))
		} else {
			p.decode(f, good, now, message(seq, data256(10)))
		}
		seq += 10
		for j := range uint32(200) {
			n := i*200 + j
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)}), uint16(n*7+1))
			p.decode(f, from, now, message(n, template256, data256(10)))
			if f.full(p.BatchRecords) {
				pass()
			}
		}
		if i%20 == 0 {
			pass()
			p.ledger.take(now, false)
		}
		if i == turns/2 {
			settled = heap()
		}
	}
	pass()
	if stored != turns*10 {
		t.Errorf("%d of the good exporter's %d records are stored", stored, turns*10)
	}
	if after := series(); after != before {
		t.Errorf("%d metrics, %d before the flood", after, before)
	}
	if n := p.ledger.known(); n > 64 {
		t.Errorf("%d exporters are known", n)
	}
	if now := heap(); now > settled+8<<20 {
		t.Errorf("%d octets in use, %d half way", now, settled)
	}
}
