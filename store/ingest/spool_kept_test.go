package ingest_test

import (
	"os"
	"path/filepath"
	"testing"

	"flowtally/lab/postgres/pgtest"
	"flowtally/store"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// A file that waits in a spool while flowtally and the schema are upgraded is
// stored afterwards. testdata/spool-version1.batch was written by the collector of
// commit 9d588ce, whose schema was version 22; it is not to be made anew.
func TestSpoolOfAnEarlierVersion(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "spool-version1.batch"))
	if err != nil {
		t.Fatal(err)
	}
	for name, dsn := range map[string]string{"fresh": pgtest.New(t), "brought over": storetest.Former(t)} {
		t.Run(name, func(t *testing.T) {
			if err := store.Migrate(t.Context(), dsn, store.MigrateConfig{}); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "1763728200000000000.batch"), file, 0o600); err != nil {
				t.Fatal(err)
			}
			s := spooling(t, dsn, dir, ingest.WriterConfig{})
			eventually(t, "the spool is empty", func() bool { return len(files(t, dir)) == 0 })
			s.stop()
			conn := storetest.Connect(t, dsn)
			for _, c := range []struct{ ask, want string }{
				{"select string_agg(jsonb_strip_nulls(to_jsonb(f) - 'batch')::text, e'\\n' order by flow_end) from flows f", spooledRows},
				{"select count(*)::text from flows f join batches b on b.id = f.batch", "3"},
				{"select string_agg(concat_ws(' ', records, packets, bytes, received_from, received_to, min_end, max_end, key), ', ') from batches",
					"3 13 17584 2025-11-21 12:30:00+00 2025-11-21 12:30:00+00 2025-11-21 11:59:00+00 2025-11-21 12:29:59.999+00 4294468814572794789"},
				{"select string_agg(concat_ws(' ', addr, observation_domain, port, version, next, at, holes, epoch), ', ') from parts.sequence", "192.0.2.1 1 50001 9 42 2025-11-21 12:30:00+00 {40,41} 77"},
				{"select string_agg(concat_ws(' ', minute, exporter_id, stage, cause, unit, count), ', ') from loss", "2025-11-21 12:30:00+00 2117913842 way gap datagram 3"},
			} {
				if got := storetest.Get[string](t, conn, c.ask); got != c.want {
					t.Errorf("%s:\n%s\nwant\n%s", c.ask, got, c.want)
				}
			}
		})
	}
}

// spooledRows are the rows of the file; a column that the schema gets later is null
// in them.
const spooledRows = `{"tos": 0, "bytes": 2500, "in_if": 2147483648, "marks": 0, "packets": 2, "dst_addr": "2001:db8::1", "dst_port": 50000, "flow_end": "2025-11-21T11:59:00+00:00", "protocol": 17, "src_addr": "2001:db8::53", "src_port": 53, "flow_start": "2025-11-21T11:45:00+00:00", "exporter_id": 2117913842, "received_at": "2025-11-21T12:30:00+00:00", "bytes_scaled": 2500, "packets_scaled": 2}
{"tos": 184, "vlan": 100, "bytes": 15000, "in_if": 1, "marks": 0, "dst_as": 4200000000, "out_if": 4294967295, "src_as": 64496, "packets": 10, "dst_addr": "198.51.100.20", "dst_mask": 32, "dst_port": 443, "flow_end": "2025-11-21T12:29:30+00:00", "next_hop": "192.0.2.254", "protocol": 6, "src_addr": "192.0.2.10", "src_mask": 24, "src_port": 40000, "direction": 0, "tcp_flags": 27, "end_reason": 3, "flow_start": "2025-11-21T12:28:30+00:00", "exporter_id": 2117913842, "received_at": "2025-11-21T12:30:00+00:00", "bytes_scaled": 1500000, "sampling_rate": 100, "packets_scaled": 1000}
{"tos": 0, "bytes": 84, "extra": {"postNATSourceIPv4Address": "198.51.100.7", "postNAPTSourceTransportPort": 6000}, "marks": 0, "packets": 1, "dst_addr": "192.0.2.10", "flow_end": "2025-11-21T12:29:59.999+00:00", "protocol": 1, "src_addr": "203.0.113.5", "icmp_code": 0, "icmp_type": 8, "flow_start": "2025-11-21T12:29:59.999+00:00", "exporter_id": 2117913842, "received_at": "2025-11-21T12:30:00+00:00", "bytes_scaled": 84, "nat_src_addr": "198.51.100.7", "nat_src_port": 6000, "packets_scaled": 1}`
