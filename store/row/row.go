// Package row writes a flow as a row of parts.flows and reads it back: its columns, the
// bytes of PostgreSQL's binary COPY, and text and JSON that a database takes. It is pure.
package row

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/flow"
)

// ErrRows reports octets that are not the rows they were said to be.
var ErrRows = errors.New("not whole rows")

// Table are the columns of parts.flows in the order in which appendRow
// writes them, with their types. Binary COPY converts nothing: an octet too few
// would be refused, but a wrong type of the right size would be stored. Those
// that every row has come first, so that they are at fixed places; of the others
// a batch names only those that one of its rows has.
var Table = []column{
	{"flow_start", pgtype.TimestamptzOID}, {"flow_end", pgtype.TimestamptzOID}, {"received_at", pgtype.TimestamptzOID},
	{"packets", pgtype.Int8OID}, {"bytes", pgtype.Int8OID},
	{"exporter_id", pgtype.Int4OID}, {"batch", pgtype.Int4OID},
	{"marks", pgtype.Int2OID}, {"protocol", pgtype.Int2OID}, {"tos", pgtype.Int2OID},
	{"in_if", pgtype.Int4OID}, {"out_if", pgtype.Int4OID}, {"src_as", pgtype.Int4OID}, {"dst_as", pgtype.Int4OID},
	{"sampling_rate", pgtype.Int4OID}, {"src_port", pgtype.Int4OID}, {"dst_port", pgtype.Int4OID}, {"vlan", pgtype.Int4OID},
	{"tcp_flags", pgtype.Int2OID}, {"end_reason", pgtype.Int2OID},
	{"icmp_type", pgtype.Int2OID}, {"icmp_code", pgtype.Int2OID}, {"direction", pgtype.Int2OID},
	{"src_mask", pgtype.Int2OID}, {"dst_mask", pgtype.Int2OID},
	{"src_addr", pgtype.InetOID}, {"dst_addr", pgtype.InetOID}, {"next_hop", pgtype.InetOID},
	{"extra", pgtype.JSONBOID},
}

// column is a column of parts.flows and the OID of its type.
type column struct {
	Name string
	Oid  uint32
}

// Columns is a set of columns: bit i is rowColumns[i].
type Columns uint32

// The columns that not every record has, in their order.
const (
	ColumnInIf Columns = 1 << (iota + FixedColumns)
	ColumnOutIf
	ColumnSrcAS
	ColumnDstAS
	columnRate
	columnSrcPort
	columnDstPort
	columnVLAN
	columnTCPFlags
	columnEndReason
	columnICMPType
	columnICMPCode
	columnDirection
	columnSrcMask
	columnDstMask
	columnSrcAddr
	columnDstAddr
	columnNextHop
	columnExtra

	// Always are those that every row has.
	Always Columns = 1<<FixedColumns - 1
	// FixedColumns is how many they are.
	FixedColumns = 10
)

// Needed returns the columns that the rows of recs need. A column that is null
// throughout costs the server as much as another, and so is left out.
func Needed(recs []flow.Record) Columns {
	c := Always
	// What each record has a value for; most sets are complete after the first
	// few records, and all of them are compared only for what is left.
	var (
		inIf, outIf, srcAS, dstAS, rate uint32
		vlan                            uint16
		reason, direction, masks, maskd uint8
		addresses                       uint8
		ports, icmp, tcp, hop, extra    bool
	)
	for i := range recs {
		r := &recs[i]
		inIf |= r.InIf
		outIf |= r.OutIf
		srcAS |= r.SrcAS
		dstAS |= r.DstAS
		rate |= r.SamplingRate
		vlan |= r.VLAN
		reason |= uint8(r.EndReason)
		direction |= r.Direction
		masks |= r.SrcMask
		maskd |= r.DstMask
		addresses |= r.IPVersion
		switch {
		case r.Protocol == flow.TCP:
			tcp, ports = true, true
		case r.Protocol == flow.ICMP || r.Protocol == flow.ICMPv6:
			icmp = true
		case !ports && r.HasPorts():
			ports = true
		}
		if r.Extra != nil {
			extra = true
		}
		if !hop && !r.NextHop.IsZero() {
			hop = true
		}
	}
	set := func(there bool, which Columns) {
		if there {
			c |= which
		}
	}
	set(inIf != 0, ColumnInIf)
	set(outIf != 0, ColumnOutIf)
	set(srcAS != 0, ColumnSrcAS)
	set(dstAS != 0, ColumnDstAS)
	set(rate != 0, columnRate)
	set(ports, columnSrcPort|columnDstPort)
	set(vlan != 0, columnVLAN)
	set(tcp, columnTCPFlags)
	set(reason != 0, columnEndReason)
	set(icmp, columnICMPType|columnICMPCode)
	set(direction != 0, columnDirection)
	set(masks != 0, columnSrcMask)
	set(maskd != 0, columnDstMask)
	set(addresses != 0, columnSrcAddr|columnDstAddr)
	set(hop, columnNextHop)
	set(extra, columnExtra)
	return c
}

// Names returns the columns by name, in order.
func (c Columns) Names() []string {
	names := make([]string, 0, len(Table))
	for i := range Table {
		if c&(1<<i) != 0 {
			names = append(names, Table[i].Name)
		}
	}
	return names
}

// Named is the reverse of names; false when it cannot be one.
func Named(names []string) (c Columns, ok bool) {
	for _, name := range names {
		i := slices.IndexFunc(Table, func(x column) bool { return x.Name == name })
		if i < 0 || c>>i != 0 { // unknown, or not in order
			return 0, false
		}
		c |= 1 << i
	}
	return c, c&Always == Always
}

// count returns how many columns there are.
func (c Columns) count() int { return bits.OnesCount32(uint32(c)) }

const (
	// CopyHeader and copyTrailer enclose the rows of a binary COPY: signature,
	// flags, length of the extension; and the field count -1.
	CopyHeader  = "PGCOPY\n\377\r\n\000" + "\000\000\000\000" + "\000\000\000\000"
	CopyTrailer = "\377\377"

	// fixedRow is the most octets a row has without extra: the field count, a
	// length for each field, five times 8, ten times 4, ten times 2, three IPv6
	// addresses, the version of jsonb.
	fixedRow = 2 + 29*4 + 5*8 + 10*4 + 10*2 + 3*20 + 1

	// Where the fields that every row has are: each value after its length.
	AtStart, AtEnd, AtReceived, AtPackets, AtBytes = 6, 18, 30, 42, 54
	AtExporter, AtBatch                            = 66, 74
	AtMarks, atProtocol, atTOS                     = 82, 88, 94
	// FixedSize is how long they are together with the field count.
	FixedSize = 96

	// Epoch is PostgreSQL's, 2000-01-01, in our time.
	Epoch flow.Time = 946_684_800_000

	// MaxTime is the end of the year 9999, the last whose name has four digits.
	MaxTime flow.Time = 253_402_300_799_999
)

// TimesPossible reports whether the times of r are such that they can be stored and
// shared out. The collector has seen to it; of an import one cannot be sure.
func TimesPossible(r *flow.Record) bool {
	return r.Start > 0 && r.Start <= r.End && r.End-r.Start <= flow.MaxDuration &&
		r.End <= r.Received+flow.MaxAhead && r.Received <= MaxTime && r.Received > 0
}

// Append appends r as a row of parts.flows in PostgreSQL's binary COPY
// format. What does not fit its column is clamped and the row marked so, which
// is reported. The row has the columns c, which must be all that r has a value
// for. It allocates nothing but room in dst, and for JSON that has to be cleaned.
func Append(dst []byte, r *flow.Record, batch int32, c Columns) (_ []byte, clamped bool) {
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

	n := len(dst)
	b := slices.Grow(dst, fixedRow+len(extra))[:n+FixedSize]
	p := (*[FixedSize]byte)(b[n:])
	binary.BigEndian.PutUint16(p[:], uint16(c.count()))
	putInt8(p[AtStart-4:], uint64((r.Start-Epoch)*1000))
	putInt8(p[AtEnd-4:], uint64((r.End-Epoch)*1000))
	putInt8(p[AtReceived-4:], uint64((r.Received-Epoch)*1000))
	putInt8(p[AtPackets-4:], packets)
	putInt8(p[AtBytes-4:], bytes)
	binary.BigEndian.PutUint64(p[AtExporter-4:], 4<<32|uint64(uint32(r.Exporter)))
	binary.BigEndian.PutUint64(p[AtBatch-4:], 4<<32|uint64(uint32(batch)))
	putInt2(p[AtMarks-4:], uint16(marks)&math.MaxInt16)
	putInt2(p[atProtocol-4:], uint16(r.Protocol))
	putInt2(p[atTOS-4:], uint16(r.TOS))

	if c&ColumnInIf != 0 {
		b = AppendInt4NotZero(b, r.InIf)
	}
	if c&ColumnOutIf != 0 {
		b = AppendInt4NotZero(b, r.OutIf)
	}
	if c&ColumnSrcAS != 0 {
		b = AppendInt4NotZero(b, r.SrcAS)
	}
	if c&ColumnDstAS != 0 {
		b = AppendInt4NotZero(b, r.DstAS)
	}
	if c&columnRate != 0 {
		b = AppendInt4NotZero(b, rate)
	}
	if c&columnSrcPort != 0 {
		b = appendPort(b, r.SrcPort, r.HasSrcPort())
		b = appendPort(b, r.DstPort, r.HasDstPort())
	}
	if c&columnVLAN != 0 {
		b = AppendInt4NotZero(b, uint32(r.VLAN))
	}
	if c&columnTCPFlags != 0 {
		if r.HasTCPFlags() {
			b = AppendInt2(b, uint16(r.TCPFlags)&math.MaxInt16)
		} else {
			b = AppendNull(b)
		}
	}
	if c&columnEndReason != 0 {
		b = appendInt2NotZero(b, uint8(r.EndReason))
	}
	if c&columnICMPType != 0 {
		if typ, code, ok := r.ICMP(); ok {
			b = AppendInt2(b, uint16(typ))
			b = AppendInt2(b, uint16(code))
		} else {
			b = AppendNull(AppendNull(b))
		}
	}
	if c&columnDirection != 0 {
		if r.Direction != 0 {
			b = AppendInt2(b, uint16(r.Direction-1))
		} else {
			b = AppendNull(b)
		}
	}
	if c&columnSrcMask != 0 {
		b = appendInt2NotZero(b, r.SrcMask)
	}
	if c&columnDstMask != 0 {
		b = appendInt2NotZero(b, r.DstMask)
	}
	if c&columnSrcAddr != 0 {
		switch r.Family() {
		case 0:
			b = AppendNull(AppendNull(b))
		case 4:
			b = AppendInet4(b, &r.SrcAddr)
			b = AppendInet4(b, &r.DstAddr)
		default:
			b = AppendInet6(b, &r.SrcAddr)
			b = AppendInet6(b, &r.DstAddr)
		}
	}
	if c&columnNextHop != 0 {
		switch {
		case r.NextHop.IsZero():
			b = AppendNull(b)
		case r.NextHop.Is4():
			b = AppendInet4(b, &r.NextHop)
		default:
			b = AppendInet6(b, &r.NextHop)
		}
	}
	if c&columnExtra != 0 {
		if extra == nil {
			b = AppendNull(b)
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(1+len(extra)))
			b = append(b, 1) // the version of jsonb's binary form
			b = append(b, extra...)
		}
	}
	return b, clamped
}

// Next returns the row that rows begin with and what follows it; ok is false
// when rows do not begin with a whole one of the columns.
func Next(rows []byte, c Columns) (row, rest []byte, ok bool) {
	n := c.count()
	if len(rows) < FixedSize || int(binary.BigEndian.Uint16(rows)) != n {
		return nil, nil, false
	}
	end := FixedSize
	for range n - FixedColumns {
		if len(rows)-end < 4 {
			return nil, nil, false
		}
		length := int32(binary.BigEndian.Uint32(rows[end:]))
		end += 4
		if length == -1 {
			continue
		}
		if length < 0 || int(length) > len(rows)-end {
			return nil, nil, false
		}
		end += int(length)
	}
	return rows[:end], rows[end:], true
}

// Time reads a time of a row.
func Time(row []byte, at int) flow.Time {
	return flow.Time(int64(binary.BigEndian.Uint64(row[at:])))/1000 + Epoch
}

// putInt8 and putInt2 write length and value.
func putInt8(b []byte, v uint64) {
	binary.BigEndian.PutUint32(b, 8)
	binary.BigEndian.PutUint64(b[4:], v)
}

func putInt2(b []byte, v uint16) {
	binary.BigEndian.PutUint32(b, 2)
	binary.BigEndian.PutUint16(b[4:], v)
}

// Each field is its length in four octets and its value; -1 is null. Length and
// value of a small one are written as one number.

func AppendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, math.MaxUint32) }

func AppendInt8(b []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), v)
}

func AppendInt4(b []byte, v uint32) []byte {
	return binary.BigEndian.AppendUint64(b, 4<<32|uint64(v))
}

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

func AppendInt2(b []byte, v uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 2), v)
}

func appendInt2NotZero(b []byte, v uint8) []byte {
	if v == 0 {
		return AppendNull(b)
	}
	return AppendInt2(b, uint16(v))
}

// AppendInet4 and appendInet6 write an inet: PostgreSQL's own number of the
// family, the length of the prefix, "no cidr", the length of the address.
func AppendInet4(b []byte, a *flow.Addr) []byte {
	b = append(b, 0, 0, 0, 8, 2, 32, 0, 4)
	return append(b, a[12:]...)
}

func AppendInet6(b []byte, a *flow.Addr) []byte {
	b = append(b, 0, 0, 0, 20, 3, 128, 0, 16)
	return append(b, a[:]...)
}

// AppendTime writes a timestamptz: microseconds since 2000.
func AppendTime(b []byte, t flow.Time) []byte {
	return AppendInt8(b, uint64((t-Epoch)*1000))
}
