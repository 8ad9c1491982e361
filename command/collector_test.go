package command

import (
	"net/netip"
	"testing"

	"github.com/spf13/pflag"

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
	var got []netip.Prefix
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	many(fs, &got, "allow", "", nil, networks, "")
	if err := fs.Parse([]string{"--allow", "10.1.2.3", "--allow", "10.0.0.1/8,::ffff:192.0.2.1", "--allow=2001:db8::/32"}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0].String() != "10.1.2.3/32" || got[1].String() != "10.0.0.0/8" || got[2].String() != "192.0.2.1/32" {
		t.Errorf("%v", got)
	}
	if err := fs.Parse([]string{"--allow", "example.org"}); err == nil {
		t.Error("a name is taken for an address")
	}
}
