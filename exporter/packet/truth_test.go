package packet

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/lab/truth"
)

// tally is what TRUTH.tsv counts of a capture.
type tally struct {
	frames, packets, bytes          uint64
	v4, v6                          uint64
	tcp, udp, icmp, other, fragment uint64
	flows, flowsICMP                uint64
}

// outer is the flow key of TRUTH.tsv: no VLAN, no TOS.
type outer struct {
	src, dst         flow.Addr
	protocol         flow.Protocol
	srcPort, dstPort uint16
	version          uint8
}

func tallyOf(t testing.TB, name string) (n tally, err error) {
	s, err := capture.OpenFile(name)
	if err != nil {
		return n, err
	}
	defer s.Close()
	d := newDecoder(Config{}, true)
	var p Packet
	flows, flowsICMP := map[outer]bool{}, map[outer]bool{}
	for {
		data, ci, err := s.ZeroCopyReadPacketData()
		if err != nil {
			n.flows, n.flowsICMP = uint64(len(flows)), uint64(len(flowsICMP))
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
		if ci.CaptureLength != len(data) || ci.Length < len(data) {
			t.Fatalf("%s: packet of %d octets says it has %d of %d", name, len(data), ci.CaptureLength, ci.Length)
		}
		n.frames++
		if d.Decode(&p, s.LinkType(), data) != nil {
			continue
		}
		n.packets++
		n.bytes += uint64(p.Length)
		if p.IPVersion == 4 {
			n.v4++
		} else {
			n.v6++
		}
		if p.IsFragment() {
			n.fragment++
		}
		k := outer{p.SrcAddr, p.DstAddr, p.Protocol, p.SrcPort, p.DstPort, p.IPVersion}
		flowsICMP[k] = true
		switch p.Protocol {
		case flow.TCP:
			n.tcp++
		case flow.UDP:
			n.udp++
		case flow.ICMP, flow.ICMPv6:
			n.icmp++
			k.dstPort = 0
		default:
			n.other++
		}
		flows[k] = true
	}
}

// Every packet of every capture that two independent readers agree on is found,
// with its octets, its protocol and its flow.
func TestTruth(t *testing.T) {
	rows := truth.Table(t, "TRUTH.tsv")
	checked := 0
	for _, row := range rows {
		if !row.Agreed() {
			continue
		}
		checked++
		n, err := tallyOf(t, truth.Data(t, row["path"]))
		if err != nil {
			t.Errorf("%s: %v", row["path"], err)
		}
		for _, c := range []struct {
			column string
			got    uint64
		}{
			{"frames", n.frames}, {"packets", n.packets}, {"ip_bytes", n.bytes},
			{"v4_packets", n.v4}, {"v6_packets", n.v6}, {"ip_fragments", n.fragment},
			{"tcp", n.tcp}, {"udp", n.udp}, {"icmp_icmpv6", n.icmp}, {"other_proto", n.other},
			{"uni_flows_outer", n.flows}, {"uni_flows_icmp_typecode_as_dport", n.flowsICMP},
		} {
			if want := row.Uint(t, c.column); c.got != want {
				t.Errorf("%s: %s: %d, want %d", row["path"], c.column, c.got, want)
			}
		}
	}
	if checked < 700 {
		t.Errorf("only %d rows were checked", checked)
	}
}

// What the readers do not agree on is read without a failure all the same, but
// for the one capture with a section of a version that does not exist. Where one
// reader did not know the frames, we find the packets and octets of the other;
// FabricPath's it finds in part.
func TestNotAgreed(t *testing.T) {
	rows := truth.Table(t, "TRUTH.tsv")
	for _, row := range rows {
		if row.Agreed() {
			continue
		}
		n, err := tallyOf(t, truth.Data(t, row["path"]))
		if _, notes, ok := strings.Cut(row["notes"], "tshark="); ok && strings.Contains(notes, "does not decode this") && !strings.Contains(row["path"], "fabric-path") {
			if got := fmt.Sprintf("%d/%d/", n.packets, n.bytes); !strings.HasPrefix(notes, got) {
				t.Errorf("%s: %s, want %s", row["path"], got, notes)
			}
		}
		if err != nil && !(errors.Is(err, capture.ErrFormat) && strings.Contains(err.Error(), "version 2.0")) {
			t.Errorf("%s: %v", row["path"], err)
		}
	}
}

// frames calls visit with every frame of the shared captures.
func frames(t *testing.T, visit func(name string, link uint32, frame []byte)) {
	rows := truth.Table(t, "TRUTH.tsv")
	for _, row := range rows {
		s, err := capture.OpenFile(truth.Data(t, row["path"]))
		if err != nil {
			t.Fatal(err)
		}
		for {
			frame, _, err := s.ZeroCopyReadPacketData()
			if err != nil {
				break // TestTruth looks at errors
			}
			visit(row["path"], s.LinkType(), frame)
		}
		s.Close()
	}
}

// A frame cut anywhere gives an error or a part of what the whole one gives,
// never something else and never a panic. The first frames of each capture show
// its kind, and their first 256 octets hold all headers but of the strangest.
func TestCutAnywhere(t *testing.T) {
	d := newDecoder(Config{}, true)
	most := 100
	if testing.Short() {
		most = 10
	}
	last, n := "", 0
	frames(t, func(name string, link uint32, frame []byte) {
		if name != last {
			last, n = name, 0
		}
		if n++; n > most {
			return
		}
		var whole, cut Packet
		wholeErr := d.Decode(&whole, link, frame)
		for length := range min(len(frame), 256) {
			switch err := d.Decode(&cut, link, frame[:length:length]); {
			case err == nil && wholeErr != nil:
				t.Fatalf("%s: frame %d cut at %d gives a packet, whole %v", name, n, length, wholeErr)
			case err == nil && (cut.SrcAddr != whole.SrcAddr || cut.DstAddr != whole.DstAddr ||
				cut.Length != whole.Length || cut.VLAN != whole.VLAN || cut.Offset != whole.Offset ||
				cut.TCPFlags&^whole.TCPFlags != 0 ||
				cut.SrcPort != 0 && cut.SrcPort != whole.SrcPort ||
				cut.DstPort != 0 && cut.DstPort != whole.DstPort):
				t.Fatalf("%s: frame %d cut at %d gives %+v, whole %+v", name, n, length, cut, whole)
			case err != nil && wholeErr == nil && err != ErrTruncated:
				t.Fatalf("%s: frame %d cut at %d: %v, whole no error", name, n, length, err)
			}
		}
	})
}
