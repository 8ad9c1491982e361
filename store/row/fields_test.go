package row

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"flowtally/flow"
)

// The columns of parts.flows are those that the table of fields has as stored, of
// its types.
func TestTableIsOfTheFields(t *testing.T) {
	oids := map[flow.SQLType]uint32{
		flow.Int2: pgtype.Int2OID, flow.Int4: pgtype.Int4OID, flow.Int8: pgtype.Int8OID, flow.Inet: pgtype.InetOID,
		flow.Timestamptz: pgtype.TimestamptzOID, flow.JSONB: pgtype.JSONBOID,
	}
	n := 0
	for i := range flow.Fields {
		f := &flow.Fields[i]
		if f.Stored == "" {
			continue
		}
		n++
		at := slices.IndexFunc(Table, func(c Column) bool { return c.Name == f.Name })
		if at < 0 {
			t.Errorf("the row has no column %s", f.Name)
			continue
		}
		if oid, known := oids[f.Stored]; !known || Table[at].OID != oid {
			t.Errorf("%s: the row has a value of type %d, the table of fields says %s", f.Name, Table[at].OID, f.Stored)
		}
		// What may be absent can be left out of a batch, and nothing else can.
		if f.Null == (at < fixedColumns) {
			t.Errorf("%s: it can be null %v, every row has it %v", f.Name, f.Null, at < fixedColumns)
		}
	}
	if n != len(Table) {
		t.Errorf("the row has %d columns, %d fields are stored", len(Table), n)
	}
}

// randomRecord is a record of which any field may be unsaid, and some have the
// largest value they can.
func randomRecord(t *rapid.T) flow.Record {
	number := func(name string, most uint64) uint64 {
		return rapid.OneOf(rapid.Just(uint64(0)), rapid.Just(most), rapid.Uint64Range(0, most)).Draw(t, name)
	}
	small := func(name string) uint8 { return uint8(number(name, math.MaxUint8)) }
	addr := func(name string, v uint8) (a flow.Addr) {
		b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name)
		if v == 4 {
			return flow.Addr4([4]byte(b))
		}
		b[0] |= 0x20 // not an IPv4 address within IPv6
		return flow.Addr(b)
	}
	r := flow.Record{
		Start: flow.Time(number("start", uint64(MaxTime))), End: flow.Time(number("end", uint64(MaxTime))), Received: flow.Time(number("received", uint64(MaxTime))),
		Packets: number("packets", math.MaxUint64), Bytes: number("bytes", math.MaxUint64), TCPFlags: flow.TCPFlags(number("flags", math.MaxUint16)),
		EndReason: flow.EndReason(small("reason")), Direction: small("direction"), SrcMask: small("src mask"), DstMask: small("dst mask"),
		SrcAS: uint32(number("src as", math.MaxUint32)), DstAS: uint32(number("dst as", math.MaxUint32)),
		Exporter: flow.ExporterID(number("exporter", math.MaxInt32)), SamplingRate: uint32(number("rate", math.MaxUint32)),
	}
	r.Absent = flow.Absent(number("absent", 15))
	r.Protocol = flow.Protocol(rapid.SampledFrom([]uint8{1, 6, 17, 47, 58, 132}).Draw(t, "protocol"))
	r.IPVersion = rapid.SampledFrom([]uint8{0, 4, 6}).Draw(t, "version")
	if r.IPVersion != 0 {
		r.SrcAddr, r.DstAddr = addr("src", r.IPVersion), addr("dst", r.IPVersion)
	}
	if v := rapid.SampledFrom([]uint8{0, 4, 6}).Draw(t, "hop's version"); v != 0 {
		r.NextHop = addr("hop", v)
	}
	r.InIf, r.OutIf = uint32(number("in", math.MaxUint32)), uint32(number("out", math.MaxUint32))
	r.SrcPort, r.DstPort = uint16(number("src port", math.MaxUint16)), uint16(number("dst port", math.MaxUint16))
	r.VLAN, r.TOS = uint16(number("vlan", math.MaxUint16)), small("tos")
	r.Marks = flow.Marks(number("marks", math.MaxInt16))
	if rapid.Bool().Draw(t, "extra") {
		r.Extra = []byte(`{"ipTTL":1}`)
	}
	return r
}

// values takes a row apart: what each of its columns has, nil for null.
func values(t *rapid.T, row []byte, c Columns) map[string][]byte {
	out := make(map[string][]byte)
	rest := row[2:]
	for _, name := range c.Names() {
		n := int32(binary.BigEndian.Uint32(rest))
		rest = rest[4:]
		if n < 0 {
			out[name] = nil
			continue
		}
		out[name], rest = rest[:n], rest[n:]
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes behind the row", len(rest))
	}
	return out
}

// What a row has in a column is what the field's accessor says of the
// record, and a column that is left out has nothing to say.
func TestRowsSayWhatFieldsSay(t *testing.T) {
	said := make(map[string]bool)
	rapid.Check(t, func(t *rapid.T) {
		r := randomRecord(t)
		c := Needed([]flow.Record{r})
		row, clamped := Append(nil, &r, 42, c)
		got := values(t, row, c)
		for i := range flow.Fields {
			f := &flow.Fields[i]
			v, there := got[f.Name]
			switch {
			case f.Stored == "":
				if there {
					t.Errorf("%s is not stored, and the row has it", f.Name)
				}
			case f.Number != nil:
				n, ok := f.Number(&r)
				if f.Name == "marks" && clamped {
					n |= uint64(flow.MarkClamped)
				}
				if ok != (v != nil) || ok && n != numberOf(f, v) {
					t.Errorf("%s: the row has %x, the record %d, %v", f.Name, v, n, ok)
				}
				said[f.Name] = said[f.Name] || ok
			case f.Addr != nil:
				a, version := f.Addr(&r)
				if (version != 0) != (v != nil) || v != nil && inetOf(v) != a.Netip() {
					t.Errorf("%s: the row has %x, the record %s of version %d", f.Name, v, a, version)
				}
				said[f.Name] = said[f.Name] || version != 0
			case f.Name == "extra":
				if string(v) != "\x01"+string(r.Extra) && (v != nil || r.Extra != nil) {
					t.Errorf("extra: the row has %q, the record %s", v, r.Extra)
				}
			case f.Name == "batch":
				if numberOf(f, v) != 42 {
					t.Errorf("batch: the row has %x", v)
				}
			default:
				t.Errorf("%s is stored, and has no accessor", f.Name)
			}
		}
	})
	for i := range flow.Fields {
		if f := &flow.Fields[i]; f.Stored != "" && (f.Number != nil || f.Addr != nil) && !said[f.Name] {
			t.Errorf("no record said %s", f.Name)
		}
	}
}

// numberOf reads a number as the view shows it: of 32 bits without a sign, where
// the view makes a bigint of them.
func numberOf(f *flow.Field, v []byte) uint64 {
	switch len(v) {
	case 2:
		return uint64(int16(binary.BigEndian.Uint16(v)))
	case 4:
		return uint64(binary.BigEndian.Uint32(v))
	}
	n := binary.BigEndian.Uint64(v)
	if f.Kind == flow.KindTime {
		return uint64(flow.Time(int64(n))/1000 + epoch)
	}
	return n
}

func inetOf(v []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(v[4:])
	return a
}
