package web

import (
	"fmt"
	"strings"

	"flowtally/store/console"
)

// lossCause is a stage and a cause of the ledger.
type lossCause struct{ stage, cause string }

func causeOf(t console.LossTotal) lossCause { return lossCause{t.Stage, t.Cause} }

// kernelBuffer is the cause that a diagnosis looks at by itself.
var kernelBuffer = lossCause{"receive", "kernel_buffer"}

// lossWords says of each cause what was lost, and what would change that.
var lossWords = map[lossCause]struct{ text, advice string }{
	{"exporter", "not_sent"}:         {"flow records that the exporter says it made and did not send", "look at the exporter's own log: the way to the collector, or its rate limit"},
	{"exporter", "ignored"}:          {"packets that the exporter saw and does not meter, such as ARP", ""},
	{"exporter", "dropped"}:          {"packets that the exporter could not take in time", "give the exporter more capture buffer or processors, or let it sample"},
	{"way", "missing"}:               {"sent and not received, as sequence numbers show", "look for loss between exporter and collector; when the kernel dropped datagrams, raise the receive buffer"},
	{"receive", "kernel_buffer"}:     {"datagrams that the kernel dropped because the receive buffer was full", "raise the receive buffer: sysctl -w net.core.rmem_max=67108864, and collector --receive-buffer 67108864"},
	{"receive", "not_allowed"}:       {"datagrams of addresses that may not send", "add the address with collector --allow when it should"},
	{"decode", "version"}:            {"datagrams that are not NetFlow v1, v5, v7, v9 or IPFIX", "see who sends what else to this port"},
	{"decode", "malformed"}:          {"sets or records that contradict the specification", "flowtally inspect shows them; look for an update of the exporter"},
	{"decode", "no_template"}:        {"data whose template did not come in time", "let the exporter repeat its templates every minute"},
	{"decode", "over_limit"}:         {"data beyond what one exporter may make the collector keep", ""},
	{"decode", "too_many_exporters"}: {"records of exporters beyond the number that is followed", "raise collector --max-exporters, or allow only the known with --allow"},
	{"decode", "rate_limit"}:         {"records beyond what one exporter may send in a second", "raise collector --rate-limit"},
	{"store", "queue_full"}:          {"records dropped because the database was too slow and nothing spooled them", "give the collector a --spool, the database faster disks, or more --writers"},
	{"store", "refused"}:             {"records that the database refused for what is in them", "the collector's log has the reason"},
	{"store", "stopped"}:             {"records that could not be stored before the collector had to stop", "give the collector a --spool"},
	{"store", "quarantined"}:         {"records that the database refused, kept in the spool's quarantine", "the collector's log has the reason"},
	{"store", "spool_damaged"}:       {"records, or whole files of them, that were damaged in the spool", "look at the disk of the spool; the collector's log names the files, which are kept"},
	{"store", "spool_full"}:          {"records that gave way to newer ones in a full spool", "give the spool more room, or the database more time"},
}

// lossText is a line of a list: what was lost for a cause, and how much, in an order that
// suits one and many.
func lossText(t console.LossTotal) string {
	text := lossWords[causeOf(t)].text
	if text == "" {
		text = strings.ReplaceAll(t.Cause, "_", " ")
	}
	return fmt.Sprintf("%s: %d", text, t.Count)
}
