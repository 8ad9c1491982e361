// Package keeper looks after what is stored: it sums committed batches into the roll-ups,
// settles buckets that are past, seals hours with indexes, and removes what is too old or
// too much.
package keeper

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"flowtally/flow"
	"flowtally/store"
	"flowtally/store/rollup"
)

// keeperLock is the advisory lock of the Keeper whose turn it is.
const keeperLock = 0x666c6f77_0002

// sumRecords is how many records are summed at once: enough that a value's
// many flows become one row, few enough for memory, about 200 octets each.
const sumRecords = 1_000_000

// settleAfter is how long after its end a bucket is settled: flows that last
// five minutes, and come late by a few more, find it open.
const settleAfter = 10 * flow.Minute

// Retention by default; For ever is any negative duration.
const (
	DefaultRetainRaw = 15 * 24 * time.Hour
	DefaultRetain1m  = 7 * 24 * time.Hour
	DefaultRetain1h  = 366 * 24 * time.Hour
	// ForEver keeps a source until it is removed by size, or by hand.
	ForEver time.Duration = -1
	// RetainNowhere is the KeeperConfig.RetainPath that looks at no disk.
	RetainNowhere = "none"
)

// Config is what a Keeper may be told. The zero value will do.
//
// A Keeper sums in pieces, so that its memory has a bound whatever flows claim: a
// flow is a row in each minute that it lasts, 50,400 when it claims 35 days. At most
// 1,048,576 such rows are summed at once, 262,144 when they are spread over many
// minutes, and some 50,000 more for the last flow: 0.7 to 1 KB each, so 0.3 GB for
// flows of days and 1 GB at worst. Beside these there are 130 MB of rows that were
// handed on, 130 octets for each of the 250,000 flows (a million in a Rebuild) that
// are read before they are summed, and 64 MB of sums that wait to be written.
//
// A bound of time there is not: a row whose values are in no other flow of its
// minute is ten rows of traffic_1m until that is settled, which cost the database
// far more than the sum, 0.1 ms and more. A thousand such flows that claim a week
// are a hundred million rows: a good part of an hour, and some 10 GB of disk.
type Config struct {
	// Logger hears of what is removed and what fails; nil is silence.
	Logger *slog.Logger
	// Registerer takes the metrics, flowtally_keeper_…; nil leaves them out.
	Registerer prometheus.Registerer
	// RetainRaw to Retain1d say how long flows and roll-ups are kept: since
	// their last receipt, so that an old capture is not expired on arrival. Zero
	// is DefaultRetainRaw, DefaultRetain1m, DefaultRetain1h and, for days,
	// ForEver.
	RetainRaw, Retain1m, Retain1h, Retain1d time.Duration
	// RetainSize is how many octets the database may have, 0: no such limit.
	// Beyond it the oldest hours of flows go, until 95 % are left.
	RetainSize int64
	// RetainPath is a directory on the disk that the database is on, of which it may
	// have 80 % of what all else there leaves to it; more counts as beyond the limit,
	// too. When empty, the Keeper asks PostgreSQL for its data directory, and takes
	// that where it can see it: on the same machine, or mounted at the same place.
	// RetainNowhere looks at no disk.
	RetainPath string
	// Every is the pause between two looks for batches that are not summed, 5 s
	// when 0.
	Every time.Duration
	// Handoff has what the Writers of this process stored; with nil every batch is read
	// back from the database.
	Handoff *rollup.Handoff
	// Grains are the limits of the roll-ups, those of rollup.Grains when nil. SumRecords is
	// how many records are summed at once, a million when 0. Now is the clock, time.Now
	// when nil. Tests set them.
	Grains     *[rollup.GrainCount]rollup.GrainLimits
	SumRecords int
	Now        func() time.Time
}

// Keeper keeps the house in order while a Writer fills it: it sums committed
// batches into the roll-ups, settles buckets that are past, seals partitions
// that are past, and removes what is too old or too much.
//
// All it knows is in the database. Several may run at once, in one process or in
// many: each step is taken by one of them, in a transaction of its own, and after
// a crash another one goes on.
type Keeper struct {
	db      *store.DB
	c       Config
	log     *slog.Logger
	metrics *keeperMetrics
	laws    [rollup.GrainCount]rollup.GrainLimits
	records int
	pieces  pieces
	now     func() time.Time
	// free is diskFree, limitedBy what limits the size as it was last logged.
	free      func(path string) (int64, error)
	limitedBy string
	// wait is for a turn that another Keeper has, instead of leaving it the work.
	wait bool
	// pages is where in a partition the next batches are expected. It is a guess
	// that saves reading, and is checked; only Sum uses it.
	pages map[flow.Time]uint32
	fault func(at string) error
}

// New returns a Keeper. It does nothing until Run.
func New(db *store.DB, c Config) *Keeper {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	def := func(d *time.Duration, is time.Duration) {
		if *d == 0 {
			*d = is
		}
	}
	def(&c.RetainRaw, DefaultRetainRaw)
	def(&c.Retain1m, DefaultRetain1m)
	def(&c.Retain1h, DefaultRetain1h)
	def(&c.Retain1d, ForEver)
	def(&c.Every, 5*time.Second)
	if c.Grains == nil {
		c.Grains = &rollup.Grains
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Keeper{
		db: db, c: c, log: c.Logger, laws: *c.Grains, records: cmp.Or(c.SumRecords, sumRecords), pieces: pieces{tallyRows, thinRows, thinPlaces, tallyValues}, now: c.Now, free: diskFree,
		pages: make(map[flow.Time]uint32), metrics: newKeeperMetrics(c.Registerer),
	}
}

// Run works until the context ends, and then returns nil. What fails is logged,
// counted and tried again.
//
// Sums and housekeeping take turns of their own: a partition that waits for a
// reader holds up neither the sums nor whoever stores flows.
func (k *Keeper) Run(ctx context.Context) error {
	var group sync.WaitGroup
	turns := func(name string, every time.Duration, f func(context.Context) error) {
		group.Go(func() {
			failing := false
			for ctx.Err() == nil {
				switch err := f(ctx); {
				case ctx.Err() != nil:
					return
				case err != nil:
					k.metrics.failures.Inc()
					if !failing {
						k.log.Warn(name+" does not work, trying on", "error", err)
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
		})
	}
	defer k.c.Handoff.Begin()()
	turns("summing the roll-ups", k.c.Every, k.Sum)
	turns("housekeeping", max(k.c.Every, 10*time.Second), k.Tidy)
	group.Wait()
	return nil
}

// Sum sums all batches that are committed, and settles the buckets that are due.
func (k *Keeper) Sum(ctx context.Context) error {
	// In a backlog, settling gets its turn: what waits to be settled only grows.
	for ctx.Err() == nil {
		more, err := k.sumUntil(ctx, time.Now().Add(30*time.Second))
		if err != nil {
			return err
		}
		if err := k.settleAll(ctx); err != nil || !more {
			return err
		}
	}
	return nil
}

func (k *Keeper) sumUntil(ctx context.Context, deadline time.Time) (more bool, err error) {
	for ctx.Err() == nil {
		more, err := k.sum(ctx)
		if err != nil || !more {
			return false, err
		}
		if time.Now().After(deadline) {
			return true, nil
		}
	}
	return false, nil
}

// step takes a turn: f runs in a transaction that no other Keeper has at the same
// time. taken is false when another one has.
func (k *Keeper) step(ctx context.Context, options pgx.TxOptions, f func(pgx.Tx) error) (taken bool, err error) {
	err = pgx.BeginTxFunc(ctx, k.db.Pool(), options, func(tx pgx.Tx) error {
		if taken, err = k.turn(ctx, tx, "xact_lock", keeperLock); err != nil || !taken {
			return err
		}
		if err := f(tx); err != nil {
			return err
		}
		return k.fails("commit")
	})
	return taken, err
}

// turn takes an advisory lock, unless another Keeper has it and k does not wait.
// It asks again and again: who waits in the database has a snapshot, which the
// other one's indexes wait for.
func (k *Keeper) turn(ctx context.Context, q store.Queryer, kind string, lock int64) (taken bool, err error) {
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

// fails is a test's way to break off between two steps.
func (k *Keeper) fails(at string) error {
	if k.fault != nil {
		return k.fault(at)
	}
	return nil
}

// unsummed is a batch that the roll-ups do not have.
type unsummed struct {
	id             int32
	records        int
	minEnd, maxEnd flow.Time
	parcel         *rollup.Parcel // nil: it has to be read
}

// sum sums the next batches, as many as make k.records records, in one
// transaction with their marks. more is false when there were none, or when
// another Keeper is at work.
func (k *Keeper) sum(ctx context.Context) (more bool, err error) {
	var (
		batches []unsummed
		t       *tally
		pages   map[flow.Time]uint32
		began   = time.Now()
	)
	_, err = k.step(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var all bool
		batches, all, err = k.nextBatches(ctx, tx)
		if err != nil || len(batches) == 0 {
			return err
		}
		var missing []unsummed
		for _, b := range batches {
			if b.parcel == nil {
				missing = append(missing, b)
			}
		}
		t = k.newTally()
		if len(missing) > 0 {
			list, err := hoursOf(ctx, tx, missing)
			if err != nil {
				return err
			}
			if t, err = k.read(ctx, tx, missing, list); err != nil {
				return err
			}
		}
		// Of a part a bucket has a value once: each piece is a part of its own, and
		// below zero are no batches.
		var piece int32
		t.full = func() error {
			if piece == 0 {
				if err := tx.QueryRow(ctx, "select coalesce(least(0, min(part)), 0) from parts.pending").Scan(&piece); err != nil {
					return err
				}
			}
			piece--
			if err := k.putAside(ctx, tx, t.buckets, piece); err != nil {
				return err
			}
			return k.fails("piece")
		}
		if err := t.addLater(); err != nil {
			return err
		}
		for _, b := range batches {
			if b.parcel != nil {
				if err := t.take(b.parcel); err != nil {
					return err
				}
			}
		}
		t.flush()
		if all && len(missing) < len(batches) {
			if pages, err = ends(ctx, tx, t); err != nil {
				return err
			}
		}
		if err := k.fails("read"); err != nil {
			return err
		}
		if err := k.putAside(ctx, tx, t.buckets, batches[0].id); err != nil {
			return err
		}
		if err := k.fails("put aside"); err != nil {
			return err
		}
		if err := t.store(ctx, tx); err != nil {
			return err
		}
		ids := make([]int32, len(batches))
		for i, b := range batches {
			ids[i] = b.id
		}
		if _, err := tx.Exec(ctx, "update public.batches set summed_at = clock_timestamp() where id = any($1)", ids); err != nil {
			return err
		}
		more = true
		return k.fails("mark")
	})
	for _, b := range batches {
		switch {
		case b.parcel == nil:
		case err != nil:
			k.c.Handoff.Put(b.parcel, time.Now()) // for the next time
		default:
			k.c.Handoff.Reuse(b.parcel)
		}
	}
	if err != nil {
		return false, fmt.Errorf("store: sum: %w", err)
	}
	if !more {
		return false, nil
	}
	records := 0
	for _, b := range batches {
		records += b.records
		if b.parcel != nil {
			k.metrics.handed.Add(float64(b.records))
		}
	}
	for hour, h := range t.hours {
		if h.LastPage > 0 {
			k.pages[hour] = h.NextPage()
		}
	}
	maps.Copy(k.pages, pages)
	k.metrics.batches.Add(float64(len(batches)))
	k.metrics.records.Add(float64(t.records))
	k.metrics.missing.Add(float64(max(0, records-t.records)))
	k.metrics.seconds.Add(time.Since(began).Seconds())
	return true, nil
}

// ends returns where the tables of a tally's hours end, or somewhat before: the
// rows of later batches are behind.
func ends(ctx context.Context, tx pgx.Tx, t *tally) (map[flow.Time]uint32, error) {
	pages := make(map[flow.Time]uint32)
	var hours []time.Time
	for hour := range t.hours {
		hours = append(hours, hour.Time())
	}
	rows, err := tx.Query(ctx, "select hour, coalesce(pg_relation_size(to_regclass('parts.' || name)) / 8192, 0) from parts.partition where hour = any($1) and sealed_at is null", hours)
	if err != nil {
		return nil, err
	}
	var hour time.Time
	var size int64
	_, err = pgx.ForEachRow(rows, []any{&hour, &size}, func() error {
		h := rollup.HourTally{LastPage: uint32(size)}
		if page := h.NextPage(); page > 0 {
			pages[flow.TimeOf(hour)] = page
		}
		return nil
	})
	return pages, err
}

// readCosts is how many records that were handed on take as long to sum as one
// that has to be read.
const readCosts = 4

// nextBatches returns batches that are not summed, the oldest first: as many as
// have about k.records records, one at least; fewer when they have to be read. all
// is true when these are all there are.
func (k *Keeper) nextBatches(ctx context.Context, tx pgx.Tx) (list []unsummed, all bool, err error) {
	const most = 4096
	rows, err := tx.Query(ctx, "select id, records, min_end, max_end, key from public.batches where summed_at is null order by id limit $1", most)
	if err != nil {
		return nil, false, err
	}
	var (
		b        unsummed
		key      *int64
		min, max time.Time
		sum, n   int
	)
	_, err = pgx.ForEachRow(rows, []any{&b.id, &b.records, &min, &max, &key}, func() error {
		n++
		if sum >= k.records {
			return nil
		}
		weight := readCosts * b.records
		if b.parcel = k.c.Handoff.Take(b.id, key, b.records); b.parcel != nil {
			weight = b.parcel.Weight()
		}
		if len(list) > 0 && sum+weight > k.records {
			sum = k.records // no smaller one either: their order is kept
			if b.parcel != nil {
				k.c.Handoff.Put(b.parcel, time.Now())
			}
			return nil
		}
		sum += weight
		b.minEnd, b.maxEnd = flow.TimeOf(min), flow.TimeOf(max)
		list = append(list, b)
		return nil
	})
	return list, n == len(list) && n < most, err
}

// part of parts.flows that batches have rows in.
type rawHour struct {
	hour    flow.Time
	sealed  bool
	batches []int32
}

// hoursOf returns the partitions that the batches can have rows in.
func hoursOf(ctx context.Context, tx pgx.Tx, batches []unsummed) ([]rawHour, error) {
	from, to := batches[0].minEnd, batches[0].maxEnd
	for _, b := range batches {
		from, to = min(from, b.minEnd), max(to, b.maxEnd)
	}
	rows, err := tx.Query(ctx, "select hour, sealed_at is not null from parts.partition where hour between $1 and $2 order by hour",
		from.Floor(flow.Hour).Time(), to.Time())
	if err != nil {
		return nil, err
	}
	var (
		list   []rawHour
		hour   time.Time
		sealed bool
	)
	_, err = pgx.ForEachRow(rows, []any{&hour, &sealed}, func() error {
		h := rawHour{hour: flow.TimeOf(hour), sealed: sealed}
		for _, b := range batches {
			if b.minEnd < h.hour+flow.Hour && b.maxEnd >= h.hour {
				h.batches = append(h.batches, b.id)
			}
		}
		if len(h.batches) > 0 {
			list = append(list, h)
		}
		return nil
	})
	return list, err
}

const (
	tallyRows  = 1 << 20
	thinRows   = 1 << 18
	thinPlaces = 1 << 12
	// tallyValues are of 64 octets.
	tallyValues = 1_000_000
)

// read reads the rows of the batches. Where it knows, from the last time, which
// part of a partition they are in, it reads only that; when rows are missing
// there, it reads all of it.
func (k *Keeper) read(ctx context.Context, tx pgx.Tx, batches []unsummed, list []rawHour) (*tally, error) {
	citus, err := store.HasCitus(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, trust := range []bool{!citus, false} {
		t := k.newTally()
		trusted := false
		for _, h := range list {
			where := fmt.Sprintf("batch between %d and %d and batch = any('{%s}')", slices.Min(h.batches), slices.Max(h.batches), numbers(h.batches))
			if page := k.pages[h.hour]; trust && page > 0 && !h.sealed {
				where += fmt.Sprintf(" and ctid >= '(%d,0)'", page)
				trusted = true
			}
			if err := copyOut(ctx, tx, t.reader(), store.PartitionName(h.hour), where, !citus); err != nil {
				return nil, err
			}
		}
		complete := true
		for _, b := range batches {
			complete = complete && t.found[b.id] == b.records
		}
		if complete || !trusted {
			return t, nil
		}
		clear(k.pages)
	}
	panic("not reached")
}

// copyOut copies rows to a reader. Without a page, as on the nodes of a cluster
// where pages mean nothing, it has to be told so.
func copyOut(ctx context.Context, tx pgx.Tx, to *rawReader, table, where string, paged bool) error {
	page := "ctid"
	if !paged {
		page = "'(0,0)'::tid"
	}
	_, err := tx.Conn().PgConn().CopyTo(ctx, to, "copy (select "+page+", "+rawColumns+" from parts."+table+" where "+where+") to stdout (format binary)")
	if err == nil && !to.ended {
		err = errRaw
	}
	return err
}

// store says what is summed of each hour.
func (t *tally) store(ctx context.Context, tx pgx.Tx) error {
	var batch pgx.Batch
	for _, hour := range slices.Sorted(maps.Keys(t.hours)) {
		h := t.hours[hour]
		if h.Records > 0 {
			batch.Queue(`insert into parts.hour (hour, records, last_received) select $1, $2, $3
				where exists (select from parts.partition where hour = $1)
				on conflict (hour) do update set records = parts.hour.records + excluded.records,
				last_received = greatest(parts.hour.last_received, excluded.last_received)`, hour.Time(), h.Records, h.LastReceived.Time())
		}
	}
	return tx.SendBatch(ctx, &batch).Close()
}

// putAside keeps the sums of minutes until these are settled, and makes rows of
// them for those who ask meanwhile.
func (k *Keeper) putAside(ctx context.Context, tx pgx.Tx, buckets map[flow.Time]*rollup.Summary, part int32) error {
	order := slices.Sorted(maps.Keys(buckets))
	if err := ensureTraffic(ctx, tx, rollup.Minutes, order); err != nil {
		return err
	}
	var (
		rows    []byte
		pending [][]any
		octets  int // of pending
		law     = k.laws[rollup.Minutes]
	)
	write := func() error {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"parts", "pending"}, []string{"bucket", "part", "grain", "sums"}, pgx.CopyFromRows(pending)); err != nil {
			return err
		}
		err := copyTraffic(ctx, tx, rollup.Minutes, rows)
		rows, pending, octets = rows[:0], pending[:0], 0
		return err
	}
	for _, bucket := range order {
		s := buckets[bucket]
		s.Compact(law.Pending, law.PerCell)
		sums := s.AppendTo(nil)
		pending, octets = append(pending, []any{bucket.Time(), part, int16(rollup.Minutes), sums}), octets+len(sums)
		s.Compact(law.Settled, law.PerCell)
		rows = appendTraffic(rows, s, bucket, part)
		delete(buckets, bucket)
		if len(rows)+octets > asideOctets {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return write()
}

// asideOctets is how many octets are put aside at once.
const asideOctets = 16 << 20
