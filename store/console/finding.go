package console

import (
	"net/netip"
	"time"
)

// Check is what a diagnosis looked at to find something.
type Check string

// The checks of a diagnosis.
const (
	CheckTraffic   Check = "traffic"
	CheckTemplates Check = "templates"
	CheckRecords   Check = "records"
	CheckDecoding  Check = "decoding"
	CheckLoss      Check = "loss"
	CheckBuffer    Check = "buffer"
	CheckClock     Check = "clock"
	CheckTimes     Check = "times"
	CheckSampling  Check = "sampling"
	CheckIdentity  Check = "identity"
	CheckLimits    Check = "limits"
	CheckRestarts  Check = "restarts"
	CheckStorage   Check = "storage"
	CheckRetention Check = "retention"
	CheckStrangers Check = "strangers"
	CheckNumbering Check = "numbering"
	CheckListening Check = "listening"
)

// Code says what a check found.
type Code string

// What can be found, and the fields of a Finding that go with it: first of the collector
// as a whole, then of one exporter.
const (
	NoExporters      Code = "no_exporters"      // nothing was ever decoded
	ExportersSilent  Code = "exporters_silent"  // none of Exporters sent within Within
	ExportersSend    Code = "exporters_send"    // Active of Exporters sent within Within
	NothingStored    Code = "nothing_stored"    // exporters send, no batch was stored within Within
	BatchStored      Code = "batch_stored"      // the last batch was stored at At
	StoreStopped     Code = "store_stopped"     // the collector Label cannot store since At, because of LastError; Waiting batches wait
	RetentionByAge   Code = "retention_by_age"  // no limit of size, because of SetBy
	RetentionBySize  Code = "retention_by_size" // the database has Size of Limit, which SetBy set
	BufferOverflowed Code = "buffer_overflowed" // Loss: datagrams that the kernel dropped
	UnattributedLoss Code = "unattributed_loss" // Loss, which cannot be attributed to an exporter
	CollectorListens Code = "collector_listens" // the collector Label listens, as Listening says
	CollectorAway    Code = "collector_away"    // no collector has reported since At
	UnreadableSender Code = "unreadable_sender" // Addr sent Datagrams that cannot be read, at At the last, which begins with First: Guess, LastError

	ExporterUnheard   Code = "exporter_unheard"    // this collector received nothing from Label
	ExporterSilent    Code = "exporter_silent"     // the last of Datagrams came from Addr Ago
	ExporterSends     Code = "exporter_sends"      // the last of Datagrams came Ago
	NoTemplates       Code = "no_templates"        // Sets came and no template
	TemplatesLate     Code = "templates_late"      // Templates are known, and Sets needed others in vain in the last hour
	TemplatesAwaited  Code = "templates_awaited"   // neither templates nor Data Sets came
	TemplatesKnown    Code = "templates_known"     // Templates are known
	NothingDecoded    Code = "nothing_decoded"     // not one flow record was decoded
	RecordsDecoded    Code = "records_decoded"     // Records were decoded
	SetsUnreadable    Code = "sets_unreadable"     // Losses, of the causes malformed and over_limit, LastError
	SetsReadable      Code = "sets_readable"       // all sets with a template were decoded
	TimesImpossible   Code = "times_impossible"    // Repaired of Records had impossible times
	TimesFarOff       Code = "times_far_off"       // the last flows, From to To, ended far from their receipt
	TimesMoved        Code = "times_moved"         // Records got their time of receipt, because too many hours that are past were sent; the last at At
	TimesPlausible    Code = "times_plausible"     // the last flows, From to To, ended near their receipt
	ClockOff          Code = "clock_off"           // the exporter's clock is Offset ahead
	ClockRight        Code = "clock_right"         // the same, and little
	SamplingSet       Code = "sampling_set"        // people say 1:Rate since Since, in place of 1:Other by OtherBy
	SamplingForced    Code = "sampling_forced"     // the collector was started with 1:Rate, which outranks what is announced
	SamplingAnnounced Code = "sampling_announced"  // the exporter announces 1:Rate
	SamplingOutlived  Code = "sampling_outlived"   // the exporter announced 1:Rate at At, and started again since
	SamplingPresumed  Code = "sampling_presumed"   // the collector was started with 1:Rate, and nothing is announced
	SamplingUnknown   Code = "sampling_unknown"    // nobody says a rate
	MissingAndDropped Code = "missing_and_dropped" // Loss, as sequence numbers show; the kernel dropped KernelDropped datagrams
	SequenceGaps      Code = "sequence_gaps"       // Loss, as sequence numbers show
	NothingMissing    Code = "nothing_missing"     // sequence numbers had no gaps in the last hour; Before that they had
	NumberingLearned  Code = "numbering_learned"   // sequence numbers count what Numbering says, Shared by several domains
	NumberingIdle     Code = "numbering_idle"      // sequence numbers are always the same
	NumbersJump       Code = "numbers_jump"        // Unexplained jumps of more than can have been sent
	ExporterLost      Code = "exporter_lost"       // the exporter says NotSent records and Dropped packets in the last hour
	RateLimited       Code = "rate_limited"        // Records of the last hour exceeded the collector's rate limit
	RecordsNotStored  Code = "records_not_stored"  // Losses of the stage store
	SendersMerged     Code = "senders_merged"      // Senders come from the gateway Addr
	SendersAlike      Code = "senders_alike"       // Senders share Addr and Domain
	BehindGateway     Code = "behind_gateway"      // Addr is a gateway, not the exporter
	SenderKnown       Code = "sender_known"        // it sends from Ports of Addr
	CountsAgain       Code = "counts_again"        // Restarts of its sequence numbers, Duplicates of datagrams
)

// codes has the check that each code belongs to, whether nothing needs to be changed, and
// the word for an exporter of which it is the gravest finding; the collector has none.
var codes = []struct {
	code   Code
	check  Check
	ok     bool
	health Health
}{
	{NoExporters, CheckTraffic, false, ""},
	{ExportersSilent, CheckTraffic, false, ""},
	{ExportersSend, CheckTraffic, true, ""},
	{NothingStored, CheckStorage, false, ""},
	{BatchStored, CheckStorage, true, ""},
	{StoreStopped, CheckStorage, false, ""},
	{RetentionByAge, CheckRetention, false, ""},
	{RetentionBySize, CheckRetention, true, ""},
	{BufferOverflowed, CheckBuffer, false, ""},
	{UnattributedLoss, CheckStrangers, false, ""},
	{CollectorListens, CheckListening, true, ""},
	{CollectorAway, CheckListening, false, ""},
	{UnreadableSender, CheckStrangers, false, ""},

	{ExporterUnheard, CheckTraffic, false, HealthSilent},
	{ExporterSilent, CheckTraffic, false, HealthSilent},
	{ExporterSends, CheckTraffic, true, HealthHealthy},
	{NoTemplates, CheckTemplates, false, HealthWaiting},
	{TemplatesLate, CheckTemplates, false, HealthLosing},
	{TemplatesAwaited, CheckTemplates, false, HealthWaiting},
	{TemplatesKnown, CheckTemplates, true, HealthHealthy},
	{NothingDecoded, CheckRecords, false, HealthWaiting},
	{RecordsDecoded, CheckRecords, true, HealthHealthy},
	{SetsUnreadable, CheckDecoding, false, HealthUnreadable},
	{SetsReadable, CheckDecoding, true, HealthHealthy},
	{TimesImpossible, CheckTimes, false, HealthTimes},
	{TimesFarOff, CheckTimes, false, HealthTimes},
	{TimesMoved, CheckTimes, false, HealthTimes},
	{TimesPlausible, CheckTimes, true, HealthHealthy},
	{ClockOff, CheckClock, false, HealthClock},
	{ClockRight, CheckClock, true, HealthHealthy},
	{SamplingSet, CheckSampling, true, HealthHealthy},
	{SamplingForced, CheckSampling, true, HealthHealthy},
	{SamplingAnnounced, CheckSampling, true, HealthHealthy},
	{SamplingOutlived, CheckSampling, true, HealthHealthy},
	{SamplingPresumed, CheckSampling, true, HealthHealthy},
	{SamplingUnknown, CheckSampling, true, HealthHealthy},
	{MissingAndDropped, CheckLoss, false, HealthLosing},
	{SequenceGaps, CheckLoss, false, HealthLosing},
	{NothingMissing, CheckLoss, true, HealthHealthy},
	{NumberingLearned, CheckNumbering, true, HealthHealthy},
	{NumberingIdle, CheckNumbering, false, HealthNumbers},
	{NumbersJump, CheckNumbering, false, HealthNumbers},
	{ExporterLost, CheckLoss, false, HealthLosing},
	{RateLimited, CheckLimits, false, HealthLosing},
	{RecordsNotStored, CheckStorage, false, HealthLosing},
	{SendersMerged, CheckIdentity, false, HealthShared},
	{SendersAlike, CheckIdentity, false, HealthShared},
	{BehindGateway, CheckIdentity, false, HealthShared},
	{SenderKnown, CheckIdentity, true, HealthHealthy},
	{CountsAgain, CheckRestarts, false, HealthRestarts},
}

// Codes lists every code that a Finding can have.
func Codes() []Code {
	list := make([]Code, len(codes))
	for i, c := range codes {
		list[i] = c.code
	}
	return list
}

// Check returns the check that a code belongs to.
func (c Code) Check() Check {
	for _, x := range codes {
		if x.code == c {
			return x.check
		}
	}
	return ""
}

// OK reports whether a code says that nothing needs to be changed.
func (c Code) OK() bool {
	for _, x := range codes {
		if x.code == c {
			return x.ok
		}
	}
	return false
}

// Health returns the word for an exporter of which a code is the gravest finding, "" for
// what is found of the collector.
func (c Code) Health() Health {
	for _, x := range codes {
		if x.code == c {
			return x.health
		}
	}
	return ""
}

// Finding is what a check found: a code, and the numbers that the code's comment names.
// The others are zero.
type Finding struct {
	Code Code

	// Exporters are all that were ever seen, Active those that send now.
	Exporters, Active int64
	// Within is the time that the check looked back, Ago how long ago the last datagram
	// came.
	Within, Ago time.Duration
	At          time.Time
	// Size and Limit are bytes of the database.
	Size, Limit int64
	SetBy       string
	Label       string
	// Waiting is how many batches wait in a spool.
	Waiting   int64
	Addr      netip.Addr
	Domain    int64
	Datagrams int64
	Records   int64
	Templates int64
	// Sets are Data Sets that came without their template.
	Sets      int64
	LastError string
	Repaired  int64
	// From and To are when the last flows started and ended, nil when unknown.
	From, To *time.Time
	Offset   time.Duration
	// Rate is N of 1:N that counts. Other is another one that is known, 0 when none is, which
	// OtherBy said. Since is from when on the one that people say holds: nil for always, and
	// beside another Rate for a past that does not matter.
	Rate, Other      int64
	OtherBy          RateBy
	Since            *time.Time
	KernelDropped    int64
	NotSent, Dropped int64
	// Loss is one loss, Losses are several, each in the last hour and of one unit. Before is
	// how much of the same was lost earlier, in this run of the collector.
	Loss                 LossTotal
	Losses               []LossTotal
	Before               int64
	Senders, Ports       int64
	Restarts, Duplicates int64
	// Numbering is what sequence numbers count, as the column of that name has it.
	Numbering   string
	Shared      bool
	Unexplained int64
	// Listening are where a collector listens.
	Listening []Listening
	// First are the first bytes of a datagram, in hexadecimal, Guess is what it may be.
	First, Guess string
}
