package web

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"flowtally/store/console"
)

// findingOf has every field of a finding, each number being n.
func findingOf(code console.Code, n int64) console.Finding {
	at := time.Date(2014, 1, 1, 0, 5, 0, 0, time.UTC)
	version := console.LossTotal{Stage: "decode", Cause: "version", Unit: "datagram", Count: n}
	if code == console.SequenceGaps || code == console.MissingAndDropped {
		version = console.LossTotal{Stage: "way", Cause: "missing", Unit: "record", Count: n}
	}
	return console.Finding{
		Code: code, Exporters: n, Active: n, Within: 5 * time.Minute, Ago: time.Minute, At: at, Size: n, Limit: n, SetBy: "--retain-size", Label: "edge",
		Addr: netip.MustParseAddr("10.0.0.1"), Domain: 7, Datagrams: n, Records: n, Templates: n, Sets: n, Before: n, LastError: "byte 20",
		Repaired: n, To: &at, Offset: -time.Hour, Rate: n, Loss: version, KernelDropped: n, NotSent: n, Dropped: n, Losses: []console.LossTotal{version},
		Senders: max(n, 2), Ports: n, Waiting: n, Restarts: n, Duplicates: n,
		Numbering: "flows_after", Shared: true, Unexplained: n, First: "00000005", Guess: "sFlow v5",
	}
}

// Every code has words, an advice when something needs to be changed, and no plural for
// one thing.
func TestFindingsHaveWords(t *testing.T) {
	wrong := regexp.MustCompile(`\b1 (?:[a-z]+ )?(?:datagrams|records|sets|templates|ports|packets|flows|times|exporters)\b|\b1 [a-z ]+ (?:are|were|have)\b`)
	for _, s := range []string{"it sends from 1 ports of ::", "1 flow records were decoded", "1 template are known"} {
		if !wrong.MatchString(s) {
			t.Errorf("%q would not be found", s)
		}
	}
	for _, code := range console.Codes() {
		if diagnosisWords[code] == nil {
			t.Errorf("%s has no words", code)
		}
		for _, n := range []int64{1, 2} {
			c := checkOf(findingOf(code, n))
			if c.Name == "" || c.Text == "" || c.OK != (c.Advice == "") {
				t.Errorf("%s: %+v", code, c)
			}
			// What needs a change has a few words for the list, too, if it is an exporter's.
			words := healthWords[code]
			if (words != nil) != (code.Health() != "" && !code.OK()) {
				t.Errorf("%s, of which the word is %q, has words for the list: %v", code, code.Health(), words != nil)
			}
			if words != nil {
				if text := words(findingOf(code, n)); text == "" || len(text) > 80 || wrong.MatchString(text) || strings.Contains(text, "%!") {
					t.Errorf("%s: %q in the list", code, text)
				}
			}
			if strings.Contains(c.Text+c.Advice, "%!") || wrong.MatchString(c.Text) {
				t.Errorf("%s: %s: %s", code, c.Text, c.Advice)
			}
		}
	}
	if n := len(diagnosisWords); n != len(console.Codes()) {
		t.Errorf("%d codes have words, and there are %d", n, len(console.Codes()))
	}
}

// The words name the numbers of a finding and what helps.
func TestWordsOfFindings(t *testing.T) {
	for code, want := range map[console.Code]string{
		console.NoExporters:       "9995",
		console.RetentionByAge:    "--retain-path",
		console.BufferOverflowed:  "in the last hour",
		console.ExporterSilent:    "3 datagrams came 1 min ago",
		console.NoTemplates:       "3 data sets came and no template",
		console.SetsUnreadable:    "the last: byte 20",
		console.ClockOff:          "1 h behind ours",
		console.TimesFarOff:       "an unknown time to 2014-01-01 00:05:00",
		console.TimesImpossible:   "3 of 3 flows had impossible times",
		console.SequenceGaps:      "in the last hour 3 records did not arrive",
		console.MissingAndDropped: "rmem_max",
		console.ExporterLost:      "by its own word",
		console.RateLimited:       "--rate-limit",
		console.RecordsNotStored:  "3 datagrams of other protocols",
		console.SendersMerged:     "network_mode: host",
		console.UnreadableSender:  "perhaps sFlow v5 (it begins with 00000005)",
		console.NumberingLearned:  "count flow records, and not those of options, those of the message itself too, of all its observation domains together",
		console.NumbersJump:       "3 jumps",
		console.SamplingAnnounced: "1:3, as it announces, last at 2014-01-01 00:05:00",
		console.SamplingOutlived:  "before it started again",
		console.SendersAlike:      "3 senders share the address 10.0.0.1 and the observation domain 7",
		console.CountsAgain:       "anew 3 times",
	} {
		c := checkOf(findingOf(code, 3))
		if !strings.Contains(c.Text+": "+c.Advice, want) {
			t.Errorf("%s: %q, %q, want %q", code, c.Text, c.Advice, want)
		}
	}
}

// What people say of sampling is said with its begin and with what it replaces, and when it
// does not count, why not.
func TestWordsOfSampling(t *testing.T) {
	at := time.Date(2014, 1, 1, 0, 5, 0, 0, time.UTC)
	for want, f := range map[string]console.Finding{
		"1:10, as people say": {Code: console.SamplingSet, Rate: 10},
		"1:10, as people say, in place of 1:100 that it announces":                                    {Code: console.SamplingSet, Rate: 10, Other: 100, OtherBy: console.RateByExporter},
		"1:10, as people say since 2014-01-01 00:05 UTC, in place of 1:7 that the collector was told": {Code: console.SamplingSet, Rate: 10, Since: &at, Other: 7, OtherBy: console.RateByCollector},
		"1:100, as it announces; 1:10 from 2014-01-01 00:05 UTC on, as people say":                    {Code: console.SamplingAnnounced, Rate: 100, Since: &at, Other: 10, OtherBy: console.RateByPeople},
		"1:100, as it announces; 1:10, as people say, is for where nobody else says one":              {Code: console.SamplingAnnounced, Rate: 100, Other: 10, OtherBy: console.RateByPeople},
		"not announced; 1:10 from 2014-01-01 00:05 UTC on, as people say; until then packets and bytes count as sent": {
			Code: console.SamplingUnknown, Since: &at, Other: 10, OtherBy: console.RateByPeople},
	} {
		if c := checkOf(f); c.Text != want || !c.OK {
			t.Errorf("%q, want %q", c.Text, want)
		}
	}
}

// The list says of an exporter what the gravest finding says, and that it is silent.
func TestWordsOfTheList(t *testing.T) {
	ago := time.Now().Add(-time.Hour)
	for want, found := range map[string][]console.Finding{
		"healthy":                          {{Code: console.NothingMissing}},
		"5 sets without template":          {{Code: console.ExporterSends}, {Code: console.TemplatesLate, Sets: 5}},
		"no template for 5 sets":           {{Code: console.NoTemplates, Sets: 5}, {Code: console.NothingDecoded}},
		"clock 3 h ahead, silent for 1 h":  {{Code: console.ExporterSilent, Ago: time.Hour}, {Code: console.TimesImpossible, Repaired: 20, Records: 20}, {Code: console.ClockOff, Offset: 3*time.Hour + time.Second}},
		"all times impossible":             {{Code: console.TimesImpossible, Repaired: 20, Records: 20}, {Code: console.ClockOff, Offset: 40 * time.Second}},
		"clock 40 s behind":                {{Code: console.ClockOff, Offset: -40 * time.Second}},
		"flows of " + dayText(&ago):        {{Code: console.TimesFarOff, To: &ago}},
		"3 datagrams missing":              {{Code: console.SequenceGaps, Loss: console.LossTotal{Stage: "way", Cause: "missing", Unit: "datagram", Count: 3}}},
		"1 packet dropped by the exporter": {{Code: console.ExporterLost, Dropped: 1}},
		"2 sets malformed, 1 set beyond a limit": {{Code: console.SetsUnreadable, Losses: []console.LossTotal{
			{Stage: "decode", Cause: "malformed", Unit: "set", Count: 2}, {Stage: "decode", Cause: "over_limit", Unit: "set", Count: 1}}}},
	} {
		if got := HealthText(found); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The headline is the gravest finding, with its advice.
func TestHeadline(t *testing.T) {
	d := &console.Diagnosis{Findings: []console.Finding{{Code: console.NothingMissing}}}
	if a := newDiagnosis(d); !a.OK || a.Headline != "all is well" {
		t.Errorf("%+v", a)
	}
	d.Findings = append(d.Findings, console.Finding{Code: console.NothingDecoded}, console.Finding{Code: console.TemplatesAwaited})
	a := newDiagnosis(d)
	if a.OK || a.Headline != a.Checks[1].Text+": "+a.Checks[1].Advice || a.Checks[1].Name != "records" {
		t.Errorf("%+v", a)
	}
}
