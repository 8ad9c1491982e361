package collector

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flowtally/flow"
)

// TestGuess: what is sent to the wrong port.
func TestGuess(t *testing.T) {
	for text, want := range map[string]string{
		"\x00\x00\x00\x05\x00\x00\x00\x01\xc0\x00\x02\x01":                        "sFlow v5",
		"\x00\x00\x00\x04\x00\x00\x00\x01\xc0\x00\x02\x01":                        "sFlow v4",
		"<134>1 2026-11-30T12:00:00Z fw app - - - hello":                          "syslog",
		"\x00\x08\x00\x01" + strings.Repeat("\x00", 40):                           "NetFlow v8, which is not read here",
		"\x00\x09\x00\x01\x00":                                                    "NetFlow v9 that is damaged",
		"\x00\x0a\x00\x10":                                                        "IPFIX that is damaged",
		"GET / HTTP/1.1\r\n":                                                      "HTTP",
		"\x16\x03\x01\x02\x00\x01":                                                "TLS",
		"\x30\x29\x02\x01\x01\x04\x06public":                                      "SNMP",
		"\x30\x82\x01\x29\x02\x01\x01":                                            "SNMP",
		"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x00\x00\x01\x00": "DNS",
		"\x04\x01\x00\x14" + strings.Repeat("x", 16):                              "RADIUS",
		"{\"a\":1}":            "JSON",
		"hello world":          "text",
		"\xff\xfe\xfd\xfc\xfb": "no protocol that we know",
		"\x01":                 "a fragment",
	} {
		if got := guess([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzGuess(f *testing.F) {
	f.Add([]byte("<134>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if guess(b) == "" {
			t.Error("no guess")
		}
	})
}

// TestSendersOfTheUnreadable: who sends only what cannot be read is known by its
// address, and one line a minute says so, however many there are.
func TestSendersOfTheUnreadable(t *testing.T) {
	p, l := reader(t, Config{})
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	now := flow.TimeOf(time.Now())
	sflow, _ := hex.DecodeString("0000000500000001c0000201")
	broken := append([]byte{0, 10, 0, 24}, append(make([]byte, 12), 0, 7, 0, 8, 1, 2, 3, 4)...)
	p.decode(&l.filler, netip.MustParseAddrPort("192.0.2.7:6343"), now, sflow)
	p.decode(&l.filler, netip.MustParseAddrPort("192.0.2.7:6343"), now+1, sflow)
	p.decode(&l.filler, netip.MustParseAddrPort("192.0.2.8:1"), now, broken)
	list := p.unreadable.take()
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	for _, x := range list {
		switch {
		case x.Addr.String() == "192.0.2.7" && x.Datagrams == 2 && x.Guess == "sFlow v5" && bytes.Equal(x.First, sflow) && x.LastSeen == now+1:
		case x.Addr.String() == "192.0.2.8" && x.Datagrams == 1 && x.Guess == "IPFIX that is damaged" && x.Error != "":
		default:
			t.Errorf("%+v", x)
		}
	}
	if more := p.unreadable.take(); len(more) != 0 {
		t.Errorf("said twice: %+v", more)
	}
	p.unreadable.giveBack(list)
	if again := p.unreadable.take(); len(again) != 2 {
		t.Errorf("a report that failed: %+v", again)
	}
	begin := time.Now()
	for i := range 120 {
		for j := range 1000 {
			p.unreadable.add(netip.AddrFrom4([4]byte{10, 0, byte(j >> 8), byte(j)}), now, sflow, nil)
		}
		p.unreadable.say(logger, begin.Add(time.Duration(i)*time.Second))
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "perhaps sFlow v5 (0000000500000001c0000201)") {
		t.Errorf("%d lines in two minutes: %s", n, log.String())
	}
	if n := len(p.unreadable.senders); n > maxUnreadable {
		t.Errorf("%d remembered", n)
	}
}
