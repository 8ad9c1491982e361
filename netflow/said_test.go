package netflow

import (
	"bytes"
	"net/netip"
	"testing"

	"flowtally/flow"
)

// announcer sends what a test of announcements needs: options that say a rate, or a
// flow.
type announcer struct {
	t *testing.T
	d *Decoder
	m Message
}

func (x *announcer) announce(at flow.Time, rate string) {
	x.t.Helper()
	b := message(IPFIX, set(x.t, 3, `0100 0002 0001 0095 0004 0022 0004`), set(x.t, 256, `00000000 `+rate))
	if _, err := x.d.Decode(nil, &x.m, somebody, at, b); err != nil {
		x.t.Fatal(err)
	}
}

// rate returns the rate of a flow that comes now.
func (x *announcer) rate(at flow.Time) uint32 {
	x.t.Helper()
	b := message(IPFIX, set(x.t, 2, `0101 0001 0001 0004`), set(x.t, 257, `00000064`))
	recs, err := x.d.Decode(nil, &x.m, somebody, at, b)
	if err != nil || len(recs) != 1 {
		x.t.Fatalf("%d records: %v", len(recs), err)
	}
	return recs[0].SamplingRate
}

func (x *announcer) restarted(at flow.Time) {
	x.d.Restarted(flow.Exporter{Addr: flow.AddrFrom(somebody.Addr()), Domain: 7}, IPFIX, at)
}

// TestRateOutlivesNoRestart: an exporter that sampled 1:10, repeated it every
// minute, and started again without sampling is not scaled for ever; a good router
// that says it once is.
func TestRateOutlivesNoRestart(t *testing.T) {
	const ten = `0000000a`
	t.Run("repeated", func(t *testing.T) {
		x := announcer{t: t, d: NewDecoder(Limits{})}
		for i := range flow.Time(5) {
			x.announce(noon+i*flow.Minute, ten)
		}
		if x.rate(noon+flow.Day) != 10 || x.m.SamplingProvisional {
			t.Error("it is forgotten although nothing started again")
		}
		start := noon + 5*flow.Minute
		x.restarted(start)
		if x.rate(start+50*flow.Second) != 10 || !x.m.SamplingProvisional || x.m.SamplingAt != noon+4*flow.Minute {
			t.Errorf("provisional: %+v", x.m)
		}
		if got := x.rate(start + 90*flow.Second); got != 0 || !x.m.SamplingForgotten {
			t.Errorf("a rate of %d after the time in which it is repeated", got)
		}
		x.announce(start+10*flow.Minute, ten)
		if x.rate(start+11*flow.Minute) != 10 || x.m.SamplingForgotten || x.m.SamplingProvisional {
			t.Error("what is announced again is not used")
		}
	})
	t.Run("said_once", func(t *testing.T) {
		x := announcer{t: t, d: NewDecoder(Limits{})}
		x.announce(noon, ten)
		x.restarted(noon + flow.Day)
		if got := x.rate(noon + flow.Day + 9*flow.Minute); got != 10 {
			t.Errorf("a rate of %d before ten minutes", got)
		}
		if got := x.rate(noon + flow.Day + 11*flow.Minute); got != 0 {
			t.Errorf("a rate of %d after ten minutes", got)
		}
	})
	t.Run("said_again", func(t *testing.T) {
		x := announcer{t: t, d: NewDecoder(Limits{})}
		x.announce(noon, ten)
		x.restarted(noon + flow.Day)
		x.announce(noon+flow.Day+flow.Second, ten)
		if got := x.rate(noon + 2*flow.Day); got != 10 || x.m.SamplingProvisional {
			t.Errorf("a rate of %d", got)
		}
	})
	t.Run("had_not_started_again", func(t *testing.T) {
		x := announcer{t: t, d: NewDecoder(Limits{})}
		x.announce(noon, ten)
		x.restarted(noon + flow.Minute)
		x.restarted(0)
		if got := x.rate(noon + flow.Day); got != 10 {
			t.Errorf("a rate of %d", got)
		}
	})
	t.Run("over_a_restart_of_ours", func(t *testing.T) {
		x := announcer{t: t, d: NewDecoder(Limits{})}
		x.announce(noon, ten)
		x.rate(noon)
		x.restarted(noon + flow.Minute)
		var file bytes.Buffer
		if err := x.d.Save(&file); err != nil {
			t.Fatal(err)
		}
		y := announcer{t: t, d: NewDecoder(Limits{})}
		if _, err := y.d.Load(&file); err != nil {
			t.Fatal(err)
		}
		if y.rate(noon+2*flow.Minute) != 10 || !y.m.SamplingProvisional || y.m.SamplingAt != noon {
			t.Errorf("provisional: %+v", y.m)
		}
		if got := y.rate(noon + 12*flow.Minute); got != 0 {
			t.Errorf("a rate of %d", got)
		}
	})
}

// TestSamplersOutliveNoRestart: each sampler and interface for itself.
func TestSamplersOutliveNoRestart(t *testing.T) {
	d := NewDecoder(Limits{})
	var m Message
	from := netip.AddrPortFrom(somebody.Addr(), 1)
	say := func(at flow.Time, table string) {
		b := message(V9, set(t, 1, `0100 0004 0008 0001 0004 0030 0004 0032 0004`), set(t, 256, table))
		if _, err := d.Decode(nil, &m, from, at, b); err != nil {
			t.Fatal(err)
		}
	}
	rates := func(at flow.Time) (n [2]uint32) {
		b := message(V9, set(t, 0, `0101 0002 0001 0004 0030 0004`), set(t, 257, `00000064 00000001 00000064 00000002`))
		recs, err := d.Decode(nil, &m, from, at, b)
		if err != nil || len(recs) != 2 {
			t.Fatal(len(recs), err)
		}
		return [2]uint32{recs[0].SamplingRate, recs[1].SamplingRate}
	}
	say(noon, `00000000 00000001 00000064 00000000 00000002 000000c8`)
	d.Restarted(m.Exporter, V9, noon+flow.Hour)
	say(noon+flow.Hour+flow.Second, `00000000 00000002 000000c8`)
	if got := rates(noon + flow.Hour + flow.Minute); got != [2]uint32{100, 200} {
		t.Errorf("provisional: %v", got)
	}
	if got := rates(noon + 2*flow.Hour); got[1] != 200 || got[0] == 100 {
		t.Errorf("one that was announced again, one that was not: %v", got)
	}
}
