package flow

// Numbering is what the sequence numbers of an export session count. What a
// version's specification says is only one of its values: many exporters count
// something else, and lose nothing by it.
type Numbering uint8

// The kinds of Numbering. Those named After number a message with what had been
// sent when the message itself was: the total before it, and its own. An exporter
// that numbers by the last flow of a message is one of them, as the steps from
// message to message are the same.
const (
	// NumberingUnknown is that nothing came yet.
	NumberingUnknown Numbering = iota
	// NumberingRecords counts Data Records, those of options too: IPFIX, v5.
	NumberingRecords
	NumberingRecordsAfter
	// NumberingMessages counts messages: v9.
	NumberingMessages
	// NumberingFlows counts flow records and leaves out those of options.
	NumberingFlows
	NumberingFlowsAfter
	// NumberingAll counts templates as well, as the count in a v9 header does.
	NumberingAll
	NumberingAllAfter
	// NumberingDataMessages counts messages, without those that have no data.
	NumberingDataMessages
	// NumberingNothing is always the same: what is lost cannot be told.
	NumberingNothing
	// Numberings is how many kinds there are.
	Numberings
)

var numberingWords = [Numberings]string{
	"", "records", "records_after", "messages", "flows", "flows_after", "all", "all_after", "data_messages", "nothing",
}

// String returns the word that the table exporter_status has for n, "" for
// NumberingUnknown.
func (n Numbering) String() string {
	if n < Numberings {
		return numberingWords[n]
	}
	return ""
}

// Messages reports whether messages are counted rather than records.
func (n Numbering) Messages() bool { return n == NumberingMessages || n == NumberingDataMessages }

// After reports whether a message's number has the message itself in it.
func (n Numbering) After() bool {
	return n == NumberingRecordsAfter || n == NumberingFlowsAfter || n == NumberingAllAfter
}
