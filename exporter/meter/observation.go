package meter

import "flowtally/flow"

// Observation is what a Process needs to know of a packet. Whoever reads packets
// makes Observations of them, so that the reading and the counting may be two
// goroutines' work, and the counting several's.
type Observation struct {
	// Key is the flow's, and with it Overlay (packet.Packet); of the Key's TOS only
	// the bits of Config.KeyTOS may be set. Hash is what Config.Hash makes of the
	// Key, xor Overlay.
	Key     flow.Key
	Overlay uint32
	Hash    uint32
	// Octets are those of the IP packet as its header states them, of all
	// Packets together; Packets is 1, or how many segments a super-packet stands
	// for.
	Octets, Packets uint32
	// Left, if it is not 0, says that the packet was counted before and that this is
	// the interface it was then seen to leave by (see Passages): it is the flow's
	// egress interface where nothing else is known, and nothing is counted.
	Left     uint32
	TCPFlags flow.TCPFlags
	// TOS is the packet's whole TOS octet; a record has that of its first packet.
	TOS uint8
	// Direction is that of flow.Record; a record has that of its first packet.
	Direction uint8
	// Copy says that the packet is a copy of another (see Duplicates).
	Copy bool
	// At is when the packet was seen, between 0 and MaxTime. Clock is the latest
	// time that was seen before and with it, whichever flow it belonged to: the
	// clock that the Process then has.
	At, Clock flow.Time
}
