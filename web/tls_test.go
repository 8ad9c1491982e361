package web

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, n: 1}
}

// issue writes a certificate for 127.0.0.1 and its key, each later than the one
// before, and returns its serial number.
func (a *authority) issue(t *testing.T, certFile, keyFile string) int64 {
	t.Helper()
	a.n++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: "flowtally"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Duration(a.n) * time.Second)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
	return a.n
}

func (a *authority) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

func TestServesByTLS(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key")
	first := ca.issue(t, certFile, keyFile)
	addr, stop := start(t, Config{DB: faked(&fake{}), NoDNS: true, TLSCert: certFile, TLSKey: keyFile, Users: mustLoadUsers(t, usersFile(t))})
	base, client := "https://"+addr.String(), ca.client()

	r, err := client.Get(base + pathHealth)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.ProtoMajor != 2 || r.TLS.Version < tls.VersionTLS13 || r.TLS.PeerCertificates[0].SerialNumber.Int64() != first {
		t.Errorf("%s, TLS %x, certificate %v", r.Proto, r.TLS.Version, r.TLS.PeerCertificates[0].SerialNumber)
	}
	// It holds for all ports of the name; see docs/api.md.
	if got := r.Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("Strict-Transport-Security: %s", got)
	}
	if _, err := tls.Dial("tcp", addr.String(), &tls.Config{RootCAs: client.Transport.(*http.Transport).TLSClientConfig.RootCAs, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}

	body, _ := json.Marshal(map[string]string{"user": "vera", "password": "right horse"})
	r, err = client.Post(base+pathLogin, "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if len(r.Cookies()) != 2 {
		t.Errorf("login: %d, cookies %v", r.StatusCode, r.Cookies())
	}
	for _, c := range r.Cookies() {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("the cookie is %+v", c)
		}
	}

	// Plain HTTP on this port is refused in words, and carries nothing.
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /api/v1/top HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 4000)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	plain, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(plain.Body)
	if plain.StatusCode != http.StatusBadRequest || !strings.Contains(string(said), "with https:// in front") {
		t.Errorf("plain HTTP: %d %q", plain.StatusCode, said)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func mustLoadUsers(t *testing.T, path string) *Users {
	t.Helper()
	u, err := LoadUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCertificateIsReadAnew(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key")
	first := ca.issue(t, certFile, keyFile)
	c, err := loadCertificate(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	serves := func(when string, want int64) {
		t.Helper()
		c.looked = time.Time{} // it looks every few seconds
		got, err := c.get(nil)
		if err != nil || got.Leaf.SerialNumber.Int64() != want {
			t.Errorf("%s: certificate %v, %v; want %d", when, got.Leaf.SerialNumber, err, want)
		}
	}
	serves("as it is", first)
	oldKey, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	second := ca.issue(t, certFile, keyFile)
	newKey, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, oldKey, 0o600); err != nil {
		t.Fatal(err)
	}
	serves("the new certificate before its key", first)
	if err := os.WriteFile(keyFile, newKey, 0o600); err != nil {
		t.Fatal(err)
	}
	serves("renewed", second)
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	serves("gone", second)
}

func TestBadCertificateIsSaidAtTheStart(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca.issue(t, at("a.pem"), at("a.key"))
	ca.issue(t, at("b.pem"), at("b.key"))
	if err := os.WriteFile(at("text"), []byte("this is no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, cert, key, want string }{
		{"no_key", at("a.pem"), "", "--tls-key"},
		{"no_certificate", "", at("a.key"), "--tls-cert"},
		{"no_file", at("none"), at("a.key"), at("none")},
		{"no_file_of_the_key", at("a.pem"), at("none"), at("none")},
		{"text", at("text"), at("a.key"), at("text")},
		{"text_for_a_key", at("a.pem"), at("text"), at("text")},
		{"key_of_another", at("a.pem"), at("b.key"), "does not match"},
		{"swapped", at("a.key"), at("a.pem"), at("a.key")},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := Run(t.Context(), Config{DB: faked(&fake{}), Listen: "127.0.0.1:0", TLSCert: row.cert, TLSKey: row.key})
			if err == nil || !strings.HasPrefix(err.Error(), "web: TLS") || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want a sentence with %q", err, row.want)
			}
		})
	}
}
