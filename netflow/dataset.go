package netflow

import (
	"slices"

	"flowtally/flow"
)

// find returns the template of a Data Set, nil when it is not known.
func (w *work) find(k templateKey) *template {
	for _, t := range w.found {
		if t != nil && t.key.id == k.id {
			return t
		}
	}
	t := w.d.store.find(w.m.Exporter.Addr, k, w.m.Sequence)
	if t != nil {
		w.found[1], w.found[0] = w.found[0], t
	}
	return t
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
	} else if t != nil && w.d.hold.look(m.Exporter.Addr, w.proto.Received) {
		// A port that never sends again would wait for the next template.
		w.recover(t)
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
