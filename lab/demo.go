package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/exporter"
	"flowtally/flow"
	"flowtally/lab/traffic"
)

// demoExporter is one of the two devices of the demo's floor that export: each sees a part
// of the packets, none of them both.
type demoExporter struct {
	name   string // what it says that it is called
	addr   netip.Addr
	domain uint32
	part   traffic.Part
	to     string
}

// startDemo starts the two exporters of generated traffic, which go on where those of an
// earlier demo stopped. The way of the second one to the collector loses a datagram now and
// then.
func startDemo(ctx context.Context, h *house, c Config, here Addresses) error {
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
	var begins []<-chan struct{}
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
		begins = append(begins, startExporter(h, c, source, d.name, d.domain, d.to, func(sum exporter.Summary) {
			fmt.Fprintf(c.Stdout, "demo: %s has sent %d flow records\n", d.name, sum.Records)
		}))
	}
	go func() {
		for _, s := range sources {
			select {
			case <-s.Live():
			case <-h.ended():
				return
			}
		}
		fmt.Fprintf(c.Stdout, "demo: caught up after %.0f s, goes on live: %s\n", time.Since(begun).Seconds(), here.Page)
	}()
	for _, b := range begins {
		if _, ok := heard(h, b); !ok {
			return nil
		}
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
