package console

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// Diagnosis answers "why do I see nothing?" for one exporter, or for the collector as a
// whole.
type Diagnosis struct {
	// ID and Label are the exporter's; 0 and "" for the collector as a whole.
	ID    flow.ExporterID
	Label string
	// Findings has what each check found, the gravest checks first.
	Findings []Finding
	// Status is the exporter's, nil before the collector's first report about it and for
	// the collector as a whole.
	Status *ExporterDetails
}

// quiet is how long an exporter may send nothing, and the collector store nothing, before
// that is worth a finding.
const quiet = 5 * time.Minute

// Diagnosis looks at all that the database knows of an exporter; 0 is the collector as a
// whole. The error is a *query.Error when there is no such exporter.
func (c *Console) Diagnosis(ctx context.Context, id flow.ExporterID) (*Diagnosis, error) {
	d := &Diagnosis{ID: id}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		if id == 0 {
			h, err := readHouse(ctx, tx)
			d.Findings = judgeCollector(&h)
			return err
		}
		list, err := readEvidence(ctx, tx, new(int32(id)))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return &query.Error{Parameter: "exporter", Reason: fmt.Sprintf("there is no exporter %d", id)}
		}
		e := &list[0]
		d.Label, d.Status, d.Findings = e.label, e.status, judgeExporter(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// judgeCollector makes the findings about the collector as a whole, the gravest first.
func judgeCollector(e *house) (found []Finding) {
	add := func(f Finding) { found = append(found, f) }
	switch {
	case e.known == 0:
		add(Finding{Code: NoExporters})
	case e.active == 0:
		add(Finding{Code: ExportersSilent, Exporters: e.known, Within: quiet})
	default:
		add(Finding{Code: ExportersSend, Exporters: e.known, Active: e.active, Within: quiet})
	}
	found = append(found, judgeListening(e.listening)...)
	found = append(found, e.stopped...)
	if len(e.stopped) > 0 {
		// It is known why.
	} else if e.active > 0 && (e.newest == nil || e.now.Sub(*e.newest) > quiet) {
		add(Finding{Code: NothingStored, Within: quiet})
	} else if e.newest != nil {
		add(Finding{Code: BatchStored, At: *e.newest})
	}
	switch {
	case e.limitedBy == nil:
	case e.limit == nil:
		add(Finding{Code: RetentionByAge, SetBy: *e.limitedBy})
	default:
		add(Finding{Code: RetentionBySize, Size: e.size, Limit: *e.limit, SetBy: *e.limitedBy})
	}
	for _, t := range e.loss {
		if t.Stage == "receive" && t.Cause == "kernel_buffer" {
			add(Finding{Code: BufferOverflowed, Loss: t})
		}
	}
	for _, t := range e.loss {
		if t.Stage != "receive" || t.Cause != "kernel_buffer" {
			add(Finding{Code: UnattributedLoss, Loss: t})
		}
	}
	for _, u := range e.unreadable {
		add(Finding{Code: UnreadableSender, Addr: u.Addr, Datagrams: u.Datagrams, At: u.LastSeen, First: hex.EncodeToString(u.First), Guess: u.Guess, LastError: u.Reason})
	}
	return found
}

// judgeListening says where each collector listens, or that none does. Of one of before that
// said so, nothing is known.
func judgeListening(list []Listening) (found []Finding) {
	for _, l := range list {
		if !l.Now {
			continue
		}
		if n := len(found); n > 0 && found[n-1].Label == l.Collector {
			found[n-1].Listening = append(found[n-1].Listening, l)
			continue
		}
		found = append(found, Finding{Code: CollectorListens, Label: l.Collector, Listening: []Listening{l}})
	}
	if len(found) == 0 && len(list) > 0 {
		at := list[0].At
		for _, l := range list {
			if l.At.After(at) {
				at = l.At
			}
		}
		found = []Finding{{Code: CollectorAway, At: at}}
	}
	return found
}

// judgeExporter makes the findings about one exporter, in the order of the checks. What
// was lost is judged by the last hour, as everywhere: what was before is told beside it.
func judgeExporter(e *evidence) (found []Finding) {
	if e.status == nil {
		return []Finding{{Code: ExporterUnheard, Label: e.label}}
	}
	d := e.status
	add := func(f Finding) { found = append(found, f) }
	add(judgeTraffic(e))
	if d.Version >= 9 {
		add(judgeTemplates(e))
	}
	if d.Records == 0 {
		add(Finding{Code: NothingDecoded})
	} else {
		add(Finding{Code: RecordsDecoded, Records: d.Records})
	}
	if list, n := e.lost("decode", "malformed", "over_limit", "version", "too_many_exporters"); n > 0 {
		add(Finding{Code: SetsUnreadable, Losses: list, LastError: d.LastError})
	} else {
		add(Finding{Code: SetsReadable, Before: d.Malformed + d.OverLimit})
	}
	if d.LastEnd != nil {
		add(judgeTimes(d))
	}
	if e.movedAt != nil && e.now.Sub(*e.movedAt) < time.Hour {
		add(Finding{Code: TimesMoved, Records: e.moved, At: *e.movedAt})
	}
	offset := time.Duration(d.ClockOffsetMS) * time.Millisecond
	if offset > 30*time.Second || offset < -30*time.Second {
		add(Finding{Code: ClockOff, Offset: offset})
	} else {
		add(Finding{Code: ClockRight, Offset: offset})
	}
	add(judgeSampling(e))
	if d.Numbering != flow.NumberingNothing.String() { // else nothing can be told
		add(judgeSequence(e))
	}
	if d.Numbering != "" {
		add(judgeNumbering(d))
	}
	_, notSent := e.lost("exporter", "not_sent")
	_, dropped := e.lost("exporter", "dropped")
	if notSent+dropped > 0 {
		add(Finding{Code: ExporterLost, NotSent: notSent, Dropped: dropped})
	}
	if _, n := e.lost("decode", "rate_limit"); n > 0 {
		add(Finding{Code: RateLimited, Records: n})
	}
	if list, n := e.lost("store"); n > 0 {
		add(Finding{Code: RecordsNotStored, Losses: list})
	}
	add(judgeIdentity(e))
	if d.Restarts > 3 || d.Duplicates*100 > d.Datagrams && d.Duplicates > 10 {
		add(Finding{Code: CountsAgain, Restarts: d.Restarts, Duplicates: d.Duplicates})
	}
	return found
}

func judgeTraffic(e *evidence) Finding {
	f := Finding{Code: ExporterSends, Addr: e.addr, Datagrams: e.status.Datagrams, Ago: max(e.now.Sub(e.status.LastSeen), 0)}
	if f.Ago > quiet {
		f.Code = ExporterSilent
	}
	return f
}

func judgeTemplates(e *evidence) Finding {
	d := e.status
	_, late := e.lost("decode", "no_template")
	switch waiting := d.Held - d.Recovered; {
	case d.Templates == 0 && (d.NoTemplate > 0 || late > 0 || waiting > 0):
		return Finding{Code: NoTemplates, Sets: max(d.NoTemplate, late) + max(waiting-d.NoTemplate, 0)}
	case late > 0:
		return Finding{Code: TemplatesLate, Templates: d.Templates, Sets: late}
	case d.Templates == 0:
		return Finding{Code: TemplatesAwaited}
	}
	return Finding{Code: TemplatesKnown, Templates: d.Templates}
}

func judgeTimes(d *ExporterDetails) Finding {
	f := Finding{Code: TimesPlausible, From: d.LastStart, To: d.LastEnd}
	switch off := d.LastSeen.Sub(*d.LastEnd); {
	case d.TimeRepaired*10 > d.Records && d.TimeRepaired > 0:
		return Finding{Code: TimesImpossible, Repaired: d.TimeRepaired, Records: d.Records}
	case off > time.Hour || off < -time.Hour:
		f.Code = TimesFarOff
	}
	return f
}

func judgeSampling(e *evidence) Finding {
	d := e.status
	f := Finding{Code: SamplingUnknown}
	stored, by := storedRate(d.SamplingRate, d.ConfiguredRate, d.SamplingOverride)
	switch {
	case by == RateByCollector && d.SamplingOverride:
		f = Finding{Code: SamplingForced, Rate: *stored}
	case by == RateByExporter:
		f = Finding{Code: SamplingAnnounced, Rate: *stored}
		if d.SamplingAt != nil {
			f.At = *d.SamplingAt
		}
		if d.SamplingProvisional {
			f.Code = SamplingOutlived
		}
	case by == RateByCollector:
		f = Finding{Code: SamplingPresumed, Rate: *stored}
	}
	said := e.words
	switch {
	case said.SamplingRate == nil:
		return f
	case said.rateHolds(stored, e.now):
		return Finding{Code: SamplingSet, Rate: *said.SamplingRate, Since: said.SamplingFrom, Other: f.Rate, OtherBy: by}
	}
	f.Other, f.OtherBy = *said.SamplingRate, RateByPeople
	if said.SamplingFrom != nil && said.SamplingFrom.After(e.now) {
		f.Since = said.SamplingFrom
	}
	return f
}

// judgeSequence judges the gaps in sequence numbers, in records where these are counted:
// v9 counts datagrams alone.
func judgeSequence(e *evidence) Finding {
	var missing LossTotal
	list, _ := e.lost("way")
	for _, t := range list {
		if missing.Count == 0 || t.Unit == "record" {
			missing = t
		}
	}
	switch {
	case missing.Count > 0 && e.kernelDropped > 0:
		return Finding{Code: MissingAndDropped, Loss: missing, KernelDropped: e.kernelDropped}
	case missing.Count > 0:
		return Finding{Code: SequenceGaps, Loss: missing}
	}
	return Finding{Code: NothingMissing, Before: max(e.status.MissingRecords, e.status.MissingDatagrams)}
}

// jumps is how many jumps of its numbers an exporter may have: one is no more than a
// new beginning.
const jumps = 3

func judgeNumbering(d *ExporterDetails) Finding {
	f := Finding{Code: NumberingLearned, Numbering: d.Numbering, Shared: d.NumberingShared, Unexplained: d.Unexplained}
	switch {
	case d.Unexplained > jumps:
		f.Code = NumbersJump
	case d.Numbering == flow.NumberingNothing.String():
		f.Code = NumberingIdle
	}
	return f
}

func judgeIdentity(e *evidence) Finding {
	f := Finding{Code: SenderKnown, Addr: e.addr, Domain: e.domain, Senders: int64(e.status.Senders), Ports: int64(e.status.SourcePorts)}
	switch {
	case f.Senders > 1 && e.status.Gateway:
		f.Code = SendersMerged
	case f.Senders > 1:
		f.Code = SendersAlike
	case e.status.Gateway:
		f.Code = BehindGateway
	}
	return f
}
