package capture

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// pcapng reads the newer format with pcapgo.NgReader, which gets to see blocks
// only that the blocks type below has checked and written anew.
//
// pcapgo 1.1.19 alone would allocate what a packet's length field asks for, up to
// 4 GiB, run on behind blocks and options that say they are shorter than their
// header, divide by zero at a strange time resolution, take binary fractions of a
// second for nanoseconds, and cut the link type to eight bits.
type pcapng struct {
	blocks blocks
	reader *pcapgo.NgReader
	link   uint32
}

func newPcapNG(br *bufio.Reader) (*pcapng, error) {
	p := &pcapng{blocks: blocks{br: br}}
	var err error
	// pcapgo reads from a bufio.Reader of its own making when given anything
	// else, a small one.
	p.reader, err = pcapgo.NewNgReader(bufio.NewReaderSize(&p.blocks, min(64<<10, br.Size())),
		pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err == io.EOF {
		err = p.blocks.fail(err)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pcapng) LinkType() uint32 { return p.link }

func (p *pcapng) next() ([]byte, gopacket.CaptureInfo, error) {
	data, ci, err := p.reader.ZeroCopyReadPacketData()
	if err != nil {
		// What pcapgo finds it finds in blocks; its own checks cannot fail on
		// blocks that were written for it.
		return nil, ci, err
	}
	alias, _ := ci.AncillaryData[0].(layers.LinkType)
	p.link = p.blocks.links[alias]
	ci.AncillaryData = nil
	return data, ci, nil
}

// Block types (IETF draft-ietf-opsawg-pcapng §4).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
)

const (
	// maxMetadata is the largest section header or interface description that
	// is read; they hold a few names.
	maxMetadata = 64 << 10
	// maxInterfaces is how many interfaces a section may describe; pcapgo keeps
	// some 250 octets for each.
	maxInterfaces = 1024
	// maxLinkTypes is how many link types one file may have, which is what the
	// field that names them to pcapgo can hold.
	maxLinkTypes = 256
)

// blocks is a pcapng file, read, checked and written anew as the plainest file
// that says the same of its packets: section headers without options, interface
// descriptions with nothing but the time resolution, Enhanced Packet Blocks
// without options, each in the byte order of its section. The link type field
// holds an index into links, because pcapgo passes on eight bits of it.
type blocks struct {
	br     *bufio.Reader
	at     int64  // where the block being read begins in the file
	offset int64  // where the next one does
	skip   int64  // octets of the file that are left of the last one
	number uint64 // of packets found
	err    error  // what ended the reading

	order      binary.ByteOrder
	interfaces []ngInterface // of the section
	links      []uint32      // of the file

	head  [32]byte // a block's fixed part, written
	close [8]byte  // its padding and length behind a packet
	out   []byte   // of head or close, what Read has not given yet
	body  int      // octets of the packet to pass through behind head
	tail  []byte   // of close, what comes behind those
}

// ngInterface is what matters of an interface description.
type ngInterface struct {
	snap   uint32 // 0 is no limit
	ticks  uint64 // of the file's time in a second
	offset int64  // seconds to add
	plain  bool   // times need no conversion, pcapgo reads them rightly
	last   uint64 // time of the last packet, as written
}

// Read gives the next of the file's blocks in its plain form, as much of it as is
// there: a capture may come through a pipe from a program that still captures, so
// it waits for input only when it has nothing to give.
func (b *blocks) Read(dst []byte) (int, error) {
	n := 0
	for n < len(dst) {
		switch {
		case len(b.out) > 0:
			k := copy(dst[n:], b.out)
			b.out = b.out[k:]
			n += k
		case b.body > 0:
			if n > 0 && b.br.Buffered() == 0 {
				return n, nil
			}
			k, err := b.br.Read(dst[n:min(len(dst), n+b.body)])
			n += k
			b.body -= k
			if err != nil {
				b.err = b.fail(err)
				b.body, b.tail = 0, nil
			}
		case len(b.tail) > 0:
			b.out, b.tail = b.tail, nil
		case n > 0:
			return n, nil
		case b.err != nil:
			return 0, b.err
		default:
			b.err = b.block()
		}
	}
	return n, nil
}

// block reads one block up to its body and prepares what Read gives for it,
// nothing where it is of no use.
func (b *blocks) block() error {
	if err := b.discard(b.skip); err != nil {
		return err
	}
	b.at, b.skip = b.offset, 0
	header, err := b.br.Peek(12)
	if len(header) < 12 {
		if err == io.EOF && len(header) == 0 {
			return io.EOF
		}
		return b.fail(err)
	}
	typ := binary.LittleEndian.Uint32(header)
	if typ == blockSection { // the same in both orders
		switch {
		case binary.LittleEndian.Uint32(header[8:]) == 0x1a2b3c4d:
			b.order = binary.LittleEndian
		case binary.BigEndian.Uint32(header[8:]) == 0x1a2b3c4d:
			b.order = binary.BigEndian
		default:
			return b.wrong("section header without a byte order")
		}
	}
	typ = b.order.Uint32(header)
	length := b.order.Uint32(header[4:])
	if length < 12 || length%4 != 0 {
		return b.wrong("block of %d octets", length)
	}
	b.offset += int64(length)
	switch typ {
	case blockSection:
		return b.section(length)
	case blockInterface:
		return b.description(length)
	case blockPacket, blockSimple, blockEnhanced:
		return b.packet(typ, length)
	}
	return b.discard(int64(length))
}

// metadata returns the whole of a block that is looked into, and steps over it.
// It stays valid until the next read.
func (b *blocks) metadata(length, least uint32) ([]byte, error) {
	if length < least || length > maxMetadata {
		return nil, b.wrong("block of %d octets, where %d to %d are expected", length, least, maxMetadata)
	}
	data, err := b.br.Peek(int(length))
	if err != nil {
		return nil, b.fail(err)
	}
	b.br.Discard(int(length))
	return data, nil
}

func (b *blocks) section(length uint32) error {
	data, err := b.metadata(length, 28)
	if err != nil {
		return err
	}
	// Versions 1.x are 1.0 for a reader.
	if major := b.order.Uint16(data[12:]); major != 1 {
		return b.wrong("pcapng version %d.%d is not supported, only 1.0", major, b.order.Uint16(data[14:]))
	}
	b.interfaces = b.interfaces[:0]
	b.begin(blockSection, 28, 28)
	b.order.PutUint32(b.head[8:], 0x1a2b3c4d)
	b.order.PutUint16(b.head[12:], 1)
	b.order.PutUint16(b.head[14:], 0)
	b.order.PutUint64(b.head[16:], ^uint64(0)) // length not known
	b.order.PutUint32(b.head[24:], 28)
	return nil
}

func (b *blocks) description(length uint32) error {
	data, err := b.metadata(length, 20)
	if err != nil {
		return err
	}
	if len(b.interfaces) == maxInterfaces {
		return b.wrong("more than %d interfaces in a section", maxInterfaces)
	}
	i := ngInterface{snap: b.order.Uint32(data[12:]), ticks: 1e6, plain: true}
	resolution := byte(6)
	for options := data[16 : length-4]; len(options) >= 4; {
		code, n := b.order.Uint16(options), int(b.order.Uint16(options[2:]))
		if code == 0 {
			break
		}
		padded := (n + 3) &^ 3
		if 4+padded > len(options) {
			return b.wrong("interface option of %d octets, where %d remain", n, len(options)-4)
		}
		value := options[4 : 4+n]
		switch {
		case code == 9 && n == 1: // if_tsresol
			resolution = value[0]
		case code == 14 && n == 8: // if_tsoffset
			i.offset = int64(b.order.Uint64(value))
		}
		options = options[4+padded:]
	}
	switch exponent := resolution & 0x7f; {
	case resolution&0x80 != 0 && exponent < 64:
		i.ticks, i.plain = 1<<exponent, false
	case resolution&0x80 == 0 && exponent < 20:
		i.ticks = 1
		for range exponent {
			i.ticks *= 10
		}
		// pcapgo takes 0, which means whole seconds, for "not said"; and of the
		// coarse ones that follow the largest times fit no 64 bits of
		// milliseconds.
		i.plain = 4 <= exponent && exponent <= 9
	default:
		return b.wrong("time resolution %#02x of an interface makes no sense", resolution)
	}
	if i.offset != 0 {
		i.plain = false
	}
	if !i.plain {
		resolution = 9
	}
	alias, err := b.alias(uint32(b.order.Uint16(data[8:])))
	if err != nil {
		return err
	}
	b.interfaces = append(b.interfaces, i)

	b.begin(blockInterface, 32, 32)
	b.order.PutUint16(b.head[8:], alias)
	b.order.PutUint16(b.head[10:], 0)
	b.order.PutUint32(b.head[12:], firstBuffer) // pcapgo allocates it, and takes longer ones
	b.order.PutUint16(b.head[16:], 9)
	b.order.PutUint16(b.head[18:], 1)
	b.head[20], b.head[21], b.head[22], b.head[23] = resolution, 0, 0, 0
	b.order.PutUint32(b.head[24:], 0) // end of options
	b.order.PutUint32(b.head[28:], 32)
	return nil
}

// alias returns the index of a link type in links.
func (b *blocks) alias(link uint32) (uint16, error) {
	for i, l := range b.links {
		if l == link {
			return uint16(i), nil
		}
	}
	if len(b.links) == maxLinkTypes {
		return 0, b.wrong("more than %d link types in a file", maxLinkTypes)
	}
	b.links = append(b.links, link)
	return uint16(len(b.links) - 1), nil
}

// packet prepares an Enhanced Packet Block for a packet block of any kind.
func (b *blocks) packet(typ, length uint32) error {
	fixed := uint32(28) // up to the packet's octets
	if typ == blockSimple {
		fixed = 12
	}
	if length < fixed+4 {
		return b.wrong("packet block of %d octets", length)
	}
	data, err := b.br.Peek(int(fixed))
	if err != nil {
		return b.fail(err)
	}
	var (
		id         uint32
		time       uint64
		captured   uint32
		wireLength uint32
	)
	switch typ {
	case blockEnhanced, blockPacket:
		id = b.order.Uint32(data[8:])
		if typ == blockPacket {
			id = uint32(b.order.Uint16(data[8:])) // the rest counts drops
		}
		time = uint64(b.order.Uint32(data[12:]))<<32 | uint64(b.order.Uint32(data[16:]))
		captured, wireLength = b.order.Uint32(data[20:]), b.order.Uint32(data[24:])
	case blockSimple:
		wireLength = b.order.Uint32(data[8:])
		captured = min(wireLength, length-fixed-4)
	}
	if id >= uint32(len(b.interfaces)) {
		return b.wrong("packet %d is of interface %d, which is not described", b.number+1, id)
	}
	i := &b.interfaces[id]
	switch {
	case typ == blockSimple: // has no time: that of the packet before
		time = i.last
		if i.snap != 0 {
			captured = min(captured, i.snap)
		}
	case !i.plain:
		time = i.nanoseconds(time)
	}
	i.last = time
	if captured > MaxPacket {
		return b.wrong("packet %d claims to hold %d octets, more than the %d that are read", b.number+1, captured, MaxPacket)
	}
	padded := (captured + 3) &^ 3
	if fixed+padded+4 > length {
		return b.wrong("packet %d of %d octets in a block of %d", b.number+1, captured, length)
	}

	b.begin(blockEnhanced, 32+padded, 28)
	b.order.PutUint32(b.head[8:], id)
	b.order.PutUint32(b.head[12:], uint32(time>>32))
	b.order.PutUint32(b.head[16:], uint32(time))
	b.order.PutUint32(b.head[20:], captured)
	b.order.PutUint32(b.head[24:], max(captured, wireLength))
	b.close = [8]byte{}
	b.order.PutUint32(b.close[padded-captured:], 32+padded)
	b.tail = b.close[:padded-captured+4]

	b.br.Discard(int(fixed))
	b.body = int(captured)
	b.skip = int64(length - fixed - captured)
	b.number++
	return nil
}

// begin writes the type and length of a block of which Read gives the first n
// octets of head.
func (b *blocks) begin(typ, length uint32, n int) {
	b.out = b.head[:n]
	b.order.PutUint32(b.head[0:], typ)
	b.order.PutUint32(b.head[4:], length)
}

// discard steps over n octets.
func (b *blocks) discard(n int64) error {
	const most = 1 << 30 // an int may have 32 bits
	for n > 0 {
		k, err := b.br.Discard(int(min(n, most)))
		if err != nil {
			return b.fail(err)
		}
		n -= int64(k)
	}
	return nil
}

// fail says where a read failed.
func (b *blocks) fail(err error) error {
	if err = noEOF(err); err == io.ErrUnexpectedEOF {
		return fmt.Errorf("cut inside the block that begins at octet %d, after %d whole packets: %w", b.at, b.whole(), err)
	}
	return fmt.Errorf("block at octet %d: %w", b.at, err)
}

// whole is how many packets were read to their end.
func (b *blocks) whole() uint64 {
	if b.body > 0 {
		return b.number - 1
	}
	return b.number
}

// wrong says that the block does not make sense.
func (b *blocks) wrong(format string, args ...any) error {
	return formatErrorf("block at octet %d: %s", b.at, fmt.Sprintf(format, args...))
}

// nanoseconds returns a time of the file in nanoseconds since 1970, clamped to
// the five hundred years from there that pcapgo can take.
func (i *ngInterface) nanoseconds(t uint64) uint64 {
	const most = 1 << 34 // seconds
	fraction, _ := bits.Div64(mul(t%i.ticks, 1e9, i.ticks))
	seconds := int64(min(t/i.ticks, most)) + max(-most, min(i.offset, most))
	switch {
	case seconds < 0:
		return 0
	case seconds > most:
		return most * 1e9
	}
	return uint64(seconds)*1e9 + fraction
}

// mul returns a*b in two words, and c, as bits.Div64 takes them.
func mul(a, b, c uint64) (uint64, uint64, uint64) {
	hi, lo := bits.Mul64(a, b)
	return hi, lo, c
}
