package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"
)

// pcap reads the classic format with pcapgo.Reader, which reads from the same
// buffer as we do: each record's header is looked at before pcapgo gets it.
//
// pcapgo 1.1.19 alone would cut the link type to eight bits, refuse every packet
// of a file whose snap length is 0, lose its place at a packet longer in the file
// than on the wire, and report a file that ends behind a record's header as
// complete.
type pcap struct {
	br     *bufio.Reader
	order  binary.ByteOrder
	nano   bool
	link   uint32
	snap   uint32 // what pcapgo takes for the snap length
	reader *pcapgo.Reader
	offset int64  // of the next record in the file
	number uint64 // of packets read
	buf    []byte // for records that pcapgo does not read
}

const (
	pcapHeader   = 24
	recordHeader = 16
)

// pcapOrder returns the byte order a pcap file's magic tells.
func pcapOrder(magic [4]byte) (binary.ByteOrder, bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic[:]) {
		case 0xa1b2c3d4, 0xa1b23c4d:
			return order, true
		}
	}
	return nil, false
}

func newPcap(br *bufio.Reader, order binary.ByteOrder) (*pcap, error) {
	var header [pcapHeader]byte
	if _, err := io.ReadFull(br, header[:]); err != nil {
		return nil, fmt.Errorf("cut inside the file header: %w", noEOF(err))
	}
	major, minor := order.Uint16(header[4:]), order.Uint16(header[6:])
	if major != 2 || minor != 4 {
		return nil, formatErrorf("pcap version %d.%d is not supported, only 2.4: convert it with 'editcap -F pcap'", major, minor)
	}
	// The upper six bits tell of the frame check sequence. What pcapgo makes of
	// the field is not asked for.
	p := &pcap{order: order, link: order.Uint32(header[20:]) & 0x03ffffff, offset: pcapHeader}
	p.nano = order.Uint32(header[:]) == 0xa1b23c4d

	// pcapgo allocates the snap length at the first packet, and refuses longer
	// ones. What the file says does not matter: files exceed it, or say 0.
	p.snap = firstBuffer
	order.PutUint32(header[16:], p.snap)
	p.br = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(header[:]), br), br.Size())
	var err error
	p.reader, err = pcapgo.NewReader(p.br) // takes a bufio.Reader as it is
	return p, err
}

func (p *pcap) LinkType() uint32 { return p.link }

func (p *pcap) next() (data []byte, ci gopacket.CaptureInfo, err error) {
	header, err := p.br.Peek(recordHeader)
	if len(header) < recordHeader {
		if err == io.EOF && len(header) == 0 {
			return nil, ci, io.EOF
		}
		return nil, ci, p.fail(err)
	}
	captured, length := p.order.Uint32(header[8:]), p.order.Uint32(header[12:])
	if captured > MaxPacket {
		return nil, ci, formatErrorf("packet %d at octet %d claims to hold %d octets, more than the %d that are read", p.number+1, p.offset, captured, MaxPacket)
	}
	if captured > p.snap {
		p.snap = 1 << bits.Len32(captured-1)
		p.reader.SetSnaplen(p.snap)
	}
	if captured <= length {
		data, ci, err = p.reader.ZeroCopyReadPacketData()
	} else {
		data, ci, err = p.longer(captured)
	}
	if err != nil {
		return nil, ci, p.fail(err)
	}
	p.offset += recordHeader + int64(captured)
	p.number++
	return data, ci, nil
}

// longer reads a record that holds more octets than it says the packet had, which
// pcapgo refuses. The length is then what is there.
func (p *pcap) longer(captured uint32) (data []byte, ci gopacket.CaptureInfo, err error) {
	var header [recordHeader]byte
	if _, err := io.ReadFull(p.br, header[:]); err != nil {
		return nil, ci, err
	}
	if uint32(cap(p.buf)) < captured {
		p.buf = make([]byte, p.snap)
	}
	data = p.buf[:captured]
	if _, err := io.ReadFull(p.br, data); err != nil {
		return nil, ci, err
	}
	fraction := int64(p.order.Uint32(header[4:]))
	if !p.nano {
		fraction *= 1000
	}
	ci.Timestamp = time.Unix(int64(p.order.Uint32(header[:])), fraction).UTC()
	ci.CaptureLength, ci.Length = int(captured), int(captured)
	return data, ci, nil
}

// fail says where a read failed.
func (p *pcap) fail(err error) error {
	if err = noEOF(err); err == io.ErrUnexpectedEOF {
		return fmt.Errorf("cut inside packet %d, which begins at octet %d: %w", p.number+1, p.offset, err)
	}
	return fmt.Errorf("packet %d at octet %d: %w", p.number+1, p.offset, err)
}
