package netflow

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"flowtally/flow"
)

// field is a field of a record: an element, how many octets, and its value. Texts of
// hexadecimal digits are octets as they are.
type field struct {
	id, length uint16
	value      any
	pen        uint32
}

// template256 returns the Template Set of the fields and the Data Set of one record
// for each set of values.
func template256(tb testing.TB, v Version, fields []field) (template, data []byte) {
	specs, rec := binary.BigEndian.AppendUint16([]byte{1, 0}, uint16(len(fields))), []byte(nil)
	for _, f := range fields {
		id := f.id
		if f.pen != 0 {
			id |= 0x8000
		}
		specs = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(specs, id), f.length)
		if f.pen != 0 {
			specs = binary.BigEndian.AppendUint32(specs, f.pen)
		}
		var value []byte
		switch x := f.value.(type) {
		case string:
			value = octets(tb, x)
		case int:
			value = binary.BigEndian.AppendUint64(nil, uint64(x))
			value = value[8-min(int(f.length), 8):]
		}
		if f.length == variableLength {
			rec = append(rec, byte(len(value)))
		} else {
			value = append(make([]byte, max(0, int(f.length)-len(value))), value...)
		}
		rec = append(rec, value...)
	}
	return set(tb, templateSet(v), fmt.Sprintf("%x", specs)), set(tb, 256, fmt.Sprintf("%x", rec))
}

// decodeFields decodes one message of a template and a record.
func decodeFields(t *testing.T, v Version, fields []field) []flow.Record {
	t.Helper()
	tpl, data := template256(t, v, fields)
	var m Message
	recs, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, message(v, tpl, data))
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// TestTheElementThatIsNotZeroWins: where several elements say the same and the usual
// one is zero, the next one does; they are never added. Of fixed and of variable
// length, in either order.
func TestTheElementThatIsNotZeroWins(t *testing.T) {
	const now = int(noon)
	addr := []field{{8, 4, "0a010001", 0}, {12, 4, "0a020002", 0}}
	for _, tt := range []struct {
		name   string
		fields []field
		want   string
	}{
		{"ports of UDP behind those of TCP", []field{{4, 1, 17, 0}, {182, 2, 0, 0}, {183, 2, 0, 0}, {180, 2, 5353, 0}, {181, 2, 53, 0}}, "ports 5353 53"},
		{"ports of TCP", []field{{4, 1, 6, 0}, {182, 2, 1234, 0}, {183, 2, 80, 0}, {180, 2, 0, 0}, {181, 2, 0, 0}}, "ports 1234 80"},
		{"ports of both", []field{{4, 1, 6, 0}, {7, 2, 0, 0}, {11, 2, 443, 0}, {182, 2, 1234, 0}, {183, 2, 80, 0}}, "ports 1234 443"},
		{"egress counters", []field{{1, 8, 0, 0}, {2, 8, 0, 0}, {23, 8, 1002, 0}, {24, 8, 3, 0}}, "count 1002 3"},
		{"never added", []field{{1, 8, 1000, 0}, {2, 8, 3, 0}, {23, 8, 1002, 0}, {24, 8, 4, 0}}, "count 1000 3"},
		{"totals", []field{{1, 8, 0, 0}, {2, 8, 0, 0}, {85, 8, 1002, 0}, {86, 8, 3, 0}}, "count 1002 3"},
		{"the best of those that are there", []field{{23, 8, 9, 0}, {1, 8, 0, 0}, {231, 8, 0, 0}, {85, 8, 7, 0}}, "count 7 0"},
		{"initiator and responder", []field{{1, 8, 0, 0}, {2, 8, 0, 0}, {231, 8, 1003, 0}, {298, 8, 3, 0}, {232, 8, 900, 0}, {299, 8, 2, 0}}, "count 1003 3, count 900 2"},
		{"the responder's are not the other half of others", []field{{1, 8, 10, 0}, {2, 8, 1, 0}, {231, 8, 1003, 0}, {298, 8, 3, 0}, {232, 8, 900, 0}, {299, 8, 2, 0}}, "count 10 1"},
		{"reverse counters", []field{{1, 8, 10, 0}, {2, 8, 1, 0}, {1, 8, 0, 29305}, {2, 8, 0, 29305}, {85, 8, 70, 29305}, {86, 8, 7, 29305}}, "count 10 1, count 70 7"},
		{"protocol", []field{{4, 1, 0, 0}, {193, 1, 17, 0}}, "protocol 17"},
		{"tos", []field{{5, 1, 0, 0}, {195, 1, 46, 0}}, "tos 184"},
		{"vlan", []field{{58, 2, 0, 0}, {243, 2, 100, 0}}, "vlan 100"},
		{"interfaces", []field{{10, 4, 0, 0}, {14, 4, 2, 0}, {252, 4, 11, 0}, {253, 4, 12, 0}}, "interfaces 11 2"},
		{"seconds", []field{{152, 8, 0, 0}, {153, 8, 0, 0}, {150, 4, now/1000 - 10, 0}, {151, 4, now/1000 - 5, 0}}, "ago 10000 5000"},
		{"one of the two", []field{{152, 8, now - 7000, 0}, {153, 8, 0, 0}, {150, 4, now/1000 - 10, 0}, {151, 4, now/1000 - 5, 0}}, "ago 7000 5000"},
		{"an instant", []field{{152, 8, 0, 0}, {153, 8, 0, 0}, {323, 8, now - 7000, 0}}, "ago 7000 7000"},
		{"an instant is no end where there is one", []field{{152, 8, now - 9000, 0}, {153, 8, now - 8000, 0}, {323, 8, now - 7000, 0}}, "ago 9000 8000"},
		{"duration", []field{{152, 8, now - 9000, 0}, {153, 8, 0, 0}, {161, 4, 500, 0}}, "ago 9000 8500"},
		{"microseconds", []field{{152, 8, now - 9000, 0}, {161, 4, 0, 0}, {162, 4, 500_000, 0}}, "ago 9000 8500"},
		{"uptimes", []field{{22, 4, 0, 0}, {21, 4, 0, 0}, {150, 4, now/1000 - 10, 0}, {151, 4, now/1000 - 5, 0}}, "ago 10000 5000"},
		{"uptimes behind others", []field{{150, 4, 0, 0}, {151, 4, 0, 0}, {22, 4, 90_000, 0}, {21, 4, 95_000, 0}, {160, 8, now - 100_000, 0}}, "ago 10000 5000"},
		{"sampling", []field{{34, 4, 0, 0}, {50, 4, 1000, 0}}, "sampling 1000"},
		{"sampling, interval and space", []field{{34, 4, 0, 0}, {305, 4, 1, 0}, {306, 4, 99, 0}}, "sampling 100"},
		{"prefix lengths", []field{{9, 1, 24, 0}, {13, 1, 16, 0}, {29, 1, 0, 0}, {30, 1, 0, 0}}, "masks 24 16"},
		{"next hop", []field{{15, 4, "0a000001", 0}, {62, 16, 0, 0}}, "next 10.0.0.1"},
	} {
		for _, v := range []Version{V9, IPFIX} {
			for _, order := range []string{"", "reversed", "variable"} {
				fields := append([]field(nil), addr...)
				for _, f := range tt.fields {
					if f.pen != 0 && v == V9 || f.id == 160 && v == V9 {
						v = IPFIX
					}
				}
				fields = append(fields, tt.fields...)
				switch order {
				case "reversed":
					for i, j := 0, len(fields)-1; i < j; i, j = i+1, j-1 {
						fields[i], fields[j] = fields[j], fields[i]
					}
				case "variable":
					fields = append([]field{{371, variableLength, "616263", 0}}, fields...)
				}
				var got []string
				for _, r := range decodeFields(t, v, fields) {
					if r.Marks&^flow.MarkTotal != 0 {
						t.Errorf("%s: marks %d", tt.name, r.Marks)
					}
					switch strings.Fields(tt.want)[0] {
					case "ports":
						got = append(got, fmt.Sprint("ports ", r.SrcPort, " ", r.DstPort))
					case "count":
						got = append(got, fmt.Sprint("count ", r.Bytes, " ", r.Packets))
					case "protocol":
						got = append(got, fmt.Sprintf("protocol %d", r.Protocol))
					case "tos":
						got = append(got, fmt.Sprint("tos ", r.TOS))
					case "vlan":
						got = append(got, fmt.Sprint("vlan ", r.VLAN))
					case "interfaces":
						got = append(got, fmt.Sprint("interfaces ", r.InIf, " ", r.OutIf))
					case "ago":
						got = append(got, fmt.Sprintf("ago %d %d", noon-r.Start, noon-r.End))
					case "sampling":
						got = append(got, fmt.Sprint("sampling ", r.SamplingRate))
					case "masks":
						got = append(got, fmt.Sprint("masks ", r.SrcMask, " ", r.DstMask))
					case "next":
						got = append(got, fmt.Sprint("next ", r.NextHop))
					}
				}
				if s := strings.Join(got, ", "); s != tt.want {
					t.Errorf("%s, %v %s: %s, want %s", tt.name, v, order, s, tt.want)
				}
			}
		}
	}
}

// TestTheAddressesThatAreNotZeroWin: of two headers, of two IP versions, of addresses
// and prefixes, and of a sampled packet.
func TestTheAddressesThatAreNotZeroWin(t *testing.T) {
	const six, other = "20010db8000000000000000000000001", "20010db8000000000000000000000002"
	packet := "45000054000040004006000 0 c0a80001 c0a80002 04d2 01bb 00000000 00000000 5012"
	for _, tt := range []struct {
		name   string
		fields []field
		want   string
	}{
		{"IPv4 beside IPv6", []field{{8, 4, "0a010001", 0}, {12, 4, "0a010002", 0}, {27, 16, 0, 0}, {28, 16, 0, 0}}, "4 10.1.0.1 10.1.0.2"},
		{"IPv6 beside IPv4", []field{{8, 4, 0, 0}, {12, 4, 0, 0}, {27, 16, six, 0}, {28, 16, other, 0}}, "6 2001:db8::1 2001:db8::2"},
		{"IPv6 where the version is wrong", []field{{60, 1, 4, 0}, {8, 4, 0, 0}, {12, 4, 0, 0}, {27, 16, six, 0}, {28, 16, other, 0}}, "6 2001:db8::1 2001:db8::2"},
		{"neither", []field{{8, 4, 0, 0}, {12, 4, 0, 0}, {27, 16, 0, 0}, {28, 16, 0, 0}}, "0  "},
		{"prefixes", []field{{8, 4, 0, 0}, {12, 4, "0a010002", 0}, {44, 4, "0a010000", 0}, {45, 4, "0a020000", 0}}, "4 10.1.0.0 10.1.0.2"},
		{"the inner of two headers", []field{{8, 4, "0a010001", 0}, {12, 4, "0a010002", 0}, {4, 1, 4, 0}, {8, 4, "0a020001", 0}, {12, 4, "0a020002", 0}, {4, 1, 17, 0}}, "4 10.2.0.1 10.2.0.2"},
		{"the outer where there is no inner", []field{{8, 4, "0a010001", 0}, {12, 4, "0a010002", 0}, {4, 1, 17, 0}, {8, 4, 0, 0}, {12, 4, 0, 0}, {4, 1, 0, 0}}, "4 10.1.0.1 10.1.0.2"},
		{"nothing of the outer where half of the inner is zero", []field{{8, 4, "0a010001", 0}, {12, 4, "0a010002", 0}, {4, 1, 4, 0}, {8, 4, 0, 0}, {12, 4, "ffffffff", 0}, {4, 1, 17, 0}}, "4 0.0.0.0 255.255.255.255"},
		{"a sampled packet", []field{{8, 4, 0, 0}, {12, 4, 0, 0}, {4, 1, 0, 0}, {313, variableLength, packet, 0}}, "4 192.168.0.1 192.168.0.2"},
		{"a sampled packet of a known flow", []field{{8, 4, "0a010001", 0}, {12, 4, "0a010002", 0}, {4, 1, 17, 0}, {313, variableLength, packet, 0}}, "4 10.1.0.1 10.1.0.2"},
		{"IPv4 in the mapped form", []field{{27, 16, "00000000000000000000ffff0a4d0001", 0}, {28, 16, "00000000000000000000ffff0a4d0002", 0}}, "4 10.77.0.1 10.77.0.2"},
	} {
		recs := decodeFields(t, IPFIX, tt.fields)
		if len(recs) != 1 {
			t.Fatalf("%s: %d records", tt.name, len(recs))
		}
		r := &recs[0]
		if got := fmt.Sprint(r.Family(), " ", r.SrcAddr, " ", r.DstAddr); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if strings.HasPrefix(tt.name, "the outer") && r.Protocol != flow.UDP {
			t.Errorf("%s: protocol %v", tt.name, r.Protocol)
		}
	}
}

// TestTheSamplerThatIsNotZeroWins: of options too.
func TestTheSamplerThatIsNotZeroWins(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	msg := message(V9,
		set(t, 1, `012c 0004 0010 0001 0004 0022 0004 0023 0001 0032 0004 0031 0001`),
		set(t, 300, `00000001 00000000 02 000003e8 02`),
		set(t, 0, `0100 0002 0008 0004 0001 0004`), set(t, 256, `0a000001 00000001`))
	if recs, err := d.Decode(nil, &m, somebody, noon, msg); err != nil || len(recs) != 1 || recs[0].SamplingRate != 1000 || m.SamplingRate != 1000 {
		t.Errorf("%+v %+v: %v", m, recs, err)
	}
	d = NewDecoder(Limits{})
	msg = message(IPFIX,
		set(t, 3, `012c 0004 0001 0095 0004 012e 0008 0030 0001 0032 0004`),
		set(t, 300, `00000000 0000000000000000 05 000003e8  00000000 0000000000000000 06 000000c8`),
		set(t, 2, `0100 0003 0008 0004 012e 0008 0030 0001`),
		set(t, 256, `0a000001 0000000000000000 05  0a000001 0000000000000000 06  0a000001 0000000000000000 07`))
	recs, err := d.Decode(nil, &m, somebody, noon, msg)
	if err != nil || len(recs) != 3 || recs[0].SamplingRate != 1000 || recs[1].SamplingRate != 200 || recs[2].SamplingRate != 0 {
		t.Errorf("%+v: %v", recs, err)
	}
}

// TestATemplateOfRivalsStaysSmall: however often a template says the same.
func TestATemplateOfRivalsStaysSmall(t *testing.T) {
	var fields []field
	for i := range 400 {
		id := []uint16{231, 232, 153, 85}[i%4]
		fields = append(fields, field{id, 8, i + 1, 0})
	}
	tpl, data := template256(t, IPFIX, fields)
	d := NewDecoder(Limits{})
	var m Message
	if recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, tpl, data)); err != nil || len(recs) != 1 {
		t.Fatalf("%v: %v", recs, err)
	}
	x := d.store.find(flow.AddrFrom(somebody.Addr()), templateKey{7, somebody.Port(), 256, IPFIX}, 0)
	if n := len(x.spares); n > 4*maxSpares {
		t.Errorf("%d spares", n)
	}
}
