package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"flowtally/collector"
	"flowtally/flow"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/store/ingest"
	"flowtally/store/keeper"

	"github.com/jackc/pgx/v5"
)

// TestStopStores: what was received before the stop is stored when Run returns,
// whatever was still waiting for its batch to fill.
func TestStopStores(t *testing.T) {
	dsn := pgtest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, ended := make(chan netip.AddrPort, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{
			DSN: dsn, Spool: filepath.Join(t.TempDir(), "spool"), Keeper: &keeper.Config{}, Logger: slog.New(slog.DiscardHandler),
			Collector: collector.Config{
				Listen: []string{"127.0.0.1:0"}, Sockets: 1, BatchAge: time.Hour,
				Ready: func(a []netip.AddrPort) { ready <- a[0] },
			},
		})
	}()
	var to netip.AddrPort
	select {
	case to = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.V5})
	if err != nil {
		t.Fatal(err)
	}
	now := flow.TimeOf(time.Now())
	r := flow.Record{Start: now - 1000, End: now, Packets: 1, Bytes: 40, Key: flow.Key{IPVersion: 4, Protocol: flow.UDP,
		SrcAddr: flow.Addr4([4]byte{10, 0, 0, 1}), DstAddr: flow.Addr4([4]byte{10, 0, 0, 2})}}
	msg, _ := enc.Append(nil, now, []flow.Record{r})
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	// The kernel has it; the collector reads what is there before it ends.
	time.Sleep(300 * time.Millisecond)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	var flows int
	if err := db.QueryRow(t.Context(), "select count(*) from flows").Scan(&flows); err != nil || flows != 1 {
		t.Errorf("%d flows are stored, want 1; %v", flows, err)
	}
}

// TestBrokenSpoolEndsIt: a spool that cannot be opened is the error of Run.
func TestBrokenSpoolEndsIt(t *testing.T) {
	dsn := pgtest.New(t)
	spool := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(spool, nil, 0o600); err != nil { // a file is in its place
		t.Fatal(err)
	}
	err := Run(t.Context(), Config{
		DSN: dsn, Spool: spool, Logger: slog.New(slog.DiscardHandler),
		Collector: collector.Config{Listen: []string{"127.0.0.1:0"}, Sockets: 1},
	})
	if !errors.Is(err, ingest.ErrSpool) {
		t.Errorf("it ended with %v, want %v", err, ingest.ErrSpool)
	}
}
