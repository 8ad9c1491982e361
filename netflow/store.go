package netflow

import (
	"bytes"
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
// address several exporters differ by nothing else. Failing that, one from any
// port of that address may serve, because some devices send templates and data
// from different ports: that of the session which the message continues, else the
// one last learned; work.borrows says when.
type store struct {
	limits Limits

	mu         sync.RWMutex
	exporters  map[flow.Addr]*exporter
	standings  [standings]standing
	templates  int // of all exporters
	octets     int
	domains    int
	nameOctets int
	// learned counts the templates ever added. It is the clock by which recent
	// use is told: exact where it matters, and at rest, so that a use costs no
	// write, while nobody comes who might push another out.
	learned atomic.Uint64
}

// exporter is what comes from one address.
type exporter struct {
	addr      flow.Addr
	templates map[templateKey]*template
	// ports are the templates of an identity, of whatever port, the one learned
	// last at the end.
	ports      map[anyPort][]*template
	sessions   map[sessionKey]*session
	standings  [standings]place
	octets     int
	domains    map[domainKey]*domain
	names      map[nameKey]string
	nameOctets int
}

// sessionKey is a session of those of one exporter address: what one port sends of a
// domain.
type sessionKey struct {
	domainKey
	port uint16
}

// session is one that sends templates.
type session struct {
	templates int // that it is still known by
	// next is the sequence number of its next message, plus one; 0 is not known.
	next atomic.Uint64
	// borrowers are the ports that are known to send data of these templates.
	borrowers map[uint16]bool
}

// maxBorrowers is how many ports are known to send data of one session's templates.
// A device that takes another port for each message is known by its numbering.
const maxBorrowers = 16

// domain is what options records say of an Observation Domain.
type domain struct {
	mu      sync.Mutex // held to change options
	options atomic.Pointer[options]
	// restart is when the exporter started again, 0 when everything that is known
	// was said since.
	restart atomic.Int64
	// loaded says that an earlier run left it, and nobody was told.
	loaded atomic.Bool
}

// options are values that apply to later data records. They are replaced, never
// changed, so that readers need no lock.
type options struct {
	rate       uint32 // announced for the whole domain
	selectors  map[uint64]selector
	interfaces map[uint32]uint32 // rates, by ifIndex
	init       flow.Time
	// said is when each of these was said; forgotten that a rate is not known any
	// more, because it was not said again.
	said      map[subject]*said
	forgotten bool
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
	c.said = maps.Clone(o.said)
	return &c
}

// find returns the template for data of a message with this number, nil when none is
// known. Of several from other ports it is that of a session which is known to send
// from this port, else of one whose next number this is, else the one last learned.
func (s *store) find(a flow.Addr, k templateKey, sequence uint32) *template {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.exporters[a]
	if e == nil {
		return nil
	}
	if t := e.templates[k]; t != nil {
		return t
	}
	same := e.ports[k.anyPort()]
	if len(same) == 0 {
		return nil
	}
	best := same[len(same)-1]
	if len(same) > 1 {
		for _, t := range slices.Backward(same) {
			if t.session.borrowers[k.port] {
				return t
			}
			if t.session.follows(sequence) && !best.session.follows(sequence) {
				best = t
			}
		}
	}
	return best
}

// follows reports whether a message with this number is the next of the session, and
// not so by chance.
func (x *session) follows(sequence uint32) bool {
	next := x.next.Load()
	return next != 0 && uint32(next-1) == sequence && sequence >= proof
}

// repeated returns the template if it is known already, as raw; it then is the
// one last learned for its identifier again. It returns nil otherwise.
func (s *store) repeated(a flow.Addr, k templateKey, options bool, scopes int, raw []byte) *template {
	s.mu.RLock()
	var t *template
	latest := false
	if e := s.exporters[a]; e != nil {
		t = e.templates[k]
		same := e.ports[k.anyPort()]
		latest = len(same) > 0 && same[len(same)-1] == t
	}
	s.mu.RUnlock()
	if t == nil || t.options != options || t.scopes != scopes || !bytes.Equal(t.raw, raw) {
		return nil
	}
	if !latest {
		s.mu.Lock()
		if e := s.exporters[a]; e != nil && e.templates[k] == t {
			same := e.ports[k.anyPort()]
			i := slices.Index(same, t)
			copy(same[i:], same[i+1:])
			same[len(same)-1] = t
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
			s.remove(t)
		}
	}
	if len(e.templates) == 0 {
		s.forget(e)
	}
}

// forget removes an exporter that has no template.
func (s *store) forget(e *exporter) {
	s.domains -= len(e.domains)
	s.nameOctets -= e.nameOctets
	e.domains, e.names, e.nameOctets = nil, nil, 0
	delete(s.exporters, e.addr)
}

// add stores t under its key in place of an earlier one, and returns how many
// others had to give way. It reports false when there can be no room for it.
func (s *store) add(a flow.Addr, t *template) (evicted int, ok bool) {
	size := len(t.raw)
	if size > s.limits.ExporterOctets || size > s.limits.TemplateOctets {
		return 0, false
	}
	now := flow.Time(t.used.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exporters[a]
	if e != nil {
		if old := e.templates[t.key]; old != nil {
			s.remove(old)
		}
		for len(e.templates) > 0 && (len(e.templates) >= s.limits.ExporterTemplates || e.octets+size > s.limits.ExporterOctets) {
			s.remove(s.next(e, now))
			evicted++
		}
	}
	for s.templates > 0 && (s.templates >= s.limits.Templates || s.octets+size > s.limits.TemplateOctets) {
		x := s.next(nil, now)
		s.remove(x)
		if len(x.owner.templates) == 0 && x.owner != e {
			s.forget(x.owner)
		}
		evicted++
	}
	if e == nil {
		e = &exporter{
			addr:      a,
			templates: make(map[templateKey]*template),
			ports:     make(map[anyPort][]*template),
		}
		s.exporters[a] = e
	}
	t.born, t.owner = s.learned.Add(1), e
	t.session = e.session(t.key)
	t.session.templates++
	t.recent.Store(t.born)
	e.templates[t.key] = t
	e.ports[t.key.anyPort()] = append(e.ports[t.key.anyPort()], t)
	s.enter(t, unused)
	e.octets += size
	s.octets += size
	s.templates++
	return evicted, true
}

func (k templateKey) session() sessionKey { return sessionKey{domainKey{k.domain, k.version}, k.port} }

// session returns the session that a template came with.
func (e *exporter) session(k templateKey) *session {
	x := e.sessions[k.session()]
	if x == nil {
		x = &session{}
		if e.sessions == nil {
			e.sessions = make(map[sessionKey]*session)
		}
		e.sessions[k.session()] = x
	}
	return x
}

// borrows reports whether a port is known to send data of the session's templates.
func (s *store) borrows(x *session, port uint16) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return x.borrowers[port]
}

// lend makes a port known as one that sends data of the session's templates.
func (s *store) lend(x *session, port uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.borrowers == nil {
		x.borrowers = make(map[uint16]bool)
	}
	if len(x.borrowers) < maxBorrowers {
		x.borrowers[port] = true
	}
}

// remove forgets a template. Its exporter stays, also without any.
func (s *store) remove(t *template) {
	e := t.owner
	delete(e.templates, t.key)
	k := t.key.anyPort()
	if same := e.ports[k]; len(same) == 1 {
		delete(e.ports, k)
	} else {
		i := slices.Index(same, t)
		e.ports[k] = slices.Delete(same, i, i+1)
	}
	if t.session.templates--; t.session.templates == 0 {
		delete(e.sessions, t.key.session())
	}
	s.leave(t)
	e.octets -= len(t.raw)
	s.octets -= len(t.raw)
	s.templates--
}

// domainOf returns a domain of which options have said something, else nil.
func (s *store) domainOf(a flow.Addr, k domainKey) *domain {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.exporters[a]; e != nil {
		return e.domains[k]
	}
	return nil
}

// optionsOf returns what is known of a domain, nil when nothing is.
func (s *store) optionsOf(a flow.Addr, k domainKey) *options {
	if d := s.domainOf(a, k); d != nil {
		return d.options.Load()
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
