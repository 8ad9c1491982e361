package netflow

import (
	"encoding/binary"

	"flowtally/flow"
)

// The layout of NetFlow v5: a header, and up to thirty records.
const (
	v5Header  = 24
	v5Record  = 48
	v5Records = 30

	// v5RateMask cuts the sampling mode off the sampling interval.
	v5RateMask = 0x3fff
)

// v5 decodes a v5 message: as many records as both the header and the datagram
// have.
func (w *work) v5() {
	b, m := w.b, w.m
	if len(b) < v5Header {
		w.skipped(&m.Malformed, 1, 0, 0, errShortHeader)
		return
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	uptime := binary.BigEndian.Uint32(b[4:])
	m.ExportTime = flow.Time(binary.BigEndian.Uint32(b[8:]))*flow.Second +
		flow.Time(binary.BigEndian.Uint32(b[12:])/1_000_000)
	m.Sequence = binary.BigEndian.Uint32(b[16:])
	w.identify(uint32(binary.BigEndian.Uint16(b[20:])))
	m.SamplingRate = uint32(binary.BigEndian.Uint16(b[22:]) & v5RateMask)
	w.proto.SamplingRate = m.SamplingRate
	w.proto.IPVersion = 4

	n := min(count, (len(b)-v5Header)/v5Record)
	if n < count {
		// A message has at most thirty; a count beyond is no news of records.
		w.skipped(&m.Malformed, max(min(count, v5Records)-n, 1), 0, v5Header+n*v5Record, errCount)
	}
	if n > w.d.store.limits.MessageRecords {
		w.skipped(&m.OverLimit, n-w.d.store.limits.MessageRecords, 0, v5Header, errRecordLimit)
		n = w.d.store.limits.MessageRecords
	}
	m.Records, m.DataRecords = n, n
	for i := range n {
		x := b[v5Header+i*v5Record:][:v5Record]
		r := w.grow()
		r.SrcAddr = flow.Addr4([4]byte(x[0:]))
		r.DstAddr = flow.Addr4([4]byte(x[4:]))
		if hop := binary.BigEndian.Uint32(x[8:]); hop != 0 {
			set4(&r.NextHop, uint64(hop))
		}
		r.InIf = uint32(binary.BigEndian.Uint16(x[12:]))
		r.OutIf = uint32(binary.BigEndian.Uint16(x[14:]))
		r.Packets = uint64(binary.BigEndian.Uint32(x[16:]))
		r.Bytes = uint64(binary.BigEndian.Uint32(x[20:]))
		r.Start = since(m.ExportTime, uptime, binary.BigEndian.Uint32(x[24:]))
		r.End = since(m.ExportTime, uptime, binary.BigEndian.Uint32(x[28:]))
		r.SrcPort = binary.BigEndian.Uint16(x[32:])
		r.DstPort = binary.BigEndian.Uint16(x[34:])
		r.TCPFlags = flow.TCPFlags(x[37])
		r.Protocol = flow.Protocol(x[38])
		r.TOS = x[39]
		r.SrcAS = uint32(binary.BigEndian.Uint16(x[40:]))
		r.DstAS = uint32(binary.BigEndian.Uint16(x[42:]))
		r.SrcMask, r.DstMask = x[44], x[45]
		if isICMP(r.Protocol) {
			r.SrcPort = 0
		}
	}
}
