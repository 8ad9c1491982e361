package netflow

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"flowtally/flow"
)

// traffic returns records as a meter makes them, nearly all IPv4.
func traffic(n int, six bool) []flow.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	recs := make([]flow.Record, n)
	for i := range recs {
		r := &recs[i]
		r.IPVersion = 4
		r.SrcAddr = flow.Addr4([4]byte{10, 0, byte(rng.Uint32()), byte(rng.Uint32())})
		r.DstAddr = flow.Addr4([4]byte{172, 16, byte(rng.Uint32()), byte(rng.Uint32())})
		if six && i%4 == 3 {
			r.IPVersion = 6
			r.SrcAddr = flow.Addr{0x20, 1, 0xd, 0xb8, 15: byte(rng.Uint32())}
			r.DstAddr = flow.Addr{0x20, 1, 0xd, 0xb8, 14: 1, 15: byte(rng.Uint32())}
		}
		r.Protocol = flow.TCP
		r.SrcPort, r.DstPort = uint16(1024+rng.UintN(60000)), 443
		r.TCPFlags = flow.SYN | flow.ACK | flow.FIN
		r.Packets = uint64(1 + rng.UintN(100))
		r.Bytes = r.Packets * uint64(40+rng.UintN(1400))
		r.End = noon - flow.Time(rng.UintN(1000))
		r.Start = r.End - flow.Time(rng.UintN(60000))
		r.EndReason = flow.EndOfFlow
		r.InIf = 1
	}
	return recs
}

// decoding returns a body for a benchmark and a law: one message decoded into a
// reused slice by a decoder that knows its template. n is its records.
func decoding(tb testing.TB, v Version) (body func(), n int) {
	e, err := NewEncoder(EncoderConfig{Version: v, Boot: noon - flow.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	recs := traffic(200, v != V5)
	d := NewDecoder(Limits{})
	var m Message
	first, used := e.Append(nil, noon, recs)
	if _, err := d.Decode(nil, &m, somebody, noon, first); err != nil {
		tb.Fatal(err)
	}
	msg, n := e.Append(nil, noon, recs[used:])
	dst := make([]flow.Record, 0, n)
	return func() {
		out, err := d.Decode(dst, &m, somebody, noon, msg)
		if err != nil || len(out) != n {
			tb.Fatal(len(out), err)
		}
	}, n
}

// encoding is the same for one message of the encoder.
func encoding(tb testing.TB, v Version) (body func(), n int) {
	e, err := NewEncoder(EncoderConfig{Version: v, Boot: noon - flow.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	recs := traffic(200, v != V5)
	_, n = e.Append(nil, noon, recs)
	n -= n / 4 // so that one with templates holds as many
	buf := make([]byte, 0, 2048)
	return func() {
		if _, k := e.Append(buf, noon, recs[:n]); k != n {
			tb.Fatal(k, n)
		}
	}, n
}

// standard is decoding of 26 records of thirteen fields, all IPv4, as a load
// generator and many a router send it.
func standard(tb testing.TB, v Version) (body func(), n int) {
	const records = 26
	fields := []uint16{8, 4, 12, 4, 7, 2, 11, 2, 4, 1, 6, 1, 5, 1, 2, 8, 1, 8, 10, 4, 14, 4, 152, 8, 153, 8}
	if v == V9 {
		fields = append(fields[:22], 22, 4, 21, 4)
	}
	tpl := binary.BigEndian.AppendUint16(nil, 256)
	tpl = binary.BigEndian.AppendUint16(tpl, uint16(len(fields)/2))
	size := 0
	for i, f := range fields {
		tpl = binary.BigEndian.AppendUint16(tpl, f)
		size += i % 2 * int(f)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, records*size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for i := range records {
		data[i*size+12] = byte(flow.TCP)
	}
	d := NewDecoder(Limits{})
	var m Message
	d.Decode(nil, &m, somebody, noon, message(v, set(tb, templateSet(v), hex.EncodeToString(tpl))))
	msg := message(v, set(tb, 256, hex.EncodeToString(data)))
	dst := make([]flow.Record, 0, records)
	return func() {
		out, err := d.Decode(dst, &m, somebody, noon, msg)
		if err != nil || len(out) != records {
			tb.Fatal(len(out), err)
		}
	}, records
}

func BenchmarkDecodeStandard(b *testing.B) { each(b, standard, V9, IPFIX) }

var versions = []Version{V5, V9, IPFIX}

func BenchmarkDecode(b *testing.B) { each(b, decoding, versions...) }
func BenchmarkEncode(b *testing.B) { each(b, encoding, versions...) }

func BenchmarkPrepare(b *testing.B) {
	for _, v := range versions {
		b.Run(v.String(), func(b *testing.B) {
			e, _ := NewEncoder(EncoderConfig{Version: v})
			recs := traffic(1, false)
			dst := make([]flow.Record, 0, 1)
			b.ReportAllocs()
			for b.Loop() {
				e.Prepare(dst, &recs[0])
			}
		})
	}
}

// each runs body for every version and reports the time of one record.
func each(b *testing.B, of func(testing.TB, Version) (func(), int), vs ...Version) {
	for _, v := range vs {
		b.Run(v.String(), func(b *testing.B) {
			body, n := of(b, v)
			b.ReportAllocs()
			for b.Loop() {
				body()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}

func TestKnownTemplatesDecodeWithoutAllocation(t *testing.T) { noAllocation(t, decoding) }

func TestTheStandardTemplateDecodesWithoutAllocation(t *testing.T) {
	body, _ := standard(t, IPFIX)
	if n := testing.AllocsPerRun(200, body); n != 0 {
		t.Errorf("%v allocations a message, want none", n)
	}
}

func TestEncodeAllocatesNothing(t *testing.T) { noAllocation(t, encoding) }

func noAllocation(t *testing.T, of func(testing.TB, Version) (func(), int)) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			body, _ := of(t, v)
			if n := testing.AllocsPerRun(200, body); n != 0 {
				t.Errorf("%v allocations a message, want none", n)
			}
		})
	}
}
