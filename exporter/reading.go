package exporter

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/exporter/packet"
	"flowtally/flow"
)

const (
	// readPackets is how many packets are taken from a Source at once.
	readPackets = 64
	// blockPackets is how many packets go over to a meter at once, blocks how
	// many such blocks there are for each meter: 360 KB, so that they stay in the
	// caches.
	blockPackets = 512
	blocks       = 8
	// liveBlock and fileBlock are after how long, on the packets' clock, a block
	// goes over that is not full.
	liveBlock = 100 * flow.Millisecond
	fileBlock = flow.Second
)

// linkEthernet is LINKTYPE_ETHERNET; frames of it, and of those below, say nothing
// of where they were seen.
const linkEthernet = 1

// The LINKTYPE_ numbers of Linux cooked captures.
const linkCooked, linkCooked2 = 113, 276

// block is what reading hands to metering: packets, and the clock behind them.
type block struct {
	packets []meter.Observation
	details []flow.Details // of the packets, nil unless asked for
	clock   flow.Time
	boot    flow.Time
}

// reading reads the packets of one Source, says what they are, and hands each to
// the meter that has its flow. It is one goroutine's.
type reading struct {
	source    capture.Batcher
	tunnels   capture.TunnelEnd // nil unless the Source is one
	described bool              // the Source's interfaces have numbers of their own
	inIf      uint32
	live      bool
	batched   bool // the Source gives as many packets as are there
	both      bool // packets and what they carry
	started   time.Time
	decoder   *packet.Decoder
	fragments meter.Fragments
	hash      meter.Hash
	keyTOS    uint8 // the bits of TOS that belong to the key
	own       []stream
	sampler   sampler
	asked     bool // the sampler, for this frame
	selected  bool

	outer      seen
	inner      seen // packets inside others, where both count
	dropCopies bool
	spans      bool  // the Source may show a packet on each interface that it passes
	direction  uint8 // of this frame

	meters []lane
	every  flow.Time // blocks go over at least so often
	gone   flow.Time // when they last did

	clock  flow.Time // the latest time there was
	boot   flow.Time
	counts readingCounts
	ledger *ledger
	number int // among the ledger's readings
	log    *slog.Logger
}

// lane is the way to one meter: the block that is being filled, and where it
// goes. Without a goroutine at its other end, the metering is done on the spot.
type lane struct {
	block *block
	full  chan *block
	empty chan *block
	here  *metering
}

// newLane returns a lane to m, which works in a goroutine of its own or, with
// here, in that of the reading.
func newLane(m *metering, here, details bool) lane {
	fresh := func() *block {
		b := &block{packets: make([]meter.Observation, 0, blockPackets)}
		if details {
			b.details = make([]flow.Details, 0, blockPackets)
		}
		return b
	}
	if here {
		return lane{block: fresh(), here: m}
	}
	l := lane{block: fresh(), full: make(chan *block, blocks), empty: make(chan *block, blocks)}
	for range blocks - 1 {
		l.empty <- fresh()
	}
	return l
}

func newReading(c *Config, source capture.Source, own []stream, hash meter.Hash, meters []lane, l *ledger) *reading {
	_, described := capture.As[capture.Describer](source)
	_, batched := source.(capture.Batcher)
	tunnels, _ := capture.As[capture.TunnelEnd](source)
	_, live := capture.As[capture.Moder](source) // one interface, or a tunnel's end
	r := &reading{
		source: capture.Batch(source), tunnels: tunnels, described: described, batched: batched, inIf: c.InIf, live: c.Live, both: c.Tunnels == packet.Both, started: time.Now(),
		decoder: packet.Config{Tunnels: c.Tunnels, Details: c.Meter.Details}.Decoder(), hash: hash, keyTOS: c.Meter.KeyTOS & meter.DSCP, sampler: newSampler(c.Sample, c.SampleRandom),
		dropCopies: c.DropDuplicates, spans: !live, meters: meters, every: fileBlock, ledger: l, number: l.reader(), log: c.Logger,
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.live {
		r.own, r.every = own, liveBlock
		r.clock = flow.TimeOf(r.started)
		r.boot = r.clock.Floor(flow.Second)
		r.gone = r.clock
	}
	return r
}

// wall is the wall clock, as it was at the start and has run since: somebody who
// sets it back keeps no flow alive.
func (r *reading) wall() flow.Time { return flow.TimeOf(r.started.Add(time.Since(r.started))) }

// run reads until the source ends or breaks off, or ctx ends, which sets stop.
// Then the last block has gone over to each meter, and its lane is closed.
func (r *reading) run(ctx context.Context, stop *atomic.Bool) error {
	defer r.finish()
	var packets [readPackets]capture.Packet
	for !stop.Load() {
		n, err := r.source.ReadBatch(packets[:])
		for i := range packets[:n] {
			r.packet(&packets[i])
		}
		switch {
		case err == nil:
			if r.batched && !r.live && n < readPackets {
				r.goOver() // a pipe may have no more for hours
			}
		case errors.Is(err, capture.ErrTimeout):
			if r.live {
				r.clock = max(r.clock, r.wall())
			}
			r.goOver()
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF), ctx.Err() != nil, stop.Load():
			return nil
		default:
			return err
		}
	}
	return nil
}

func (r *reading) finish() {
	if r.live {
		r.clock = max(r.clock, r.wall())
	}
	r.goOver()
	for i := range r.meters {
		if l := &r.meters[i]; l.full != nil {
			close(l.full)
		}
	}
}

// packet says what c is and lays it into the block of its meter.
func (r *reading) packet(c *capture.Packet) {
	// Nanoseconds before 1970 are cut to it.
	now := flow.Time(max(c.Time, 0) / int64(time.Millisecond))
	if r.counts.seen == 0 && !r.live {
		r.boot = now.Floor(flow.Second)
		r.gone = now
	}
	r.clock = max(r.clock, now)
	if r.clock-r.gone >= r.every {
		r.goOver()
	}
	segments := max(1, c.Segments)
	r.counts.seen += uint64(segments)

	var p packet.Packet
	r.decoded(&p, c, r.decoder.Decode(&p, c.Link, c.Data), segments, now)
	for {
		more, err := r.decoder.More(&p)
		if !more {
			break
		}
		r.counts.seen++ // the air's way to put several together
		r.decoded(&p, c, err, 1, now)
	}
}

// decoded takes what the Decoder said of c, or of a part of it.
func (r *reading) decoded(p *packet.Packet, c *capture.Packet, err error, segments uint32, now flow.Time) {
	if err != nil {
		r.counts.ignored.count(err, segments)
		r.counts.ignoredOctets += uint64(c.Length)
		return
	}
	p.InIf, p.OutIf, r.direction = r.sighting(c)
	r.asked = false
	dup := r.observe(p, c, &r.outer, now, false)
	if r.both && r.decoder.Inner(p) {
		r.counts.inner += uint64(segments)
		p.InIf, p.OutIf, _ = r.sighting(c) // not those of the first sighting
		r.observe(p, c, &r.inner, now, dup)
	}
}

// sighting returns the interface that c came in by, or went out by, and its
// direction, as its frame or its Source says it; else the one that was configured.
func (r *reading) sighting(c *capture.Packet) (in, out uint32, direction uint8) {
	direction = c.Direction
	if r.described {
		in, out = c.InIf, c.OutIf
	}
	if c.Link > linkEthernet {
		s := packet.SightingOf(c.Link, c.Data)
		if s.InIf|s.OutIf != 0 {
			in, out = s.InIf, s.OutIf
		}
		if s.Direction != 0 {
			direction = s.Direction
		}
	}
	if in|out == 0 {
		if direction == capture.Egress {
			return 0, r.inIf, direction
		}
		return r.inIf, 0, direction
	}
	return in, out, direction
}

// seen is what is remembered of packets, to recognise them when they come again.
type seen struct {
	copies   meter.Duplicates
	passages meter.Passages
}

// observe lays the packet p, one of c's, into the block of its meter, and reports
// whether it is a copy, which it is in any case in a frame that is a copy.
func (r *reading) observe(p *packet.Packet, c *capture.Packet, seen *seen, now flow.Time, dup bool) bool {
	segments := max(1, c.Segments)
	key := &p.Key
	if p.Length == 0 {
		r.unstated(p, c)
	}
	// Fragments get their ports first, so that those of our own messages are
	// known, and those whose first one sampling does not select have them, too.
	unknown := p.IsFragment() && !r.fragments.Lend(key, p, r.clock)
	if p.Protocol == flow.UDP && r.ours(key) {
		r.counts.ignored.OwnExport += uint64(segments)
		r.counts.ignoredOctets += uint64(c.Length)
		return dup
	}
	if r.spans {
		seen.passages.Loops = c.Link == linkCooked || c.Link == linkCooked2
		left, again := seen.passages.Seen(p, c.Data[p.Offset:], r.direction, now)
		if again {
			// It is one packet: it counts where it was seen first.
			r.counts.duplicates += uint64(segments)
			r.counts.dropped += uint64(segments)
			if left != 0 && key.OutIf == 0 {
				r.lay(p, 0, segments, left, true, now)
			}
			return true
		}
	}
	dup = seen.copies.Seen(p, c.Data[p.Offset:], now) || dup
	if dup {
		r.counts.duplicates += uint64(segments)
		if r.dropCopies {
			r.counts.dropped += uint64(segments)
			return dup
		}
	}
	// One decision for a frame, whatever it has inside: every second packet would
	// be none but the outer ones.
	if !r.asked {
		r.asked, r.selected = true, r.sampler.selects()
	}
	if !r.selected {
		r.counts.sampledOut += uint64(segments)
		return dup
	}
	if unknown {
		r.counts.fragmentsUnknown++
	}
	octets := p.Length
	if segments > 1 {
		if p.Length <= 40 {
			octets = p.Present // too long for its header to say
		}
		if c.Headers > p.Offset {
			octets += (segments - 1) * (c.Headers - p.Offset)
		}
	}
	r.lay(p, octets, segments, 0, dup, now)
	return dup
}

// unstated gives the IPv4 packet p, whose header states the length 0, that of the
// frame c it is in, which no snap length cuts. No other packet has that length; of
// IPv6 the header counts as it is, also of a jumbogram.
func (r *reading) unstated(p *packet.Packet, c *capture.Packet) {
	if r.counts.unstated == 0 {
		r.log.Warn("packets whose header states no length, as a sender sees them that leaves segmentation to its network card (TSO), count with the length of their frame")
	}
	r.counts.unstated += uint64(max(1, c.Segments))
	p.Length = max(c.Length, uint32(len(c.Data))) - p.Offset
}

// lay lays the packet p into the block of its meter.
func (r *reading) lay(p *packet.Packet, octets, segments, left uint32, dup bool, now flow.Time) {
	key := &p.Key
	tos := key.TOS
	key.TOS &= r.keyTOS
	hash := r.hash.Of(key) ^ p.Overlay
	l := &r.meters[0]
	if len(r.meters) > 1 {
		// The meters' tables use the lower bits.
		l = &r.meters[uint64(hash)*uint64(len(r.meters))>>32]
	}
	n := len(l.block.packets)
	l.block.packets = l.block.packets[:n+1]
	o := &l.block.packets[n]
	o.Key, o.Overlay, o.Hash = *key, p.Overlay, hash
	o.Octets, o.Packets, o.Left, o.TCPFlags = octets, segments, left, p.TCPFlags
	o.TOS, o.Direction, o.Copy = tos, r.direction, dup
	o.At, o.Clock = now, r.clock
	if p.Details != nil {
		l.block.details = append(l.block.details, *p.Details)
		d := &l.block.details[n]
		d.MinLength, d.MaxLength = p.Length, p.Length
		d.MinTTL, d.MaxTTL = p.TTL, p.TTL
	}
	if n+1 == blockPackets {
		r.hand(l)
	}
}

// ours reports whether key is one of our own export streams.
func (r *reading) ours(key *flow.Key) bool {
	for i := range r.own {
		if s := &r.own[i]; s.srcPort == key.SrcPort && s.dstPort == key.DstPort && s.src == key.SrcAddr && s.dst == key.DstAddr {
			return true
		}
	}
	return false
}

// goOver hands all blocks over, also empty ones: they tell the time.
func (r *reading) goOver() {
	r.gone = r.clock
	for i := range r.meters {
		r.hand(&r.meters[i])
	}
	// A source that was closed may have forgotten.
	stats := r.source.Stats()
	r.counts.kernelDrops = max(r.counts.kernelDrops, stats.Drops)
	r.counts.filtered = max(r.counts.filtered, stats.Filtered)
	if r.tunnels != nil {
		t, stats := new(Tunnels), r.tunnels.TunnelStats()
		t.add(&stats)
		r.counts.tunnels = t
	}
	r.ledger.read(r.number, &r.counts)
}

// hand hands the block of one lane over.
func (r *reading) hand(l *lane) {
	b := l.block
	b.clock, b.boot = r.clock, r.boot
	if l.here != nil {
		l.here.block(b)
		l.here.answer()
	} else {
		l.full <- b
		b = <-l.empty
	}
	b.packets, b.details = b.packets[:0], b.details[:0]
	l.block = b
}

// sampler selects one in every so many packets: the first (systematic
// count-based selection, RFC 5475 §5.1) or, with random, any one of them (n out
// of N with n = 1, §5.2.1).
type sampler struct {
	every, left, pick uint32
	random            *rand.Rand
}

func newSampler(every uint32, random bool) sampler {
	s := sampler{every: every}
	if random {
		s.random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return s
}

// selects reports whether the next packet is one that counts.
func (s *sampler) selects() bool {
	if s.every <= 1 {
		return true
	}
	if s.left == 0 {
		s.left = s.every
		s.pick = s.every
		if s.random != nil {
			s.pick = 1 + s.random.Uint32N(s.every)
		}
	}
	s.left--
	return s.left+1 == s.pick
}
