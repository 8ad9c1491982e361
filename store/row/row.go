// Package row writes a flow as a row of parts.flows and reads it back: its columns, the
// bytes of PostgreSQL's binary COPY, and text and JSON that a database takes. The package
// does no input or output, and reads no clock.
package row

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/flow"
)

// ErrRows reports bytes that are not the rows they are said to be.
var ErrRows = errors.New("not whole rows")

// Column is a column of parts.flows and the OID of its type.
type Column struct {
	Name string
	OID  uint32
}

// Table is the columns of parts.flows in the order in which Append writes them. Binary
// COPY converts nothing: PostgreSQL refuses a value of the wrong length, but it would store
// one of the wrong type and the right length. The columns that every row has come first,
// so that their offsets are fixed. Of the others a batch names those that one of its rows
// has.
var Table = []Column{
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
	{"nat_src_addr", pgtype.InetOID}, {"nat_dst_addr", pgtype.InetOID}, {"nat_src_port", pgtype.Int4OID}, {"nat_dst_port", pgtype.Int4OID},
	{"extra", pgtype.JSONBOID},
}

// AddedSince are the columns that the schema did not have when its migrations were
// renumbered.
var AddedSince = []string{"nat_src_addr", "nat_dst_addr", "nat_src_port", "nat_dst_port"}

// Columns is a set of columns: bit i is Table[i].
type Columns uint64

// The columns that not every row has, in their order.
const (
	columnInIf Columns = 1 << (iota + fixedColumns)
	columnOutIf
	columnSrcAS
	columnDstAS
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
	columnNATSrcAddr
	columnNATDstAddr
	columnNATSrcPort
	columnNATDstPort
	columnExtra

	// columnsNAT are those of a translation: a batch has all of them or none.
	columnsNAT = columnNATSrcAddr | columnNATDstAddr | columnNATSrcPort | columnNATDstPort

	// Required are the columns that every row has.
	Required Columns = 1<<fixedColumns - 1
	// fixedColumns is how many they are.
	fixedColumns = 10
)

// Needed returns the columns that the rows of some records need. A column that is null
// in all rows costs the server as much as another, so it is left out.
func Needed(recs []flow.Record) Columns {
	c := Required
	// The fields of all records are combined with or, without branches. What needs a
	// branch is looked at until one record has it.
	var (
		inIf, outIf, srcAS, dstAS, rate uint32
		vlan                            uint16
		reason, direction               uint8
		srcMask, dstMask                uint8
		addresses                       uint8
		ports, icmp, tcp, hop, extra    bool
		nat                             bool
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
		srcMask |= r.SrcMask
		dstMask |= r.DstMask
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
			if !nat {
				nat = bytes.Contains(r.Extra, natBegin)
			}
		}
		if !hop && !r.NextHop.IsZero() {
			hop = true
		}
	}
	set := func(present bool, which Columns) {
		if present {
			c |= which
		}
	}
	set(inIf != 0, columnInIf)
	set(outIf != 0, columnOutIf)
	set(srcAS != 0, columnSrcAS)
	set(dstAS != 0, columnDstAS)
	set(rate != 0, columnRate)
	set(ports, columnSrcPort|columnDstPort)
	set(vlan != 0, columnVLAN)
	set(tcp, columnTCPFlags)
	set(reason != 0, columnEndReason)
	set(icmp, columnICMPType|columnICMPCode)
	set(direction != 0, columnDirection)
	set(srcMask != 0, columnSrcMask)
	set(dstMask != 0, columnDstMask)
	set(addresses != 0, columnSrcAddr|columnDstAddr)
	set(hop, columnNextHop)
	set(nat, columnsNAT)
	set(extra, columnExtra)
	return c
}

// Names returns the names of the columns, in order.
func (c Columns) Names() []string {
	names := make([]string, 0, len(Table))
	for i := range Table {
		if c&(1<<i) != 0 {
			names = append(names, Table[i].Name)
		}
	}
	return names
}

// ParseColumns returns the columns of a list that Names returned; ok is false for any
// other list.
func ParseColumns(names []string) (c Columns, ok bool) {
	for _, name := range names {
		i := slices.IndexFunc(Table, func(x Column) bool { return x.Name == name })
		if i < 0 || c>>i != 0 { // unknown, or not in order
			return 0, false
		}
		c |= 1 << i
	}
	return c, c&Required == Required
}

// count returns how many columns there are.
func (c Columns) count() int { return bits.OnesCount64(uint64(c)) }

const (
	// fixedRow is the most bytes a row has without extra: the field count, a
	// length for each field, five times 8, twelve times 4, ten times 2, five IPv6
	// addresses, the version of jsonb.
	fixedRow = 2 + 33*4 + 5*8 + 12*4 + 10*2 + 5*20 + 1

	// The offsets of the required fields' values. Each follows its length.
	atStart, atEnd, atReceived, atPackets, atBytes = 6, 18, 30, 42, 54
	atExporter, atBatch                            = 66, 74
	atMarks, atProtocol, atTOS                     = 82, 88, 94
	// fixedSize is the size of the required fields together with the field count.
	fixedSize = 96

	// MaxTime is the end of the year 9999, the last whose name has four digits.
	MaxTime flow.Time = 253_402_300_799_999
)

// TimesPossible reports whether the times of r are such that they can be stored and
// shared out over buckets. The collector repairs those of its records; an import does not.
func TimesPossible(r *flow.Record) bool {
	return r.Start > 0 && r.Start <= r.End && r.End-r.Start <= flow.MaxDuration &&
		r.End <= r.Received+flow.MaxAhead && r.Received <= MaxTime && r.Received > 0
}

// Append appends r as a row of parts.flows in PostgreSQL's binary COPY format. It clamps
// values that do not fit their column, marks the row as clamped and reports that. The row
// has the columns c, which must include all that r has a value for. Append allocates only
// when dst is full, and for JSON that has to be cleaned.
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
	b := slices.Grow(dst, fixedRow+len(extra))[:n+fixedSize]
	p := (*[fixedSize]byte)(b[n:])
	binary.BigEndian.PutUint16(p[:], uint16(c.count()))
	putInt8(p[atStart-4:], uint64((r.Start-epoch)*1000))
	putInt8(p[atEnd-4:], uint64((r.End-epoch)*1000))
	putInt8(p[atReceived-4:], uint64((r.Received-epoch)*1000))
	putInt8(p[atPackets-4:], packets)
	putInt8(p[atBytes-4:], bytes)
	binary.BigEndian.PutUint64(p[atExporter-4:], 4<<32|uint64(uint32(r.Exporter)))
	binary.BigEndian.PutUint64(p[atBatch-4:], 4<<32|uint64(uint32(batch)))
	putInt2(p[atMarks-4:], uint16(marks)&math.MaxInt16)
	putInt2(p[atProtocol-4:], uint16(r.Protocol))
	putInt2(p[atTOS-4:], uint16(r.TOS))

	if c&columnInIf != 0 {
		b = AppendInt4NotZero(b, r.InIf)
	}
	if c&columnOutIf != 0 {
		b = AppendInt4NotZero(b, r.OutIf)
	}
	if c&columnSrcAS != 0 {
		b = AppendInt4NotZero(b, r.SrcAS)
	}
	if c&columnDstAS != 0 {
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
	if c&columnsNAT != 0 {
		var n nat
		n, extra = splitNAT(extra)
		b = appendNAT(b, &n)
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

// Next returns the row that rows begin with, and what follows it; ok is false when rows do
// not begin with a whole row of the columns.
func Next(rows []byte, c Columns) (row, rest []byte, ok bool) {
	return next(rows, c.count(), fixedColumns, fixedSize)
}

// next is Next of rows of n columns, of which the first fixed are never null and take, with
// the field count, so many bytes.
func next(rows []byte, n, fixed, size int) (row, rest []byte, ok bool) {
	if len(rows) < size || int(binary.BigEndian.Uint16(rows)) != n {
		return nil, nil, false
	}
	end := size
	for range n - fixed {
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

// Start returns when the flow of a row starts.
func Start(row []byte) flow.Time { return ReadTime(row[atStart:]) }

// End returns when the flow of a row ends.
func End(row []byte) flow.Time { return ReadTime(row[atEnd:]) }

// Received returns when the flow of a row was received.
func Received(row []byte) flow.Time { return ReadTime(row[atReceived:]) }

// Packets returns the packets of a row.
func Packets(row []byte) uint64 { return binary.BigEndian.Uint64(row[atPackets:]) }

// Bytes returns the bytes of a row.
func Bytes(row []byte) uint64 { return binary.BigEndian.Uint64(row[atBytes:]) }

// Exporter returns the exporter of a row.
func Exporter(row []byte) flow.ExporterID {
	return flow.ExporterID(binary.BigEndian.Uint32(row[atExporter:]))
}

// SetBatch writes the identifier of a row's batch.
func SetBatch(row []byte, id int32) { binary.BigEndian.PutUint32(row[atBatch:], uint32(id)) }

// MoveToReceipt gives a row its time of receipt as start and end, and marks it as one whose
// hour had no partition.
func MoveToReceipt(row []byte) {
	copy(row[atStart:atStart+8], row[atReceived:])
	copy(row[atEnd:atEnd+8], row[atReceived:])
	marks := binary.BigEndian.Uint16(row[atMarks:]) | uint16(flow.MarkPartitionLimit)
	binary.BigEndian.PutUint16(row[atMarks:], marks)
}
