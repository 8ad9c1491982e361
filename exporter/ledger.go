package exporter

import (
	"errors"
	"sync"
	"syscall"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"

	"github.com/prometheus/client_golang/prometheus"
)

// Summary is what Run did. Its sums balance:
//
//	Seen + Inner = Packets + Ignored + DuplicatesDropped + SampledOut
//	Flows        = Records − Split + NotSentBy.NotExpressible + NotSentBy.TooLong
//	Records      = Destination.Records + Destination.NotSent, of each destination
//
// Where destinations get different flows, or versions, Records, Messages, Split,
// NotExpressible and TooLong are sums over them, and a flow that no filter wants
// is in none.
type Summary struct {
	// Seen is how many frames the Source gave; one that the kernel put together
	// of several counts as these.
	Seen uint64 `json:"seen"`
	// Packets and Bytes are what was metered: IP packets, and their octets as
	// their headers state them.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// Inner is how many packets were found inside others, where both count.
	Inner uint64 `json:"inner"`
	// Ignored is how many frames were not metered, IgnoredBy why.
	Ignored   uint64  `json:"ignored"`
	IgnoredBy Ignored `json:"ignored_by"`
	// Duplicates is how many packets were recognised as copies, DuplicatesDropped
	// how many of them were left out for it; the others are among Packets.
	Duplicates        uint64 `json:"duplicates"`
	DuplicatesDropped uint64 `json:"duplicates_dropped"`
	// SampledOut is how many packets were not selected by sampling.
	SampledOut uint64 `json:"sampled_out"`
	// Flows is how many flow records were made.
	Flows uint64 `json:"flows"`
	// Records and Messages are what was made of them for each destination; Split
	// is how many records more than flows that took, because a counter did not
	// fit into one.
	Records  uint64 `json:"records"`
	Messages uint64 `json:"messages"`
	Split    uint64 `json:"split"`
	// Evicted is how many of Flows ended because the cache was full.
	Evicted uint64 `json:"evicted"`
	// FragmentsUnknown is how many fragments have no ports because their first
	// was not seen before them.
	FragmentsUnknown uint64 `json:"fragments_unknown"`
	// LengthsUnstated is how many packets have a header that does not state their
	// length (TSO), so that the frame's counted.
	LengthsUnstated uint64 `json:"lengths_unstated"`
	// Filtered is how many frames a filter in this process left out, before they
	// were Seen; of what a filter in the kernel leaves out nobody knows.
	Filtered uint64 `json:"filtered"`
	// KernelDrops is how many packets the kernel had no room for.
	KernelDrops uint64 `json:"kernel_drops"`
	// Tunnels is what came by mirror tunnels that end here; nil where none do.
	Tunnels *Tunnels `json:"tunnels,omitempty"`
	// NotSent is how many records did not leave for some destination, NotSentBy why.
	// A record counts once, however many destinations did not take it; where those
	// get different flows, or versions, each has records of its own.
	NotSent   uint64  `json:"not_sent"`
	NotSentBy NotSent `json:"not_sent_by"`
	// Destinations says it for each destination, in the order of Config.To.
	Destinations []Destination `json:"destinations"`
}

// Ignored counts frames that were not metered, by cause.
type Ignored struct {
	NotIP     uint64 `json:"not_ip"`
	Truncated uint64 `json:"truncated"`
	Malformed uint64 `json:"malformed"`
	LinkType  uint64 `json:"link_type"`
	// OwnExport: messages that this process sent itself, seen on the interface.
	OwnExport uint64 `json:"own_export"`
}

func (i *Ignored) count(err error, frames uint32) {
	n := uint64(frames)
	switch {
	case errors.Is(err, packet.ErrNotIP):
		i.NotIP += n
	case errors.Is(err, packet.ErrTruncated):
		i.Truncated += n
	case errors.Is(err, packet.ErrLinkType):
		i.LinkType += n
	default:
		i.Malformed += n
	}
}

func (i *Ignored) sum() uint64 {
	return i.NotIP + i.Truncated + i.Malformed + i.LinkType + i.OwnExport
}

func (i *Ignored) add(j *Ignored) {
	i.NotIP += j.NotIP
	i.Truncated += j.Truncated
	i.Malformed += j.Malformed
	i.LinkType += j.LinkType
	i.OwnExport += j.OwnExport
}

// Tunnels counts the datagrams of mirror tunnels that end here; see
// capture.TunnelStats. Unknown, Malformed and Foreign are among Summary.Filtered.
type Tunnels struct {
	Datagrams uint64 `json:"datagrams"`
	// Clients is how many clients are told apart, Others how many datagrams came
	// from those beyond the most.
	Clients   uint64 `json:"clients"`
	Others    uint64 `json:"others"`
	Unknown   uint64 `json:"unknown"`
	Malformed uint64 `json:"malformed"`
	Foreign   uint64 `json:"foreign"`
	// Cut is how many were longer than the buffer that receives them.
	Cut uint64 `json:"cut"`
}

func (t *Tunnels) add(s *capture.TunnelStats) {
	t.Datagrams += s.Packets
	t.Clients += s.Clients
	t.Others += s.Others
	t.Unknown += s.Unknown
	t.Malformed += s.Malformed
	t.Foreign += s.Foreign
	t.Cut += s.Cut
}

// NotSent counts records that did not leave, by cause.
type NotSent struct {
	// NotExpressible: the dialect cannot say it (IPv6 in NetFlow v5). Once,
	// whatever the number of destinations.
	NotExpressible uint64 `json:"not_expressible"`
	// TooLong: no message of the size allowed holds it. Once, whatever the
	// number of destinations.
	TooLong uint64 `json:"too_long"`
	// PathTooSmall: the path does not take a message as long as it was made.
	PathTooSmall uint64 `json:"path_too_small"`
	// Refused: nobody listens there (ICMP port unreachable).
	Refused uint64 `json:"refused"`
	// Unreachable: there is no way there.
	Unreachable uint64 `json:"unreachable"`
	// NoBuffer: the system had no room for the datagram.
	NoBuffer uint64 `json:"no_buffer"`
	// Failed: the system said something else; the log says what.
	Failed uint64 `json:"failed"`
}

func (n *NotSent) sum() uint64 {
	return n.NotExpressible + n.TooLong + n.PathTooSmall + n.Refused + n.Unreachable + n.NoBuffer + n.Failed
}

func (n *NotSent) add(m *NotSent) {
	n.NotExpressible += m.NotExpressible
	n.TooLong += m.TooLong
	n.PathTooSmall += m.PathTooSmall
	n.Refused += m.Refused
	n.Unreachable += m.Unreachable
	n.NoBuffer += m.NoBuffer
	n.Failed += m.Failed
}

// Destination is what one destination was sent.
type Destination struct {
	To       string `json:"to"`
	Messages uint64 `json:"messages"`
	Records  uint64 `json:"records"`
	NotSent  uint64 `json:"not_sent"`
	// Filtered is how many flows its own filter left out.
	Filtered uint64 `json:"filtered,omitempty"`
}

// readingCounts are counted by reading, meter.Stats by metering, sendingCounts
// and deliveryCounts by sending, without a lock; the ledger has copies.
type readingCounts struct {
	seen             uint64
	ignored          Ignored
	ignoredOctets    uint64 // of frames
	inner            uint64
	duplicates       uint64
	dropped          uint64
	sampledOut       uint64
	fragmentsUnknown uint64
	unstated         uint64
	filtered         uint64
	kernelDrops      uint64
	tunnels          *Tunnels // never written to once it is here
}

func (c *readingCounts) add(d *readingCounts) {
	c.seen += d.seen
	c.ignored.add(&d.ignored)
	c.ignoredOctets += d.ignoredOctets
	c.inner += d.inner
	c.duplicates += d.duplicates
	c.dropped += d.dropped
	c.sampledOut += d.sampledOut
	c.fragmentsUnknown += d.fragmentsUnknown
	c.unstated += d.unstated
	c.filtered += d.filtered
	c.kernelDrops += d.kernelDrops
	if d.tunnels != nil {
		c.tunnels = d.tunnels // there is one such source at most
	}
}

type sendingCounts struct {
	messages, records, split uint64
	notExpressible, tooLong  uint64
}

func (c *sendingCounts) add(d *sendingCounts) {
	c.messages += d.messages
	c.records += d.records
	c.split += d.split
	c.notExpressible += d.notExpressible
	c.tooLong += d.tooLong
}

type deliveryCounts struct {
	messages, records uint64
	notSent           NotSent
	octets, filtered  uint64
}

// fail counts so many records as not sent because of err.
func (d *deliveryCounts) fail(err error, records int) { *d.notSent.of(err) += uint64(records) }

// of returns the count of records that err kept from being sent.
func (n *NotSent) of(err error) *uint64 {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &n.Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		return &n.Unreachable
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return &n.NoBuffer
	case errors.Is(err, syscall.EMSGSIZE):
		return &n.PathTooSmall
	}
	return &n.Failed
}

// ledger holds what all goroutines have reported, for Summary and for
// Prometheus, whose Collector it is.
type ledger struct {
	mu        sync.Mutex
	readings  []readingCounts
	meterings []meter.Stats
	sending   sendingCounts
	to        []Destination
	notSent   NotSent
}

// reader and meter return the number of one that is new.
func (l *ledger) reader() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readings = append(l.readings, readingCounts{})
	return len(l.readings) - 1
}

func (l *ledger) meter() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meterings = append(l.meterings, meter.Stats{})
	return len(l.meterings) - 1
}

func (l *ledger) read(number int, c *readingCounts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readings[number] = *c
}

func (l *ledger) metered(number int, s *meter.Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meterings[number] = *s
}

// sums returns the sums over all readings and all meterings.
func (l *ledger) sums() (r readingCounts, m meter.Stats) {
	for i := range l.readings {
		r.add(&l.readings[i])
	}
	for i := range l.meterings {
		m.Add(&l.meterings[i])
	}
	return r, m
}

func (l *ledger) sent(c *sendingCounts, to []*destination) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sending = *c
	l.notSent = NotSent{NotExpressible: c.notExpressible, TooLong: c.tooLong}
	l.to = l.to[:0]
	var once *losses
	if len(to) > 0 {
		once = to[0].losses
	}
	if once != nil {
		l.notSent.add(&once.notSent)
	}
	for _, d := range to {
		if once == nil {
			l.notSent.add(&d.counts.notSent)
		}
		l.to = append(l.to, Destination{d.name, d.counts.messages, d.counts.records, d.counts.notSent.sum(), d.counts.filtered})
	}
}

func (l *ledger) summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, m := l.sums()
	s := &l.sending
	return Summary{
		Seen: r.seen, Packets: m.Packets, Bytes: m.Bytes, Inner: r.inner,
		Ignored: r.ignored.sum(), IgnoredBy: r.ignored,
		Duplicates: r.duplicates, DuplicatesDropped: r.dropped, SampledOut: r.sampledOut,
		Flows: m.Records(), Records: s.records, Messages: s.messages, Split: s.split,
		Evicted:          m.Ended[flow.EndLackOfResources],
		FragmentsUnknown: r.fragmentsUnknown,
		LengthsUnstated:  r.unstated,
		Filtered:         r.filtered,
		KernelDrops:      r.kernelDrops,
		Tunnels:          r.tunnels,
		NotSent:          l.notSent.sum(), NotSentBy: l.notSent,
		Destinations: append([]Destination(nil), l.to...),
	}
}

// What Prometheus is told. Labels are of fixed sets.
var (
	descPackets     = describe("packets_total", "IP packets metered.")
	descBytes       = describe("bytes_total", "Octets of the IP packets metered.")
	descInner       = describe("inner_packets_total", "Packets found inside others, which were counted, too.")
	descIgnored     = describe("ignored_packets_total", "Frames not metered, by cause.", "cause")
	descDuplicates  = describe("duplicates_total", "Packets recognised as copies.")
	descDropped     = describe("duplicates_dropped_total", "Copies that were not metered.")
	descSampledOut  = describe("sampled_out_total", "Packets that sampling did not select.")
	descFiltered    = describe("filtered_packets_total", "Frames that a filter in this process left out.")
	descKernelDrops = describe("kernel_drops_total", "Packets the kernel had no room for.")
	descDatagrams   = describe("tunnel_datagrams_total", "Datagrams of mirror tunnels that end here.")
	descClients     = describe("tunnel_clients", "Clients of mirror tunnels that are told apart.")
	descOthers      = describe("tunnel_others_total", "Datagrams of clients beyond the most that are told apart.")
	descLeftOut     = describe("tunnel_left_out_total", "Datagrams of mirror tunnels that gave no packet, by cause.", "cause")
	descCut         = describe("tunnel_cut_total", "Datagrams of mirror tunnels that were longer than the buffer.")
	descLive        = describe("live_flows", "Flows in the cache.")
	descFlows       = describe("flows_total", "Flow records made, by the reason they ended.", "reason")
	descFragments   = describe("fragments_unknown_total", "Fragments without ports because their first was not seen before them.")
	descUnstated    = describe("lengths_unstated_total", "Packets whose header states no length (TSO): the frame's counted.")
	descRecords     = describe("records_total", "Data records put into messages.")
	descMessages    = describe("messages_total", "Messages made; every destination gets a copy.")
	descNotSent     = describe("records_not_sent_total", "Records that did not leave for some destination, each once, by cause.", "cause")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("flowtally_exporter_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (l *ledger) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(l, ch) }

// Collect implements prometheus.Collector.
func (l *ledger) Collect(ch chan<- prometheus.Metric) {
	l.mu.Lock()
	r, m := l.sums()
	s, not := l.sending, l.notSent
	l.mu.Unlock()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(descPackets, m.Packets)
	counter(descBytes, m.Bytes)
	counter(descInner, r.inner)
	counter(descIgnored, r.ignored.NotIP, "not_ip")
	counter(descIgnored, r.ignored.Truncated, "truncated")
	counter(descIgnored, r.ignored.Malformed, "malformed")
	counter(descIgnored, r.ignored.LinkType, "link_type")
	counter(descIgnored, r.ignored.OwnExport, "own_export")
	counter(descSampledOut, r.sampledOut)
	counter(descFiltered, r.filtered)
	counter(descDuplicates, r.duplicates)
	counter(descDropped, r.dropped)
	counter(descKernelDrops, r.kernelDrops)
	if t := r.tunnels; t != nil {
		counter(descDatagrams, t.Datagrams)
		ch <- prometheus.MustNewConstMetric(descClients, prometheus.GaugeValue, float64(t.Clients))
		counter(descOthers, t.Others)
		counter(descLeftOut, t.Unknown, "unknown_client")
		counter(descLeftOut, t.Malformed, "malformed")
		counter(descLeftOut, t.Foreign, "foreign")
		counter(descCut, t.Cut)
	}
	ch <- prometheus.MustNewConstMetric(descLive, prometheus.GaugeValue, float64(m.Live))
	for _, e := range []struct {
		reason flow.EndReason
		label  string
	}{
		{flow.EndIdleTimeout, "idle"}, {flow.EndActiveTimeout, "active"}, {flow.EndOfFlow, "end"},
		{flow.EndForced, "forced"}, {flow.EndLackOfResources, "evicted"},
	} {
		counter(descFlows, m.Ended[e.reason], e.label)
	}
	counter(descFragments, r.fragmentsUnknown)
	counter(descUnstated, r.unstated)
	counter(descRecords, s.records)
	counter(descMessages, s.messages)
	counter(descNotSent, not.NotExpressible, "not_expressible")
	counter(descNotSent, not.TooLong, "too_long")
	counter(descNotSent, not.PathTooSmall, "path_too_small")
	counter(descNotSent, not.Refused, "refused")
	counter(descNotSent, not.Unreachable, "unreachable")
	counter(descNotSent, not.NoBuffer, "no_buffer")
	counter(descNotSent, not.Failed, "failed")
}
