package netflow

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"flowtally/flow"
)

// told are the rules of elements that mean something in options only: names,
// what they are names of, and the totals of RFC 7011 §4. To learn another from
// options, add a row.
var told = map[uint16]rule{
	82:  {slotInterfaceName, 0, setText},
	83:  {slotInterfaceDescription, 0, setText},
	84:  {slotSamplerName, 0, setText},
	335: {slotSamplerName, 1, setText}, // selectorName
	96:  {slotApplicationName, 0, setText},
	95:  {slotApplication, 0, setSubject},
	236: {slotVRFName, 0, setText},
	300: {slotSystemName, 0, setText}, // observationDomainName
	149: {slotDomain, 0, setSubject},
	234: {slotVRF, 0, setSubject},
	235: {slotVRF, 1, setSubject},
	311: {slotProbability, 0, setProbability},

	143: {slotProcess, 1, setProcess},
	144: {slotProcess, 0, setProcess},
	41:  {slotTotals + 0, 0, setTotal},
	42:  {slotTotals + 1, 0, setTotal},
	40:  {slotTotals + 2, 0, setTotal},
	166: {slotTotals + 3, 0, setTotal},
	167: {slotTotals + 4, 0, setTotal},
	168: {slotTotals + 5, 0, setTotal},
	164: {slotTotals + 6, 0, setTotal},
	165: {slotTotals + 7, 0, setTotal},
	135: {slotTotals + 8, 0, setTotal},
	134: {slotTotals + 9, 0, setTotal},
	163: {slotTotals + 10, 0, setTotal},
}

// toldByUs are the rules of our own elements in options.
var toldByUs = map[uint16]rule{
	ownCopiesTotal:  {slotTotals + 11, 0, setTotal},
	ownEvictedTotal: {slotTotals + 12, 0, setTotal},
}

// totals is how many totals ProcessStats has.
const totals = 13

// stats returns the totals that an options record states.
func (s *scratch) stats() ProcessStats {
	t := &s.totals
	return ProcessStats{
		Said: s.said, Process: uint32(s.process),
		Messages: t[0], Records: t[1], Octets: t[2],
		NotSentFlows: t[3], NotSentPackets: t[4], NotSentOctets: t[5],
		IgnoredPackets: t[6], IgnoredOctets: t[7],
		DroppedPackets: t[8], DroppedOctets: t[9],
		ObservedFlows: t[10], DuplicatePackets: t[11], EvictedFlows: t[12],
	}
}

// nameKey is what has a name among those of one exporter address.
type nameKey struct {
	of domainKey
	// kind is the element of the name: applicationName or VRFname.
	kind uint16
	id   uint64
}

// What names are names of, by the element of the identifier in a data record;
// and what the member of the extras is called that has the name.
var naming = map[uint16]struct {
	kind   uint16
	member string
}{
	95:  {96, "applicationName"},
	234: {236, "ingressVRFname"},
	235: {236, "egressVRFname"},
}

// maxName is the longest name kept, in octets.
const maxName = 128

// text returns a name as the exporter padded it, made fit for PostgreSQL.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b[:min(len(b), 4*maxName)]), "\x00")
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

// short cuts a sampler's name, which each domain keeps for itself.
func short(name string) string {
	const most = 32
	return strings.ToValidUTF8(name[:min(len(name), most)], "")
}

// describe takes over the names and totals of an options record.
func (w *work) describe(s *scratch, r *flow.Record) {
	m := w.m
	if s.said != 0 {
		m.Stats = append(m.Stats, s.stats())
	}
	index := uint32(s.scopeInterface)
	for _, i := range []uint32{r.InIf, r.OutIf} {
		if index == 0 {
			index = i
		}
	}
	name, description := text(s.texts[0]), text(s.texts[1])
	if index != 0 && (name != "" || description != "") {
		m.Interfaces = append(m.Interfaces, flow.Interface{
			Exporter: w.proto.Exporter, Index: index, Name: name, Description: description,
		})
	}
	// What is said of another domain is that one's name, or of an interface its owner's.
	if said := text(s.texts[slotSystemName-slotInterfaceName]); index == 0 && (s.domain == 0 || uint32(s.domain) == m.Exporter.Domain) {
		m.Name = cmp.Or(said, m.Name)
	}
	of := domainKey{m.Exporter.Domain, m.Version}
	for _, n := range []struct {
		kind uint16
		id   uint64
		name []byte
	}{
		{96, s.application, s.texts[slotApplicationName-slotInterfaceName]},
		{236, s.vrf, s.texts[slotVRFName-slotInterfaceName]},
	} {
		if name := text(n.name); name != "" {
			w.d.store.setName(m.Exporter.Addr, nameKey{of, n.kind, n.id}, name)
		}
	}
}

// nameField is a field of flow records that has the name or the description of an
// interface.
type nameField struct {
	spec           int // index in the template
	offset, length int // in the record; length is 0 when it is variable
	description    bool
}

func (f *nameField) kind() int {
	if f.description {
		return 1
	}
	return 0
}

// describeFlow takes over what a flow record says of its interfaces. The first name
// is that of the interface where the flow was observed: where it came in, unless it
// says that it was on its way out; the second is that of the other.
func (w *work) describeFlow(t *template, r *flow.Record, pos int, spans []span) {
	observed, other := r.InIf, r.OutIf
	var seen [2]int // names and descriptions
	for i := range t.names {
		seen[t.names[i].kind()]++
	}
	if out := r.Direction == 2 && max(seen[0], seen[1]) == 1; (out || observed == 0) && other != 0 {
		observed, other = other, observed
	}
	seen = [2]int{}
	for i := range t.names {
		f := &t.names[i]
		s := span{pos + f.offset, f.length}
		if spans != nil {
			s = spans[f.spec]
		}
		kind := f.kind()
		index := observed
		if seen[kind] > 0 {
			index = other
		}
		seen[kind]++
		if said := text(w.b[s.at : s.at+s.length]); said != "" && index != 0 {
			w.describeInterface(index, said, f.description)
		}
	}
}

// describeInterface notes the name or the description of an interface, once a
// message.
func (w *work) describeInterface(index uint32, said string, description bool) {
	m := w.m
	i := slices.IndexFunc(m.Interfaces, func(x flow.Interface) bool { return x.Index == index })
	if i < 0 {
		i = len(m.Interfaces)
		m.Interfaces = append(m.Interfaces, flow.Interface{Exporter: w.proto.Exporter, Index: index})
	}
	if description {
		m.Interfaces[i].Description = said
	} else {
		m.Interfaces[i].Name = said
	}
}

// nameCost is the room that a name takes of Limits.NameOctets.
func nameCost(name string) int { return len(name) + 96 }

// setName keeps a name, if there is room for it.
func (s *store) setName(a flow.Addr, k nameKey, name string) {
	s.mu.RLock()
	known := s.exporters[a] != nil && s.exporters[a].names[k] == name
	s.mu.RUnlock()
	if known {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.exporters[a]
	if e == nil {
		return
	}
	cost := nameCost(name)
	if old, ok := e.names[k]; ok {
		cost -= nameCost(old)
	}
	if e.nameOctets+cost > s.limits.ExporterNameOctets || s.nameOctets+cost > s.limits.NameOctets {
		return
	}
	if e.names == nil {
		e.names = make(map[nameKey]string)
	}
	e.names[k] = name
	e.nameOctets += cost
	s.nameOctets += cost
}

// name returns the name that options gave, "" when they did not.
func (s *store) name(a flow.Addr, k nameKey) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.exporters[a]; e != nil {
		return e.names[k]
	}
	return ""
}

// selector is a sampler that options describe.
type selector struct {
	rate uint32
	// extra is what its records say besides: its name, as a JSON object that
	// they share.
	extra []byte
}

// learn takes over what an options record announces of sampling and the uptime
// clock. limit is for selectors; interfaces may be four times as many.
func (o *options) learn(t *template, s *scratch, limit int) {
	if s.init > 0 {
		o.init = s.init
	}
	rate := s.samplingRate(t.resolve&resolveSpace != 0)
	name := s.samplerName()
	switch {
	case s.scopeInterface != 0:
		// What is true of one interface is not the domain's.
		if _, ok := o.interfaces[uint32(s.scopeInterface)]; rate == 0 || !ok && len(o.interfaces) >= 4*limit {
			return
		}
		if o.interfaces == nil {
			o.interfaces = make(map[uint32]uint32)
		}
		o.interfaces[uint32(s.scopeInterface)] = rate
	case t.resolve&resolveSelector != 0:
		x, ok := o.selectors[s.selector]
		if rate == 0 && name == nil || !ok && len(o.selectors) >= limit {
			return
		}
		if o.selectors == nil {
			o.selectors = make(map[uint64]selector)
		}
		if rate != 0 {
			x.rate = rate
		}
		if name != nil {
			x.extra = name
		}
		o.selectors[s.selector] = x
	case rate != 0:
		o.rate = rate
	}
}

// knows reports whether learn would change nothing: what is announced again and
// again need not be copied to be learned.
func (o *options) knows(t *template, s *scratch) bool {
	if o == nil || s.init > 0 && s.init != o.init {
		return false
	}
	rate := s.samplingRate(t.resolve&resolveSpace != 0)
	switch {
	case s.scopeInterface != 0:
		return rate == 0 || o.interfaces[uint32(s.scopeInterface)] == rate
	case t.resolve&resolveSelector != 0:
		x, ok := o.selectors[s.selector]
		name := s.samplerName()
		return ok && (rate == 0 || rate == x.rate) && (name == nil || bytes.Equal(name, x.extra)) || rate == 0 && name == nil
	}
	return rate == 0 || rate == o.rate
}

// samplerName returns the name of a sampler as its records have it in their
// extras, nil when there is none.
func (s *scratch) samplerName() []byte {
	name := short(text(s.texts[slotSamplerName-slotInterfaceName]))
	if name == "" {
		return nil
	}
	b, _ := marshal(map[string]string{"samplerName": name})
	return b
}

// interfaceRate gives a record the rate of its interface, where options said
// one: of the interface at which it was observed, first.
func (o *options) interfaceRate(r *flow.Record) {
	first, second := r.InIf, r.OutIf
	if r.Direction == 2 {
		first, second = second, first
	}
	if n := o.interfaces[first]; n != 0 {
		r.SamplingRate = n
	} else if n := o.interfaces[second]; n != 0 {
		r.SamplingRate = n
	}
}

// probability returns the N of 1:N of a samplingProbability in four octets or
// eight.
func probability(v uint64, width int) uint64 {
	p := math.Float64frombits(v)
	if width == 4 {
		p = float64(math.Float32frombits(uint32(v)))
	}
	if !(p > 1e-9 && p <= 1) {
		return 0
	}
	return uint64(math.Round(1 / p))
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
