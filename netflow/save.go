package netflow

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"flowtally/flow"
)

// savedFormat is the first line of what Save writes.
const savedFormat = `{"flowtally":"templates","format":1}`

// saved is one line of what Save writes: a template, or what options said of a
// domain, or a name.
type saved struct {
	Addr    netip.Addr `json:"addr"`
	Domain  uint32     `json:"domain"`
	Version Version    `json:"version"`

	// A template, as it came.
	ID      uint16    `json:"id,omitempty"`
	Port    uint16    `json:"port,omitempty"`
	Options bool      `json:"options,omitempty"`
	Scopes  int       `json:"scopes,omitempty"`
	Fields  []byte    `json:"fields,omitempty"`
	Used    flow.Time `json:"used,omitempty"`

	Sampling *savedOptions `json:"sampling,omitempty"`
	Name     *savedName    `json:"name,omitempty"`
	Told     *savedTold    `json:"told,omitempty"`
}

type savedOptions struct {
	Rate       uint32            `json:"rate,omitempty"`
	Init       flow.Time         `json:"init,omitempty"`
	Interfaces map[uint32]uint32 `json:"interfaces,omitempty"`
	Selectors  []savedSelector   `json:"selectors,omitempty"`
	Said       []savedSaid       `json:"said,omitempty"`
	Restart    flow.Time         `json:"restart,omitempty"`
	Forgotten  bool              `json:"forgotten,omitempty"`
}

type savedSelector struct {
	ID   uint64 `json:"id"`
	Rate uint32 `json:"rate,omitempty"`
	Name string `json:"name,omitempty"`
}

// savedSaid is when something was said.
type savedSaid struct {
	Kind  uint8     `json:"kind"`
	ID    uint64    `json:"id,omitempty"`
	At    flow.Time `json:"at"`
	Every flow.Time `json:"every,omitempty"`
}

type savedName struct {
	Kind uint16 `json:"kind"`
	ID   uint64 `json:"id"`
	Name string `json:"name"`
}

// Save writes what the decoder has learned of everybody, templates and options,
// as lines of JSON that Load reads: so that a collector which starts again need
// not wait for templates. Data that is held is not part of it. Decoding goes on
// meanwhile.
func (d *Decoder) Save(to io.Writer) error {
	w := bufio.NewWriter(to)
	if _, err := w.WriteString(savedFormat + "\n"); err != nil {
		return fmt.Errorf("netflow: save templates: %w", err)
	}
	e := json.NewEncoder(w)
	for _, line := range append(d.store.lines(), d.told.saved()...) {
		if err := e.Encode(line); err != nil {
			return fmt.Errorf("netflow: save templates: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("netflow: save templates: %w", err)
	}
	return nil
}

// lines returns what is stored, templates in the order in which they were
// learned, then the rest.
func (s *store) lines() (lines []saved) {
	type known struct {
		t    *template
		addr netip.Addr
	}
	var templates []known
	s.mu.RLock()
	for a, e := range s.exporters {
		addr := a.Netip()
		for _, t := range e.templates {
			templates = append(templates, known{t, addr})
		}
		for k, dom := range e.domains {
			if o := dom.options.Load(); o != nil {
				lines = append(lines, saved{Addr: addr, Domain: k.domain, Version: k.version, Sampling: o.saved(flow.Time(dom.restart.Load()))})
			}
		}
		for k, name := range e.names {
			lines = append(lines, saved{Addr: addr, Domain: k.of.domain, Version: k.of.version, Name: &savedName{k.kind, k.id, name}})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(templates, func(x, y known) int { return cmp.Compare(x.t.born, y.t.born) })
	first := make([]saved, len(templates))
	for i, k := range templates {
		t := k.t
		first[i] = saved{
			Addr: k.addr, Domain: t.key.domain, Version: t.key.version,
			ID: t.key.id, Port: t.key.port, Options: t.options, Scopes: t.scopes, Fields: t.raw, Used: flow.Time(t.used.Load()),
		}
	}
	return append(first, lines...)
}

func (o *options) saved(restart flow.Time) *savedOptions {
	out := &savedOptions{Rate: o.rate, Init: o.init, Interfaces: o.interfaces, Restart: restart, Forgotten: o.forgotten}
	for k, x := range o.said {
		out.Said = append(out.Said, savedSaid{k.kind, k.id, flow.Time(x.at.Load()), flow.Time(x.every.Load())})
	}
	for id, x := range o.selectors {
		var extra struct{ SamplerName string }
		json.Unmarshal(x.extra, &extra) // ours, or none
		out.Selectors = append(out.Selectors, savedSelector{id, x.rate, extra.SamplerName})
	}
	return out
}

// Load learns what Save has written, within the decoder's Limits, and returns
// how many templates it took over. What is damaged is left out, and said in the
// error beside what was good; every template is checked as if it came from a
// stranger.
func (d *Decoder) Load(from io.Reader) (n int, err error) {
	const longest = 1 << 20 // of a line: a template of 64 KiB in base 64, and to spare
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 4096), longest)
	if !lines.Scan() || lines.Text() != savedFormat {
		return 0, errors.Join(errors.New("netflow: load templates: not a file of templates, or of another format"), lines.Err())
	}
	damaged := 0
	for lines.Scan() {
		var x saved
		if json.Unmarshal(lines.Bytes(), &x) != nil || !x.Addr.IsValid() || x.Version != V9 && x.Version != IPFIX {
			damaged++
			continue
		}
		switch {
		case x.Sampling != nil:
			d.loadOptions(&x)
		case x.Told != nil:
			d.told.load(flow.Exporter{Addr: flow.AddrFrom(x.Addr), Domain: x.Domain}, x.Told)
		case x.Name != nil:
			d.store.setName(flow.AddrFrom(x.Addr), nameKey{domainKey{x.Domain, x.Version}, x.Name.Kind, x.Name.ID}, text([]byte(x.Name.Name)))
		case d.loadTemplate(&x):
			n++
		default:
			damaged++
		}
	}
	err = lines.Err()
	if damaged > 0 {
		err = errors.Join(fmt.Errorf("%d damaged lines were left out", damaged), err)
	}
	if err != nil {
		err = fmt.Errorf("netflow: load templates: %w", err)
	}
	return n, err
}

// loadTemplate learns a template by decoding a message that has it.
func (d *Decoder) loadTemplate(x *saved) bool {
	dl := &dialectIPFIX
	if x.Version == V9 {
		dl = &dialectV9
	}
	b := make([]byte, dl.header, dl.header+setHeader+8+len(x.Fields))
	binary.BigEndian.PutUint16(b, uint16(x.Version))
	binary.BigEndian.PutUint32(b[dl.header-4:], x.Domain)
	set := dl.templateSet
	if x.Options {
		set = dl.optionsSet
	}
	b = binary.BigEndian.AppendUint16(b, set)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, x.ID)
	count, octets := fieldCount(dl, x.Fields), len(x.Fields)
	switch {
	case count == 0 || len(b)+4+octets > 65535 || x.Scopes < 0 || x.Scopes > count:
		return false
	case x.Options && dl.scopeOctets:
		b = binary.BigEndian.AppendUint16(b, uint16(4*x.Scopes))
		b = binary.BigEndian.AppendUint16(b, uint16(4*(count-x.Scopes)))
	case x.Options:
		b = binary.BigEndian.AppendUint16(b, uint16(count))
		b = binary.BigEndian.AppendUint16(b, uint16(x.Scopes))
	default:
		b = binary.BigEndian.AppendUint16(b, uint16(count))
	}
	b = append(b, x.Fields...)
	binary.BigEndian.PutUint16(b[dl.header+2:], uint16(len(b)-dl.header))
	if dl == &dialectIPFIX {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	var m Message
	_, err := d.Decode(nil, &m, netip.AddrPortFrom(x.Addr, x.Port), x.Used, b)
	return err == nil && m.Templates == 1
}

// fieldCount returns how many Field Specifiers there are in raw, 0 when it does
// not end with one.
func fieldCount(dl *dialect, raw []byte) (n int) {
	r := reader{b: raw, end: len(raw)}
	for r.remaining() > 0 && !r.failed {
		id := r.uint16()
		r.skip(2)
		if dl.enterprise && id&0x8000 != 0 {
			r.skip(4)
		}
		n++
	}
	if r.failed {
		return 0
	}
	return n
}

// loadOptions takes over what options once said of a domain, unless they have
// said something since.
func (d *Decoder) loadOptions(x *saved) {
	dom := d.store.domain(flow.AddrFrom(x.Addr), domainKey{x.Domain, x.Version})
	if dom == nil {
		return
	}
	dom.mu.Lock()
	defer dom.mu.Unlock()
	if dom.options.Load() != nil {
		return
	}
	limit := d.store.limits.Selectors
	o := &options{rate: min(x.Sampling.Rate, maxRate), init: x.Sampling.Init}
	if n := len(x.Sampling.Interfaces); n > 0 && n <= 4*limit {
		o.interfaces = x.Sampling.Interfaces
		for i, rate := range o.interfaces {
			o.interfaces[i] = min(rate, maxRate)
		}
	}
	for _, sel := range x.Sampling.Selectors[:min(limit, len(x.Sampling.Selectors))] {
		if o.selectors == nil {
			o.selectors = make(map[uint64]selector)
		}
		y := selector{rate: min(sel.Rate, maxRate)}
		if name := short(text([]byte(sel.Name))); name != "" {
			y.extra, _ = marshal(map[string]string{"samplerName": name})
		}
		o.selectors[sel.ID] = y
	}
	o.rememberAll()
	for _, x := range x.Sampling.Said {
		if y := o.said[subject{x.Kind, x.ID}]; y != nil {
			y.at.Store(int64(x.At))
			y.every.Store(int64(max(x.Every, 0)))
		}
	}
	o.forgotten = x.Sampling.Forgotten
	dom.restart.Store(int64(x.Sampling.Restart))
	dom.options.Store(o)
	dom.loaded.Store(true)
}
