package netflow

import "slices"

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
