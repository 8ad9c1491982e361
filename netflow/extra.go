package netflow

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/calmh/ipfix"

	"flowtally/flow"
)

// extraField is a field of a template that has no field in flow.Record.
type extraField struct {
	pen            uint32
	id             uint16
	spec           uint16 // index in the template
	offset, length uint16 // in the record; length is 0 when it is variable
	nth            uint16 // of those of the same element, from 1; see prepare
	zero           bool   // 0 is a value of it
}

// zeros are the elements of which 0 is a value.
var zeros = func() map[[2]uint32]bool {
	ids := make(map[[2]uint32]bool)
	for i := range flow.Fields {
		for _, e := range flow.Fields[i].Elements {
			if flow.Fields[i].Zero {
				ids[[2]uint32{e.Enterprise, uint32(e.ID)}] = true
			}
		}
	}
	return ids
}()

// extraPlan makes the extras of a template's records. The names and values are
// those of calmh/ipfix's Interpreter, which is never given more than it can
// take: a Session of its own for each template, so that a redefinition cannot
// come between a record and its interpretation; fields that our validator has
// cut out, in widths and times that it reads rightly; and a fresh result each
// time.
type extraPlan struct {
	fields []extraField
	once   sync.Once
	interp *ipfix.Interpreter
}

// newExtraPlan returns the plan for some fields, nil for none.
func newExtraPlan(fields []extraField) *extraPlan {
	if len(fields) == 0 {
		return nil
	}
	return &extraPlan{fields: fields}
}

// extras are the plans of a template: for its records, for the other half of a biflow
// beside this one, and for the other half where this one is empty.
type extras struct{ record, half, reverse *extraPlan }

// otherSide are the elements that the other half of a biflow has as well: what is of
// a side changes sides, as translated addresses do; what is of the conversation is
// the same.
var otherSide = map[uint16]uint16{
	225: 226, 226: 225, 227: 228, 228: 227, 281: 282, 282: 281, // after translation
	56: 80, 80: 56, 57: 81, 81: 57, // MAC addresses
	234: 235, 235: 234, // VRFs
	95: 95, 96: 96, 148: 148, 371: 371, // application, flow, user
}

// otherHalf returns the fields as the other half of a biflow has them: elements of the
// reverse direction by their own names (RFC 5103), those of otherSide, and where it is
// all that is stored the rest as well.
func otherHalf(fields []extraField, all bool) (out []extraField) {
	said := make(map[uint16]bool)
	for _, f := range fields {
		if f.pen == reversePEN {
			said[f.id] = true
		}
	}
	for _, f := range fields {
		f.nth = 0
		other, ok := otherSide[f.id]
		switch {
		case f.pen == reversePEN:
			f.pen = 0
		case f.pen == 0 && ok:
			f.id = other
		case !all:
			continue
		}
		if f.pen == 0 {
			f.zero = zeros[[2]uint32{0, uint32(f.id)}]
		}
		out = append(out, f)
	}
	return slices.DeleteFunc(out, func(f extraField) bool {
		return said[f.id] && f.pen == 0 && !slices.ContainsFunc(fields, func(x extraField) bool { return x.spec == f.spec && x.pen == reversePEN })
	})
}

// span is where a field lies in the message.
type span struct{ at, length int }

// bookkeeping are the elements that say nothing about the flow but something
// about how it was observed and exported.
var bookkeeping = map[uint16]bool{
	0: true, 35: true, 36: true, 37: true, 38: true, 39: true, 40: true, 41: true, 42: true,
	49: true, 84: true, 87: true, 130: true, 131: true, 137: true, 141: true,
	143: true, 144: true, 145: true, 149: true, 173: true, 210: true, 211: true,
	212: true, 213: true, 214: true, 215: true, 216: true, 217: true, 239: true, 262: true,
	263: true, 267: true, 276: true, 285: true, 286: true, 287: true, 300: true, 301: true,
	303: true, 304: true, 307: true, 308: true, 335: true, 403: true, 404: true, 405: true, 406: true,
}

// bearsMeaning reports whether a field that fills no slot is worth keeping. Of
// those that lost a slot to another, only counters and VLANs tell something
// new.
func bearsMeaning(f fieldSpec, r rule) bool {
	if f.length == 0 || f.scope {
		return false
	}
	switch r.slot {
	case noSlot, slotBytes, slotPackets, slotVLAN, slotRevBytes, slotRevPackets, slotInIf, slotOutIf, slotSection:
	default:
		return false
	}
	return f.pen != 0 && f.pen != reversePEN || !bookkeeping[f.id]
}

// completeDictionary gives the interpreter, whose dictionary is of 2015 and
// shared by the whole process, today's registry: once, before the first use.
var completeDictionary = sync.OnceFunc(func() {
	i := ipfix.NewInterpreter(ipfix.NewSession())
	for id, e := range vendors {
		i.AddDictionaryEntry(ipfix.DictionaryEntry{Name: e.name, FieldID: id, Type: e.typ.calmh()})
	}
	for id, e := range ianaElements {
		if e.name == "" {
			continue
		}
		entry := ipfix.DictionaryEntry{Name: e.name, FieldID: uint16(id), Type: e.typ.calmh()}
		i.AddDictionaryEntry(entry)
		entry.Name = "reverse" + strings.ToUpper(e.name[:1]) + e.name[1:]
		entry.EnterpriseID = reversePEN
		i.AddDictionaryEntry(entry)
	}
	for id, e := range ours {
		if e.name != "" {
			i.AddDictionaryEntry(ipfix.DictionaryEntry{Name: e.name, FieldID: uint16(id), EnterpriseID: EnterpriseNumber, Type: e.typ.calmh()})
		}
	}
})

// calmh returns the interpreter's name of a type.
func (t elementType) calmh() ipfix.FieldType {
	switch t {
	case typeUnsigned8:
		return ipfix.Uint8
	case typeUnsigned16:
		return ipfix.Uint16
	case typeUnsigned32:
		return ipfix.Uint32
	case typeUnsigned64:
		return ipfix.Uint64
	case typeSigned8:
		return ipfix.Int8
	case typeSigned16:
		return ipfix.Int16
	case typeSigned32:
		return ipfix.Int32
	case typeSigned64:
		return ipfix.Int64
	case typeFloat32:
		return ipfix.Float32
	case typeFloat64:
		return ipfix.Float64
	case typeBoolean:
		return ipfix.Boolean
	case typeMAC:
		return ipfix.MacAddress
	case typeString:
		return ipfix.String
	case typeSeconds:
		return ipfix.DateTimeSeconds
	case typeMilliseconds:
		return ipfix.DateTimeMilliseconds
	case typeMicroseconds:
		return ipfix.DateTimeMicroseconds
	case typeNanoseconds:
		return ipfix.DateTimeNanoseconds
	case typeIPv4:
		return ipfix.Ipv4Address
	case typeIPv6:
		return ipfix.Ipv6Address
	}
	return ipfix.OctetArray
}

// prepare makes the interpreter when the first record comes, so that a flood of
// templates does not pay for it.
func (p *extraPlan) prepare() {
	completeDictionary()
	specs := make([]ipfix.TemplateFieldSpecifier, len(p.fields))
	times := make(map[[2]uint32]uint16)
	for i, f := range p.fields {
		k := [2]uint32{f.pen, uint32(f.id)}
		times[k]++
		p.fields[i].nth = times[k]
		// The length only keeps the session from taking it for a withdrawal.
		specs[i] = ipfix.TemplateFieldSpecifier{EnterpriseID: f.pen, FieldID: f.id, Length: 1}
	}
	s := ipfix.NewSession()
	s.LoadTemplateRecords([]ipfix.TemplateRecord{{TemplateID: firstTemplate, FieldSpecifiers: specs}})
	p.interp = ipfix.NewInterpreter(s)
}

// json returns one JSON object with the fields that say something, nil when none
// does: one whose octets are all zero says nothing, unless 0 is a value of it. spans tells where each field of the template lies, and is
// nil when the record, at pos, is of fixed length.
func (p *extraPlan) json(w *work, b []byte, pos int, spans []span) []byte {
	if p == nil {
		return nil
	}
	const stack = 32
	var buf [stack][]byte
	values := buf[:0]
	some := false
	for i := range p.fields {
		f := &p.fields[i]
		s := span{pos + int(f.offset), int(f.length)}
		if spans != nil {
			s = spans[f.spec]
		}
		v := b[s.at : s.at+s.length]
		if isZero(v) && (len(v) == 0 || !f.zero) {
			v = nil
		} else {
			some = true
		}
		values = append(values, v)
	}
	if !some {
		return nil
	}
	p.once.Do(p.prepare)
	fields := make([][]byte, len(values))
	for i, v := range values {
		fields[i] = normalise(lookupElement(p.fields[i].pen, p.fields[i].id).typ, v)
	}
	named := p.interpret(fields)
	out := make([]byte, 0, 64*len(fields))
	out = append(out, '{')
	for i, v := range values {
		if v == nil {
			continue
		}
		f := &p.fields[i]
		var name string
		var value any = hexOctets(v)
		if i < len(named) {
			name = named[i].Name
			if name != "" {
				value = jsonValue(lookupElement(f.pen, f.id).typ, named[i].Value, v)
			}
		}
		if value == nil {
			continue
		}
		if name == "" {
			name = unnamed(f.pen, f.id)
		}
		out = appendMember(out, f, name, value)
		if n, ok := naming[f.id]; ok && f.pen == 0 && f.nth == 1 && len(v) <= 8 && !p.has(n.kind) {
			of := domainKey{w.m.Exporter.Domain, w.m.Version}
			if s := w.d.store.name(w.m.Exporter.Addr, nameKey{of, n.kind, uintOf(v)}); s != "" {
				out = appendMember(out, f, n.member, s)
			}
		}
	}
	if len(out) == 1 {
		return nil
	}
	return append(out, '}')
}

// has reports whether an element of IANA's is among the fields.
func (p *extraPlan) has(id uint16) bool {
	for i := range p.fields {
		if p.fields[i].pen == 0 && p.fields[i].id == id {
			return true
		}
	}
	return false
}

// appendMember appends a member of the object. An element that stands in the
// template more than once gets its number behind its name.
func appendMember(out []byte, f *extraField, name string, value any) []byte {
	v, err := marshal(value)
	if err != nil {
		return out
	}
	if f.nth > 1 {
		name += "#" + strconv.Itoa(int(f.nth))
	}
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = append(out, '"')
	out = append(out, name...) // of the registry or ours: no quote, no backslash
	out = append(out, '"', ':')
	return append(out, v...)
}

// marshal writes a value in JSON. What HTML gives a meaning to is no different from
// other characters here.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// withMember returns the object that has the members of both, either of which may
// be nil. The second is shared by records, and stays as it is.
func withMember(object, member []byte) []byte {
	switch {
	case len(object) == 0:
		return member
	case len(member) == 0:
		return object
	}
	out := append(object[:len(object)-1], ',')
	return append(out, member[1:]...)
}

// interpret names and interprets the fields. A panic of the library costs the
// names, nothing else.
func (p *extraPlan) interpret(fields [][]byte) (named []ipfix.InterpretedField) {
	defer func() {
		if recover() != nil {
			named = nil
		}
	}()
	return p.interp.InterpretInto(ipfix.DataRecord{TemplateID: firstTemplate, Fields: fields}, nil)
}

// unnamed returns the name of an element that no registry of ours has.
func unnamed(pen uint32, id uint16) string {
	if pen == 0 {
		return "element_" + strconv.Itoa(int(id))
	}
	return "enterprise_" + strconv.FormatUint(uint64(pen), 10) + "_" + strconv.Itoa(int(id))
}

// normalise returns the octets of a value as the interpreter reads them rightly:
// integers in their type's full width, NTP times as counts since 1970, floats
// unreduced. What cannot be made so is returned as it is.
func normalise(t elementType, v []byte) []byte {
	if len(v) == 0 {
		return nil
	}
	switch t {
	case typeUnsigned8, typeUnsigned16, typeUnsigned32, typeUnsigned64:
		return widen(v, t.width(), 0)
	case typeSigned8, typeSigned16, typeSigned32, typeSigned64:
		fill := byte(0)
		if v[0]&0x80 != 0 {
			fill = 0xff
		}
		return widen(v, t.width(), fill)
	case typeFloat64:
		if len(v) == 4 {
			return be64(math.Float64bits(float64(math.Float32frombits(uint32(uintOf(v))))))
		}
	case typeMilliseconds:
		if len(v) == 8 {
			return v
		}
	case typeMicroseconds, typeNanoseconds:
		if len(v) == 8 {
			return be64(sinceEpoch(uintOf(v), t))
		}
	}
	return v
}

// sinceEpoch turns an NTP timestamp into microseconds or nanoseconds since 1970.
func sinceEpoch(v uint64, t elementType) uint64 {
	const epoch = 2208988800
	unit := uint64(1_000_000)
	if t == typeNanoseconds {
		unit = 1_000_000_000
	}
	sec := v >> 32
	if sec < 1<<31 {
		sec += 1 << 32
	}
	return (sec-epoch)*unit + (v&0xffffffff)*unit>>32
}

// width returns the octets of an integer type.
func (t elementType) width() int {
	switch t {
	case typeUnsigned8, typeSigned8:
		return 1
	case typeUnsigned16, typeSigned16:
		return 2
	case typeUnsigned32, typeSigned32:
		return 4
	}
	return 8
}

// widen returns v in n octets, filled in front; of a wider one the last n.
func widen(v []byte, n int, fill byte) []byte {
	if len(v) == n {
		return v
	}
	if len(v) > n {
		return v[len(v)-n:]
	}
	w := make([]byte, n)
	for i := range n - len(v) {
		w[i] = fill
	}
	copy(w[n-len(v):], v)
	return w
}

// uintOf returns up to eight octets as a number.
func uintOf(v []byte) uint64 {
	var n uint64
	for _, c := range v {
		n = n<<8 | uint64(c)
	}
	return n
}

func be64(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (56 - 8*i))
	}
	return b
}

// hexOctets is a value without a type: its octets, in hexadecimal.
func hexOctets(v []byte) string { return hex.EncodeToString(v) }

// jsonValue returns what encoding/json shall write for an interpreted value,
// nil when there is nothing to say. raw is what it was made from.
func jsonValue(t elementType, v any, raw []byte) any {
	switch t {
	case typeIPv4, typeIPv6:
		// From the octets: the library can be told, by an environment variable,
		// to return a hash instead.
		if len(raw) == net.IPv4len || len(raw) == net.IPv6len {
			return net.IP(raw).String()
		}
		return hexOctets(raw)
	case typeMAC:
		if len(raw) == 6 {
			return net.HardwareAddr(raw).String()
		}
		return hexOctets(raw)
	}
	switch v := v.(type) {
	case string:
		// A string ends at the NUL, whatever the exporter's buffer had behind it.
		// PostgreSQL's jsonb takes neither that nor what is not UTF-8.
		v, _, _ = strings.Cut(v, "\x00")
		if v = strings.TrimSpace(strings.ToValidUTF8(v, "\uFFFD")); v == "" {
			return nil
		}
		return v
	case []byte:
		return hexOctets(v)
	case time.Time:
		if y := v.Year(); y < 1 || y > 9999 {
			return hexOctets(raw)
		}
		return v.UTC().Format(time.RFC3339Nano)
	case float32:
		return finite(float64(v), 32)
	case float64:
		return finite(v, 64)
	case bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64:
		return v
	}
	return hexOctets(raw)
}

// finite returns a number for JSON, which has no infinities.
func finite(f float64, bits int) any {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	return json.RawMessage(strconv.AppendFloat(nil, f, 'g', -1, bits))
}
