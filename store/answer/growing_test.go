package answer_test

import (
	"context"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/query"
	"flowtally/store/answer"
	"flowtally/store/ingest"
	"flowtally/store/storetest"
)

// An answer says from when on flows may still be added to it: as long ago as flows last
// here, five minutes at least and half an hour at most, and since a collector could not
// store any more; and from when to when there are flows at all.
func TestGrowing(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name        string
		longest     flow.Time // of the flows of each hour
		once        flow.Time // of a single flow
		stoppedFor  time.Duration
		reportedAgo time.Duration
		want        time.Duration
	}{
		{"short flows", 20 * flow.Second, 0, 0, 0, 5 * time.Minute},
		{"an active timeout of ten minutes", 10 * flow.Minute, 0, 0, 0, 11 * time.Minute},
		{"a single flow of a day", 20 * flow.Second, flow.Day, 0, 0, 5 * time.Minute},
		{"flows that last for hours", 7 * flow.Hour, 0, 0, 0, 30 * time.Minute},
		{"the collector cannot store", 20 * flow.Second, 0, 20 * time.Minute, time.Minute, 25 * time.Minute},
		{"a collector of long ago", 20 * flow.Second, 0, 90 * time.Minute, time.Hour, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, _, conn := storetest.Open(t)
			now := flow.TimeOf(time.Now())
			var recs []flow.Record
			add := func(end, length flow.Time) {
				r := storetest.Record(end)
				r.Start, r.End = end-length, end
				recs = append(recs, r)
			}
			for at := now.Floor(flow.Hour); at > now-6*flow.Hour; at -= flow.Hour {
				add(at, c.longest)
			}
			if c.once > 0 {
				add(now.Floor(flow.Hour), c.once)
			}
			storetest.WriteAll(t, ingest.NewWriter(db, ingest.WriterConfig{}), recs, 100)
			if c.stoppedFor > 0 {
				if _, err := conn.Exec(ctx, "insert into parts.writer (reported_at, stopped_since, waiting, name, reason) values (now() - $1::interval, now() - $2::interval, 7, 'c', 'the disk is full')", c.reportedAgo, c.stoppedFor); err != nil {
					t.Fatal(err)
				}
			}
			a := answer.New(db)
			s, err := a.Series(ctx, query.Question{From: time.Now().Add(-6 * time.Hour), To: time.Now().Add(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Since(s.Growing); got < c.want-time.Second || got > c.want+30*time.Second {
				t.Errorf("it grows since %v ago, want %v", got, c.want)
			}
			if s.Stored == nil || !s.Stored.To.Equal(now.Floor(flow.Hour).Time()) || s.Stored.From.After(now.Floor(flow.Hour).Time().Add(-4*time.Hour)) {
				t.Errorf("stored are %v", s.Stored)
			}
			past, err := a.Share(ctx, query.Question{From: time.Now().Add(-6 * time.Hour), To: time.Now().Add(-time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			if !past.Growing.IsZero() {
				t.Errorf("what is over grows from %v on", past.Growing)
			}
		})
	}
}
