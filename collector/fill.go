package collector

import (
	"encoding/binary"
	"math"
	"net/netip"

	"flowtally/flow"
	"flowtally/netflow"
)

// filler is what a reader fills: a batch, and what it remembers for the ledger.
type filler struct {
	dec     *netflow.Decoder
	name    string // of the listener, "" when it has none
	batch   []flow.Record
	events  []flow.Event
	extras  int // bytes in the batch beside the records
	message netflow.Message
	receipt receipt
	source  source
}

// open gives a filler its first batch.
func (p *process) open(f *filler, dec *netflow.Decoder) {
	f.dec = dec
	f.batch, f.extras = p.batch(), 0
}

// full reports whether the batch has to go.
func (f *filler) full(records int) bool {
	return len(f.batch)+len(f.events) >= records || f.extras >= records*recordOctets || f.source.waits.Load() >= maxNoted
}

// waits reports whether there is something to hand on: records, or what sessions
// have to say without any, such as where they stand.
func (f *filler) waits() bool { return len(f.batch)+len(f.events) > 0 || f.source.waits.Load() > 0 }

// takeBatch returns the batch, with what is to be said with it, and opens another. ok
// is false when there is nothing to hand on.
func (p *process) takeBatch(f *filler) (h handed, ok bool) {
	sequences, loss := p.ledger.account(&f.source)
	if len(f.batch) == 0 && len(f.events) == 0 && len(sequences) == 0 && len(loss) == 0 {
		return handed{}, false
	}
	h = handed{f.batch, f.events, f.extras > 0, sequences, loss}
	f.batch, f.events, f.extras = p.batch(), nil, 0
	return h, true
}

// pass hands the batch on and takes another.
func (p *process) pass(f *filler) {
	if h, ok := p.takeBatch(f); ok {
		p.hand(h)
	}
}

// decode appends the records of one message to the batch and books what it was.
// It reports whether the message was one that could be understood to its end.
func (p *process) decode(f *filler, from netip.AddrPort, now flow.Time, datagram []byte) bool {
	if !p.allowed(from.Addr()) {
		p.metrics.refused.Inc()
		p.ledger.nobodys(now, stageReceive, causeNotAllowed, 1)
		return true
	}
	first, m := len(f.batch), &f.message
	batch, err := f.dec.Decode(f.batch, m, from, now, datagram)
	f.batch = batch
	recs := batch[first:]
	r := &f.receipt
	*r = receipt{m: m, listener: f.name, port: from.Port(), now: now, boot: bootTime(datagram, m), err: err, records: uint64(len(recs) + len(m.Events))}
	if m.Evicted > 0 {
		p.metrics.evicted.Add(float64(m.Evicted))
	}
	if m.Withdrawals > 0 {
		p.metrics.withdrawals.Add(float64(m.Withdrawals))
	}
	if m.Held > 0 {
		p.metrics.held.Add(float64(m.Held))
	}
	if m.Recovered > 0 {
		p.metrics.recovered.Add(float64(m.Recovered))
	}
	if m.Templates > 0 {
		r.templates = f.dec.Templates(m.Exporter)
	}
	if err != nil {
		p.metrics.undecoded(m, err)
	}
	p.identify(m, from, now, recs)
	r.start, r.end = math.MaxInt64, math.MinInt64
	extras := 0
	for i := range recs {
		x := &recs[i]
		if x.RepairTime() || x.Marks&flow.MarkTimeRepaired != 0 {
			r.repaired++
		}
		r.packets += x.Packets
		r.bytes += x.Bytes
		r.start, r.end = min(r.start, x.Start), max(r.end, x.End)
		extras += len(x.Extra)
	}
	p.repairEvents(r)
	drop := p.ledger.datagram(&f.source, r)
	if r.nobody {
		p.unreadable.add(from.Addr(), now, datagram, err)
	}
	source := flow.Exporter{Addr: flow.AddrFrom(from.Addr()), Domain: m.Exporter.Domain}
	switch {
	case r.started != 0:
		f.dec.Restarted(source, m.Version, r.started)
	case r.notStarted:
		f.dec.Restarted(source, m.Version, 0)
	}
	if drop != "" {
		p.metrics.dropped.WithLabelValues(drop).Add(float64(len(recs)))
		p.metrics.droppedEvents.WithLabelValues(drop).Add(float64(len(m.Events)))
		clear(recs)
		f.batch = batch[:first]
		return true
	}
	if r.repaired > 0 {
		p.metrics.timeRepaired.Add(float64(r.repaired))
	}
	f.extras += extras
	p.keepEvents(f)
	p.metrics.records.Add(float64(len(recs)))
	return m.Malformed == 0 && m.Version != 0
}

// bootTime is when the exporter says that it started: its clock less its uptime,
// 0 where the dialect does not state it.
func bootTime(b []byte, m *netflow.Message) flow.Time {
	switch m.Version {
	case netflow.V5, netflow.V7, netflow.V9:
		if len(b) >= 8 && m.ExportTime > 0 {
			return m.ExportTime - flow.Time(binary.BigEndian.Uint32(b[4:]))
		}
	}
	return 0
}

// allowed reports whether an address may send.
func (p *process) allowed(a netip.Addr) bool {
	if len(p.Allow) == 0 {
		return true
	}
	for _, prefix := range p.Allow {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}
