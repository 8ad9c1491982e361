package netflow

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"
)

// TestEveryElementOfTheRegistry: each has a place in the record, or is left out
// for a reason, or is an extra by its name; in its own length, in every reduced
// one, and in the other direction of a biflow.
func TestEveryElementOfTheRegistry(t *testing.T) {
	known := 0
	for id, e := range ianaElements {
		if e.name == "" {
			continue
		}
		known++
		lengths := []uint16{e.length}
		switch e.typ {
		case typeUnsigned8, typeUnsigned16, typeUnsigned32, typeUnsigned64, typeSigned8, typeSigned16, typeSigned32, typeSigned64:
			lengths = []uint16{0, 1, 2, 3, 4, 5, 6, 7, 8}
		}
		for _, length := range lengths {
			for _, pen := range []uint32{0, reversePEN} {
				f := fieldSpec{pen: pen, id: uint16(id), length: length}
				size := int(length)
				if length == variableLength {
					size = 21
				}
				tpl := []byte{0, 2, 0, 0, 1, 0, 0, 2, 0, 1, 0, 1} // what counts nothing may be no flow
				if pen == 0 {
					tpl = binary.BigEndian.AppendUint16(tpl, f.id)
					tpl = binary.BigEndian.AppendUint16(tpl, f.length)
				} else {
					tpl = binary.BigEndian.AppendUint16(tpl, f.id|0x8000)
					tpl = binary.BigEndian.AppendUint16(tpl, f.length)
					tpl = binary.BigEndian.AppendUint32(tpl, pen)
				}
				binary.BigEndian.PutUint16(tpl[2:], uint16(len(tpl)))
				value := bytes.Repeat([]byte{0x41}, size)
				if length == variableLength {
					value[0] = byte(size - 1)
				}
				data := append([]byte{1, 0, 0, 0, 1}, value...)
				binary.BigEndian.PutUint16(data[2:], uint16(len(data)))
				var m Message
				recs, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, message(IPFIX, tpl, data))
				if err != nil || m.Records != 1 || len(recs) == 0 {
					t.Fatalf("%s in %d octets: %d records, %v", e.name, length, m.Records, err)
				}
				r := ruleOf(f, false)
				switch x := recs[0].Extra; {
				case !bearsMeaning(f, r):
				case r.slot != noSlot: // in the record, or an extra beside another
				case len(x) == 0 || !json.Valid(x) || !bytes.Contains(x, []byte(e.name[1:]+`":`)):
					t.Errorf("%s (%d, enterprise %d) in %d octets: extra %s", e.name, id, pen, length, x)
				case e.typ >= typeUnsigned8 && e.typ <= typeUnsigned64:
					want := uintOf(value[max(0, size-e.typ.width()):])
					if !bytes.Contains(x, fmt.Appendf(nil, `":%d`, want)) {
						t.Errorf("%s (%d, enterprise %d) in %d octets: extra %s, want %d", e.name, id, pen, length, x, want)
					}
				}
			}
		}
	}
	if known < 480 {
		t.Errorf("only %d elements", known)
	}
}

// TestSequenceCountsWhatItsDialectCounts: v5 flows, v9 messages, IPFIX Data
// Records, those of options among them.
func TestSequenceCountsWhatItsDialectCounts(t *testing.T) {
	for _, v := range versions {
		e, err := NewEncoder(EncoderConfig{Version: v, Boot: noon, SamplingRate: 10, TemplateMessages: 3})
		if err != nil {
			t.Fatal(err)
		}
		d := NewDecoder(Limits{})
		var m Message
		want := uint32(0)
		for i, msg := range send(t, e, noon, traffic(300, v != V5)) {
			if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil || m.Sequence != want {
				t.Fatalf("%s: message %d has sequence %d, want %d: %v", v, i, m.Sequence, want, err)
			}
			if v == V9 {
				want++
			} else {
				want += uint32(m.DataRecords)
			}
		}
		if v == IPFIX && want <= 300 {
			t.Errorf("%d data records of 300 flows and some options", want)
		}
	}
}
