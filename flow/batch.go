package flow

import "net/netip"

// Batch is what a collector hands to its store at once: it is stored whole or
// not at all.
type Batch struct {
	Records []Record
	// Events are what firewalls and translators did, which are no flows.
	Events []Event
	// Sequences are the states, after these records, of the export sessions that
	// sent them. After a crash the next run compares what it receives with them and
	// so finds the gap.
	Sequences []Sequence
	// Loss is what these sessions lost up to those states. It is stored in the same
	// transaction, so that a crash neither repeats nor omits any of it.
	Loss []Loss
	// Pressed says that more batches wait than a passing delay explains: this one
	// is to become durable by the fastest way there is.
	Pressed bool
}

// Sequence is the state of one export session. A session is an exporter, the port
// it sends from and its version; each numbers its messages separately.
type Sequence struct {
	Exporter
	Port    uint16
	Version uint16
	// Next is the sequence number that the next message is to carry if it numbers
	// what was sent before it; Numbering is what it counts, and Rate how many of
	// these came in the best second, 0 when that is not known well.
	Next      uint32
	Numbering Numbering
	Rate      uint32
	// Member says that the session has no numbers of its own: those of another
	// session of its address, port and version go on in it.
	Member bool
	// From is what Next was in the previous batch: this batch accounts for the
	// numbers between the two.
	From uint32
	// Holes are numbers before Next that were skipped and may still arrive, in
	// ascending order.
	Holes []Hole
	// Epoch identifies the run of the collector that began to follow the session; a
	// later run that knows the state keeps it. Base is the number at which that run
	// began. Blind says that it began without the state of an earlier run: a store
	// that knows an earlier epoch counts the numbers between the two as missing.
	Epoch int64
	Base  uint32
	Blind bool
	// At is when the last message was received.
	At Time
}

// Hole is a range of sequence numbers, To excluded, modulo 2^32.
type Hole struct{ From, To uint32 }

// Len returns how many numbers the hole has.
func (h Hole) Len() uint64 { return uint64(h.To - h.From) }

// Gap returns the numbers missing between two states of a session, of which the
// earlier one ended at from and the later one begins at to, pause after it. There
// is no gap when to equals from, when it is behind it (the exporter restarted), or
// when it is farther ahead than an exporter can have sent in that time.
func Gap(from, to uint32, pause Time) (h Hole, ok bool) {
	d := int64(int32(to - from))
	if d <= 0 || d > gapBase+gapRate*max(int64(pause), 0) {
		return Hole{}, false
	}
	return Hole{from, to}, true
}

// A gap is believed when it has at most gapBase numbers and gapRate more for each
// millisecond of the pause: no exporter sends faster.
const (
	gapBase = 1 << 20
	gapRate = 10_000
)

// Interface is what an exporter says about one of its interfaces.
type Interface struct {
	Exporter ExporterID
	// Index is the ifIndex that records name.
	Index uint32
	// Speed is in bits per second, 0 when not known.
	Speed             uint64
	Name, Description string
}

// Unreadable is somebody who sends what cannot be read.
type Unreadable struct {
	Addr                Addr
	FirstSeen, LastSeen Time
	// Datagrams counts them, and TCP connections that ended for what came.
	Datagrams uint64
	// First are the first bytes of the last one, Guess is what it probably is.
	First []byte
	Guess string
	// Error is why it could not be read.
	Error string
}

// Listener is an address that a collector listens on.
type Listener struct {
	// Collector is the name of its machine, Protocol udp, tcp or tls.
	Collector, Protocol string
	// Addr is what it is bound to, Reachable the addresses of the machine at which that is
	// reached.
	Addr      netip.AddrPort
	Reachable []netip.Addr
	// Announced is what exporters should send to by the word of who started it, "" when
	// nothing was said.
	Announced string
	// Container says that it runs in a container: others may not reach what is Reachable.
	Container bool
}

// Report is what a collector stores besides records, once a second.
type Report struct {
	// Listeners are where it listens, once a minute.
	Listeners []Listener
	// Status is the state of every exporter that changed since the last report.
	Status []ExporterStatus
	// Loss is what was lost since then.
	Loss []Loss
	// Interfaces are those that options records described since then.
	Interfaces []Interface
	// Unreadable are those who sent what cannot be read since then.
	Unreadable []Unreadable
	// Sequences are the last states of the sessions that sent messages after those
	// whose records went into batches.
	Sequences []Sequence
}
