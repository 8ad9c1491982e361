package console

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

// Every state of an exporter leads to its finding, and a healthy one to none that needs a
// change.
func TestJudgeExporter(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { return new(now.Add(-d)) }
	lost := func(stage, cause, unit string, n int64) []LossTotal { return []LossTotal{{stage, cause, unit, n}} }
	missing := func(n int64, unit string) LossTotal { return LossTotal{"way", "missing", unit, n} }
	for name, c := range map[string]struct {
		change func(*evidence)
		want   Finding // the gravest; of a healthy exporter, one that must be among them
	}{
		"known by name only": {func(e *evidence) { e.status = nil }, Finding{Code: ExporterUnheard, Label: "edge"}},
		"silent": {func(e *evidence) { e.status.LastSeen, e.status.LastEnd = now.Add(-time.Hour), ago(time.Hour) },
			Finding{Code: ExporterSilent, Datagrams: 100, Ago: time.Hour}},
		"a clock of ours that runs behind": {func(e *evidence) { e.status.LastSeen = now.Add(time.Second) }, Finding{Code: ExporterSends, Datagrams: 100}},
		"sets without a template":          {func(e *evidence) { e.status.Templates, e.status.NoTemplate = 0, 50 }, Finding{Code: NoTemplates, Sets: 50}},
		"sets held for a template": {func(e *evidence) { e.status.Templates, e.status.Held, e.status.Recovered = 0, 50, 10 },
			Finding{Code: NoTemplates, Sets: 40}},
		"one template too late":              {func(e *evidence) { e.status.NoTemplate, e.loss = 4, lost("decode", "no_template", "set", 3) }, Finding{Code: TemplatesLate, Templates: 2, Sets: 3}},
		"templates that were late yesterday": {func(e *evidence) { e.status.NoTemplate = 3 }, Finding{Code: TemplatesKnown, Templates: 2}},
		"held sets that were given up":       {func(e *evidence) { e.status.Templates, e.status.Held, e.status.NoTemplate = 0, 5, 5 }, Finding{Code: NoTemplates, Sets: 5}},
		"no template yet":                    {func(e *evidence) { e.status.Templates = 0 }, Finding{Code: TemplatesAwaited}},
		"nothing decoded":                    {func(e *evidence) { e.status.Records = 0 }, Finding{Code: NothingDecoded}},
		"malformed":                          {func(e *evidence) { e.loss, e.status.LastError = lost("decode", "malformed", "set", 3), "set 256" }, Finding{Code: SetsUnreadable, Losses: lost("decode", "malformed", "set", 3), LastError: "set 256"}},
		"over a limit":                       {func(e *evidence) { e.loss = lost("decode", "over_limit", "set", 3) }, Finding{Code: SetsUnreadable, Losses: lost("decode", "over_limit", "set", 3)}},
		"malformed yesterday":                {func(e *evidence) { e.status.Malformed = 3 }, Finding{Code: SetsReadable, Before: 3}},
		"impossible times":                   {func(e *evidence) { e.status.TimeRepaired = 1000 }, Finding{Code: TimesImpossible, Repaired: 1000, Records: 2000}},
		"scattered times":                    {func(e *evidence) { e.moved, e.movedAt = 7, ago(time.Minute) }, Finding{Code: TimesMoved, Records: 7, At: *ago(time.Minute)}},
		"an old capture":                     {func(e *evidence) { e.status.LastStart, e.status.LastEnd = nil, ago(48*time.Hour) }, Finding{Code: TimesFarOff, To: ago(48 * time.Hour)}},
		"flows that end in future":           {func(e *evidence) { e.status.LastEnd = ago(-2 * time.Hour) }, Finding{Code: TimesFarOff, From: ago(time.Minute), To: ago(-2 * time.Hour)}},
		"a clock behind":                     {func(e *evidence) { e.status.ClockOffsetMS = -3_600_000 }, Finding{Code: ClockOff, Offset: -time.Hour}},
		"a clock almost right":               {func(e *evidence) { e.status.ClockOffsetMS = 30_000 }, Finding{Code: ClockRight, Offset: 30 * time.Second}},
		"a rate that people say": {func(e *evidence) { e.words.SamplingRate, e.status.SamplingRate = new(int64(7)), new(int64(8)) },
			Finding{Code: SamplingSet, Rate: 7, Other: 8, OtherBy: RateByExporter}},
		"a rate that people say where --sampling says one": {func(e *evidence) {
			e.words = ExporterWords{SamplingRate: new(int64(7)), SamplingFrom: ago(time.Hour)}
			e.status.SamplingRate, e.status.ConfiguredRate, e.status.SamplingOverride = new(int64(8)), new(int64(9)), true
		}, Finding{Code: SamplingSet, Rate: 7, Since: ago(time.Hour), Other: 9, OtherBy: RateByCollector}},
		"a rate that people will say": {func(e *evidence) {
			e.words = ExporterWords{SamplingRate: new(int64(7)), SamplingFrom: ago(-time.Hour)}
		}, Finding{Code: SamplingUnknown, Other: 7, OtherBy: RateByPeople, Since: ago(-time.Hour)}},
		"a rate that people say where there is none": {func(e *evidence) {
			e.words = ExporterWords{SamplingRate: new(int64(7)), SamplingWhereUnknown: true}
		}, Finding{Code: SamplingSet, Rate: 7}},
		"a rate that people say where there is one": {func(e *evidence) {
			e.words = ExporterWords{SamplingRate: new(int64(7)), SamplingWhereUnknown: true}
			e.status.SamplingRate = new(int64(8))
		}, Finding{Code: SamplingAnnounced, Rate: 8, Other: 7, OtherBy: RateByPeople}},
		"a rate that is announced":  {func(e *evidence) { e.status.SamplingRate, e.status.ConfiguredRate = new(int64(8)), new(int64(9)) }, Finding{Code: SamplingAnnounced, Rate: 8}},
		"a rate that is configured": {func(e *evidence) { e.status.ConfiguredRate = new(int64(9)) }, Finding{Code: SamplingPresumed, Rate: 9}},
		"a rate that is overridden": {func(e *evidence) {
			e.status.SamplingRate, e.status.ConfiguredRate, e.status.SamplingOverride = new(int64(8)), new(int64(9)), true
		}, Finding{Code: SamplingForced, Rate: 9}},
		"a rate of an earlier run": {func(e *evidence) {
			e.status.SamplingRate, e.status.SamplingAt, e.status.SamplingProvisional = new(int64(8)), new(now), true
		}, Finding{Code: SamplingOutlived, Rate: 8, At: now}},
		"numbers that count flows":   {func(e *evidence) { e.status.Numbering, e.status.NumberingShared = "flows_after", true }, Finding{Code: NumberingLearned, Numbering: "flows_after", Shared: true}},
		"numbers that are idle":      {func(e *evidence) { e.status.Numbering = "nothing" }, Finding{Code: NumberingIdle, Numbering: "nothing"}},
		"numbers that jump":          {func(e *evidence) { e.status.Numbering, e.status.Unexplained = "records", 9 }, Finding{Code: NumbersJump, Numbering: "records", Unexplained: 9}},
		"no rate":                    {func(*evidence) {}, Finding{Code: SamplingUnknown}},
		"missing datagrams":          {func(e *evidence) { e.loss = []LossTotal{missing(9, "datagram")} }, Finding{Code: SequenceGaps, Loss: missing(9, "datagram")}},
		"missing records":            {func(e *evidence) { e.loss = []LossTotal{missing(9, "datagram"), missing(90, "record")} }, Finding{Code: SequenceGaps, Loss: missing(90, "record")}},
		"missing as the kernel says": {func(e *evidence) { e.loss, e.kernelDropped = []LossTotal{missing(9, "record")}, 2 }, Finding{Code: MissingAndDropped, Loss: missing(9, "record"), KernelDropped: 2}},
		"missing yesterday":          {func(e *evidence) { e.status.MissingRecords = 9 }, Finding{Code: NothingMissing, Before: 9}},
		"the kernel dropped others":  {func(e *evidence) { e.kernelDropped = 2 }, Finding{Code: NothingMissing}},
		"dropped by itself":          {func(e *evidence) { e.loss = lost("exporter", "dropped", "packet", 9) }, Finding{Code: ExporterLost, Dropped: 9}},
		"not metered by design":      {func(e *evidence) { e.loss = lost("exporter", "ignored", "packet", 9) }, Finding{Code: NothingMissing}},
		"rate limited":               {func(e *evidence) { e.loss = lost("decode", "rate_limit", "record", 9) }, Finding{Code: RateLimited, Records: 9}},
		"not stored": {func(e *evidence) { e.loss = []LossTotal{{"store", "refused", "record", 2}} },
			Finding{Code: RecordsNotStored, Losses: lost("store", "refused", "record", 2)}},
		"several behind a gateway": {func(e *evidence) { e.status.Senders, e.status.Gateway = 3, true }, Finding{Code: SendersMerged, Senders: 3, Ports: 1}},
		"two of one address":       {func(e *evidence) { e.status.Senders = 2 }, Finding{Code: SendersAlike, Senders: 2, Ports: 1}},
		"behind a gateway":         {func(e *evidence) { e.status.Gateway = true }, Finding{Code: BehindGateway, Senders: 1, Ports: 1}},
		"restarts":                 {func(e *evidence) { e.status.Restarts = 30 }, Finding{Code: CountsAgain, Restarts: 30}},
		"duplicates":               {func(e *evidence) { e.status.Duplicates = 11 }, Finding{Code: CountsAgain, Duplicates: 11}},
	} {
		e := &evidence{now: now, label: "edge", addr: netip.MustParseAddr("10.0.0.1"), status: &ExporterDetails{
			Version: 9, LastSeen: now, Datagrams: 100, Records: 2000, Templates: 2, SourcePorts: 1, Senders: 1, LastStart: ago(time.Minute), LastEnd: ago(0)}}
		c.change(e)
		if c.want.Code.Check() == CheckTraffic && e.status != nil || c.want.Code.Check() == CheckIdentity {
			c.want.Addr = e.addr
		}
		found := judgeExporter(e)
		checkFindings(t, name, found, c.want)
		// The word of the list is that of what is found, and of nothing else.
		want := c.want.Code.Health()
		if got := HealthOf(found); got != want || (got == HealthHealthy) != c.want.Code.OK() {
			t.Errorf("%s: the list says %q, the checks %q", name, got, want)
		}
	}
}

// Whatever an exporter has lost in the last hour, the list and the checks say so, and what it
// does not meter by design is no loss. Of several findings the gravest gives the word.
func TestHealthIsOfTheGravest(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	well := func() *evidence {
		return &evidence{now: now, status: &ExporterDetails{Version: 9, LastSeen: now, Records: 2000, Datagrams: 100, Templates: 2, Senders: 1, LastEnd: &now}}
	}
	for _, cause := range [][2]string{
		{"exporter", "not_sent"}, {"exporter", "dropped"}, {"exporter", "ignored"}, {"way", "missing"}, {"decode", "version"}, {"decode", "malformed"},
		{"decode", "no_template"}, {"decode", "over_limit"}, {"decode", "rate_limit"}, {"decode", "too_many_exporters"}, {"store", "queue_full"}, {"store", "stopped"},
	} {
		e := well()
		e.loss = []LossTotal{{cause[0], cause[1], "record", 1}}
		s := stateOf(e)
		if healthy := HealthOf(s.Findings) == HealthHealthy; healthy != (cause[1] == "ignored") || healthy != (s.LostLastHour == 0) {
			t.Errorf("%v: %q, %d lost", cause, HealthOf(s.Findings), s.LostLastHour)
		}
	}
	for want, change := range map[Health]func(*evidence){
		HealthClock: func(e *evidence) {
			e.status.ClockOffsetMS, e.status.TimeRepaired, e.status.LastSeen = 3*3_600_000, 2000, now.Add(-time.Hour)
		},
		HealthTimes: func(e *evidence) {
			e.status.ClockOffsetMS, e.status.TimeRepaired, e.status.LastSeen = 40_000, 2000, now.Add(-10*time.Minute)
		},
		HealthWaiting: func(e *evidence) {
			e.status.Templates, e.status.NoTemplate, e.status.Records, e.status.LastSeen = 0, 5, 0, now.Add(-time.Hour)
		},
		HealthLosing: func(e *evidence) {
			e.status.Restarts, e.status.Senders, e.loss = 9, 2, []LossTotal{{"way", "missing", "record", 1}}
		},
	} {
		e := well()
		change(e)
		if found := judgeExporter(e); HealthOf(found) != want {
			t.Errorf("%q, want %q: %+v", HealthOf(found), want, found)
		}
	}
}

// Every state of the collector leads to its finding.
func TestJudgeCollector(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*house)
		want   Finding
	}{
		"no exporter":     {func(e *house) { e.known, e.active = 0, 0 }, Finding{Code: NoExporters}},
		"all silent":      {func(e *house) { e.active = 0 }, Finding{Code: ExportersSilent, Exporters: 3, Within: quiet}},
		"some send":       {func(*house) {}, Finding{Code: ExportersSend, Exporters: 3, Active: 2, Within: quiet}},
		"stored lately":   {func(*house) {}, Finding{Code: BatchStored, At: now}},
		"nothing stored":  {func(e *house) { e.newest = nil }, Finding{Code: NothingStored, Within: quiet}},
		"stored long ago": {func(e *house) { e.newest = new(now.Add(-time.Hour)) }, Finding{Code: NothingStored, Within: quiet}},
		"a stopped store": {func(e *house) { e.newest, e.stopped = nil, []Finding{{Code: StoreStopped, Label: "a", Waiting: 3}} },
			Finding{Code: StoreStopped, Label: "a", Waiting: 3}},
		"a collector that listens": {func(e *house) {
			e.listening = []Listening{{Collector: "a", Protocol: "udp", Now: true}, {Collector: "a", Protocol: "tcp", Now: true}, {Collector: "b", At: now}}
		}, Finding{Code: CollectorListens, Label: "a", Listening: []Listening{{Collector: "a", Protocol: "udp", Now: true}, {Collector: "a", Protocol: "tcp", Now: true}}}},
		"a collector that has ended": {func(e *house) {
			e.listening = []Listening{{Collector: "a", At: now.Add(-time.Hour)}, {Collector: "b", At: now.Add(-time.Minute)}}
		}, Finding{Code: CollectorAway, At: now.Add(-time.Minute)}},
		"no limit of size": {func(e *house) { e.limitedBy = new("why") }, Finding{Code: RetentionByAge, SetBy: "why"}},
		"a limit of size":  {func(e *house) { e.size, e.limit, e.limitedBy = 1, new(int64(2)), new("who") }, Finding{Code: RetentionBySize, Size: 1, Limit: 2, SetBy: "who"}},
		"a full buffer":    {func(e *house) { e.loss = []LossTotal{{"receive", "kernel_buffer", "datagram", 5}} }, Finding{Code: BufferOverflowed, Loss: LossTotal{"receive", "kernel_buffer", "datagram", 5}}},
		"datagrams of other": {func(e *house) {
			e.loss = []LossTotal{{"decode", "version", "datagram", 6}}
		}, Finding{Code: UnattributedLoss, Loss: LossTotal{"decode", "version", "datagram", 6}}},
	} {
		e := &house{now: now, known: 3, active: 2, newest: new(now)}
		c.change(e)
		checkFindings(t, name, judgeCollector(e), c.want)
	}
}

// checkFindings wants a finding to be the only one that needs a change, or to be among
// those that need none when it needs none itself.
func checkFindings(t *testing.T, name string, found []Finding, want Finding) {
	t.Helper()
	at := slices.IndexFunc(found, func(f Finding) bool { return f.Code == want.Code })
	if at < 0 || !reflect.DeepEqual(found[at], want) {
		t.Errorf("%s: %+v, want among them %+v", name, found, want)
	}
	for _, f := range found {
		if f.Code.Check() == "" {
			t.Errorf("%s: %s belongs to no check", name, f.Code)
		}
		if !f.Code.OK() && f.Code != want.Code {
			t.Errorf("%s: also %+v", name, f)
		}
	}
}
