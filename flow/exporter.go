package flow

import (
	"hash/fnv"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Exporter is the identity of an Exporting Process as a collector sees it: the
// address its packets come from and the Observation Domain it reports (v9:
// source id; v5: engine type * 256 + engine id).
type Exporter struct {
	Addr   Addr
	Domain uint32
}

// ExporterID is the short form of an Exporter, positive, derived from it alone
// so that records can be labelled while the database is away.
type ExporterID int32

// ID returns the identifier: 31 bits of FNV-1a over address and domain. With a
// thousand exporters two collide in one site of four thousand; the store then
// logs both by name and keeps no status of the second, whose records stand under
// the first's identifier.
func (e Exporter) ID() ExporterID {
	h := fnv.New64a()
	h.Write(e.Addr[:])
	h.Write([]byte{byte(e.Domain >> 24), byte(e.Domain >> 16), byte(e.Domain >> 8), byte(e.Domain)})
	s := h.Sum64()
	id := ExporterID((s ^ s>>31) & 0x7fffffff)
	if id == 0 {
		id = 1
	}
	return id
}

// Names is what an exporter is called when nobody names it, "" where nothing is known.
type Names struct {
	// Listener is the name of the listener that its last message came in on, Announced what
	// it tells of itself in options, DNS what reverse DNS calls its address.
	Listener, Announced, DNS string
}

// MaxName is the longest name of an exporter, in bytes.
const MaxName = 100

// Name returns a text as the name of an exporter: one line without blanks around it and of
// at most MaxName bytes. It is "" where it would be taken for an address, an address with
// a domain or a number, which are what exporters without a name are asked for by.
func Name(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	if text = strings.TrimSpace(text); len(text) > MaxName {
		text = strings.TrimSpace(strings.ToValidUTF8(text[:MaxName], ""))
	}
	addr, domain, both := strings.Cut(text, " domain ")
	_, err := netip.ParseAddr(addr)
	if err == nil && (!both || number(domain)) || number(text) {
		return ""
	}
	return text
}

// number reports whether a text has nothing but digits.
func number(text string) bool { return strings.Trim(text, "0123456789") == "" }

// HostName returns a name of DNS without its final dot, in small letters, "" when it is
// none that a host could have: whoever owns an address chooses what is said here.
func HostName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return ""
	}
	for _, c := range []byte(name) {
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return strings.ToLower(name)
}

// ExporterStatus is what a collector knows of one exporter. The counts are of
// this run of the collector, so they start at zero when it does.
type ExporterStatus struct {
	Exporter
	Names
	// Version is the last NetFlow version seen: 5, 9 or 10.
	Version uint16
	// FirstSeen and LastSeen are times of receipt.
	FirstSeen, LastSeen Time
	// ClockOffset is the export time of the last message less its time of
	// receipt.
	ClockOffset Time
	// SamplingRate is the last one announced, 0 when unknown; ConfiguredRate is
	// what the collector is configured to use, and SamplingOverride says that this
	// takes precedence over what is announced.
	SamplingRate, ConfiguredRate uint32
	SamplingOverride             bool
	// SamplingAt is when the rate was announced, SamplingProvisional that the
	// exporter has started again since and not yet repeated it.
	SamplingAt          Time
	SamplingProvisional bool
	// Datagrams, Records, Packets and Bytes are what was decoded.
	Datagrams, Records, Packets, Bytes uint64
	// Templates is how many are known now.
	Templates uint64
	// NoTemplate, Malformed and OverLimit are Sets (v5: records) that were not
	// decoded. Held are Sets that were kept to wait for their template, Recovered
	// those of them whose template came.
	NoTemplate, Malformed, OverLimit, Held, Recovered uint64
	// RateLimited are records that were dropped at the exporter's rate limit.
	RateLimited uint64
	// MissingRecords and MissingDatagrams are what sequence numbers, and in v9
	// the exporter's own totals, show to be lost on the way.
	MissingRecords, MissingDatagrams uint64
	// Duplicates are datagrams that came twice or too late, Restarts how often
	// the exporter restarted its sequence numbers.
	Duplicates, Restarts uint64
	// Unexplained is how many of these restarts look like gaps of more than it can
	// have sent. Numbering is what its sequence numbers count, NumberingShared says
	// that those of several domains are one counter's.
	Unexplained     uint64
	Numbering       Numbering
	NumberingShared bool
	// NotSent is how many flow records the exporter reports not to have sent;
	// Ignored and Dropped are the packets that it reports not to have metered.
	NotSent, Ignored, Dropped uint64
	// MeteringToldAt is when it last said how many packets it did not meter, and
	// SendingToldAt how many records it did not send; 0 when it did not in this run.
	MeteringToldAt, SendingToldAt Time
	// TimeRepaired is how many records had impossible times.
	TimeRepaired uint64
	// LastStart and LastEnd are the times that the flows of the last message
	// with records span, 0 when there was none.
	LastStart, LastEnd Time
	// LastError is the last reason why something was not decoded, "" when there
	// was none, and LastErrorAt when.
	LastError   string
	LastErrorAt Time
	// SourcePorts is how many ports it sends from now. Senders is how many of
	// them number their messages separately: more than one are several exporters
	// that differ by port only, as behind address translation.
	SourcePorts, Senders int
	// Gateway says that the address is that of a router in front of this machine,
	// such as Docker's bridge, which hides the sender's own address.
	Gateway bool
}

// Loss is one row of the table loss: how much of what an exporter sent was lost
// at a stage, in one minute, for one cause.
type Loss struct {
	Minute   Time
	Exporter ExporterID
	// Stage is where it was lost: exporter (as it reports itself), way, receive,
	// decode, store.
	Stage string
	// Cause is why, a fixed word of the stage's own list.
	Cause string
	// Unit is what Count counts: packet, record, event, datagram or set.
	Unit  string
	Count uint64
}
