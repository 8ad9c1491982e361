package exporter

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"testing"

	"flowtally/exporter/capture"
	"flowtally/exporter/meter"
	"flowtally/flow"
	"flowtally/lab/truth"
)

// records runs a capture through reading and so many meters, without a network,
// and returns the records in an order of their own.
func records(t *testing.T, src capture.Source, c Config, workers int) ([]flow.Record, *ledger) {
	t.Helper()
	recs, l := recordsOf(t, src, c, workers, nil)
	slices.SortFunc(recs, cmpRecords)
	return recs, l
}

// cmpRecords compares all that a meter says.
func cmpRecords(a, b flow.Record) int {
	return cmp.Or(
		cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End),
		bytes.Compare(a.SrcAddr[:], b.SrcAddr[:]), bytes.Compare(a.DstAddr[:], b.DstAddr[:]),
		cmp.Compare(a.SrcPort, b.SrcPort), cmp.Compare(a.DstPort, b.DstPort),
		cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.TOS, b.TOS), cmp.Compare(a.VLAN, b.VLAN),
		cmp.Compare(a.InIf, b.InIf), cmp.Compare(a.IPVersion, b.IPVersion),
		cmp.Compare(a.Packets, b.Packets), cmp.Compare(a.Bytes, b.Bytes),
		cmp.Compare(a.TCPFlags, b.TCPFlags), cmp.Compare(a.EndReason, b.EndReason), cmp.Compare(a.Marks, b.Marks),
	)
}

// TestWorkers: the records of a capture are the same whatever the number of
// meters: those of one, in any order.
func TestWorkers(t *testing.T) {
	captures, torture := 0, os.Getenv("FLOWTALLY_TORTURE") != ""
	for _, row := range truth.Table(t, "TRUTH.tsv") {
		open := func() capture.Source {
			src, err := capture.OpenFile(truth.Data(t, row["path"]))
			if err != nil {
				return nil
			}
			t.Cleanup(func() { src.Close() })
			return src
		}
		src := open()
		if src == nil {
			continue
		}
		captures++
		most := int(min(3*row.Uint(t, "frames")+100, 1<<16)) // none is evicted
		c := Config{Meter: meter.Config{MaxFlows: most}, DropDuplicates: captures%2 == 0}
		want, one := records(t, src, c, 1)
		several := []int{2 + captures%2}
		if torture {
			several = []int{2, 3, 4, 7}
		}
		for _, workers := range several {
			got, l := records(t, open(), c, workers)
			if !slices.EqualFunc(got, want, func(a, b flow.Record) bool { return cmpRecords(a, b) == 0 }) {
				t.Errorf("%s: %d records of %d meters are not the %d of one", row["path"], len(got), workers, len(want))
			}
			if a, b := l.summary(), one.summary(); fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s: %d meters say %+v, one says %+v", row["path"], workers, a, b)
			}
		}
	}
	t.Logf("%d captures", captures)
}
