package flow

// Batch is what a collector hands to its store at once: it is stored whole or
// not at all.
type Batch struct {
	Records []Record
	// Sequences are where the sessions stood that the records came from, after
	// them: what follows a crash is compared with it, and the gap is known.
	Sequences []Sequence
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
	// At is when the last message was received.
	At Time
}

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
