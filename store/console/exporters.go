package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// ExporterRow is an exporter and its last known status.
type ExporterRow struct {
	ID flow.ExporterID
	// Name is what people call it, empty when nothing; Label is what it is called, as no
	// other is.
	Name, Label string
	// NamedBy says whose name the label is, and Names those that are not people's.
	NamedBy NamedBy
	flow.Names
	Addr netip.Addr
	// ObservationDomain is IPFIX's; of v9 it is the source id, of v5 the engine type * 256
	// + engine id.
	ObservationDomain uint32
	// Version is the NetFlow version last seen: 5, 9 or 10, and 0 before the
	// collector's first report.
	Version uint16
	// FirstSeen and LastSeen are times of receipt: the first ever, and the last
	// one reported.
	FirstSeen, LastSeen time.Time
	// Datagrams to Bytes count what this run of the collector decoded.
	Datagrams, Records, Packets, Bytes int64
	// Templates is the number of templates it announced that are still valid.
	Templates int64
	// SamplingRate is N of 1:N that counts now: what people say, the collector was told or it
	// last announced, nil when none is known.
	SamplingRate *int64
	// ClockOffset is by how much its clock was ahead of the collector's at its last message.
	ClockOffset time.Duration
}

// NamedBy says whose name an exporter has.
type NamedBy string

// Who can have named an exporter.
const (
	NamedByPeople     NamedBy = "people"
	NamedByListener   NamedBy = "listener"  // the listener that it came in on
	NamedByItself     NamedBy = "announced" // in options
	NamedByDNS        NamedBy = "dns"
	NamedByItsAddress NamedBy = "address" // nobody: the label is the address
)

// Unnamed is what the exporter is called when people do not name it, but for what tells it
// apart from others.
func (r *ExporterRow) Unnamed() string {
	return cmp.Or(r.Names.Listener, r.Announced, r.DNS, r.Addr.String())
}

// Exporters lists all exporters, by label.
func (c *Console) Exporters(ctx context.Context) ([]ExporterRow, error) {
	list := []ExporterRow{}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select e.id, e.name, e.label, e.addr, e.observation_domain,
  coalesce(s.version, 0), e.first_seen, coalesce(s.last_seen, e.first_seen),
  coalesce(s.datagrams, 0), coalesce(s.records, 0), coalesce(s.packets, 0), coalesce(s.bytes, 0),
  coalesce(s.templates, 0),
  nullif(effective_sampling(least(coalesce(case when s.sampling_override then s.configured_rate else s.sampling_rate end, s.configured_rate, 0), 2147483647)::int,
    e.sampling_rate, e.sampling_instead, e.sampling_from, now()), 0), coalesce(s.clock_offset_ms, 0),
  e.named_by, coalesce(e.listener_name, ''), coalesce(e.announced_name, ''), coalesce(e.dns_name, '')
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
				&r.Templates, &r.SamplingRate, &offset,
				&r.NamedBy, &r.Listener, &r.Announced, &r.DNS); err != nil {
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

// ExporterState is what the database knows of an exporter beside its ExporterRow.
type ExporterState struct {
	ExporterWords
	// Announced is the sampling rate that it last announced, Configured the one that the
	// collector was started with for it; nil when there is none.
	Announced, Configured *int64
	// Overridden says that the collector uses Configured in place of Announced.
	Overridden bool
	// RateBy says whose rate counts now.
	RateBy RateBy
	// Waiting says that it has sent Data Sets and no template.
	Waiting bool
	// AnnouncedAt is when Announced was, nil when that is not known; Provisional that
	// the exporter started again since. Numbering is what its sequence numbers count.
	AnnouncedAt *time.Time
	Provisional bool
	Numbering   string
	// LostLastHour is the sum of its losses of the last hour, of all units, without the
	// packets that it does not meter.
	LostLastHour int64
}

// RateBy says who said a sampling rate.
type RateBy string

// Who can have said the rate that counts.
const (
	RateByNobody    RateBy = ""
	RateByExporter  RateBy = "exporter"
	RateByCollector RateBy = "collector" // it was told by --sampling or --sampling-override
	RateByPeople    RateBy = "people"
)

// storedRate is the rate that rows are stored with, and who said it.
func storedRate(announced, configured *int64, override bool) (*int64, RateBy) {
	switch {
	case configured != nil && (override || announced == nil):
		return configured, RateByCollector
	case announced != nil:
		return announced, RateByExporter
	}
	return nil, RateByNobody
}

// ExporterStates returns the state of every exporter.
func (c *Console) ExporterStates(ctx context.Context) (map[flow.ExporterID]ExporterState, error) {
	states := make(map[flow.ExporterID]ExporterState)
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select e.id, e.name, coalesce(e.color, ''), coalesce(e.note, ''), e.sampling_rate, e.sampling_from, not coalesce(e.sampling_instead, true),
  s.sampling_rate, s.configured_rate, coalesce(s.sampling_override, false),
  coalesce(s.version >= 9 and s.templates = 0 and (s.no_template > 0 or s.held > s.recovered), false),
  coalesce(l.lost, 0), s.sampling_at, coalesce(s.sampling_provisional, false), coalesce(s.numbering, '')
from exporters e
left join exporter_status s on s.exporter_id = e.id
left join (select exporter_id, least(sum(count), 9223372036854775807)::bigint as lost from loss
  where minute > now() - interval '1 hour' and cause <> 'ignored' group by exporter_id) l on l.exporter_id = e.id`)
		if err != nil {
			return fmt.Errorf("exporters: %w", err)
		}
		var (
			id int32
			s  ExporterState
		)
		_, err = pgx.ForEachRow(rows, []any{&id, &s.Name, &s.Color, &s.Note, &s.SamplingRate, &s.SamplingFrom, &s.SamplingWhereUnknown,
			&s.Announced, &s.Configured, &s.Overridden, &s.Waiting, &s.LostLastHour,
			&s.AnnouncedAt, &s.Provisional, &s.Numbering}, func() error {
			var stored *int64
			if stored, s.RateBy = storedRate(s.Announced, s.Configured, s.Overridden); s.rateHolds(stored, time.Now()) {
				s.RateBy = RateByPeople
			}
			states[flow.ExporterID(id)] = s
			return nil
		})
		return err
	})
	return states, err
}

// exportersOf returns the identifiers of the exporters that a name, an address or a
// number means.
func exportersOf(ctx context.Context, tx pgx.Tx, word string) ([]int32, error) {
	ids, err := store.FindExporters(ctx, tx, word)
	if e, ok := errors.AsType[*store.ExporterError](err); ok {
		return nil, &query.Error{Parameter: "exporter", Reason: e.Reason}
	}
	return ids, err
}
