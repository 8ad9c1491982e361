package netflow

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"

	"flowtally/flow"

	"github.com/google/go-cmp/cmp"
)

// octets returns the octets of annotated hexadecimal: what follows a # on a line
// is a remark.
func octets(tb testing.TB, s string) []byte {
	tb.Helper()
	var clean strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		for _, c := range line {
			if !unicode.IsSpace(c) {
				clean.WriteRune(c)
			}
		}
	}
	b, err := hex.DecodeString(clean.String())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// set returns a Set of the given identifier.
func set(tb testing.TB, id uint16, content string) []byte {
	c := octets(tb, content)
	b := binary.BigEndian.AppendUint16(nil, id)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(c)))
	return append(b, c...)
}

// exportSeconds is noon in the header's unit.
const exportSeconds = uint32(noon / flow.Second)

// message returns a v9 or IPFIX message of some Sets, from domain 7. A v9
// exporter has been up for 100 s.
func message(v Version, sets ...[]byte) []byte {
	b := []byte{0, byte(v), 0, byte(len(sets))}
	if v == V9 {
		b = binary.BigEndian.AppendUint32(b, 100_000)
	}
	b = binary.BigEndian.AppendUint32(b, exportSeconds)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 7)
	for _, s := range sets {
		b = append(b, s...)
	}
	if v == IPFIX {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	return b
}

func templateSet(v Version) uint16 {
	if v == V9 {
		return 0
	}
	return 2
}

// step is one datagram of a scenario.
type step struct {
	data []byte
	port uint16 // 0: 2055
	// after is how long after noon it comes.
	after flow.Time
}

func TestDecode(t *testing.T) {
	type want struct {
		records, options, templates, held, recovered, malformed, overLimit, withdrawals int
		err                                                                             error
	}
	bytesTemplate := `0100 0001  0001 0004  # 256: octetDeltaCount in four octets`
	both := []Version{V9, IPFIX}
	for _, c := range []struct {
		name     string
		versions []Version
		// steps makes the datagrams; want is of all of them together.
		steps func(v Version) []step
		want  want
		bytes []uint64 // of each record
	}{
		{
			"empty_template", both,
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, templateSet(v), `0100 0001 0001 0000`),
					set(t, 256, `00000001 00000002`))}}
			},
			want{malformed: 1, held: 1, err: ErrMalformed}, nil,
		},
		{
			"empty_options_template", both,
			func(v Version) []step {
				if v == V9 {
					return []step{{data: message(v, set(t, 1, `0100 0004 0000  0001 0000`), set(t, 256, `0000`))}}
				}
				return []step{{data: message(v, set(t, 3, `0100 0001 0001  0095 0000`), set(t, 256, `0000`))}}
			},
			want{malformed: 1, held: 1, err: ErrMalformed}, nil,
		},
		{
			"template_without_fields_in_v9", []Version{V9},
			func(v Version) []step { return []step{{data: message(v, set(t, 0, `0100 0000`))}} },
			want{malformed: 1, err: ErrMalformed}, nil,
		},
		{
			"withdrawal_is_counted_and_not_obeyed", []Version{IPFIX},
			func(v Version) []step {
				return []step{
					{data: message(v, set(t, 2, bytesTemplate))},
					{data: message(v, set(t, 2, `0100 0000`), set(t, 2, `0002 0000`))},
					{data: message(v, set(t, 256, `0000002a`))},
				}
			},
			want{records: 1, templates: 1, withdrawals: 2}, []uint64{42},
		},
		{
			"varlen_short", both,
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, templateSet(v), `0100 0003  0052 ffff  0001 0004  0053 ffff # interfaceName, octets, description`),
					set(t, 256, `02 6162 0000002a 01 63   00 0000002b 00`))}}
			},
			want{records: 2, templates: 1}, []uint64{42, 43},
		},
		{
			"varlen_long", both,
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, templateSet(v), `0100 0002  0052 ffff  0001 0004`),
					set(t, 256, `ff 0102`+strings.Repeat("61", 0x102)+`0000002a`))}}
			},
			want{records: 1, templates: 1}, []uint64{42},
		},
		{
			"varlen_integer", both,
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, templateSet(v), `0100 0002  0052 0001  0001 ffff`),
					set(t, 256, `61 01 2a   61 03 00012c  61 00`))}}
			},
			want{records: 3, templates: 1}, []uint64{42, 300, 0},
		},
		{
			"varlen_reaches_past_the_set", both,
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, templateSet(v), `0100 0002  0001 0004  0052 ffff`),
					set(t, 256, `0000002a 01 61  0000002b 7f 61`))}}
			},
			want{records: 1, templates: 1, malformed: 1, err: ErrMalformed}, []uint64{42},
		},
		{
			"enterprise_bit_in_both_kinds_of_template", []Version{IPFIX},
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, 2, `0100 0002  8001 0004 00001234  0001 0004`),
					set(t, 3, `0101 0002 0001  8095 0004 00001234  0022 0004`),
					set(t, 257, `0000ffff 00000064`), // not a scope or rate misread
					set(t, 256, `0000ffff 0000002a`))}}
			},
			want{records: 1, options: 1, templates: 2}, []uint64{42},
		},
		{
			"enterprise_bit_is_part_of_the_number_in_v9", []Version{V9},
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, 0, `0100 0002  8001 0004  0001 0004`),
					set(t, 256, `0000ffff 0000002a`))}}
			},
			want{records: 1, templates: 1}, []uint64{42},
		},
		{
			"trailing_padding", both,
			func(v Version) []step {
				m := message(v, set(t, templateSet(v), bytesTemplate), set(t, 256, `0000002a`), make([]byte, 8), make([]byte, 3))
				return []step{{data: m}}
			},
			want{records: 1, templates: 1}, []uint64{42},
		},
		{
			"trailing_octets_after_the_length", []Version{IPFIX},
			func(v Version) []step {
				m := message(v, set(t, 2, bytesTemplate), set(t, 256, `0000002a`))
				return []step{{data: append(m, 1, 2, 3)}}
			},
			want{records: 1, templates: 1, malformed: 1, err: ErrMalformed}, []uint64{42},
		},
		{
			"padding_inside_sets", both,
			func(v Version) []step {
				return []step{{data: message(v,
					set(t, templateSet(v), bytesTemplate+"\n0000"),
					set(t, templateSet(v), `0101 0001  0001 0004  00000000`),
					set(t, 256, `0000002a 000000`))}}
			},
			want{records: 1, templates: 2}, []uint64{42},
		},
		{
			"template_after_data", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, 256, `0000002a`), set(t, templateSet(v), bytesTemplate), set(t, 256, `0000002b`))}}
			},
			want{records: 2, templates: 1, held: 1, recovered: 1}, []uint64{42, 43},
		},
		{
			"one_unknown_of_three_sets", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), bytesTemplate),
					set(t, 256, `00000001`), set(t, 999, `0000002a`), set(t, 256, `00000002`))}}
			},
			want{records: 2, templates: 1, held: 1}, []uint64{1, 2},
		},
		{
			"set_past_the_end_of_the_message", both,
			func(v Version) []step {
				bad := set(t, 256, `00000002`)
				bad[3] = 200
				return []step{{data: message(v, set(t, templateSet(v), bytesTemplate), set(t, 256, `00000001`), bad)}}
			},
			want{records: 2, templates: 1, malformed: 1, err: ErrMalformed}, []uint64{1, 2},
		},
		{
			"reserved_set_between_good_ones", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), bytesTemplate), set(t, 77, `00`), set(t, 256, `00000001`))}}
			},
			want{records: 1, templates: 1, malformed: 1, err: ErrMalformed}, []uint64{1},
		},
		{
			"template_id_below_256", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), `0002 0001 0001 0004`))}}
			},
			want{malformed: 1, err: ErrMalformed}, nil,
		},
		{
			"field_count_larger_than_the_set", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), `0100 ffff 0001 0004`), set(t, 256, `00000001`))}}
			},
			want{malformed: 1, held: 1, err: ErrMalformed}, nil,
		},
		{
			"more_fields_than_the_limit", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), `0100 0201`+strings.Repeat("0001 0001", 513)))}}
			},
			want{overLimit: 1, err: ErrLimit}, nil,
		},
		{
			"more_records_than_the_limit", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), `0100 0001 0004 0001`), set(t, 256, strings.Repeat("11", 9000)))}}
			},
			want{records: 8192, templates: 1, overLimit: 1, err: ErrLimit}, nil,
		},
		{
			"record_shorter_than_its_template", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), bytesTemplate), set(t, 256, `0102`))}}
			},
			want{templates: 1, malformed: 1, err: ErrMalformed}, nil,
		},
		{
			"redefined_template", both,
			func(v Version) []step {
				return []step{{data: message(v, set(t, templateSet(v), bytesTemplate), set(t, 256, `0000002a`),
					set(t, templateSet(v), `0100 0001 0001 0002`), set(t, 256, `0001 0002`))}}
			},
			want{records: 3, templates: 2}, []uint64{42, 1, 2},
		},
		{
			"data_from_another_port", both,
			func(v Version) []step {
				return []step{
					{data: message(v, set(t, templateSet(v), bytesTemplate))},
					{data: message(v, set(t, 256, `0000002a`)), port: 9}, // might be another exporter's
					{data: message(v, set(t, 256, `0000002b`)), port: 9, after: moment},
					{data: message(v, set(t, 256, `0000002c`)), port: 9, after: moment},
				}
			},
			want{records: 3, templates: 1, held: 1, recovered: 1}, []uint64{42, 43, 44},
		},
		{
			// Two exporters behind one address: each port's own template holds.
			"two_exporters_on_one_address", both,
			func(v Version) []step {
				return []step{
					{data: message(v, set(t, templateSet(v), bytesTemplate)), port: 1},
					{data: message(v, set(t, templateSet(v), `0100 0001 0001 0002`)), port: 2},
					{data: message(v, set(t, 256, `0000002a`)), port: 1},
					{data: message(v, set(t, 256, `0001 0002`)), port: 2},
					{data: message(v, set(t, 256, `0003`)), port: 3},
					{data: message(v, set(t, 256, `0004`)), port: 3, after: moment}, // by the one learned last
				}
			},
			want{records: 5, templates: 2, held: 1, recovered: 1}, []uint64{42, 1, 2, 3, 4},
		},
	} {
		for _, v := range c.versions {
			t.Run(c.name+"/"+v.String(), func(t *testing.T) {
				d := NewDecoder(Limits{})
				var recs []flow.Record
				var got want
				var errs []error
				for _, s := range c.steps(v) {
					from := somebody
					if s.port != 0 {
						from = netip.AddrPortFrom(from.Addr(), s.port)
					}
					var m Message
					var err error
					recs, err = d.Decode(recs, &m, from, noon+s.after, s.data)
					errs = append(errs, err)
					if m.Exporter.Domain != 7 || m.ExportTime != noon || m.Sequence != 1 {
						t.Errorf("header read as %+v", m)
					}
					got.records += m.Records
					got.options += m.OptionRecords
					got.templates += m.Templates
					got.held += m.Held
					got.recovered += m.Recovered
					got.malformed += m.Malformed
					got.overLimit += m.OverLimit
					got.withdrawals += m.Withdrawals
				}
				if err := errors.Join(errs...); !errors.Is(err, c.want.err) || (err == nil) != (c.want.err == nil) {
					t.Errorf("error %v, want %v", err, c.want.err)
				}
				got.err = c.want.err
				if got != c.want {
					t.Errorf("\n got %+v\nwant %+v", got, c.want)
				}
				if c.bytes != nil {
					var b []uint64
					for _, r := range recs {
						b = append(b, r.Bytes)
					}
					if !slices.Equal(b, c.bytes) {
						t.Errorf("bytes %v, want %v", b, c.bytes)
					}
				}
			})
		}
	}
}

func TestReducedSizeEncodingOfEveryWidth(t *testing.T) {
	all := octets(t, `ff ff ff ff 01 23 45 67 89 ab cd ef`)
	for width := 0; width <= 8; width++ {
		// A field of one octet in front, so that the record is never empty.
		tpl := binary.BigEndian.AppendUint16(octets(t, `0100 0002 0004 0001 0001`), uint16(width))
		data := append([]byte{17}, all[len(all)-width:]...)
		for _, v := range []Version{V9, IPFIX} {
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(v,
				set(t, templateSet(v), hex.EncodeToString(tpl)), set(t, 256, hex.EncodeToString(data))))
			want := uint64(0x0123456789abcdef) & maskOf(width)
			if err != nil || len(recs) != 1 || recs[0].Bytes != want || recs[0].Protocol != flow.UDP {
				t.Errorf("%s, %d octets: %v %+v, want %#x", v, width, err, recs, want)
			}
		}
	}
}

func TestTimesOfEveryKind(t *testing.T) {
	at := noon - 90*flow.Second
	ms := hex.EncodeToString(be64(uint64(at)))
	ntpTime := hex.EncodeToString(be64((uint64(at/flow.Second)+2208988800)<<32 | uint64(at%flow.Second)<<32/1000))
	for _, c := range []struct {
		name       string
		version    Version
		tpl, data  string
		start, end flow.Time
	}{
		{"seconds", IPFIX, `0096 0004 0097 0004`, `6553f076 6553f077`, 1699999862000, 1699999863000},
		{"milliseconds", IPFIX, `0098 0008 0099 0008`, ms + ms, at, at},
		{"ntp_microseconds", IPFIX, `009a 0008 009b 0008`, ntpTime + ntpTime, at, at},
		{"ntp_nanoseconds", IPFIX, `009c 0008 009d 0008`, ntpTime + ntpTime, at, at},
		{"ntp_of_the_next_era", IPFIX, `009c 0008 009d 0008`, `0000000080000000 0000000180000000`, 2085978496500, 2085978497500},
		{"delta_microseconds", IPFIX, `009e 0004 009f 0004`, `000f4240 00000000`, noon - flow.Second, noon},
		{"uptime", V9, `0016 0004 0015 0004`, `00000000 00000001`, noon - 100*flow.Second, noon - 99999},
		{"uptime_slightly_ahead", V9, `0016 0004 0015 0004`, `000186a0 000186a1`, noon, noon + 1},
		{"uptime_wrapped_since", V9, `0016 0004 0015 0004`, `ffffffff 00000000`, noon - 100001, noon - 100000},
		{"uptime_without_a_base", IPFIX, `0016 0004 0015 0004`, `00000001 00000002`, noon - 1, noon},
		{"uptime_from_the_start_in_the_record", IPFIX, `0016 0004 0015 0004 00a0 0008`,
			`00000001 00000002` + hex.EncodeToString(be64(uint64(noon-flow.Hour))), noon - flow.Hour + 1, noon - flow.Hour + 2},
		{"uptime_wrapped_since_the_start", IPFIX, `0016 0004 0015 0004 00a0 0008`,
			`00000001 00000002` + hex.EncodeToString(be64(uint64(noon-flow.Hour-1<<32))), noon - flow.Hour + 1, noon - flow.Hour + 2},
		{"start_and_duration", IPFIX, `0098 0008 00a1 0004`, ms + `000003e8`, at, at + flow.Second},
		{"end_and_duration_in_microseconds", IPFIX, `0099 0008 00a2 0004`, ms + `000f4240`, at - flow.Second, at},
		{"the_finer_of_two", IPFIX, `0096 0004 0098 0008 0097 0004 0099 0008`, `00000001` + ms + `00000001` + ms, at, at},
		{"an_event", IPFIX, `0143 0008`, ms, at, at},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := len(octets(t, c.tpl)) / 4
			tpl := append([]byte{1, 0, 0, byte(fields)}, octets(t, c.tpl)...)
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(c.version,
				set(t, templateSet(c.version), hex.EncodeToString(tpl)), set(t, 256, c.data)))
			if err != nil || len(recs) != 1 {
				t.Fatal(recs, err)
			}
			if recs[0].Start != c.start || recs[0].End != c.end {
				t.Errorf("from %d to %d, want %d to %d", recs[0].Start, recs[0].End, c.start, c.end)
			}
		})
	}
}

func TestBiflowIsSplitWhenItWasAnswered(t *testing.T) {
	tpl := set(t, 2, `0100 000b
		0008 0004  000c 0004  0007 0002  000b 0002  0004 0001
		0001 0004  0002 0004
		8001 0004 00007279  8002 0004 00007279  8006 0001 00007279
		000a 0004`)
	half := `0a000001 0a000002 04d2 0050 06  00000064 00000002 `
	d := NewDecoder(Limits{})
	var m Message
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, tpl,
		set(t, 256, half+`000003e8 00000003 1b 00000009`),
		set(t, 256, half+`00000000 00000000 00 00000009`)))
	if err != nil || m.Records != 2 || len(recs) != 3 {
		t.Fatalf("%d records of %+v: %v", len(recs), m, err)
	}
	a, b := recs[0], recs[1]
	if a.SrcAddr != b.DstAddr || a.DstAddr != b.SrcAddr || a.SrcPort != b.DstPort || a.DstPort != b.SrcPort || b.OutIf != 9 || b.InIf != 0 {
		t.Errorf("the halves do not mirror each other:\n%+v\n%+v", a, b)
	}
	if a.Bytes != 100 || a.Packets != 2 || b.Bytes != 1000 || b.Packets != 3 || b.TCPFlags != 0x1b || a.TCPFlags != 0 {
		t.Errorf("counters:\n%+v\n%+v", a, b)
	}
}

func TestInitiatorAndResponderAreABiflow(t *testing.T) {
	for _, c := range []struct {
		name      string
		tpl, data string
		bytes     []uint64
		extra     string
	}{
		{"alone", `0100 0002 00e7 0004 00e8 0004`, `00000064 000000c8`, []uint64{100, 200}, ""},
		{"beside_a_delta", `0100 0003 00e7 0004 00e8 0004 0001 0004`, `00000064 000000c8 0000012c`, []uint64{300},
			`{"initiatorOctets":100,"responderOctets":200}`},
	} {
		d := NewDecoder(Limits{})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(V9, set(t, 0, c.tpl), set(t, 256, c.data)))
		var got []uint64
		for _, r := range recs {
			got = append(got, r.Bytes)
		}
		if err != nil || !slices.Equal(got, c.bytes) || string(recs[0].Extra) != c.extra {
			t.Errorf("%s: bytes %v extra %s: %v", c.name, got, recs[0].Extra, err)
		}
	}
}

func TestICMPTypeAndCode(t *testing.T) {
	for _, c := range []struct {
		name, tpl, data string
	}{
		{"in_the_port", `0100 0003 0004 0001 0007 0002 000b 0002`, `01 1234 0301`},
		{"typecode_4", `0100 0003 0004 0001 000b 0002 0020 0002`, `01 0000 0301`},
		{"typecode_6", `0100 0002 0004 0001 008b 0002`, `3a 0301`},
		{"apart", `0100 0003 0004 0001 00b0 0001 00b1 0001`, `01 03 01`},
	} {
		d := NewDecoder(Limits{})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 2, c.tpl), set(t, 256, c.data)))
		if err != nil || recs[0].DstPort != 0x0301 || recs[0].SrcPort != 0 {
			t.Errorf("%s: %+v %v", c.name, recs, err)
		}
	}
}

func TestSamplingIsAnnouncedByOptions(t *testing.T) {
	data4 := `0100 0002 0001 0004 0030 0001` // octets, samplerId
	for _, c := range []struct {
		name    string
		version Version
		options [][]byte
		data    string
		want    uint32
	}{
		{"system_interval", V9, [][]byte{set(t, 1, `0101 0004 0008 0001 0004 0022 0004 0023 0001`), set(t, 257, `00000000 00000064 02`)}, `0000002a 00`, 100},
		{"per_sampler", V9, [][]byte{
			set(t, 1, `0101 0004 0008 0001 0004 0030 0001 0032 0004`),
			set(t, 257, `00000000 01 00000064  00000000 02 000003e8`)}, `0000002a 02`, 1000},
		{"unknown_sampler_of_two", V9, [][]byte{
			set(t, 1, `0101 0004 0008 0001 0004 0030 0001 0032 0004`),
			set(t, 257, `00000000 01 00000064  00000000 02 000003e8`)}, `0000002a 03`, 0},
		{"unknown_sampler_has_no_other_ones_rate", V9, [][]byte{
			set(t, 1, `0101 0004 0008 0001 0004 0030 0001 0032 0004`),
			set(t, 257, `00000000 01 00000064  00000000 02 00000064`)}, `0000002a 03`, 0},
		{"of_one_interface_only", V9, [][]byte{set(t, 1, `0101 0004 0004 0002 0004 0022 0004`), set(t, 257, `00000005 00000064`)}, `0000002a 00`, 0},
		{"interval_and_space", IPFIX, [][]byte{set(t, 3, `0101 0003 0001 0095 0004 0131 0004 0132 0004`), set(t, 257, `00000000 00000001 000003e7`)}, `0000002a 00`, 1000},
		{"size_of_population", IPFIX, [][]byte{set(t, 3, `0101 0003 0001 0095 0004 0135 0004 0136 0004`), set(t, 257, `00000000 00000002 00000400`)}, `0000002a 00`, 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{})
			sets := append(slices.Clone(c.options), set(t, templateSet(c.version), data4), set(t, 256, c.data))
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(c.version, sets...))
			if err != nil || len(recs) != 1 || recs[0].SamplingRate != c.want {
				t.Errorf("%+v: %v, want a rate of %d", recs, err, c.want)
			}
		})
	}
}

func TestExtras(t *testing.T) {
	for _, c := range []struct {
		name, tpl, data, want string
	}{
		{"nat", `0100 0004 00e1 0004 00e2 0004 00e3 0002 00e4 0002`, `0a000001 c0a80001 04d2 0050`,
			`{"postNATSourceIPv4Address":"10.0.0.1","postNATDestinationIPv4Address":"192.168.0.1","postNAPTSourceTransportPort":1234,"postNAPTDestinationTransportPort":80}`},
		{"nothing_but_zeros", `0100 0002 00e1 0004 00e3 0002`, `00000000 0000`, ``},
		{"odd_width", `0100 0001 00c6 0003`, `012345`, `{"octetDeltaSumOfSquares":74565}`},
		{"signed_reduced", `0100 0001 01b2 0001`, `fe`, `{"mibObjectValueInteger":-2}`},
		{"float_reduced", `0100 0001 0137 0004`, `3f000000`, `{"samplingProbability":0.5}`},
		{"ntp_time", `0100 0002 010c 0008 0001 0001`, `e8fd3a6080000000 00`, `{"maxFlowEndMicroseconds":"2023-11-14T00:14:24.5Z"}`},
		{"mac", `0100 0001 0038 0006`, `0050 56c0 0001`, `{"sourceMacAddress":"00:50:56:c0:00:01"}`},
		{"text_with_nul_and_bad_octets", `0100 0001 0093 0008`, `6122 ff00 6200 0000`, `{"wlanSSID":"a\"` + "\uFFFD" + `"}`},
		{"text_ends_at_the_nul", `0100 0002 0173 0010 00e1 0004`, `626f6200010203000000000000000000 c6336407`, `{"userName":"bob","postNATSourceIPv4Address":"198.51.100.7"}`},
		{"text_of_variable_length_ends_at_the_nul", `0100 0001 0173 ffff`, `06 626f62000102`, `{"userName":"bob"}`},
		{"control_characters", `0100 0001 0173 000b`, `616c01 1b5b316d 696365 09`, `{"userName":"al\u0001\u001b[1mice"}`},
		{"what_HTML_escapes", `0100 0001 0173 0005`, `613c263e62`, `{"userName":"a<&>b"}`},
		{"zeros_that_are_values", `0100 0009 0034 0001 0035 0001 0059 0001 00e9 0001 00e6 0001 00ea 0004 00eb 0004 008a 0008 0037 0001`, `0000000000 00000000 00000000 0000000000000000 00`,
			`{"minimumTTL":0,"maximumTTL":0,"forwardingStatus":0,"firewallEvent":0,"natEvent":0,"ingressVRFID":0,"egressVRFID":0,"observationPointId":0,"postIpClassOfService":0}`},
		{"newer_than_the_library", `0100 0001 01fb 0004`, `0000002a`, `{"gtpuTEid":42}`},
		{"enterprise", `0100 0001 8001 0002 00001234`, `abcd`, `{"enterprise_4660_1":"abcd"}`},
		{"no_such_element", `0100 0001 7000 0002`, `abcd`, `{"element_28672":"abcd"}`},
		{"twice", `0100 0002 0046 0003 0046 0003`, `000141 000142`, `{"mplsTopLabelStackSection":"000141","mplsTopLabelStackSection#2":"000142"}`},
		{"padding_and_bookkeeping", `0100 0003 00d2 0001 0095 0004 0001 0001`, `ff 00000001 01`, ``},
		{"varlen", `0100 0002 0060 ffff 0001 0001`, `03 616263 01`, `{"applicationName":"abc"}`},
		{"reverse", `0100 0001 80b8 0004 00007279`, `0000002a`, `{"reverseTcpSequenceNumber":42}`},
		{"sub_template_list", `0100 0002 0124 ffff 0001 0001`, `08 ff0100 0a000001 01 07`, `{"subTemplateList":"ff01000a00000101"}`},
		{"sub_template_multi_list_of_fixed_length", `0100 0001 0125 0006`, `ff 0100 0003 01`, `{"subTemplateMultiList":"ff0100000301"}`},
		{"basic_list_with_long_length", `0100 0002 0123 ffff 0001 0001`, `ff0005 04 00010001 07`, `{"basicList":"0400010001"}`},
		{"structured", `0100 0001 0123 ffff`, `05 ff00010001`, `{"basicList":"ff00010001"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(Limits{})
			var m Message
			recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 2, c.tpl), set(t, 256, c.data)))
			if err != nil || len(recs) != 1 || string(recs[0].Extra) != c.want {
				t.Errorf("%v\n got %s\nwant %s", err, recs[0].Extra, c.want)
			}
		})
	}
	t.Run("palo_alto_numbers_in_v9", func(t *testing.T) {
		d := NewDecoder(Limits{})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(V9, set(t, 0, `0100 0002 dd7d 0008 dd7e 0008`), set(t, 256, padded("ssl", 8)+padded("a\\b", 8))))
		if want := `{"paloAltoAppID":"ssl","paloAltoUserID":"a\\b"}`; err != nil || string(recs[0].Extra) != want {
			t.Errorf("%s %v, want %s", recs[0].Extra, err, want)
		}
	})
	t.Run("asa_numbers_in_v9", func(t *testing.T) {
		d := NewDecoder(Limits{})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(V9, set(t, 0, `0100 0001 9c41 0004`), set(t, 256, `0a000001`)))
		if want := `{"postNATSourceIPv4Address":"10.0.0.1"}`; err != nil || string(recs[0].Extra) != want {
			t.Errorf("%+v %v, want %s", recs, err, want)
		}
	})
}

func TestV5(t *testing.T) {
	e, _ := NewEncoder(EncoderConfig{Version: V5, Domain: 0x0102, Boot: noon - flow.Hour, SamplingRate: 100})
	msg, n := e.Append(nil, noon, traffic(3, false))
	if n != 3 {
		t.Fatal(n)
	}
	for _, c := range []struct {
		name               string
		change             func([]byte) []byte
		records, malformed int
	}{
		{"as_sent", func(b []byte) []byte { return b }, 3, 0},
		{"count_above_what_fits", func(b []byte) []byte { b[2], b[3] = 0xd9, 0x1e; return b }, 3, 30 - 3},
		{"count_below_what_fits", func(b []byte) []byte { b[3] = 2; return b }, 2, 0},
		{"cut_in_a_record", func(b []byte) []byte { return b[:len(b)-1] }, 2, 1},
		{"cut_in_the_header", func(b []byte) []byte { return b[:23] }, 0, 1},
		{"no_records", func(b []byte) []byte { b[3] = 0; return b }, 0, 0},
	} {
		var m Message
		recs, err := NewDecoder(Limits{}).Decode(nil, &m, somebody, noon, c.change(bytes.Clone(msg)))
		if len(recs) != c.records || m.Records != c.records || m.Malformed != c.malformed || (err != nil) != (c.malformed > 0) {
			t.Errorf("%s: %d records, %+v, %v", c.name, len(recs), m, err)
		}
		if len(recs) > 0 && (m.Exporter.Domain != 0x0102 || m.SamplingRate != 100 || recs[0].SamplingRate != 100) {
			t.Errorf("%s: header read as %+v", c.name, m)
		}
	}
}

func TestRecordsKeepNothingOfTheDatagram(t *testing.T) {
	msg := message(IPFIX,
		set(t, 2, `0100 0003 001b 0010 0060 ffff 0001 0004`),
		set(t, 256, `20010db8000000000000000000000001 03 616263 0000002a`))
	d := NewDecoder(Limits{})
	var m Message
	a, err := d.Decode(nil, &m, somebody, noon, msg)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(a)
	before[0].Extra = bytes.Clone(a[0].Extra)
	for i := range msg {
		msg[i] = 0xff
	}
	if diff := cmp.Diff(before, a, cmp.AllowUnexported(flow.Key{})); diff != "" {
		t.Error(diff)
	}
	again := message(IPFIX, set(t, 256, `20010db8000000000000000000000002 03 646566 0000002b`))
	b, err := d.Decode(nil, &m, somebody, noon, again)
	if err != nil || b[0].Bytes != 43 || string(b[0].Extra) != `{"applicationName":"def"}` {
		t.Errorf("the template was changed with the datagram it came in: %+v %v", b, err)
	}
}

func TestErrorsReadAsAPath(t *testing.T) {
	var m Message
	_, err := NewDecoder(Limits{HoldOctets: 1}).Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 999, `00`)))
	if want := "netflow: ipfix: domain 7: set 999: octet 20: template not known"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	var de *DecodeError
	if !errors.As(err, &de) || de.Set != 999 || de.Offset != 20 {
		t.Errorf("%+v", de)
	}
}

// stranger sends n templates of its own, as many to a message as fit.
func stranger(d *Decoder, from netip.AddrPort, n int, domain uint32) (evicted int) {
	var m Message
	for id := 0; id < n; {
		var tpls []byte
		for ; id < n && len(tpls) < 1200; id++ {
			tpls = binary.BigEndian.AppendUint16(tpls, uint16(256+id%65000))
			tpls = append(tpls, 0, 2, 0, 1, 0, 4, 0, 2, 0, byte(1+id%8))
		}
		s := append([]byte{0, 2, 0, 0}, tpls...)
		binary.BigEndian.PutUint16(s[2:], uint16(len(s)))
		msg := message(IPFIX, s)
		binary.BigEndian.PutUint32(msg[12:], domain)
		d.Decode(nil, &m, from, noon, msg)
		evicted += m.Evicted
	}
	return evicted
}

func TestStrangersHaveABudget(t *testing.T) {
	l := Limits{Templates: 1000, TemplateOctets: 100_000, ExporterTemplates: 100, ExporterOctets: 10_000}
	d := NewDecoder(l)
	// An exporter that is in use.
	var m Message
	msg := message(IPFIX, set(t, 2, `0100 0001 0001 0004`), set(t, 256, `0000002a`))
	if _, err := d.Decode(nil, &m, somebody, noon, msg); err != nil {
		t.Fatal(err)
	}
	if n := stranger(d, netip.MustParseAddrPort("198.51.100.1:1"), 5000, 1); n < 4900 {
		t.Errorf("%d templates gave way", n)
	}
	if n := d.Templates(flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("198.51.100.1")), Domain: 1}); n > l.ExporterTemplates {
		t.Errorf("%d templates kept for one address, at most %d", n, l.ExporterTemplates)
	}
	for i := range 100 {
		stranger(d, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i / 2)}), uint16(i%2)), 50+i, 1)
	}
	s := &d.store
	count, size, latest := 0, 0, 0
	for _, e := range s.exporters {
		count += len(e.templates)
		for _, same := range e.ports {
			latest += len(same)
		}
		for _, tpl := range e.templates {
			size += len(tpl.raw)
			k := tpl.key.anyPort()
			same := e.ports[k]
			if l := same[len(same)-1]; e.templates[l.key] != l || l.born < tpl.born {
				t.Errorf("the template that serves any port for %v is not the one learned last of those kept", tpl.key)
			}
		}
		if len(e.templates) == 0 {
			t.Error("an exporter without templates is kept")
		}
	}
	if count > l.Templates || count != s.templates || size != s.octets || latest != count {
		t.Errorf("%d templates of %d octets kept, counted as %d and %d, at most %d", count, size, s.templates, s.octets, l.Templates)
	}
	// It has never been pushed out.
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, set(t, 256, `0000002b`)))
	if err != nil || len(recs) != 1 {
		t.Errorf("the exporter in use was stopped: %v", err)
	}
}

func TestDomainsAndSelectorsAreBounded(t *testing.T) {
	d := NewDecoder(Limits{ExporterDomains: 4, Selectors: 3})
	options := set(t, 3, `0101 0003 0001 0095 0004 0030 0001 0032 0004`)
	overLimit := 0
	for domain := range uint32(10) {
		sets := [][]byte{options}
		for i := range byte(10) {
			b := set(t, 257, `00000000 00 00000064`)
			b[8] = i
			sets = append(sets, b)
		}
		msg := message(IPFIX, sets...)
		binary.BigEndian.PutUint32(msg[12:], domain)
		var m Message
		_, err := d.Decode(nil, &m, somebody, noon, msg)
		if m.OptionRecords != 10 {
			t.Errorf("domain %d: %+v", domain, m)
		}
		if errors.Is(err, ErrLimit) {
			overLimit++
		}
	}
	e := d.store.exporters[flow.AddrFrom(somebody.Addr())]
	if len(e.domains) != 4 || d.store.domains != 4 || overLimit != 6 {
		t.Errorf("%d domains kept, %d counted, %d refused", len(e.domains), d.store.domains, overLimit)
	}
	for _, dom := range e.domains {
		if n := len(dom.options.Load().selectors); n != 3 {
			t.Errorf("%d selectors kept, want 3", n)
		}
	}
}

func TestMemoryStaysBelowTheFormula(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a store")
	}
	l := Limits{Templates: 1024, TemplateOctets: 256 << 10, ExporterTemplates: 1024, ExporterOctets: 256 << 10, Domains: 1, HoldOctets: 1, NameOctets: 1}.withDefaults()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := NewDecoder(l)
	// Templates of 63 fields without a place of their own, each used.
	var fields, data []byte
	for i := range 63 {
		fields = append(fields, 0x01, byte(i), 0, 1)
		data = append(data, 1)
	}
	var m Message
	for id := range 1024 {
		tpl := binary.BigEndian.AppendUint16(nil, uint16(256+id))
		tpl = append(append(tpl, 0, 63), fields...)
		if _, err := d.Decode(nil, &m, somebody, noon, message(IPFIX,
			set(t, 2, hex.EncodeToString(tpl)), set(t, uint16(256+id), hex.EncodeToString(data)))); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int(after.HeapAlloc) - int(before.HeapAlloc)
	most := l.Templates*1536 + l.TemplateOctets*30 + l.Domains*64<<10 + 2*(l.HoldOctets+l.NameOctets)
	t.Logf("%d templates of %d octets: %d KiB, at most %d KiB", d.store.templates, d.store.octets, used>>10, most>>10)
	if used > most {
		t.Errorf("%d octets in use, the formula says at most %d", used, most)
	}
	runtime.KeepAlive(d)
}

func TestDecoderIsSafeForConcurrentUse(t *testing.T) {
	d := NewDecoder(Limits{Templates: 64, ExporterTemplates: 16})
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(g % 2)}), uint16(g))
			var m Message
			for i := range 300 {
				id := uint16(256 + i%32)
				tpl := binary.BigEndian.AppendUint16(nil, id)
				tpl = append(tpl, 0, 2, 0, 1, 0, 4, 0, 0xe1, 0, 4)
				opts := set(t, 3, `0fff 0003 0001 0095 0004 0030 0001 0032 0004`)
				d.Decode(nil, &m, from, noon+flow.Time(i)*flow.Second, message(IPFIX, set(t, 2, hex.EncodeToString(tpl)), set(t, id, `0000002a 0a000001`),
					opts, set(t, 0x0fff, `00000000 01 00000064`)))
				d.Templates(m.Exporter)
				d.Decode(nil, &m, from, noon+flow.Time(i)*flow.Second, message(IPFIX, set(t, id+1000, `01`), set(t, 3, `0ffe 0002 0001 00ea 0004 00ec 0004`), set(t, 0x0ffe, `00000001 61626364`)))
				d.Expire(nil, noon+flow.Time(i)*flow.Second-flow.Hour)
				if i%50 == 0 {
					d.Save(io.Discard)
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
}

// FuzzDecode: no octets make the decoder panic or hang, keep more than its
// limits or make more records than them; what it counts it says; and the same
// octets decode to the same.
func FuzzDecode(f *testing.F) {
	for _, v := range versions {
		e, _ := NewEncoder(EncoderConfig{Version: v, SamplingRate: 10})
		msg, _ := e.Append(nil, noon, traffic(3, v != V5))
		f.Add(msg, msg)
	}
	f.Add(message(IPFIX, set(f, 2, `0100 0003 0052 ffff 0001 0004 8001 0001 00001234`)), message(IPFIX, set(f, 256, `02 6162 0000002a 07`)))
	f.Add(message(V9, set(f, 1, `0101 0004 0008 0001 0004 0030 0001 0032 0004`)), message(V9, set(f, 257, `00000000 01 00000064`)))
	f.Add(message(IPFIX, set(f, 2, `0100 0002 8001 0004 00007279 8002 0004 00007279`)), message(IPFIX, set(f, 256, `0000000100000001`)))
	l := Limits{Templates: 8, TemplateOctets: 400, ExporterTemplates: 4, ExporterOctets: 300, TemplateFields: 40, MessageRecords: 100, HoldOctets: 4000, ExporterHoldOctets: 2000}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 65535 || len(b) > 65535 {
			t.Skip()
		}
		run := func() (recs []flow.Record, ms []Message) {
			d := NewDecoder(l)
			held, recovered := 0, 0
			for _, x := range [][]byte{a, b, a, b} {
				var m Message
				n := len(recs)
				var err error
				recs, err = d.Decode(recs, &m, somebody, noon, x)
				if m.DataRecords > l.MessageRecords || m.Records+m.OptionRecords > l.MessageRecords*(1+m.Recovered) || len(recs)-n > 2*m.Records || len(recs)-n < m.Records {
					t.Fatalf("%d records appended, %+v", len(recs)-n, m)
				}
				if err == nil && m.NoTemplate+m.Malformed+m.OverLimit > 0 {
					t.Fatalf("counted and not said: %+v", m)
				}
				held, recovered = held+m.Held, recovered+m.Recovered
				ms = append(ms, m)
			}
			s := &d.store
			if s.templates > l.Templates || s.octets > l.TemplateOctets || s.templates < 0 || s.octets < 0 {
				t.Fatalf("%d templates of %d octets kept", s.templates, s.octets)
			}
			waiting, octets := d.Held()
			if octets > l.HoldOctets || held-recovered != waiting {
				t.Fatalf("%d sets were held and %d recovered, %d of %d octets wait", held, recovered, waiting, octets)
			}
			for _, g := range d.Expire(nil, noon+flow.Day) {
				waiting -= g.Sets
			}
			if n, octets := d.Held(); waiting != 0 || n != 0 || octets != 0 {
				t.Fatalf("%d sets neither wait nor were given up; %d of %d octets are left", waiting, n, octets)
			}
			return recs, ms
		}
		r1, m1 := run()
		r2, m2 := run()
		if !cmp.Equal(m1, m2) || !cmp.Equal(r1, r2, cmp.AllowUnexported(flow.Key{})) {
			t.Fatal("the same octets decode differently")
		}
	})
}

// TestEgressCountersServeWhereThereAreNoOthers: metering at the egress may count
// what left and nothing else; beside the usual counters that is an extra.
func TestEgressCountersServeWhereThereAreNoOthers(t *testing.T) {
	for _, v := range []Version{V9, IPFIX} {
		d := NewDecoder(Limits{})
		var m Message
		recs, err := d.Decode(nil, &m, somebody, noon, message(v,
			set(t, templateSet(v), `0100 0002 0017 0004 0018 0004`), set(t, 256, `0000002a 00000002`),
			set(t, templateSet(v), `0101 0004 0017 0004 0018 0004 0001 0004 0002 0004`), set(t, 257, `00000001 00000001 0000002b 00000003`)))
		if err != nil || len(recs) != 2 || recs[0].Bytes != 42 || recs[0].Packets != 2 || recs[0].Extra != nil || recs[1].Bytes != 43 || recs[1].Packets != 3 ||
			string(recs[1].Extra) != `{"postOctetDeltaCount":1,"postPacketDeltaCount":1}` {
			t.Errorf("%v: %+v %v", v, recs, err)
		}
	}
}

// TestUptimesOfAnUnknownClockKeepTheDuration: an IPFIX exporter that never says
// when its uptime clock began still says how long a flow was.
func TestUptimesOfAnUnknownClockKeepTheDuration(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	recs, err := d.Decode(nil, &m, somebody, noon, message(IPFIX,
		set(t, 2, `0100 0003 0016 0004 0015 0004 0001 0001`), set(t, 256, `fffffff0 00000fa0 07`)))
	if err != nil || len(recs) != 1 || recs[0].End != noon || recs[0].Start != noon-4016 || recs[0].Marks != flow.MarkTimeRepaired {
		t.Errorf("%+v %v", recs, err)
	}
}
