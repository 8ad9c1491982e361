package tunnel

import (
	"encoding/hex"
	"strings"
	"testing"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var headers = []struct {
	name   string
	read   func([]byte) (Header, error)
	header string
	want   Header
	err    error
}{
	{"vxlan", VXLAN, "08000000 00002a00", Header{Kind: KindVXLAN, ID: 42, HasID: true, Link: 1, Length: 8}, nil},
	{"vxlan_largest_vni_reserved_octet_set", VXLAN, "08000000 ffffffff", Header{Kind: KindVXLAN, ID: 1<<24 - 1, HasID: true, Link: 1, Length: 8}, nil},
	{"vxlan_reserved_bits", VXLAN, "ff01d1f2 00000b00", Header{Kind: KindVXLAN, ID: 11, HasID: true, Link: 1, Length: 8}, nil},
	{"vxlan_vni_not_valid", VXLAN, "00000000 00002a00", Header{}, ErrHeader},
	{"vxlan_cut", VXLAN, "08000000 00002a", Header{}, ErrHeader},
	{"geneve_frame_behind_options", Geneve, "02006558 00002a00 01028001 00000000", Header{Kind: KindGeneve, ID: 42, HasID: true, Link: 1, Length: 16}, nil},
	{"geneve_ip", Geneve, "00000800 00002a00", Header{Kind: KindGeneve, ID: 42, HasID: true, Link: LinkIPv4, Length: 8}, nil},
	{"geneve_control", Geneve, "00806558 00002a00", Header{}, ErrForeign},
	{"geneve_version_1", Geneve, "40006558 00002a00", Header{}, ErrHeader},
	{"geneve_options_cut", Geneve, "02006558 00002a00 010280", Header{}, ErrHeader},
	{"vxlan_gpe_without_next", VXLANGPE, "08000003 00002a00", Header{Kind: KindVXLAN, ID: 42, HasID: true, Link: 1, Length: 8}, nil},
	{"vxlan_gpe_ipv6", VXLANGPE, "0c000002 00002a00", Header{Kind: KindVXLAN, ID: 42, HasID: true, Link: LinkIPv6, Length: 8}, nil},
	{"vxlan_gpe_nsh", VXLANGPE, "0c000004 00002a00", Header{Kind: KindVXLAN, ID: 42, HasID: true, Link: LinkNone, Length: 8, EtherType: EtherTypeNSH}, nil},
	{"vxlan_gpe_unknown", VXLANGPE, "0c000007 00002a00", Header{}, ErrForeign},
	{"gtpu", GTPU, "30ff0014 0000002a", Header{Kind: KindGTPU, ID: 42, HasID: true, Link: LinkRaw, Length: 8}, nil},
	{"gtpu_extension", GTPU, "34ff0018 0000002a 00000085 01001000", Header{Kind: KindGTPU, ID: 42, HasID: true, Link: LinkRaw, Length: 16}, nil},
	{"gtpu_extension_without_length", GTPU, "34ff0018 0000002a 00000085 00001000", Header{}, ErrHeader},
	{"gtpu_echo", GTPU, "32010004 00000000 00000000", Header{}, ErrForeign},
	{"gtp_prime", GTPU, "20ff0004 00000000", Header{}, ErrHeader},
	{"tzsp", TZSP, "01000001 000a01c001", Header{Kind: KindTZSP, Link: 1, Length: 9}, nil},
	{"tzsp_of_802_11", TZSP, "01000012 01", Header{Kind: KindTZSP, Link: 105, Length: 5}, nil},
	{"tzsp_for_transmit", TZSP, "01010001 00 01", Header{Kind: KindTZSP, Link: 1, Length: 6}, nil},
	{"tzsp_reserved", TZSP, "01020001 01", Header{}, ErrForeign},
	{"tzsp_keepalive", TZSP, "01040000 01", Header{}, ErrForeign},
	{"tzsp_without_end", TZSP, "01000001 0a04", Header{}, ErrHeader},
	{"tzsp_field_cut", TZSP, "01000001 0a", Header{}, ErrHeader},
	{"gre_ipv4", GRE, "00000800 45", Header{Kind: KindGRE, Link: LinkIPv4, Length: 4}, nil},
	{"gre_key_0_is_a_key", GRE, "200086dd 00000000 60", Header{Kind: KindGRE, HasID: true, Link: LinkIPv6, Length: 8}, nil},
	{"gre_checksum_key_sequence", GRE, "b0006558 00000000 0000002a 00000001 02", Header{Kind: KindGRE, ID: 42, HasID: true, Link: 1, Length: 16}, nil},
	{"gre_mpls", GRE, "00008847 00000100", Header{Kind: KindGRE, Link: LinkNone, Length: 4, EtherType: EtherTypeMPLS}, nil},
	{"gre_of_aruba", GRE, "00008200 8801", Header{Kind: KindGRE, Link: 105, Length: 4}, nil},
	{"gre_keepalive", GRE, "00000000", Header{}, ErrForeign},
	{"gre_isis", GRE, "000000fe 83", Header{}, ErrForeign},
	{"gre_source_routes", GRE, "40000800 00000000 08000004 0a000001 00000000 45", Header{Kind: KindGRE, Link: LinkIPv4, Length: 20}, nil},
	{"gre_source_routes_cut", GRE, "40000800 00000000 08000004 0a00", Header{}, ErrHeader},
	{"gre_wccp_redirect", GRE, "0000883e 00000000 45", Header{Kind: KindGRE, Link: LinkIPv4, Length: 8}, nil},
	{"gre_wccp_without_redirect", GRE, "0000883e 45000000", Header{Kind: KindGRE, Link: LinkIPv4, Length: 4}, nil},
	{"gre_cisco_metadata", GRE, "00008909 01010001 000a86dd 60", Header{Kind: KindGRE, Link: LinkIPv6, Length: 12}, nil},
	{"gre_cisco_metadata_cut", GRE, "00008909 01010001 000a", Header{}, ErrHeader},
	{"gre_version_3", GRE, "00030800", Header{}, ErrHeader},
	{"gre_key_cut", GRE, "20000800 0000", Header{}, ErrHeader},
	{"pptp", GRE, "3081880b 00300009 00000001 00000002 ff", Header{Kind: KindPPTP, ID: 9, HasID: true, Link: 9, Length: 16}, nil},
	{"erspan_i", GRE, "000088be 02", Header{Kind: KindERSPAN1, Link: 1, Length: 4}, nil},
	{"erspan_ii", GRE, "100088be 00000001 10640c07 00000000", Header{Kind: KindERSPAN, ID: 7, HasID: true, Link: 1, Length: 16}, nil},
	{"erspan_iii", GRE, "100022eb 00000001 20640007 00000000 00000000", Header{Kind: KindERSPAN, ID: 7, HasID: true, Link: 1, Length: 20}, nil},
	{"erspan_iii_subheader", GRE, "100022eb 00000001 20640007 00000000 00000001 0000000000000000", Header{Kind: KindERSPAN, ID: 7, HasID: true, Link: 1, Length: 28}, nil},
	{"erspan_iii_of_ip", GRE, "100022eb 00000001 20640007 00000000 00000800", Header{Kind: KindERSPAN, ID: 7, HasID: true, Link: 101, Length: 20}, nil},
	{"erspan_version_0", GRE, "100088be 00000001 00640c07 00000000", Header{}, ErrHeader},
	{"erspan_cut", GRE, "100088be 00000001 10640c07", Header{}, ErrHeader},
}

// Each header says what follows it; cut anywhere, it never says that more was read
// than there is.
func TestHeaders(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			b := octets(t, tt.header)
			got, err := tt.read(b)
			if err != tt.err {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			for n := range b {
				if h, err := tt.read(b[:n:n]); err == nil && h.Length > n {
					t.Errorf("cut at %d: what is carried begins at %d", n, h.Length)
				}
			}
		})
	}
}

// Reading a header allocates nothing.
func TestNoAllocation(t *testing.T) {
	for _, tt := range headers {
		b := octets(t, tt.header)
		if n := testing.AllocsPerRun(10, func() { _, _ = tt.read(b) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// Whatever a stranger sends: one of the two errors, or something behind a header
// that is there.
func FuzzHeaders(f *testing.F) {
	for _, tt := range headers {
		f.Add(octets(f, tt.header))
	}
	all := []func([]byte) (Header, error){GRE, VXLAN, VXLANGPE, Geneve, GTPU, TZSP}
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, read := range all {
			h, err := read(b)
			switch {
			case err == nil && (h.Length > len(b) || h.Length < 4 || h.Kind.String() == "" || h.Kind.IDName() == "" || h.Link == 0 || (h.Link == LinkNone) != (h.EtherType != 0)):
				t.Errorf("function %d: %+v of %x", i, h, b)
			case err != nil && err != ErrHeader && err != ErrForeign:
				t.Errorf("function %d: %v", i, err)
			}
		}
	})
}
