package command

import (
	"strings"
	"testing"
	"time"
)

// values are texts and what they mean to a kind; what it writes means the same again.
func values[T comparable](t *testing.T, name string, k kind[T], want map[string]T, refused ...string) {
	t.Helper()
	for text, w := range want {
		got, err := k.of(text)
		if err != nil || got != w {
			t.Errorf("%s %q is %v, %v, want %v", name, text, got, err, w)
			continue
		}
		if again, err := k.of(k.text(got)); err != nil || again != got {
			t.Errorf("%s %q is written %q, which is %v, %v", name, text, k.text(got), again, err)
		}
	}
	for _, text := range refused {
		if got, err := k.of(text); err == nil {
			t.Errorf("%s %q is taken, as %v", name, text, got)
		} else if !strings.Contains(err.Error(), "want ") || errNotPlain(err.Error()) != "" {
			t.Errorf("%s %q is refused with %q", name, text, err)
		}
	}
}

// What people write is understood: units, ports alone, names of versions.
func TestValues(t *testing.T) {
	values(t, "size", sizes[int64](sizeForm, 1, 0, 1<<62), map[string]int64{
		"0": 0, "1000": 1000, "4G": 4 << 30, "500M": 500 << 20, "2TiB": 2 << 40, "1kB": 1024, "4 GiB": 4 << 30, "4g": 4 << 30, "500mb": 500 << 20, "1.5G": 3 << 29, "12B": 12,
	}, "", "-1", "x", "G", "99999999999T", "1d", "1e3", "Inf", "NaN", "4 G G", "0x10")
	values(t, "capture buffer", sizes[int]("MiB", 1<<20, 0, 2<<30), map[string]int{"64": 64 << 20, "64M": 64 << 20, "1G": 1 << 30, "0": 0}, "3000", "4G", "-1")
	values(t, "age", ages, map[string]time.Duration{
		"15d": 360 * time.Hour, "2w": 336 * time.Hour, "12h": 12 * time.Hour, "1y": 366 * 24 * time.Hour, "forever": -1, "Forever": -1, "90 days": 90 * 24 * time.Hour,
	}, "", "-1d", "5", "0d", "1s", "99999999d", "300y", "soon")
	values(t, "duration", times, map[string]time.Duration{
		"300": 300 * time.Second, "90s": 90 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "500ms": 500 * time.Millisecond, "0.5": 500 * time.Millisecond,
		"2d": 48 * time.Hour, "5 min": 5 * time.Minute, "2 hours": 2 * time.Hour, "1m30s": 90 * time.Second, "1.5h": 90 * time.Minute, "5M": 5 * time.Minute,
	}, "", "-5", "0", "5x", "h", "1h30", "99999999999999w", "300000000000s", "1..5s", "five")
	values(t, "count", counts[int]("records a second", 0, unlimited), map[string]int{
		"0": 0, "100000": 100_000, "100k": 100_000, "100K": 100_000, "1M": 1_000_000, "1_000": 1000, " 5 ": 5,
	}, "", "-1", "1.5", "100kk", "9999G", "99999999999999999999", "many", "k", "1e5", "0x10")
	values(t, "1:N", oneIn, map[string]uint32{"10": 10, "1:10": 10, "1/10": 10, "1: 1000": 1000, "1k": 1000, "1": 1}, "", "0", "1:0", "2:10", "10:1", "-1", "x", "1:")
	values(t, "version", versions, map[string]int{
		"5": 5, "9": 9, "10": 10, "v5": 5, "v9": 9, "v10": 10, "netflow5": 5, "netflow9": 9, "NetFlow v9": 9, "netflow-v5": 5, "ipfix": 10, "IPFIX": 10,
	}, "", "8", "1", "sflow", "11", "ipfix10")
	values(t, "speed", speeds, map[string]string{"max": "max", "1x": "1x", "10": "10x", "0.5X": "0.5x"}, "", "fast", "-1x", "0", "x")
	values(t, "listen", listening("udp", "", "9995"), map[string]string{
		"9995": ":9995", ":9995": ":9995", "127.0.0.1": "127.0.0.1:9995", "127.0.0.1:2055": "127.0.0.1:2055", "[::1]:9995": "[::1]:9995", "[::1]": "[::1]:9995",
		"::": "[::]:9995", "localhost": "localhost:9995", "*:9995": ":9995", "127.0.0.1:0": "127.0.0.1:0", "0.0.0.0": "0.0.0.0:9995",
	}, "", ":", "99999", ":99999", "127.0.0.1:port", "http://127.0.0.1:9995", "10.0.0.300:9995", "10.0.0", "2001:db8::1", "2001:db8::1:9995", "[::1", "[nonsense]:1", "a b", "1:2:3", "127.0.0.1:", "udp://:9995")
	values(t, "page", listening("tcp", "127.0.0.1", "8080"), map[string]string{"8080": "127.0.0.1:8080", ":8080": ":8080", "10.0.0.5": "10.0.0.5:8080"})
	values(t, "destination", destinations, map[string]string{
		"192.0.2.10:9995": "192.0.2.10:9995", "192.0.2.10": "192.0.2.10:9995", "collector": "collector:9995", "2055": "127.0.0.1:2055", "tcp://flows.example.org": "tcp://flows.example.org:4739",
		"TLS://flows.example.org": "tls://flows.example.org:4740", "tls://[2001:db8::1]:4740": "tls://[2001:db8::1]:4740", "[2001:db8::1]": "[2001:db8::1]:9995",
		"192.0.2.10,version=ipfix": "192.0.2.10:9995,version=ipfix", "192.0.2.10:1,version=v9,filter=dst port in [53, 853]": "192.0.2.10:1,version=v9,filter=dst port in [53, 853]",
	}, "", "host:", "host:0", "host:99999", "host:flows", "udp://host:9995", "://host", "2001:db8::1:9995", "host:1,speed=9", "host:1,version=7", "a/b:1", ":9995:")
	values(t, "GRE", tunnelEnds, map[string]string{"0.0.0.0": "0.0.0.0", "::": "::", "[::]": "::", "192.0.2.1": "192.0.2.1"}, "", ":47", "0.0.0.0:47", "eth0", "4789")
	values(t, "host", hostNames, map[string]string{"flows.example.org": "flows.example.org", "flows.example.org:8080": "flows.example.org", "192.0.2.1": "192.0.2.1"}, "", "http://flows.example.org", "a b", "*")
	values(t, "name server", nameServers, map[string]string{"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "2001:db8::53": "[2001:db8::53]:53", "ns.example.org": "ns.example.org:53"}, "", "192.0.2.53:0", "https://dns.example.org/dns-query")
	values(t, "switch", switches, map[string]bool{"true": true, "yes": true, "On": true, "0": false, "off": false}, "", "maybe", "2")
	values(t, "step", steps, map[string]string{"auto": "auto", "60s": "60s", "300": "300s", "1mo": "1mo", "1D": "1d"}, "", "0", "1.5x", "1mo1d", "weekly")
}

// The texts of a flag that can be repeated: divided by commas where values have none, each once.
func TestSeveral(t *testing.T) {
	var to []string
	v := &several[string]{kind: destinations, to: &to}
	for _, text := range []string{"a:1,b:2", "c:3,version=9,filter=src port in [1, 2]"} {
		if err := v.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(to, " | "); got != "a:1 | b:2 | c:3,version=9,filter=src port in [1, 2]" {
		t.Errorf("the destinations are %s", got)
	}
	if err := v.Set("b:2"); err == nil || !strings.Contains(err.Error(), "b:2 is given twice") {
		t.Errorf("twice the same: %v", err)
	}
	if err := v.Replace([]string{"b:2"}); err != nil || len(to) != 1 {
		t.Errorf("%v, %v", to, err)
	}
}
