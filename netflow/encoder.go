package netflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"flowtally/flow"
)

// EncoderConfig is how an Encoder speaks. The zero value of a field means its
// default, except Version, which must be set.
type EncoderConfig struct {
	Version Version
	// Domain is the Observation Domain (v9: source id; v5: its low 16 bits are
	// engine type and engine id).
	Domain uint32
	// MaxMessage is the largest UDP payload in octets; default 1372, which is
	// 1400 less the headers of IPv4 and UDP.
	MaxMessage int
	// Boot is when the exporter started: the zero of v5's and v9's uptime. It is
	// cut to a whole second.
	Boot flow.Time
	// TemplateMessages and TemplateInterval say how often templates are
	// repeated: after so many messages (default 20), and after so long (default
	// 60 s), whichever comes first.
	TemplateMessages int
	TemplateInterval flow.Time
	// SamplingRate is the N of 1:N sampling: announced in the v5 header, and by
	// an options record beside the templates in v9 and IPFIX. 0 says nothing, 1
	// says unsampled.
	SamplingRate uint32
	// SamplingRandom says that it is any one of N packets, not the first.
	SamplingRandom bool
	// Name is what the exporter calls itself, said in options as observationDomainName
	// (300); "" says nothing.
	Name string
	// Template is whose templates to send, and Fields what else is in ours; both
	// are nothing to v5, except that Pflow leaves out there what pflow(4) does.
	Template Template
	Fields   Fields
}

// Template is a choice of templates.
type Template uint8

const (
	// Rich is ours: all that a record has.
	Rich Template = iota
	// Pflow is that of OpenBSD's pflow(4), exactly, for IPFIX and v5: templates in
	// a message of their own every 30 s, at most 30 records in a message, IPv4 and
	// IPv6 in different ones, no flags, no VLAN, no reason, no options.
	Pflow
)

// pflowRecords is how many records a message of pflow(4) has at most.
const pflowRecords = 30

// Encoder makes messages of one Observation Domain to one collector. It is not
// safe for concurrent use.
type Encoder struct {
	c  EncoderConfig
	dl *dialect // nil for v5

	v4, v6               *exportTemplate
	directed4, directed6 *exportTemplate // of records with a direction; nil where a message has no room for them
	directs              bool            // there was such a record

	templates []byte // the Sets that announce them, and the sampling rate
	options   []byte // the Sets that announce what options say
	count     uint32 // Templates in templates
	announced uint32 // Data Records in templates

	sequence uint32
	messages int       // since the templates were sent
	sentAt   flow.Time // when they were; messages < 0 before the first time
}

// NewEncoder returns an Encoder, or an error that says what is wrong with c.
func NewEncoder(c EncoderConfig) (*Encoder, error) {
	if c.MaxMessage == 0 {
		c.MaxMessage = 1372
	}
	if c.Template == Pflow {
		if c.Version == V9 {
			return nil, errors.New("netflow: pflow(4) has no v9: 5 or 10 (IPFIX)")
		}
		c.TemplateMessages, c.Fields = math.MaxInt, 0
		if c.TemplateInterval <= 0 {
			c.TemplateInterval = 30 * flow.Second
		}
	}
	if c.TemplateMessages <= 0 {
		c.TemplateMessages = 20
	}
	if c.TemplateInterval <= 0 {
		c.TemplateInterval = 60 * flow.Second
	}
	c.Boot = c.Boot.Floor(flow.Second)
	e := &Encoder{c: c, messages: -1}
	least := v5Header + v5Record
	switch c.Version {
	case V5:
		if c.SamplingRate > v5RateMask {
			return nil, fmt.Errorf("netflow: v5 cannot announce a sampling rate above %d, and %d was asked for", v5RateMask, c.SamplingRate)
		}
	case V9, IPFIX:
		e.dl = &dialectV9
		if c.Version == IPFIX {
			e.dl = &dialectIPFIX
		}
		fields4, fields6 := c.Fields.fields(template4), c.Fields.fields(template6)
		if c.Template == Pflow {
			fields4, fields6 = pflow4, pflow6
		}
		e.v4 = newExportTemplate(e.dl, fields4, id4)
		e.v6 = newExportTemplate(e.dl, fields6, id6)
		if c.Template == Rich {
			e.direct(append(fields4, templateDirection), append(fields6, templateDirection))
		}
		e.announce()
		least = max(e.dl.header+len(e.templates)+e.setSize(e.v6, 1), e.optionsSize())
	case 0:
		return nil, errors.New("netflow: no version was given: 5, 9 or 10 (IPFIX)")
	default:
		return nil, fmt.Errorf("netflow: version %d is not one of 5, 9 and 10 (IPFIX)", c.Version)
	}
	if c.MaxMessage < least || c.MaxMessage > 65507 {
		return nil, fmt.Errorf("netflow: a message of at most %d octets: %s takes between %d and 65507", c.MaxMessage, c.Version, least)
	}
	return e, nil
}

// direct makes the templates of records with a direction, if they fit into a message
// beside the others.
func (e *Encoder) direct(fields4, fields6 []exportField) {
	e.directed4 = newExportTemplate(e.dl, fields4, idDirected4)
	e.directed6 = newExportTemplate(e.dl, fields6, idDirected6)
	e.directs = true
	e.announce()
	if e.dl.header+len(e.templates)+e.setSize(e.directed6, 1) > e.c.MaxMessage {
		e.directed4, e.directed6 = nil, nil
	}
	e.directs = false
}

// maxParts is how many records Prepare cuts one into at most: what v5 can say in
// so many is 256 TiB.
const maxParts = 1 << 16

// maxAge is how far an uptime clock reaches back without doubt: half its range,
// about 24 days.
const maxAge = flow.Time(1)<<31 - 1

// Prepare appends to dst the records that together say in this dialect what r
// says, each exactly as the other side will decode it: none when the dialect
// has no words for it (IPv6 in v5, a record without addresses), one, or several
// of equal times when a counter does not fit (v5: 32 bits). Of a flow that
// lasted longer than v5's and v9's clock can say (24 days) the start is brought
// forward. What our templates have no element for (in v5 the direction; in v9 and
// IPFIX masks, AS numbers and next hop) is left out, as is the ninth TCP flag, NS,
// without FieldFlags.
func (e *Encoder) Prepare(dst []flow.Record, r *flow.Record) []flow.Record {
	if !e.speaks(r) {
		return dst
	}
	p := flow.Record{
		Start: r.Start, End: r.End, Packets: r.Packets, Bytes: r.Bytes,
		Key: r.Key, TCPFlags: r.TCPFlags, EndReason: r.EndReason,
	}
	p.Key = flow.Key{
		SrcAddr: r.SrcAddr, DstAddr: r.DstAddr, InIf: r.InIf, OutIf: r.OutIf,
		SrcPort: r.SrcPort, DstPort: r.DstPort, VLAN: r.VLAN & 0xfff,
		IPVersion: r.IPVersion, Protocol: r.Protocol, TOS: r.TOS,
	}
	if isICMP(p.Protocol) {
		p.SrcPort = 0
	}
	p.Start, p.End = max(p.Start, 0), max(p.End, 0)
	if e.c.Version != IPFIX {
		p.End = max(p.End, p.Start)
		p.Start = max(p.Start, p.End-maxAge)
	}
	if e.c.Version != IPFIX || e.c.Fields&FieldFlags == 0 {
		p.TCPFlags &= 0xff
	}
	if e.directed4 != nil && (r.Direction == 1 || r.Direction == 2) {
		p.Direction = r.Direction
	}
	if e.c.Template == Pflow {
		p.TCPFlags, p.VLAN, p.EndReason = 0, 0, 0
	}
	if e.c.Version != V5 {
		if e.c.Fields != 0 && r.Details != nil {
			p.Details = r.Details
			if e.c.Fields&FieldDuplicates != 0 && e.dl.enterprise && r.Details.Copies != 0 {
				p.Marks = flow.MarkDuplicate
			}
		}
		return append(dst, p)
	}
	p.VLAN, p.EndReason = 0, 0
	if p.InIf > 0xffff {
		p.InIf = 0 // unknown, rather than another
	}
	if p.OutIf > 0xffff {
		p.OutIf = 0
	}
	if e.c.Template == Pflow {
		return split32(dst, &p)
	}
	p.SrcAS, p.DstAS = as16(r.SrcAS), as16(r.DstAS)
	p.SrcMask, p.DstMask = r.SrcMask, r.DstMask
	if r.NextHop.Is4() && r.NextHop.As4() != [4]byte{} {
		p.NextHop = r.NextHop
	}
	return split32(dst, &p)
}

// as16 returns an AS number in 16 bits; one that needs more is AS_TRANS (RFC
// 6793).
func as16(as uint32) uint32 {
	if as > 0xffff {
		return 23456
	}
	return as
}

// split32 appends p, cut so that its counters fit 32 bits each. The parts add up
// to the whole.
func split32(dst []flow.Record, p *flow.Record) []flow.Record {
	const most = 1<<32 - 1
	if p.Bytes <= most && p.Packets <= most {
		return append(dst, *p)
	}
	bytes, packets := min(p.Bytes, maxParts*most), min(p.Packets, maxParts*most)
	n := max((bytes+most-1)/most, (packets+most-1)/most)
	for i := range n {
		part := *p
		part.Bytes, part.Packets = portion(bytes, i, n), portion(packets, i, n)
		dst = append(dst, part)
	}
	return dst
}

// portion returns the i-th of n parts of v that differ by at most one.
func portion(v, i, n uint64) uint64 {
	q := v / n
	if i < v%n {
		q++
	}
	return q
}

// speaks reports whether the dialect has words for r.
func (e *Encoder) speaks(r *flow.Record) bool {
	return r.IPVersion == 4 || r.IPVersion == 6 && e.c.Version != V5
}

// Append appends one message to dst that holds as many of the first records as
// fit, and returns how many. The records must be what Prepare made; one that
// the dialect cannot say is passed over. now is the export time; templates go
// in front when they are due, also when there are no records. Without anything
// to say, dst is returned as it was. Templates of Pflow are a message of their
// own, which holds no record.
//
// v5 and v9 state times as milliseconds of an uptime clock of 32 bits, which
// shows now - Boot. Three things follow. In v9, whose header has whole seconds
// only, the export time is rounded up to one, so that times are exact. A message
// ends early, before a record that its clock could not say without doubt (it
// ended after the export time, or began more than 2^31 ms before it); where that
// is the first record, the message takes the record's own end for its export
// time. And a message with a flow from before Boot, or before the clock last
// began anew, states a clock that shows 2^31 ms and a second instead, so that no
// uptime in it ever wraps.
func (e *Encoder) Append(dst []byte, now flow.Time, recs []flow.Record) (msg []byte, n int) {
	now = max(now, 0)
	passed := 0
	for passed < len(recs) && !e.speaks(&recs[passed]) {
		passed++
	}
	if e.c.Version == V5 {
		msg, n = e.appendV5(dst, now, recs[passed:])
	} else {
		msg, n = e.appendSets(dst, now, recs[passed:])
	}
	return msg, passed + n
}

// appendSets is Append for the dialects with templates. The first record is one
// that the dialect can say.
func (e *Encoder) appendSets(dst []byte, now flow.Time, recs []flow.Record) (msg []byte, n int) {
	due := e.messages < 0 || e.messages >= e.c.TemplateMessages ||
		now-e.sentAt >= e.c.TemplateInterval || now < e.sentAt
	if len(recs) == 0 && !due {
		return dst, 0
	}
	pflow := e.c.Template == Pflow
	if due && pflow {
		recs = nil
	}

	size := e.dl.header
	if due {
		size += len(e.templates)
	}
	clock := e.newClock(now, recs)
	var open *exportTemplate // of the Set being filled
	for n < len(recs) {
		r := &recs[n]
		if !e.speaks(r) {
			n++
			continue
		}
		if n > 0 && !clock.takes(r) {
			break
		}
		if r.Direction != 0 && !e.directs {
			// The first that states its direction: its template is due before it.
			e.directs = true
			e.announce()
			e.Renew()
			return e.appendSets(dst, now, recs)
		}
		t := e.templateOf(r)
		if pflow && (open != nil && t != open || n == pflowRecords) {
			break
		}
		grown := size + t.size
		if t != open {
			grown = e.dl.round(size) + setHeader + t.size
		}
		if e.dl.round(grown) > e.c.MaxMessage {
			break
		}
		size, open = grown, t
		n++
	}
	if n == 0 && !due {
		return dst, 0
	}

	base := len(dst)
	dst = e.appendHeader(dst, clock)
	if due {
		dst = append(dst, e.templates...)
		e.messages, e.sentAt = 0, now
	}
	e.messages++
	records := uint32(0)
	open = nil
	set := 0
	for i := range recs[:n] {
		r := &recs[i]
		if !e.speaks(r) {
			continue
		}
		t := e.templateOf(r)
		if t != open {
			dst = e.closeSet(dst, set)
			open, set = t, len(dst)
			dst = binary.BigEndian.AppendUint16(dst, t.id)
			dst = append(dst, 0, 0)
		}
		dst = t.append(dst, r, clock)
		records++
	}
	if open != nil {
		dst = e.closeSet(dst, set)
	}
	templates := uint32(0)
	if due {
		// An options template comes with its record.
		templates, records = e.count+e.announced, records+e.announced
	}
	e.closeMessage(dst[base:], records, templates)
	return dst, n
}

// closeMessage completes the header of a message of so many Data Records and
// Templates, and counts it.
func (e *Encoder) closeMessage(msg []byte, records, templates uint32) {
	if e.dl.version == IPFIX {
		binary.BigEndian.PutUint16(msg[2:], uint16(len(msg)))
		e.sequence += records
		return
	}
	binary.BigEndian.PutUint16(msg[2:], uint16(records+templates))
	e.sequence++
}

// Renew makes templates due again with the next message.
func (e *Encoder) Renew() { e.messages = -1 }

// templateOf returns the template for r.
func (e *Encoder) templateOf(r *flow.Record) *exportTemplate {
	switch {
	case r.Direction != 0 && r.IPVersion == 6:
		return e.directed6
	case r.Direction != 0:
		return e.directed4
	case r.IPVersion == 6:
		return e.v6
	}
	return e.v4
}

// setSize returns the octets of a Set of n records, padding included.
func (e *Encoder) setSize(t *exportTemplate, n int) int {
	return e.dl.round(setHeader + n*t.size)
}

// round returns n rounded up to the dialect's padding. Headers and template Sets
// are multiples of it, so that offsets and lengths round alike.
func (d *dialect) round(n int) int { return (n + d.padding - 1) / d.padding * d.padding }

// closeSet pads the Set that began at set and writes its length.
func (e *Encoder) closeSet(dst []byte, set int) []byte {
	if set == 0 {
		return dst
	}
	for (len(dst)-set)%e.dl.padding != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[set+2:], uint16(len(dst)-set))
	return dst
}

// appendHeader appends the header of a v9 or IPFIX message. Lengths and counts
// are written when they are known.
func (e *Encoder) appendHeader(dst []byte, c exportClock) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(e.c.Version))
	dst = append(dst, 0, 0)
	if e.dl.uptime {
		dst = binary.BigEndian.AppendUint32(dst, c.uptime(c.now))
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.now/flow.Second))
	dst = binary.BigEndian.AppendUint32(dst, e.sequence)
	return binary.BigEndian.AppendUint32(dst, e.c.Domain)
}

// appendV5 is Append for v5, like appendSets.
func (e *Encoder) appendV5(dst []byte, now flow.Time, recs []flow.Record) (msg []byte, n int) {
	clock := e.newClock(now, recs)
	room := min((e.c.MaxMessage-v5Header)/v5Record, v5Records)
	base, count := len(dst), 0
	for ; n < len(recs) && count < room; n++ {
		r := &recs[n]
		if !e.speaks(r) {
			continue
		}
		if count > 0 && !clock.takes(r) {
			break
		}
		if count == 0 {
			dst = binary.BigEndian.AppendUint16(dst, uint16(V5))
			dst = append(dst, 0, 0)
			dst = binary.BigEndian.AppendUint32(dst, clock.uptime(clock.now))
			dst = binary.BigEndian.AppendUint32(dst, uint32(clock.now/flow.Second))
			dst = binary.BigEndian.AppendUint32(dst, uint32(clock.now%flow.Second)*1_000_000)
			dst = binary.BigEndian.AppendUint32(dst, e.sequence)
			dst = binary.BigEndian.AppendUint16(dst, uint16(e.c.Domain))
			rate := uint16(e.c.SamplingRate)
			if rate > 0 {
				rate |= 1 << 14 // mode: one packet in every N
			}
			dst = binary.BigEndian.AppendUint16(dst, rate)
		}
		dst = appendV5Record(dst, r, clock)
		count++
	}
	if count > 0 {
		binary.BigEndian.PutUint16(dst[base+2:], uint16(count))
		e.sequence += uint32(count)
	}
	return dst, n
}

// appendV5Record appends a record in v5's one layout.
func appendV5Record(dst []byte, r *flow.Record, c exportClock) []byte {
	src, to, hop := r.SrcAddr.As4(), r.DstAddr.As4(), r.NextHop.As4()
	dst = append(dst, src[:]...)
	dst = append(dst, to[:]...)
	dst = append(dst, hop[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.InIf))
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.OutIf))
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.Packets))
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.Bytes))
	dst = binary.BigEndian.AppendUint32(dst, c.uptime(r.Start))
	dst = binary.BigEndian.AppendUint32(dst, c.uptime(r.End))
	dst = binary.BigEndian.AppendUint16(dst, r.SrcPort)
	dst = binary.BigEndian.AppendUint16(dst, r.DstPort)
	dst = append(dst, 0, uint8(r.TCPFlags), uint8(r.Protocol), r.TOS)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.SrcAS))
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.DstAS))
	return append(dst, r.SrcMask, r.DstMask, 0, 0)
}

// exportClock is how one message states times.
type exportClock struct {
	now flow.Time // the export time
	// zero is the time at which the uptime clock shows 0; limited is whether the
	// message has one, and so bounds what it can say.
	zero    flow.Time
	limited bool
}

// newClock returns the clock for a message that begins with recs.
func (e *Encoder) newClock(now flow.Time, recs []flow.Record) exportClock {
	c := exportClock{now: now}
	if e.c.Version == IPFIX {
		return c
	}
	c.limited = true
	if len(recs) > 0 && !c.takes(&recs[0]) {
		c.now = max(recs[0].Start, recs[0].End, 0)
	}
	if e.c.Version == V9 {
		c.now = (c.now + flow.Second - 1).Floor(flow.Second)
	}
	const turn = flow.Time(1) << 32
	c.zero = c.now - modulo(c.now-e.c.Boot, turn)
	for i := range min(len(recs), e.c.MaxMessage/v5Record+1) {
		r := &recs[i]
		if i > 0 && !c.takes(r) {
			break
		}
		if min(r.Start, r.End) < c.zero {
			c.zero = c.now - maxAge - flow.Second
			break
		}
	}
	return c
}

// takes reports whether the message can state the times of r.
func (c *exportClock) takes(r *flow.Record) bool {
	return !c.limited || max(r.Start, r.End) <= c.now && c.now-min(r.Start, r.End) <= maxAge
}

// uptime returns what the clock shows at t.
func (c *exportClock) uptime(t flow.Time) uint32 { return uint32(t - c.zero) }

// modulo returns t modulo n, never negative.
func modulo(t, n flow.Time) flow.Time { return t - t.Floor(n) }
