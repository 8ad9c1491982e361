package row

import (
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/flow"
)

// EventTable is the columns of parts.events in the order in which AppendEvent writes
// them. Every row has all of them; the first are never null, so that their offsets are fixed.
var EventTable = []Column{
	{"time", pgtype.TimestamptzOID}, {"received_at", pgtype.TimestamptzOID},
	{"exporter_id", pgtype.Int4OID}, {"batch", pgtype.Int4OID}, {"marks", pgtype.Int2OID},
	{"protocol", pgtype.Int2OID}, {"firewall_event", pgtype.Int2OID}, {"nat_event", pgtype.Int2OID},
	{"in_if", pgtype.Int4OID}, {"out_if", pgtype.Int4OID},
	{"src_port", pgtype.Int4OID}, {"dst_port", pgtype.Int4OID}, {"icmp_type", pgtype.Int2OID}, {"icmp_code", pgtype.Int2OID},
	{"nat_src_port", pgtype.Int4OID}, {"nat_dst_port", pgtype.Int4OID}, {"block_first", pgtype.Int4OID}, {"block_last", pgtype.Int4OID},
	{"src_addr", pgtype.InetOID}, {"dst_addr", pgtype.InetOID}, {"nat_src_addr", pgtype.InetOID}, {"nat_dst_addr", pgtype.InetOID},
	{"user_name", pgtype.TextOID}, {"extra", pgtype.JSONBOID},
}

// EventColumns returns the names of the columns of parts.events, in order.
func EventColumns() []string {
	names := make([]string, len(EventTable))
	for i, c := range EventTable {
		names[i] = c.Name
	}
	return names
}

const (
	// eventFixed is the size of the columns that are never null, with the field count.
	eventFixedColumns = 5
	eventFixed        = 2 + 2*12 + 2*8 + 6
	// eventMost is the most bytes that a row has without user and extra.
	eventMost = eventFixed + 3*6 + 10*8 + 2*6 + 4*24 + 2*4 + 1

	eventAtTime, eventAtReceived, eventAtExporter, eventAtBatch, eventAtMarks = 6, 18, 30, 38, 46
)

// EventTimePossible reports whether the time of e can be stored. The collector repairs
// those of its events.
func EventTimePossible(e *flow.Event) bool {
	return e.Time > 0 && e.Time <= e.Received+flow.MaxAhead && e.Received > 0 && e.Received <= MaxTime
}

// AppendEvent appends e as a row of parts.events in PostgreSQL's binary COPY format. It
// clamps values that do not fit their column, marks the row as clamped and reports that.
func AppendEvent(dst []byte, e *flow.Event, batch int32) (_ []byte, clamped bool) {
	extra, marks, user := e.Extra, e.Marks, e.User
	if extra != nil {
		extra, clamped = cleanJSON(extra)
	}
	if user != "" {
		if user = Text(user); user != e.User {
			clamped = true
		}
	}
	if clamped {
		marks |= flow.MarkClamped
	}
	b := slices.Grow(dst, eventMost+len(extra)+len(user))
	b = binary.BigEndian.AppendUint16(b, uint16(len(EventTable)))
	b = AppendTime(b, e.Time)
	b = AppendTime(b, e.Received)
	b = AppendInt4(b, uint32(e.Exporter))
	b = AppendInt4(b, uint32(batch))
	b = AppendInt2(b, uint16(marks)&0x7fff)
	b = appendInt2NotZero(b, uint8(e.Protocol))
	if e.Firewall == 0 {
		b = AppendNull(b)
	} else {
		b = AppendInt2(b, uint16(e.Firewall-1))
	}
	b = appendInt2NotZero(b, uint8(e.NAT))
	b = AppendInt4NotZero(b, e.InIf)
	b = AppendInt4NotZero(b, e.OutIf)
	if e.Protocol == flow.ICMP || e.Protocol == flow.ICMPv6 {
		b = AppendNull(AppendNull(b))
		b = AppendInt2(b, e.DstPort>>8)
		b = AppendInt2(b, e.DstPort&0xff)
	} else {
		b = AppendInt4NotZero(b, uint32(e.SrcPort))
		b = AppendInt4NotZero(b, uint32(e.DstPort))
		b = AppendNull(AppendNull(b))
	}
	b = AppendInt4NotZero(b, uint32(e.NATSrcPort))
	b = AppendInt4NotZero(b, uint32(e.NATDstPort))
	b = AppendInt4NotZero(b, uint32(e.BlockFirst))
	b = AppendInt4NotZero(b, uint32(e.BlockLast))
	b = appendInetSaid(b, &e.SrcAddr)
	b = appendInetSaid(b, &e.DstAddr)
	b = appendInetSaid(b, &e.NATSrcAddr)
	b = appendInetSaid(b, &e.NATDstAddr)
	if user == "" {
		b = AppendNull(b)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(len(user)))
		b = append(b, user...)
	}
	if extra == nil {
		b = AppendNull(b)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(1+len(extra)))
		b = append(b, 1) // the version of jsonb's binary form
		b = append(b, extra...)
	}
	return b, clamped
}

// appendInetSaid appends an address, or null for one that is nobody's.
func appendInetSaid(b []byte, a *flow.Addr) []byte {
	switch {
	case !a.Is4():
		if a.IsZero() {
			return AppendNull(b)
		}
		return AppendInet6(b, a)
	case a.As4() == [4]byte{}:
		return AppendNull(b)
	}
	return AppendInet4(b, a)
}

// NextEvent returns the row that rows begin with, and what follows it; ok is false when
// rows do not begin with a whole row of parts.events.
func NextEvent(rows []byte) (row, rest []byte, ok bool) {
	return next(rows, len(EventTable), eventFixedColumns, eventFixed)
}

// EventTime returns when the event of a row happened.
func EventTime(row []byte) flow.Time { return ReadTime(row[eventAtTime:]) }

// EventReceived returns when the event of a row was received.
func EventReceived(row []byte) flow.Time { return ReadTime(row[eventAtReceived:]) }

// EventExporter returns the exporter of a row of parts.events.
func EventExporter(row []byte) flow.ExporterID {
	return flow.ExporterID(binary.BigEndian.Uint32(row[eventAtExporter:]))
}

// SetEventBatch writes the identifier of the batch of a row of parts.events.
func SetEventBatch(row []byte, id int32) {
	binary.BigEndian.PutUint32(row[eventAtBatch:], uint32(id))
}

// MoveEventToReceipt gives a row its time of receipt, and marks it as one whose day had no
// partition.
func MoveEventToReceipt(row []byte) {
	copy(row[eventAtTime:eventAtTime+8], row[eventAtReceived:])
	marks := binary.BigEndian.Uint16(row[eventAtMarks:]) | uint16(flow.MarkPartitionLimit)
	binary.BigEndian.PutUint16(row[eventAtMarks:], marks)
}
