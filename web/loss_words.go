package web

import (
	"cmp"
	"strings"

	"flowtally/store/console"
)

// lossCause is a stage and a cause of the ledger.
type lossCause struct{ stage, cause string }

func causeOf(t console.LossTotal) lossCause { return lossCause{t.Stage, t.Cause} }

// kernelBuffer is the cause that a diagnosis looks at by itself.
var kernelBuffer = lossCause{"receive", "kernel_buffer"}

// lossWords says of each cause what was lost, in a few words behind a number and its unit
// ("5 sets without template") and in a sentence, and what would change that.
var lossWords = map[lossCause]struct{ brief, text, advice string }{
	{"exporter", "not_sent"}:         {"not sent by the exporter", "flow records that the exporter says it made and did not send", "look at the exporter's own log: the way to the collector, or its rate limit"},
	{"exporter", "ignored"}:          {"not metered, by design", "packets that the exporter saw and does not meter, such as ARP", ""},
	{"exporter", "dropped"}:          {"dropped by the exporter", "packets that the exporter could not take in time", "give the exporter more capture buffer or processors, or let it sample"},
	{"way", "missing"}:               {"missing", "sent and not received, as sequence numbers show", "look for loss between exporter and collector; when the kernel dropped datagrams, raise the receive buffer"},
	{"receive", "kernel_buffer"}:     {"dropped by the kernel", "datagrams that the kernel dropped because the receive buffer was full", "raise the receive buffer: sysctl -w net.core.rmem_max=67108864, and collector --receive-buffer 67108864"},
	{"receive", "not_allowed"}:       {"of senders that are not allowed", "datagrams of addresses that may not send", "add the address with collector --allow when it should"},
	{"decode", "version"}:            {"of other protocols", "datagrams that are not NetFlow v1, v5, v7, v9 or IPFIX", "see who sends what else to this port"},
	{"decode", "malformed"}:          {"malformed", "sets or records that contradict the specification", "flowtally inspect shows them; look for an update of the exporter"},
	{"decode", "no_template"}:        {"without template", "data whose template did not come in time", "let the exporter repeat its templates every minute"},
	{"decode", "over_limit"}:         {"beyond a limit", "data beyond what one exporter may make the collector keep", ""},
	{"decode", "too_many_exporters"}: {"of exporters beyond the limit", "records of exporters beyond the number that is followed", "raise collector --max-exporters, or allow only the known with --allow"},
	{"decode", "rate_limit"}:         {"beyond the rate limit", "records beyond what one exporter may send in a second", "raise collector --rate-limit"},
	{"store", "queue_full"}:          {"that the database was too slow for", "records dropped because the database was too slow and nothing spooled them", "give the collector a --spool, the database faster disks, or more --writers"},
	{"store", "refused"}:             {"refused by the database", "records that the database refused for what is in them", "the collector's log has the reason"},
	{"store", "stopped"}:             {"not stored before the stop", "records that could not be stored before the collector had to stop", "give the collector a --spool"},
	{"store", "quarantined"}:         {"in quarantine", "records that the database refused, kept in the spool's quarantine", "the collector's log has the reason"},
	{"store", "spool_damaged"}:       {"damaged in the spool", "records, or whole files of them, that were damaged in the spool", "look at the disk of the spool; the collector's log names the files, which are kept"},
	{"store", "spool_full"}:          {"that gave way in a full spool", "records that gave way to newer ones in a full spool", "give the spool more room, or the database more time"},
}

// lossBrief is how much was lost, in its unit, and why: 5 sets without template.
func lossBrief(t console.LossTotal) string {
	words := lossWords[causeOf(t)].brief
	if words == "" {
		words = "lost: " + strings.ReplaceAll(t.Cause, "_", " ")
	}
	unit := cmp.Or(t.Unit, "record")
	return many(t.Count, unit, unit+"s") + " " + words
}

// lossBriefs joins several.
func lossBriefs(list []console.LossTotal) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = lossBrief(t)
	}
	return strings.Join(texts, ", ")
}

// lossText is a line of a list: how much was lost, in its unit, and what that is.
func lossText(t console.LossTotal) string {
	if text := lossWords[causeOf(t)].text; text != "" {
		return lossBrief(t) + ": " + text
	}
	return lossBrief(t)
}
