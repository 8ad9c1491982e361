package netflow

import "encoding/binary"

// reader takes octets off the front of a message. It never panics: the first
// read that finds too few octets fails the reader for good, later ones return
// zero, and the caller asks failed once.
type reader struct {
	b      []byte
	pos    int // next octet; positions are those of the whole message
	end    int // first octet that is not ours
	failed bool
}

func (r *reader) remaining() int { return r.end - r.pos }

// need reports whether n octets are there, and fails the reader if not.
func (r *reader) need(n int) bool {
	if r.failed || r.end-r.pos < n {
		r.failed = true
		return false
	}
	return true
}

func (r *reader) uint8() uint8 {
	if !r.need(1) {
		return 0
	}
	v := r.b[r.pos]
	r.pos++
	return v
}

func (r *reader) uint16() uint16 {
	if !r.need(2) {
		return 0
	}
	v := binary.BigEndian.Uint16(r.b[r.pos:])
	r.pos += 2
	return v
}

func (r *reader) uint32() uint32 {
	if !r.need(4) {
		return 0
	}
	v := binary.BigEndian.Uint32(r.b[r.pos:])
	r.pos += 4
	return v
}

// skip passes over n octets and returns where they began.
func (r *reader) skip(n int) int {
	if !r.need(n) {
		return r.pos
	}
	at := r.pos
	r.pos += n
	return at
}

// fieldLength reads the length that a variable-length field carries: one octet,
// or 255 and two more (RFC 7011 §7).
func (r *reader) fieldLength() int {
	n := int(r.uint8())
	if n == 255 {
		n = int(r.uint16())
	}
	return n
}

// allZero reports whether what remains is padding.
func (r *reader) allZero() bool { return isZero(r.b[r.pos:r.end]) }

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
