package collector

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// connect opens a TCP connection to a collector.
func connect(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestStream: messages arrive however TCP cuts them, in batches of all
// connections, and the templates of one connection are not those of another.
func TestStream(t *testing.T) {
	sink := &memory{}
	addr, stop := start(t, Config{Sink: sink, ListenTCP: []string{"127.0.0.1:0"}, BatchAge: 10 * time.Millisecond})
	a, b := connect(t, addr), connect(t, addr)
	write(t, a, message(0, template256, data256(3)))
	// The other connection gives the same number to packets.
	packets := slices.Clone(template256)
	packets[9] = 2
	write(t, b, message(0, packets, data256(5)))
	eventually(t, "both are stored, and before the connections end", func() bool { return sink.count() == 8 })
	rest := append(message(3, data256(2)), message(5, data256(1))...)
	for i := range rest {
		write(t, a, rest[i:i+1])
	}
	write(t, b, append(message(5, data256(4)), message(9, data256(6))...))
	eventually(t, "octets one by one, and messages together", func() bool { return sink.count() == 21 })
	write(t, a, message(6, data256(7)))
	stop()
	octets, count := 0, 0
	for _, r := range sink.recs {
		if r.Bytes > 0 {
			octets++
		}
		if r.Packets > 0 {
			count++
		}
	}
	if octets != 13 || count != 15 || len(sink.loss) != 0 {
		t.Errorf("%d records of octets and %d of packets, loss %v", octets, count, sink.loss)
	}
}

// TestStreamThatIsNotIPFIX: where the next message begins is not known, so the
// connection is closed, and that is booked.
func TestStreamThatIsNotIPFIX(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"http":      []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"v9":        append([]byte{0, 9, 0, 1}, make([]byte, 60)...),
		"length_0":  {0, 10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
		"bad_set":   message(0, []byte{1, 0, 0xff, 0xff}),
		"bad_id":    message(0, []byte{0, 7, 0, 4}),
		"cut_short": message(0, template256)[:20],
	} {
		t.Run(name, func(t *testing.T) {
			sink := &memory{}
			reg := prometheus.NewRegistry()
			addr, stop := start(t, Config{Sink: sink, ListenTCP: []string{"127.0.0.1:0"}, Registerer: reg})
			conn := connect(t, addr)
			write(t, conn, garbage)
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 || os.IsTimeout(err) {
				t.Errorf("the connection lives on: %d %v", n, err)
			}
			stop()
			if len(sink.loss) == 0 || metric(t, reg, "flowtally_collector_connection_errors_total") != 1 {
				t.Errorf("not booked: %v", sink.loss)
			}
		})
	}
}

// TestStreamBudget: connections beyond the budget, of strangers, and silent ones
// are closed.
func TestStreamBudget(t *testing.T) {
	reg := prometheus.NewRegistry()
	addr, _ := start(t, Config{Sink: &memory{}, ListenTCP: []string{"127.0.0.1:0"}, MaxConnections: 1, IdleTimeout: 200 * time.Millisecond, Registerer: reg})
	first := connect(t, addr)
	write(t, first, message(0, template256))
	eventually(t, "the first is served", func() bool { return metric(t, reg, "flowtally_collector_datagrams_total") == 1 })
	closed := func(conn net.Conn) {
		t.Helper()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(conn); os.IsTimeout(err) {
			t.Error("the connection lives on")
		}
	}
	closed(connect(t, addr))
	closed(first) // after a silence
	eventually(t, "counted", func() bool { return metric(t, reg, "flowtally_collector_refused_connections_total") >= 1 })

	addr, _ = start(t, Config{Sink: &memory{}, ListenTCP: []string{"127.0.0.1:0"}, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	closed(connect(t, addr))
}

// TestTLS: with a certificate of the authority a client is served, without it is
// not.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caKey := certify(t, "authority", nil, nil)
	server, serverKey := certify(t, "collector", ca, caKey)
	client, clientKey := certify(t, "exporter", ca, caKey)
	file := func(name string, c *x509.Certificate, k *ecdsa.PrivateKey) string {
		var b bytes.Buffer
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		if k != nil {
			der, err := x509.MarshalPKCS8PrivateKey(k)
			if err != nil {
				t.Fatal(err)
			}
			pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	both := file("server", server, serverKey)
	conf, err := TLSConfig(both, both, file("ca", ca, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TLSConfig(both, both, both+"-is-not-there"); err == nil {
		t.Error("authorities that are not there are taken")
	}
	sink := &memory{}
	reg := prometheus.NewRegistry()
	addr, stop := start(t, Config{Sink: sink, ListenTLS: []string{"127.0.0.1:0"}, TLS: conf, Registerer: reg, BatchAge: 10 * time.Millisecond})

	roots := x509.NewCertPool()
	roots.AddCert(ca)
	mine := &tls.Config{RootCAs: roots, ServerName: "collector", Certificates: []tls.Certificate{{Certificate: [][]byte{client.Raw}, PrivateKey: clientKey}}}
	conn, err := tls.Dial("tcp", addr.String(), mine)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	write(t, conn, message(0, template256, data256(4)))
	eventually(t, "the message is stored", func() bool { return sink.count() == 4 })

	strange := mine.Clone()
	strange.Certificates = nil
	if c, err := tls.Dial("tcp", addr.String(), strange); err == nil {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("a client without a certificate is served: %v", err)
		}
		c.Close()
	}
	plain := connect(t, addr)
	write(t, plain, message(0, template256, data256(4)))
	eventually(t, "both strangers are counted", func() bool { return metric(t, reg, "flowtally_collector_connection_errors_total") == 2 })
	stop()
	if sink.count() != 4 {
		t.Errorf("%d records", sink.count())
	}
}

// certify makes a certificate, by the authority given or as one.
func certify(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ca == nil {
		ca, caKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}

// FuzzStream: whatever comes over a connection, cut anywhere, ends it or is
// booked, and nothing loops.
func FuzzStream(f *testing.F) {
	f.Add(message(0, template256, data256(3)), uint8(7))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(1))
	f.Add([]byte{0, 10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(3))
	c := Config{}.withDefaults()
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		p := newProcess(c)
		fill := &streamFiller{}
		p.open(&fill.filler, nil)
		near, far := net.Pipe()
		go func() {
			defer near.Close()
			for len(b) > 0 {
				n := min(len(b), int(step)+1)
				if _, err := near.Write(b[:n]); err != nil {
					return
				}
				b = b[n:]
			}
		}()
		_ = p.serve(t.Context(), &stream{fill: fill}, far, netip.MustParseAddrPort("192.0.2.1:1"), nil)
		far.Close()
	})
}
