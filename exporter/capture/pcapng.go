package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// pcapng reads the newer format (draft-ietf-opsawg-pcapng): sections of blocks,
// of which those with packets count. It is our own reader and not gopacket's
// pcapgo because that one allocates what a packet's length field asks for, up to
// 4 GiB, runs on behind blocks and options that say they are shorter than their
// header, divides by zero at a strange time resolution, takes binary fractions of
// a second for nanoseconds, cuts the link type to eight bits, and takes five
// times as long. The tests hold the two side by side.
type pcapng struct {
	w      *window
	block  int64  // where the block being read begins in the file
	skip   int64  // octets of it that are left
	number uint64 // of packets read

	big        bool          // the section's byte order
	interfaces []ngInterface // of the section
	names      ngNames
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
	// maxInterfaces is how many interfaces a section may describe, and how many of
	// a file have numbers.
	maxInterfaces = 1024
	// maxName is how many bytes of an interface's name and description are kept.
	maxName = 64

	linkSLL2 = 276 // LINKTYPE_LINUX_SLL2

	packetFixed = 28 // octets of a packet block up to the packet's
	simpleFixed = 12 // of a simple one
)

// ngNames are the interfaces of a file, by number. Those of one name in several
// sections are one interface, as are those without a name that have one place.
type ngNames struct {
	mu    sync.Mutex
	all   []Interface
	known map[string]uint32
}

// number returns the number of the interface that is the id-th of its section,
// counted from 1 on, or 0 beyond the most.
func (n *ngNames) number(id int, name, description string) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := name
	if key == "" {
		key = "\x00" + strconv.Itoa(id)
	}
	number, ok := n.known[key]
	if !ok && len(n.all) < maxInterfaces {
		if n.known == nil {
			n.known = map[string]uint32{}
		}
		number = uint32(len(n.all) + 1)
		n.known[key] = number
		n.all = append(n.all, Interface{Index: number, Name: name, Description: description})
	}
	return number
}

// ngText returns an option's text, cut, without control characters.
func ngText(b []byte) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, string(b))
	return strings.ToValidUTF8(text[:min(len(text), maxName)], "")
}

// ngInterface is what matters of an interface description.
type ngInterface struct {
	number uint32 // of all in the file
	link   uint32
	snap   uint32 // 0 is no limit
	ticks  uint64 // of the file's time in a second
	offset int64  // seconds to add
	scale  uint64 // nanoseconds in a tick, 0 when it is no whole number of them
	most   uint64 // ticks that scale can be used for
	last   int64  // time of the last packet, in nanoseconds
}

func newPcapNG(w *window) (*pcapng, error) {
	p := &pcapng{w: w}
	// The first block is looked at here, so that opening what is no such file
	// is an error.
	if err := w.fill(12); err != nil {
		return nil, p.fail(err)
	}
	_, length, err := p.head()
	if err == nil {
		err = p.section(length)
	}
	return p, err
}

// u16 and u32 are numbers in the section's byte order.
func (p *pcapng) u16(b []byte) uint16 {
	if p.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (p *pcapng) u32(b []byte) uint32 {
	if p.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (p *pcapng) batch(dst []Packet) (n int, err error) {
	w := p.w
	for n < len(dst) {
		if p.skip > 0 {
			if n > 0 && int64(w.end-w.at) < p.skip {
				break
			}
			if err := w.discard(p.skip); err != nil {
				return 0, p.fail(err)
			}
			p.skip = 0
		}
		p.block = w.offset()
		if w.end-w.at < 12 {
			if n > 0 {
				break
			}
			if err := w.fill(12); err != nil {
				if err == io.EOF && w.at == w.end {
					return 0, io.EOF
				}
				return 0, p.fail(err)
			}
		}
		typ, length, err := p.head()
		var more bool
		switch {
		case err != nil:
		case typ == blockEnhanced || typ == blockPacket || typ == blockSimple:
			if more, err = p.packet(&dst[n], typ, length, n > 0); more && err == nil {
				n++
				continue
			}
		case typ == blockSection || typ == blockInterface:
			if n > 0 && w.end-w.at < int(min(length, maxMetadata)) {
				return n, nil
			}
			if typ == blockSection {
				err = p.section(length)
			} else {
				err = p.description(length)
			}
			more = err == nil
		default:
			p.skip, more = int64(length), true
		}
		switch {
		case more:
		case n > 0:
			return n, nil // what is wrong, or not there yet, comes up again
		case err != nil:
			return 0, err
		}
	}
	return n, nil
}

// head returns the type and length of the block of which twelve octets are there.
func (p *pcapng) head() (typ, length uint32, err error) {
	h := p.w.rest()[:12]
	if typ = p.u32(h); typ == blockSection { // the same in both orders
		switch {
		case binary.LittleEndian.Uint32(h[8:]) == 0x1a2b3c4d:
			p.big = false
		case binary.BigEndian.Uint32(h[8:]) == 0x1a2b3c4d:
			p.big = true
		default:
			return 0, 0, p.wrong("section header without a byte order")
		}
	}
	if length = p.u32(h[4:]); length < 12 || length%4 != 0 {
		return 0, 0, p.wrong("block of %d octets", length)
	}
	return typ, length, nil
}

// metadata returns the whole of a block that is looked into. It stays valid until
// the next read.
func (p *pcapng) metadata(length, least uint32) ([]byte, error) {
	if length < least || length > maxMetadata {
		return nil, p.wrong("block of %d octets, where %d to %d are expected", length, least, maxMetadata)
	}
	if err := p.w.fill(int(length)); err != nil {
		return nil, p.fail(err)
	}
	return p.w.rest()[:length], nil
}

func (p *pcapng) section(length uint32) error {
	data, err := p.metadata(length, 28)
	if err != nil {
		return err
	}
	// Versions 1.x are 1.0 for a reader.
	if major := p.u16(data[12:]); major != 1 {
		return p.wrong("pcapng version %d.%d is not supported, only 1.0", major, p.u16(data[14:]))
	}
	p.interfaces = p.interfaces[:0]
	p.w.at += int(length)
	return nil
}

func (p *pcapng) description(length uint32) error {
	data, err := p.metadata(length, 20)
	if err != nil {
		return err
	}
	if len(p.interfaces) == maxInterfaces {
		return p.wrong("more than %d interfaces in a section", maxInterfaces)
	}
	i := ngInterface{link: uint32(p.u16(data[8:])), snap: p.u32(data[12:]), ticks: 1e6}
	resolution := byte(6)
	var name, description string
	for options := data[16 : length-4]; len(options) >= 4; {
		code, n := p.u16(options), int(p.u16(options[2:]))
		if code == 0 {
			break
		}
		padded := (n + 3) &^ 3
		if 4+padded > len(options) {
			return p.wrong("interface option of %d octets, where %d remain", n, len(options)-4)
		}
		value := options[4 : 4+n]
		switch {
		case code == 2: // if_name
			name = ngText(value)
		case code == 3: // if_description
			description = ngText(value)
		case code == 9 && n == 1: // if_tsresol
			resolution = value[0]
		case code == 14 && n == 8: // if_tsoffset
			i.offset = int64(binary.LittleEndian.Uint64(value))
			if p.big {
				i.offset = int64(binary.BigEndian.Uint64(value))
			}
		}
		options = options[4+padded:]
	}
	switch exponent := resolution & 0x7f; {
	case resolution&0x80 != 0 && exponent < 64:
		i.ticks = 1 << exponent
	case resolution&0x80 == 0 && exponent < 20:
		i.ticks = 1
		for range exponent {
			i.ticks *= 10
		}
		if exponent <= 9 && i.offset == 0 {
			i.scale = 1e9 / i.ticks
			i.most = math.MaxInt64 / i.scale
		}
	default:
		return p.wrong("time resolution %#02x of an interface makes no sense", resolution)
	}
	if i.link != linkSLL2 { // whose frames say it themselves, of a capture on all
		i.number = p.names.number(len(p.interfaces), name, description)
	}
	p.interfaces = append(p.interfaces, i)
	p.w.at += int(length)
	return nil
}

// packet reads a packet block of any kind. If it is not to be waited for, false
// may mean that it is not there yet.
func (p *pcapng) packet(d *Packet, typ, length uint32, now bool) (bool, error) {
	w := p.w
	fixed := packetFixed
	if typ == blockSimple {
		fixed = simpleFixed
	}
	if length < uint32(fixed)+4 {
		return false, p.wrong("packet block of %d octets", length)
	}
	if w.end-w.at < fixed {
		if now {
			return false, nil
		}
		if err := w.fill(fixed); err != nil {
			return false, p.fail(err)
		}
	}
	var (
		data       = w.rest()
		id         uint32
		ticks      uint64
		captured   uint32
		wireLength uint32
	)
	if typ == blockSimple {
		wireLength = p.u32(data[8:])
		captured = min(wireLength, length-simpleFixed-4)
	} else {
		id = p.u32(data[8:])
		if typ == blockPacket {
			id = uint32(p.u16(data[8:])) // the rest counts drops
		}
		ticks = uint64(p.u32(data[12:]))<<32 | uint64(p.u32(data[16:]))
		captured, wireLength = p.u32(data[20:]), p.u32(data[24:])
	}
	if id >= uint32(len(p.interfaces)) {
		return false, p.wrong("packet %d is of interface %d, which is not described", p.number+1, id)
	}
	i := &p.interfaces[id]
	if typ == blockSimple && i.snap != 0 {
		captured = min(captured, i.snap)
	}
	if captured > MaxPacket {
		return false, p.wrong("packet %d claims to hold %d octets, more than the %d that are read", p.number+1, captured, MaxPacket)
	}
	if uint32(fixed)+(captured+3)&^3+4 > length {
		return false, p.wrong("packet %d of %d octets in a block of %d", p.number+1, captured, length)
	}
	end := fixed + int(captured)
	// Behind the packet may be options, which have the direction; of a block that
	// is cut inside them the packet counts all the same.
	whole := end
	padded := (end + 3) &^ 3
	if options := int64(length) - 4 - int64(padded); typ != blockSimple && options >= 4 && options <= maxMetadata {
		whole = int(length) - 4
	}
	if len(data) < whole {
		if now {
			return false, nil
		}
		err := w.fill(whole)
		if data = w.rest(); err != nil && len(data) < end {
			return false, p.fail(err)
		}
	}
	direction := Unknown
	if whole > end && len(data) >= whole {
		direction = p.direction(data[padded:whole])
	}
	switch {
	case typ == blockSimple: // has no time: that of the packet before
	case ticks <= i.most && i.scale != 0:
		i.last = int64(ticks * i.scale)
	default:
		i.last = i.nanoseconds(ticks)
	}
	d.Data = data[fixed:end:end]
	d.Time = i.last
	d.Length = max(captured, wireLength)
	d.Link = i.link
	d.seen(i.number, direction)
	d.Segments, d.Headers = 0, 0
	w.at += end
	p.skip = int64(length) - int64(end)
	p.number++
	return true, nil
}

// direction returns what the options of a packet say of it.
func (p *pcapng) direction(options []byte) uint8 {
	for len(options) >= 4 {
		code, n := p.u16(options), int(p.u16(options[2:]))
		if code == 0 || 4+n > len(options) {
			break
		}
		if code == 2 && n == 4 { // epb_flags, pack_flags
			switch p.u32(options[4:]) & 3 {
			case 1:
				return Ingress
			case 2:
				return Egress
			}
			break
		}
		options = options[min(len(options), 4+(n+3)&^3):]
	}
	return Unknown
}

// fail says where a read failed.
func (p *pcapng) fail(err error) error {
	if err = noEOF(err); err == io.ErrUnexpectedEOF {
		return fmt.Errorf("cut inside the block that begins at octet %d, after %d whole packets: %w", p.block, p.number, err)
	}
	return fmt.Errorf("block at octet %d: %w", p.block, err)
}

// wrong says that the block does not make sense.
func (p *pcapng) wrong(format string, args ...any) error {
	return formatErrorf("block at octet %d: %s", p.block, fmt.Sprintf(format, args...))
}

// nanoseconds returns a time of the file in nanoseconds since 1970, clamped to
// what 63 bits of them hold, which is up to the year 2262.
func (i *ngInterface) nanoseconds(t uint64) int64 {
	const most = math.MaxInt64 / 1_000_000_000 // seconds
	hi, lo := bits.Mul64(t%i.ticks, 1e9)
	fraction, _ := bits.Div64(hi, lo, i.ticks)
	seconds := int64(min(t/i.ticks, most)) + max(-most, min(i.offset, most))
	switch {
	case seconds < 0:
		return 0
	case seconds >= most:
		return math.MaxInt64
	}
	return seconds*1e9 + int64(fraction)
}
