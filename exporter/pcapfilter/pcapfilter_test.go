package pcapfilter_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"flowtally/exporter/pcapfilter"

	"golang.org/x/net/bpf"
)

// TestErrorsPointAtTheWord: and say what to do about it.
func TestErrorsPointAtTheWord(t *testing.T) {
	for _, tt := range []struct{ expr, word, says string }{
		{"tpc port 80", "tpc", "did you mean tcp?"},
		{"tcp prot 80", "prot", "and or or is missing"},
		{"port 80 443", "443", "and or or is missing"},
		{"port 70000", "70000", "at most 65535"},
		{"port nosuchservice", "nosuchservice", "no port of that name"},
		{"port 1000-2000", "1000-2000", "wants portrange"},
		{"host example.org", "example.org", "not looked up"},
		{"host 10.1.2.300", "10.1.2.300", "300 is more than 255"},
		{"host 10.1", "10.1", "write net before it"},
		{"net 10.1.2.3/8", "10.1.2.3", "did you mean 10.0.0.0?"},
		{"net 10.0.0.0/33", "33", "0 to 32"},
		{"net 2001:db8::1/32", "2001:db8::1", "did you mean 2001:db8::/32?"},
		{"tcp host 10.1.2.3", "10.1.2.3", "write tcp and host 10.1.2.3"},
		{"(tcp or udp", "", `")" is missing`},
		{"tcp or udp)", ")", "no parenthesis to close"},
		{"tcp and", "", "is missing"},
		{"tcp[13 & 2 != 0", "!=", `"]" is missing`},
		{"tcp[0:3] = 1", "3", "1, 2 or 4"},
		{"ip[0] / 0 = 1", "/", "division by zero"},
		{"vlan 5000", "5000", "at most 4095"},
		{"ip proto 300", "300", "at most 255"},
		{"ether host 10.1.2.3", "10.1.2.3", "hardware address"},
		{"host 00:11:22:33:44:55", "00:11:22:33:44:55", "ether"},
		{"ip broadcast", "broadcast", "netmask"},
		{"inbound", "inbound", "not supported"},
		{"tcp $ 80", "$", "means nothing"},
		{"less tcp", "tcp", "length in octets"},
		{"proto nosuch", "nosuch", "no protocol"},
		{"99999999999999", "99999999999999", "so large"},
	} {
		_, err := pcapfilter.Compile(tt.expr, 1, 0)
		var e *pcapfilter.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", tt.expr, err)
			continue
		}
		if e.Word != tt.word || tt.expr[e.Offset:e.End] != tt.word || !strings.Contains(e.Error(), tt.says) {
			t.Errorf("%q: %v", tt.expr, e)
		}
	}
}

// TestBoundedWork: neither depth nor length of an expression harms.
func TestBoundedWork(t *testing.T) {
	for name, expr := range map[string]string{
		"parentheses": strings.Repeat("(", 5000) + "tcp" + strings.Repeat(")", 5000),
		"negations":   strings.Repeat("not ", 2000) + "tcp",
		"arithmetic":  strings.Repeat("-", 5000) + "len = 1",
		"brackets":    strings.Repeat("ip[", 2000) + "1",
		"identifiers": "port " + strings.Repeat("(", 3000) + "80",
		"too_long":    strings.Repeat("tcp or ", 2000) + "tcp",
		"too_many":    strings.Repeat("port 1 or ", 1000) + "port 1",
	} {
		if _, err := pcapfilter.Compile(expr, 1, 0); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

// TestServiceNames: a name means its number.
func TestServiceNames(t *testing.T) {
	for name, number := range map[string]string{"tcp port https": "tcp port 443", "port domain": "port 53", "udp port ntp": "udp port 123", "tcp portrange ftp-http": "tcp portrange 21-80"} {
		a, b := ours(t, name, 1), ours(t, number, 1)
		if !slices.Equal(a, b) {
			t.Errorf("%q is not %q", name, number)
		}
	}
}

// TestParseProgram: what tcpdump -ddd prints is taken, what is no program is not.
func TestParseProgram(t *testing.T) {
	raw, err := pcapfilter.ParseProgram("4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n")
	if err != nil || len(raw) != 4 || raw[1].K != 2048 || raw[1].Jf != 1 {
		t.Errorf("%v %v", raw, err)
	}
	for _, text := range []string{"", "0\n", "2\n6 0 0 1\n", "1\n6 0 0\n", "1\n6 0 0 0 0\n", "1\n65536 0 0 0\n", "1\n40 0 0 12\n", "2\n21 9 9 1\n6 0 0 0\n", "1\n255 0 0 0\n", "-1\n", "1\nx 0 0 0\n"} {
		if raw, err := pcapfilter.ParseProgram(text); err == nil {
			t.Errorf("%q is a program: %v", text, raw)
		}
	}
}

func TestMentionsTags(t *testing.T) {
	for expr, want := range map[string]bool{"vlan 10 and tcp": true, "tcp port 80": false, "not VLAN": true} {
		if got := pcapfilter.MentionsTags(expr); got != want {
			t.Errorf("%q: %v", expr, got)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pcapfilter.Compile("tcp port 80 and not net 10.0.0.0/8", 1, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func ours(t testing.TB, expr string, link uint32) []bpf.Instruction {
	t.Helper()
	raw, err := pcapfilter.Compile(expr, link, 65535)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("%s: the program cannot be read back", expr)
	}
	return prog
}
