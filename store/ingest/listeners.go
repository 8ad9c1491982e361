package ingest

import (
	"context"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/row"
)

// putListeners replaces what is known of where a collector listens. What it did not say for
// three minutes it does not listen on any more; of collectors that ended, a day is kept.
func putListeners(ctx context.Context, tx pgx.Tx, list []flow.Listener) error {
	if len(list) == 0 {
		return nil
	}
	var b pgx.Batch
	for i := range list {
		x := &list[i]
		reachable := x.Reachable
		if reachable == nil {
			reachable = []netip.Addr{}
		}
		b.Queue(`insert into parts.listener (collector, protocol, address, reachable, announced, container) values ($1, $2, $3, $4, nullif($5, ''), $6)
			on conflict (collector, protocol, address) do update set reported_at = clock_timestamp(), reachable = excluded.reachable,
				announced = excluded.announced, container = excluded.container`,
			row.Text(x.Collector), x.Protocol, x.Addr.String(), reachable, row.Text(x.Announced), x.Container)
	}
	b.Queue(`delete from parts.listener where reported_at < now() - interval '1 day' or collector = $1 and reported_at < now() - interval '3 minutes'`, row.Text(list[0].Collector))
	return tx.SendBatch(ctx, &b).Close()
}
