// Package interop holds flowtally's decoder against those of others:
// github.com/calmh/ipfix and github.com/netsampler/goflow2. It is a module of
// its own, so that flowtally does not depend on the latter.
package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/calmh/ipfix"
	goflow "github.com/netsampler/goflow2/v2/decoders/netflow"

	"flowtally/flow"
	"flowtally/netflow"
)

const now flow.Time = 1_700_000_000_000

var from = netip.MustParseAddrPort("192.0.2.1:2055")

// column is a field of a generated template, and how a decoded record shows it.
type column struct {
	id       uint16
	lengths  []uint16 // to choose from; 65535 is variable
	of       func(*flow.Record) (string, bool)
	integer  bool
	repeated bool // may stand in a template twice
}

func number(get func(*flow.Record) uint64) func(*flow.Record) (string, bool) {
	return func(r *flow.Record) (string, bool) { return fmt.Sprint(get(r)), true }
}

func address(get func(*flow.Record) flow.Addr) func(*flow.Record) (string, bool) {
	return func(r *flow.Record) (string, bool) { return get(r).String(), true }
}

// notICMP is for ports, which mean something else in ICMP.
func notICMP(get func(*flow.Record) uint64) func(*flow.Record) (string, bool) {
	return func(r *flow.Record) (string, bool) {
		return fmt.Sprint(get(r)), r.Protocol != flow.ICMP && r.Protocol != flow.ICMPv6
	}
}

func ignored(*flow.Record) (string, bool) { return "", false }

var columns = []column{
	{1, []uint16{8, 4, 1, 2, 3, 5, 6, 7}, number(func(r *flow.Record) uint64 { return r.Bytes }), true, false},
	{2, []uint16{8, 4, 7, 1, 3}, number(func(r *flow.Record) uint64 { return r.Packets }), true, false},
	{4, []uint16{1}, number(func(r *flow.Record) uint64 { return uint64(r.Protocol) }), true, false},
	{5, []uint16{1}, number(func(r *flow.Record) uint64 { return uint64(r.TOS) }), true, false},
	{6, []uint16{1, 2}, number(func(r *flow.Record) uint64 { return uint64(r.TCPFlags) }), true, false},
	{7, []uint16{2, 1}, notICMP(func(r *flow.Record) uint64 { return uint64(r.SrcPort) }), true, false},
	{11, []uint16{2, 1}, notICMP(func(r *flow.Record) uint64 { return uint64(r.DstPort) }), true, false},
	{8, []uint16{4}, address(func(r *flow.Record) flow.Addr { return r.SrcAddr }), false, false},
	{12, []uint16{4}, address(func(r *flow.Record) flow.Addr { return r.DstAddr }), false, false},
	{10, []uint16{4, 2, 3, 1}, number(func(r *flow.Record) uint64 { return uint64(r.InIf) }), true, false},
	{14, []uint16{4, 2, 3, 1}, number(func(r *flow.Record) uint64 { return uint64(r.OutIf) }), true, false},
	{16, []uint16{4, 2}, number(func(r *flow.Record) uint64 { return uint64(r.SrcAS) }), true, false},
	{17, []uint16{4, 2}, number(func(r *flow.Record) uint64 { return uint64(r.DstAS) }), true, false},
	{9, []uint16{1}, number(func(r *flow.Record) uint64 { return uint64(r.SrcMask) }), true, false},
	{136, []uint16{1}, number(func(r *flow.Record) uint64 { return uint64(r.EndReason) }), true, false},
	{82, []uint16{65535, 4, 16}, ignored, false, true},
	{96, []uint16{65535, 9}, ignored, false, true},
	{225, []uint16{4}, ignored, false, true},
	{56, []uint16{6}, ignored, false, true},
	{210, []uint16{1, 3}, ignored, false, true},
}

// enterprise are elements of others than IANA, in IPFIX only: their numbers are
// those of elements above, so that who forgets the bit is found out.
var enterprise = []column{
	{1, []uint16{65535, 1, 4}, ignored, false, true},
	{8, []uint16{4, 7}, ignored, false, true},
	{210, []uint16{2, 65535}, ignored, false, true},
}

// penOf is whose they are.
const penOf = 4660

// choice gives the fuzzer's octets one by one, zeros when there are no more.
type choice struct{ b []byte }

func (c *choice) next(n int) int {
	if len(c.b) == 0 {
		return 0
	}
	v := int(c.b[0])
	c.b = c.b[1:]
	return v % n
}

// field is one field of a generated template.
type field struct {
	*column
	length uint16
	pen    uint32
}

// specifiers appends the Field Specifiers of a template.
func specifiers(b []byte, fields []field) []byte {
	for _, f := range fields {
		id := f.id
		if f.pen != 0 {
			id |= 0x8000
		}
		b = binary.BigEndian.AppendUint16(b, id)
		b = binary.BigEndian.AppendUint16(b, f.length)
		if f.pen != 0 {
			b = binary.BigEndian.AppendUint32(b, f.pen)
		}
	}
	return b
}

// set returns a Set.
func set(id int, content []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(id))
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(content)))
	return append(b, content...)
}

// values appends the octets of n records to data, and returns them field by
// field.
func values(data []byte, fields []field, n int, c *choice) ([]byte, [][][]byte) {
	var records [][][]byte
	for range n {
		var record [][]byte
		for _, f := range fields {
			n := int(f.length)
			if f.length == 65535 {
				n = c.next(40)
				if c.next(5) == 4 {
					data = append(data, 255, 0, byte(n))
				} else {
					data = append(data, byte(n))
				}
			}
			v := make([]byte, n)
			for i := range v {
				v[i] = byte(c.next(256))
			}
			data = append(data, v...)
			record = append(record, v)
		}
		records = append(records, record)
	}
	return data, records
}

// message is what was generated.
type message struct {
	msg     []byte
	fields  []field // of the template
	records [][][]byte
	options [][][]byte // records of options, scopes first
}

// generate returns a template with at least one octet of fixed length and a data
// set of its records. Left out is what the others are known to do wrong: records
// of no fixed octets (goflow2 does not end), padding that could be a record,
// padding in template sets (calmh/ipfix loses the message).
func generate(version int, c *choice) (g message) {
	used := map[uint16]bool{}
	fixed := 0
	pick := func() field {
		if version == 10 && c.next(4) == 3 {
			k := &enterprise[c.next(len(enterprise))]
			return field{k, k.lengths[c.next(len(k.lengths))], penOf}
		}
		k := &columns[c.next(len(columns))]
		return field{k, k.lengths[c.next(len(k.lengths))], 0}
	}
	for range 1 + c.next(20) {
		f := pick()
		if f.pen == 0 && used[f.id] && !f.repeated {
			continue
		}
		used[f.id] = used[f.id] || f.pen == 0
		if f.length != 65535 {
			fixed += int(f.length)
		}
		g.fields = append(g.fields, f)
	}
	if fixed == 0 {
		g.fields, fixed = append(g.fields, field{&columns[19], 1, 0}), 1
	}
	var data []byte
	data, g.records = values(nil, g.fields, c.next(30), c)
	data = append(data, make([]byte, c.next(min(fixed, 4)))...)
	records := len(g.records)

	// Options: scopes of fixed length, then fields.
	var options []byte
	if c.next(2) == 1 {
		scope := column{149, []uint16{4}, ignored, true, false}
		if version == 9 {
			scope.id = uint16(1 + c.next(5))
		}
		all := []field{{&scope, 4, 0}}
		for range c.next(6) {
			all = append(all, pick())
		}
		var content []byte
		content, g.options = values(nil, all, c.next(8), c)
		head := binary.BigEndian.AppendUint16(nil, 300)
		kind := 3
		if version == 9 {
			kind = 1
			head = binary.BigEndian.AppendUint16(head, 4)
			head = binary.BigEndian.AppendUint16(head, uint16(4*(len(all)-1)))
		} else {
			head = binary.BigEndian.AppendUint16(head, uint16(len(all)))
			head = binary.BigEndian.AppendUint16(head, 1)
		}
		options = set(kind, specifiers(head, all))
		if len(g.options) > 0 {
			options = append(options, set(300, content)...)
		}
		records += 1 + len(g.options)
	}

	kind := 2
	g.msg = []byte{0, 10, 0, 0}
	if version == 9 {
		kind = 0
		g.msg = []byte{0, 9, 0, byte(records + 1), 0, 0, 0, 100}
	}
	g.msg = binary.BigEndian.AppendUint32(g.msg, uint32(now/1000))
	g.msg = append(g.msg, 0, 0, 0, 1, 0, 0, 0, 7)
	head := binary.BigEndian.AppendUint16(nil, 256)
	head = binary.BigEndian.AppendUint16(head, uint16(len(g.fields)))
	first := c.next(2) == 0
	if first {
		g.msg = append(g.msg, options...)
	}
	g.msg = append(g.msg, set(kind, specifiers(head, g.fields))...)
	if len(g.records) > 0 {
		g.msg = append(g.msg, set(256, data)...)
	}
	if !first {
		g.msg = append(g.msg, options...)
	}
	if version == 10 {
		binary.BigEndian.PutUint16(g.msg[2:], uint16(len(g.msg)))
	}
	return g
}

// compare holds the records of another decoder, octets by field, against those
// that were generated.
func compare(t *testing.T, who string, got [][][]byte, want [][][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", who, len(got), len(want))
	}
	for i := range want {
		if len(got[i]) != len(want[i]) {
			t.Fatalf("%s: record %d has %d fields, want %d", who, i, len(got[i]), len(want[i]))
		}
		for k := range want[i] {
			if !bytes.Equal(got[i][k], want[i][k]) {
				t.Errorf("%s: record %d, field %d: % x, want % x", who, i, k, got[i][k], want[i][k])
			}
		}
	}
}

// FuzzAllDecodersAgree: what we, calmh/ipfix and goflow2 make of a message is
// the same, and is what it was made from.
func FuzzAllDecodersAgree(f *testing.F) {
	f.Add(false, []byte("\x05\x00\x00\x07\x00\x08\x00\x02\x00\x10\x01\x05abcdefghijklmnopqrstuvwxyz0123456789"))
	f.Add(true, []byte("\x0c\x00\x01\x01\x01\x02\x00\x0f\x00\x03\x00\x09\x02\x0aABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
	f.Add(false, []byte("\x04\x03\x00\x01\x00\x00\x03\x01\x01\x08\x00\x02\x00\x05abcdefghijklmnopqrstuvwxyz\x01\x03\x03\x02\x01\x05klmnopqrstuvw"))
	f.Fuzz(func(t *testing.T, nine bool, b []byte) {
		version := 10
		if nine {
			version = 9
		}
		g := generate(version, &choice{b})
		msg, fields, want := g.msg, g.fields, g.records
		if len(msg) > 65000 {
			t.Skip("longer than a datagram")
		}

		var m netflow.Message
		recs, err := netflow.NewDecoder(netflow.Limits{}).Decode(nil, &m, from, now, msg)
		if err != nil || len(recs) != len(want) || m.OptionRecords != len(g.options) || m.DataRecords != len(want)+len(g.options) {
			t.Fatalf("flowtally: %d records, want %d: %v (%+v)\n% x", len(recs), len(want), err, m, msg)
		}
		for i := range recs {
			for k, f := range fields {
				got, comparable := f.of(&recs[i])
				if f.pen != 0 {
					continue
				}
				if !comparable {
					continue
				}
				text := ""
				if v := want[i][k]; f.integer {
					var n uint64
					for _, c := range v {
						n = n<<8 | uint64(c)
					}
					text = fmt.Sprint(n)
				} else {
					text = netip.AddrFrom4([4]byte(v)).String()
				}
				if got != text {
					t.Errorf("flowtally: record %d: element %d is %s, want %s", i, f.id, got, text)
				}
			}
		}

		var v9 goflow.NFv9Packet
		var v10 goflow.IPFIXPacket
		if err := goflow.DecodeMessageVersion(bytes.NewBuffer(msg), goflow.CreateTemplateSystem(), &v9, &v10); err != nil {
			t.Fatalf("goflow2: %v", err)
		}
		octets := func(fields []goflow.DataField) (out [][]byte) {
			for _, v := range fields {
				out = append(out, v.Value.([]byte))
			}
			return out
		}
		var theirs, theirOptions [][][]byte
		for _, set := range append(v9.FlowSets, v10.FlowSets...) {
			switch s := set.(type) {
			case goflow.DataFlowSet:
				for _, r := range s.Records {
					theirs = append(theirs, octets(r.Values))
				}
			case goflow.OptionsDataFlowSet:
				for _, r := range s.Records {
					theirOptions = append(theirOptions, append(octets(r.ScopesValues), octets(r.OptionsValues)...))
				}
			}
		}
		compare(t, "goflow2", theirs, want)
		compare(t, "goflow2's options", theirOptions, g.options)

		if version == 10 {
			parsed, err := ipfix.NewSession().ParseBuffer(msg)
			if err != nil {
				t.Fatalf("calmh/ipfix: %v", err)
			}
			var theirs [][][]byte
			for _, r := range parsed.DataRecords {
				theirs = append(theirs, r.Fields)
			}
			compare(t, "calmh/ipfix", theirs, want)
		}
	})
}
