package netflow

// Total names one of the totals of ProcessStats.
type Total uint16

// The totals that an exporter may state, with their Information Elements.
const (
	TotalMessages       Total = 1 << iota // exportedMessageTotalCount (41)
	TotalRecords                          // exportedFlowRecordTotalCount (42)
	TotalOctets                           // exportedOctetTotalCount (40)
	TotalNotSentFlows                     // notSentFlowTotalCount (166)
	TotalNotSentPackets                   // notSentPacketTotalCount (167)
	TotalNotSentOctets                    // notSentOctetTotalCount (168)
	TotalIgnoredPackets                   // ignoredPacketTotalCount (164)
	TotalIgnoredOctets                    // ignoredOctetTotalCount (165)
	TotalDroppedPackets                   // droppedPacketTotalCount (135)
	TotalDroppedOctets                    // droppedOctetTotalCount (134)
	TotalObservedFlows                    // observedFlowTotalCount (163)
	TotalDuplicates                       // duplicatePacketTotalCount of EnterpriseNumber
	TotalEvicted                          // evictedFlowTotalCount of EnterpriseNumber
)

// ProcessStats is one options record in which a Metering or Exporting Process
// speaks of itself (RFC 7011 §4.1 to §4.3). All values are totals since the
// process began, so that a smaller one than before means that it began again.
type ProcessStats struct {
	// Said tells which of the totals the record has; the others are 0.
	Said Total
	// Process is the exportingProcessId (144) or meteringProcessId (143) that
	// the record names, 0 when none.
	Process uint32
	// Messages, Records and Octets were exported. Records counts flow records
	// (v9: what its sequence number cannot tell), not options.
	Messages, Records, Octets uint64
	// NotSentFlows to NotSentOctets were metered and not exported.
	NotSentFlows, NotSentPackets, NotSentOctets uint64
	// IgnoredPackets and IgnoredOctets were seen and not of interest, Dropped
	// ones lost for want of resources.
	IgnoredPackets, IgnoredOctets uint64
	DroppedPackets, DroppedOctets uint64
	// ObservedFlows is how many flows there were. DuplicatePackets is how many
	// packets were recognised as copies of others, EvictedFlows how many flows
	// ended early for want of room: only our own exporter says these.
	ObservedFlows, DuplicatePackets, EvictedFlows uint64
}
