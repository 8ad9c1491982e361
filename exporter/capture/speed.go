package capture

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/gopacket"
)

// pacedBatch is how many packets Paced reads ahead, and pacedWait how long it
// waits before it gives ErrTimeout.
const (
	pacedBatch = 256
	pacedWait  = 100 * time.Millisecond
)

// ParseSpeed returns how many seconds of a capture one second is to take: "1x",
// "10x", "0.5x", and 0, which is as fast as it goes, for "max".
func ParseSpeed(s string) (factor float64, err error) {
	if s == "max" {
		return 0, nil
	}
	number, x := strings.CutSuffix(s, "x")
	factor, err = strconv.ParseFloat(number, 64)
	if err != nil || !x || !(factor >= 1e-6 && factor <= 1e6) {
		return 0, fmt.Errorf("capture: speed %q: want max, or how many times the capture's own speed, such as 1x or 10x", s)
	}
	return factor, nil
}

// Paced gives the packets of a file factor times as fast as they were captured,
// where the file can be read so fast: each when its time since the first one has
// passed. While it waits it gives ErrTimeout like a quiet interface. A factor of
// 0 or less is src itself: as fast as it goes.
//
// A packet older than one before it comes at once, and a capture with a gap of a
// year waits for a year.
func Paced(src Source, factor float64) Source {
	if !(factor > 0) {
		return src
	}
	return &paced{src: Batch(src), factor: factor, now: time.Now, closed: make(chan struct{})}
}

// paced is a Source that is held back.
type paced struct {
	src    Batcher
	factor float64
	now    func() time.Time
	begun  time.Time // when the first packet was given
	first  int64     // its own time

	packets  [pacedBatch]Packet
	next, n  int
	link     uint32
	one      [1]Packet
	timer    *time.Timer
	closed   chan struct{}
	closing  sync.Once
	closeErr error
}

func (p *paced) Unwrap() Source { return p.src }

func (p *paced) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := p.ReadBatch(p.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return p.one[0].Data, p.one[0].info(), nil
}

func (p *paced) ReadBatch(dst []Packet) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	if p.next == p.n {
		p.next, p.n = 0, 0
		n, err := p.src.ReadBatch(p.packets[:])
		if n == 0 {
			return 0, err
		}
		p.n = n
	}
	now := p.now()
	if p.begun.IsZero() {
		p.begun, p.first = now, p.packets[p.next].Time
	}
	if due := p.due(&p.packets[p.next]); due > now.Sub(p.begun) {
		if !p.wait(due - now.Sub(p.begun)) {
			return 0, ErrTimeout
		}
		now = p.now()
	}
	n := 0
	for n < len(dst) && p.next < p.n && p.due(&p.packets[p.next]) <= now.Sub(p.begun) {
		dst[n] = p.packets[p.next]
		n++
		p.next++
	}
	if n == 0 {
		return 0, ErrTimeout
	}
	p.link = dst[n-1].Link
	return n, nil
}

// due is when a packet is, since the first one was given.
func (p *paced) due(q *Packet) time.Duration {
	return time.Duration(max(0, min((float64(q.Time)-float64(p.first))/p.factor, math.MaxInt64/2)))
}

// wait waits, but not for long, and says whether the time has passed.
func (p *paced) wait(d time.Duration) bool {
	limited := min(d, pacedWait)
	if p.timer == nil {
		p.timer = time.NewTimer(limited)
	} else {
		p.timer.Reset(limited)
	}
	select {
	case <-p.timer.C:
		return limited == d
	case <-p.closed:
		p.timer.Stop()
		p.next, p.n = 0, 0 // the next read asks the Source, which says so
		return false
	}
}

// LinkType is that of the packet last given, and before the first the Source's.
func (p *paced) LinkType() uint32 {
	if p.link == 0 {
		return p.src.LinkType()
	}
	return p.link
}

func (p *paced) Stats() Stats { return p.src.Stats() }

func (p *paced) Close() error {
	p.closing.Do(func() {
		close(p.closed)
		p.closeErr = p.src.Close()
	})
	return p.closeErr
}

// Shifted gives the packets of src with their times moved by one and the same
// difference, so that the first one has the time now.
func Shifted(src Source, now time.Time) Source {
	return &shifted{src: Batch(src), now: now.UnixNano()}
}

// shifted is a Source with other times.
type shifted struct {
	src   Batcher
	now   int64
	by    int64
	begun bool
	one   [1]Packet
}

func (s *shifted) Unwrap() Source { return s.src }

func (s *shifted) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	if _, err := s.ReadBatch(s.one[:]); err != nil {
		return nil, gopacket.CaptureInfo{}, err
	}
	return s.one[0].Data, s.one[0].info(), nil
}

func (s *shifted) ReadBatch(dst []Packet) (int, error) {
	n, err := s.src.ReadBatch(dst)
	if n > 0 && !s.begun {
		s.begun, s.by = true, s.now-dst[0].Time
	}
	for i := range dst[:n] {
		p := &dst[i]
		if t := p.Time + s.by; s.by > 0 && t < p.Time {
			p.Time = math.MaxInt64
		} else if s.by < 0 && t > p.Time {
			p.Time = math.MinInt64
		} else {
			p.Time = t
		}
	}
	return n, err
}

func (s *shifted) LinkType() uint32 { return s.src.LinkType() }
func (s *shifted) Stats() Stats     { return s.src.Stats() }
func (s *shifted) Close() error     { return s.src.Close() }
