package packet

import (
	"encoding/binary"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// hsr is the tag of a ring whose frames go both ways (IEC 62439-3): path, size and
// sequence. What of PRP is at the end of a frame nobody needs to look at.
func hsr(data []byte) ([]byte, gopacket.LayerType, error) { return tagThenType(data, 4) }

// eTag is the tag of a port extender (IEEE 802.1BR).
func eTag(data []byte) ([]byte, gopacket.LayerType, error) { return tagThenType(data, 6) }

// addresses is how many bytes the two addresses of an Ethernet frame take.
const addresses = 12

// broadcom is an Ethernet frame with Broadcom's tag of four bytes behind the addresses,
// as a switch chip exchanges it with its processor.
func broadcom(data []byte) ([]byte, gopacket.LayerType, error) {
	return tagThenType(data, addresses+4)
}

// dsa is one with Marvell's tag there (Distributed Switch Architecture).
func dsa(data []byte) ([]byte, gopacket.LayerType, error) { return tagThenType(data, addresses+4) }

// edsa is the same tag behind an Ethernet type and two bytes of nothing.
func edsa(data []byte) ([]byte, gopacket.LayerType, error) { return tagThenType(data, 6) }

// switched notes what else there is in a frame or a tag of a switch chip: the
// addresses, and the VLAN of a frame whose own tag Marvell's took the place of.
func (d *Decoder) switched(typ gopacket.LayerType, data []byte) {
	const tagged = 0x20
	at := addresses
	if typ == typeEDSA {
		at = 2
	}
	if len(data) < at+4 {
		return
	}
	if typ != typeEDSA && d.config.Details {
		d.details.DstMAC, d.details.SrcMAC = [6]byte(data), [6]byte(data[6:])
	}
	if typ != typeBroadcom && data[at]&tagged != 0 && !d.tagged {
		d.tagged = true
		d.pkt.VLAN = binary.BigEndian.Uint16(data[at+2:]) & 0x0fff
	}
}

// mPacket is a frame as it is on a wire where frames interrupt each other (IEEE 802.3br
// §99.3): a preamble, and a delimiter that says what begins. What goes on with an
// interrupted frame, or asks whether that is understood, is none that can be read.
func mPacket(data []byte) ([]byte, gopacket.LayerType, error) {
	const preamble, most = 0x55, 7
	n := 0
	for n < min(most, len(data)) && data[n] == preamble {
		n++
	}
	if n == len(data) {
		return nil, 0, ErrTruncated
	}
	switch data[n] {
	case 0xd5, 0xe6, 0x4c, 0x7f, 0xb3: // a whole frame, or the beginning of one
		return data[n+1:], layers.LayerTypeEthernet, nil
	}
	return nil, 0, ErrNotIP
}

// ipnet is what Solaris puts in front of the packets of its IP observability devices.
func ipnet(data []byte) ([]byte, gopacket.LayerType, error) {
	const length = 24
	if len(data) < length {
		return nil, 0, ErrTruncated
	}
	switch data[1] { // Solaris' address families
	case 2:
		return data[length:], layers.LayerTypeIPv4, nil
	case 26:
		return data[length:], layers.LayerTypeIPv6, nil
	}
	return nil, 0, ErrNotIP
}

// arista is a time that Arista's switches put into mirrored frames: subtype 1,
// version, and six or eight octets of time in front of the Ethernet type.
func arista(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 4 {
		return nil, 0, ErrTruncated
	}
	if binary.BigEndian.Uint16(data) != 1 {
		return nil, 0, ErrNotIP
	}
	switch data[3] {
	case 0x10:
		return tagThenType(data, 12)
	case 0x20:
		return tagThenType(data, 10)
	}
	return nil, 0, ErrNotIP
}

// vnTag is Cisco's tag of a virtual interface (IEEE 802.1BR's forerunner).
func vnTag(data []byte) ([]byte, gopacket.LayerType, error) {
	return tagThenType(data, 4)
}

// metadata is Cisco's, which carries a security group.
func metadata(data []byte) ([]byte, gopacket.LayerType, error) { return tagThenType(data, 6) }

// tagThenType is a tag of n octets and an Ethernet type.
func tagThenType(data []byte, n int) ([]byte, gopacket.LayerType, error) {
	if len(data) < n+2 {
		return nil, 0, ErrTruncated
	}
	next, err := etherType(binary.BigEndian.Uint16(data[n:]))
	return data[n+2:], next, err
}

// macSec is a MACsec SecTAG (IEEE 802.1AE §9.3); only frames that are not
// encrypted can be read.
func macSec(data []byte) ([]byte, gopacket.LayerType, error) {
	const explicit, encrypted, changed = 0x20, 0x08, 0x04
	if len(data) < 6 {
		return nil, 0, ErrTruncated
	}
	switch {
	case data[0]&(encrypted|changed) != 0:
		return nil, 0, ErrNotIP
	case data[0]&explicit != 0:
		return tagThenType(data, 14)
	}
	return tagThenType(data, 6)
}

// nsh is a Network Service Header (RFC 8300 §2.2).
func nsh(data []byte) ([]byte, gopacket.LayerType, error) {
	if len(data) < 8 {
		return nil, 0, ErrTruncated
	}
	n := int(data[1]&0x3f) * 4
	if n < 8 {
		return nil, 0, ErrMalformed
	}
	if len(data) < n {
		return nil, 0, ErrTruncated
	}
	next := data[3]
	data = data[n:]
	switch next {
	case 1:
		return data, layers.LayerTypeIPv4, nil
	case 2:
		return data, layers.LayerTypeIPv6, nil
	case 3:
		return data, layers.LayerTypeEthernet, nil
	case 4:
		return data, typeNSH, nil
	case 5:
		return data, layers.LayerTypeMPLS, nil
	}
	return nil, 0, ErrNotIP
}
