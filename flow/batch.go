package flow

// Batch is what a collector hands to its store at once: it is stored whole or
// not at all.
type Batch struct {
	Records []Record
	// Sequences are where the sessions stood that the records came from, after
	// them: what follows a crash is compared with it, and the gap is known.
	Sequences []Sequence
	// Loss is what of these sessions was lost up to there, and is stored with
	// them: so that of a crash between the two neither is told twice, nor left out.
	Loss []Loss
	// Pressed says that more batches wait than a passing delay explains: wherever
	// this one is durable soonest is best.
	Pressed bool
}

// Sequence is where one export session stands: the exporter, the port it sends
// from and its dialect, each of which counts for itself.
type Sequence struct {
	Exporter
	Port    uint16
	Version uint16
	// Next is the sequence number that the next message is to carry, counted in
	// flows (v5), datagrams (v9) or data records (IPFIX).
	Next uint32
	// From is what Next was in the batch before: what this one adds goes from the
	// one to the other.
	From uint32
	// Holes are numbers before Next that were passed over and may still come, in
	// order.
	Holes []Hole
	// Epoch is the run of the collector that began to follow the session, or to
	// whose knowledge of it later runs could add. Base is where it began, and Blind
	// says that it did without knowing what an earlier one had: the store, when it
	// knows an earlier epoch, is to book what lies between.
	Epoch int64
	Base  uint32
	Blind bool
	// At is when the last message was received.
	At Time
}

// Hole is a range of sequence numbers, To excluded, modulo 2^32.
type Hole struct{ From, To uint32 }

// Len returns how many numbers it has.
func (h Hole) Len() uint64 { return uint64(h.To - h.From) }

// Gap returns the numbers between two states of a session, the later one
// beginning at to: none when it begins where the earlier one ended, or behind it
// (the exporter began again), or farther ahead than one can have sent in between.
func Gap(from, to uint32, pause Time) (h Hole, ok bool) {
	d := int64(int32(to - from))
	if d <= 0 || d > gapBase+gapRate*max(int64(pause), 0) {
		return Hole{}, false
	}
	return Hole{from, to}, true
}

// A gap is believed up to gapBase and gapRate numbers for each millisecond
// between its sides: more nobody can have sent.
const (
	gapBase = 1 << 20
	gapRate = 10_000
)

// Interface is what an exporter says about one of its interfaces.
type Interface struct {
	Exporter ExporterID
	// Index is the ifIndex that records name.
	Index uint32
	// Speed is in bits per second, 0 when not said.
	Speed             uint64
	Name, Description string
}

// Report is what a collector has to say besides records, once a second.
type Report struct {
	// Status is the state of every exporter that changed since the last report.
	Status []ExporterStatus
	// Loss is what was lost since then.
	Loss []Loss
	// Interfaces are those that were described anew since then.
	Interfaces []Interface
	// Sequences are where sessions stood at the end that sent messages after
	// those whose records went into batches.
	Sequences []Sequence
}
