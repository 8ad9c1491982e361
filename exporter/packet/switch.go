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
