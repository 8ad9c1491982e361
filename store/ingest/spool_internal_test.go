package ingest

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flowtally/flow"
	"flowtally/flow/flowtest"
	"flowtally/store/row"
)

// fileOf returns a file as the spool writes it.
func fileOf(tb testing.TB, id int32, recs []flow.Record) []byte {
	tb.Helper()
	b := newBatch()
	b.encode(id, recs, 1, nil, nil)
	b.sequences = append(b.sequences, flow.Sequence{Exporter: flow.Exporter{Addr: flow.Addr{1}, Domain: 2}, Port: 3, Version: 9, Next: 4, At: 5})
	b.loss = append(b.loss, flow.Loss{Minute: 60_000, Exporter: 7, Stage: "store", Cause: "refused", Unit: "record", Count: 1})
	s, err := openSpool(tb.TempDir(), 0, slog.New(slog.DiscardHandler), newMetrics(nil, nil))
	if err != nil {
		tb.Fatal(err)
	}
	defer s.close()
	if err := s.put(b, nil); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(s.dir, s.entries[0].name()))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// A file gives back the batch it was made of, whatever identifier it has had.
func TestSpoolFileRoundTrip(t *testing.T) {
	for _, id := range []int32{0, 5} {
		want, got := newBatch(), newBatch()
		data := fileOf(t, id, flowtest.Records)
		if err := readSpool(bytes.NewReader(data), got); err != nil {
			t.Fatal(err)
		}
		want.encode(id, flowtest.Records, 1, nil, nil)
		if got.id != id || len(got.parts) != len(want.parts) || got.statement != want.statement {
			t.Fatalf("batch %d of %d parts with %s", got.id, len(got.parts), got.statement)
		}
		for i, p := range want.parts {
			if q := got.parts[i]; p.hour != q.hour || p.minStart != q.minStart || p.rows != q.rows || !bytes.Equal(p.buf, q.buf) {
				t.Errorf("part %d differs", i)
			}
		}
		// The identifier that is written into the file is that of every row.
		putSpoolID(data[spoolID:], 77, got.key)
		if err := readSpool(bytes.NewReader(data), got); err != nil || got.id != 77 {
			t.Fatal(got.id, err)
		}
		key := want.key
		want.encode(77, flowtest.Records, 1, nil, nil)
		if want.key == key {
			t.Error("two batches have one key")
		}
		for i, p := range want.parts {
			if !bytes.Equal(p.buf, got.parts[i].buf) {
				t.Errorf("part %d does not carry the identifier", i)
			}
		}
		// A torn one was not sent yet.
		data[spoolID] ^= 1
		if err := readSpool(bytes.NewReader(data), got); err != nil || got.id != 0 {
			t.Error(got.id, err)
		}
		if diff := cmp.Diff(got.sequences, []flow.Sequence{{Exporter: flow.Exporter{Addr: flow.Addr{1}, Domain: 2}, Port: 3, Version: 9, Next: 4, At: 5}}); diff != "" {
			t.Error(diff)
		}
		if len(got.loss) != 1 || got.loss[0].Count != 1 {
			t.Errorf("loss %v", got.loss)
		}
	}
}

// A file that has its identifier in it can be told from one that has not, and the
// assignment is durable in the file alone.
func TestSpoolAssign(t *testing.T) {
	s, err := openSpool(t.TempDir(), 0, slog.New(slog.DiscardHandler), newMetrics(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	b := newBatch()
	b.encode(0, flowtest.Records, 1, nil, nil)
	if err := s.put(b, nil); err != nil {
		t.Fatal(err)
	}
	e := s.next(0, false)
	if err := s.assign(e, 1234, b.key); err != nil {
		t.Fatal(err)
	}
	got := newBatch()
	if err := s.load(e, got); err != nil || got.id != 1234 || got.key != b.key {
		t.Errorf("batch %d, %v", got.id, err)
	}
	if s.next(0, false) != nil {
		t.Error("a file is given to two")
	}
}

// Rows without room for their hour go to that of their receipt, and what the
// batch says of itself stays true.
func TestMove(t *testing.T) {
	const hour = 1_763_726_400_000
	recs := make([]flow.Record, 6)
	for i := range recs {
		recs[i] = flowtest.Records[i%2]
		recs[i].Start = hour + flow.Time(i)*flow.Hour
		recs[i].End = recs[i].Start + 1000
		recs[i].Received = hour + 5*flow.Hour + 2000
	}
	b := newBatch()
	b.encode(3, recs, 1, nil, nil)
	if err := b.move([]flow.Time{hour, hour + 2*flow.Hour}); err != nil {
		t.Fatal(err)
	}
	n, packets := 0, uint64(0)
	for _, p := range b.parts {
		if err := p.each(b.columns, func(r []byte) {
			n++
			packets += 3
			if h := row.End(r).Floor(flow.Hour); h != p.hour {
				t.Errorf("a row of hour %v is in that of %v", h, p.hour)
			}
			if row.Start(r).Floor(flow.Minute) < p.minStart {
				t.Error("a row starts before its part's minimum")
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n != 6 || packets != b.packets || b.noRoom != 2 || len(b.parts) != 4 {
		t.Errorf("%d rows, %d packets, %d moved, %d parts", n, packets, b.noRoom, len(b.parts))
	}
	if b.minEnd != hour+flow.Hour+1000 || b.maxEnd != hour+5*flow.Hour+2000 {
		t.Errorf("ends from %v to %v", b.minEnd, b.maxEnd)
	}
}

// Whatever a file holds, it is read as a batch or refused, with no more memory
// than it has bytes.
func FuzzReadSpool(f *testing.F) {
	whole := fileOf(f, 9, flowtest.Records)
	f.Add(whole)
	f.Add(whole[:spoolPrefix])
	f.Add(whole[:len(whole)-3])
	f.Add([]byte(spoolMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBatch()
		if err := readSpool(bytes.NewReader(data), b); err != nil {
			return
		}
		n := int64(0)
		for _, p := range b.parts {
			n += p.rows
		}
		if n != int64(b.records) {
			t.Errorf("%d rows, %d claimed", n, b.records)
		}
		if _, err := b.header(); err != nil {
			t.Error(err)
		}
	})
}

// wide gives interfaces and autonomous systems of a batch eight bytes, as they were stored
// once.
func wide(tb testing.TB, b *batch) {
	tb.Helper()
	narrowed := []string{"in_if", "out_if", "src_as", "dst_as"}
	for _, p := range b.parts {
		var rows []byte
		if err := p.each(b.columns, func(r []byte) {
			rows, r = append(rows, r[:2]...), r[2:] // the field count
			for _, name := range b.columns.Names() {
				n := max(0, int(int32(binary.BigEndian.Uint32(r))))
				field := r[:4+n]
				r = r[4+n:]
				if n == 4 && slices.Contains(narrowed, name) {
					rows = row.AppendInt8(rows, uint64(binary.BigEndian.Uint32(field[4:])))
					continue
				}
				rows = append(rows, field...)
			}
		}); err != nil {
			tb.Fatal(err)
		}
		p.setBody(rows)
	}
}

// A file that was written before interfaces and autonomous systems were narrowed to four
// bytes is read as if it were written now.
func TestSpoolOfWideColumns(t *testing.T) {
	recs := slices.Repeat(flowtest.Records, 3)
	for i := range recs {
		recs[i].InIf = []uint32{0, 1, 1<<31 - 1, 1 << 31, 1<<32 - 1}[i%5]
		recs[i].OutIf, recs[i].SrcAS, recs[i].DstAS = recs[i].InIf+1, recs[i].InIf/2, ^recs[i].InIf
	}
	want, old, got := newBatch(), newBatch(), newBatch()
	want.encode(5, recs, 1, nil, nil)
	old.encode(5, recs, 1, nil, nil)
	wide(t, old)
	s, err := openSpool(t.TempDir(), 0, slog.New(slog.DiscardHandler), newMetrics(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.put(old, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.load(s.next(0, false), got); err != nil {
		t.Fatal(err)
	}
	if len(got.parts) != len(want.parts) || got.records != len(recs) || got.id != 5 {
		t.Fatalf("%d parts of batch %d", len(got.parts), got.id)
	}
	for i, p := range want.parts {
		if len(old.parts[i].buf) == len(p.buf) {
			t.Error("it was not wide")
		}
		if !bytes.Equal(p.buf, got.parts[i].buf) || p.rows != got.parts[i].rows {
			t.Errorf("part %d differs", i)
		}
	}
}
