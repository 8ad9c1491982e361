package packet

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"flowtally/flow"
)

// Layer types of our own, beside gopacket's. They are not in its registry: the
// parser only compares the numbers, and 1000 to 1999 are left to applications.
const (
	typeRawIP gopacket.LayerType = 1700 + iota
	typeSLL2
	typeCHDLC
	typeFrameRelay
	typePPPHDLC
	typePPPD
	typePFLog
	typePBB
	typeNSH
	typeVNTag
	typeMACsec
	typeFabricPath
	typeArista
	typeMetadata
	typeIPoIB
	typePKTAP
	typePPI
	typeEnc
	typeSunATM
	typeFireWire
	typeDirectionPPP
	typeDirectionCHDLC
	typeDirectionRelay
	typeTokenRing
	typePrism
	typeAVS
	typeNFLog
	typeDot11Padded
	typeAMSDU
	typeHSR
	typeETag
	typeDSA
	typeEDSA
	typeBroadcom
	typeBroadcomFront
	typeMPacket
	typeIPNet
)

// linkTypes maps the LINKTYPE_ numbers that are understood to the layer a frame
// begins with. 12 and 14 are the numbers of raw IP on BSD systems, which write
// them into files.
var linkTypes = map[uint32]gopacket.LayerType{
	0:   layers.LayerTypeLoopback,
	1:   layers.LayerTypeEthernet,
	9:   typePPPHDLC,
	10:  layers.LayerTypeFDDI,
	12:  typeRawIP,
	14:  typeRawIP,
	50:  typePPPHDLC,
	51:  layers.LayerTypePPPoE,
	101: typeRawIP,
	104: typeCHDLC,
	105: layers.LayerTypeDot11,
	107: typeFrameRelay,
	108: layers.LayerTypeLoopback,
	113: layers.LayerTypeLinuxSLL,
	117: typePFLog,
	127: layers.LayerTypeRadioTap,
	166: typePPPD,
	228: layers.LayerTypeIPv4,
	229: layers.LayerTypeIPv6,
	276: typeSLL2,

	// Rarer ones.
	6:   typeTokenRing,
	100: layers.LayerTypeLLC, // RFC 1483
	109: typeEnc,
	119: typePrism,
	123: typeSunATM,
	138: typeFireWire,
	149: typePKTAP, // before it had a number of its own
	163: typeAVS,
	192: typePPI,
	204: typeDirectionPPP,
	205: typeDirectionCHDLC,
	206: typeDirectionRelay,
	219: layers.LayerTypeMPLS,
	226: typeIPNet,
	239: typeNFLog,
	242: typeIPoIB,
	258: typePKTAP,
	274: typeMPacket,
	281: typeBroadcom,
	282: typeBroadcomFront,
	284: typeDSA,
	285: layers.LayerTypeEthernet, // with EDSA's Ethernet type

	130: juniperLayer(130),
	131: juniperLayer(131),
	132: juniperLayer(132),
	133: juniperLayer(133),
	134: juniperLayer(134),
	135: juniperLayer(135),
	136: juniperLayer(136),
	137: juniperLayer(137),
	164: juniperLayer(164),
	167: juniperLayer(167),
	168: juniperLayer(168),
	178: juniperLayer(178),
	179: juniperLayer(179),
	180: juniperLayer(180),
	181: juniperLayer(181),

	linkMPLS:  layers.LayerTypeMPLS,
	linkDot1Q: layers.LayerTypeDot1Q,
	linkNSH:   typeNSH,
	linkPBB:   typePBB,
	linkAMSDU: typeAMSDU,
}

// Decoder reads packets. It is for one goroutine: the layers that it decodes
// into are its own and used again for every packet.
//
// Ethernet and 802.1Q headers are decoded by gopacket's layers. The others of
// gopacket 1.1.19 panic on short frames (PPP, PPPoE, MPLS, Linux cooked), refuse
// headers that hosts accept (IPv4 with an option of two octets or a total length
// of 0, IPv6 without a payload, TCP cut behind its ports by the snap length), or
// take a later IPv6 fragment for TCP; those are ours, in the same parser.
type Decoder struct {
	config Config
	plain  bool // the zero Config

	pkt     Packet
	frame   []byte // the frame being decoded
	payload []byte // of its IP packet
	tagged  bool   // pkt.VLAN is set
	found   bool   // an IP header was read

	whole   []byte // the frame that Decode was given
	more    []byte // of it, the packets that lie behind the one given
	moreCap int    // of the frame that they are of
	details flow.Details

	link    uint32 // the link type that current is for
	current *gopacket.DecodingLayerParser
	parsers map[uint32]*gopacket.DecodingLayerParser
	decoded []gopacket.LayerType
}

// Config says what a Decoder does beyond reading the outermost IP header.
type Config struct {
	// Tunnels says which packets count: the outermost one of a frame, the
	// innermost one, or both.
	Tunnels Tunnels
	// Details asks for Packet.Details.
	Details bool
}

// NewDecoder returns a Decoder with the zero Config.
func NewDecoder() *Decoder { return Config{}.Decoder() }

// Decoder returns a Decoder that does as c says.
func (c Config) Decoder() *Decoder { return newDecoder(c, false) }

// newDecoder returns a Decoder that lets a panic of a layer through if so told,
// for tests that want to see it.
func newDecoder(c Config, ignorePanic bool) *Decoder {
	d := &Decoder{
		config:  c,
		plain:   c == Config{},
		parsers: make(map[uint32]*gopacket.DecodingLayerParser, len(linkTypes)),
		decoded: make([]gopacket.LayerType, 0, 16),
	}
	// The container is searched in order, so what is frequent comes first.
	var container gopacket.DecodingLayerContainer = gopacket.DecodingLayerArray(nil)
	for _, l := range []gopacket.DecodingLayer{
		&ipv4{layer: layer{typ: layers.LayerTypeIPv4}, d: d},
		&dot1q{d: d},
		&ipv6{layer: layer{typ: layers.LayerTypeIPv6}, d: d},
		&ethernet{d: d},
	} {
		container = container.Put(l)
	}
	for typ, strip := range envelopes {
		container = container.Put(&envelope{layer: layer{typ: typ}, d: d, strip: strip})
	}
	for link, first := range linkTypes {
		p := gopacket.NewDecodingLayerParser(first)
		p.SetDecodingLayerContainer(container)
		p.IgnoreUnsupported = true
		p.IgnorePanic = ignorePanic
		d.parsers[link] = p
	}
	return d
}

// Decode reads the frame in data, of link type link (a LINKTYPE_ number), into
// p, which it sets wholly. The error is nil or one of ErrNotIP, ErrTruncated,
// ErrMalformed and ErrLinkType, themselves, so that they compare with ==; p is
// then left as it was. Nothing of data is looked at later, but by Inner.
//
// A Decoder of Inner gives the innermost packet that can be read: what a tunnel
// carries and cannot be read (ARP in VXLAN, a frame cut short) leaves the
// tunnel's own packet to be counted, so each frame with an IP packet gives one.
//
// A frame of the air may hold several packets (an A-MSDU); More gives the others.
func (d *Decoder) Decode(p *Packet, link uint32, data []byte) error {
	if d.more != nil {
		d.more = nil
	}
	if d.plain {
		if _, ok := common(p, link, data); ok {
			return nil
		}
		return d.layers(p, link, data)
	}
	return d.configured(p, link, data)
}

// configured decodes as the Config says.
func (d *Decoder) configured(p *Packet, link uint32, data []byte) error {
	d.whole, d.payload, d.details = data, nil, flow.Details{}
	payload, ok := common(p, link, data)
	if ok {
		d.payload = payload
		d.note(link, data)
	} else if err := d.layers(p, link, data); err != nil {
		d.payload = nil
		return err
	}
	if d.config.Details {
		p.Details = &d.details
	}
	if d.config.Tunnels == Inner {
		d.innermost(p)
	}
	return nil
}

// More gives the next packet of the frame that Decode was given, as Decode gives the
// first, with an error of its own, and reports whether there was one to look at. It
// wants the frame's octets as they were.
func (d *Decoder) More(p *Packet) (more bool, err error) {
	if d.more == nil {
		return false, nil
	}
	data, frame := d.more, d.moreCap
	d.more = nil
	if d.plain {
		err = d.layers(p, linkAMSDU, data)
	} else {
		err = d.configured(p, linkAMSDU, data)
	}
	if err == nil {
		p.Offset += uint32(frame - cap(data))
	}
	d.moreCap = frame
	return true, err
}

// layers decodes by the parser of the link type.
func (d *Decoder) layers(p *Packet, link uint32, data []byte) error {
	if d.current == nil || link != d.link {
		parser := d.parsers[link]
		if parser == nil {
			return ErrLinkType
		}
		d.link, d.current = link, parser
	}
	d.pkt, d.frame, d.payload, d.tagged, d.found = Packet{}, data, nil, false, false
	err := d.current.DecodeLayers(data, &d.decoded)
	d.frame = nil
	switch err {
	case nil:
		if !d.found {
			// The parser stops without a word where a layer has no payload.
			return ErrTruncated
		}
		*p = d.pkt
		return nil
	case ErrNotIP, ErrTruncated, ErrMalformed, ErrLinkType:
		return err
	}
	// The parser turns a panic of a layer into an error. No frame is known that
	// causes one; it would be a malformed one.
	return ErrMalformed
}

// layer is what our own DecodingLayers have in common: all but the decoding.
type layer struct {
	typ, next gopacket.LayerType
	payload   []byte
}

func (l *layer) CanDecode() gopacket.LayerClass    { return l.typ }
func (l *layer) NextLayerType() gopacket.LayerType { return l.next }
func (l *layer) LayerPayload() []byte              { return l.payload }
