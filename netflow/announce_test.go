package netflow

import "testing"

// TestAnnouncedAddress: of options, and of flow records that agree.
func TestAnnouncedAddress(t *testing.T) {
	for name, c := range map[string]struct {
		sets [][]byte
		want string
	}{
		"options": {[][]byte{set(t, 3, `0101 0002 0001 0095 0004 0082 0004`), set(t, 257, `00000007 0A090001`)}, "10.9.0.1"},
		"options_ipv6": {[][]byte{set(t, 3, `0101 0002 0001 0095 0004 0083 0010`),
			set(t, 257, `00000007 20010DB8000000000000000000000009`)}, "2001:db8::9"},
		"options_with_a_name_behind": {[][]byte{set(t, 3, `0101 0003 0001 0095 0004 0082 0004 0054 FFFF`), set(t, 257, `00000007 0A090001 02 6162`)}, "10.9.0.1"},
		"options_with_a_name_before": {[][]byte{set(t, 3, `0101 0003 0001 0095 0004 0054 FFFF 0082 0004`), set(t, 257, `00000007 02 6162 0A090001`)}, ""},
		"flows":                      {[][]byte{set(t, 2, `0100 0002 0001 0004 0082 0004`), set(t, 256, `00000001 0A090001 00000002 0A090001`)}, "10.9.0.1"},
		"flows_of_a_mediator":        {[][]byte{set(t, 2, `0100 0002 0001 0004 0082 0004`), set(t, 256, `00000001 0A090001 00000002 0A090002`)}, ""},
		"zero":                       {[][]byte{set(t, 3, `0101 0002 0001 0095 0004 0082 0004`), set(t, 257, `00000007 00000000`)}, ""},
		"short":                      {[][]byte{set(t, 3, `0101 0002 0001 0095 0004 0082 0002`), set(t, 257, `00000007 0A09`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var m Message
			d := NewDecoder(Limits{})
			if _, err := d.Decode(nil, &m, somebody, noon, message(IPFIX, c.sets...)); err != nil {
				t.Fatal(err)
			}
			got := ""
			if !m.Announced.IsZero() {
				got = m.Announced.String()
			}
			if got != c.want {
				t.Errorf("announced %q, want %q", got, c.want)
			}
		})
	}
}
