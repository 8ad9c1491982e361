package netflow

//go:generate go -C ../tools run ./elements -o ../netflow/elements_gen.go

// element is one entry of the IANA registry "IPFIX Information Elements"
// (RFC 7012).
type element struct {
	name   string
	typ    elementType
	length uint16 // the type's own length, variableLength when it has none
}

// elementType is the abstract data type of an element (RFC 7012 §3.1).
type elementType uint8

const (
	typeUnknown elementType = iota
	typeOctets
	typeUnsigned8
	typeUnsigned16
	typeUnsigned32
	typeUnsigned64
	typeSigned8
	typeSigned16
	typeSigned32
	typeSigned64
	typeFloat32
	typeFloat64
	typeBoolean
	typeMAC
	typeString
	typeSeconds
	typeMilliseconds
	typeMicroseconds
	typeNanoseconds
	typeIPv4
	typeIPv6
	typeList // RFC 6313; kept as octets
)

const (
	// variableLength is the length in a Field Specifier that says the field
	// carries its own (RFC 7011 §7).
	variableLength = 65535
	// reversePEN is the enterprise number of the reverse direction of a biflow
	// (RFC 5103 §6.1).
	reversePEN = 29305
)

// lookupElement returns the registry's entry of an element; for one of the
// reverse direction that of its forward twin. The zero element is "not known".
func lookupElement(pen uint32, id uint16) element {
	if pen == EnterpriseNumber && int(id) < len(ours) {
		return ours[id]
	}
	if e, ok := vendors[id]; ok && pen == 0 {
		return e
	}
	if pen != 0 && pen != reversePEN || int(id) >= len(ianaElements) {
		return element{}
	}
	return ianaElements[id]
}

// vendors are elements of v9 that IANA has none for: of Cisco's ASA and of
// PAN-OS. Their numbers cannot stand in an IPFIX message, where bit 15 says
// something else.
var vendors = map[uint16]element{
	33000: {"asaIngressAcl", typeOctets, 12},
	33001: {"asaEgressAcl", typeOctets, 12},
	33002: {"asaExtendedEvent", typeUnsigned16, 2},
	56701: {"paloAltoAppID", typeString, 32},
	56702: {"paloAltoUserID", typeString, 64},
}
