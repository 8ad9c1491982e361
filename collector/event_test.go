package collector

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"flowtally/flow"
)

// nsel is a v9 message of an ASA: its template, and a record of a connection that began at
// start.
func nsel(sequence int, event byte, start, at time.Time, forward, back uint64) []byte {
	fields := []uint16{8, 4, 7, 2, 12, 4, 11, 2, 4, 1, 148, 4, 233, 1, 152, 8, 323, 8, 231, 8, 232, 8}
	be := binary.BigEndian
	template := be.AppendUint16(be.AppendUint16(nil, 263), uint16(len(fields)/2))
	for _, f := range fields {
		template = be.AppendUint16(template, f)
	}
	data := []byte{198, 51, 100, 10, 0xd7, 0x8e, 203, 0, 113, 5, 1, 187, 6, 0, 0, 0x12, 0x67, event}
	for _, n := range []uint64{uint64(start.UnixMilli()), uint64(at.UnixMilli()), forward, back} {
		data = be.AppendUint64(data, n)
	}
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	b := be.AppendUint16(be.AppendUint16(nil, 9), 2)
	for _, n := range []uint32{100_000, uint32(at.Unix()), uint32(sequence), 77} {
		b = be.AppendUint32(b, n)
	}
	for id, set := range map[uint16][]byte{0: template} {
		b = append(be.AppendUint16(be.AppendUint16(b, id), uint16(4+len(set))), set...)
	}
	return append(be.AppendUint16(be.AppendUint16(b, 263), uint16(4+len(data))), data...)
}

// What was told of a connection is known to the next run, so that the total of its
// teardown counts for the rest alone; its create and teardown are events.
func TestConnectionOverARestart(t *testing.T) {
	dir := t.TempDir()
	run := func(messages ...[]byte) *memory {
		t.Helper()
		sink := &memory{}
		addr, stop := start(t, Config{Sink: sink, StateDir: dir, BatchAge: 10 * time.Millisecond, Sockets: 1})
		c, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, m := range messages {
			if _, err := c.Write(m); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all is stored", func() bool {
			sink.mu.Lock()
			defer sink.mu.Unlock()
			return len(sink.events)+len(sink.recs) >= len(messages)
		})
		stop()
		return sink
	}
	run(nsel(1, 1, time.Now(), time.Now(), 0, 0)) // the first run of all
	began := time.Now()
	first := run(nsel(2, 1, began, began, 0, 0), nsel(3, 5, began, began.Add(time.Second), 100, 200))
	second := run(nsel(4, 2, began, began.Add(2*time.Second), 150, 260))
	sum := func(s *memory) string {
		var out []string
		for _, r := range s.recs {
			out = append(out, fmt.Sprint(r.SrcAddr, " ", r.Bytes, " ", r.Marks))
		}
		for i := range s.events {
			out = append(out, s.events[i].Kind())
		}
		return fmt.Sprint(out)
	}
	if got := sum(first); got != "[198.51.100.10 100 0 203.0.113.5 200 0 create]" {
		t.Errorf("the first run stored %s", got)
	}
	if got := sum(second); got != "[198.51.100.10 50 0 203.0.113.5 60 0 teardown]" {
		t.Errorf("the second run stored %s", got)
	}
	e := flow.Exporter{Addr: flow.AddrFrom(netip.MustParseAddr("127.0.0.1")), Domain: 77}
	if s := first.status[e]; s.Records != 3 {
		t.Errorf("%d records and events in the status, want 3", s.Records)
	}
}
