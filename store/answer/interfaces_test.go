package answer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/storetest"
)

// What went by each interface, in and out, is what SQL sums up, of all exporters and of one.
func TestInterfaceTraffic(t *testing.T) {
	flows := storetest.SomeFlows(400)
	for i := range flows {
		flows[i].InIf, flows[i].OutIf = uint32(1+i%17), uint32(1+i%5)
	}
	h := storetest.NewHouse(t, flows)
	ctx := context.Background()
	a := answer.New(h.Db)
	q := query.Question{From: storetest.T0.Time().Add(-24 * time.Hour), To: storetest.T0.Time().Add(24 * time.Hour), Raw: true, Whole: true}
	for _, exporter := range []string{"", storetest.Exporters[0].Addr.String()} {
		q.Exporter = exporter
		list, whole, err := a.InterfaceTraffic(ctx, q)
		if err != nil || len(list) == 0 {
			t.Fatalf("%q: %d interfaces; %v", exporter, len(list), err)
		}
		if !whole {
			t.Errorf("%q: flows tell all there is", exporter)
		}
		for _, x := range list {
			for side, got := range map[string]query.Sums{"in_if": x.In, "out_if": x.Out} {
				want := storetest.Get[int64](t, h.Admin, "select coalesce(sum(bytes), 0)::bigint from flows where exporter_id = $1 and "+side+" = $2", int32(x.ExporterID), x.IfIndex)
				if got.Bytes != want {
					t.Errorf("%q: exporter %d %s %d: %d bytes, want %d", exporter, x.ExporterID, side, x.IfIndex, got.Bytes, want)
				}
			}
		}
	}
	q.Exporter = "nobody"
	if _, _, err := a.InterfaceTraffic(ctx, q); !errors.As(err, new(*query.Error)) {
		t.Errorf("an exporter that is not there gives %v", err)
	}
}
