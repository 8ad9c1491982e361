package web

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"flowtally/query"
)

// What can be asked is said whole, and what is said of it can be asked.
func TestKeys(t *testing.T) {
	h := newTestHandler(t, &fake{})
	w := get(h, pathKeys)
	var a keysAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 {
		t.Fatalf("%d, %v", w.Code, err)
	}
	row := func(name string) string {
		for _, k := range a.Keys {
			if k.Name == name {
				b, _ := json.Marshal(k)
				return string(b)
			}
		}
		return ""
	}
	for name, want := range map[string]string{
		"src-addr": `{"name":"src-addr","column":"src_addr","kind":"addr","type":"inet","what":"source address","sides":[],"opposite":"dst-addr","rolled_up":true,"per_exporter":false}`,
		"interface": `{"name":"interface","column":"interface","kind":"interface","type":"bigint","what":"interface of either side, by ifIndex or name",` +
			`"sides":["in-if","out-if"],"opposite":"","rolled_up":true,"per_exporter":true}`,
		"mac": `{"name":"mac","column":"mac","kind":"mac","type":"text","what":"MAC address as the flow came in","sides":["src-mac","dst-mac"],"opposite":"","rolled_up":false,"per_exporter":false}`,
		"exporter": `{"name":"exporter","column":"exporter","kind":"exporter","type":"text","what":"who sent the record, by name or address",` +
			`"sides":[],"opposite":"","rolled_up":true,"per_exporter":false}`,
		"tunnel-id": `{"name":"tunnel-id","column":"tunnel_id","kind":"number","type":"bigint","what":"number of a tunnel: VNI, key, session","sides":[],"opposite":"","rolled_up":false,"per_exporter":false}`,
	} {
		if got := row(name); got != want {
			t.Errorf("%s is\n%s, want\n%s", name, got, want)
		}
	}
	var names []string
	for _, k := range a.Keys {
		names = append(names, k.Name)
		if w := get(h, pathTop+"?key="+k.Name); w.Code != 200 {
			t.Errorf("%s cannot be asked for: %d %s", k.Name, w.Code, w.Body)
		}
		for _, other := range append([]query.Key{query.Key(k.Opposite)}, k.Sides...) {
			if other != "" && row(string(other)) == "" {
				t.Errorf("%s names %s, which is no key", k.Name, other)
			}
		}
	}
	if strings.Join(names, ",") != query.JoinKeys(query.Keys()) {
		t.Errorf("the keys are %v", names)
	}
	for _, m := range a.Measures {
		if w := get(h, pathTop+"?by="+m.Name); w.Code != 200 {
			t.Errorf("%s cannot be asked for: %d %s", m.Name, w.Code, w.Body)
		}
	}
	if i := slices.IndexFunc(a.Measures, func(m measureRow) bool { return m.Name == "bps" }); i < 0 || a.Measures[i] != (measureRow{"bps", "bit/s", "bytes", false, true}) {
		t.Errorf("the measures are %v", a.Measures)
	}
	kinds := make(map[string]string)
	for _, word := range a.Words {
		if was, ok := kinds[word.Column]; ok && was != word.Kind && word.Column != "" {
			t.Errorf("%s is %s and %s", word.Column, was, word.Kind)
		}
		kinds[word.Column] = word.Kind
	}
	for _, k := range a.Keys {
		if kinds[k.Column] != k.Kind {
			t.Errorf("the key %s is of kind %s, the filter's word for it %q", k.Name, k.Kind, kinds[k.Column])
		}
	}
}

// docs/questions.md has a row for each key, docs/api.md each by name.
func TestKeysAreDocumented(t *testing.T) {
	questions, err := os.ReadFile("../docs/questions.md")
	if err != nil {
		t.Fatal(err)
	}
	api, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys().Keys {
		columns, err := query.Columns([]query.Key{query.Key(k.Name)})
		if err != nil {
			t.Fatal(err)
		}
		by, from := "`"+columns[0].Expression+"`", "flows"
		if columns[0].EitherSide() {
			by = "`" + columns[0].Src + "`, `" + columns[0].Dst + "`"
		}
		if k.RolledUp {
			from = "roll-ups"
		}
		if row := "| `" + k.Name + "` | " + k.What + " | " + by + " | " + from + " |\n"; !strings.Contains(string(questions), row) {
			t.Errorf("docs/questions.md does not have\n%s", row)
		}
		if !strings.Contains(string(api), "`"+k.Name+"`") {
			t.Errorf("docs/api.md does not name the key %s", k.Name)
		}
	}
}
