package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store"
)

// Diagnosis answers "why do I see nothing?" for one exporter, or for the
// collector as a whole.
type Diagnosis struct {
	// ID and Label are the exporter's; 0 and "" for the collector as a whole.
	ID    flow.ExporterID `json:"id"`
	Label string          `json:"label"`
	// OK says that every check is; Headline is the sentence to read first: the
	// gravest finding's, else that all is well.
	OK       bool    `json:"ok"`
	Headline string  `json:"headline"`
	Checks   []Check `json:"checks"`
	// Status is what the collector knows of the exporter, nil before its first
	// report and for the collector as a whole.
	Status *ExporterDetails `json:"status,omitempty"`
}

// Check is one thing that was looked at.
type Check struct {
	// OK says that it is as it should be.
	OK bool `json:"ok"`
	// Name is a fixed word: traffic, templates, records, decoding, loss, buffer,
	// clock, times, sampling, identity, limits, restarts, storage, retention, strangers.
	Name string `json:"name"`
	// Text is what was found, Advice the sentence that says what to change, ""
	// when nothing.
	Text   string `json:"text"`
	Advice string `json:"advice"`
}

// ExporterDetails is a row of exporter_status.
type ExporterDetails struct {
	Version          int        `json:"version"`
	FirstSeen        time.Time  `json:"first_seen"`
	LastSeen         time.Time  `json:"last_seen"`
	ClockOffsetMS    int64      `json:"clock_offset_ms"`
	Datagrams        int64      `json:"datagrams"`
	Records          int64      `json:"records"`
	Packets          int64      `json:"packets"`
	Bytes            int64      `json:"bytes"`
	Templates        int64      `json:"templates"`
	SamplingRate     *int64     `json:"sampling_rate"`
	NoTemplate       int64      `json:"no_template"`
	Malformed        int64      `json:"malformed"`
	OverLimit        int64      `json:"over_limit"`
	Held             int64      `json:"held"`
	Recovered        int64      `json:"recovered"`
	RateLimited      int64      `json:"rate_limited"`
	MissingRecords   int64      `json:"missing_records"`
	MissingDatagrams int64      `json:"missing_datagrams"`
	Duplicates       int64      `json:"duplicates"`
	Restarts         int64      `json:"restarts"`
	NotSent          int64      `json:"not_sent"`
	Ignored          int64      `json:"ignored"`
	Dropped          int64      `json:"dropped"`
	TimeRepaired     int64      `json:"time_repaired"`
	ConfiguredRate   *int64     `json:"configured_rate"`
	SamplingOverride bool       `json:"sampling_override"`
	LastStart        *time.Time `json:"last_start"`
	LastEnd          *time.Time `json:"last_end"`
	LastError        string     `json:"last_error"`
	LastErrorAt      *time.Time `json:"last_error_at"`
	SourcePorts      int        `json:"source_ports"`
	Senders          int        `json:"senders"`
	Gateway          bool       `json:"gateway"`
}

// symptoms is what a diagnosis is made from.
type symptoms struct {
	now      time.Time
	label    string
	addr     netip.Addr
	domain   int64
	name     string
	personal *int64 // the sampling rate that people say
	status   *ExporterDetails
	loss     map[[2]string]int64 // of the last hour: the exporter's, or nobody's
	kernel   int64               // datagrams the kernel dropped in the last hour
	newest   *time.Time          // when the last batch was stored
	size     int64               // octets of the database, when its Keeper looked last
	limit    *int64              // octets that it may have
	limited  *string             // by what, or why it is not; nil: no Keeper looked yet
	known    int                 // exporters
	active   int                 // of them, that sent in the last five minutes
}

// quiet is how long an exporter may send nothing before that is a finding.
const quiet = 5 * time.Minute

// Diagnosis looks at all that is known of an exporter; 0 is the collector as a
// whole.
func (c *Console) Diagnosis(ctx context.Context, id flow.ExporterID) (*Diagnosis, error) {
	var s symptoms
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select now(), (select count(*) from exporters),
			(select count(*) from exporter_status where last_seen > now() - interval '5 minutes'),
			(select max(committed_at) from (select committed_at from batches order by id desc limit 100) b),
			(select coalesce(sum(count), 0)::bigint from loss where cause = 'kernel_buffer' and minute > now() - interval '1 hour')`).
			Scan(&s.now, &s.known, &s.active, &s.newest, &s.kernel); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "select size, size_limit, set_by from parts.retention").Scan(&s.size, &s.limit, &s.limited)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		rows, err := tx.Query(ctx, `select stage, cause, sum(count)::bigint from loss
			where exporter_id = $1 and minute > now() - interval '1 hour' group by 1, 2`, int32(id))
		if err != nil {
			return err
		}
		s.loss = map[[2]string]int64{}
		var (
			k [2]string
			n int64
		)
		if _, err := pgx.ForEachRow(rows, []any{&k[0], &k[1], &n}, func() error { s.loss[k] = n; return nil }); err != nil {
			return err
		}
		if id == 0 {
			return nil
		}
		err = tx.QueryRow(ctx, "select label, name, addr, observation_domain, sampling_rate from exporters where id = $1", int32(id)).
			Scan(&s.label, &s.name, &s.addr, &s.domain, &s.personal)
		if errors.Is(err, pgx.ErrNoRows) {
			return &query.Error{Parameter: "exporter", Reason: fmt.Sprintf("there is no exporter %d", id)}
		}
		if err != nil {
			return err
		}
		s.status, err = exporterDetails(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	d := &Diagnosis{ID: id, Label: s.label, Status: s.status, OK: true}
	if id == 0 {
		d.Checks = s.house()
	} else {
		d.Checks = s.exporter()
	}
	for _, c := range d.Checks {
		if !c.OK && d.OK {
			d.OK = false
			d.Headline = c.Text
			if c.Advice != "" {
				d.Headline += ": " + c.Advice
			}
		}
	}
	if d.OK {
		d.Headline = "all is well"
	}
	return d, nil
}

// exporterDetails reads a row of exporter_status, nil when there is none.
func exporterDetails(ctx context.Context, tx pgx.Tx, id flow.ExporterID) (*ExporterDetails, error) {
	var d ExporterDetails
	err := tx.QueryRow(ctx, `select version, first_seen, last_seen, clock_offset_ms, datagrams, records, packets, bytes, templates, sampling_rate,
			no_template, malformed, over_limit, held, recovered, rate_limited, missing_records, missing_datagrams,
			duplicates, restarts, not_sent, ignored, dropped, time_repaired, configured_rate, sampling_override,
			last_start, last_end, coalesce(last_error, ''), last_error_at, source_ports, senders, gateway
		from exporter_status where exporter_id = $1`, int32(id)).Scan(
		&d.Version, &d.FirstSeen, &d.LastSeen, &d.ClockOffsetMS, &d.Datagrams, &d.Records, &d.Packets, &d.Bytes, &d.Templates, &d.SamplingRate,
		&d.NoTemplate, &d.Malformed, &d.OverLimit, &d.Held, &d.Recovered, &d.RateLimited, &d.MissingRecords, &d.MissingDatagrams,
		&d.Duplicates, &d.Restarts, &d.NotSent, &d.Ignored, &d.Dropped, &d.TimeRepaired, &d.ConfiguredRate, &d.SamplingOverride,
		&d.LastStart, &d.LastEnd, &d.LastError, &d.LastErrorAt, &d.SourcePorts, &d.Senders, &d.Gateway)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.FirstSeen, d.LastSeen = d.FirstSeen.UTC(), d.LastSeen.UTC()
	for _, t := range []**time.Time{&d.LastStart, &d.LastEnd, &d.LastErrorAt} {
		if *t != nil {
			u := (*t).UTC()
			*t = &u
		}
	}
	return &d, nil
}

func good(name, format string, args ...any) Check {
	return Check{true, name, fmt.Sprintf(format, args...), ""}
}

func bad(name, advice, format string, args ...any) Check {
	return Check{false, name, fmt.Sprintf(format, args...), advice}
}

// house looks at the collector as a whole, the gravest first.
func (s *symptoms) house() (checks []Check) {
	add := func(c Check) { checks = append(checks, c) }
	switch {
	case s.known == 0:
		add(bad("traffic", "let an exporter send NetFlow or IPFIX to the collector's port (UDP 9995 unless it was told otherwise) and see that no firewall is between them",
			"no exporter has ever sent anything that could be decoded"))
	case s.active == 0:
		add(bad("traffic", "see that the collector runs, and that exporters send to it",
			"none of the %s has sent anything for %v", many(s.known, "known exporter", "known exporters"), quiet))
	default:
		add(good("traffic", "%d of %s sent something in the last %v", s.active, many(s.known, "known exporter", "known exporters"), quiet))
	}
	if s.active > 0 && (s.newest == nil || s.now.Sub(*s.newest) > quiet) {
		add(bad("storage", "look at the collector's log", "exporters send, but nothing was stored for %v", quiet))
	} else if s.newest != nil {
		add(good("storage", "the last batch was stored at %s", s.newest.UTC().Format(time.RFC3339)))
	}
	switch {
	case s.limited == nil:
	case s.limit == nil:
		add(bad("retention", "give the collector --retain-size, or --retain-path with a directory on the database's disk",
			"flows are kept by age alone, so the disk may fill before: %s", *s.limited))
	default:
		add(good("retention", "the database has %.1f GB of the %.1f GB that it may have: %s", float64(s.size)/1e9, float64(*s.limit)/1e9, *s.limited))
	}
	if s.kernel > 0 {
		kernel := [2]string{"receive", "kernel_buffer"}
		add(bad("buffer", lossWords[kernel][1], "in the last hour %s", lossText(kernel, s.kernel)))
	}
	for k, n := range s.loss {
		if k == [2]string{"receive", "kernel_buffer"} {
			continue
		}
		add(bad("strangers", lossWords[k][1], "in the last hour %s", lossText(k, n)))
	}
	return checks
}

// exporter looks at one exporter, the gravest first.
func (s *symptoms) exporter() (checks []Check) {
	add := func(c Check) { checks = append(checks, c) }
	d := s.status
	if d == nil {
		add(bad("traffic", "see that the collector runs, and that this exporter sends to it", "%s is known by name only: this collector has received nothing from it", s.label))
		return checks
	}
	silent := s.now.Sub(d.LastSeen)
	if silent > quiet {
		add(bad("traffic", "see that it still exports to this machine, that its address is still "+s.addr.String()+", and that no firewall is between",
			"the last of %s came %v ago", many(d.Datagrams, "datagram", "datagrams"), silent.Round(time.Second)))
	} else {
		add(good("traffic", "%s, the last %v ago", many(d.Datagrams, "datagram", "datagrams"), max(silent, 0).Round(time.Second)))
	}
	templated := d.Version >= 9
	switch waiting := d.Held - d.Recovered; {
	case !templated:
	case d.Templates == 0 && (d.NoTemplate > 0 || waiting > 0):
		add(bad("templates", "let it send its templates every minute (Cisco: template data timeout 60; softflowd and flowtally do so by themselves)",
			"%s and no template, so that nothing of it can be read", many(d.NoTemplate+max(waiting, 0), "data set came", "data sets came")))
	case d.NoTemplate > 0:
		add(bad("templates", "let it send its templates every minute", "%s, but %s another, which did not come in time", many(d.Templates, "template is known", "templates are known"), many(d.NoTemplate, "data set had", "data sets had")))
	case d.Templates == 0:
		add(bad("templates", "wait for its templates, or let it send them every minute", "it has announced no template yet"))
	default:
		add(good("templates", "%s", many(d.Templates, "template is known", "templates are known")))
	}
	if d.Records == 0 {
		add(bad("records", "see what it sends with flowtally inspect", "no flow record was decoded"))
	} else {
		add(good("records", "%s decoded", many(d.Records, "flow record was", "flow records were")))
	}
	switch {
	case d.Malformed+d.OverLimit > 0:
		text := fmt.Sprintf("%s not be read and %s beyond a limit", many(d.Malformed, "set could", "sets could"), many(d.OverLimit, "was", "were"))
		if d.LastError != "" {
			text += "; the last: " + d.LastError
		}
		add(bad("decoding", "flowtally inspect shows what it sends; an exporter that breaks the specification needs an update", "%s", text))
	default:
		add(good("decoding", "everything that has a template could be read"))
	}
	if d.LastEnd != nil {
		switch off := d.LastSeen.Sub(*d.LastEnd); {
		case d.TimeRepaired*10 > d.Records && d.TimeRepaired > 0:
			add(bad("times", "set its clock by NTP, and see that it sends first and last switched times",
				"%d of %s impossible times and stand at the time of receipt", d.TimeRepaired, many(d.Records, "flow had", "flows had")))
		case off > time.Hour || off < -time.Hour:
			add(bad("times", "choose that range to see them, set the exporter's clock by NTP, or replay captures with --shift-to-now",
				"its last flows are of %s to %s", moment(d.LastStart), moment(d.LastEnd)))
		default:
			add(good("times", "its last flows are of %s to %s", moment(d.LastStart), moment(d.LastEnd)))
		}
	}
	if off := time.Duration(d.ClockOffsetMS) * time.Millisecond; off > 30*time.Second || off < -30*time.Second {
		add(bad("clock", "set it by NTP", "its clock is %v %s ours", abs(off).Round(time.Second), map[bool]string{true: "ahead of", false: "behind"}[off > 0]))
	} else {
		add(good("clock", "its clock is within %v of ours", (abs(off) + time.Second).Truncate(time.Second)))
	}
	switch {
	case s.personal != nil:
		add(good("sampling", "1:%d, as people say", *s.personal))
	case d.SamplingOverride && d.ConfiguredRate != nil:
		add(good("sampling", "1:%d, as the collector was told, whatever it announces", *d.ConfiguredRate))
	case d.SamplingRate != nil:
		add(good("sampling", "1:%d, as it announces", *d.SamplingRate))
	case d.ConfiguredRate != nil:
		add(good("sampling", "1:%d, as the collector was told", *d.ConfiguredRate))
	default:
		add(good("sampling", "not announced: packets and bytes count as sent; when it samples, say its rate on its page or with collector --sampling"))
	}
	missing := d.MissingDatagrams
	lost := many(missing, "datagram", "datagrams")
	if d.MissingRecords > 0 {
		missing, lost = d.MissingRecords, many(d.MissingRecords, "record", "records")
	}
	switch {
	case missing > 0 && s.kernel > 0:
		add(bad("loss", lossWords[[2]string{"receive", "kernel_buffer"}][1], "%s did not arrive, and the kernel dropped %s in the last hour", lost, many(s.kernel, "datagram", "datagrams")))
	case missing > 0:
		add(bad("loss", "look for loss on the way: a full link, a firewall, an exporter that sends in bursts", "%s did not arrive", lost))
	default:
		add(good("loss", "nothing is missing in its sequence numbers"))
	}
	if d.NotSent+d.Dropped > 0 {
		add(bad("loss", "give the exporter more buffer or processors, or let it sample", "by its own word it did not send %s and lost %s", many(d.NotSent, "record", "records"), many(d.Dropped, "packet", "packets")))
	}
	if d.RateLimited > 0 {
		add(bad("limits", "raise collector --rate-limit, or let it sample", "%s dropped at its rate limit", many(d.RateLimited, "record was", "records were")))
	}
	var stored []string
	for k, n := range s.loss {
		if k[0] == "store" {
			stored = append(stored, lossText(k, n))
		}
	}
	if len(stored) > 0 {
		add(bad("storage", "look at the collector's log and the database's disk", "in the last hour: %s", strings.Join(stored, "; ")))
	}
	switch {
	case d.Senders > 1 && d.Gateway:
		add(bad("identity", "run the collector in the host's network (docker compose: network_mode: host), or give each exporter an observation domain of its own",
			"%d senders come from %s, the gateway in front of this machine, and cannot be told apart", d.Senders, s.addr))
	case d.Senders > 1:
		add(bad("identity", "give each an observation domain (v9: source id, v5: engine id) of its own, or an address",
			"%d senders share the address %s and the observation domain %d, and are shown as one", d.Senders, s.addr, s.domain))
	case d.Gateway:
		add(bad("identity", "run the collector in the host's network (docker compose: network_mode: host) to see the exporter's own address",
			"%s is the gateway in front of this machine: the address of the exporter behind it is not known", s.addr))
	default:
		add(good("identity", "it sends from %s of %s", many(d.SourcePorts, "port", "ports"), s.addr))
	}
	if d.Restarts > 3 || d.Duplicates*100 > d.Datagrams && d.Duplicates > 10 {
		add(bad("restarts", "see whether it restarts, or whether its datagrams reach the collector on two ways", "it began to count anew %s, and %s twice or too late", many(d.Restarts, "time", "times"), many(d.Duplicates, "datagram came", "datagrams came")))
	}
	return checks
}

func abs(d time.Duration) time.Duration { return max(d, -d) }

// many is a number of things, in words that suit one and in words that suit all
// others.
func many[N int | int64](n N, one, others string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, others)
}

// lossText is what was lost for a cause and how much of it: a list's line, which
// reads well with any number.
func lossText(k [2]string, n int64) string {
	text := lossWords[k][0]
	if text == "" {
		text = strings.ReplaceAll(k[1], "_", " ")
	}
	return fmt.Sprintf("%s: %d", text, n)
}

func moment(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
