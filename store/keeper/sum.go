package keeper

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"flowtally/flow"
	"flowtally/store/rollup"
)

// Sum sums all batches that are committed, and settles the buckets that are due.
func (k *Keeper) Sum(ctx context.Context) error {
	// In a backlog, settling has to happen in between: what waits to be settled only
	// grows. And so has summing, because scattered flows are as many buckets, each of which
	// takes a transaction.
	for ctx.Err() == nil {
		more, err := k.sumUntil(ctx, time.Now().Add(30*time.Second))
		if err != nil {
			return err
		}
		moreDue, err := k.settleUntil(ctx, time.Now().Add(10*time.Second))
		if err != nil || !more && !moreDue {
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

// sum sums the next batches, as many as have Config.SumRecords records, and marks them as
// summed, in one transaction. more is false when there were none, or when another Keeper is
// at work.
func (k *Keeper) sum(ctx context.Context) (more bool, err error) {
	s := &summing{k: k, began: time.Now()}
	_, err = k.exclusively(ctx, func(tx pgx.Tx) error {
		s.tx = tx
		return s.run(ctx)
	})
	s.returnParcels(err)
	if err != nil {
		return false, fmt.Errorf("store: sum: %w", err)
	}
	if len(s.batches) == 0 {
		return false, nil
	}
	s.rememberPages()
	s.count()
	return true, nil
}

// summing is the sum of some batches in one transaction.
type summing struct {
	k       *Keeper
	tx      pgx.Tx
	began   time.Time
	batches []unsummed
	tally   *tally
	// pages are, by hour, where the rows of later batches begin, when these are all
	// the batches there are.
	pages map[flow.Time]uint32
	// spilled is the number of the last part that was spilled. It is negative, because
	// the number of a part is else that of a batch.
	spilled int32
}

// unsummed is a batch that the roll-ups do not have.
type unsummed struct {
	id             int32
	records        int
	minEnd, maxEnd flow.Time
	parcel         *rollup.Parcel // nil: its rows have to be read
}

func (s *summing) run(ctx context.Context) error {
	all, err := s.nextBatches(ctx)
	if err != nil || len(s.batches) == 0 {
		return err
	}
	var unread []unsummed
	for _, b := range s.batches {
		if b.parcel == nil {
			unread = append(unread, b)
		}
	}
	if err := s.readBack(ctx, unread); err != nil {
		return err
	}
	s.tally.spill = func() error { return s.spill(ctx) }
	if err := s.addFlows(); err != nil {
		return err
	}
	if all && len(unread) < len(s.batches) {
		if s.pages, err = lastPages(ctx, s.tx, s.tally); err != nil {
			return err
		}
	}
	if err := s.k.after("read"); err != nil {
		return err
	}
	if err := s.k.storePending(ctx, s.tx, s.tally.buckets, s.batches[0].id); err != nil {
		return err
	}
	if err := s.k.after("pending"); err != nil {
		return err
	}
	if err := s.tally.storeHours(ctx, s.tx); err != nil {
		return err
	}
	return s.markSummed(ctx)
}

// handoverDiscount is how many records that were handed over take as long to sum as one
// record that has to be read.
const handoverDiscount = 4

// nextBatches finds the batches that are not summed, the oldest first: at least one, and as
// many as have about Config.SumRecords records, fewer when they have to be read. all is
// true when there are no others.
func (s *summing) nextBatches(ctx context.Context) (all bool, err error) {
	const limit = 4096
	rows, err := s.tx.Query(ctx, "select id, records, min_end, max_end, key from public.batches where summed_at is null order by id limit $1", limit)
	if err != nil {
		return false, err
	}
	var (
		handoff        = s.k.c.Handoff
		b              unsummed
		key            *int64
		minEnd, maxEnd time.Time
		room, n        = s.k.c.SumRecords, 0
	)
	_, err = pgx.ForEachRow(rows, []any{&b.id, &b.records, &minEnd, &maxEnd, &key}, func() error {
		n++
		if room <= 0 {
			return nil
		}
		weight := handoverDiscount * b.records
		if b.parcel = handoff.Take(b.id, key, b.records); b.parcel != nil {
			weight = b.parcel.Weight()
		}
		if len(s.batches) > 0 && weight > room {
			room = 0 // for smaller ones, too: batches are summed in order
			if b.parcel != nil {
				handoff.Put(b.parcel, time.Now())
			}
			return nil
		}
		room -= weight
		b.minEnd, b.maxEnd = flow.TimeOf(minEnd), flow.TimeOf(maxEnd)
		s.batches = append(s.batches, b)
		return nil
	})
	return n == len(s.batches) && n < limit, err
}

// readBack makes a tally of the batches that were not handed over.
func (s *summing) readBack(ctx context.Context, unread []unsummed) error {
	if len(unread) == 0 {
		s.tally = s.k.newTally()
		return nil
	}
	partitions, err := partitionsOf(ctx, s.tx, unread)
	if err != nil {
		return err
	}
	s.tally, err = s.k.read(ctx, s.tx, unread, partitions)
	return err
}

// addFlows sums what was read and what was handed over.
func (s *summing) addFlows() error {
	if err := s.tally.addDeferred(); err != nil {
		return err
	}
	for _, b := range s.batches {
		if b.parcel != nil {
			if err := s.tally.addParcel(b.parcel); err != nil {
				return err
			}
		}
	}
	s.tally.sum()
	return nil
}

// spill stores the sums there are, to free their memory. In a part a bucket has a value
// once, so what is spilled each time is a part of its own.
func (s *summing) spill(ctx context.Context) error {
	if s.spilled == 0 {
		if err := s.tx.QueryRow(ctx, "select coalesce(least(0, min(part)), 0) from parts.pending").Scan(&s.spilled); err != nil {
			return err
		}
	}
	s.spilled--
	if err := s.k.storePending(ctx, s.tx, s.tally.buckets, s.spilled); err != nil {
		return err
	}
	return s.k.after("spill")
}

func (s *summing) markSummed(ctx context.Context) error {
	ids := make([]int32, len(s.batches))
	for i, b := range s.batches {
		ids[i] = b.id
	}
	if _, err := s.tx.Exec(ctx, "update public.batches set summed_at = clock_timestamp() where id = any($1)", ids); err != nil {
		return err
	}
	return s.k.after("mark")
}

// returnParcels gives the parcels back to the Handoff: to be taken again after an error,
// else to be filled with other flows.
func (s *summing) returnParcels(err error) {
	for _, b := range s.batches {
		switch {
		case b.parcel == nil:
		case err != nil:
			s.k.c.Handoff.Put(b.parcel, time.Now())
		default:
			s.k.c.Handoff.Reuse(b.parcel)
		}
	}
}

// maxPages bounds how many hours the Keeper remembers pages of.
const maxPages = 4096

// rememberPages remembers where the rows of the next batches are expected.
func (s *summing) rememberPages() {
	for hour, h := range s.tally.hours {
		if len(s.k.pages) > 2*maxPages {
			clear(s.k.pages) // of hours that are past
		}
		if h.LastPage > 0 {
			s.k.pages[hour] = h.NextPage()
		}
	}
	maps.Copy(s.k.pages, s.pages)
}

// count counts what was summed. It runs after returnParcels, and uses of the parcels only
// that there were any.
func (s *summing) count() {
	m, records := s.k.metrics, 0
	for _, b := range s.batches {
		records += b.records
		if b.parcel != nil {
			m.handed.Add(float64(b.records))
		}
	}
	m.batches.Add(float64(len(s.batches)))
	m.records.Add(float64(s.tally.records))
	m.missing.Add(float64(max(0, records-s.tally.records)))
	m.seconds.Add(time.Since(s.began).Seconds())
}
