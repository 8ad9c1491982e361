package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
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
	// AnnouncedAt is when Announced was, nil when that is not known; Provisional that
	// the exporter started again since. Numbering is what its sequence numbers count.
	AnnouncedAt *time.Time
	Provisional bool
	Numbering   string
	// Findings are those of its Diagnosis: by HealthOf they say how it fares.
	Findings []Finding
	// Losses are those of the last hour, without the packets that it does not meter, and
	// LostLastHour is their sum, of all units.
	Losses       []LossTotal
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
		list, err := readEvidence(ctx, tx, nil)
		if err != nil {
			return fmt.Errorf("exporters: %w", err)
		}
		for i := range list {
			states[list[i].id] = stateOf(&list[i])
		}
		return nil
	})
	return states, err
}

// stateOf is the state of an exporter of which this is known.
func stateOf(e *evidence) ExporterState {
	s := ExporterState{ExporterWords: e.words, Findings: judgeExporter(e)}
	var stored *int64
	if d := e.status; d != nil {
		s.Announced, s.Configured, s.Overridden = d.SamplingRate, d.ConfiguredRate, d.SamplingOverride
		s.AnnouncedAt, s.Provisional, s.Numbering = d.SamplingAt, d.SamplingProvisional, d.Numbering
	}
	if stored, s.RateBy = storedRate(s.Announced, s.Configured, s.Overridden); s.rateHolds(stored, e.now) {
		s.RateBy = RateByPeople
	}
	for _, t := range e.loss {
		if t.Lost() {
			s.Losses = append(s.Losses, t)
			if s.LostLastHour += t.Count; s.LostLastHour < 0 {
				s.LostLastHour = math.MaxInt64
			}
		}
	}
	return s
}

// CollectorState is what the database knows of the collector, or of several, as a whole.
type CollectorState struct {
	// Losses are those of the last hour that are the collector's own, and Strangers who sent
	// what cannot be read in that time, the last first.
	Losses    []LossTotal
	Strangers []Stranger
	// Listening are where collectors listen, those that do now first.
	Listening []Listening
}

// Listening is an address on which a collector listens.
type Listening struct {
	// Collector is the name of its machine, Protocol udp, tcp or tls, Address what is bound.
	Collector, Protocol, Address string
	// Reachable are the addresses of the machine at which that is reached; Container says that
	// they are a container's, which others may not reach. Announced is what exporters should
	// send to by the word of who started it, "" when nothing was said.
	Reachable []netip.Addr
	Container bool
	Announced string
	// At is when it last said so, Now whether that is lately enough for it to hold.
	At  time.Time
	Now bool
}

// listeningHolds is how old the word of a collector may be: it says so every minute.
const listeningHolds = 3 * time.Minute

// readListening reads where collectors listen, or did within a day.
func readListening(ctx context.Context, tx pgx.Tx) ([]Listening, error) {
	rows, err := tx.Query(ctx, `select collector, protocol, address, reachable, container, coalesce(announced, ''), reported_at, reported_at > now() - $1::interval
		from parts.listener order by 8 desc, protocol <> 'udp', collector, address`, listeningHolds)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Listening, err error) {
		err = row.Scan(&l.Collector, &l.Protocol, &l.Address, &l.Reachable, &l.Container, &l.Announced, &l.At, &l.Now)
		l.At = l.At.UTC()
		return l, err
	})
}

// CollectorState returns what there is to say of the collector.
func (c *Console) CollectorState(ctx context.Context) (s CollectorState, err error) {
	err = c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		lost, err := readLastHour(ctx, tx, new(int32(0)))
		if err != nil {
			return fmt.Errorf("collector: %w", err)
		}
		for _, t := range lost[0] {
			if t.ownerOf(0) == OwnerCollector {
				s.Losses = append(s.Losses, t)
			}
		}
		if s.Strangers, err = readUnreadable(ctx, tx); err != nil {
			return fmt.Errorf("collector: %w", err)
		}
		if s.Listening, err = readListening(ctx, tx); err != nil {
			return fmt.Errorf("collector: %w", err)
		}
		return nil
	})
	return s, err
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
