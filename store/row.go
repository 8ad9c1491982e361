package store

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/flow"
)

// rowColumns are the columns of parts.flows in the order in which appendRow
// writes them, with their types. Binary COPY converts nothing: an octet too few
// would be refused, but a wrong type of the right size would be stored.
var rowColumns = []struct {
	name string
	oid  uint32
}{
	{"flow_start", pgtype.TimestamptzOID}, {"flow_end", pgtype.TimestamptzOID}, {"received_at", pgtype.TimestamptzOID},
	{"packets", pgtype.Int8OID}, {"bytes", pgtype.Int8OID},
	{"in_if", pgtype.Int8OID}, {"out_if", pgtype.Int8OID}, {"src_as", pgtype.Int8OID}, {"dst_as", pgtype.Int8OID},
	{"exporter_id", pgtype.Int4OID}, {"batch", pgtype.Int4OID}, {"sampling_rate", pgtype.Int4OID},
	{"src_port", pgtype.Int4OID}, {"dst_port", pgtype.Int4OID}, {"vlan", pgtype.Int4OID},
	{"protocol", pgtype.Int2OID}, {"marks", pgtype.Int2OID}, {"tcp_flags", pgtype.Int2OID}, {"tos", pgtype.Int2OID},
	{"end_reason", pgtype.Int2OID}, {"icmp_type", pgtype.Int2OID}, {"icmp_code", pgtype.Int2OID}, {"direction", pgtype.Int2OID},
	{"src_mask", pgtype.Int2OID}, {"dst_mask", pgtype.Int2OID},
	{"src_addr", pgtype.InetOID}, {"dst_addr", pgtype.InetOID}, {"next_hop", pgtype.InetOID},
	{"extra", pgtype.JSONBOID},
}

// copyColumns is the column list of the COPY statement.
var copyColumns = func() string {
	names := make([]string, len(rowColumns))
	for i, c := range rowColumns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}()

// checkColumns compares the types of the table's columns with what appendRow
// writes.
func checkColumns(columns map[string]uint32) error {
	for _, c := range rowColumns {
		switch oid, ok := columns[c.name]; {
		case !ok:
			return say(ErrSchema, nil, "table parts.flows has no column %s: run flowtally migrate", c.name)
		case oid != c.oid:
			return say(ErrSchema, nil, "column %s of table parts.flows has type %d and not %d: undo what changed it", c.name, oid, c.oid)
		}
	}
	return nil
}

const (
	// copyHeader and copyTrailer enclose the rows of a binary COPY: signature,
	// flags, length of the extension; and the field count -1.
	copyHeader  = "PGCOPY\n\377\r\n\000" + "\000\000\000\000" + "\000\000\000\000"
	copyTrailer = "\377\377"

	// fixedRow is the most octets a row has without extra: the field count, a
	// length for each field, nine times 8, six times 4, ten times 2, three IPv6
	// addresses, the version of jsonb.
	fixedRow = 2 + 29*4 + 9*8 + 6*4 + 10*2 + 3*20 + 1

	// epoch is PostgreSQL's, 2000-01-01, in our time.
	epoch flow.Time = 946_684_800_000

	// maxTime is the end of the year 9999, the last whose name has four digits.
	maxTime flow.Time = 253_402_300_799_999
)

// possible reports whether the times of r are such that they can be stored and
// shared out. The collector has seen to it; of an import one cannot be sure.
func possible(r *flow.Record) bool {
	return r.Start > 0 && r.Start <= r.End && r.End-r.Start <= flow.MaxDuration &&
		r.End <= r.Received+flow.MaxAhead && r.Received <= maxTime && r.Received > 0
}

// appendRow appends r as a row of parts.flows in PostgreSQL's binary COPY
// format. What does not fit its column is clamped and the row marked so, which
// is reported. It allocates nothing but room in dst, and for JSON that has to
// be cleaned.
func appendRow(dst []byte, r *flow.Record, batch int32) (_ []byte, clamped bool) {
	var (
		packets, bytes = r.Packets, r.Bytes
		rate           = r.SamplingRate
		extra          = r.Extra
		marks          = r.Marks
	)
	if packets > math.MaxInt64 {
		packets, clamped = math.MaxInt64, true
	}
	if bytes > math.MaxInt64 {
		bytes, clamped = math.MaxInt64, true
	}
	if rate > math.MaxInt32 {
		rate, clamped = math.MaxInt32, true
	}
	if extra != nil {
		var changed bool
		if extra, changed = cleanJSON(extra); changed {
			clamped = true
		}
	}
	if clamped {
		marks |= flow.MarkClamped
	}

	b := slices.Grow(dst, fixedRow+len(extra))
	b = binary.BigEndian.AppendUint16(b, uint16(len(rowColumns)))
	b = appendTime(b, r.Start)
	b = appendTime(b, r.End)
	b = appendTime(b, r.Received)
	b = appendInt8(b, packets)
	b = appendInt8(b, bytes)
	b = appendInt8NotZero(b, r.InIf)
	b = appendInt8NotZero(b, r.OutIf)
	b = appendInt8NotZero(b, r.SrcAS)
	b = appendInt8NotZero(b, r.DstAS)
	b = appendInt4(b, uint32(r.Exporter))
	b = appendInt4(b, uint32(batch))
	b = appendInt4NotZero(b, rate)
	if r.HasPorts() {
		b = appendInt4(b, uint32(r.SrcPort))
		b = appendInt4(b, uint32(r.DstPort))
	} else {
		b = appendNull(appendNull(b))
	}
	b = appendInt4NotZero(b, uint32(r.VLAN))
	b = appendInt2(b, uint16(r.Protocol))
	b = appendInt2(b, uint16(marks)&math.MaxInt16)
	if r.Protocol == flow.TCP {
		b = appendInt2(b, uint16(r.TCPFlags)&math.MaxInt16)
	} else {
		b = appendNull(b)
	}
	b = appendInt2(b, uint16(r.TOS))
	b = appendInt2NotZero(b, uint8(r.EndReason))
	if typ, code, ok := r.ICMP(); ok {
		b = appendInt2(b, uint16(typ))
		b = appendInt2(b, uint16(code))
	} else {
		b = appendNull(appendNull(b))
	}
	if r.Direction != 0 {
		b = appendInt2(b, uint16(r.Direction-1))
	} else {
		b = appendNull(b)
	}
	b = appendInt2NotZero(b, r.SrcMask)
	b = appendInt2NotZero(b, r.DstMask)
	switch r.IPVersion {
	case 0:
		b = appendNull(appendNull(b))
	case 4:
		b = appendInet4(b, &r.SrcAddr)
		b = appendInet4(b, &r.DstAddr)
	default:
		b = appendInet6(b, &r.SrcAddr)
		b = appendInet6(b, &r.DstAddr)
	}
	switch {
	case r.NextHop.IsZero():
		b = appendNull(b)
	case r.NextHop.Is4():
		b = appendInet4(b, &r.NextHop)
	default:
		b = appendInet6(b, &r.NextHop)
	}
	if extra == nil {
		b = appendNull(b)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(1+len(extra)))
		b = append(b, 1) // the version of jsonb's binary form
		b = append(b, extra...)
	}
	return b, clamped
}

// Each field is its length in four octets and its value; -1 is null. Length and
// value of a small one are written as one number.

func appendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, math.MaxUint32) }

func appendInt8(b []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), v)
}

func appendInt8NotZero(b []byte, v uint32) []byte {
	if v == 0 {
		return appendNull(b)
	}
	return appendInt8(b, uint64(v))
}

func appendInt4(b []byte, v uint32) []byte {
	return binary.BigEndian.AppendUint64(b, 4<<32|uint64(v))
}

func appendInt4NotZero(b []byte, v uint32) []byte {
	if v == 0 {
		return appendNull(b)
	}
	return appendInt4(b, v)
}

func appendInt2(b []byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 2), v)
}

func appendInt2NotZero(b []byte, v uint8) []byte {
	if v == 0 {
		return appendNull(b)
	}
	return appendInt2(b, uint16(v))
}

// appendTime writes a timestamptz: microseconds since 2000.
func appendTime(b []byte, t flow.Time) []byte {
	return appendInt8(b, uint64((t-epoch)*1000))
}

// appendInet4 and appendInet6 write an inet: PostgreSQL's own number of the
// family, the length of the prefix, "no cidr", the length of the address.
func appendInet4(b []byte, a *flow.Addr) []byte {
	b = append(b, 0, 0, 0, 8, 2, 32, 0, 4)
	return append(b, a[12:]...)
}

func appendInet6(b []byte, a *flow.Addr) []byte {
	b = append(b, 0, 0, 0, 20, 3, 128, 0, 16)
	return append(b, a[:]...)
}
