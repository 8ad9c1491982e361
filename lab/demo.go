package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/exporter/capture"
	"flowtally/flow"
	"flowtally/lab/traffic"
)

// openDemo returns generated traffic that goes on where an earlier demo stopped,
// and says when it has caught up with the clock, and where that is to be seen.
func openDemo(ctx context.Context, h *house, c Config, here Addresses) (capture.Source, error) {
	start, err := demoStart(ctx, here.DSN, time.Now(), c.past)
	if err != nil {
		return nil, err
	}
	demo := traffic.New(traffic.Config{Start: start})
	fmt.Fprintf(c.Stdout, "demo: making the traffic since %s\n", start.Format("2006-01-02 15:04:05 MST"))
	begun := time.Now()
	go func() {
		select {
		case <-demo.Live():
			fmt.Fprintf(c.Stdout, "demo: caught up after %.0f s, goes on live: %s\n", time.Since(begun).Seconds(), here.Page)
		case <-h.ended():
		}
	}()
	return demo, nil
}

// demoStart is where generated traffic begins: behind the newest flow of an earlier
// demo, so that no hour is told twice, and never longer ago than past.
func demoStart(ctx context.Context, dsn string, now time.Time, past time.Duration) (time.Time, error) {
	start := now.Add(-past)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return start, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	demo := flow.Exporter{Addr: flow.AddrFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1})), Domain: DemoDomain}
	var newest *time.Time
	err = conn.QueryRow(ctx, `select max(flow_end) from flows where exporter_id = $1 and flow_end >= $2`, int32(demo.ID()), start).Scan(&newest)
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
