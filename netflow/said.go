package netflow

import (
	"sync/atomic"

	"flowtally/flow"
)

// What options say holds for later records, also when the exporter does not say it
// again: many do so once, when they start. What it said before it started again,
// however, need not be so any more. Until it is said again it is provisional; when
// the time in which the exporter uses to repeat it has passed, it is unknown.

// forgetTime is how long, at most, what an exporter said before it started again
// is used.
const forgetTime = 10 * flow.Minute

// bootSlack is by how much two statements of one start may differ.
const bootSlack = 10 * flow.Second

// The kinds of what options say of a domain.
const (
	saidRate uint8 = iota
	saidInit
	saidSelector
	saidInterface
)

// subject is what something was said of.
type subject struct {
	kind uint8
	id   uint64
}

// said is when options said something last, and how long they usually take to say
// it again, 0 when that is not known.
type said struct{ at, every atomic.Int64 }

// again notes that it was said.
func (x *said) again(now flow.Time) {
	before := flow.Time(x.at.Load())
	gap := now - before
	if gap < flow.Second && before != 0 && gap > -flow.Second {
		return
	}
	x.at.Store(int64(now))
	if before != 0 && gap > 0 {
		every := flow.Time(x.every.Load())
		if gap < every {
			gap = (3*every + gap) / 4
		}
		x.every.Store(int64(gap))
	}
}

// until is when it is unknown if the exporter started again at a time, and has not
// said it since.
func (x *said) until(restart flow.Time) flow.Time {
	every := flow.Time(x.every.Load())
	if every <= 0 {
		return restart + forgetTime
	}
	return restart + min(every+every/4+5*flow.Second, forgetTime)
}

// subjectOf returns what an options record speaks of, but for the uptime clock.
func subjectOf(t *template, s *scratch) subject {
	switch {
	case s.scopeInterface != 0:
		return subject{saidInterface, uint64(uint32(s.scopeInterface))}
	case t.resolve&resolveSelector != 0:
		return subject{saidSelector, s.selector}
	}
	return subject{saidRate, 0}
}

// note remembers when an options record was learned, or came again.
func (o *options) note(t *template, s *scratch, now flow.Time) {
	if s.init > 0 {
		o.noteOne(subject{saidInit, 0}, now)
	}
	if k := subjectOf(t, s); o.has(k) && s.samplingRate(t.resolve&resolveSpace != 0) != 0 {
		o.noteOne(k, now)
	}
}

func (o *options) noteOne(k subject, now flow.Time) {
	if x := o.said[k]; x != nil {
		x.again(now)
	}
}

// has reports whether something was said of k.
func (o *options) has(k subject) bool {
	switch k.kind {
	case saidRate:
		return o.rate != 0
	case saidInit:
		return o.init != 0
	case saidSelector:
		_, ok := o.selectors[k.id]
		return ok
	}
	_, ok := o.interfaces[uint32(k.id)]
	return ok
}

// remember makes room to note when the options record that was learned came.
func (o *options) remember(t *template, s *scratch) {
	for _, k := range []subject{{saidInit, 0}, subjectOf(t, s)} {
		if o.said[k] == nil && o.has(k) {
			if o.said == nil {
				o.said = make(map[subject]*said)
			}
			o.said[k] = &said{}
		}
	}
}

// rememberAll makes room to note when everything that is known came.
func (o *options) rememberAll() {
	o.said = make(map[subject]*said)
	for id := range o.selectors {
		o.said[subject{saidSelector, id}] = &said{}
	}
	for i := range o.interfaces {
		o.said[subject{saidInterface, uint64(i)}] = &said{}
	}
	for _, k := range []subject{{saidRate, 0}, {saidInit, 0}} {
		if o.has(k) {
			o.said[k] = &said{}
		}
	}
}

// samplingAt returns when the rate of records that name no sampler was said, and
// whether that was before the exporter started again.
func (o *options) samplingAt(restart flow.Time) (at flow.Time, provisional bool) {
	if o == nil {
		return 0, false
	}
	for k, x := range o.said {
		if k.kind == saidInit || k.kind == saidSelector && o.rate != 0 {
			continue
		}
		said := flow.Time(x.at.Load())
		if k.kind != saidInterface {
			at = max(at, said)
		}
		provisional = provisional || said < restart
	}
	return at, provisional
}

// outlived returns what is left of o when the exporter started again at a time and
// it is now; o itself when that is all of it. done says that nothing provisional
// is among it.
func (o *options) outlived(restart, now flow.Time) (left *options, done bool) {
	left, done = o, true
	for k, x := range o.said {
		switch {
		case flow.Time(x.at.Load()) >= restart:
		case now < x.until(restart):
			done = false
		default:
			if left == o {
				left = o.clone()
				left.forgotten = left.forgotten || k.kind != saidInit
			}
			left.forget(k)
		}
	}
	return left, done
}

func (o *options) forget(k subject) {
	delete(o.said, k)
	switch k.kind {
	case saidRate:
		o.rate = 0
	case saidInit:
		o.init = 0
	case saidSelector:
		delete(o.selectors, k.id)
	case saidInterface:
		if delete(o.interfaces, uint32(k.id)); len(o.interfaces) == 0 {
			o.interfaces = nil
		}
	}
}

// current returns what is known of a domain now, nil when nothing is.
func (d *domain) current(now flow.Time) *options {
	o := d.options.Load()
	restart := flow.Time(d.restart.Load())
	if restart == 0 || o == nil {
		return o
	}
	left, done := o.outlived(restart, now)
	if left == o && !done {
		return o
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if o = d.options.Load(); flow.Time(d.restart.Load()) != restart || o == nil {
		return o
	}
	left, done = o.outlived(restart, now)
	if left != o {
		d.options.Store(left)
	}
	if done {
		d.restart.Store(0)
	}
	return left
}

// Restarted tells the decoder that an exporter started again at a time: what its
// options said before is provisional from then on, and unknown when it does not
// come again in the time that it usually takes to, ten minutes at most. A time of 0
// says that it had not started again after all.
func (d *Decoder) Restarted(x flow.Exporter, v Version, at flow.Time) {
	if dom := d.store.domainOf(x.Addr, domainKey{x.Domain, v}); dom != nil {
		dom.restart.Store(int64(at))
	}
}
