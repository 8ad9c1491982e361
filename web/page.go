package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// dist is what the console's build writes (web/ui). The folder is kept in git
// with nothing in it, so that the binary builds before the console does.
//
//go:embed all:dist
var dist embed.FS

// page serves the page: the files of a build, by name, and index.html for
// every other path, for those are addresses inside the page.
type page struct {
	files map[string]*file // by URL path
	index *file            // nil when the console was not built
}

// file is one file of the build. It stays in memory, and so does its gzip form
// from when it is first wanted.
type file struct {
	name   string
	typ    string
	tag    string // of the content, without quotes
	body   []byte
	packed func() []byte // nil when packing gains nothing
	cache  string
}

// newPage reads the files of a build from the root of fsys.
func newPage(fsys fs.FS) (*page, error) {
	p := &page{files: map[string]*file{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		p.files["/"+name] = newFile(name, body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("web: page: %w", err)
	}
	p.index = p.files["/index.html"]
	delete(p.files, "/index.html") // one address a page: "/"
	return p, nil
}

func newFile(name string, body []byte) *file {
	sum := sha256.Sum256(body)
	f := &file{
		name: name,
		typ:  contentType(name),
		tag:  hex.EncodeToString(sum[:12]),
		body: body,
		// Names outside assets do not change with the content: ask each time.
		cache: "no-cache",
	}
	if strings.HasPrefix(name, "assets/") {
		f.cache = "public, max-age=31536000, immutable"
	}
	if compressible(f.typ) && len(body) > 256 {
		f.packed = sync.OnceValue(func() []byte { return pack(body) })
	}
	return f
}

// contentType goes by the name alone. The types of a web build are spelled out:
// the operating system's own table may be missing or odd.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".ico":
		return "image/x-icon"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func compressible(typ string) bool {
	return strings.HasPrefix(typ, "text/") || strings.Contains(typ, "json") || strings.Contains(typ, "svg")
}

// pack returns body in gzip form, nil when that is not smaller.
func pack(body []byte) []byte {
	var b bytes.Buffer
	// Neither call can fail: the level is valid and a Buffer takes everything.
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = z.Write(body)
	_ = z.Close()
	if b.Len() >= len(body) {
		return nil
	}
	return b.Bytes()
}

// ServeHTTP answers GET and HEAD for everything outside the API.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := p.files[r.URL.Path]; f != nil {
		f.serve(w, r)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/assets/"):
		// A page of an older build asks for its own files: it must not get
		// HTML in place of a script.
		writeProblem(w, r, http.StatusNotFound, "There is no such file in this build of the console; reload the page.")
	case p.index == nil:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(notBuilt))
	default:
		p.index.serve(w, r)
	}
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.typ)
	h.Set("Cache-Control", f.cache)
	body, tag := f.body, f.tag
	if f.packed != nil {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(strings.Join(r.Header.Values("Accept-Encoding"), ",")) {
			if p := f.packed(); p != nil {
				h.Set("Content-Encoding", "gzip")
				body, tag = p, tag+"-gzip"
			}
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110 §12.5.3): gzip or *
// with a weight other than zero; gzip's own weight goes before that of *.
func acceptsGzip(header string) bool {
	star := false
	for part := range strings.SplitSeq(header, ",") {
		coding, q := weighted(part)
		switch coding {
		case "gzip", "x-gzip":
			return q > 0
		case "*":
			star = q > 0
		}
	}
	return star
}

// weighEncodings tells the library that packs answers what the client takes: by
// itself it finds the word gzip and overlooks a weight of zero.
func weighEncodings(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		taken := acceptsGzip(strings.Join(r.Header.Values("Accept-Encoding"), ","))
		r.Header.Del("Accept-Encoding")
		if taken {
			r.Header.Set("Accept-Encoding", "gzip")
		}
		next.ServeHTTP(w, r)
	})
}

// weighted splits one element of an Accept header into its lower-case value and
// weight: 1 when none is given, 0 when it cannot be read.
func weighted(part string) (value string, q float64) {
	value, params, _ := strings.Cut(part, ";")
	q = 1
	for param := range strings.SplitSeq(params, ";") {
		name, v, ok := strings.Cut(strings.TrimSpace(param), "=")
		if ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			var err error
			if q, err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil {
				q = 0
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(value)), q
}

// notBuilt is the page of a binary without console.
const notBuilt = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>flowtally: the console is not built yet</title>
</head>
<body>
<h1>flowtally is running; its console is not built yet</h1>
<p>This binary was built without the page. Run <code>make</code> in the source folder: it builds the console
and a binary that has it. Then start <code>flowtally web</code> again.</p>
<p>The API works already:</p>
<ul>
<li><a href="/api/v1/top?key=src-addr&amp;by=flows">top talkers of the last six hours</a>,
<a href="/api/v1/top?key=src-addr&amp;by=flows&amp;format=csv">the same as CSV</a></li>
<li><a href="/api/v1/series?key=protocol">flows, packets and bytes over time, by protocol</a></li>
<li><a href="/api/v1/exporters">exporters seen so far</a></li>
<li><a href="/openapi.json">everything it can be asked (OpenAPI)</a></li>
</ul>
</body>
</html>
`
