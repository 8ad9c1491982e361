package ingest

import (
	"encoding/binary"

	"flowtally/store/row"
)

// narrowed are columns that had eight octets, of which four were needed, until
// migration 18. A field says how long it is, so a file of the spool that was
// written before needs no other mark.
const narrowed = row.ColumnInIf | row.ColumnOutIf | row.ColumnSrcAS | row.ColumnDstAS

// narrow makes the fields of a part's rows as long as they are stored now. It is
// false when the rows are not whole.
func (p *part) narrow(c row.Columns) bool {
	if c&narrowed == 0 {
		return true
	}
	var (
		buf  []byte
		done int // so much of p.buf is in buf
		at   = len(row.CopyHeader)
	)
	for range p.rows {
		r, _, ok := row.Next(p.buf[at:], c)
		if !ok {
			return false
		}
		end := at + len(r)
		at += row.FixedSize
		for i := row.FixedColumns; at < end; i++ {
			if c&(1<<i) == 0 {
				continue
			}
			n := int(int32(binary.BigEndian.Uint32(p.buf[at:])))
			if n == 8 && narrowed&(1<<i) != 0 {
				buf = append(buf, p.buf[done:at]...)
				buf = row.AppendInt4(buf, uint32(binary.BigEndian.Uint64(p.buf[at+4:])))
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
