package command

import (
	"net/netip"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/netflow"
)

func TestSamplingFlags(t *testing.T) {
	of, err := samplingOf([]string{"10", "10.0.0.0/8=100", "10.1.0.0/16=200"}, []string{"10.2.0.0/16=300", "192.0.2.1=1"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]netflow.Sampling{
		"8.8.8.8":     {Rate: 10},
		"2001:db8::1": {Rate: 10},
		"10.9.9.9":    {Rate: 100},
		"10.1.9.9":    {Rate: 200},
		"10.2.9.9":    {Rate: 300, Override: true},
		"192.0.2.1":   {Rate: 1, Override: true},
	} {
		if got := of(flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr(addr))}); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
	for _, s := range []string{"", "0", "x", "10.0.0.0/8", "10.0.0.0/33=5", "10.0.0.0/8=0", "10.0.0.0/8=-1"} {
		if _, err := samplingOf([]string{s}, nil); err == nil {
			t.Errorf("--sampling %q is taken", s)
		}
	}
	if _, err := samplingOf(nil, []string{"100"}); err == nil {
		t.Error("an override for everybody is taken")
	}
}

func TestAllowFlag(t *testing.T) {
	got, err := parseAllow([]string{"10.1.2.3", "10.0.0.1/8", "::ffff:192.0.2.1", "2001:db8::/32"})
	if err != nil || len(got) != 4 || got[0].String() != "10.1.2.3/32" || got[1].String() != "10.0.0.0/8" || got[2].String() != "192.0.2.1/32" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := parseAllow([]string{"example.org"}); err == nil {
		t.Error("a name is taken for an address")
	}
}

func TestSizeAndAgeFlags(t *testing.T) {
	for text, want := range map[string]size{"0": 0, "1000": 1000, "4G": 4 << 30, "500M": 500 << 20, "2TiB": 2 << 40, "1kB": 1024} {
		var o size
		if err := o.Set(text); err != nil || o != want {
			t.Errorf("%s: %d %v", text, o, err)
		}
		var again size
		if err := again.Set(o.String()); err != nil || again != o {
			t.Errorf("%s prints as %s, which is %d", text, o.String(), again)
		}
	}
	for text, want := range map[string]time.Duration{"15d": 360 * time.Hour, "2w": 336 * time.Hour, "12h": 12 * time.Hour, "forever": -1} {
		var a age
		if err := a.Set(text); err != nil || time.Duration(a) != want {
			t.Errorf("%s: %v %v", text, time.Duration(a), err)
		}
		var again age
		if err := again.Set(a.String()); err != nil || again != a {
			t.Errorf("%s prints as %s", text, a.String())
		}
	}
	for _, text := range []string{"", "-1", "x", "G", "99999999999T", "1d"} {
		if err := new(size).Set(text); err == nil {
			t.Errorf("size %q is taken", text)
		}
	}
	for _, text := range []string{"", "-1d", "5", "0d", "1s", "99999999d"} {
		if err := new(age).Set(text); err == nil {
			t.Errorf("age %q is taken", text)
		}
	}
}
