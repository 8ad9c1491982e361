package exporter

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"flowtally/flow"
	"flowtally/netflow"
)

// session is what came over one connection.
type session struct {
	messages []netflow.Message
	records  []flow.Record
	errs     []error
}

// receiver takes IPFIX over a stream. It hangs up on its first connections, one
// for each of hangUp, after so many messages.
type receiver struct {
	net.Listener
	mu       sync.Mutex
	sessions []*session
	done     sync.WaitGroup
}

func receive(t *testing.T, conf *tls.Config, hangUp ...int) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	r := &receiver{Listener: l}
	r.done.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			most := 1 << 30
			if n < len(hangUp) {
				most = hangUp[n]
			}
			s := &session{}
			r.mu.Lock()
			r.sessions = append(r.sessions, s)
			r.mu.Unlock()
			r.done.Go(func() { r.read(c, s, most) })
		}
	})
	t.Cleanup(func() { l.Close() })
	return r
}

func (r *receiver) read(c net.Conn, s *session, most int) {
	defer c.Close()
	decoder := netflow.NewDecoder(netflow.Limits{})
	for range most {
		msg := make([]byte, 4)
		if _, err := io.ReadFull(c, msg); err != nil {
			return
		}
		rest := make([]byte, int(binary.BigEndian.Uint16(msg[2:]))-4)
		if _, err := io.ReadFull(c, rest); err != nil {
			return
		}
		var m netflow.Message
		r.mu.Lock()
		var err error
		s.records, err = decoder.Decode(s.records, &m, netip.MustParseAddrPort("127.0.0.1:1"), flow.TimeOf(t0), append(msg, rest...))
		if err != nil {
			s.errs = append(s.errs, err)
		}
		s.messages = append(s.messages, m)
		r.mu.Unlock()
	}
}

// all returns the records of all sessions when the far end has read everything.
func (r *receiver) all(t *testing.T) (recs []flow.Record) {
	t.Helper()
	r.Close()
	r.done.Wait()
	for _, s := range r.sessions {
		if len(s.errs) > 0 {
			t.Error(s.errs)
		}
		next := uint32(0)
		for _, m := range s.messages {
			if m.Sequence != next {
				t.Errorf("sequence %d, want %d", m.Sequence, next)
			}
			next += uint32(m.Records + m.OptionRecords)
		}
		recs = append(recs, s.records...)
	}
	return recs
}

// TestStream: over TCP and TLS all flows arrive, once.
func TestStream(t *testing.T) {
	theirs, ours := certificate(t)
	for _, scheme := range []string{"tcp", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			conf := theirs
			if scheme == "tcp" {
				conf = nil
			}
			r := receive(t, conf)
			s, err := Run(context.Background(), Config{
				Source: newScript(conversations(500)...), To: []string{scheme + "://" + r.Addr().String()},
				Version: netflow.IPFIX, Meter: small, Options: true, TLS: ours,
			})
			if err != nil {
				t.Fatal(err)
			}
			balance(t, s)
			if recs := r.all(t); len(recs) != 1000 || s.NotSent != 0 {
				t.Errorf("%d records came; %+v", len(recs), s)
			}
			if n := len(r.sessions[0].messages); uint64(n) != s.Messages {
				t.Errorf("%d messages came of %d", n, s.Messages)
			}
		})
	}
}

// TestStreamComesBack: when the far end hangs up, another connection is made, in
// which templates and numbers begin anew, and what waited goes over it. What was
// under way when it hung up nobody can know of.
func TestStreamComesBack(t *testing.T) {
	r := receive(t, nil, 1)
	source := newScript()
	source.live = true
	for i := range 400 {
		source.frames = append(source.frames, frame{at: time.Now(), data: ethernet("10.0.0.1", "10.0.0.2", uint16(i), 53, 10)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan Summary)
	go func() {
		s, _ := Run(ctx, Config{Source: source, To: []string{"tcp://" + r.Addr().String()}, Version: netflow.IPFIX, Live: true, Meter: small, Options: true})
		done <- s
	}()
	sessions := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.sessions)
	}
	for i := 0; sessions() < 2; i++ {
		if i > 3000 {
			t.Fatal("it does not come back")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	s := <-done
	balance(t, s)
	if recs := r.all(t); len(recs) != 400 || s.NotSent != 0 {
		t.Errorf("%d records came; %+v", len(recs), s)
	}
}

// TestStreamAway: where nobody answers all is counted as not sent, also to people
// who ask for metrics, and the Run ends.
func TestStreamAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c := listen(t)
	s, err := Run(context.Background(), Config{
		Source: newScript(conversations(50)...), To: []string{c.addr(), "tcp://" + addr}, Version: netflow.IPFIX, Meter: small, Options: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	balance(t, s)
	if d := s.Destinations[1]; d.NotSent != 100 || d.Records != 0 || s.NotSentBy.Unreachable != 100 {
		t.Errorf("%+v", s)
	}
	if recs := c.wait(t, s.Destinations[0].Messages); len(recs) != 100 {
		t.Errorf("the other one got %d records", len(recs))
	}
	for _, to := range []string{"udp://127.0.0.1:1", "tcp://127.0.0.1", "tls://:x:y"} {
		if _, err := Run(context.Background(), Config{Source: newScript(), To: []string{to}, Version: netflow.IPFIX}); err == nil {
			t.Errorf("%s is a destination", to)
		}
	}
	if _, err := Run(context.Background(), Config{Source: newScript(), To: []string{"tcp://" + addr}, Version: netflow.V9}); err == nil {
		t.Error("v9 goes over TCP")
	}
}

// TestGiveUp: of what waits for a far end the oldest is given up, and counted
// with its packets and octets.
func TestGiveUp(t *testing.T) {
	d := &destination{}
	for i := range 10 {
		d.pending = append(d.pending, flow.Record{Packets: uint64(i), Bytes: 100})
	}
	d.giveUp(4)
	if len(d.pending) != 4 || d.pending[0].Packets != 6 || d.counts.notSent.Unreachable != 6 || d.made.records != 6 || d.lost != (load{15, 600}) {
		t.Errorf("%+v", d)
	}
}

// certificate returns the two ends' configurations of TLS.
func certificate(t *testing.T) (theirs, ours *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(signed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}
