package packet

import "testing"

func TestSightingOf(t *testing.T) {
	pflog := func(dir byte) []byte {
		b := make([]byte, 64)
		b[0], b[1], b[60] = 61, 2, dir
		return b
	}
	pktap := func(flags byte) []byte {
		b := make([]byte, 108)
		b[0], b[36] = 108, flags
		return b
	}
	for _, tt := range []struct {
		name string
		link uint32
		data []byte
		want Sighting
	}{
		{"ethernet", 1, make([]byte, 60), Sighting{}},
		{"sll_in", 113, unhex("0000 0001 0006 0200000000010000 0800"), Sighting{0, 0, 1}},
		{"sll_out", 113, unhex("0004 0001 0006 0200000000010000 0800"), Sighting{0, 0, 2}},
		{"sll_cut", 113, unhex("00"), Sighting{}},
		{"sll2_in", 276, unhex("0800 0000 00000002 0001 00 06 0200000000010000"), Sighting{2, 0, 1}},
		{"sll2_other_host", 276, unhex("0800 0000 00000002 0001 03 06 0200000000010000"), Sighting{2, 0, 1}},
		{"sll2_out", 276, unhex("0800 0000 00010003 0001 04 06 0200000000010000"), Sighting{0, 65539, 2}},
		{"sll2_cut", 276, unhex("0800 0000 00000002 0001"), Sighting{}},
		{"ppp_received", 204, unhex("00 ff03 0021"), Sighting{0, 0, 1}},
		{"ppp_sent", 204, unhex("01 ff03 0021"), Sighting{0, 0, 2}},
		{"hdlc_sent", 205, unhex("01 0f00 0800"), Sighting{0, 0, 2}},
		{"relay_received", 206, unhex("00 1841"), Sighting{0, 0, 1}},
		{"pppd_sent", 166, unhex("01 03 0021"), Sighting{0, 0, 2}},
		{"pppd_cut", 166, nil, Sighting{}},
		{"pflog_in", 117, pflog(1), Sighting{0, 0, 1}},
		{"pflog_out", 117, pflog(2), Sighting{0, 0, 2}},
		{"pflog_neither", 117, pflog(0), Sighting{}},
		{"pktap_in", 258, pktap(1), Sighting{0, 0, 1}},
		{"pktap_out", 149, pktap(2), Sighting{0, 0, 2}},
		{"pktap_neither", 258, pktap(0), Sighting{}},
		{"nflog_in", 239, unhex("02000000 0800 0400 00000005 0500 0900 45000000"), Sighting{5, 0, 1}},
		{"nflog_out", 239, unhex("02000000 0800 0500 00000006 0500 0900 45000000"), Sighting{0, 6, 2}},
		{"nflog_forwarded", 239, unhex("02000000 0800 0400 00000005 0800 0500 00000006 0500 0900 45"), Sighting{5, 6, 1}},
		{"nflog_big_endian", 239, unhex("02000000 0008 0004 00000005 0005 0009 45000000"), Sighting{5, 0, 1}},
		{"nflog_cut", 239, unhex("02000000 0800 0400 0000"), Sighting{}},
	} {
		if got := SightingOf(tt.link, tt.data); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
