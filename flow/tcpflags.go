package flow

// TCPFlags is the flags byte of the TCP header with the ECN bits
// (IANA tcpControlBits, its low eight bits; NS in bit 8 where a device sends it).
type TCPFlags uint16

// The flags, in the order of their bits.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	NS
)

// AllFlags are those that there are: what else tcpControlBits has in its two bytes
// is the header's data offset and reserved bits (RFC 7125 §3).
const AllFlags TCPFlags = 1<<9 - 1

// String returns the flags in nfdump's way: NCEUAPRSF without the first where
// set, a dot where not.
func (f TCPFlags) String() string {
	const letters = "FSRPAUEC"
	b := []byte("........")
	for i := range letters {
		if f&(1<<i) != 0 {
			b[7-i] = letters[i]
		}
	}
	return string(b)
}
