package row

import (
	"encoding/binary"
	"math"

	"flowtally/flow"
)

const (
	// CopyHeader is what a binary COPY begins with: signature, flags, and the length of
	// the extension.
	CopyHeader = "PGCOPY\n\377\r\n\000" + "\000\000\000\000" + "\000\000\000\000"
	// CopyTrailer is what a binary COPY ends with: the field count -1.
	CopyTrailer = "\377\377"
)

// epoch is PostgreSQL's, 2000-01-01, in our time.
const epoch flow.Time = 946_684_800_000

// A field of a binary COPY is its length in four bytes and its value. Length and value of
// a small field are written as one number.

// AppendNull appends a field that is null.
func AppendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, math.MaxUint32) }

// AppendInt8 appends a bigint.
func AppendInt8(b []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), v)
}

// AppendInt4 appends an integer.
func AppendInt4(b []byte, v uint32) []byte {
	return binary.BigEndian.AppendUint64(b, 4<<32|uint64(v))
}

// AppendInt4NotZero appends an integer, or null for 0.
func AppendInt4NotZero(b []byte, v uint32) []byte {
	if v == 0 {
		return AppendNull(b)
	}
	return AppendInt4(b, v)
}

func appendPort(b []byte, port uint16, said bool) []byte {
	if !said {
		return AppendNull(b)
	}
	return AppendInt4(b, uint32(port))
}

// AppendInt2 appends a smallint.
func AppendInt2(b []byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 2), v)
}

func appendInt2NotZero(b []byte, v uint8) []byte {
	if v == 0 {
		return AppendNull(b)
	}
	return AppendInt2(b, uint16(v))
}

// AppendInet4 appends an IPv4 address as an inet: PostgreSQL's own number of the address
// family, the length of the prefix, that it is no cidr, and the length of the address.
func AppendInet4(b []byte, a *flow.Addr) []byte {
	b = append(b, 0, 0, 0, 8, 2, 32, 0, 4)
	return append(b, a[12:]...)
}

// AppendInet6 appends an IPv6 address as an inet.
func AppendInet6(b []byte, a *flow.Addr) []byte {
	b = append(b, 0, 0, 0, 20, 3, 128, 0, 16)
	return append(b, a[:]...)
}

// AppendTime appends a timestamptz: microseconds since 2000.
func AppendTime(b []byte, t flow.Time) []byte {
	return AppendInt8(b, uint64((t-epoch)*1000))
}

// ReadTime reads the value of a timestamptz, to the millisecond.
func ReadTime(value []byte) flow.Time {
	return flow.Time(int64(binary.BigEndian.Uint64(value)))/1000 + epoch
}

func putInt8(b []byte, v uint64) {
	binary.BigEndian.PutUint32(b, 8)
	binary.BigEndian.PutUint64(b[4:], v)
}

func putInt2(b []byte, v uint16) {
	binary.BigEndian.PutUint32(b, 2)
	binary.BigEndian.PutUint16(b[4:], v)
}
