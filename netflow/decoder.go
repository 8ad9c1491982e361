package netflow

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
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

// find returns the template of a Data Set, nil when it is not known.
func (w *work) find(k templateKey) *template {
	for _, t := range w.found {
		if t != nil && t.key.id == k.id {
			return t
		}
	}
	t := w.d.store.find(w.m.Exporter.Addr, k)
	if t != nil {
		w.found[1], w.found[0] = w.found[0], t
	}
	return t
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

// grow appends a record to dst and returns it.
func (w *work) grow() *flow.Record {
	n := len(w.dst)
	if n == cap(w.dst) {
		w.dst = slices.Grow(w.dst, 64)
	}
	w.dst = w.dst[:n+1]
	r := &w.dst[n]
	*r = w.proto
	return r
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

// setOptions takes over what the domain has announced.
func (w *work) setOptions(o *options) {
	w.opts = o
	w.m.SamplingRate = o.samplingRate()
	w.proto.SamplingRate = w.m.SamplingRate
	if o != nil {
		w.clocks.init = o.init
		w.m.SamplingForgotten = o.forgotten
	}
}

// templates reads a Template Set or an Options Template Set. Each turn takes at
// least the four octets of a template's header.
func (w *work) templates(set uint16, r reader, options bool) {
	m := w.m
	w.found = [2]*template{}
	bad := false // one is counted a Set: what follows may be anything
	for r.remaining() >= 4 {
		at := r.pos
		if r.allZero() {
			return
		}
		id, count := r.uint16(), int(r.uint16())
		if id < firstTemplate && count == 0 && id == set && w.dl.enterprise {
			w.withdraw(0, options)
			continue
		}
		if id >= firstTemplate && count == 0 && w.dl.enterprise {
			w.withdraw(id, options)
			continue
		}
		scopes := 0
		if options {
			second := int(r.uint16())
			scopes = second
			if w.dl.scopeOctets {
				// count is the length of the scopes, second that of the options.
				if count%4 != 0 || second%4 != 0 {
					w.skipped(&m.Malformed, 1, set, at, errScope)
					if r.skip(count + second); r.failed {
						return
					}
					continue
				}
				scopes, count = count/4, (count+second)/4
			} else if id >= firstTemplate && (scopes == 0 || scopes > count) {
				w.skipped(&m.Malformed, 1, set, at, errScope)
				if !w.passOver(&r, count) {
					return
				}
				continue
			}
		}
		if id < firstTemplate {
			if !bad {
				w.skipped(&m.Malformed, 1, set, at, errTemplateID)
			}
			if bad = true; !w.passOver(&r, count) {
				return
			}
			continue
		}
		if !w.template(set, &r, at, id, count, scopes, options) {
			return
		}
	}
	// What is left is too short for a template: padding, which not every device
	// makes of zeros.
}

// passOver passes over the specifiers of a template that cannot be learned, so that
// the next one is. It returns false when they do not fit the Set.
func (w *work) passOver(r *reader, count int) bool {
	if r.failed || count*4 > r.remaining() {
		return false
	}
	for range count {
		field := r.uint16()
		r.skip(2)
		if w.dl.enterprise && field&0x8000 != 0 {
			r.skip(4)
		}
	}
	return !r.failed
}

// withdraw counts a withdrawal, of one template or (0) of all templates or all
// options templates of the domain, and obeys it where that is asked for.
func (w *work) withdraw(id uint16, options bool) {
	w.m.Withdrawals++
	if w.d.store.limits.Withdrawals {
		w.d.store.withdraw(w.m.Exporter, w.m.Version, id, options)
	}
}

// template reads the specifiers of one template and learns it. It returns false
// when the rest of the Set cannot be read.
func (w *work) template(set uint16, r *reader, at int, id uint16, count, scopes int, options bool) bool {
	m := w.m
	// Every specifier is at least four octets, so the count is checked before
	// anything is made from it.
	if r.failed || count*4 > r.remaining() {
		w.skipped(&m.Malformed, 1, set, at, errTemplateCut)
		return false
	}
	begin, size := r.pos, 0
	for range count {
		field := r.uint16()
		length := r.uint16()
		if w.dl.enterprise && field&0x8000 != 0 {
			r.skip(4)
		}
		if length == variableLength {
			length = 1
		}
		size += int(length)
	}
	if r.failed {
		w.skipped(&m.Malformed, 1, set, at, errTemplateCut)
		return false
	}
	raw := w.b[begin:r.pos]
	limits := &w.d.store.limits
	switch {
	case size == 0:
		w.skipped(&m.Malformed, 1, set, at, errTemplateEmpty)
		return true
	case size > 65535-setHeader:
		w.skipped(&m.Malformed, 1, set, at, errTemplateLong)
		return true
	case count > limits.TemplateFields:
		w.skipped(&m.OverLimit, 1, set, at, errTemplateFields)
		return true
	}
	key := templateKey{m.Exporter.Domain, w.port, id, m.Version}
	addr := m.Exporter.Addr
	if t := w.d.store.repeated(addr, key, options, scopes, raw); t != nil {
		m.Templates++
		w.session = t.session
		w.recover(t)
		return true
	}
	t := compile(w.dl, options, w.specs(raw, count, scopes))
	t.key, t.scopes, t.raw = key, scopes, slices.Clone(raw)
	t.used.Store(int64(w.proto.Received))
	evicted, ok := w.d.store.add(addr, t)
	m.Evicted += evicted
	if !ok {
		w.skipped(&m.OverLimit, 1, set, at, errTemplateRoom)
		return true
	}
	m.Templates++
	w.learned, w.session = true, t.session
	w.recover(t)
	return true
}

// specs returns the Field Specifiers in raw, which has been walked before.
func (w *work) specs(raw []byte, count, scopes int) []fieldSpec {
	specs := make([]fieldSpec, count)
	r := reader{b: raw, end: len(raw)}
	for i := range specs {
		f := &specs[i]
		f.id, f.length, f.scope = r.uint16(), r.uint16(), i < scopes
		if w.dl.enterprise && f.id&0x8000 != 0 {
			f.id &^= 0x8000
			f.pen = r.uint32()
		}
	}
	return specs
}

// data decodes a Data Set, or holds it until its template comes.
func (w *work) data(id uint16, r reader) {
	m := w.m
	k := templateKey{m.Exporter.Domain, w.port, id, m.Version}
	t := w.find(k)
	if t != nil && t.key.port != w.port {
		// Several exporters behind one address differ by their port alone.
		if w.d.store.limits.Withdrawals || !w.borrows(t) {
			t = nil
		} else {
			w.recover(t)
		}
	}
	if t == nil {
		// Where nothing overtakes, a template that has not come will not.
		hold := r.remaining() > 0 && !w.d.store.limits.Withdrawals
		if hold && w.d.hold.keep(&w.d.store.limits, m.Exporter.Addr, k, w.proto.Received, w.b[:w.dl.header], w.b[r.pos:r.end]) {
			m.Held++
			return
		}
		w.skipped(&m.NoTemplate, 1, id, r.pos, errNoTemplate)
		return
	}
	w.session = t.session
	n := w.decodeFrom(w.port, t, r, w.d.store.limits.MessageRecords-m.DataRecords)
	m.DataRecords += n
	if t.options {
		m.OptionRecordsOwn += n
	}
	if n > 0 && !w.learned {
		t.touch(w.proto.Received, w.d.store.learned.Load())
	}
}

// decodeFrom is decodeSet for a Set that came from a port: records that are read by
// another one's template say so.
func (w *work) decodeFrom(port uint16, t *template, r reader, room int) int {
	first, events := len(w.dst), len(w.m.Events)
	n := w.decodeSet(t, t.key.id, r, room)
	if port != t.key.port {
		for i := first; i < len(w.dst); i++ {
			w.dst[i].Marks |= flow.MarkBorrowed
		}
		for i := events; i < len(w.m.Events); i++ {
			w.m.Events[i].Marks |= flow.MarkBorrowed
		}
	}
	return n
}

// decodeSet decodes up to room records of a Data Set whose template is t, and
// returns how many.
func (w *work) decodeSet(t *template, id uint16, r reader, room int) int {
	m := w.m
	if r.remaining() < t.size {
		if r.remaining() > 0 && !r.allZero() {
			w.skipped(&m.Malformed, 1, id, r.pos, errRecordShort)
		}
		return 0
	}
	var n int
	var why error
	begin := r.pos
	switch {
	case t.options:
		n, why = w.optionRecords(t, &r, room)
		m.OptionRecords += n
	case t.events != nil:
		n, why = w.eventRecords(t, &r, room)
		m.Records += n
	case t.variable:
		n, why = w.variable(t, &r, room)
		m.Records += n
	default:
		n = r.remaining() / t.size
		if n > room {
			n, why = room, errRecordLimit
		}
		w.fixed(t, r.pos, n)
		m.Records += n
	}
	switch why {
	case nil:
	case errRecordLimit:
		w.skipped(&m.OverLimit, 1, id, r.pos, why)
	default:
		w.skipped(&m.Malformed, 1, id, r.pos, why)
	}
	if n > 0 && !t.decoded.Load() {
		t.decoded.Store(true)
	}
	if n > 0 && t.announces.width != 0 {
		w.announced(t, r.b, begin, n)
	}
	return n
}

// fixed decodes n records of fixed length that begin at pos.
func (w *work) fixed(t *template, pos, n int) {
	w.begin(t)
	first := len(w.dst)
	w.dst = slices.Grow(w.dst, n)
	c := w.clocks
	if t.resolve&resolveReverse != 0 {
		// Each may have a second one behind it.
		for range n {
			var s scratch
			w.grow()
			follow(t.ops, w.b, pos, 0, w.dst[len(w.dst)-1:], &s, &c)
			w.complete(t, w.dst[len(w.dst)-1:], &s, pos, nil)
			pos += t.size
		}
		return
	}
	w.dst = w.dst[:first+n]
	recs := w.dst[first:]
	for i := range recs {
		recs[i] = w.proto
	}
	follow(t.ops[:t.direct], w.b, pos, t.size, recs, nil, &c)
	if t.resolve == 0 && t.extras.record == nil && t.names == nil && (w.opts == nil || w.opts.interfaces == nil) {
		w.settle(t, recs)
		return
	}
	for i := range recs {
		var s scratch
		follow(t.ops[t.direct:], w.b, pos, 0, recs[i:i+1], &s, &c)
		w.complete(t, recs[i:i+1], &s, pos, nil)
		pos += t.size
	}
}

// begin makes what every record of a template begins as.
func (w *work) begin(t *template) { w.proto.IPVersion, w.proto.Absent = t.ipVersion, t.absent }

// complete finishes the one record of recs, which was decoded last from pos or, of
// variable length, from spans: with what serves where fields are zero, with its
// extras, and with its other half, which becomes a record behind it.
func (w *work) complete(t *template, recs []flow.Record, s *scratch, pos int, spans []span) {
	r := &recs[0]
	if len(t.spares) > 0 {
		c := w.clocks
		if boot := c.export - flow.Time(c.uptime); t.uptimes && r.Start == boot && r.End == boot {
			r.Start, r.End = 0, 0
		}
		t.fillIn(w.b, pos, spans, recs, s, &c)
	}
	r.Extra = t.extras.record.json(w, w.b, pos, spans)
	if t.names != nil {
		w.describeFlow(t, r, pos, spans)
	}
	if t.resolve != 0 || w.opts != nil && w.opts.interfaces != nil {
		c := w.clocks
		var rev flow.Record
		if t.finish(r, &rev, s, &c, w.opts) {
			if r.Packets == 0 && r.Bytes == 0 {
				// Only the other half is a flow.
				rev.Extra = t.extras.reverse.json(w, w.b, pos, spans)
				*r = rev
			} else {
				rev.Extra = t.extras.half.json(w, w.b, pos, spans)
				w.settle(t, recs)
				w.grow()
				r = &w.dst[len(w.dst)-1]
				*r = rev
				recs = w.dst[len(w.dst)-1:]
			}
		}
	}
	w.settle(t, recs)
}

// settle makes of records what can only be said when all of their fields are read.
func (w *work) settle(t *template, recs []flow.Record) {
	if !t.uptimes || len(t.spares) > 0 {
		for i := range recs {
			if isICMP(recs[i].Protocol) {
				recs[i].SrcPort = 0
			}
		}
		return
	}
	doubtful := w.clocks.doubtful()
	for i := range recs {
		if isICMP(recs[i].Protocol) {
			recs[i].SrcPort = 0
		}
		if recs[i].End < doubtful {
			w.clocks.repair(&recs[i])
		}
	}
}

// variable decodes up to room records of variable length and returns how many.
func (w *work) variable(t *template, r *reader, room int) (n int, why error) {
	w.begin(t)
	var spans []span
	if t.extras.record != nil || len(t.spares) > 0 || t.names != nil {
		spans = make([]span, len(t.ops))
	}
	for r.remaining() >= t.size {
		if n >= room {
			return n, errRecordLimit
		}
		var s scratch
		w.grow()
		if !w.fields(t, r, w.dst[len(w.dst)-1:], &s, spans) {
			w.dst = w.dst[:len(w.dst)-1]
			return n, errRecordCut
		}
		w.complete(t, w.dst[len(w.dst)-1:], &s, 0, spans)
		n++
	}
	return n, nil
}

// fields reads one record of variable length into x, which has one, and s. It reports false,
// with r where the record began, when a field does not fit.
func (w *work) fields(t *template, r *reader, x []flow.Record, s *scratch, spans []span) bool {
	begin := r.pos
	c := w.clocks
	for i := range t.ops {
		length := int(t.lengths[i])
		if length == variableLength {
			length = r.fieldLength()
		}
		at := r.skip(length)
		if r.failed {
			r.pos = begin
			return false
		}
		if spans != nil {
			spans[i] = span{at, length}
		}
		if t.ops[i].set == setNothing {
			continue
		}
		one := [1]op{t.ops[i]}
		if t.lengths[i] == variableLength {
			one[0].end, one[0].width, one[0].mask = uint16(length), uint16(length), maskOf(length)
		}
		follow(one[:], w.b, at, 0, x, s, &c)
	}
	return true
}

// optionRecords reads up to room records of an Options Template and takes over
// what they announce.
func (w *work) optionRecords(t *template, r *reader, room int) (n int, why error) {
	const sampling = resolveRate | resolveSelector | resolveInit
	learn := t.resolve&sampling != 0 || t.init
	var spans []span
	if t.variable && len(t.spares) > 0 {
		spans = make([]span, len(t.ops))
	}
	for r.remaining() >= t.size {
		if n >= room {
			why = errRecordLimit
			break
		}
		var s scratch
		var ignored [1]flow.Record
		c := w.clocks
		if t.variable {
			if !w.fields(t, r, ignored[:], &s, spans) {
				why = errRecordCut
				break
			}
			t.fillIn(w.b, 0, spans, ignored[:], &s, &c)
		} else {
			follow(t.ops, w.b, r.pos, 0, ignored[:], &s, &c)
			t.fillIn(w.b, r.pos, nil, ignored[:], &s, &c)
			r.pos += t.size
		}
		n++
		if t.resolve&resolveTold != 0 {
			w.describe(&s, &ignored[0])
		}
		switch {
		case !learn:
		case !w.opts.knows(t, &s):
			learn = w.learn(t, &s, r.pos)
		case w.opts != nil:
			w.opts.note(t, &s, w.proto.Received)
		}
	}
	if w.news != nil {
		w.setOptions(w.news)
	}
	return n, why
}

// learn takes over what an options record announces, into a copy of what is
// known that publish makes known to others. It reports false when there is no
// room for the domain.
func (w *work) learn(t *template, s *scratch, at int) bool {
	if w.news == nil {
		dom := w.d.store.domain(w.m.Exporter.Addr, domainKey{w.m.Exporter.Domain, w.m.Version})
		if dom == nil {
			w.skipped(&w.m.OverLimit, 0, t.key.id, at, errDomains)
			return false
		}
		// Once a message, however many Sets of options it has: what is copied
		// is of the size of all that the domain has announced.
		dom.mu.Lock()
		w.changed, w.news = dom, dom.options.Load().clone()
	}
	if o := w.news; o.init != 0 && s.init > 0 && s.init > o.init+bootSlack {
		dom := w.changed
		dom.restart.Store(int64(w.proto.Received)) // by its own word
	}
	w.news.learn(t, s, w.d.store.limits.Selectors)
	w.news.remember(t, s)
	w.news.note(t, s, w.proto.Received)
	if w.news.rate != 0 || len(w.news.selectors) > 0 || w.news.interfaces != nil {
		w.news.forgotten = false
	}
	return true
}

// publish makes what the message announced known to others.
func (w *work) publish() {
	if dom := w.changed; dom != nil || w.m.OptionRecords > 0 || w.domain != nil && (w.domain.restart.Load() != 0 || w.domain.loaded.Swap(false)) {
		o := w.opts
		if dom == nil {
			dom = w.domain
		}
		if dom != nil {
			w.m.SamplingAt, w.m.SamplingProvisional = o.samplingAt(flow.Time(dom.restart.Load()))
		}
	}
	if w.changed != nil {
		w.changed.options.Store(w.news)
		w.changed.mu.Unlock()
	}
}
