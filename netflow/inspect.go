package netflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"flowtally/flow"
)

// Inspector says in words what is in export messages, field by field, by IANA
// name and with the values of calmh/ipfix's Interpreter. It is for people who
// look at an exporter, not for speed. It learns templates as a Decoder does, and
// is not safe for concurrent use.
type Inspector struct {
	d     *Decoder
	plans map[*template]*extraPlan
}

// NewInspector returns an Inspector that knows no template.
func NewInspector() *Inspector {
	return &Inspector{d: NewDecoder(Limits{HoldOctets: 1}), plans: make(map[*template]*extraPlan)}
}

// Inspected is a message in words.
type Inspected struct {
	Version  string         `json:"version"`
	From     netip.AddrPort `json:"from"`
	Domain   uint32         `json:"observation_domain"`
	Exported string         `json:"export_time,omitempty"`
	Sequence uint32         `json:"sequence"`
	Octets   int            `json:"octets"`
	Sets     []InspectedSet `json:"sets"`
	// Errors are what a collector would leave out, and why.
	Errors []string `json:"errors,omitempty"`
}

// InspectedSet is a Set of a message. A message of v1, v5 or v7 has one, of no
// identifier.
type InspectedSet struct {
	ID        uint16              `json:"id"`
	Kind      string              `json:"kind"` // templates, options templates, data, options, or unknown
	Octets    int                 `json:"octets"`
	Templates []InspectedTemplate `json:"templates,omitempty"`
	Records   [][]InspectedField  `json:"records,omitempty"`
}

// InspectedTemplate is a template as it came.
type InspectedTemplate struct {
	ID     uint16           `json:"id"`
	Scopes int              `json:"scopes,omitempty"`
	Fields []InspectedField `json:"fields"`
}

// InspectedField is a field of a template (without a value) or of a record.
type InspectedField struct {
	Name       string `json:"name"`
	Enterprise uint32 `json:"enterprise,omitempty"`
	ID         uint16 `json:"id"`
	// Length is in octets, 65535 for variable length.
	Length int `json:"length,omitempty"`
	Value  any `json:"value,omitempty"`
}

// Inspect puts a datagram into words.
func (i *Inspector) Inspect(from netip.AddrPort, received flow.Time, datagram []byte) Inspected {
	out := Inspected{From: from, Octets: len(datagram)}
	var m Message
	var dl *dialect
	if len(datagram) >= 2 {
		switch Version(binary.BigEndian.Uint16(datagram)) {
		case V9:
			dl = &dialectV9
		case IPFIX:
			dl = &dialectIPFIX
		}
	}
	if dl == nil || len(datagram) < dl.header {
		recs, err := i.d.Decode(nil, &m, from, received, datagram)
		out.head(&m)
		out.fault(err)
		set := InspectedSet{Kind: "data", Octets: len(datagram)}
		for k := range recs {
			set.Records = append(set.Records, fixedFields(&recs[k]))
		}
		if len(recs) > 0 {
			out.Sets = append(out.Sets, set)
		}
		return out
	}
	// The header alone, then each Set behind it for itself, so that templates
	// change where they change.
	header := datagram[:dl.header]
	_, err := i.d.Decode(nil, &m, from, received, alone(dl, header, nil))
	out.head(&m)
	out.fault(err)
	rest := datagram[dl.header:]
	if dl == &dialectIPFIX {
		length := int(binary.BigEndian.Uint16(datagram[2:]))
		if length != len(datagram) {
			out.Errors = append(out.Errors, fmt.Sprintf("the header says %d octets, there are %d", length, len(datagram)))
		}
	}
	for len(rest) >= setHeader {
		id, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if length < setHeader || length > len(rest) {
			if !isZero(rest) {
				out.Errors = append(out.Errors, fmt.Sprintf("set %d of %d octets does not fit the %d that are left", id, length, len(rest)))
			}
			if length < setHeader {
				break
			}
			length = len(rest)
		}
		out.Sets = append(out.Sets, i.set(&out, dl, from, received, header, rest[:length]))
		rest = rest[length:]
	}
	return out
}

// head takes over what the header says.
func (x *Inspected) head(m *Message) {
	x.Version, x.Domain, x.Sequence = m.Version.String(), m.Exporter.Domain, m.Sequence
	if m.ExportTime > 0 {
		x.Exported = m.ExportTime.String()
	}
}

// fault adds the reasons in err.
func (x *Inspected) fault(err error) {
	var several interface{ Unwrap() []error }
	if errors.As(err, &several) {
		for _, e := range several.Unwrap() {
			x.Errors = append(x.Errors, e.Error())
		}
	} else if err != nil {
		x.Errors = append(x.Errors, err.Error())
	}
}

// alone returns a message that consists of a header and one Set.
func alone(dl *dialect, header, set []byte) []byte {
	b := append(append(make([]byte, 0, len(header)+len(set)), header...), set...)
	if dl == &dialectIPFIX {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	return b
}

// set puts one Set into words, header of its own included.
func (i *Inspector) set(out *Inspected, dl *dialect, from netip.AddrPort, received flow.Time, header, b []byte) InspectedSet {
	id := binary.BigEndian.Uint16(b)
	set := InspectedSet{ID: id, Octets: len(b), Kind: "unknown"}
	var m Message
	_, err := i.d.Decode(nil, &m, from, received, alone(dl, header, b))
	out.fault(err)
	r := reader{b: b, pos: setHeader, end: len(b)}
	switch {
	case id == dl.templateSet:
		set.Kind, set.Templates = "templates", inspectTemplates(dl, r, false)
	case id == dl.optionsSet:
		set.Kind, set.Templates = "options templates", inspectTemplates(dl, r, true)
	case id >= firstTemplate:
		t := i.d.store.find(m.Exporter.Addr, templateKey{m.Exporter.Domain, from.Port(), id, m.Version}, m.Sequence)
		if t == nil {
			break
		}
		set.Kind = "data"
		if t.options {
			set.Kind = "options"
		}
		set.Records = i.records(dl, t, b, r)
	}
	return set
}

// specsOf returns the Field Specifiers of a template.
func specsOf(dl *dialect, raw []byte, scopes int) []fieldSpec {
	w := work{dl: dl}
	return w.specs(raw, fieldCount(dl, raw), scopes)
}

// inspectTemplates puts templates into words, as far as they can be read.
func inspectTemplates(dl *dialect, r reader, options bool) (out []InspectedTemplate) {
	for r.remaining() >= 4 && len(out) < 1000 {
		t := InspectedTemplate{ID: r.uint16(), Fields: []InspectedField{}}
		count := int(r.uint16())
		if t.ID == 0 {
			break // padding
		}
		if options && count > 0 {
			second := int(r.uint16())
			t.Scopes = second
			if dl.scopeOctets {
				t.Scopes, count = count/4, (count+second)/4
			}
		}
		for k := range count {
			f := fieldSpec{id: r.uint16(), length: r.uint16(), scope: k < t.Scopes}
			if dl.enterprise && f.id&0x8000 != 0 {
				f.id &^= 0x8000
				f.pen = r.uint32()
			}
			if r.failed {
				return out
			}
			t.Fields = append(t.Fields, InspectedField{Name: fieldName(dl, f), Enterprise: f.pen, ID: f.id, Length: int(f.length)})
		}
		out = append(out, t)
	}
	return out
}

// scopes9 are the scopes of v9 (RFC 3954 §6.1), which are numbered apart.
var scopes9 = [...]string{1: "system", 2: "interface", 3: "lineCard", 4: "cache", 5: "template"}

// fieldName returns the name of a field of a template.
func fieldName(dl *dialect, f fieldSpec) string {
	if dl.scopeOctets {
		if f.scope && int(f.id) < len(scopes9) && f.id > 0 {
			return scopes9[f.id]
		}
		if id, ok := asaElements[f.id]; ok {
			f.id = id
		}
	}
	name := lookupElement(f.pen, f.id).name
	switch {
	case name == "":
		return unnamed(f.pen, f.id)
	case f.pen == reversePEN:
		return "reverse " + name
	}
	return name
}

// records puts the records of a Data Set into words.
func (i *Inspector) records(dl *dialect, t *template, b []byte, r reader) (out [][]InspectedField) {
	specs := specsOf(dl, t.raw, t.scopes)
	p := i.plans[t]
	if p == nil {
		fields := make([]extraField, len(specs))
		for k, f := range specs {
			if id, ok := asaElements[f.id]; ok && dl.scopeOctets {
				f.id = id
			}
			fields[k] = extraField{spec: uint16(k), pen: f.pen, id: f.id}
		}
		p = newExtraPlan(fields)
		p.once.Do(p.prepare)
		if len(i.plans) >= 4096 {
			clear(i.plans)
		}
		i.plans[t] = p
	}
	values, raw := make([][]byte, len(specs)), make([][]byte, len(specs))
	for r.remaining() >= t.size && len(out) < i.d.store.limits.MessageRecords {
		for k, f := range specs {
			length := int(f.length)
			if f.length == variableLength {
				length = r.fieldLength()
			}
			at := r.skip(length)
			if r.failed {
				return out
			}
			raw[k] = b[at : at+length]
			values[k] = normalise(lookupElement(p.fields[k].pen, p.fields[k].id).typ, raw[k])
		}
		meant := p.interpret(values)
		record := make([]InspectedField, len(specs))
		for k, f := range specs {
			var value any
			if k < len(meant) && meant[k].Name != "" && !(dl.scopeOctets && f.scope) {
				value = jsonValue(lookupElement(p.fields[k].pen, p.fields[k].id).typ, meant[k].Value, raw[k])
			}
			if value == nil {
				value = hexOctets(raw[k])
			}
			record[k] = InspectedField{Name: fieldName(dl, f), Enterprise: f.pen, ID: f.id, Value: value}
		}
		out = append(out, record)
	}
	return out
}

// fixedFields puts a record of a version without templates into words.
func fixedFields(r *flow.Record) []InspectedField {
	f := func(id uint16, v any) InspectedField {
		return InspectedField{Name: ianaElements[id].name, ID: id, Value: v}
	}
	return []InspectedField{
		f(8, r.SrcAddr.String()), f(12, r.DstAddr.String()), f(15, r.NextHop.String()),
		f(7, r.SrcPort), f(11, r.DstPort), f(4, uint8(r.Protocol)), f(5, r.TOS), f(6, uint16(r.TCPFlags)),
		f(10, r.InIf), f(14, r.OutIf), f(2, r.Packets), f(1, r.Bytes),
		f(152, r.Start.String()), f(153, r.End.String()),
		f(16, r.SrcAS), f(17, r.DstAS), f(9, r.SrcMask), f(13, r.DstMask),
	}
}

// NextMessage splits a file of messages that stand back to back: it returns the
// first and what follows. A v9 message does not say how long it is, so it ends
// where b does; so does one that is none of ours.
func NextMessage(b []byte) (message, rest []byte) {
	n := len(b)
	if n >= 4 {
		count := int(binary.BigEndian.Uint16(b[2:]))
		var f *fixedFormat
		switch Version(binary.BigEndian.Uint16(b)) {
		case V1:
			f = &formatV1
		case V5:
			f = &formatV5
		case V7:
			f = &formatV7
		case IPFIX:
			n = max(count, dialectIPFIX.header)
		}
		if f != nil {
			n = f.header + count*f.record
		}
	}
	n = min(n, len(b))
	return b[:n], b[n:]
}
