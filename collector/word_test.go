package collector

import (
	"math"
	"testing"

	"flowtally/flow"
	"flowtally/netflow"
)

// TestAStrangersWordIsBounded: totals that anybody can make up put no 10^19 into the
// ledger, and an honest exporter's are told whole.
func TestAStrangersWordIsBounded(t *testing.T) {
	l, src := newLedger(10), &source{}
	now, seq := flow.Time(1_800_000_000_000), uint32(0)
	e := flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 1})}
	say := func(packets uint64, stats ...netflow.ProcessStats) {
		now += flow.Second
		m := netflow.Message{Version: netflow.V9, Exporter: e, Sequence: seq, DataRecords: 1, Records: 1, Stats: stats}
		l.datagram(src, &receipt{m: &m, port: 1, now: now, records: 1, packets: packets})
		seq++
	}
	status := func() flow.ExporterStatus { return l.exporters[e].ExporterStatus }
	say(1000, netflow.ProcessStats{DroppedPackets: 5_000_000, IgnoredPackets: 3})
	if s := status(); s.Dropped != 5_000_000 || s.Ignored != 3 || s.Unexplained != 0 {
		t.Errorf("an honest word: %d dropped, %d ignored, %d unexplained", s.Dropped, s.Ignored, s.Unexplained)
	}
	say(1_000_000, netflow.ProcessStats{DroppedPackets: 55_000_000})
	if s := status(); s.Dropped != 55_000_000 {
		t.Errorf("a busy port: %d dropped", s.Dropped)
	}
	for range 60 {
		say(1<<60, netflow.ProcessStats{DroppedPackets: math.MaxUint64 - 1}, netflow.ProcessStats{DroppedPackets: 7, NotSentFlows: 1 << 60, Said: netflow.TotalNotSentFlows})
	}
	if s := status(); s.Dropped > 60*portRate || s.NotSent > 60*portRate || s.Unexplained == 0 {
		t.Errorf("a stranger's word: %d dropped, %d not sent, %d unexplained", s.Dropped, s.NotSent, s.Unexplained)
	}
	seq += 3 // three datagrams are lost
	for i := range uint64(10) {
		say(1, netflow.ProcessStats{Process: 2, Said: netflow.TotalRecords, Records: 1 << (20 + i)})
	}
	if s := status(); s.MissingRecords > 3*fullRecords {
		t.Errorf("%d records missing in 3 datagrams", s.MissingRecords)
	}
}
