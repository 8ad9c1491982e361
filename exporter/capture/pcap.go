package capture

import (
	"encoding/binary"
	"fmt"
	"io"
)

// pcap reads the classic format (draft-ietf-opsawg-pcap): a file header and
// records. It is our own reader and not gopacket's pcapgo because that one cuts
// the link type to eight bits, refuses every packet of a file whose snap length
// is 0, loses its place at a packet longer in the file than on the wire, reports
// a file that ends behind a record's header as complete, and takes four times as
// long. The tests hold the two side by side.
type pcap struct {
	w *window
	pcapKind
	link    uint32
	swapped swapping
	number  uint64 // of packets read
}

// pcapKind is what a file's magic tells.
type pcapKind struct {
	big      bool
	fraction int64 // nanoseconds in the unit of a record's fraction of a second
	record   int   // octets of a record's header
}

// swapping is what of a record's two lengths comes first.
type swapping uint8

const (
	capturedFirst swapping = iota
	lengthFirst            // before version 2.3
	smallerFirst           // version 2.3 was written in both ways
)

const (
	pcapHeader     = 24
	recordHeader   = 16
	modifiedHeader = 24 // of a record with the interface, protocol and packet type
)

// pcapKinds are the magics: of micro- and nanoseconds and of Kuznetzov's
// modified format, in either order.
var pcapKinds = map[[4]byte]pcapKind{
	{0xd4, 0xc3, 0xb2, 0xa1}: {false, 1000, recordHeader},
	{0xa1, 0xb2, 0xc3, 0xd4}: {true, 1000, recordHeader},
	{0x4d, 0x3c, 0xb2, 0xa1}: {false, 1, recordHeader},
	{0xa1, 0xb2, 0x3c, 0x4d}: {true, 1, recordHeader},
	{0x34, 0xcd, 0xb2, 0xa1}: {false, 1000, modifiedHeader},
	{0xa1, 0xb2, 0xcd, 0x34}: {true, 1000, modifiedHeader},
}

func newPcap(w *window, kind pcapKind) (*pcap, error) {
	if err := w.fill(pcapHeader); err != nil {
		return nil, fmt.Errorf("cut inside the file header: %w", noEOF(err))
	}
	p := &pcap{w: w, pcapKind: kind}
	header := w.rest()
	version := p.u32(header[4:])
	major, minor := version&0xffff, version>>16
	if p.big {
		major, minor = minor, major
	}
	switch {
	case major != 2 || minor > 4:
		return nil, formatErrorf("pcap version %d.%d is not supported, only 2.0 to 2.4: convert it with 'editcap -F pcap'", major, minor)
	case minor < 3:
		p.swapped = lengthFirst
	case minor == 3:
		p.swapped = smallerFirst
	}
	// The snap length does not matter: files exceed it, or say 0. The upper six
	// bits of the link type tell of the frame check sequence.
	p.link = p.u32(header[20:]) & 0x03ffffff
	w.at += pcapHeader
	return p, nil
}

// u32 is a number in the file's byte order.
func (p *pcap) u32(b []byte) uint32 {
	if p.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (p *pcap) batch(dst []Packet) (n int, err error) {
	w := p.w
	for n < len(dst) {
		rest := w.rest()
		if len(rest) < p.record {
			if n > 0 {
				break
			}
			if err := w.fill(p.record); err != nil {
				if err == io.EOF && w.at == w.end {
					return 0, io.EOF
				}
				return 0, p.fail(err)
			}
			rest = w.rest()
		}
		h := rest[:recordHeader]
		captured, length := p.u32(h[8:]), p.u32(h[12:])
		if p.swapped == lengthFirst || p.swapped == smallerFirst && captured > length {
			captured, length = length, captured
		}
		if captured > MaxPacket {
			if n > 0 {
				break
			}
			return 0, formatErrorf("packet %d at octet %d claims to hold %d octets, more than the %d that are read", p.number+1, w.offset(), captured, MaxPacket)
		}
		end := p.record + int(captured)
		if len(rest) < end {
			if n > 0 {
				break
			}
			if err := w.fill(end); err != nil {
				return 0, p.fail(err)
			}
			rest = w.rest()
			h = rest[:recordHeader]
		}
		d := &dst[n]
		d.Data = rest[p.record:end:end]
		d.Time = int64(p.u32(h))*1e9 + int64(p.u32(h[4:]))*p.fraction
		d.Length = max(captured, length) // some files have more than there was
		d.Link = p.link
		d.Segments, d.Headers = 0, 0
		if p.record == modifiedHeader {
			d.seen(p.u32(rest[16:]), ofPacketType(rest[22]))
		} else {
			d.InIf, d.OutIf, d.Direction = 0, 0, Unknown
		}
		w.at += end
		n++
		p.number++
	}
	return n, nil
}

// fail says where a read failed.
func (p *pcap) fail(err error) error {
	if err = noEOF(err); err == io.ErrUnexpectedEOF {
		return fmt.Errorf("cut inside packet %d, which begins at octet %d: %w", p.number+1, p.w.offset(), err)
	}
	return fmt.Errorf("packet %d at octet %d: %w", p.number+1, p.w.offset(), err)
}
