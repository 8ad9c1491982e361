package netflow

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"flowtally/flow"
	"flowtally/lab/truth"
)

// payload is one datagram of a capture.
type payload struct {
	from netip.AddrPort
	data []byte
	at   flow.Time // after the first one
}

// payloads returns the datagrams of a file in one of the forms of the shared
// captures.
func payloads(t *testing.T, path, form string) []payload {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	here := netip.MustParseAddrPort("127.0.0.1:2055")
	var out []payload
	switch form {
	case "dgram":
		return []payload{{from: here, data: b}}
	case "v5cat":
		for len(b) >= v5Header {
			n := min(len(b), v5Header+v5Record*int(binary.BigEndian.Uint16(b[2:])))
			out, b = append(out, payload{from: here, data: b[:n]}), b[n:]
		}
	case "ipfixfile":
		for len(b) >= 16 {
			n := min(len(b), int(binary.BigEndian.Uint16(b[2:])))
			out, b = append(out, payload{from: here, data: b[:n]}), b[n:]
		}
	case "pcap":
		return pcapPayloads(t, path)
	default:
		t.Fatalf("%s: form %q", path, form)
	}
	return out
}

// pcapPayloads returns the payloads of UDP packets that begin like ours.
func pcapPayloads(t *testing.T, path string) []payload {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var source gopacket.PacketDataSource
	var link layers.LinkType
	br := bufio.NewReader(f)
	magic, _ := br.Peek(4)
	if binary.LittleEndian.Uint32(magic) == 0x0a0d0d0a {
		r, err := pcapgo.NewNgReader(br, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		source, link = r, r.LinkType()
	} else {
		r, err := pcapgo.NewReader(br)
		if err != nil {
			t.Fatal(err)
		}
		source, link = r, r.LinkType()
	}
	var out []payload
	var first flow.Time
	for {
		data, info, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		p := gopacket.NewPacket(data, link, gopacket.Default)
		udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || len(udp.Payload) < 2 {
			continue
		}
		switch binary.BigEndian.Uint16(udp.Payload) {
		case 1, 5, 9, 10:
		default:
			continue
		}
		a, _ := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Src().Raw())
		if len(out) == 0 {
			first = flow.TimeOf(info.Timestamp)
		}
		out = append(out, payload{netip.AddrPortFrom(a, uint16(udp.SrcPort)), udp.Payload, max(flow.TimeOf(info.Timestamp)-first, 0)})
	}
}

// tally is what a group of captures comes to.
type tally struct {
	datagrams, other, templates, records, options, noTemplate, malformed int
	withdrawals, appended                                                int
	bytes, packets                                                       uint64
}

// replay decodes every file of a group in order, with one decoder.
func replay(t *testing.T, dir string, files [][2]string, l Limits) (sum tally, recs []flow.Record) {
	d := NewDecoder(l)
	for _, f := range files {
		for _, p := range payloads(t, filepath.Join(dir, f[0]), f[1]) {
			var m Message
			n := len(recs)
			var err error
			recs, err = d.Decode(recs, &m, p.from, noon+p.at, p.data)
			sum.datagrams++
			if errors.Is(err, ErrVersion) {
				sum.other++
			} else if (m.NoTemplate+m.Malformed+m.OverLimit > 0) != (err != nil) {
				t.Errorf("%s: %+v with error %v: what is counted is said", f[0], m, err)
			}
			sum.templates += m.Templates
			sum.records += m.Records
			sum.options += m.OptionRecords
			sum.noTemplate += m.NoTemplate + m.Held - m.Recovered
			sum.malformed += m.Malformed
			sum.withdrawals += m.Withdrawals
			sum.appended += len(recs) - n
		}
	}
	for i := range recs {
		sum.bytes += recs[i].Bytes
		sum.packets += recs[i].Packets
	}
	return sum, recs
}

// differences are where we rightly come to something else than the reference,
// which counts records as they stand on the wire, forward delta counters only,
// and any template whatever it says.
var differences = map[string]struct {
	why  string
	want func(*tally)
}{
	"ls_nf9_cisco_asa_1": {
		"the ASA counts in octetTotalCount; there is no delta counter",
		func(w *tally) { w.bytes = 888 },
	},
	"ls_ipfix_yaf": {
		"two biflows in total counters, both answered",
		func(w *tally) { w.appended, w.bytes, w.packets = 4, 596, 10 },
	},
	"tg_ipfix_example": {
		"29 biflows in total counters, of which two were not answered",
		func(w *tally) { w.appended, w.bytes, w.packets = 56, 577437, 1070 },
	},
	"ak_biflow_ipfixprobe": {
		"four biflows, of which two were answered",
		func(w *tally) { w.appended = 6; w.bytes += 1674; w.packets += 26 },
	},
	"l9_malformed_1": {
		"templates of zero octets are refused, so their data has none",
		func(w *tally) { w.templates, w.noTemplate = 0, 3 },
	},
	"l9_malformed_3": {
		"an options template of zero octets is refused, so its data has none",
		func(w *tally) { w.templates, w.noTemplate = 0, 1 },
	},
	"l9_malformed_5": {
		"an options template of zero octets is refused, so its data has none",
		func(w *tally) { w.templates, w.noTemplate = 0, 1 },
	},
	"l9_malformed-OT": {
		"an options template of zero octets is refused, so its data has none",
		func(w *tally) { w.templates, w.noTemplate = 0, 1 },
	},
	"l9_fuzz_a": {
		"a template of zero octets is refused; what is there of a set that was cut lacks a template",
		func(w *tally) { w.templates, w.noTemplate = 3, 2 },
	},
	"l9_malformed_4": {
		"zero octets behind the last set are padding, not an error",
		func(w *tally) { w.malformed = 0 },
	},
	"ak_data_templates": {
		"the set that came before its template was held, and decoded with it",
		func(w *tally) { w.records, w.appended, w.noTemplate, w.bytes, w.packets = 21, 21, 0, 58329, 66 },
	},
	"ak_datalink": {
		"a sampled frame is a packet of a flow",
		func(w *tally) { w.bytes, w.packets = 96, 1 },
	},
	"ak_juniper_cpid": {
		"a sampled frame is a packet of a flow",
		func(w *tally) { w.bytes, w.packets = 104, 1 },
	},
	"cm_procera_unknown_first": {
		"the set that came before its template was held, and decoded with it",
		func(w *tally) { w.records, w.appended, w.noTemplate = 62, 62, 0 },
	},
	"bk_v1": {
		"v1 is decoded",
		func(w *tally) { w.other, w.records, w.appended, w.bytes, w.packets = 0, 2, 2, 1680, 20 },
	},
	"pm_112_ipfix_opt_reassign": {
		"what the second port sends is numbered for itself, and waits for a template of its own",
		func(w *tally) { w.records, w.appended, w.bytes, w.packets, w.noTemplate = 0, 0, 0, 0, 6 },
	},
	"vf_ipfix_multi": {
		"the header counts fewer octets than there are: behind them is another record",
		func(w *tally) { w.records, w.appended, w.bytes, w.packets = 3, 3, 68800, 1200 },
	},
	"ls_nf9_0length": {
		"three records have nothing in 1 and 2 but something in 23 and 24",
		func(w *tally) { w.bytes, w.packets = 160, 5 },
	},
}

func TestEveryCaptureOfTheWireDecodesToItsTruth(t *testing.T) {
	data := truth.Data(t)
	groups := make(map[string][][2]string)
	for _, row := range truth.Table(t, "REPLAY.tsv") {
		groups[row["group"]] = append(groups[row["group"]], [2]string{row["file"], row["format"]})
	}
	for _, row := range truth.Table(t, "WIRE_TRUTH.tsv") {
		group := strings.TrimPrefix(row["group"], "wire/")
		t.Run(group, func(t *testing.T) {
			number := func(column string) int {
				n, err := strconv.Atoi(row[column])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			got, _ := replay(t, data, groups[group], Limits{})
			want := tally{
				datagrams: number("datagrams"), other: number("other_version"),
				templates:   number("templates") + number("options_templates"),
				records:     number("flow_records"),
				options:     number("option_records"),
				noTemplate:  number("unknown_template_sets"),
				withdrawals: number("withdrawals"),
				bytes:       uint64(number("sum_bytes_ie1")),
				packets:     uint64(number("sum_packets_ie2")),
			}
			want.appended = want.records
			// The reference counts datagrams with an error, we count sets: they
			// agree on whether there are any.
			if number("datagrams_with_errors") > want.other {
				want.malformed = max(got.malformed, 1)
			}
			if diff, ok := differences[group]; ok {
				diff.want(&want)
			}
			if got != want {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

// reference is one record of the reference decode.
type reference struct {
	Kind              string
	Version           Version `json:"v"`
	Src, Dst, NextHop *netip.Addr
	SrcPort           *uint16 `json:"sport"`
	DstPort           *uint16 `json:"dport"`
	ICMP, ICMP6       *uint16
	Protocol          *flow.Protocol `json:"proto"`
	TOS               *uint8
	TCPFlags          *flow.TCPFlags
	Bytes, Packets    *uint64
	InIf              *uint32 `json:"in_if"`
	OutIf             *uint32 `json:"out_if"`
	SrcAS             *uint32 `json:"src_as"`
	DstAS             *uint32 `json:"dst_as"`
	SrcMask           *uint8  `json:"src_mask"`
	DstMask           *uint8  `json:"dst_mask"`
	VLAN              *uint16
	EndReason         *flow.EndReason `json:"end_reason"`
	Direction         *uint8
	Start             *flow.Time `json:"start_ms"`
	End               *flow.Time `json:"end_ms"`
	StartSec          *flow.Time `json:"start_s"`
	EndSec            *flow.Time `json:"end_s"`
	First             *uint32
	Last              *uint32
	FirstUptime       *uint32 `json:"first_uptime"`
	LastUptime        *uint32 `json:"last_uptime"`
	Fields            [][3]any
}

// count returns how many fields of the record are one of IANA's elements ids.
func (r *reference) count(ids ...float64) (n int) {
	for _, f := range r.Fields {
		if f[0] == 0.0 && slices.Contains(ids, f[1].(float64)) {
			n++
		}
	}
	return n
}

// references reads the reference decode of a group, flow records only.
func references(t *testing.T, dir string) []reference {
	t.Helper()
	var r io.Reader
	if f, err := os.Open(filepath.Join(dir, "decoded.jsonl")); err == nil {
		defer f.Close()
		r = f
	} else {
		b, err := os.ReadFile(filepath.Join(dir, "decoded.jsonl.gz"))
		if err != nil {
			t.Skip("no reference decode")
		}
		if r, err = gzip.NewReader(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	var out []reference
	for dec := json.NewDecoder(r); ; {
		var line struct{ Record *reference }
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Record != nil && line.Record.Kind == "data" {
			out = append(out, *line.Record)
		}
	}
}

// same compares a field where the reference has it.
func same[T comparable](t *testing.T, i int, name string, got T, want *T) {
	t.Helper()
	if want != nil && got != *want {
		t.Errorf("record %d: %s is %v, want %v", i, name, got, *want)
	}
}

func TestEveryFieldOfEveryCaptureEqualsTheReference(t *testing.T) {
	data := truth.Data(t)
	groups := make(map[string][][2]string)
	for _, row := range truth.Table(t, "REPLAY.tsv") {
		groups[row["group"]] = append(groups[row["group"]], [2]string{row["file"], row["format"]})
	}
	compared := 0
	for group, files := range groups {
		t.Run(group, func(t *testing.T) {
			if group == "bk_v1" {
				t.Skip("the reference does not read v1")
			}
			if group == "pm_112_ipfix_opt_reassign" {
				t.Skip("the reference reads a port's data by another port's template")
			}
			// The reference does not hold what comes before its template.
			sum, recs := replay(t, data, files, Limits{HoldOctets: 1})
			want := references(t, filepath.Join(data, "wire", group))
			if sum.appended != sum.records {
				t.Skip("biflows are two records here and one there")
			}
			if group == "vf_ipfix_multi" {
				want = append(want, reference{}) // behind the end that the header says
			}
			if len(recs) != len(want) {
				t.Fatalf("%d records, want %d", len(recs), len(want))
			}
			for i, w := range want {
				r := &recs[i]
				compared++
				address := func(name string, got flow.Addr, want *netip.Addr) {
					if want != nil && got.Netip() != *want {
						t.Errorf("record %d: %s is %v, want %v", i, name, got.Netip(), *want)
					}
				}
				// Of a record with two pairs of addresses the reference names one
				// of them; we name the flow's, not the zeros, and not the tunnel's.
				if w.count(8, 27) <= 1 {
					address("source", r.SrcAddr, w.Src)
					address("destination", r.DstAddr, w.Dst)
				}
				if w.NextHop != nil && !w.NextHop.IsUnspecified() {
					address("next hop", r.NextHop, w.NextHop)
				}
				// Of an element that stands twice the reference has the first, also
				// where that is zero; of counters it has those of ingress alone.
				if isICMP(r.Protocol) {
					for _, code := range []*uint16{w.ICMP, w.ICMP6} {
						if code != nil && *code != 0 {
							same(t, i, "type and code", r.DstPort, code)
						}
					}
				} else if w.count(7) <= 1 {
					same(t, i, "source port", r.SrcPort, w.SrcPort)
					same(t, i, "destination port", r.DstPort, w.DstPort)
				}
				if w.count(4) <= 1 {
					same(t, i, "protocol", r.Protocol, w.Protocol)
				}
				if w.count(5) <= 1 {
					same(t, i, "tos", r.TOS, w.TOS)
				}
				same(t, i, "tcp flags", r.TCPFlags, w.TCPFlags)
				if w.count(23) == 0 || w.Bytes == nil || *w.Bytes != 0 {
					same(t, i, "bytes", r.Bytes, w.Bytes)
					same(t, i, "packets", r.Packets, w.Packets)
				}
				same(t, i, "in interface", r.InIf, w.InIf)
				same(t, i, "out interface", r.OutIf, w.OutIf)
				same(t, i, "source AS", r.SrcAS, w.SrcAS)
				same(t, i, "destination AS", r.DstAS, w.DstAS)
				same(t, i, "source mask", r.SrcMask, w.SrcMask)
				same(t, i, "destination mask", r.DstMask, w.DstMask)
				same(t, i, "vlan", r.VLAN, w.VLAN)
				same(t, i, "end reason", r.EndReason, w.EndReason)
				same(t, i, "start", r.Start, w.Start)
				if w.End != nil {
					same(t, i, "end", r.End, w.End)
				}
				if w.StartSec != nil {
					same(t, i, "start", r.Start/flow.Second, w.StartSec)
				}
				if w.EndSec != nil {
					same(t, i, "end", r.End/flow.Second, w.EndSec)
				}
				first, last := w.First, w.Last
				if w.Version == V9 {
					first, last = w.FirstUptime, w.LastUptime
				}
				if w.Version != IPFIX && !strings.HasPrefix(group, "ls_nf5_invalid") && first != nil && last != nil {
					if got, want := r.End-r.Start, flow.Time(int32(*last-*first)); got != want {
						t.Errorf("record %d: lasted %d ms, want %d", i, got, want)
					}
				}
				if r.Extra != nil && !json.Valid(r.Extra) {
					t.Errorf("record %d: extra is not JSON: %s", i, r.Extra)
				}
			}
		})
	}
	if compared < 5000 {
		t.Errorf("only %d records were compared", compared)
	}
}
