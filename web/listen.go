package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// addrPort is where a listener of ours listens.
func addrPort(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// certificate is a certificate from files, read anew when they change: those
// that are renewed every few weeks are so without anybody who starts us again.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time
	looked  time.Time
}

// loadCertificate reads a certificate, nil when there is none.
func loadCertificate(cert, key string) (*certificate, error) {
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("web: TLS takes both a certificate and its key: --tls-cert and --tls-key")
	}
	c := &certificate{cert: cert, key: key}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("web: TLS: %w", err)
	}
	return c, nil
}

func (c *certificate) load() error {
	info, err := os.Stat(c.cert)
	if err != nil {
		return err
	}
	if c.current != nil && info.ModTime().Equal(c.changed) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if _, ok := errors.AsType[*os.PathError](err); ok {
			return err // it has the file's name
		}
		return fmt.Errorf("certificate %s with key %s: %s", c.cert, c.key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	c.current, c.changed = &pair, info.ModTime()
	return nil
}

// get is tls.Config's GetCertificate. A file that cannot be read leaves the last
// certificate in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) > 10*time.Second {
		c.looked = now
		_ = c.load() // half written, perhaps: the next look finds it whole
	}
	return c.current, nil
}

// tlsListener answers who comes to a port of TLS by plain HTTP with a sentence.
// net/http has one too, but leaves the request unread, so that the connection
// breaks off under it and browsers never show it.
type tlsListener struct{ net.Listener }

func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tlsConn{Conn: c}, nil
}

// tlsConn is a connection whose first byte tells TLS from plain HTTP: a record's
// type is below 32, a method begins with a letter.
type tlsConn struct {
	net.Conn
	begun bool
}

func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.begun || n == 0 {
		return n, err
	}
	c.begun = true
	if b[0] < 'A' || b[0] > 'Z' {
		return n, err
	}
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	request := io.LimitReader(io.MultiReader(bytes.NewReader(b[:n]), c.Conn), 64<<10)
	if _, err := http.ReadRequest(bufio.NewReader(request)); err == nil {
		const sentence = "This port speaks HTTPS alone: open the address with https:// in front.\n"
		_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
			"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n%s", len(sentence), sentence)
	}
	return 0, io.EOF
}

// listen opens the address the page is served on. Beyond loopback it wants a
// login, or to be told: flow data says who talks to whom.
func listen(ctx context.Context, addr string, insecure bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("web: cannot listen on %q: write it as address:port, for example 127.0.0.1:8080", addr)
	}
	if !insecure {
		inside, err := onLoopback(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("web: cannot listen on %s: %w", addr, err)
		}
		if !inside {
			return nil, fmt.Errorf("web: refuse to listen on %s: there is no login, so whoever reaches it could read who talks to whom; "+
				"give users with --auth, name a proxy that logs people in with --trust-proxy, listen on 127.0.0.1:%s, or add --insecure when everyone who can connect may see it", addr, port)
		}
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("web: port %s on %s is in use: stop the program that has it, or choose another with --listen", port, orAll(host))
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("web: no permission to listen on port %s: choose one above 1023 with --listen", port)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("web: %s is not an address of this machine: choose one that is with --listen", host)
	}
	return nil, fmt.Errorf("web: cannot listen on %s: %w", addr, err)
}

func orAll(host string) string {
	if host == "" {
		return "all addresses"
	}
	return host
}

// onLoopback reports whether only this machine can reach a listener on host: a
// name counts when every address it has is a loopback address.
func onLoopback(ctx context.Context, host string) (bool, error) {
	if host == "" {
		return false, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false, fmt.Errorf("the name %s has no address: use an address of this machine", host)
	}
	for _, a := range addrs {
		if !a.Unmap().IsLoopback() {
			return false, nil
		}
	}
	return len(addrs) > 0, nil
}
