package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// exportField is a field of a template we send. v9 and ipfix are its elements
// in the two dialects, 0 where it has none there; octets is its length.
type exportField struct {
	v9, ipfix uint16
	octets    uint16
	get       getter
}

// getter says what of a record a field is.
type getter uint8

const (
	getSrc4 getter = iota
	getDst4
	getSrc6
	getDst6
	getInIf
	getOutIf
	getPackets
	getBytes
	getStart
	getEnd
	getSrcPort
	getDstPort
	getProtocol
	getTOS
	getTCPFlags
	getVLAN
	getEndReason
	getICMP
	getUptimeStart
	getUptimeEnd
)

// template4 and template6 are what we send: the same but for the addresses. v9
// has the times of its uptime clock, IPFIX absolute times. ICMP's type and code
// are an element in both; v9 has them in the destination port as well, where
// most devices put them. docs/wire.md draws the templates.
var (
	template4 = append([]exportField{
		{8, 8, 4, getSrc4},   // sourceIPv4Address
		{12, 12, 4, getDst4}, // destinationIPv4Address
		{32, 32, 2, getICMP}, // icmpTypeCodeIPv4
	}, templateRest...)
	template6 = append([]exportField{
		{27, 27, 16, getSrc6}, // sourceIPv6Address
		{28, 28, 16, getDst6}, // destinationIPv6Address
		{32, 139, 2, getICMP}, // icmpTypeCodeIPv6; in v9 one for both
	}, templateRest...)
	templateRest = []exportField{
		{10, 10, 4, getInIf},       // ingressInterface
		{14, 14, 4, getOutIf},      // egressInterface
		{2, 2, 8, getPackets},      // packetDeltaCount
		{1, 1, 8, getBytes},        // octetDeltaCount
		{0, 152, 8, getStart},      // flowStartMilliseconds
		{0, 153, 8, getEnd},        // flowEndMilliseconds
		{22, 0, 4, getUptimeStart}, // flowStartSysUpTime
		{21, 0, 4, getUptimeEnd},   // flowEndSysUpTime
		{7, 7, 2, getSrcPort},      // sourceTransportPort
		{11, 11, 2, getDstPort},    // destinationTransportPort
		{58, 58, 2, getVLAN},       // vlanId
		{0, 6, 2, getTCPFlags},     // tcpControlBits
		{6, 0, 1, getTCPFlags},
		{4, 4, 1, getProtocol},      // protocolIdentifier
		{5, 5, 1, getTOS},           // ipClassOfService
		{136, 136, 1, getEndReason}, // flowEndReason
	}
)

// The identifiers of our templates.
const (
	id4 = firstTemplate + iota
	id6
	idSampling
)

// exportTemplate is a template we send, in one dialect.
type exportTemplate struct {
	id     uint16
	size   int // octets of a record
	fields []exportField
	ipfix  bool
}

func newExportTemplate(d *dialect, fields []exportField, six bool) *exportTemplate {
	t := &exportTemplate{id: id4, ipfix: d.version == IPFIX}
	if six {
		t.id = id6
	}
	for _, f := range fields {
		if t.element(f) != 0 {
			t.fields = append(t.fields, f)
			t.size += int(f.octets)
		}
	}
	return t
}

// element returns the identifier of f in the template's dialect.
func (t *exportTemplate) element(f exportField) uint16 {
	if t.ipfix {
		return f.ipfix
	}
	return f.v9
}

// appendTemplate appends the Template Record.
func (t *exportTemplate) appendTemplate(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, t.id)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.fields)))
	for _, f := range t.fields {
		dst = binary.BigEndian.AppendUint16(dst, t.element(f))
		dst = binary.BigEndian.AppendUint16(dst, f.octets)
	}
	return dst
}

// append appends the Data Record of r.
func (t *exportTemplate) append(dst []byte, r *flow.Record, c exportClock) []byte {
	for i := range t.fields {
		f := &t.fields[i]
		var v uint64
		switch f.get {
		case getSrc4:
			dst = append(dst, r.SrcAddr[12:]...)
			continue
		case getDst4:
			dst = append(dst, r.DstAddr[12:]...)
			continue
		case getSrc6:
			dst = append(dst, r.SrcAddr[:]...)
			continue
		case getDst6:
			dst = append(dst, r.DstAddr[:]...)
			continue
		case getInIf:
			v = uint64(r.InIf)
		case getOutIf:
			v = uint64(r.OutIf)
		case getPackets:
			v = r.Packets
		case getBytes:
			v = r.Bytes
		case getStart:
			v = uint64(max(r.Start, 0))
		case getEnd:
			v = uint64(max(r.End, 0))
		case getUptimeStart:
			v = uint64(c.uptime(r.Start))
		case getUptimeEnd:
			v = uint64(c.uptime(r.End))
		case getSrcPort:
			v = uint64(r.SrcPort)
		case getDstPort:
			v = uint64(r.DstPort)
			if t.ipfix && isICMP(r.Protocol) {
				v = 0 // it is not a port; getICMP says it
			}
		case getProtocol:
			v = uint64(r.Protocol)
		case getTOS:
			v = uint64(r.TOS)
		case getTCPFlags:
			v = uint64(r.TCPFlags)
		case getVLAN:
			v = uint64(r.VLAN)
		case getEndReason:
			v = uint64(r.EndReason)
		case getICMP:
			if isICMP(r.Protocol) {
				v = uint64(r.DstPort)
			}
		}
		switch f.octets {
		case 1:
			dst = append(dst, uint8(v))
		case 2:
			dst = binary.BigEndian.AppendUint16(dst, uint16(v))
		case 4:
			dst = binary.BigEndian.AppendUint32(dst, uint32(v))
		default:
			dst = binary.BigEndian.AppendUint64(dst, v)
		}
	}
	return dst
}

// announce makes the Sets that go in front of a message when templates are due.
func (e *Encoder) announce() {
	b := e.appendSet(nil, e.dl.templateSet, func(b []byte) []byte {
		return e.v6.appendTemplate(e.v4.appendTemplate(b))
	})
	if rate := e.c.SamplingRate; rate > 0 {
		b = e.appendSet(b, e.dl.optionsSet, e.appendSamplingTemplate)
		b = e.appendSet(b, idSampling, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, e.c.Domain) // the scope
			b = binary.BigEndian.AppendUint32(b, rate)
			return append(b, 1) // deterministic: one packet in every N
		})
		e.announced = 1
	}
	e.templates = b
}

// appendSamplingTemplate appends the Options Template by which the sampling rate
// is announced for the whole domain: samplingInterval (34) and samplingAlgorithm
// (35), which v9 has from the start and collectors of IPFIX read as well.
func (e *Encoder) appendSamplingTemplate(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, idSampling)
	if e.dl.scopeOctets {
		b = append(b, 0, 4, 0, 8) // octets of scope, of options
		b = append(b, 0, 1, 0, 4) // scope System
	} else {
		b = append(b, 0, 3, 0, 1)   // fields, of which scopes
		b = append(b, 0, 149, 0, 4) // observationDomainId
	}
	return append(b, 0, 34, 0, 4, 0, 35, 0, 1)
}

// appendSet appends a Set of what content appends.
func (e *Encoder) appendSet(b []byte, id uint16, content func([]byte) []byte) []byte {
	set := len(b)
	b = binary.BigEndian.AppendUint16(b, id)
	b = content(append(b, 0, 0))
	for (len(b)-set)%e.dl.padding != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[set+2:], uint16(len(b)-set))
	return b
}
