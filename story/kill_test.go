package story

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/collector"
	"flowtally/flow"
	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/service"
	"flowtally/store"
)

// The test binary is also the collector that the test kills: with this variable
// it receives for the database that it names, with the spool in the directory of
// the other.
const (
	envKilled      = "FLOWTALLY_KILL_TEST_DATABASE"
	envKilledSpool = "FLOWTALLY_KILL_TEST_SPOOL"
	envKilledAge   = "FLOWTALLY_KILL_TEST_BATCH_AGE" // how long a batch may take to fill
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(envKilled); dsn != "" {
		os.Exit(collectUntilKilled(dsn, os.Getenv(envKilledSpool)))
	}
	os.Exit(m.Run())
}

// collectUntilKilled is a collector as the command makes one. It prints its
// address and ends in order with its standard input.
func collectUntilKilled(dsn, spool string) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	age, err := time.ParseDuration(os.Getenv(envKilledAge))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = service.Run(ctx, service.Config{
		DSN: dsn, Spool: spool, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Collector: collector.Config{
			Listen: []string{"127.0.0.1:0"}, Sockets: 1, BatchAge: age,
			Ready: func(a []netip.AddrPort) { fmt.Println(a[0]) },
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// victim is a collector that runs as a process of its own.
type victim struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	addr  netip.AddrPort
}

func startVictim(t *testing.T, dsn, spool string, age time.Duration, log io.Writer) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), envKilled+"="+dsn, envKilledSpool+"="+spool, envKilledAge+"="+age.String())
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe() // it ends with this process, however that ends
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		v.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the collector did not start: %v", err)
	}
	return v
}

// kill ends it without a word; stop lets it write what it has.
func (v *victim) kill() {
	_ = v.cmd.Process.Signal(syscall.SIGKILL)
	_ = v.cmd.Wait()
	_ = v.stdin.Close()
}

func (v *victim) stop(t *testing.T) {
	t.Helper()
	_ = v.stdin.Close()
	late := time.AfterFunc(time.Minute, func() { _ = v.cmd.Process.Kill() })
	defer late.Stop()
	if err := v.cmd.Wait(); err != nil {
		t.Errorf("the collector did not end in order: %v", err)
	}
}

// gun sends numbered flows: the number is a flow's octets. It remembers when it
// sent which.
type gun struct {
	conn *net.UDPConn
	enc  *netflow.Encoder

	mu   sync.Mutex
	to   netip.AddrPort // invalid: hold fire
	sent []time.Time    // by number / gunStep
	next uint64
}

const (
	// gunStep flows are sent at once, gunPause apart.
	gunStep  = 100
	gunPause = 5 * time.Millisecond
)

func (g *gun) aim(to netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
}

// run fires until ctx ends.
func (g *gun) run(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		time.Sleep(gunPause)
		g.fire(t)
	}
}

// fire sends gunStep flows, unless it is to hold fire.
func (g *gun) fire(t *testing.T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.to.IsValid() {
		return
	}
	now := flow.TimeOf(time.Now())
	recs := make([]flow.Record, gunStep)
	for i := range recs {
		recs[i] = flow.Record{Start: now - 1000, End: now - flow.Time(i), Packets: 1, Bytes: g.next + uint64(i) + 1,
			Key: flow.Key{IPVersion: 4, Protocol: flow.UDP, SrcPort: 1, DstPort: 53, SrcAddr: flow.Addr4([4]byte{10, 0, 0, 1}), DstAddr: flow.Addr4([4]byte{10, 0, 0, 2})}}
	}
	g.next += gunStep
	g.sent = append(g.sent, time.Now())
	var msg []byte
	for rest := recs; len(rest) > 0; {
		var n int
		msg, n = g.enc.Append(msg[:0], now, rest)
		if n == 0 {
			t.Error("a message without records")
			return
		}
		_, _ = g.conn.WriteToUDPAddrPort(msg, g.to) // to nobody, when it was killed just now
		rest = rest[n:]
	}
}

// Whoever is killed at whatever moment, nothing is stored twice, nothing is
// stored that was not sent, what is missing was sent just before a collector was
// killed, when it was neither committed nor spooled, and the ledger has every
// record of it, once.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills servers: not in short mode")
	}
	t.Run("batches of 200 ms", func(t *testing.T) { testKill(t, 10, 200*time.Millisecond) })
	t.Run("batches of 1 s", func(t *testing.T) { testKill(t, 5, time.Second) })
}

func testKill(t *testing.T, kills int, age time.Duration) {
	settings := map[string]string{"fsync": "off"}
	if os.Getenv("FLOWTALLY_TORTURE") != "" {
		kills, settings = 20*kills, map[string]string{}
	}
	settings["max_connections"], settings["shared_buffers"] = "30", "32MB"
	var log lockedWriter
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	config := postgres.Config{Dir: pgtest.Dir(t), Settings: settings}
	server := pgtest.Start(t, config)
	dsn := server.DSN(postgres.Admin)
	if err := store.Migrate(ctx, dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(t.TempDir(), "spool")
	v := startVictim(t, dsn, spool, age, &log)
	defer func() { v.kill() }()

	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: 9})
	if err != nil {
		t.Fatal(err)
	}
	g := &gun{conn: conn, enc: enc, to: v.addr}
	var firing sync.WaitGroup
	hold, stopFiring := context.WithCancel(ctx)
	firing.Go(func() { g.run(hold, t) })
	defer stopFiring()

	// The first batch says where the numbers begin.
	waitFor(t, "the first flows are stored", func() bool {
		n, _ := count(ctx, t, dsn, "select count(*) from parts.sequence")
		return n > 0
	})

	type death struct {
		at    time.Time
		first uint64 // the first number that was sent after it
	}
	var deaths []death
	// restart brings the database back, however long the processes of the one that
	// was killed hold on.
	restart := func() {
		t.Helper()
		stop, cancel := context.WithTimeout(ctx, 20*time.Second)
		_ = server.Stop(stop)
		cancel()
		c := config
		c.Trust, c.Port = true, postgres.NoPort
		for try := 0; ; try++ {
			start, cancel := context.WithTimeout(ctx, 30*time.Second)
			s, err := postgres.Start(start, c)
			cancel()
			if err == nil {
				server = s
				return
			}
			if try == 50 {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = server.Stop(stop)
	}()
	killCollector := func() {
		t.Helper()
		v.kill()
		g.mu.Lock()
		g.to = netip.AddrPort{}
		deaths = append(deaths, death{time.Now(), g.next})
		g.mu.Unlock()
		v = startVictim(t, dsn, spool, age, &log)
		g.aim(v.addr)
	}
	killServer := func() { _ = syscall.Kill(server.PID(), syscall.SIGKILL) }
	pause := func(most time.Duration) { time.Sleep(time.Duration(rand.Int64N(int64(most)))) }

	for i := range kills {
		pause(1200 * time.Millisecond)
		switch i % 5 {
		case 0, 2:
			killCollector()
		case 1:
			killServer()
			pause(time.Second)
			restart()
		case 3:
			// One backend: the server starts its recovery by itself.
			killBackend(ctx, t, dsn)
		case 4:
			// Both: the collector comes back first and finds nobody.
			killServer()
			pause(500 * time.Millisecond)
			killCollector()
			pause(300 * time.Millisecond)
			restart()
		}
		if i%10 == 9 {
			t.Logf("after %d kills: %d flows sent", i+1, g.number())
		}
	}
	// In quick succession, with no time to tell of the last: and then in peace.
	for range 3 {
		pause(300 * time.Millisecond)
		killCollector()
	}
	// What comes before the template waits for it, and is no record without one. And
	// a gap shows in what follows it: the last flows are sent until one is stored.
	waitFor(t, "flows are stored that were sent after the last kill", func() bool {
		return lastStored(ctx, t, dsn) > deaths[len(deaths)-1].first
	})
	stopFiring()
	firing.Wait()
	marked := uint64(0)
	for try := 0; ; try++ {
		if try%100 == 0 {
			g.fire(t)
		}
		if marked = lastStored(ctx, t, dsn); marked == g.number() {
			break
		}
		if try == 1200 {
			t.Fatalf("of %d flows sent the last that is stored is %d", g.number(), marked)
		}
		time.Sleep(50 * time.Millisecond)
	}
	sent := g.number()

	// What is received is written at the end, and the spool empties itself.
	waitFor(t, "the spool is empty", func() bool {
		names, _ := filepath.Glob(filepath.Join(spool, "*.batch"))
		return len(names) == 0
	})
	v.stop(t)
	if names, _ := filepath.Glob(filepath.Join(spool, "*.batch")); len(names) > 0 {
		v = startVictim(t, dsn, spool, age, &log)
		waitFor(t, "the spool is empty", func() bool {
			names, _ := filepath.Glob(filepath.Join(spool, "*.batch"))
			return len(names) == 0
		})
		v.stop(t)
	}

	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(ctx)
	var rows, different, claimed, largest int64
	if err := db.QueryRow(ctx, `select count(*), count(distinct bytes), coalesce(max(bytes), 0), (select coalesce(sum(records), 0)::bigint from batches) from parts.flows`).
		Scan(&rows, &different, &largest, &claimed); err != nil {
		t.Fatal(err)
	}
	if rows != different {
		t.Errorf("%d rows stored, only %d different: some are stored twice", rows, different)
	}
	if rows != claimed {
		t.Errorf("%d rows stored, the batches claim %d", rows, claimed)
	}
	if largest > int64(sent) {
		t.Errorf("flow %d is stored, and only %d were sent", largest, sent)
	}
	if bad, _ := filepath.Glob(filepath.Join(spool, "*.bad")); len(bad) > 0 {
		t.Errorf("files that cannot be read: %v", bad)
	}

	// What is missing.
	found, err := db.Query(ctx, `select n from generate_series(1, $1::bigint) n left join parts.flows f on f.bytes = n where f.bytes is null order by n`, int64(sent))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := pgx.CollectRows(found, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	told, err := db.Query(ctx, "select count from loss where cause = 'kernel_buffer'")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := pgx.CollectRows(told, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	var worst time.Duration
	unexplained, old := 0, 0
	for _, n := range missing {
		when := g.sent[(n-1)/gunStep]
		i := 0
		for i < len(deaths) && deaths[i].first < uint64(n) {
			i++
		}
		if i == len(deaths) {
			unexplained++
			continue
		}
		worst = max(worst, deaths[i].at.Sub(when))
		if deaths[i].at.Sub(when) > 2*time.Second {
			old++
		}
	}
	// What the kernel had no room for it says itself.
	if unexplained > 0 && len(kernel) == 0 {
		t.Errorf("%d flows are missing that were sent after the last collector was killed, behind %d; the last is %d of %d", unexplained, deaths[len(deaths)-1].first, missing[len(missing)-1], sent)
	}
	t.Logf("%d kills, %d of them of the collector: %d flows sent, %d stored, %d missing; the oldest of these was sent %v before a kill",
		kills, len(deaths), sent, rows, len(missing), worst.Round(time.Millisecond))
	// A batch takes age to fill, and the database has a second until the batch goes
	// to the spool. A busy machine may need longer to do either; what it may not is
	// forget a batch, which would show as flows that are older by far, each time.
	if old > len(missing)/4 {
		t.Errorf("%d of %d missing flows were sent more than 2 s before the kill", old, len(missing))
	}
	if limit := 10 * time.Second; worst > limit {
		t.Errorf("a flow is missing that was sent %v before the kill", worst)
	}
	if n := booked(ctx, t, dsn); n != int64(len(missing)) {
		t.Errorf("%d flows are missing, and the ledger has %d", len(missing), n)
	}
	if t.Failed() {
		var ledger string
		_ = db.QueryRow(ctx, "select coalesce(string_agg(stage || ' ' || cause || ' ' || unit || ' ' || count, ', '), '') from loss").Scan(&ledger)
		t.Logf("the ledger: %s", ledger)
		t.Log(log.tail())
	}
}

// booked returns how many records the ledger says are missing.
func booked(ctx context.Context, t *testing.T, dsn string) (n int64) {
	t.Helper()
	n, err := count(ctx, t, dsn, "select coalesce(sum(count), 0)::bigint from loss where unit = 'record'")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lastStored returns the number of the last flow that is in the database, 0 while
// it cannot be asked.
func lastStored(ctx context.Context, t *testing.T, dsn string) uint64 {
	t.Helper()
	n, _ := count(ctx, t, dsn, "select coalesce(max(bytes), 0)::bigint from parts.flows")
	return uint64(n)
}

// count asks for one number.
func count(ctx context.Context, t *testing.T, dsn, query string) (n int64, err error) {
	t.Helper()
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer db.Close(ctx)
	err = db.QueryRow(ctx, query).Scan(&n)
	return n, err
}

func (g *gun) number() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next
}

// killBackend kills one process of the server that works for the collector.
func killBackend(ctx context.Context, t *testing.T, dsn string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var pid int
	for range 100 {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			err = conn.QueryRow(ctx, "select pid from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend' order by random() limit 1").Scan(&pid)
			_ = conn.Close(ctx)
		}
		if err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1200 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("in vain: %s", what)
}

// lockedWriter keeps the last of what several write.
type lockedWriter struct {
	mu   sync.Mutex
	text []byte
}

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	if n := len(w.text) - 64<<10; n > 0 {
		w.text = append(w.text[:0], w.text[n:]...)
	}
	return len(b), nil
}

func (w *lockedWriter) tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}
