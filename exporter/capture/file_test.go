package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"
)

// order is what the writers of test files need of a byte order.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

var (
	little order = binary.LittleEndian
	big    order = binary.BigEndian
)

// header is a pcap file header.
func header(o order, magic uint32, major, minor uint16, snap, link uint32) []byte {
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(b, major)
	b = o.AppendUint16(b, minor)
	b = o.AppendUint64(b, 0)
	b = o.AppendUint32(b, snap)
	return o.AppendUint32(b, link)
}

const micro, nano = 0xa1b2c3d4, 0xa1b23c4d

// record is a pcap record; the lengths are as told, the data as it is.
func record(o order, sec, frac, captured, length uint32, data string) []byte {
	b := o.AppendUint32(nil, sec)
	b = o.AppendUint32(b, frac)
	b = o.AppendUint32(b, captured)
	b = o.AppendUint32(b, length)
	return append(b, data...)
}

// packetRecord is a record whose lengths are right.
func packetRecord(o order, sec, frac uint32, data string) []byte {
	return record(o, sec, frac, uint32(len(data)), uint32(len(data)), data)
}

// block is a pcapng block of the type with the body, padded.
func block(o order, typ uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := o.AppendUint32(nil, typ)
	b = o.AppendUint32(b, uint32(len(body)+12))
	b = append(b, body...)
	return o.AppendUint32(b, uint32(len(body)+12))
}

func section(o order, major, minor uint16) []byte {
	b := o.AppendUint32(nil, 0x1a2b3c4d)
	b = o.AppendUint16(b, major)
	b = o.AppendUint16(b, minor)
	return block(o, blockSection, o.AppendUint64(b, ^uint64(0)))
}

// option is one option of a block.
func option(o order, code uint16, value ...byte) []byte {
	b := o.AppendUint16(nil, code)
	b = o.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func description(o order, link uint16, snap uint32, options ...[]byte) []byte {
	b := o.AppendUint16(nil, link)
	b = o.AppendUint16(b, 0)
	b = o.AppendUint32(b, snap)
	return block(o, blockInterface, append(b, bytes.Join(options, nil)...))
}

// enhanced is an Enhanced Packet Block; captured and length are as told.
func enhanced(o order, id uint32, ts uint64, captured, length uint32, data string, options ...[]byte) []byte {
	b := o.AppendUint32(nil, id)
	b = o.AppendUint32(b, uint32(ts>>32))
	b = o.AppendUint32(b, uint32(ts))
	b = o.AppendUint32(b, captured)
	b = o.AppendUint32(b, length)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return block(o, blockEnhanced, append(b, bytes.Join(options, nil)...))
}

func packetBlock(o order, id uint32, ts uint64, data string) []byte {
	return enhanced(o, id, ts, uint32(len(data)), uint32(len(data)), data)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// packets reads a capture to its end and returns one line for each packet: time,
// link type, the packet's length, and its octets.
func packets(s Source, err error) (lines []string, _ error) {
	if err != nil {
		return nil, err
	}
	for {
		data, ci, err := s.ZeroCopyReadPacketData()
		if err != nil {
			if _, _, again := s.ZeroCopyReadPacketData(); again != err {
				return lines, fmt.Errorf("%w, but then %w", err, again)
			}
			if err == io.EOF {
				err = nil
			}
			return lines, err
		}
		if ci.CaptureLength != len(data) {
			return lines, fmt.Errorf("%d octets, CaptureLength %d", len(data), ci.CaptureLength)
		}
		lines = append(lines, fmt.Sprintf("%s %d %d %s", ci.Timestamp.Format("2006-01-02T15:04:05.999999999"), s.LinkType(), ci.Length, data))
	}
}

func read(b []byte) ([]string, error) { return packets(NewReader(bytes.NewReader(b))) }

// 1000000000 s is 2001-09-09T01:46:40.
const (
	second = 1000000000
	stamp  = "2001-09-09T01:46:40"
)

func TestReader(t *testing.T) {
	long := strings.Repeat("x", 70000)
	ng := func(parts ...[]byte) []byte { return join(append([][]byte{section(little, 1, 0)}, parts...)...) }
	resolution := func(o order, v byte) []byte { return option(o, 9, v) }
	offset := func(o order, v int64) []byte { return option(o, 14, o.AppendUint64(nil, uint64(v))...) }
	ether := description(little, 1, 0)
	tests := []struct {
		name string
		file []byte
		want []string
		err  string // a part of it; none is the end of the file
	}{
		{"pcap_micro_little", join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 123456, "one"), packetRecord(little, second+1, 0, "two!")),
			[]string{stamp + ".123456 1 3 one", "2001-09-09T01:46:41 1 4 two!"}, ""},
		{"pcap_micro_big", join(header(big, micro, 2, 4, 65535, 1), packetRecord(big, second, 123456, "one")), []string{stamp + ".123456 1 3 one"}, ""},
		{"pcap_nano_little", join(header(little, nano, 2, 4, 65535, 1), packetRecord(little, second, 123456789, "one")), []string{stamp + ".123456789 1 3 one"}, ""},
		{"pcap_nano_big", join(header(big, nano, 2, 4, 65535, 1), packetRecord(big, second, 123456789, "one")), []string{stamp + ".123456789 1 3 one"}, ""},
		{"pcap_after_2038", join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, 0x80000000, 0, "one")), []string{"2038-01-19T03:14:08 1 3 one"}, ""},
		{"pcap_without_packets", header(little, micro, 2, 4, 65535, 1), nil, ""},
		{"pcap_empty_packet", join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, "")), []string{stamp + " 1 0 "}, ""},
		{"pcap_link_type_above_255", join(header(little, micro, 2, 4, 65535, 276), packetRecord(little, second, 0, "one")), []string{stamp + " 276 3 one"}, ""},
		{"pcap_link_type_257_is_not_1", join(header(little, micro, 2, 4, 65535, 257), packetRecord(little, second, 0, "one")), []string{stamp + " 257 3 one"}, ""},
		{"pcap_frame_check_sequence_bits", join(header(little, micro, 2, 4, 65535, 0x44000001), packetRecord(little, second, 0, "one")), []string{stamp + " 1 3 one"}, ""},
		{"pcap_snap_length_0", join(header(little, micro, 2, 4, 0, 1), packetRecord(little, second, 0, "one")), []string{stamp + " 1 3 one"}, ""},
		{"pcap_snap_length_huge", join(header(little, micro, 2, 4, 0xffffffff, 1), packetRecord(little, second, 0, "one")), []string{stamp + " 1 3 one"}, ""},
		{"pcap_longer_than_snap_length", join(header(little, micro, 2, 4, 2, 1), packetRecord(little, second, 0, "one"), packetRecord(little, second, 0, long)),
			[]string{stamp + " 1 3 one", stamp + " 1 70000 " + long}, ""},
		{"pcap_cut_by_snap_length", join(header(little, micro, 2, 4, 3, 1), record(little, second, 0, 3, 1500, "one")), []string{stamp + " 1 1500 one"}, ""},
		{"pcap_captured_more_than_packet", join(header(big, micro, 2, 4, 65535, 1), record(big, second, 5, 3, 2, "one"), packetRecord(big, second, 0, "two")),
			[]string{stamp + ".000005 1 3 one", stamp + " 1 3 two"}, ""},
		{"pcap_too_long", join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, "one"), record(little, 0, 0, MaxPacket+1, MaxPacket+1, "two")),
			[]string{stamp + " 1 3 one"}, "packet 2 at octet 43 claims to hold 262145 octets, more than the 262144 that are read"},
		{"pcap_cut_in_data", join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, "one"), record(little, 0, 0, 10, 10, "two")),
			[]string{stamp + " 1 3 one"}, "cut inside packet 2, which begins at octet 43: unexpected EOF"},
		{"pcap_cut_behind_record_header", join(header(little, micro, 2, 4, 65535, 1), record(little, 0, 0, 10, 10, "")),
			nil, "cut inside packet 1, which begins at octet 24: unexpected EOF"},
		{"pcap_version_2_5", header(little, micro, 2, 5, 65535, 1), nil, "pcap version 2.5 is not supported, only 2.0 to 2.4"},
		{"pcap_version_3_4_big", header(big, micro, 3, 4, 65535, 1), nil, "pcap version 3.4 is not supported, only 2.0 to 2.4"},
		{"pcap_version_2_2_has_lengths_swapped", join(header(big, micro, 2, 2, 65535, 1), record(big, second, 5, 1500, 3, "one")), []string{stamp + ".000005 1 1500 one"}, ""},
		{"pcap_version_2_3_has_lengths_in_any_order", join(header(little, micro, 2, 3, 65535, 1), record(little, second, 0, 1500, 3, "one"), record(little, second, 0, 3, 1500, "two")),
			[]string{stamp + " 1 1500 one", stamp + " 1 1500 two"}, ""},
		{"pcap_kuznetzov", join(header(big, 0xa1b2cd34, 2, 4, 65535, 1), record(big, second, 7, 3, 4, "\x00\x00\x00\x02\x08\x00\x04\x00one"), record(big, second, 8, 0, 0, "\x00\x00\x00\x02\x08\x00\x04\x00")),
			[]string{stamp + ".000007 1 4 one", stamp + ".000008 1 0 "}, ""},
		{"pcap_gzip", zipped(join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, "one"))), []string{stamp + " 1 3 one"}, ""},
		{"pcap_gzip_cut", zipped(join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, long)))[:60], nil, "cut inside packet 1, which begins at octet 24: unexpected EOF"},
		{"gzip_of_gzip", zipped(zipped(header(little, micro, 2, 4, 65535, 1))), nil, "(it is gzip data, packed twice: decompress it first)"},

		{"empty", nil, nil, "is empty, not a pcap or pcapng file"},
		{"three_octets", []byte{0xd4, 0xc3, 0xb2}, nil, "not a pcap or pcapng file (it begins with d4c3b2)"},
		{"text", []byte("hello, world"), nil, "not a pcap or pcapng file (it begins with 68656c6c6f2c2077)"},
		{"zstd_damaged", []byte("\x28\xb5\x2f\xfd...."), nil, "the zstd data is damaged"},
		{"lz4", []byte("\x04\x22\x4d\x18...."), nil, "(it is lz4 data: decompress it first)"},

		{"ng_little", ng(ether, packetBlock(little, 0, second*1e6+123456, "one"), packetBlock(little, 0, second*1e6, "four")),
			[]string{stamp + ".123456 1 3 one", stamp + " 1 4 four"}, ""},
		{"ng_big", join(section(big, 1, 0), description(big, 1, 0), packetBlock(big, 0, second*1e6+123456, "one")), []string{stamp + ".123456 1 3 one"}, ""},
		{"ng_version_1_2_is_1_0", join(section(little, 1, 2), ether, packetBlock(little, 0, second*1e6, "one")), []string{stamp + " 1 3 one"}, ""},
		{"ng_version_2", join(section(little, 2, 0), ether), nil, "block at octet 0: pcapng version 2.0 is not supported, only 1.0"},
		{"ng_link_type_per_interface", ng(ether, description(little, 276, 0), packetBlock(little, 1, second*1e6, "one"), packetBlock(little, 0, second*1e6, "two")),
			[]string{stamp + " 276 3 one", stamp + " 1 3 two"}, ""},
		{"ng_resolution_1_s", ng(description(little, 1, 0, resolution(little, 0)), packetBlock(little, 0, second, "one")), []string{stamp + " 1 3 one"}, ""},
		{"ng_resolution_1_ms", ng(description(little, 1, 0, resolution(little, 3)), packetBlock(little, 0, second*1000+12, "one")), []string{stamp + ".012 1 3 one"}, ""},
		{"ng_resolution_1_ms_and_a_time_beyond_64_bits_of_ms", ng(description(little, 1, 0, resolution(little, 3)), packetBlock(little, 0, 1<<63, "one")), []string{"2262-04-11T23:47:16.854775807 1 3 one"}, ""},
		{"ng_resolution_1_ns", ng(description(little, 1, 0, resolution(little, 9)), packetBlock(little, 0, second*1e9+12, "one")), []string{stamp + ".000000012 1 3 one"}, ""},
		{"ng_resolution_10_ps", ng(description(little, 1, 0, resolution(little, 11)), packetBlock(little, 0, 100000000*1e11+12*100, "one")), []string{"1973-03-03T09:46:40.000000012 1 3 one"}, ""},
		{"ng_resolution_half_seconds", ng(description(little, 1, 0, resolution(little, 0x81)), packetBlock(little, 0, second*2+1, "one")), []string{stamp + ".5 1 3 one"}, ""},
		{"ng_resolution_2_to_29", ng(description(little, 1, 0, resolution(little, 0x9d)), packetBlock(little, 0, second<<29+3<<27, "one")), []string{stamp + ".75 1 3 one"}, ""},
		{"ng_resolution_2_to_64", ng(description(little, 1, 0, resolution(little, 0xc0))), nil, "block at octet 28: time resolution 0xc0 of an interface makes no sense"},
		{"ng_resolution_10_to_64", ng(description(little, 1, 0, resolution(little, 64))), nil, "time resolution 0x40 of an interface makes no sense"},
		{"ng_time_offset", ng(description(little, 1, 0, offset(little, second)), packetBlock(little, 0, 250000, "one")), []string{stamp + ".25 1 3 one"}, ""},
		{"ng_time_offset_before_1970", ng(description(little, 1, 0, offset(little, -second)), packetBlock(little, 0, 250000, "one")), []string{"1970-01-01T00:00:00 1 3 one"}, ""},
		{"ng_other_options_and_blocks", ng(
			block(little, 4, []byte("name resolution")), description(little, 1, 0, option(little, 2, []byte("eth0")...), option(little, 0), []byte{0xff}),
			block(little, 5, make([]byte, 12)), enhanced(little, 0, second*1e6, 3, 3, "one", option(little, 1, []byte("a remark")...), option(little, 0)),
			block(little, 0xbad, []byte("custom"))),
			[]string{stamp + " 1 3 one"}, ""},
		{"ng_simple_packet_has_the_time_before", ng(ether, packetBlock(little, 0, second*1e6, "one"), block(little, blockSimple, append(little.AppendUint32(nil, 3), "two"...))),
			[]string{stamp + " 1 3 one", stamp + " 1 3 two"}, ""},
		{"ng_simple_packet_cut_by_snap_length", ng(description(little, 1, 2), block(little, blockSimple, append(little.AppendUint32(nil, 1500), "two"...))),
			[]string{"1970-01-01T00:00:00 1 1500 tw"}, ""},
		{"ng_obsolete_packet_block", ng(ether, block(little, blockPacket, append(little.AppendUint32(little.AppendUint32(little.AppendUint64(little.AppendUint32(nil, 7<<16), 0), 3), 1500), "one"...))),
			[]string{"1970-01-01T00:00:00 1 1500 one"}, ""},
		{"ng_sections_of_both_orders", ng(ether, packetBlock(little, 0, second*1e6, "one"), section(big, 1, 0), description(big, 101, 0), packetBlock(big, 0, second*1e6, "two")),
			[]string{stamp + " 1 3 one", stamp + " 101 3 two"}, ""},
		{"ng_interface_of_the_section_before", ng(ether, section(little, 1, 0), packetBlock(little, 0, second*1e6, "one")),
			nil, "block at octet 76: packet 1 is of interface 0, which is not described"},
		{"ng_captured_more_than_packet", ng(ether, enhanced(little, 0, second*1e6, 3, 2, "one")), []string{stamp + " 1 3 one"}, ""},
		{"ng_gigabyte", ng(ether, enhanced(little, 0, 0, 1<<30, 1<<30, "one")), nil, "block at octet 48: packet 1 claims to hold 1073741824 octets, more than the 262144 that are read"},
		{"ng_packet_longer_than_block", ng(ether, enhanced(little, 0, 0, 100, 100, "one")), nil, "block at octet 48: packet 1 of 100 octets in a block of 36"},
		{"ng_block_of_0_octets", ng(ether, make([]byte, 12)), nil, "block at octet 48: block of 0 octets"},
		{"ng_block_of_13_octets", ng(little.AppendUint64(little.AppendUint32(nil, 99), 13)), nil, "block at octet 28: block of 13 octets"},
		{"ng_packet_block_of_16_octets", ng(ether, block(little, blockEnhanced, make([]byte, 4))), nil, "packet block of 16 octets"},
		{"ng_section_too_short", []byte("\n\r\r\n\x0c\x00\x00\x00\x4d\x3c\x2b\x1a"), nil, "block of 12 octets, where 28 to 65536 are expected"},
		{"ng_section_without_order", []byte("\n\r\r\n\x1c\x00\x00\x00abcd"), nil, "block at octet 0: section header without a byte order"},
		{"ng_option_longer_than_block", ng(description(little, 1, 0, []byte{2, 0, 0xff, 0xff})), nil, "block at octet 28: interface option of 65535 octets, where 0 remain"},
		{"ng_block_of_4_gigabytes", ng(ether, little.AppendUint64(little.AppendUint32(nil, 99), 0xfffffffc)), nil, "cut inside the block that begins at octet 48, after 0 whole packets: unexpected EOF"},
		{"ng_cut_in_packet", ng(ether, packetBlock(little, 0, second*1e6, "one"), packetBlock(little, 0, 0, "two")[:30]),
			[]string{stamp + " 1 3 one"}, "cut inside the block that begins at octet 84, after 1 whole packets: unexpected EOF"},
		{"ng_interfaces_without_end", ng(bytes.Repeat(ether, maxInterfaces+1)), nil, "more than 1024 interfaces in a section"},
		{"ng_gzip", zipped(ng(ether, packetBlock(little, 0, second*1e6, "one"))), []string{stamp + " 1 3 one"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.file)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%.300s\nwant\n%.300s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			switch {
			case (err != nil) != (tt.err != ""):
				t.Errorf("error %v, want %q", err, tt.err)
			case err == nil:
			case !strings.HasPrefix(err.Error(), "capture: ") || !strings.Contains(err.Error(), tt.err):
				t.Errorf("error %q, want %q", err, tt.err)
			case errors.Is(err, ErrFormat) == errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("error %v is neither ErrFormat nor io.ErrUnexpectedEOF, or both", err)
			}
		})
	}
}

// sample is a file of each kind.
func sample() map[string][]byte {
	return map[string][]byte{
		"pcap": join(header(big, nano, 2, 4, 65535, 1), packetRecord(big, second, 1, "one"), record(big, second, 1, 5, 4, "three"), packetRecord(big, second, 1, "")),
		"pcapng": join(section(little, 1, 0), description(little, 1, 0, option(little, 9, 0x8a)), packetBlock(little, 0, 1, "one"),
			block(little, blockSimple, append(little.AppendUint32(nil, 3), "two"...)),
			section(big, 1, 0), description(big, 276, 0), enhanced(big, 0, second, 5, 9, "three", option(big, 1, 'x'))),
	}
}

// A file cut anywhere gives the packets before the cut, and then either ends, if
// a packet ends there, or says that and where it was cut.
func TestCutAnywhere(t *testing.T) {
	for name, file := range sample() {
		whole, err := read(file)
		if err != nil || len(whole) != 3 {
			t.Fatalf("%s: %d packets, %v", name, len(whole), err)
		}
		ends := 0
		for n := range file {
			got, err := read(file[:n])
			for i := range got {
				if got[i] != whole[i] {
					t.Errorf("%s cut at %d: packet %q, want %q", name, n, got[i], whole[i])
				}
			}
			switch {
			case err == nil:
				ends++
			case n >= 4 && (!errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "cut inside")):
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
		}
		// Behind the header and each record or block, but for the last.
		if want := map[string]int{"pcap": 3, "pcapng": 6}[name]; ends != want {
			t.Errorf("%s: may be cut in %d places without being cut, want %d", name, ends, want)
		}
	}
}

// A reader that gives an octet at a time, or an error, makes no difference.
func TestSlowReader(t *testing.T) {
	for name, file := range sample() {
		want, _ := read(file)
		got, err := packets(NewReader(&slowReader{file, io.EOF}))
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
		broken := errors.New("disk on fire")
		got, err = packets(NewReader(&slowReader{file[:len(file)-5], broken}))
		if !errors.Is(err, broken) || len(got) < 2 {
			t.Errorf("%s: %d packets, %v", name, len(got), err)
		}
	}
}

type slowReader struct {
	left []byte
	err  error
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(p[:1], r.left)
	r.left = r.left[n:]
	return n, nil
}

// A packet is given as soon as it is there, not when a buffer is full: a capture
// may come through a pipe from a program that still captures.
func TestPipe(t *testing.T) {
	for name, file := range sample() {
		r, w := io.Pipe()
		go func() {
			w.Write(file) // and no end
		}()
		s, err := NewReader(r)
		for range 3 {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, _, err = s.ZeroCopyReadPacketData()
		}
		w.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Errors of OpenFile name the file; Close ends reading.
func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(dir, "missing")
	text := write("text", []byte("hello, world"))
	cut := write("cut.pcap", sample()["pcap"][:50])
	for path, want := range map[string]string{
		missing: "capture: open " + missing + ": no such file or directory",
		dir:     "capture: " + dir + ": read " + dir + ": is a directory",
		text:    "capture: " + text + ": not a pcap or pcapng file (it begins with 68656c6c6f2c2077)",
		cut:     "capture: " + cut + ": cut inside packet 2, which begins at octet 43: unexpected EOF",
	} {
		if _, err := packets(OpenFile(path)); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}

	s, err := OpenFile(write("whole.pcap", sample()["pcap"]))
	if err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st != (Stats{}) {
		t.Errorf("a file has counters: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Close wakes a reader that waits for standard input.
func TestStandardInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer func(f *os.File) { os.Stdin = f }(os.Stdin)
	os.Stdin = r
	// Nobody has written anything yet: opening does not wait, and what waits is
	// woken.
	s, err := OpenFile("-")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, _, err := s.ZeroCopyReadPacketData()
		done <- err
	}()
	time.Sleep(10 * time.Millisecond) // either order must do
	s.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed before there was anything: %v", err)
	}

	w.Write(join(header(little, micro, 2, 4, 65535, 1), packetRecord(little, second, 0, "one")))
	s, err = OpenFile("-")
	if err != nil {
		t.Fatal(err)
	}
	if data, _, err := s.ZeroCopyReadPacketData(); string(data) != "one" {
		t.Fatalf("%q, %v", data, err)
	}
	go func() {
		_, _, err := s.ZeroCopyReadPacketData()
		done <- err
	}()
	time.Sleep(10 * time.Millisecond) // either order must do
	s.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) || !strings.HasPrefix(err.Error(), "capture: standard input: ") {
		t.Errorf("after Close: %v", err)
	}
}

// thrift checks that reading a file, whatever it holds, takes no more memory in
// all than the buffers, and once more what it delivers.
func thrift(t *testing.T, file []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, err := NewReader(bytes.NewReader(file))
	delivered := 0
	for err == nil {
		var data []byte
		if data, _, err = s.ZeroCopyReadPacketData(); err == nil {
			delivered += len(data)
			if len(data) > MaxPacket {
				t.Errorf("a packet of %d octets", len(data))
			}
		}
	}
	runtime.ReadMemStats(&after)
	// What is packed takes its dictionary besides; gzip's is nothing.
	dictionary := packed(file) != nil && packed(file).name != "gzip"
	if used := after.TotalAlloc - before.TotalAlloc; !dictionary && used > 2<<20+2*uint64(delivered) {
		t.Errorf("%d octets were allocated for a file of %d that holds %d", used, len(file), delivered)
	}
	if err != io.EOF && !strings.HasPrefix(err.Error(), "capture: ") {
		t.Errorf("error without a path: %v", err)
	}
}

func FuzzPcap(f *testing.F) {
	f.Add(sample()["pcap"])
	f.Add(zipped(sample()["pcap"]))
	f.Add(join(header(little, micro, 2, 4, 0xffffffff, 276), record(little, 0, 0, 0xffffffff, 0, "x")))
	f.Add(join(header(little, micro, 2, 4, 0, 1), record(little, 0, 0xffffffff, 3, 2, "xyz")))
	f.Fuzz(func(t *testing.T, file []byte) { thrift(t, file) })
}

func FuzzPcapNG(f *testing.F) {
	f.Add(sample()["pcapng"])
	f.Add(zipped(sample()["pcapng"]))
	f.Add(join(section(little, 1, 0), description(little, 1, 0xffffffff, option(little, 9, 0xbf)), enhanced(little, 0, ^uint64(0), 1<<30, 0, "x")))
	f.Add(join(section(big, 1, 2), description(big, 1, 1, option(big, 14, 0x80, 0, 0, 0, 0, 0, 0, 0), option(big, 9, 19)), packetBlock(big, 0, ^uint64(0), "x")))
	f.Add(join(section(big, 1, 2), description(big, 1, 1), block(big, blockPacket, make([]byte, 24)), block(big, 5, nil)))
	f.Fuzz(func(t *testing.T, file []byte) { thrift(t, file) })
}

// loop is a capture of n equal packets behind a beginning.
type loop struct {
	begin, packet []byte
	n             int
	at            []byte
}

func (l *loop) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(l.at) == 0 {
			switch {
			case l.begin != nil:
				l.at, l.begin = l.begin, nil
			case l.n == 0:
				return n, io.EOF
			default:
				l.n--
				l.at = l.packet
			}
		}
		k := copy(p[n:], l.at)
		l.at = l.at[k:]
		n += k
	}
	return n, nil
}

// loops are captures of frames of an ordinary size.
func loops(n int) map[string]*loop {
	data := strings.Repeat("x", 500)
	return map[string]*loop{
		"pcap":   {begin: header(little, micro, 2, 4, 65535, 1), packet: packetRecord(little, second, 0, data), n: n},
		"pcapng": {begin: join(section(little, 1, 0), description(little, 1, 65535)), packet: packetBlock(little, 0, second*1e6, data), n: n},
	}
}

// Once a file is open, a packet costs no allocation.
func TestReadAllocs(t *testing.T) {
	for name, l := range loops(1e6) {
		s, err := NewReader(l)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() {
			if _, _, err := s.ZeroCopyReadPacketData(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a packet", name, n)
		}
	}
}

// endless is a file: a beginning, and then the same octets again and again, in
// pieces as large as one likes to read them.
type endless struct {
	begin, again []byte
	at           int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.begin) > 0 {
		n := copy(p, e.begin)
		e.begin = e.begin[n:]
		return n, nil
	}
	n := copy(p, e.again[e.at:])
	e.at = (e.at + n) % len(e.again)
	return n, nil
}

// BenchmarkRead is the cost of a packet of 82 octets, as the captures of
// side-by-side runs have on average, one at a time and in batches. The copy out
// of what stands for the file is part of it.
func BenchmarkRead(b *testing.B) {
	data := strings.Repeat("x", 82)
	for name, file := range map[string]*endless{
		"pcap":   {begin: header(little, micro, 2, 4, 65535, 1), again: bytes.Repeat(packetRecord(little, second, 0, data), 10000)},
		"pcapng": {begin: join(section(little, 1, 0), description(little, 1, 65535)), again: bytes.Repeat(packetBlock(little, 0, second*1e6, data), 10000)},
	} {
		s, err := NewReader(file)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.ZeroCopyReadPacketData(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/batch", func(b *testing.B) {
			b.ReportAllocs()
			batch := Batch(s)
			dst := make([]Packet, 64)
			for left := b.N; left > 0; {
				n, err := batch.ReadBatch(dst)
				if err != nil {
					b.Fatal(err)
				}
				left -= n
			}
		})
	}
}

// BenchmarkFile reads the capture that the environment variable FLOWTALLY_PCAP
// names, from beginning to end.
func BenchmarkFile(b *testing.B) {
	name := os.Getenv("FLOWTALLY_PCAP")
	if name == "" {
		b.Skip("FLOWTALLY_PCAP names no capture")
	}
	dst := make([]Packet, 64)
	packets := 0
	b.ReportAllocs()
	for b.Loop() {
		s, err := OpenFile(name)
		if err != nil {
			b.Fatal(err)
		}
		for batch := Batch(s); err == nil; {
			var n int
			n, err = batch.ReadBatch(dst)
			packets += n
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		s.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
}

// A batch holds the packets that reading one by one gives.
func TestBatch(t *testing.T) {
	long := strings.Repeat("x", MaxPacket-1)
	for name, file := range map[string][]byte{
		"pcap": join(header(big, nano, 2, 4, 65535, 1), bytes.Repeat(packetRecord(big, second, 1, "one"), 100), packetRecord(big, second, 2, long),
			bytes.Repeat(packetRecord(big, second, 1, long[:1000]), 1000)),
		"pcapng": join(section(little, 1, 0), description(little, 1, 0), bytes.Repeat(packetBlock(little, 0, second, "one"), 100), block(little, 77, make([]byte, 300000)),
			packetBlock(little, 0, second, long), section(big, 1, 0), description(big, 276, 0), bytes.Repeat(packetBlock(big, 0, second, long[:1000]), 1000)),
		"cut":    sample()["pcapng"][:len(sample()["pcapng"])-30],
		"broken": join(sample()["pcap"], record(big, 0, 0, 1<<31, 0, "")),
	} {
		want, wantErr := read(file)
		for _, size := range []int{1, 7, 5000} {
			s, err := NewReader(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			dst := make([]Packet, size)
			for err == nil {
				var n int
				n, err = Batch(s).ReadBatch(dst)
				for _, p := range dst[:n] {
					got = append(got, fmt.Sprintf("%s %d %d %s", p.info().Timestamp.Format("2006-01-02T15:04:05.999999999"), p.Link, p.Length, p.Data))
				}
				if n > 0 && s.LinkType() != dst[n-1].Link {
					t.Errorf("%s: link type %d behind a packet of %d", name, s.LinkType(), dst[n-1].Link)
				}
			}
			if err == io.EOF {
				err = nil
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%s in batches of %d: %d packets, %v; want %d, %v", name, size, len(got), err, len(want), wantErr)
			}
		}
	}
}

// Position begins at the file's beginning and ends at its end; of a reader the
// end is not known.
func TestPosition(t *testing.T) {
	for name, file := range map[string][]byte{"plain": sample()["pcap"], "gzip": zipped(sample()["pcapng"])} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		p, ok := As[Positioner](s)
		if !ok {
			t.Fatalf("%s: no Positioner", name)
		}
		if _, err := packets(s, nil); err != nil {
			t.Fatal(err)
		}
		if done, total := p.Position(); done != int64(len(file)) || total != done {
			t.Errorf("%s: at %d of %d, want %d", name, done, total, len(file))
		}
	}
	s, err := NewReader(bytes.NewReader(sample()["pcap"]))
	if err != nil {
		t.Fatal(err)
	}
	if done, total := s.(Positioner).Position(); done == 0 || total != 0 {
		t.Errorf("a reader is at %d of %d", done, total)
	}
}

// gopacket's reader agrees about every file that it can read.
func TestPcapgo(t *testing.T) {
	compared := 0
	for _, path := range shared(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1<<20 || len(b) < 24 {
			continue
		}
		theirs := theirs(b)
		if theirs == nil {
			continue
		}
		ours, err := NewReader(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		compared++
		for i := 0; ; i++ {
			want, wantInfo, err := theirs.ZeroCopyReadPacketData()
			if err != nil {
				break // perhaps at what only we can read
			}
			got, info, err := ours.ZeroCopyReadPacketData()
			// They give no time to what has none, times that no 63 bits of
			// nanoseconds hold, and let absurd fractions of a second overflow.
			when := wantInfo.Timestamp
			absurd := when.IsZero() || when.Year() > 2261 || strings.Contains(path, "malformed")
			if err != nil || !bytes.Equal(got, want) || !absurd && !info.Timestamp.Equal(when) || info.Length != wantInfo.Length {
				t.Errorf("%s: packet %d: %+v of %d octets, %v, want %+v of %d", path, i+1, info, len(got), err, wantInfo, len(want))
				break
			}
		}
	}
	t.Logf("%d files compared", compared)
	if compared < 500 {
		t.Errorf("only %d files were compared", compared)
	}
}

// theirs is gopacket's reader of a file, nil where it cannot read it.
func theirs(b []byte) gopacket.ZeroCopyPacketDataSource {
	if binary.BigEndian.Uint32(b) == blockSection {
		r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			return nil
		}
		return r
	}
	r, err := pcapgo.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	r.SetSnaplen(MaxPacket)
	return r
}
