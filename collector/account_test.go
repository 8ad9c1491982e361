package collector

import (
	"testing"

	"pgregory.net/rapid"

	"flowtally/flow"
	"flowtally/netflow"
)

// TestNothingIsLostUnsaid is the law of kill -9: whatever is lost on the way,
// dropped for want of room, or with a collector that is killed at any moment, what
// is durable says it, record for record, and once.
func TestNothingIsLostUnsaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			stood    []flow.Sequence // durable
			sent     uint64
			stored   uint64
			told     uint64
			inHand   uint64 // records of the batch that is filled
			now      = flow.Time(1_800_000_000_000)
			l        *ledger
			src      *source
			exporter = flow.Exporter{Addr: flow.Addr4([4]byte{192, 0, 2, 1}), Domain: 1}
			seq      = rapid.SampledFrom([]uint32{0, 1000, 1<<32 - 100}).Draw(t, "first")
		)
		begin := func() {
			l, src, inHand = newLedger(10), &source{}, 0
			l.recall(stood, true)
		}
		send := func(n uint32, arrives bool) {
			now += 10
			if arrives {
				m := netflow.Message{Version: netflow.IPFIX, Exporter: exporter, Sequence: seq, DataRecords: int(n), Records: int(n)}
				l.datagram(src, &receipt{m: &m, port: 1, now: now, records: uint64(n)})
				inHand += uint64(n)
			}
			seq += n
			sent += uint64(n)
		}
		book := func(loss []flow.Loss) {
			for _, x := range loss {
				told += x.Count
			}
		}
		commit := func() {
			sequences, loss := l.account(src)
			if len(sequences) > 0 {
				stood = sequences
			}
			book(loss)
			stored += inHand
			inHand = 0
		}
		begin()
		send(1, true)
		commit() // before it nothing is known of the exporter
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 200).Draw(t, "steps") {
			switch step {
			case 0, 1, 2, 3:
				send(uint32(step)*7+1, true)
			case 4:
				send(5, false)
			case 5:
				commit()
			case 6: // a second and more
				now += rapid.SampledFrom([]flow.Time{100, 1000, 5000}).Draw(t, "pause")
				book(l.take(now, false).Loss)
			case 7: // no room for the batch
				sequences, loss := l.account(src)
				recs := make([]flow.Record, inHand)
				for i := range recs {
					recs[i] = flow.Record{Received: now, Exporter: exporter.ID()}
				}
				l.notStored(&handed{recs: recs, sequences: sequences, loss: loss}, causeQueueFull)
				inHand = 0
			case 8: // killed, with a batch in hand
				begin()
			case 9: // killed, with a batch on its way
				l.account(src)
				begin()
			}
		}
		send(1, true)
		commit()
		r := l.take(now, true)
		book(r.Loss)
		if stored+told != sent {
			t.Fatalf("sent %d, stored %d, told of %d", sent, stored, told)
		}
	})
}
