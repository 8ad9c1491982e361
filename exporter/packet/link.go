package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// ethernet is gopacket's layer, but what follows it is decided by us.
type ethernet struct {
	layers.Ethernet
	d    *Decoder
	next gopacket.LayerType
}

func (e *ethernet) NextLayerType() gopacket.LayerType { return e.next }

func (e *ethernet) DecodeFromBytes(data []byte, df gopacket.DecodeFeedback) (err error) {
	if len(data) < 14 {
		return ErrTruncated
	}
	if err := e.Ethernet.DecodeFromBytes(data, df); err != nil {
		return err
	}
	if e.d.config.Details {
		d := &e.d.details
		d.DstMAC, d.SrcMAC, d.InnerVLAN = [6]byte(data), [6]byte(data[6:]), 0
	}
	e.next, err = etherType(uint16(e.EthernetType))
	return err
}

// dot1q is gopacket's layer for a VLAN tag of any kind; the first one of a frame
// gives the packet's VLAN.
type dot1q struct {
	layers.Dot1Q
	d    *Decoder
	next gopacket.LayerType
}

func (q *dot1q) NextLayerType() gopacket.LayerType { return q.next }

func (q *dot1q) DecodeFromBytes(data []byte, df gopacket.DecodeFeedback) (err error) {
	if len(data) < 4 {
		return ErrTruncated
	}
	if err := q.Dot1Q.DecodeFromBytes(data, df); err != nil {
		return err
	}
	if !q.d.tagged {
		q.d.tagged = true
		q.d.pkt.VLAN = q.VLANIdentifier
	} else if q.d.details.InnerVLAN == 0 {
		q.d.details.InnerVLAN = q.VLANIdentifier
	}
	q.next, err = etherType(uint16(q.Type))
	return err
}

// etherType returns the layer behind an Ethernet type field. Below 0x600 the
// field is a length and an LLC header follows (IEEE 802.3 §3.2.6).
func etherType(t uint16) (gopacket.LayerType, error) {
	switch t {
	case 0x0800:
		return layers.LayerTypeIPv4, nil
	case 0x86dd:
		return layers.LayerTypeIPv6, nil
	case 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300:
		return layers.LayerTypeDot1Q, nil
	case 0x8847, 0x8848:
		return layers.LayerTypeMPLS, nil
	case 0x8864:
		return layers.LayerTypePPPoE, nil
	case 0x6558: // transparent Ethernet bridging
		return layers.LayerTypeEthernet, nil
	case 0x88e7:
		return typePBB, nil
	case 0x894f:
		return typeNSH, nil
	case 0x8926:
		return typeVNTag, nil
	case 0x88e5:
		return typeMACsec, nil
	case 0x8903:
		return typeFabricPath, nil
	case 0xd28b:
		return typeArista, nil
	case 0x8909:
		return typeMetadata, nil
	case 0x892f:
		return typeHSR, nil
	case 0x893f:
		return typeETag, nil
	case 0xdada:
		return typeEDSA, nil
	}
	if t < 0x0600 {
		return layers.LayerTypeLLC, nil
	}
	return gopacket.LayerTypeZero, ErrNotIP
}

// envelope is a header in front of the IP header of which only the end and the
// successor matter.
type envelope struct {
	layer
	d     *Decoder
	strip stripper
}

// A stripper takes one header off data and says what the rest is. It takes at
// least one octet or errs, so that no frame is walked for ever.
type stripper func(data []byte) (rest []byte, next gopacket.LayerType, err error)

func (e *envelope) DecodeFromBytes(data []byte, _ gopacket.DecodeFeedback) (err error) {
	switch e.typ {
	case layers.LayerTypeMPLS:
		if e.d.config.Details {
			e.d.details.MPLS = labels(data)
		}
	case typeAMSDU:
		e.d.more, e.d.moreCap = behindMSDU(data), cap(e.d.frame)
	case typeDSA, typeEDSA, typeBroadcom:
		e.d.switched(e.typ, data)
	}
	e.payload, e.next, err = e.strip(data)
	return err
}

var envelopes = map[gopacket.LayerType]stripper{
	typeRawIP:                rawIP,
	typeSLL2:                 sll2,
	typeCHDLC:                chdlc,
	typeFrameRelay:           frameRelay,
	typePPPHDLC:              pppHDLC,
	typePPPD:                 pppd,
	typePFLog:                pflog,
	layers.LayerTypeLoopback: loopback,
	layers.LayerTypeLinuxSLL: sll,
	layers.LayerTypeFDDI:     fddi,
	layers.LayerTypeLLC:      llc,
	layers.LayerTypeMPLS:     mpls,
	layers.LayerTypePPPoE:    pppoe,
	layers.LayerTypePPP:      ppp,
	layers.LayerTypeDot11:    dot11,
	typeDot11Padded:          dot11Padded,
	typeAMSDU:                aMSDU,
	layers.LayerTypeRadioTap: radioTap,
	typePBB:                  skip(4, layers.LayerTypeEthernet), // an I-TAG (IEEE 802.1ah)
	typeNSH:                  nsh,
	typeVNTag:                vnTag,
	typeMACsec:               macSec,
	typeFabricPath:           skip(2, layers.LayerTypeEthernet), // Cisco's tag
	typeArista:               arista,
	typeMetadata:             metadata,
	typeIPoIB:                ipoib,
	typePPI:                  ppi,
	typeEnc:                  enc,
	typeSunATM:               sunATM,
	typeFireWire:             fireWire,
	typeDirectionPPP:         skip(1, typePPPHDLC),
	typeDirectionCHDLC:       skip(1, typeCHDLC),
	typeDirectionRelay:       skip(1, typeFrameRelay),
	typeTokenRing:            tokenRing,
	typePrism:                prism,
	typeAVS:                  avs,
	typeNFLog:                nflog,
	typeHSR:                  hsr,
	typeETag:                 eTag,
	typeDSA:                  dsa,
	typeEDSA:                 edsa,
	typeBroadcom:             broadcom,
	typeBroadcomFront:        skip(4, layers.LayerTypeEthernet),
	typeMPacket:              mPacket,
	typeIPNet:                ipnet,
}

func init() {
	// It looks into linkTypes, as do those that look into it.
	envelopes[typePKTAP] = pktap
	for link := range juniperCookies {
		envelopes[juniperLayer(link)] = juniper(link)
	}
}

// rawIP is no header at all: the version nibble decides.
func rawIP(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) == 0 {
		return nil, 0, ErrTruncated
	}
	switch data[0] >> 4 {
	case 4:
		return data, layers.LayerTypeIPv4, nil
	case 6:
		return data, layers.LayerTypeIPv6, nil
	}
	return nil, 0, ErrMalformed
}

// fddi is a frame control, which says whether LLC follows, and two MAC addresses.
func fddi(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 13 {
		return nil, 0, ErrTruncated
	}
	if data[0]&0x70 != 0x50 { // the uppermost bit is the class
		return nil, 0, ErrNotIP
	}
	return data[13:], layers.LayerTypeLLC, nil
}

// llc is an 802.2 header; IP is behind SNAP (RFC 1042) or, rarely, behind its
// own SAP.
func llc(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 3 {
		return nil, 0, ErrTruncated
	}
	if data[2] != 3 { // not an unnumbered information frame
		return nil, 0, ErrNotIP
	}
	switch {
	case data[0] == 0xaa && data[1] == 0xaa:
		return snap(data[3:])
	case data[0] == 0x06 && data[1] == 0x06:
		return data[3:], layers.LayerTypeIPv4, nil
	}
	return nil, 0, ErrNotIP
}

// snap is an organisation and a protocol of it; of organisation 0, and of
// 00-00-f8 (802.1H), that is an Ethernet type.
func snap(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 5 {
		return nil, 0, ErrTruncated
	}
	typ := binary.BigEndian.Uint16(data[3:])
	if data[0] != 0 || data[1] != 0 || data[2] != 0 && data[2] != 0xf8 || typ < 0x0600 {
		return nil, 0, ErrNotIP
	}
	next, err := etherType(typ)
	return data[5:], next, err
}

// mpls is a stack of labels (RFC 3032). What follows is not said. A version
// nibble of IP is taken for IP (RFC 4928 §3), and all else for the Ethernet of a
// pseudowire, behind a control word (RFC 4448 §4.6) where sixteen bits of zero
// look like one.
func mpls(data []byte) ([]byte, gopacket.LayerType, error) {
	for {
		if len(data) < 4 {
			return nil, 0, ErrTruncated
		}
		bottom := data[2]&1 != 0
		data = data[4:]
		if bottom {
			break
		}
	}
	if len(data) < 4 {
		return nil, 0, ErrTruncated
	}
	switch data[0] >> 4 {
	case 4:
		return data, layers.LayerTypeIPv4, nil
	case 6:
		return data, layers.LayerTypeIPv6, nil
	}
	if data[0] == 0 && data[1] == 0 {
		data = data[4:]
	}
	return data, layers.LayerTypeEthernet, nil
}

// labels returns the first three entries of a label stack, without their TTL.
func labels(data []byte) (stack [3]uint32) {
	for i := range stack {
		if len(data) < 4 {
			break
		}
		stack[i] = binary.BigEndian.Uint32(data) >> 8
		if data[2]&1 != 0 {
			break
		}
		data = data[4:]
	}
	return stack
}

// pppoe is a PPPoE header (RFC 2516 §4); only code 0, session data, holds PPP.
func pppoe(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 6 {
		return nil, 0, ErrTruncated
	}
	if data[0] != 0x11 {
		return nil, 0, ErrMalformed
	}
	if data[1] != 0 {
		return nil, 0, ErrNotIP
	}
	return data[6:], layers.LayerTypePPP, nil
}

// ppp is a PPP header with or without address and control (RFC 1661 §2, RFC 1662
// §3.1). A protocol number that begins with an odd octet is compressed to it.
func ppp(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) >= 2 && data[0] == 0xff && data[1] == 0x03 {
		data = data[2:]
	}
	if len(data) < 2 {
		return nil, 0, ErrTruncated
	}
	protocol := uint16(data[0])
	if protocol&1 != 0 {
		data = data[1:]
	} else {
		protocol = binary.BigEndian.Uint16(data)
		data = data[2:]
	}
	switch protocol {
	case 0x0021:
		return data, layers.LayerTypeIPv4, nil
	case 0x0057:
		return data, layers.LayerTypeIPv6, nil
	case 0x0281, 0x0283:
		return data, layers.LayerTypeMPLS, nil
	}
	return nil, 0, ErrNotIP
}

// pppHDLC is PPP, or Cisco's HDLC, told apart by the first octet: captures of
// LINKTYPE_PPP and LINKTYPE_PPP_HDLC hold both.
func pppHDLC(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) > 0 && (data[0] == 0x0f || data[0] == 0x8f) {
		return chdlc(data)
	}
	return ppp(data)
}

// pppd is PPP with a direction in place of the address octet (LINKTYPE_PPP_PPPD).
func pppd(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 2 {
		return nil, 0, ErrTruncated
	}
	if data[1] == 0x03 {
		return ppp(data[2:])
	}
	return ppp(data[1:])
}

// chdlc is Cisco's HDLC: address, control, an Ethernet type.
func chdlc(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 4 {
		return nil, 0, ErrTruncated
	}
	typ := binary.BigEndian.Uint16(data[2:])
	if typ < 0x0600 {
		return nil, 0, ErrNotIP
	}
	next, err := etherType(typ)
	return data[4:], next, err
}

// frameRelay is a Q.922 address of two to four octets and then RFC 2427's
// encapsulation, or Cisco's, which is an Ethernet type.
func frameRelay(data []byte) ([]byte, gopacket.LayerType, error) {
	n := 0
	for {
		if n == len(data) {
			return nil, 0, ErrTruncated
		}
		n++
		if data[n-1]&1 != 0 { // the last octet of the address
			break
		}
		if n == 4 {
			return nil, 0, ErrMalformed
		}
	}
	data = data[n:]
	if n < 2 {
		return nil, 0, ErrMalformed
	}
	if len(data) < 2 {
		return nil, 0, ErrTruncated
	}
	if data[0] != 3 {
		typ := binary.BigEndian.Uint16(data)
		if typ < 0x0600 {
			return nil, 0, ErrNotIP
		}
		next, err := etherType(typ)
		return data[2:], next, err
	}
	return multiprotocol(data)
}

// multiprotocol is RFC 2427's encapsulation: a control byte, padding to an even byte
// where it is needed, and the NLPID of what follows.
func multiprotocol(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 2 {
		return nil, 0, ErrTruncated
	}
	data = data[1:]
	if data[0] == 0 {
		if data = data[1:]; len(data) == 0 {
			return nil, 0, ErrTruncated
		}
	}
	switch data[0] { // NLPID
	case 0xcc:
		return data[1:], layers.LayerTypeIPv4, nil
	case 0x8e:
		return data[1:], layers.LayerTypeIPv6, nil
	case 0x80:
		return snap(data[1:])
	}
	return nil, 0, ErrNotIP
}

// skip is a header of n octets of which nothing matters.
func skip(n int, next gopacket.LayerType) stripper {
	return func(data []byte) ([]byte, gopacket.LayerType, error) { return behind(data, n, next) }
}

// behind is what lies n octets further on.
func behind(data []byte, n int, next gopacket.LayerType) ([]byte, gopacket.LayerType, error) {
	if len(data) < n {
		return nil, 0, ErrTruncated
	}
	return data[n:], next, nil
}
