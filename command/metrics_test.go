package command

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// /metrics answers to its own names alone, since a page of another site can make its name
// resolve to our address; /healthz answers to any, with a sentence when something is wrong.
func TestMetricsServer(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	c := metricsConfig{addr: free.Addr().String(), hosts: []string{"flows.example.org"}}
	if _, err := serveMetrics(ctx, &c); err != nil {
		t.Fatal(err)
	}
	get := func(path, host string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+c.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		b, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.StatusCode, string(b)
	}
	for host, want := range map[string]int{
		c.addr: 200, "localhost:9100": 200, "collector:9100": 200, "flows.example.org": 200, "[::1]:9100": 200,
		"rebound.example.com": 421, "rebound.example.com:9100": 421, "198.51.100.7": 421,
	} {
		if got, text := get("/metrics", host); got != want {
			t.Errorf("%s: %d %.60s, want %d", host, got, text, want)
		}
	}
	if got, text := get("/healthz", "rebound.example.com"); got != 200 || text != "ok\n" {
		t.Errorf("healthz: %d %q", got, text)
	}
	wrong := errors.New("batches cannot be stored since noon")
	c.setHealth(func() error { return wrong })
	if got, text := get("/healthz", c.addr); got != 503 || !strings.Contains(text, "since noon") {
		t.Errorf("healthz: %d %q", got, text)
	}
	wrong = nil
	if got, _ := get("/healthz", c.addr); got != 200 {
		t.Errorf("healthz: %d", got)
	}
}
