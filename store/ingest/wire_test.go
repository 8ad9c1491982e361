package ingest_test

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// wire stands between a writer and the database and can be cut.
type wire struct {
	listener net.Listener
	network  string
	to       string

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	// filter sees what the client sends and says how much of it goes on; with less
	// than all, the connection is cut after it. answers says whether what the
	// server says to that still comes through.
	filter func(data []byte) (pass int)
}

// newWire returns a wire to the database of dsn, and the URL at its other end.
func newWire(t *testing.T, dsn string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{network: "tcp", to: u.Host, conns: make(map[net.Conn]bool)}
	if dir := u.Query().Get("host"); strings.HasPrefix(dir, "/") {
		w.network, w.to = "unix", filepath.Join(dir, ".s.PGSQL."+u.Query().Get("port"))
	}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := w.listener.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.cut()
	})
	u.Host = w.listener.Addr().String()
	u.RawQuery = "sslmode=disable&connect_timeout=5"
	return w, u.String()
}

func (w *wire) serve(c net.Conn) {
	defer c.Close()
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	if down {
		return
	}
	s, err := net.Dial(w.network, w.to)
	if err != nil {
		return
	}
	defer s.Close()
	w.mu.Lock()
	if w.down {
		w.mu.Unlock()
		return
	}
	w.conns[c], w.conns[s] = true, true
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(c, s)
		_ = c.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			w.mu.Lock()
			f := w.filter
			w.mu.Unlock()
			pass := n
			if f != nil {
				pass = f(buf[:n])
			}
			if pass < 0 { // all goes on, no answer comes back
				_ = c.Close()
				_, _ = s.Write(buf[:n])
				_, _ = io.Copy(io.Discard, s)
				return
			}
			if _, werr := s.Write(buf[:pass]); werr != nil || pass < n {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections and lets no new ones through.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.filter = false, nil
}

func (w *wire) onSend(f func([]byte) int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filter = f
}
