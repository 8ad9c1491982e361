package collector

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"net/netip"
	"slices"
	"sync"

	"flowtally/flow"
	"flowtally/netflow"
)

// Identity says whose a message is in whose session an address was announced as
// the exporter's (exporterIPv4Address, 130, exporterIPv6Address, 131).
type Identity string

// The kinds of Identity. Anybody who can send to us can announce any address, so
// that to believe it lets him write in another's name. Behind a gateway of this
// machine, as Docker's bridge is, there is nothing to lose: there everybody has
// the gateway's address, and the announced one is the better of two that prove
// nothing.
const (
	// IdentityAuto believes what comes from a gateway of this machine.
	IdentityAuto Identity = "auto"
	// IdentitySource believes the packet's source alone.
	IdentitySource Identity = "source"
	// IdentityAnnounced believes everybody.
	IdentityAnnounced Identity = "announced"
)

func (i Identity) valid() bool {
	return i == "" || i == IdentityAuto || i == IdentitySource || i == IdentityAnnounced
}

const (
	// identityTime is how long an announcement holds: longer than devices take to
	// repeat their options, by default half an hour; not for ever, since a
	// translated port will be another's one day.
	identityTime = 2 * flow.Hour
	// maxDirect is how many addresses are remembered to have sent themselves.
	maxDirect = 1 << 16
)

// identityKey is whose announcement it is: behind one address and domain the
// ports tell exporters apart.
type identityKey struct {
	flow.Exporter
	port    uint16
	version netflow.Version
}

// announced is an address that was announced, and when last.
type announced struct {
	addr flow.Addr
	at   flow.Time
}

// identities knows which exporter sends what a packet's source does not tell.
// Its methods are safe for concurrent use.
type identities struct {
	mode  Identity
	max   int
	local func(flow.Addr) bool

	mu    sync.RWMutex
	known map[identityKey]announced
	// direct are addresses that sent themselves: nobody else has their name.
	direct map[flow.Addr]struct{}
	// fullUntil is when there may be room again.
	fullUntil flow.Time
}

func newIdentities(mode Identity, most int, local func(flow.Addr) bool) *identities {
	return &identities{
		mode: cmp.Or(mode, IdentityAuto), max: most, local: local,
		known: map[identityKey]announced{}, direct: map[flow.Addr]struct{}{},
	}
}

// of returns the exporter whose message m is. moved says that it had another
// name until now.
func (x *identities) of(m *netflow.Message, port uint16, now flow.Time) (e flow.Exporter, moved bool) {
	e = m.Exporter
	if x.mode == IdentitySource || m.Version == 0 {
		return e, false
	}
	if x.mode == IdentityAuto && !x.local(e.Addr) {
		x.noteDirect(e.Addr)
		return e, false
	}
	k := identityKey{e, port, m.Version}
	x.mu.RLock()
	a, ok := x.known[k]
	taken := ok && x.taken(a.addr, e.Addr)
	x.mu.RUnlock()
	if ok = ok && !taken && now-a.at < identityTime; ok {
		e.Addr = a.addr
	}
	switch say := m.Announced; {
	case say.IsZero():
		if !ok && x.mode == IdentityAnnounced {
			x.noteDirect(e.Addr)
		}
	case say == m.Exporter.Addr:
		x.noteDirect(say)
	case ok && say == a.addr && now-a.at < flow.Minute:
	case x.learn(k, say, now):
		moved = e.Addr != say
		e.Addr = say
	}
	return e, moved
}

// taken reports whether a is the name of somebody who sends from it, and not
// from source; the caller holds the lock.
func (x *identities) taken(a, source flow.Addr) bool {
	_, direct := x.direct[a]
	return direct && a != source
}

// noteDirect remembers that an address sends itself.
func (x *identities) noteDirect(a flow.Addr) {
	x.mu.RLock()
	_, ok := x.direct[a]
	full := len(x.direct) >= maxDirect
	x.mu.RUnlock()
	if ok || full {
		return
	}
	x.mu.Lock()
	x.direct[a] = struct{}{}
	x.mu.Unlock()
}

// learn believes an announcement, if it can be one and there is room.
func (x *identities) learn(k identityKey, a flow.Addr, now flow.Time) bool {
	if n := a.Netip(); n.IsUnspecified() || n.IsLoopback() || n.IsMulticast() || n.IsLinkLocalUnicast() || x.local(a) {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.taken(a, k.Addr) {
		return false
	}
	if _, ok := x.known[k]; !ok && len(x.known) >= x.max && !x.forget(now) {
		return false
	}
	x.known[k] = announced{a, now}
	return true
}

// forget makes room: what was not announced for identityTime goes.
func (x *identities) forget(now flow.Time) bool {
	if now < x.fullUntil {
		return false
	}
	x.fullUntil = now + flow.Second
	before := len(x.known)
	for k, a := range x.known {
		if now-a.at >= identityTime {
			delete(x.known, k)
		}
	}
	return len(x.known) < before
}

// savedIdentity is an announcement as a file has it.
type savedIdentity struct {
	Source    netip.Addr      `json:"source"`
	Domain    uint32          `json:"domain"`
	Port      uint16          `json:"port"`
	Version   netflow.Version `json:"version"`
	Announced netip.Addr      `json:"announced"`
	At        flow.Time       `json:"at"`
}

// save writes the announcements for the next run, a line of JSON each.
func (x *identities) save(to io.Writer) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e := json.NewEncoder(to)
	for k, a := range x.known {
		if err := e.Encode(savedIdentity{k.Addr.Netip(), k.Domain, k.port, k.version, a.addr.Netip(), a.at}); err != nil {
			return err
		}
	}
	return nil
}

// load believes again what an earlier run did, within what this one would.
func (x *identities) load(from io.Reader) (n int) {
	if x.mode == IdentitySource {
		return 0
	}
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var s savedIdentity
		if json.Unmarshal(lines.Bytes(), &s) != nil || !s.Source.IsValid() || !s.Announced.IsValid() {
			continue
		}
		k := identityKey{flow.Exporter{Addr: flow.AddrFrom(s.Source), Domain: s.Domain}, s.Port, s.Version}
		if (x.mode == IdentityAnnounced || x.local(k.Addr)) && x.learn(k, flow.AddrFrom(s.Announced), s.At) {
			n++
		}
	}
	return n
}

// identify gives a message and its records to the exporter whose they are. What
// the decoder keeps, templates and sampling rates, stays with the source.
func (p *process) identify(m *netflow.Message, from netip.AddrPort, now flow.Time, recs []flow.Record) {
	e, moved := p.identities.of(m, from.Port(), now)
	if e == m.Exporter {
		return
	}
	was := m.Exporter
	m.Exporter = e
	if moved {
		p.ledger.moved(was, m, from.Port(), now)
	}
	id := e.ID()
	for i := range recs {
		recs[i].Exporter = id
	}
	for i := range m.Events {
		m.Events[i].Exporter = id
	}
	if p.Sampling == nil {
		return
	}
	if s := p.Sampling(e); s.Rate != 0 {
		for i := range recs {
			if s.Override || recs[i].SamplingRate == 0 {
				recs[i].SamplingRate = s.Rate
			}
		}
	}
}

// moved has the session that m's sender had as was go on as m's exporter, with its
// numbers: what is missing between the two is found as if nothing had happened.
func (l *ledger) moved(was flow.Exporter, m *netflow.Message, port uint16, now flow.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	version := uint16(m.Version)
	before, after := sessionKey{was, port, version}, sessionKey{m.Exporter, port, version}
	if l.recalled[before].At > l.recalled[after].At {
		delete(l.recalled, after)
	}
	delete(l.recalled, before)
	old := l.exporters[was]
	if old == nil {
		return
	}
	i := slices.IndexFunc(old.sessions, func(s *session) bool { return s.port == port && s.version == m.Version })
	if i < 0 {
		return
	}
	o := old.sessions[i]
	if o.main != nil {
		// This run took messages under the old name, which the earlier run's state
		// under the new one would take for missing.
		delete(l.recalled, after)
	}
	if s := l.session(&source{}, &receipt{m: m, port: port, now: now, records: 1}); s != nil && s.main == nil && o.root == nil && o.main != nil {
		s.numbering, o.numbering = o.numbering, numbered(specified(o.version))
		s.handed, s.base = o.handed, o.base
	}
	if !o.gone { // it may have made room
		l.end(o, now)
		old.sessions = slices.DeleteFunc(old.sessions, func(s *session) bool { return s == o })
	}
	old.changed = true
}

// renamed drops the recalled sessions of gateways that went on under an
// announced address: their numbers stopped there, and nothing is missing. The
// caller holds the lock.
func (l *ledger) renamed() {
	type port struct {
		domain  uint32
		number  uint16
		version uint16
	}
	latest := map[port]flow.Sequence{}
	for k, q := range l.recalled {
		if p := (port{k.Domain, k.port, k.version}); q.At > latest[p].At {
			latest[p] = q
		}
	}
	for k, q := range l.recalled {
		last := latest[port{k.Domain, k.port, k.version}]
		if q.At >= last.At || l.local == nil || !l.local(k.Addr) {
			continue
		}
		// Numbers that do not go on from these are a stranger's.
		if _, ok := flow.Gap(q.Next, last.Next, last.At-q.At); ok || q.Next == last.Next {
			delete(l.recalled, k)
		}
	}
}
