package netflow

import (
	"encoding/binary"
	"strings"

	"flowtally/flow"
)

// exporterProcess is the meteringProcessId and exportingProcessId that our
// options name: there is one of each.
const exporterProcess = 1

// optionText is how long a name in options is at most, in octets; in v9, which
// has no variable lengths, how long the field is.
const optionText = 64

// optionTemplate is an Options Template we send.
type optionTemplate struct {
	id uint16
	// v9Scope is the scope in v9: 1 is the system, 2 an interface.
	v9Scope uint16
	scopes  []uint16 // in IPFIX, elements of four octets
	texts   []uint16
	totals  []optionTotal
}

// optionTotal is a total of eight octets, an element of IANA's or ours.
type optionTotal struct {
	id  uint16
	own bool
	get func(*ProcessStats) uint64
}

// What options say besides the sampling rate. The three about the process itself
// are those of RFC 7011 §4.1, §4.2 and §4.3, without their times, and with
// observedFlowTotalCount, droppedPacketTotalCount and two of ours.
var (
	nameOptions      = optionTemplate{id: idName, v9Scope: 1, scopes: []uint16{149}, texts: []uint16{300}}
	interfaceOptions = optionTemplate{id: idInterface, v9Scope: 2, scopes: []uint16{10}, texts: []uint16{82, 83}}

	processOptions = []optionTemplate{
		{
			id: idMetering, v9Scope: 1, scopes: []uint16{149, 143},
			totals: []optionTotal{
				{41, false, func(s *ProcessStats) uint64 { return s.Messages }},
				{42, false, func(s *ProcessStats) uint64 { return s.Records }},
				{40, false, func(s *ProcessStats) uint64 { return s.Octets }},
			},
		},
		{
			id: idReliability, v9Scope: 1, scopes: []uint16{149, 143},
			totals: []optionTotal{
				{163, false, func(s *ProcessStats) uint64 { return s.ObservedFlows }},
				{164, false, func(s *ProcessStats) uint64 { return s.IgnoredPackets }},
				{165, false, func(s *ProcessStats) uint64 { return s.IgnoredOctets }},
				{135, false, func(s *ProcessStats) uint64 { return s.DroppedPackets }},
				{ownCopiesTotal, true, func(s *ProcessStats) uint64 { return s.DuplicatePackets }},
				{ownEvictedTotal, true, func(s *ProcessStats) uint64 { return s.EvictedFlows }},
			},
		},
		{
			id: idNotSent, v9Scope: 1, scopes: []uint16{144},
			totals: []optionTotal{
				{166, false, func(s *ProcessStats) uint64 { return s.NotSentFlows }},
				{167, false, func(s *ProcessStats) uint64 { return s.NotSentPackets }},
				{168, false, func(s *ProcessStats) uint64 { return s.NotSentOctets }},
			},
		},
	}
)

// appendTemplate appends the Options Template Record.
func (t *optionTemplate) appendTemplate(d *dialect, b []byte) []byte {
	texts := uint16(variableLength)
	fields := len(t.texts)
	for _, f := range t.totals {
		if !f.own || d.enterprise {
			fields++
		}
	}
	b = binary.BigEndian.AppendUint16(b, t.id)
	if d.scopeOctets {
		texts = optionText
		b = binary.BigEndian.AppendUint16(b, 4)
		b = binary.BigEndian.AppendUint16(b, uint16(4*fields))
		b = binary.BigEndian.AppendUint16(b, t.v9Scope)
		b = binary.BigEndian.AppendUint16(b, 4)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(fields+len(t.scopes)))
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.scopes)))
		for _, id := range t.scopes {
			b = binary.BigEndian.AppendUint16(b, id)
			b = binary.BigEndian.AppendUint16(b, 4)
		}
	}
	for _, id := range t.texts {
		b = binary.BigEndian.AppendUint16(b, id)
		b = binary.BigEndian.AppendUint16(b, texts)
	}
	for _, f := range t.totals {
		switch {
		case !f.own:
			b = binary.BigEndian.AppendUint16(b, f.id)
			b = binary.BigEndian.AppendUint16(b, 8)
		case d.enterprise:
			b = binary.BigEndian.AppendUint16(b, f.id|1<<15)
			b = binary.BigEndian.AppendUint16(b, 8)
			b = binary.BigEndian.AppendUint32(b, EnterpriseNumber)
		}
	}
	return b
}

// appendStats appends the Options Data Record that tells s.
func (t *optionTemplate) appendStats(d *dialect, b []byte, domain uint32, s *ProcessStats) []byte {
	scopes := t.scopes
	if d.scopeOctets {
		scopes = []uint16{149}
	}
	for _, id := range scopes {
		v := uint32(exporterProcess)
		if id == 149 {
			v = domain
		}
		b = binary.BigEndian.AppendUint32(b, v)
	}
	for _, f := range t.totals {
		if !f.own || d.enterprise {
			b = binary.BigEndian.AppendUint64(b, f.get(s))
		}
	}
	return b
}

// appendInterface appends the Options Data Record that names an interface.
func appendInterface(d *dialect, b []byte, x *flow.Interface) []byte {
	return appendTexts(d, binary.BigEndian.AppendUint32(b, x.Index), x.Name, x.Description)
}

// appendTexts appends the texts of an Options Data Record.
func appendTexts(d *dialect, b []byte, texts ...string) []byte {
	for _, s := range texts {
		s = strings.ToValidUTF8(s[:min(len(s), optionText)], "")
		if d.scopeOctets {
			b = append(b, s...)
			b = append(b, make([]byte, optionText-len(s))...)
		} else {
			b = append(b, byte(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// AppendOptions appends to dst one message in which the exporter speaks of
// itself: s and its own name, unless s is nil, and the names of as many of the first interfaces
// as fit, and returns how many. The Options Templates of both, and what is known
// of sampling, go in front, always: there is no telling whether a collector that
// started in between has them. Said and Process of s do not matter. A dialect
// without options (v5), a Template of others, and a message without anything to
// say leave dst as it was, and of v5 all interfaces count as said.
func (e *Encoder) AppendOptions(dst []byte, now flow.Time, s *ProcessStats, interfaces []flow.Interface) (msg []byte, n int) {
	if e.dl == nil || e.c.Template != Rich {
		return dst, len(interfaces)
	}
	if s == nil && len(interfaces) == 0 {
		return dst, 0
	}
	clock := e.newClock(max(now, 0), nil)
	base := len(dst)
	dst = e.appendHeader(dst, clock)
	dst = append(dst, e.options...)
	templates, records := uint32(1+len(processOptions)), uint32(0)
	if e.c.SamplingRate > 0 {
		templates, records = templates+1, 1
	}
	if e.c.Name != "" {
		templates++
	}
	if s != nil && e.c.Name != "" {
		dst = e.appendSet(dst, nameOptions.id, e.appendName)
		records++
	}
	if s != nil {
		for i := range processOptions {
			t := &processOptions[i]
			dst = e.appendSet(dst, t.id, func(b []byte) []byte { return t.appendStats(e.dl, b, e.c.Domain, s) })
			records++
		}
	}
	if len(interfaces) > 0 {
		room := e.c.MaxMessage - (len(dst) - base) - setHeader - e.dl.padding + 1
		var record []byte
		var set []byte
		for n < len(interfaces) {
			record = appendInterface(e.dl, record[:0], &interfaces[n])
			if len(set)+len(record) > room {
				break
			}
			set = append(set, record...)
			n++
		}
		if n > 0 {
			dst = e.appendSet(dst, interfaceOptions.id, func(b []byte) []byte { return append(b, set...) })
			records += uint32(n)
		}
	}
	e.closeMessage(dst[base:], records, templates)
	return dst, n
}

// appendName appends the Options Data Record that says what the exporter calls itself.
func (e *Encoder) appendName(b []byte) []byte {
	return appendTexts(e.dl, binary.BigEndian.AppendUint32(b, e.c.Domain), e.c.Name)
}

// optionSets returns the Sets of all Options Templates, and the record of the
// sampling rate.
func (e *Encoder) optionSets() []byte {
	b := e.appendSet(nil, e.dl.optionsSet, func(b []byte) []byte {
		if e.c.SamplingRate > 0 {
			b = e.appendSamplingTemplate(b)
		}
		if e.c.Name != "" {
			b = nameOptions.appendTemplate(e.dl, b)
		}
		b = interfaceOptions.appendTemplate(e.dl, b)
		for i := range processOptions {
			b = processOptions[i].appendTemplate(e.dl, b)
		}
		return b
	})
	if e.c.SamplingRate > 0 {
		b = e.appendSet(b, idSampling, e.appendSampling)
	}
	return b
}

// optionsSize returns the octets of the largest message that AppendOptions
// cannot do without.
func (e *Encoder) optionsSize() int {
	size := e.dl.header + len(e.options)
	var none ProcessStats
	for i := range processOptions {
		size += e.dl.round(setHeader + len(processOptions[i].appendStats(e.dl, nil, 0, &none)))
	}
	if e.c.Name != "" {
		size += e.dl.round(setHeader + len(e.appendName(nil)))
	}
	return size
}
