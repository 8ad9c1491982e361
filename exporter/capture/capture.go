// Package capture is where packets come from: a capture file, standard input or
// a live interface, each one Source.
//
// It hands out octets, a time and a link type, and looks no deeper than the
// frame's envelope; what the octets mean is package packet's. Nothing here is
// safe for concurrent use but Close, Stats, Interfaces and Position, which may be
// called from anywhere; Close wakes a reader that waits.
//
// # Reading
//
// A Source gives one packet at a time, in gopacket's way, or many at once: Batch
// returns a Batcher for any Source, and the files and rings of this package are
// one already. A loop that counts millions of packets a second reads batches:
//
//	b := capture.Batch(source)
//	packets := make([]capture.Packet, 64)
//	for {
//		n, err := b.ReadBatch(packets)
//		for i := range packets[:n] { … packets[i].Data … }
//		if err != nil { … as of ZeroCopyReadPacketData … }
//	}
//
// # Super-packets
//
// A kernel that aggregates (GRO, TSO, USO) shows many packets of the wire as one
// large frame. Packet.Segments says how many they were and Packet.Headers how
// many octets at the beginning of Data each of them repeated, so that
//
//	packets += p.Segments                                       // when not 0
//	octets  += length + (p.Segments-1) * (p.Headers - offset)   // of IP
//
// counts what was on the wire, where length is what the IP header of the
// super-packet states and offset is where in Data that header begins. See Mode
// for where this cannot be had.
//
// # Sources around sources
//
// Filtered, FilteredByLink, Paced and Shifted wrap a Source. What a Source can do
// beyond reading (Describer, Positioner, Moder) is found through the wrappers
// with As.
package capture

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/gopacket"
	"golang.org/x/net/bpf"
)

// Source is one origin of packets. The octets that ZeroCopyReadPacketData
// returns are valid until the next call of it; it returns io.EOF at the end of a
// file and ErrTimeout when a live interface was quiet for a while, after which
// reading goes on.
type Source interface {
	gopacket.ZeroCopyPacketDataSource
	// LinkType is the LINKTYPE_ number (https://www.tcpdump.org/linktypes.html)
	// of the packet last read; the interfaces of one pcapng file may differ.
	LinkType() uint32
	// Stats are the kernel's counters since the Source was opened, zero for
	// files, and what a filter in process left out.
	Stats() Stats
	// Close ends the Source; a waiting read returns an error that is
	// os.ErrClosed.
	Close() error
}

// Packet is one packet of a batch.
type Packet struct {
	// Data is what was captured of it, from the link header on.
	Data []byte
	// Time is when it was seen, in nanoseconds since 1970.
	Time int64
	// Length is how many octets it had where it was captured, at least len(Data).
	Length uint32
	// Link is the LINKTYPE_ number of its first header.
	Link uint32
	// InIf and OutIf are the ifIndex of the interface it came in by or went out by,
	// where the Source is a Describer; of a packet whose Direction is not known it is
	// InIf. One of them is 0, and both where the interface is not known.
	InIf, OutIf uint32
	// Direction is that of flow.Record: 0 not known, 1 ingress, 2 egress, which are
	// what the capturing machine received and what it sent.
	Direction uint8
	// Segments is how many packets of the wire this one stands for, where the
	// kernel put several together, and 0 or 1 for an ordinary one. Headers is
	// then how many octets of Data, from its beginning, each of them had.
	Segments, Headers uint32
}

// Values of Packet.Direction.
const (
	Unknown uint8 = iota
	Ingress
	Egress
)

// seen notes on which interface p was seen, and in which direction.
func (p *Packet) seen(index uint32, direction uint8) {
	p.InIf, p.OutIf, p.Direction = index, 0, direction
	if direction == Egress {
		p.InIf, p.OutIf = 0, index
	}
}

// ofPacketType returns the direction that Linux's packet type says (packet(7)):
// what this host sends is of type 4.
func ofPacketType(typ uint8) uint8 {
	const outgoing = 4
	if typ == outgoing {
		return Egress
	}
	return Ingress
}

// info is the Packet in gopacket's words.
func (p *Packet) info() gopacket.CaptureInfo {
	return gopacket.CaptureInfo{
		Timestamp:      time.Unix(0, p.Time).UTC(),
		CaptureLength:  len(p.Data),
		Length:         int(p.Length),
		InterfaceIndex: int(max(p.InIf, p.OutIf)),
	}
}

// Batcher is a Source that gives many packets at once.
type Batcher interface {
	Source
	// ReadBatch fills dst with the packets that are there, waiting only where
	// none is, and returns how many it filled in. Their Data is valid until the
	// next read of any kind. An error comes alone: n is 0 with it, and not
	// otherwise.
	ReadBatch(dst []Packet) (n int, err error)
}

// Batch returns s as a Batcher: itself where it is one, or else one that reads a
// packet at a time.
func Batch(s Source) Batcher {
	if b, ok := s.(Batcher); ok {
		return b
	}
	return single{s}
}

// single is a Batcher whose batches are of one packet.
type single struct{ Source }

func (s single) Unwrap() Source { return s.Source }

func (s single) ReadBatch(dst []Packet) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	data, ci, err := s.ZeroCopyReadPacketData()
	if err != nil {
		return 0, err
	}
	dst[0] = Packet{
		Data:   data,
		Time:   ci.Timestamp.UnixNano(),
		Length: uint32(max(ci.Length, len(data))),
		Link:   s.LinkType(),
		InIf:   uint32(ci.InterfaceIndex),
	}
	return 1, nil
}

// As returns what of s, or of the Sources it wraps, is a T: what else a Source
// can do, such as Describer, is found behind a filter, too.
func As[T any](s Source) (t T, ok bool) {
	for s != nil {
		if t, ok = s.(T); ok {
			return t, true
		}
		w, wraps := s.(interface{ Unwrap() Source })
		if !wraps {
			break
		}
		s = w.Unwrap()
	}
	return t, false
}

// Interface is one interface that packets come in by.
type Interface struct {
	// Index is the ifIndex (RFC 2863) that packets carry as
	// CaptureInfo.InterfaceIndex and Packet.InIf or OutIf.
	Index uint32
	// Name is the interface's name, Description what its administrator calls it
	// (ifAlias), empty where nothing is set.
	Name, Description string
}

// Describer is a Source that knows the interfaces of its packets. Interfaces may
// be called from any goroutine; more may appear as time goes on.
type Describer interface{ Interfaces() []Interface }

// Positioner is a Source that knows how far it has read. Position returns how
// many octets of the file were read, compressed ones where it is, and how many
// there are, 0 where nobody knows: standard input, a pipe. It may be called from
// any goroutine.
type Positioner interface {
	Position() (done, total int64)
}

// Mode is how packets are taken off a live interface.
type Mode struct {
	// Ring says that the kernel writes packets to memory that is shared with it
	// (TPACKET_V3). Otherwise each is copied out of the socket's queue
	// (recvmmsg), which costs more per packet.
	Ring bool
	// BufferBytes is the size of the ring or the queue.
	BufferBytes int
	// Segments says that super-packets are counted as the segments they are;
	// otherwise each counts as one.
	Segments bool
	// Reason says why a Mode is not the best one, empty where it is.
	Reason string
}

// String is one line for people.
func (m Mode) String() string {
	s := fmt.Sprintf("ring of %d MiB", m.BufferBytes>>20)
	if !m.Ring {
		s = fmt.Sprintf("socket queue of %d KiB", m.BufferBytes>>10)
	}
	if m.Segments {
		s += ", super-packets counted as their segments"
	} else {
		s += ", super-packets (GRO, TSO) counted as one packet each"
	}
	if m.Reason != "" {
		s += " (" + m.Reason + ")"
	}
	return s
}

// Moder is a Source that says how it takes packets off an interface.
type Moder interface{ Mode() Mode }

// Stats are counters of what a Source did not give.
type Stats struct {
	// Packets is what the kernel saw for us, Drops what of it found no room in
	// the ring and is lost.
	Packets, Drops uint64
	// Filtered is what Filtered left out; what a filter in the kernel leaves
	// out nobody counts.
	Filtered uint64
}

// ErrTimeout says that no packet came for a while. It is no failure: it gives
// the reader an occasion to do what is due. An error that says more, as when an
// interface went down, may be an ErrTimeout too (errors.Is): reading goes on.
var ErrTimeout = errors.New("capture: no packet within the timeout")

// InterfaceConfig says how to capture from an interface. The zero value is
// ready to use.
type InterfaceConfig struct {
	// Promiscuous asks for frames that are addressed to others, as a mirror
	// port delivers them.
	Promiscuous bool
	// SnapLen is how many octets of a frame are kept; 0 keeps 262144, which
	// is all of any frame.
	SnapLen int
	// BufferBytes is the size of the ring that the kernel writes to; 0 is 32 MiB.
	// OpenFanout gives each of its rings as much.
	BufferBytes int
	// Timeout is after how long a quiet interface gives ErrTimeout and a
	// half-filled block of the ring is handed over; 0 is 100 ms.
	Timeout time.Duration
	// IgnoreOutgoing leaves out what this host itself sends on the interface.
	// The loopback interface needs it, or every packet comes twice.
	IgnoreOutgoing bool
	// Filter is a program that the kernel runs on each frame before it is
	// captured, from its link header on (from the IP header where the interface
	// has none). No packet that it does not want is ever seen.
	Filter []bpf.RawInstruction
	// NoRing captures without a ring, as is done where the ring is refused.
	NoRing bool
	// Logger gets that the interface went down, came up again, or that there is
	// no ring; nil logs nothing.
	Logger *slog.Logger
}
