package netflow

import (
	"net/netip"

	"flowtally/flow"
)

// Limits is what a Decoder lets strangers make it keep. The zero value of a
// field means its default.
type Limits struct {
	// ExporterTemplates is how many templates one exporter may have (default 1024).
	ExporterTemplates int
}

// Decoder is the receiving side of a listener.
type Decoder struct{}

// NewDecoder returns a Decoder that knows no template. It is safe for
// concurrent use, so that the sockets of one listener share what they learn.
func NewDecoder(l Limits) *Decoder { return &Decoder{} }

// Message says what a datagram was.
type Message struct {
	Version  Version
	Exporter flow.Exporter
	// ExportTime is the exporter's clock as the header states it.
	ExportTime flow.Time
	// Sequence is the header's sequence number: v5 counts the flow records
	// before this message, v9 the messages, IPFIX the Data Records before it.
	Sequence uint32
	// Records and OptionRecords count the Data Records decoded, as they stand
	// on the wire: a biflow is one here and may append two. Templates counts
	// those learned, first or anew.
	Records, OptionRecords, Templates int
	// NoTemplate, Malformed and OverLimit count the Sets (v5: the records) that
	// were not decoded, by cause.
	NoTemplate, Malformed, OverLimit int
	// SamplingRate is the N of 1:N that the exporter last announced, 0 when it
	// has not.
	SamplingRate uint32
}

// Decode appends the records of one datagram to dst and returns it, also beside
// an error; m is overwritten. Good Sets survive a bad neighbour, and err joins
// what was skipped.
func (d *Decoder) Decode(dst []flow.Record, m *Message, from netip.AddrPort, received flow.Time, datagram []byte) ([]flow.Record, error) {
	*m = Message{}
	return dst, ErrVersion
}

// Templates returns how many templates of e are known now.
func (d *Decoder) Templates(e flow.Exporter) int { return 0 }
