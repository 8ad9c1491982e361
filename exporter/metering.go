package exporter

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
)

const (
	// batchRecords and batches are what stands between the two goroutines: 1.4 MB.
	batchRecords = 512
	batches      = 16
	// hold is how long a record may wait for others to share its message with.
	hold = flow.Second
	// reportPackets is after how many packets the ledger is brought up to date,
	// besides once a second.
	reportPackets = 4096
)

// batch is what metering hands to sending: records, the time to date their
// messages with, and whether to send also what fills no message.
type batch struct {
	records []flow.Record
	at      flow.Time
	boot    flow.Time
	flush   bool
}

// metering reads packets and ends flows. It is one goroutine's.
type metering struct {
	source  capture.Source
	inIf    uint32
	live    bool
	started time.Time
	decoder *packet.Decoder
	meter   *meter.Process

	copies     meter.Duplicates
	dropCopies bool

	full  chan<- batch
	empty <-chan []flow.Record

	clock   flow.Time // the latest time there was
	boot    flow.Time
	records []flow.Record // the batch that is being filled
	waiting bool          // records wait, here or in sending, the first one
	oldest  flow.Time     // since oldest

	counts   meteringCounts
	ledger   *ledger
	reported flow.Time
}

func newMetering(c *Config, full chan<- batch, empty <-chan []flow.Record, l *ledger) *metering {
	m := &metering{
		source: c.Source, inIf: c.InIf, live: c.Live, started: time.Now(),
		decoder: packet.NewDecoder(), meter: meter.New(c.Meter), dropCopies: c.DropDuplicates,
		full: full, empty: empty, records: <-empty, ledger: l,
	}
	if m.live {
		m.clock = flow.TimeOf(m.started)
		m.boot = m.clock.Floor(flow.Second)
	}
	return m
}

// wall is the wall clock, as it was at the start and has run since: somebody who
// sets it back keeps no flow alive.
func (m *metering) wall() flow.Time { return flow.TimeOf(m.started.Add(time.Since(m.started))) }

// run meters until the source ends or breaks off, or ctx ends, which sets stop.
func (m *metering) run(ctx context.Context, stop *atomic.Bool) error {
	var p packet.Packet
	for !stop.Load() {
		data, ci, err := m.source.ZeroCopyReadPacketData()
		switch {
		case err == nil:
		case errors.Is(err, capture.ErrTimeout):
			if m.live {
				m.advance(m.wall())
			}
			continue
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), ctx.Err() != nil:
			return nil
		default:
			return err
		}

		now := max(0, min(flow.TimeOf(ci.Timestamp), meter.MaxTime))
		if m.counts.seen == 0 && !m.live {
			m.boot = now.Floor(flow.Second)
		}
		m.counts.seen++
		m.advance(now)
		if err := m.decoder.Decode(&p, m.source.LinkType(), data); err != nil {
			m.counts.ignored.count(err)
			continue
		}
		if m.copies.Seen(&p, data[p.Offset:], now) {
			m.counts.duplicates++
			if m.dropCopies {
				m.counts.dropped++
				continue
			}
		}
		p.InIf = m.inIf
		m.room(true)
		m.records = m.meter.Observe(m.records, &p, now)
		m.filled(m.clock)
	}
	return nil
}

// advance moves the clock to now: flows that have become due end, in batches
// that reach no further than a message may wait, so that each batch is dated with
// the time at which its records were due, also where now lies years ahead.
func (m *metering) advance(now flow.Time) {
	for {
		due := m.meter.Due()
		if deadline := m.oldest + hold; m.waiting && deadline <= min(due, now) {
			if !m.hand(deadline, true, !m.live) {
				break
			}
			continue
		}
		if due > now {
			break
		}
		until := min(now, due+hold)
		if m.waiting {
			until = min(now, m.oldest+hold)
		}
		if !m.room(!m.live) {
			break // sending is behind: the flows wait in the cache
		}
		m.clock = max(m.clock, until)
		m.records = m.meter.ExpireN(m.records, until, batchRecords-len(m.records))
		m.filled(due)
	}
	m.clock = max(m.clock, now)
	if m.clock-m.reported >= flow.Second || m.counts.seen%reportPackets == 0 {
		m.report()
	}
}

// filled notes that records may have come in, due at the given time.
func (m *metering) filled(due flow.Time) {
	if !m.waiting && len(m.records) > 0 {
		m.waiting, m.oldest = true, due
	}
}

// room makes room for at least one record; without block it says whether it
// could.
func (m *metering) room(block bool) bool {
	return len(m.records) < batchRecords || m.hand(m.clock, false, block)
}

// hand hands the batch over, dated at. Without block it says whether it could.
func (m *metering) hand(at flow.Time, flush, block bool) bool {
	var next []flow.Record
	select {
	case next = <-m.empty:
	default:
		if !block {
			return false
		}
		next = <-m.empty
	}
	m.full <- batch{m.records, at, m.boot, flush}
	m.records = next
	if flush {
		m.waiting = false
	}
	return true
}

// finish ends all flows and hands over what is left.
func (m *metering) finish() {
	if m.live {
		m.clock = max(m.clock, m.wall())
	}
	for {
		m.room(true)
		n := len(m.records)
		m.records = m.meter.FlushN(m.records, batchRecords-n)
		if len(m.records) == n {
			break
		}
	}
	m.hand(m.clock, true, true)
	m.report()
}

// report brings the ledger up to date.
func (m *metering) report() {
	m.reported = m.clock
	m.counts.meter = m.meter.Stats()
	// A source that was closed may have forgotten.
	m.counts.kernelDrops = max(m.counts.kernelDrops, m.source.Stats().Drops)
	m.ledger.metered(&m.counts)
}
