// Package capture is where packets come from: a capture file, standard input or
// a live interface, each one Source.
//
// It hands out octets, a time and a link type, and looks no deeper than the
// frame's envelope; what the octets mean is package packet's. Nothing here is
// safe for concurrent use but Close, which may be called from anywhere and wakes
// a reader that waits.
//
// Files are read by gopacket's pcapgo behind a check of every header (see
// NewReader): a stranger's file costs a bounded amount of memory and ends in an
// error that says where it went wrong.
package capture

import (
	"errors"
	"time"

	"github.com/google/gopacket"
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
	// Stats are the kernel's counters since the Source was opened; zero for
	// files.
	Stats() Stats
	// Close ends the Source; a waiting read returns an error that is
	// os.ErrClosed.
	Close() error
}

// Stats are the counters of the kernel's side of a live capture.
type Stats struct {
	// Packets is what the kernel saw for us, Drops what of it found no room in
	// the ring and is lost.
	Packets, Drops uint64
}

// ErrTimeout says that no packet came for a while. It is no failure: it gives
// the reader an occasion to do what is due.
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
	BufferBytes int
	// Timeout is after how long a quiet interface gives ErrTimeout and a
	// half-filled block of the ring is handed over; 0 is 100 ms.
	Timeout time.Duration
	// IgnoreOutgoing leaves out what this host itself sends on the interface.
	// The loopback interface needs it, or every packet comes twice.
	IgnoreOutgoing bool
}
