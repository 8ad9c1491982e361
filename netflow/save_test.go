package netflow

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"flowtally/flow"
)

// learned returns a decoder that knows something of every kind.
func learned(tb testing.TB) *Decoder {
	d := NewDecoder(Limits{})
	var m Message
	decode := func(port uint16, msg []byte) {
		if _, err := d.Decode(nil, &m, netip.AddrPortFrom(somebody.Addr(), port), noon, msg); err != nil {
			tb.Fatal(err)
		}
	}
	for _, v := range []Version{V9, IPFIX} {
		decode(1, message(v, set(tb, templateSet(v), `0100 0002 0001 0004 0052 ffff`)))
		decode(2, message(v, set(tb, templateSet(v), `0100 0002 0001 0002 0030 0001`)))
		decode(3, message(v, set(tb, templateSet(v), `0102 0002 0001 0001 005f 0004`)))
	}
	decode(1, message(IPFIX, set(tb, 2, `0103 0002 8001 0004 00007279 0001 0004`)))
	decode(1, message(IPFIX, set(tb, 3, `0101 0003 0001 005f 0004 0060 0008 0022 0004`), set(tb, 257, `0d000050`+padded("http", 8)+`00000064`)))
	decode(1, message(V9, set(tb, 1, `0101 0004 000c 0001 0004 0030 0001 0054 0008 0032 0004`), set(tb, 257, `00000000 03`+padded("edge", 8)+`000003e8`)))
	decode(1, message(V9, set(tb, 1, `0104 0004 0004 0002 0004 0022 0004`), set(tb, 260, `00000005 00000064`)))
	return d
}

func TestLoadUndoesSave(t *testing.T) {
	var file bytes.Buffer
	a := learned(t)
	if err := a.Save(&file); err != nil {
		t.Fatal(err)
	}
	b := NewDecoder(Limits{})
	n, err := b.Load(bytes.NewReader(file.Bytes()))
	if err != nil || n != a.store.templates || n != 10 {
		t.Fatalf("%d of %d templates: %v\n%s", n, a.store.templates, err, file.String())
	}
	var m Message
	for _, c := range []struct {
		name  string
		port  uint16
		msg   []byte
		bytes uint64
		rate  uint32
		extra string
	}{
		{"by_its_port", 1, message(IPFIX, set(t, 256, `0000002a 00`)), 42, 100, ""},
		{"sampler_and_its_name", 2, message(V9, set(t, 256, `002c 03`)), 44, 1000, `{"samplerName":"edge"}`},
		{"application", 3, message(IPFIX, set(t, 258, `2d 0d000050`)), 45, 100, `{"applicationId":"0d000050","applicationName":"http"}`},
	} {
		recs, err := b.Decode(nil, &m, netip.AddrPortFrom(somebody.Addr(), c.port), noon, c.msg)
		if err != nil || len(recs) != 1 || recs[0].Bytes != c.bytes || recs[0].SamplingRate != c.rate || string(recs[0].Extra) != c.extra {
			t.Errorf("%s: %+v: %v", c.name, recs, err)
		}
	}
	late := netip.AddrPortFrom(somebody.Addr(), 9)
	b.Decode(nil, &m, late, noon, message(IPFIX, set(t, 256, `002b 00`)))
	recs, err := b.Decode(nil, &m, late, noon+moment, message(IPFIX, set(t, 256, `002e 00`)))
	if err != nil || len(recs) != 2 || recs[0].Bytes != 43 || recs[1].Bytes != 46 {
		t.Errorf("by the port learned last: %+v: %v", recs, err)
	}
	if o := b.store.optionsOf(flow.AddrFrom(somebody.Addr()), domainKey{7, V9}); o == nil || o.interfaces[5] != 100 {
		t.Errorf("options of v9: %+v", o)
	}
}

func TestLoadTakesNothingOnTrust(t *testing.T) {
	var file bytes.Buffer
	if err := learned(t).Save(&file); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(file.String(), "\n")
	for _, c := range []struct {
		name, content string
		limits        Limits
		n             int
		fails         bool
	}{
		{"empty", "", Limits{}, 0, true},
		{"another_file", "hello\n", Limits{}, 0, true},
		{"cut", file.String()[:len(lines[0])+len(lines[1])+10], Limits{}, 1, true},
		{"nothing_learned", lines[0], Limits{}, 0, false},
		{"zero_octets", lines[0] + `{"addr":"192.0.2.1","version":10,"id":256,"fields":"AAEAAA=="}`, Limits{}, 0, true},
		{"identifier_below_256", lines[0] + `{"addr":"192.0.2.1","version":10,"id":2,"fields":"AAEABA=="}`, Limits{}, 0, true},
		{"half_a_field", lines[0] + `{"addr":"192.0.2.1","version":10,"id":256,"fields":"AAEA"}`, Limits{}, 0, true},
		{"scopes_beyond_the_fields", lines[0] + `{"addr":"192.0.2.1","version":9,"id":256,"options":true,"scopes":-3,"fields":"AAEABA=="}`, Limits{}, 0, true},
		{"above_the_limit", file.String(), Limits{ExporterTemplates: 3}, 10, false},
	} {
		d := NewDecoder(c.limits)
		n, err := d.Load(strings.NewReader(c.content))
		if n != c.n || (err != nil) != c.fails {
			t.Errorf("%s: %d templates: %v", c.name, n, err)
		}
		if most := d.store.limits.ExporterTemplates; d.store.templates > most {
			t.Errorf("%s: %d templates are kept, at most %d", c.name, d.store.templates, most)
		}
	}
}

// TestLoadedRatesFitTheirColumn: what a file says of sampling is bounded as what
// the wire says.
func TestLoadedRatesFitTheirColumn(t *testing.T) {
	var file bytes.Buffer
	if err := learned(t).Save(&file); err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(Limits{})
	text := regexp.MustCompile(`"rate":[0-9]+`).ReplaceAllString(file.String(), `"rate":4294967295`)
	text = regexp.MustCompile(`"interfaces":\{[^}]*\}`).ReplaceAllString(text, `"interfaces":{"5":4294967295}`)
	if _, err := d.Load(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range d.store.exporters {
		for _, dom := range e.domains {
			o := dom.options.Load()
			rates := []uint32{o.rate}
			for _, x := range o.selectors {
				rates = append(rates, x.rate)
			}
			for _, rate := range o.interfaces {
				rates = append(rates, rate)
			}
			for _, rate := range rates {
				if rate != 0 {
					seen++
				}
				if rate > maxRate {
					t.Errorf("a rate of %d", rate)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no rate was loaded")
	}
}

// FuzzLoad: no file makes Load panic or keep more than the limits, and what it
// took over is what it would save again.
func FuzzLoad(f *testing.F) {
	var file bytes.Buffer
	if err := learned(f).Save(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(savedFormat + "\n" + `{"addr":"::1","version":9,"sampling":{"selectors":[{"id":1,"name":"\u0000"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := Limits{Templates: 8, TemplateOctets: 400, ExporterTemplates: 4, ExporterOctets: 300}
		d := NewDecoder(l)
		d.Load(bytes.NewReader(b))
		if d.store.templates > l.Templates || d.store.octets > l.TemplateOctets {
			t.Fatalf("%d templates of %d octets", d.store.templates, d.store.octets)
		}
		var again bytes.Buffer
		if err := d.Save(&again); err != nil {
			t.Fatal(err)
		}
		e := NewDecoder(l)
		if n, err := e.Load(&again); n != d.store.templates || err != nil {
			t.Fatalf("%d templates were saved, %d loaded: %v", d.store.templates, n, err)
		}
		msg := message(IPFIX, []byte{1, 0, 0, 8, 1, 2, 3, 4})
		binary.BigEndian.PutUint32(msg[12:], 0)
		var m Message
		d.Decode(nil, &m, somebody, noon, msg)
	})
}
