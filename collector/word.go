package collector

import "flowtally/flow"

// What an exporter says of its own losses is its word alone, and anybody's who can
// send to us: it is believed as far as what came with it makes it possible.

const (
	// wordFactor is how many times as many packets, or records, as its records had
	// an exporter may have lost or passed over.
	wordFactor = 100
	// wordRate is how many more it may have a second, wordMost how many at once.
	wordRate = 100_000
	wordMost = 10_000_000
	// portRate is how many packets a second a port of 100 Gb/s carries at most.
	portRate = 150_000_000
	// fullRecords is how many records a datagram may have had that did not come,
	// when none that came had more.
	fullRecords = 30
)

// word is what makes the totals of a session's exporter credible.
type word struct {
	packets uint64 // in its records since it last spoke of itself
	largest uint64 // records of one message
	booked  uint64 // records that its totals showed to be missing
	spare   grant
	port    grant
}

// add notes what came in a message.
func (w *word) add(r *receipt) {
	packets := max(r.packets, r.records)
	if rate := uint64(max(r.m.SamplingRate, 1)); packets < portRate {
		packets *= rate
	}
	w.packets = min(w.packets+min(packets, 1<<40), 1<<50)
	w.largest = max(w.largest, r.records)
}

// credible reports whether an exporter can have lost, or passed over, n since it
// last spoke of itself.
func (w *word) credible(n uint64, now flow.Time) bool {
	if n == 0 {
		return true
	}
	if beyond := float64(n) - wordFactor*float64(w.packets); beyond > 0 && !w.spare.take(beyond, wordRate, wordMost, now) {
		return false
	}
	return w.port.take(float64(n), portRate, portRate, now)
}

// missing returns how many of n records that totals show to be missing can have been
// in the datagrams that are.
func (w *word) missing(n, datagrams uint64) uint64 {
	most := datagrams * max(w.largest, fullRecords)
	n = min(n, most-min(most, w.booked))
	w.booked += n
	return n
}
