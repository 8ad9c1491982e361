package console

import (
	"os"
	"regexp"
	"testing"
	"time"
)

// The causes that have words here are those of docs/ledger.md, and none has a
// space: they are typed in queries.
func TestLossWordsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[[2]string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `([a-z_]+)` \\|").FindAllSubmatch(doc, -1) {
		documented[[2]string{string(m[1]), string(m[2])}] = true
	}
	for k := range lossWords {
		if !documented[k] {
			t.Errorf("%s/%s is not in docs/ledger.md", k[0], k[1])
		}
	}
	for k := range documented {
		if _, ok := lossWords[k]; !ok {
			t.Errorf("docs/ledger.md has %s/%s, of which nothing is known here", k[0], k[1])
		}
	}
}

// Nothing that is said of one thing has it in the plural.
func TestOneIsSingular(t *testing.T) {
	one := int64(1)
	now := time.Now()
	d := ExporterDetails{
		Version: 10, LastSeen: now, LastEnd: &now, LastStart: &now, Datagrams: 1, Records: 1, Templates: 1, NoTemplate: 1, Malformed: 1, OverLimit: 1,
		RateLimited: 1, MissingRecords: 1, Restarts: 4, Duplicates: 11, NotSent: 1, Dropped: 1, TimeRepaired: 1, SourcePorts: 1, SamplingRate: &one,
	}
	well := ExporterDetails{Version: 10, LastSeen: now, Datagrams: 1, Records: 1, Templates: 1, SourcePorts: 1}
	late := well
	late.LastSeen, late.Templates, late.Held, late.MissingDatagrams = now.Add(-time.Hour), 0, 1, 1
	wrong := regexp.MustCompile(`\b1 (?:[a-z]+ )?(?:datagrams|records|sets|templates|ports|packets|flows|times|exporters)\b|\b1 [a-z ]+ (?:are|were|have)\b`)
	check := func(list []Check) {
		t.Helper()
		for _, c := range list {
			if wrong.MatchString(c.Text) {
				t.Errorf("%s: %s", c.Name, c.Text)
			}
		}
	}
	for _, d := range []*ExporterDetails{&d, &well, &late} {
		for _, kernel := range []int64{0, 1} {
			check((&symptoms{now: now, status: d, kernel: kernel, loss: map[[2]string]int64{{"store", "refused"}: 1}}).exporter())
		}
	}
	for _, active := range []int{0, 1} {
		check((&symptoms{now: now, known: 1, active: active, kernel: 1, loss: map[[2]string]int64{{"decode", "version"}: 1}}).house())
	}
	if !wrong.MatchString("it sends from 1 ports of ::") || !wrong.MatchString("1 flow records were decoded") || !wrong.MatchString("1 template are known") {
		t.Error("what is wrong would not be found")
	}
}
