package exporter

import (
	"fmt"
	"sync/atomic"
	"time"

	"flowtally/exporter/capture"

	"github.com/google/gopacket"
	"golang.org/x/net/bpf"
)

// Filtered gives the packets of src that a filter wants, which compile makes a
// program of for each link type that comes: the interfaces of one pcapng file,
// and the clients of a mirror tunnel, may differ. A link type that it cannot be
// compiled for is an error of the read. See capture.Filtered, which is for one
// link type.
func Filtered(src capture.Source, compile func(link uint32) ([]bpf.RawInstruction, error)) capture.Source {
	return &filtered{Batcher: capture.Batch(src), compile: compile, programs: map[uint32]*program{}}
}

// filtered is a Source behind a program for each link type.
type filtered struct {
	capture.Batcher
	compile  func(link uint32) ([]bpf.RawInstruction, error)
	programs map[uint32]*program
	refused  atomic.Uint64
	link     uint32
	one      [1]capture.Packet
}

// program is the filter for one link type, in front of the packets it is fed.
type program struct {
	fed
	filter capture.Batcher
}

// fed gives the packets it was given.
type fed struct {
	capture.Source
	packets []capture.Packet
}

func (f *fed) ReadBatch(dst []capture.Packet) (int, error) {
	if len(f.packets) == 0 {
		return 0, capture.ErrTimeout
	}
	n := copy(dst, f.packets)
	f.packets = f.packets[n:]
	return n, nil
}

// Unwrap is for capture.As.
func (f *filtered) Unwrap() capture.Source { return f.Batcher }

// ReadBatch implements capture.Batcher.
func (f *filtered) ReadBatch(dst []capture.Packet) (int, error) {
	n, err := f.Batcher.ReadBatch(dst)
	kept := 0
	for i := 0; i < n; {
		link, end := dst[i].Link, i+1
		for end < n && dst[end].Link == link {
			end++
		}
		p, perr := f.program(link)
		if perr != nil {
			return kept, perr
		}
		p.packets = dst[i:end]
		// What is kept lies in front of what is still to be looked at.
		k, _ := p.filter.ReadBatch(dst[kept : kept+end-i])
		f.refused.Add(uint64(end - i - k))
		kept, i = kept+k, end
	}
	if kept > 0 {
		f.link = dst[kept-1].Link
	}
	return kept, err
}

// program returns the program for a link type.
func (f *filtered) program(link uint32) (*program, error) {
	if p := f.programs[link]; p != nil {
		return p, nil
	}
	code, err := f.compile(link)
	if err != nil {
		return nil, err
	}
	p := &program{fed: fed{Source: f.Batcher}}
	filter, err := capture.Filtered(&p.fed, code)
	if err != nil {
		return nil, fmt.Errorf("filter for link type %d: %w", link, err)
	}
	p.filter = capture.Batch(filter)
	f.programs[link] = p
	return p, nil
}

// ZeroCopyReadPacketData implements capture.Source.
func (f *filtered) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	for {
		n, err := f.ReadBatch(f.one[:])
		if n == 0 && err == nil {
			continue
		}
		if n == 0 {
			return nil, gopacket.CaptureInfo{}, err
		}
		p := &f.one[0]
		return p.Data, gopacket.CaptureInfo{
			Timestamp: time.Unix(0, p.Time).UTC(), CaptureLength: len(p.Data), Length: int(p.Length), InterfaceIndex: int(p.InIf),
		}, nil
	}
}

// LinkType implements capture.Source.
func (f *filtered) LinkType() uint32 {
	if f.link == 0 {
		return f.Batcher.LinkType()
	}
	return f.link
}

// Stats implements capture.Source.
func (f *filtered) Stats() capture.Stats {
	s := f.Batcher.Stats()
	s.Filtered += f.refused.Load()
	return s
}
