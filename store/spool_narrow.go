package store

import "encoding/binary"

// narrowed are columns that had eight octets, of which four were needed, until
// migration 18. A field says how long it is, so a file of the spool that was
// written before needs no other mark.
const narrowed = columnInIf | columnOutIf | columnSrcAS | columnDstAS

// narrow makes the fields of a part's rows as long as they are stored now. It is
// false when the rows are not whole.
func (p *part) narrow(c columns) bool {
	if c&narrowed == 0 {
		return true
	}
	var (
		buf  []byte
		done int // so much of p.buf is in buf
		at   = len(copyHeader)
	)
	for range p.rows {
		row, _, ok := nextRow(p.buf[at:], c)
		if !ok {
			return false
		}
		end := at + len(row)
		at += fixedPrefix
		for i := fixedColumns; at < end; i++ {
			if c&(1<<i) == 0 {
				continue
			}
			n := int(int32(binary.BigEndian.Uint32(p.buf[at:])))
			if n == 8 && narrowed&(1<<i) != 0 {
				buf = append(buf, p.buf[done:at]...)
				buf = appendInt4(buf, uint32(binary.BigEndian.Uint64(p.buf[at+4:])))
				done = at + 12
			}
			at += 4 + max(0, n)
		}
	}
	if done > 0 {
		p.buf = append(buf, p.buf[done:]...)
	}
	return true
}
