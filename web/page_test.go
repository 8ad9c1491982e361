package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
)

func TestConsole(t *testing.T) {
	h := newTestHandler(t, &fake{})
	for _, row := range []struct {
		name, target string
		status       int
		typ, cache   string
	}{
		{"page", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"address_inside_the_page", "/explore?from=-6h", 200, "text/html; charset=utf-8", "no-cache"},
		{"address_with_dots", "/host/10.1.2.3", 200, "text/html; charset=utf-8", "no-cache"},
		{"index_by_name", "/index.html", 200, "text/html; charset=utf-8", "no-cache"},
		{"hashed_script", "/assets/main-a1b2.js", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"hashed_picture", "/assets/dot-c3d4.png", 200, "image/png", "public, max-age=31536000, immutable"},
		{"plain_file", "/icon.svg", 200, "image/svg+xml", "no-cache"},
		{"script_of_another_build", "/assets/main-0000.js", 404, "application/problem+json", "no-store"},
		{"way_out_of_the_folder", "/assets/../../web.go", 404, "application/problem+json", "no-store"},
		{"hidden_file", "/.gitkeep", 200, "text/html; charset=utf-8", "no-cache"},
		{"unknown_in_the_api", "/api/v1/nothing", 404, "application/problem+json", "no-store"},
		{"root_of_the_api", "/api", 404, "application/problem+json", "no-store"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := get(h, row.target)
			if w.Code != row.status {
				t.Errorf("status %d, want %d", w.Code, row.status)
			}
			if got := w.Header().Get("Content-Type"); got != row.typ {
				t.Errorf("content type %q, want %q", got, row.typ)
			}
			if got := w.Header().Get("Cache-Control"); got != row.cache {
				t.Errorf("cache control %q, want %q", got, row.cache)
			}
		})
	}
}

func TestConsoleIsPackedForThoseWhoCanUnpack(t *testing.T) {
	h := newTestHandler(t, &fake{})
	for _, row := range []struct {
		name, target, accept string
		packed               bool
	}{
		{"gzip", "/", "gzip, deflate, br", true},
		{"script", "/assets/main-a1b2.js", "gzip", true},
		{"anything", "/", "*", true},
		{"anything_but_gzip", "/", "*, gzip;q=0", false},
		{"weight_zero", "/", "gzip;q=0.000", false},
		{"no_header", "/", "", false},
		{"picture", "/assets/dot-c3d4.png", "gzip", false},
		{"too_short_to_gain", "/assets/short-e5f6.js", "gzip", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := get(h, row.target, "Accept-Encoding", row.accept)
			plain := get(h, row.target)
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != row.packed {
				t.Fatalf("packed: %v, want %v", got, row.packed)
			}
			if !row.packed {
				return
			}
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(z)
			if err != nil || !bytes.Equal(body, plain.Body.Bytes()) {
				t.Errorf("unpacked (%v) it is not what is served plain", err)
			}
			if w.Header().Get("Vary") != "Accept-Encoding" || plain.Header().Get("Vary") != "Accept-Encoding" {
				t.Error("a cache is not told that the two forms differ")
			}
			if w.Header().Get("ETag") == plain.Header().Get("ETag") {
				t.Error("both forms have the same tag")
			}
		})
	}
}

func TestUnchangedPageIsNotSentAgain(t *testing.T) {
	h := newTestHandler(t, &fake{})
	tag := get(h, "/").Header().Get("ETag")
	w := get(h, "/", "If-None-Match", tag)
	if tag == "" || w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("tag %q: status %d, %d bytes", tag, w.Code, w.Body.Len())
	}
}

func TestBinaryWithoutConsoleSaysSo(t *testing.T) {
	s, err := newServer(Config{DB: faked(&fake{})}, fstest.MapFS{".gitkeep": {}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.handler()
	if err != nil {
		t.Fatal(err)
	}
	w := get(h, "/", "Accept", "text/html")
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "<code>make</code>") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := get(h, "/api/v1/top"); w.Code != http.StatusOK {
		t.Errorf("the API answers %d without console", w.Code)
	}
}
