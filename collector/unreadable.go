package collector

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"flowtally/flow"
)

const (
	// maxUnreadable is how many addresses that send what cannot be read are
	// remembered; the one that was silent for longest gives way.
	maxUnreadable = 256
	// shownBytes is how much of a datagram is shown.
	shownBytes = 16
	// namedAtOnce is how many of them one line of the log names.
	namedAtOnce = 4
)

// unreadable remembers who sends what cannot be read, so that it can be found. Its
// methods are safe for concurrent use.
type unreadable struct {
	mu      sync.Mutex
	senders map[flow.Addr]*flow.Unreadable
	changed map[flow.Addr]bool // since the last report
	unsaid  map[flow.Addr]bool // since the last line of the log
	said    time.Time
}

func newUnreadable() *unreadable {
	return &unreadable{senders: map[flow.Addr]*flow.Unreadable{}, changed: map[flow.Addr]bool{}, unsaid: map[flow.Addr]bool{}}
}

// add notes what an address sent, and why it could not be read.
func (u *unreadable) add(from netip.Addr, now flow.Time, b []byte, why error) {
	a := flow.AddrFrom(from)
	u.mu.Lock()
	defer u.mu.Unlock()
	x := u.senders[a]
	if x == nil {
		if len(u.senders) >= maxUnreadable {
			u.forget()
		}
		x = &flow.Unreadable{Addr: a, FirstSeen: now}
		u.senders[a] = x
	}
	x.LastSeen = now
	x.Datagrams++
	x.First = slices.Clone(b[:min(len(b), shownBytes)])
	x.Guess = guess(b)
	if why != nil {
		x.Error = firstLine(why)
	}
	u.changed[a], u.unsaid[a] = true, true
}

func (u *unreadable) forget() {
	var oldest *flow.Unreadable
	for _, x := range u.senders {
		if oldest == nil || x.LastSeen < oldest.LastSeen {
			oldest = x
		}
	}
	delete(u.senders, oldest.Addr)
	delete(u.changed, oldest.Addr)
	delete(u.unsaid, oldest.Addr)
}

// take returns those that sent something since the last call.
func (u *unreadable) take() (list []flow.Unreadable) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for a := range u.changed {
		list = append(list, *u.senders[a])
	}
	clear(u.changed)
	return list
}

// giveBack undoes take for a report that could not be delivered.
func (u *unreadable) giveBack(list []flow.Unreadable) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, x := range list {
		if u.senders[x.Addr] != nil {
			u.changed[x.Addr] = true
		}
	}
}

// say logs who sent something since the last line, once a minute at most.
func (u *unreadable) say(log *slog.Logger, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.unsaid) == 0 || now.Sub(u.said) < time.Minute {
		return
	}
	u.said = now
	named := slices.SortedFunc(maps.Keys(u.unsaid), func(a, b flow.Addr) int { return bytes.Compare(a[:], b[:]) })
	var senders []string
	for _, a := range named[:min(len(named), namedAtOnce)] {
		x := u.senders[a]
		senders = append(senders, fmt.Sprintf("%v: %d, perhaps %s (%x)", x.Addr, x.Datagrams, x.Guess, x.First))
	}
	log.Warn("somebody sends what cannot be read", "senders", senders, "more", len(named)-len(senders))
	clear(u.unsaid)
}

// guess says what bytes that are no flow export probably are.
func guess(b []byte) string {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[i:]) }
	half := func(i int) int { return int(binary.BigEndian.Uint16(b[i:])) }
	begins := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return bytes.HasPrefix(b, []byte(w)) })
	}
	switch {
	case len(b) < 4:
		return "a fragment"
	case len(b) >= 8 && (word(0) == 2 || word(0) == 4 || word(0) == 5) && (word(4) == 1 || word(4) == 2):
		return fmt.Sprintf("sFlow v%d", word(0))
	case half(0) == 1 || half(0) == 5 || half(0) == 7:
		return fmt.Sprintf("NetFlow v%d that is damaged", half(0))
	case half(0) == 9:
		return "NetFlow v9 that is damaged"
	case half(0) == 10:
		return "IPFIX that is damaged"
	case half(0) == 6 || half(0) == 8:
		return fmt.Sprintf("NetFlow v%d, which is not read here", half(0))
	case b[0] == '<' && b[1] >= '0' && b[1] <= '9' && bytes.IndexByte(b[:min(len(b), 5)], '>') > 1:
		return "syslog"
	case begins("GET ", "HEAD ", "POST ", "PUT ", "HTTP/", "OPTIONS ", "CONNECT ", "PRI * HTTP"):
		return "HTTP"
	case b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 3:
		return "TLS"
	case b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 0xfe:
		return "DTLS"
	case begins("SSH-"):
		return "SSH"
	case b[0] == 0x30 && (b[2] == 2 && b[3] == 1 || len(b) > 5 && b[1]&0x80 != 0 && bytes.Contains(b[2:6], []byte{2, 1})):
		return "SNMP"
	case len(b) >= 20 && half(2) == len(b) && b[0] >= 1 && b[0] <= 5:
		return "RADIUS"
	case len(b) == 48 && b[0]&7 >= 1 && b[0]&7 <= 5:
		return "NTP"
	case len(b) >= 12 && half(4) == 1 && half(6) <= 50 && half(8) <= 50 && half(10) <= 50 && b[2]&0x78 == 0:
		return "DNS"
	case b[0] == '{' || b[0] == '[':
		return "JSON"
	}
	for _, c := range b[:min(len(b), 64)] {
		if (c < ' ' || c > '~') && c != '\n' && c != '\r' && c != '\t' {
			return "no protocol that we know"
		}
	}
	return "text"
}
