package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"flowtally/exporter/capture"

	"github.com/google/gopacket"
)

const (
	// past is how far back a demo begins that nobody was told of.
	past = 24 * time.Hour
	// ahead is how far a State is ahead of the packets while they are made.
	ahead = time.Minute
)

// State is a file that remembers until when the demo was told, and to whom, so that
// one that is started again goes on there. While packets are made it is up to a
// minute ahead of them: after a crash some of that minute is missing, and nothing is
// told twice. The zero State remembers nothing.
type State struct {
	// Path is the file.
	Path string
	// To says who is told. What others were told is kept beside it.
	To string
}

// Begin returns when the demo begins: where it stood when it was last told, and 24
// hours ago at most. Known says whether there was such a time. A file that is not
// there remembers nothing.
func (s State) Begin(now time.Time) (start time.Time, known bool, err error) {
	start = now.Add(-past)
	all, err := s.read()
	if err != nil {
		return start, false, err
	}
	until, ok := all[s.To]
	if !ok || !until.After(start) {
		return start, false, nil
	}
	if until.After(now.Add(ahead)) {
		until = now // the clock was set back
	}
	return until.In(now.Location()), true, nil
}

func (s State) read() (map[string]time.Time, error) {
	if s.Path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("traffic: state: %w", err)
	}
	var all map[string]time.Time
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("traffic: state %s is not one of the demo's: %w", s.Path, err)
	}
	return all, nil
}

// Save remembers that the demo was told until a time. What is more than 24 hours ago
// makes no difference and is forgotten.
func (s State) Save(until time.Time) error {
	if s.Path == "" {
		return nil
	}
	all, err := s.read()
	if err != nil {
		return err
	}
	kept := map[string]time.Time{s.To: until.UTC()}
	for to, t := range all {
		if to != s.To && t.After(time.Now().Add(-past)) {
			kept[to] = t
		}
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	// What is renamed is whole, whenever somebody looks.
	f, err := os.CreateTemp(filepath.Dir(s.Path), filepath.Base(s.Path)+".*")
	if err != nil {
		return fmt.Errorf("traffic: state: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), s.Path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("traffic: state: %w", err)
	}
	return nil
}

// Told is a Source whose packets are noted in a State.
type Told struct {
	*Source
	state State
	start time.Time
	mark  time.Time // what the State says

	mu   sync.Mutex
	last time.Time
	err  error
}

// Tell notes in state until when the packets of source are told, which begins at
// start.
func Tell(source *Source, state State, start time.Time) *Told {
	return &Told{Source: source, state: state, start: start, last: start}
}

// ZeroCopyReadPacketData returns the next frame, as a Source does.
func (t *Told) ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error) {
	data, info, err := t.Source.ZeroCopyReadPacketData()
	if err == nil {
		t.note(info.Timestamp)
	}
	return data, info, err
}

// ReadBatch gives one packet, as a Source does.
func (t *Told) ReadBatch(dst []capture.Packet) (int, error) {
	n, err := t.Source.ReadBatch(dst)
	if n > 0 {
		t.note(time.Unix(0, dst[n-1].Time))
	}
	return n, err
}

// note notes that the packets up to a time are told.
func (t *Told) note(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !at.Before(t.mark) {
		t.mark = at.Add(ahead)
		if err := t.state.Save(t.mark); err != nil && t.err == nil {
			t.err = err
		}
	}
	t.last = at
}

// Unwrap returns the Source.
func (t *Told) Unwrap() capture.Source { return t.Source }

// End notes that the packets given are told, or with false that nobody took them, and
// returns why the State could not be kept.
func (t *Told) End(told bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.start
	if told {
		until = t.last.Add(1)
	}
	if err := t.state.Save(until); err != nil {
		return err
	}
	return t.err
}
