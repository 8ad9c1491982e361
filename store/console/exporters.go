package console

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store"
)

// ExporterRow is an exporter and its last known status.
type ExporterRow struct {
	ID flow.ExporterID
	// Name is what people call it, empty when nobody did; Label is the name,
	// else the address.
	Name, Label string
	Addr        netip.Addr
	// ObservationDomain is that of IPFIX, v9's source id, v5's engine type *
	// 256 + engine id.
	ObservationDomain uint32
	// Version is the NetFlow version last seen: 5, 9 or 10, and 0 before the
	// collector's first report.
	Version uint16
	// FirstSeen and LastSeen are times of receipt: the first ever, and the last
	// one reported.
	FirstSeen, LastSeen time.Time
	// Datagrams to Bytes count what this run of the collector decoded.
	Datagrams, Records, Packets, Bytes int64
	// Templates is how many it has announced that still hold.
	Templates int64
	// SamplingRate is N of 1:N: what people say, else what it last announced,
	// nil when neither is known.
	SamplingRate *int64
	// ClockOffset is how far its clock was ahead of ours at its last message.
	ClockOffset time.Duration
}

// Exporters lists the exporters that were ever seen, by label.
func (c *Console) Exporters(ctx context.Context) ([]ExporterRow, error) {
	list := []ExporterRow{}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select e.id, e.name, e.label, e.addr, e.observation_domain,
  coalesce(s.version, 0), e.first_seen, coalesce(s.last_seen, e.first_seen),
  coalesce(s.datagrams, 0), coalesce(s.records, 0), coalesce(s.packets, 0), coalesce(s.bytes, 0),
  coalesce(s.templates, 0), coalesce(e.sampling_rate, s.sampling_rate), coalesce(s.clock_offset_ms, 0)
from exporters e
left join exporter_status s on s.exporter_id = e.id
order by e.label, e.observation_domain, e.id`)
		if err != nil {
			return fmt.Errorf("exporters: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var (
				r      ExporterRow
				id     int32
				domain int64
				offset int64
			)
			if err := rows.Scan(&id, &r.Name, &r.Label, &r.Addr, &domain,
				&r.Version, &r.FirstSeen, &r.LastSeen,
				&r.Datagrams, &r.Records, &r.Packets, &r.Bytes,
				&r.Templates, &r.SamplingRate, &offset); err != nil {
				return fmt.Errorf("exporters: %w", err)
			}
			r.ID, r.ObservationDomain = flow.ExporterID(id), uint32(domain)
			r.FirstSeen, r.LastSeen = r.FirstSeen.UTC(), r.LastSeen.UTC()
			r.ClockOffset = time.Duration(offset) * time.Millisecond
			list = append(list, r)
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("exporters: %w", err)
		}
		return nil
	})
	return list, err
}
