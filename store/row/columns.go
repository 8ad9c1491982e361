package row

import (
	"math/bits"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"flowtally/flow"
)

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
	{"extra", pgtype.JSONBOID},
}

// Columns is a set of columns: bit i is Table[i].
type Columns uint32

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
	columnExtra

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
func (c Columns) count() int { return bits.OnesCount32(uint32(c)) }
