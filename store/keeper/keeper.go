// Package keeper maintains what is stored: it sums committed batches into the roll-ups,
// settles buckets that are past, seals hours with indexes, and removes what is too old or
// too much.
package keeper

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
)

// The defaults of a Config.
const (
	DefaultRetainRaw = 15 * 24 * time.Hour
	DefaultRetain1m  = 7 * 24 * time.Hour
	DefaultRetain1h  = 366 * 24 * time.Hour
	DefaultRetain1d  = ForEver
	// DefaultRetainEvents is as long as flows are kept.
	DefaultRetainEvents = DefaultRetainRaw
	DefaultEvery        = 5 * time.Second
	// DefaultSumRecords are enough that a value's many flows become one row, and few
	// enough for memory: about 200 bytes each.
	DefaultSumRecords = 1_000_000
)

const (
	// ForEver keeps a source until it is removed by size, or by hand. Any negative
	// duration does.
	ForEver time.Duration = -1
	// RetainNowhere is the Config.RetainPath that looks at no disk.
	RetainNowhere = "none"
)

// Config configures a Keeper. The zero value works.
//
// A Keeper sums flows in portions, so that its memory has a bound whatever flows claim: a
// flow is a row in each minute that it lasts, 50,400 when it claims 35 days. At most
// 1,048,576 such rows are summed at once, 262,144 when they are spread over many
// minutes, and some 50,000 more for the last flow: 0.7 to 1 KB each, so 0.3 GB for
// flows of days and 1 GB at worst. Beside these there are 130 MB of rows that were
// handed over, 130 bytes for each of the 250,000 flows (a million in a Rebuild) that
// are read before they are summed, and 64 MB of sums that wait to be written.
//
// Summing time is not bounded: a row whose values are in no other flow of its
// minute becomes ten rows of traffic_1m until that is settled, which cost the database
// far more than the sum, 0.1 ms and more. A thousand such flows that claim a week
// are a hundred million rows: a good part of an hour, and some 10 GB of disk.
type Config struct {
	// Logger hears of what is removed and what fails; nil is silence.
	Logger *slog.Logger
	// Registerer takes the metrics, flowtally_keeper_…; nil leaves them out.
	Registerer prometheus.Registerer
	// RetainRaw to Retain1d say how long flows and roll-ups are kept after their
	// last receipt, so that an old capture does not expire on arrival. Zero
	// is DefaultRetainRaw, DefaultRetain1m, DefaultRetain1h and DefaultRetain1d.
	RetainRaw, Retain1m, Retain1h, Retain1d time.Duration
	// RetainEvents says the same of events of firewalls and translators,
	// DefaultRetainEvents when zero.
	RetainEvents time.Duration
	// RetainSize is how many bytes the database may have; 0 is no such limit.
	// When it has more, the oldest hours of flows are removed, until 95 % of the
	// limit are left.
	RetainSize int64
	// RetainPath is a directory on the disk of the database. The database may have
	// 80 % of what everything else leaves of that disk; more is over the limit,
	// too. When empty, the Keeper asks PostgreSQL for its data directory, and uses
	// that where it can see it: on the same machine, or mounted at the same place.
	// RetainNowhere looks at no disk.
	RetainPath string
	// Every is the pause between two looks for batches that are not summed;
	// DefaultEvery when 0.
	Every time.Duration
	// Handoff carries what the Writers of this process stored; with nil the Keeper reads
	// every batch back from the database.
	Handoff *rollup.Handoff
	// Grains are the limits of the roll-ups, those of rollup.Grains when nil. SumRecords is
	// how many records are summed at once, DefaultSumRecords when 0. Now is the clock,
	// time.Now when nil. Tests set them.
	Grains     *[rollup.GrainCount]rollup.GrainLimits
	SumRecords int
	Now        func() time.Time
}

// Keeper maintains what Writers store: it sums committed batches into the roll-ups,
// settles buckets that are past, seals partitions that are past, and removes what is too
// old or too much.
//
// All its state is in the database. Several Keepers may run at once, in one process or in
// many: one of them does each step, in a transaction of its own, and after a crash another
// one goes on.
type Keeper struct {
	db      *store.DB
	c       Config
	log     *slog.Logger
	metrics *keeperMetrics
	grains  [rollup.GrainCount]rollup.GrainLimits
	memory  memoryLimits
	now     func() time.Time
	// free is diskFree, or a test's. limitedBy is what limited the size when that was
	// logged.
	free      func(path string) (int64, error)
	limitedBy string
	// locksChecked says that the size of the lock table was looked at.
	locksChecked bool
	// wait makes the Keeper wait for a lock that another Keeper has. Otherwise it leaves
	// the work to that one.
	wait bool
	// pages are, by hour, where in its partition the rows of the next batches are
	// expected. It is a guess that saves reading, and is checked; only Sum uses it.
	pages map[flow.Time]uint32
	// fault is called between the steps, with the name of the one that is done, so that
	// a test can break off.
	fault func(after string) error
}

// New returns a Keeper. It does nothing until Run.
func New(db *store.DB, c Config) *Keeper {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.RetainRaw = cmp.Or(c.RetainRaw, DefaultRetainRaw)
	c.Retain1m = cmp.Or(c.Retain1m, DefaultRetain1m)
	c.Retain1h = cmp.Or(c.Retain1h, DefaultRetain1h)
	c.Retain1d = cmp.Or(c.Retain1d, DefaultRetain1d)
	c.RetainEvents = cmp.Or(c.RetainEvents, DefaultRetainEvents)
	c.Every = cmp.Or(c.Every, DefaultEvery)
	c.SumRecords = cmp.Or(c.SumRecords, DefaultSumRecords)
	c.Grains = cmp.Or(c.Grains, &rollup.Grains)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Keeper{
		db: db, c: c, log: c.Logger, grains: *c.Grains, memory: defaultMemory, now: c.Now, free: diskFree,
		pages: make(map[flow.Time]uint32), metrics: newKeeperMetrics(c.Registerer),
	}
}

// Run works until the context ends, and then returns nil. It logs and counts what fails,
// and tries it again.
//
// Sums and housekeeping run side by side: a partition that waits for a reader holds up
// neither the sums nor whoever stores flows.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.c.Handoff.Begin()()
	var group sync.WaitGroup
	group.Go(func() { k.repeat(ctx, "summing the roll-ups", k.c.Every, k.Sum) })
	group.Go(func() { k.repeat(ctx, "housekeeping", max(k.c.Every, 10*time.Second), k.Tidy) })
	group.Wait()
	return nil
}

// repeat calls f every so often until the context ends. A failure is one line in the log
// at its begin and one at its end.
func (k *Keeper) repeat(ctx context.Context, name string, every time.Duration, f func(context.Context) error) {
	failing := false
	for ctx.Err() == nil {
		switch err := f(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			k.metrics.failures.Inc()
			if !failing {
				k.log.Warn(name+" fails; retrying", "error", err)
			}
			failing = true
		case failing:
			k.log.Info(name + " works again")
			failing = false
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

// keeperLock is the advisory lock of the Keeper that sums or settles.
const keeperLock = 0x666c6f77_0002

// exclusively runs f in a transaction, unless another Keeper does; done is false then.
func (k *Keeper) exclusively(ctx context.Context, f func(pgx.Tx) error) (done bool, err error) {
	err = pgx.BeginFunc(ctx, k.db.Pool(), func(tx pgx.Tx) error {
		if done, err = k.lock(ctx, tx, "xact_lock", keeperLock); err != nil || !done {
			return err
		}
		if err := f(tx); err != nil {
			return err
		}
		return k.after("commit")
	})
	return done, err
}

// lock takes an advisory lock, unless another Keeper has it and k does not wait. It asks
// again and again instead of waiting in the database: there it would have a snapshot, for
// which the other Keeper's indexes wait.
func (k *Keeper) lock(ctx context.Context, q store.Queryer, kind string, lock int64) (taken bool, err error) {
	for {
		err = q.QueryRow(ctx, "select pg_try_advisory_"+kind+"($1)", lock).Scan(&taken)
		if err != nil || taken || !k.wait {
			return taken, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// after lets a test break off after a step.
func (k *Keeper) after(step string) error {
	if k.fault != nil {
		return k.fault(step)
	}
	return nil
}
