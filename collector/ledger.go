package collector

import (
	"errors"
	"sync"

	"flowtally/flow"
	"flowtally/netflow"
)

// The ledger's words. A stage is where something was lost, a cause is why; both
// are fixed lists, so that a stranger can mint neither rows nor metric labels.
const (
	stageReceive = "receive"
	stageDecode  = "decode"
	stageStore   = "store"

	causeKernel           = "kernel_buffer"
	causeVersion          = "version"
	causeMalformed        = "malformed"
	causeNoTemplate       = "no_template"
	causeOverLimit        = "over_limit"
	causeTooManyExporters = "too_many_exporters"
	causeQueueFull        = "queue_full"
	causeRefused          = "refused"
	causeStopped          = "stopped"

	unitRecord   = "record"
	unitDatagram = "datagram"
	unitSet      = "set"
)

// anyExporter stands for losses that cannot be laid at one exporter's door.
const anyExporter flow.ExporterID = 0

// maxLosses is how many losses are kept apart while no report can be delivered;
// of further ones the exporter is forgotten.
const maxLosses = 1 << 16

// ledger keeps what is known of every exporter and what was lost since the last
// report. Its methods are safe for concurrent use.
type ledger struct {
	mu        sync.Mutex
	max       int
	exporters map[flow.Exporter]*exporterState
	loss      map[lossKey]uint64
}

type exporterState struct {
	flow.ExporterStatus
	changed bool // since the last report
}

type lossKey struct {
	minute      flow.Time
	exporter    flow.ExporterID
	stage       string
	cause, unit string
}

func newLedger(maxExporters int) *ledger {
	return &ledger{max: maxExporters, exporters: map[flow.Exporter]*exporterState{}, loss: map[lossKey]uint64{}}
}

// datagram books one datagram and its records; it reports false when the
// exporter is one too many, and then recs must be dropped.
func (l *ledger) datagram(dec *netflow.Decoder, m *netflow.Message, now flow.Time, recs []flow.Record, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Version == 0 || (err != nil && errors.Is(err, netflow.ErrVersion)) {
		// Not an export message: nobody's.
		l.add(now, anyExporter, stageDecode, causeVersion, unitDatagram, 1)
		return true
	}
	e := l.exporters[m.Exporter]
	if e == nil {
		// A message that says nothing does not make its sender an exporter.
		if len(recs) == 0 && m.Templates == 0 && m.OptionRecords == 0 {
			switch {
			case m.NoTemplate > 0:
				l.add(now, anyExporter, stageDecode, causeNoTemplate, unitDatagram, 1)
			case m.Malformed > 0:
				l.add(now, anyExporter, stageDecode, causeMalformed, unitDatagram, 1)
			case m.OverLimit > 0:
				l.add(now, anyExporter, stageDecode, causeOverLimit, unitDatagram, 1)
			}
			return true
		}
		if len(l.exporters) >= l.max {
			l.add(now, anyExporter, stageDecode, causeTooManyExporters, unitRecord, uint64(len(recs)))
			return false
		}
		e = &exporterState{ExporterStatus: flow.ExporterStatus{Exporter: m.Exporter, FirstSeen: now}}
		l.exporters[m.Exporter] = e
	}
	e.changed = true
	e.Version = uint16(m.Version)
	e.LastSeen = now
	e.Datagrams++
	if m.ExportTime > 0 {
		e.ClockOffset = m.ExportTime - now
	}
	if m.Templates > 0 {
		e.Templates = uint64(dec.Templates(m.Exporter))
	}
	e.Records += uint64(len(recs))
	for i := range recs {
		e.Packets += recs[i].Packets
		e.Bytes += recs[i].Bytes
	}
	if m.SamplingRate != 0 {
		e.SamplingRate = m.SamplingRate
	}
	id := m.Exporter.ID()
	unit := unitSet
	if m.Version == netflow.V5 {
		unit = unitRecord
	}
	l.add(now, id, stageDecode, causeNoTemplate, unit, uint64(m.NoTemplate))
	l.add(now, id, stageDecode, causeMalformed, unit, uint64(m.Malformed))
	l.add(now, id, stageDecode, causeOverLimit, unit, uint64(m.OverLimit))
	return true
}

// add books a loss; the caller holds the lock.
func (l *ledger) add(now flow.Time, id flow.ExporterID, stage, cause, unit string, n uint64) {
	if n > 0 {
		l.book(lossKey{now.Floor(flow.Minute), id, stage, cause, unit}, n)
	}
}

// book adds to a loss, within maxLosses: above it to that of no exporter in
// particular.
func (l *ledger) book(k lossKey, n uint64) {
	if len(l.loss) >= maxLosses {
		if _, ok := l.loss[k]; !ok {
			k.exporter = anyExporter
		}
	}
	l.loss[k] += n
}

// kernelDrops books datagrams that the kernel dropped.
func (l *ledger) kernelDrops(now flow.Time, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(now, anyExporter, stageReceive, causeKernel, unitDatagram, n)
}

// lostRecords books decoded records that will not be stored.
func (l *ledger) lostRecords(recs []flow.Record, cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range recs {
		l.add(recs[i].Received, recs[i].Exporter, stageStore, cause, unitRecord, 1)
	}
}

// take returns what changed since the last call.
func (l *ledger) take() (status []flow.ExporterStatus, loss []flow.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.exporters {
		if e.changed {
			e.changed = false
			status = append(status, e.ExporterStatus)
		}
	}
	for k, n := range l.loss {
		loss = append(loss, flow.Loss{Minute: k.minute, Exporter: k.exporter, Stage: k.stage, Cause: k.cause, Unit: k.unit, Count: n})
	}
	clear(l.loss)
	return status, loss
}

// giveBack undoes take for a report that could not be delivered.
func (l *ledger) giveBack(status []flow.ExporterStatus, loss []flow.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range status {
		if e := l.exporters[s.Exporter]; e != nil {
			e.changed = true
		}
	}
	for _, x := range loss {
		l.book(lossKey{x.Minute, x.Exporter, x.Stage, x.Cause, x.Unit}, x.Count)
	}
}

// known returns how many exporters there are.
func (l *ledger) known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.exporters)
}
