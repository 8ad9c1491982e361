package store

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/flow"
)

// rowColumns are the columns of parts.flows in the order in which appendRow
// writes them, with their types. Binary COPY converts nothing: an octet too few
// would be refused, but a wrong type of the right size would be stored. Those
// that every row has come first, so that they are at fixed places; of the others
// a batch names only those that one of its rows has.
var rowColumns = []column{
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
	name string
	oid  uint32
}

// columns is a set of columns: bit i is rowColumns[i].
type columns uint32

// The columns that not every record has, in their order.
const (
	columnInIf columns = 1 << (iota + fixedColumns)
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
	columnExtra

	// always are those that every row has.
	always columns = 1<<fixedColumns - 1
	// fixedColumns is how many they are.
	fixedColumns = 10
)

// columnsNeeded returns the columns that the rows of recs need. A column that is null
// throughout costs the server as much as another, and so is left out.
func columnsNeeded(recs []flow.Record) columns {
	c := always
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
	set := func(there bool, which columns) {
		if there {
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
	set(masks != 0, columnSrcMask)
	set(maskd != 0, columnDstMask)
	set(addresses != 0, columnSrcAddr|columnDstAddr)
	set(hop, columnNextHop)
	set(extra, columnExtra)
	return c
}

// names returns the columns by name, in order.
func (c columns) names() []string {
	names := make([]string, 0, len(rowColumns))
	for i := range rowColumns {
		if c&(1<<i) != 0 {
			names = append(names, rowColumns[i].name)
		}
	}
	return names
}

// columnsNamed is the reverse of names; false when it cannot be one.
func columnsNamed(names []string) (c columns, ok bool) {
	for _, name := range names {
		i := slices.IndexFunc(rowColumns, func(x column) bool { return x.name == name })
		if i < 0 || c>>i != 0 { // unknown, or not in order
			return 0, false
		}
		c |= 1 << i
	}
	return c, c&always == always
}

// count returns how many columns there are.
func (c columns) count() int { return bits.OnesCount32(uint32(c)) }

const (
	// copyHeader and copyTrailer enclose the rows of a binary COPY: signature,
	// flags, length of the extension; and the field count -1.
	copyHeader  = "PGCOPY\n\377\r\n\000" + "\000\000\000\000" + "\000\000\000\000"
	copyTrailer = "\377\377"

	// fixedRow is the most octets a row has without extra: the field count, a
	// length for each field, five times 8, ten times 4, ten times 2, three IPv6
	// addresses, the version of jsonb.
	fixedRow = 2 + 29*4 + 5*8 + 10*4 + 10*2 + 3*20 + 1

	// Where the fields that every row has are: each value after its length.
	atStart, atEnd, atReceived, atPackets, atBytes = 6, 18, 30, 42, 54
	atExporter, atBatch                            = 66, 74
	atMarks, atProtocol, atTOS                     = 82, 88, 94
	// fixedPrefix is how long they are together with the field count.
	fixedPrefix = 96

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
// is reported. The row has the columns c, which must be all that r has a value
// for. It allocates nothing but room in dst, and for JSON that has to be cleaned.
func appendRow(dst []byte, r *flow.Record, batch int32, c columns) (_ []byte, clamped bool) {
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
	b := slices.Grow(dst, fixedRow+len(extra))[:n+fixedPrefix]
	p := (*[fixedPrefix]byte)(b[n:])
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
		b = appendInt4NotZero(b, r.InIf)
	}
	if c&columnOutIf != 0 {
		b = appendInt4NotZero(b, r.OutIf)
	}
	if c&columnSrcAS != 0 {
		b = appendInt4NotZero(b, r.SrcAS)
	}
	if c&columnDstAS != 0 {
		b = appendInt4NotZero(b, r.DstAS)
	}
	if c&columnRate != 0 {
		b = appendInt4NotZero(b, rate)
	}
	if c&columnSrcPort != 0 {
		if r.HasPorts() {
			b = appendInt4(b, uint32(r.SrcPort))
			b = appendInt4(b, uint32(r.DstPort))
		} else {
			b = appendNull(appendNull(b))
		}
	}
	if c&columnVLAN != 0 {
		b = appendInt4NotZero(b, uint32(r.VLAN))
	}
	if c&columnTCPFlags != 0 {
		if r.Protocol == flow.TCP {
			b = appendInt2(b, uint16(r.TCPFlags)&math.MaxInt16)
		} else {
			b = appendNull(b)
		}
	}
	if c&columnEndReason != 0 {
		b = appendInt2NotZero(b, uint8(r.EndReason))
	}
	if c&columnICMPType != 0 {
		if typ, code, ok := r.ICMP(); ok {
			b = appendInt2(b, uint16(typ))
			b = appendInt2(b, uint16(code))
		} else {
			b = appendNull(appendNull(b))
		}
	}
	if c&columnDirection != 0 {
		if r.Direction != 0 {
			b = appendInt2(b, uint16(r.Direction-1))
		} else {
			b = appendNull(b)
		}
	}
	if c&columnSrcMask != 0 {
		b = appendInt2NotZero(b, r.SrcMask)
	}
	if c&columnDstMask != 0 {
		b = appendInt2NotZero(b, r.DstMask)
	}
	if c&columnSrcAddr != 0 {
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
	}
	if c&columnNextHop != 0 {
		switch {
		case r.NextHop.IsZero():
			b = appendNull(b)
		case r.NextHop.Is4():
			b = appendInet4(b, &r.NextHop)
		default:
			b = appendInet6(b, &r.NextHop)
		}
	}
	if c&columnExtra != 0 {
		if extra == nil {
			b = appendNull(b)
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(1+len(extra)))
			b = append(b, 1) // the version of jsonb's binary form
			b = append(b, extra...)
		}
	}
	return b, clamped
}

// nextRow returns the row that rows begin with and what follows it; ok is false
// when rows do not begin with a whole one of the columns.
func nextRow(rows []byte, c columns) (row, rest []byte, ok bool) {
	n := c.count()
	if len(rows) < fixedPrefix || int(binary.BigEndian.Uint16(rows)) != n {
		return nil, nil, false
	}
	end := fixedPrefix
	for range n - fixedColumns {
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

// rowTime reads a time of a row.
func rowTime(row []byte, at int) flow.Time {
	return flow.Time(int64(binary.BigEndian.Uint64(row[at:])))/1000 + epoch
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

func appendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, math.MaxUint32) }

func appendInt8(b []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), v)
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

// appendTime writes a timestamptz: microseconds since 2000.
func appendTime(b []byte, t flow.Time) []byte {
	return appendInt8(b, uint64((t-epoch)*1000))
}
