package exporter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"flowtally/filter"
	"flowtally/flow"
	"flowtally/netflow"
)

const (
	// sendBuffer is the socket buffer asked for; the system may grant less.
	sendBuffer = 4 << 20
	// leastRecord is no more than any dialect's shortest record, in octets: so
	// many records fill a message for certain.
	leastRecord = 32
	// relativeReach is how far before the export time a record may start in
	// dialects that date records by 32 bits of uptime in milliseconds.
	relativeReach = flow.Time(1) << 31
	// complainEvery is how often a failing destination is logged.
	complainEvery = 30 * time.Second
)

// sending shares records out to destinations. It is one goroutine's.
type sending struct {
	to       []*destination
	live     bool
	balance  bool
	divided  bool // the destinations do not all get the same
	options  *speaking
	renew    chan struct{} // asks for templates and options
	reported sendingCounts

	at flow.Time // what the last messages were dated
}

// Collector is a destination.
type Collector struct {
	// To is "host:port", resolved once.
	To string
	// Version is the dialect, 0 that of the Config.
	Version netflow.Version
	// Filter says which flows it gets, nil all.
	Filter *filter.Filter
}

// newSending checks what of the configuration is sending's, and opens the
// sockets.
func newSending(ctx context.Context, c *Config) (*sending, error) {
	var collectors []Collector
	for _, to := range c.To {
		collectors = append(collectors, Collector{To: to})
	}
	collectors = append(collectors, c.Collectors...)
	if len(collectors) == 0 {
		return nil, errors.New("no destination to send to")
	}
	s := &sending{live: c.Live, balance: c.Balance, divided: c.Balance && len(collectors) > 1, renew: make(chan struct{}, 1)}
	if c.Options {
		s.options = newSpeaking(c)
	}
	octets := c.MaxMessage
	if octets == 0 {
		octets = 1372
	}
	for _, x := range collectors {
		config := netflow.EncoderConfig{
			Version: x.Version, Domain: c.Domain, Name: c.Name, MaxMessage: c.MaxMessage,
			SamplingRate: c.Sample, SamplingRandom: c.SampleRandom, Template: c.Template, Fields: c.Fields,
		}
		if config.Version == 0 {
			config.Version = c.Version
		}
		s.divided = s.divided || x.Filter != nil || config.Version != c.Version
		_, err := netflow.NewEncoder(config)
		var d *destination
		if err == nil {
			if strings.Contains(x.To, "://") {
				d, err = dialStream(ctx, x.To, c, config.Version)
			} else {
				d, err = dial(ctx, x.To, c.Logger)
			}
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("destination %q: %w", x.To, err)
		}
		d.config, d.filter, d.fill = config, x.Filter, octets/leastRecord
		d.pace = newPacer(c.Pace, time.Now, time.Sleep)
		s.to = append(s.to, d)
	}
	if len(s.to) > 1 && !s.divided {
		once := new(losses)
		for _, d := range s.to {
			d.losses = once
		}
	}
	return s, nil
}

// names returns what the destinations are called.
func (s *sending) names() []string {
	var names []string
	for _, d := range s.to {
		names = append(names, d.name)
	}
	return names
}

// settle tells the losses which records no destination will lose any more: over UDP
// all but the last datagram's, of which a refusal may still tell.
func (s *sending) settle() {
	once := s.to[0].losses
	if once == nil {
		return
	}
	below := uint64(math.MaxUint64)
	for _, d := range s.to {
		below = min(below, d.made.records-uint64(d.last))
	}
	once.settle(below)
}

func (s *sending) close() {
	for _, d := range s.to {
		d.close()
	}
}

// stream is one direction of a conversation over UDP.
type stream struct {
	src, dst         flow.Addr
	srcPort, dstPort uint16
}

// streams returns what the sockets send, as a capture sees it.
func (s *sending) streams() []stream {
	var own []stream
	for _, d := range s.to {
		if d.stream != nil {
			continue
		}
		from, to := d.conn.LocalAddr().(*net.UDPAddr).AddrPort(), d.conn.RemoteAddr().(*net.UDPAddr).AddrPort()
		own = append(own, stream{flow.AddrFrom(from.Addr()), flow.AddrFrom(to.Addr()), from.Port(), to.Port()})
	}
	return own
}

// run sends what comes over full until that is closed.
func (s *sending) run(full <-chan batch, empty chan<- []flow.Record, l *ledger) {
	var second <-chan time.Time
	if s.live && (s.options != nil || slices.ContainsFunc(s.to, func(d *destination) bool { return d.stream != nil })) {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		second = t.C
	}
	for more := true; more; {
		var b batch
		renew := false
		select {
		case b, more = <-full:
			if !more {
				continue
			}
		case now := <-second:
			b.at = flow.TimeOf(now)
			b.boot = b.at
		case <-s.renew:
			renew = true
		}
		// Several meters are not equally far.
		s.at = max(s.at, b.at)
		if s.to[0].encoder == nil {
			if renew || len(b.records) == 0 && s.options == nil {
				if b.records != nil {
					empty <- b.records[:0]
				}
				continue
			}
			s.begin(b.boot)
			if s.options != nil {
				s.introduce()
			}
		}
		if renew {
			for _, d := range s.to {
				if !d.connected() {
					continue
				}
				d.encoder.Renew()
				d.sendTemplates(s.at)
			}
		}
		if s.options != nil {
			s.options.speak(s, l, renew)
		}
		s.share(b.records)
		if b.records != nil {
			empty <- b.records[:0]
		}
		for _, d := range s.to {
			d.make(s.at, b.flush)
		}
		s.settle()
		l.sent(s.sums(), s.to)
	}
	for _, d := range s.to {
		if d.encoder != nil {
			s.finish(d)
		}
	}
	if s.options != nil && s.to[0].encoder != nil {
		s.options.speak(s, l, true)
	}
	l.sent(s.sums(), s.to)
}

// begin makes the encoders. The configuration was checked with another boot time.
func (s *sending) begin(boot flow.Time) {
	for _, d := range s.to {
		d.config.Boot = boot
		d.encoder, _ = netflow.NewEncoder(d.config)
	}
}

// introduce sends the templates ahead of the first flow, which may be a minute away,
// and has them due again with that. Where nothing is lost once is enough.
func (s *sending) introduce() {
	for _, d := range s.to {
		if d.stream == nil && d.config.Template == netflow.Rich && d.config.Version != netflow.V5 {
			d.sendTemplates(s.at)
			d.encoder.Renew()
			d.begun = true
		}
	}
}

// share hands each record to the destinations that it is for.
func (s *sending) share(recs []flow.Record) {
	if !s.divided {
		for _, d := range s.to {
			for i := range recs {
				d.take(&recs[i])
			}
		}
		return
	}
	for i := range recs {
		r := &recs[i]
		if s.balance {
			s.to[balanced(&r.Key, len(s.to))].offer(r)
			continue
		}
		for _, d := range s.to {
			d.offer(r)
		}
	}
}

// balanced returns which of n destinations has a flow: the same for both
// directions of a conversation, whatever process asks.
func balanced(k *flow.Key, n int) int {
	end := func(a *flow.Addr, port uint16) uint64 {
		h := binary.BigEndian.Uint64(a[:8])*0x9e3779b97f4a7c15 ^ binary.BigEndian.Uint64(a[8:])
		h = (h ^ h>>32) * 0xd6e8feb86659fd93
		return (h ^ h>>32 ^ uint64(port)) * 0xd6e8feb86659fd93
	}
	h := end(&k.SrcAddr, k.SrcPort) + end(&k.DstAddr, k.DstPort) + uint64(k.Protocol)
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return int((h >> 32) * uint64(n) >> 32)
}

// sums returns what was made for each destination, or for all where they get
// different things.
func (s *sending) sums() *sendingCounts {
	s.reported = s.to[0].made
	if s.divided {
		for _, d := range s.to[1:] {
			s.reported.add(&d.made)
		}
	}
	return &s.reported
}
