package command

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flowtally/query"
)

// TestPrinters: an answer is printed in each form from the answer alone.
func TestPrinters(t *testing.T) {
	from := time.Date(2026, 3, 2, 9, 41, 0, 0, time.UTC)
	p := query.Provenance{Plan: "reads flows", SQL: "-- how\nselect 1", Source: "flows", Resolution: "raw", Exact: true}
	share := &query.Share{Provenance: p, From: from, To: from.Add(time.Minute), Step: time.Minute, Start: []time.Time{from}, Host: []netip.Addr{netip.MustParseAddr("10.1.4.7")},
		Share: []float64{0.5}, HostFlows: []int64{50}, Flows: []int64{100}}
	stoodOut, flat, nobody := *share, *share, *share
	stoodOut.Spikes = []query.Highlight{
		{Addr: netip.MustParseAddr("10.1.4.7"), From: from, To: from.Add(2 * time.Minute), Share: 0.9, Flows: 900},
		{Addr: netip.MustParseAddr("2001:db8::1"), From: from.Add(time.Hour), To: from.Add(time.Hour + time.Minute), Share: 0.55, Flows: 55},
	}
	stoodOut.Growing = from.Add(30 * time.Second)
	flat.Share = []float64{0.25}
	nobody.Host, nobody.Share, nobody.HostFlows, nobody.Flows = []netip.Addr{{}}, []float64{0}, []int64{0}, []int64{0}
	nobody.Stored = &query.Stored{From: from.AddDate(0, 0, -1), To: from.Add(-time.Second)}
	columns := []string{"flow_start", "flow_end", "protocol", "src_addr", "src_port", "dst_addr", "dst_port", "tcp_flags", "packets", "bytes", "exporter"}
	flows := &query.Flows{Provenance: p, Columns: columns, Next: "more", Rows: [][]any{
		{from, from.Add(time.Second), int64(6), "2001:db8::1", int64(40000), "2001:db8::2", int64(22), int64(2), int64(1), int64(60), "=evil"},
		{from, from, int64(1), "10.0.0.1", nil, "10.0.0.2", nil, nil, int64(1), int64(84), "edge"},
	}}
	for _, tt := range []struct {
		name  string
		print func(io.Writer) error
		want  string
	}{
		{"share_table", func(w io.Writer) error { return printers(time.UTC)["table"].share(w, &stoodOut) }, `
the host with most flows, 2026-03-02T09:41:00Z to 2026-03-02T09:42:00Z in buckets of 1m
                  from                    to         host   share  its flows
  2026-03-02T09:41:00Z  2026-03-02T09:43:00Z     10.1.4.7  90.0 %        900
  2026-03-02T10:41:00Z  2026-03-02T10:42:00Z  2001:db8::1  55.0 %         55
--all prints each of the 1 buckets
not complete from 2026-03-02T09:41:30Z on: flows that began there may still come in
`},
		{"share_without_any", func(w io.Writer) error { return printers(time.UTC)["table"].share(w, &flat) }, `
the host with most flows, 2026-03-02T09:41:00Z to 2026-03-02T09:42:00Z in buckets of 1m
no host stood out: none had half of many flows; the largest share is 25.0 %, of 10.1.4.7 at 2026-03-02T09:41:00Z
--all prints each of the 1 buckets
`},
		{"share_of_nothing", func(w io.Writer) error { return printers(time.UTC)["table"].share(w, &nobody) }, `
the host with most flows, 2026-03-02T09:41:00Z to 2026-03-02T09:42:00Z in buckets of 1m
--all prints each of the 1 buckets
no flows; there are some, whatever the filter, from 2026-03-01T09:41:00Z to 2026-03-02T09:40:59Z
`},
		{"share_table_all", func(w io.Writer) error { return tables{zone: time.UTC, all: true}.share(w, share) }, `
the host with most flows, 2026-03-02T09:41:00Z to 2026-03-02T09:42:00Z in buckets of 1m
                 begin      host   share  its flows  all flows
  2026-03-02T09:41:00Z  10.1.4.7  50.0 %         50        100
no host stood out: none had half of many flows; the largest share is 50.0 %, of 10.1.4.7 at 2026-03-02T09:41:00Z
`},
		{"share_csv", func(w io.Writer) error { return printers(time.UTC)["csv"].share(w, share) }, `
bucket,addr,share,host_flows,flows
2026-03-02T09:41:00Z,10.1.4.7,0.5,50,100
`},
		{"flows_table", func(w io.Writer) error { return printers(time.UTC)["table"].flows(w, flows) }, `
               flow start  duration  proto               source       destination     flags  packets  bytes  exporter
  2026-03-02 09:41:00.000     1.000    tcp  [2001:db8::1]:40000  [2001:db8::2]:22  ......S.        1     60     =evil
  2026-03-02 09:41:00.000     0.000   icmp             10.0.0.1          10.0.0.2                  1     84      edge
there are more: --after more
`},
		{"flows_csv", func(w io.Writer) error { return printers(time.UTC)["csv"].flows(w, flows) }, `
flow_start,flow_end,protocol,src_addr,src_port,dst_addr,dst_port,tcp_flags,packets,bytes,exporter
2026-03-02T09:41:00Z,2026-03-02T09:41:01Z,6,2001:db8::1,40000,2001:db8::2,22,2,1,60,'=evil
2026-03-02T09:41:00Z,2026-03-02T09:41:00Z,1,10.0.0.1,,10.0.0.2,,,1,84,edge
`},
		{"flows_spreadsheet", func(w io.Writer) error { return printers(time.UTC)["spreadsheet"].flows(w, flows) }, "\n\ufeff" + `flow_start,flow_end,protocol,src_addr,src_port,dst_addr,dst_port,tcp_flags,packets,bytes,exporter
2026-03-02T09:41:00,2026-03-02T09:41:01,6,2001:db8::1,40000,2001:db8::2,22,2,1,60,'=evil
2026-03-02T09:41:00,2026-03-02T09:41:00,1,10.0.0.1,,10.0.0.2,,,1,84,edge
`},
		{"explanation", func(w io.Writer) error { return explanations{}.flows(w, flows) }, `
-- reads flows
-- flows, raw, exact, 0s
select 1;
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			if err := tt.print(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want[1:], strings.ReplaceAll(got.String(), "\r\n", "\n")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
