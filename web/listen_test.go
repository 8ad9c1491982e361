package web

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, row := range []struct {
		name     string
		addr     string
		insecure bool
		want     string // in the error; empty: none
	}{
		{name: "loopback_v4", addr: "127.0.0.1:0"},
		{name: "loopback_name", addr: "localhost:0"},
		{name: "all_addresses", addr: ":0", want: "there is no login"},
		{name: "unspecified_v4", addr: "0.0.0.0:0", want: "--insecure"},
		{name: "unspecified_v6", addr: "[::]:0", want: "there is no login"},
		{name: "mapped_address_of_another_machine", addr: "[::ffff:192.0.2.1]:0", want: "there is no login"},
		{name: "all_addresses_insecure", addr: "0.0.0.0:0", insecure: true},
		{name: "address_of_another_machine", addr: "192.0.2.1:0", insecure: true, want: "is not an address of this machine"},
		{name: "port_in_use", addr: taken.Addr().String(), want: "is in use"},
		{name: "no_port", addr: "127.0.0.1", want: "write it as address:port"},
		{name: "port_beyond", addr: "127.0.0.1:70000", want: "cannot listen"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, err := listen(t.Context(), row.addr, row.insecure)
			if err == nil {
				l.Close()
			}
			switch {
			case row.want == "" && err != nil:
				t.Error(err)
			case row.want != "" && err == nil:
				t.Errorf("listened, want an error with %q", row.want)
			case row.want != "" && (!strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "web: ") || strings.Contains(err.Error(), "\n")):
				t.Errorf("error %q, want one sentence with %q", err, row.want)
			}
		})
	}
}

func TestRunSaysWhatIsWrongWithItsAddress(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "127.0.0.1"} {
		if err := Run(t.Context(), Config{DB: faked(&fake{}), Listen: addr}); err == nil {
			t.Errorf("Run on %s returned nil", addr)
		}
	}
}

// The header timeouts and limits are set on the server itself, which only a
// real connection reaches.
func TestOversizedHeaderIsRefused(t *testing.T) {
	addr, stop := start(t, Config{DB: faked(&fake{})})
	r, err := http.NewRequest(http.MethodGet, "http://"+addr.String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 128<<10))
	resp, err := http.DefaultClient.Do(r)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
