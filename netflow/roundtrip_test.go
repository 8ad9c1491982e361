package netflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"flowtally/flow"

	"github.com/calmh/ipfix"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bare compares records without what the collector's side adds.
var bare = cmp.Options{
	cmp.Comparer(func(a, b flow.Addr) bool { return a == b }),
	cmp.FilterPath(func(p cmp.Path) bool {
		switch p.Last().String() {
		case ".Received", ".Exporter", ".SamplingRate":
			return true
		}
		return false
	}, cmp.Ignore()),
	cmp.AllowUnexported(flow.Key{}),
}

// anyRecord draws a record with every field filled, most of it at random.
func anyRecord(now flow.Time) *rapid.Generator[flow.Record] {
	return rapid.Custom(func(t *rapid.T) flow.Record {
		var r flow.Record
		r.IPVersion = rapid.SampledFrom([]uint8{4, 4, 4, 6, 6, 0}).Draw(t, "version")
		octets := func(name string) flow.Addr {
			b := append(be64(rapid.Uint64().Draw(t, name)), be64(rapid.Uint64().Draw(t, name))...)
			if r.IPVersion == 4 {
				return flow.Addr4([4]byte(b))
			}
			return flow.Addr(b)
		}
		r.SrcAddr, r.DstAddr, r.NextHop = octets("src"), octets("dst"), octets("hop")
		r.InIf, r.OutIf = rapid.Uint32().Draw(t, "in"), rapid.Uint32().Draw(t, "out")
		r.SrcPort, r.DstPort = rapid.Uint16().Draw(t, "sport"), rapid.Uint16().Draw(t, "dport")
		r.VLAN = rapid.Uint16().Draw(t, "vlan")
		r.Protocol = flow.Protocol(rapid.SampledFrom([]uint8{1, 6, 17, 47, 58, 132}).Draw(t, "protocol"))
		r.TOS = rapid.Uint8().Draw(t, "tos")
		r.TCPFlags = flow.TCPFlags(rapid.Uint16Max(uint16(flow.AllFlags)).Draw(t, "flags"))
		r.EndReason = flow.EndReason(rapid.Uint8Range(0, 5).Draw(t, "reason"))
		r.Direction = rapid.Uint8Range(0, 3).Draw(t, "direction")
		r.SrcMask, r.DstMask = rapid.Uint8Range(0, 128).Draw(t, "smask"), rapid.Uint8Range(0, 128).Draw(t, "dmask")
		r.SrcAS, r.DstAS = rapid.Uint32().Draw(t, "sas"), rapid.Uint32().Draw(t, "das")
		r.Packets = rapid.Uint64Range(0, 1<<40).Draw(t, "packets")
		r.Bytes = rapid.Uint64Range(0, 1<<44).Draw(t, "bytes")
		r.End = now + flow.Time(rapid.Int64Range(-int64(40*365*flow.Day), int64(flow.Day)).Draw(t, "end"))
		r.Start = r.End - flow.Time(rapid.Int64Range(0, int64(40*flow.Day)).Draw(t, "lasted"))
		return r
	})
}

// send encodes recs, all of them, and returns the messages.
func send(t fataler, e *Encoder, now flow.Time, recs []flow.Record) [][]byte {
	var msgs [][]byte
	for len(recs) > 0 {
		msg, n := e.Append(nil, now, recs)
		if n == 0 {
			t.Fatalf("no record taken: %+v", recs[0])
		}
		if len(msg) > e.c.MaxMessage {
			t.Fatalf("message of %d octets, at most %d asked for", len(msg), e.c.MaxMessage)
		}
		msgs = append(msgs, msg)
		recs = recs[n:]
	}
	return msgs
}

type fataler interface{ Fatalf(string, ...any) }

// receive decodes messages with one decoder, into one reused slice.
func receive(t fataler, d *Decoder, msgs [][]byte) (recs []flow.Record) {
	var m Message
	for _, msg := range msgs {
		var err error
		if recs, err = d.Decode(recs, &m, somebody, noon, msg); err != nil {
			t.Fatalf("%v", err)
		}
	}
	return recs
}

// checkRoundTrip is the law: what is decoded is what was prepared, in order, and
// the prepared parts add up to the whole.
func checkRoundTrip(t fataler, c EncoderConfig, now flow.Time, recs []flow.Record) {
	e, err := NewEncoder(c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var prepared []flow.Record
	for i := range recs {
		n := len(prepared)
		prepared = e.Prepare(prepared, &recs[i])
		var bytes, packets uint64
		for _, p := range prepared[n:] {
			bytes, packets = bytes+p.Bytes, packets+p.Packets
		}
		if len(prepared) > n && (bytes != recs[i].Bytes || packets != recs[i].Packets) {
			t.Fatalf("the parts add up to %d octets and %d packets, want %d and %d", bytes, packets, recs[i].Bytes, recs[i].Packets)
		}
	}
	got := receive(t, NewDecoder(Limits{}), send(t, e, now, prepared))
	if !slices.EqualFunc(prepared, got, sameFlow) {
		t.Fatalf("decoded is not what was prepared (-want +got):\n%s", cmp.Diff(prepared, got, bare...))
	}
}

// sameFlow is cmp.Equal with bare, a hundred times as fast.
func sameFlow(a, b flow.Record) bool {
	return a.Key == b.Key && a.Start == b.Start && a.End == b.End && a.Packets == b.Packets && a.Bytes == b.Bytes &&
		a.TCPFlags == b.TCPFlags && a.EndReason == b.EndReason && a.Direction == b.Direction &&
		a.SrcMask == b.SrcMask && a.DstMask == b.DstMask && a.NextHop == b.NextHop &&
		a.SrcAS == b.SrcAS && a.DstAS == b.DstAS && a.Marks == b.Marks && string(a.Extra) == string(b.Extra)
}

func TestDecodeUndoesEncode(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				now := flow.Time(rapid.Int64Range(int64(45*365*flow.Day), int64(80*365*flow.Day)).Draw(t, "now"))
				c := EncoderConfig{
					Version: v, Domain: rapid.Uint32().Draw(t, "domain"),
					MaxMessage:   rapid.IntRange(400, 1472).Draw(t, "max"),
					Boot:         now - flow.Time(rapid.Int64Range(-int64(flow.Day), int64(400*flow.Day)).Draw(t, "boot")),
					SamplingRate: rapid.SampledFrom([]uint32{0, 0, 1, 1000}).Draw(t, "rate"),
				}
				checkRoundTrip(t, c, now, rapid.SliceOfN(anyRecord(now), 1, 40).Draw(t, "records"))
			})
		})
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("seed"), int64(noon), uint16(1372))
	f.Add(bytes.Repeat([]byte{4, 6, 200, 0, 255}, 100), int64(noon)+1, uint16(500))
	f.Fuzz(func(t *testing.T, b []byte, now int64, most uint16) {
		if now < int64(45*365*flow.Day) || now > int64(80*365*flow.Day) || most < 400 {
			t.Skip()
		}
		var recs []flow.Record
		r := reader{b: b, end: len(b)}
		for r.remaining() >= 24 && len(recs) < 100 {
			var x flow.Record
			x.IPVersion = []uint8{4, 6, 0, 4}[r.uint8()%4]
			set4(&x.SrcAddr, uint64(r.uint32()))
			x.DstAddr = flow.Addr{15: r.uint8()}
			if x.IPVersion == 4 {
				set4(&x.DstAddr, uint64(r.uint8()))
			}
			x.Protocol = flow.Protocol(r.uint8())
			x.DstPort = r.uint16()
			x.Bytes = uint64(r.uint32()) << (r.uint8() % 6)
			x.Packets = uint64(r.uint16())
			x.End = flow.Time(now) + flow.Hour - flow.Time(r.uint32())*flow.Time(r.uint8())
			x.Start = x.End - flow.Time(r.uint32())
			recs = append(recs, x)
		}
		for _, v := range versions {
			checkRoundTrip(t, EncoderConfig{Version: v, MaxMessage: int(most)%65000/2*2 | 512, Boot: flow.Time(now) - flow.Day}, flow.Time(now), recs)
		}
	})
}

// What another implementation of RFC 7011 reads in our messages is what we
// wrote, field by field.
func TestCalmhReadsWhatWeSend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, err := NewEncoder(EncoderConfig{Version: IPFIX, Domain: 7})
		if err != nil {
			t.Fatal(err)
		}
		var recs []flow.Record
		for _, r := range rapid.SliceOfN(anyRecord(noon), 1, 40).Draw(t, "records") {
			r.Direction = 0 // has templates of its own
			recs = e.Prepare(recs, &r)
		}
		completeDictionary()
		s := ipfix.NewSession()
		in := ipfix.NewInterpreter(s)
		i := 0
		for k, msg := range send(t, e, noon, recs) {
			m, err := s.ParseBuffer(msg)
			if err != nil {
				t.Fatal(err)
			}
			if m.Header.Version != 10 || int(m.Header.Length) != len(msg) || m.Header.DomainID != 7 ||
				m.Header.SequenceNumber != uint32(i) || flow.Time(m.Header.ExportTime) != noon/flow.Second {
				t.Fatalf("message %d: header %+v after %d records", k, m.Header, i)
			}
			if want := 0; k == 0 && len(m.TemplateRecords) != 2 || k > 0 && k < 20 && len(m.TemplateRecords) != want {
				t.Fatalf("message %d has %d templates", k, len(m.TemplateRecords))
			}
			for _, d := range m.DataRecords {
				compareInterpreted(t, &recs[i], in.Interpret(d))
				i++
			}
		}
		if i != len(recs) {
			t.Fatalf("%d records read, want %d", i, len(recs))
		}
	})
}

// compareInterpreted compares a record with the library's reading of it.
func compareInterpreted(t *rapid.T, r *flow.Record, fields []ipfix.InterpretedField) {
	icmp, dst := uint16(0), r.DstPort
	if isICMP(r.Protocol) {
		icmp, dst = r.DstPort, 0
	}
	want := map[string]any{
		"sourceIPv4Address": r.SrcAddr.Netip(), "destinationIPv4Address": r.DstAddr.Netip(),
		"sourceIPv6Address": netip.AddrFrom16(r.SrcAddr), "destinationIPv6Address": netip.AddrFrom16(r.DstAddr),
		"ingressInterface": r.InIf, "egressInterface": r.OutIf,
		"packetDeltaCount": r.Packets, "octetDeltaCount": r.Bytes,
		"flowStartMilliseconds": r.Start.Time(), "flowEndMilliseconds": r.End.Time(),
		"sourceTransportPort": r.SrcPort, "destinationTransportPort": dst,
		"vlanId": r.VLAN, "tcpControlBits": uint16(r.TCPFlags),
		"protocolIdentifier": uint8(r.Protocol), "ipClassOfService": r.TOS,
		"flowEndReason": uint8(r.EndReason), "icmpTypeCodeIPv4": icmp, "icmpTypeCodeIPv6": icmp,
	}
	if len(fields) != 16 {
		t.Fatalf("%d fields", len(fields))
	}
	for _, f := range fields {
		got := f.Value
		switch v := got.(type) {
		case *net.IP:
			a, _ := netip.AddrFromSlice(*v)
			got = a
		case time.Time:
			got = v.UTC()
		}
		if w, ok := want[f.Name]; !ok || w != got {
			t.Fatalf("%s is %v, want %v", f.Name, got, w)
		}
	}
}

func TestSequenceCountsByDialect(t *testing.T) {
	recs := traffic(100, false)
	for _, c := range []struct {
		version Version
		rate    uint32
		// next is what the sequence number grows by after a message of n records,
		// the first of which had templates.
		next func(first bool, n int) uint32
	}{
		{V5, 0, func(_ bool, n int) uint32 { return uint32(n) }},
		{V9, 0, func(bool, int) uint32 { return 1 }},
		{IPFIX, 0, func(_ bool, n int) uint32 { return uint32(n) }},
		// The record that announces the sampling rate is a Data Record too.
		{IPFIX, 10, func(first bool, n int) uint32 {
			if first {
				n++
			}
			return uint32(n)
		}},
	} {
		t.Run(c.version.String(), func(t *testing.T) {
			e, err := NewEncoder(EncoderConfig{Version: c.version, SamplingRate: c.rate})
			if err != nil {
				t.Fatal(err)
			}
			e.sequence = 1<<32 - 30 // so that it begins anew on the way
			want := e.sequence
			d := NewDecoder(Limits{})
			rest := recs
			for first := true; len(rest) > 0; first = false {
				msg, n := e.Append(nil, noon, rest)
				var m Message
				if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil {
					t.Fatal(err)
				}
				if m.Sequence != want {
					t.Fatalf("sequence %d, want %d", m.Sequence, want)
				}
				if c.version == IPFIX && want+uint32(m.Records+m.OptionRecords) != want+c.next(first, n) {
					t.Fatalf("a message of %d records and %d option records; sent %d", m.Records, m.OptionRecords, n)
				}
				want += c.next(first, n)
				rest = rest[n:]
			}
		})
	}
}

func TestTemplatesAreRepeatedByMessagesAndByTime(t *testing.T) {
	e, err := NewEncoder(EncoderConfig{Version: IPFIX, TemplateMessages: 3, TemplateInterval: 10 * flow.Second})
	if err != nil {
		t.Fatal(err)
	}
	recs := traffic(1, false)
	has := func(now flow.Time) bool {
		msg, _ := e.Append(nil, now, recs)
		return binary.BigEndian.Uint16(msg[16:]) == 2
	}
	for i, c := range []struct {
		name string
		now  flow.Time
		want bool
	}{
		{"first message", noon, true},
		{"second", noon, false},
		{"third", noon, false},
		{"three messages later", noon, true},
		{"just before the interval", noon + 9999, false},
		{"at the interval", noon + 10000, true},
		{"next", noon + 10000, false},
		{"the clock went back", noon, true},
	} {
		if got := has(c.now); got != c.want {
			t.Errorf("%d, %s: templates %v, want %v", i, c.name, got, c.want)
		}
	}
	if msg, n := e.Append(nil, noon+flow.Minute, nil); n != 0 || len(msg) == 0 {
		t.Error("templates that are due go out without records")
	}
	if msg, n := e.Append(nil, noon+flow.Minute, nil); n != 0 || len(msg) != 0 {
		t.Error("nothing to say, and a message")
	}
}

func TestSamplingRateIsAnnounced(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			e, err := NewEncoder(EncoderConfig{Version: v, SamplingRate: 100})
			if err != nil {
				t.Fatal(err)
			}
			got := receive(t, NewDecoder(Limits{}), send(t, e, noon, traffic(3, false)))
			for i := range got {
				if got[i].SamplingRate != 100 {
					t.Errorf("record %d: rate %d, want 100", i, got[i].SamplingRate)
				}
			}
		})
	}
}

func TestMessagesNeverStateAnUptimeThatWraps(t *testing.T) {
	// One record for each trap: recent, before boot, years ago, ahead of now.
	recs := traffic(4, false)
	for i := range recs {
		recs[i].EndReason = 0 // v5 has no word for it
	}
	boot := noon - 60*flow.Day // the uptime clock has begun anew once
	recs[1].Start, recs[1].End = noon-20*flow.Day, noon-20*flow.Day+5
	recs[2].Start, recs[2].End = noon-3000*flow.Day, noon-3000*flow.Day+5
	recs[3].Start, recs[3].End = noon, noon+2*flow.Hour
	for _, v := range []Version{V5, V9} {
		t.Run(v.String(), func(t *testing.T) {
			e, err := NewEncoder(EncoderConfig{Version: v, Boot: boot})
			if err != nil {
				t.Fatal(err)
			}
			msgs := send(t, e, noon, recs)
			if len(msgs) != 3 {
				t.Errorf("%d messages, want one for each export time", len(msgs))
			}
			if got := receive(t, NewDecoder(Limits{}), msgs); !cmp.Equal(recs, got, bare...) {
				t.Error(cmp.Diff(recs, got, bare...))
			}
			if v != V5 {
				return
			}
			for _, msg := range msgs {
				uptime := binary.BigEndian.Uint32(msg[4:])
				for x := msg[v5Header:]; len(x) > 0; x = x[v5Record:] {
					first, last := binary.BigEndian.Uint32(x[24:]), binary.BigEndian.Uint32(x[28:])
					if first > last || last > uptime {
						t.Errorf("first %d, last %d, uptime %d: not in order", first, last, uptime)
					}
				}
			}
		})
	}
}

func TestV5PartsOfALargeFlowAddUp(t *testing.T) {
	e, _ := NewEncoder(EncoderConfig{Version: V5})
	r := traffic(1, false)[0]
	r.Bytes, r.Packets = 10<<32+7, 5<<32
	parts := e.Prepare(nil, &r)
	var bytes, packets uint64
	for _, p := range parts {
		if p.Bytes >= 1<<32 || p.Packets >= 1<<32 || p.Packets == 0 {
			t.Errorf("a part of %d octets and %d packets", p.Bytes, p.Packets)
		}
		bytes, packets = bytes+p.Bytes, packets+p.Packets
	}
	if len(parts) != 11 || bytes != r.Bytes || packets != r.Packets {
		t.Errorf("%d parts of %d octets and %d packets", len(parts), bytes, packets)
	}
	r.IPVersion = 6
	if parts := e.Prepare(nil, &r); len(parts) != 0 {
		t.Error("v5 has words for IPv6")
	}
	if msg, n := e.Append(nil, noon, []flow.Record{r}); n != 1 || len(msg) != 0 {
		t.Error("what v5 cannot say is passed over, without a message")
	}
}

func TestEncoderConfigIsChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		c    EncoderConfig
	}{
		{"no version", EncoderConfig{}},
		{"version 7", EncoderConfig{Version: 7}},
		{"a message too small for the templates", EncoderConfig{Version: V9, MaxMessage: 100}},
		{"a message too large for UDP", EncoderConfig{Version: V9, MaxMessage: 65535}},
		{"a rate v5 cannot say", EncoderConfig{Version: V5, SamplingRate: 1 << 14}},
	} {
		if _, err := NewEncoder(c.c); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

func TestVersionsOtherThanOursAreRefused(t *testing.T) {
	d := NewDecoder(Limits{})
	for _, b := range [][]byte{nil, {9}, {0, 2, 0, 0}, {0, 8}, []byte("GET /")} {
		var m Message
		if _, err := d.Decode(nil, &m, somebody, noon, b); !errors.Is(err, ErrVersion) {
			t.Errorf("% x: %v, want ErrVersion", b, err)
		}
	}
}
