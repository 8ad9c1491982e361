package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// dialect is what sets the versions apart; everything else in this package is
// one code. To add a version that knows templates, add a row.
type dialect struct {
	version Version
	// header is the length of the message header in octets.
	header int
	// sequence is where the sequence number is in the header.
	sequence int
	// templateSet and optionsSet are the Set identifiers of templates and of
	// options templates.
	templateSet, optionsSet uint16
	// enterprise: bit 15 of an element's identifier says that an enterprise
	// number follows. v9 has no such bit; its devices use the whole range.
	enterprise bool
	// scopeOctets: the header of an options template gives the lengths of its
	// two halves in octets, and scopes are numbered apart from elements (RFC
	// 3954 §6.1). IPFIX counts fields, and scopes are elements.
	scopeOctets bool
	// uptime: flowEnd/StartSysUpTime count from the uptime in the header;
	// otherwise from systemInitTimeMilliseconds.
	uptime bool
	// padding is the multiple of octets that a Set's length is rounded up to
	// when we send.
	padding int
}

var (
	dialectV9 = dialect{
		version: V9, header: 20, sequence: 12, templateSet: 0, optionsSet: 1,
		scopeOctets: true, uptime: true, padding: 4,
	}
	dialectIPFIX = dialect{
		version: IPFIX, header: 16, sequence: 8, templateSet: 2, optionsSet: 3,
		enterprise: true, padding: 1,
	}
)

const (
	setHeader     = 4   // octets of identifier and length
	firstTemplate = 256 // lower identifiers are reserved (RFC 7011 §3.3.2)
)

// clock returns the export time that a header states and, in v9, the uptime.
func (d *dialect) clock(header []byte) (export flow.Time, uptime uint32) {
	at := 4
	if d.uptime {
		uptime, at = binary.BigEndian.Uint32(header[4:]), 8
	}
	return flow.Time(binary.BigEndian.Uint32(header[at:])) * flow.Second, uptime
}
