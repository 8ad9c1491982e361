package netflow

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"flowtally/flow"
)

// templateKey is a template's identity among those of one exporter address.
type templateKey struct {
	domain   uint32
	port, id uint16
	version  Version
}

// anyPort is the identity without the port.
type anyPort struct {
	domain  uint32
	id      uint16
	version Version
}

func (k templateKey) anyPort() anyPort { return anyPort{k.domain, k.id, k.version} }

// domainKey is an Observation Domain of an exporter.
type domainKey struct {
	domain  uint32
	version Version
}

// store is what a Decoder remembers of everybody, within its Limits.
//
// A template belongs to the address, port, domain, version and identifier it
// came with. Data finds it by the exact port first: behind one translated
// address several exporters differ by nothing else. Failing that, the one last
// learned from any port of that address serves, because some devices send
// templates and data from different ports.
type store struct {
	limits Limits

	mu         sync.RWMutex
	exporters  map[flow.Addr]*exporter
	templates  int // of all exporters
	octets     int
	domains    int
	nameOctets int
	learned    uint64 // templates ever added
}

// exporter is what comes from one address.
type exporter struct {
	templates  map[templateKey]*template
	latest     map[anyPort]*template
	domains    map[domainKey]*domain
	octets     int
	names      map[nameKey]string
	nameOctets int
}

// domain is what options records say of an Observation Domain.
type domain struct {
	mu      sync.Mutex // held to change options
	options atomic.Pointer[options]
}

// options are values that apply to later data records. They are replaced, never
// changed, so that readers need no lock.
type options struct {
	rate       uint32 // announced for the whole domain
	selectors  map[uint64]selector
	interfaces map[uint32]uint32 // rates, by ifIndex
	init       flow.Time
}

// samplingRate returns the rate of records that name no selector: the domain's,
// else the one on which all its selectors agree, else 0.
func (o *options) samplingRate() uint32 {
	if o == nil {
		return 0
	}
	if o.rate != 0 {
		return o.rate
	}
	var rate uint32
	for _, x := range o.selectors {
		if rate != 0 && x.rate != 0 && x.rate != rate {
			return 0
		}
		rate = max(rate, x.rate)
	}
	return rate
}

// clone returns a copy to change.
func (o *options) clone() *options {
	if o == nil {
		return &options{}
	}
	c := *o
	c.selectors = maps.Clone(o.selectors)
	c.interfaces = maps.Clone(o.interfaces)
	return &c
}

// find returns the template for data, nil when it is not known.
func (s *store) find(a flow.Addr, k templateKey) *template {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.exporters[a]
	if e == nil {
		return nil
	}
	if t := e.templates[k]; t != nil {
		return t
	}
	return e.latest[k.anyPort()]
}

// repeated returns the template if it is known already, as raw; it then is the
// one last learned for its identifier again. It returns nil otherwise.
func (s *store) repeated(a flow.Addr, k templateKey, options bool, scopes int, raw []byte) *template {
	s.mu.RLock()
	var t, latest *template
	if e := s.exporters[a]; e != nil {
		t, latest = e.templates[k], e.latest[k.anyPort()]
	}
	s.mu.RUnlock()
	if t == nil || t.options != options || t.scopes != scopes || !bytes.Equal(t.raw, raw) {
		return nil
	}
	if latest != t {
		s.mu.Lock()
		if e := s.exporters[a]; e != nil && e.templates[k] == t {
			e.latest[k.anyPort()] = t
		}
		s.mu.Unlock()
	}
	return t
}

// withdraw forgets one template of a domain, or all of a kind when id is 0,
// whatever port they came from.
func (s *store) withdraw(x flow.Exporter, v Version, id uint16, options bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exporters[x.Addr]
	if e == nil {
		return
	}
	for k, t := range e.templates {
		if k.domain == x.Domain && k.version == v && t.options == options && (id == 0 || k.id == id) {
			s.remove(e, t)
		}
	}
	if len(e.templates) == 0 {
		s.forget(x.Addr, e)
	}
}

// forget removes an exporter that has no template.
func (s *store) forget(a flow.Addr, e *exporter) {
	s.domains -= len(e.domains)
	s.nameOctets -= e.nameOctets
	e.domains, e.names, e.nameOctets = nil, nil, 0
	delete(s.exporters, a)
}

// add stores t under its key in place of an earlier one, and returns how many
// others had to give way. It reports false when there can be no room for it.
func (s *store) add(a flow.Addr, t *template) (evicted int, ok bool) {
	size := len(t.raw)
	if size > s.limits.ExporterOctets || size > s.limits.TemplateOctets {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exporters[a]
	if e != nil {
		if old := e.templates[t.key]; old != nil {
			s.remove(e, old)
		}
		for len(e.templates) > 0 && (len(e.templates) >= s.limits.ExporterTemplates || e.octets+size > s.limits.ExporterOctets) {
			evicted += s.evict(map[flow.Addr]*exporter{a: e})
		}
	}
	for s.templates > 0 && (s.templates >= s.limits.Templates || s.octets+size > s.limits.TemplateOctets) {
		evicted += s.evict(s.exporters)
	}
	if e == nil {
		e = &exporter{
			templates: make(map[templateKey]*template),
			latest:    make(map[anyPort]*template),
		}
	}
	s.learned++
	t.born = s.learned
	s.exporters[a] = e // again, where making room has emptied and so forgotten it
	e.templates[t.key] = t
	e.latest[t.key.anyPort()] = t
	e.octets += size
	s.octets += size
	s.templates++
	return evicted, true
}

// evict removes a sixteenth of the templates of some exporters, at least one:
// those used longest ago, and before them those that never decoded a record.
func (s *store) evict(from map[flow.Addr]*exporter) int {
	type candidate struct {
		a       flow.Addr
		e       *exporter
		t       *template
		decoded bool
		used    int64
	}
	var all []candidate
	for a, e := range from {
		for _, t := range e.templates {
			all = append(all, candidate{a, e, t, t.decoded.Load(), t.used.Load()})
		}
	}
	slices.SortFunc(all, func(x, y candidate) int {
		if x.decoded != y.decoded {
			if y.decoded {
				return -1
			}
			return 1
		}
		if x.used != y.used {
			return cmp.Compare(x.used, y.used)
		}
		return cmp.Compare(x.t.born, y.t.born)
	})
	n := (len(all) + 15) / 16
	touched := make(map[flow.Addr]*exporter)
	for _, c := range all[:n] {
		s.remove(c.e, c.t)
		touched[c.a] = c.e
	}
	for a, e := range touched {
		if len(e.templates) == 0 {
			s.forget(a, e)
			continue
		}
		e.promote()
	}
	return n
}

// remove forgets a template of e. Whoever calls it sees to a new latest one of
// its identity.
func (s *store) remove(e *exporter, t *template) {
	delete(e.templates, t.key)
	e.octets -= len(t.raw)
	s.octets -= len(t.raw)
	s.templates--
	if k := t.key.anyPort(); e.latest[k] == t {
		delete(e.latest, k)
	}
}

// promote gives every identity that lost its latest template the one that was
// learned last from another port, if there is one: once for many that were
// removed, because it looks at all that are left.
func (e *exporter) promote() {
	next := make(map[anyPort]*template)
	for key, t := range e.templates {
		k := key.anyPort()
		if e.latest[k] != nil {
			continue
		}
		if o := next[k]; o == nil || t.born > o.born {
			next[k] = t
		}
	}
	maps.Copy(e.latest, next)
}

// optionsOf returns what is known of a domain, nil when nothing is.
func (s *store) optionsOf(a flow.Addr, k domainKey) *options {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.exporters[a]; e != nil {
		if d := e.domains[k]; d != nil {
			return d.options.Load()
		}
	}
	return nil
}

// domain returns a domain to change, nil when there is no room for another. The
// exporter is one that has a template.
func (s *store) domain(a flow.Addr, k domainKey) *domain {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exporters[a]
	if e == nil {
		return nil
	}
	if d := e.domains[k]; d != nil {
		return d
	}
	if len(e.domains) >= s.limits.ExporterDomains || s.domains >= s.limits.Domains {
		return nil
	}
	if e.domains == nil {
		e.domains = make(map[domainKey]*domain)
	}
	d := &domain{}
	e.domains[k] = d
	s.domains++
	return d
}

// count returns how many templates are known of an Observation Domain.
func (s *store) count(x flow.Exporter) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	if e := s.exporters[x.Addr]; e != nil {
		for k := range e.templates {
			if k.domain == x.Domain {
				n++
			}
		}
	}
	return n
}
