package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// exportField is a field of a template we send. v9 and ipfix are its elements
// in the two dialects, 0 where it has none there; octets is its length. own says
// that the element is of EnterpriseNumber.
type exportField struct {
	v9, ipfix uint16
	octets    uint16
	get       getter
	own       bool
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
	getDirection

	// What flow.Details has.
	getSrcMAC
	getDstMAC
	getInnerVLAN
	getMPLS1
	getMPLS2
	getMPLS3
	getMinTTL
	getMaxTTL
	getMinLength
	getMaxLength
	getOuterSrc4
	getOuterDst4
	getOuterSrc6
	getOuterDst6
	getTunnelID
	getTunnelProtocol
	getTunnelPort
	getSegment
	getCopies
)

// template4 and template6 are what we send: the same but for the addresses. v9
// has the times of its uptime clock, IPFIX absolute times. ICMP's type and code
// are an element in both; v9 has them in the destination port as well, where
// most devices put them. docs/wire.md draws the templates.
var (
	template4 = append([]exportField{
		{8, 8, 4, getSrc4, false},   // sourceIPv4Address
		{12, 12, 4, getDst4, false}, // destinationIPv4Address
		{32, 32, 2, getICMP, false}, // icmpTypeCodeIPv4
	}, templateRest...)
	template6 = append([]exportField{
		{27, 27, 16, getSrc6, false}, // sourceIPv6Address
		{28, 28, 16, getDst6, false}, // destinationIPv6Address
		{32, 139, 2, getICMP, false}, // icmpTypeCodeIPv6; in v9 one for both
	}, templateRest...)
	templateRest = []exportField{
		{10, 10, 4, getInIf, false},        // ingressInterface
		{14, 14, 4, getOutIf, false},       // egressInterface
		{2, 2, 8, getPackets, false},       // packetDeltaCount
		{1, 1, 8, getBytes, false},         // octetDeltaCount
		{0, 152, 8, getStart, false},       // flowStartMilliseconds
		{0, 153, 8, getEnd, false},         // flowEndMilliseconds
		{22, 0, 4, getUptimeStart, false},  // flowStartSysUpTime
		{21, 0, 4, getUptimeEnd, false},    // flowEndSysUpTime
		{7, 7, 2, getSrcPort, false},       // sourceTransportPort
		{11, 11, 2, getDstPort, false},     // destinationTransportPort
		{58, 58, 2, getVLAN, false},        // vlanId
		{6, 6, 1, getTCPFlags, false},      // tcpControlBits; see FieldFlags
		{4, 4, 1, getProtocol, false},      // protocolIdentifier
		{5, 5, 1, getTOS, false},           // ipClassOfService
		{136, 136, 1, getEndReason, false}, // flowEndReason
	}
	// What is only in the templates of records that say it: there is no value for
	// a direction that is not known.
	templateDirection = exportField{61, 61, 1, getDirection, false} // flowDirection
)

// pflow4 and pflow6 are the templates of OpenBSD's pflow(4), field by field. They
// exist in IPFIX only.
var (
	pflow4 = append([]exportField{
		{0, 8, 4, getSrc4, false},  // sourceIPv4Address
		{0, 12, 4, getDst4, false}, // destinationIPv4Address
	}, pflowRest...)
	pflow6 = append([]exportField{
		{0, 27, 16, getSrc6, false}, // sourceIPv6Address
		{0, 28, 16, getDst6, false}, // destinationIPv6Address
	}, pflowRest...)
	pflowRest = []exportField{
		{0, 10, 4, getInIf, false},    // ingressInterface
		{0, 14, 4, getOutIf, false},   // egressInterface
		{0, 2, 8, getPackets, false},  // packetDeltaCount
		{0, 1, 8, getBytes, false},    // octetDeltaCount
		{0, 152, 8, getStart, false},  // flowStartMilliseconds
		{0, 153, 8, getEnd, false},    // flowEndMilliseconds
		{0, 7, 2, getSrcPort, false},  // sourceTransportPort
		{0, 11, 2, getDstPort, false}, // destinationTransportPort
		{0, 5, 1, getTOS, false},      // ipClassOfService
		{0, 4, 1, getProtocol, false}, // protocolIdentifier
	}
)

// The identifiers of our templates.
const (
	id4 = firstTemplate + iota
	id6
	idSampling
	idInterface
	idMetering
	idReliability
	idNotSent
	idDirected4
	idDirected6
	idName
)

// exportTemplate is a template we send, in one dialect.
type exportTemplate struct {
	id     uint16
	size   int // octets of a record
	fields []exportField
	ipfix  bool
	icmp   bool // ICMP's type and code have an element
}

func newExportTemplate(d *dialect, fields []exportField, id uint16) *exportTemplate {
	t := &exportTemplate{id: id, ipfix: d.version == IPFIX}
	for _, f := range fields {
		if t.element(f) != 0 {
			t.fields = append(t.fields, f)
			t.size += int(f.octets)
			t.icmp = t.icmp || f.get == getICMP
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
		if f.own {
			dst = binary.BigEndian.AppendUint16(dst, t.element(f)|1<<15)
			dst = binary.BigEndian.AppendUint16(dst, f.octets)
			dst = binary.BigEndian.AppendUint32(dst, EnterpriseNumber)
			continue
		}
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
			if t.ipfix && t.icmp && isICMP(r.Protocol) {
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
		case getDirection:
			v = uint64(r.Direction - 1)
		case getICMP:
			if isICMP(r.Protocol) {
				v = uint64(r.DstPort)
			}
		default:
			d := r.Details
			if d == nil {
				d = &noDetails
			}
			if b := detailOctets(d, f.get); b != nil {
				dst = append(dst, b...)
				continue
			}
			v = detailNumber(d, f)
		}
		switch f.octets {
		case 1:
			dst = append(dst, uint8(v))
		case 2:
			dst = binary.BigEndian.AppendUint16(dst, uint16(v))
		case 3:
			dst = append(dst, uint8(v>>16), uint8(v>>8), uint8(v))
		case 4:
			dst = binary.BigEndian.AppendUint32(dst, uint32(v))
		default:
			dst = binary.BigEndian.AppendUint64(dst, v)
		}
	}
	return dst
}

// noDetails are those of a record without.
var noDetails flow.Details

// detailOctets returns the octets of an address among the details, nil for what
// is a number. An address of the other kind is zero.
func detailOctets(d *flow.Details, get getter) []byte {
	switch get {
	case getSrcMAC:
		return d.SrcMAC[:]
	case getDstMAC:
		return d.DstMAC[:]
	case getOuterSrc4:
		return as4(&d.OuterSrc)
	case getOuterDst4:
		return as4(&d.OuterDst)
	case getOuterSrc6:
		return as6(&d.OuterSrc)
	case getOuterDst6:
		return as6(&d.OuterDst)
	}
	return nil
}

var noAddr flow.Addr

func as4(a *flow.Addr) []byte {
	if a.Is4() {
		return a[12:]
	}
	return noAddr[12:]
}

func as6(a *flow.Addr) []byte {
	if a.Is4() {
		return noAddr[:]
	}
	return a[:]
}

// portVXLAN is the UDP port of VXLAN (RFC 7348).
const portVXLAN = 4789

// detailNumber returns a number among the details.
func detailNumber(d *flow.Details, f *exportField) uint64 {
	switch f.get {
	case getInnerVLAN:
		return uint64(d.InnerVLAN & 0xfff)
	case getMPLS1, getMPLS2, getMPLS3:
		return uint64(d.MPLS[f.get-getMPLS1])
	case getMinTTL:
		return uint64(d.MinTTL)
	case getMaxTTL:
		return uint64(d.MaxTTL)
	case getMinLength:
		return min(uint64(d.MinLength), 1<<(8*min(f.octets, 7))-1)
	case getMaxLength:
		return min(uint64(d.MaxLength), 1<<(8*min(f.octets, 7))-1)
	case getTunnelID:
		return uint64(d.TunnelID)
	case getTunnelProtocol:
		return uint64(d.Tunnel >> 16 & 0xff)
	case getTunnelPort:
		return uint64(d.Tunnel & 0xffff)
	case getSegment:
		if d.Tunnel == uint32(flow.UDP)<<16|portVXLAN {
			return 1<<56 | uint64(d.TunnelID&0xffffff) // the kind in the first octet
		}
	case getCopies:
		return d.Copies
	}
	return 0
}

// announce makes the Sets that go in front of a message when templates are due.
func (e *Encoder) announce() {
	e.count = 2
	b := e.appendSet(nil, e.dl.templateSet, func(b []byte) []byte {
		b = e.v6.appendTemplate(e.v4.appendTemplate(b))
		if e.directs {
			e.count += 2
			b = e.directed6.appendTemplate(e.directed4.appendTemplate(b))
		}
		return b
	})
	e.announced = 0
	if e.c.SamplingRate > 0 {
		b = e.appendSet(b, e.dl.optionsSet, e.appendSamplingTemplate)
		b = e.appendSet(b, idSampling, e.appendSampling)
		e.announced = 1
	}
	e.templates = b
	e.options = e.optionSets()
}

// appendSamplingTemplate appends the Options Template by which the sampling rate
// is announced for the whole domain: samplingInterval (34) and samplingAlgorithm
// (35), which v9 has from the start and collectors of IPFIX read as well; in
// IPFIX also in the words of PSAMP (RFC 5477 §8.2): selectorAlgorithm (304) and
// its parameters, samplingPacketInterval and -Space (305, 306), or samplingSize
// and -Population (309, 310).
func (e *Encoder) appendSamplingTemplate(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, idSampling)
	if e.dl.scopeOctets {
		b = append(b, 0, 4, 0, 8) // octets of scope, of options
		b = append(b, 0, 1, 0, 4) // scope System
		return append(b, 0, 34, 0, 4, 0, 35, 0, 1)
	}
	b = append(b, 0, 6, 0, 1)   // fields, of which scopes
	b = append(b, 0, 149, 0, 4) // observationDomainId
	b = append(b, 0, 34, 0, 4, 0, 35, 0, 1, 1, 48, 0, 2)
	if e.c.SamplingRandom {
		return append(b, 1, 53, 0, 4, 1, 54, 0, 4)
	}
	return append(b, 1, 49, 0, 4, 1, 50, 0, 4)
}

// appendSampling appends the Options Data Record of the sampling rate.
func (e *Encoder) appendSampling(b []byte) []byte {
	rate := e.c.SamplingRate
	b = binary.BigEndian.AppendUint32(b, e.c.Domain) // the scope
	b = binary.BigEndian.AppendUint32(b, rate)
	if e.c.SamplingRandom {
		b = append(b, 2)
	} else {
		b = append(b, 1) // deterministic: one packet in every N
	}
	switch {
	case e.dl.scopeOctets:
		return b
	case e.c.SamplingRandom:
		b = append(b, 0, 3) // random n-out-of-N
		b = binary.BigEndian.AppendUint32(b, 1)
		return binary.BigEndian.AppendUint32(b, rate)
	}
	b = append(b, 0, 1) // systematic count-based
	b = binary.BigEndian.AppendUint32(b, 1)
	return binary.BigEndian.AppendUint32(b, rate-1)
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
