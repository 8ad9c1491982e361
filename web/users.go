package web

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// MaxPassword is how many bytes a password may have; bcrypt takes 72.
const MaxPassword = 1024

// user is a line of the file.
type user struct {
	name, role string
	hash       string
	verify     func(password string) bool
}

// Users are those who may log in: a file with a line for each, name:role:hash.
// The file is read anew when it changes.
type Users struct {
	path string

	mu      sync.Mutex
	byName  map[string]*user
	first   *user // stands in for who is unknown
	changed time.Time
	size    int64
	looked  time.Time
}

// LoadUsers reads a file of users. The error names the line that is wrong.
func LoadUsers(path string) (*Users, error) {
	u := &Users{path: path}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("web: users: %w", err)
	}
	if u.byName, u.first, err = readUsers(path); err != nil {
		return nil, err
	}
	u.changed, u.size = info.ModTime(), info.Size()
	return u, nil
}

func readUsers(path string) (map[string]*user, *user, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("web: users: %w", err)
	}
	byName, first, err := parseUsers(b)
	if err != nil {
		return nil, nil, fmt.Errorf("web: users: %s: %w", path, err)
	}
	return byName, first, nil
}

// userName is what a name may be: what can be typed, logged and put into a line.
var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// parseUsers reads the text of a file of users.
func parseUsers(b []byte) (byName map[string]*user, first *user, err error) {
	byName = make(map[string]*user)
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			return nil, nil, fmt.Errorf("line %d: want name:role:hash, which flowtally web user prints", n)
		}
		u := &user{name: parts[0], role: parts[1], hash: parts[2]}
		switch {
		case !userName.MatchString(u.name):
			return nil, nil, fmt.Errorf("line %d: a name has up to 64 letters, digits and . _ @ -", n)
		case u.role != RoleViewer && u.role != RoleEditor:
			return nil, nil, fmt.Errorf("line %d: the role is viewer or editor", n)
		case byName[u.name] != nil:
			return nil, nil, fmt.Errorf("line %d: %s is there already", n, u.name)
		}
		if u.verify, err = parseHash(u.hash); err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", n, err)
		}
		byName[u.name] = u
		if first == nil {
			first = u
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, err
	}
	if first == nil {
		return nil, nil, errors.New("it has no user: add the line that flowtally web user prints")
	}
	return byName, first, nil
}

// UserLine returns the line of a file of users for one of them.
func UserLine(name, role, password string) (string, error) {
	switch {
	case !userName.MatchString(name):
		return "", fmt.Errorf("web: user %q: a name has up to 64 letters, digits and . _ @ -", name)
	case role != RoleViewer && role != RoleEditor:
		return "", fmt.Errorf("web: role %q: it is viewer or editor", role)
	case len(password) < 8 || len(password) > MaxPassword:
		return "", fmt.Errorf("web: a password has 8 to %d bytes", MaxPassword)
	}
	hash, err := newHash(password)
	if err != nil {
		return "", fmt.Errorf("web: user: %w", err)
	}
	return name + ":" + role + ":" + hash, nil
}

// usersFresh is how long the file is believed without looking at it.
const usersFresh = 2 * time.Second

// refresh reads the file anew when it changed. A file that is gone or wrong
// leaves things as they were; the error says so.
func (u *Users) refresh(now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if d := now.Sub(u.looked); d >= 0 && d < usersFresh {
		return nil
	}
	u.looked = now
	info, err := os.Stat(u.path)
	if err != nil {
		return fmt.Errorf("web: users: %w", err)
	}
	if info.ModTime().Equal(u.changed) && info.Size() == u.size {
		return nil
	}
	byName, first, err := readUsers(u.path)
	if err != nil {
		return err
	}
	u.byName, u.first, u.changed, u.size = byName, first, info.ModTime(), info.Size()
	return nil
}

// get returns a user; ok is false for one that is not in the file, and then the
// user is another, whose hash takes as long to compare.
func (u *Users) get(name string) (_ *user, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if found := u.byName[name]; found != nil {
		return found, true
	}
	return u.first, false
}

// throttle lets so many tries through, and then one each interval, of each key;
// at most maxThrottled keys are kept.
type throttle struct {
	burst    float64
	interval time.Duration

	mu   sync.Mutex
	keys map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

const maxThrottled = 10_000

// take takes a token; when there is none it says after what time there is one.
func (t *throttle) take(key string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.fill(key, now)
	if wait = t.until(b); wait == 0 {
		b.tokens--
	}
	return wait
}

// wait says after what time there is a token, and takes none.
func (t *throttle) wait(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys[key] == nil {
		return 0
	}
	return t.until(t.fill(key, now))
}

func (t *throttle) until(b *bucket) time.Duration {
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) * float64(t.interval))
	}
	return 0
}

// fill returns a key's bucket as it is now.
func (t *throttle) fill(key string, now time.Time) *bucket {
	if t.keys == nil {
		t.keys = make(map[string]*bucket)
	}
	b := t.keys[key]
	if b == nil {
		if len(t.keys) >= maxThrottled {
			t.forget()
		}
		b = &bucket{t.burst, now}
		t.keys[key] = b
	}
	b.tokens = math.Min(t.burst, b.tokens+now.Sub(b.at).Seconds()/t.interval.Seconds())
	b.at = now
	return b
}

// give gives a token back: the try was a good one.
func (t *throttle) give(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.keys[key]; b != nil {
		b.tokens = math.Min(t.burst, b.tokens+1)
	}
}

// forget makes room: of a handful of keys, the one asked for least lately goes. A
// look at all of them for each stranger would be work that strangers can make.
func (t *throttle) forget() {
	var oldest string
	n := 0
	for key, b := range t.keys {
		if n == 0 || b.at.Before(t.keys[oldest].at) {
			oldest = key
		}
		if n++; n == 16 {
			break
		}
	}
	delete(t.keys, oldest)
}
