package keeper

import (
	"encoding/binary"
	"errors"
	"fmt"

	"flowtally/flow"
	"flowtally/store/rollup"
	"flowtally/store/row"
)

// flowColumns are the columns that the roll-ups need, in the order in which flowReader
// expects them, after the row's ctid.
const flowColumns = "batch, flow_start, flow_end, received_at, packets, bytes, exporter_id, sampling_rate, protocol, " +
	"src_addr, dst_addr, src_port, dst_port, in_if, out_if, src_as, dst_as"

// flowFields is how many fields that makes.
const flowFields = 18

var errCopyOut = errors.New("rows that were copied out cannot be read")

// flowReader is an io.Writer that takes a binary COPY of flowColumns and calls each for
// every row. The flow is valid during the call.
type flowReader struct {
	each func(*rollup.Flow)
	f    rollup.Flow
	rest []byte // the begin of a row whose end has not come yet
	// begun says that the header has been read, ended that the trailer has.
	begun, ended bool
}

// Write takes the next bytes of the COPY.
func (r *flowReader) Write(p []byte) (int, error) {
	b := p
	if len(r.rest) > 0 {
		r.rest = append(r.rest, p...)
		b = r.rest
	}
	if !r.begun {
		if len(b) < len(row.CopyHeader) {
			r.rest = append([]byte(nil), b...)
			return len(p), nil
		}
		if string(b[:len(row.CopyHeader)]) != row.CopyHeader {
			return 0, errCopyOut
		}
		b, r.begun = b[len(row.CopyHeader):], true
	}
	for len(b) > 0 && !r.ended {
		n, err := r.row(b)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	r.rest = append(r.rest[:0], b...)
	return len(p), nil
}

// row reads a row and returns its length, or 0 when the end of the row has not come yet.
func (r *flowReader) row(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	switch n := int16(binary.BigEndian.Uint16(b)); n {
	case -1:
		r.ended = true
		return 2, nil
	case flowFields:
	default:
		return 0, fmt.Errorf("%w: %d columns", errCopyOut, n)
	}
	var fields [flowFields][]byte
	at := 2
	for i := range fields {
		if len(b) < at+4 {
			return 0, nil
		}
		n := int32(binary.BigEndian.Uint32(b[at:]))
		at += 4
		if n < 0 {
			continue
		}
		if len(b) < at+int(n) {
			return 0, nil
		}
		fields[i] = b[at : at+int(n)]
		at += int(n)
	}
	for i, want := range [flowFields]int{6, 4, 8, 8, 8, 8, 8, 4} {
		if want > 0 && len(fields[i]) != want {
			return 0, fmt.Errorf("%w: column %d has %d bytes", errCopyOut, i, len(fields[i]))
		}
	}
	f := &r.f
	f.Page = binary.BigEndian.Uint32(fields[0])
	f.Batch = int32(binary.BigEndian.Uint32(fields[1]))
	f.Start, f.End, f.Received = row.ReadTime(fields[2]), row.ReadTime(fields[3]), row.ReadTime(fields[4])
	f.Sums = rollup.Sums{1, binary.BigEndian.Uint64(fields[5]), binary.BigEndian.Uint64(fields[6])}
	f.Cell.Exporter = int32(binary.BigEndian.Uint32(fields[7]))
	f.Cell.Rate, f.Cell.Protocol = 0, 0
	if v := fields[8]; len(v) == 4 {
		f.Cell.Rate = int32(binary.BigEndian.Uint32(v))
	}
	if v := fields[9]; len(v) == 2 {
		f.Cell.Protocol = int16(binary.BigEndian.Uint16(v))
	}
	f.Family, f.Src, f.Dst = rollup.Null, flow.Addr{}, flow.Addr{}
	var ok1, ok2 bool
	if fields[10] != nil && fields[11] != nil {
		var family rollup.Form
		f.Src, f.Family, ok1 = readInet(fields[10])
		f.Dst, family, ok2 = readInet(fields[11])
		if !ok1 || !ok2 || family != f.Family {
			return 0, fmt.Errorf("%w: a wrong address", errCopyOut)
		}
	}
	for i := range f.Numbers {
		f.Numbers[i] = 0
		if v := fields[12+i]; len(v) >= 4 {
			f.Numbers[i] = binary.BigEndian.Uint32(v[len(v)-4:])
			if i < 2 {
				f.Numbers[i]++
			}
		}
	}
	r.each(f)
	return at, nil
}

// readInet reads an inet of a single host.
func readInet(b []byte) (a flow.Addr, form rollup.Form, ok bool) {
	switch {
	case len(b) == 8 && b[0] == 2:
		return flow.Addr4([4]byte(b[4:])), rollup.IPv4, true
	case len(b) == 20 && b[0] == 3:
		return flow.Addr(b[4:]), rollup.IPv6, true
	}
	return a, 0, false
}
