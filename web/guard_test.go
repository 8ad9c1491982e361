package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestGuards is the list of ways in that are shut, and of those that must stay
// open. The default server listens on 127.0.0.1:8080.
func TestGuards(t *testing.T) {
	const top = "/api/v1/top"
	allow := func(hosts ...string) func(*Config) { return func(c *Config) { c.AllowHosts = hosts } }
	listen := func(addr string) func(*Config) { return func(c *Config) { c.Listen = addr } }
	for _, row := range []struct {
		name    string
		change  func(*Config)
		method  string
		target  string
		body    string
		headers []string
		want    int
	}{
		{name: "localhost", target: top, headers: []string{"Host", "localhost:8080"}, want: 200},
		{name: "localhost_with_final_dot", target: top, headers: []string{"Host", "localhost.:8080"}, want: 200},
		{name: "capitals", target: top, headers: []string{"Host", "LocalHost:8080"}, want: 200},
		{name: "loopback_v4", target: top, headers: []string{"Host", "127.0.0.1:8080"}, want: 200},
		{name: "loopback_v6", target: top, headers: []string{"Host", "[::1]:8080"}, want: 200},
		{name: "loopback_v6_without_port", target: top, headers: []string{"Host", "[::1]"}, want: 200},
		{name: "port_of_a_tunnel", target: top, headers: []string{"Host", "localhost:9000"}, want: 200},
		{name: "rebound_name", target: top, headers: []string{"Host", "evil.example:8080"}, want: 421},
		{name: "rebound_name_on_the_page", target: "/", headers: []string{"Host", "evil.example"}, want: 421},
		{name: "rebound_name_on_the_document", target: "/openapi.json", headers: []string{"Host", "evil.example"}, want: 421},
		{name: "rebound_name_that_ends_like_ours", target: top, headers: []string{"Host", "localhost.evil.example"}, want: 421},
		{name: "rebound_name_with_user", target: top, headers: []string{"Host", "localhost@evil.example"}, want: 421},
		{name: "other_address", target: top, headers: []string{"Host", "192.0.2.1:8080"}, want: 421},
		{name: "no_host", target: top, headers: []string{"Host", ""}, want: 421},
		{name: "health_probe_by_address", target: "/healthz", headers: []string{"Host", "192.0.2.1:8080"}, want: 200},
		{name: "allowed_host", change: allow("flows.example.org"), target: top, headers: []string{"Host", "Flows.Example.org"}, want: 200},
		{name: "allowed_host_with_port", change: allow("flows.example.org:443"), target: top, headers: []string{"Host", "flows.example.org"}, want: 200},
		{name: "subdomain_of_allowed_host", change: allow("example.org"), target: top, headers: []string{"Host", "evil.example.org"}, want: 421},
		{name: "listen_address", change: listen("192.0.2.1:8080"), target: top, headers: []string{"Host", "192.0.2.1:8080"}, want: 200},
		{name: "all_addresses_by_address", change: listen("0.0.0.0:8080"), target: top, headers: []string{"Host", "192.0.2.1:8080"}, want: 200},
		{name: "all_addresses_by_rebound_name", change: listen(":8080"), target: top, headers: []string{"Host", "evil.example:8080"}, want: 421},

		{name: "own_page", target: top, headers: []string{"Sec-Fetch-Site", "same-origin"}, want: 200},
		{name: "typed_address", target: top, headers: []string{"Sec-Fetch-Site", "none"}, want: 200},
		{name: "cross_site_fetch", target: top, headers: []string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "fetch_from_another_port", target: top, headers: []string{"Sec-Fetch-Site", "same-site"}, want: 403},
		{name: "unknown_fetch_site", target: top, headers: []string{"Sec-Fetch-Site", "friendly"}, want: 403},
		{name: "cross_site_to_unknown_path", target: "/api/v2/x", headers: []string{"Sec-Fetch-Site", "cross-site"}, want: 403},
		{name: "link_from_another_site_to_the_page", target: "/", headers: []string{"Sec-Fetch-Site", "cross-site"}, want: 200},
		{name: "old_browser_own_origin", target: top, headers: []string{"Origin", "http://localhost:8080"}, want: 200},
		{name: "old_browser_other_origin", target: top, headers: []string{"Origin", "http://evil.example"}, want: 403},
		{name: "old_browser_opaque_origin", target: top, headers: []string{"Origin", "null"}, want: 403},

		{name: "form_post", method: http.MethodPost, target: top, body: "a=b", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, want: 415},
		{name: "plain_text_post", method: http.MethodPost, target: top, body: "{}", headers: []string{"Content-Type", "text/plain"}, want: 415},
		{name: "body_without_type", method: http.MethodPost, target: top, body: "{}", want: 415},
		{name: "json_post_where_only_get_is", method: http.MethodPost, target: top, body: "{}", headers: []string{"Content-Type", "application/json; charset=utf-8"}, want: 405},
		{name: "preflight_from_another_origin", method: http.MethodOptions, target: top, headers: []string{"Origin", "http://evil.example", "Access-Control-Request-Method", "GET"}, want: 403},
		{name: "options", method: http.MethodOptions, target: top, want: 405},
		{name: "post_to_the_page", method: http.MethodPost, target: "/", want: 405},
		{name: "head", method: http.MethodHead, target: top, want: 200},
		{name: "accept_that_panics_the_library", target: top, headers: []string{"Accept", "a;,b"}, want: 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.change == nil {
				row.change = func(*Config) {}
			}
			if row.method == "" {
				row.method = http.MethodGet
			}
			db := &fake{}
			h := newTestHandler(t, db, row.change)
			w := request(h, row.method, row.target, row.body, row.headers...)
			if w.Code != row.want {
				t.Errorf("status %d, want %d; body %s", w.Code, row.want, w.Body)
			}
			if got := w.Header().Get("Allow"); (got == "GET, HEAD") != (w.Code == http.StatusMethodNotAllowed) {
				t.Errorf("status %d with Allow %q", w.Code, got)
			}
			if w.Code != 200 {
				problem(t, w)
				if len(db.asked) > 0 {
					t.Error("the database was asked all the same")
				}
			}
			for name, want := range map[string]string{
				"Content-Security-Policy":      contentSecurityPolicy,
				"X-Content-Type-Options":       "nosniff",
				"Referrer-Policy":              "no-referrer",
				"Cross-Origin-Opener-Policy":   "same-origin",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("other origins may read this: %q", got)
			}
		})
	}
}

func TestRefusedBrowserReadsASentence(t *testing.T) {
	w := get(newTestHandler(t, &fake{}), "/", "Host", "evil.example", "Accept", "text/html,*/*;q=0.8")
	if ct := w.Header().Get("Content-Type"); ct != "text/plain; charset=utf-8" {
		t.Errorf("content type %q", ct)
	}
	if !strings.Contains(w.Body.String(), "--allow-host") {
		t.Errorf("%q does not say what to do", w.Body)
	}
}

func TestAllowedHostsAreNames(t *testing.T) {
	for _, name := range []string{"http://flows.example.org", "flows.example.org/page", "", "a b", "*.example.org", "a,b"} {
		if _, err := newHostList("127.0.0.1", []string{name}); err == nil {
			t.Errorf("%q was taken for a host name", name)
		}
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	h := newTestHandler(t, &fake{}, func(c *Config) { c.Registerer = r })
	get(h, "/", "Host", "evil.example")
	get(h, "/api/v1/top", "Sec-Fetch-Site", "cross-site")
	get(h, "/api/v1/top")
	get(h, "/api/v1/a-strangers-path")
	want := `
# HELP flowtally_web_refused_total HTTP requests refused before they were looked at, by reason.
# TYPE flowtally_web_refused_total counter
flowtally_web_refused_total{reason="content_type"} 0
flowtally_web_refused_total{reason="host"} 1
flowtally_web_refused_total{reason="login"} 0
flowtally_web_refused_total{reason="origin"} 0
flowtally_web_refused_total{reason="role"} 0
flowtally_web_refused_total{reason="site"} 1
flowtally_web_refused_total{reason="token"} 0
flowtally_web_refused_total{reason="token_in_address"} 0
flowtally_web_refused_total{reason="token_tries"} 0
# HELP flowtally_web_requests_total HTTP requests answered, by route and class of status.
# TYPE flowtally_web_requests_total counter
flowtally_web_requests_total{class="4xx",route="page"} 1
flowtally_web_requests_total{class="4xx",route="top"} 1
flowtally_web_requests_total{class="2xx",route="top"} 1
flowtally_web_requests_total{class="4xx",route="unknown"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "flowtally_web_refused_total", "flowtally_web_requests_total"); err != nil {
		t.Error(err)
	}
}

// FuzzHost: whatever the header, a name that is not on the list stays out.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"localhost:8080", "[::1]:80", "[::1", "127.0.0.1", "evil.example", "localhost.", "::1", "[fe80::1%25lo]:1", ":", "LOCALHOST"} {
		f.Add(s)
	}
	l, err := newHostList("127.0.0.1", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if !l.allows(header) {
			return
		}
		lower := strings.ToLower(header)
		for _, own := range []string{"localhost", "127.0.0.1", "::1", "[::1]", "[0:", "0:", "::0", "::ffff:", "[::", "0"} {
			if strings.HasPrefix(lower, own) || strings.HasPrefix(lower, "["+own) {
				return
			}
		}
		t.Errorf("%q was let in", header)
	})
}
