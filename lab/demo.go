package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/exporter"
	"flowtally/flow"
	"flowtally/lab/traffic"
	"flowtally/store"
	"flowtally/store/console"
)

// demoExporter is one of the two devices of the demo's floor that export: each sees a part
// of the packets, none of them both.
type demoExporter struct {
	name   string // what the page calls it, until people call it otherwise
	addr   netip.Addr
	domain uint32
	part   traffic.Part
	to     string
}

// startDemo starts the two exporters of generated traffic, which go on where those of an
// earlier demo stopped. The way of the second one to the collector loses a datagram now and
// then.
func startDemo(ctx context.Context, h *house, c Config, here Addresses, db *store.DB) error {
	lossy, err := openWay(here.Collector)
	if err != nil {
		return err
	}
	h.start(lossy.run)
	own := netip.MustParseAddrPort(loopback(here.Collector)).Addr()
	devices := []demoExporter{
		{"core-1", own, DemoDomain, traffic.Inside, loopback(here.Collector)},
		{"edge-1", lossy.from(), EdgeDomain, traffic.Outside, lossy.addr()},
	}
	var sources []*traffic.Source
	begun := time.Now()
	for _, d := range devices {
		start, err := demoStart(ctx, here.DSN, flow.Exporter{Addr: flow.AddrFrom(d.addr), Domain: d.domain}, begun, c.past)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.Stdout, "demo: %s makes the traffic since %s\n", d.name, start.Format("2006-01-02 15:04:05 MST"))
		source := traffic.New(traffic.Config{Start: start, Part: d.part})
		sources = append(sources, source)
		h.onStop(func() { _ = source.Close() })
		startExporter(h, c, source, d.domain, d.to, func(sum exporter.Summary) {
			fmt.Fprintf(c.Stdout, "demo: %s has sent %d flow records\n", d.name, sum.Records)
		})
	}
	go func() {
		for _, s := range sources {
			select {
			case <-s.Live():
			case <-h.ended():
				return
			}
		}
		fmt.Fprintf(c.Stdout, "demo: caught up after %.0f s, goes on live\n", time.Since(begun).Seconds())
	}()
	h.start(func(ctx context.Context) error { return nameDevices(ctx, console.New(db), devices) })
	return nil
}

// nameDevices gives the devices their names as soon as they are known; one that people have
// said something about keeps what they said.
func nameDevices(ctx context.Context, c *console.Console, devices []demoExporter) error {
	for tick := time.NewTicker(time.Second); len(devices) > 0; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
		list, err := c.Exporters(ctx)
		if err != nil {
			continue // the database starts, or stops
		}
		var left []demoExporter
		for _, d := range devices {
			id := flow.Exporter{Addr: flow.AddrFrom(d.addr), Domain: d.domain}.ID()
			known, named := false, false
			for _, e := range list {
				if e.ID == id {
					known, named = true, e.Name != ""
				}
			}
			switch {
			case !known:
				left = append(left, d)
			case !named:
				if err := c.SetExporter(ctx, id, console.ExporterWords{Name: d.name}); err != nil && !errors.Is(err, console.ErrTaken) {
					left = append(left, d)
				}
			}
		}
		devices = left
	}
	return nil
}

// demoStart is where generated traffic of an exporter begins: behind the newest flow of an
// earlier demo, so that no hour is told twice, and never longer ago than past.
func demoStart(ctx context.Context, dsn string, e flow.Exporter, now time.Time, past time.Duration) (time.Time, error) {
	start := now.Add(-past)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return start, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var newest *time.Time
	err = conn.QueryRow(ctx, `select max(flow_end) from flows where exporter_id = $1 and flow_end >= $2`, int32(e.ID()), start).Scan(&newest)
	if err != nil {
		return start, err
	}
	if newest != nil && newest.After(start) {
		start = newest.Add(time.Millisecond).In(now.Location())
	}
	if start.After(now) {
		start = now
	}
	return start, nil
}
