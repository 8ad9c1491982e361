package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func testNames(look func(context.Context, string) ([]string, error)) *names {
	n, _ := newNames(true, "")
	n.look = look
	return n
}

func TestNamesAreRemembered(t *testing.T) {
	var asked atomic.Int32
	n := testNames(func(_ context.Context, addr string) ([]string, error) {
		asked.Add(1)
		switch addr {
		case "10.1.4.7":
			return []string{"Reports.LAB."}, nil
		case "10.1.4.8":
			return []string{"<script>alert(1)</script>.", "good.lab."}, nil
		}
		return nil, errors.New("no such host")
	})
	now := testNow
	var mu sync.Mutex
	n.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	addrs := []netip.Addr{netip.MustParseAddr("10.1.4.7"), netip.MustParseAddr("10.1.4.8"), netip.MustParseAddr("10.1.4.9"), netip.MustParseAddr("10.1.4.7")}
	for range 3 {
		got := n.of(t.Context(), addrs)
		if len(got) != 2 || got[addrs[0]] != "reports.lab" || got[addrs[1]] != "good.lab" {
			t.Errorf("names %v", got)
		}
	}
	if asked.Load() != 3 {
		t.Errorf("asked %d times, want once an address", asked.Load())
	}
	mu.Lock()
	now = now.Add(noNameLife + time.Second)
	mu.Unlock()
	n.of(t.Context(), addrs)
	if asked.Load() != 4 {
		t.Errorf("asked %d times, want once more for who had no name", asked.Load())
	}
	n.of(t.Context(), []netip.Addr{netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")})
	if asked.Load() != 4 {
		t.Error("asked for what is nobody's address")
	}
}

// A name server that does not answer holds nobody up, and is not asked without
// bounds.
func TestNamesNeverBlock(t *testing.T) {
	var at atomic.Int32
	n := testNames(func(ctx context.Context, _ string) ([]string, error) {
		at.Add(1)
		defer at.Add(-1)
		if at.Load() > maxLookups {
			t.Errorf("%d look-ups at once", at.Load())
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // who asks has gone: nothing is waited for
	var addrs []netip.Addr
	a := netip.MustParseAddr("10.0.0.1")
	for range 2 * (maxLookups + maxWaiting) {
		addrs = append(addrs, a)
		a = a.Next()
	}
	if got := n.of(ctx, addrs); len(got) != 0 {
		t.Errorf("names %v", got)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) > maxLookups+maxWaiting {
		t.Errorf("%d are waiting", len(n.pending))
	}
}

func TestNamesOverHTTP(t *testing.T) {
	s, err := newServer(Config{DB: faked(&fake{}), NoDNS: true}, build)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return testNow }
	s.names.look = func(_ context.Context, addr string) ([]string, error) {
		return []string{"host-" + strings.ReplaceAll(addr, ".", "-") + "."}, nil
	}
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Names map[string]string }
	w := get(h, "/api/v1/names?addr=10.0.0.1&addr=10.0.0.2")
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Names["10.0.0.2"] != "host-10-0-0-2" || len(answer.Names) != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, bad := range []string{"?addr=nobody", "?addr=" + strings.Repeat("10.0.0.1&addr=", 100) + "10.0.0.1"} {
		if w := get(h, pathNames+bad); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%.40s: %d", bad, w.Code)
		}
	}
	var card Address
	if w := get(h, "/api/v1/address/::ffff:10.0.0.1"); json.Unmarshal(w.Body.Bytes(), &card) != nil || card.Addr != "10.0.0.1" || !card.Private || len(card.Names) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get(h, "/api/v1/address/nobody"); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "path.addr") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPrivateAddresses(t *testing.T) {
	for addr, want := range map[string]bool{
		"10.1.4.7": true, "192.168.0.1": true, "100.64.0.1": true, "127.0.0.1": true, "fd00::1": true, "fe80::1": true, "ff02::1": true,
		"192.0.2.1": true, "2001:db8::1": true, "8.8.8.8": false, "2606:4700::1": false, "100.128.0.1": false,
	} {
		if got := private(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}
