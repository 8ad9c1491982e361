// Package netflow is the wire: NetFlow v5, NetFlow v9 (RFC 3954) and IPFIX
// (RFC 7011) to and from flow.Record, and NetFlow v1 and v7 to it.
//
// The versions are dialects of one language. v9 and IPFIX share one decoder and
// one encoder, driven by a table of their differences (dialect.go); v1, v5 and
// v7 are one fixed record, with a table of theirs (v5.go). A template is compiled once into a plan of offsets and setters,
// and the record loop only follows it, without allocating.
//
// The package is pure: no sockets, no clock, no log; time is an argument. A
// Decoder is safe for concurrent use, an Encoder is not. Neither keeps a slice
// of what it was given.
package netflow

import "strconv"

// Version is the version number in the first two octets of every message.
type Version uint16

// The versions spoken here. The zero Version is none.
const (
	V1    Version = 1 // read only
	V5    Version = 5
	V7    Version = 7 // read only
	V9    Version = 9
	IPFIX Version = 10
)

// String returns the usual name of the version.
func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case V5:
		return "v5"
	case V7:
		return "v7"
	case V9:
		return "v9"
	case IPFIX:
		return "ipfix"
	}
	return "version " + strconv.Itoa(int(v))
}
