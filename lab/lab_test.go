package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/lab/traffic"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/jackc/pgx/v5"
)

// running is a lab that a test has started.
type running struct {
	Addresses
	stop func() error
	out  *output
}

// output is a bytes.Buffer for several goroutines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func needPostgres(t *testing.T) {
	t.Helper()
	if _, err := postgres.Find(); err != nil {
		t.Skip(err)
	}
}

// free are the addresses of a lab beside others.
func free(c Config) Config {
	c.Listen, c.WebListen = "127.0.0.1:0", "127.0.0.1:0"
	c.Logger = slog.New(slog.DiscardHandler)
	return c
}

// start runs a lab and returns when it is ready.
func start(t *testing.T, c Config) running {
	t.Helper()
	return startWith(t, free(c), &output{})
}

// startWith is start for a lab with a log, whose output goes to out.
func startWith(t *testing.T, c Config, out *output) running {
	t.Helper()
	logger := c.Logger
	c = free(c)
	c.Logger = logger
	r := running{out: out}
	c.Stdout = r.out
	ready := make(chan Addresses, 1)
	c.Ready = func(a Addresses) { ready <- a }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = r.stop() })
	select {
	case r.Addresses = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the lab has ended before it was ready: %v\n%s", err, r.out)
	}
	return r
}

// ask runs a query as the role that everybody gets.
func ask[T any](t *testing.T, dsn, sql string, args ...any) (v T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// until waits for something that has to happen.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !happened(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited two minutes for %s", what)
		}
	}
}

// TestDemoFillsStopsAndGoesOn: the past is filled, a stop stores what was seen, and
// the next start goes on where the last one stopped instead of telling it twice.
func TestDemoFillsStopsAndGoesOn(t *testing.T) {
	needPostgres(t)
	c := Config{Dir: pgtest.Dir(t), Demo: true, past: 20 * time.Minute}

	first := start(t, c)
	// What its exporters tell is there: names, interfaces, that they do not sample, their losses.
	until(t, "two exporters by name that tell of themselves", func() bool {
		return ask[string](t, first.DSN, `select coalesce(string_agg(e.label, ' ' order by e.label), '') from exporters e join exporter_status s on s.exporter_id = e.id
			where s.sampling_rate = 1 and s.metering_told_at is not null and s.sending_told_at is not null`) == "core-1 edge-1"
	})
	until(t, "names of their interfaces", func() bool {
		return ask[string](t, first.DSN, `select coalesce(string_agg(i.name, ' ' order by e.label, i.if_index), '') from interfaces i join exporters e on e.id = i.exporter_id`) ==
			"ge-0/0/1 ge-0/0/2 ge-0/0/3 ge-0/0/4 xe-0/1/0 ethernet1/1 ethernet1/2 ethernet1/3"
	})
	until(t, "the demo to catch up", func() bool { return strings.Contains(first.out.String(), "goes on live") })
	until(t, "the past in the database", func() bool {
		return ask[int64](t, first.DSN, "select count(*) from flows where flow_start < now() - interval '2 minutes'") > 1000
	})
	resp, err := http.Get(first.Page + "/api/v1/top?from=-6h&by=flows&limit=3")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("10.20.")) {
		t.Errorf("the page's API: %s: %s", resp.Status, body)
	}
	if err := first.stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if !strings.Contains(first.out.String(), "page       "+first.Page) || !strings.Contains(first.out.String(), first.DSN) {
		t.Errorf("the banner says neither page nor DSN:\n%s", first.out)
	}

	// Without the demo, so that nothing moves.
	c.Demo = false
	quiet := start(t, c)
	sums := "select count(*) || ' flows ' || sum(packets) || ' packets' from flows where flow_end <= $1"
	newest := ask[time.Time](t, quiet.DSN, "select max(flow_end) from flows")
	before := ask[string](t, quiet.DSN, sums, newest)
	// What the exporters sent is stored, but for what was lost on the way of the second one,
	// to the record.
	for name, lossy := range map[string]bool{"core-1": false, "edge-1": true} {
		var sent int64
		if _, after, ok := strings.Cut(first.out.String(), "demo: "+name+" has sent "); !ok {
			t.Fatalf("%s has not said what it sent:\n%s", name, first.out)
		} else if _, err := fmt.Sscan(after, &sent); err != nil {
			t.Fatal(err)
		}
		stored := ask[int64](t, quiet.DSN, "select count(*) from flows where exporter = $1", name)
		missing := ask[int64](t, quiet.DSN, "select coalesce(sum(count), 0)::bigint from loss l join exporters e on e.id = l.exporter_id where label = $1 and stage = 'way' and unit = 'record'", name)
		if stored+missing != sent || (missing > 0) != lossy {
			t.Errorf("%s has sent %d records; %d are stored and %d missing", name, sent, stored, missing)
		}
	}
	if lost := ask[int64](t, quiet.DSN, "select count(*) from loss where stage <> 'way'"); lost != 0 {
		t.Errorf("the ledger has %d other losses", lost)
	}
	if err := quiet.stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if newest.After(time.Now()) {
		t.Errorf("the newest flow ends at %v, in the future", newest)
	}

	c.Demo = true
	second := start(t, c)
	until(t, "new flows", func() bool {
		return ask[int64](t, second.DSN, "select count(*) from flows where flow_end > $1", newest) > 0
	})
	if err := second.stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	c.Demo = false
	last := start(t, c)
	if after := ask[string](t, last.DSN, sums, newest); after != before {
		t.Errorf("up to %v there were %s, after another start %s", newest, before, after)
	}
}

// TestReadIsTrue: what a capture holds is what the database holds.
func TestReadIsTrue(t *testing.T) {
	needPostgres(t)
	dir := pgtest.Dir(t)
	name := filepath.Join(dir, "floor.pcap")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriterNanos(f)
	if err := w.WriteFileHeader(traffic.SnapLen, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 18, 9, 0, 0, 0, time.UTC)
	source := traffic.New(traffic.Config{Start: at, End: at.Add(5 * time.Minute), Seed: 3})
	packets := int64(0)
	for {
		data, ci, err := source.ZeroCopyReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(ci, data); err != nil {
			t.Fatal(err)
		}
		packets++
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{Dir: filepath.Join(dir, "data"), Read: name})
	until(t, "the capture to be sent", func() bool { return strings.Contains(r.out.String(), name+":") })
	until(t, "the capture's packets in the database", func() bool {
		return ask[int64](t, r.DSN, "select coalesce(sum(packets), 0)::bigint from flows") >= packets
	})
	if n := ask[int64](t, r.DSN, "select sum(packets)::bigint from flows where flow_start >= $1 and flow_end < $2", at, at.Add(5*time.Minute)); n != packets {
		t.Errorf("%d packets in the database, %d in the capture", n, packets)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestPlainWords: what goes wrong at the start is one sentence that says what to do.
func TestPlainWords(t *testing.T) {
	refused := func(t *testing.T, c Config, words ...string) {
		t.Helper()
		err := Run(t.Context(), c)
		if err == nil {
			t.Fatal("it runs")
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not say %q", err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
	}
	dir := pgtest.Dir(t)
	t.Run("udp_port_in_use", func(t *testing.T) {
		l, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c := free(Config{Dir: filepath.Join(dir, "never")})
		c.Listen = l.LocalAddr().String()
		refused(t, c, c.Listen, "in use", "--listen")
		if _, err := os.Stat(c.Dir); err == nil {
			t.Error("it has made its directory all the same")
		}
	})
	t.Run("page_port_in_use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c := free(Config{Dir: filepath.Join(dir, "never")})
		c.WebListen = l.Addr().String()
		refused(t, c, c.WebListen, "in use", "--web")
	})
	t.Run("two_sources", func(t *testing.T) {
		refused(t, free(Config{Dir: filepath.Join(dir, "never"), Demo: true, Read: "x"}), "--demo", "choose one")
	})
	t.Run("no_such_capture", func(t *testing.T) {
		refused(t, free(Config{Dir: filepath.Join(dir, "never"), Read: filepath.Join(dir, "missing.pcap")}), "missing.pcap")
	})
	t.Run("second_lab", func(t *testing.T) {
		needPostgres(t)
		r := start(t, Config{Dir: filepath.Join(dir, "shared")})
		refused(t, free(Config{Dir: r.Dir}), "another flowtally lab", r.Dir, "--data")
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("no_postgres", func(t *testing.T) {
		t.Setenv("FLOWTALLY_PG_BIN", t.TempDir())
		refused(t, free(Config{Dir: filepath.Join(dir, "never")}), "FLOWTALLY_PG_BIN")
	})
}

// TestStopWhileStarting: whoever changes their mind gets no error for it.
func TestStopWhileStarting(t *testing.T) {
	needPostgres(t)
	for _, after := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		err := Run(ctx, free(Config{Dir: filepath.Join(pgtest.Dir(t), "data"), Demo: true, past: time.Minute}))
		cancel()
		if err != nil {
			t.Errorf("stopped after %v: %v", after, err)
		}
	}
}

// TestDefaultDirectory: the lab's directory is nobody else's, and an earlier lab's data is
// found where it is, or said to be there when it cannot be used.
func TestDefaultDirectory(t *testing.T) {
	parent := pgtest.Dir(t)
	t.Setenv("XDG_DATA_HOME", parent)
	rootHome = parent
	t.Cleanup(func() { rootHome = "/var/lib" })
	is := func(want string, words ...string) {
		t.Helper()
		dir, notice, err := defaultDir()
		if err != nil || dir != want {
			t.Errorf("the directory is %q, %v; want %q", dir, err, want)
		}
		if (notice != "") != (len(words) > 0) || strings.Contains(notice, "\n") {
			t.Errorf("it says %q", notice)
		}
		for _, w := range words {
			if !strings.Contains(notice, w) {
				t.Errorf("%q does not say %q", notice, w)
			}
		}
	}
	ours, former := filepath.Join(parent, "flowtally-lab"), filepath.Join(parent, "flowtally")
	is(ours)
	// A collector that root ran leaves a closed directory, which is not the lab's.
	if err := os.MkdirAll(filepath.Join(former, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	is(ours)
	data := filepath.Join(former, "postgres", "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		is(ours, former, "mv "+former+"/postgres "+ours+"/")
		if err := os.Chmod(former, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	is(former)
	if err := os.MkdirAll(filepath.Join(ours, "postgres", "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(ours, "postgres", "data", "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	is(ours)
}

// TestAddressComesLast: what a person is to open stands under everything else, and again
// when there is something to see.
func TestAddressComesLast(t *testing.T) {
	needPostgres(t)
	// What the parts log is on the same screen.
	screen := &output{}
	r := startWith(t, Config{Dir: pgtest.Dir(t), Demo: true, past: 10 * time.Minute, Logger: slog.New(slog.NewTextHandler(screen, nil))}, screen)
	if lines := strings.Count(r.out.String(), "\n"); lines > 14 || !strings.Contains(r.out.String(), "schema ready") {
		t.Errorf("%d lines:\n%s", lines, r.out)
	}
	banner := strings.TrimRight(r.out.String(), "\n")
	if caught := strings.Index(banner, "\ndemo: caught up"); caught >= 0 {
		banner = banner[:caught]
	}
	if !strings.HasSuffix(banner, "\n  page       "+r.Page) {
		t.Errorf("the page's address is not the last:\n%s", banner)
	}
	until(t, "the demo to catch up", func() bool { return strings.Contains(r.out.String(), "goes on live") })
	if !strings.HasSuffix(r.out.String(), "goes on live: "+r.Page+"\n") {
		t.Errorf("the page's address is not said again:\n%s", r.out)
	}
}
