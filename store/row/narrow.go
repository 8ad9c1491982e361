package row

import "encoding/binary"

// narrowed are columns that had eight bytes, of which four were needed, in spool files of
// old. A field says how long it is, so such a file needs no other mark.
const narrowed = columnInIf | columnOutIf | columnSrcAS | columnDstAS

// Narrow returns n rows with the narrowed columns as long as they are stored now. It
// returns false when the rows are not whole, and rows itself when none has to change.
func Narrow(rows []byte, n int64, c Columns) (_ []byte, ok bool) {
	if c&narrowed == 0 {
		return rows, true
	}
	var (
		buf    []byte
		copied int // how much of rows is in buf
		at     int
	)
	for range n {
		r, _, ok := Next(rows[at:], c)
		if !ok {
			return nil, false
		}
		end := at + len(r)
		at += fixedSize
		for i := fixedColumns; at < end; i++ {
			if c&(1<<i) == 0 {
				continue
			}
			length := int(int32(binary.BigEndian.Uint32(rows[at:])))
			if length == 8 && narrowed&(1<<i) != 0 {
				buf = append(buf, rows[copied:at]...)
				buf = AppendInt4(buf, uint32(binary.BigEndian.Uint64(rows[at+4:])))
				copied = at + 12
			}
			at += 4 + max(0, length)
		}
	}
	if copied == 0 {
		return rows, true
	}
	return append(buf, rows[copied:]...), true
}
