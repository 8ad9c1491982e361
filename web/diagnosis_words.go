package web

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"flowtally/store/console"
)

// findingWords says what a finding means, and what to change, "" when nothing.
func findingWords(f console.Finding) (text, advice string) {
	if words := diagnosisWords[f.Code]; words != nil {
		return words(f)
	}
	return strings.ReplaceAll(string(f.Code), "_", " "), ""
}

// diagnosisWords has the words of every code of a finding.
var diagnosisWords = map[console.Code]func(console.Finding) (text, advice string){
	console.NoExporters: func(console.Finding) (string, string) {
		return "no exporter has ever sent anything that could be decoded",
			"let an exporter send NetFlow or IPFIX to the collector's port (UDP 9995 unless it was told otherwise) and see that no firewall is between them"
	},
	console.ExportersSilent: func(f console.Finding) (string, string) {
		return fmt.Sprintf("none of the %s has sent anything for %s", many(f.Exporters, "known exporter", "known exporters"), spanText(f.Within)),
			"see that the collector runs, and that exporters send to it"
	},
	console.ExportersSend: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%d of %s sent something in the last %s", f.Active, many(f.Exporters, "known exporter", "known exporters"), spanText(f.Within)), ""
	},
	console.NothingStored: func(f console.Finding) (string, string) {
		return fmt.Sprintf("exporters send, but nothing was stored for %s", spanText(f.Within)), "look at the collector's log"
	},
	console.BatchStored: func(f console.Finding) (string, string) {
		return "the last batch was stored at " + f.At.UTC().Format(time.RFC3339), ""
	},
	console.StoreStopped: func(f console.Finding) (string, string) {
		return fmt.Sprintf("the collector %s cannot store since %s (%s), and %s in its spool", f.Label, f.At.UTC().Format(time.RFC3339), f.LastError,
			many(f.Waiting, "batch waits", "batches wait")), "mend what the database says; the collector's log has the same"
	},
	console.RetentionByAge: func(f console.Finding) (string, string) {
		return "flows are kept by age alone, so the disk may fill before: " + f.SetBy,
			"give the collector --retain-size, or --retain-path with a directory on the database's disk"
	},
	console.RetentionBySize: func(f console.Finding) (string, string) {
		return fmt.Sprintf("the database has %.1f GB of the %.1f GB that it may have: %s", float64(f.Size)/1e9, float64(f.Limit)/1e9, f.SetBy), ""
	},
	console.BufferOverflowed: lossOfLastHour,
	console.UnattributedLoss: lossOfLastHour,
	console.CollectorListens: func(f console.Finding) (string, string) {
		texts := make([]string, len(f.Listening))
		for i, l := range f.Listening {
			texts[i] = listeningText(l)
		}
		return "the collector on " + f.Label + " listens on " + strings.Join(texts, "; "), ""
	},
	console.CollectorAway: func(f console.Finding) (string, string) {
		return "no collector has reported since " + f.At.UTC().Format(time.RFC3339), "start flowtally collector, or look why it ended: its log says so"
	},
	console.UnreadableSender: func(f console.Finding) (string, string) {
		guess := "perhaps " + f.Guess
		if strings.HasPrefix(f.Guess, "no protocol") {
			guess = f.Guess
		}
		text := fmt.Sprintf("%s sent %s that cannot be read, the last at %s: %s (it begins with %s)",
			f.Addr, many(f.Datagrams, "datagram", "datagrams"), momentText(&f.At), guess, f.First)
		if f.LastError != "" {
			text += "; " + f.LastError
		}
		return text, "have it send NetFlow v5, v9 or IPFIX, or send elsewhere"
	},

	console.ExporterUnheard: func(f console.Finding) (string, string) {
		return f.Label + " is known by name only: this collector has received nothing from it",
			"see that the collector runs, and that this exporter sends to it"
	},
	console.ExporterSilent: func(f console.Finding) (string, string) {
		return fmt.Sprintf("the last of %s came %s ago", many(f.Datagrams, "datagram", "datagrams"), spanText(f.Ago)),
			fmt.Sprintf("see that it still exports to this machine, that its address is still %s, and that no firewall is between", f.Addr)
	},
	console.ExporterSends: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%s, the last %s ago", many(f.Datagrams, "datagram", "datagrams"), spanText(f.Ago)), ""
	},
	console.NoTemplates: func(f console.Finding) (string, string) {
		return many(f.Sets, "data set came", "data sets came") + " and no template, so that nothing of it can be read",
			"let it send its templates every minute (Cisco: template data timeout 60; softflowd and flowtally do so by themselves)"
	},
	console.TemplatesLate: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%s, but in the last hour %s another, which did not come in time",
			many(f.Templates, "template is known", "templates are known"), many(f.Sets, "data set had", "data sets had")), "let it send its templates every minute"
	},
	console.TemplatesAwaited: func(console.Finding) (string, string) {
		return "it has announced no template yet", "wait for its templates, or let it send them every minute"
	},
	console.TemplatesKnown: func(f console.Finding) (string, string) {
		return many(f.Templates, "template is known", "templates are known"), ""
	},
	console.NothingDecoded: func(console.Finding) (string, string) {
		return "no flow record was decoded", "see what it sends with flowtally inspect"
	},
	console.RecordsDecoded: func(f console.Finding) (string, string) {
		return many(f.Records, "flow record was", "flow records were") + " decoded", ""
	},
	console.SetsUnreadable: func(f console.Finding) (string, string) {
		text := "in the last hour " + lossBriefs(f.Losses)
		if f.LastError != "" {
			text += "; the last: " + f.LastError
		}
		return text, "flowtally inspect shows what it sends; an exporter that breaks the specification needs an update"
	},
	console.SetsReadable: func(f console.Finding) (string, string) {
		if f.Before > 0 {
			return "everything that has a template could be read in the last hour; earlier " + many(f.Before, "set", "sets") + " could not", ""
		}
		return "everything that has a template could be read", ""
	},
	console.TimesImpossible: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%d of %s impossible times and stand at the time of receipt", f.Repaired, many(f.Records, "flow had", "flows had")),
			"set its clock by NTP, and see that it sends first and last switched times"
	},
	console.TimesMoved: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%s their time of receipt, because it sends flows of too many hours that are past (the last at %s)",
			many(f.Records, "flow got", "flows got"), f.At.UTC().Format(time.RFC3339)), "correct its clock; or, if it is a stranger, block it with --allow or forget it"
	},
	console.TimesFarOff: func(f console.Finding) (string, string) {
		return timesOfLastFlows(f), "choose that range to see them, set the exporter's clock by NTP, or replay captures with --shift-to-now"
	},
	console.TimesPlausible: func(f console.Finding) (string, string) { return timesOfLastFlows(f), "" },
	console.ClockOff: func(f console.Finding) (string, string) {
		side := "behind"
		if f.Offset > 0 {
			side = "ahead of"
		}
		return fmt.Sprintf("its clock is %s %s ours", spanText(f.Offset.Abs()), side), "set it by NTP"
	},
	console.ClockRight: func(f console.Finding) (string, string) {
		return fmt.Sprintf("its clock is within %v of ours", (f.Offset.Abs() + time.Second).Truncate(time.Second)), ""
	},
	console.SamplingSet: func(f console.Finding) (string, string) {
		text := fmt.Sprintf("1:%d, as people say", f.Rate)
		if f.Since != nil {
			text += " since " + f.Since.UTC().Format("2006-01-02 15:04 UTC")
		}
		switch {
		case f.OtherBy == console.RateByExporter:
			text += fmt.Sprintf(", in place of 1:%d that it announces", f.Other)
		case f.OtherBy == console.RateByCollector:
			text += fmt.Sprintf(", in place of 1:%d that the collector was told", f.Other)
		}
		return text, ""
	},
	console.SamplingForced: func(f console.Finding) (string, string) {
		return fmt.Sprintf("1:%d, as the collector was told, whatever it announces", f.Rate) + besideRate(f), ""
	},
	console.SamplingAnnounced: func(f console.Finding) (string, string) {
		return fmt.Sprintf("1:%d, as it announces", f.Rate) + lastAt(f.At) + besideRate(f), ""
	},
	console.SamplingOutlived: func(f console.Finding) (string, string) {
		return fmt.Sprintf("1:%d, as it announced before it started again%s; unknown if it does not say so again within ten minutes", f.Rate, lastAt(f.At)) + besideRate(f), ""
	},
	console.SamplingPresumed: func(f console.Finding) (string, string) {
		return fmt.Sprintf("1:%d, as the collector was told", f.Rate) + besideRate(f), ""
	},
	console.SamplingUnknown: func(f console.Finding) (string, string) {
		if f.OtherBy == console.RateByPeople {
			return "not announced" + besideRate(f) + "; until then packets and bytes count as sent", ""
		}
		return "not announced: packets and bytes count as sent; when it samples, say its rate on its page or with collector --sampling", ""
	},
	console.MissingAndDropped: func(f console.Finding) (string, string) {
		return fmt.Sprintf("in the last hour %s did not arrive, and the kernel dropped %s", missingOf(f), many(f.KernelDropped, "datagram", "datagrams")),
			lossWords[kernelBuffer].advice
	},
	console.SequenceGaps: func(f console.Finding) (string, string) {
		return "in the last hour " + missingOf(f) + " did not arrive", "look for loss on the way: a full link, a firewall, an exporter that sends in bursts"
	},
	console.NothingMissing: func(f console.Finding) (string, string) {
		if f.Before > 0 {
			return "nothing was missing in its sequence numbers in the last hour; earlier in this run " + many(f.Before, "was", "were"), ""
		}
		return "nothing is missing in its sequence numbers", ""
	},
	console.NumberingLearned: func(f console.Finding) (string, string) {
		return numberingText(f), ""
	},
	console.NumberingIdle: func(console.Finding) (string, string) {
		return "its sequence numbers are always the same: what is lost on the way cannot be told",
			"see whether it can number its messages; else compare its own counters with what is stored"
	},
	console.NumbersJump: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%s; %s of more than it could send or lose, taken for new beginnings", numberingText(f), many(f.Unexplained, "jump", "jumps")),
			"see whether several exporters share its address and domain, or somebody sends in its name"
	},
	console.ExporterLost: func(f console.Finding) (string, string) {
		return fmt.Sprintf("by its own word it did not send %s and lost %s in the last hour", many(f.NotSent, "record", "records"), many(f.Dropped, "packet", "packets")),
			"give the exporter more buffer or processors, or let it sample"
	},
	console.RateLimited: func(f console.Finding) (string, string) {
		return "in the last hour " + many(f.Records, "record was", "records were") + " dropped at its rate limit", "raise collector --rate-limit, or let it sample"
	},
	console.RecordsNotStored: func(f console.Finding) (string, string) {
		return "in the last hour " + lossBriefs(f.Losses), "look at the collector's log and the database's disk"
	},
	console.SendersMerged: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%d senders come from %s, the gateway in front of this machine, and cannot be told apart", f.Senders, f.Addr),
			"run the collector in the host's network (docker compose: network_mode: host), or give each exporter an observation domain of its own"
	},
	console.SendersAlike: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%d senders share the address %s and the observation domain %d, and are shown as one", f.Senders, f.Addr, f.Domain),
			"give each an observation domain (v9: source id, v5: engine id) of its own, or an address"
	},
	console.BehindGateway: func(f console.Finding) (string, string) {
		return fmt.Sprintf("%s is the gateway in front of this machine: the address of the exporter behind it is not known", f.Addr),
			"run the collector in the host's network (docker compose: network_mode: host) to see the exporter's own address"
	},
	console.SenderKnown: func(f console.Finding) (string, string) {
		return fmt.Sprintf("it sends from %s of %s", many(f.Ports, "port", "ports"), f.Addr), ""
	},
	console.CountsAgain: func(f console.Finding) (string, string) {
		return fmt.Sprintf("it began to count anew %s, and %s twice or too late",
				many(f.Restarts, "time", "times"), many(f.Duplicates, "datagram came", "datagrams came")),
			"see whether it restarts, or whether its datagrams reach the collector on two ways"
	},
}

// healthWords has, of every code that needs a change, the few words that a list has of an
// exporter whose gravest finding it is.
var healthWords = map[console.Code]func(console.Finding) string{
	console.ExporterUnheard:   func(console.Finding) string { return "nothing received" },
	console.ExporterSilent:    func(f console.Finding) string { return "silent for " + spanText(f.Ago) },
	console.NoTemplates:       func(f console.Finding) string { return "no template for " + many(f.Sets, "set", "sets") },
	console.TemplatesLate:     func(f console.Finding) string { return many(f.Sets, "set", "sets") + " without template" },
	console.TemplatesAwaited:  func(console.Finding) string { return "no template yet" },
	console.NothingDecoded:    func(console.Finding) string { return "no flow yet" },
	console.SetsUnreadable:    func(f console.Finding) string { return lossBriefs(f.Losses) },
	console.TimesImpossible:   timesWords,
	console.TimesFarOff:       func(f console.Finding) string { return "flows of " + dayText(f.To) },
	console.TimesMoved:        func(f console.Finding) string { return many(f.Records, "flow", "flows") + " of the past moved" },
	console.ClockOff:          clockWords,
	console.MissingAndDropped: func(f console.Finding) string { return lossBrief(f.Loss) },
	console.SequenceGaps:      func(f console.Finding) string { return lossBrief(f.Loss) },
	console.NumberingIdle:     func(console.Finding) string { return "its numbers stand still" },
	console.NumbersJump:       func(console.Finding) string { return "its numbers jump" },
	console.ExporterLost: func(f console.Finding) string {
		var list []console.LossTotal
		if f.NotSent > 0 {
			list = append(list, console.LossTotal{Stage: "exporter", Cause: "not_sent", Unit: "record", Count: f.NotSent})
		}
		if f.Dropped > 0 {
			list = append(list, console.LossTotal{Stage: "exporter", Cause: "dropped", Unit: "packet", Count: f.Dropped})
		}
		return lossBriefs(list)
	},
	console.RateLimited:      func(f console.Finding) string { return many(f.Records, "record", "records") + " beyond the rate limit" },
	console.RecordsNotStored: func(f console.Finding) string { return lossBriefs(f.Losses) },
	console.SendersMerged:    func(f console.Finding) string { return fmt.Sprintf("%d senders behind a gateway", f.Senders) },
	console.SendersAlike:     func(f console.Finding) string { return fmt.Sprintf("%d senders look the same", f.Senders) },
	console.BehindGateway:    func(console.Finding) string { return "behind a gateway" },
	console.CountsAgain: func(f console.Finding) string {
		if f.Restarts > 3 {
			return "started again " + many(f.Restarts, "time", "times")
		}
		return many(f.Duplicates, "datagram", "datagrams") + " twice"
	},
}

func timesWords(f console.Finding) string {
	if f.Repaired >= f.Records {
		return "all times impossible"
	}
	return fmt.Sprintf("%d %% of times impossible", f.Repaired*100/max(f.Records, 1))
}

func clockWords(f console.Finding) string {
	if f.Offset > 0 {
		return "clock " + spanText(f.Offset) + " ahead"
	}
	return "clock " + spanText(-f.Offset) + " behind"
}

// HealthText says in a few words how an exporter with these findings fares: the gravest, and
// that it is silent when it is.
func HealthText(found []console.Finding) string {
	worst := console.Gravest(found)
	if worst == nil {
		return "healthy"
	}
	text := healthWords[worst.Code](*worst)
	for _, f := range found {
		if f.Code == console.ExporterSilent && worst.Code != f.Code {
			text += ", " + healthWords[f.Code](f)
		}
	}
	return text
}

// spanText is a time in its one or two largest units: 3 h, 2 d 4 h, 41 s.
func spanText(d time.Duration) string {
	if d >= 10*time.Minute {
		d = d.Round(time.Minute)
	}
	switch h := int(d.Hours()); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 10*time.Minute && int(d.Seconds())%60 != 0:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case h < 24 && int(d.Minutes())%60 != 0:
		return fmt.Sprintf("%d h %d min", h, int(d.Minutes())%60)
	case h < 24:
		return fmt.Sprintf("%d h", h)
	case h < 24*10 && h%24 != 0:
		return fmt.Sprintf("%d d %d h", h/24, h%24)
	default:
		return fmt.Sprintf("%d d", h/24)
	}
}

func dayText(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// listeningText says at which addresses a collector is reached.
func listeningText(l console.Listening) string {
	text := strings.ToUpper(l.Protocol) + " "
	switch at, err := netip.ParseAddrPort(l.Address); {
	case l.Announced != "":
		return text + l.Announced + ", as it announces (bound to " + l.Address + ")"
	case err != nil:
		return text + l.Address
	case !at.Addr().IsUnspecified():
		text += l.Address
		if at.Addr().Unmap().IsLoopback() {
			text += ", where this machine alone reaches it"
		}
		return text
	default:
		list := make([]string, len(l.Reachable))
		for i, a := range l.Reachable {
			list[i] = netip.AddrPortFrom(a, at.Port()).String()
		}
		if len(list) == 0 {
			return text + l.Address
		}
		text += strings.Join(list, ", ")
		if l.Container {
			text += ", inside of its container: send to the machine that runs it, at the port that it publishes"
		}
		return text
	}
}

// lossOfLastHour has the words of the one loss of a finding.
func lossOfLastHour(f console.Finding) (text, advice string) {
	return "in the last hour " + lossText(f.Loss), lossWords[causeOf(f.Loss)].advice
}

// numberings says what sequence numbers count.
var numberings = map[string]string{
	"records":       "flow and options records",
	"messages":      "messages",
	"flows":         "flow records, and not those of options",
	"all":           "records and templates",
	"data_messages": "messages that have data",
}

// numberingText is what an exporter's sequence numbers count.
func numberingText(f console.Finding) string {
	what, after := strings.CutSuffix(f.Numbering, "_after")
	text := "its sequence numbers count " + f.Numbering
	if words := numberings[what]; words != "" {
		text = "its sequence numbers count " + words
	}
	if after {
		text += ", those of the message itself too"
	}
	if f.Shared {
		text += ", of all its observation domains together"
	}
	return text
}

// lastAt is when something was said last, "" when that is not known.
func lastAt(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", last at " + momentText(&t)
}

// missingOf is what sequence numbers show to be missing.
func missingOf(f console.Finding) string {
	return many(f.Loss.Count, f.Loss.Unit, f.Loss.Unit+"s")
}

// besideRate says what becomes of a rate that people say and that does not count.
func besideRate(f console.Finding) string {
	switch {
	case f.OtherBy != console.RateByPeople:
		return ""
	case f.Since != nil:
		return fmt.Sprintf("; 1:%d from %s on, as people say", f.Other, f.Since.UTC().Format("2006-01-02 15:04 UTC"))
	}
	return fmt.Sprintf("; 1:%d, as people say, is for where nobody else says one", f.Other)
}

func timesOfLastFlows(f console.Finding) string {
	return fmt.Sprintf("its last flows are of %s to %s", momentText(f.From), momentText(f.To))
}

func momentText(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// many is a number of things, in words that suit one and in words that suit all
// others.
func many(n int64, one, others string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, others)
}
