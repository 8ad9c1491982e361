package collector

import (
	"math"
	"slices"

	"flowtally/flow"
)

// A message carries a sequence number that says how much its session sent
// before: flows in v5, messages in v9, Data Records in IPFIX. From it a collector
// knows what is missing. The difficulty is to count nothing as missing that is
// only late, sent twice, not understood, or sent by an exporter that began again.
//
// numbering follows one session. It is pure: time is an argument.

const (
	// lateTime is how long a number that was passed over may still come before
	// it counts as missing.
	lateTime = 3 * flow.Second
	// maxHoles bounds the ranges of numbers that may be awaited at once. Beyond,
	// the oldest counts as missing.
	maxHoles = 64
	// bootSlack is how far the times of start in two messages of one run of an
	// exporter may be apart: v9 states the export time in whole seconds.
	bootSlack = 10 * flow.Second
	// certain and doubtful are how many messages in a row must follow one that
	// cannot belong to the numbering, before they are taken for a new beginning:
	// when nothing else speaks for late copies, and when something does.
	certain, doubtful = 2, 8
	// nearBack is how far back late copies may come from.
	nearBack = 1 << 16
	// beginning is below which numbers are those of a session that began just now.
	beginning = 1 << 12
	// returnTime is how long a numbering that was given up may still prove to
	// be the right one.
	returnTime = 10 * flow.Second
)

// arrival is what matters of a message to the numbering of its session.
type arrival struct {
	// seq is the message's number, n its Data Records, options of these those that
	// are of options; exact says that n is all of them: there was no Set whose
	// records could not be counted.
	seq        uint32
	n, options uint32
	templates  uint32
	exact      bool
	// dropped are datagrams that the kernel dropped of late, of whomever, and which
	// no gap explains yet; nil is none.
	dropped *uint64
	// boot is when the exporter says that it started, 0 when it does not say.
	boot flow.Time
	now  flow.Time
}

// hole is a range of numbers, to excluded, that were passed over.
type hole struct {
	from, to uint32
	at       flow.Time
}

// track is a run of numbers with the holes in it.
type track struct {
	next  uint32 // what the next message is to carry
	first uint32 // what the first one carried
	// uncounted: the last message held records that could not be counted, so
	// next is only the least that the next message may carry.
	uncounted bool
	boot      flow.Time
	since     flow.Time // when it began
	last      flow.Time // when it last went on
	messages  int       // that belong to it
	holes     []hole
}

func begin(a arrival) *track {
	return &track{next: a.seq + a.n, first: a.seq, uncounted: !a.exact, boot: a.boot, since: a.now, last: a.now, messages: 1}
}

// ahead returns how far the message is ahead of what was expected, negative when
// it is behind, and whether it can have been sent in the time that passed.
func (t *track) ahead(a arrival, p *tempo) (d int64, believable bool) {
	d = int64(int32(a.seq - t.next))
	if d <= 0 {
		return d, false
	}
	// A session at more than 2^31 numbers in one pause is what Gap excludes.
	_, believable = flow.Gap(t.next, a.seq, a.now-t.last)
	return d, believable && (t.uncounted || p.believes(uint64(d), a))
}

// take lets a message belong to the track when it can: it goes on where the
// track stands, or ahead of it, or fills a hole. lost is what had to be given up
// to remember a new hole.
func (t *track) take(a arrival, p *tempo) (ok bool, lost uint64) {
	again := !sameRun(t.boot, a.boot)
	d, believable := int64(0), false
	if a.seq != t.next && !again {
		d, believable = t.ahead(a, p)
	}
	switch {
	case a.seq == t.next:
	case again: // and fills no hole of the run before
		return false, 0
	case believable:
		if !t.uncounted { // else the gap is what could not be counted
			lost = t.open(hole{t.next, a.seq, a.now})
		}
	case d > 0:
		return false, 0
	default:
		if ok, lost = t.fill(a); ok {
			t.messages++
			p.claim.left += float64(a.n) // which came
		}
		return ok, lost
	}
	t.next, t.uncounted = a.seq+a.n, !a.exact
	t.last = a.now
	if a.boot != 0 {
		t.boot = a.boot
	}
	t.messages++
	return true, lost
}

// clone returns a copy, nil of nil.
func (t *track) clone() *track {
	if t == nil {
		return nil
	}
	c := *t
	c.holes = slices.Clone(t.holes)
	return &c
}

// open remembers a hole.
func (t *track) open(h hole) (lost uint64) {
	if len(t.holes) == maxHoles {
		lost = uint64(t.holes[0].to - t.holes[0].from)
		t.holes = slices.Delete(t.holes, 0, 1)
	}
	t.holes = append(t.holes, h)
	return lost
}

// fill lets a late message fill what it can of the hole that it left.
func (t *track) fill(a arrival) (ok bool, lost uint64) {
	for i, h := range t.holes {
		if int32(a.seq-h.from) < 0 || int32(a.seq-h.to) >= 0 {
			continue
		}
		end := a.seq + a.n
		if !a.exact || int32(end-h.to) > 0 {
			end = h.to // what it held besides is not known to be missing
		}
		switch {
		case a.seq == h.from && end == h.to:
			t.holes = slices.Delete(t.holes, i, i+1)
		case a.seq == h.from:
			t.holes[i].from = end
		case end == h.to:
			t.holes[i].to = a.seq
		default:
			t.holes[i].to = a.seq
			rest := hole{end, h.to, h.at}
			if len(t.holes) == maxHoles {
				lost = uint64(t.holes[0].to - t.holes[0].from)
				t.holes = slices.Delete(t.holes, 0, 1)
				i--
			}
			t.holes = slices.Insert(t.holes, i+1, rest)
		}
		return true, lost
	}
	return false, 0
}

// anew reports whether an exporter that stood at t started again when it sends a
// number with a time of start. Numbers that jump, or come late, prove nothing.
func (t *track) anew(boot flow.Time, seq uint32) bool {
	return !sameRun(t.boot, boot) && boot > t.boot || seq < beginning && int32(seq-t.next) < 0
}

// expire gives up holes that are older than lateTime and returns their sum.
func (t *track) expire(now flow.Time) (lost uint64) {
	t.holes = slices.DeleteFunc(t.holes, func(h hole) bool {
		if now-h.at < lateTime {
			return false
		}
		lost += uint64(h.to - h.from)
		return true
	})
	return lost
}

// flush gives up all holes.
func (t *track) flush() uint64 { return t.expire(math.MaxInt64 / 2) }

// sameRun reports whether two times of start are of one run of an exporter. Its
// uptime, from which they are computed, starts again every 2^32 ms.
func sameRun(x, y flow.Time) bool {
	if x == 0 || y == 0 {
		return true
	}
	const wrap = 1 << 32
	d := (x - y) % wrap
	if d < 0 {
		d = -d
	}
	return d <= bootSlack || wrap-d <= bootSlack
}

// numbering follows the sequence numbers of one session. The zero value awaits
// the first message, which sets the base.
type numbering struct {
	habits
	main *track
	// rival is a numbering that recent messages seem to follow instead, as when
	// the exporter began again; copies that come late look the same at first.
	rival *track
	// former is the numbering that a rival took over from.
	former    *track
	takenOver flow.Time
	recalled  bool // main is what an earlier run of the collector left
	inOrder   int  // messages that followed their predecessor
	tempo     tempo
}

// numbered returns the numbering of a new session of which nothing is known but
// what its version's specification says.
func numbered(h flow.Numbering) numbering {
	return numbering{habits: habits{habit: h}, tempo: tempo{records: !h.Messages()}}
}

// datagrams reports whether messages are counted rather than records.
func (s *numbering) datagrams() bool { return s.habit.Messages() }

// verdict is what a message told.
type verdict struct {
	// lost is how much is now known to be missing.
	lost uint64
	// duplicates are messages that came before, or too late to be missed; fewer
	// than none when ones counted before were not.
	duplicates int64
	// restarts is 1 when the exporter began to count anew, -1 when it turned out
	// that it had not. unexplained are those of them that look like a gap of more
	// than the exporter can have sent.
	restarts, unexplained int
	// anew says that the exporter itself started again: its uptime is new, or its
	// numbers began where those of a new session do.
	anew   bool
	anewAt flow.Time
}

func (v *verdict) add(x verdict) {
	v.lost += x.lost
	v.duplicates += x.duplicates
	v.restarts += x.restarts
	v.unexplained += x.unexplained
	if x.anew {
		v.anew, v.anewAt = true, x.anewAt
	}
}

// recall sets the base that an earlier run of the collector left, and the holes
// before it, for which nothing will come any more.
func (s *numbering) recall(q *flow.Sequence) {
	s.main = &track{next: q.Next, last: q.At, messages: 1}
	for _, h := range q.Holes[max(0, len(q.Holes)-maxHoles):] {
		s.main.holes = append(s.main.holes, hole{h.From, h.To, longAgo})
	}
	if q.Numbering != flow.NumberingUnknown && q.Numbering < flow.Numberings {
		s.habit, s.sure = q.Numbering, true
	}
	s.tempo.records = !s.datagrams()
	s.tempo.recall(q)
	s.recalled = true
}

// longAgo is before anything that lateTime could hold up.
const longAgo flow.Time = math.MinInt64 / 4

// holes returns what was passed over and is still awaited.
func (s *numbering) holes() (list []flow.Hole) {
	for _, h := range s.main.holes {
		list = append(list, flow.Hole{From: h.from, To: h.to})
	}
	return list
}

// observe takes the numbers of one message. explained says that they are what the
// last message let expect.
func (s *numbering) observe(a arrival) (v verdict, explained bool) {
	if s.seen == 0 {
		s.first = a.now
	}
	best := s.habit
	if s.seen > 0 {
		best, explained = s.weigh(&a)
	}
	lost := s.follow(a)
	if best != s.habit {
		return s.turn(best), true
	}
	recalled := s.recalled
	v = s.count(a)
	if s.before != nil {
		if !recalled {
			s.withheld += v.lost
			v.lost = 0
		}
		s.told.add(v)
	}
	v.lost += lost
	return v, explained
}

// count takes a message by the habit that is believed.
func (s *numbering) count(a arrival) (v verdict) {
	before := s.last
	s.last = a
	s.seen++
	a = normal(s.habit, a)
	if s.main == nil {
		s.main = begin(a)
		s.tempo.add(uint64(a.n), a.now)
		return v
	}
	defer s.tempo.add(uint64(a.n), a.now)
	d := int64(int32(a.seq - s.main.next))
	if d == 0 && a.n > 0 {
		s.inOrder++
	}
	if a.n == 0 && d < 0 {
		return v // a late message of templates says nothing
	}
	if s.former != nil && d != 0 && s.former.next == a.seq {
		// The new beginning was a string of late copies.
		v.duplicates = int64(s.main.messages)
		v.restarts = -1
		s.main, s.former, s.rival = s.former, nil, nil
		s.main.take(a, &s.tempo)
		return v
	}
	if ok, lost := s.main.take(a, &s.tempo); ok {
		v.lost = lost
		if d < 0 {
			s.last = before // which it comes after, and says nothing of the next one
		}
		if s.recalled && (!s.datagrams() || s.sure) {
			// What was sent while nobody listened, or lost with the last run, does
			// not come late. What a v9 exporter counts has to show first.
			v.lost += s.main.flush()
		}
		s.recalled = false
		if s.rival != nil {
			v.duplicates = int64(s.rival.messages)
			s.rival = nil
		}
		return v
	}
	jump := 0
	if d > 0 && sameRun(s.main.boot, a.boot) {
		jump = 1
	}
	if s.recalled {
		// It began again while nobody listened.
		s.recalled = false
		v.lost += s.main.flush()
		v.anew, v.anewAt = s.main.anew(a.boot, a.seq), a.now
		s.main = begin(a)
		v.restarts, v.unexplained = 1, jump
		return v
	}
	if s.rival != nil {
		if ok, lost := s.rival.take(a, &s.tempo); !ok {
			v.duplicates = int64(s.rival.messages)
			s.rival = nil
		} else {
			v.lost = lost
		}
	}
	if s.rival == nil {
		s.rival = begin(a)
	}
	began, sure := s.began(a, d)
	if !began {
		return v
	}
	if s.former != nil {
		v.lost += s.former.flush()
	}
	s.former, s.takenOver = s.main, a.now
	if sure {
		v.lost += s.main.flush()
		s.former = nil
	}
	v.anew, v.anewAt = s.main.anew(a.boot, s.rival.first), s.rival.since
	s.main, s.rival = s.rival, nil
	v.restarts, v.unexplained = 1, jump
	return v
}

// began reports whether the rival has shown to be a new beginning, and whether
// that is sure or may be taken back.
func (s *numbering) began(a arrival, d int64) (began, sure bool) {
	switch {
	case !sameRun(s.main.boot, a.boot) && a.boot > s.main.boot:
		return true, true
	case a.now-s.main.last < lateTime && d < 0 && d > -nearBack:
		return s.rival.messages >= doubtful, false
	}
	return s.rival.messages >= certain, true
}

// expire returns what is now known to be missing: nothing, while it is in doubt
// what the numbers count.
func (s *numbering) expire(now flow.Time) (lost uint64) {
	if s.main == nil || s.doubtful(now) && (s.before == nil || now-s.before.at <= doubtTime) {
		return 0
	}
	return s.giveUp(now)
}

// giveUp returns what is missing when nothing comes any more that is as late as
// now.
func (s *numbering) giveUp(now flow.Time) (lost uint64) {
	if s.main == nil {
		return 0
	}
	lost, s.withheld = s.withheld, 0
	lost += s.main.expire(now)
	if s.former != nil {
		lost += s.former.expire(now)
		if now-s.takenOver > returnTime {
			s.former = nil
		}
	}
	return lost
}

// pending reports whether there is something that expire may find missing.
func (s *numbering) pending() bool {
	return s.main != nil && len(s.main.holes) > 0 || s.former != nil
}

// awaited returns how much was passed over and may still come.
func (s *numbering) awaited() (n uint64) {
	if s.main != nil {
		for _, h := range s.main.holes {
			n += uint64(h.to - h.from)
		}
	}
	return n
}

// settle believes the habit that explains most, when nothing more will come.
func (s *numbering) settle() (v verdict) {
	if s.before != nil {
		if _, most := s.leading(); most >= convincedSoon {
			if best := s.review(nil); best != s.habit {
				return s.turn(best)
			}
		}
	}
	return v
}

// flush returns what is missing, without waiting for what may still come.
func (s *numbering) flush() uint64 { return s.giveUp(math.MaxInt64 / 2) }
