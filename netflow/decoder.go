package netflow

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"

	"flowtally/flow"
)

// Decoder is the receiving side of a listener: it knows the templates and the
// options of everybody who sends to it. It is safe for concurrent use, so that
// the sockets of one listener share what they learn.
type Decoder struct {
	store    store
	hold     hold
	told     toldFlows
	sampling atomic.Pointer[func(flow.Exporter) Sampling]
}

// NewDecoder returns a Decoder that knows no template.
func NewDecoder(l Limits) *Decoder {
	l = l.withDefaults()
	return &Decoder{store: store{limits: l, exporters: make(map[flow.Addr]*exporter)}, told: newTold(l.Connections)}
}

// Templates returns how many templates of e are known now, of whatever port.
func (d *Decoder) Templates(e flow.Exporter) int { return d.store.count(e) }

// Message says what a datagram was.
type Message struct {
	Version  Version
	Exporter flow.Exporter
	// ExportTime is the exporter's clock as the header states it.
	ExportTime flow.Time
	// Sequence is the header's sequence number. It counts, of one exporter, what
	// came before this message: v5 and v7 the flow records, v9 the messages,
	// IPFIX the Data Records; so that the next message has Sequence +
	// DataRecords, if every Set of this one could be decoded (NoTemplate,
	// Malformed, OverLimit and Held are 0). v1 has none.
	Sequence uint32
	// DataRecords counts the Data Records of this message's own Sets that were
	// decoded, of flows and of options.
	DataRecords int
	// OptionRecordsOwn are those of them that are of options.
	OptionRecordsOwn int
	// Records and OptionRecords count the Data Records decoded, as they stand
	// on the wire: a biflow is one here and appends two. Those of Sets that an
	// earlier message left behind and this one brought the template for are
	// among them. Templates counts those received, first or again.
	Records, OptionRecords, Templates int
	// Held counts the Sets of this message that are kept until their template
	// comes, Recovered the Sets kept from earlier messages that were decoded
	// now. What is given up is reported by Decoder.Expire: Sets held = recovered
	// + given up + still held.
	Held, Recovered int
	// NoTemplate, Malformed and OverLimit count the Sets (v5: the records) that
	// were not decoded, or not to their end, by cause.
	NoTemplate, Malformed, OverLimit int
	// Withdrawals counts Template Withdrawals. They are obeyed only where
	// Limits.Withdrawals says so: over UDP they must not be sent (RFC 7011
	// §8.1), and one out of order would do harm.
	Withdrawals int
	// Evicted counts the templates, of this exporter or others, that gave way to
	// those of this message (see Limits).
	Evicted int
	// SamplingRate is the N of 1:N that the exporter last announced for records
	// that do not state their own, 0 when it has not.
	SamplingRate uint32
	// SamplingAt is when it did so, SamplingProvisional says that the exporter has
	// started again since (see Decoder.Restarted), SamplingForgotten that what it
	// announced before that is not used any more. They are of messages that bring
	// options, and of those of an exporter that started again.
	SamplingAt          flow.Time
	SamplingProvisional bool
	SamplingForgotten   bool
	// Name is what the exporter calls itself, or its domain, in options records of this
	// message (observationDomainName, 300), "" when they do not say. Anybody can say
	// anything here.
	Name string
	// Interfaces are those that options records of this message describe. The
	// slice is used again by the next Decode into this Message; Stats too.
	Interfaces []flow.Interface
	// Stats are what the exporter says of its own work (RFC 7011 §4).
	Stats []ProcessStats
	// Events are what its records tell that are no flows, or are more than flows. The
	// slice is used again, too, but not what its elements point to.
	Events []flow.Event
	// Announced is the address that the sender gives as the exporter's
	// (exporterIPv4Address, 130, exporterIPv6Address, 131): in options, or in all
	// flow records of a Set. It is zero when none was given. Anybody can say
	// anything here: whether it is believed is the caller's to decide, Exporter
	// has the packet's source.
	Announced flow.Addr
}

// Decode appends the records of one datagram to dst and returns it, also beside
// an error; m is overwritten. from is the exporter's address and source port,
// received the time of receipt. The records keep nothing of datagram, which the
// caller may use again.
//
// Good Sets survive a bad neighbour: what was skipped is counted in m, and err
// joins the first few reasons, each a *DecodeError that wraps ErrNoTemplate,
// ErrMalformed or ErrLimit. A datagram that is none of ours gives ErrVersion.
// Records of a template without extras cost no allocation. Times are as sent;
// RepairTime is the caller's.
func (d *Decoder) Decode(dst []flow.Record, m *Message, from netip.AddrPort, received flow.Time, datagram []byte) ([]flow.Record, error) {
	*m = Message{
		Exporter:   flow.Exporter{Addr: flow.AddrFrom(from.Addr())},
		Interfaces: m.Interfaces[:0], Stats: m.Stats[:0], Events: m.Events[:0],
	}
	if len(datagram) < 2 {
		return dst, ErrVersion
	}
	w := work{d: d, m: m, b: datagram, dst: dst, port: from.Port()}
	w.proto.Received = received
	m.Version = Version(binary.BigEndian.Uint16(datagram))
	switch m.Version {
	case V1:
		w.fixedFormat(&formatV1)
	case V5:
		w.fixedFormat(&formatV5)
	case V7:
		w.fixedFormat(&formatV7)
	case V9:
		w.dl = &dialectV9
		w.v9()
	case IPFIX:
		w.dl = &dialectIPFIX
		w.ipfix()
	default:
		m.Version = 0
		return dst, ErrVersion
	}
	if of := d.sampling.Load(); of != nil {
		(*of)(m.Exporter).configure(w.dst[len(dst):])
	}
	return w.dst, errors.Join(w.errs...)
}

// work is one call of Decode.
type work struct {
	d    *Decoder
	dl   *dialect
	m    *Message
	b    []byte
	port uint16
	dst  []flow.Record
	errs []error

	clocks clocks
	domain *domain // of which opts are
	opts   *options
	// changed is the domain of which this message says something new, and is
	// locked; news is what is known of it with that.
	changed *domain
	news    *options
	proto   flow.Record // what every record of the message begins as
	// found are the templates that served this message last: where records of
	// two kinds alternate, each Set would look for its own.
	found [2]*template
	// learned says that this message brought a new template: what it decodes
	// does not prove that anybody goes on sending.
	learned bool
	// session is that of a template that this message had, or was read by.
	session *session
	// looks counts the walks through what is held; waiting is since when this port's
	// data is, 0 when none is, once it was asked for.
	looks   int
	asked   bool
	waiting flow.Time
}

// maxErrors is how many reasons Decode puts into words; the counters have all.
const maxErrors = 8

// skipped counts n of what was not decoded and keeps the reason.
func (w *work) skipped(counter *int, n int, set uint16, offset int, err error) {
	*counter += n
	if len(w.errs) < maxErrors {
		w.errs = append(w.errs, &DecodeError{w.m.Version, w.m.Exporter.Domain, set, offset, err})
	}
}

// identify notes who speaks.
func (w *work) identify(domain uint32) {
	w.m.Exporter.Domain = domain
	w.proto.Exporter = w.m.Exporter.ID()
}

// v9 reads the header of a v9 message, then its Sets.
func (w *work) v9() {
	b, m := w.b, w.m
	if len(b) < w.dl.header {
		w.skipped(&m.Malformed, 1, 0, 0, errShortHeader)
		return
	}
	m.ExportTime, w.clocks.uptime = w.dl.clock(b)
	m.Sequence = binary.BigEndian.Uint32(b[w.dl.sequence:])
	w.identify(binary.BigEndian.Uint32(b[16:]))
	w.sets(len(b))
}

// ipfix reads the header of an IPFIX message, then its Sets.
func (w *work) ipfix() {
	b, m := w.b, w.m
	if len(b) < w.dl.header {
		w.skipped(&m.Malformed, 1, 0, 0, errShortHeader)
		return
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	m.ExportTime, _ = w.dl.clock(b)
	m.Sequence = binary.BigEndian.Uint32(b[w.dl.sequence:])
	w.identify(binary.BigEndian.Uint32(b[12:]))
	// Some count wrong: what is there is decoded, whatever the header says.
	w.sets(length)
	if length > len(b) && m.Malformed == 0 {
		// It was cut between two Sets, so that none of them shows it.
		w.skipped(&m.Malformed, 1, 0, len(b), errLength)
	}
}

// sets walks the Sets of a message that ends at stated, as its header says. Every
// turn takes at least the four octets of a Set's header.
func (w *work) sets(stated int) {
	m, end := w.m, len(w.b)
	w.clocks.export = m.ExportTime
	if w.domain = w.d.store.domainOf(m.Exporter.Addr, domainKey{m.Exporter.Domain, m.Version}); w.domain != nil {
		w.setOptions(w.domain.current(w.proto.Received))
	} else {
		w.setOptions(nil)
	}
	defer w.number()
	defer w.publish()
	r := reader{b: w.b, pos: w.dl.header, end: end}
	for r.remaining() > 0 {
		at := r.pos
		if r.remaining() < setHeader {
			if !r.allZero() {
				w.skipped(&m.Malformed, 1, 0, at, errSetLength)
			}
			return
		}
		id, length := r.uint16(), int(r.uint16())
		switch {
		case length < setHeader:
			// Octets after the last Set are padding when they are zero.
			if r.pos = at; !r.allZero() {
				w.skipped(&m.Malformed, 1, id, at, errSetLength)
			}
			return
		case at+length > end && at >= stated:
			w.skipped(&m.Malformed, 1, id, at, errSetOverrun)
			return
		}
		// Of a Set that was cut what is whole is decoded.
		before, cut := m.Malformed, at+length > end
		set := reader{b: w.b, pos: r.pos, end: min(at+length, end)}
		r.pos = set.end
		switch {
		case id == w.dl.templateSet:
			w.templates(id, set, false)
		case id == w.dl.optionsSet:
			w.templates(id, set, true)
		case id < firstTemplate:
			w.skipped(&m.Malformed, 1, id, at, errSetReserved)
		default:
			w.data(id, set)
		}
		if cut && m.Malformed == before {
			w.skipped(&m.Malformed, 1, id, at, errSetOverrun)
		}
	}
}
