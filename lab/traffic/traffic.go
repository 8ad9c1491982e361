// Package traffic is a trading floor that does not exist: a capture.Source that
// makes up the packets of about sixty named hosts, in time order, so that the
// demo meters, sends and stores real bytes instead of invented answers.
//
// The floor has a day and a week: quiet nights with backups, the opening bell, a
// lunch dip, the close, a half-empty weekend. And it has a secret, the one that
// this project grew from: a few times a day one host, the report generator, opens
// tens of thousands of tiny flows for two minutes. It then owns most of the flows
// and next to none of the bytes, so a graph of bytes shows nothing.
//
// Everything follows from the seed and the start: two Sources with the same Config
// give the same packets. The bursts follow from the seed and the calendar alone,
// so a demo that was stopped and started again keeps them.
//
// No packet is longer than an Ethernet's MTU, 1500 octets of IP, and each is as large
// as its kind: bulk data full segments, market data a few hundred octets, an
// acknowledgement 40. A TCP conversation shakes hands, talks both ways and says
// good-bye, but for a few that are reset and the connections that are kept for days.
// A weekday is about 19 million packets, a million flows and 16 GB: some 850 octets a
// packet, what a small floor's mirror port shows. By night the link is all but idle,
// save for the file servers' snapshots, some minutes of every hour. The bursts begin
// while those go on.
//
// Frames are cut to SnapLen octets, as a mirror with a short snap length does; the
// lengths and checksums in their headers are those of the whole packet, whose payload
// is zero octets.
//
// A Source is for one goroutine, but Stats and Close are safe beside it.
package traffic

import (
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"flowtally/exporter/capture"

	"github.com/google/gopacket"
)

// SnapLen is how many octets of a frame are given at most.
const SnapLen = 96

// linkEthernet is LINKTYPE_ETHERNET.
const linkEthernet = 1

// waitMax is the longest a live Source waits for the next packet before it says
// capture.ErrTimeout, so that its reader can end the flows that fell silent.
const waitMax = 100 * time.Millisecond

// Config says which packets to make. The zero value is the demo: the last 24 hours
// at once, then each packet when it is due.
type Config struct {
	// Start is the time of the first packets; its location is the floor's own.
	// Zero is 24 hours ago, here.
	Start time.Time
	// End is where the Source says io.EOF; until then nothing waits. Zero is never:
	// the past comes at full speed and the rest by the wall clock.
	End time.Time
	// Seed chooses the floor's luck. Zero is a seed like any other.
	Seed uint64
	// Part is what of the floor's packets are given: the parts together are All.
	Part Part
}

// Source makes packets; it is a capture.Source.
type Source struct {
	config   Config
	location *time.Location
	random   *rand.PCG

	now   int64 // ns: start of the next second to plan
	end   int64 // ns, math.MaxInt64 without an end
	wall  int64 // ns: the wall clock when it was last looked at
	queue []due // a binary heap, earliest first
	talks []talk
	free  []int32

	minute int64             // the minute that levels and quiet are of
	levels [rhythms]float64  // by rhythm: 1 is a busy weekday hour
	quiet  [actCount]float64 // by act: the probability of no start in a second

	ident     uint16 // IPv4 identification
	ephemeral uint16 // the last client port
	lookup    uint16 // the last client port of the report generator

	frame   [SnapLen]byte
	packets atomic.Uint64
	closed  atomic.Bool
	live    chan struct{} // closed with the first wait
	waited  bool
}

var (
	_ capture.Batcher   = (*Source)(nil)
	_ capture.Describer = (*Source)(nil)
)

// due is one talk's next packet.
type due struct {
	at   int64
	talk int32
}

// New returns a Source that starts at c.Start.
func New(c Config) *Source {
	if c.Start.IsZero() {
		c.Start = time.Now().Add(-24 * time.Hour)
	}
	s := &Source{
		config:   c,
		location: c.Start.Location(),
		random:   rand.NewPCG(c.Seed, 0x666c6f7774616c6c),
		now:      c.Start.UnixNano(),
		end:      math.MaxInt64,
		queue:    make([]due, 0, 8192),
		talks:    make([]talk, 0, 8192),
		free:     make([]int32, 0, 8192),
		minute:   math.MinInt64,
		live:     make(chan struct{}),
	}
	if !c.End.IsZero() {
		s.end = c.End.UnixNano()
	}
	for i := range streams {
		// A stream never ends; its first packet falls anywhere in its first second.
		s.start(talk{act: -1 - int32(i), client: streams[i].from, server: streams[i].to,
			port: uint16(49152 + i)}, s.now+s.within(int64(time.Second)))
	}
	return s
}

// ZeroCopyReadPacketData returns the next frame, valid until the next call. It
// returns io.EOF behind Config.End, os.ErrClosed after Close and, when live,
// capture.ErrTimeout when the next packet is not due yet.
func (s *Source) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	p, err := s.next()
	if err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return p.Data, gopacket.CaptureInfo{Timestamp: time.Unix(0, p.Time), CaptureLength: len(p.Data), Length: int(p.Length)}, nil
}

// ReadBatch gives one packet, with the interfaces that it came in and went out by.
func (s *Source) ReadBatch(dst []capture.Packet) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	p, err := s.next()
	if err != nil {
		return 0, err
	}
	dst[0] = p
	return 1, nil
}

// next makes the next packet of the part that is asked for. Those of other parts are made,
// too: so that the parts of the same Config are of the same packets.
func (s *Source) next() (p capture.Packet, err error) {
	for {
		for len(s.queue) == 0 || s.queue[0].at >= s.now {
			s.plan()
		}
		at := s.queue[0].at
		if at >= s.end {
			return p, io.EOF
		}
		if s.closed.Load() {
			return p, os.ErrClosed
		}
		if s.end == math.MaxInt64 && at > s.wall {
			if !s.await(at) {
				return p, capture.ErrTimeout
			}
		}
		id := s.queue[0].talk
		t := &s.talks[id]
		mine := s.config.Part.has(t)
		in, out := s.config.Part.interfaces(t)
		length, back := s.write(t, mine)
		if back {
			in, out = out, in
		}
		if gap := s.advance(t); gap >= 0 {
			s.queue[0].at = at + gap
			s.sink()
		} else {
			s.free = append(s.free, id)
			last := len(s.queue) - 1
			s.queue[0] = s.queue[last]
			s.queue = s.queue[:last]
			s.sink()
		}
		if !mine {
			continue
		}
		s.packets.Add(1)
		held := min(length, SnapLen)
		return capture.Packet{Data: s.frame[:held], Time: at, Length: uint32(length), Link: linkEthernet, InIf: in, OutIf: out}, nil
	}
}

// await waits for the wall clock to reach at, no longer than waitMax, and reports
// whether it has.
func (s *Source) await(at int64) bool {
	s.wall = time.Now().UnixNano()
	if at <= s.wall {
		return true
	}
	if !s.waited {
		s.waited = true
		close(s.live)
	}
	wait := time.Duration(at - s.wall)
	if wait > waitMax {
		time.Sleep(waitMax)
		return false
	}
	time.Sleep(wait)
	s.wall = time.Now().UnixNano()
	return at <= s.wall
}

// Live is closed when the Source has caught up with the wall clock.
func (s *Source) Live() <-chan struct{} { return s.live }

// LinkType returns LINKTYPE_ETHERNET.
func (s *Source) LinkType() uint32 { return linkEthernet }

// Stats returns how many packets were made; none is ever dropped.
func (s *Source) Stats() capture.Stats { return capture.Stats{Packets: s.packets.Load()} }

// Close ends the Source: a read, once it has waited its time, gives os.ErrClosed.
func (s *Source) Close() error {
	s.closed.Store(true)
	return nil
}

// plan starts what begins in the second at s.now, and moves on.
func (s *Source) plan() {
	second := s.now
	if m := floorDiv(second, int64(time.Minute)); m != s.minute {
		s.minute = m
		local := time.Unix(0, second).In(s.location)
		s.levels = levelsAt(local)
		for i := range acts {
			s.quiet[i] = math.Exp(-acts[i].rate * s.levels[acts[i].rhythm])
		}
	}
	for i := range acts {
		// Knuth's way to a Poisson number: multiply until below e^-rate.
		for p := s.uniform(); p > s.quiet[i]; p *= s.uniform() {
			s.begin(int32(i), second+s.within(int64(time.Second)))
		}
	}
	if inBurst(s.config.Seed, second) {
		for range burstRate {
			s.begin(actReports, second+s.within(int64(time.Second)))
		}
	}
	s.now = second + int64(time.Second)
}

// begin starts a conversation of the i-th act at a time.
func (s *Source) begin(i int32, at int64) {
	a := &acts[i]
	t := talk{act: i, client: s.member(a.clients), server: s.member(a.servers)}
	for t.server == t.client { // nobody talks to itself
		t.client, t.server = s.member(a.clients), s.member(a.servers)
	}
	t.left = s.length(a.packets)
	if a.oneIn > 1 && s.within(int64(a.oneIn)) != 0 {
		t.left = 1 // the answer never comes
	}
	t.reset = a.protocol == tcp && s.within(resetOneIn) == 0
	t.v6 = hosts[t.client].v6 != [16]byte{} && hosts[t.server].v6 != [16]byte{} && s.uniform() < a.v6
	switch {
	case i == actReports:
		if s.lookup++; s.lookup < 1024 {
			s.lookup = 1024
		}
		t.port = s.lookup
	default:
		if s.ephemeral++; s.ephemeral < 32768 {
			s.ephemeral = 32768
		}
		t.port = s.ephemeral
	}
	if a.fixedPort {
		t.port = a.port
	}
	t.seq[0], t.seq[1] = uint32(s.random.Uint64()), uint32(s.random.Uint64())
	s.start(t, at)
}

// start puts a talk into the queue.
func (s *Source) start(t talk, at int64) {
	var id int32
	if n := len(s.free); n > 0 {
		id = s.free[n-1]
		s.free = s.free[:n-1]
		s.talks[id] = t
	} else {
		id = int32(len(s.talks))
		s.talks = append(s.talks, t)
	}
	s.queue = append(s.queue, due{at, id})
	for i := len(s.queue) - 1; i > 0; {
		up := (i - 1) / 2
		if s.queue[up].at <= s.queue[i].at {
			break
		}
		s.queue[up], s.queue[i] = s.queue[i], s.queue[up]
		i = up
	}
}

// sink puts the queue's first element where it belongs.
func (s *Source) sink() {
	q := s.queue
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(q) {
			return
		}
		if c+1 < len(q) && q[c+1].at < q[c].at {
			c++
		}
		if q[i].at <= q[c].at {
			return
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

// length returns a number of p in which each doubling is as likely as the next: many
// are short and few long, as conversations are.
func (s *Source) length(p span) int32 {
	return int32(float64(p.lo) * math.Pow(float64(p.hi+1)/float64(p.lo), s.uniform()))
}

// within returns a number from 0 up to but not including n.
func (s *Source) within(n int64) int64 { return int64(s.uniform() * float64(n)) }

// uniform returns a number from 0 up to but not including 1.
func (s *Source) uniform() float64 { return float64(s.random.Uint64()>>11) / (1 << 53) }

// exponential returns a waiting time of the mean, cut at eight times it.
func (s *Source) exponential(mean int64) int64 {
	return int64(float64(mean) * min(8, -math.Log(1-s.uniform())))
}

func (s *Source) member(g group) int32 { return g.first + int32(s.within(int64(g.count))) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
