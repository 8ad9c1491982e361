package exporter

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
	"flowtally/lab/truth"
)

// TestECN: an ECN connection is one flow a direction (RFC 3168: its SYN and its
// pure acknowledgements are not ECT, its data is, or says CE), which has the TOS of
// its first packet and ends with its FIN. The DSCP tells flows apart only when asked
// to; ECN never does.
func TestECN(t *testing.T) {
	type tos struct{ v, flags byte }
	const syn, ack, fin, ece, cwr = 2, 16, 17, 0x40, 0x80
	for _, tt := range []struct {
		name string
		key  uint8
		tos  []tos
		want []uint8 // the TOS of each record
	}{
		{"ecn", 0, []tos{{0, syn | ece | cwr}, {0, ack}, {2, ack}, {3, ack}, {1, ack}, {0, fin}}, []uint8{0}},
		{"ecn_in_the_first", 0, []tos{{0xb9, ack}, {0xb8, ack}, {0xbb, fin}}, []uint8{0xb9}},
		{"dscp", 0, []tos{{0x10, syn}, {0xb8, ack}, {0, fin}}, []uint8{0x10}},
		{"key_ecn", meter.DSCP, []tos{{0, syn}, {2, ack}, {3, ack}}, []uint8{0}},
		{"key_dscp", meter.DSCP, []tos{{0x13, syn}, {0xb8, ack}, {0x10, ack}, {0xba, fin}}, []uint8{0x13, 0xb8}},
		{"key_of_more_than_dscp", 0xff, []tos{{0, syn}, {2, ack}}, []uint8{0}},
	} {
		for _, six := range []bool{false, true} {
			var packets []capture.Packet
			for i, p := range tt.tos {
				segment := make([]byte, 20)
				segment[1], segment[3], segment[12], segment[13] = 80, 81, 0x50, p.flags
				data := ipv4("10.0.0.1", "10.0.0.2", uint16(i+1), 0, 6, segment)
				data[1] = p.v
				data = framed(data)
				if six {
					header := make([]byte, 40)
					header[0], header[1] = 0x60|p.v>>4, p.v<<4
					header[5], header[6], header[7] = byte(len(segment)), 6, 64
					data = append(append(make([]byte, 12), 0x86, 0xdd), append(header, segment...)...)
				}
				packets = append(packets, capture.Packet{Time: t0.UnixNano() + int64(i)*1e6, Data: data})
			}
			recs, _ := recordsOf(t, newList(packets...), Config{Meter: meter.Config{MaxFlows: 16, KeyTOS: tt.key}}, 1, nil)
			var got []uint8
			for _, r := range recs {
				got = append(got, r.TOS)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s, IPv6 %v: records of TOS %#x, want %#x", tt.name, six, got, tt.want)
			}
		}
	}
}

// TestFlowsOfTruth: without timeouts a flow is what TRUTH.tsv says it is: two
// addresses, a protocol and two ports, or ICMP's type and code. Left out are
// captures with what is in our key or ends a flow, and not in that one: VLANs,
// fragments, ports used again after FIN or RST, a conversation over several
// interfaces of a file, and those that last longer than a flow may.
func TestFlowsOfTruth(t *testing.T) {
	checked, out := 0, 0
	for _, row := range truth.Table(t, "TRUTH.tsv") {
		if !row.Agreed() {
			continue
		}
		name := truth.Data(t, row["path"])
		why := beyondTruth(t, name)
		if why != "" {
			out++
			continue
		}
		src, err := capture.OpenFile(name)
		if err != nil {
			continue // TestTruth looks at errors
		}
		recs, _ := recordsOf(t, src, Config{Meter: meter.Config{
			ActiveTimeout: flow.MaxDuration, IdleTimeout: flow.MaxDuration, Linger: flow.MaxDuration, MaxFlows: 1 << 16,
		}}, 1, nil)
		src.Close()
		checked++
		if want := row.Uint(t, "uni_flows_icmp_typecode_as_dport"); uint64(len(recs)) != want {
			t.Errorf("%s: %d flows, want %d", row["path"], len(recs), want)
		}
	}
	t.Logf("%d captures, %d left out", checked, out)
	if checked < 500 {
		t.Errorf("only %d captures were checked", checked)
	}
}

// beyondTruth returns why TRUTH.tsv's flows of a capture are not ours, or nothing.
func beyondTruth(t *testing.T, name string) string {
	src, err := capture.OpenFile(name)
	if err != nil {
		return err.Error()
	}
	defer src.Close()
	d := packet.NewDecoder()
	closed := map[flow.Key]bool{}
	interfaces := map[flow.Key]int{}
	var first, last time.Time
	for {
		data, ci, err := src.ZeroCopyReadPacketData()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Logf("%s: %v", name, err)
			}
			return ""
		}
		var p packet.Packet
		if d.Decode(&p, src.LinkType(), data) != nil {
			continue
		}
		if first.IsZero() {
			first, last = ci.Timestamp, ci.Timestamp
		}
		if ci.Timestamp.Before(first) {
			first = ci.Timestamp
		}
		if ci.Timestamp.After(last) {
			last = ci.Timestamp
		}
		key := p.Key
		key.TOS, key.InIf, key.OutIf = 0, 0, 0
		was, seen := interfaces[key]
		interfaces[key] = ci.InterfaceIndex
		switch {
		case p.VLAN != 0:
			return "a VLAN"
		case p.IsFragment():
			return "a fragment"
		case seen && was != ci.InterfaceIndex:
			return "a conversation over several interfaces"
		case closed[key] && p.TCPFlags&(flow.SYN|flow.ACK) == flow.SYN:
			return "ports used again"
		case last.Sub(first) > time.Duration(flow.MaxDuration)*time.Millisecond/2:
			return "lasts too long"
		}
		if p.TCPFlags&(flow.FIN|flow.RST) != 0 {
			closed[key] = true
		}
	}
}
