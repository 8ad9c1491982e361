package meter

import (
	"fmt"
	"net/netip"
	"testing"

	"flowtally/exporter/packet"
	"flowtally/flow"

	"github.com/google/go-cmp/cmp"
)

// pkt returns a TCP packet of 100 octets of the flow with the given source port.
func pkt(port uint16, flags flow.TCPFlags) *packet.Packet {
	return &packet.Packet{
		Key: flow.Key{
			SrcAddr: flow.AddrFrom(netip.MustParseAddr("192.0.2.1")),
			DstAddr: flow.AddrFrom(netip.MustParseAddr("198.51.100.2")),
			SrcPort: port, DstPort: 80, IPVersion: 4, Protocol: flow.TCP,
		},
		Length:   100,
		TCPFlags: flags,
	}
}

// said is a record in short: "port start-end packets reason", times in seconds
// after t0.
const t0 = 1_700_000_000 * flow.Second

func said(recs []flow.Record) []string {
	var out []string
	for _, r := range recs {
		out = append(out, fmt.Sprintf("%d %g-%g %d %v",
			r.SrcPort, float64(r.Start-t0)/1000, float64(r.End-t0)/1000, r.Packets, r.EndReason))
	}
	return out
}

func at(seconds float64) flow.Time { return t0 + flow.Time(seconds*1000) }

// TestWhenAFlowEnds holds each rule of the package's comment by an example.
func TestWhenAFlowEnds(t *testing.T) {
	type step struct {
		at     float64
		port   uint16 // 0: Expire
		flags  flow.TCPFlags
		flush  bool
		expect []string
	}
	const a, b = 1, 2
	tests := []struct {
		name  string
		max   int
		steps []step
	}{
		{"idle", 0, []step{
			{at: 0, port: a}, {at: 59.999},
			{at: 59.999, port: a}, {at: 119.998},
			{at: 119.999, expect: []string{"1 0-59.999 2 idle timeout"}},
		}},
		{"idle_found_by_the_next_packet", 0, []step{
			{at: 0, port: a},
			{at: 60, port: a, expect: []string{"1 0-0 1 idle timeout"}},
			{at: 100, flush: true, expect: []string{"1 60-60 1 forced end"}},
		}},
		{"active", 0, []step{
			{at: 0, port: a}, {at: 50, port: a}, {at: 100, port: a}, {at: 150, port: a},
			{at: 200, port: a}, {at: 250, port: a}, {at: 299.999, port: a},
			{at: 300, expect: []string{"1 0-299.999 7 active timeout"}},
		}},
		{"active_found_by_the_next_packet", 0, []step{
			{at: 0, port: a}, {at: 50, port: a}, {at: 100, port: a}, {at: 150, port: a},
			{at: 200, port: a}, {at: 250, port: a},
			{at: 305, port: a, expect: []string{"1 0-250 6 active timeout"}},
			{at: 306, flush: true, expect: []string{"1 305-305 1 forced end"}},
		}},
		{"expiry_in_the_order_of_due_times", 0, []step{
			{at: 0, port: 10}, {at: 1, port: 11}, {at: 2, port: 12}, {at: 3, port: 10},
			{at: 4, port: 13, flags: flow.FIN}, {at: 5, port: 14},
			{at: 1e6, expect: []string{
				"13 4-4 1 end of flow", "11 1-1 1 idle timeout", "12 2-2 1 idle timeout",
				"10 0-3 2 idle timeout", "14 5-5 1 idle timeout",
			}},
		}},
		{"fin_lingers", 0, []step{
			{at: 0, port: a, flags: flow.SYN}, {at: 1, port: a, flags: flow.FIN | flow.ACK},
			{at: 3, port: a, flags: flow.ACK}, {at: 5.999},
			{at: 6, expect: []string{"1 0-3 3 end of flow"}},
		}},
		{"second_fin_does_not_prolong", 0, []step{
			{at: 1, port: a, flags: flow.FIN}, {at: 5, port: a, flags: flow.FIN},
			{at: 6, port: a, flags: flow.ACK, expect: []string{"1 1-5 2 end of flow"}},
		}},
		{"rst_lingers", 0, []step{
			{at: 0, port: a, flags: flow.SYN}, {at: 2, port: a, flags: flow.RST},
			{at: 8, expect: []string{"1 0-2 2 end of flow"}},
		}},
		{"syn_reopens", 0, []step{
			{at: 0, port: a, flags: flow.FIN},
			{at: 2, port: a, flags: flow.SYN, expect: []string{"1 0-0 1 end of flow"}},
			{at: 20},
			{at: 62, expect: []string{"1 2-2 1 idle timeout"}},
		}},
		{"syn_ack_does_not_reopen", 0, []step{
			{at: 0, port: a, flags: flow.FIN},
			{at: 2, port: a, flags: flow.SYN | flow.ACK},
			{at: 5, expect: []string{"1 0-2 2 end of flow"}},
		}},
		{"syn_fin_ends_and_begins", 0, []step{
			{at: 0, port: a, flags: flow.FIN},
			{at: 2, port: a, flags: flow.SYN | flow.FIN, expect: []string{"1 0-0 1 end of flow"}},
			{at: 7, expect: []string{"1 2-2 1 end of flow"}},
		}},
		{"fin_after_the_active_timeout_would_be_due", 0, []step{
			{at: 0, port: a}, {at: 59, port: a}, {at: 118, port: a}, {at: 177, port: a},
			{at: 236, port: a}, {at: 295, port: a}, {at: 299, port: a, flags: flow.FIN},
			{at: 300, expect: []string{"1 0-299 7 active timeout"}},
		}},
		{"full_cache_evicts_what_is_due_first", 2, []step{
			{at: 0, port: a}, {at: 1, port: b}, {at: 2, port: a},
			{at: 3, port: 3, expect: []string{"2 1-1 1 lack of resources"}},
			{at: 4, flush: true, expect: []string{"1 0-2 2 forced end", "3 3-3 1 forced end"}},
		}},
		{"full_cache_with_one_overdue", 2, []step{
			{at: 0, port: a}, {at: 30, port: b},
			{at: 70, port: 3, expect: []string{"1 0-0 1 idle timeout"}},
		}},
		{"backward_packet_counts", 0, []step{
			{at: 10, port: a}, {at: 4, port: a},
			{at: 69.999}, {at: 70, expect: []string{"1 4-10 2 idle timeout"}},
		}},
		{"backward_packet_does_not_turn_the_clock", 0, []step{
			{at: 100, port: a}, {at: 10, port: b}, {at: 101, port: a}, {at: 50},
			{at: 161, expect: []string{"2 10-10 1 idle timeout", "1 100-101 2 idle timeout"}},
		}},
		{"backward_too_far_starts_a_new_flow", 0, []step{
			{at: 1000, port: a},
			{at: 699, port: a, expect: []string{"1 1000-1000 1 active timeout"}},
			{at: 700, port: a},
			{at: 1100, expect: []string{"1 699-700 2 idle timeout"}},
		}},
		{"one_timestamp_from_the_future_joins_nothing", 0, []step{
			{at: 0, port: a}, {at: 1e6, port: b},
			{at: 1, port: a, expect: []string{"1 0-0 1 idle timeout"}},
			{at: 60.999, port: a},
			{at: 121, port: a, expect: []string{"1 1-60.999 2 idle timeout"}},
			{at: 122, port: a, flags: flow.FIN},
			{at: 126.999, port: a, flags: flow.ACK},
			{at: 132, port: a, expect: []string{"1 121-126.999 3 end of flow"}},
		}},
		{"gap_of_thirty_years", 0, []step{
			{at: 0, port: a}, {at: 1, port: b, flags: flow.RST},
			{at: 946_080_000, port: a, expect: []string{"1 0-0 1 idle timeout"}},
			{at: 946_080_001, expect: []string{"2 1-1 1 end of flow"}},
			{at: 946_080_060, expect: []string{"1 9.4608e+08-9.4608e+08 1 idle timeout"}},
		}},
		{"flush_tells_due_from_forced", 0, []step{
			{at: 0, port: a}, {at: 61, port: b},
			{at: 61, flush: true, expect: []string{"1 0-0 1 idle timeout", "2 61-61 1 forced end"}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := New(Config{MaxFlows: max(tt.max, 0) + btoi(tt.max == 0)*100})
			for i, s := range tt.steps {
				var got []flow.Record
				switch {
				case s.flush:
					got = p.Flush(nil)
				case s.port != 0:
					got = p.Observe(nil, pkt(s.port, s.flags), at(s.at))
				default:
					got = p.Expire(nil, at(s.at))
				}
				if diff := cmp.Diff(s.expect, said(got)); diff != "" {
					t.Fatalf("step %d: records differ (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestRecord holds what a record carries.
func TestRecord(t *testing.T) {
	p := New(Config{MaxFlows: 10})
	first := pkt(1, flow.SYN)
	first.TOS, first.VLAN, first.InIf = 0x10, 7, 3
	second := *first
	second.TCPFlags, second.Length = flow.ACK|flow.PSH, 1<<31
	var got []flow.Record
	got = p.Observe(got, first, at(0))
	for range 4 {
		got = p.Observe(got, &second, at(1.5))
	}
	got = p.Flush(got)
	want := []flow.Record{{
		Start: at(0), End: at(1.5), Packets: 5, Bytes: 4<<31 + 100,
		Key: first.Key, TCPFlags: flow.SYN | flow.ACK | flow.PSH, EndReason: flow.EndForced,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
}

// TestStrangeTimes: no timestamp, however strange, upsets the order of things.
func TestStrangeTimes(t *testing.T) {
	for _, now := range []flow.Time{-1 << 63, -1, 0, 1, MaxTime - 1, MaxTime, 1<<63 - 1} {
		p := New(Config{MaxFlows: 10})
		got := p.Observe(nil, pkt(1, 0), now)
		got = p.Observe(got, pkt(1, 0), at(0))
		got = p.Observe(got, pkt(2, 0), now)
		got = p.Expire(got, now)
		got = p.Flush(got)
		var packets uint64
		for _, r := range got {
			packets += r.Packets
		}
		if packets != 3 || p.Stats().Live != 0 {
			t.Errorf("at %d: %d packets in %d records, %d flows left", now, packets, len(got), p.Stats().Live)
		}
	}
}

func TestFragmentsHaveThePortsOfTheirFirst(t *testing.T) {
	frag := func(id uint32, offset uint16, more bool) *packet.Packet {
		k := pkt(5, 0)
		k.Protocol = flow.UDP
		k.FragID, k.FragOffset, k.MoreFragments = id, offset, more
		if offset != 0 {
			k.SrcPort, k.DstPort = 0, 0
		}
		return k
	}
	frag6 := func(id uint32, offset uint16, more bool, protocol flow.Protocol) *packet.Packet {
		k := frag(id, offset, more)
		k.IPVersion, k.Protocol = 6, protocol
		return k
	}
	const destOpts = 60
	tests := []struct {
		name    string
		packets []*packet.Packet
		after   flow.Time // between the packets
		want    []string
		unknown uint64
	}{
		{"in_order", []*packet.Packet{frag(1, 0, true), frag(1, 1480, true), frag(1, 2960, false)}, 0,
			[]string{"5 0-0 3 forced end"}, 0},
		{"ipv6_options_before_the_transport", []*packet.Packet{frag6(1, 0, true, flow.UDP), frag6(1, 1448, false, destOpts)}, 0,
			[]string{"5 0-0 2 forced end"}, 0},
		{"last_before_first", []*packet.Packet{frag(1, 1480, false), frag(1, 0, true)}, 0,
			[]string{"0 0-0 1 forced end", "5 0-0 1 forced end"}, 1},
		{"another_datagram", []*packet.Packet{frag(1, 0, true), frag(2, 1480, false)}, 0,
			[]string{"5 0-0 1 forced end", "0 0-0 1 forced end"}, 1},
		{"in_time", []*packet.Packet{frag(1, 0, true), frag(1, 1480, false)}, 14 * flow.Second,
			[]string{"5 0-14 2 forced end"}, 0},
		{"too_late", []*packet.Packet{frag(1, 0, true), frag(1, 1480, false)}, 15 * flow.Second,
			[]string{"5 0-0 1 forced end", "0 15-15 1 forced end"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := New(Config{MaxFlows: 10})
			for i, k := range tt.packets {
				p.Observe(nil, k, at(0)+tt.after*flow.Time(i))
			}
			got := map[string]bool{}
			for _, s := range said(p.Flush(nil)) {
				got[s] = true
			}
			want := map[string]bool{}
			for _, s := range tt.want {
				want[s] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
			if n := p.Stats().FragmentsUnknown; n != tt.unknown {
				t.Errorf("%d fragments unknown, want %d", n, tt.unknown)
			}
		})
	}
}
