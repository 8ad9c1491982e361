package netflow

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"flowtally/flow"
)

// fits reports whether values of an element's type can be those of a kind.
func fits(k flow.Kind, t elementType) bool {
	switch t {
	case typeUnsigned8, typeUnsigned16, typeUnsigned32, typeUnsigned64:
		return k.IsNumber()
	case typeSeconds, typeMilliseconds, typeMicroseconds, typeNanoseconds:
		return k == flow.KindTime
	case typeIPv4, typeIPv6:
		return k == flow.KindAddr
	case typeMAC:
		return k == flow.KindMAC
	case typeString:
		return k == flow.KindText
	case typeOctets:
		return k == flow.KindBytes
	}
	return false
}

// elementsOf returns the elements of a field from which the decoder takes it.
func elementsOf(f *flow.Field) []flow.Element {
	return append(slices.Clone(f.Elements), f.Kin...)
}

// TestElementsOfTheTableAreTheRegistrys: names and types.
func TestElementsOfTheTableAreTheRegistrys(t *testing.T) {
	for i := range flow.Fields {
		f := &flow.Fields[i]
		for _, e := range elementsOf(f) {
			known := lookupElement(e.Enterprise, e.ID)
			if known.name != e.Name {
				t.Errorf("%s: element %d is %q, not %q", f.Name, e.ID, known.name, e.Name)
			}
			if !fits(f.Kind, known.typ) {
				t.Errorf("%s: %s has values of another kind", f.Name, e)
			}
		}
	}
}

// moments are the times of a flow in the tests, with those before the export.
const (
	began = noon - 60*flow.Second
	ended = noon - 20*flow.Second
)

// valueOf returns a value of an element as an exporter sends it, and what the
// accessor of the field, or the member of Extra, is to have of it.
func valueOf(f *flow.Field, e flow.Element) (b []byte, number uint64, text string) {
	known := lookupElement(e.Enterprise, e.ID)
	at := began
	if f.Name == "flow_end" {
		at = ended
	}
	width := int(known.length)
	switch e.ID {
	case 22, 21: // uptimes: message says that the exporter has been up for 100 s
		return binary.BigEndian.AppendUint32(nil, uint32(100_000-(noon-at))), uint64(at), ""
	case 158, 159:
		return binary.BigEndian.AppendUint32(nil, uint32(noon-at)*1000), uint64(at), ""
	case 32, 139: // type and code in one
		if f.Name == "icmp_type" {
			return []byte{3, 4}, 3, ""
		}
		return []byte{3, 4}, 4, ""
	case 195: // the upper six bits of the byte
		return []byte{5}, 5 << 2, ""
	}
	switch known.typ {
	case typeSeconds:
		return binary.BigEndian.AppendUint32(nil, uint32(at/flow.Second)), uint64(at), ""
	case typeMilliseconds:
		return be64(uint64(at)), uint64(at), ""
	case typeMicroseconds, typeNanoseconds:
		return be64(uint64(at/flow.Second+2208988800) << 32), uint64(at), ""
	case typeIPv4:
		return []byte{192, 0, 2, 1}, 0, "192.0.2.1"
	case typeIPv6:
		a := netip.MustParseAddr("2001:db8::1").As16()
		return a[:], 0, "2001:db8::1"
	case typeMAC:
		return []byte{0, 0, 0x5e, 0, 0x53, 1}, 0, "00:00:5e:00:53:01"
	case typeString:
		return []byte("dns"), 0, "dns"
	case typeOctets:
		v := []byte{0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}
		return v, 0, hex.EncodeToString(v)
	}
	number = 1
	if f.Kind == flow.KindProtocol {
		number = 17
	}
	v := be64(number)
	return v[8-width:], number, fmt.Sprint(number)
}

// decodeOne decodes a record of one element, in a message of v9 unless the
// element is an enterprise's. Some fields mean something only beside a protocol.
func decodeOne(t *testing.T, f *flow.Field, e flow.Element, value []byte) flow.Record {
	t.Helper()
	v := V9
	id := binary.BigEndian.AppendUint16(nil, e.ID)
	length := binary.BigEndian.AppendUint16(nil, uint16(len(value)))
	spec := append(id, length...)
	if e.Enterprise != 0 {
		v = IPFIX
		spec[0] |= 0x80
		spec = binary.BigEndian.AppendUint32(spec, e.Enterprise)
	}
	fields, before, data := 1, []byte(nil), []byte(nil)
	if f.Kind != flow.KindProtocol {
		protocol := byte(flow.TCP)
		if f.Name == "icmp_type" || f.Name == "icmp_code" {
			protocol = byte(flow.ICMP)
		}
		fields, before, data = 2, []byte{0, 4, 0, 1}, []byte{protocol}
	}
	if e.ID == 177 || e.ID == 179 { // a code alone means nothing: the type beside it
		fields, before, data = fields+1, append(before, 0, byte(e.ID-1), 0, 1), append(data, 3)
	}
	if e.ID >= 225 && e.ID <= 282 || e.ID >= 361 && e.ID <= 364 { // without a counter it would be an event
		fields, before, data = fields+1, append(before, 0, 1, 0, 1), append(data, 1)
	}
	template := slices.Concat([]byte{1, 0, 0, byte(fields)}, before, spec)
	data = append(data, value...)
	d := NewDecoder(Limits{})
	var m Message
	recs, err := d.Decode(nil, &m, somebody, noon, message(v,
		set(t, templateSet(v), hex.EncodeToString(template)), set(t, 256, hex.EncodeToString(data))))
	if err != nil || len(recs) != 1 {
		t.Fatalf("%s from %s: %d records, %v", f.Name, e, len(recs), err)
	}
	return recs[0]
}

// TestEveryFieldIsDecoded: of a record that carries an element of a field, the
// field's accessor returns the value, or Extra has it by name.
func TestEveryFieldIsDecoded(t *testing.T) {
	ofRecord := make(map[flow.Element]bool)
	for i := range flow.Fields {
		if f := &flow.Fields[i]; !f.Extra {
			for _, e := range elementsOf(f) {
				ofRecord[e] = true
			}
		}
	}
	for i := range flow.Fields {
		f := &flow.Fields[i]
		for _, e := range elementsOf(f) {
			value, number, text := valueOf(f, e)
			switch {
			case f.Number != nil:
				r := decodeOne(t, f, e, value)
				if n, ok := f.Number(&r); !ok || n != number {
					t.Errorf("%s from %s: %d, %v, want %d", f.Name, e, n, ok, number)
				}
			case f.Addr != nil:
				r := decodeOne(t, f, e, value)
				if a, version := f.Addr(&r); version == 0 || a.String() != text {
					t.Errorf("%s from %s: %s of version %d, want %s", f.Name, e, a, version, text)
				}
			case e.ID == 138:
				// bookkeeping leaves out the observation point, as it does the rest of
				// what is of the exporter; other collectors' rows may have it.
			case f.Extra && !ofRecord[e]:
				r := decodeOne(t, f, e, value)
				var members map[string]any
				if err := json.Unmarshal(r.Extra, &members); err != nil || fmt.Sprint(members[e.Name]) != text {
					t.Errorf("%s from %s: extra is %s, %v, want %s", f.Name, e, r.Extra, err, text)
				}
			case !f.Extra:
				t.Errorf("%s has elements and no accessor", f.Name)
			}
		}
	}
}

// helpers are the elements with a rule that are no field's: they tell how to read
// others, or are several fields at once.
var helpers = []uint16{
	60,            // ipVersion: which of two pairs of addresses
	160, 161, 162, // when the clock began, how long the flow was
	302, 48, 306, 309, 310, // parts of a sampling rate, and whose it is
	315, 104, 313, // the beginning of a sampled packet
	232, 299, // the responder's counters: the other direction's bytes and packets
}

// TestEveryRuleHasAField: what the decoder makes a field of is in the table.
func TestEveryRuleHasAField(t *testing.T) {
	of := make(map[uint16]string)
	for i := range flow.Fields {
		if f := &flow.Fields[i]; !f.Extra {
			for _, e := range elementsOf(f) {
				of[e.ID] = f.Name
			}
		}
	}
	for id, r := range forward {
		if id := uint16(id); r.slot != noSlot && of[id] == "" && !slices.Contains(helpers, id) {
			t.Errorf("the table has no field of %s (%d)", lookupElement(0, id).name, id)
		}
	}
	for id, name := range of {
		if int(id) >= len(forward) || forward[id].slot == noSlot {
			t.Errorf("%s: no rule reads %s (%d)", name, lookupElement(0, id).name, id)
		}
	}
	// What we send of a record ourselves is of the table, too.
	for _, f := range slices.Concat(template4, template6) {
		if f.ipfix != 0 && of[f.ipfix] == "" {
			t.Errorf("we send %s (%d), which the table does not have", lookupElement(0, f.ipfix).name, f.ipfix)
		}
	}
}
