package exporter

import (
	"flowtally/exporter/meter"
	"flowtally/flow"
)

const (
	// batchRecords and batches are what stands between metering and sending:
	// 1.6 MB.
	batchRecords = 512
	batches      = 16
	// hold is how long a record may wait for others to share its message with.
	hold = flow.Second
	// reportBlocks is after how many blocks the ledger is brought up to date,
	// besides once a second.
	reportBlocks = 16
)

// batch is what metering hands to sending: records, the time to date their
// messages with, and whether to send also what fills no message.
type batch struct {
	records []flow.Record
	at      flow.Time
	boot    flow.Time
	flush   bool
}

// metering counts packets and ends flows. It is one goroutine's.
type metering struct {
	live  bool
	meter *meter.Process

	full  chan<- batch
	empty <-chan []flow.Record

	clock   flow.Time // the latest time there was
	boot    flow.Time
	records []flow.Record // the batch that is being filled
	waiting bool          // records wait, here or in sending, the first one
	oldest  flow.Time     // since oldest

	asks chan func(*metering) // see Control

	ledger   *ledger
	number   int // among the ledger's meterings
	reported flow.Time
	blocks   int
}

func newMetering(c *Config, cache meter.Config, full chan<- batch, empty <-chan []flow.Record, l *ledger) *metering {
	return &metering{
		live: c.Live, meter: meter.New(cache),
		full: full, empty: empty, records: <-empty, ledger: l, number: l.meter(),
		asks: make(chan func(*metering)),
	}
}

// run counts the packets that come over a lane until that is closed, and then
// ends all flows.
func (m *metering) run(l lane) {
	for {
		select {
		case b, more := <-l.full:
			if !more {
				m.finish()
				return
			}
			m.block(b)
			l.empty <- b
		case ask := <-m.asks:
			ask(m)
		}
	}
}

// block counts the packets of b and ends the flows that are due until then.
func (m *metering) block(b *block) {
	m.boot = b.boot
	for obs, details := b.packets, b.details; len(obs) > 0; {
		m.advance(obs[0].Clock)
		until := m.oldest + hold
		if !m.waiting {
			until = meter.MaxTime
		}
		if m.meter.Due() <= m.clock {
			until = meter.MaxTime + 1 // sending is behind: what is due stays
		}
		m.room(true)
		var n int
		m.records, n = m.meter.Count(m.records, obs, details, until)
		m.clock = max(m.clock, obs[n-1].Clock)
		m.filled(m.clock)
		if obs = obs[n:]; details != nil {
			details = details[n:]
		}
	}
	m.advance(b.clock)
	if m.blocks++; m.blocks%reportBlocks == 0 || m.clock-m.reported >= flow.Second {
		m.report()
	}
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
}

// filled notes that records may have come in, due at the given time.
func (m *metering) filled(due flow.Time) {
	if !m.waiting && len(m.records) > 0 {
		m.waiting, m.oldest = true, due
	}
}

// room makes room for the records that a packet may end, two; without block it
// says whether it could.
func (m *metering) room(block bool) bool {
	return len(m.records) <= batchRecords-2 || m.hand(m.clock, false, block)
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

// answer does what is asked, if anything is, between two blocks.
func (m *metering) answer() {
	select {
	case ask := <-m.asks:
		ask(m)
	default:
	}
}

// finish ends all flows and hands over what is left.
func (m *metering) finish() {
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
	stats := m.meter.Stats()
	m.ledger.metered(m.number, &stats)
}
