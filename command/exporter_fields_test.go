package command

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"flowtally/flow"
	"flowtally/netflow"
)

// tagged is a capture of one UDP packet with two VLAN tags.
func tagged(t *testing.T) string {
	t.Helper()
	frame := gopacket.NewSerializeBuffer()
	ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
	udp := &layers.UDP{SrcPort: 1, DstPort: 2}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	err := gopacket.SerializeLayers(frame, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}, DstMAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 2}, EthernetType: layers.EthernetTypeQinQ},
		&layers.Dot1Q{VLANIdentifier: 100, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload("hello"))
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(frame.Bytes()), Length: len(frame.Bytes())}, frame.Bytes()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "tagged.pcap")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// --fields mac,vlan, in one word or two, has both groups sent in v9 and IPFIX, and our
// decoder has them: MAC addresses by IANA's names, the outer VLAN as every flow has it, the
// inner one beside.
func TestFieldsWithCommas(t *testing.T) {
	name := tagged(t)
	for _, args := range [][]string{{"-v", "ipfix", "--fields", "mac,vlan"}, {"-v", "netflow9", "--fields", "mac", "--fields", "vlan"}} {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		status, _, stderr := flowtally(t, append([]string{"exporter", "-r", name, "-n", conn.LocalAddr().String()}, args...)...)
		if status != 0 {
			t.Fatalf("%q: status %d, %s", args, status, stderr)
		}
		d := netflow.NewDecoder(netflow.Limits{})
		var got []flow.Record
		b := make([]byte, 65536)
		for len(got) == 0 {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				t.Fatalf("%q: no flow came: %v", args, err)
			}
			var m netflow.Message
			if got, err = d.Decode(got, &m, from, flow.TimeOf(time.Now()), b[:n]); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
		var extra struct {
			Src   string `json:"sourceMacAddress"`
			Dst   string `json:"destinationMacAddress"`
			Inner any    `json:"dot1qCustomerVlanId"`
		}
		if err := json.Unmarshal(got[0].Extra, &extra); err != nil {
			t.Fatalf("%q: %v in %s", args, err, got[0].Extra)
		}
		if got[0].VLAN != 100 || extra.Src != "00:00:5e:00:53:01" || extra.Dst != "00:00:5e:00:53:02" || extra.Inner != 7.0 {
			t.Errorf("%q: VLAN %d, %s", args, got[0].VLAN, got[0].Extra)
		}
	}
}
