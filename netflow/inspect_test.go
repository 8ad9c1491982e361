package netflow

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"flowtally/flow"
	"flowtally/lab/truth"
)

// TestInspectShowsEveryRecord: what is shown is what is decoded, of every
// capture, and it is JSON.
func TestInspectShowsEveryRecord(t *testing.T) {
	data := truth.Data(t)
	groups := make(map[string][][2]string)
	for _, row := range truth.Table(t, "REPLAY.tsv") {
		groups[row["group"]] = append(groups[row["group"]], [2]string{row["file"], row["format"]})
	}
	for group, files := range groups {
		if group == "pm_112_ipfix_opt_reassign" {
			continue // people are shown what another port's template makes of it
		}
		sum, _ := replay(t, data, files, Limits{HoldOctets: 1})
		in := NewInspector()
		records, datagrams := 0, 0
		for _, f := range files {
			for _, p := range payloads(t, filepath.Join(data, f[0]), f[1]) {
				x := in.Inspect(p.from, noon, p.data)
				datagrams++
				for _, set := range x.Sets {
					records += len(set.Records)
				}
				if _, err := json.Marshal(x); err != nil {
					t.Errorf("%s: %v", group, err)
				}
			}
		}
		if records != sum.records+sum.options || datagrams != sum.datagrams {
			t.Errorf("%s: %d records are shown, %d are decoded", group, records, sum.records+sum.options)
		}
	}
}

func TestInspectNamesFieldsAndFaults(t *testing.T) {
	in := NewInspector()
	x := in.Inspect(somebody, noon, message(IPFIX,
		set(t, 2, `0100 0004 0008 0004 8001 0001 00007279 8001 0002 00001234 0052 ffff`),
		set(t, 256, `0a000001 07 abcd 02 6162`), set(t, 999, `00`)))
	b, err := json.Marshal(x.Sets)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"name":"sourceIPv4Address","id":8,"value":"10.0.0.1"}`, `"name":"reverse octetDeltaCount","enterprise":29305,"id":1,"value":7`,
		`"name":"enterprise_4660_1","enterprise":4660,"id":1,"value":"abcd"`, `"name":"interfaceName","id":82,"value":"ab"`,
		`"id":999,"kind":"unknown"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s\nis not in %s", want, b)
		}
	}
	if len(x.Errors) != 1 || !strings.Contains(x.Errors[0], "template not known") || x.Domain != 7 || x.Version != "ipfix" {
		t.Errorf("%+v", x)
	}
}

func TestNextMessageSplitsAFile(t *testing.T) {
	e, _ := NewEncoder(EncoderConfig{Version: V5})
	five, _ := e.Append(nil, noon, traffic(2, false))
	ten := message(IPFIX, set(t, 2, `0100 0001 0001 0004`))
	nine := message(V9, set(t, 0, `0100 0001 0001 0004`))
	file := append(append(append([]byte{}, five...), ten...), nine...)
	var sizes []int
	for len(file) > 0 {
		var msg []byte
		msg, file = NextMessage(file)
		if len(msg) == 0 {
			t.Fatal("no progress")
		}
		sizes = append(sizes, len(msg))
	}
	if len(sizes) != 3 || sizes[0] != len(five) || sizes[1] != len(ten) {
		t.Errorf("%v", sizes)
	}
}

// FuzzInspect: no octets make the inspector panic or hang, or say what is not
// JSON; and a file splits into messages that add up to it.
func FuzzInspect(f *testing.F) {
	f.Add(message(IPFIX, set(f, 2, `0100 0003 0052 ffff 0001 0004 8001 0001 00001234`)), message(IPFIX, set(f, 256, `02 6162 0000002a 07`)))
	f.Add(message(V9, set(f, 1, `0101 0004 0008 0001 0004 0030 0001 0032 0004`)), message(V9, set(f, 257, `00000000 01 00000064`)))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		in := NewInspector()
		for _, msg := range [][]byte{a, b} {
			if len(msg) > 65535 {
				t.Skip()
			}
			if _, err := json.Marshal(in.Inspect(somebody, noon+flow.Second, msg)); err != nil {
				t.Fatal(err)
			}
			rest, n := msg, 0
			for len(rest) > 0 {
				var m []byte
				m, rest = NextMessage(rest)
				if len(m) == 0 {
					t.Fatal("no progress")
				}
				n += len(m)
			}
			if n != len(msg) {
				t.Fatalf("%d of %d octets", n, len(msg))
			}
		}
	})
}
