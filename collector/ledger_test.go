package collector

import (
	"net/netip"
	"testing"

	"flowtally/flow"
)

// TestMessagesWithoutContentAreNoLoss: a header alone is a good message, also of
// somebody who is not known.
func TestMessagesWithoutContentAreNoLoss(t *testing.T) {
	for name, msg := range map[string][]byte{
		"ipfix": append([]byte{0, 10, 0, 16}, make([]byte, 12)...),
		"v9":    append([]byte{0, 9}, make([]byte, 18)...),
		"v5":    append([]byte{0, 5}, make([]byte, 22)...),
	} {
		p, l := reader(t, Config{})
		p.decode(&l.filler, netip.MustParseAddrPort("192.0.2.1:1"), 1, msg)
		if loss := p.ledger.take(1, false).Loss; len(loss) != 0 {
			t.Errorf("%s: loss %v", name, loss)
		}
	}
}

// TestLedgerIsBounded: what strangers lose is kept in bounded memory while no
// report can be delivered, and the sum stays.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(10)
	const n = 3 * maxLosses
	for i := range n {
		l.notStored(&handed{recs: []flow.Record{{Received: flow.Minute, Exporter: flow.ExporterID(i + 1)}}}, causeRefused)
		if i%maxLosses == maxLosses/2 {
			l.giveBack(l.take(1, false))
		}
	}
	loss := l.take(1, false).Loss
	sum := uint64(0)
	for _, x := range loss {
		sum += x.Count
	}
	if sum != n || len(loss) > maxLosses+1 {
		t.Errorf("%d losses in %d entries, want %d in at most %d", sum, len(loss), n, maxLosses+1)
	}
}
