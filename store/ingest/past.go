package ingest

import (
	"log/slog"
	"sync"
	"time"

	"flowtally/flow"
	"flowtally/store"
)

const (
	// pastAfter is how long before its receipt a flow ended that is past. Flows of the
	// hours before get partitions of their hours, without further ado.
	pastAfter = 3 * flow.Hour
	// pastHours is how many hours that are past an exporter may send flows of at once, and
	// pastHoursAMinute how many more each minute. Each may cost a partition, and its flows
	// are sums of minutes that are in no other flow.
	pastHours        = 2048
	pastHoursAMinute = 60
	// ofAll is how many times as much all exporters together have: addresses and domains
	// can be made up.
	ofAll = 8
	// maxPastExporters bounds how many exporters are remembered.
	maxPastExporters = 4096
	// recentHours is how many hours are free because the exporter sent flows of them a
	// moment ago: a clock that is wrong costs one an hour.
	recentHours = 8
)

// nameWait is how long the log waits for a report to say who an exporter is.
const nameWait = 5 * time.Second

// fate is what becomes of a record that is past.
type fate int

const (
	// kept: there is a partition for it.
	kept fate = iota
	// apart: it needs a partition, and is stored apart so that nobody else waits for that.
	apart
	// moved: its exporter has sent flows of too many hours; it gets its time of receipt.
	moved
)

// pastTimes keeps account of the exporters that send flows which are past.
type pastTimes struct {
	log *slog.Logger

	mu        sync.Mutex
	exporters map[flow.ExporterID]*pastExporter
	all       account
	// moved counts the records that were moved since the last report, by exporter.
	moved map[flow.ExporterID]uint64
	// names are the addresses of exporters, as reported.
	names map[flow.ExporterID]string
	// quietUntil is until when the log does not hear of moved records again.
	quietUntil time.Time
	unlogged   map[flow.ExporterID]uint64
	// since is when the first of unlogged was.
	since time.Time
}

// pastExporter is how many hours an exporter may still send flows of.
type pastExporter struct {
	account
	recent [recentHours]flow.Time
	next   int
}

// account is how many hours are left.
type account struct {
	left float64
	at   time.Time // when left was right; zero: it is full
}

// refill adds what has come since, n times the hours of one exporter, and reports whether
// an hour is left.
func (a *account) refill(now time.Time, n float64) bool {
	if a.at.IsZero() {
		a.left = n * pastHours
	} else {
		a.left = min(n*pastHours, a.left+n*pastHoursAMinute*now.Sub(a.at).Minutes())
	}
	a.at = now
	return a.left >= 1
}

// fates returns the function that says what becomes of the records of a batch. It remembers
// the last answer, because records of one hour come one after the other. mayWait says that
// records can be stored apart.
func (p *pastTimes) fates(partitions *store.Partitions, now time.Time, mayWait bool) func(flow.ExporterID, flow.Time) fate {
	var (
		lastExporter flow.ExporterID
		lastHour     flow.Time = -1
		lastFate     fate
	)
	return func(e flow.ExporterID, hour flow.Time) fate {
		if e != lastExporter || hour != lastHour {
			lastExporter, lastHour, lastFate = e, hour, kept
			if !p.admit(e, hour, now) {
				lastFate = moved
			} else if _, ok := partitions.Of(hour); !ok && mayWait {
				lastFate = apart
			}
		}
		if lastFate == moved {
			p.count(e)
		}
		return lastFate
	}
}

// admit reports whether an exporter may send flows of an hour, and takes it off its account.
func (p *pastTimes) admit(id flow.ExporterID, hour flow.Time, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.exporters[id]
	if e == nil {
		if p.exporters == nil {
			p.exporters = make(map[flow.ExporterID]*pastExporter)
		}
		if len(p.exporters) >= maxPastExporters {
			for other := range p.exporters { // any one
				delete(p.exporters, other)
				break
			}
		}
		e = new(pastExporter)
		p.exporters[id] = e
	}
	for _, h := range e.recent {
		if h == hour {
			return true
		}
	}
	if !e.refill(now, 1) || !p.all.refill(now, ofAll) {
		return false
	}
	e.left--
	p.all.left--
	e.recent[e.next%recentHours] = hour
	e.next++
	return true
}

// count counts a record that is moved.
func (p *pastTimes) count(e flow.ExporterID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved == nil {
		p.moved = make(map[flow.ExporterID]uint64)
	}
	if len(p.unlogged) == 0 {
		p.since = time.Now()
	}
	if p.unlogged == nil {
		p.unlogged = make(map[flow.ExporterID]uint64)
	}
	p.moved[e]++
	p.unlogged[e]++
}

// name remembers the address of an exporter.
func (p *pastTimes) name(e flow.ExporterID, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil || len(p.names) >= maxPastExporters {
		p.names = make(map[flow.ExporterID]string)
	}
	p.names[e] = name
}

// report logs who sent too many hours, a line a minute, of the exporter that did so most.
func (p *pastTimes) report(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unlogged) == 0 || now.Before(p.quietUntil) {
		return
	}
	var most flow.ExporterID
	var all uint64
	for e, n := range p.unlogged {
		all += n
		if n > p.unlogged[most] {
			most = e
		}
	}
	name, ok := p.names[most]
	if !ok && now.Sub(p.since) < nameWait {
		return
	}
	p.log.Warn("an exporter sends flows of too many hours that are past; those beyond get their time of receipt: correct its clock, or block it",
		"exporter", name, "id", int32(most), "records", p.unlogged[most], "exporters", len(p.unlogged), "records_of_all", all)
	clear(p.unlogged)
	p.quietUntil = now.Add(time.Minute)
}

// take returns the counts since the last time.
func (p *pastTimes) take() map[flow.ExporterID]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.moved
	p.moved = nil
	return n
}
