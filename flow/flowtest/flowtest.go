// Package flowtest has records for tests.
package flowtest

import (
	"flowtally/flow"
)

// Records are records that take every path through appendRow but that of JSON which
// has to be cleaned.
var Records = func() []flow.Record {
	key := flow.Key{
		IPVersion: 4, Protocol: flow.TCP, SrcPort: 40000, DstPort: 443, InIf: 3,
		SrcAddr: flow.Addr4([4]byte{10, 0, 0, 1}), DstAddr: flow.Addr4([4]byte{192, 0, 2, 1}),
	}
	tcp := flow.Record{Start: 1_763_726_400_000, End: 1_763_726_410_000, Received: 1_763_726_411_000, Packets: 3, Bytes: 1500, Exporter: 7, Key: key}
	icmp6 := tcp
	icmp6.IPVersion, icmp6.Protocol, icmp6.DstPort, icmp6.VLAN, icmp6.OutIf = 6, flow.ICMPv6, 128<<8, 12, 4
	icmp6.NextHop, icmp6.SrcAS, icmp6.DstAS, icmp6.SamplingRate = icmp6.DstAddr, 64512, 64513, 1000
	icmp6.EndReason, icmp6.Direction, icmp6.SrcMask, icmp6.DstMask = flow.EndIdleTimeout, 2, 64, 48
	huge := tcp
	huge.Packets, huge.Bytes, huge.SamplingRate, huge.NextHop = 1<<63, 1<<63, 1<<31, flow.Addr{15: 1}
	none := flow.Record{Start: 1, End: 1, Received: 1}
	extra := tcp
	extra.Extra = []byte(`{"applicationName":"ntp","x":[1,true,null,-2.5,"\"\\"]}`)
	return []flow.Record{tcp, icmp6, huge, none, extra}
}()
