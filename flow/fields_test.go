package flow

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFieldsAreConsistent: a name, a word and a key mean one thing, and a field
// says of itself what its readers need.
func TestFieldsAreConsistent(t *testing.T) {
	names, words, keys := map[string]bool{}, map[string]bool{}, map[string]bool{}
	once := func(seen map[string]bool, what, s string) {
		if s != "" && seen[s] {
			t.Errorf("%s %q is there twice", what, s)
		}
		seen[s] = true
	}
	columns := true
	for i := range Fields {
		f := &Fields[i]
		once(names, "name", f.Name)
		once(keys, "key", f.Key)
		for _, w := range append([]string{f.Word}, f.Aliases...) {
			once(words, "word", w)
		}
		if f.Key != "" && f.Key != strings.ReplaceAll(f.Name, "_", "-") {
			t.Errorf("%s: its key is %q", f.Name, f.Key)
		}
		if f.Label == "" || f.IsColumn() != (f.What != "") {
			t.Errorf("%s: label %q, sentence %q", f.Name, f.Label, f.What)
		}
		if (f.Number != nil) && !f.Kind.IsNumber() || (f.Addr != nil) != (f.Kind == KindAddr && f.Stored != "") {
			t.Errorf("%s: its accessor is not of its kind", f.Name)
		}
		if f.Kind.IsNumber() && f.Max == 0 {
			t.Errorf("%s: a number without a bound", f.Name)
		}
		if f.Extra && (f.Number != nil || f.Addr != nil || f.Stored != "" || len(f.Elements) == 0 || !f.IsColumn() && f.Word == "" && f.Name != "ttl") {
			t.Errorf("%s: a member of Extra needs an element and a word, and has no more", f.Name)
		}
		if (f.Kind == KindCount) != (f.Unit == "packets" || f.Unit == "bytes") {
			t.Errorf("%s: its unit is %q", f.Name, f.Unit)
		}
		if !f.IsColumn() {
			columns = false
			if !f.Extra || f.Null || f.Stored != "" || f.From != nil {
				t.Errorf("%s: it is neither a column nor a member of Extra", f.Name)
			}
			continue
		}
		if !columns {
			t.Errorf("%s: columns come first", f.Name)
		}
		if f.Stored == "" && len(f.From) == 0 {
			t.Errorf("%s: stored as %q, and computed from %q", f.Name, f.Stored, f.From)
		}
		for _, c := range f.From {
			if g := FieldNamed(c); g == nil || g.Stored == "" {
				t.Errorf("%s: there is no stored column %s", f.Name, c)
			}
		}
	}
	for i := range Pairs {
		p := &Pairs[i]
		once(names, "name", p.Name)
		once(keys, "key", p.Key)
		for _, w := range append([]string{p.Word}, p.Aliases...) {
			once(words, "word", w)
		}
		src, dst := FieldNamed(p.Src), FieldNamed(p.Dst)
		if src == nil || dst == nil || src.Kind != dst.Kind || src.Max != dst.Max {
			t.Errorf("%s: %s and %s are not two sides of one thing", p.Name, p.Src, p.Dst)
		}
		if p.Key != "" && (p.Key != p.Name || FieldOfKey(p.Key) != nil || PairOfKey(p.Key) != p || src.Key == "" || dst.Key == "") {
			t.Errorf("%s: its key is %q", p.Name, p.Key)
		}
	}
	if FieldNamed("") != nil || FieldOfKey("") != nil || PairOfKey("") != nil || FieldOfKey("src-addr") != FieldNamed("src_addr") {
		t.Error("look-ups find the wrong field")
	}
}

// TestAccessorsTellAbsentFromZero: what a record does not say is absent where the
// column can be null, and zero where it cannot.
func TestAccessorsTellAbsentFromZero(t *testing.T) {
	var empty Record
	full := Record{
		Start: 1, End: 2, Received: 3, Packets: 1 << 63, Bytes: 7,
		Key: Key{
			SrcAddr: Addr4([4]byte{10, 0, 0, 1}), DstAddr: Addr4([4]byte{10, 0, 0, 2}), InIf: 1<<32 - 1, OutIf: 2,
			SrcPort: 1024, DstPort: 443, VLAN: 3, IPVersion: 4, Protocol: TCP, TOS: 4,
		},
		TCPFlags: SYN, EndReason: EndForced, Direction: 1, SrcMask: 8, DstMask: 9, NextHop: Addr4([4]byte{10, 0, 0, 3}),
		SrcAS: 5, DstAS: 6, Exporter: 7, SamplingRate: 1<<32 - 1, Marks: MarkClamped,
	}
	want := map[string]uint64{
		"flow_start": 1, "flow_end": 2, "received_at": 3, "exporter_id": 7, "src_port": 1024, "dst_port": 443, "protocol": 6, "tcp_flags": 2,
		"tos": 4, "vlan": 3, "packets": 1<<63 - 1, "bytes": 7, "packets_scaled": (1<<63 - 1) / (1<<31 - 1) * (1<<31 - 1), "bytes_scaled": 7 * (1<<31 - 1),
		"sampling_rate": 1<<31 - 1, "in_if": 1<<32 - 1, "out_if": 2, "src_as": 5, "dst_as": 6, "end_reason": 4, "direction": 0, "src_mask": 8, "dst_mask": 9, "marks": 2,
	}
	for i := range Fields {
		f := &Fields[i]
		switch {
		case f.Number != nil:
			if n, ok := f.Number(&empty); ok == f.Null || ok && n != 0 {
				t.Errorf("%s of an empty record: %d, %v", f.Name, n, ok)
			}
			n, ok := f.Number(&full)
			if f.Name == "icmp_type" || f.Name == "icmp_code" {
				if ok {
					t.Errorf("%s of a TCP flow: %d", f.Name, n)
				}
			} else if w, known := want[f.Name]; !known || !ok || n != w || n > f.Max {
				t.Errorf("%s: %d, %v, want %d", f.Name, n, ok, w)
			}
		case f.Addr != nil:
			if _, version := f.Addr(&empty); version != 0 {
				t.Errorf("%s of an empty record is of version %d", f.Name, version)
			}
			if a, version := f.Addr(&full); version != 4 || a.IsZero() {
				t.Errorf("%s: %s of version %d", f.Name, a, version)
			}
		}
	}
	ping := Record{Key: Key{Protocol: ICMPv6, DstPort: 128<<8 | 1}}
	for name, want := range map[string]uint64{"icmp_type": 128, "icmp_code": 1} {
		if n, ok := FieldNamed(name).Number(&ping); !ok || n != want {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
}

// TestSchemaDocumentation: docs/schema.md has the columns of the view flows as the
// table has them; that the database has them so too is the store's test.
func TestSchemaDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/schema.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## `flows`\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	var want, got []string
	for i := range Fields {
		if f := &Fields[i]; f.IsColumn() {
			want = append(want, "| `"+f.Name+"` | "+f.SQL.String()+" | "+f.Comment()+" |")
		}
	}
	// The database's comments still say octets, and kin where the table lists them;
	// how rows are partitioned is the store's to say.
	plain := strings.NewReplacer("octets", "bytes", "octet;", "byte;", " and its kin", "", " and their kin", "", "; the partition key", "")
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| `") {
			got = append(got, plain.Replace(strings.TrimSpace(line)))
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("docs/schema.md does not have\n%s", l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("the table does not have\n%s", l)
		}
	}
	if len(got) == len(want) && !t.Failed() && !slices.Equal(got, want) {
		t.Error("the columns are in another order than the table's")
	}
}
