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

// fixedFormat is what sets the versions without templates apart. The first 40
// octets of a record are the same in all, but for the TCP flags.
type fixedFormat struct {
	header, record int // octets
	tcpFlags       int // offset in the record
	// sequence: the header has a sequence number. It counts flows.
	sequence bool
	// engine: the header has the engine and the sampling rate.
	engine bool
	// routing: the record has AS numbers and masks.
	routing bool
}

var (
	formatV1 = fixedFormat{header: 16, record: 48, tcpFlags: 40}
	formatV5 = fixedFormat{header: v5Header, record: v5Record, tcpFlags: 37, sequence: true, engine: true, routing: true}
	formatV7 = fixedFormat{header: 24, record: 52, tcpFlags: 37, sequence: true, routing: true}
)

// fixedFormat decodes a message without templates: as many records as both the
// header and the datagram have.
func (w *work) fixedFormat(f *fixedFormat) {
	b, m := w.b, w.m
	if len(b) < f.header {
		w.skipped(&m.Malformed, 1, 0, 0, errShortHeader)
		return
	}
	count := int(binary.BigEndian.Uint16(b[2:]))
	uptime := binary.BigEndian.Uint32(b[4:])
	m.ExportTime = flow.Time(binary.BigEndian.Uint32(b[8:]))*flow.Second +
		flow.Time(binary.BigEndian.Uint32(b[12:])/1_000_000)
	if f.sequence {
		m.Sequence = binary.BigEndian.Uint32(b[16:])
	}
	domain := uint32(0)
	if f.engine {
		domain = uint32(binary.BigEndian.Uint16(b[20:]))
		m.SamplingRate = uint32(binary.BigEndian.Uint16(b[22:]) & v5RateMask)
	}
	w.identify(domain)
	w.proto.SamplingRate = m.SamplingRate
	w.proto.IPVersion = 4

	n := min(count, (len(b)-f.header)/f.record)
	if n < count {
		// A message has at most thirty; a count beyond is no news of records.
		w.skipped(&m.Malformed, max(min(count, v5Records)-n, 1), 0, f.header+n*f.record, errCount)
	}
	if n > w.d.store.limits.MessageRecords {
		w.skipped(&m.OverLimit, n-w.d.store.limits.MessageRecords, 0, f.header, errRecordLimit)
		n = w.d.store.limits.MessageRecords
	}
	m.Records, m.DataRecords = n, n
	c := clocks{export: m.ExportTime, uptime: uptime}
	doubtful := c.doubtful()
	for i := range n {
		x := b[f.header+i*f.record:][:v5Record]
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
		r.TCPFlags = flow.TCPFlags(x[f.tcpFlags])
		r.Protocol = flow.Protocol(x[38])
		r.TOS = x[39]
		if f.routing {
			r.SrcAS = uint32(binary.BigEndian.Uint16(x[40:]))
			r.DstAS = uint32(binary.BigEndian.Uint16(x[42:]))
			r.SrcMask, r.DstMask = x[44], x[45]
		}
		if isICMP(r.Protocol) {
			r.SrcPort = 0
		}
		if r.End < doubtful {
			c.repair(r)
		}
	}
}
