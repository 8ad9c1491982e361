package traffic

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestState: a demo that is started again begins where it stood, for those who were
// told, whether it was stopped or killed; for others it begins 24 hours ago.
func TestState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo")
	now := time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC)
	a, b := State{path, "a"}, State{path, "b"}
	begin := func(s State, at time.Time, known bool) time.Time {
		t.Helper()
		start, got, err := s.Begin(at)
		if err != nil || got != known {
			t.Fatalf("%v, %v", got, err)
		}
		return start
	}
	tell := func(s State, start time.Time, packets int) (*Told, time.Time) {
		t.Helper()
		told := Tell(New(Config{Start: start, End: now.Add(time.Hour)}), s, start)
		var last time.Time
		for range packets {
			_, info, err := told.ZeroCopyReadPacketData()
			if err != nil {
				t.Fatal(err)
			}
			last = info.Timestamp
		}
		return told, last
	}

	start := begin(a, now, false)
	if !start.Equal(now.Add(-24 * time.Hour)) {
		t.Errorf("begins at %v", start)
	}
	told, last := tell(a, start, 20_000)
	if err := told.End(true); err != nil {
		t.Fatal(err)
	}
	if start = begin(a, now, true); !start.Equal(last.Add(1)) || last.Sub(now.Add(-24*time.Hour)) < time.Minute {
		t.Errorf("stopped at %v, goes on at %v", last, start)
	}
	if start := begin(b, now, false); !start.Equal(now.Add(-24 * time.Hour)) {
		t.Errorf("for others it begins at %v", start)
	}

	// Killed, it goes on within a minute, and never with what was told.
	_, last = tell(a, start, 20_000)
	if next := begin(a, now, true); !next.After(last) || next.Sub(last) > ahead {
		t.Errorf("killed at %v, goes on at %v", last, next)
	}
	start = begin(a, now, true)

	// Nobody listened: it is as if it had not been.
	told, _ = tell(a, start, 20_000)
	if err := told.End(false); err != nil {
		t.Fatal(err)
	}
	if next := begin(a, now, true); !next.Equal(start) {
		t.Errorf("told to nobody it goes on at %v, want %v", next, start)
	}

	// What is long ago is forgotten, and a clock that was set back keeps nobody waiting.
	if start := begin(a, now.Add(48*time.Hour), false); !start.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("two days later it begins at %v", start)
	}
	back := start.Add(-time.Hour)
	if got := begin(a, back, true); !got.Equal(back) {
		t.Errorf("an hour before, it begins at %v", got)
	}

	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Begin(now); err == nil {
		t.Error("another file is taken for a state")
	}
	if err := a.Save(now); err == nil {
		t.Error("another file is written over")
	}
	if start := begin(State{}, now, false); !start.Equal(now.Add(-24 * time.Hour)) {
		t.Errorf("without a file it begins at %v", start)
	}
	if err := (State{}).Save(now); err != nil {
		t.Error(err)
	}
}
