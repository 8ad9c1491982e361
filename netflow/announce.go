package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// announcement is where a template has the address of the exporter, in octets
// from the record's start; its width is 0 where it has none.
type announcement struct{ at, width int }

// announcing returns the announcement of a field at an offset: the exporter's
// IPv4 or IPv6 address (RFC 7012), in full.
func announcing(f fieldSpec, offset int) announcement {
	switch {
	case f.pen == 0 && f.id == 130 && f.length == 4, f.pen == 0 && f.id == 131 && f.length == 16:
		return announcement{offset, int(f.length)}
	}
	return announcement{}
}

// announced takes the exporter's address from n records that begin at b[pos]
// and were decoded. Records that name several exporters are a mediator's: they
// say nothing of who sent the message.
func (w *work) announced(t *template, b []byte, pos, n int) {
	first := t.announces.read(b, pos)
	if !t.variable {
		for i := 1; i < n; i++ {
			if t.announces.read(b, pos+i*t.size) != first {
				return
			}
		}
	} else if !t.options {
		return // where the other records begin is not known any more
	}
	if !first.IsZero() {
		w.m.Announced = first
	}
}

func (x announcement) read(b []byte, pos int) (a flow.Addr) {
	b = b[pos+x.at:][:x.width]
	if x.width == 4 {
		if v := binary.BigEndian.Uint32(b); v != 0 {
			set4(&a, uint64(v))
		}
		return a
	}
	return flow.Addr(b)
}
