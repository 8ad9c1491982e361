package exporter

import "time"

// burst is how many datagrams may go at once: what a collector's default receive
// buffer takes.
const burst = 32

// pacer spreads datagrams over time, at so many records a second: a token bucket,
// kept as the time at which it would be full. It fills while nothing is sent, so
// that little to send is sent at once.
type pacer struct {
	record time.Duration // the time of a record, in 1/1024 nanoseconds; 0 is unpaced
	full   time.Time
	now    func() time.Time
	sleep  func(time.Duration)
}

func newPacer(recordsPerSecond int, now func() time.Time, sleep func(time.Duration)) *pacer {
	p := &pacer{now: now, sleep: sleep}
	if recordsPerSecond > 0 {
		p.record = time.Second * 1024 / time.Duration(recordsPerSecond)
	}
	return p
}

// wait returns when a datagram of n records may go.
func (p *pacer) wait(n int) {
	if p.record == 0 {
		return
	}
	cost := p.record * time.Duration(n) / 1024
	depth := cost * (burst - 1)
	now := p.now()
	for p.full.Sub(now) > depth {
		// Half a burst at a time, for the sake of few wake-ups.
		p.sleep(p.full.Sub(now) - depth/2)
		now = p.now()
	}
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(cost)
}
