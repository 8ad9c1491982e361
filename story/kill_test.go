package story

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/lab/postgres"
	"flowtally/lab/postgres/pgtest"
	"flowtally/netflow"
	"flowtally/store"
)

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

// siege is a collector and a database that are killed while a gun fires.
type siege struct {
	t          *testing.T
	ctx        context.Context
	age        time.Duration // that a batch may take to fill
	config     postgres.Config
	server     *postgres.Server
	dsn, spool string
	collector  *victim
	log        lockedWriter // of all collectors
	gun        *gun
	ceaseFire  func() // returns when the last shot is fired
	deaths     []death
}

// death is when a collector was killed.
type death struct {
	at    time.Time
	first uint64 // the first number that was sent after it
}

// newSiege starts a database, a collector and the firing.
func newSiege(t *testing.T, age time.Duration, settings map[string]string) *siege {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	settings["max_connections"], settings["shared_buffers"] = "30", "32MB"
	s := &siege{t: t, ctx: ctx, age: age, spool: filepath.Join(t.TempDir(), "spool")}
	s.config = postgres.Config{Dir: pgtest.Dir(t), Settings: settings}
	s.server = pgtest.Start(t, s.config)
	s.dsn = s.server.DSN(postgres.Admin)
	if err := store.Migrate(ctx, s.dsn, store.MigrateConfig{}); err != nil {
		t.Fatal(err)
	}
	s.startCollector()
	t.Cleanup(func() { s.collector.kill() })

	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	enc, err := netflow.NewEncoder(netflow.EncoderConfig{Version: netflow.IPFIX, Domain: 9})
	if err != nil {
		t.Fatal(err)
	}
	s.gun = &gun{conn: conn, enc: enc, to: s.collector.addr}
	var firing sync.WaitGroup
	hold, stop := context.WithCancel(ctx)
	firing.Go(func() { s.gun.run(hold, t) })
	s.ceaseFire = func() {
		stop()
		firing.Wait()
	}
	t.Cleanup(s.ceaseFire)
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.server.Stop(stop)
	})
	return s
}

func (s *siege) startCollector() {
	s.t.Helper()
	s.collector = startVictim(s.t, s.dsn, s.spool, s.age, &s.log)
}

// killCollector kills the collector and starts another.
func (s *siege) killCollector() {
	s.t.Helper()
	s.collector.kill()
	s.gun.mu.Lock()
	s.gun.to = netip.AddrPort{}
	s.deaths = append(s.deaths, death{time.Now(), s.gun.next})
	s.gun.mu.Unlock()
	s.startCollector()
	s.gun.aim(s.collector.addr)
}

func (s *siege) killServer() { _ = syscall.Kill(s.server.PID(), syscall.SIGKILL) }

// restartServer brings the database back, however long the processes of the one
// that was killed hold on.
func (s *siege) restartServer() {
	s.t.Helper()
	stop, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	_ = s.server.Stop(stop)
	cancel()
	c := s.config
	c.Trust, c.Port = true, postgres.NoPort
	for try := 0; ; try++ {
		start, cancel := context.WithTimeout(s.ctx, 30*time.Second)
		server, err := postgres.Start(start, c)
		cancel()
		if err == nil {
			s.server = server
			return
		}
		if try == 50 {
			s.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// kill kills one or the other, in turn, at some moment.
func (s *siege) kill(turn int) {
	s.t.Helper()
	pause(1200 * time.Millisecond)
	switch turn % 5 {
	case 0, 2:
		s.killCollector()
	case 1:
		s.killServer()
		pause(time.Second)
		s.restartServer()
	case 3:
		// One backend: the server starts its recovery by itself.
		killBackend(s.ctx, s.t, s.dsn)
	case 4:
		// Both: the collector comes back first and finds nobody.
		s.killServer()
		pause(500 * time.Millisecond)
		s.killCollector()
		pause(300 * time.Millisecond)
		s.restartServer()
	}
}

// pause is of no certain length.
func pause(most time.Duration) { time.Sleep(time.Duration(rand.Int64N(int64(most)))) }

// fireUntilStored ends the firing with flows of which the last is stored, and
// returns how many were sent in all. What comes before the template waits for it,
// and is no record without one. And a gap shows in what follows it: the last flows
// are sent until one is stored.
func (s *siege) fireUntilStored() (sent uint64) {
	s.t.Helper()
	waitFor(s.t, "flows are stored that were sent after the last kill", func() bool {
		return lastStored(s.ctx, s.t, s.dsn) > s.deaths[len(s.deaths)-1].first
	})
	s.ceaseFire()
	for try := 0; ; try++ {
		if try%100 == 0 {
			s.gun.fire(s.t)
		}
		marked := lastStored(s.ctx, s.t, s.dsn)
		if marked == s.gun.number() {
			return marked
		}
		if try == 1200 {
			s.t.Fatalf("of %d flows sent the last that is stored is %d", s.gun.number(), marked)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// end stops the collector in order. What is received is written then, and the
// spool empties itself.
func (s *siege) end() {
	s.t.Helper()
	spooled := func() bool {
		names, _ := filepath.Glob(filepath.Join(s.spool, "*.batch"))
		return len(names) > 0
	}
	waitFor(s.t, "the spool is empty", func() bool { return !spooled() })
	s.collector.stop(s.t)
	if spooled() {
		s.startCollector()
		waitFor(s.t, "the spool is empty", func() bool { return !spooled() })
		s.collector.stop(s.t)
	}
	if bad, _ := filepath.Glob(filepath.Join(s.spool, "*.bad")); len(bad) > 0 {
		s.t.Errorf("files that cannot be read: %v", bad)
	}
}

func testKill(t *testing.T, kills int, age time.Duration) {
	settings := map[string]string{"fsync": "off"}
	if os.Getenv("FLOWTALLY_TORTURE") != "" {
		kills, settings = 20*kills, map[string]string{}
	}
	s := newSiege(t, age, settings)
	// The first batch says where the numbers begin.
	waitFor(t, "the first flows are stored", func() bool {
		n, _ := count(s.ctx, t, s.dsn, "select count(*) from parts.sequence")
		return n > 0
	})
	for i := range kills {
		s.kill(i)
		if i%10 == 9 {
			t.Logf("after %d kills: %d flows sent", i+1, s.gun.number())
		}
	}
	// In quick succession, with no time to tell of the last: and then in peace.
	for range 3 {
		pause(300 * time.Millisecond)
		s.killCollector()
	}
	sent := s.fireUntilStored()
	s.end()

	db, err := pgx.Connect(s.ctx, s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(s.ctx)
	stored := s.checkStored(db, sent)
	missing, worst := s.checkMissing(db, sent)
	t.Logf("%d kills, %d of them of the collector: %d flows sent, %d stored, %d missing; the oldest of these was sent %v before a kill",
		kills, len(s.deaths), sent, stored, missing, worst.Round(time.Millisecond))
	if n := booked(s.ctx, t, s.dsn); n != int64(missing) {
		t.Errorf("%d flows are missing, and the ledger has %d", missing, n)
	}
	if t.Failed() {
		var ledger string
		_ = db.QueryRow(s.ctx, "select coalesce(string_agg(stage || ' ' || cause || ' ' || unit || ' ' || count, ', '), '') from loss").Scan(&ledger)
		t.Logf("the ledger: %s", ledger)
		t.Log(s.log.tail())
	}
}

// checkStored holds what is stored to what was sent: nothing twice, and nothing
// else.
func (s *siege) checkStored(db *pgx.Conn, sent uint64) (rows int64) {
	s.t.Helper()
	var different, claimed, largest int64
	if err := db.QueryRow(s.ctx, `select count(*), count(distinct bytes), coalesce(max(bytes), 0), (select coalesce(sum(records), 0)::bigint from batches) from parts.flows`).
		Scan(&rows, &different, &largest, &claimed); err != nil {
		s.t.Fatal(err)
	}
	if rows != different {
		s.t.Errorf("%d rows stored, only %d different: some are stored twice", rows, different)
	}
	if rows != claimed {
		s.t.Errorf("%d rows stored, the batches claim %d", rows, claimed)
	}
	if largest > int64(sent) {
		s.t.Errorf("flow %d is stored, and only %d were sent", largest, sent)
	}
	return rows
}

// checkMissing holds what is missing to have been sent just before a collector was
// killed, and returns how many flows that are, and the longest before.
func (s *siege) checkMissing(db *pgx.Conn, sent uint64) (n int, worst time.Duration) {
	s.t.Helper()
	found, err := db.Query(s.ctx, `select n from generate_series(1, $1::bigint) n left join parts.flows f on f.bytes = n where f.bytes is null order by n`, int64(sent))
	if err != nil {
		s.t.Fatal(err)
	}
	missing, err := pgx.CollectRows(found, pgx.RowTo[int64])
	if err != nil {
		s.t.Fatal(err)
	}
	told, err := db.Query(s.ctx, "select count from loss where cause = 'kernel_buffer'")
	if err != nil {
		s.t.Fatal(err)
	}
	kernel, err := pgx.CollectRows(told, pgx.RowTo[int64])
	if err != nil {
		s.t.Fatal(err)
	}
	unexplained, old := 0, 0
	for _, n := range missing {
		when := s.gun.sent[(n-1)/gunStep]
		i := 0
		for i < len(s.deaths) && s.deaths[i].first < uint64(n) {
			i++
		}
		if i == len(s.deaths) {
			unexplained++
			continue
		}
		before := s.deaths[i].at.Sub(when)
		worst = max(worst, before)
		if before > 2*time.Second {
			old++
		}
	}
	// What the kernel had no room for it says itself.
	if unexplained > 0 && len(kernel) == 0 {
		s.t.Errorf("%d flows are missing that were sent after the last collector was killed, behind %d; the last is %d of %d", unexplained, s.deaths[len(s.deaths)-1].first, missing[len(missing)-1], sent)
	}
	// A batch takes age to fill, and the database has a second until the batch goes
	// to the spool. A busy machine may need longer to do either; what it may not is
	// forget a batch, which would show as flows that are older by far, each time.
	if old > len(missing)/4 {
		s.t.Errorf("%d of %d missing flows were sent more than 2 s before the kill", old, len(missing))
	}
	if limit := 10 * time.Second; worst > limit {
		s.t.Errorf("a flow is missing that was sent %v before the kill", worst)
	}
	return len(missing), worst
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
